//! What a sync has to know from one time to the next: which story is which item, what both said when they last met, and
//! which items were about to be made. A line each, with a checksum; what announces a request is durable before it is
//! sent.

use super::merge::Base;
use crate::specs::record::Record;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use specweave_jobs::clock::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Where the lines are kept.
pub trait Log: Send + Sync {
    /// What was kept.
    fn read(&mut self) -> io::Result<Vec<u8>>;
    /// Adds lines; returns once they are durable.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Puts these lines in the place of all that were kept.
    fn replace(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Keeps what could not be read, for a person.
    fn set_aside(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A story and its item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The item's key for ever.
    pub remote: String,
    /// What the tracker calls it now: a number, a key.
    pub reference: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What both sides said when they last met; absent while they never have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What the item was made from, while its base is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<Record>,
    /// The item is gone; the story stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub orphaned: bool,
    /// Whether the story came from the tracker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// The story's file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

impl Link {
    /// A link to an item of which no more is known.
    pub fn to(remote: &str) -> Self {
        Self {
            remote: remote.to_owned(),
            reference: String::new(),
            url: String::new(),
            base: None,
            born: None,
            orphaned: false,
            imported: false,
            path: String::new(),
        }
    }
}

/// An item that was about to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub at: Millis,
    pub record: Record,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Which project this is about, for ever.
    Project(String),
    Intent(String, Intent),
    /// Nothing came of an intent, for sure.
    Refused(String),
    Link(String, Box<Link>),
    /// A story has no item any more; this one is not taken for it again.
    Dropped(String, String),
}

/// A file with so many more lines than it needs is rewritten.
const MOST_STALE: usize = 4;

pub struct Store {
    log: Box<dyn Log>,
    pub project: Option<String>,
    links: BTreeMap<String, Link>,
    /// Stories by their item.
    stories: BTreeMap<String, String>,
    intents: BTreeMap<String, Intent>,
    dropped: BTreeSet<String>,
    /// When items were made, of the last hour's at least.
    pub created: Vec<Millis>,
}

impl Store {
    /// Reads what was kept. A torn end is cut off; what cannot be read is set aside.
    pub fn open(mut log: Box<dyn Log>) -> io::Result<Self> {
        let bytes = log.read()?;
        let mut store = Self {
            log,
            project: None,
            links: BTreeMap::new(),
            stories: BTreeMap::new(),
            intents: BTreeMap::new(),
            dropped: BTreeSet::new(),
            created: Vec::new(),
        };
        let (mut valid, mut lines) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(read) = line.strip_suffix(b"\n").and_then(parse) else { break };
            store.apply(read);
            valid += line.len();
            lines += 1;
        }
        if bytes[valid..].contains(&b'\n') {
            store.log.set_aside(&bytes)?;
        }
        let needed = store.links.len() + store.intents.len() + store.dropped.len() + 1;
        if valid < bytes.len() || lines > MOST_STALE * needed + 100 {
            let kept = store.lines();
            store.log.replace(&kept)?;
        }
        Ok(store)
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Project(project) => self.project = Some(project),
            Line::Intent(story, intent) => {
                self.created.push(intent.at);
                self.intents.insert(story, intent);
            }
            Line::Refused(story) => drop(self.intents.remove(&story)),
            Line::Link(story, link) => {
                self.intents.remove(&story);
                self.dropped.remove(&link.remote);
                if let Some(other) = self.stories.insert(link.remote.clone(), story.clone())
                    && other != story
                {
                    // The story has another name by now.
                    self.links.remove(&other);
                }
                if let Some(old) = self.links.insert(story, (*link).clone())
                    && old.remote != link.remote
                {
                    self.stories.remove(&old.remote);
                }
            }
            Line::Dropped(story, remote) => {
                self.links.remove(&story);
                self.stories.remove(&remote);
                self.dropped.insert(remote);
            }
        }
    }

    fn keep(&mut self, line: Line) -> io::Result<()> {
        self.log.append(&written(&line))?;
        self.apply(line);
        Ok(())
    }

    fn lines(&self) -> Vec<u8> {
        let project = self.project.iter().map(|project| Line::Project(project.clone()));
        let dropped = self.dropped.iter().map(|remote| Line::Dropped(String::new(), remote.clone()));
        let links = self.links.iter().map(|(story, link)| Line::Link(story.clone(), Box::new(link.clone())));
        let intents = self.intents.iter().map(|(story, intent)| Line::Intent(story.clone(), intent.clone()));
        project.chain(dropped).chain(links).chain(intents).flat_map(|line| written(&line)).collect()
    }

    pub fn set_project(&mut self, project: &str) -> io::Result<()> {
        self.keep(Line::Project(project.to_owned()))
    }

    pub fn link(&self, story: &str) -> Option<&Link> {
        self.links.get(story)
    }

    /// The links of stories; those of features' groups are asked for by name.
    pub fn links(&self) -> impl Iterator<Item = (&str, &Link)> {
        self.links
            .iter()
            .map(|(story, link)| (story.as_str(), link))
            .filter(|(story, _)| !story.ends_with("/*"))
    }

    /// The story of an item.
    pub fn story(&self, remote: &str) -> Option<&str> {
        self.stories.get(remote).map(String::as_str)
    }

    pub fn intent(&self, story: &str) -> Option<&Intent> {
        self.intents.get(story)
    }

    /// Whether an item was a story's and is not to be again.
    pub fn is_dropped(&self, remote: &str) -> bool {
        self.dropped.contains(remote)
    }

    pub fn intend(&mut self, story: &str, at: Millis, record: &Record) -> io::Result<()> {
        self.keep(Line::Intent(story.to_owned(), Intent { at, record: record.clone() }))
    }

    pub fn refuse(&mut self, story: &str) -> io::Result<()> {
        self.keep(Line::Refused(story.to_owned()))
    }

    pub fn set(&mut self, story: &str, link: Link) -> io::Result<()> {
        if self.links.get(story) == Some(&link) && !self.intents.contains_key(story) {
            return Ok(());
        }
        self.keep(Line::Link(story.to_owned(), Box::new(link)))
    }

    /// Notes many links at once: durable together.
    pub fn set_all(&mut self, links: Vec<(String, Link)>) -> io::Result<()> {
        let lines: Vec<Line> =
            links.into_iter().map(|(story, link)| Line::Link(story, Box::new(link))).collect();
        let bytes: Vec<u8> = lines.iter().flat_map(written).collect();
        if !bytes.is_empty() {
            self.log.append(&bytes)?;
        }
        lines.into_iter().for_each(|line| self.apply(line));
        Ok(())
    }

    pub fn forget(&mut self, story: &str) -> io::Result<()> {
        match self.links.get(story) {
            Some(link) => self.keep(Line::Dropped(story.to_owned(), link.remote.clone())),
            None => Ok(()),
        }
    }
}

/// A line as it is kept: JSON, so that any tool can read it.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    sum: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    line: &'a RawValue,
}

fn written(line: &Line) -> Vec<u8> {
    let line = serde_json::value::to_raw_value(line).expect("plain data serialises");
    let sum = format!("{:08x}", crc32fast::hash(line.get().as_bytes())).into();
    let mut out = serde_json::to_vec(&Kept { sum, line: &line }).expect("plain data serialises");
    out.push(b'\n');
    out
}

fn parse(line: &[u8]) -> Option<Line> {
    let kept: Kept = serde_json::from_slice(line).ok()?;
    let text = kept.line.get();
    (format!("{:08x}", crc32fast::hash(text.as_bytes())) == kept.sum).then_some(())?;
    serde_json::from_str(text).ok()
}

/// What another log has, and nothing that is added: for looking without leaving a trace.
pub struct Copy<L>(L);

impl<L> Copy<L> {
    pub fn of(log: L) -> Self {
        Self(log)
    }
}

impl<L: Log> Log for Copy<L> {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.0.read()
    }
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn replace(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn set_aside(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// The lines of a project's profile, in a file.
pub mod file {
    use specweave_jobs::{crash, disk};
    use std::fs::{File, OpenOptions};
    use std::io::{self, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    /// A file of more bytes is not read; a hundred thousand stories take less.
    const MOST_BYTES: u64 = 1024 * 1024 * 1024;

    pub struct FileLog {
        path: PathBuf,
        file: Option<File>,
    }

    impl FileLog {
        pub fn new(path: PathBuf) -> Self {
            Self { path, file: None }
        }
    }

    impl super::Log for FileLog {
        fn read(&mut self) -> io::Result<Vec<u8>> {
            match disk::read_regular(&self.path, MOST_BYTES) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                read => read,
            }
        }

        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            if self.file.is_none() {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let mut options = OpenOptions::new();
                self.file =
                    Some(disk::open_unlinked(options.append(true).create(true).mode(0o600), &self.path)?);
                if let Some(folder) = self.path.parent() {
                    disk::sync_folder(folder)?;
                }
            }
            let Some(file) = &mut self.file else { return Err(io::Error::other("the file is not open")) };
            let before = file.metadata()?.len();
            let written = file.write_all(lines).and_then(|()| file.sync_data());
            if written.is_err() {
                // Half a line would hide the ones behind it.
                let _ = file.set_len(before);
            }
            written?;
            crash::point("sync-noted");
            Ok(())
        }

        fn replace(&mut self, lines: &[u8]) -> io::Result<()> {
            self.file = None;
            disk::replace(&self.path, lines, 0o600)
        }

        fn set_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
            disk::replace(&self.path.with_extension("jsonl.corrupt"), bytes, 0o600)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Log for Kept {
        fn read(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.0.lock().unwrap().clone())
        }
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().extend(lines);
            Ok(())
        }
        fn replace(&mut self, lines: &[u8]) -> io::Result<()> {
            *self.0.lock().unwrap() = lines.to_vec();
            Ok(())
        }
        fn set_aside(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_torn_end_leaves_what_was_before_it() {
        let kept = Kept::default();
        let mut store = Store::open(Box::new(kept.clone())).unwrap();
        store.set_project("p").unwrap();
        store.intend("a", 5, &Record::default()).unwrap();
        store.set("a", Link::to("r1")).unwrap();
        store.intend("b", 6, &Record::default()).unwrap();
        let whole = kept.0.lock().unwrap().clone();
        for end in 0..whole.len() {
            let torn = Kept(Arc::new(Mutex::new(whole[..end].to_vec())));
            let mut store = Store::open(Box::new(torn.clone())).unwrap();
            let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!((store.project.is_some(), store.link("a").is_some()), (lines >= 1, lines >= 3));
            assert_eq!(store.intent("a").is_some(), lines == 2);
            store.set("z", Link::to("rz")).unwrap();
            let again = Store::open(Box::new(torn)).unwrap();
            assert!(again.link("z").is_some() && again.link("a").is_some() == (lines >= 3));
        }
    }

    #[test]
    fn a_story_has_one_item_and_an_item_one_story() {
        let mut store = Store::open(Box::new(Kept::default())).unwrap();
        store.set("old/US-1", Link::to("r1")).unwrap();
        store.set("new/US-1", Link::to("r1")).unwrap();
        assert_eq!((store.link("old/US-1"), store.story("r1")), (None, Some("new/US-1")));
        store.set("new/US-1", Link::to("r2")).unwrap();
        assert_eq!((store.story("r1"), store.story("r2")), (None, Some("new/US-1")));
        store.forget("new/US-1").unwrap();
        assert!(store.is_dropped("r2") && store.links().next().is_none());
    }

    #[test]
    fn many_old_lines_are_rewritten_and_mean_the_same() {
        let kept = Kept::default();
        let mut store = Store::open(Box::new(kept.clone())).unwrap();
        for number in 0..600 {
            store.set("a", Link::to(&format!("r{number}"))).unwrap();
        }
        let long = kept.0.lock().unwrap().len();
        let store = Store::open(Box::new(kept.clone())).unwrap();
        assert_eq!(store.link("a").unwrap().remote, "r599");
        assert!(kept.0.lock().unwrap().len() * 50 < long);
    }
}
