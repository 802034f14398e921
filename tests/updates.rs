//! `clone --update`: what stands is brought up to date, and what a person has changed stays as it is.

use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::assert_whole;
use crate::world::{World, eventually, read, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// A project with so many clones of a server whose repositories are served by git itself.
fn cloned(count: usize) -> (World, GitServer, Vec<String>) {
    let (mut world, server, names) = World::with_remotes(count);
    server.state.real_git.store(true, Ordering::Relaxed);
    for who in ["AUTHOR", "COMMITTER"] {
        world.set(&format!("GIT_{who}_NAME"), "Ann").set(&format!("GIT_{who}_EMAIL"), "ann@example.org");
    }
    let addresses: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    world.run([&["clone".to_owned(), "--follow".to_owned()], &addresses[..]].concat()).ok();
    (world, server, names)
}

fn at(world: &World, name: &str) -> PathBuf {
    world.project.join("repositories/acme").join(name)
}

fn git(world: &World, at: &Path, arguments: &[&str]) -> String {
    let place = at.to_str().unwrap();
    let said = world.finish(world.program("git", [&["-C", place], arguments].concat())).ok();
    said.stdout.trim().to_owned()
}

fn head(world: &World, at: &Path) -> String {
    git(world, at, &["rev-parse", "HEAD"])
}

/// Somebody else pushes a commit, and gives its name.
fn advance(world: &World, name: &str) -> String {
    let remote = world.dir.join("remotes/acme").join(format!("{name}.git"));
    let tree = git(world, &remote, &["rev-parse", "main^{tree}"]);
    let commit = git(world, &remote, &["commit-tree", "-p", "main", "-m", "news", &tree]);
    git(world, &remote, &["update-ref", "refs/heads/main", &commit]);
    commit
}

/// Runs an update to its end; gives its job.
fn update(world: &World, more: &[&str]) -> Value {
    let id = world.run([&["clone", "--update", "--json"], more].concat()).ok().json()["id"].clone();
    let id = id.as_str().unwrap();
    world.wait(id);
    shown(world, id)
}

/// A job, with the items that failed.
fn shown(world: &World, id: &str) -> Value {
    let mut shown = world.run(["--id", id, "--json"]).ok().json();
    let mut job = shown["job"].take();
    job["failed_items"] = shown["failed_items"].take();
    job
}

/// The reason of each item that failed, by its name.
fn reason(job: &Value, name: &str) -> String {
    failed(job, name)["failure"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// What is told of why an item failed.
fn told(job: &Value, name: &str) -> String {
    failed(job, name)["failure"]["message"].as_str().unwrap_or_default().to_owned()
}

fn failed(job: &Value, name: &str) -> Value {
    let failed = job["failed_items"].as_array().unwrap();
    failed.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn what_stands_is_brought_up_to_date_and_what_a_person_has_changed_stays() {
    let (world, server, names) = cloned(7);
    let [behind, dirty, diverged, ahead, gone, current, tagged] = &names[..] else { panic!("seven") };
    let commit = |name: &str| {
        fs::write(at(&world, name).join("mine.txt"), "mine\n").unwrap();
        git(&world, &at(&world, name), &["add", "mine.txt"]);
        git(&world, &at(&world, name), &["commit", "-q", "-m", "mine"]);
    };
    let news = advance(&world, behind);
    fs::write(at(&world, behind).join("untracked.txt"), "mine\n").unwrap();
    let unseen = advance(&world, dirty);
    fs::write(at(&world, dirty).join("README.md"), "changed\n").unwrap();
    advance(&world, diverged);
    commit(diverged);
    commit(ahead);
    server.fault(gone, Fault::Status(404));
    git(&world, &world.dir.join(format!("remotes/acme/{tagged}.git")), &["tag", "v2", "main"]);
    let before: Vec<String> =
        [dirty, diverged, ahead, current].map(|name| head(&world, &at(&world, name))).into();

    let job = update(&world, &[]);
    assert_eq!(job["state"], "completed_with_warnings", "{job:#}");
    assert_eq!(head(&world, &at(&world, behind)), news);
    assert_eq!(read(&at(&world, behind).join("untracked.txt")), "mine\n");
    assert_eq!(git(&world, &at(&world, behind), &["status", "--porcelain"]), "?? untracked.txt");
    assert_eq!(read(&at(&world, dirty).join("README.md")), "changed\n");
    assert_eq!(
        git(&world, &at(&world, dirty), &["rev-parse", "origin/main"]),
        unseen,
        "it is fetched all the same"
    );
    let after: Vec<String> =
        [dirty, diverged, ahead, current].map(|name| head(&world, &at(&world, name))).into();
    assert_eq!(before, after);
    assert_eq!(git(&world, &at(&world, tagged), &["tag", "--list", "v2"]), "v2");
    let reasons = names.iter().map(|name| reason(&job, name)).collect::<Vec<_>>();
    assert_eq!(reasons, ["", "dirty", "diverged", "", "not_found", "", ""], "{job:#}");
    assert_eq!(
        (&job["progress"]["succeeded"], &job["progress"]["skipped"]),
        (&2.into(), &2.into()),
        "{job:#}"
    );
    let details = world.run(["--id", job["id"].as_str().unwrap()]).ok().stdout;
    for words in ["2 updated, 2 current", "gone upstream", "merge or rebase it"] {
        assert!(details.contains(words), "{details}");
    }

    // What a person has put in order is brought up to date when the job is resumed, and what is current stays untouched.
    git(&world, &at(&world, dirty), &["checkout", "--", "README.md"]);
    let id = job["id"].as_str().unwrap();
    world.run(["--resume", id]).ok();
    world.wait(id);
    assert_eq!(head(&world, &at(&world, dirty)), unseen);
    assert_eq!(reason(&shown(&world, id), dirty), "");
}

#[test]
fn without_news_each_repository_costs_one_request_and_no_git() {
    let (mut world, server, names) = cloned(40);
    // The one request is that of a server which speaks version 2; the first one finds out that it does.
    server.state.requests.lock().unwrap().clear();
    world.set("PATH", "/nowhere");
    world.run(["daemon", "stop"]).ok();
    let job = update(&world, &[]);
    assert_eq!((&job["state"], &job["progress"]["skipped"]), (&"completed".into(), &40.into()), "{job:#}");
    assert_eq!(server.requests("/acme/"), names.len() + 1);
    let followed = world.run(["clone", "--update", "--follow"]).ok().stdout;
    assert!(followed.contains("Job completed: 40 repositories: 40 current"), "{followed}");
}

#[test]
fn who_has_set_that_branches_are_pruned_loses_those_that_are_gone_and_pays_for_nothing_else() {
    let (world, server, names) = cloned(3);
    fs::write(world.dir.join("home/.gitconfig"), "[fetch]\n\tprune\n").unwrap();
    let remote = world.dir.join(format!("remotes/acme/{}.git", names[0]));
    git(&world, &remote, &["branch", "passing", "main"]);
    update(&world, &[]);
    assert_eq!(
        git(&world, &at(&world, &names[0]), &["branch", "-r", "--list", "*/passing"]),
        "origin/passing"
    );
    git(&world, &remote, &["branch", "-D", "passing"]);
    server.state.requests.lock().unwrap().clear();
    let job = update(&world, &[]);
    assert_eq!(
        (&job["progress"]["succeeded"], &job["progress"]["skipped"]),
        (&1.into(), &2.into()),
        "{job:#}"
    );
    assert_eq!(git(&world, &at(&world, &names[0]), &["branch", "-r", "--list", "*/passing"]), "");
    for name in &names[1..] {
        assert_eq!(
            server.requests(&format!("/{name}.git/git-upload-pack")),
            1,
            "it is asked once what it has"
        );
    }
}

#[test]
fn what_was_set_aside_is_no_clone_that_is_brought_up_to_date() {
    let (world, _server, names) = cloned(2);
    let here = at(&world, &names[1]);
    fs::rename(&here, here.with_file_name(format!("{}.corrupt-1a2b3c", names[1]))).unwrap();
    let job = update(&world, &[]);
    assert_eq!((&job["state"], &job["progress"]["total"]), (&"completed".into(), &1.into()), "{job:#}");
}

#[test]
fn a_daemon_that_dies_while_a_branch_is_forwarded_leaves_files_of_one_commit() {
    let (world, _server, names) = cloned(1);
    let here = at(&world, &names[0]);
    // A filter of the user's that takes its time, until the daemon is gone.
    let (begun, gate) = (world.dir.join("begun"), world.dir.join("gate"));
    let wait = format!(
        "touch '{}'; while ! test -e '{}'; do sleep 0.05; done; cat",
        begun.display(),
        gate.display()
    );
    let settings = format!("[filter \"slow\"]\n\tsmudge = \"{wait}\"\n");
    fs::write(world.dir.join("home/.gitconfig"), settings).unwrap();
    fs::write(here.join(".git/info/attributes"), "*.slow filter=slow\n").unwrap();
    let work = world.dir.join("work");
    let remote = world.dir.join("remotes").join(format!("acme/{}.git", names[0]));
    git(&world, &world.dir, &["clone", "-q", remote.to_str().unwrap(), work.to_str().unwrap()]);
    for name in ["a.slow", "b.txt", "c.slow"] {
        fs::write(work.join(name), "news\n").unwrap();
    }
    git(&world, &work, &["add", "."]);
    git(&world, &work, &["commit", "-q", "-m", "news"]);
    git(&world, &work, &["push", "-q"]);
    world.run(["clone", "--update"]).ok();
    // A lock of the index may be that of a git which only looks.
    eventually("git is at work on the files", || begun.exists());
    let pid = world.endpoint()["pid"].as_u64().unwrap() as u32;
    signal(pid, Signal::KILL);
    fs::write(gate, "").unwrap();
    let news = head(&world, &work);
    eventually("git comes to its end", || {
        head(&world, &here) == news && !here.join(".git/index.lock").exists()
    });
    assert_eq!(git(&world, &here, &["status", "--porcelain"]), "");
    assert!(["a.slow", "b.txt", "c.slow"].iter().all(|name| read(&here.join(name)) == "news\n"));
    world.run(["daemon", "start"]).ok();
    let jobs = world.run(["--all", "--json"]).ok().json()["jobs"].clone();
    let id = jobs[0]["id"].as_str().unwrap();
    assert_eq!(world.wait(id)["state"], "completed", "{}", world.run(["--logs", id]).stdout);
}

#[test]
fn what_is_missing_is_cloned_and_what_stands_is_updated_in_one_job() {
    let (world, server, names) = cloned(3);
    let news = advance(&world, &names[0]);
    fs::rename(at(&world, &names[1]), world.dir.join("elsewhere")).unwrap();
    let addresses: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let job = update(&world, &addresses);
    assert_eq!(job["state"], "completed", "{job:#}");
    assert_eq!(head(&world, &at(&world, &names[0])), news);
    assert_whole(&at(&world, &names[1]), &world.dir.join(format!("remotes/acme/{}.git", names[1])));
    assert_eq!(job["progress"]["skipped"], 1);
}

#[test]
fn only_what_has_nothing_of_anybodys_is_named_and_only_with_force_removed() {
    let (world, server, names) = cloned(10);
    let [clean, changed, ignored, stashed, committed, hidden, reset, noted, tagged, stays] = &names[..]
    else {
        panic!("ten")
    };
    git(&world, &at(&world, tagged), &["config", "user.email", "ann@example.org"]);
    git(&world, &at(&world, tagged), &["tag", "-a", "-m", "mine", "mine"]);
    fs::write(at(&world, hidden).join("README.md"), "mine\n").unwrap();
    git(&world, &at(&world, hidden), &["update-index", "--assume-unchanged", "README.md"]);
    git(&world, &at(&world, reset), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    git(&world, &at(&world, reset), &["reset", "-q", "--hard", "HEAD~1"]);
    git(&world, &at(&world, noted), &["notes", "add", "-m", "mine", "HEAD"]);
    fs::write(at(&world, changed).join("new.txt"), "mine\n").unwrap();
    fs::write(at(&world, ignored).join(".git/info/exclude"), "*.env\n").unwrap();
    fs::write(at(&world, ignored).join("secret.env"), "mine\n").unwrap();
    fs::write(at(&world, stashed).join("README.md"), "mine\n").unwrap();
    git(&world, &at(&world, stashed), &["stash", "-q"]);
    git(&world, &at(&world, committed), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    git(&world, &at(&world, committed), &["checkout", "-q", "--detach"]);
    for name in &names[..9] {
        server.fault(name, Fault::Status(404));
    }
    let stands = |name: &str| at(&world, name).join("README.md").exists();

    let named = update(&world, &["--prune"]);
    assert!(told(&named, clean).contains("--force removes it"), "{named:#}");
    for name in [changed, ignored, stashed, committed, hidden, reset, noted, tagged] {
        assert!(told(&named, name).contains("it stays"), "{named:#}");
    }
    assert!(names.iter().all(|name| stands(name)));

    let removed = update(&world, &["--prune", "--force"]);
    assert!(!at(&world, clean).exists(), "{removed:#}");
    assert!(names[1..].iter().all(|name| stands(name)));
    assert_eq!((reason(&removed, clean).as_str(), reason(&removed, changed).as_str()), ("", "not_found"));
    let config = read(&world.project.join(".specweave/config.json"));
    assert!(!config.contains(clean.as_str()) && config.contains(changed.as_str()), "{config}");
    let job = update(&world, &["--match", stays]);
    assert_eq!((&job["state"], &job["progress"]["total"]), (&"completed".into(), &1.into()));
}

#[test]
fn an_owner_of_whom_nothing_answers_is_taken_for_hidden_and_nothing_is_removed() {
    let (world, server, names) = cloned(2);
    names.iter().for_each(|name| server.fault(name, Fault::Status(404)));
    let job = update(&world, &["--prune", "--force"]);
    assert!(names.iter().all(|name| at(&world, name).join("README.md").exists()), "{job:#}");
    assert!(told(&job, &names[0]).contains("it may only be hidden"), "{job:#}");
}

#[test]
fn a_file_that_git_ignores_is_not_overwritten_by_news() {
    let (world, _server, names) = cloned(1);
    let (here, remote) = (at(&world, &names[0]), world.dir.join(format!("remotes/acme/{}.git", names[0])));
    fs::write(here.join(".git/info/exclude"), "settings.local\n").unwrap();
    fs::write(here.join("settings.local"), "mine\n").unwrap();
    let work = world.dir.join("work");
    git(&world, &world.dir, &["clone", "-q", remote.to_str().unwrap(), work.to_str().unwrap()]);
    fs::write(work.join("settings.local"), "theirs\n").unwrap();
    git(&world, &work, &["add", "settings.local"]);
    git(&world, &work, &["commit", "-q", "-m", "news"]);
    git(&world, &work, &["push", "-q"]);
    let job = update(&world, &[]);
    assert_eq!(read(&here.join("settings.local")), "mine\n");
    assert_eq!(reason(&job, &names[0]), "dirty", "{job:#}");
}

#[test]
fn a_daemon_that_dies_while_it_removes_leaves_nothing_that_looks_whole() {
    for point in ["clone-unnamed", "clone-vetted"] {
        dies_while_it_removes(point);
    }
}

fn dies_while_it_removes(point: &str) {
    let (mut world, server, names) = cloned(2);
    server.fault(&names[0], Fault::Status(404));
    world.run(["daemon", "stop"]).ok();
    world.set("SPECWEAVE_JOBS_CRASH", format!("{point}:abort@1"));
    world.run(["clone", "--update", "--prune", "--force", "--follow"]);
    world.unset("SPECWEAVE_JOBS_CRASH");
    assert!(!at(&world, &names[0]).exists());
    world.run(["daemon", "start"]).ok();
    let jobs = world.run(["--all", "--json"]).ok().json()["jobs"].clone();
    let job = jobs
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["title"].as_str().unwrap().contains("update"))
        .unwrap();
    let id = job["id"].as_str().unwrap();
    assert_eq!(world.wait(id)["state"], "completed", "{}", world.run(["--logs", id]).stdout);
    let left: Vec<_> = fs::read_dir(world.project.join("repositories/acme")).unwrap().collect();
    assert_eq!(left.len(), 1, "the other one stays: {left:?}");
    let config = read(&world.project.join(".specweave/config.json"));
    assert!(!config.contains(&names[0]) && config.contains(&names[1]), "{config}");
}

#[test]
fn a_clone_that_only_git_itself_reads_is_named_and_left_as_it_is() {
    let (world, _server, names) = cloned(2);
    let odd = at(&world, &names[0]);
    git(&world, &odd, &["config", "core.repositoryFormatVersion", "1"]);
    git(&world, &odd, &["config", "extensions.noop-v1", "true"]);
    let before = head(&world, &odd);
    advance(&world, &names[0]);
    let news = advance(&world, &names[1]);
    let job = update(&world, &[]);
    assert!(told(&job, &names[0]).contains("git pull"), "{job}");
    assert_eq!((head(&world, &odd), head(&world, &at(&world, &names[1]))), (before, news));
}

#[test]
fn news_needs_git_and_says_so_and_other_repositories_go_on() {
    let (mut world, _server, names) = cloned(2);
    advance(&world, &names[0]);
    world.set("PATH", "/nowhere");
    world.run(["daemon", "stop"]).ok();
    let job = update(&world, &[]);
    assert_eq!(job["progress"]["skipped"], 1, "{job:#}");
    let told = told(&job, &names[0]);
    assert!(told.contains("git is needed, as there is news"), "{told}");
}

#[test]
fn a_mirror_is_what_git_makes_of_the_same_word_and_follows_every_ref() {
    let (mut world, server, names) = World::with_remotes(2);
    server.state.real_git.store(true, Ordering::Relaxed);
    for who in ["AUTHOR", "COMMITTER"] {
        world.set(&format!("GIT_{who}_NAME"), "Ann").set(&format!("GIT_{who}_EMAIL"), "ann@example.org");
    }
    let addresses: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let mirror = |more: &[&str]| {
        let words = [&["clone", "--mirror", "--follow"], more].concat();
        world.run(words.into_iter().map(str::to_owned).chain(addresses.clone())).ok()
    };
    mirror(&[]);
    let says = |at: &Path| {
        let refs = git(&world, at, &["for-each-ref"]);
        let settings = git(&world, at, &["config", "--local", "--list"]);
        let own = |line: &&str| !line.starts_with("core.") && !line.starts_with("extensions.");
        (refs, settings.lines().filter(own).collect::<Vec<_>>().join("\n"), read(&at.join("HEAD")))
    };
    for name in &names {
        let theirs = world.dir.join("theirs").join(name);
        let words = ["clone", "--quiet", "--mirror", &server.repository(name), theirs.to_str().unwrap()];
        world.finish(world.program("git", words)).ok();
        let ours = at(&world, &format!("{name}.git"));
        assert_eq!(says(&ours), says(&theirs));
        git(&world, &ours, &["fsck", "--strict"]);
        let inside = fs::read_dir(&ours).unwrap().map(|file| file.unwrap().file_name());
        assert!(!inside.into_iter().any(|name| name.to_string_lossy().starts_with("specweave-job")));
    }
    // Nobody works in it: SpecWeave is not told of it.
    let config = read(&world.project.join(".specweave/config.json"));
    assert!(!config.contains(&names[0]), "{config}");
    assert!(mirror(&["-n"]).stdout.contains("something stands there already"));
    let again = world.start_clone([&["--mirror".to_owned()], &addresses[..]].concat());
    assert_eq!(world.wait(&again)["progress"]["skipped"], 2);

    let news = advance(&world, &names[0]);
    let job = update(&world, &[]);
    assert_eq!((&job["state"], &job["progress"]["total"]), (&"completed".into(), &2.into()), "{job}");
    let ours = at(&world, &format!("{}.git", names[0]));
    assert_eq!(git(&world, &ours, &["rev-parse", "main"]), news);

    fs::remove_file(ours.join("HEAD")).unwrap();
    let id = world.start_clone(["--mirror", &addresses[0]]);
    world.wait(&id);
    let why = told(&shown(&world, &id), &names[0]);
    assert!(why.contains("no git repository stands at the target"), "{why}");
    let refused = world.run(["clone", "--mirror", "--single-branch", &addresses[0]]).with_status(2);
    assert!(refused.stderr.contains("cannot be used with"), "{}", refused.stderr);
}
