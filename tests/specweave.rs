//! Living in a project where SpecWeave 1.0.593 has worked, and still works.

use crate::world::recorded::{self, lay_out};
use crate::world::repositories::assert_whole;
use crate::world::{World, files_below, read};
use serde_json::Value;

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
fn recorded_clone_jobs_go_on_under_their_own_id_and_the_others_say_why_not() {
    let (mut resumed, mut refused) = (0, 0);
    for case in recorded::cases().into_iter().filter(|case| case != "clone-with-pat") {
        let world = World::new();
        lay_out(&world, &case, &[]);
        for before in recorded::jobs(&world) {
            let id = text(&before, "id");
            let said = world.run(["--resume", id]);
            let adoptable = text(&before, "type") == "clone-repos"
                && text(&before, "status") != "completed"
                && case != "clone-failed";
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
            assert!(text(&job, "state").starts_with("completed"), "{case}: {job}");
            assert_eq!((&job["foreign"], &job["id"]), (&false.into(), &id.into()));
            let entry = &world.mirror()["jobs"]
                .as_array()
                .unwrap()
                .iter()
                .find(|entry| entry["id"] == id)
                .unwrap()
                .clone();
            assert_eq!(entry["startedAt"], before["startedAt"], "{case}");
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
fn recorded_jobs_whose_worker_is_dead_can_be_killed() {
    let mut killed = 0;
    for case in recorded::cases() {
        let world = World::new();
        lay_out(&world, &case, &[]);
        for before in recorded::jobs(&world) {
            let (id, status) = (text(&before, "id"), text(&before, "status"));
            let said = world.run(["--kill", id]);
            if !matches!(status, "running" | "pending") {
                said.with_status(1).complains("does not run");
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
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());
    let config = world.state().join("jobs/876130ad/config.json");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&config.metadata().unwrap()) & 0o777, 0o600);

    // It worked once: a daemon that comes later does not have it any more.
    std::fs::remove_dir_all(world.project.join("repositories/acme/api-gateway")).unwrap();
    world.kill_daemon();
    world.run(["--resume", "876130ad"]).ok();
    let later = world.wait("876130ad");
    assert!(world.run(["--id", "876130ad"]).ok().stdout.contains("credentials"), "{later}");
}
