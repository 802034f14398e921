//! Where each repository goes below `repositories/`, and which ones have no place there. Pure.

use crate::job::order::Layout;
use crate::model::repository::{Listed, described, whole_place};
use std::collections::{HashMap, HashSet};

/// What stands between a clone's name and its job's id while it is removed.
pub const GOING: [&str; 2] = [".gone-", ".removed-"];

/// Whether a folder is called as one that is being made or removed.
pub fn is_passing(name: &str) -> bool {
    name.contains(".partial-") || GOING.iter().any(|going| name.contains(going))
}

/// A repository to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub owner: String,
    pub name: String,
    /// Relative to the project.
    pub path: String,
    /// Without credentials.
    pub address: String,
    /// In bytes, where a listing told it.
    pub size: Option<u64>,
}

/// A repository that is not cloned, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: String,
    pub reason: String,
}

/// Gives every repository its place below `repositories/`, and refuses those that have none.
/// A mirror's folder ends as that of a repository on its server does. `origin` tells the address of the clone that stands at a
/// place already.
pub fn place(
    listed: Vec<Listed>,
    layout: Layout,
    mirror: bool,
    origin: impl Fn(&str) -> Option<String>,
) -> (Vec<Target>, Vec<Refusal>) {
    let (mut targets, mut refusals) = (Vec::new(), Vec::new());
    // Lower-cased, as some file systems do not tell cases apart.
    let mut taken: HashMap<String, (String, String)> = HashMap::new();
    // The folders above those places.
    let mut ancestors: HashSet<String> = HashSet::new();
    for repository in listed {
        let Listed { owner, name, project, address, about, .. } = repository;
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
        let places = places(&owner, &name, project.as_deref(), &address, layout, mirror);
        let is_known = |path: &String| {
            taken
                .get(&path.to_lowercase())
                .is_some_and(|(_, other)| crate::git::same_repository(other, &address))
        };
        if places.iter().any(is_known) {
            continue;
        }
        let mut free: Vec<&String> = places.iter().collect();
        free.retain(|path| {
            let path = path.to_lowercase();
            !taken.contains_key(&path) && !is_nested(&path, &taken, &ancestors)
        });
        // Where it stands already, whoever came first this time; else where no other one is at home. What else stands there is told
        // once it is to be cloned.
        let standing: Vec<Option<String>> = free.iter().map(|path| origin(path)).collect();
        let is_it = |other: &Option<String>| {
            other.as_ref().is_some_and(|other| crate::git::same_repository(other, &address))
        };
        let is_for_it = |place: &usize| {
            standing[*place].as_ref().is_none_or(|other| !is_at_home(other, free[*place], layout, mirror))
        };
        let chosen = standing.iter().position(is_it).or_else(|| (0..free.len()).find(is_for_it));
        match free.get(chosen.unwrap_or(0)) {
            Some(path) => {
                let path: &String = path;
                taken.insert(path.to_lowercase(), (path.clone(), address.clone()));
                ancestors.extend(above(&path.to_lowercase()).map(str::to_owned));
                targets.push(Target { owner, name, path: path.clone(), address, size: about.size });
            }
            None => {
                let path = &places[0];
                let reason = match taken.get(&path.to_lowercase()) {
                    Some((standing, other)) => {
                        let difference = if standing == path { "is" } else { "differs only in case from" };
                        format!("its place {path} {difference} the place of {other}")
                    }
                    None => format!("its place {path} lies inside another repository's, or around it"),
                };
                refusals.push(Refusal { name: shown, reason });
            }
        }
    }
    (targets, refusals)
}

/// The places of a repository, the shortest first: where that is another's, the next tells them apart.
fn places(
    owner: &str,
    name: &str,
    project: Option<&str>,
    address: &str,
    layout: Layout,
    mirror: bool,
) -> Vec<String> {
    let whole = whole_place(address);
    let below = |folders: &[String]| format!("repositories/{}/{name}", folders.join("/"));
    let mut places = vec![format!("repositories/{owner}/{name}")];
    places.extend(project.map(|project| format!("repositories/{owner}/{project}/{name}")));
    if whole.len() > 1 && whole.iter().all(|part| unsafe_component(part).is_none()) {
        match layout {
            Layout::Host => places = vec![below(&whole)],
            Layout::Owner => places.extend([below(&whole[1..]), below(&whole)]),
        }
    }
    if mirror {
        places.iter_mut().for_each(|place| place.push_str(".git"));
    }
    places
}

/// Whether a place is one of those that the repository at this address would get.
fn is_at_home(address: &str, path: &str, layout: Layout, mirror: bool) -> bool {
    let Listed { owner, name, project, .. } = described(address);
    places(&owner, &name, project.as_deref(), address, layout, mirror).iter().any(|place| place == path)
}

/// Whether a place lies inside one that is taken, or around one.
fn is_nested(path: &str, taken: &HashMap<String, (String, String)>, ancestors: &HashSet<String>) -> bool {
    ancestors.contains(path) || above(path).any(|folder| taken.contains_key(folder))
}

/// The folders above a place.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Why a text cannot be one folder's name here. What only other systems cannot have, as `aux`, is a name like others: a
/// repository that is called so is made where it can be.
fn unsafe_component(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    match text {
        "" => Some("it is empty"),
        "." | ".." => Some("it leads elsewhere"),
        _ if text.contains(['/', '\\', '\0']) => Some("it has a path separator"),
        _ if text != specweave_jobs::text::plain(text) => Some("it has control characters"),
        _ if text.len() > 200 => Some("it is too long"),
        _ if matches!(lower.as_str(), ".git" | "git~1") => Some("git itself uses it"),
        _ if is_passing(&lower) => Some("unfinished clones are named so"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
