//! What is on disk: the documented files, the journal, and what happens to what cannot be read.

use crate::world::git_server::Fault;
use crate::world::{World, read, wait};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

#[test]
fn the_documented_files_have_the_documented_fields() {
    let (world, server, names) = World::with_remotes(3);
    server.fault("repo-001", Fault::Status(404));
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.wait(&id);
    world.run(["daemon", "stop"]).ok();
    let text = read(&world.state().join("background-jobs.json"));
    assert!(text.starts_with("{\n  \"jobs\": [\n    {\n      \"id\": \"") && !text.ends_with('\n'), "{text}");
    let job = &world.mirror()["jobs"][0];
    assert_eq!(job["type"], "clone-repos");
    assert_eq!(job["status"], "completed_with_warnings");
    assert_eq!(job["progress"]["itemsFailed"], json!(["repo-001"]));
    assert_eq!(job["progress"]["itemsCompleted"].as_array().unwrap().len(), 2);
    assert_eq!((&job["progress"]["current"], &job["progress"]["total"]), (&3.into(), &3.into()));
    assert_eq!(job["config"]["type"], "clone-repos");
    assert_eq!(
        job["config"]["repositories"][0],
        json!({"owner": "acme", "name": "repo-000", "path": "repositories/acme/repo-000"})
    );
    for moment in ["startedAt", "updatedAt", "completedAt"] {
        let text = job[moment].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    }
    let config: Value =
        serde_json::from_str(&read(&world.state().join(format!("jobs/{id}/config.json")))).unwrap();
    assert_eq!(config["jobId"], id.as_str());
    assert_eq!(config["repositories"][0]["cloneUrl"], server.repository("repo-000"));
    let result: Value =
        serde_json::from_str(&read(&world.state().join(format!("jobs/{id}/result.json")))).unwrap();
    assert_eq!(
        (&result["totalCount"], &result["succeeded"], &result["successRate"]),
        (&3.into(), &2.into(), &"66.7".into())
    );
    assert_eq!(result["failedRepos"][0]["name"], "repo-001");
}

#[test]
fn an_unreadable_list_of_jobs_is_set_aside_reported_and_rebuilt() {
    let (world, server, _) = World::with_remotes(1);
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    world.run(["daemon", "stop"]).ok();
    let path = world.state().join("background-jobs.json");
    fs::write(&path, "{\"jobs\": [ {\"id\": ").unwrap();
    world
        .run(["--all"])
        .with_status(1)
        .complains("is not the documented JSON")
        .complains("hint: specweave-jobs daemon start");
    assert_eq!(read(&path), "{\"jobs\": [ {\"id\": ", "a reader changes nothing");
    world.run(["daemon", "start"]).ok();
    crate::world::eventually("it is rebuilt", || {
        serde_json::from_str::<Value>(&read(&path)).is_ok_and(|file| file["jobs"][0]["id"] == id.as_str())
    });
    world.run(["--all"]).ok().says(&id).complains("was set aside as");
    let aside: Vec<_> = fs::read_dir(world.state())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("background-jobs.json.corrupt-"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(read(&aside[0].path()), "{\"jobs\": [ {\"id\": ");
}

#[test]
fn another_tools_jobs_and_unknown_fields_survive() {
    let (world, server, _) = World::with_remotes(2);
    let path = world.state().join("background-jobs.json");
    let foreign = json!({"id": "5e5e0001", "type": "living-docs-builder", "status": "running",
        "progress": {"current": 0, "total": 100}, "config": {"type": "living-docs-builder"}, "mine": [1, 2]});
    fs::write(&path, json!({"jobs": [foreign], "activeJobId": "x"}).to_string()).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    let mut file = world.mirror();
    assert_eq!(file["jobs"][0], foreign);
    assert_eq!(file["activeJobId"], "x");
    file["jobs"][1]["theirs"] = json!({"a": 1});
    fs::write(&path, file.to_string()).unwrap();
    world.wait(&world.start_clone([server.repository("repo-001")]));
    let file = world.mirror();
    assert_eq!(file["jobs"][1]["theirs"], json!({"a": 1}));
    assert_eq!(file["jobs"].as_array().unwrap().len(), 3);
    world.run(["--all"]).ok().says("5e5e0001");
}

#[test]
fn the_last_ten_finished_jobs_are_kept() {
    let (world, server, _) = World::with_remotes(1);
    let mut ids = Vec::new();
    for _ in 0..13 {
        let id = world.start_clone([server.repository("repo-000")]);
        world.wait(&id);
        ids.push(id);
    }
    let kept = world.run(["--all", "--json"]).ok().json();
    let kept: Vec<&str> =
        kept["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    let expected: Vec<&str> = ids.iter().rev().take(10).map(String::as_str).collect();
    assert_eq!(kept, expected);
    assert_eq!(world.mirror()["jobs"].as_array().unwrap().len(), 10);
    assert_eq!(fs::read_dir(world.state().join("jobs")).unwrap().count(), 10);

    // A folder that a person removed is simply gone.
    fs::remove_dir_all(world.state().join("jobs").join(&ids[12])).unwrap();
    let shown = world.run(["--all", "--json"]).ok().json();
    assert_eq!(shown["jobs"].as_array().unwrap().len(), 9);
    world.run(["prune", "--yes", "--keep", "2"]).ok().says("Removed");
    let left = world.run(["--all", "--json"]).ok().json();
    assert!(left["jobs"].as_array().unwrap().len() <= 2);
    world.run(["daemon", "stop"]).ok();
    world.run(["--all"]).ok();
}

#[test]
fn a_torn_journal_yields_its_whole_part_and_the_rest_is_set_aside() {
    let (world, server, names) = World::with_remotes(4);
    server.fault("repo-003", Fault::Silent);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.until(&id, "three clones", |job| job["progress"]["current"] == 3);
    world.kill_daemon();
    let path = world.state().join(format!("jobs/{id}/journal.jsonl"));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    server.heal("repo-003");
    world.run(["daemon", "start"]).ok();
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{job}");
    world.run(["--all"]).ok().complains("it was set aside as");
}

#[test]
fn specweaves_lock_is_waited_for_and_a_stale_one_is_broken() {
    let (world, server, _) = World::with_remotes(1);
    let lock = world.state().join("background-jobs.lock");
    world.run(["daemon", "start"]).ok();
    let now = specweave_jobs::clock::now();
    fs::write(&lock, format!("1\n{now}")).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    // The job does not wait for the list that tells of it.
    assert_eq!(world.wait(&id)["state"], "completed");
    assert!(!world.state().join("background-jobs.json").exists());
    fs::remove_file(&lock).unwrap();
    crate::world::eventually("the list is written", || world.state().join("background-jobs.json").exists());

    fs::write(&lock, format!("1\n{}", now - 31_000)).unwrap();
    world.start_clone([server.repository("repo-000")]);
    crate::world::eventually("the stale lock is broken", || {
        world.mirror()["jobs"].as_array().unwrap().len() == 2
    });
}

#[test]
fn the_same_request_is_the_same_job() {
    use specweave_jobs::v1::{
        CloneSpec, JobSpec, StartJobRequest, job_spec, jobs_service_client::JobsServiceClient,
    };
    let (world, server, _) = World::with_remotes(1);
    let endpoint = world.run(["endpoint", "--start"]).ok().json()["endpoint"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = || {
        runtime.block_on(async {
            let channel =
                tonic::transport::Endpoint::from_shared(endpoint.clone()).unwrap().connect().await.unwrap();
            let spec = CloneSpec { sources: vec![server.repository("repo-000")], ..Default::default() };
            let request = StartJobRequest {
                request_id: "editor-17".into(),
                spec: Some(JobSpec { work: Some(job_spec::Work::Clone(spec)), ..JobSpec::default() }),
                environment: Vec::new(),
            };
            JobsServiceClient::new(channel).start_job(request).await.unwrap().into_inner()
        })
    };
    let first = start();
    let id = first.job.unwrap().id;
    assert!(!first.existing);
    world.wait(&id);
    world.kill_daemon();
    world.run(["daemon", "start"]).ok();
    let again = start();
    assert!(again.existing);
    assert_eq!(again.job.unwrap().id, id);
}

#[test]
fn a_client_that_dies_at_once_leaves_a_whole_job() {
    let (world, server, _) = World::with_remotes(1);
    world.run(["daemon", "start"]).ok();
    let mut client = world.command(["clone", &server.repository("repo-000"), "--follow"]).spawn().unwrap();
    crate::world::eventually("the job is known", || world.state().join("background-jobs.json").exists());
    let _ = client.kill();
    wait(&mut client, Duration::from_secs(5));
    let id = world.mirror()["jobs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.wait(&id)["state"], "completed");
}
