//! The work tree of a new clone, written by libgit2, on several threads where that pays. Its path checks stay on: names that would reach `.git`
//! or leave the tree are refused, symbolic links are never followed. Hooks and external filters are never run. Everything
//! here blocks.

use crate::git::bounds::{self, Attributes, Measured};
use crate::git::processors::Processors;
use crate::git::{CloneError, exact};
use crate::net::git_settings::GitSettings;
use git2::build::CheckoutBuilder;
use git2::{Index, ObjectType, Oid, Repository};
use specweave_jobs::{disk, system};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use tokio_util::sync::CancellationToken;

/// What this process's umask takes from the rights of a new file.
static UMASK: LazyLock<u32> =
    LazyLock::new(|| system::umask().and_then(|umask| u32::from_str_radix(&umask, 8).ok()).unwrap_or(0o022));

/// A repository that was made.
#[derive(Default)]
pub struct Built {
    /// Whether its attributes say that large files are kept elsewhere.
    pub uses_lfs: bool,
    /// Why its files are not checked out: git itself is to do that.
    pub left: Option<String>,
}

/// Checks out what HEAD leads to, if it leads anywhere. Gives the reason where it is left to git.
pub fn check_out(
    repository: &Repository,
    head: Option<Oid>,
    settings: &GitSettings,
    processors: &Processors,
    cancel: &CancellationToken,
) -> Result<Built, CloneError> {
    let Some(head) = head else { return Ok(Built::default()) };
    let mut attributes = Vec::new();
    let root = repository.find_object(head, None)?.peel_to_tree()?.id();
    let measured = bounds::extent(repository, root, &mut attributes, cancel)?;
    let left = exact::attributes(repository, &attributes, settings)?;
    let built = Built { uses_lfs: uses_lfs(repository, &attributes), left };
    if built.left.is_some() {
        return Ok(built);
    }
    let write = || write_tree(repository, root, &measured, processors, cancel);
    // libgit2 lets nobody else write, also where the umask would.
    let is_shared = *UMASK & 0o022 != 0o022;
    let at = repository.workdir().filter(|_| measured.whole().has_odd_modes || is_shared);
    let Some(at) = at.map(Path::to_path_buf) else { return write().map(|()| built) };
    // It gives a file whatever rights the tree names, and the remote may have named anything: nobody else gets near them
    // before they are what git would have made.
    let local = |source| CloneError::Local { what: "set the rights of a clone's files", source };
    let usual = fs::metadata(&at).map_err(local)?.permissions();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).map_err(local)?;
    write()?;
    bounds::usual_modes(&at, *UMASK).map_err(local)?;
    remember_change(repository, &at)?;
    fs::set_permissions(&at, usual).map_err(local)?;
    Ok(built)
}

/// Writes into the index when its files were changed last: whoever finds another moment there reads all of them again.
fn remember_change(repository: &Repository, at: &Path) -> Result<(), CloneError> {
    let mut index = repository.index()?;
    let entries: Vec<_> = index.iter().collect();
    for mut entry in entries {
        if let Ok(facts) = fs::symlink_metadata(at.join(OsStr::from_bytes(&entry.path))) {
            entry.ctime = git2::IndexTime::new(facts.ctime() as i32, facts.ctime_nsec() as u32);
            index.add(&entry)?;
        }
    }
    Ok(index.write()?)
}

/// Whether the attributes of a tree name git-lfs.
pub fn uses_lfs(repository: &Repository, attributes: &[Attributes]) -> bool {
    let content = |one: &Attributes| one.content(repository).ok().flatten();
    attributes
        .iter()
        .filter_map(content)
        .any(|content| String::from_utf8_lossy(&content).contains("filter=lfs"))
}

/// libgit2 tries out with files what the file system can do, and does not mind when it cannot remove them.
pub fn remove_probes(repository: &Repository) -> Result<(), CloneError> {
    const PROBE: &str = "_git2_";
    let Some(at) = repository.workdir() else { return Ok(()) };
    let names =
        disk::read_folder(at).map_err(|source| CloneError::Local { what: "look at a clone", source })?;
    for (name, _) in names.into_iter().filter(|(name, _)| name.starts_with(PROBE)) {
        disk::remove_file(&at.join(name))
            .map_err(|source| CloneError::Local { what: "remove a file that was only tried", source })?;
    }
    Ok(())
}

/// Files and folders from which on a second thread is worth its start.
const MANY_PATHS: u64 = 500;

/// Parts of a tree for each thread: the more, the more evenly they are spread.
const PARTS_PER_THREAD: u64 = 8;

fn write_tree(
    repository: &Repository,
    root: Oid,
    measured: &Measured,
    processors: &Processors,
    cancel: &CancellationToken,
) -> Result<(), CloneError> {
    let whole = measured.whole();
    if whole.paths < MANY_PATHS || whole.has_twins || folds_names(repository)? {
        return write_paths(repository, root, &[], cancel);
    }
    let share = processors.share();
    if share.threads == 1 {
        return write_paths(repository, root, &[], cancel);
    }
    let parts = spread(
        parts_of(repository, root, measured, whole.paths / (share.threads as u64 * PARTS_PER_THREAD))?,
        share.threads,
    );
    // libgit2 takes a submodule below such a path for one that is not meant.
    let is_pattern =
        |path: &Vec<u8>| path.starts_with(b"#") || path.iter().any(|byte| b"*?[\\!:".contains(byte));
    if parts.iter().flatten().any(is_pattern) {
        return write_paths(repository, root, &[], cancel);
    }
    let at = repository.path().to_path_buf();
    let indexes = thread::scope(|threads| {
        let writers: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(number, paths)| {
                let at = &at;
                threads.spawn(move || write_part(at, root, (number, paths), cancel))
            })
            .collect();
        let ended = writers.into_iter().map(|writer| writer.join().expect("a writer does not panic"));
        ended.collect::<Result<Vec<PathBuf>, CloneError>>()
    })?;
    merge_indexes(repository, &indexes)
}

/// Whether two different names may be one file: a link of one name could then lead what another thread writes astray.
fn folds_names(repository: &Repository) -> Result<bool, git2::Error> {
    let config = repository.config()?;
    let is_set = |key| config.get_bool(key).unwrap_or(false);
    Ok(is_set("core.ignorecase") || is_set("core.precomposeunicode"))
}

/// A folder or file at the root or below, and how many paths it stands for.
struct Part {
    path: Vec<u8>,
    paths: u64,
}

/// The tree in parts of at most so many paths, where folders can be taken apart.
fn parts_of(
    repository: &Repository,
    root: Oid,
    measured: &Measured,
    most: u64,
) -> Result<Vec<Part>, git2::Error> {
    let mut parts = Vec::new();
    let mut folders = vec![(Vec::new(), root)];
    while let Some((above, folder)) = folders.pop() {
        for entry in &repository.find_tree(folder)? {
            let mut path: Vec<u8> = above.clone();
            path.extend_from_slice(entry.name_bytes());
            let below = measured.paths_below(entry.id());
            if entry.kind() == Some(ObjectType::Tree) && below > most {
                path.push(b'/');
                folders.push((path, entry.id()));
            } else {
                parts.push(Part { path, paths: below + 1 });
            }
        }
    }
    Ok(parts)
}

/// Gives each thread about as many paths as the others.
fn spread(mut parts: Vec<Part>, threads: usize) -> Vec<Vec<Vec<u8>>> {
    parts.sort_by_key(|part| std::cmp::Reverse(part.paths));
    let mut shares: Vec<(u64, Vec<Vec<u8>>)> = (0..threads).map(|_| (0, Vec::new())).collect();
    for part in parts {
        let least = shares.iter_mut().min_by_key(|(paths, _)| *paths).expect("there is a thread");
        least.0 += part.paths;
        least.1.push(part.path);
    }
    shares.into_iter().map(|(_, paths)| paths).filter(|paths| !paths.is_empty()).collect()
}

/// Writes some paths, through a handle of its own; gives the file with their index.
fn write_part(
    at: &Path,
    root: Oid,
    (number, paths): (usize, &[Vec<u8>]),
    cancel: &CancellationToken,
) -> Result<PathBuf, CloneError> {
    let repository = Repository::open(at)?;
    let own = at.join(format!("index.part-{number}"));
    repository.set_index(&mut Index::open(&own)?)?;
    write_paths(&repository, root, paths, cancel)?;
    Ok(own)
}

/// Makes one index of those of the parts.
fn merge_indexes(repository: &Repository, parts: &[PathBuf]) -> Result<(), CloneError> {
    let mut entries = Vec::new();
    for part in parts {
        entries.extend(Index::open(part)?.iter());
        disk::remove_file(part)
            .map_err(|source| CloneError::Local { what: "remove a part of an index", source })?;
    }
    // Added in their order, or each would have to make room among those that are there.
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut index = repository.index()?;
    for entry in &entries {
        index.add(entry)?;
    }
    Ok(index.write()?)
}

/// Writes the paths of a tree, or the whole of it where none are named, and the index of what was written.
fn write_paths(
    repository: &Repository,
    root: Oid,
    paths: &[Vec<u8>],
    cancel: &CancellationToken,
) -> Result<(), CloneError> {
    let mut checkout = CheckoutBuilder::new();
    // What attributes or settings would change is left to git: looking each file's up would cost as much as writing it.
    checkout.force().disable_pathspec_match(true).disable_filters(true).dir_perm(0o777);
    for path in paths {
        checkout.path(path.as_slice());
    }
    checkout.notify_on(git2::CheckoutNotificationType::UPDATED);
    checkout.notify(|_, _, _, _, _| !cancel.is_cancelled());
    let root = repository.find_object(root, Some(ObjectType::Tree))?;
    match repository.checkout_tree(&root, Some(&mut checkout)) {
        Err(_) if cancel.is_cancelled() => Err(CloneError::Cancelled),
        result => Ok(result?),
    }
}
