//! What a sync has to know from one time to the next: which story is which item, what both said when they last met, and
//! which items were about to be made. A line each, with a checksum; what announces a request is durable before it is
//! sent.

use super::merge::Base;
use crate::model::record::Record;
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Where the lines are kept. Each is a JSON object.
pub trait Log: Send + Sync {
    /// Gives what was kept to `take`, which says whether it makes sense, and is open for more from then on. How many lines
    /// made sense; what follows them is set aside.
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize>;
    /// As [`Self::read`], without a change of what is kept.
    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize>;
    /// Adds lines; returns once they are durable.
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
    /// Puts these lines in the place of all that were kept.
    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
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
    /// Reads what was kept.
    pub fn open(mut log: Box<dyn Log>) -> io::Result<Self> {
        let mut known = Vec::new();
        let count = log.read(&mut |content| match serde_json::from_slice(content) {
            Ok(line) => {
                known.push(line);
                true
            }
            Err(_) => false,
        })?;
        let mut store = Self {
            log,
            project: None,
            links: BTreeMap::new(),
            stories: BTreeMap::new(),
            intents: BTreeMap::new(),
            dropped: BTreeSet::new(),
            created: Vec::new(),
        };
        known.into_iter().for_each(|line| store.apply(line));
        let needed = store.links.len() + store.intents.len() + store.dropped.len() + 1;
        if count > MOST_STALE * needed + 100 {
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
        self.log.append(&[content(&line)])?;
        self.apply(line);
        Ok(())
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        let project = self.project.iter().map(|project| Line::Project(project.clone()));
        let dropped = self.dropped.iter().map(|remote| Line::Dropped(String::new(), remote.clone()));
        let links = self.links.iter().map(|(story, link)| Line::Link(story.clone(), Box::new(link.clone())));
        let intents = self.intents.iter().map(|(story, intent)| Line::Intent(story.clone(), intent.clone()));
        project.chain(dropped).chain(links).chain(intents).map(|line| content(&line)).collect()
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
        if !lines.is_empty() {
            self.log.append(&lines.iter().map(content).collect::<Vec<_>>())?;
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

fn content(line: &Line) -> Vec<u8> {
    serde_json::to_vec(line).expect("plain data serialises")
}

/// What another log has, and nothing that is added: for looking without leaving a trace.
pub struct Copy<L>(L);

impl<L> Copy<L> {
    pub fn of(log: L) -> Self {
        Self(log)
    }
}

impl<L: Log> Log for Copy<L> {
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        self.0.look(take)
    }
    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        self.0.look(take)
    }
    fn append(&mut self, _: &[Vec<u8>]) -> io::Result<()> {
        Ok(())
    }
    fn replace(&mut self, _: &[Vec<u8>]) -> io::Result<()> {
        Ok(())
    }
}

/// The lines of a project's profile, in a file.
pub mod file {
    use crate::store::lines::Lines;
    use crate::store::mac::{FileKey, PlaceKey};
    use specweave_jobs::crash;
    use specweave_jobs::project::Project;
    use std::io;
    use std::path::PathBuf;

    pub struct FileLog {
        path: PathBuf,
        key: FileKey,
        lines: Option<Lines>,
    }

    impl FileLog {
        /// What the syncs of `profile` know.
        pub fn new(project: &Project, key: &PlaceKey, profile: &str) -> Self {
            Self { path: project.sync(profile), key: key.file(&format!("sync/{profile}")), lines: None }
        }

        fn open(&mut self) -> io::Result<&mut Lines> {
            self.lines.as_mut().ok_or_else(|| io::Error::other("it was not read yet"))
        }
    }

    impl super::Log for FileLog {
        fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
            let found = Lines::open_or_create(&self.path, self.key.clone(), take)?;
            self.lines = Some(found.lines);
            Ok(found.count)
        }

        fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
            Lines::look(&self.path, &self.key, take)
        }

        fn append(&mut self, contents: &[Vec<u8>]) -> io::Result<()> {
            let lines = self.open()?;
            contents.iter().try_for_each(|content| lines.append(content))?;
            lines.sync()?;
            crash::point("sync-noted");
            Ok(())
        }

        fn replace(&mut self, contents: &[Vec<u8>]) -> io::Result<()> {
            self.open()?.replace(contents.iter().cloned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Log for Kept {
        fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
            self.look(take)
        }
        fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
            Ok(self.0.lock().unwrap().iter().take_while(|line| take(line)).count())
        }
        fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
            self.0.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }
        fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
            *self.0.lock().unwrap() = lines.to_vec();
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
        for lines in 0..whole.len() {
            let torn = Kept(Arc::new(Mutex::new(whole[..lines].to_vec())));
            let mut store = Store::open(Box::new(torn.clone())).unwrap();
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
