//! A mark inside a new clone's `.git`: which job made it, until that job has concluded. A daemon that dies after a
//! clone got its name and before the journal heard of it then knows its own work again. Everything here blocks.

use specweave_jobs::disk;
use std::io;
use std::path::{Path, PathBuf};

/// What is worth knowing of a clone after its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub uses_lfs: bool,
}

const LFS: &str = "lfs";

/// An id and a word.
const MOST_BYTES: u64 = 1024;

pub fn set(repository: &Path, job: &str, mark: Mark) -> io::Result<()> {
    let lfs = if mark.uses_lfs { LFS } else { "" };
    disk::replace_unsynced(&path(repository), format!("{job}\n{lfs}\n").as_bytes(), 0o644)
}

/// The mark of `job`; `None` when the repository has none, or another job's.
pub fn of(repository: &Path, job: &str) -> Option<Mark> {
    let text = String::from_utf8(disk::read_regular(&path(repository), MOST_BYTES).ok()?).ok()?;
    let mut lines = text.lines();
    (lines.next() == Some(job)).then(|| Mark { uses_lfs: lines.next() == Some(LFS) })
}

pub fn remove(repository: &Path) {
    let _ = disk::remove_file(&path(repository));
}

fn path(repository: &Path) -> PathBuf {
    repository.join(".git/specweave-job")
}
