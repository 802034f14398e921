//! Syncs with the three trackers, end to end: what is made, what is merged, what is left to a person, and that nothing is
//! lost or made twice.

use crate::world::trackers::{Issue, Phase, Trackers, WriteFault};
use crate::world::{World, beside, eventually, files_below, read};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TRACKERS: [&str; 3] = ["github", "jira", "ado"];

/// A project with one profile a tracker, whose writes need not be paced, and a tracker without items.
pub fn world() -> (World, Trackers) {
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

pub fn set_config(world: &World, sync: &Value) {
    let config = json!({"version": "2.0", "sync": sync});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
}

pub fn specs(world: &World) -> PathBuf {
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
    std::fs::write(
        folder.join("FEATURE.md"),
        "---\nid: FS-001\ntitle: \"First feature\"\nstatus: active\n---\n\n# First feature\n",
    )
    .unwrap();
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
pub fn sync(world: &World, arguments: &[&str]) -> Value {
    let mut all = vec!["sync"];
    all.extend(arguments);
    all.push("--json");
    let id = world.run(all).ok().json()["id"].as_str().unwrap().to_owned();
    world.wait(&id)
}

pub fn synced(world: &World, arguments: &[&str]) -> Value {
    let job = sync(world, arguments);
    assert_eq!(job["state"], "completed", "{job:#}");
    job
}

/// What a dry run says: verb and story.
pub fn plan(world: &World, arguments: &[&str]) -> Vec<String> {
    let mut all = vec!["sync"];
    all.extend(arguments);
    all.extend(["--dry-run", "--json"]);
    let shown = world.run(all);
    let items = shown.json()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|item| format!("{} {}", item["action"].as_str().unwrap(), item["name"].as_str().unwrap()))
        .collect()
}

/// The items of a job, done or failed, each with what was to be done with it.
fn items_of(world: &World, job: &Value) -> Vec<String> {
    let id = job["id"].as_str().unwrap();
    let journal = read(&world.state().join("jobs").join(id).join("journal.jsonl"));
    let planned = journal.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["event"]["planned"]["items"].as_array().cloned()
    });
    let planned: BTreeMap<String, String> = planned
        .unwrap()
        .iter()
        .map(|item| [&item["name"], &item["action"]].map(|word| word.as_str().unwrap().to_owned()))
        .map(|[name, action]| (name, action))
        .collect();
    let entry = || {
        let mirror = world.mirror();
        mirror["jobs"].as_array().unwrap().iter().find(|entry| entry["id"] == id).unwrap().clone()
    };
    eventually("the list is written, too", || entry()["status"] == job["state"]);
    let entry = entry();
    let lists =
        ["itemsCompleted", "itemsFailed"].map(|list| entry["progress"][list].as_array().unwrap().clone());
    let mut names: Vec<String> =
        lists.concat().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    for name in &mut names {
        *name = format!("{} {name}", planned[name.as_str()]);
    }
    names.sort();
    names
}

/// Files of the living docs.
fn snapshot(world: &World) -> BTreeMap<PathBuf, String> {
    files_below(&world.project.join(".specweave/docs"))
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// The open items of stories, by title.
fn open_items(trackers: &Trackers) -> BTreeMap<String, u64> {
    let issues = trackers.issues();
    let open =
        issues.values().filter(|issue| issue.phase != Phase::Closed && issue.title.starts_with("[FS-"));
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
        assert!(
            unlinked.iter().all(|line| ["external", "  "].iter().any(|own| line.starts_with(own))),
            "{unlinked:?}"
        );
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

/// The item of a story.
pub fn item_of(trackers: &Trackers, number: u32) -> Issue {
    let issues = trackers.issues();
    let wanted = format!("[US-{number:03}]");
    let mut found = issues.values().filter(|issue| issue.title.contains(&wanted));
    let one = found.next().unwrap_or_else(|| panic!("{wanted} has no item: {issues:#?}")).clone();
    assert!(found.next().is_none(), "{wanted} has several");
    one
}

/// What an item says, wherever its tracker keeps it.
fn text_of(issue: &Issue) -> String {
    issue.document.as_ref().map_or_else(|| issue.body.clone(), Value::to_string)
}

/// Somebody edits the text of an item in the tracker.
pub fn edit_text(trackers: &Trackers, number: u64, from: &str, to: &str) {
    trackers.edit(number, |issue| match &mut issue.document {
        Some(document) => {
            let text = document.to_string();
            assert!(text.contains(from), "{from:?} is not in {text}");
            *document = serde_json::from_str(&text.replace(from, to)).unwrap();
        }
        None => {
            assert!(issue.body.contains(from), "{from:?} is not in {}", issue.body);
            issue.body = issue.body.replace(from, to);
        }
    });
}

/// Checks the first box of an item that is not.
pub fn check_there(trackers: &Trackers, number: u64) {
    trackers.edit(number, |issue| match &mut issue.document {
        Some(document) => {
            *document =
                serde_json::from_str(&document.to_string().replacen("\"TODO\"", "\"DONE\"", 1)).unwrap();
        }
        None => issue.body = issue.body.replacen("- [ ]", "- [x]", 1),
    });
}

#[test]
fn edits_of_both_sides_meet_field_by_field() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        let number = item_of(&trackers, 1).number;
        edit(&world, 1, "Story 1\"\n", "Another title\"\n");
        edit(&world, 1, "- [ ] **T-001**", "- [x] **T-001**");
        check_there(&trackers, number);
        trackers.edit(number, |issue| {
            issue.labels.push("urgent".into());
            (issue.phase, issue.state) = (Phase::Closed, None);
        });
        edit_text(&trackers, number, "As a user I want Story 1.", "As a user I really want it.");
        let other = read(&path(&world, 2));
        assert_eq!(plan(&world, &[tracker]), ["merge web/FS-001/US-001"], "{tracker}");
        synced(&world, &[tracker]);
        let text = read(&path(&world, 1));
        for part in [
            "title: \"Another title\"",
            "status: completed",
            "labels: [urgent]",
            "As a user I really want it.",
            "- [x] **AC-US1-01**: it works",
            "- [x] **AC-US1-02**: it is fast",
            "- [x] **T-001**: build it",
            "created: 2026-01-02",
        ] {
            assert!(text.contains(part), "{tracker}: {part:?} is not in {text}");
        }
        let item = item_of(&trackers, 1);
        assert_eq!(
            (item.title.as_str(), item.phase),
            ("[FS-001][US-001] Another title", Phase::Closed),
            "{tracker}"
        );
        let there = text_of(&item);
        assert!(
            there.contains("really want") && !there.contains("- [ ]") && !there.contains("TODO"),
            "{tracker}: {there}"
        );
        assert_eq!(read(&path(&world, 2)), other, "{tracker}: what was not edited is as it was");
        let writes = trackers.writes().len();
        synced(&world, &[tracker]);
        assert_eq!(trackers.writes().len(), writes, "{tracker}: quiet");
    }
}

#[test]
fn a_contradiction_waits_for_a_person_who_decides_either_way() {
    for (tracker, side) in
        [("github", "local"), ("jira", "remote"), ("ado", "file"), ("github", "file"), ("ado", "local")]
    {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        let number = item_of(&trackers, 1).number;
        edit(&world, 1, "title: \"Story 1\"", "title: \"Mine\"");
        trackers.edit(number, |issue| issue.title = "[FS-001][US-001] Theirs".into());
        edit(&world, 2, "As a user", "As a person");
        let (before, writes) = (read(&path(&world, 1)), trackers.writes().len());
        let job = sync(&world, &[tracker]);
        assert_eq!(job["state"], "completed_with_warnings", "{job}");
        assert!(
            job["warning"]
                .as_str()
                .unwrap()
                .contains("in conflict: web/FS-001/US-001: title changed here and in"),
            "{job}"
        );
        assert_eq!(read(&path(&world, 1)), before, "{tracker}: the story is as it was");
        assert_eq!(item_of(&trackers, 1).title, "[FS-001][US-001] Theirs");
        assert_eq!(trackers.writes().len(), writes + 1, "{tracker}: the other story is pushed");
        let place = beside(&path(&world, 1));
        let shown = read(&place);
        assert!(shown.contains("Mine") && shown.contains("Theirs") && shown.contains("Story 1"), "{shown}");

        // A second look changes nothing either.
        sync(&world, &[tracker]);
        assert_eq!((read(&path(&world, 1)), read(&place)), (before, shown.clone()));
        if side == "file" {
            let refused = world.run(["resolve", "US-001", "--use", "file", "--tracker", tracker]);
            assert_ne!(refused.status, Some(0), "{refused:?}");
            let start = shown.find("<<<<<<<").unwrap();
            let end = shown.find(">>>>>>> in the tracker").unwrap() + ">>>>>>> in the tracker".len();
            std::fs::write(&place, format!("{}Both of us{}", &shown[..start], &shown[end..])).unwrap();
        }
        world.run(["resolve", "US-001", "--use", side, "--tracker", tracker]).ok();
        let title = match side {
            "local" => "Mine",
            "remote" => "Theirs",
            _ => "Both of us",
        };
        assert!(
            read(&path(&world, 1)).contains(&format!("title: \"{title}\"")),
            "{}",
            read(&path(&world, 1))
        );
        assert_eq!(item_of(&trackers, 1).title, format!("[FS-001][US-001] {title}"));
        assert!(!place.exists(), "what was decided is gone");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new());
    }
}

#[test]
fn a_decision_over_something_else_than_was_shown_is_not_taken() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    synced(&world, &["github"]);
    let number = item_of(&trackers, 1).number;
    edit(&world, 1, "title: \"Story 1\"", "title: \"Mine\"");
    trackers.edit(number, |issue| issue.title = "[FS-001][US-001] Theirs".into());
    sync(&world, &["github"]);
    trackers.edit(number, |issue| issue.title = "[FS-001][US-001] Theirs, later".into());
    let said = world.run(["resolve", "US-001", "--use", "local", "--tracker", "github"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_eq!(item_of(&trackers, 1).title, "[FS-001][US-001] Theirs, later");
    assert!(read(&beside(&path(&world, 1))).contains("Theirs, later"));
    world.run(["resolve", "US-001", "--use", "local", "--tracker", "github"]).ok();
    assert_eq!(item_of(&trackers, 1).title, "[FS-001][US-001] Mine");
}

#[test]
fn a_preset_that_only_reads_never_writes_there() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(&json!({"preset": "read-only"}));
        write_stories(&world, 2);
        trackers.add(Issue::new(7, "Theirs"));
        synced(&world, &[tracker]);
        assert!(trackers.writes().is_empty(), "{tracker}: {:?}", trackers.writes());
        let imported = snapshot(&world).into_values().filter(|text| text.contains("Theirs")).count();
        assert!(imported > 0, "{tracker}: what is there is imported");
        for direction in ["export", "bidirectional"] {
            let said = world.run(["sync", tracker, "--direction", direction]);
            assert_eq!(said.status, Some(2), "{said:?}");
            assert!(said.stderr.contains("the preset read-only"), "{said:?}");
        }
        assert!(trackers.writes().is_empty());
    }
}

#[test]
fn many_deletions_and_empty_sides_stop_a_sync() {
    let (world, trackers) = world();
    write_stories(&world, 12);
    synced(&world, &["github"]);
    let writes = trackers.writes().len();
    let stopped = |what: &str| {
        let job = sync(&world, &["github"]);
        assert_eq!(job["state"], "failed", "{job}");
        assert!(job["failure"]["message"].as_str().unwrap().contains(what), "{job}");
        assert_eq!(trackers.writes().len(), writes);
        let said = world.run(["sync", "github", "--dry-run"]);
        assert!(
            said.status == Some(1) && said.stderr.contains(what) && said.stderr.contains("--force-deletes"),
            "{said:?}"
        );
    };
    let texts: Vec<String> = (1..=12).map(|number| read(&path(&world, number))).collect();
    (1..=3).for_each(|number| std::fs::remove_file(path(&world, number)).unwrap());
    stopped("3 of 12 linked stories are gone");
    (4..=12).for_each(|number| std::fs::remove_file(path(&world, number)).unwrap());
    stopped("no story is left here");
    (1..=12).for_each(|number| std::fs::write(path(&world, number), &texts[number as usize - 1]).unwrap());
    let issues = std::mem::take(&mut *trackers.issues());
    stopped("no item is left in the tracker");
    *trackers.issues() = issues;
    synced(&world, &["github"]);
    std::fs::remove_file(path(&world, 1)).unwrap();
    assert_eq!(plan(&world, &["github"]), ["unlink web/FS-001/US-001"]);
    (2..=3).for_each(|number| std::fs::remove_file(path(&world, number)).unwrap());
    synced(&world, &["github", "--force-deletes"]);
    assert_eq!((trackers.writes().len(), open_items(&trackers).len()), (writes, 12), "let go, not closed");
    assert_eq!(plan(&world, &["github"]), Vec::<String>::new());
}

#[test]
fn another_project_under_the_same_profile_is_not_synced() {
    let (world, trackers) = world();
    write_stories(&world, 2);
    synced(&world, &["github"]);
    let moved =
        json!({"profiles": {"gh": {"provider": "github", "config": {"owner": "acme", "repo": "other"}}}});
    set_config(&world, &moved);
    *trackers.state.moved.lock().unwrap() = Some(("acme/web".into(), "acme/other".into()));
    // A repository that was only renamed is the same one.
    synced(&world, &["github"]);
    trackers.state.replaced.store(true, Ordering::Relaxed);
    let writes = trackers.writes().len();
    let job = sync(&world, &["github"]);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["failure"]["message"].as_str().unwrap().contains("leads to another project"), "{job}");
    assert_eq!(trackers.writes().len(), writes);
}

#[test]
fn what_got_no_answer_is_found_again_and_never_made_twice() {
    for tracker in TRACKERS {
        for fault in [
            WriteFault::LosesReply,
            WriteFault::LosesRequest,
            WriteFault::DoneAnd(502),
            WriteFault::DoneAnd(500),
        ] {
            let (world, trackers) = world();
            *trackers.state.index_lag.lock().unwrap() = Duration::from_millis(700);
            write_stories(&world, 3);
            // The first write makes the feature's group, the others the stories.
            (2..=3).for_each(|write| trackers.write_fault(write, fault));
            let job = synced(&world, &[tracker]);
            assert_eq!(job["progress"]["failed"], 0, "{tracker} {fault:?}: {job}");
            assert_eq!(open_items(&trackers).len(), 3, "{tracker} {fault:?}");
            assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker} {fault:?}");
        }
    }
}

#[test]
fn a_feature_whose_making_got_no_answer_is_made_once() {
    for tracker in TRACKERS {
        for fault in [WriteFault::LosesReply, WriteFault::DoneAnd(502)] {
            let (world, trackers) = world();
            write_stories(&world, 2);
            trackers.write_fault(1, fault);
            sync(&world, &[tracker]);
            synced(&world, &[tracker]);
            let features =
                trackers.issues().values().filter(|issue| issue.title == "[FS-001] First feature").count();
            let milestones = trackers.state.milestones.lock().unwrap().len();
            assert_eq!(features + milestones, 1, "{tracker} {fault:?}: {:#?}", trackers.issues());
            let stories = open_items(&trackers);
            let grouped = stories.values().map(|number| trackers.issue(*number));
            let grouped = grouped.filter(|issue| issue.parent.is_some() || issue.milestone.is_some());
            assert_eq!(grouped.count(), 2, "{tracker} {fault:?}: stories stand below their feature");
        }
    }
}

#[test]
fn a_limit_in_the_middle_pauses_and_goes_on_by_itself() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 3);
        trackers.write_fault(3, WriteFault::Limit(40));
        let id = world.run(["sync", tracker, "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
        eventually("it is paused", || world.job(&id)["state"] == "paused");
        let job = world.job(&id);
        assert_eq!(job["pause"]["reason"], "rate_limited", "{job}");
        assert_eq!(open_items(&trackers).len(), 1, "{tracker}");
        // Nobody waits that long here: the limit opens, and a person knows.
        *trackers.state.limited_until.lock().unwrap() = None;
        assert_eq!(
            trackers.state.while_limited.load(Ordering::SeqCst),
            0,
            "{tracker}: nothing was asked meanwhile"
        );
        world.run(["--resume", &id]).ok();
        assert_eq!(world.wait(&id)["state"], "completed");
        assert_eq!(open_items(&trackers).len(), 3, "{tracker}");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new());
    }
}

#[test]
fn somebody_who_is_faster_is_not_overwritten() {
    // Between the last look and the write, Azure DevOps itself refuses.
    let (world, trackers) = world();
    write_stories(&world, 1);
    synced(&world, &["ado"]);
    let number = item_of(&trackers, 1).number;
    edit(&world, 1, "title: \"Story 1\"", "title: \"Mine\"");
    let next = trackers.writes().len() as u64 + 1;
    trackers.before_write(move |write, issues| {
        if write == next {
            let issue = issues.get_mut(&number).unwrap();
            issue.labels.push("faster".into());
            issue.touch();
        }
    });
    synced(&world, &["ado"]);
    let item = item_of(&trackers, 1);
    assert_eq!(
        (item.title.as_str(), item.labels.contains(&"faster".to_owned())),
        ("[FS-001][US-001] Mine", true)
    );
    assert!(read(&path(&world, 1)).contains("labels: [faster]"));

    // The others are looked at just before: here somebody edits after the listing.
    for tracker in ["github", "jira"] {
        let (world, trackers) = self::world();
        write_stories(&world, 1);
        synced(&world, &[tracker]);
        let number = item_of(&trackers, 1).number;
        edit(&world, 1, "title: \"Story 1\"", "title: \"Mine\"");
        let page = trackers.pages() + 1;
        let state = trackers.state.clone();
        trackers.before_page(move |at, _| {
            if at == page {
                let state = state.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    let mut issues = state.issues.lock().unwrap();
                    let issue = issues.get_mut(&number).unwrap();
                    issue.labels.push("faster".into());
                    issue.touch();
                });
            }
        });
        trackers.set_latency(Duration::from_millis(60));
        synced(&world, &[tracker]);
        synced(&world, &[tracker]);
        let item = item_of(&trackers, 1);
        assert!(
            item.title.ends_with("Mine") && item.labels.contains(&"faster".to_owned()),
            "{tracker}: {item:?}"
        );
        assert!(read(&path(&world, 1)).contains("labels: [faster]"), "{tracker}");
    }
}

/// The file of an item that was imported.
fn imported(world: &World, title: &str) -> PathBuf {
    let found = snapshot(world).into_iter().find(|(path, text)| {
        path.file_name().unwrap().to_string_lossy().starts_with("us-")
            && text.lines().any(|line| line.starts_with("# US-") && line.ends_with(title))
    });
    found.unwrap_or_else(|| panic!("{title} was not imported")).0
}

#[test]
fn of_what_came_from_the_tracker_only_status_and_boxes_go_back() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        let mut theirs = Issue::new(7, "Theirs");
        theirs.body = "Intro of theirs.\n\n- [ ] first thing\n- [x] second thing".into();
        theirs.is_markdown = true;
        theirs.document = (tracker == "jira").then(|| {
            let task = |id: &str, text: &str, state: &str| json!({
                "type": "taskItem", "attrs": {"localId": id, "state": state}, "content": [{"type": "text", "text": text}],
            });
            json!({"type": "doc", "version": 1, "content": [
                {"type": "paragraph", "content": [
                    {"type": "text", "text": "Intro of theirs. "}, {"type": "mention", "attrs": {"id": "ann", "text": "@Ann"}},
                ]},
                {"type": "taskList", "attrs": {"localId": "l"},
                 "content": [task("a", "first thing", "TODO"), task("b", "second thing", "DONE")]},
            ]})
        });
        trackers.add(theirs);
        assert_eq!(plan(&world, &[tracker]).len(), 1);
        synced(&world, &[tracker]);
        assert!(trackers.writes().is_empty(), "{tracker}: an import writes nothing there");
        let file = imported(&world, "Theirs");
        let text = read(&file);
        let edited = text
            .replace("**Status**: Open", "**Status**: In Progress")
            .replace("- [ ] first thing", "- [x] first thing")
            .replace("- [x] second thing", "- [ ] second thing")
            .replace(": Theirs\n", ": Mine\n");
        assert_eq!(edited.lines().zip(text.lines()).filter(|(one, other)| one != other).count(), 4, "{text}");
        std::fs::write(&file, &edited).unwrap();
        synced(&world, &[tracker]);
        let issue = trackers.issue(7);
        assert_eq!(issue.title, "Theirs", "{tracker}: words are the tracker's");
        let there = text_of(&issue);
        match tracker {
            "jira" => {
                assert!(there.contains("mention"), "{there}");
                let first = there.find("\"DONE\"").unwrap();
                assert!(first < there.find("first thing").unwrap() && there.contains("TODO"), "{there}");
            }
            _ => assert_eq!(there, "Intro of theirs.\n\n- [x] first thing\n- [ ] second thing"),
        }
        let moved = match tracker {
            "github" => issue.labels.contains(&"status:active".to_owned()),
            _ => issue.phase == Phase::Active,
        };
        assert!(moved, "{tracker}: {issue:?}");
        assert_eq!(
            read(&file).lines().filter(|line| line.ends_with(": Mine") || *line == "title: \"Mine\"").count(),
            2,
            "{tracker}: a person's words stay"
        );
        let (writes, before) = (trackers.writes().len(), snapshot(&world));
        synced(&world, &[tracker]);
        assert_eq!(trackers.writes().len(), writes, "{tracker}: quiet");
        assert_eq!(snapshot(&world), before, "{tracker}: quiet");

        // And back: what is changed there comes here.
        match tracker {
            "jira" => trackers.edit(7, |issue| {
                let text = issue.document.as_ref().unwrap().to_string().replace("\"TODO\"", "\"DONE\"");
                issue.document = Some(serde_json::from_str(&text).unwrap());
            }),
            _ => trackers.edit(7, |issue| issue.body = issue.body.replace("- [ ] second", "- [x] second")),
        }
        trackers.edit(7, |issue| {
            issue.labels.retain(|label| !label.starts_with("status:"));
            (issue.phase, issue.state) = (Phase::Closed, None);
        });
        synced(&world, &[tracker]);
        let text = read(&file);
        assert!(
            text.contains("**Status**: Completed") && text.contains("- [x] second thing"),
            "{tracker}: {text}"
        );
        assert_eq!(trackers.writes().len(), writes);
    }
}

#[test]
fn a_status_of_an_imported_story_that_both_changed_waits_for_a_person() {
    for (tracker, side) in [("github", "remote"), ("jira", "local"), ("ado", "remote")] {
        let (world, trackers) = world();
        trackers.add(Issue::new(7, "Theirs"));
        synced(&world, &[tracker]);
        let file = imported(&world, "Theirs");
        std::fs::write(&file, read(&file).replace("**Status**: Open", "**Status**: In Progress")).unwrap();
        trackers.edit(7, |issue| issue.phase = Phase::Closed);
        for _ in 0..2 {
            let job = sync(&world, &[tracker]);
            assert_eq!(job["state"], "completed_with_warnings", "{tracker}: {job}");
            assert!(trackers.writes().is_empty(), "{tracker}: {:?}", trackers.writes());
            assert!(read(&file).contains("**Status**: In Progress"), "{tracker}");
            assert!(read(&beside(&file)).contains("Completed"), "{tracker}");
        }
        let id = match tracker {
            "github" => "github#acme/web#7",
            "jira" => "PAY-7",
            _ => "ADO-7",
        };
        world.run(["resolve", id, "--use", side, "--tracker", tracker]).ok();
        let wanted = if side == "local" { "**Status**: In Progress" } else { "**Status**: Completed" };
        assert!(read(&file).contains(wanted), "{tracker}: {}", read(&file));
        assert_eq!(trackers.issue(7).phase == Phase::Closed, side == "remote", "{tracker}");
        synced(&world, &[tracker]);
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
        assert!(!beside(&file).exists(), "{tracker}");
    }
}

#[test]
fn what_is_only_sent_is_no_contradiction_the_next_time() {
    let (world, trackers) = world();
    trackers.add(Issue::new(7, "Theirs"));
    synced(&world, &["github"]);
    let file = imported(&world, "Theirs");
    let set = |from: &str, to: &str| {
        let (from, to) = (format!("**Status**: {from}"), format!("**Status**: {to}"));
        std::fs::write(&file, read(&file).replace(&from, &to)).unwrap();
        synced(&world, &["github", "--direction", "export"]);
    };
    set("Open", "In Progress");
    assert!(trackers.issue(7).labels.contains(&"status:active".to_owned()), "{:?}", trackers.issue(7));
    set("In Progress", "Completed");
    assert_eq!(trackers.issue(7).phase, Phase::Closed);
}

#[test]
fn gone_items_restored_stories_and_closed_ones() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(&json!({"preset": "full-control"}));
        write_stories(&world, 6);
        synced(&world, &[tracker]);
        let numbers: Vec<u64> = (1..=3).map(|number| item_of(&trackers, number).number).collect();
        // Its item is deleted; its story is; its story is, and its item was changed.
        trackers.edit(numbers[0], |issue| issue.deleted = true);
        std::fs::remove_file(path(&world, 2)).unwrap();
        std::fs::remove_file(path(&world, 3)).unwrap();
        trackers.edit(numbers[2], |issue| issue.title = "[FS-001][US-003] Changed".into());
        let mut planned = plan(&world, &[tracker, "--force-deletes"]);
        planned.sort();
        assert_eq!(
            planned,
            ["close web/FS-001/US-002", "orphan web/FS-001/US-001", "restore web/FS-001/US-003"],
            "{tracker}"
        );
        let job = sync(&world, &[tracker, "--force-deletes"]);
        assert_eq!(job["state"], "completed_with_warnings", "{tracker}: {job}");
        assert!(
            job["warning"].as_str().unwrap().contains("is gone in the tracker; the story stays"),
            "{job}"
        );
        assert!(path(&world, 1).exists(), "{tracker}: no person's file is removed");
        assert_eq!(trackers.issue(numbers[1]).phase, Phase::Closed, "{tracker}");
        let restored = read(&path(&world, 3));
        assert!(
            restored.contains("title: \"Changed\"") && restored.contains("**AC-US3-01**"),
            "{tracker}: {restored}"
        );
        synced(&world, &[tracker]);
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
        // Who takes the link out wants a new one.
        let text = read(&path(&world, 1));
        let unlinked: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("  ") && !line.starts_with("external")).collect();
        std::fs::write(path(&world, 1), unlinked.join("\n") + "\n").unwrap();
        synced(&world, &[tracker]);
        assert!(item_of_open(&trackers, 1), "{tracker}: it has one again");
    }
}

fn item_of_open(trackers: &Trackers, number: u32) -> bool {
    let wanted = format!("[US-{number:03}]");
    trackers.issues().values().filter(|issue| !issue.deleted && issue.title.contains(&wanted)).count() == 1
}

#[test]
fn issues_that_specweave_made_are_taken_over_and_none_is_made_beside_them() {
    let (world, trackers) = world();
    write_stories(&world, 2);
    let body = |number: u32| {
        format!(
            "## Progress\n\n**Acceptance Criteria**: 1/2 (50%)\n\n## User Story\n\nAs a user I want Story {number}.\n\n\
             ## Acceptance Criteria\n\n- [x] **AC-US{number}-01**: it works\n- [ ] **AC-US{number}-02**: it is fast\n\n\
             ## Tasks\n\n- [ ] **T-001**: build it\n\n---\n\n## Links\n\n- x\n\n---\n\n\
             🤖 Auto-created by SpecWeave User Story Sync | Updates automatically"
        )
    };
    for number in 1..=2_u32 {
        let mut issue =
            Issue::new(u64::from(number) + 10, &format!("[FS-001][US-{number:03}] Story {number}"));
        issue.body = body(number);
        issue.labels = ["user-story", "specweave", "status:not_started", "p1", "project:web"]
            .map(str::to_owned)
            .to_vec();
        trackers.add(issue);
    }
    // One is linked in its file, the other only by its title.
    edit(
        &world,
        1,
        "priority: P1\n",
        "priority: P1\nexternal:\n  github:\n    issue: 11\n    url: https://github.com/acme/web/issues/11\n",
    );
    assert_eq!(plan(&world, &["github"]), ["link web/FS-001/US-002"], "only that one's file has to say so");
    synced(&world, &["github"]);
    assert!(trackers.writes().is_empty(), "they say the same: {:?}", trackers.writes());
    assert!(read(&path(&world, 2)).contains("issue: 12"));
    edit(&world, 2, "- [ ] **AC-US2-02**", "- [x] **AC-US2-02**");
    synced(&world, &["github"]);
    let there = trackers.issue(12).body;
    assert_eq!(
        there,
        body(2).replace("- [ ] **AC-US2-02**", "- [x] **AC-US2-02**"),
        "only the box was touched"
    );
}

#[test]
fn an_import_leaves_alone_what_was_made_from_stories() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        trackers.add(Issue::new(77, "Theirs"));
        let before = snapshot(&world).len();
        let words: &[&str] = match tracker {
            "github" => &["import", "github", "--repo", "acme/web", "--since", "all", "--json"],
            "jira" => &["import", "jira", "--project-key", "PAY", "--since", "all", "--json"],
            _ => &["import", "ado", "--ado-project", "Nova CAD", "--since", "all", "--json"],
        };
        let id = world.run(words).ok().json()["id"].as_str().unwrap().to_owned();
        assert_eq!(world.wait(&id)["state"], "completed");
        let stories = snapshot(&world);
        assert!(
            stories.len() > before
                && !stories.values().any(|text| text.contains("**External ID**") && text.contains("Story 1")),
            "{tracker}"
        );
        synced(&world, &[tracker]);
    }
}

#[test]
fn stories_that_cannot_be_read_are_named_and_the_others_are_synced() {
    let (world, trackers) = world();
    write_stories(&world, 5);
    std::fs::write(path(&world, 1), "---\nid: US-001\ntitle: [\n---\n").unwrap();
    std::fs::write(path(&world, 2), "---\ntitle: no id\n---\n").unwrap();
    std::fs::write(path(&world, 3), [0xff, 0xfe, b'-']).unwrap();
    std::fs::write(specs(&world).join("web/FS-001/us-005-again.md"), story(5, "Again")).unwrap();
    let outside = world.dir.join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("us-009-x.md"), story(9, "Outside")).unwrap();
    std::os::unix::fs::symlink(&outside, specs(&world).join("web/FS-002")).unwrap();
    std::fs::remove_file(path(&world, 3)).unwrap();
    let job = sync(&world, &["github"]);
    assert_eq!(job["state"], "completed_with_warnings", "{job}");
    let failed = job["progress"]["failed_items"].to_string();
    for name in ["us-001", "us-002", "us-005"] {
        assert!(failed.contains(name), "{name}: {failed}");
    }
    let made: Vec<String> = open_items(&trackers).into_keys().collect();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(read(&outside.join("us-009-x.md")) == story(9, "Outside"));
}

#[test]
fn only_what_is_named_is_synced() {
    let (world, trackers) = world();
    write_stories(&world, 3);
    assert_eq!(
        plan(&world, &["github", "--only", "US-002"]),
        ["group web/FS-001", "create web/FS-001/US-002"]
    );
    synced(&world, &["github", "--only", "FS-001/US-002"]);
    assert_eq!(open_items(&trackers).into_keys().collect::<Vec<_>>(), ["[FS-001][US-002] Story 2"]);
    synced(&world, &["github", "--only", "FS-001"]);
    assert_eq!(open_items(&trackers).len(), 3);
    let job = sync(&world, &["github", "--only", "US-404"]);
    assert!(
        job["state"] == "failed" && job["failure"]["message"] == "there is no story or item US-404",
        "{job}"
    );
    assert_eq!(
        plan(&world, &["github", "--only", &format!("#{}", item_of(&trackers, 1).number)]),
        Vec::<String>::new()
    );
}

#[test]
fn older_servers_are_written_in_their_own_markup() {
    for tracker in ["jira", "ado"] {
        let (mut world, trackers) = world();
        trackers.state.data_center.store(true, Ordering::Relaxed);
        trackers.state.html_only.store(true, Ordering::Relaxed);
        world.unset("JIRA_EMAIL");
        write_stories(&world, 2);
        edit(&world, 1, "As a user I want Story 1.", "As a **user** I want `it`:\n\n- one\n- two");
        synced(&world, &[tracker]);
        let body = item_of(&trackers, 1).body;
        let marks: &[&str] = if tracker == "jira" {
            &["h2. User Story", "*user*", "{{it}}", "* one"]
        } else {
            &["<strong>user</strong>", "<li>one</li>"]
        };
        assert!(marks.iter().all(|mark| body.contains(mark)), "{tracker}: {body}");
        let (writes, before) = (trackers.writes().len(), snapshot(&world));
        synced(&world, &[tracker]);
        assert_eq!((trackers.writes().len(), snapshot(&world)), (writes, before), "{tracker}: quiet");
        edit(&world, 2, "- [ ] **AC-US2-02**", "- [x] **AC-US2-02**");
        synced(&world, &[tracker]);
        assert!(item_of(&trackers, 2).body.contains("[x] "), "{tracker}: {}", item_of(&trackers, 2).body);
        synced(&world, &[tracker]);
        assert_eq!(trackers.writes().len(), writes + 1, "{tracker}: quiet");
    }
}

#[test]
fn states_are_those_that_the_project_has_set() {
    let (world, trackers) = world_with(&json!({"statusSync": {"mappings": {
        "jira": {"in-review": "In Review", "cancelled": "Cancelled"},
        "ado": {"in-review": {"state": "Resolved"}},
    }}}));
    for tracker in ["jira", "ado"] {
        trackers.issues().clear();
        let _ = std::fs::remove_dir_all(specs(&world));
        let _ = std::fs::remove_dir_all(world.state().join("jobs-daemon/sync"));
        write_stories(&world, 2);
        edit(&world, 1, "status: not_started", "status: in_review");
        edit(&world, 2, "status: not_started", "status: cancelled");
        synced(&world, &[tracker]);
        let state = |number| item_of(&trackers, number).state.unwrap_or_default();
        let (review, cancelled) =
            if tracker == "jira" { ("In Review", "Cancelled") } else { ("Resolved", "Removed") };
        assert_eq!((state(1).as_str(), state(2).as_str()), (review, cancelled), "{tracker}");
        let writes = trackers.writes().len();
        synced(&world, &[tracker]);
        assert_eq!(trackers.writes().len(), writes, "{tracker}: no state flips back");
        let number = item_of(&trackers, 2).number;
        trackers.edit(number, |issue| {
            issue.state = Some(review.to_owned());
            issue.phase = Phase::Active;
        });
        synced(&world, &[tracker]);
        assert!(
            read(&path(&world, 2)).contains("status: in_review"),
            "{tracker}: {}",
            read(&path(&world, 2))
        );
    }
}

#[test]
fn writes_to_github_are_a_second_apart_and_a_long_sync_says_how_long() {
    let (world, trackers) = world();
    set_config(
        &world,
        &json!({"profiles": {"gh": {"provider": "github", "config": {"owner": "acme", "repo": "web"}}}}),
    );
    write_stories(&world, 700);
    let said = world.run(["sync", "github", "--dry-run"]).ok();
    assert!(said.stdout.contains("about 64 min"), "{}", said.stdout.lines().last().unwrap_or_default());
    let id = world.run(["sync", "github", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    eventually("some were made", || trackers.writes().len() >= 4);
    let eta = world.job(&id)["progress"]["eta_seconds"].as_u64().unwrap();
    assert!((3_600..4_000).contains(&eta), "{eta}");
    world.run(["--kill", &id]).ok();
    let moments: Vec<_> = trackers.state.writes.lock().unwrap().iter().map(|(_, at)| *at).collect();
    for two in moments.windows(2) {
        let apart = two[1].duration_since(two[0]).unwrap();
        assert!(apart >= Duration::from_secs(1), "{apart:?}");
    }
    assert!(
        read(&world.state().join("jobs").join(&id).join("worker.log"))
            .contains("make this take about 64 min")
    );
}

#[test]
fn a_dead_token_or_a_wrong_profile_is_said() {
    let (mut world, trackers) = world();
    write_stories(&world, 1);
    let said = world.run(["sync", "--dry-run"]);
    assert!(said.status == Some(1) && said.stderr.contains("name one: --profile gh, ji, az"), "{said:?}");
    let said = world.run(["sync", "github", "--profile", "nope"]);
    assert!(said.status == Some(2) && said.stderr.contains("it has gh, ji, az"), "{said:?}");
    let said = world.run(["sync", "jira", "--profile", "gh"]);
    assert!(said.status == Some(2) && said.stderr.contains("is of github"), "{said:?}");
    trackers.set_token("another");
    let job = sync(&world, &["github"]);
    assert!(
        job["state"] == "failed"
            && job["failure"]["message"].as_str().unwrap().contains("Authentication failed"),
        "{job}"
    );
    world.set("GITHUB_TOKEN", "another");
    synced(&world, &["github"]);
}

#[test]
fn an_item_that_is_there_twice_is_closed_once_and_says_which_one_counts() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        let mut twin = item_of(&trackers, 1);
        let first = twin.number;
        twin.number = 900;
        twin.created += 60;
        trackers.add(twin);
        edit(&world, 1, "- [ ] **T-001**", "- [x] **T-001**");
        let planned = plan(&world, &[tracker]);
        assert_eq!(planned.len(), 2, "{tracker}: {planned:?}");
        synced(&world, &[tracker]);
        let twin = trackers.issue(900);
        assert_eq!((twin.phase, trackers.issue(first).phase), (Phase::Closed, Phase::Open), "{tracker}");
        assert!(text_of(&twin).contains("Duplicate of"), "{tracker}: {twin:?}");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
    }
}

#[test]
fn links_that_lead_elsewhere_are_not_followed() {
    let (world, trackers) = world();
    write_stories(&world, 4);
    (11..=14).for_each(|number| trackers.add(Issue::new(number, "Somebody's")));
    let link = |number: u32, address: &str| {
        edit(
            &world,
            number,
            "priority: P1\n",
            &format!("priority: P1\nexternal:\n  github:\n    issue: {}\n    url: {address}\n", number + 10),
        );
    };
    // One of another repository, and two that name the same issue.
    link(1, "https://github.com/acme/other/issues/11");
    link(2, "https://github.com/acme/web/issues/12");
    edit(&world, 3, "priority: P1\n", "priority: P1\nexternal:\n  github:\n    issue: 12\n");
    let before: Vec<String> = (1..=3).map(|number| read(&path(&world, number))).collect();
    let job = sync(&world, &["github", "--only", "FS-001"]);
    assert_eq!(job["state"], "completed_with_warnings", "{job}");
    assert_eq!(items_of(&world, &job)[..2], ["broken web/FS-001/US-003", "conflict web/FS-001/US-002"]);
    let shown = world.run(["--id", job["id"].as_str().unwrap(), "--json"]).json();
    let failed = |name: &str| {
        let items = shown["failed_items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap().clone()
    };
    let conflict = failed("web/FS-001/US-002");
    assert_eq!(conflict["failure"]["reason"], "conflict", "{conflict}");
    assert!(conflict["url"].as_str().unwrap().ends_with("/acme/web/issues/12"), "{conflict}");
    assert_eq!(conflict["target"], ".specweave/docs/internal/specs/web/FS-001/us-002-story.md", "{conflict}");
    assert_eq!(failed("web/FS-001/US-003")["failure"]["reason"], "invalid_input");
    assert_eq!((1..=3).map(|number| read(&path(&world, number))).collect::<Vec<_>>(), before);
    assert_eq!(trackers.issue(11).title, "Somebody's");
    assert_eq!(open_items(&trackers).into_keys().collect::<Vec<_>>(), ["[FS-001][US-004] Story 4"]);
}

#[test]
fn a_change_that_got_no_answer_is_made_once_or_again_as_needed() {
    for tracker in TRACKERS {
        for fault in [WriteFault::LosesReply, WriteFault::LosesRequest, WriteFault::DoneAnd(502)] {
            let (world, trackers) = world();
            write_stories(&world, 1);
            synced(&world, &[tracker]);
            edit(&world, 1, "title: \"Story 1\"", "title: \"Mine\"");
            trackers.write_fault(1, fault);
            synced(&world, &[tracker]);
            assert_eq!(item_of(&trackers, 1).title, "[FS-001][US-001] Mine", "{tracker} {fault:?}");
            assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker} {fault:?}");
        }
    }
}

#[test]
fn an_increments_folder_that_is_a_link_is_not_written_through() {
    let (world, _trackers) = world();
    write_stories(&world, 1);
    let outside = world.dir.join("outside");
    std::fs::create_dir_all(outside.join("0001-first")).unwrap();
    std::fs::write(outside.join("0001-first/metadata.json"), "{}").unwrap();
    std::os::unix::fs::symlink(&outside, world.project.join(".specweave/increments")).unwrap();
    synced(&world, &["github"]);
    assert_eq!(read(&outside.join("0001-first/metadata.json")), "{}");
}

#[test]
fn new_words_of_a_criterion_are_pushed() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        edit(&world, 1, "it is fast", "it is very fast");
        assert_eq!(plan(&world, &[tracker]), ["push web/FS-001/US-001"], "{tracker}");
        synced(&world, &[tracker]);
        assert!(text_of(&item_of(&trackers, 1)).contains("it is very fast"), "{tracker}");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
    }
}

#[test]
fn a_decision_is_about_one_conflict_that_was_shown() {
    let (world, trackers) = world();
    write_stories(&world, 2);
    let twin = specs(&world).join("app/FS-001/us-001-story.md");
    std::fs::create_dir_all(twin.parent().unwrap()).unwrap();
    std::fs::write(&twin, story(1, "Of the app")).unwrap();
    synced(&world, &["github"]);
    let refused = |story: &str, side: &str, why: &str| {
        let jobs = || world.run(["list", "--all", "-q"]).ok().stdout;
        let before = jobs();
        let said = world.run(["resolve", story, "--use", side, "--tracker", "github"]);
        assert!(said.status == Some(3) && said.stderr.contains(why), "{said:?}");
        assert_eq!(jobs(), before, "a decision over nothing makes no job");
    };
    refused("US-404", "local", "\"US-404\" is not in conflict");
    refused("US-002", "remote", "\"US-002\" is not in conflict");
    let number = item_of(&trackers, 2).number;
    edit(&world, 2, "title: \"Story 2\"", "title: \"Mine\"");
    trackers.edit(number, |issue| issue.title = "[FS-001][US-002] Theirs".into());
    refused("US-002", "local", "is not in conflict, as far as the last sync or import has seen");
    sync(&world, &["github"]);
    assert_eq!(trackers.issue(number).title, "[FS-001][US-002] Theirs");
    // What a person writes there is nobody else's to change.
    let place = beside(&path(&world, 2));
    let written = read(&place).replace("<<<<<<< here", "HALF DONE");
    std::fs::write(&place, &written).unwrap();
    sync(&world, &["github"]);
    assert_eq!(read(&place), written);
    trackers.edit(number, |issue| issue.title = "[FS-001][US-002] Theirs, later".into());
    sync(&world, &["github"]);
    assert!(read(&place).contains("Theirs, later"));
    assert_eq!(read(&path(&world, 2).with_file_name("conflict-us-002-story-2.md")), written);
    world.run(["resolve", "web/FS-001/US-002", "--use", "remote", "--tracker", "github"]).ok();
    assert!(read(&path(&world, 2)).contains("title: \"Theirs, later\""));
}

#[test]
fn what_is_in_conflict_is_listed_with_both_sides_until_it_is_decided_also_in_a_folder_with_blanks() {
    let (world, trackers) = world();
    let file = specs(&world).join("my team/FS-001/us-001-story.md");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, story(1, "Story 1")).unwrap();
    synced(&world, &["github"]);
    let listed = || world.run(["conflicts", "--json"]).ok().json()["conflicts"].as_array().unwrap().clone();
    assert_eq!(listed(), Vec::<Value>::new());
    assert_eq!(world.run(["conflicts"]).ok().stdout, "Nothing is in conflict.\n");
    let number = item_of(&trackers, 1).number;
    let begun = read(&file);
    std::fs::write(&file, begun.replace("Story 1", "Mine")).unwrap();
    trackers.edit(number, |issue| issue.title = "[FS-001][US-001] Theirs".into());
    let job = sync(&world, &["github", "--only", "my team/FS-001/US-001"]);
    assert_eq!(job["progress"]["in_conflict"], 1, "{job}");
    let [conflict] = &listed()[..] else { panic!("{:?}", listed()) };
    assert_eq!(conflict["story"], "my team/FS-001/US-001");
    assert_eq!(conflict["key"], json!({"folder": "my team", "feature": "FS-001", "story": "US-001"}));
    assert_eq!(conflict["path"], ".specweave/docs/internal/specs/my team/FS-001/us-001-story.md");
    assert!(world.project.join(conflict["file"].as_str().unwrap()).exists(), "{conflict}");
    assert!(conflict["url"].as_str().unwrap().ends_with(&format!("/issues/{number}")), "{conflict}");
    assert_eq!(conflict["fields"][0]["name"], "title");
    let shown = world.run(["conflicts", "US-001", "--json"]).ok().json();
    let title = json!({"name": "title", "base": "Story 1", "local": "Mine", "remote": "Theirs"});
    assert_eq!(shown["fields"][0], title, "{shown}");
    let told = world.run(["conflicts"]).ok().stdout;
    assert!(told.contains("specweave-jobs resolve 'my team/FS-001/US-001' --use"), "{told}");
    let wrong = world.run(["conflicts", "US-002"]);
    assert!(wrong.status == Some(3) && wrong.stderr.contains("\"US-002\" is not in conflict"), "{wrong:?}");
    // Whoever takes back what they wrote has decided, too.
    std::fs::write(&file, read(&file).replace("Mine", "Story 1")).unwrap();
    synced(&world, &["github"]);
    assert_eq!(listed(), Vec::<Value>::new());
    std::fs::write(&file, read(&file).replace("Theirs", "Mine")).unwrap();
    trackers.edit(number, |issue| issue.title = "[FS-001][US-001] Theirs again".into());
    sync(&world, &["github"]);
    assert_eq!(listed().len(), 1);
    world.run(["resolve", "my team/FS-001/US-001", "--use", "local", "--tracker", "github"]).ok();
    assert_eq!(listed(), Vec::<Value>::new());
    assert_eq!(trackers.issue(number).title, "[FS-001][US-001] Mine");
}

#[test]
fn what_a_tracker_drops_without_a_word_is_named_and_undoes_nothing_here() {
    let (world, trackers) = world();
    trackers.state.drops_labels.store(true, Ordering::Relaxed);
    write_stories(&world, 1);
    let made = sync(&world, &["github"]);
    assert!(made["warning"].as_str().unwrap().contains("GitHub did not take priority of #1"), "{made}");
    synced(&world, &["github"]);
    edit(
        &world,
        1,
        "status: not_started\npriority: P1\n",
        "status: in_progress\npriority: P0\nlabels: [billing]\n",
    );
    let changed = sync(&world, &["github"]);
    let told = changed["warning"].as_str().unwrap();
    assert!(told.contains("GitHub did not take status, priority, labels of #1"), "{changed}");
    let kept = read(&path(&world, 1));
    synced(&world, &["github"]);
    assert_eq!(read(&path(&world, 1)), kept);
    assert!(
        kept.contains("status: in_progress") && kept.contains("priority: P0") && kept.contains("billing"),
        "{kept}"
    );
}

#[test]
fn labels_of_other_conventions_are_no_status_and_stay() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    synced(&world, &["github"]);
    let number = item_of(&trackers, 1).number;
    for label in ["status:stale", "status: needs info"] {
        trackers.edit(number, |issue| issue.labels.push(label.to_owned()));
    }
    synced(&world, &["github"]);
    assert!(read(&path(&world, 1)).contains("status: not_started"));
    edit(&world, 1, "status: not_started", "status: completed");
    synced(&world, &["github"]);
    let labels = trackers.issue(number).labels;
    assert!(
        ["status:stale", "status: needs info"].iter().all(|label| labels.iter().any(|own| own == label)),
        "{labels:?}"
    );
}

#[test]
fn of_several_items_with_a_storys_title_one_is_taken_and_the_others_are_left_alone() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    for number in [15, 17, 19] {
        trackers.add(Issue::new(number, "[FS-001][US-001] Story 1"));
    }
    trackers.edit(15, |issue| issue.phase = Phase::Closed);
    let shown = world.run(["sync", "github", "--dry-run"]);
    assert!(
        shown.stdout.contains("#19 has the title of web/FS-001/US-001, which is #17: it is left alone"),
        "{shown:?}"
    );
    sync(&world, &["github"]);
    assert_eq!(trackers.issues().len(), 3, "none is made");
    let conflicts = world.run(["conflicts", "--json"]).ok().json();
    assert_eq!(
        conflicts["conflicts"][0]["item"], "#17",
        "their texts differ, and a person decides: {conflicts}"
    );
    let is_story = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.contains("/us-")
    };
    let stories = files_below(&specs(&world)).into_iter().filter(is_story);
    assert_eq!(stories.collect::<Vec<_>>(), [path(&world, 1)], "none of them becomes a story");
}

#[test]
fn one_item_that_may_not_be_written_fails_alone_with_the_servers_words() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 3);
        synced(&world, &[tracker]);
        (1..=3).for_each(|number| edit(&world, number, "- [ ] **AC", "- [x] **AC"));
        trackers.write_fault(1, WriteFault::Refused(403));
        let job = sync(&world, &[tracker]);
        assert_eq!(job["state"], "completed_with_warnings", "{tracker}: {job}");
        assert_eq!(job["progress"]["failed"], 1, "{tracker}: {job}");
        assert!(job["warning"].as_str().unwrap().contains("you may not change this one"), "{tracker}: {job}");
        let shown = world.run(["--id", job["id"].as_str().unwrap(), "--json"]).json();
        assert_eq!(shown["failed_items"][0]["failure"]["reason"], "forbidden", "{tracker}: {shown}");
        synced(&world, &[tracker]);
    }
}

#[test]
fn a_story_that_cannot_be_read_is_not_a_story_that_is_gone() {
    let (world, trackers) = world_with(&json!({"preset": "full-control"}));
    write_stories(&world, 6);
    synced(&world, &["github"]);
    let texts: Vec<String> = (1..=3).map(|number| read(&path(&world, number))).collect();
    edit(&world, 1, "title: \"Story 1\"", "title: [");
    std::fs::write(path(&world, 2), [b'-', b'-', b'-', b'\n', 0xff]).unwrap();
    edit(&world, 3, "/acme/web/issues/", "/acme/other/issues/");
    let mut planned = plan(&world, &["github"]);
    planned.sort();
    assert_eq!(planned, ["broken web/FS-001/us-001-story.md", "broken web/FS-001/us-002-story.md"]);
    sync(&world, &["github"]);
    assert_eq!(open_items(&trackers).len(), 6, "nothing was closed");
    (1..=3).for_each(|number| std::fs::write(path(&world, number), &texts[number as usize - 1]).unwrap());
    assert_eq!(plan(&world, &["github"]), Vec::<String>::new(), "and nothing was forgotten");
}

#[test]
fn a_copy_of_a_story_does_not_get_its_item() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    synced(&world, &["github"]);
    let number = item_of(&trackers, 1).number;
    let copy = specs(&world).join("app/FS-001/us-050-copy.md");
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    std::fs::write(&copy, read(&path(&world, 1)).replace("US-001", "US-050").replace("Story 1", "Copy"))
        .unwrap();
    assert_eq!(plan(&world, &["github"]), ["broken app/FS-001/US-050"], "the one that was linked keeps it");
    std::fs::remove_file(path(&world, 1)).unwrap();
    assert_eq!(
        plan(&world, &["github"]),
        ["conflict app/FS-001/US-050"],
        "what the original met, the copy did not"
    );
    sync(&world, &["github"]);
    assert_eq!(trackers.issue(number).title, "[FS-001][US-001] Story 1");
}

#[test]
fn a_story_that_moves_takes_its_item_along() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        let to = specs(&world).join("web/FS-002/us-001-story.md");
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(path(&world, 1), &to).unwrap();
        edit(&world, 2, "id: US-002", "id: US-077");
        synced(&world, &[tracker]);
        let titles: Vec<String> = open_items(&trackers).into_keys().collect();
        assert_eq!(titles, ["[FS-001][US-077] Story 2", "[FS-002][US-001] Story 1"], "{tracker}");
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
    }
}

#[test]
fn what_is_taken_away_here_goes_there_or_is_left_to_the_tracker() {
    for tracker in TRACKERS {
        let (world, trackers) = world();
        write_stories(&world, 1);
        edit(&world, 1, "priority: P1\n", "priority: P1\nlabels: [one, two, specweave]\n");
        synced(&world, &[tracker]);
        assert!(
            read(&path(&world, 1)).contains("labels: [one, two, specweave]"),
            "{tracker}: what is managed stays here"
        );
        edit(&world, 1, "priority: P1\nlabels: [one, two, specweave]\n", "labels: [two]\n");
        for _ in 0..2 {
            synced(&world, &[tracker]);
            let text = read(&path(&world, 1));
            assert!(!text.contains("priority") && text.contains("labels: [two]"), "{tracker}: {text}");
            let labels = item_of(&trackers, 1).labels;
            assert!(
                labels.contains(&"two".to_owned()) && !labels.contains(&"one".to_owned()),
                "{tracker}: {labels:?}"
            );
        }
        assert_eq!(plan(&world, &[tracker]), Vec::<String>::new(), "{tracker}");
    }
}

#[test]
fn states_of_a_projects_own_are_read_by_what_they_mean() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    synced(&world, &["ado"]);
    let number = item_of(&trackers, 1).number;
    trackers.edit(number, |issue| issue.state = Some("In Development".into()));
    synced(&world, &["ado"]);
    assert!(read(&path(&world, 1)).contains("status: active"));
    assert_eq!(plan(&world, &["ado"]), Vec::<String>::new());
}

#[test]
fn what_may_have_been_made_is_not_made_by_who_may_only_read() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    trackers.write_fault(2, WriteFault::LosesRequest);
    trackers.write_fault(3, WriteFault::LosesRequest);
    let job = sync(&world, &["github"]);
    assert_eq!(job["state"], "completed_with_warnings", "{job}");
    let writes = trackers.writes().len();
    synced(&world, &["github", "--direction", "import"]);
    assert_eq!(trackers.writes().len(), writes);
    synced(&world, &["github"]);
    assert_eq!(open_items(&trackers).len(), 1);
}

#[test]
fn nobody_from_outside_gets_to_be_a_story() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    let mut planted = Issue::new(9, "[FS-001][US-001] Story 1");
    planted.by_outsider = true;
    planted.body =
        "As a user I want Story 1.\n\n## Acceptance Criteria\n\n- [x] **AC-US1-02**: it is fast".into();
    trackers.add(planted);
    assert_eq!(
        plan(&world, &["github", "--direction", "export"]),
        ["group web/FS-001", "create web/FS-001/US-001"]
    );
    synced(&world, &["github", "--direction", "export"]);
    assert!(
        read(&path(&world, 1)).contains("- [ ] **AC-US1-02**")
            && !read(&path(&world, 1)).contains("issue: 9")
    );
}

#[test]
fn a_job_that_the_daemon_took_up_alone_goes_on_with_the_token_that_is_brought() {
    let (world, trackers) = world();
    write_stories(&world, 30);
    trackers.set_latency(Duration::from_millis(40));
    let id = world.run(["sync", "github", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    eventually("some were made", || trackers.writes().len() >= 4);
    // At once, while the dead daemon's lock may still be held: that is the client's to wait for.
    let pid = rustix::process::Pid::from_raw(world.daemon_pid().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(open_items(&trackers).len(), 30);
}

#[test]
fn a_configuration_that_cannot_be_used_is_said_to_be() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    let said = |config: &str, what: &str| {
        std::fs::write(world.project.join(".specweave/config.json"), config).unwrap();
        let said = world.run(["sync", "github"]);
        assert!(said.status == Some(2) && said.stderr.contains(what), "{said:?}");
    };
    said("{not json", "it is not JSON");
    let github =
        |more: &str| format!(r#"{{"sync": {{"github": {{"owner": "acme", "repo": "web"{more}}}}}}}"#);
    said(&github(r#", "preset": "read"}, "x": {"#), "is no preset");
    said(&github(r#", "rateLimits": {"writeGapMs": "fast"}"#), "rateLimits.writeGapMs");
    said(r#"{"sync": {"defaultProfile": "y", "profiles": {"x": {}}}}"#, "there is no profile \"y\"");
    std::fs::write(world.project.join(".specweave/config.json"), github(r#", "preset": "read-only""#))
        .unwrap();
    synced(&world, &["github"]);
    assert!(trackers.writes().is_empty(), "a section may say what a profile may");
}

#[test]
fn dry_runs_do_not_stand_in_each_others_way() {
    let (world, trackers) = world();
    trackers.set_latency(Duration::from_millis(200));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| world.run(["sync", "github", "--dry-run"]).ok());
        }
    });
}

#[test]
fn an_issue_that_is_closed_from_here_is_no_longer_under_way() {
    let (world, trackers) = world();
    write_stories(&world, 1);
    edit(&world, 1, "status: not_started", "status: active");
    sync(&world, &["github"]);
    assert!(item_of(&trackers, 1).labels.contains(&"status:active".to_owned()));
    edit(&world, 1, "status: active", "status: completed");
    sync(&world, &["github"]);
    let closed = item_of(&trackers, 1);
    assert!(closed.phase == Phase::Closed && !closed.labels.iter().any(|label| label.starts_with("status:")));
}

#[test]
fn an_import_leaves_the_items_of_own_stories_alone_and_takes_those_of_other_projects() {
    for (tracker, source) in [
        ("github", ["--repo", "acme/web"]),
        ("jira", ["--project-key", "PAY"]),
        ("ado", ["--ado-project", "Nova CAD"]),
    ] {
        let (world, trackers) = world();
        write_stories(&world, 2);
        synced(&world, &[tracker]);
        // SpecWeave made this one: there is no marker, and the story's file names it.
        trackers.add(Issue::new(90, "[FS-001][US-003] Made by SpecWeave"));
        std::fs::write(path(&world, 3), story(3, "Made by SpecWeave")).unwrap();
        let link = match tracker {
            "github" => "external:\n  github:\n    issue: 90\n",
            "jira" => "external:\n  jira:\n    key: PAY-90\n",
            _ => "external:\n  ado:\n    id: 90\n",
        };
        edit(&world, 3, "priority: P1\n", &format!("priority: P1\n{link}"));
        let import = |world: &World| {
            let asked = ["import", tracker].into_iter().chain(source).chain(["--since", "all", "--json"]);
            let id = world.run(asked).ok().json()["id"].as_str().unwrap().to_owned();
            world.wait(&id)
        };
        let job = import(&world);
        assert_eq!((&job["state"], &job["progress"]["created"]), (&"completed".into(), &0.into()), "{job}");
        let reason = job["progress"]["left_out_reason"].as_str().unwrap();
        assert!(reason.contains("a story that was written here"), "{job}");
        // Another project takes them for what they are to it: issues of a tracker.
        let mut other = World::new();
        for (name, value) in trackers.environment() {
            other.set(name, value);
        }
        let job = import(&other);
        let items = trackers.issues().len();
        assert_eq!(
            (&job["state"], &job["progress"]["created"]),
            (&"completed".into(), &items.into()),
            "{job}"
        );
    }
}
