//! Kills, crashes and restarts: nothing done is lost, nothing is done twice, and what is shown is true.

use crate::cloning::has_git;
use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::{assert_whole, make_many};
use crate::world::{World, eventually, files_below, is_thorough, lives, read, signal};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

struct Scene {
    world: World,
    root: PathBuf,
    server: GitServer,
    names: Vec<String>,
}

/// A project and a server whose repositories from `slow` on take their time.
fn scene(count: usize, slow: usize) -> Scene {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, count);
    let server = GitServer::http(&root);
    for name in &names[slow..] {
        server.fault(name, Fault::Slow);
    }
    Scene { world, root, server, names }
}

impl Scene {
    fn start(&self) -> String {
        self.start_with(&[])
    }

    fn start_with(&self, options: &[&str]) -> String {
        let sources = self.names.iter().map(|name| self.server.repository(name));
        self.world.start_clone(options.iter().map(|option| option.to_string()).chain(sources))
    }

    fn heal(&self) {
        for name in &self.names {
            self.server.heal(name);
        }
    }

    /// Every repository is whole, none was fetched again after it was reported done, nothing is left over.
    fn assert_done(&self, id: &str, done_before: &[(String, usize)]) {
        let job = self.world.wait(id);
        assert_eq!(job["state"], "completed", "{}", self.world.run(["--id", id]).stdout);
        assert_eq!(job["progress"]["current"], self.names.len());
        for name in &self.names {
            let clone = self.world.project.join("repositories/acme").join(name);
            assert_whole(&clone, &self.root.join(format!("acme/{name}.git")));
        }
        for (name, asked_before) in done_before {
            assert_eq!(self.asked(name), *asked_before, "{name} was reported done and fetched again");
        }
        let left: Vec<PathBuf> = files_below(&self.world.project)
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(".partial-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn asked(&self, name: &str) -> usize {
        self.server.requests(&format!("POST /acme/{name}.git"))
    }

    /// Who is reported done, and how often each had been asked for by then.
    fn reported_done(&self, id: &str) -> Vec<(String, usize)> {
        let journal = read(&self.world.state().join(format!("jobs/{id}/journal.jsonl")));
        let done = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        done.filter_map(|line| line["event"]["item_done"]["item"].as_u64())
            .map(|item| self.names[item as usize].clone())
            .map(|name| (name.clone(), self.asked(&name)))
            .collect()
    }
}

#[test]
fn a_kill_pauses_within_a_second_and_resume_goes_on_from_there() {
    let scene = scene(20, 8);
    let id = scene.start();
    scene.world.until(&id, "eight clones", |job| job["progress"]["current"].as_u64() >= Some(8));
    let began = Instant::now();
    let said = scene.world.run(["--kill", &id]).ok();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    said.says("Status changed to 'paused'").says(&format!("Resume later: specweave-jobs --resume {id}"));
    let job = scene.world.job(&id);
    assert_eq!((&job["state"], &job["pid"]), (&"paused".into(), &0.into()));
    let slow = scene.world.project.join("repositories/acme/repo-015");
    assert!(!slow.exists());
    assert!(!slow.with_file_name(format!("repo-015.partial-{id}")).exists());
    assert_eq!(scene.world.mirror()["jobs"][0]["status"], "paused");
    assert!(!scene.world.state().join(format!("jobs/{id}/worker.pid")).exists());
    scene.world.run(["--kill", &id]).with_status(1).complains("is not running (paused)");

    let done = scene.reported_done(&id);
    assert!(done.len() >= 8);
    scene.heal();
    scene.world.run(["--resume", &id]).ok().says("New PID:");
    scene.assert_done(&id, &done);
}

#[test]
fn a_killed_daemon_loses_nothing_and_the_next_one_goes_on_by_itself() {
    let scene = scene(24, 10);
    let id = scene.start();
    scene.world.until(&id, "ten clones", |job| job["progress"]["current"].as_u64() >= Some(10));
    let pid = scene.world.job(&id)["pid"].as_u64().unwrap() as u32;
    scene.world.kill_daemon();
    eventually("the stand-in has ended with its daemon", || !lives(pid));
    // The files tell the truth without a daemon.
    scene.world.run(["--id", &id]).ok().says(&format!("PID: {pid} (dead)")).says("The worker is dead");
    scene.world.run(["--follow", &id]).with_status(4).complains("hint: specweave-jobs daemon start");
    let done = scene.reported_done(&id);
    scene.heal();
    scene.world.run(["daemon", "start"]).ok();
    scene.assert_done(&id, &done);
}

#[test]
fn daemons_killed_again_and_again_finish_the_job_all_the_same() {
    let scene = scene(40, 0);
    let id = scene.start();
    let mut done = Vec::new();
    for _ in 0..6 {
        // Each life gets something done: three that do not would be the end of it.
        let before = scene.world.job(&id)["progress"]["current"].as_u64().unwrap();
        for name in &scene.names[..(before as usize + 6).min(40)] {
            scene.server.heal(name);
        }
        scene.world.until(&id, "progress", |job| job["progress"]["current"].as_u64() > Some(before));
        scene.world.kill_daemon();
        done.extend(scene.reported_done(&id));
        scene.world.run(["daemon", "start"]).ok();
    }
    scene.heal();
    scene.assert_done(&id, &done);
}

#[test]
fn a_job_during_which_the_daemon_dies_three_times_without_progress_is_left_alone() {
    let scene = scene(3, 0);
    for name in &scene.names {
        scene.server.fault(name, Fault::Silent);
    }
    let id = scene.start();
    scene.world.until(&id, "the items", |job| job["progress"]["total"] == 3);
    for _ in 0..3 {
        scene.world.kill_daemon();
        scene.world.run(["daemon", "start"]).ok();
        scene.world.until(&id, "another run", |job| job["alive"] == true);
    }
    scene.world.kill_daemon();
    scene.world.run(["daemon", "start"]).ok();
    let job = scene.world.job(&id);
    assert_eq!((&job["state"], &job["pause"]["reason"]), (&"paused".into(), &"crashes".into()), "{job}");
    scene.heal();
    scene.world.run(["--resume", &id]).ok();
    scene.assert_done(&id, &[]);
}

#[test]
fn sigterm_to_the_pid_in_worker_pid_pauses_that_job_alone() {
    let scene = scene(4, 0);
    for name in &scene.names {
        scene.server.fault(name, Fault::Silent);
    }
    let one = scene.world.start_clone([scene.server.repository("repo-000")]);
    let two = scene.world.start_clone([scene.server.repository("repo-001")]);
    let pid_file = scene.world.state().join(format!("jobs/{one}/worker.pid"));
    let pid: u32 = read(&pid_file).parse().unwrap();
    assert_ne!(Some(pid), scene.world.daemon_pid());
    assert!(lives(pid));
    signal(pid, Signal::TERM);
    scene.world.until(&one, "a pause", |job| job["state"] == "paused");
    assert_eq!(scene.world.job(&two)["state"], "running");
    assert!(!pid_file.exists());
    scene.world.run(["--kill", &two]).ok();
}

#[test]
fn a_stopped_daemons_job_goes_on_at_the_next_start() {
    let scene = scene(10, 3);
    let id = scene.start();
    scene.world.until(&id, "three clones", |job| job["progress"]["current"].as_u64() >= Some(3));
    scene.world.run(["daemon", "stop"]).ok();
    let job = scene.world.job(&id);
    assert_eq!(job["state"], "paused", "{job}");
    assert_eq!(scene.world.mirror()["jobs"][0]["status"], "paused");
    let done = scene.reported_done(&id);
    scene.heal();
    scene.world.run(["daemon", "start"]).ok();
    scene.assert_done(&id, &done);
}

#[test]
fn a_closed_terminal_does_not_end_the_job() {
    let scene = scene(10, 5);
    // A shell in a session of its own that is hung up, as a closing terminal does it.
    let client = env!("CARGO_BIN_EXE_specweave-jobs");
    let sources: Vec<String> = scene.names.iter().map(|name| scene.server.repository(name)).collect();
    let script = format!("'{client}' clone {} --follow", sources.join(" "));
    let mut command = scene.world.program("setsid", ["sh", "-c", &script]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut shell = command.spawn().unwrap();
    let background_jobs = scene.world.state().join("background-jobs.json");
    eventually("the job is known", || background_jobs.exists());
    let id = scene.world.mirror()["jobs"][0]["id"].as_str().unwrap().to_owned();
    let group = rustix::process::Pid::from_raw(shell.id() as i32).unwrap();
    let _ = rustix::process::kill_process_group(group, Signal::HUP);
    let _ = shell.wait();
    assert!(scene.world.daemon_pid().is_some());
    scene.heal();
    scene.assert_done(&id, &[]);
}

#[test]
fn ctrl_c_detaches_and_says_that_the_job_goes_on() {
    let scene = scene(6, 2);
    let id = scene.start();
    let err = scene.world.dir.join("follow.err");
    let mut follow = scene
        .world
        .command(["--follow", &id])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    scene.world.until(&id, "two clones", |job| job["progress"]["current"].as_u64() >= Some(2));
    eventually("the follower is connected", || {
        scene.world.run(["daemon", "status", "--json"]).json()["streams"].as_u64() >= Some(1)
    });
    signal(follow.id(), Signal::INT);
    let status = crate::world::wait(&mut follow, Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(read(&err).contains("goes on"), "{}", read(&err));
    scene.heal();
    scene.assert_done(&id, &[]);
}

/// Fifty random ends: mostly the daemon's, at times the job's stand-in's.
#[test]
fn fifty_random_kills_lose_no_repository_and_clone_none_twice() {
    let kills = if is_thorough() { 50 } else { 8 };
    let scene = scene(300, 0);
    let id = scene.start_with(&["--concurrency", "6"]);
    let world = &scene.world;
    let mut seed = specweave_jobs::disk::random();
    eprintln!("seed {seed:#x}");
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    let (mut daemons, mut stand_ins) = (0, 0);
    for kill in 0..kills {
        // Every other run gets somewhere; after three in a row that do not, the daemon gives the job up.
        if kill % 2 == 1 {
            let before = world.job(&id)["progress"]["current"].as_u64().unwrap();
            world.until(&id, "some progress", |job| job["progress"]["current"].as_u64() > Some(before));
        }
        std::thread::sleep(Duration::from_micros(random(40_000)));
        let job = world.job(&id);
        assert_eq!(job["state"], "running", "the job ended before its kills: {job}");
        if random(4) == 0 {
            signal(job["pid"].as_u64().unwrap() as u32, Signal::KILL);
            world.until(&id, "the pause", |job| job["state"] == "paused");
            stand_ins += 1;
        } else {
            world.kill_daemon();
            daemons += 1;
        }
        for (name, asked) in scene.reported_done(&id) {
            // How often it had been asked for when it was first reported done.
            done.entry(name).or_insert(asked);
        }
        match world.daemon_pid() {
            Some(_) => drop(world.run(["--resume", &id]).ok()),
            None => drop(world.run(["daemon", "start"]).ok()),
        }
    }
    eprintln!("{daemons} daemons and {stand_ins} stand-ins killed, {} clones reported by then", done.len());
    scene.heal();
    let done: Vec<(String, usize)> = done.into_iter().collect();
    scene.assert_done(&id, &done);
    let entry = &world.mirror()["jobs"][0];
    assert_eq!(entry["progress"]["itemsCompleted"].as_array().unwrap().len(), 300);
    assert_eq!(entry["progress"]["itemsFailed"], serde_json::json!([]));
    for name in scene.names.iter().filter(|_| has_git()) {
        let mut fsck = world.program("git", ["fsck", "--strict", "--no-progress"]);
        fsck.current_dir(world.project.join("repositories/acme").join(name));
        world.finish(fsck).ok();
    }
    world.run(["daemon", "stop"]).ok();
    assert_eq!(processes_of(world), Vec::<u32>::new());
}

/// Processes that work for the world's project.
fn processes_of(world: &World) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let dir = world.dir.to_str().unwrap().as_bytes();
        [environment, arguments].iter().any(|text| text.windows(dir.len()).any(|part| part == dir))
    };
    pids.filter(ours).collect()
}
