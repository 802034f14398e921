//! The living docs of a project as a sync sees them: stories with front matter, stories that were imported, and what
//! increments are told.

use super::engine::{Docs, Note, StoryFile};
use super::plan::Foreseen;
use crate::docs::front_matter;
use crate::docs::increment::Sources;
use crate::docs::ledger::Placed;
use crate::docs::story;
use crate::docs::writer::{Access, Kept, SPECS, Wins, Writer, WriterError};
use crate::model::failure::Failure;
use crate::model::item::{Item, Platform, number_or_text};
use crate::store::mac::PlaceKey;
use crate::work::config::pretty;
use serde_json::{Map, Value, json};
use specweave_jobs::clock;
use specweave_jobs::project::Project;
use specweave_jobs::{crash, disk};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A story's file is no larger.
const MOST_STORY: u64 = 16 * 1024 * 1024;

/// Files below the folder of specs, at most so deep.
const MOST_DEPTH: usize = 8;

/// Parents above parents; no tracker has more.
const MOST_LEVELS: usize = 16;

pub struct LivingDocs {
    project: Project,
    platform: Platform,
    /// The name of the tracker's project.
    source: String,
    writer: Writer,
    key: PlaceKey,
}

impl LivingDocs {
    pub fn open(
        project: &Project,
        key: &PlaceKey,
        access: Access,
        platform: Platform,
        source: &str,
    ) -> Result<Self, WriterError> {
        let writer = Writer::open(project, key, access)?;
        let (project, source, key) = (project.clone(), source.to_owned(), key.clone());
        Ok(Self { project, platform, source, writer, key })
    }

    fn root(&self) -> PathBuf {
        self.project.root().join(SPECS)
    }

    /// The folder of an increment, if there is one and it is no link.
    fn increment(&self, name: &str) -> Option<PathBuf> {
        let folder = self.project.specweave().join("increments");
        let own = folder.join(name);
        (disk::is_folder(&folder) && disk::is_folder(&own)).then_some(own)
    }

    /// The place of a file, if no folder on the way there is a link.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        if !self.project.is_still_here() {
            return Err(io::Error::other("the project was moved or removed"));
        }
        let mut at = self.project.root().to_path_buf();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for part in SPECS.split('/').chain(folder.split('/')).filter(|part| !part.is_empty()) {
            at.push(part);
            let is_link = disk::facts(&at).is_ok_and(|facts| facts.kind != disk::Kind::Folder);
            if is_link || part == ".." {
                return Err(io::Error::other(format!(
                    "{} is not a folder; links are not followed",
                    at.display()
                )));
            }
        }
        Ok(self.root().join(path))
    }
}

/// Documents whose every use may take a while, for a thread that others need.
pub struct InPlace<D>(pub D);

fn in_place<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

impl<D: Docs> Docs for InPlace<D> {
    fn authored(&mut self) -> io::Result<Vec<StoryFile>> {
        in_place(|| self.0.authored())
    }
    fn read(&mut self, path: &str) -> io::Result<Option<String>> {
        in_place(|| self.0.read(path))
    }
    fn write(&mut self, path: &str, expected: Option<&str>, text: &str) -> io::Result<bool> {
        in_place(|| self.0.write(path, expected, text))
    }
    fn remove(&mut self, path: &str) -> io::Result<()> {
        in_place(|| self.0.remove(path))
    }
    fn note(&mut self, increment: &str, note: &Note) -> io::Result<()> {
        in_place(|| self.0.note(increment, note))
    }
    fn sources(&mut self, increment: &str) -> io::Result<Sources> {
        in_place(|| self.0.sources(increment))
    }
    fn write_sources(&mut self, increment: &str, expected: &Sources, new: &Sources) -> io::Result<()> {
        in_place(|| self.0.write_sources(increment, expected, new))
    }
    fn imported(&mut self, item: &Item) -> io::Result<Option<Kept>> {
        in_place(|| self.0.imported(item))
    }
    fn note_met(&mut self, item: &Item) -> io::Result<()> {
        in_place(|| self.0.note_met(item))
    }
    fn foresee(&mut self, items: &[&Item]) -> io::Result<BTreeMap<String, Foreseen>> {
        in_place(|| self.0.foresee(items))
    }
    fn import(
        &mut self,
        items: &[Item],
        all: &BTreeMap<String, Item>,
        wins: Option<Wins>,
    ) -> io::Result<BTreeMap<String, Failure>> {
        in_place(|| self.0.import(items, all, wins))
    }
}

impl<L: super::store::Log> super::store::Log for InPlace<L> {
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        in_place(|| self.0.read(take))
    }
    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        in_place(|| self.0.look(take))
    }
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        in_place(|| self.0.append(lines))
    }
    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        in_place(|| self.0.replace(lines))
    }
}

fn from_writer(error: WriterError) -> io::Error {
    let WriterError::Io { path, source } = error;
    io::Error::new(source.kind(), format!("{}: {source}", path.display()))
}

impl Docs for LivingDocs {
    fn authored(&mut self) -> io::Result<Vec<StoryFile>> {
        let root = self.root();
        let mut found = Vec::new();
        let mut folders = vec![(root.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            // What cannot be seen is not gone.
            let entries = disk::read_folder(&folder)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
            for (name, kind) in entries {
                let at = folder.join(&name);
                if kind == disk::Kind::Folder && depth < MOST_DEPTH && !name.starts_with(['_', '.']) {
                    folders.push((at.clone(), depth + 1));
                }
                let is_story = name.starts_with("us-") && name.ends_with(".md");
                if kind != disk::Kind::File || !is_story {
                    continue;
                }
                let Some(path) = at.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned) else {
                    continue;
                };
                match self.read(&path) {
                    Ok(Some(text)) if is_authored(&text) => found.push((path, Ok(text))),
                    Ok(_) => {}
                    Err(error) => found.push((path, Err(error.to_string()))),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn read(&mut self, path: &str) -> io::Result<Option<String>> {
        match disk::read_regular(&self.place(path)?, MOST_STORY) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| io::Error::other(format!("{path} is not UTF-8"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        }
    }

    fn write(&mut self, path: &str, expected: Option<&str>, text: &str) -> io::Result<bool> {
        let place = self.place(path)?;
        if let Some(folder) = place.parent() {
            disk::make_folders(folder, 0o777)?;
        }
        let written = replace(&place, expected.map(str::as_bytes), text.as_bytes())?;
        if written {
            crash::point("sync-story-written");
        }
        Ok(written)
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        match disk::remove_file(&self.place(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn note(&mut self, increment: &str, note: &Note) -> io::Result<()> {
        let Some(folder) = self.increment(increment) else { return Ok(()) };
        let path = folder.join("metadata.json");
        // A daemon may have died while it wrote this.
        disk::remove_temporaries(&folder, &["metadata.json"]);
        let bytes = match disk::read_regular(&path, MOST_STORY) {
            Ok(bytes) => bytes,
            // An increment without the file is none of SpecWeave's.
            Err(_) => return Ok(()),
        };
        let Ok(Value::Object(mut metadata)) = serde_json::from_slice(&bytes) else { return Ok(()) };
        let before = metadata.clone();
        noted(&mut metadata, self.platform, note);
        if metadata == before {
            Ok(())
        } else {
            // Where SpecWeave was faster, the next sync tells it.
            replace(&path, Some(&bytes), &pretty(&metadata)).map(drop)
        }
    }

    fn sources(&mut self, increment: &str) -> io::Result<Sources> {
        let Some(folder) = self.increment(increment) else { return Ok(Sources::default()) };
        let read = |name: &str| {
            let bytes = disk::read_regular(&folder.join(name), MOST_STORY).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        };
        Ok(Sources { spec: read(SPEC), tasks: read(TASKS) })
    }

    fn write_sources(&mut self, increment: &str, expected: &Sources, new: &Sources) -> io::Result<()> {
        let Some(folder) = self.increment(increment) else { return Ok(()) };
        disk::remove_temporaries(&folder, &[SPEC, TASKS]);
        for (name, before, text) in [(SPEC, &expected.spec, &new.spec), (TASKS, &expected.tasks, &new.tasks)]
        {
            if before != text {
                replace(&folder.join(name), Some(before.as_bytes()), text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn imported(&mut self, item: &Item) -> io::Result<Option<Kept>> {
        self.writer.story(item).map_err(from_writer)
    }

    fn note_met(&mut self, item: &Item) -> io::Result<()> {
        self.writer.note_met(item).map_err(from_writer)
    }

    fn foresee(&mut self, items: &[&Item]) -> io::Result<BTreeMap<String, Foreseen>> {
        let writer = Writer::open(&self.project, &self.key, Access::Look).map_err(from_writer)?;
        let foreseen = writer.foresee(items, &self.source).into_iter().map(|(key, placed)| {
            let foreseen = match placed {
                Ok(Placed::Created) => Foreseen::New,
                Ok(Placed::Updated) => Foreseen::Changed,
                Ok(Placed::Unchanged | Placed::LeftOut) => Foreseen::Nothing,
                Err(conflict) => Foreseen::Conflict(conflict),
            };
            (key, foreseen)
        });
        Ok(foreseen.collect())
    }

    fn import(
        &mut self,
        items: &[Item],
        all: &BTreeMap<String, Item>,
        wins: Option<Wins>,
    ) -> io::Result<BTreeMap<String, Failure>> {
        let mut parents: Vec<Item> = Vec::new();
        for _ in 0..MOST_LEVELS {
            let unknown = self.writer.unknown_parents(parents.iter().chain(items));
            let named = |item: &&Item| unknown.contains(&item.key) || unknown.contains(&item.external_id);
            let found: Vec<Item> = all.values().filter(named).cloned().collect();
            if unknown.is_empty() || found.is_empty() {
                break;
            }
            parents.extend(found);
        }
        let outcome = self.writer.put_as(&parents, items, &self.source, wins).map_err(from_writer)?;
        self.writer.close().map_err(from_writer)?;
        let by_id: BTreeMap<&str, &str> =
            items.iter().map(|item| (item.external_id.as_str(), item.key.as_str())).collect();
        let failed = outcome
            .failed
            .into_iter()
            .filter_map(|one| by_id.get(one.name.as_str()).map(|key| ((*key).to_owned(), one.failure)));
        Ok(failed.collect())
    }
}

/// Whether a story was written here: it has a front matter, and names no item that it was imported from.
fn is_authored(text: &str) -> bool {
    front_matter::is_there(text) && story::named(text).is_none()
}

/// From which SpecWeave generates stories.
const SPEC: &str = "spec.md";
const TASKS: &str = "tasks.md";

/// Puts `new` in the place of `before`, or of whatever stands there; whether it was still that.
fn replace(path: &Path, before: Option<&[u8]>, new: &[u8]) -> io::Result<bool> {
    let is_same =
        || before.is_none_or(|before| disk::read_regular(path, MOST_STORY).is_ok_and(|now| now == before));
    if !is_same() {
        return Ok(false);
    }
    let fill = |out: &mut dyn io::Write| out.write_all(new);
    // Looked at again just before the name is given: an editor may have saved in between.
    disk::replace_if(path, mode_of(path), fill, |_| Ok(true), is_same)
}

/// The rights that a file has, or is to have.
fn mode_of(path: &Path) -> u32 {
    disk::facts(path).map_or(0o644, |facts| facts.mode)
}

/// Writes into an increment's metadata what SpecWeave looks for there, both the older place and the newer.
fn noted(metadata: &mut Map<String, Value>, platform: Platform, note: &Note) {
    let now = clock::iso(clock::now());
    let links = object(object(metadata, "externalLinks"), platform.word());
    let before = links.clone();
    let group = |links: &mut Map<String, Value>, name: &str, url: Option<&str>| {
        if let Some(group) = &note.group {
            links.insert(name.to_owned(), number_or_text(&group.reference));
            if let Some(url) = url {
                links.insert(url.to_owned(), json!(group.url));
            }
        }
    };
    match platform {
        Platform::GitHub => {
            let issue = json!({
                "issueNumber": number_or_text(&note.reference), "issueUrl": note.url, "status": note.status,
            });
            merge(object(links, "issues"), &note.story, issue);
            group(links, "milestone", None);
        }
        Platform::Jira => {
            let issue = json!({"issueKey": note.reference, "issueUrl": note.url});
            merge(object(links, "userStories"), &note.story, issue);
            group(links, "epicKey", Some("epicUrl"));
        }
        Platform::Ado => {
            let item = json!({"workItemId": number_or_text(&note.reference), "workItemUrl": note.url});
            merge(object(links, "userStories"), &note.story, item);
            group(links, "featureId", Some("featureUrl"));
        }
    }
    if *links == before {
        return;
    }
    links.insert("syncedAt".into(), json!(now));
    if platform == Platform::GitHub {
        let older = object(metadata, "github");
        let issues = older.entry("issues").or_insert_with(|| json!([]));
        if let Some(issues) = issues.as_array_mut()
            && !issues.iter().any(|one| one["userStory"] == note.story.as_str())
        {
            issues.push(json!({
                "userStory": note.story, "number": number_or_text(&note.reference),
                "url": note.url, "createdAt": now,
            }));
        }
        older.insert("lastSync".into(), json!(now));
    }
}

/// Sets these keys of an entry, and leaves its others.
fn merge(entries: &mut Map<String, Value>, name: &str, values: Value) {
    let entry = object(entries, name);
    if let Value::Object(values) = values {
        entry.extend(values);
    }
}

fn object<'a>(map: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(name).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increment_is_told_once_and_keeps_what_is_not_ours() {
        let mut metadata = json!({
            "id": "0001-login", "status": "active", "github": {"milestone": 3},
            "externalLinks": {"jira": {"epicKey": "X-1"}},
        });
        let Value::Object(metadata) = &mut metadata else { unreachable!() };
        let note = Note {
            story: "US-001".into(),
            reference: "12".into(),
            url: "https://github.com/acme/web/issues/12".into(),
            status: "open".into(),
            group: Some(crate::trackers::edits::Group { reference: "3".into(), url: String::new() }),
        };
        noted(metadata, Platform::GitHub, &note);
        assert_eq!(metadata["externalLinks"]["github"]["issues"]["US-001"]["issueNumber"], 12);
        assert_eq!(metadata["github"]["issues"][0]["number"], 12);
        assert_eq!(
            (&metadata["github"]["milestone"], &metadata["externalLinks"]["jira"]["epicKey"]),
            (&json!(3), &json!("X-1"))
        );
        let once = metadata.clone();
        noted(metadata, Platform::GitHub, &note);
        assert_eq!(*metadata, once, "the same again changes nothing, not even a moment");
    }
}
