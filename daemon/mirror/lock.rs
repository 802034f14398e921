//! SpecWeave's own lock of `background-jobs.json`, as it takes and breaks it.

use specweave_jobs::clock::{self, Millis};
use specweave_jobs::{crash, disk, process};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// SpecWeave's lock: a file with `<pid>\n<epoch ms>`, made whole in one step so that nobody reads it empty.
pub(super) struct DocumentLock {
    path: PathBuf,
    content: String,
}

/// SpecWeave breaks a lock after this time, whoever holds it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_STALE_MS: Millis = 30_000;
/// Nobody holds it for so long; then it is looked whether its holder lives, which in another container's folder
/// cannot be told.
const LOCK_HELD_LONG_MS: Millis = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl DocumentLock {
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let began = Instant::now();
        loop {
            let content = format!("{}\n{}", std::process::id(), clock::now());
            let whole = disk::temporary_beside(path);
            disk::create_new(&whole, 0o644)?.write_all(content.as_bytes())?;
            let linked = fs::hard_link(&whole, path);
            disk::remove_file(&whole)?;
            match linked {
                Ok(()) => {
                    crash::point("list-locked");
                    return Ok(Self { path: path.to_path_buf(), content });
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                // Nobody's lock, wherever it came from: neither we nor SpecWeave could ever remove a folder there.
                Err(_) if disk::facts(path).is_ok_and(|facts| facts.kind != disk::Kind::File) => {
                    let aside = disk::set_aside(path)?;
                    tracing::warn!(aside = %aside.display(), "the lock of the list was no file; it was set aside");
                }
                Err(_) if is_stale(path) || began.elapsed() > LOCK_PATIENCE => {
                    disk::remove_file(path)?;
                }
                Err(_) => std::thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

impl Drop for DocumentLock {
    fn drop(&mut self) {
        // Another tool may have broken the lock and taken it meanwhile.
        if disk::read_regular(&self.path, 1024).is_ok_and(|content| content == self.content.as_bytes()) {
            let _ = disk::remove_file(&self.path);
            crash::point("list-unlocked");
        }
    }
}

fn is_stale(path: &Path) -> bool {
    let content = disk::read_regular(path, 1024).unwrap_or_default();
    holder_is_gone(&String::from_utf8_lossy(&content), clock::now())
}

/// An empty lock is one that SpecWeave is just writing.
fn holder_is_gone(content: &str, now: Millis) -> bool {
    let mut lines = content.lines();
    let pid: Option<u32> = lines.next().and_then(|pid| pid.trim().parse().ok());
    let taken: Option<Millis> = lines.next().and_then(|at| at.trim().parse().ok());
    let (Some(pid), Some(taken)) = (pid, taken) else { return false };
    let age = now.saturating_sub(taken);
    age > LOCK_STALE_MS || age > LOCK_HELD_LONG_MS && !process::is_still(pid, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = 1_795_393_241_998;

    #[test]
    fn a_lock_is_broken_when_it_is_old_or_its_holder_is_dead_and_no_sooner() {
        let me = std::process::id();
        let gone = u32::MAX / 2;
        let now = clock::now();
        assert!(!holder_is_gone(&format!("{me}\n{now}"), now));
        assert!(!holder_is_gone(&format!("{me}\n{}", now - 1_500), now));
        assert!(holder_is_gone(&format!("{me}\n{}", now - 30_001), now));
        assert!(!holder_is_gone(&format!("{gone}\n{now}"), now), "it may be another container's");
        assert!(holder_is_gone(&format!("{gone}\n{}", now - 600), now));
        assert!(!holder_is_gone("", now), "SpecWeave writes the content in a second step");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_lock_content_is_read_without_harm(content in ".*", number in any::<i64>()) {
            holder_is_gone(&content, NOW);
            holder_is_gone(&format!("{number}\n{number}"), NOW);
            // A lock from the future is not old.
            let future = format!("{}\n{}", std::process::id(), NOW + 1_000_000);
            prop_assert_eq!(holder_is_gone(&future, NOW), false);
        }
    }
}
