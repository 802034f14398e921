//! Stories and items that are gone on one side, and items that are there twice.

use super::{Ended, Engine, Went, item_link, link_to};
use crate::docs::authored::{self, Authored};
use crate::model::failure::Reason;
use crate::model::story_key::StoryKey;
use crate::trackers::edits::{Category, Change, State};
use crate::work::sync::dialect::{self, Origin};
use crate::work::sync::pace::Write;
use crate::work::sync::plan::Action;
use crate::work::sync::store::Link;

impl Engine<'_> {
    pub(super) fn orphan(&mut self, action: &Action) -> Result<Went, Ended> {
        let story = self.stories.get(&action.story);
        let reference = story.and_then(|story| story.reference.clone());
        let known = self.store.link(&action.story).cloned();
        let remote = reference.clone().unwrap_or_default();
        let mut link = known.unwrap_or_else(|| Link::to(&format!("gone:{remote}")));
        link.orphaned = true;
        link.reference = reference.unwrap_or(link.reference);
        self.store.set(&action.story, link)?;
        let told =
            format!("{}; take the link out of its front matter to have a new item made", action.reason);
        Ok(Went::failed(Reason::NotFound, told))
    }

    pub(super) async fn close(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        self.pace(Write::Change).await?;
        let Some(now) = self.look(item.reference()).await? else {
            self.store.forget(&action.story)?;
            return Ok(Went::Done);
        };
        let dialect = self.dialect();
        // Edit beats delete, also in the last moment.
        if dialect.record(&now, Origin::Authored) != dialect.record(&item, Origin::Authored) {
            let told = format!("{} was changed there at the same time", item.shown);
            return Ok(Went::failed(Reason::Remote, told));
        }
        if dialect::is_open(&now) {
            let change = dialect.to_state(&now, State { category: Category::Cancelled, name: None });
            if let Err(error) = self.written(self.editor.update(&now, &change)).await {
                return self.refused(error);
            }
        }
        self.store.forget(&action.story)?;
        Ok(Went::Done)
    }

    /// Closes an item that was made twice; it says which one counts.
    pub(super) async fn heal(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(twin) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        let kept = self.store.link(&action.story).map(|link| link.reference.clone()).unwrap_or_default();
        let kept = if kept.parse::<u64>().is_ok() { format!("#{kept}") } else { kept };
        self.pace(Write::Change).await?;
        let Some(now) = self.look(twin.reference()).await? else { return Ok(Went::Done) };
        let change = Change {
            body: (!now.body.starts_with("Duplicate of "))
                .then(|| format!("Duplicate of {kept}.\n\n{}", now.body)),
            ..self.dialect().to_state(&now, State { category: Category::Cancelled, name: None })
        };
        match self.written(self.editor.update(&now, &change)).await {
            Ok(_) => Ok(Went::Done),
            Err(error) => self.refused(error),
        }
    }

    /// Writes a story's file again whose item has changed since it went.
    pub(super) fn restore(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        let Some(key) = StoryKey::parse(&action.story) else { return Ok(Went::Done) };
        let record = self.dialect().record(&item, Origin::Authored);
        let word = self.profile.map.local_word(&record.status, "");
        let path = match action.path.as_str() {
            "" => {
                let name = crate::model::text::slug(&record.title, 50);
                format!("{}/{}-{name}.md", key.path(), key.story.to_lowercase())
            }
            path => path.to_owned(),
        };
        let text = authored::restored(key.story, key.feature, &record, &word);
        let linked = Authored::parse(&text).and_then(|parsed| {
            let link = item_link(&item);
            parsed.linked(
                &["external"],
                self.profile.source.platform.word(),
                link.as_object().expect("it was made as one"),
            )
        });
        let text = linked.unwrap_or(text);
        if self.docs.read(&path)?.is_some() || !self.docs.write(&path, None, &text)? {
            return Ok(Went::failed(Reason::Storage, format!("{path} is another file by now")));
        }
        let base = match self.read_story(&path, &text) {
            Ok(Some(story)) => crate::model::merge::Base { local: story.record, remote: record },
            _ => return Ok(Went::failed(Reason::Storage, format!("{path} cannot be read again"))),
        };
        self.store.set(&action.story, link_to(&item, &path, Some(base)))?;
        Ok(Went::Done)
    }
}
