//! What was written from where: a line for each file that an import has made or changed, so that an item finds its
//! file again whatever it is called by now, and a person's edit is told from the tracker's. Appended before the files
//! are written, and closed once they are on the disk; a line that was never closed is an intent, and both what was
//! before it and what it wanted count as ours.

use crate::docs::story::{Base, Marks, Prints};
use crate::store::lines::Lines;
use crate::store::mac::PlaceKey;
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::crash;
use std::collections::HashMap;
use std::io;
use std::path::{Component, Path};

/// A ledger with so many times more lines than entries is rewritten when it is opened.
const MOST_STALE: usize = 3;

/// One item that has a file, or a line in its parent's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "x")]
    pub external_id: Box<str>,
    /// Its file, from the folder of specs; of a step, its story's is found by [`Self::parent`].
    #[serde(rename = "p")]
    pub path: Box<str>,
    /// Its parent's key, or its external id where the tracker tells no more.
    #[serde(rename = "a", default, skip_serializing_if = "str_is_empty")]
    pub parent: Box<str>,
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub is_feature: bool,
    /// The number of a step in its story; 0 for what has a file.
    #[serde(rename = "t", default, skip_serializing_if = "is_zero")]
    pub task: u32,
    /// What it counted as when it was written.
    #[serde(rename = "n")]
    pub placed: Placed,
    #[serde(rename = "u")]
    pub updated: Millis,
    /// What it said in its file, and in the tracker.
    #[serde(rename = "l")]
    pub local: Prints,
    #[serde(rename = "r")]
    pub remote: Prints,
    /// What was last written into the file, where that is something else: a person's words are in it.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Box<Prints>>,
    /// What was checked in the tracker.
    #[serde(rename = "m", default, skip_serializing_if = "Marks::is_empty")]
    pub marks: Marks,
}

/// What an import does to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placed {
    Created,
    Updated,
    Unchanged,
    LeftOut,
}

impl Container {
    pub fn new(origin: &str, base: &str, folder: &str, print: u64) -> Self {
        let (origin, base, folder) = (origin.to_owned(), base.to_owned(), folder.to_owned());
        Self { origin, base, folder, print, earlier_print: 0 }
    }
}

fn str_is_empty(text: &str) -> bool {
    text.is_empty()
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Entry {
    pub fn base(&self) -> Base {
        let written = self.written.as_deref().copied().unwrap_or(self.local);
        Base { local: self.local, written, remote: self.remote, marks: self.marks.clone() }
    }
}

/// A folder that stands for an origin, for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// What it stands for, in lower case: an external id, or `owner/name`.
    pub origin: String,
    /// The folder that its own lies in, from the folder of specs.
    pub base: String,
    pub folder: String,
    /// The hash of its `FEATURE.md` as it was last written; 0 when another tool wrote it.
    #[serde(default)]
    pub print: u64,
    /// The hash before that: a daemon may have died between this line and the file.
    #[serde(default)]
    pub earlier_print: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The key of an item, and what is written for it.
    Item(Box<str>, Entry),
    Container(Container),
    /// What was intended for these keys is on the disk.
    Closed(Vec<Box<str>>),
}

#[derive(Clone, Debug)]
struct Known {
    entry: Entry,
    /// What it was before an intent that was never closed.
    before: Option<Box<Entry>>,
    open: bool,
}

/// What a ledger is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To show what would be done; nothing is written.
    Look,
    Write,
}

#[derive(Default)]
pub struct Ledger {
    /// Absent while it is only looked at.
    lines: Option<Lines>,
    items: HashMap<Box<str>, Known>,
    /// Keys by external id, in lower case.
    by_external_id: HashMap<Box<str>, Box<str>>,
    containers: HashMap<(String, String), Container>,
    /// Lines that wait to be written.
    pending: Vec<Vec<u8>>,
    /// Keys that were intended since it was opened, and are not closed. An intent that somebody else left open stays so
    /// until it is intended again.
    open: Vec<Box<str>>,
}

impl Ledger {
    /// Reads the ledger at `path`. What this user's daemon did not write in this place is not believed.
    pub fn open(path: &Path, key: &PlaceKey, access: Access) -> io::Result<Self> {
        let key = key.file(FILE);
        let mut ledger = Self::default();
        let take = |content: &[u8]| match serde_json::from_slice::<Line>(content) {
            Ok(line) if line.stays_inside() => {
                ledger.apply(line);
                true
            }
            _ => false,
        };
        let count = match access {
            Access::Look => Lines::look(path, &key, take)?,
            Access::Write => {
                let found = Lines::open_or_create(path, key, take)?;
                ledger.lines = Some(found.lines);
                found.count
            }
        };
        ledger.open.clear();
        // What was never closed stays open: its files may be there or not.
        let all_closed = ledger.items.values().all(|known| !known.open);
        if count > MOST_STALE * (ledger.items.len() + ledger.containers.len()) + 100 && all_closed {
            ledger.rewrite()?;
        }
        Ok(ledger)
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Item(key, entry) => self.put(key, entry),
            Line::Container(container) => {
                self.containers.insert((container.origin.clone(), container.base.clone()), container);
            }
            Line::Closed(keys) => {
                for key in keys {
                    if let Some(known) = self.items.get_mut(&key) {
                        (known.before, known.open) = (None, false);
                    }
                }
            }
        }
    }

    fn put(&mut self, key: Box<str>, entry: Entry) {
        self.by_external_id.insert(entry.external_id.to_lowercase().into(), key.clone());
        let before = self
            .items
            .remove(&key)
            .and_then(|known| if known.open { known.before } else { Some(Box::new(known.entry)) });
        if !self.open.contains(&key) {
            self.open.push(key.clone());
        }
        self.items.insert(key, Known { entry, before, open: true });
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.items.get(key).map(|known| &known.entry)
    }

    /// What an item's sides may have been when they last met: what is known for sure first.
    pub fn bases(&self, key: &str) -> Vec<Base> {
        match self.items.get(key) {
            None => Vec::new(),
            Some(Known { entry, before: Some(before), .. }) => vec![before.base(), entry.base()],
            Some(Known { entry, .. }) => vec![entry.base()],
        }
    }

    /// What an item was before an intent that is not closed.
    pub fn before(&self, key: &str) -> Option<&Entry> {
        self.items.get(key)?.before.as_deref()
    }

    /// Where the file of an intent lay before it.
    pub fn earlier_path(&self, key: &str) -> Option<&str> {
        self.before(key).filter(|before| before.task == 0).map(|before| &*before.path)
    }

    /// Whether what is known of an item is on the disk for sure.
    pub fn is_closed(&self, key: &str) -> bool {
        self.items.get(key).is_some_and(|known| !known.open)
    }

    /// The key of the item that a key or an external id means.
    pub fn resolve<'a>(&'a self, reference: &'a str) -> Option<&'a str> {
        match self.get(reference) {
            Some(_) => Some(reference),
            None => self.key_of(reference),
        }
    }

    /// The key of the item that is known by an external id.
    pub fn key_of(&self, external_id: &str) -> Option<&str> {
        self.by_external_id.get(external_id.to_lowercase().as_str()).map(|key| &**key)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.items.values().filter(|known| known.entry.task == 0);
        files.flat_map(|known| {
            let before = known.before.as_ref().map(|before| &*before.path);
            std::iter::once(&*known.entry.path).chain(before)
        })
    }

    pub fn container(&self, origin: &str, base: &str) -> Option<&Container> {
        self.containers.get(&(origin.to_owned(), base.to_owned()))
    }

    /// The folders of one base.
    pub fn folders_in<'a>(&'a self, base: &'a str) -> impl Iterator<Item = &'a str> {
        self.containers
            .values()
            .filter(move |container| container.base == base)
            .map(|container| &*container.folder)
    }

    /// The folders that stand for one origin, in whatever base.
    pub fn containers_of(&self, origin: &str) -> Vec<Container> {
        self.containers.values().filter(|container| container.origin == origin).cloned().collect()
    }

    /// Notes what is about to be written for an item.
    pub fn intend(&mut self, key: &str, entry: Entry) {
        self.note(&Line::Item(key.into(), entry.clone()));
        self.put(key.into(), entry);
    }

    pub fn intend_container(&mut self, mut container: Container) {
        let known = self.container(&container.origin, &container.base);
        container.earlier_print = known.map_or(0, |known| known.print);
        self.note(&Line::Container(container.clone()));
        self.apply(Line::Container(container));
    }

    fn note(&mut self, line: &Line) {
        self.pending.push(content(line));
    }

    /// Makes the intents durable; the files may be written now.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let lines = self.lines.as_mut().ok_or_else(not_open)?;
        while let Some(first) = self.pending.first() {
            lines.append(first)?;
            self.pending.remove(0);
        }
        lines.sync()?;
        crash::point("ledger-synced");
        Ok(())
    }

    /// Says that the files are on the disk. It is durable with the next sync, and harmless when it is lost.
    pub fn close(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let closed = Line::Closed(std::mem::take(&mut self.open));
        self.lines.as_mut().ok_or_else(not_open)?.append(&content(&closed))?;
        self.apply(closed);
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let containers = self.containers.values().map(|container| Line::Container(container.clone()));
        let items = self.items.iter().map(|(key, known)| Line::Item(key.clone(), known.entry.clone()));
        let closed = Line::Closed(self.items.keys().cloned().collect());
        lines.replace(containers.chain(items).chain([closed]).map(|line| content(&line)))
    }
}

/// What the ledger is called where its key is made.
const FILE: &str = "imports";

fn not_open() -> io::Error {
    io::Error::other("the ledger was opened to look, not to write")
}

fn content(line: &Line) -> Vec<u8> {
    serde_json::to_vec(line).expect("plain data serialises")
}

impl Line {
    /// Whether every place that it names lies below the folder of specs.
    fn stays_inside(&self) -> bool {
        match self {
            Self::Item(_, entry) => is_inside(&entry.path),
            Self::Container(container) => {
                (container.base.is_empty() || is_inside(&container.base)) && is_inside(&container.folder)
            }
            Self::Closed(_) => true,
        }
    }
}

fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use specweave_jobs::disk;
    use std::path::PathBuf;

    fn opened(path: &Path) -> Ledger {
        Ledger::open(path, &PlaceKey::of_test(), Access::Write).unwrap()
    }

    fn entry(path: &str, print: u64) -> Entry {
        Entry {
            external_id: "ADO-1".into(),
            path: path.into(),
            parent: "".into(),
            is_feature: false,
            task: 0,
            placed: Placed::Created,
            updated: 0,
            local: Prints([print; 5]),
            written: None,
            remote: Prints([print; 5]),
            marks: Marks::default(),
        }
    }

    fn file() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ledger-{:x}", disk::random()));
        std::fs::create_dir(&folder).unwrap();
        folder.join("ledger.jsonl")
    }

    #[test]
    fn an_intent_that_was_not_closed_counts_beside_what_was_before() {
        let path = file();
        let mut ledger = opened(&path);
        ledger.intend("k", entry("a.md", 1));
        ledger.sync().unwrap();
        assert!(!ledger.is_closed("k"));
        ledger.close().unwrap();
        ledger.intend("k", entry("b.md", 2));
        ledger.sync().unwrap();
        ledger.intend("k", entry("c.md", 3));
        ledger.sync().unwrap();

        let mut again = opened(&path);
        assert_eq!(again.bases("k").iter().map(|base| base.local.0[0]).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((again.earlier_path("k"), again.is_closed("k")), (Some("a.md"), false));
        again.intend("other", entry("o.md", 9));
        again.sync().unwrap();
        again.close().unwrap();
        let mut again = opened(&path);
        assert!(!again.is_closed("k") && again.is_closed("other"), "nobody closes what another began");
        again.intend("k", entry("c.md", 3));
        again.sync().unwrap();
        again.close().unwrap();
        let closed = opened(&path);
        assert_eq!(closed.bases("k").len(), 1);
        assert_eq!(closed.key_of("ado-1"), Some("k"));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let path = file();
        let mut ledger = opened(&path);
        for number in 0..3 {
            ledger.intend(&format!("k{number}"), entry("a.md", number));
        }
        ledger.sync().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let mut torn = opened(&path);
            let whole = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(torn.items.len(), whole);
            torn.intend("new", entry("n.md", 9));
            torn.sync().unwrap();
            assert_eq!(opened(&path).items.len(), whole + 1);
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_ledger_of_many_old_lines_is_rewritten() {
        let path = file();
        let mut ledger = opened(&path);
        for number in 0..500 {
            ledger.intend("k", entry("a.md", number));
            ledger.sync().unwrap();
            ledger.close().unwrap();
        }
        let long = std::fs::metadata(&path).unwrap().len();
        let ledger = opened(&path);
        assert_eq!(ledger.bases("k")[0].local.0[0], 499);
        assert!(std::fs::metadata(&path).unwrap().len() * 100 < long);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
