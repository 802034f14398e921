//! A mark inside a new clone's `.git`: which job made it, until that job has concluded. A daemon that dies after a
//! clone got its name and before the journal heard of it then knows its own work again. Everything here blocks.

use std::io;
use std::path::{Path, PathBuf};

/// What is worth knowing of a clone after its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub uses_lfs: bool,
}

const LFS: &str = "lfs";

pub fn set(repository: &Path, job: &str, mark: Mark) -> io::Result<()> {
    let lfs = if mark.uses_lfs { LFS } else { "" };
    std::fs::write(path(repository), format!("{job}\n{lfs}\n"))
}

/// The mark of `job`; `None` when the repository has none, or another job's.
pub fn of(repository: &Path, job: &str) -> Option<Mark> {
    let text = std::fs::read_to_string(path(repository)).ok()?;
    let mut lines = text.lines();
    (lines.next() == Some(job)).then(|| Mark { uses_lfs: lines.next() == Some(LFS) })
}

pub fn remove(repository: &Path) {
    let _ = std::fs::remove_file(path(repository));
}

fn path(repository: &Path) -> PathBuf {
    repository.join(".git/specweave-job")
}
