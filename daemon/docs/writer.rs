//! Places in the living docs: which folder, which number, which name; and the only hand that writes there. A page of
//! items is written whole: intents to the ledger, files, one sync, then the ledger is closed. Everything here blocks.

mod authored;
mod features;
mod page;
mod steps;

use crate::docs::feature;
use crate::docs::ledger::{Ledger, Placed};
use crate::docs::story::{self, Document};
use crate::job::paged_sources::Counts;
use crate::model::conflict;
use crate::model::conflict_file;
use crate::model::failure::{FailedItem, Failure, Reason};
use crate::model::item::{Item, Parent, Platform};
use crate::model::record::{Field, Record};
use crate::store::mac::PlaceKey;
use authored::Authored;
use page::{Current, Misfit, Page, Writes, place_in};
use serde::{Deserialize, Serialize};
use specweave_jobs::project::Project;
use specweave_jobs::{crash, disk, system};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Where the living docs lie in a project.
pub const SPECS: &str = ".specweave/docs/internal/specs";

/// A story's file is no larger: a tracker's longest text, and what a person adds.
const MOST_STORY: u64 = 16 * 1024 * 1024;

/// Files below the folder of specs, at most so deep.
const MOST_DEPTH: usize = 8;

pub use crate::docs::ledger::Access;

pub struct Writer {
    project: Project,
    ledger: Ledger,
    /// Files that the ledger does not have, by the external id that they name, in lower case.
    adoptable: HashMap<Box<str>, Box<str>>,
    /// The items of stories that were written here.
    authored: Authored,
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

/// What somebody has decided where both sides have changed: the fields that are the tracker's. The others stay as the
/// file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wins(pub Vec<Field>);

/// The file of an item.
pub struct Kept {
    /// From the folder of specs.
    pub path: String,
    pub text: String,
    /// What it says.
    pub record: Record,
    /// What both sides said when they last met, as far as that is known.
    pub bases: Vec<story::Base>,
    pub waits: Option<Waits>,
}

/// A file beside a story that waits for a person.
#[derive(Clone, Debug)]
pub struct Waits {
    /// From the project's root.
    pub file: String,
    /// What is to be decided over; nothing where it only holds what another tool's file said.
    pub fields: Vec<Field>,
}

/// What became of a page.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub counts: Counts,
    pub failed: Vec<FailedItem>,
}

impl Outcome {
    fn fail(&mut self, item: &Item, failure: Failure) {
        self.failed.push(FailedItem { name: item.external_id.clone(), failure: failure.with_url(&item.url) });
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Writer {
    /// Reads the ledger, and looks for files that it does not know.
    pub fn open(project: &Project, key: &PlaceKey, access: Access) -> Result<Self, WriterError> {
        let path = project.imports();
        let fail = |source| WriterError::Io { path: path.clone(), source };
        let ledger = Ledger::open(&path, key, access).map_err(fail)?;
        let mut writer = Self {
            project: project.clone(),
            ledger,
            adoptable: HashMap::new(),
            authored: Authored::default(),
            bases: HashMap::new(),
            conflicts: BTreeSet::new(),
            promised: HashMap::new(),
        };
        for path in writer.ledger.paths() {
            let number = number_of(path).unwrap_or(0);
            let highest = writer.promised.entry(place_in(path).base).or_default();
            *highest = number.max(*highest);
        }
        writer.look_for_others();
        Ok(writer)
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
            for (name, kind) in disk::read_folder(&folder).unwrap_or_default() {
                let path = folder.join(&name);
                let is_file = kind == disk::Kind::File;
                let is_conflict = conflict_file::is_name(&name);
                if kind == disk::Kind::Folder && depth < MOST_DEPTH {
                    folders.push((path, depth + 1));
                } else if is_file && disk::temporary_of(&name).is_some_and(|name| name.ends_with(".md")) {
                    // A daemon died while it wrote this.
                    let _ = disk::remove_file(&path);
                } else if is_file && name == "FEATURE.md" {
                    let folder = folder.strip_prefix(&root).ok().and_then(Path::to_str);
                    let text = disk::read_regular(&path, MOST_STORY).unwrap_or_default();
                    if let Some(folder) = folder {
                        self.authored.note_feature(folder, &String::from_utf8_lossy(&text));
                    }
                } else if is_file && (name.starts_with("us-") || is_conflict) && name.ends_with(".md") {
                    let Some(path) = path.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned)
                    else {
                        continue;
                    };
                    if is_conflict {
                        self.conflicts.insert(path);
                        continue;
                    }
                    if known.contains(path.as_str()) {
                        continue;
                    }
                    let Some(text) = self.read(&path).ok().flatten() else { continue };
                    match story::named(&text) {
                        Some(id) => drop(self.adoptable.insert(id.into(), path.into())),
                        None => self.authored.note(&path, &text),
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

    /// The file of an item, its text, what is remembered of both sides, and the file that waits beside it.
    pub fn story(&mut self, item: &Item) -> Result<Option<Kept>, WriterError> {
        let page = Page::new(self, &[item], "", None);
        let current = page.current(&item.key);
        match current {
            Ok(Current::There { path, text }) => {
                let bases = self.ledger.bases(&item.key);
                let record = Document::parse(&text).record_since(&bases);
                let waits = self.waits(&path, &record, &story::said(item));
                Ok(Some(Kept { path, text, record, bases, waits }))
            }
            Ok(Current::Missing { .. }) => Ok(None),
            Err(Misfit(error)) => Err(WriterError::Io { path: self.root(), source: io::Error::other(error) }),
        }
    }

    /// The file that waits beside a story, and in which of its fields both sides still differ.
    fn waits(&self, path: &str, local: &Record, remote: &Record) -> Option<Waits> {
        let beside = self.conflicts.iter().find(|beside| conflict_file::is_beside(beside, path))?;
        let text = self.read(beside).ok().flatten()?;
        let is_open = |field: &Field| !local.same(remote, *field) && !conflict::is_all_that_is_left(&text);
        let fields = conflict::fields(&text).into_iter().filter(is_open).collect();
        Some(Waits { file: format!("{SPECS}/{beside}"), fields })
    }

    /// Notes that an item and its file say the same now, where they do, although neither was written here.
    pub fn note_met(&mut self, item: &Item) -> Result<(), WriterError> {
        let mut page = Page::new(self, &[item], "", None);
        let noted = page.note_met(item);
        let writes = page.writes;
        noted.map_err(|Misfit(error)| WriterError::Io {
            path: self.root(),
            source: io::Error::other(error),
        })?;
        self.write(writes)?;
        self.close()
    }

    /// What a page of these items would become; nothing is written, and this writer is good for nothing else.
    pub fn foresee(mut self, items: &[&Item], source: &str) -> Vec<(String, Result<Placed, String>)> {
        let mut page = Page::new(&mut self, items, source, None);
        let placed = page.place_all(items.to_vec());
        let told = placed.into_iter().map(|(item, placed)| {
            let told = match placed {
                Ok((placed, None)) => Ok(placed),
                Ok((_, Some(conflict))) => Err(conflict.message),
                Err(Misfit(error)) => Err(error),
            };
            (item.key.clone(), told)
        });
        told.collect()
    }

    /// Writes a page: its items, and before them the parents that were fetched for them.
    pub fn put(&mut self, parents: &[Item], items: &[Item], source: &str) -> Result<Outcome, WriterError> {
        self.put_as(parents, items, source, None)
    }

    /// As [`Self::put`]; where both sides have changed, one of them is right.
    pub fn put_as(
        &mut self,
        parents: &[Item],
        items: &[Item],
        source: &str,
        wins: Option<Wins>,
    ) -> Result<Outcome, WriterError> {
        let all: Vec<&Item> = parents.iter().chain(items).collect();
        let mut page = Page::new(self, &all, source, wins);
        let mut outcome = Outcome::default();
        let counted: HashSet<&str> = items.iter().map(|item| item.key.as_str()).collect();
        for (item, placed) in page.place_all(all) {
            let is_counted = counted.contains(item.key.as_str());
            match placed {
                Err(Misfit(error)) => outcome.fail(item, Failure::new(Reason::InvalidInput, error)),
                Ok((_, Some(conflict))) => outcome.fail(item, conflict),
                Ok((placed, None)) if is_counted => match placed {
                    Placed::Created => outcome.counts.created += 1,
                    Placed::Updated => outcome.counts.updated += 1,
                    Placed::Unchanged => outcome.counts.unchanged += 1,
                    Placed::LeftOut => outcome.counts.left_out += 1,
                },
                Ok(_) => {}
            }
        }
        let twice = items.len() - counted.len();
        outcome.counts.unchanged += twice as u64;
        let writes = page.writes;
        self.write(writes)?;
        Ok(outcome)
    }

    fn write(&mut self, writes: Writes) -> Result<(), WriterError> {
        let ledger = self.project.imports();
        self.ledger.sync().map_err(|source| WriterError::Io { path: ledger, source })?;
        let root = self.root();
        if !writes.files.is_empty() {
            let written = self.write_files(&root, &writes)?;
            if sync_all(&root, &written).is_err() {
                // The system forgets what a failed sync lost: only what is written anew can be on the disk.
                let written = self.write_files(&root, &writes)?;
                sync_all(&root, &written).map_err(|source| WriterError::Io { path: root.clone(), source })?;
            }
            crash::point("stories-synced");
        }
        // What has moved stands in its new place for sure.
        for path in &writes.gone {
            match disk::remove_file(&root.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(WriterError::Io { path: root.join(path), source: error });
                }
                _ => crash::point("story-unlinked"),
            }
        }
        Ok(())
    }

    fn write_files(&self, root: &Path, writes: &Writes) -> Result<Vec<PathBuf>, WriterError> {
        if !self.project.is_still_here() {
            let source = io::Error::other("the project was moved or removed");
            return Err(WriterError::Io { path: root.to_path_buf(), source });
        }
        let write = |(path, text): (&String, &String)| {
            let path = root.join(path);
            let made = path.parent().map_or(Ok(()), |folder| disk::make_folders(folder, 0o777));
            let written = made.and_then(|()| write_unsynced(&path, text));
            written.map(|()| path.clone()).map_err(|source| WriterError::Io { path, source })
        };
        writes.files.iter().map(write).collect()
    }

    /// The files that wait for a person to settle a conflict, from the project's root.
    pub fn conflicts(&self) -> Vec<String> {
        let there = self.conflicts.iter().filter(|path| disk::exists(&self.root().join(path)));
        there.map(|path| format!("{SPECS}/{path}")).collect()
    }

    /// Says that what was put is done: from now on it is what is known. Until then, putting it again counts as the
    /// first time did.
    pub fn close(&mut self) -> Result<(), WriterError> {
        self.ledger.close().map_err(|source| WriterError::Io { path: self.project.imports(), source })
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
            disk::read_folder(folder).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
        };
        for place in [folder.to_path_buf(), folder.join("_archive")] {
            let mut folders = names(&place);
            folders.sort();
            for name in folders {
                let feature = numbered(&name, "fs-");
                base.last_feature = base.last_feature.max(feature.unwrap_or(0));
                if feature.is_none() && name != "_orphans" {
                    continue;
                }
                for file in names(&place.join(&name)) {
                    base.last_story = base.last_story.max(numbered(&file, "us-").unwrap_or(0));
                }
                let text =
                    disk::read_regular(&place.join(&name).join("FEATURE.md"), MOST_STORY).unwrap_or_default();
                let origin = feature::origin(&String::from_utf8_lossy(&text));
                // What was archived is no place for new stories.
                if let Some(origin) = origin.filter(|_| place == folder) {
                    base.origins.entry(origin).or_insert(name);
                }
            }
        }
        base
    }
}

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
    disk::replace_unsynced(path, text.as_bytes(), 0o666)?;
    crash::point("story-renamed");
    Ok(())
}

/// Makes files and their names durable with one call for all, where the system has one.
fn sync_all(root: &Path, written: &[PathBuf]) -> io::Result<()> {
    if system::SYNCS_AT_ONCE {
        return disk::sync_file_system(root);
    }
    let folders: HashSet<&Path> = written.iter().filter_map(|path| path.parent()).collect();
    for path in written {
        disk::open_regular(path)?.sync_all()?;
    }
    folders.into_iter().chain([root]).try_for_each(disk::sync_folder)
}
