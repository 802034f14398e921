//! Imports of ten and fifty thousand items from a tracker that takes its time.

use crate::spread;
use crate::world::trackers::Trackers;
use crate::world::{World, files_below, read};
use std::time::{Duration, Instant};

const LATENCY: Duration = Duration::from_millis(75);
const RUNS: usize = 3;

fn order(tracker: &str) -> Vec<&str> {
    match tracker {
        "github" => vec!["import", "github", "--repo", "acme/web", "--since", "all"],
        "jira" => vec!["import", "jira", "--project-key", "PAY", "--since", "all"],
        _ => vec!["import", "ado", "--ado-project", "Nova CAD", "--since", "all"],
    }
}

fn world_with(count: u64) -> (World, Trackers) {
    let mut world = World::new();
    let trackers = Trackers::seeded(count);
    trackers.set_latency(LATENCY);
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    (world, trackers)
}

/// Runs an import to its end, and gives how long it took as a user sees it.
fn import(world: &World, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let mut command = world.command(arguments);
    command.arg("--follow");
    world.finish_within(command, Duration::from_secs(300)).ok();
    began.elapsed()
}

/// The most memory that the daemon ever had, in MB.
fn most_memory(world: &World) -> u64 {
    let pid = world.daemon_pid().expect("a daemon runs");
    let status = read(std::path::Path::new(&format!("/proc/{pid}/status")));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn stories(world: &World) -> usize {
    let is_story = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("us-"))
    };
    files_below(&world.project.join(".specweave/docs")).iter().filter(is_story).count()
}

pub fn ten_thousand() {
    for tracker in ["github", "jira", "ado"] {
        let (mut first, mut again, mut requests, mut requests_again, mut memory) = (vec![], vec![], 0, 0, 0);
        for _ in 0..RUNS {
            let (world, trackers) = world_with(10_000);
            let order = order(tracker);
            first.push(import(&world, &order));
            requests = requests.max(trackers.requests().len());
            memory = memory.max(most_memory(&world));
            trackers.forget_requests();
            again.push(import(&world, &order[..order.len() - 2]));
            requests_again = requests_again.max(trackers.requests().len());
        }
        println!(
            "{tracker}: 10,000 items {} with {requests} requests, at most {memory} MB; again {} with {requests_again}",
            spread(&first),
            spread(&again),
        );
    }
}

pub fn fifty_thousand() {
    let (world, trackers) = world_with(50_000);
    trackers.set_latency(Duration::ZERO);
    let took = import(&world, &order("github"));
    println!(
        "github: 50,000 items in {took:.1?}, {} stories, at most {} MB, {} requests",
        stories(&world),
        most_memory(&world),
        trackers.requests().len()
    );
}
