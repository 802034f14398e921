//! The repositories that stand below `repositories/` already, wherever they came from.

use super::targets::{Target, is_passing};
use crate::git;
use crate::model::repository::split_login;
use specweave_jobs::disk::{self, Kind};
use std::path::Path;

/// Folders inside each other that are looked into: `repositories/host/every/group/name` of the deepest groups there are.
const MOST_DEPTH: usize = 24;

/// A project has no more folders than this below `repositories/` outside its clones.
const MOST_FOLDERS: usize = 200_000;

/// What stands, in the order of its places.
pub async fn all(root: &Path) -> Vec<Target> {
    let root = root.to_path_buf();
    tokio::task::spawn_blocking(move || find(&root)).await.unwrap_or_default()
}

fn find(root: &Path) -> Vec<Target> {
    let mut found = Vec::new();
    let mut folders = vec!["repositories".to_owned()];
    let mut looked_at = 0;
    while let Some(place) = folders.pop() {
        looked_at += 1;
        let parts: Vec<&str> = place.split('/').collect();
        if looked_at > MOST_FOLDERS || parts.len() > MOST_DEPTH {
            continue;
        }
        let at = root.join(&place);
        if git::git_folder(&at).is_some() {
            let owner = parts[parts.len().saturating_sub(2)].to_owned();
            let name = parts[parts.len() - 1].to_owned();
            // One without a remote is nobody's to bring up to date.
            if let Some(origin) = git::origin(&at) {
                let address = split_login(&origin).0;
                found.push(Target { owner, name, address, path: place, size: None });
            }
            continue;
        }
        let inside = disk::read_folder(&at).unwrap_or_default();
        let folders_inside = inside.into_iter().filter(|(name, kind)| {
            let is_ours = is_passing(name) || disk::is_aside(name);
            *kind == Kind::Folder && !is_ours && *name == specweave_jobs::text::plain(name)
        });
        folders.extend(folders_inside.map(|(name, _)| format!("{place}/{name}")));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
