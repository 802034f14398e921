//! The figures that are promised, measured on the real binaries and printed. Contenders run in turns, as a
//! machine's speed drifts; what counts are the ratios of medians.
//!
//! `cargo bench` runs all; `cargo bench -- loopback busy wan medium large memory update list cold follow idle writes recovery import import-50k sync` some.

#[path = "../world/mod.rs"]
mod world;

mod clones;
mod daemon;
mod imports;
mod report;
mod syncs;

use std::time::Duration;

type Bench = (&'static str, fn());

fn main() {
    let benches: [Bench; 16] = [
        ("loopback", clones::loopback),
        ("busy", clones::busy_disk),
        ("wan", clones::wan),
        ("medium", clones::medium),
        ("large", clones::large),
        ("memory", clones::memory_of_large),
        ("update", clones::update),
        ("list", daemon::list),
        ("cold", daemon::cold),
        ("follow", daemon::follow),
        ("idle", daemon::idle),
        ("writes", daemon::writes),
        ("recovery", daemon::recovery),
        ("import", imports::ten_thousand),
        ("import-50k", imports::fifty_thousand),
        ("sync", syncs::thousand),
    ];
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            println!("\n== {name}");
            bench();
        }
    }
    report::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")));
}

/// The median, with the least and the most beside it.
pub fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let shown = |time: Duration| match time {
        time if time < Duration::from_millis(100) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        time => format!("{:.2} s", time.as_secs_f64()),
    };
    format!("{} (min {}, max {})", shown(median(&times)), shown(times[0]), shown(*times.last().unwrap()))
}

pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
