//! What the daemon's lock tells: whether one lives, and which process it is. Nothing is signalled that it does not name.

use super::POLL;
use crate::failure::Failure;
use specweave_jobs::project::{Project, host};
use specweave_jobs::{disk, process};
use std::fs::TryLockError;
use std::io::Read;
use std::time::{Duration, Instant};

/// A stopping daemon is gone within this time; its own watchdog sees to that.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// What the daemon's lock says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// Nobody is the daemon.
    Free,
    /// A daemon lives; its pid is known when it lives on this host.
    Held(Option<rustix::process::Pid>),
}

impl LockState {
    /// Signals the process that the held lock names.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        if let Self::Held(Some(pid)) = self {
            let _ = rustix::process::kill_process(*pid, signal);
        }
    }
}

/// Looks at the lock, and changes nothing.
pub fn lock_state(project: &Project) -> LockState {
    let Ok(mut file) = disk::open_regular(&project.daemon().lock()) else { return LockState::Free };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return LockState::Free;
    }
    let mut text = String::new();
    let _ = file.by_ref().take(MOST_LOCK).read_to_string(&mut text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok()).filter(|pid| process::is_daemon(*pid));
    // A number of another container or an earlier boot names some other process here, and whoever else can write in
    // the folder could have put any number there.
    let is_private = disk::facts(&project.daemon().folder).is_ok_and(|folder| folder.mode & 0o022 == 0);
    let pid = pid.filter(|_| is_private && lines.next() == Some(&*host()));
    LockState::Held(pid.and_then(|pid| rustix::process::Pid::from_raw(pid as i32)))
}

/// A pid and a host's name.
const MOST_LOCK: u64 = 4 * 1024;

/// Waits until the lock is free, or another daemon's.
pub(super) fn wait_until_gone(project: &Project, leaving: &LockState) -> Result<(), Failure> {
    let began = Instant::now();
    while lock_state(project) == *leaving && *leaving != LockState::Free {
        if began.elapsed() > STOP_DEADLINE {
            return Err(Failure::Silent("it was asked to stop and has not".into()));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
