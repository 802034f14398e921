//! The files that wait beside stories for a person, found in the living docs without a daemon.

use crate::disk;
use crate::project::Project;
use crate::text::plain;
use std::path::PathBuf;

/// A file of which more would be read is none of these.
const MOST_TEXT: u64 = 32 * 1024 * 1024;

/// Folders below that of the specs, at most so deep.
const MOST_DEPTH: usize = 8;

/// Each file, in their order.
pub fn paths(project: &Project) -> Vec<PathBuf> {
    let mut folders = vec![(project.root().join(".specweave/docs/internal/specs"), 0)];
    let mut found = Vec::new();
    while let Some((folder, depth)) = folders.pop() {
        for (name, kind) in disk::read_folder(&folder).unwrap_or_default() {
            let path = folder.join(&name);
            if kind == disk::Kind::Folder && depth < MOST_DEPTH {
                folders.push((path, depth + 1));
            } else if name.starts_with("conflict-") && name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The stories that they name, as `resolve` takes them.
pub fn stories(project: &Project) -> Vec<String> {
    let story = |path: PathBuf| {
        let text = disk::read_regular(&path, MOST_TEXT).ok()?;
        let text = String::from_utf8_lossy(&text);
        let (story, _) = text.lines().next()?.strip_prefix("# Conflict: ")?.rsplit_once(" and ")?;
        Some(plain(story))
    };
    let mut stories: Vec<String> = paths(project).into_iter().filter_map(story).collect();
    stories.sort();
    stories.dedup();
    stories
}
