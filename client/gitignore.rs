//! What git is to leave alone in a project: the jobs' state and what they have cloned. Asked of git itself, as an ignore file
//! may stand anywhere.

use crate::failure::Failure;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use std::process::{Command, Stdio};

/// What jobs write that nobody commits.
const OURS: [&str; 2] = [".specweave/state/", "repositories/"];

/// An ignore file is no longer.
const MOST_TEXT: u64 = 16 * 1024 * 1024;

/// Those of our folders that git would take for the project's; none where there is no git repository.
pub fn missing(project: &Project) -> Vec<&'static str> {
    let mut git = Command::new("git");
    git.arg("-C").arg(project.root()).args(["check-ignore", "--no-index", "--"]).args(OURS);
    let Ok(said) = git.stdin(Stdio::null()).output() else { return Vec::new() };
    // 0: those that it names are ignored; 1: none is; anything else: no repository.
    if !matches!(said.status.code(), Some(0 | 1)) {
        return Vec::new();
    }
    let ignored = String::from_utf8_lossy(&said.stdout);
    OURS.into_iter().filter(|folder| !ignored.lines().any(|line| line == *folder)).collect()
}

/// Adds lines to the project's own ignore file; what stands there stays.
pub fn add(project: &Project, folders: &[&str]) -> Result<(), Failure> {
    let path = project.root().join(".gitignore");
    let before = match disk::read_regular(&path, MOST_TEXT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        before => before.map_err(|source| Failure::Read { path: path.clone(), source })?,
    };
    let mut text = before.clone();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(b"# Jobs of specweave-jobs\n");
    for folder in folders {
        text.extend_from_slice(format!("/{folder}\n").as_bytes());
    }
    let mode = disk::facts(&path).map_or(0o644, |facts| facts.mode);
    disk::replace(&path, &text, mode).map_err(|source| Failure::Write { path, source })
}
