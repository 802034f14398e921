//! Whether a pid from a file still is the process that the file meant.

use crate::clock::Millis;
use std::path::Path;

/// Whether `pid` lives and started no later than `noted_at`, the moment at which somebody wrote it down:
/// a process that started later only has the same number.
pub fn is_still(pid: u32, noted_at: Millis) -> bool {
    match started_at(pid) {
        Some(started) => started <= noted_at + CLOCK_SLACK,
        None => !cfg!(target_os = "linux") && exists(pid),
    }
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
    if !cfg!(target_os = "linux") {
        return exists(pid);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").split_whitespace().next()
    };
    // The kernel keeps 15 bytes of a name.
    let name = &DAEMON[..DAEMON.len().min(15)];
    field("Name:") == Some(name)
        && field("Uid:").and_then(|uid| uid.parse().ok()) == Some(rustix::process::getuid().as_raw())
}

/// Whether `pid` is the worker that SpecWeave started for the job `id`: its command line names the job, and it is this
/// user's.
pub fn is_worker_of(pid: u32, id: &str) -> bool {
    if pid <= 1 || i32::try_from(pid).is_err() {
        return false;
    }
    if !cfg!(target_os = "linux") {
        return exists(pid);
    }
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == id.as_bytes())
}

/// How many descriptors this process may have open.
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(16_384)
}

/// The kernel counts a process's start in hundredths of a second since a boot time that is itself rounded.
const CLOCK_SLACK: Millis = 2_000;

/// When the process started, by the wall clock. `None` when there is none, it is a zombie, or the system
/// has no /proc.
fn started_at(pid: u32) -> Option<Millis> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name stands in parentheses and may contain anything; the fields follow the last one.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    let ticks: i64 = fields.get(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot * 1000 + ticks * 1000 / rustix::param::clock_ticks_per_second() as i64)
}

fn exists(pid: u32) -> bool {
    rustix::process::Pid::from_raw(pid as i32)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

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
