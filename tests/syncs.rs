//! Syncs with the three trackers, end to end: what is made, what is merged, what is left to a person, and that nothing is
//! lost or made twice.

use crate::world::trackers::{Issue, Phase, Trackers, WriteFault};
use crate::world::{World, eventually, files_below, read};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TRACKERS: [&str; 3] = ["github", "jira", "ado"];

/// A project with one profile a tracker, whose writes need not be paced, and a tracker without items.
fn world() -> (World, Trackers) {
    world_with(&json!({}))
}

fn world_with(sync: &Value) -> (World, Trackers) {
    let mut world = World::new();
    let trackers = Trackers::start();
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let limits = json!({"writeGapMs": 0, "writesPerMinute": 0, "writesPerHour": 0, "indexLagSeconds": 1});
    let mut config = json!({"profiles": {
        "gh": {"provider": "github", "config": {"owner": "acme", "repo": "web"}, "rateLimits": limits},
        "ji": {"provider": "jira", "config": {"projectKey": "PAY"}, "rateLimits": limits},
        "az": {"provider": "ado", "config": {"project": "Nova CAD"}, "rateLimits": limits},
    }});
    for (key, value) in sync.as_object().unwrap() {
        config[key] = value.clone();
    }
    set_config(&world, &config);
    (world, trackers)
}

fn set_config(world: &World, sync: &Value) {
    let config = json!({"version": "2.0", "sync": sync});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
}

fn specs(world: &World) -> PathBuf {
    world.project.join(".specweave/docs/internal/specs")
}

/// A story as SpecWeave writes it.
fn story(number: u32, title: &str) -> String {
    format!(
        "---\nid: US-{number:03}\nfeature: FS-001\ntitle: \"{title}\"\nstatus: not_started\npriority: P1\ncreated: 2026-01-02\n---\n\n\
         # US-{number:03}: {title}\n\n**Feature**: [FS-001](./FEATURE.md)\n\nAs a user I want {title}.\n\n---\n\n\
         ## Acceptance Criteria\n\n- [x] **AC-US{number}-01**: it works\n- [ ] **AC-US{number}-02**: it is fast\n\n---\n\n\
         ## Implementation\n\n**Increment**: [0001-first](../../../../../increments/0001-first/spec.md)\n\n## Tasks\n\n- [ ] **T-001**: build it\n"
    )
}

fn path(world: &World, number: u32) -> PathBuf {
    specs(world).join(format!("web/FS-001/us-{number:03}-story.md"))
}

fn write_stories(world: &World, count: u32) {
    let folder = specs(world).join("web/FS-001");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("FEATURE.md"), "---\nid: FS-001\ntitle: \"First feature\"\nstatus: active\n---\n\n# First feature\n").unwrap();
    for number in 1..=count {
        std::fs::write(path(world, number), story(number, &format!("Story {number}"))).unwrap();
    }
}

fn edit(world: &World, number: u32, from: &str, to: &str) {
    let text = read(&path(world, number));
    assert!(text.contains(from), "{from:?} is not in {text}");
    std::fs::write(path(world, number), text.replace(from, to)).unwrap();
}

/// Runs a sync to its end; gives its job.
fn sync(world: &World, arguments: &[&str]) -> Value {
    let mut all = vec!["sync"];
    all.extend(arguments);
    all.push("--json");
    let id = world.run(all).ok().json()["id"].as_str().unwrap().to_owned();
    world.wait(&id)
}

fn synced(world: &World, arguments: &[&str]) -> Value {
    let job = sync(world, arguments);
    assert_eq!(job["state"], "completed", "{job:#}");
    job
}

/// What a dry run says: verb and story.
fn plan(world: &World, arguments: &[&str]) -> Vec<String> {
    let mut all = vec!["sync"];
    all.extend(arguments);
    all.extend(["--dry-run", "--json"]);
    let shown = world.run(all);
    let items = shown.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| format!("{} {}", item["action"].as_str().unwrap(), item["name"].as_str().unwrap())).collect()
}

/// The items of a job, done or failed.
fn items_of(world: &World, job: &Value) -> Vec<String> {
    let id = job["id"].as_str().unwrap();
    let mirror = world.mirror();
    let entry = mirror["jobs"].as_array().unwrap().iter().find(|entry| entry["id"] == id).unwrap().clone();
    let lists = ["itemsCompleted", "itemsFailed"].map(|list| entry["progress"][list].as_array().unwrap().clone());
    let mut names: Vec<String> = lists.concat().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Files of the living docs.
fn snapshot(world: &World) -> BTreeMap<PathBuf, String> {
    files_below(&world.project.join(".specweave/docs")).into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The open items of stories, by title.
fn open_items(trackers: &Trackers) -> BTreeMap<String, u64> {
    let issues = trackers.issues();
    let open = issues.values().filter(|issue| issue.phase != Phase::Closed && issue.title.starts_with("[FS-"));
    let mut found = BTreeMap::new();
    for issue in open.filter(|issue| issue.title.contains("[US-")) {
        assert_eq!(found.insert(issue.title.clone(), issue.number), None, "{} is there twice", issue.title);
    }
    found
}

#[test]
fn stories_become_items_and_a_second_sync_writes_nothing() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 3);
        let metadata = world.project.join(".specweave/increments/0001-first/metadata.json");
        std::fs::create_dir_all(metadata.parent().unwrap()).unwrap();
        std::fs::write(&metadata, "{\n  \"id\": \"0001-first\",\n  \"own\": [1]\n}").unwrap();
        let planned = plan(&world, &[tracker]);
        assert!(trackers.writes().is_empty(), "{tracker}: a dry run writes nothing: {:?}", trackers.writes());
        let job = synced(&world, &[tracker]);
        let mut told = planned.clone();
        told.sort();
        assert_eq!(items_of(&world, &job), told, "{tracker}: a dry run says what a run does");
        assert_eq!(open_items(&trackers).len(), 3, "{tracker}: {:#?}", trackers.issues());
        let text = read(&path(&world, 1));
        assert!(text.contains("external:\n") && text.contains(&format!("  {tracker}:\n")), "{text}");
        let unlinked: Vec<&str> = text.lines().filter(|line| !story(1, "Story 1").contains(*line)).collect();
        assert!(unlinked.iter().all(|line| line.starts_with("external") || line.starts_with("  ")), "{unlinked:?}");
        let increment: Value = serde_json::from_str(&read(&metadata)).unwrap();
        assert_eq!(increment["own"], json!([1]));
        assert!(increment["externalLinks"][tracker].is_object(), "{increment}");
        let feature = read(&specs(&world).join("web/FS-001/FEATURE.md"));
        assert!(feature.contains("external_tools:") && feature.contains(tracker), "{feature}");

        let (before, writes) = (snapshot(&world), trackers.writes().len());
        let job = synced(&world, &[tracker]);
        assert_eq!(job["progress"]["total"].as_u64().unwrap_or(0), 0, "{tracker}: {job}");
        assert_eq!((snapshot(&world), trackers.writes().len()), (before, writes), "{tracker}: quiet");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new());
    }
}
