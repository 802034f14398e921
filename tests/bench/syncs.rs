//! Syncs of a thousand linked stories with a tracker that takes its time, apart from the pace that its limits ask for.

use crate::spread;
use crate::world::World;
use crate::world::trackers::Trackers;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LATENCY: Duration = Duration::from_millis(75);
const STORIES: u64 = 1_000;
const EDITED: u64 = 50;
const RUNS: u64 = 3;

fn path(world: &World, number: u64) -> PathBuf {
    let feature = number / 50 + 1;
    world.project.join(format!(".specweave/docs/internal/specs/web/FS-{feature:03}/us-{number:04}-story.md"))
}

fn world_with(tracker: &str) -> (World, Trackers) {
    let mut world = World::new();
    let trackers = Trackers::start();
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let source = match tracker {
        "github" => json!({"owner": "acme", "repo": "web"}),
        "jira" => json!({"projectKey": "PAY"}),
        _ => json!({"project": "Nova CAD"}),
    };
    let limits = json!({"writeGapMs": 0, "writesPerMinute": 0, "writesPerHour": 0});
    let profile = json!({"provider": tracker, "config": source, "rateLimits": limits});
    let config = json!({"version": "2.0", "sync": {"profiles": {"it": profile}}});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    for number in 1..=STORIES {
        let path = path(&world, number);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "---\nid: US-{number:04}\ntitle: \"Story number {number}\"\nstatus: active\npriority: P1\n---\n\n# US-{number:04}: Story number {number}\n\n{}\n\n\
             ## Acceptance Criteria\n\n- [ ] **AC-US{number}-01**: works\n- [ ] **AC-US{number}-02**: is fast\n",
            "It should behave as its description says, in every case that is named here. ".repeat(8).trim()
        );
        std::fs::write(path, text).unwrap();
    }
    (world, trackers)
}

/// Runs a sync to its end, and gives how long it took as a user sees it.
fn sync(world: &World) -> Duration {
    let began = Instant::now();
    world.finish_within(world.command(["sync", "--follow"]), Duration::from_secs(300)).ok();
    began.elapsed()
}

pub fn thousand() {
    for tracker in ["github", "jira", "ado"] {
        let (world, trackers) = world_with(tracker);
        let made = sync(&world);
        trackers.set_latency(LATENCY);
        let (mut quiet, mut edited, mut requests, mut requests_edited) = (vec![], vec![], 0, 0);
        for run in 0..RUNS {
            trackers.forget_requests();
            trackers.forget_writes();
            quiet.push(sync(&world));
            requests = requests.max(trackers.requests().len());
            assert!(trackers.writes().is_empty());
            for number in 1 + run * 100..=EDITED + run * 100 {
                let path = path(&world, number);
                let text =
                    std::fs::read_to_string(&path).unwrap().replace("-01**: works", "-01**: works well");
                std::fs::write(path, text).unwrap();
                let other = format!("Story number {}", number + EDITED);
                let mut issues = trackers.issues();
                let issue = issues.values_mut().find(|issue| issue.title.ends_with(&other)).unwrap();
                issue.title = issue.title.replace("Story", "Tale");
                issue.touch();
            }
            trackers.forget_requests();
            edited.push(sync(&world));
            requests_edited = requests_edited.max(trackers.requests().len());
            assert_eq!(trackers.writes().len() as u64, EDITED);
        }
        println!(
            "{tracker}: {STORIES} stories made in {made:.1?} (no latency); unchanged {} with {requests} requests; {EDITED} edited \
             on each side {} with {requests_edited}",
            spread(&quiet),
            spread(&edited),
        );
    }
}
