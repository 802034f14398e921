//! The words that people type first, beside the documented options.

use crate::world::git_server::Fault;
use crate::world::{World, eventually, read, wait};
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A world whose clone of three repositories has ended with one failed item, or is paused where one takes for ever.
fn with_job(fault: Fault) -> (World, crate::world::git_server::GitServer, String) {
    let (world, server, names) = World::with_remotes(3);
    server.fault(&names[1], fault);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    (world, server, id)
}

fn paused() -> (World, crate::world::git_server::GitServer, String) {
    let (world, server, id) = with_job(Fault::Silent);
    world.until(&id, "two clones", |job| job["progress"]["current"] == 2);
    world.run(["kill", &id]).ok().says("Status changed to 'paused'");
    (world, server, id)
}

#[test]
fn every_documented_option_has_a_verb_that_does_the_same() {
    let (world, server, id) = with_job(Fault::Status(500));
    world.wait(&id);
    for (verb, option) in [
        (vec!["list"], vec![]),
        (vec!["ls", "-a"], vec!["--all"]),
        (vec!["show", &id], vec!["--id", &id]),
        (vec!["logs", &id], vec!["--logs", &id]),
        (vec!["list", "--json"], vec!["--json"]),
    ] {
        let [verb, option] = [verb, option].map(|arguments| world.run(arguments).ok().stdout);
        assert_eq!(verb, option);
    }
    server.heal("repo-001");
    world.run(["resume", &id, "--follow"]).ok().says("3/3 (100%)");
    world.run(["follow", &id]).ok().says("Job completed");
    world.run(["kill", &id]).with_status(1).complains("is not running (completed)");
    world.run(["help"]).ok().says("run-again");
    world.run(["help", "logs"]).ok().says("--since");
}

#[test]
fn options_stand_before_a_verb_or_behind_it_and_a_documented_one_goes_with_none() {
    let (world, _server, id) = with_job(Fault::Status(500));
    world.wait(&id);
    let project = world.project.display().to_string();
    let before = world.run(["--project", &project, "--json", "show", &id]).ok().json();
    assert_eq!(before, world.run(["show", &id, "--json", "--project", &project]).ok().json());
    let said = world.run(["--kill", &id, "list"]).with_status(2);
    said.complains("--kill is a command of its own: it goes with no other");
    world.run(["--all", "list"]).with_status(2).complains("--all is a command of its own");
}

#[test]
fn a_list_is_narrowed_by_state_and_type() {
    let (world, server, failed) = with_job(Fault::Status(500));
    world.wait(&failed);
    let whole = world.start_clone([server.repository("repo-000")]);
    world.wait(&whole);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let all = world.run([&["list", "--json"], arguments].concat()).ok().json();
        let jobs = all["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--state", "completed"]), [whole.as_str()]);
    assert_eq!(ids(&["--state", "completed_with_warnings"]), [failed.as_str()]);
    assert_eq!(ids(&["--state", "completed", "--state", "completed_with_warnings"]).len(), 2);
    assert_eq!(ids(&["--all", "--type", "import-issues"]), Vec::<String>::new());
    assert_eq!(ids(&[]), Vec::<String>::new());
    world.run(["list", "--state", "broken"]).with_status(2);
}

#[test]
fn one_of_several_jobs_that_is_not_there_keeps_the_others_from_nothing() {
    let (world, server, first) = paused();
    let second = world.start_clone([server.repository("repo-001")]);
    world.until(&second, "it runs", |job| job["state"] == "running");
    let said = world.run(["kill", "zzzzzzzz", &second, &first]).with_status(3);
    said.complains("there is no job \"zzzzzzzz\"");
    assert_eq!(world.job(&second)["state"], "paused");
    server.heal("repo-001");
    world.run(["resume", "--all-paused"]).ok();
    for id in [&first, &second] {
        assert_eq!(world.wait(id)["state"], "completed");
    }
    world.run(["resume", "--all-paused"]).ok().says("No job is paused.");
    world.run(["rm", &first, &second]).ok().says(&format!("Removed job {first}.")).says(&second);
    assert!(world.project.join("repositories/acme/repo-001").is_dir(), "what it has made stays");
    world.run(["list", "--all"]).ok().says("No background jobs.");
}

#[test]
fn only_the_items_that_are_named_are_tried_again() {
    let (world, server, names) = World::with_remotes(4);
    for name in &names[1..] {
        server.fault(name, Fault::Status(500));
    }
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.wait(&id);
    names.iter().for_each(|name| server.heal(name));
    let asked = |name: &String| server.requests(&format!("/{name}.git"));
    let before: Vec<usize> = names.iter().map(asked).collect();
    world.run(["retry", &id, "repo-002", "--follow"]).with_status(1).says("2 of 4 repositories failed");
    let after: Vec<usize> = names.iter().map(asked).collect();
    assert!(
        after[2] > before[2] && [0, 1, 3].iter().all(|at| after[*at] == before[*at]),
        "{before:?} {after:?}"
    );
    let said = world.run(["retry", &id, "repo-000"]).with_status(2);
    said.complains("has no failed item \"repo-000\"").complains("repo-001");
    let items = world.run(["show", &id, "--items", "--json"]).ok().json();
    let states: Vec<&str> =
        items["items"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "failed", "done", "failed"]);
    let failed = world.run(["show", &id, "--items", "--failed"]).ok().stdout;
    assert!(failed.contains("repo-001") && !failed.contains("repo-000"), "{failed}");
    world.run(["retry", &id, "--follow"]).ok().says("4/4 (100%)");
}

#[test]
fn the_same_work_is_done_once_more_as_a_job_of_its_own() {
    let (world, _server, id) = with_job(Fault::FailsFirst(0));
    assert_eq!(world.wait(&id)["state"], "completed");
    fs::remove_dir_all(world.project.join("repositories/acme/repo-002")).unwrap();
    let said = world.run(["-q", "run-again", &id]).ok();
    let again = said.stdout.trim_end().to_owned();
    assert!(again != id && again.len() == 8 && said.stderr.is_empty(), "{said:?}");
    let job = world.wait(&again);
    assert_eq!(
        (&job["state"], &job["progress"]["succeeded"], &job["progress"]["skipped"]),
        (&"completed".into(), &1.into(), &2.into())
    );
    assert_eq!(world.job(&id)["state"], "completed", "the first one stays what it was");
}

#[test]
fn a_job_that_runs_is_not_removed_and_one_that_is_paused_is() {
    let (world, server, id) = with_job(Fault::Silent);
    world.until(&id, "it runs", |job| job["state"] == "running");
    world.run(["rm", &id]).with_status(1).complains("is running: kill it first");
    world.run(["kill", &id]).ok();
    world.run(["rm", &id]).ok();
    assert!(!world.state().join("jobs").join(&id).exists());
    world.run(["show", &id]).with_status(3);
    assert_eq!(world.mirror()["jobs"].as_array().unwrap().len(), 0);
    // The daemon that follows knows nothing of it either.
    world.kill_daemon();
    world.run(["daemon", "start"]).ok();
    world.run(["show", &id]).with_status(3);
    drop(server);
}

#[test]
fn a_paused_job_whose_folder_a_person_has_removed_is_gone_at_once() {
    let (world, _server, id) = paused();
    fs::remove_dir_all(world.state().join("jobs").join(&id)).unwrap();
    let listed = world.run(["list", "--json"]).ok().json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 0, "{listed}");
}

#[test]
fn what_is_to_be_removed_is_said_before_and_nothing_else_is() {
    let (world, server, failed) = with_job(Fault::Status(500));
    world.wait(&failed);
    let whole = world.start_clone([server.repository("repo-000")]);
    world.wait(&whole);
    let said = world.run(["prune", "--dry-run"]).ok().says(&failed).says(&whole);
    said.says("Would remove 2 finished jobs. Nothing was removed.");
    world.run(["prune"]).with_status(2).complains("nobody can be asked here").complains("--yes");
    world.run(["prune", "--yes", "--older-than", "7d"]).ok().says("Removed 0 finished jobs.");
    world.run(["prune", "--older-than", "soon"]).with_status(2).complains("write 90s, 10m, 2h, 7d or 2w");
    let removed = world.run(["prune", "--yes", "--keep", "1", "--json"]).ok().json();
    assert_eq!(removed["removed_ids"], serde_json::json!([failed]));
    world.run(["prune", "--yes"]).ok().says("Removed 1 finished job.");
}

#[test]
fn what_somebody_may_want_to_go_on_with_is_not_pushed_out_by_what_is_done() {
    let (world, server, failed) = with_job(Fault::Status(500));
    world.wait(&failed);
    let mut whole: Vec<String> = Vec::new();
    for _ in 0..12 {
        let id = world.start_clone([server.repository("repo-000")]);
        assert_eq!(world.wait(&id)["state"], "completed");
        whole.push(id);
    }
    let kept = |world: &World| -> Vec<String> {
        let all = world.run(["list", "--all", "--json"]).ok().json();
        let jobs = all["jobs"].as_array().unwrap();
        let mut ids: Vec<String> = jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut wanted = [&whole[2..], std::slice::from_ref(&failed)].concat();
    wanted.sort();
    assert_eq!(kept(&world), wanted);
    world.kill_daemon();
    world.run(["daemon", "start"]).ok();
    assert_eq!(kept(&world), wanted, "the next daemon keeps the same");
}

#[test]
fn a_log_is_followed_until_the_job_has_ended() {
    let (world, server, id) = with_job(Fault::Silent);
    world.until(&id, "two clones", |job| job["progress"]["current"] == 2);
    let out = world.dir.join("tmp/log");
    let follow = || {
        let mut follower = world.command(["logs", "-f", &id]);
        follower.stdout(fs::File::create(&out).unwrap()).stderr(Stdio::null());
        let follower = follower.spawn().unwrap();
        eventually("the log so far is shown", || read(&out).contains("repo-000"));
        follower
    };
    let lines = |text: &str| text.lines().filter(|line| line.starts_with('[')).count();
    let ends_with = |mut follower: Child, last: &str| {
        assert!(wait(&mut follower, Duration::from_secs(20)).unwrap().success());
        let (shown, whole) = (read(&out), read(&world.state().join("jobs").join(&id).join("worker.log")));
        assert!(shown.contains(last), "{shown}");
        assert_eq!(
            lines(&shown),
            lines(&whole),
            "no line is missing and none is shown twice:\n{shown}\n---\n{whole}"
        );
        whole
    };

    // A job that waits for a person adds nothing to its log: whoever follows it is let go.
    let mut follower = follow();
    assert!(follower.try_wait().unwrap().is_none(), "the job has not ended");
    world.run(["kill", &id]).ok();
    ends_with(follower, "Worker stopped");

    world.run(["resume", &id]).ok();
    let mut follower = follow();
    assert!(follower.try_wait().unwrap().is_none(), "the job goes on");
    server.heal("repo-001");
    let whole = ends_with(follower, "(3/3)");

    let two = world.run(["logs", &id, "-n", "2"]).ok().stdout;
    assert_eq!(lines(&two), 2, "{two}");
    assert_eq!(lines(&world.run(["logs", &id, "--since", "1h"]).ok().stdout), lines(&whole));
    assert_eq!(lines(&world.run(["logs", &id, "--since", "2200-01-01"]).ok().stdout), 0);
    world.run(["logs", &id, "--since", "yesterday"]).with_status(2);
}

#[test]
fn the_version_says_the_commit_where_there_is_one_and_a_page_is_written_for_every_verb() {
    let world = World::bare();
    let said = world.run(["--version"]).ok().stdout;
    assert!(said.starts_with(&format!("specweave-jobs {}", env!("CARGO_PKG_VERSION"))), "{said}");
    let pages = world.dir.join("pages");
    world.run(["man", "--install", pages.to_str().unwrap()]).ok().says("specweave-jobs-clone");
    for verb in ["clone", "import", "sync", "resolve", "list", "show", "logs", "retry", "prune"] {
        let page = read(&pages.join(format!("man1/specweave-jobs-{verb}.1")));
        assert!(page.contains(&format!("specweave\\-jobs {verb}")) || page.contains("Examples"), "{page}");
    }
    assert!(read(&pages.join("man1/specweave-jobs.1")).contains("run\\-again"));
}

#[test]
fn git_leaves_alone_what_jobs_write_once_somebody_has_said_so() {
    let world = World::bare();
    let git = |arguments: &[&str]| {
        let said = world.finish(world.program("git", arguments)).ok();
        said.stdout
    };
    git(&["init", "-q"]);
    fs::write(world.project.join(".gitignore"), "target").unwrap();
    world.run(["init", "--no-gitignore"]).ok();
    assert_eq!(read(&world.project.join(".gitignore")), "target");
    let said = world.run(["clone", "/nowhere/at-all"]).ok();
    said.complains("git does not ignore .specweave/state/ and repositories/; specweave-jobs init adds that");
    world.run(["init"]).ok().says("Added .specweave/state/ and repositories/ to .gitignore");
    let ignored = "target\n# Jobs of specweave-jobs\n/.specweave/state/\n/repositories/\n";
    assert_eq!(read(&world.project.join(".gitignore")), ignored);
    assert!(!git(&["status", "--porcelain", "--untracked-files=all"]).contains("state"));
    let again = world.run(["init"]).ok();
    assert!(!again.stdout.contains("gitignore"), "{again:?}");
    assert_eq!(read(&world.project.join(".gitignore")), ignored);

    // One project within another.
    let inner = world.project.join("tools");
    fs::create_dir(&inner).unwrap();
    let said = world.run(["--project", inner.to_str().unwrap(), "init"]).ok();
    said.says(&format!("It lies within another one, {}", world.project.display()));
}

#[test]
fn a_shell_is_told_what_could_be_typed_after_every_verb() {
    let (mut world, _server, id) = paused();
    let programs =
        std::path::Path::new(env!("CARGO_BIN_EXE_specweave-jobs")).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    world.set("PATH", path);
    let profiles = serde_json::json!({"version": "2.0", "sync": {"profiles": {"work": {"provider": "jira"}, "own": {"provider": "github"}}}});
    fs::write(world.project.join(".specweave/config.json"), profiles.to_string()).unwrap();
    let specs = world.project.join(".specweave/docs/internal/specs/web/FS-001");
    fs::create_dir_all(&specs).unwrap();
    fs::write(specs.join("conflict-us-001-log-in.md"), "# Conflict: web/FS-001/US-001 and #12\n").unwrap();

    let script = world.dir.join("tmp/complete.bash");
    fs::write(&script, world.run(["completions", "bash"]).ok().stdout).unwrap();
    let in_bash = |words: &[&str]| -> Vec<String> {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let line = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; _clap_complete_specweave_jobs specweave-jobs '{}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            quoted.join(" "),
            words.len() - 1,
            words[words.len() - 1]
        );
        let said = world.finish(world.program("bash", ["-c", &line])).ok();
        said.stdout.lines().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    assert!(in_bash(&["specweave-jobs", "res"]).contains(&"resume".to_owned()));
    for verb in ["resume", "retry", "show", "logs", "rm", "--id", "--resume"] {
        assert_eq!(in_bash(&["specweave-jobs", verb, &id[..2]]).join(" "), id, "{verb}");
    }
    assert_eq!(in_bash(&["specweave-jobs", "kill", &id[..2]]), Vec::<String>::new(), "it does not run");
    assert_eq!(in_bash(&["specweave-jobs", "resolve", "we"]), ["web/FS-001/US-001"]);
    assert_eq!(in_bash(&["specweave-jobs", "sync", "--profile", ""]).join(" "), "work own");
    assert!(in_bash(&["specweave-jobs", "clone", "--git"]).contains(&"--github-org".to_owned()));

    // What these two ask is what their scripts ask; they may not be here.
    for shell in ["fish", "zsh"] {
        world.run(["completions", shell]).ok().says("COMPLETE");
        let mut command = world.command(["--", "specweave-jobs", "resume", ""]);
        command.env("COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
        let said = world.finish(command).ok();
        assert!(
            said.stdout.contains(&id) && said.stdout.contains("clone-repos 2/3 paused"),
            "{shell}: {said:?}"
        );
    }
}

#[test]
fn an_error_is_a_document_where_one_was_asked_for() {
    let (world, _server, id) = with_job(Fault::Silent);
    world.until(&id, "it runs", |job| job["state"] == "running");
    let error = |arguments: &[&str], status: i32| {
        let said = world.run([arguments, &["--json"]].concat()).with_status(status);
        assert!(said.stderr.starts_with("error: "), "people are told, too: {said:?}");
        said.json()["error"].clone()
    };
    let unknown = error(&["show", "zzzzzzzz"], 3);
    assert_eq!(unknown["reason"], "JOB_NOT_FOUND");
    assert!(
        unknown["message"].as_str().unwrap().contains("zzzzzzzz")
            && unknown["hint"].as_str().unwrap().contains(&id)
    );
    assert_eq!(error(&["rm", &id], 1)["reason"], "JOB_NOT_REMOVABLE");
    assert_eq!(error(&["wait", &id, "--timeout", "0.1"], 124)["reason"], "TIMED_OUT");
    assert_eq!(error(&["follow", &id, "--timeout", "nan"], 2)["reason"], "USAGE");
    assert_eq!(error(&["kill"], 2)["reason"], "USAGE");
    let nowhere = World::bare();
    let said = nowhere.run(["list", "--json"]).with_status(1);
    assert_eq!(said.json()["error"]["reason"], "PROJECT_NOT_FOUND");
}

#[test]
fn an_ended_job_says_how_long_it_took_and_names_no_process() {
    let (world, _server, id) = with_job(Fault::FailsFirst(0));
    world.wait(&id);
    let shown = world.run(["show", &id]).ok().says("Took: ");
    assert!(!shown.stdout.lines().any(|line| line.starts_with("PID: ")), "{}", shown.stdout);
}

#[test]
fn what_is_not_typed_is_as_the_projects_configuration_says() {
    let (world, server, names) = World::with_remotes(1);
    let configure = |jobs: serde_json::Value| {
        let config = serde_json::json!({"version": "2.0", "jobs": jobs});
        fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    };
    let planned = |arguments: &[&str]| {
        let address = server.repository(&names[0]);
        let said = world.run([&["clone", &address, "--dry-run", "--json"], arguments].concat()).ok().json();
        said["items"][0]["target"].as_str().unwrap().to_owned()
    };
    configure(serde_json::json!({"layout": "host", "concurrency": 3}));
    assert_eq!(planned(&[]), "repositories/127.0.0.1/acme/repo-000");
    assert_eq!(planned(&["--layout", "owner"]), "repositories/acme/repo-000");
    let id = world.start_clone([server.repository(&names[0])]);
    world.wait(&id);
    let spec = world.job(&id)["spec"].to_string();
    assert!(spec.contains("\"concurrency\":3"), "{spec}");
    for wrong in [serde_json::json!({"layout": "flat"}), serde_json::json!({"concurrency": 0})] {
        configure(wrong);
        world.run(["clone", "acme/web"]).with_status(2).complains("config.json is");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let (world, _server, id) = with_job(Fault::FailsFirst(0));
    world.wait(&id);
    for arguments in
        [vec!["list", "--all"], vec!["show", &id], vec!["logs", &id], vec!["list", "--json"], vec!["man"]]
    {
        let mut command = world.command(&arguments);
        command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
        let said = command.output().unwrap();
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("the output cannot be written") && told.contains("No space left"), "{told}");
    }
}
