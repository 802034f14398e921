//! Places in the living docs: which folder, which number, which name; and the only hand that writes there. A page of
//! items is written whole: intents to the ledger, files, one sync, then the ledger is closed. Everything here blocks.

use super::feature::{self, Subject};
use super::ledger::{Container, Entry, Ledger, Placed};
use super::story::{self, Document, Field, Fields, Prints};
use super::text;
use crate::feeds::{Counts, Failure};
use crate::work::trackers::item::{Item, Kind, Parent, Platform, Status};
use serde::{Deserialize, Serialize};
use specweave_jobs::clock;
use specweave_jobs::project::Project;
use specweave_jobs::{crash, disk};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the living docs lie in a project.
pub const SPECS: &str = ".specweave/docs/internal/specs";

/// A story's file is no larger: a tracker's longest text, and what a person adds.
const MOST_STORY: u64 = 16 * 1024 * 1024;

/// Parents above parents; no tracker has more.
const MOST_LEVELS: usize = 16;

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

/// What is written for a page, before any of it is.
#[derive(Default)]
struct Writes {
    files: BTreeMap<String, String>,
    /// Files that have moved away.
    gone: Vec<String>,
}

/// Why one item cannot be placed; the others of its page can.
struct Misfit(String);

/// What stands there for an item.
enum Current {
    There {
        path: String,
        text: String,
    },
    /// Nothing, perhaps where something was or was about to be.
    Missing {
        planned: Option<String>,
    },
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
                    let id = self.read(&path).ok().flatten().and_then(|text| {
                        Document::parse(&text).metadata("External ID").map(str::to_lowercase)
                    });
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
    pub fn unknown_parents(&self, items: &[Item]) -> Vec<String> {
        let here: HashSet<String> = items.iter().map(|item| item.external_id.to_lowercase()).collect();
        let unknown = items
            .iter()
            .filter(|item| item.platform != Platform::GitHub)
            .filter_map(|item| item.parent.as_ref())
            .filter(|parent| !here.contains(&parent.external_id.to_lowercase()))
            .filter(|parent| self.ledger.get(&parent.key).is_none())
            .filter(|parent| self.ledger.key_of(&parent.external_id).is_none());
        let mut keys: Vec<String> = unknown
            .map(|parent| if parent.key.is_empty() { parent.external_id.clone() } else { parent.key.clone() })
            .collect();
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
            page.here.insert(item.external_id.to_lowercase(), item.clone());
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

/// So many may wait beside one story.
const MOST_CONFLICTS: u32 = 100;

/// A page that is being placed.
struct Page<'a> {
    shelf: &'a mut Shelf,
    writes: Writes,
    /// The page's items by external id, in lower case.
    here: HashMap<String, Item>,
    /// The name under which the source was asked for.
    source: &'a str,
    /// Features whose file was seen.
    features: HashSet<String>,
}

/// Where a story belongs.
struct Place {
    base: String,
    /// `FS-001E` or `_orphans`.
    folder: String,
}

impl Page<'_> {
    /// The file as it will be after this page.
    fn read(&self, path: &str) -> Result<Option<String>, Misfit> {
        if let Some(text) = self.writes.files.get(path) {
            return Ok(Some(text.clone()));
        }
        self.shelf.read(path).map_err(|error| Misfit(format!("{path} cannot be read: {error}")))
    }

    fn write(&mut self, path: &str, text: String) {
        self.writes.gone.retain(|gone| gone != path);
        self.writes.files.insert(path.to_owned(), text);
    }

    /// Gives an item its place and text. The text of a conflict, if a person's edit stands in the way.
    fn place(&mut self, item: &Item) -> Result<(Placed, Option<String>), Misfit> {
        let ledger = &self.shelf.ledger;
        let entry = ledger.get(&item.key).cloned();
        // A daemon died while it wrote this very page: what it had begun counts as if it had not.
        let begun = entry.as_ref().filter(|_| !ledger.is_closed(&item.key)).map(|entry| entry.placed);
        let current = self.current(&item.key)?;
        let is_known = entry.is_some() || matches!(current, Current::There { .. });
        if !is_known && item.status == Status::Removed {
            return Ok((Placed::LeftOut, None));
        }
        if item.kind == Kind::Step && self.story_of(item).is_some() {
            return self.place_step(item, begun).map(|placed| (placed, None));
        }
        self.leave_stories(item, None)?;
        let remote = Fields::of(item);
        let place = match (&current, item.platform) {
            // A repository's stories stay where they are: it has no parts to move between.
            (Current::There { path, .. }, Platform::GitHub) => place_in(path),
            // What a person has put away stays there.
            (Current::There { path, .. }, _) if path.contains("/_archive/") => place_in(path),
            _ => self.place_of(item)?,
        };
        let (path, text) = match current {
            Current::There { path, text } => (path, text),
            Current::Missing { planned } => return self.create(item, &place, &remote, planned),
        };
        let moves = !in_folder(&path, &place);
        let is_same = entry.as_ref().is_some_and(|entry| {
            entry.updated == item.updated
                && entry.remote == remote.prints()
                && self.shelf.ledger.is_closed(&item.key)
        });
        let waits = self.shelf.conflicts.iter().any(|beside| is_beside(beside, &path));
        if is_same && !moves && !waits {
            return Ok((Placed::Unchanged, None));
        }
        let mut document = Document::parse(&text);
        let local = document.fields();
        let bases = self.shelf.ledger.bases(&item.key);
        if bases.is_empty()
            && !moves
            && document.metadata("Updated At") == Some(clock::iso(item.updated).as_str())
        {
            // Another tool wrote it, or another daemon, when the item was as it is now. Where it says something else,
            // somebody else wrote that: it is nobody's to replace.
            let kept = story::agreed(&local.prints(), &remote.prints());
            self.intend(item, &path, (kept, remote.prints()), 0, Placed::Unchanged);
            return Ok((Placed::Unchanged, None));
        }
        let mut number = document.number().unwrap_or(0);
        let mut target = path.clone();
        if moves {
            (target, number) = self.moved_path(&path, &place, number, item);
            document.renumber(number);
        }
        let (merged, conflicts) = match bases.is_empty() {
            // Another tool wrote it, and who has changed what since cannot be told.
            true => (story::with_checks(&remote, &local), story::differing(&local, &remote)),
            false => story::merge(&local, &bases, &remote),
        };
        let (kept, told) = match bases.is_empty() {
            true => (&local, "the tracker's stands in the file, what stood there"),
            false => (&remote, "the file keeps yours, the tracker's"),
        };
        if waits && story::differing(&local, &remote).is_empty() {
            // A person has settled it.
            let settled = self.shelf.conflicts.extract_if(.., |beside| is_beside(beside, &path));
            self.writes.gone.extend(settled);
        }
        let names: Vec<&str> = conflicts.iter().map(|field| field.name()).collect();
        let beside = self.keep_beside(&target, &conflicts, &merged, kept)?;
        let conflict = beside.map(|beside| {
            format!(
                "conflict: {} changed here and in the tracker: {told} is in {SPECS}/{beside}",
                names.join(", ")
            )
        });
        document.set_fields(&merged, number);
        let imported_at =
            document.metadata("Imported At").map_or_else(|| clock::iso(clock::now()), str::to_owned);
        document.set_metadata(&story::metadata(item, &imported_at, &place.folder));
        let new = document.text();
        // A person's own text is not what the next import may replace.
        let written = Document::parse(&new).fields().prints();
        let kept = story::base_after(&written, &bases, &local, &remote);
        let changed = new != text || moves;
        let placed = begun.unwrap_or(if changed { Placed::Updated } else { Placed::Unchanged });
        self.intend(item, &target, (kept, remote.prints()), 0, placed);
        if changed {
            self.write(&target, new);
            if moves {
                self.writes.files.remove(&path);
                self.writes.gone.push(path);
            }
        }
        self.finish_move(&item.key, &target)?;
        if item.kind == Kind::Feature {
            self.update_features(item)?;
        }
        Ok((placed, conflict))
    }

    /// The text of an item's file and where it stands, wherever a person or another tool has put it.
    fn current(&self, key: &str) -> Result<Current, Misfit> {
        let here =
            self.here.values().find(|item| item.key == key).map(|item| item.external_id.to_lowercase());
        let entry = self.shelf.ledger.get(key);
        let mut ids: Vec<String> = entry.map(|entry| entry.external_id.to_lowercase()).into_iter().collect();
        ids.extend(here);
        ids.extend(self.shelf.ledger.before(key).map(|before| before.external_id.to_lowercase()));
        let own = entry.filter(|entry| entry.task == 0).map(|entry| entry.path.to_string());
        let earlier = self.shelf.ledger.earlier_path(key).map(str::to_owned);
        let adoptable =
            ids.iter().find_map(|id| self.shelf.adoptable.get(id.as_str())).map(|path| path.to_string());
        for path in [own.clone(), earlier, adoptable].into_iter().flatten() {
            if self.writes.gone.contains(&path) {
                continue;
            }
            let Some(text) = self.read(&path)? else { continue };
            // A file of that name that names another item, or none, is somebody else's.
            let names = Document::parse(&text).metadata("External ID").map(str::to_lowercase);
            if names.is_some_and(|name| ids.contains(&name)) {
                return Ok(Current::There { path, text });
            }
        }
        Ok(Current::Missing { planned: own })
    }

    /// A daemon may have died between a story's arrival in its new place and its departure from the old one.
    fn finish_move(&mut self, key: &str, target: &str) -> Result<(), Misfit> {
        let Some(earlier) = self.shelf.ledger.earlier_path(key).filter(|earlier| *earlier != target) else {
            return Ok(());
        };
        let earlier = earlier.to_owned();
        let ledger = &self.shelf.ledger;
        let ids = [ledger.get(key), ledger.before(key)]
            .map(|entry| entry.map(|entry| entry.external_id.to_lowercase()));
        let text = self.read(&earlier)?.unwrap_or_default();
        let names = Document::parse(&text).metadata("External ID").map(str::to_lowercase);
        if names.is_some() && ids.contains(&names) && !self.writes.gone.contains(&earlier) {
            self.writes.gone.push(earlier);
        }
        Ok(())
    }

    fn create(
        &mut self,
        item: &Item,
        place: &Place,
        remote: &Fields,
        planned: Option<String>,
    ) -> Result<(Placed, Option<String>), Misfit> {
        // An intent that never came about, or a file that a person removed: its path is its own, unless taken.
        let planned = planned.filter(|path| in_folder(path, place) && self.is_free(path));
        let (number, path) = match planned.and_then(|path| Some((number_of(&path)?, path))) {
            Some(planned) => planned,
            None => self.new_path(place, item),
        };
        let mut document = Document::new(number, item, remote);
        document.set_metadata(&story::metadata(item, &clock::iso(clock::now()), &place.folder));
        let text = document.text();
        // What is read back from the file is what the next import compares with.
        let local = Document::parse(&text).fields().prints();
        self.intend(item, &path, (local, remote.prints()), 0, Placed::Created);
        self.write(&path, text);
        if item.kind == Kind::Feature {
            self.update_features(item)?;
        }
        Ok((Placed::Created, None))
    }

    fn is_free(&self, path: &str) -> bool {
        !self.writes.files.contains_key(path)
            && std::fs::symlink_metadata(self.shelf.root().join(path)).is_err()
    }

    fn new_path(&mut self, place: &Place, item: &Item) -> (u32, String) {
        loop {
            let base = self.shelf.base(&place.base);
            base.last_story += 1;
            let number = base.last_story;
            let path = format!("{}/{}/{}", place.base, place.folder, file_name(number, item));
            // Somebody may have made one since the folder was looked at.
            if self.is_free(&path) {
                return (number, path);
            }
        }
    }

    /// A story that moves keeps its number and name among the same numbers, and gets new ones elsewhere.
    fn moved_path(&mut self, path: &str, place: &Place, number: u32, item: &Item) -> (String, u32) {
        let stays = path.rsplit_once('/').and_then(|(folder, name)| {
            let (base, _) = folder.rsplit_once('/')?;
            (base == place.base && number > 0).then(|| format!("{base}/{}/{name}", place.folder))
        });
        match stays.filter(|path| self.is_free(path)) {
            Some(path) => (path, number),
            None => {
                let (number, path) = self.new_path(place, item);
                (path, number)
            }
        }
    }

    fn intend(&mut self, item: &Item, path: &str, sides: (Prints, Prints), task: u32, placed: Placed) {
        let (local, remote) = sides;
        let checks = Fields::of(item).checks();
        let parent = item.parent.as_ref().map_or("", Parent::reference);
        let entry = Entry {
            external_id: item.external_id.as_str().into(),
            path: path.into(),
            parent: parent.into(),
            is_feature: item.kind == Kind::Feature,
            task,
            placed,
            updated: item.updated,
            local,
            remote,
            checks,
        };
        self.shelf.ledger.intend(&item.key, entry);
    }

    /// Keeps one side's fields beside the file, where nobody takes them for a story.
    /// Gives the name of the file that it did that with.
    fn keep_beside(
        &mut self,
        path: &str,
        fields: &[Field],
        ours: &Fields,
        theirs: &Fields,
    ) -> Result<Option<String>, Misfit> {
        if fields.is_empty() {
            return Ok(None);
        }
        let mut out = format!("# Conflict in {}\n", path.rsplit('/').next().unwrap_or(path));
        for field in fields {
            let (here, there) = (ours.shown(*field), theirs.shown(*field));
            out.push_str(&format!(
                "\n## {}\n\n### In the file\n\n{here}\n\n### Not taken over\n\n{there}\n",
                field.name()
            ));
        }
        let beside = self.free_beside(path, &out)?;
        self.write(&beside, out);
        self.shelf.conflicts.insert(beside.clone());
        Ok(Some(beside))
    }

    /// A name beside a story that holds nothing else: what was kept before is nobody's to replace.
    fn free_beside(&self, path: &str, text: &str) -> Result<String, Misfit> {
        let stem = path.strip_suffix(".md").unwrap_or(path);
        for number in 1..MOST_CONFLICTS {
            let name = match number {
                1 => format!("{stem}{CONFLICT}"),
                number => format!("{stem}-{number}{CONFLICT}"),
            };
            if self.read(&name)?.is_none_or(|there| there == text) {
                return Ok(name);
            }
        }
        Err(Misfit(format!("{MOST_CONFLICTS} conflicts wait beside {path}: settle them first")))
    }

    /// The external id of the topmost epic or feature above an item, or of itself.
    fn topmost_feature(&self, item: &Item) -> Option<String> {
        let mut top = (item.kind == Kind::Feature).then(|| item.external_id.clone());
        let mut next = item.parent.as_ref().map(|parent| parent.reference().to_owned());
        let ledger = &self.shelf.ledger;
        for _ in 0..MOST_LEVELS {
            let Some(reference) = next.take() else { break };
            let here = self.here.values().find(|item| item.key == reference);
            let (id, is_feature, parent) = match here.or_else(|| self.here.get(&reference.to_lowercase())) {
                Some(item) => {
                    let parent = item.parent.as_ref().map(|parent| parent.reference().to_owned());
                    (item.external_id.clone(), item.kind == Kind::Feature, parent)
                }
                None => match ledger.resolve(&reference).and_then(|key| ledger.get(key)) {
                    Some(entry) => {
                        let parent = Some(entry.parent.to_string()).filter(|parent| !parent.is_empty());
                        (entry.external_id.to_string(), entry.is_feature, parent)
                    }
                    None => break,
                },
            };
            if is_feature {
                top = Some(id);
            }
            next = parent;
        }
        top
    }

    fn place_of(&mut self, item: &Item) -> Result<Place, Misfit> {
        let base = match (item.platform, &item.area) {
            (Platform::GitHub, _) => text::folder(item.project.rsplit('/').next().unwrap_or(&item.project)),
            (Platform::Jira, _) => text::folder(&item.project),
            (Platform::Ado, Some(area)) => {
                let first = area.split('\\').next().unwrap_or(area);
                let last = area.rsplit('\\').next().unwrap_or(area);
                format!("{}/{}", text::folder(first), text::folder(last))
            }
            (Platform::Ado, None) => format!("{}/default", text::folder(&item.project)),
        };
        if item.platform == Platform::GitHub {
            return self.repository_place(item);
        }
        let place = match self.topmost_feature(item) {
            Some(origin) => {
                let folder = self.feature_folder(&base, &origin)?;
                Place { base, folder }
            }
            None => {
                let note = format!("{base}/_orphans/README.md");
                if self.read(&note)?.is_none() {
                    self.vet(&note)?;
                    self.write(&note, feature::ORPHANS.to_owned());
                }
                Place { base, folder: "_orphans".to_owned() }
            }
        };
        self.vet(&format!("{}/{}/x", place.base, place.folder))?;
        Ok(place)
    }

    /// The one folder of a repository, also after it was renamed.
    fn repository_place(&mut self, item: &Item) -> Result<Place, Misfit> {
        let name = |repository: &str| text::folder(repository.rsplit('/').next().unwrap_or(repository));
        let mut names = vec![item.project.clone()];
        if !self.source.eq_ignore_ascii_case(&item.project) {
            names.push(self.source.to_owned());
        }
        let known = names.iter().find_map(|repository| {
            let origin = repository.to_lowercase();
            self.shelf.ledger.containers_of(&origin).into_iter().next()
        });
        let found = match known {
            Some(known) => Some((known.base.clone(), known.folder.clone(), known.origin)),
            None => names.iter().find_map(|repository| {
                let (origin, base) = (repository.to_lowercase(), name(repository));
                let folder = self.shelf.base(&base).origins.get(&origin).cloned()?;
                Some((base, folder, String::new()))
            }),
        };
        let origin = item.project.to_lowercase();
        let place = match found {
            Some((base, folder, known_as)) => {
                if !self.has_feature_file(&base, &folder)? {
                    let url = repository_url(item);
                    self.write_feature(
                        &base,
                        &origin,
                        folder.clone(),
                        &Subject::Repository { name: &item.project, url },
                    )?;
                }
                if known_as != origin {
                    let container = Container::new(&origin, &base, &folder, 0);
                    self.shelf.ledger.intend_container(container);
                }
                Place { base, folder }
            }
            None => {
                let base = name(&item.project);
                let subject = Subject::Repository { name: &item.project, url: repository_url(item) };
                let folder = self.new_feature(&base, &origin, &subject)?;
                Place { base, folder }
            }
        };
        self.vet(&format!("{}/{}/x", place.base, place.folder))?;
        Ok(place)
    }

    /// The folder of a feature among the stories of `base`; it is made where there is none.
    fn feature_folder(&mut self, base: &str, external_id: &str) -> Result<String, Misfit> {
        let origin = external_id.to_lowercase();
        if let Some(known) = self.shelf.ledger.container(&origin, base).cloned() {
            // A daemon may have died before it was written.
            if !self.has_feature_file(base, &known.folder)? {
                let item = self.feature_item(&origin, external_id)?;
                self.write_feature(base, &origin, known.folder.clone(), &Subject::Item(&item))?;
            }
            return Ok(known.folder);
        }
        if let Some(folder) = self.shelf.base(base).origins.get(&origin).cloned() {
            let container = Container::new(&origin, base, &folder, 0);
            self.shelf.ledger.intend_container(container);
            return Ok(folder);
        }
        let item = self.feature_item(&origin, external_id)?;
        self.new_feature(base, &origin, &Subject::Item(&item))
    }

    /// A feature of this page; of one that was imported before, what its own file says is enough.
    fn feature_item(&self, origin: &str, external_id: &str) -> Result<Item, Misfit> {
        match self.here.get(origin) {
            Some(item) => Ok(item.clone()),
            None => self.remembered(external_id),
        }
    }

    fn has_feature_file(&mut self, base: &str, folder: &str) -> Result<bool, Misfit> {
        let path = format!("{base}/{folder}/FEATURE.md");
        if self.features.contains(&path) {
            return Ok(true);
        }
        let there = self.read(&path)?.is_some();
        if there {
            self.features.insert(path);
        }
        Ok(there)
    }

    /// A feature as its story's file tells it.
    fn remembered(&self, external_id: &str) -> Result<Item, Misfit> {
        let key = self.shelf.ledger.key_of(external_id).unwrap_or_default().to_owned();
        let text = match self.current(&key)? {
            Current::There { text, .. } => text,
            Current::Missing { .. } => String::new(),
        };
        let document = Document::parse(&text);
        let fields = document.fields();
        let metadata = |name: &str| document.metadata(name).unwrap_or("").to_owned();
        let platform = if external_id.starts_with("ADO-") { Platform::Ado } else { Platform::Jira };
        let type_name = match platform {
            Platform::Ado => metadata("ADO Work Item Type"),
            _ => metadata("JIRA Issue Type"),
        };
        Ok(Item {
            key,
            external_id: external_id.to_owned(),
            platform,
            shown: external_id.to_owned(),
            title: fields.title.replace("\\<", "<"),
            body: fields.description,
            criteria: None,
            kind: Kind::Feature,
            type_name,
            status: match fields.status.as_str() {
                "In Progress" => Status::InProgress,
                "Completed" => Status::Completed,
                "Removed" => Status::Removed,
                _ => Status::Open,
            },
            priority: None,
            labels: Vec::new(),
            created: 0,
            updated: 0,
            url: metadata("External URL"),
            parent: None,
            project: metadata("ADO Area Path").split('\\').next().unwrap_or("").to_owned(),
            area: Some(metadata("ADO Area Path")).filter(|area| !area.is_empty()),
        })
    }

    fn new_feature(&mut self, base: &str, origin: &str, subject: &Subject) -> Result<String, Misfit> {
        let folder = loop {
            let numbers = self.shelf.base(base);
            numbers.last_feature += 1;
            let folder = format!("FS-{:03}E", numbers.last_feature);
            if std::fs::symlink_metadata(self.shelf.root().join(base).join(&folder)).is_err() {
                break folder;
            }
        };
        self.write_feature(base, origin, folder, subject)
    }

    fn write_feature(
        &mut self,
        base: &str,
        origin: &str,
        folder: String,
        subject: &Subject,
    ) -> Result<String, Misfit> {
        let path = format!("{base}/{folder}/FEATURE.md");
        self.vet(&path)?;
        let text = feature::text(&folder, subject, clock::now());
        let print = text::hash(&text);
        let container = Container::new(origin, base, &folder, print);
        self.shelf.ledger.intend_container(container);
        self.write(&path, text);
        Ok(folder)
    }

    /// Brings the files of a feature up to date, where nobody has changed them.
    fn update_features(&mut self, item: &Item) -> Result<(), Misfit> {
        for container in self.shelf.ledger.containers_of(&item.external_id.to_lowercase()) {
            let path = format!("{}/{}/FEATURE.md", container.base, container.folder);
            let Some(current) = self.read(&path)? else { continue };
            if ![container.print, container.earlier_print].contains(&text::hash(&current)) {
                continue;
            }
            let created = current.lines().find_map(|line| clock::parse_iso(line.strip_prefix("created: ")?));
            let text =
                feature::text(&container.folder, &Subject::Item(item), created.unwrap_or_else(clock::now));
            if text != current {
                let print = text::hash(&text);
                self.shelf.ledger.intend_container(Container::new(
                    &container.origin,
                    &container.base,
                    &container.folder,
                    print,
                ));
                self.write(&path, text);
            }
        }
        Ok(())
    }

    /// Sees that no folder on the way to a file is a link. They are made when the page is written, not before.
    fn vet(&self, path: &str) -> Result<(), Misfit> {
        let mut at = self.shelf.project.root().to_path_buf();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for part in SPECS.split('/').chain(folder.split('/')) {
            at.push(part);
            match std::fs::symlink_metadata(&at) {
                Ok(facts) if facts.is_dir() => {}
                Ok(_) => {
                    return Err(Misfit(format!("{} is not a folder; links are not followed", at.display())));
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The key of the story that a step belongs to.
    fn story_of(&self, item: &Item) -> Option<String> {
        let parent = item.parent.as_ref()?;
        let key = self.shelf.ledger.resolve(parent.reference())?.to_owned();
        self.shelf.ledger.get(&key).filter(|entry| entry.task == 0).map(|_| key)
    }

    /// Takes the lines of a step out of the stories that it no longer belongs to, whatever a daemon had done of that.
    fn leave_stories(&mut self, item: &Item, stays_in: Option<&str>) -> Result<(), Misfit> {
        let ledger = &self.shelf.ledger;
        let known = [ledger.get(&item.key).cloned(), ledger.before(&item.key).cloned()];
        for entry in known.into_iter().flatten() {
            if entry.task > 0 && stays_in != Some(&entry.parent) {
                self.remove_step(&entry)?;
            }
        }
        Ok(())
    }

    fn place_step(&mut self, item: &Item, begun: Option<Placed>) -> Result<Placed, Misfit> {
        let (Some(story), Some(parent)) = (self.story_of(item), item.parent.as_ref()) else {
            return Ok(Placed::LeftOut);
        };
        let is_removed = item.status == Status::Removed;
        self.leave_stories(item, Some(parent.reference()).filter(|_| !is_removed))?;
        let entry = self.shelf.ledger.get(&item.key).cloned();
        let before = self.shelf.ledger.before(&item.key).cloned();
        if [&entry, &before].into_iter().flatten().any(|entry| entry.task == 0)
            && let Current::There { path, .. } = self.current(&item.key)?
        {
            // It had a file of its own while it belonged to nothing.
            self.writes.files.remove(&path);
            self.writes.gone.push(path);
        }
        let (title, done) = (text::title(&item.title), item.status == Status::Completed);
        let remote = Prints([text::hash(&title), u64::from(done), u64::from(is_removed), 0, 0]);
        // The number of a line that was removed may be another's by now.
        let was_removed = |entry: &Entry| entry.remote.0[2] != 0;
        let known = entry
            .filter(|entry| !was_removed(entry) && entry.task > 0 && *entry.parent == *parent.reference());
        if begun.is_none() && known.as_ref().is_some_and(|entry| entry.remote == remote) {
            return Ok(Placed::Unchanged);
        }
        let Current::There { path, text } = self.current(&story)? else {
            return Err(Misfit(format!("the file of its story {story} is gone")));
        };
        let mut document = Document::parse(&text);
        let number = known.as_ref().map_or_else(|| document.last_task() + 1, |entry| entry.task);
        let placed = begun.unwrap_or(if known.is_some() { Placed::Updated } else { Placed::Created });
        if is_removed {
            self.intend(item, &path, (remote, remote), number, placed);
            return Ok(placed);
        }
        // A line that a person has rewritten keeps its words.
        let title = match (document.task(number), &known) {
            (Some(line), Some(entry)) if text::hash(line) != entry.local.0[0] => line.to_owned(),
            _ => title,
        };
        document.set_task(number, &title, done);
        let local = Prints([text::hash(&title), u64::from(done), 0, 0, 0]);
        self.intend(item, &path, (local, remote), number, placed);
        let new = document.text();
        if new != text {
            self.write(&path, new);
        }
        Ok(placed)
    }

    fn remove_step(&mut self, entry: &Entry) -> Result<(), Misfit> {
        let Some(story) = self.shelf.ledger.resolve(&entry.parent).map(str::to_owned) else { return Ok(()) };
        if let Current::There { path, text } = self.current(&story)? {
            let mut document = Document::parse(&text);
            document.remove_task(entry.task);
            if document.text() != text {
                self.write(&path, document.text());
            }
        }
        Ok(())
    }
}

/// The place of a file that stands there.
fn place_in(path: &str) -> Place {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (base, folder) = folder.rsplit_once('/').unwrap_or(("", folder));
    Place { base: base.to_owned(), folder: folder.to_owned() }
}

/// Whether a file holds what lost of a story.
fn is_beside(conflict: &str, story: &str) -> bool {
    let stem = story.strip_suffix(".md").unwrap_or(story);
    let rest = conflict.strip_prefix(stem).and_then(|rest| rest.strip_suffix(CONFLICT));
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

fn in_folder(path: &str, place: &Place) -> bool {
    path.rsplit_once('/').is_some_and(|(folder, _)| folder == format!("{}/{}", place.base, place.folder))
}

fn file_name(number: u32, item: &Item) -> String {
    match text::slug(&item.title, 50) {
        slug if slug.is_empty() => format!("us-{number:03}e-{}.md", text::slug(&item.external_id, 50)),
        slug => format!("us-{number:03}e-{slug}.md"),
    }
}

/// The address of an issue's repository.
fn repository_url(item: &Item) -> String {
    item.url.rsplit_once("/issues/").map_or("", |(url, _)| url).to_owned()
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
