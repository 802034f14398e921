//! Clocks that jump, machines that sleep, processes that are suspended: no job is taken for dead that is not, and
//! deadlines hold by the wall clock.

use crate::world::git_server::Fault;
use crate::world::{World, eventually, signal, suspend};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A world whose clock can be set off by so many milliseconds.
pub fn world_with_clock() -> (World, crate::world::git_server::GitServer, Vec<String>, impl Fn(i64)) {
    let (mut world, server, names) = World::with_remotes(12);
    let clock = world.dir.join("clock");
    world.set("SPECWEAVE_JOBS_CLOCK", clock.to_str().unwrap());
    let set = move |offset: i64| {
        // Whole at every moment.
        std::fs::write(clock.with_extension("new"), offset.to_string()).unwrap();
        std::fs::rename(clock.with_extension("new"), &clock).unwrap();
    };
    set(0);
    (world, server, names, set)
}

pub const HOUR: i64 = 3_600_000;

#[test]
fn a_limit_that_passes_while_the_machine_sleeps_is_over_when_it_wakes() {
    let (world, server, _, set_clock) = world_with_clock();
    server.fault("repo-000", Fault::LimitedOnce(3_600));
    let id = world.start_clone([server.repository("repo-000")]);
    world.until(&id, "the pause", |job| job["state"] == "paused");
    let asked = server.requests("repo-000");
    // Most of the hour: not a single request.
    set_clock(HOUR - 60_000);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((&world.job(&id)["state"], server.requests("repo-000")), (&"paused".into(), asked));
    set_clock(HOUR + 1_000);
    let began = Instant::now();
    world.until(&id, "the end", |job| job["state"] == "completed");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_clock_that_jumps_makes_no_running_job_dead_and_no_number_wrong() {
    let (world, server, names, set_clock) = world_with_clock();
    names.iter().for_each(|name| server.fault(name, Fault::Slow));
    let sources = names.iter().map(|name| server.repository(name));
    let id = world.start_clone(["--concurrency".to_owned(), "1".into()].into_iter().chain(sources));
    for offset in [10 * HOUR, -10 * HOUR, 0, 24 * 365 * HOUR, -HOUR] {
        let before = world.job(&id)["progress"]["current"].as_u64();
        set_clock(offset);
        let job = world.until(&id, "progress", |job| job["progress"]["current"].as_u64() > before);
        assert_eq!((&job["state"], &job["alive"]), (&"running".into(), &true.into()), "{job}");
        assert!(job["progress"]["rate"].as_f64().unwrap() >= 0.0, "{job}");
        world.run(["--id", &id]).ok().says("(alive)");
    }
    names.iter().for_each(|name| server.heal(name));
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed");
    assert!(job["updated_at"].as_str() <= job["completed_at"].as_str(), "{job}");
}

#[test]
fn a_suspended_daemon_is_neither_replaced_nor_its_job_taken_for_dead() {
    let (world, server, names) = World::with_remotes(6);
    names.iter().for_each(|name| server.fault(name, Fault::Slow));
    let sources = names.iter().map(|name| server.repository(name));
    let id = world.start_clone(["--concurrency".to_owned(), "1".into()].into_iter().chain(sources));
    let job = world.until(&id, "a worker", |job| job["pid"] != 0);
    let daemon = world.daemon_pid().unwrap();
    eventually("the worker is in the file", || world.mirror()["jobs"][0]["status"] == "running");
    for suspended in [daemon, job["pid"].as_u64().unwrap() as u32] {
        suspend(suspended);
        std::thread::sleep(Duration::from_millis(1_200));
        let said = world.run(["--id", &id]).ok().says("Status: running").says("(alive)");
        assert_eq!(said.stderr.contains("does not answer"), suspended == daemon, "{said:?}");
        if suspended == daemon {
            world.run(["clone", "acme/other"]).with_status(4).complains("hint: specweave-jobs daemon stop");
        }
        assert_eq!(world.daemon_pid(), Some(daemon));
        signal(suspended, Signal::CONT);
    }
    names.iter().for_each(|name| server.heal(name));
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    assert_eq!(world.daemon_pid(), Some(daemon));
}
