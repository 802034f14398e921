//! What an editor's plugin asks of the daemon, over the contract alone.

use crate::world::World;
use crate::world::git_server::Fault;
use crate::world::trackers::{Issue, Trackers};
use serde_json::{Value, json};
use specweave_jobs::v1::finding::Verdict;
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::*;
use std::future::Future;
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Runs what a plugin does against the world's daemon.
fn plugin<F: Future<Output = ()>>(world: &World, run: impl FnOnce(JobsServiceClient<Channel>) -> F) {
    let endpoint = world.run(["endpoint", "--start"]).ok().json()["endpoint"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
        run(JobsServiceClient::new(channel)).await;
    });
}

/// What a plugin sends along, so that the daemon finds these trackers.
fn carried(trackers: &Trackers) -> Vec<EnvironmentVariable> {
    let variables = trackers.environment().into_iter();
    variables.map(|(name, value)| EnvironmentVariable { name: name.to_owned(), value }).collect()
}

#[test]
fn a_picker_knows_profiles_and_sources_without_reading_a_file() {
    let (mut world, trackers) = (World::new(), Trackers::seeded(3));
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let config = json!({"sync": {"defaultProfile": "work", "profiles": {
        "work": {"provider": "github", "config": {"owner": "acme", "repo": "web"}},
        "other": {"provider": "jira", "config": {"domain": trackers.url(), "projectKey": "PAY"}},
    }}});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    let reset = specweave_jobs::clock::now() as u64 / 1000 + 600;
    *trackers.state.quota.lock().unwrap() = Some((4_000, reset));
    world.run(["import", "github", "--repo", "acme/web", "--since", "all", "--follow"]).ok();
    let environment = carried(&trackers);
    plugin(&world, |mut client| async move {
        let known = client.list_sources(ListSourcesRequest { environment }).await.unwrap().into_inner();
        let told: Vec<(i32, &str, bool)> =
            known.sources.iter().map(|one| (one.tracker, one.name.as_str(), one.imported)).collect();
        assert!(told.contains(&(Tracker::Github as i32, "acme/web", true)), "{told:?}");
        assert!(told.contains(&(Tracker::Jira as i32, "PAY", false)), "{told:?}");
        let profiles: Vec<(&str, i32, bool)> =
            known.profiles.iter().map(|one| (one.id.as_str(), one.tracker, one.is_default)).collect();
        assert_eq!(profiles.len(), 2, "{profiles:?}");
        assert!(profiles.contains(&("work", Tracker::Github as i32, true)), "{profiles:?}");
        assert!(profiles.contains(&("other", Tracker::Jira as i32, false)), "{profiles:?}");
        // What the tracker said of its limit.
        let budgets = client.get_info(GetInfoRequest {}).await.unwrap().into_inner().rate_budgets;
        let budget = budgets.iter().find(|budget| budget.host == "127.0.0.1").expect("it was asked");
        assert!((3_900..4_000).contains(&budget.remaining) && budget.reset_at.is_some(), "{budget:?}");
    });
}

#[test]
fn a_plugin_is_told_what_doctor_says() {
    let world = World::new();
    std::fs::write(world.project.join(".specweave/state/broken.json"), "{").unwrap();
    let doctor = world.run(["doctor", "--json"]).json();
    let said: Vec<&Value> = doctor["findings"].as_array().unwrap().iter().collect();
    plugin(&world, |mut client| async move {
        let findings = client.diagnose(DiagnoseRequest {}).await.unwrap().into_inner().findings;
        let broken = findings.iter().find(|finding| finding.check == "state files").unwrap();
        assert_eq!(broken.verdict(), Verdict::Wrong, "{broken:?}");
        assert!(broken.detail.contains("broken.json") && !broken.fix.is_empty(), "{broken:?}");
        for finding in &findings {
            assert!(
                said.iter().any(|one| one["check"] == finding.check.as_str()),
                "doctor does not say {finding:?}"
            );
        }
    });
}

#[test]
fn what_is_under_way_is_told_with_its_bytes_until_it_is_done() {
    let (world, server, names) = World::with_remotes(3);
    server.fault(&names[1], Fault::Slow);
    server.fault(&names[2], Fault::Silent);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let job = world.until(&id, "both are under way", |job| {
        let active = job["progress"]["active"].as_array().unwrap();
        active.len() == 2 && active[0]["received_bytes"].as_u64().unwrap() > 0
    });
    let active = &job["progress"]["active"];
    assert_eq!((&active[0]["name"], &active[1]["name"]), (&json!(names[1]), &json!(names[2])), "{active}");
    assert_eq!(active[1]["received_bytes"], json!(0), "a silent one has sent nothing: {active}");
    world.run(["kill", &id]).ok();
    assert_eq!(world.job(&id)["progress"]["active"], json!([]));
}

#[test]
fn a_conflict_is_decided_by_one_call_and_what_is_none_makes_no_job() {
    let (mut world, trackers) = (World::new(), Trackers::start());
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let config =
        json!({"sync": {"github": {"owner": "acme", "repo": "web", "rateLimits": {"writeGapMs": 0}}}});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    trackers.add(Issue::new(7, "Theirs"));
    world.run(["sync", "--follow"]).ok();
    let specs = world.project.join(".specweave/docs/internal/specs");
    let file = crate::world::files_below(&specs)
        .into_iter()
        .find(|file| file.to_string_lossy().contains("theirs"))
        .unwrap();
    let text = crate::world::read(&file).replace("**Status**: Open", "**Status**: In Progress");
    std::fs::write(&file, text).unwrap();
    trackers.edit(7, |issue| issue.phase = crate::world::trackers::Phase::Closed);
    world.run(["sync", "--follow"]).with_status(1);
    let environment = carried(&trackers);
    plugin(&world, |mut client| async move {
        let conflicts = client.list_conflicts(ListConflictsRequest {}).await.unwrap().into_inner().conflicts;
        let story = conflicts[0].story.clone();
        let request = |story: &str| ResolveConflictRequest {
            story: story.to_owned(),
            r#use: OnConflict::Remote as i32,
            request_id: "decision-1".to_owned(),
            environment: environment.clone(),
        };
        let wrong = client.resolve_conflict(request("US-404")).await.unwrap_err();
        assert_eq!(wrong.get_details_error_info().unwrap().reason, "CONFLICT_NOT_FOUND");
        let job = client.resolve_conflict(request(&story)).await.unwrap().into_inner().job.unwrap();
        let again = client.resolve_conflict(request(&story)).await.unwrap().into_inner();
        assert_eq!((again.existing, again.job.unwrap().id), (true, job.id.clone()));
        let mut stream = client
            .follow_job(FollowJobRequest { id: job.id.clone(), ..Default::default() })
            .await
            .unwrap()
            .into_inner();
        while stream.message().await.unwrap().is_some() {}
        let left = client.list_conflicts(ListConflictsRequest {}).await.unwrap().into_inner().conflicts;
        assert!(left.is_empty(), "{left:?}");
        // Also once the conflict is gone: whoever has not heard the answer asks again.
        let again = client.resolve_conflict(request(&story)).await.unwrap().into_inner();
        assert_eq!((again.existing, again.job.unwrap().id), (true, job.id));
    });
    assert!(crate::world::read(&file).contains("**Status**: Completed"));
}

#[test]
fn another_tools_job_is_told_as_it_changes() {
    let world = World::new();
    let list = &world.state().join("background-jobs.json");
    let write = |status: &str| {
        let job = json!({"id": "5e5e0001", "type": "living-docs-builder", "status": status,
            "startedAt": "2026-01-01T00:00:00.000Z", "progress": {"current": 1, "total": 2}});
        std::fs::write(list, json!({"jobs": [job]}).to_string()).unwrap();
    };
    plugin(&world, |mut client| async move {
        let mut stream = client.watch_jobs(WatchJobsRequest::default()).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        let mut seen = async |fits: &dyn Fn(&JobChanges) -> bool| {
            loop {
                let message = stream.message().await.unwrap().unwrap();
                if let Some(watch_jobs_response::Event::Changed(changes)) = message.event
                    && fits(&changes)
                {
                    return;
                }
            }
        };
        let is = |changes: &JobChanges, state: JobState| {
            changes.jobs.iter().any(|job| job.id == "5e5e0001" && job.state() == state)
        };
        write("paused");
        seen(&|changes| is(changes, JobState::Paused)).await;
        write("completed");
        seen(&|changes| is(changes, JobState::Completed)).await;
        std::fs::write(list, "{\"jobs\": []}").unwrap();
        seen(&|changes| changes.removed_ids == ["5e5e0001"]).await;
    });
}

#[test]
fn what_a_job_was_to_do_is_told_to_whoever_wants_it() {
    let (world, server, names) = World::with_remotes(1);
    let id = world.start_clone([server.repository(&names[0])]);
    assert_eq!(world.wait(&id)["action"], "clone");
    plugin(&world, |mut client| async move {
        for with_spec in [false, true] {
            let request = GetJobRequest { id: id.clone(), with_spec, ..Default::default() };
            let job = client.get_job(request).await.unwrap().into_inner().job.unwrap();
            assert_eq!(job.spec.is_some(), with_spec);
        }
    });
}

#[test]
fn only_the_jobs_that_are_named_are_pruned() {
    let (world, server, names) = World::with_remotes(2);
    let ids: Vec<String> = names.iter().map(|name| world.start_clone([server.repository(name)])).collect();
    ids.iter().for_each(|id| drop(world.wait(id)));
    let named = ids[0].clone();
    plugin(&world, |mut client| async move {
        let request = |dry_run| PruneJobsRequest { ids: vec![named.clone()], dry_run, ..Default::default() };
        for dry_run in [true, false] {
            let gone = client.prune_jobs(request(dry_run)).await.unwrap().into_inner().removed_ids;
            assert_eq!(gone, std::slice::from_ref(&named));
        }
        let wrong = PruneJobsRequest { ids: vec!["../x".to_owned()], ..Default::default() };
        assert_eq!(client.prune_jobs(wrong).await.unwrap_err().code(), tonic::Code::NotFound);
    });
    world.run(["show", &ids[0]]).with_status(3);
    world.run(["show", &ids[1]]).ok();
}

#[test]
fn a_stream_that_ends_says_whether_a_person_stopped_the_daemon() {
    for (stop, because) in [(true, "asked"), (false, "signal")] {
        let world = World::new();
        plugin(&world, |mut client| {
            let world = &world;
            async move {
                let mut stream = client.watch_jobs(WatchJobsRequest::default()).await.unwrap().into_inner();
                stream.message().await.unwrap();
                if stop {
                    world.run(["daemon", "stop"]).ok();
                } else {
                    crate::world::signal(world.daemon_pid().unwrap(), rustix::process::Signal::TERM);
                }
                let status = loop {
                    match stream.message().await {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("it ended without a word"),
                        Err(status) => break status,
                    }
                };
                let info = status.get_details_error_info().unwrap();
                assert_eq!(
                    (info.reason.as_str(), info.metadata["because"].as_str()),
                    ("SHUTTING_DOWN", because)
                );
            }
        });
    }
}
