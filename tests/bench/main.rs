//! The figures that are promised, measured on the real binaries and printed. Contenders run in turns, as a
//! machine's speed drifts; what counts are the ratios of medians.
//!
//! `cargo bench` runs all; `cargo bench -- loopback wan large list cold follow idle writes recovery import import-50k sync` some.

#[path = "../world/mod.rs"]
mod world;

mod clones;
mod daemon;
mod imports;
mod syncs;

use std::time::Duration;

type Bench = (&'static str, fn());

fn main() {
    let benches: [Bench; 12] = [
        ("loopback", clones::loopback),
        ("wan", clones::wan),
        ("large", clones::large),
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

pub fn ratio(one: &[Duration], other: &[Duration]) -> f64 {
    median(one).as_secs_f64() / median(other).as_secs_f64()
}
