//! Jobs that are done again and again, and what is run when a job has ended.

use crate::time::{HOUR, world_with_clock};
use crate::world::git_server::Fault;
use crate::world::{World, eventually, read};
use serde_json::{Value, json};

fn scheduled(world: &World, id: &str) -> Value {
    world.until(id, "its time is over", |job| job["state"] == "scheduled")
}

/// How often its work was begun.
fn times(world: &World, id: &str) -> usize {
    read(&world.project.join(format!(".specweave/state/jobs/{id}/worker.log")))
        .matches("Worker started")
        .count()
}

#[test]
fn a_job_that_is_done_again_is_listed_with_its_next_time_with_a_daemon_and_without() {
    let (world, server, names) = World::with_remotes(1);
    let said = world.run(["clone", &server.repository(&names[0]), "--every", "90m", "--follow"]).ok();
    let said = said.says("Job completed: 1 repo\nAgain: in ").stdout.clone();
    let id = said.split_whitespace().nth(2).unwrap().to_owned();
    let job = scheduled(&world, &id);
    assert_eq!(
        (&job["schedule"]["every_seconds"], &job["schedule"]["last_state"], &job["progress"]["current"]),
        (&json!(5_400), &json!("completed"), &json!(1))
    );
    for _ in 0..2 {
        let listed = world.run(["list"]).ok().says("Scheduled (1):\n").says(&format!("[{id}] clone-repos"));
        listed.says("Next: in ").says("Last: completed just now: 1/1 (100%)").says(&format!("kill {id}"));
        world.run(["show", &id]).ok().says("Status: scheduled").says("Every: 90 min").says("Last: completed");
        assert_eq!(
            world.run(["list", "--state", "scheduled", "--json"]).ok().json()["jobs"][0]["id"],
            json!(id)
        );
        // What reads the documented file sees a job that is paused, and until when.
        let told = &world.mirror()["jobs"][0];
        assert_eq!((&told["status"], &told["pauseReason"]), (&json!("paused"), &json!("Scheduled")));
        assert!(told["resumeAfter"].is_string(), "{told}");
        if world.daemon_pid().is_some() {
            world.kill_daemon();
        }
    }
}

#[test]
fn a_time_that_was_slept_through_is_done_once_and_finds_what_has_changed() {
    let (world, server, names, set_clock) = world_with_clock();
    server.fault(&names[1], Fault::Status(500));
    let sources = [server.repository(&names[0]), server.repository(&names[1])];
    let id = world.start_clone(["--every".to_owned(), "1h".into()].into_iter().chain(sources));
    let job = scheduled(&world, &id);
    assert_eq!(
        (&job["schedule"]["last_state"], &job["progress"]["failed"]),
        (&json!("completed_with_warnings"), &json!(1))
    );
    world.run(["list"]).ok().says("Warning: 1 of 2 repositories failed");
    world.run(["wait", &id]).with_status(1);
    server.heal(&names[1]);
    set_clock(10 * HOUR);
    world.until(&id, "the second time", |job| job["schedule"]["last_state"] == "completed");
    let job = scheduled(&world, &id);
    assert_eq!((&job["progress"]["current"], &job["progress"]["skipped"]), (&json!(2), &json!(1)), "{job}");
    assert_eq!(times(&world, &id), 2);
    let ahead = world.run(["list"]).ok().stdout;
    assert!(ahead.contains("Next: in 60 min") || ahead.contains("Next: in 59 min"), "{ahead}");
    world.run(["wait", &id]).ok();
}

#[test]
fn a_daemon_that_dies_anywhere_between_two_times_does_the_next_one() {
    for step in ["last-plan-removed", "journal-renewed", "stand-in-started", "journal-synced"] {
        let (mut world, server, names, set_clock) = world_with_clock();
        let id = world.start_clone(["--every", "1h", &server.repository(&names[0])]);
        let first = scheduled(&world, &id)["schedule"]["last_at"].clone();
        world.run(["daemon", "stop"]).ok();
        world.set("SPECWEAVE_JOBS_CRASH", format!("{step}:abort@1"));
        world.run(["daemon", "start"]).ok();
        let armed = world.daemon_pid();
        set_clock(2 * HOUR);
        eventually("the daemon dies", || world.daemon_pid() != armed);
        world.unset("SPECWEAVE_JOBS_CRASH");
        world.run(["daemon", "start"]).ok();
        // Until then the first time's end is shown, though the next one may have begun before the daemon died.
        let is_done = |job: &Value| job["state"] == "scheduled" && job["schedule"]["last_at"] != first;
        let job = world.until(&id, "the next time", is_done);
        assert!(times(&world, &id) >= 2, "{step}");
        assert_eq!(
            (&job["progress"]["current"], &job["schedule"]["last_state"]),
            (&json!(1), &json!("completed")),
            "{step}: {job}"
        );
        assert_eq!(world.mirror()["jobs"].as_array().unwrap().len(), 1, "{step}");
    }
}

#[test]
fn it_can_be_done_now_and_it_is_ended_by_kill() {
    let (world, server, names) = World::with_remotes(1);
    let source = server.repository(&names[0]);
    let id = world.start_clone(["--every", "1d", &source]);
    scheduled(&world, &id);
    world.run(["rm", &id]).with_status(1).complains(&format!("specweave-jobs kill {id}"));
    world
        .run(["clone", &source, "--every", "1d"])
        .with_status(1)
        .complains(&format!("job {id} is already on it"));
    world.run(["clone", &source, "--follow"]).ok().says("Job completed");
    world.run(["resume", &id, "--follow"]).ok().says("Again: in ");
    assert_eq!(times(&world, &id), 2);
    world.run(["kill", &id]).ok().says("It is not done again.");
    let job = world.job(&id);
    assert_eq!((&job["state"], &job["pid"]), (&json!("completed"), &json!(0)), "{job}");
    let again = world.run(["run-again", &id, "--json"]).ok().json();
    assert_eq!(again["schedule"]["every_seconds"], json!(86_400));
}

#[test]
fn a_daemon_that_would_not_stay_takes_no_job_that_is_done_again() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_NO_DAEMON", "1");
    world
        .run(["clone", "acme/web", "--every", "1h"])
        .with_status(2)
        .complains("--every needs a daemon that stays");
    world.unset("SPECWEAVE_JOBS_NO_DAEMON");
    world.run(["clone", "acme/web", "--every", "0s"]).with_status(2).complains("and not none");
    world.run(["clone", "acme/web", "--every", "soon"]).with_status(2).complains("is no span of time");
    world.run(["clone", "acme/web", "--every", "800w"]).with_status(2).complains("a year is the most");
}

#[test]
fn a_command_is_run_once_when_a_job_has_ended_and_hears_how_it_went_and_no_secret() {
    let (mut world, server, names) = World::with_remotes(2);
    server.fault(&names[1], Fault::Status(500));
    world.set("GITHUB_TOKEN", "ghp_0123456789abcdefghijklmnopqrstuvwxyz");
    let command = "cat > told.json; env > told.env; echo once >> told.times; echo It was seen.";
    let sources = names.iter().map(|name| server.repository(name));
    let id = world.start_clone(["--on-finish".to_owned(), command.into()].into_iter().chain(sources));
    world.wait(&id);
    let log = || world.run(["logs", &id]).ok().stdout;
    eventually("the command has run", || log().contains("Ran the command of --on-finish: It was seen."));
    let told: Value = serde_json::from_str(&read(&world.project.join("told.json"))).unwrap();
    assert_eq!((&told["id"], &told["state"]), (&json!(id), &json!("completed_with_warnings")));
    let environment = read(&world.project.join("told.env"));
    assert!(environment.contains("SPECWEAVE_JOB_OUTCOME=completed_with_warnings"), "{environment}");
    assert!(environment.contains(&format!("SPECWEAVE_JOB_ID={id}")), "{environment}");
    assert!(!environment.contains("ghp_"), "{environment}");
    world.kill_daemon();
    world.run(["daemon", "start"]).ok();
    world.run(["--id", &id]).ok();
    assert_eq!(read(&world.project.join("told.times")), "once\n");
    // A job that is only paused has not ended; resumed, it ends once more.
    server.heal(&names[1]);
    world.run(["resume", &id, "--follow"]).ok();
    eventually("the command has run again", || read(&world.project.join("told.times")) == "once\nonce\n");
}

#[test]
fn a_command_that_fails_is_said_in_the_log_and_fails_nothing() {
    let (world, server, names) = World::with_remotes(1);
    let source = server.repository(&names[0]);
    world
        .run(["clone", &source, "--follow", "--on-finish", "echo no >&2; exit 3"])
        .ok()
        .says("Job completed");
    let id = world.run(["list", "--all", "--json"]).ok().json()["jobs"][0]["id"].as_str().unwrap().to_owned();
    let log = || world.run(["logs", &id]).ok().stdout;
    eventually("it is said", || {
        log().contains("WARNING: the command of --on-finish failed (exit status: 3): no")
    });
}

#[test]
fn without_a_daemon_the_command_has_run_before_the_client_ends() {
    let (mut world, server, names) = World::with_remotes(1);
    world.set("SPECWEAVE_JOBS_NO_DAEMON", "1");
    world.run(["clone", &server.repository(&names[0]), "--on-finish", "sleep 0.3; touch told"]).ok();
    assert!(world.project.join("told").exists());
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn a_command_that_comes_with_the_project_is_not_run_and_one_of_the_user_is() {
    let (world, server, names) = World::with_remotes(1);
    let config = |command: &str| json!({"jobs": {"onFinish": command}}).to_string();
    std::fs::write(world.project.join(".specweave/config.json"), config("touch planted")).unwrap();
    let own = world.dir.join("home/.config/specweave-jobs");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("config.json"), config("touch own")).unwrap();
    let said = world.run(["clone", &server.repository(&names[0]), "--follow"]).ok();
    said.complains("jobs.onFinish in .specweave/config.json is not run");
    eventually("the user's command has run", || world.project.join("own").exists());
    assert!(!world.project.join("planted").exists());
}

#[test]
fn the_desktop_is_told_by_its_own_program() {
    let (mut world, server, names) = World::with_remotes(1);
    let programs = world.dir.join("programs");
    std::fs::create_dir(&programs).unwrap();
    let program = programs.join("notify-send");
    std::fs::write(&program, "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/notified\"\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.set("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    world.run(["clone", &server.repository(&names[0]), "--follow", "--notify"]).ok();
    let told = world.dir.join("home/notified");
    eventually("the desktop is told", || read(&told).contains("clone-repos completed\n1 repository"));
}

#[test]
fn a_service_is_installed_where_it_is_asked_for_and_removed_again() {
    let mut world = World::new();
    let printed = world.run(["service", "install", "--print"]).ok().says("[Service]").stdout;
    let project = world.project.display().to_string();
    assert!(printed.contains(&format!("serve --foreground --project \"{project}\"")), "{printed}");
    let units = world.dir.join("home/.config/systemd/user");
    assert!(!units.exists(), "printing writes nothing");
    // Where the system cannot be asked, a person is told what to type.
    world.set("PATH", "/nonexistent");
    world
        .run(["service", "install"])
        .ok()
        .says("To type where that is possible: systemctl --user enable --now");
    let programs = world.dir.join("programs");
    std::fs::create_dir(&programs).unwrap();
    let systemctl = programs.join("systemctl");
    std::fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >> \"$HOME/asked\"\n").unwrap();
    std::fs::set_permissions(&systemctl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.set("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    world.run(["service", "install"]).ok().says("Wrote ");
    let unit = std::fs::read_dir(&units).unwrap().next().unwrap().unwrap().path();
    assert_eq!(read(&unit), printed);
    world.run(["service", "remove"]).ok().says("Removed ");
    world.run(["service", "remove"]).ok().says("There is no ");
    assert!(!unit.exists());
    let name = unit.file_name().unwrap().to_str().unwrap();
    let asked = read(&world.dir.join("home/asked"));
    assert_eq!(
        asked,
        format!("--user daemon-reload\n--user enable --now {name}\n--user disable --now {name}\n")
    );
}
