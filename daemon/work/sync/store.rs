//! What a sync has to know from one time to the next: which story is which item, what both said when they last met, and
//! which items were about to be made. A line each, with a checksum; what announces a request is durable before it is
//! sent.

pub mod file;

use crate::model::merge::Base;
use crate::model::record::{Field, Record};
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
    /// What SpecWeave generates the story as, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Record>,
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
            generated: None,
        }
    }
}

/// A feature and what its stories stand below in the tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupLink {
    /// The item's key, where the group is an item; a milestone is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    pub reference: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// What both sides of a pair say where they contradict each other, until somebody has decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contradiction {
    pub at: Millis,
    /// The fields that both sides changed.
    pub fields: Vec<Field>,
    /// The story's file, from the folder of specs.
    pub path: String,
    /// The item as its tracker shows it.
    pub item: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What both sides said when they last met; absent while they never have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    pub local: Record,
    pub remote: Record,
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
    Group(String, GroupLink),
    /// Both sides contradict each other; the next link of the story says that they do no longer.
    Conflict(String, Box<Contradiction>),
    /// A story has no item any more; this one is not taken for it again.
    Dropped(String, String),
}

/// A file with so many more lines than it needs is rewritten.
const MOST_STALE: usize = 4;

pub struct Store {
    log: Box<dyn Log>,
    pub project: Option<String>,
    links: BTreeMap<String, Link>,
    /// By feature.
    groups: BTreeMap<String, GroupLink>,
    /// By story.
    conflicts: BTreeMap<String, Contradiction>,
    /// Stories, and features with a group, by their item.
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
            groups: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            stories: BTreeMap::new(),
            intents: BTreeMap::new(),
            dropped: BTreeSet::new(),
            created: Vec::new(),
        };
        known.into_iter().for_each(|line| store.apply(line));
        let needed = store.links.len()
            + store.groups.len()
            + store.conflicts.len()
            + store.intents.len()
            + store.dropped.len()
            + 1;
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
                self.conflicts.remove(&story);
                self.dropped.remove(&link.remote);
                if let Some(other) = self.stories.insert(link.remote.clone(), story.clone())
                    && other != story
                {
                    // The story has another name by now.
                    self.links.remove(&other);
                    self.conflicts.remove(&other);
                }
                if let Some(old) = self.links.insert(story, (*link).clone())
                    && old.remote != link.remote
                {
                    self.stories.remove(&old.remote);
                }
            }
            Line::Group(feature, group) => {
                self.intents.remove(&feature);
                if let Some(item) = &group.item {
                    self.dropped.remove(item);
                    self.stories.insert(item.clone(), feature.clone());
                }
                self.groups.insert(feature, group);
            }
            Line::Conflict(story, contradiction) => drop(self.conflicts.insert(story, *contradiction)),
            Line::Dropped(story, remote) => {
                self.links.remove(&story);
                self.conflicts.remove(&story);
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
        let groups = self.groups.iter().map(|(feature, group)| Line::Group(feature.clone(), group.clone()));
        let conflicts = self.conflicts.iter();
        let conflicts = conflicts
            .map(|(story, contradiction)| Line::Conflict(story.clone(), Box::new(contradiction.clone())));
        let all = project.chain(dropped).chain(links).chain(groups).chain(conflicts).chain(intents);
        all.map(|line| content(&line)).collect()
    }

    pub fn set_project(&mut self, project: &str) -> io::Result<()> {
        self.keep(Line::Project(project.to_owned()))
    }

    pub fn link(&self, story: &str) -> Option<&Link> {
        self.links.get(story)
    }

    pub fn links(&self) -> impl Iterator<Item = (&str, &Link)> {
        self.links.iter().map(|(story, link)| (story.as_str(), link))
    }

    pub fn group(&self, feature: &str) -> Option<&GroupLink> {
        self.groups.get(feature)
    }

    /// The contradictions that wait for somebody, by story.
    pub fn conflicts(&self) -> impl Iterator<Item = (&str, &Contradiction)> {
        self.conflicts.iter().map(|(story, contradiction)| (story.as_str(), contradiction))
    }

    pub fn is_in_conflict(&self, story: &str) -> bool {
        self.conflicts.contains_key(story)
    }

    /// The story of an item, or the feature whose group it is.
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
        let is_known = self.links.get(story) == Some(&link);
        if is_known && !self.intents.contains_key(story) && !self.conflicts.contains_key(story) {
            return Ok(());
        }
        self.keep(Line::Link(story.to_owned(), Box::new(link)))
    }

    pub fn set_group(&mut self, feature: &str, group: GroupLink) -> io::Result<()> {
        self.keep(Line::Group(feature.to_owned(), group))
    }

    /// Notes what waits for somebody to decide.
    pub fn contradict(&mut self, story: &str, contradiction: Contradiction) -> io::Result<()> {
        let is_the_same =
            |known: &Contradiction| Contradiction { at: known.at, ..contradiction.clone() } == *known;
        if self.conflicts.get(story).is_some_and(is_the_same) {
            return Ok(());
        }
        self.keep(Line::Conflict(story.to_owned(), Box::new(contradiction)))
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

#[cfg(test)]
mod tests;
