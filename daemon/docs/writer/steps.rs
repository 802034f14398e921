//! Steps of a story: lines with boxes in its file, each with a number that stays.

use crate::docs::ledger::{Entry, Placed};
use crate::docs::story::{Base, Document, Prints};
use crate::docs::writer::page::{Current, Misfit, Page};
use crate::model::item::{Item, Status};
use crate::model::text;

impl Page<'_> {
    /// The key of the story that a step belongs to.
    pub(super) fn story_of(&self, item: &Item) -> Option<String> {
        let parent = item.parent.as_ref()?;
        let key = self.writer.ledger.resolve(parent.reference())?.to_owned();
        self.writer.ledger.get(&key).filter(|entry| entry.task == 0).map(|_| key)
    }

    /// Takes the lines of a step out of the stories that it no longer belongs to, whatever a daemon had done of that.
    pub(super) fn leave_stories(&mut self, item: &Item, stays_in: Option<&str>) -> Result<(), Misfit> {
        let ledger = &self.writer.ledger;
        let known = [ledger.get(&item.key).cloned(), ledger.before(&item.key).cloned()];
        for entry in known.into_iter().flatten() {
            if entry.task > 0 && stays_in != Some(&entry.parent) {
                self.remove_step(&entry)?;
            }
        }
        Ok(())
    }

    pub(super) fn place_step(&mut self, item: &Item, begun: Option<Placed>) -> Result<Placed, Misfit> {
        let (Some(story), Some(parent)) = (self.story_of(item), item.parent.as_ref()) else {
            return Ok(Placed::LeftOut);
        };
        let is_removed = item.status == Status::Removed;
        self.leave_stories(item, Some(parent.reference()).filter(|_| !is_removed))?;
        let entry = self.writer.ledger.get(&item.key).cloned();
        let before = self.writer.ledger.before(&item.key).cloned();
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
            let base = Base { local: remote, written: remote, remote, ..Base::default() };
            self.intend(item, &path, base, number, placed);
            return Ok(placed);
        }
        // A line that a person has rewritten keeps its words.
        let title = match (document.task(number), &known) {
            (Some(line), Some(entry)) if text::hash(line) != entry.local.0[0] => line.to_owned(),
            _ => title,
        };
        document.set_task(number, &title, done);
        let local = Prints([text::hash(&title), u64::from(done), 0, 0, 0]);
        self.intend(item, &path, Base { local, written: local, remote, ..Base::default() }, number, placed);
        let new = document.text();
        if new != text {
            self.write(&path, new);
        }
        Ok(placed)
    }

    pub(super) fn remove_step(&mut self, entry: &Entry) -> Result<(), Misfit> {
        let Some(story) = self.writer.ledger.resolve(&entry.parent).map(str::to_owned) else { return Ok(()) };
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
