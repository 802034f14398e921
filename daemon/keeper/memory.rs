//! Whether there is memory for more work. A process that its system ends for want of it loses nothing that was
//! acknowledged, but everything that it was doing; one that takes no more work lives.

use std::fs::read_to_string;
use std::path::Path;

/// New work is refused when less than this part of what the process may use is left.
const RESERVE_PERCENT: u64 = 10;

/// What is used of a limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    used: u64,
    limit: u64,
}

impl Use {
    fn is_short(self) -> bool {
        self.limit.saturating_sub(self.used) < self.limit / 100 * RESERVE_PERCENT
    }
}

/// Why no new work should begin, if so: the limit of this process, or of the container that it runs in, is near.
pub fn shortage() -> Option<String> {
    let short = [address_space(), container()].into_iter().flatten().find(|one| one.is_short())?;
    let megabytes = |bytes: u64| bytes / (1024 * 1024);
    Some(format!(
        "the daemon uses {} MB of the {} MB of memory that it may use",
        megabytes(short.used),
        megabytes(short.limit)
    ))
}

/// Of the addresses that this process may have (`ulimit -v`).
fn address_space() -> Option<Use> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let pages: u64 = read_to_string("/proc/self/statm").ok()?.split(' ').next()?.parse().ok()?;
    Some(Use { used: pages * rustix::param::page_size() as u64, limit })
}

/// Of the memory of the container or slice.
fn container() -> Option<Use> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let number = |name: &str| -> Option<u64> { read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    // What the system keeps of files in memory goes before a process does.
    let statistics = read_to_string(folder.join("memory.stat")).ok()?;
    let cache = statistics.lines().find_map(|line| line.strip_prefix("file "))?.parse().unwrap_or(0);
    Some(Use { used: number("memory.current")?.saturating_sub(cache), limit: number("memory.max")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_kept() {
        let of_a_thousand = |used| Use { used, limit: 1_000 }.is_short();
        assert!(!of_a_thousand(0) && !of_a_thousand(900));
        assert!(of_a_thousand(901) && of_a_thousand(1_000) && of_a_thousand(2_000));
    }
}
