//! Places in the living docs: which folder, which number, which name; and the only hand that writes there. A page of
//! items is written whole: intents to the ledger, files, one sync, then the ledger is closed. Everything here blocks.

mod features;
mod page;
mod steps;

use super::feature;
use super::ledger::{Ledger, Placed};
use super::story;
use crate::feeds::{Counts, Failure};
use crate::work::trackers::item::{Item, Kind, Parent, Platform};
use page::{Misfit, Page, Writes, place_in};
use serde::{Deserialize, Serialize};
use specweave_jobs::project::Project;
use specweave_jobs::{crash, disk};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the living docs lie in a project.
pub const SPECS: &str = ".specweave/docs/internal/specs";

/// A story's file is no larger: a tracker's longest text, and what a person adds.
const MOST_STORY: u64 = 16 * 1024 * 1024;

/// Files below the folder of specs, at most so deep.
const MOST_DEPTH: usize = 8;

pub struct Shelf {
    project: Project,
    ledger: Ledger,
    /// Files that the ledger does not have, by the external id that they name, in lower case.
    adoptable: HashMap<Box<str>, Box<str>>,
    bases: HashMap<String, Base>,
    /// Files that hold what lost, and wait for a person.
    conflicts: BTreeSet<String>,
    /// The highest number among the ledger's files, also of those that never came about.
    promised: HashMap<String, u32>,
}

/// The numbers and features of a folder whose stories are numbered together.
#[derive(Default)]
struct Base {
    last_feature: u32,
    last_story: u32,
    /// Folders of features by the origin that they name, where the ledger does not know it.
    origins: HashMap<String, String>,
}

/// What became of a page.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub counts: Counts,
    pub failed: Vec<Failure>,
}

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Shelf {
    /// Reads the ledger, and looks for files that it does not know.
    pub fn open(project: &Project) -> Result<Self, ShelfError> {
        let path = project.imports();
        let fail = |source| ShelfError::Io { path: path.clone(), source };
        let ledger = Ledger::open(&path).map_err(fail)?;
        let mut shelf = Self {
            project: project.clone(),
            ledger,
            adoptable: HashMap::new(),
            bases: HashMap::new(),
            conflicts: BTreeSet::new(),
            promised: HashMap::new(),
        };
        for path in shelf.ledger.paths() {
            let number = number_of(path).unwrap_or(0);
            let highest = shelf.promised.entry(place_in(path).base).or_default();
            *highest = number.max(*highest);
        }
        shelf.look_for_others();
        Ok(shelf)
    }

    fn root(&self) -> PathBuf {
        self.project.root().join(SPECS)
    }

    /// Files of stories that another tool wrote, or that a person has moved.
    fn look_for_others(&mut self) {
        let known: HashSet<Box<str>> = self.ledger.paths().map(Box::from).collect();
        let root = self.root();
        let mut folders = vec![(root.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let path = entry.path();
                let Ok(name) = entry.file_name().into_string() else { continue };
                if kind.is_dir() && depth < MOST_DEPTH {
                    folders.push((path, depth + 1));
                } else if kind.is_file()
                    && disk::temporary_of(&name).is_some_and(|name| name.ends_with(".md"))
                {
                    // A daemon died while it wrote this.
                    let _ = std::fs::remove_file(path);
                } else if kind.is_file() && name.starts_with("us-") && name.ends_with(".md") {
                    let Some(path) = path.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned)
                    else {
                        continue;
                    };
                    if name.ends_with(CONFLICT) {
                        self.conflicts.insert(path);
                        continue;
                    }
                    if known.contains(path.as_str()) {
                        continue;
                    }
                    let id = self.read(&path).ok().flatten().and_then(|text| story::named(&text));
                    if let Some(id) = id {
                        self.adoptable.insert(id.into(), path.into());
                    }
                }
            }
        }
    }

    /// The text of a file below the folder of specs. Links are not followed.
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        match disk::read_regular(&self.root().join(path), MOST_STORY) {
            Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("it is not UTF-8")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an item has a file already.
    pub fn knows(&self, item: &Item) -> bool {
        let id = item.external_id.to_lowercase();
        self.ledger.get(&item.key).is_some() || self.adoptable.contains_key(id.as_str())
    }

    /// Whether what an item belongs to has a file already.
    pub fn knows_parent(&self, item: &Item) -> bool {
        item.parent.as_ref().is_some_and(|parent| self.ledger.resolve(parent.reference()).is_some())
    }

    /// Parents of these items that nobody has seen yet, by the keys that their tracker knows.
    pub fn unknown_parents<'a>(&self, items: impl Iterator<Item = &'a Item> + Clone) -> Vec<String> {
        let here: HashSet<String> = items.clone().map(|item| item.external_id.to_lowercase()).collect();
        let unknown = items
            .filter(|item| item.platform != Platform::GitHub)
            .filter_map(|item| item.parent.as_ref())
            .filter(|parent| !here.contains(&parent.external_id.to_lowercase()))
            .map(Parent::reference)
            .filter(|reference| self.ledger.resolve(reference).is_none());
        let mut keys: Vec<String> = unknown.map(str::to_owned).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Writes a page: its items, and before them the parents that were fetched for them.
    pub fn put(&mut self, parents: &[Item], items: &[Item], source: &str) -> Result<Outcome, ShelfError> {
        let mut page = Page {
            shelf: self,
            writes: Writes::default(),
            here: HashMap::new(),
            source,
            features: HashSet::new(),
        };
        for item in parents.iter().chain(items) {
            page.here.insert(item.external_id.to_lowercase(), item);
        }
        let mut outcome = Outcome::default();
        let counted: HashSet<&str> = items.iter().map(|item| item.key.as_str()).collect();
        let mut done: HashSet<&str> = HashSet::new();
        // What others stand below comes first.
        let rank = |item: &&Item| match item.kind {
            Kind::Feature => 0,
            Kind::Story => 1,
            Kind::Step => 2,
        };
        // Of an item that a page holds twice, the last is what it is now.
        let mut all: Vec<&Item> = parents.iter().chain(items).collect();
        all.sort_by_key(rank);
        let newest: HashMap<&str, &Item> = all.iter().map(|item| (item.key.as_str(), *item)).collect();
        for item in all {
            if !done.insert(&item.key) {
                outcome.counts.unchanged += u64::from(counted.contains(item.key.as_str()));
                continue;
            }
            let item = newest[item.key.as_str()];
            let is_parent = !counted.contains(item.key.as_str());
            match page.place(item) {
                Err(Misfit(error)) => outcome.failed.push(Failure { name: item.external_id.clone(), error }),
                Ok((placed, conflict)) => {
                    if let Some(error) = conflict {
                        outcome.failed.push(Failure { name: item.external_id.clone(), error });
                    } else if !is_parent {
                        match placed {
                            Placed::Created => outcome.counts.created += 1,
                            Placed::Updated => outcome.counts.updated += 1,
                            Placed::Unchanged => outcome.counts.unchanged += 1,
                            Placed::LeftOut => outcome.counts.left_out += 1,
                        }
                    }
                }
            }
        }
        let writes = page.writes;
        self.write(writes)?;
        Ok(outcome)
    }

    fn write(&mut self, writes: Writes) -> Result<(), ShelfError> {
        let ledger = self.project.imports();
        self.ledger.sync().map_err(|source| ShelfError::Io { path: ledger, source })?;
        let root = self.root();
        if !writes.files.is_empty() {
            let mut written = Vec::new();
            for (path, text) in &writes.files {
                let path = root.join(path);
                let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
                made.map_err(|source| ShelfError::Io { path: path.clone(), source })?;
                write_unsynced(&path, text)
                    .map_err(|source| ShelfError::Io { path: path.clone(), source })?;
                written.push(path);
            }
            sync_all(&root, &written).map_err(|source| ShelfError::Io { path: root.clone(), source })?;
            crash::point("stories-synced");
        }
        // What has moved stands in its new place for sure.
        for path in &writes.gone {
            match std::fs::remove_file(root.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ShelfError::Io { path: root.join(path), source: error });
                }
                _ => crash::point("story-unlinked"),
            }
        }
        Ok(())
    }

    /// The files that wait for a person to settle a conflict, from the project's root.
    pub fn conflicts(&self) -> Vec<String> {
        let there = self.conflicts.iter().filter(|path| self.root().join(path).exists());
        there.map(|path| format!("{SPECS}/{path}")).collect()
    }

    /// Says that what was put is done: from now on it is what is known. Until then, putting it again counts as the
    /// first time did.
    pub fn close(&mut self) -> Result<(), ShelfError> {
        self.ledger.close().map_err(|source| ShelfError::Io { path: self.project.imports(), source })
    }

    fn base(&mut self, path: &str) -> &mut Base {
        if !self.bases.contains_key(path) {
            let mut base = Base::read(&self.root().join(path));
            base.last_story = base.last_story.max(self.promised.get(path).copied().unwrap_or(0));
            let promised = self.ledger.folders_in(path).filter_map(|folder| numbered(folder, "fs-"));
            base.last_feature = base.last_feature.max(promised.max().unwrap_or(0));
            self.bases.insert(path.to_owned(), base);
        }
        self.bases.get_mut(path).expect("it was just inserted")
    }
}

impl Base {
    /// The numbers that are taken, also by what was archived.
    fn read(folder: &Path) -> Self {
        let mut base = Self::default();
        let names = |folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        for shelf in [folder.to_path_buf(), folder.join("_archive")] {
            let mut folders = names(&shelf);
            folders.sort();
            for name in folders {
                let feature = numbered(&name, "fs-");
                base.last_feature = base.last_feature.max(feature.unwrap_or(0));
                if feature.is_none() && name != "_orphans" {
                    continue;
                }
                for file in names(&shelf.join(&name)) {
                    base.last_story = base.last_story.max(numbered(&file, "us-").unwrap_or(0));
                }
                let text =
                    disk::read_regular(&shelf.join(&name).join("FEATURE.md"), MOST_STORY).unwrap_or_default();
                let origin = feature::origin(&String::from_utf8_lossy(&text));
                // What was archived is no place for new stories.
                if let Some(origin) = origin.filter(|_| shelf == folder) {
                    base.origins.entry(origin).or_insert(name);
                }
            }
        }
        base
    }
}

/// How the name of a file ends that holds what lost.
const CONFLICT: &str = ".conflict.md";

/// The number in a story's path.
fn number_of(path: &str) -> Option<u32> {
    numbered(path.rsplit('/').next()?, "us-")
}

/// The number behind a prefix, in whatever case.
fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let name = name.to_lowercase();
    name.strip_prefix(prefix)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Replaces a file; it is durable after [`sync_all`].
fn write_unsynced(path: &Path, text: &str) -> io::Result<()> {
    let unnamed = disk::temporary_beside(path);
    let write = || -> io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&unnamed)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&unnamed, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&unnamed)))?;
    crash::point("story-renamed");
    Ok(())
}

/// Makes files and their names durable with one call for all, where the system has one.
fn sync_all(root: &Path, written: &[PathBuf]) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let _ = written;
        rustix::fs::syncfs(std::fs::File::open(root)?)?;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let folders: HashSet<&Path> = written.iter().filter_map(|path| path.parent()).collect();
        for path in written {
            std::fs::File::open(path)?.sync_all()?;
        }
        for folder in folders.into_iter().chain([root]) {
            disk::sync_folder(folder)?;
        }
    }
    Ok(())
}
