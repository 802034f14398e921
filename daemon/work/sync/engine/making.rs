//! What is made in the tracker: announced on the disk, sent once, and looked for where no answer came.

use super::pairs::not_taken;
use super::{Ended, Engine, Went};
use crate::docs::authored::Authored;
use crate::model::failure::Reason;
use crate::model::item::{Item, Platform, number_or_text};
use crate::model::merge;
use crate::model::record::{Field, Record};
use crate::model::story_key::marker;
use crate::trackers::TrackerError;
use crate::trackers::edits::{Group, WriteError};
use crate::work::sync::dialect::Origin;
use crate::work::sync::pace::Write;
use crate::work::sync::plan::{Action, Verb};
use crate::work::sync::store::{GroupLink, Link};
use specweave_jobs::clock::Millis;

impl Engine<'_> {
    /// The group of a feature, found or made.
    pub(super) async fn group_of(&mut self, feature: &str) -> Result<Result<Option<Group>, Went>, Ended> {
        if let Some(known) = self.groups.get(feature) {
            return Ok(Ok(known.clone()));
        }
        let id = feature.rsplit('/').next().unwrap_or(feature).to_owned();
        let group = match self.known_group(feature) {
            Some(group) => Some(group),
            None => match self.make_group(feature, &id).await? {
                Ok(group) => group,
                Err(went) => return Ok(Err(went)),
            },
        };
        if let Some(group) = &group {
            self.link_feature(feature, group)?;
        }
        self.groups.insert(feature.to_owned(), group.clone());
        Ok(Ok(group))
    }

    async fn make_group(&mut self, feature: &str, id: &str) -> Result<Result<Option<Group>, Went>, Ended> {
        let title = self.feature_title(feature)?;
        self.pace(Write::Create).await?;
        match self.written(self.editor.group(id, &title)).await {
            Ok(Some(group)) => {
                // It is found by its name; there is nothing to compare.
                let (reference, url) = (group.reference.clone(), group.url.clone());
                self.store.set_group(feature, GroupLink { item: None, reference, url })?;
                return Ok(Ok(Some(group)));
            }
            Ok(None) => {}
            Err(error) => return self.refused(error).map(Err),
        }
        let marker = marker(feature);
        let mut known = self.items.values().find(|item| item.marker() == Some(marker.as_str())).cloned();
        if known.is_none()
            && let Some(intent) = self.store.intent(feature).cloned()
        {
            self.wait_for_index(intent.at).await?;
            known = self.editor.marked(&marker, intent.at).await?.into_iter().next();
        }
        let item = match known {
            Some(item) => item,
            None => {
                let draft = self.dialect().group_draft(feature, id, &title);
                self.store.intend(feature, self.run.now(), &Record { title, ..Record::default() })?;
                let reference = match self.written(self.editor.create(&draft)).await {
                    Ok(reference) => reference,
                    Err(WriteError::Unknown(TrackerError::Cancelled)) => {
                        return Err(TrackerError::Cancelled.into());
                    }
                    Err(WriteError::Unknown(_)) => return Ok(Err(Went::Unknown)),
                    Err(error) => {
                        self.store.refuse(feature)?;
                        return self.refused(error).map(Err);
                    }
                };
                match self.look(&reference).await? {
                    Some(item) => item,
                    None => return Ok(Err(Went::Unknown)),
                }
            }
        };
        let group = Group { reference: item.reference().to_owned(), url: item.url.clone() };
        let (reference, url) = (group.reference.clone(), group.url.clone());
        self.store.set_group(feature, GroupLink { item: Some(item.key.clone()), reference, url })?;
        self.items.insert(item.key.clone(), item);
        Ok(Ok(Some(group)))
    }

    fn feature_title(&mut self, feature: &str) -> Result<String, Ended> {
        let text = self.docs.read(&format!("{feature}/FEATURE.md"))?.unwrap_or_default();
        let title = Authored::parse(&text).map(|parsed| parsed.record().title.clone()).unwrap_or_default();
        let id = feature.rsplit('/').next().unwrap_or(feature);
        Ok(if title.is_empty() { id.to_owned() } else { title })
    }

    /// Writes the link to its group into a feature's file.
    fn link_feature(&mut self, feature: &str, group: &Group) -> Result<(), Ended> {
        let path = format!("{feature}/FEATURE.md");
        let Some(text) = self.docs.read(&path)? else { return Ok(()) };
        let platform = self.profile.source.platform;
        let kind = match platform {
            Platform::GitHub => "milestone",
            Platform::Jira => "epic",
            Platform::Ado => "feature",
        };
        let link = serde_json::json!({
            "type": kind,
            "id": number_or_text(&group.reference),
            "url": group.url,
        });
        let linked = Authored::parse(&text).and_then(|parsed| {
            parsed.linked(&["external_tools"], platform.word(), link.as_object().expect("it was made as one"))
        });
        match linked {
            Ok(linked) if linked != text => drop(self.docs.write(&path, Some(&text), &linked)?),
            Ok(_) => {}
            Err(error) => self.run.log(&format!("{path} is not linked: {error}")),
        }
        Ok(())
    }

    pub(super) fn known_group(&self, feature: &str) -> Option<Group> {
        let link = self.store.group(feature)?;
        Some(Group { reference: link.reference.clone(), url: link.url.clone() })
    }

    /// Makes the item of a story: announced, sent once, linked.
    pub(super) async fn create(&mut self, key: &str) -> Result<Went, Ended> {
        let Some(story) = self.fresh(key)? else { return Ok(Went::Done) };
        let group = match self.group_of(&story.feature).await? {
            Ok(group) => group,
            Err(Went::Unknown) => {
                let told = "its feature may have been made or not; the next sync finds out";
                return Ok(Went::failed(Reason::Network, told));
            }
            // Its stories do without, and say so.
            Err(Went::Failed(error)) => {
                self.run.log(&format!("{} has no group there: {error}", story.feature));
                self.groups.insert(story.feature.clone(), None);
                None
            }
            Err(went) => return Ok(went),
        };
        let draft = self.dialect().draft(key, &story.record, group);
        self.pace(Write::Create).await?;
        self.store.intend(key, self.run.now(), &story.record)?;
        match self.written(self.editor.create(&draft)).await {
            Ok(reference) => self.born(key, &reference).await,
            // Who kills a job does not wait; the next run finds out.
            Err(WriteError::Unknown(TrackerError::Cancelled)) => Err(TrackerError::Cancelled.into()),
            Err(WriteError::Unknown(error)) => {
                self.run.log(&format!("{key}: {error}; looking for it later"));
                Ok(Went::Unknown)
            }
            Err(error) => {
                self.store.refuse(key)?;
                self.refused(error)
            }
        }
    }

    /// An item has been made: what it is made from is known, and what it says is read.
    async fn born(&mut self, key: &str, reference: &str) -> Result<Went, Ended> {
        let Some(item) = self.look(reference).await? else { return Ok(Went::Unknown) };
        self.adopt(key, item).await
    }

    /// Takes an item that was made for a story as the story's.
    async fn adopt(&mut self, key: &str, item: Item) -> Result<Went, Ended> {
        let born = self.store.intent(key).map(|intent| intent.record.clone());
        let path = self.stories.get(key).map(|story| story.path.clone()).unwrap_or_default();
        let (reference, url) = (item.reference().to_owned(), item.url.clone());
        let link = Link { reference, url, born: born.clone(), path, ..Link::to(&item.key) };
        self.store.set(key, link)?;
        let item_key = item.key.clone();
        let missed = born.map(|born| self.left_out(&born, &item)).unwrap_or_default();
        self.items.insert(item_key.clone(), item.clone());
        match self.sync_pair(key, &item_key, Verb::Create).await? {
            Went::Done if !missed.is_empty() => Ok(not_taken(&item, &missed)),
            went => Ok(went),
        }
    }

    /// What a new item does not have of what it was made from.
    fn left_out(&self, born: &Record, item: &Item) -> Vec<Field> {
        let dialect = self.dialect();
        let (sent, told) = (dialect.echo(born), dialect.record(item, Origin::Authored));
        let mut missed = Vec::new();
        if sent.priority.is_some() && told.priority != sent.priority {
            missed.push(Field::Priority);
        }
        let has = |label: &String| merge::has_label(&told.labels, label);
        if !sent.labels.iter().all(has) {
            missed.push(Field::Labels);
        }
        missed
    }

    /// Looks for what may have been made, and makes it if it was not.
    pub(super) async fn recheck(&mut self, action: &Action) -> Result<Went, Ended> {
        let key = &action.story;
        let Some(intent) = self.store.intent(key).cloned() else {
            return self.act_again(action).await;
        };
        self.wait_for_index(intent.at).await?;
        let marker = marker(key);
        let mut found = self.editor.marked(&marker, intent.at).await?;
        found.sort_by_key(|item| (item.created, item.reference().to_owned()));
        match found.into_iter().find(|item| !self.store.is_dropped(&item.key)) {
            Some(item) if action.verb != Verb::Group => self.adopt(key, item).await,
            Some(item) => {
                self.items.insert(item.key.clone(), item);
                self.act_again(action).await
            }
            None => {
                self.store.refuse(key)?;
                self.act_again(action).await
            }
        }
    }

    async fn act_again(&mut self, action: &Action) -> Result<Went, Ended> {
        match action.verb {
            Verb::Group => Ok(self.group_of(&action.story).await?.map_or_else(|went| went, |_| Went::Done)),
            _ => self.create(&action.story).await,
        }
    }

    /// Until what was made is found by its marker.
    async fn wait_for_index(&self, made: Millis) -> Result<(), Ended> {
        let lag = self.profile.pace(self.editor.pace()).lag;
        let now = self.run.now();
        // A clock that was ahead makes nobody wait for it.
        Ok(self.run.sleep_until((made + lag).min(now + lag)).await?)
    }
}
