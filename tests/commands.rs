//! The documented flags, with the documented shapes, with and without a daemon.

use crate::world::git_server::Fault;
use crate::world::{World, read};
use serde_json::Value;
use std::fs;

#[test]
fn a_running_job_is_listed_as_documented() {
    let (world, server, names) = World::with_remotes(6);
    server.fault("repo-001", Fault::Status(404));
    for name in &names[4..] {
        server.fault(name, Fault::Silent);
    }
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.until(&id, "four ended", |job| job["progress"]["current"] == 4);
    let said = world.run::<&str>([]).ok();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[0], "Background Jobs Status");
    assert_eq!(lines[2], "Running (1):");
    assert!(lines[4].starts_with("| Job ID   | Type        | Progress  "), "{}", said.stdout);
    assert!(lines[4].ends_with("| ETA |") || lines[4].contains("| ETA "), "{}", said.stdout);
    assert!(lines[5].starts_with("|----------|-------------|-"), "{}", said.stdout);
    assert!(lines[6].starts_with(&format!("| {id} | clone-repos | 4/6 (67%) ")), "{}", said.stdout);
    assert_eq!(lines[8], "Started: just now");
    assert_eq!(lines[9], "Cloned: 3 repositories");
    assert_eq!(lines[10], "Failed: 1 repo (repo-001)");

    // What the last look showed is what the next one compares with.
    let looks = world.state().join("jobs-daemon/looks.json");
    assert_eq!(read(&looks), format!("{{\"{id}\":3}}"));
    fs::write(&looks, format!("{{\"{id}\":1}}")).unwrap();
    world.run::<&str>([]).ok().says("Cloned: 3 repositories (up from 1)");
    let said = world.run::<&str>([]).ok();
    assert!(!said.stdout.contains("up from"), "{}", said.stdout);

    let details = world.run(["--id", &id[..4]]).ok();
    for line in [
        &*format!("Job Details: {id}"),
        "Type: clone-repos",
        "Status: running",
        "(alive)",
        "Progress: 4/6 (67%)",
        "Completed: 3 repositories",
        "Failed: 1 (repo-001)",
        &*format!("  Config: .specweave/state/jobs/{id}/config.json"),
        &*format!("  Logs: .specweave/state/jobs/{id}/worker.log"),
        &*format!("  PID: .specweave/state/jobs/{id}/worker.pid"),
    ] {
        assert!(details.stdout.contains(line), "no {line:?} in {}", details.stdout);
    }
    let logs = world.run(["--logs"]).ok();
    logs.says(&format!("Worker Logs for {id} (last 50 lines):")).says("] Cloned: repo-000 (");
    world.run(["--kill", &id]).ok().says(&format!("Killing job {id}...")).says("Progress: 4/6 (67%)");
    let paused = world.run::<&str>([]).ok();
    paused.says("Paused (1):").says(&format!("  [{id}] clone-repos")).says("     Reason: killed");
}

#[test]
fn finished_jobs_are_shown_with_all_and_counted_without() {
    let (world, server, _) = World::with_remotes(1);
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    let said = world.run::<&str>([]).ok().says("No active jobs").says("Finished: 1; specweave-jobs --all");
    assert!(!said.stdout.contains("Completed (1)"));
    let all = world
        .run(["--all"])
        .ok()
        .says("Completed (1):")
        .says("| Job ID   | Type        | Items | Completed |");
    assert!(all.stdout.contains(&format!("| {id} | clone-repos | 1     | just now  |")), "{}", all.stdout);
    let json = world.run(["--all", "--json"]).ok().json();
    assert_eq!(json["jobs"][0]["state"], "completed");
    assert_eq!(json["jobs"][0]["type"], "clone-repos");
    assert_eq!(world.run(["--json"]).ok().json()["jobs"].as_array().unwrap().len(), 0);
}

#[test]
fn a_followed_job_is_told_in_lines_where_a_pipe_listens() {
    let (world, server, names) = World::with_remotes(5);
    let mut command = world.command(["clone", "--follow"]);
    command.args(names.iter().map(|name| server.repository(name)));
    let said = world.finish(command).ok();
    assert!(said.stdout.contains("(Ctrl+C to stop)"));
    let line = said.stdout.lines().find(|line| line.contains("] Progress: 5/5 (100%) → ")).unwrap();
    assert!(line.starts_with('[') && line.as_bytes()[9] == b']', "{line}");
    assert!(!said.stdout.contains('\u{1b}'), "no terminal codes in a pipe");
    said.says("Job completed: 5 repositories");

    let id = world.run(["--all", "--json"]).ok().json()["jobs"][0]["id"].as_str().unwrap().to_owned();
    let stream = world.run(["--follow", &id, "--json"]).ok();
    let last: Value = serde_json::from_str(stream.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"]["snapshot"]["state"], "completed", "{last}");
}

#[test]
fn unknown_and_ambiguous_ids_are_answered_with_the_ids_that_exist() {
    let (world, _server, _) = World::with_remotes(1);
    let foreign = r#"{"jobs":[
        {"id":"5e5e0001","type":"sync-external","status":"running","progress":{"current":3,"total":10},"config":{"type":"sync-external","provider":"github"},"startedAt":"2026-11-23T00:47:09.475Z"},
        {"id":"5e5e0002","type":"living-docs-builder","status":"pending","progress":{},"config":{},"startedAt":1795393241998}]}"#;
    fs::write(world.state().join("background-jobs.json"), foreign).unwrap();
    for daemon in [false, true] {
        if daemon {
            world.run(["daemon", "start"]).ok();
        }
        for option in ["--id", "--logs", "--follow", "--kill", "--resume"] {
            world.run([option, "ffff"]).with_status(3).complains("ffff").complains("5e5e0001 5e5e0002");
            world.run([option, "5e5e"]).with_status(2).complains("5e5e0001").complains("5e5e0002");
        }
        world.run(["--id", "5e5e0001"]).ok().says("sync-external (GitHub)").says("Progress: 3/10 (30%)");
        world.run(["--resume", "5e5e0002"]).with_status(1).complains("belongs to another tool");
        let killed = world.run(["--kill", "5e5e0002"]);
        if !daemon {
            killed.ok().says("Status changed to 'paused'")
        } else {
            killed.with_status(1).complains("is not running (paused)")
        };
        for odd in ["../../etc", "\u{1b}[2J", "-x", ""] {
            let said = world.run(["--id", odd]);
            assert!(matches!(said.status, Some(2 | 3)), "{odd:?} {said:?}");
            assert!(!said.stderr.contains('\u{1b}'));
        }
    }
}

#[test]
fn without_a_project_the_way_to_start_is_named() {
    let world = World::bare();
    for arguments in [vec![], vec!["--all"], vec!["clone", "a/b"], vec!["daemon", "start"]] {
        let said = world.run::<&str>(arguments).with_status(1);
        said.complains("no SpecWeave project here").complains("hint: specweave-jobs init");
    }
    world.run(["init"]).ok().says("is a project");
    let config = read(&world.project.join(".specweave/config.json"));
    world.run(["init"]).ok();
    assert_eq!(read(&world.project.join(".specweave/config.json")), config);
    // From a folder below it, too.
    fs::create_dir_all(world.project.join("a/b")).unwrap();
    let mut command = world.command(["--all"]);
    command.current_dir(world.project.join("a/b"));
    world.finish(command).ok();
}

#[test]
fn everything_that_only_reads_works_without_a_daemon() {
    let (world, server, _) = World::with_remotes(2);
    server.fault("repo-001", Fault::Status(404));
    let id = world.start_clone([server.repository("repo-000"), server.repository("repo-001")]);
    world.wait(&id);
    let with = (world.run(["--all"]).ok().stdout, world.run(["--logs", &id]).ok().stdout);
    world.run(["daemon", "stop"]).ok();
    let without = (world.run(["--all"]).ok().stdout, world.run(["--logs", &id]).ok().stdout);
    assert_eq!(with, without);
    world
        .run(["--id", &id])
        .ok()
        .says("Status: completed with warnings")
        .says("  repo-001: repository not found");
    world.run(["--follow", &id]).with_status(1).says("Job completed with warnings");
    world.run(["wait", &id]).with_status(1);
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn a_job_whose_config_is_gone_says_how_to_start_afresh() {
    let (world, server, _) = World::with_remotes(2);
    server.fault("repo-001", Fault::Status(404));
    let id = world.start_clone([server.repository("repo-000"), server.repository("repo-001")]);
    world.wait(&id);
    fs::remove_file(world.state().join(format!("jobs/{id}/config.json"))).unwrap();
    let said = world.run(["--resume", &id]).with_status(1);
    said.complains("config not found").complains("completed_with_warnings").complains(&format!(
        "hint: start fresh with: specweave-jobs clone {} {}",
        server.repository("repo-000"),
        server.repository("repo-001")
    ));
}

#[test]
fn a_complete_job_is_neither_resumed_nor_killed() {
    let (world, server, _) = World::with_remotes(1);
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    world.run(["--resume", &id]).with_status(1).complains("already completed");
    world.run(["--kill", &id]).with_status(1).complains("is not running (completed)");
}

#[test]
fn waiting_has_a_limit_of_its_own() {
    let (world, server, _) = World::with_remotes(1);
    server.fault("repo-000", Fault::Silent);
    let id = world.start_clone([server.repository("repo-000")]);
    world.run(["wait", &id, "--timeout", "0.1"]).with_status(124);
    world.run(["wait", &id, "--timeout", "-1"]).with_status(2);
    world.run(["--kill", &id]).ok();
    world.run(["wait", &id]).with_status(1).says("Job paused: killed");
}

#[test]
fn sources_come_from_a_file_and_from_standard_input() {
    let (world, server, _) = World::with_remotes(2);
    let list = world.dir.join("list.txt");
    fs::write(
        &list,
        format!("# mine\n\n{}\n  {}  \n", server.repository("repo-000"), server.repository("repo-001")),
    )
    .unwrap();
    let id = world.start_clone(["--from", list.to_str().unwrap()]);
    assert_eq!(world.wait(&id)["progress"]["succeeded"], 2);
    let mut command = world.command(["clone", "--follow", "--from", "-"]);
    command.stdin(fs::File::open(&list).unwrap());
    world.finish(command).ok().says("2 of them were there already");
    world.run(["clone", "--from", "/no/such/list"]).with_status(1).complains("/no/such/list");
}

#[test]
fn help_completions_and_manual_come_from_the_same_tree() {
    let world = World::bare();
    for (arguments, text) in [
        (vec!["--help"], "--resume <JOB>"),
        (vec!["clone", "--help"], "--github-org"),
        (vec!["completions", "bash"], "-F _clap_complete_specweave_jobs"),
        (vec!["man"], ".TH specweave-jobs"),
        (vec!["--version"], "specweave-jobs "),
    ] {
        world.run(arguments).ok().says(text);
    }
}

#[test]
fn the_endpoint_is_printed_for_editors() {
    let world = World::new();
    let json = world.run(["endpoint", "--start"]).ok().json();
    assert!(json["endpoint"].as_str().unwrap().starts_with("unix:/"));
    assert_eq!(json["protocol"], 1);
    assert_eq!(json["pid"].as_u64().map(|pid| pid as u32), world.daemon_pid());
}

#[test]
fn a_reader_that_goes_away_ends_the_client_quietly() {
    let (world, server, _) = World::with_remotes(1);
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    let client = env!("CARGO_BIN_EXE_specweave-jobs");
    let script = format!("'{client}' --logs {id} | head -n 1");
    let said = world.finish(world.program("sh", ["-c", &script])).ok();
    assert_eq!(said.stderr, "");
}
