//! Where each repository goes below `repositories/`, and which ones have no place there. Pure.

use crate::model::repository::Listed;
use std::collections::{HashMap, HashSet};

/// A repository to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub owner: String,
    pub name: String,
    /// Relative to the project.
    pub path: String,
    /// Without credentials.
    pub address: String,
}

/// A repository that is not cloned, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: String,
    pub reason: String,
}

/// Gives every repository its place below `repositories/`, and refuses those that have none.
pub fn place(listed: Vec<Listed>) -> (Vec<Target>, Vec<Refusal>) {
    let (mut targets, mut refusals) = (Vec::new(), Vec::new());
    // Lower-cased, as some file systems do not tell cases apart.
    let mut taken: HashMap<String, (String, String)> = HashMap::new();
    // The folders above those places.
    let mut ancestors: HashSet<String> = HashSet::new();
    for repository in listed {
        let Listed { owner, name, project, address, .. } = repository;
        let shown = specweave_jobs::text::plain(&name);
        let unsafe_part = [Some(&owner), Some(&name), project.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|part| unsafe_component(part).map(|why| (part.clone(), why)));
        if let Some((part, why)) = unsafe_part {
            let reason = format!("{:?} cannot be a folder's name: {why}", specweave_jobs::text::plain(&part));
            refusals.push(Refusal { name: shown, reason });
            continue;
        }
        let mut path = format!("repositories/{owner}/{name}");
        match taken.get(&path.to_lowercase()) {
            Some((_, other)) if crate::git::same_repository(other, &address) => continue,
            Some(_) if project.is_some() => {
                path = format!("repositories/{owner}/{}/{name}", project.unwrap_or_default());
            }
            _ => {}
        }
        match taken.get(&path.to_lowercase()) {
            Some((_, other)) if crate::git::same_repository(other, &address) => continue,
            Some((standing, other)) => {
                let difference = if *standing == path { "is" } else { "differs only in case from" };
                let reason = format!("its place {path} {difference} the place of {other}");
                refusals.push(Refusal { name: shown, reason });
            }
            None if is_nested(&path.to_lowercase(), &taken, &ancestors) => {
                let reason = format!("its place {path} lies inside another repository's, or around it");
                refusals.push(Refusal { name: shown, reason });
            }
            None => {
                taken.insert(path.to_lowercase(), (path.clone(), address.clone()));
                ancestors.extend(above(&path.to_lowercase()).map(str::to_owned));
                targets.push(Target { owner, name, path, address });
            }
        }
    }
    (targets, refusals)
}

/// Whether a place lies inside one that is taken, or around one.
fn is_nested(path: &str, taken: &HashMap<String, (String, String)>, ancestors: &HashSet<String>) -> bool {
    ancestors.contains(path) || above(path).any(|folder| taken.contains_key(folder))
}

/// The folders above a place.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Why a text cannot be one folder's name, on any of the systems that a project may be moved to.
fn unsafe_component(text: &str) -> Option<&'static str> {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let lower = text.to_lowercase();
    let stem = lower.split('.').next().unwrap_or("");
    let numbered = (stem.starts_with("com") || stem.starts_with("lpt"))
        && stem.len() == 4
        && stem.ends_with(|c: char| c.is_ascii_digit());
    match text {
        "" => Some("it is empty"),
        "." | ".." => Some("it leads elsewhere"),
        _ if text.starts_with('-') => Some("a command would take it for an option"),
        _ if text.contains(['/', '\\', '\0']) => Some("it has a path separator"),
        _ if text != specweave_jobs::text::plain(text) => Some("it has control characters"),
        _ if text.len() > 200 => Some("it is too long"),
        _ if lower == ".git" || lower.starts_with(".git/") || lower == "git~1" => Some("git itself uses it"),
        _ if RESERVED.contains(&stem) || numbered => Some("it is reserved"),
        _ if text.ends_with(['.', ' ']) || text.starts_with(' ') => {
            Some("it begins or ends with a dot or space")
        }
        _ if text.contains(['<', '>', ':', '"', '|', '?', '*']) => Some("it has a reserved character"),
        _ if lower.contains(".partial-") => Some("unfinished clones are named so"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
