//! Both sides as they are: the tracker's items, the stories, and what is certain about those that are missing.

use super::{Docs, Ended, Engine};
use crate::docs::authored::Authored;
use crate::model::item::{Item, Kind};
use crate::trackers::{Position, TrackerError, Window};
use crate::work::sync::plan::{self, Guard, Story};
use crate::work::sync::store::Link;
use std::collections::BTreeSet;

impl Engine<'_> {
    pub(super) async fn check_project(&mut self) -> Result<(), Ended> {
        let is = self.editor.identity().await?;
        match &self.store.project {
            Some(was) if *was != is => Err(Ended::OtherProject { was: was.clone(), is }),
            Some(_) => Ok(()),
            None => Ok(self.store.set_project(&is)?),
        }
    }

    pub(super) async fn read_items(&mut self) -> Result<(), Ended> {
        let mut at = self.editor.first(&Window::default());
        loop {
            let page = self.editor.page(&at).await?;
            for note in &page.notes {
                self.run.log(note);
            }
            for read in page.items {
                match read {
                    // What was made from a story and is deleted is gone; of what was imported, its file is told.
                    Ok(item)
                        if item.is_deleted() && (item.marker().is_some() || self.is_authored(&item.key)) => {}
                    // Of an item that is seen twice, the last is what it is now.
                    Ok(item) => drop(self.items.insert(item.key.clone(), item)),
                    Err((name, error)) => self.run.log(&format!("{name}: {error}")),
                }
            }
            match page.next {
                Position::At(next) => at = next,
                Position::End(_) => return Ok(()),
            }
        }
    }

    /// Whether an item is that of a story which was written here.
    fn is_authored(&self, key: &str) -> bool {
        self.store.story(key).and_then(|story| self.store.link(story)).is_some_and(|link| !link.imported)
    }

    pub(super) fn read_stories(&mut self) -> Result<(), Ended> {
        let files = self.docs.authored()?;
        for (path, text) in files {
            match text.and_then(|text| self.read_story(&path, &text)) {
                Ok(Some(story)) => {
                    if let Some(other) = self.stories.get(&story.key) {
                        let error = format!("{} and {path} have the same id", other.path);
                        self.broken.insert(path, error);
                        continue;
                    }
                    self.stories.insert(story.key.clone(), story);
                }
                Ok(None) => {}
                Err(error) => drop(self.broken.insert(path, error)),
            }
        }
        Ok(())
    }

    /// The story of a file, if it is this profile's.
    pub(super) fn read_story(&self, path: &str, text: &str) -> Result<Option<Story>, String> {
        let parsed = Authored::parse(text).map_err(|error| error.to_string())?;
        let id = parsed.id().map_err(|error| error.to_string())?;
        let feature = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let project = match parsed.meta.get("project").and_then(serde_json::Value::as_str) {
            Some(project) => project.to_owned(),
            None => feature.split('/').next().unwrap_or("").to_owned(),
        };
        let provider = parsed.meta.get("external_provider").and_then(serde_json::Value::as_str).unwrap_or("");
        if !self.profile.takes(&project, provider) {
            return Ok(None);
        }
        let mut record = parsed.record().clone();
        if record.title.is_empty() {
            return Err("it has no title".into());
        }
        record.status = self.profile.map.of_local(&record.status);
        let word = self.profile.source.platform.word();
        let (key, reference) = (format!("{feature}/{id}"), parsed.link(word));
        // An item of another project is another profile's, unless this one has linked it when the project had another name.
        let elsewhere = parsed.link_address(word).and_then(|address| url::Url::parse(&address).ok());
        let is_ours = |link: &Link| Some(&link.reference) == reference.as_ref();
        if elsewhere.is_some_and(|address| !self.editor.owns(&address))
            && !self.store.link(&key).is_some_and(is_ours)
        {
            return Ok(None);
        }
        Ok(Some(Story {
            key,
            path: path.to_owned(),
            reference,
            record,
            feature,
            print: crate::model::text::hash(text),
            is_generated: parsed.is_generated(),
        }))
    }

    /// What the listing did not have is asked for by itself: an index may be behind, and gone is gone for sure.
    /// An item as it is now, if it still is one of this project under that name.
    pub(super) async fn look(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        Ok(self.editor.current(reference).await?.filter(|item| self.is_here(item, reference)))
    }

    fn is_here(&self, item: &Item, reference: &str) -> bool {
        let is_here = url::Url::parse(&item.url).is_ok_and(|address| self.editor.owns(&address));
        is_here && item.reference() == reference
    }

    pub(super) async fn look_for_missing(&mut self) -> Result<(), Ended> {
        let known: BTreeSet<&str> = self.items.values().map(Item::reference).collect();
        let named = self.stories.values().filter_map(|story| story.reference.clone());
        let linked =
            self.store.links().filter(|(_, link)| !link.orphaned && !self.items.contains_key(&link.remote));
        let mut missing: BTreeSet<String> =
            named.filter(|reference| !known.contains(reference.as_str())).collect();
        missing.extend(linked.map(|(_, link)| link.reference.clone()));
        if !self.force_deletes && self.items.is_empty() && missing.len() > 1 {
            // Nobody asks for each item of a project that has none.
            return Err(Ended::Guard(Guard::NothingThere(missing.len())));
        }
        for reference in missing {
            match self.editor.current(&reference).await {
                Ok(Some(item)) if self.is_here(&item, &reference) => {
                    drop(self.items.insert(item.key.clone(), item))
                }
                Ok(moved) => {
                    // A tracker that follows says where it went.
                    if let Some(item) = moved {
                        self.moved.insert(reference.clone(), format!("{} ({})", item.shown, item.url));
                    }
                    let links = self.store.links().filter(|(_, link)| link.reference == reference);
                    self.gone.extend(links.map(|(_, link)| link.remote.clone()));
                    self.dead.insert(reference);
                }
                // It is there, and what it says is not understood.
                Err(TrackerError::Malformed { what, cause }) => self.run.log(&format!("{what}: {cause}")),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn foresee(&mut self) -> Result<(), Ended> {
        // Which items are stories' own depends on neither groups nor what could not be read.
        let none = BTreeSet::new();
        let view = self.view(&none, &none);
        let taken: BTreeSet<String> = plan::pair(&view).taken.into_iter().map(str::to_owned).collect();
        let theirs: Vec<&Item> =
            self.items.iter().filter(|(key, _)| !taken.contains(*key)).map(|(_, item)| item).collect();
        for item in theirs.iter().filter(|item| item.kind != Kind::Step) {
            if let Some(here) = self.docs.imported(item)? {
                self.imported.insert(item.key.clone(), here);
            }
        }
        if self.profile.may_import() {
            self.foreseen = self.docs.foresee(&theirs)?;
        }
        Ok(())
    }

    /// Linked stories that are not among those that were read, and whose files are there.
    pub(super) fn unread(&mut self) -> Result<BTreeSet<String>, Ended> {
        let lost =
            self.store.links().filter(|(key, link)| !link.imported && !self.stories.contains_key(*key));
        let lost: Vec<(String, String)> =
            lost.map(|(key, link)| (key.to_owned(), link.path.clone())).collect();
        // One that cannot be read is there, too.
        let there =
            |docs: &mut dyn Docs, path: &str| !path.is_empty() && !matches!(docs.read(path), Ok(None));
        Ok(lost.into_iter().filter(|(_, path)| there(self.docs, path)).map(|(key, _)| key).collect())
    }

    /// Features whose group is linked already.
    pub(super) fn known_groups(&self) -> BTreeSet<String> {
        let features: BTreeSet<&String> = self.stories.values().map(|story| &story.feature).collect();
        features.into_iter().filter(|feature| self.store.group(feature).is_some()).cloned().collect()
    }
}
