//! What comes with a checkout is a stranger's: no file of it decides what runs, whom the daemon talks to, who is signalled
//! or what is written outside. The same for copies, for neighbours on the machine, and for trees that a remote makes up.

use crate::world::recorded::lay_out;
use crate::world::trackers::Trackers;
use crate::world::{World, descriptors, eventually, files_below, lives, read, repositories};
use git2::{ObjectType, Oid, Repository};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that only waits, and is ended with its owner.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("300").stdin(Stdio::null()).spawn().unwrap())
    }

    /// Whether it still runs: nobody has signalled it.
    fn is_there(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// The same world seen from another project of it.
fn seen_from(world: &World, project: PathBuf) -> World {
    let mut other = World::bare();
    other.environment = world.environment.clone();
    other.project = project;
    other
}

#[test]
fn a_copy_of_a_project_has_a_daemon_of_its_own_and_goes_on_with_nothing_of_the_original() {
    let (world, server, names) = World::with_remotes(2);
    server.fault(&names[0], crate::world::git_server::Fault::Silent);
    let sources = names.iter().map(|name| server.repository(name));
    let id = world.start_clone(sources);
    world.until(&id, "the other one", |job| job["progress"]["current"].as_u64() == Some(1));
    world.kill_daemon();
    copy(&world.project, &world.dir.join("copy"));
    server.heal(&names[0]);
    let copied = seen_from(&world, world.dir.join("copy"));
    let remote = repositories::make(&world.dir.join("remotes"), "another", repositories::SMALL);
    let other = copied.start_clone([remote.display().to_string()]);
    assert_eq!(copied.wait(&other)["state"], "completed");
    assert!(
        files_below(&copied.project.join("repositories"))
            .iter()
            .any(|path| path.ends_with("another/.git/HEAD"))
    );
    assert!(!world.project.join("repositories/remotes").exists(), "nothing was done in the original");
    let said = copied.run(["--all"]).ok().says(&other);
    assert!(!said.stdout.contains(&format!("[{id}]")) && said.stderr.contains("is a copy of"), "{said:?}");
    assert!(!copied.project.join(format!("repositories/acme/{}", names[0])).exists());
    // The original's own daemon goes on with it.
    world.run(["daemon", "start"]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    let pids = (world.daemon_pid(), copied.daemon_pid());
    assert!(pids.0.is_some() && pids.1.is_some() && pids.0 != pids.1, "{pids:?}");
}

#[test]
fn a_project_that_was_moved_keeps_its_jobs_and_its_old_daemon_serves_nobody_there() {
    let mut world = World::new();
    let remote = repositories::make(&world.dir.join("remotes"), "one", repositories::SMALL);
    let id = world.start_clone([remote.display().to_string()]);
    world.wait(&id);
    let old = world.daemon_pid().unwrap();
    let moved = world.dir.join("moved");
    fs::rename(&world.project, &moved).unwrap();
    // A stranger takes its place.
    fs::create_dir_all(world.project.join(".specweave")).unwrap();
    world.run(["--all"]).ok().says("No background jobs");
    let mut at_old_place = World::bare();
    std::mem::swap(&mut at_old_place.project, &mut world.project);
    at_old_place.environment = world.environment.clone();
    world.project = moved;
    assert_eq!(world.job(&id)["state"], "completed");
    world.run(["daemon", "start"]).ok();
    eventually("the old daemon has left", || !lives(old));
    assert_eq!(world.job(&id)["state"], "completed");
    assert_eq!(files_below(&at_old_place.project), Vec::<PathBuf>::new());
}

#[test]
fn an_endpoint_that_came_with_a_checkout_leads_to_no_other_project() {
    let world = World::new();
    let remote = repositories::make(&world.dir.join("remotes"), "one", repositories::SMALL);
    let id = world.start_clone([remote.display().to_string()]);
    world.wait(&id);
    let hostile = seen_from(&world, world.dir.join("hostile"));
    fs::create_dir_all(hostile.state().join("jobs-daemon")).unwrap();
    fs::copy(
        world.state().join("jobs-daemon/endpoint.json"),
        hostile.state().join("jobs-daemon/endpoint.json"),
    )
    .unwrap();
    hostile.run(["--all"]).ok().says("No background jobs");
    hostile.run(["prune", "--yes", "--keep", "0"]).ok().says("Removed 0");
    assert_eq!(world.job(&id)["state"], "completed");
}

#[test]
fn a_project_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can make files of another user");
    }
    let world = World::new();
    let below = world.project.join("work");
    fs::create_dir(&below).unwrap();
    std::os::unix::fs::chown(world.project.join(".specweave"), Some(65534), None).unwrap();
    for verb in
        [&["--all"][..], &["clone", "/nowhere/a/b"], &["daemon", "start"], &["daemon", "stop"], &["doctor"]]
    {
        let mut command = world.command(verb);
        command.current_dir(&below);
        world.finish(command).with_status(1).complains("belongs to another user");
    }
    assert!(!world.state().join("jobs-daemon").exists());
}

#[test]
fn files_of_another_user_are_not_read() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can make files of another user");
    }
    let world = World::new();
    let list = world.state().join("background-jobs.json");
    fs::write(&list, json!({"jobs": [{"id": "x1", "type": "clone-repos", "status": "running"}]}).to_string())
        .unwrap();
    world.run(["--all"]).ok().says("x1");
    std::os::unix::fs::chown(&list, Some(65534), None).unwrap();
    let said = world.run(["--all"]);
    assert!(!said.stdout.contains("x1"), "{said:?}");
}

#[test]
fn a_lock_that_names_a_process_signals_nobody() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let published = read(&world.state().join("jobs-daemon/daemon.lock"));
    world.run(["daemon", "stop"]).ok();
    let mut sleeper = Sleeper::start();
    let lock = world.state().join("jobs-daemon/daemon.lock");
    let host = published.lines().nth(1).unwrap();
    for pid in [sleeper.0.id().to_string(), "-1".into(), "0".into(), "1".into(), "4294967295".into()] {
        fs::write(&lock, format!("{pid}\n{host}")).unwrap();
        let held = fs::File::open(&lock).unwrap();
        held.lock().unwrap();
        world.run(["daemon", "stop"]).with_status(4).complains("cannot be told from here which process");
        assert!(sleeper.is_there(), "{pid} was signalled");
    }
    fs::write(&lock, format!("{}\n{host}", sleeper.0.id())).unwrap();
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    world.run(["clone", "/nowhere/a/b"]).with_status(4);
    assert!(sleeper.is_there(), "it was asked to look");
}

#[test]
fn a_job_of_another_tool_cannot_have_a_process_signalled_that_does_not_work_on_it() {
    let world = World::new();
    let mut sleeper = Sleeper::start();
    let folder = world.state().join("jobs/kill0001");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("worker.pid"), sleeper.0.id().to_string()).unwrap();
    let list = json!({"jobs": [{"id": "kill0001", "type": "clone-repos", "status": "running", "startedAt": "2026-01-01T00:00:00Z"}]});
    fs::write(world.state().join("background-jobs.json"), list.to_string()).unwrap();
    world.run(["--kill", "kill0001"]).with_status(1).complains("does not work on this job");
    assert!(sleeper.is_there());
}

#[test]
fn state_that_is_removed_under_a_daemon_leaves_one_daemon_and_nothing_is_written_into_what_is_not_its() {
    let (world, server, names) = World::with_remotes(2);
    server.fault(&names[0], crate::world::git_server::Fault::Silent);
    for removed in [".specweave/state", ".specweave/state/jobs-daemon"] {
        world.start_clone([server.repository(&names[0])]);
        let old = world.daemon_pid().unwrap();
        let aside = world.dir.join("aside");
        fs::rename(world.project.join(removed), &aside).unwrap();
        // The daemon may make a file in it between two steps of a removal: as `rm -rf` would be, it is done again.
        let _ = fs::remove_dir_all(world.project.join(removed));
        let id = world.start_clone([server.repository(&names[1])]);
        assert!(!lives(old), "the daemon whose state was removed has left before another one began");
        let job = world.until(&id, "its end", |job| job["state"] == "completed");
        assert_eq!(job["progress"]["succeeded"], 1, "{job}");
        assert!(!world.project.join(format!("repositories/acme/{}", names[0])).exists());
        world.run(["daemon", "stop"]).ok();
        let _ = fs::remove_dir_all(&aside);
        let _ = fs::remove_dir_all(world.project.join("repositories"));
        let _ = fs::remove_dir_all(world.state());
    }
}

#[test]
fn a_plan_that_somebody_has_changed_is_not_gone_on_with() {
    let (world, server, names) = World::with_remotes(2);
    server.fault(&names[0], crate::world::git_server::Fault::Silent);
    let id = world.start_clone([server.repository(&names[0])]);
    world.until(&id, "its plan", |job| job["progress"]["total"].as_u64() == Some(1));
    world.kill_daemon();
    server.heal(&names[0]);
    let config = world.state().join(format!("jobs/{id}/config.json"));
    let text = read(&config);
    fs::write(&config, text.replace(&server.repository(&names[0]), &server.repository(&names[1]))).unwrap();
    world.run(["daemon", "start"]).ok();
    let job = world.wait(&id);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(
        job["failure"]["message"].as_str().unwrap().contains("somebody has changed config.json"),
        "{job}"
    );
    assert_eq!(server.requests(&format!("POST /acme/{}.git", names[1])), 0);
    fs::write(&config, text).unwrap();
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
}

#[test]
fn what_a_checkout_says_of_imports_and_syncs_is_set_aside_and_leads_nowhere() {
    let mut world = World::new();
    let trackers = Trackers::seeded(3);
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let config = json!({"version": "2.0", "sync": {"github": {"owner": "acme", "repo": "web"}}});
    fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    world.run(["import", "--since", "all", "--follow"]).ok();
    let ledger = world.state().join("jobs-daemon/imports.jsonl");
    let ours = read(&ledger);
    let outside = world.dir.join("outside.md");
    let story = files_below(&world.project.join(".specweave/docs"))
        .into_iter()
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("us-"))
        .unwrap();
    fs::copy(&story, &outside).unwrap();
    let before = read(&outside);
    let bashrc = world.dir.join("home/.bashrc");
    fs::write(&bashrc, "mine\n").unwrap();

    let hostile = seen_from(&world, world.dir.join("hostile"));
    let folder = hostile.state().join("jobs-daemon");
    fs::create_dir_all(&folder).unwrap();
    fs::write(hostile.project.join(".specweave/config.json"), config.to_string()).unwrap();
    for planted in
        [ours.replace("\"p\":\"", "\"p\":\"../../../../../outside"), ours.clone(), "x\ntouch /tmp/x\n".into()]
    {
        fs::write(folder.join("imports.jsonl"), &planted).unwrap();
        let _ = fs::remove_file(folder.join("imports.jsonl.corrupt"));
        symlink(&bashrc, folder.join("imports.jsonl.corrupt")).unwrap();
        hostile.run(["import", "--dry-run"]).ok();
        hostile.run(["sync", "--dry-run"]);
        assert_eq!(read(&folder.join("imports.jsonl")), planted, "a preview changes nothing");
        hostile.run(["import", "--since", "all", "--follow"]).ok();
        assert_eq!((read(&outside), read(&bashrc)), (before.clone(), "mine\n".into()));
        let aside = files_below(&folder)
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("imports.jsonl.corrupt-"));
        assert!(aside.map(|path| read(&path)).any(|kept| kept == planted), "what was not ours is kept");
    }
    hostile.run(["doctor"]).says("imports.jsonl.corrupt-");
}

#[test]
fn no_helper_that_a_project_names_is_run_also_without_a_daemon() {
    let mut world = World::new();
    let remotes = world.dir.join("remotes");
    fs::create_dir_all(remotes.join("acme")).unwrap();
    repositories::make(&remotes.join("acme"), "one", repositories::SMALL);
    let server = crate::world::git_server::GitServer::http(&remotes);
    server.require_token("only-this-one");
    let pwned = world.dir.join("pwned");
    let repository = Repository::init(&world.project).unwrap();
    let helper = format!("!touch {}", pwned.display());
    repository.config().unwrap().set_str("credential.helper", &helper).unwrap();
    for without in ["", "1"] {
        world.set("SPECWEAVE_JOBS_NO_DAEMON", without);
        world.run(["clone", &server.repository("one"), "--follow"]).with_status(1);
        assert!(!pwned.exists(), "the project's helper was run");
    }
}

#[test]
fn endless_files_and_pipes_anywhere_in_a_project_hold_nobody_up() {
    let (world, server, names) = World::with_remotes(1);
    let source = server.repository(&names[0]);
    let places = [
        ".env",
        ".specweave/config.json",
        ".specweave/state/jobs-daemon/looks.json",
        ".specweave/sync-metadata.json",
    ];
    for place in places {
        let path = world.project.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for kind in ["link", "pipe"] {
            let _ = fs::remove_file(&path);
            match kind {
                "link" => symlink("/dev/zero", &path).unwrap(),
                _ => drop(world.finish(world.program("mkfifo", [&path])).ok()),
            }
            for verb in [&["--all"][..], &["doctor"], &["clone", &source, "--dry-run"]] {
                let said = world.run(verb);
                assert!(said.status.is_some(), "{place} as a {kind}: {said:?}");
            }
            world.run(["clone", &source, "--follow"]);
            world.run(["daemon", "stop"]).ok();
        }
        fs::remove_file(&path).unwrap();
        if place.ends_with("config.json") {
            world.run(["init"]).ok();
        }
    }
}

/// A bare repository whose one commit has this tree, whatever git would say of it.
fn repository_of(root: &Path, name: &str, tree: impl FnOnce(&Repository) -> Oid) -> PathBuf {
    let path = root.join(format!("{name}.git"));
    let repository = Repository::init_bare(&path).unwrap();
    let tree = tree(&repository);
    let text = format!("tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n");
    let commit = repository.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap();
    repository.reference("refs/heads/main", commit, true, "").unwrap();
    repository.set_head("refs/heads/main").unwrap();
    path
}

fn raw_tree(repository: &Repository, entries: &[(&str, &str, Oid)]) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, oid) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(oid.as_bytes());
    }
    repository.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
}

#[test]
fn a_remote_makes_no_rights_that_git_would_not_make() {
    let world = World::new();
    let remotes = world.dir.join("remotes");
    fs::create_dir_all(remotes.join("acme")).unwrap();
    let path = repository_of(&remotes.join("acme"), "odd", |repository| {
        let blob = repository.blob(b"#!/bin/sh\n").unwrap();
        let below = raw_tree(repository, &[("102755", "group", blob), ("100666", "open", blob)]);
        raw_tree(
            repository,
            &[
                ("40000", "below", below),
                ("100777", "every", blob),
                ("104755", "setuid", blob),
                ("101755", "sticky", blob),
            ],
        )
    });
    let server = crate::world::git_server::GitServer::http(&remotes);
    for source in [path.display().to_string(), server.repository("odd")] {
        let clone = world.project.join("repositories/acme/odd");
        let _ = fs::remove_dir_all(&clone);
        world.run(["clone", &source, "--follow"]).ok();
        for (name, mode) in [
            ("setuid", 0o755),
            ("sticky", 0o755),
            ("every", 0o755),
            ("below/group", 0o755),
            ("below/open", 0o644),
        ] {
            let found = fs::metadata(clone.join(name)).unwrap().mode() & 0o7777;
            assert_eq!(found & !0o022, mode & found, "{name} of {source} has {found:o}");
            assert_eq!(found & 0o7022, 0, "{name} of {source} has {found:o}");
        }
        assert_ne!(
            fs::metadata(&clone).unwrap().permissions().mode() & 0o055,
            0,
            "the clone can be entered as usual"
        );
    }
}

#[test]
fn trees_that_unfold_beyond_all_bounds_are_refused_and_others_are_cloned() {
    let world = World::new();
    let remotes = world.dir.join("remotes");
    let folder = remotes.join("acme");
    fs::create_dir_all(&folder).unwrap();
    repository_of(&folder, "wide", |repository| {
        let blob = repository.blob(b"x").unwrap();
        let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
        let level = |mode: &str, oid: Oid| {
            let entries: Vec<(&str, &str, Oid)> =
                names.iter().map(|name| (mode, name.as_str(), oid)).collect();
            raw_tree(repository, &entries)
        };
        (0..9).fold(level("100644", blob), |below, _| level("40000", below))
    });
    repository_of(&folder, "deep", |repository| {
        let blob = repository.blob(b"x").unwrap();
        let bottom = raw_tree(repository, &[("100644", "f", blob)]);
        (0..5_000).fold(bottom, |below, _| raw_tree(repository, &[("40000", "d", below)]))
    });
    repositories::make(&folder, "fine", repositories::SMALL);
    let server = crate::world::git_server::GitServer::http(&remotes);
    // The tests' server would walk the wide one to its end.
    let wide = folder.join("wide.git").display().to_string();
    let id = world.start_clone([wide, server.repository("deep"), server.repository("fine")]);
    let job = world.wait(&id);
    assert_eq!(
        (&job["state"], &job["progress"]["succeeded"]),
        (&json!("completed_with_warnings"), &json!(1)),
        "{job}"
    );
    let said = world.run(["--id", &id]).ok();
    said.says("more than 5000000 files and folders").says("more than 2048 deep");
    let names: Vec<_> = fs::read_dir(world.project.join("repositories/acme"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names, ["fine"]);
}

#[test]
fn a_sync_that_fails_is_made_good_before_anything_later_is_acknowledged() {
    let (mut world, server, names) = World::with_remotes(6);
    for nth in [1, 2, 4] {
        world.set("SPECWEAVE_JOBS_CRASH", format!("journal.jsonl-sync:fail@{nth}"));
        let id = world.start_clone(names.iter().map(|name| server.repository(name)));
        let journal = world.state().join(format!("jobs/{id}/journal.jsonl"));
        assert_eq!(world.wait(&id)["state"], "completed");
        world.kill_daemon();
        world.unset("SPECWEAVE_JOBS_CRASH");
        world.run(["daemon", "start"]).ok();
        let job = world.job(&id);
        assert_eq!((&job["state"], &job["progress"]["current"]), (&json!("completed"), &json!(6)), "{job}");
        for line in read(&journal).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        world.run(["daemon", "stop"]).ok();
        let _ = fs::remove_dir_all(world.project.join("repositories"));
    }
}

#[test]
fn jobs_that_are_removed_while_somebody_waits_end_with_what_became_of_them() {
    let world = World::new();
    let remotes = world.dir.join("remotes");
    let waiting: Vec<String> = (0..14)
        .map(|number| {
            let path = repositories::make(&remotes, &format!("r{number}"), repositories::SMALL);
            world.start_clone([path.display().to_string()])
        })
        .collect();
    // More than the ten that are kept have ended by now, or will.
    std::thread::scope(|scope| {
        for id in &waiting {
            let world = &world;
            scope.spawn(move || {
                let said = world.run(["wait", id, "--timeout", "40"]);
                assert!(matches!(said.status, Some(0 | 3)), "{said:?}");
            });
        }
    });
}

#[test]
fn a_daemon_near_its_limit_of_memory_begins_no_new_work_and_lives() {
    if !cfg!(target_os = "linux") {
        return eprintln!("SKIPPED: only Linux limits another process");
    }
    let (world, server, names) = World::with_remotes(1);
    world.run(["daemon", "start"]).ok();
    let daemon = world.daemon_pid().unwrap();
    let pages: u64 =
        read(Path::new(&format!("/proc/{daemon}/statm"))).split(' ').next().unwrap().parse().unwrap();
    let used = pages * rustix::param::page_size() as u64;
    let limit = |bytes: u64| {
        let said =
            world.finish(world.program("prlimit", [format!("--pid={daemon}"), format!("--as={bytes}:")]));
        assert_eq!(said.status, Some(0), "{said:?}");
    };
    limit(used + used / 100);
    let source = server.repository(&names[0]);
    world.run(["clone", &source]).with_status(1).complains("no new work is begun");
    world.run(["--all"]).ok().says("No background jobs");
    limit(64 << 30);
    world.run(["clone", &source, "--follow"]).ok();
    assert_eq!(world.daemon_pid(), Some(daemon));
}

#[test]
fn idle_connections_without_number_leave_others_answered_or_refused_and_go_without_a_trace() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let socket = world.socket();
    let daemon = world.daemon_pid().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: limit.maximum.map(|most| most.min(16_384)),
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let connections: Vec<_> =
        (0..2_500).map_while(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    let began = std::time::Instant::now();
    world.run(["--all"]).ok().says("No background jobs").complains("too many connections");
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
    let most = descriptors(daemon);
    assert!(most < 2_200, "{most} descriptors for {} connections", connections.len());
    drop(connections);
    eventually("they are gone", || descriptors(daemon) < 100);
    let said = world.run(["--all"]).ok();
    assert!(!said.stderr.contains("does not answer"), "{said:?}");
    assert_eq!(world.daemon_pid(), Some(daemon));
}

/// Runs a program whose calls of `socket(AF_UNIX, ..)` are refused, as sandboxes of coding agents do it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const SANDBOX: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
# Is it socket(2), is its first argument AF_UNIX: then EPERM, else go on.
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, 41), (0x20, 0, 0, 16), (0x15, 0, 1, 1), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn where_unix_sockets_are_refused_nothing_is_said_of_a_daemon_that_cannot_be_told() {
    let world = World::new();
    let remote = repositories::make(&world.dir.join("remotes"), "one", repositories::SMALL);
    let id = world.start_clone([remote.display().to_string()]);
    world.wait(&id);
    let sandboxed = |verb: &[&str]| {
        let mut arguments = vec!["-c", SANDBOX, env!("CARGO_BIN_EXE_specweave-jobs")];
        arguments.extend(verb);
        let mut command = world.program("python3", arguments);
        command.current_dir(&world.project);
        world.finish(command)
    };
    for verb in [&["--all"][..], &["--id", &id], &["--logs", &id]] {
        sandboxed(verb).ok().says(&id).complains("may not use Unix sockets");
    }
    sandboxed(&["--follow", &id]).ok().says("Job completed: 1 repo");
    sandboxed(&["wait", &id]).ok().says("Job completed: 1 repo");
    for verb in [
        &["clone", "/nowhere/a/b"][..],
        &["daemon", "status"],
        &["endpoint"],
        &["--kill", &id],
        &["daemon", "start"],
    ] {
        let said = sandboxed(verb).with_status(4).complains("may not use Unix sockets");
        let said = said.complains(&format!("they lie in {}", world.socket().parent().unwrap().display()));
        let said = said.complains("sandbox.network.allowUnixSockets");
        assert!(!said.stderr.contains("no daemon runs"), "{said:?}");
    }
    world.run(["daemon", "status"]).ok();
}

/// A repository's own files are libgit2's; the key lies in the home folder; what `/proc` and the runtime folder hold is no
/// project's. Everything else goes through the one door.
#[test]
fn nothing_but_the_door_opens_files_of_a_project() {
    const ALLOWED: [(&str, &str); 13] = [
        ("proto/disk.rs", "the door itself"),
        ("proto/system/linux.rs", "/proc, and the container's limits"),
        ("proto/crash.rs", "the files of tests"),
        ("client/verbs/clone.rs", "the file that a user names with --from"),
        ("client/verbs/man.rs", "the folder that a user names with --install"),
        ("daemon/store/mac.rs", "the user's key"),
        ("daemon/boot/lifecycle.rs", "the socket's folder"),
        ("daemon/boot/parent.rs", "this process's descriptors"),
        ("daemon/net.rs", "the user's certificates"),
        ("daemon/net/git_settings.rs", "the user's attributes of git"),
        ("daemon/git/repository.rs", "repositories that libgit2 makes"),
        ("daemon/git/skeleton.rs", "the same before they have an object"),
        ("daemon/git/publish.rs", "the same once they are made: each file is synced"),
    ];
    const DOORS: [&str; 9] = [
        "fs::read",
        "fs::write",
        "fs::create_dir",
        "fs::remove",
        "fs::rename",
        "fs::copy",
        "File::open",
        "File::create",
        "OpenOptions::new",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources =
        ["client", "daemon", "proto"].into_iter().flat_map(|folder| files_below(&root.join(folder)));
    let mut found = Vec::new();
    for path in sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if name.ends_with("_tests.rs") || ALLOWED.iter().any(|(allowed, _)| name == *allowed) {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let opens = |line: &&str| DOORS.iter().any(|door| line.contains(door));
        found.extend(code.lines().filter(opens).map(|line| format!("{name}: {}", line.trim())));
    }
    assert_eq!(found, Vec::<String>::new(), "these go past the door (proto/disk.rs)");
}

#[test]
fn recorded_jobs_of_another_tool_stay_as_they_are_in_a_world_of_strangers() {
    let world = World::new();
    lay_out(&world, "clone-killed", &[]);
    let folder = world.state().join("jobs/c3dc81e3");
    let before = read(&folder.join("config.json"));
    world.run(["daemon", "start"]).ok();
    world.run(["--all"]).ok().says("c3dc81e3");
    assert_eq!(read(&folder.join("config.json")), before);
}
