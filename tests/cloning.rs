//! clone-repos: whole repositories, real reasons, nothing touched that is not ours.

use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::{Size, assert_whole, make, make_large, make_many};
use crate::world::{World, eventually, files_below, read};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub fn has_git() -> bool {
    let found = Command::new("git").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no git program on this machine");
    }
    found
}

fn clone_of(world: &World, name: &str) -> PathBuf {
    world.project.join("repositories/acme").join(name)
}

fn remote_of(root: &Path, name: &str) -> PathBuf {
    root.join(format!("acme/{name}.git"))
}

fn result(world: &World, id: &str) -> Value {
    serde_json::from_str(&read(&world.state().join(format!("jobs/{id}/result.json")))).unwrap()
}

fn assert_no_partials(world: &World) {
    let repositories = world.project.join("repositories");
    let partials: Vec<PathBuf> = fs::read_dir(&repositories)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|owner| fs::read_dir(owner.path()).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".partial-"))
        .collect();
    assert!(partials.is_empty(), "{partials:?}");
}

#[test]
fn repositories_are_cloned_whole_over_both_dialects_of_http() {
    for version_2 in [true, false] {
        let world = World::new();
        let root = world.dir.join("remotes");
        let names = make_many(&root, 12);
        let server = GitServer::http(&root);
        server.state.version_2.store(version_2, Ordering::Relaxed);
        let id = world.start_clone(names.iter().map(|name| server.repository(name)));
        let job = world.wait(&id);
        assert_eq!(job["state"], "completed", "{job}");
        assert_eq!(job["progress"]["succeeded"], 12);
        for name in &names {
            assert_whole(&clone_of(&world, name), &remote_of(&root, name));
        }
        let repository = git2::Repository::open(clone_of(&world, "repo-003")).unwrap();
        let origin = repository.find_remote("origin").unwrap();
        assert_eq!(origin.url().unwrap(), server.repository("repo-003"));
        assert!(repository.find_reference("refs/remotes/origin/side").is_ok());
        assert!(repository.find_reference("refs/tags/v1").is_ok());
        assert_eq!(repository.head().unwrap().name().unwrap(), "refs/heads/main");
        let config = repository.config().unwrap();
        assert_eq!(config.get_string("branch.main.remote").unwrap(), "origin");
        assert_no_partials(&world);
        assert_eq!(result(&world, &id)["successRate"], "100.0");
    }
}

#[test]
fn gits_own_server_is_understood_and_gits_own_check_is_content() {
    if !has_git() {
        return;
    }
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 3);
    let server = GitServer::http(&root);
    server.state.real_git.store(true, Ordering::Relaxed);
    let mut sources: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    sources.push("--depth=1".into());
    for sources in [sources.clone(), sources[..3].to_vec()] {
        let _ = fs::remove_dir_all(world.project.join("repositories"));
        let id = world.start_clone(&sources);
        assert_eq!(world.wait(&id)["state"], "completed");
        for name in &names {
            let clone = clone_of(&world, name);
            let git = |arguments: &[&str]| {
                let mut command = world.program("git", arguments);
                command.current_dir(&clone);
                world.finish(command).ok().stdout
            };
            git(&["fsck", "--strict"]);
            assert_eq!(git(&["status", "--porcelain"]), "");
            let commits = git(&["rev-list", "--count", "HEAD"]);
            assert_eq!(commits.trim(), if sources.len() == 4 { "1" } else { "10" });
            git(&["fetch"]);
        }
    }
}

#[test]
fn paths_file_addresses_and_ssh_work_too() {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 3);
    let path = remote_of(&root, "repo-000").display().to_string();
    let file = format!("file://{}", remote_of(&root, "repo-001").display());
    let mut sources = vec![path, file];
    if has_git() {
        // A stand-in for ssh that runs the command it is given; -o options and the host come first.
        let script = world.dir.join("ssh.sh");
        fs::write(&script, "while [ \"$1\" != -- ]; do shift; done; shift 2; exec sh -c \"$1\"\n").unwrap();
        world.set("GIT_SSH_COMMAND", format!("sh {}", script.display()));
        sources.push(format!("git@example.invalid:{}", remote_of(&root, "repo-002").display()));
    }
    let count = sources.len();
    let id = world.start_clone(&sources);
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{job} {}", world.run(["--id", &id]).stdout);
    for name in ["repo-000", "repo-001", "repo-002"].iter().take(count) {
        assert_whole(&clone_of(&world, name), &remote_of(&root, name));
    }
}

#[test]
fn https_is_verified_against_the_callers_authorities() {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::https(&root, &world.dir);
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["progress"]["failed"], 1);
    let error = result(&world, &id)["failedRepos"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("certificate"), "{error}");

    world.set("SSL_CERT_FILE", server.authority.as_ref().unwrap().display().to_string());
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_whole(&clone_of(&world, "repo-000"), &remote_of(&root, "repo-000"));
}

#[test]
fn what_was_cloned_and_is_gone_is_cloned_again_by_a_resume() {
    let (world, server, names) = World::with_remotes(5);
    server.fault("repo-004", Fault::Status(404));
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    assert_eq!(world.wait(&id)["state"], "completed_with_warnings");
    fs::remove_dir_all(clone_of(&world, "repo-001")).unwrap();
    fs::remove_dir_all(clone_of(&world, "repo-002").join(".git")).unwrap();
    let kept = server.requests("repo-000");
    server.heal("repo-004");
    world.run(["--resume", &id]).ok();
    let job = world.wait(&id);
    assert_eq!(
        (&job["state"], &job["progress"]["succeeded"], &job["progress"]["failed"]),
        (&"completed_with_warnings".into(), &4.into(), &1.into()),
        "{job}"
    );
    world.run(["--logs", &id]).ok().says("Gone since they were cloned, and cloned again: repo-001, repo-002");
    assert_eq!(server.requests("repo-000"), kept, "what stands there is not asked for again");
    for name in ["repo-000", "repo-001", "repo-003", "repo-004"] {
        assert_whole(&clone_of(&world, name), &world.dir.join(format!("remotes/acme/{name}.git")));
    }
    // A folder without a repository may be a person's.
    fs::remove_dir_all(clone_of(&world, "repo-002")).unwrap();
    world.run(["--resume", &id]).ok();
    let job = world.wait(&id);
    assert_eq!((&job["state"], &job["progress"]["succeeded"]), (&"completed".into(), &5.into()), "{job}");
    assert_whole(&clone_of(&world, "repo-002"), &world.dir.join("remotes/acme/repo-002.git"));
}

#[test]
fn where_few_files_may_be_open_the_clones_wait_for_each_other() {
    let (world, server, names) = World::with_remotes(60);
    let addresses = names.iter().map(|name| server.repository(name));
    let client = env!("CARGO_BIN_EXE_specweave-jobs");
    let mut words =
        vec!["-c".to_owned(), format!("ulimit -n 64 && exec '{client}' clone --follow \"$@\""), "sh".into()];
    words.extend(addresses);
    world.finish(world.program("sh", words)).ok().says("60");
    for name in &names {
        let clone = world.project.join("repositories/acme").join(name);
        assert_whole(&clone, &world.dir.join(format!("remotes/acme/{name}.git")));
    }
}

#[test]
fn one_failure_stops_nothing_and_resume_retries_just_what_failed() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 6);
    let server = GitServer::http(&root);
    server.fault("repo-001", Fault::Status(404));
    server.fault("repo-002", Fault::Corrupt);
    server.fault("repo-003", Fault::Page);
    server.fault("repo-004", Fault::BreaksMidPack);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed_with_warnings");
    assert_eq!(
        (&job["progress"]["succeeded"], &job["progress"]["failed"]),
        (&2.into(), &4.into()),
        "{}",
        world.run(["--logs", &id]).stdout
    );
    let failed = result(&world, &id)["failedRepos"].clone();
    let reason = |name: &str| {
        let all = failed.as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["error"].as_str().unwrap().to_owned()
    };
    assert!(reason("repo-001").contains("not found"), "{}", reason("repo-001"));
    assert!(!reason("repo-002").contains("Cloning into"), "{}", reason("repo-002"));
    assert!(reason("repo-003").contains("no git repository"), "{}", reason("repo-003"));
    assert!(reason("repo-004").contains("the connection broke"), "{}", reason("repo-004"));
    let shown = world.run(["--id", &id, "--json"]).ok().json();
    let items = shown["failed_items"].as_array().unwrap();
    let missing = items.iter().find(|item| item["name"] == "repo-001").unwrap();
    assert_eq!(missing["failure"]["reason"], "not_found", "{missing}");
    assert_eq!(missing["failure"]["host"], "127.0.0.1", "{missing}");
    assert_eq!(
        (&missing["action"], &missing["url"]),
        (&"clone".into(), &server.repository("repo-001").into())
    );
    assert_eq!(missing["target"], missing["failure"]["path"], "{missing}");
    let details = world.run(["--id", &id]).ok();
    let log = world.run(["--logs", &id]).ok();
    for name in ["repo-001", "repo-002", "repo-003", "repo-004"] {
        assert!(details.stdout.contains(&reason(name)), "{}", details.stdout);
        assert!(log.stdout.contains(&format!("FAILED: {name} - {}", reason(name))), "{}", log.stdout);
        assert!(!clone_of(&world, name).exists());
    }
    assert_no_partials(&world);
    let config: Value = serde_json::from_str(&read(&world.project.join(".specweave/config.json"))).unwrap();
    let entered: Vec<&str> = config["umbrella"]["childRepos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(entered.len(), 2);
    assert!(!entered.contains(&"repo-001"), "what failed is not entered as cloned");

    let before = server.requests("repo-000");
    for name in ["repo-001", "repo-002", "repo-003", "repo-004"] {
        server.heal(name);
    }
    world.run(["--resume", &id]).ok().says("Resuming from: item 3 of 6");
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(server.requests("repo-000"), before, "what was done is not asked for again");
    for name in &names {
        assert_whole(&clone_of(&world, name), &remote_of(&root, name));
    }
}

#[test]
fn a_passing_failure_is_tried_again_within_the_job() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    server.fault("repo-000", Fault::FailsFirst(2));
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed");
}

#[test]
fn a_stalled_server_times_out_and_the_others_are_cloned() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_STALL_SECONDS", "1");
    let root = world.dir.join("remotes");
    let names = make_many(&root, 4);
    let server = GitServer::http(&root);
    server.fault("repo-000", Fault::Silent);
    server.fault("repo-001", Fault::StallsMidPack);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let job = world.wait(&id);
    assert_eq!((&job["progress"]["succeeded"], &job["progress"]["failed"]), (&2.into(), &2.into()));
    for failed in result(&world, &id)["failedRepos"].as_array().unwrap() {
        assert!(failed["error"].as_str().unwrap().contains("stalled: no byte for 1 s"), "{failed}");
    }
    assert_no_partials(&world);
}

#[test]
fn a_network_that_is_lost_pauses_the_job_and_a_server_that_was_never_there_fails() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 4);
    let server = GitServer::http(&root);
    names[1..].iter().for_each(|name| server.fault(name, Fault::Silent));
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.until(&id, "the first", |job| job["progress"]["succeeded"] == 1);
    // Each connection breaks, and none is taken.
    server.cut();
    let job = world.until(&id, "the pause", |job| job["state"] != "running");
    assert_eq!((&job["state"], &job["pause"]["reason"]), (&"paused".into(), &"network".into()), "{job:#}");
    assert_eq!(job["progress"]["failed"], 0, "{job:#}");
    assert!(!job["pause"]["resume_at"].is_null());
    // The next daemon knows as well that its server was there.
    world.run(["daemon", "stop"]).ok();
    world.run(["--resume", &id]).ok();
    let job = world.until(&id, "the pause", |job| job["state"] != "running");
    assert_eq!((&job["state"], &job["progress"]["failed"]), (&"paused".into(), &0.into()), "{job:#}");
    let other = world.start_clone(["http://localhost:1/acme/web.git"]);
    assert_eq!(world.wait(&other)["state"], "failed");
}

#[test]
fn a_server_that_is_gone_or_in_trouble_fails_its_own_repositories_alone() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 3);
    let (gone, healthy) = (GitServer::http(&root), GitServer::http(&root));
    // Both have answered before.
    let first = world.start_clone([gone.repository("repo-000")]);
    assert_eq!(world.wait(&first)["state"], "completed");
    gone.cut();
    let elsewhere = |name: &str| healthy.repository(name).replace("127.0.0.1", "localhost");
    let id = world.start_clone(["-j", "1", &gone.repository("repo-001"), &elsewhere("repo-002")]);
    let job = world.wait(&id);
    assert_eq!(
        (&job["progress"]["succeeded"], &job["progress"]["failed"]),
        (&1.into(), &1.into()),
        "{job:#}"
    );
    healthy.fault("repo-000", Fault::Status(500));
    let id = world.start_clone(["--layout", "host", &elsewhere("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "failed", "it has answered, whatever it said: {names:?}");
}

#[test]
fn what_stands_there_already_is_checked_and_never_overwritten() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 6);
    let server = GitServer::http(&root);
    let sources: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let first = world.start_clone(&sources[..1]);
    world.wait(&first);
    // Whole, with a user's change in it.
    fs::write(clone_of(&world, "repo-000").join("mine.txt"), "mine").unwrap();
    // An empty .git, another repository, a plain folder, a file, an empty folder.
    fs::create_dir_all(clone_of(&world, "repo-001").join(".git")).unwrap();
    let other = git2::Repository::init(clone_of(&world, "repo-002")).unwrap();
    other.remote("origin", "https://elsewhere.invalid/a/b").unwrap();
    fs::create_dir_all(clone_of(&world, "repo-003")).unwrap();
    fs::write(clone_of(&world, "repo-003").join("notes"), "n").unwrap();
    fs::write(clone_of(&world, "repo-004"), "a file").unwrap();
    fs::create_dir_all(clone_of(&world, "repo-005")).unwrap();

    let id = world.start_clone(&sources);
    let job = world.wait(&id);
    let progress = &job["progress"];
    assert_eq!(
        (&progress["skipped"], &progress["succeeded"], &progress["failed"]),
        (&1.into(), &1.into(), &4.into())
    );
    let text = result(&world, &id)["failedRepos"].to_string();
    for reason in ["broken repository", "another repository", "no git repository", "a file or link"] {
        assert!(text.contains(reason), "no {reason:?} in {text}");
    }
    assert_eq!(read(&clone_of(&world, "repo-000").join("mine.txt")), "mine");
    assert_eq!(read(&clone_of(&world, "repo-003").join("notes")), "n");
    assert_eq!(read(&clone_of(&world, "repo-004")), "a file");
    assert_whole(&clone_of(&world, "repo-005"), &remote_of(&root, "repo-005"));
}

#[test]
fn an_unfinished_clone_of_another_tool_is_not_already_cloned() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    // What a killed `git clone` leaves: a remote, and no commit.
    let half = git2::Repository::init(clone_of(&world, "repo-000")).unwrap();
    half.remote("origin", &server.repository("repo-000")).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["progress"]["failed"], 1);
    assert!(result(&world, &id).to_string().contains("unfinished clone"));
    fs::remove_dir_all(clone_of(&world, "repo-000")).unwrap();
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
}

#[test]
fn an_empty_repository_is_a_success_and_so_is_its_second_clone() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    make(&root.join("acme"), "empty", Size { files: 0, commits: 0, bytes: 0 });
    let server = GitServer::http(&root);
    let id = world.start_clone([server.repository("empty")]);
    assert_eq!(world.wait(&id)["state"], "completed");
    let repository = git2::Repository::open(clone_of(&world, "empty")).unwrap();
    assert!(repository.head().is_err() && repository.references().unwrap().count() == 0);
    let id = world.start_clone([server.repository("empty")]);
    assert_eq!(world.wait(&id)["progress"]["skipped"], 1);
}

#[test]
fn a_bounded_depth_brings_one_commit_of_the_default_branch() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    for version_2 in [true, false] {
        server.state.version_2.store(version_2, Ordering::Relaxed);
        let _ = fs::remove_dir_all(world.project.join("repositories"));
        let id = world.start_clone([server.repository("repo-000").as_str(), "--depth", "1"]);
        let job = world.wait(&id);
        assert_eq!(job["state"], "completed", "{}", world.run(["--id", &id]).stdout);
        let repository = git2::Repository::open(clone_of(&world, "repo-000")).unwrap();
        assert!(repository.is_shallow());
        let mut walk = repository.revwalk().unwrap();
        walk.push_head().unwrap();
        assert_eq!(walk.count(), 1);
        assert!(clone_of(&world, "repo-000").join("README.md").exists());
    }
}

#[test]
fn a_large_pack_streams_through_the_indexer() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    let big = Size { files: 40, commits: 60, bytes: 600_000 };
    let remote = make(&root.join("acme"), "big", big);
    let server = GitServer::http(&root);
    server.warm(&["big".to_owned()]);
    let id = world.start_clone([server.repository("big")]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_whole(&clone_of(&world, "big"), &remote);
    let packs = files_below(&clone_of(&world, "big").join(".git/objects/pack"));
    let size: u64 = packs.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size > 5_000_000, "{size} bytes: too small for this test");
}

#[test]
fn a_kill_is_answered_at_once_while_a_large_pack_is_worked_on() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    make(&root.join("acme"), "big", Size { files: 40, commits: 40, bytes: 600_000 });
    let server = GitServer::http(&root);
    server.warm(&["big".to_owned()]);
    for pause in [100, 300, 500] {
        let id = world.start_clone([server.repository("big")]);
        // Not an event to wait for: somewhere between the first byte and the last file.
        std::thread::sleep(Duration::from_millis(pause));
        let said = world.run(["--kill", &id]);
        assert!(said.took < Duration::from_secs(1), "{said:?}");
        let partial = clone_of(&world, &format!("big.partial-{id}"));
        eventually("the partial clone is gone", || !partial.exists());
        if said.status == Some(0) && !clone_of(&world, "big").exists() {
            world.run(["--resume", &id]).ok();
        }
        world.wait(&id);
        assert_whole(&clone_of(&world, "big"), &remote_of(&root, "big"));
        fs::remove_dir_all(clone_of(&world, "big")).unwrap();
    }
}

#[test]
fn a_silent_server_of_the_git_protocol_times_out_and_can_be_killed() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_STALL_SECONDS", "2");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("git://{}/acme/x.git", listener.local_addr().unwrap());
    let id = world.start_clone([&address]);
    world.until(&id, "the items", |job| job["progress"]["total"] == 1);
    let said = world.run(["--kill", &id]).ok();
    assert!(said.took < Duration::from_secs(1), "{said:?}");
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["progress"]["failed"], 1);
}

#[test]
fn a_link_in_a_repository_is_not_read_through() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    let path = make(&root.join("acme"), "linked", Size { files: 1, commits: 1, bytes: 100 });
    let repository = git2::Repository::open(&path).unwrap();
    let parent = repository.head().unwrap().peel_to_commit().unwrap();
    let mut tree = repository.treebuilder(None).unwrap();
    tree.insert(".gitattributes", repository.blob(b"/dev/zero").unwrap(), 0o120000).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let who = parent.author().to_owned();
    repository.commit(Some("refs/heads/main"), &who, &who, "link", &tree, &[&parent]).unwrap();
    let server = GitServer::http(&root);
    let id = world.start_clone([server.repository("linked")]);
    assert_eq!(world.wait(&id)["state"], "completed");
    let link = fs::symlink_metadata(clone_of(&world, "linked").join(".gitattributes")).unwrap();
    assert!(link.is_symlink());
}

#[test]
fn two_jobs_on_the_same_target_leave_one_whole_clone() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 3);
    let server = GitServer::http(&root);
    server.fault("repo-001", Fault::Slow);
    let one = world.start_clone([server.repository("repo-000"), server.repository("repo-001")]);
    let two = world.start_clone([server.repository("repo-001"), server.repository("repo-002")]);
    assert_eq!(world.wait(&one)["state"], "completed");
    assert_eq!(world.wait(&two)["state"], "completed");
    for name in &names {
        assert_whole(&clone_of(&world, name), &remote_of(&root, name));
    }
    assert_no_partials(&world);
}

#[test]
fn names_that_would_leave_the_project_are_refused_and_the_others_still_clone() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    let evil = format!("{}/acme/%2e%2e%2fescape.git", server.url());
    let control = format!("{}/acme/%1b%5b2Jx.git", server.url());
    let id = world.start_clone([&server.repository("repo-000"), &evil, &control]);
    let job = world.wait(&id);
    assert_eq!((&job["progress"]["succeeded"], &job["progress"]["failed"]), (&1.into(), &2.into()));
    let shown = world.run(["--id", &id]).ok().stdout;
    for reason in ["path separator", "control characters"] {
        assert!(shown.contains(reason), "no {reason:?} in {shown}");
    }
    assert!(!shown.contains('\u{1b}'));
    assert!(!world.project.join("escape").exists() && !world.project.join("repositories/escape").exists());
}

#[test]
fn a_linked_target_folder_is_not_followed() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    let outside = world.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(world.project.join("repositories")).unwrap();
    std::os::unix::fs::symlink(&outside, world.project.join("repositories/acme")).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["progress"]["failed"], 1);
    assert!(result(&world, &id).to_string().contains("links are not followed"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_short_limit_stays_inside_the_job_and_a_long_one_pauses_it_until_it_opens() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 3);
    let server = GitServer::http(&root);
    server.fault("repo-000", Fault::LimitedOnce(1));
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed");

    server.fault("repo-001", Fault::LimitedOnce(31));
    let id = world.start_clone([server.repository("repo-001"), server.repository("repo-002")]);
    let job = world.until(&id, "a pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "rate_limited");
    world
        .run::<&str>([])
        .ok()
        .says("Paused (1):")
        .says("Reason: Rate limited (resumes in")
        .says(&format!("--resume {id}"));
    eventually("the list tells of it", || world.mirror()["jobs"][1]["status"] == "paused");
    // Sooner than the remote asked, because a person said so.
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    for name in &names {
        assert_whole(&clone_of(&world, name), &remote_of(&root, name));
    }
}

#[test]
fn a_projects_unreadable_configuration_is_left_alone_and_reported() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let config = world.project.join(".specweave/config.json");
    fs::write(&config, "{ \"mine\": ").unwrap();
    let id = world.start_clone([remote_of(&root, "repo-000").display().to_string()]);
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(read(&config), "{ \"mine\": ");
    assert!(result(&world, &id)["notes"].to_string().contains("was left alone"));
    world.run(["--logs", &id]).ok().says("configuration was not changed");
}

#[test]
fn clones_have_the_users_own_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    let script = format!("umask 022; exec '{}' \"$@\"", env!("CARGO_BIN_EXE_specweave-jobs"));
    let source = server.repository("repo-000");
    let said = world.finish(world.program("sh", ["-c", &script, "sh", "clone", &source, "--follow"]));
    said.ok();
    let mode = |path: &str| {
        fs::metadata(clone_of(&world, "repo-000").join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("README.md")), (0o755, 0o644));
}

#[test]
fn a_dry_run_shows_what_would_happen_and_changes_nothing() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 2);
    let server = GitServer::http(&root);
    let bad = format!("{}/acme/%2e%2e%2fescape.git", server.url());
    let said = world.run(["clone", "--dry-run", &server.repository("repo-000"), &bad]).ok();
    said.says("repositories/acme/repo-000").says("path separator").says("Nothing was changed");
    assert!(!world.project.join("repositories").exists());
    assert!(!world.state().join("jobs").exists());
    assert_eq!(server.requests(""), 0);
}

#[test]
fn nonsense_is_refused_with_what_was_understood() {
    let world = World::new();
    for arguments in [
        vec!["clone", "not a source"],
        vec!["clone"],
        vec!["clone", "acme/x", "--match", "regex:("],
        vec!["clone", "acme/x", "--ado-org", "o"],
        vec!["clone", "acme/x", "--concurrency", "0"],
        vec!["--kill", "a", "--resume", "b"],
    ] {
        let said = world.run(&arguments);
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
    }
    let said = world.run(["clone", "/srv/nothing/here.git", "--match", "zzz", "--follow"]).with_status(1);
    said.says("nothing to clone").says("do not match the filters");
}

#[test]
fn the_same_work_is_not_started_twice_while_it_runs() {
    let world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 1);
    let server = GitServer::http(&root);
    server.fault("repo-000", Fault::Silent);
    let id = world.start_clone([server.repository("repo-000")]);
    let said = world.run(["clone", &server.repository("repo-000")]).with_status(1);
    said.complains(&format!("--follow {id}"));
    world.finish_within(world.command(["--kill", &id]), Duration::from_secs(10)).ok();
}

#[test]
fn one_large_repository_shows_how_far_it_is_before_it_ends() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    make_large(&root.join("acme"), "large", 150);
    let server = GitServer::http(&root);
    server.warm(&["large".to_owned()]);
    server.fault("large", Fault::StallsMidPack);
    let id = world.start_clone([server.repository("large")]);
    let job = world.until(&id, "half of it", |job| job["progress"]["percentage"].as_u64() > Some(2));
    let (progress, active) = (&job["progress"], &job["progress"]["active"][0]);
    assert_eq!((&progress["current"], &progress["total"]), (&0.into(), &1.into()), "{job}");
    assert!(progress["percentage"].as_u64() < Some(80), "{job}");
    let count = |key: &str| active[key].as_u64().unwrap_or_default();
    assert!(0 < count("received_objects") && count("received_objects") < count("total_objects"), "{job}");
    assert!(count("received_bytes") > 1_000_000 && count("bytes_per_second") > 0, "{job}");
    world.run(["kill", &id]).ok();
}
