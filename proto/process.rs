//! Whether a pid from a file still is the process that the file meant.

use crate::clock::Millis;
use crate::system;
use std::path::Path;

/// Whether `pid` lives and started no later than `noted_at`, the moment at which somebody wrote it down:
/// a process that started later only has the same number.
pub fn is_still(pid: u32, noted_at: Millis) -> bool {
    system::started_at(pid).is_some_and(|started| started <= noted_at + CLOCK_SLACK)
}

/// The pid in a `worker.pid` file, if that process still lives.
pub fn read_pid(path: &Path) -> Option<(u32, bool)> {
    let pid = String::from_utf8(crate::disk::read_regular(path, 64).ok()?).ok()?;
    let pid: u32 = pid.trim().parse().ok()?;
    let noted = crate::disk::facts(path).ok()?.modified;
    let noted = noted.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis() as Millis;
    Some((pid, pid > 1 && is_still(pid, noted)))
}

/// What the daemon's program is called.
const DAEMON: &str = "specweave-jobsd";

/// Whether `pid` is a daemon's process of this user. A number in a file proves nothing: it may have been planted there, or
/// be another process's by now.
pub fn is_daemon(pid: u32) -> bool {
    if pid <= 1 || i32::try_from(pid).is_err() {
        return false;
    }
    // Some systems keep 15 bytes of a name.
    let kept = &DAEMON[..DAEMON.len().min(15)];
    system::name_and_owner(pid).is_some_and(|(name, owner)| {
        (name == kept || name == DAEMON) && owner == rustix::process::getuid().as_raw()
    })
}

/// Whether `pid` is the worker that SpecWeave started for the job `id`: its command line names the job, and it is this
/// user's.
pub fn is_worker_of(pid: u32, id: &str) -> bool {
    if pid <= 1 || i32::try_from(pid).is_err() {
        return false;
    }
    system::arguments(pid).iter().any(|argument| argument == id.as_bytes())
}

/// How many descriptors this process may have open.
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(16_384)
}

/// When a process started is told give or take so much.
const CLOCK_SLACK: Millis = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_alive() {
        let me = std::process::id();
        assert!(is_still(me, crate::clock::now()));
        assert!(!is_still(me, crate::clock::now() - 3_600_000 * 24 * 365));
        assert!(!is_still(u32::MAX / 2, crate::clock::now()));
    }
}
