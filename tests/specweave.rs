//! Living in a project where SpecWeave 1.0.593 has worked, and still works.

use crate::contract::clients;
use crate::world::git_server::Fault;
use crate::world::recorded::{self, lay_out};
use crate::world::repositories::assert_whole;
use crate::world::trackers::{TOKEN, Trackers};
use crate::world::{Said, World, eventually, files_below, read};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn text<'a>(job: &'a Value, key: &str) -> &'a str {
    job[key].as_str().unwrap_or("")
}

#[test]
fn every_recorded_project_opens_and_all_its_jobs_are_told_truthfully() {
    let mut shown = 0;
    for case in recorded::cases() {
        let world = World::new();
        lay_out(&world, &case, &[]);
        let mut wanted: Vec<String> =
            recorded::jobs(&world).iter().map(|job| text(job, "id").to_owned()).collect();
        if case == "brownfield-pending" {
            wanted.push("bf-558070e4".into());
        }
        wanted.sort();
        for daemon in [false, true] {
            if daemon {
                world.run(["daemon", "start"]).ok();
            }
            let listed = world.run(["--all", "--json"]).ok().json();
            let mut ids: Vec<String> =
                listed["jobs"].as_array().unwrap().iter().map(|job| text(job, "id").to_owned()).collect();
            ids.sort();
            assert_eq!(ids, wanted, "{case}");
            world.run(["--all"]).ok();
            for id in &ids {
                let job = world.job(id);
                assert_eq!((&job["foreign"], &job["alive"]), (&true.into(), &false.into()), "{case}: {job}");
                let progress = &job["progress"];
                assert!(progress["current"].as_u64() <= progress["total"].as_u64(), "{case}: {job}");
                world.run(["--id", id]).ok().says("Written by: SpecWeave");
                world.run(["--logs", id]).ok();
                shown += 1;
            }
        }
    }
    assert!(shown >= 2 * 28, "{shown} jobs were shown");
}

#[test]
fn recorded_jobs_go_on_under_their_own_id_and_the_others_say_why_not() {
    let (mut resumed, mut refused) = (0, 0);
    let trackers = Trackers::seeded(0);
    for case in recorded::cases().into_iter().filter(|case| case != "clone-with-pat") {
        let mut world = World::new();
        for (name, value) in trackers.environment() {
            world.set(name, value);
        }
        lay_out(&world, &case, &[]);
        for before in recorded::jobs(&world) {
            let id = text(&before, "id");
            let said = world.run(["--resume", id]);
            let ours = ["clone-repos", "import-issues"].contains(&text(&before, "type"));
            let adoptable = ours && text(&before, "status") != "completed" && case != "clone-failed";
            if !adoptable {
                let said = said.with_status(1);
                let reasons = ["belongs to another tool", "already completed", "config not usable"];
                assert!(reasons.iter().any(|why| said.stderr.contains(why)), "{case} {id}: {}", said.stderr);
                assert!(said.stderr.contains("hint: "), "{}", said.stderr);
                refused += 1;
                continue;
            }
            said.ok().says("Job resumed in background");
            let job = world.wait(id);
            // The source of one of them is nowhere: where nothing was cloned, a job has failed.
            let stands = job["progress"]["succeeded"] != 0 || job["progress"]["skipped"] != 0;
            let ended = if stands { "completed" } else { "failed" };
            assert!(text(&job, "state").starts_with(ended), "{case}: {job}");
            assert_eq!((&job["foreign"], &job["id"]), (&false.into(), &id.into()));
            let entry = &world.mirror()["jobs"]
                .as_array()
                .unwrap()
                .iter()
                .find(|entry| entry["id"] == id)
                .unwrap()
                .clone();
            assert_eq!(entry["startedAt"], before["startedAt"], "{case}");
            if text(&before, "type") == "import-issues" {
                resumed += 1;
                continue;
            }
            let repositories = before["config"]["repositories"].as_array().unwrap();
            assert_eq!(job["progress"]["total"], repositories.len());
            for name in entry["progress"]["itemsCompleted"].as_array().unwrap() {
                let name = name.as_str().unwrap();
                let clone = world.project.join("repositories/acme").join(name);
                assert_whole(&clone, &world.dir.join(format!("recorded-remotes/{name}.git")));
            }
            resumed += 1;
        }
    }
    eprintln!("{resumed} recorded jobs resumed, {refused} said why not");
    assert!(resumed >= 7, "{resumed}");
}

#[test]
fn a_dead_import_of_specweaves_is_taken_over_and_its_token_leaves_the_file() {
    let mut world = World::new();
    let trackers = Trackers::seeded(120);
    let named = [("ghp_EXAMPLE_NOT_A_REAL_TOKEN", TOKEN.to_owned()), ("web-frontend", "web".to_owned())];
    lay_out(&world, "import-killed", &named);
    world.set("GITHUB_API_URL", format!("{}/api/v3", trackers.url()));
    let id = text(&recorded::jobs(&world)[0], "id").to_owned();
    let config = world.state().join("jobs").join(&id).join("config.json");
    assert!(read(&config).contains(TOKEN));
    world.run(["--resume", &id]).ok().complains("Revoke them");
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed_with_warnings", "two of its three repositories are not there: {job}");
    assert_eq!(job["progress"]["succeeded"], 120, "{job}");
    for path in files_below(&world.project.join(".specweave")) {
        assert!(!read(&path).contains(TOKEN), "{}", path.display());
    }
}

#[test]
fn recorded_jobs_whose_worker_is_dead_can_be_killed() {
    let mut killed = 0;
    for case in recorded::cases() {
        let world = World::new();
        lay_out(&world, &case, &[]);
        for before in recorded::jobs(&world) {
            let (id, status) = (text(&before, "id"), text(&before, "status"));
            let said = world.run(["--kill", id]);
            if !matches!(status, "running" | "pending") {
                said.with_status(1).complains("is not running");
                continue;
            }
            said.ok().says("Status changed to 'paused'");
            let after = recorded::jobs(&world).into_iter().find(|job| job["id"] == id).unwrap();
            let mut expected = before.clone();
            expected["status"] = "paused".into();
            expected["updatedAt"] = after["updatedAt"].clone();
            assert_eq!(after, expected, "nothing else changes");
            killed += 1;
        }
    }
    assert!(killed >= 7, "{killed}");
}

#[test]
fn a_token_in_a_job_of_specweaves_works_once_is_taken_out_and_told_of() {
    const TOKEN: &str = "ghp_EXAMPLETOKEN";
    let (world, server, _) = World::with_remotes(0);
    let owner = world.dir.join("remotes/acme");
    crate::world::repositories::make(&owner, "api-gateway", crate::world::repositories::SMALL);
    *server.state.token.lock().unwrap() = Some(TOKEN.into());
    let here = server.repository("").replace("http://", &format!("http://{TOKEN}@"));
    let here = here.split("/acme/").next().unwrap().to_owned();
    lay_out(&world, "clone-with-pat", &[("https://ghp_EXAMPLETOKEN@github.com", here)]);
    let files = || {
        let all = files_below(&world.project).into_iter();
        all.filter(|path| read(path).contains(TOKEN)).collect::<Vec<_>>()
    };
    assert_eq!(files().len(), 1, "{:?}", files());

    let said = world.run(["--resume", "876130ad"]).ok();
    let said = said.complains("held a token in clear text").complains("Revoke it");
    assert!(!said.stderr.contains(TOKEN));
    let job = world.wait("876130ad");
    assert_eq!((&job["progress"]["succeeded"], &job["progress"]["failed"]), (&1.into(), &1.into()), "{job}");
    assert_eq!(files(), Vec::<PathBuf>::new());
    let config = world.state().join("jobs/876130ad/config.json");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&config.metadata().unwrap()) & 0o777, 0o600);

    // It worked once: a daemon that comes later does not have it any more.
    std::fs::remove_dir_all(world.project.join("repositories/acme/api-gateway")).unwrap();
    world.kill_daemon();
    world.run(["--resume", "876130ad"]).ok();
    let later = world.wait("876130ad");
    assert!(world.run(["--id", "876130ad"]).ok().stdout.contains("credentials"), "{later}");
}

/// SpecWeave as its users have it; `None`, loudly, where it was not installed.
pub fn installed() -> Option<(PathBuf, PathBuf)> {
    let clients = clients()?;
    let specweave = clients.join("node_modules/specweave");
    assert!(specweave.join("bin/specweave.js").exists(), "{} is not installed", specweave.display());
    Some((clients, specweave))
}

/// How long both tools write at the same time.
const UNDER_FIRE: Duration = Duration::from_secs(30);

#[test]
fn specweave_and_the_daemon_write_the_same_file_and_no_job_or_update_is_lost() {
    let Some((clients, specweave)) = installed() else { return };
    let (world, server, names) = World::with_remotes(200);
    names.iter().for_each(|name| server.fault(name, Fault::Slow));
    let sources = |range: std::ops::Range<usize>| names[range].iter().map(|name| server.repository(name));
    let ours: Vec<String> = (0..4)
        .map(|job| {
            let options = ["--concurrency".to_owned(), "1".into()].into_iter();
            world.start_clone(options.chain(sources(job * 50..(job + 1) * 50)))
        })
        .collect();
    let mut writer =
        world.program("node", [clients.join("specweave-writer.mjs"), specweave, world.project.clone()]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();

    let began = Instant::now();
    let (mut reads, mut torn, mut switches) = (0, 0, 0);
    while began.elapsed() < UNDER_FIRE {
        // One of ours changes its state all the time; such changes are written at once.
        let verb = if switches % 2 == 0 { "--kill" } else { "--resume" };
        world.run([verb, &ours[3]]).ok();
        switches += 1;
        for _ in 0..20 {
            reads += 1;
            let bytes = std::fs::read(world.state().join("background-jobs.json")).unwrap_or_default();
            torn += usize::from(serde_json::from_slice::<Value>(&bytes).is_err());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    drop(writer.stdin.take());
    let output = writer.wait_with_output().unwrap();
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!(
        "{switches} changes of state of ours, {} updates of SpecWeave's ({} refused), {torn} of {reads} reads met \
         a file that SpecWeave was writing in place",
        theirs["count"].as_u64().unwrap() * 4,
        theirs["refused"],
    );
    let entry = |id: &str| {
        let list = world.mirror();
        let found = list["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("{id} has disappeared from {list}"))
    };
    for id in theirs["jobs"].as_array().unwrap() {
        let entry = entry(id.as_str().unwrap());
        assert_eq!(entry["progress"]["current"], theirs["count"], "{entry}");
    }
    assert_eq!(theirs["refused"], 0);
    for id in &ours {
        eventually("the file tells what the daemon tells", || {
            let (job, entry) = (world.job(id), entry(id));
            job["state"] == entry["status"] && job["progress"]["current"] == entry["progress"]["current"]
        });
    }
}

#[test]
fn a_reader_never_meets_a_torn_file_of_ours() {
    let (world, server, names) = World::with_remotes(60);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let bytes = std::fs::read(world.state().join("background-jobs.json")).unwrap_or_default();
                if !bytes.is_empty() {
                    serde_json::from_slice::<Value>(&bytes).expect("whole JSON");
                    reads += 1;
                }
            }
            reads
        });
        for _ in 0..5 {
            let id = world.start_clone(names.iter().map(|name| server.repository(name)));
            world.wait(&id);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 100);
    });
}

/// `specweave` itself, in the world's project.
pub fn specweave(world: &World, specweave: &Path, arguments: &[&str]) -> Said {
    let mut command = world.program("node", [specweave.join("bin/specweave.js")]);
    command.args(arguments).env("NO_COLOR", "1");
    world.finish(command)
}

#[test]
fn specweaves_own_commands_show_our_jobs_in_every_state_as_they_are() {
    let Some((_, installed)) = installed() else { return };
    let (mut world, server, names) = World::with_remotes(130);
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url()));
    let jobs = |world: &World, arguments: &[&str]| {
        let all: Vec<&str> = ["jobs"].iter().chain(arguments).copied().collect();
        let said = specweave(world, &installed, &all).ok();
        assert!(!said.stdout.contains("Invalid count") && !said.stderr.contains("Error"), "{said:?}");
        said.stdout
    };
    // More than a hundred items, complete.
    let many = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.wait(&many);
    // With a failure.
    server.fault("repo-001", Fault::Status(404));
    let _ = std::fs::remove_dir_all(world.project.join("repositories"));
    let warned = world.start_clone([server.repository("repo-000"), server.repository("repo-001")]);
    world.wait(&warned);
    // Failed: a listing that cannot be had.
    server.require_token("right-token-123456");
    world.set("GITHUB_TOKEN", "wrong-token-123456");
    let failed = world.start_clone(["--github-org", "nobody-there"]);
    world.wait(&failed);
    *server.state.token.lock().unwrap() = None;
    world.unset("GITHUB_TOKEN");
    // Waiting for a limit.
    server.fault("repo-002", Fault::LimitedOnce(3_600));
    let limited = world.start_clone([server.repository("repo-002")]);
    world.until(&limited, "the pause", |job| job["state"] == "paused");
    // Running, and another that runs beside it.
    for name in &names[3..] {
        server.fault(name, Fault::Slow);
    }
    let one_at_a_time = |names: &[String]| {
        let sources = names.iter().map(|name| server.repository(name));
        world.start_clone(["--concurrency".to_owned(), "1".into()].into_iter().chain(sources))
    };
    let (running, beside) = (one_at_a_time(&names[3..60]), one_at_a_time(&names[60..]));
    let pid = world.until(&running, "a worker", |job| job["pid"] != 0)["pid"].clone();

    let list = jobs(&world, &[]);
    for (id, section) in
        [(&running, "Running"), (&limited, "Paused"), (&failed, "Failed"), (&many, "Completed")]
    {
        assert!(list.contains(&id[..8]), "{section} {id} is not in:\n{list}");
    }
    assert!(list.contains("130"), "{list}");
    jobs(&world, &["--all"]);
    for id in [&many, &warned, &failed, &limited, &running] {
        assert!(jobs(&world, &["--id", id]).contains(&id[..]));
        jobs(&world, &["--logs", id]);
    }
    assert!(jobs(&world, &["--id", &running]).contains(&pid.to_string()));
    jobs(&world, &["--follow", &many]);

    // Its kill pauses that job alone.
    let daemon = world.daemon_pid();
    jobs(&world, &["--kill", &running]);
    world.until(&running, "the pause", |job| job["state"] == "paused");
    assert_eq!((world.job(&beside)["state"].clone(), world.daemon_pid()), ("running".into(), daemon));
    eventually("its pause is in the file", || {
        world.mirror()["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|job| job["id"] == running && job["status"] == "paused")
    });
    // Its plugins' scripts read the file, too.
    let script = installed.join("plugins/specweave/scripts/jobs.js");
    let shown = world.finish(world.program("node", [script])).ok();
    assert!(shown.stdout.contains(&running[..8]), "{shown:?}");
    world.run(["--kill", &beside]).ok();
}

#[test]
fn specweaves_own_readers_understand_what_an_import_wrote() {
    let Some(clients) = clients() else { return };
    let mut world = World::new();
    let trackers = Trackers::seeded(120);
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    trackers.edit(1, |issue| issue.title = "Checkout: \"the\" {revamp} # 1".to_owned());
    for order in [
        ["import", "github", "--repo", "acme/web"],
        ["import", "jira", "--project-key", "PAY"],
        ["import", "ado", "--ado-project", "Nova CAD"],
    ] {
        let id = text(&world.run(order.into_iter().chain(["--json"])).ok().json(), "id").to_owned();
        assert_eq!(world.wait(&id)["state"], "completed");
    }
    // What its matcher and sync parse features with.
    let script = "
        const matter = require('gray-matter'), fs = require('fs'), path = require('path');
        const found = fs.readdirSync(process.argv[1], { recursive: true }).filter((name) => name.endsWith('FEATURE.md'));
        const read = found.map((name) => matter(fs.readFileSync(path.join(process.argv[1], name), 'utf8')).data);
        console.log(JSON.stringify(read));";
    let specs = world.project.join(".specweave/docs/internal/specs");
    let mut node = world.program("node", ["-e", script, specs.to_str().unwrap()]);
    node.env("NODE_PATH", clients.join("node_modules"));
    let read = world.finish(node).ok().json();
    let features = read.as_array().unwrap();
    assert!(features.len() >= 6, "{read}");
    for feature in features {
        assert!(text(feature, "id").starts_with("FS-") && text(feature, "origin") == "external", "{feature}");
    }
    let titles: Vec<&str> = features.iter().map(|feature| text(feature, "title")).collect();
    assert!(titles.contains(&"Epic: Checkout: \"the\" {revamp} # 1"), "{titles:?}");
    // Its sync with GitHub, which would make a second issue of a story without one.
    let script = "
        const [library, root] = process.argv.slice(1);
        const { GitHubFeatureSync } = await import(`${library}/dist/plugins/specweave/lib/integrations/github/github-feature-sync.js`);
        const specs = `${root}/.specweave/docs/internal/specs`;
        const sync = new GitHubFeatureSync({ getOwner: () => 'acme', getRepo: () => 'web' }, specs, root);
        console.log(JSON.stringify(await sync.findUserStories('FS-001E', 'web')));";
    let mut node = world.program("node", ["--input-type=module", "-e", script]);
    node.arg(clients.join("node_modules/specweave")).arg(&world.project);
    let read = world.finish(node).ok().json();
    let stories = read.as_array().unwrap();
    let issues = trackers.issues().values().filter(|issue| !issue.is_pull_request).count();
    assert_eq!(stories.len(), issues);
    for story in stories {
        let number = story["existingIssue"].as_u64().unwrap();
        let title = &trackers.issue(number).title;
        assert!(text(story, "id").starts_with("US-") && text(story, "title") == title, "{story}");
    }
    let (_, installed) = installed().unwrap();
    let said = specweave(&world, &installed, &["docs", "validate"]).ok();
    assert!(!said.stdout.to_lowercase().contains("error:"), "{said:?}");
}
