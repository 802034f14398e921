//! `doctor` finds what is wrong, names its fix, tells no secret and touches nothing.

use crate::world::{World, eventually, files_below, read, signal, suspend};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// Every file of the project, its content and when it was changed.
fn snapshot(world: &World) -> Vec<(PathBuf, String, SystemTime)> {
    let mut files: Vec<_> = files_below(&world.project)
        .into_iter()
        .map(|path| (path.clone(), read(&path), path.metadata().unwrap().modified().unwrap()))
        .collect();
    files.sort();
    files
}

/// The finding about `check` that is not `ok`, if there is one.
fn finding(world: &World, check: &str) -> Option<Value> {
    let said = world.run(["doctor", "--json"]);
    let report = said.json();
    assert_eq!(said.status, Some(if report["healthy"] == true { 0 } else { 1 }), "{report}");
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check && finding["verdict"] != "ok").cloned()
}

#[track_caller]
fn assert_finds(world: &World, check: &str, verdict: &str, detail: &str) {
    let found = finding(world, check).unwrap_or_else(|| panic!("nothing is said about {check}"));
    assert_eq!(found["verdict"], verdict, "{found}");
    assert!(found["detail"].as_str().unwrap().contains(detail), "{found}");
    assert!(found["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{found}");
}

#[test]
fn a_healthy_project_is_called_healthy_and_nothing_is_touched() {
    let (mut world, server, names) = World::with_remotes(2);
    world.set("GITHUB_TOKEN", "ghp_0123456789abcdefghij");
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.wait(&id);
    // The documented list follows a moment after the end of a job.
    let state = world.project.join(".specweave/state");
    eventually("the list is written", || {
        read(&state.join("background-jobs.json")).contains("completedAt")
            && !state.join("background-jobs.lock").exists()
    });
    for daemon in [true, false] {
        if !daemon {
            world.run(["daemon", "stop"]).ok();
        }
        let before = snapshot(&world);
        let said = world.run(["doctor"]).ok().says("GITHUB_TOKEN is set").says("ok    lock");
        assert!(!said.stdout.contains("ghp_"), "{}", said.stdout);
        assert!(!said.stdout.contains("WRONG"), "{}", said.stdout);
        assert_eq!(world.run(["doctor", "--json"]).ok().json()["healthy"], true);
        let after = snapshot(&world);
        let touched = before.iter().filter(|one| !after.contains(one));
        let touched = touched.chain(after.iter().filter(|one| !before.contains(one))).map(|(path, ..)| path);
        assert_eq!(touched.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
        assert_eq!(world.daemon_pid().is_some(), daemon);
    }
}

#[test]
fn what_is_wrong_with_the_daemon_is_found() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let endpoint = world.state().join("jobs-daemon/endpoint.json");
    let published = fs::read(&endpoint).unwrap();
    let socket = PathBuf::from(world.endpoint()["endpoint"].as_str().unwrap().trim_start_matches("unix:"));

    fs::write(&endpoint, "{half").unwrap();
    assert_finds(&world, "endpoint", "wrong", "is not an endpoint file");
    let other = String::from_utf8(published.clone()).unwrap().replacen("\"pid\":", "\"pid\":1", 1);
    fs::write(&endpoint, other).unwrap();
    assert_finds(&world, "endpoint", "wrong", "does not hold the lock");
    fs::write(&endpoint, &published).unwrap();
    assert_eq!(finding(&world, "endpoint"), None);

    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert_finds(&world, "socket", "wrong", "can be used by others");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(finding(&world, "socket"), None);

    let daemon = world.daemon_pid().unwrap();
    suspend(daemon);
    assert_finds(&world, "handshake", "wrong", "does not answer");
    signal(daemon, Signal::CONT);

    fs::remove_file(&socket).unwrap();
    assert_finds(&world, "socket", "wrong", "No such file");
    // The fix that it names works.
    world.run(["daemon", "start"]).ok();
    assert_eq!(finding(&world, "socket"), None);

    world.kill_daemon();
    assert_finds(&world, "endpoint", "note", "a dead daemon's");
}

#[test]
fn what_is_wrong_with_the_files_is_found() {
    let (world, server, names) = World::with_remotes(2);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.wait(&id);
    world.run(["daemon", "stop"]).ok();
    let job = world.state().join("jobs").join(&id);

    let result = fs::read(job.join("result.json")).unwrap();
    fs::write(job.join("result.json"), &result[..result.len() / 2]).unwrap();
    assert_finds(&world, "state files", "wrong", "result.json");
    fs::write(job.join("result.json"), result).unwrap();
    assert_eq!(finding(&world, "state files"), None);

    let journal = fs::read(job.join("journal.jsonl")).unwrap();
    fs::write(job.join("journal.jsonl"), &journal[..journal.len() - 7]).unwrap();
    assert_finds(&world, "state files", "wrong", "journal.jsonl");
    world.run(["daemon", "start"]).ok();
    world.run(["--all"]).ok();
    world.run(["daemon", "stop"]).ok();
    assert_finds(&world, "quarantine", "note", "journal.jsonl.torn-");
    assert!(world.daemon_log().contains("journal.jsonl.torn-"), "the log names it, too");

    let orphan = world.project.join("repositories/acme/repo-009.partial-deadbeef");
    fs::create_dir_all(&orphan).unwrap();
    assert_finds(&world, "partial clones", "wrong", "repo-009.partial-deadbeef");
    fs::remove_dir(orphan).unwrap();

    let git = world.project.join("repositories/acme/repo-000/.git/config");
    let config = read(&git);
    fs::write(&git, config.replace("http://", "http://bob:hunter2-hunter2@")).unwrap();
    assert_finds(&world, "secrets", "wrong", "repositories/acme/repo-000/.git/config");
    assert!(!world.run(["doctor"]).stdout.contains("hunter2"));
    fs::write(&git, config).unwrap();

    fs::write(world.state().join("background-jobs.lock"), "1999999\n1795393241998").unwrap();
    assert_finds(&world, "list lock", "note", "left by a process that is gone");
    fs::remove_file(world.state().join("background-jobs.lock")).unwrap();

    let future = SystemTime::now() + std::time::Duration::from_secs(86_400);
    let list = fs::File::options().write(true).open(world.state().join("background-jobs.json")).unwrap();
    list.set_modified(future).unwrap();
    assert_finds(&world, "clock", "wrong", "files of this project are from");
}

#[test]
fn what_waits_for_a_person_and_what_is_missing_is_named() {
    let world = World::new();
    assert_eq!(finding(&world, "conflicts"), None);
    let specs = world.project.join(".specweave/docs/internal/specs/web/FS-001");
    fs::create_dir_all(&specs).unwrap();
    for number in 1..=7 {
        fs::write(specs.join(format!("conflict-us-00{number}-x.md")), "# Conflict: x and y\n").unwrap();
    }
    assert_finds(&world, "conflicts", "note", "web/FS-001/conflict-us-007-x.md");
    assert_eq!(finding(&world, "credentials"), None, "nothing needs any");
    let config = serde_json::json!({"version": "2.0", "sync": {"profiles": {"work": {"provider": "jira"}}}});
    fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    assert_finds(&world, "credentials", "note", "JIRA: config.json names it, and no token");
    world.run(["doctor"]).ok().says("export JIRA_API_TOKEN");
}
