//! Beside SpecWeave, which generates the files of stories anew from their increment: what was pulled or pushed is not undone
//! by that, and what a person changes in the increment still counts.

use crate::specweave::{installed, specweave};
use crate::syncs::{check_there, edit_text, item_of, plan, set_config, specs, sync, synced};
use crate::world::trackers::{Phase, Trackers};
use crate::world::{World, read};
use serde_json::json;
use std::path::PathBuf;

const SPEC: &str = "---\nincrement: 0001-login\ntitle: \"Login\"\npriority: P1\nstatus: active\ncreated: 2026-01-02\n---\n\n\
    # Login\n\n## Overview\n\nPeople sign in.\n\n## User Stories\n\n\
    ### US-001: Sign in\n**Project**: web\n\n**As a** user\n**I want** to sign in\n**So that** I see my things\n\n\
    **Acceptance Criteria**:\n- [x] **AC-US1-01**: it works\n- [ ] **AC-US1-02**: it is fast\n- [ ] **AC-US1-03**: it is safe\n\n\
    ### US-002: Sign out\n**Project**: web\n\n**As a** user\n**I want** to sign out\n**So that** nobody sees them\n\n\
    **Acceptance Criteria**:\n- [ ] **AC-US2-01**: a button\n- [ ] **AC-US2-02**: a key\n";
const TASKS: &str = "# Tasks\n\n### T-001: Build it\n**User Story**: US-001\n**Status**: [ ] pending\n\n\
    ### T-002: Test it\n**User Story**: US-002\n**Status**: [ ] pending\n";

struct Scene {
    world: World,
    trackers: Trackers,
    tracker: &'static str,
}

impl Scene {
    fn new(tracker: &'static str) -> Self {
        let (mut world, trackers) = crate::syncs::world();
        let sync: serde_json::Value =
            serde_json::from_str(&read(&world.project.join(".specweave/config.json"))).unwrap();
        set_config(&world, &sync["sync"]);
        world.set("SKIP_EXTERNAL_SYNC", "true");
        let increment = world.project.join(".specweave/increments/0001-login");
        std::fs::create_dir_all(&increment).unwrap();
        std::fs::write(increment.join("spec.md"), SPEC).unwrap();
        std::fs::write(increment.join("tasks.md"), TASKS).unwrap();
        let metadata = json!({"id": "0001-login", "status": "active", "type": "feature", "created": "2026-01-02T00:00:00.000Z"});
        std::fs::write(increment.join("metadata.json"), metadata.to_string()).unwrap();
        Self { world, trackers, tracker }
    }

    fn source(&self, name: &str) -> PathBuf {
        self.world.project.join(".specweave/increments/0001-login").join(name)
    }

    fn edit_source(&self, name: &str, from: &str, to: &str) {
        let text = read(&self.source(name));
        assert!(text.contains(from), "{from:?} is not in {text}");
        std::fs::write(self.source(name), text.replacen(from, to, 1)).unwrap();
    }

    fn story(&self, number: u32) -> PathBuf {
        let folder = specs(&self.world).join("web/FS-001");
        let name = format!("us-{number:03}-");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut found = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&name));
        let one = found.next().unwrap_or_else(|| panic!("there is no story {number}"));
        assert_eq!(found.next(), None);
        one
    }

    fn edit_story(&self, number: u32, from: &str, to: &str) {
        let text = read(&self.story(number));
        assert!(text.contains(from), "{from:?} is not in {text}");
        std::fs::write(self.story(number), text.replacen(from, to, 1)).unwrap();
    }

    fn says(&self, number: u32, parts: &[&str]) {
        let text = read(&self.story(number));
        for part in parts {
            assert!(text.contains(part), "{}: {part:?} is not in\n{text}", self.tracker);
        }
    }

    /// A sync that is to write nothing to the tracker.
    fn writes_nothing(&self) {
        self.trackers.forget_writes();
        synced(&self.world, &[self.tracker]);
        let writes = self.trackers.writes();
        assert_eq!(writes, Vec::<String>::new(), "{}", self.tracker);
        assert_eq!(plan(&self.world, &[self.tracker]), Vec::<String>::new(), "{}", self.tracker);
    }
}

/// What SpecWeave 1.0.593 makes of the increment, as far as these tests need it.
fn generate(scene: &Scene) {
    let (spec, tasks) = (read(&scene.source("spec.md")), read(&scene.source("tasks.md")));
    let folder = specs(&scene.world).join("web/FS-001");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("FEATURE.md"), "---\nid: FS-001\ntitle: \"Login\"\n---\n\n# Login\n").unwrap();
    for section in spec.split("\n### US-").skip(1) {
        let (id, rest) = section.split_once(": ").unwrap();
        let (title, rest) = rest.split_once('\n').unwrap();
        let body = rest.split_once("\n\n").unwrap().1;
        let (description, criteria) = body.split_once("\n\n**Acceptance Criteria**:\n").unwrap();
        let criteria = criteria.trim_end();
        let (all, done) = (criteria.lines().count(), criteria.matches("- [x]").count());
        let status = match done {
            0 => "not_started",
            done if done == all => "completed",
            _ => "in_progress",
        };
        let own = tasks.split("\n### ").skip(1).filter(|task| task.contains(&format!("US-{id}")));
        let tasks: String = own
            .map(|task| {
                let (task_id, title) = task.lines().next().unwrap().split_once(": ").unwrap();
                let mark = if task.contains("[x]") { "x" } else { " " };
                format!("- [{mark}] **{task_id}**: {title}\n")
            })
            .collect();
        let name =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("us-{id}-"));
        let known =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| name(path));
        let before = known.as_ref().map(|path| read(path)).unwrap_or_default();
        // Of a front matter it keeps the links to trackers alone, without comments.
        let external: String = match before.split_once("\nexternal:\n") {
            Some((_, rest)) => {
                let own = rest.lines().take_while(|line| line.starts_with(' '));
                let own = own.map(|line| line.split(" #").next().unwrap());
                format!("external:\n{}\n", own.collect::<Vec<_>>().join("\n"))
            }
            None => String::new(),
        };
        let slug = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let text = format!(
            "---\nid: US-{id}\nfeature: FS-001\ntitle: \"{quoted}\"\nstatus: {status}\npriority: P1\ncreated: 2026-01-02\n\
             tldr: \"**As a** user.\"\nproject: web\n{external}---\n\n# US-{id}: {title}\n\n**Feature**: [FS-001](./FEATURE.md)\n\n\
             {description}\n\n---\n\n## Acceptance Criteria\n\n{criteria}\n\n---\n\n## Implementation\n\n\
             **Increment**: [0001-login](../../../../../increments/0001-login/spec.md)\n\n\
             **Tasks**: See increment tasks.md for implementation details.\n\n\n## Tasks\n\n{tasks}",
            quoted = title.replace('"', "'"),
        );
        if let Some(known) = known {
            std::fs::remove_file(known).unwrap();
        }
        std::fs::write(folder.join(format!("us-{id}-{slug}.md")), text).unwrap();
    }
}

/// Edits of both sides before and after each run of the generator, and what has to stand there afterwards.
fn story_of_an_increment(tracker: &'static str, regenerate: &dyn Fn(&Scene)) {
    let scene = Scene::new(tracker);
    let Scene { world, trackers, .. } = &scene;
    let item = |number| item_of(trackers, number);
    regenerate(&scene);
    synced(world, &[tracker]);
    regenerate(&scene);
    scene.writes_nothing();

    // A colleague renames an issue, checks a box and closes it, and rewrites another.
    let (first, second) = (item(1).number, item(2).number);
    check_there(trackers, first);
    trackers.edit(first, |issue| {
        issue.title = "[FS-001][US-001] Log in, \"quickly\"".into();
        (issue.phase, issue.state) = (Phase::Closed, None);
        issue.labels.push("urgent".into());
    });
    edit_text(trackers, second, "to sign out", "to leave at once");
    regenerate(&scene);
    synced(world, &[tracker]);
    let pulled = ["Log in, ", "status: completed", "labels: [urgent]", "- [x] **AC-US1-02**"];
    scene.says(1, &pulled);
    let spec = read(&scene.source("spec.md"));
    assert!(spec.contains("### US-001: Log in, \"quickly\"\n"), "{spec}");
    assert!(spec.contains("- [x] **AC-US1-02**: it is fast\n- [ ] **AC-US1-03**"), "{spec}");
    for _ in 0..2 {
        regenerate(&scene);
        scene.writes_nothing();
        scene.says(1, &pulled);
        scene.says(2, &["to leave at once"]);
    }

    // What is changed in a story's file reaches the tracker, and stays there.
    scene.edit_story(2, "title: \"Sign out\"", "title: \"Leave\"");
    scene.edit_story(2, "priority: P1", "priority: P0");
    scene.edit_story(2, "- [ ] **T-002**", "- [x] **T-002**");
    synced(world, &[tracker]);
    assert!(item(2).title.contains("Leave"), "{:?}", item(2));
    assert!(read(&scene.source("tasks.md")).contains("**Status**: [x] completed"));
    regenerate(&scene);
    scene.writes_nothing();
    scene.says(2, &["title: \"Leave\"", "priority: P0", "- [x] **T-002**"]);

    // What a person changes in the increment is an edit like any other; one more box does not open what was closed.
    scene.edit_source("spec.md", "### US-002: Leave", "### US-002: Go away");
    scene.edit_source("spec.md", "- [ ] **AC-US2-01**", "- [x] **AC-US2-01**");
    scene.edit_source("tasks.md", "**Status**: [ ] pending", "**Status**: [x] completed");
    regenerate(&scene);
    synced(world, &[tracker]);
    assert!(item(2).title.contains("Go away"), "{:?}", item(2));
    scene.says(2, &["title: \"Go away\"", "status: in_progress", "priority: P0"]);
    scene.says(1, &["status: completed", "- [x] **T-001**", "labels: [urgent]"]);
    assert_eq!(item(1).phase, Phase::Closed);
    regenerate(&scene);
    scene.writes_nothing();

    // Both sides at once: a person decides, and nothing is lost.
    scene.edit_source("spec.md", "### US-002: Go away", "### US-002: Ours");
    trackers.edit(second, |issue| issue.title = "[FS-001][US-002] Theirs".into());
    synced_once_generated(&scene, regenerate);
}

fn synced_once_generated(scene: &Scene, regenerate: &dyn Fn(&Scene)) {
    regenerate(scene);
    let job = sync(&scene.world, &[scene.tracker]);
    assert_eq!(job["state"], "completed_with_warnings", "{}: {job:#}", scene.tracker);
    assert!(item_of(&scene.trackers, 2).title.contains("Theirs"));
    scene.says(2, &["Ours"]);
}

#[test]
fn what_was_synced_is_not_undone_when_stories_are_generated_anew() {
    for tracker in ["github", "jira", "ado"] {
        story_of_an_increment(tracker, &generate);
    }
}

#[test]
fn specweave_itself_does_not_undo_what_was_synced() {
    let Some((_, installed)) = installed() else { return };
    for (tracker, command) in
        [("github", "sync-living-docs"), ("jira", "sync-progress"), ("ado", "sync-living-docs")]
    {
        story_of_an_increment(tracker, &|scene| {
            let mut arguments = vec![command, "0001-login"];
            if command == "sync-progress" {
                arguments.extend(["--force", "--no-create", "--no-github", "--no-jira", "--no-ado"]);
            }
            specweave(&scene.world, &installed, &arguments).ok();
        });
    }
}
