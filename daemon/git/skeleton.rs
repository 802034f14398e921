//! A repository before its first object. libgit2 makes one once a job, and finds out what the file system can do; each clone then gets its
//! folders and its configuration, which costs a tenth. Everything here blocks.

use crate::git::CloneError;
use git2::{Repository, RepositoryInitOptions};
use specweave_jobs::disk::{self, Kind};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What stands in the `.git` of a new repository.
struct Parts {
    /// The folders of it, each behind the one that it is in. Files that only explain themselves to people are left out: making
    /// them would take longer than anybody reads them.
    folders: Vec<PathBuf>,
    /// The configuration, in which only what is about the clone is missing.
    config: Vec<u8>,
}

/// The parts, once the first clone of a job has found them out.
#[derive(Default)]
pub struct Skeleton(Mutex<Option<Arc<Parts>>>);

/// A new configuration is smaller.
const MOST_BYTES: u64 = 64 * 1024;

impl Skeleton {
    /// Makes a repository in `at`, an empty or absent folder: on a branch of this full name, with `more` in its configuration.
    pub fn lay(&self, at: &Path, branch: &str, more: &str) -> Result<Repository, CloneError> {
        let parts = self.parts(at)?;
        write(&at.join(".git"), &parts, branch, more)
            .map_err(|source| CloneError::Local { what: "write the repository", source })?;
        Ok(Repository::open(at)?)
    }

    fn parts(&self, at: &Path) -> Result<Arc<Parts>, CloneError> {
        let mut known = self.0.lock().expect("no holder panics");
        if let Some(parts) = &*known {
            return Ok(parts.clone());
        }
        let mut options = RepositoryInitOptions::new();
        options.no_reinit(true).mkpath(true).external_template(false);
        drop(Repository::init_opts(at, &options)?);
        let taken = take_apart(at);
        let parts = taken.map_err(|source| CloneError::Local { what: "look at a new repository", source })?;
        Ok(known.insert(Arc::new(parts)).clone())
    }
}

/// Reads what libgit2 has made, and removes it.
fn take_apart(at: &Path) -> std::io::Result<Parts> {
    let git = at.join(".git");
    let config = disk::read_regular(&git.join("config"), MOST_BYTES)?;
    let mut parts = Parts { folders: vec![PathBuf::new()], config };
    let mut next = 0;
    while let Some(folder) = parts.folders.get(next).cloned() {
        for (name, kind) in disk::read_folder(&git.join(&folder))? {
            if kind == Kind::Folder {
                parts.folders.push(folder.join(name));
            }
        }
        next += 1;
    }
    // With what it tried out, and could not remove, beside it.
    disk::remove_folder(at)?;
    Ok(parts)
}

fn write(git: &Path, parts: &Parts, branch: &str, more: &str) -> std::io::Result<()> {
    if let Some(at) = git.parent() {
        fs::create_dir_all(at)?;
    }
    for folder in &parts.folders {
        fs::create_dir(git.join(folder))?;
    }
    fs::write(git.join("HEAD"), format!("ref: {branch}\n"))?;
    fs::write(git.join("config"), [&parts.config, more.as_bytes()].concat())
}
