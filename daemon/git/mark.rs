//! A mark inside a new clone's folder of git's: which job made it, until that job has concluded. A daemon that dies after a
//! clone got its name and before the journal heard of it then knows its own work again. It is an empty file whose name says
//! everything: many disks take milliseconds to free what a file held, and every clone's mark is removed. Everything here blocks.

use crate::git::standing::git_folder;
use specweave_jobs::disk;
use std::io;
use std::path::{Path, PathBuf};

/// What is worth knowing of a clone after its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub uses_lfs: bool,
}

const LFS: Mark = Mark { uses_lfs: true };
const PLAIN: Mark = Mark { uses_lfs: false };

/// What the file's name begins with, in a repository's folder of git's.
const PREFIX: &str = "specweave-job-";

/// Whether a file of git's folder is a mark, by its name.
pub fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

pub fn set(repository: &Path, job: &str, mark: Mark) -> io::Result<()> {
    match disk::create_new(&folder(repository).join(name(job, mark)), 0o644) {
        // A daemon that died here has left it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// The mark of `job`; `None` when the repository has none, or another job's.
pub fn of(repository: &Path, job: &str) -> Option<Mark> {
    let folder = folder(repository);
    [PLAIN, LFS].into_iter().find(|mark| disk::open_regular(&folder.join(name(job, *mark))).is_ok())
}

pub fn remove(repository: &Path, job: &str, mark: Mark) {
    let _ = disk::remove_file(&folder(repository).join(name(job, mark)));
}

fn folder(repository: &Path) -> PathBuf {
    git_folder(repository).unwrap_or_else(|| repository.join(".git"))
}

fn name(job: &str, mark: Mark) -> String {
    let what = if mark.uses_lfs { ".lfs" } else { "" };
    format!("{PREFIX}{job}{what}")
}
