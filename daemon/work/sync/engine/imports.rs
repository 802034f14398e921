//! Stories that came from the tracker: what may be changed from here is pushed, then they are imported as they are.

use super::pairs::{Written, not_taken};
use super::{Ended, Engine, MOST_TRIES, Went, link_to};
use crate::docs::story::{self, Document};
use crate::docs::writer::Wins;
use crate::job::order::OnConflict;
use crate::model::conflict::DECIDE;
use crate::model::failure::{Failure, Reason};
use crate::model::item::Item;
use crate::model::merge::{Outcome, Side};
use crate::model::record::{Field, Record};
use crate::trackers::edits::WriteError;
use crate::work::sync::dialect::Origin;
use crate::work::sync::pace::Write;
use crate::work::sync::plan::{self, Action, Verb};
use crate::work::sync::store::Link;
use specweave_jobs::text::{counted, shell_word};

impl Engine<'_> {
    /// Whether an action only brings what the tracker says into its file.
    pub(super) fn is_plain_import(&self, action: &Action) -> bool {
        action.origin == Origin::Imported
            && matches!(action.verb, Verb::Import | Verb::Pull)
            && !action.fields.contains(&Field::Boxes)
            && self.store.link(&action.story).is_none()
    }

    pub(super) async fn import(&mut self, actions: Vec<Action>) -> Result<(), Ended> {
        let items: Vec<Item> =
            actions.iter().filter_map(|action| self.items.get(action.item.as_ref()?)).cloned().collect();
        let failed = self.docs.import(&items, &self.items, None)?;
        let (mut done, mut wrong) = (Vec::new(), Vec::new());
        for action in &actions {
            match action.item.as_ref().and_then(|key| failed.get(key)) {
                None => done.push(action.name()),
                Some(failure) => wrong.push((action, failure.clone())),
            }
        }
        self.run.log(&format!("[import] {}", counted(done.len() as u64, "item", "items")));
        self.run.done(&done).await?;
        for (action, failure) in wrong {
            self.tell(action, Went::Failed(failure)).await?;
        }
        Ok(())
    }

    /// A story that came from the tracker: what may be changed from here is pushed first, then it is imported as it is.
    pub(super) async fn sync_imported(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(key) = action.item.clone() else { return Ok(Went::Done) };
        let rules = self.profile.rules(Origin::Imported);
        let dialect = self.dialect();
        let mut is_fresh = false;
        for _ in 0..MOST_TRIES {
            let Some(item) = self.items.get(&key).cloned() else { return Ok(Went::Done) };
            let Some(here) = self.docs.imported(&item)? else {
                return self.import_one(&item, None).map(|failed| failed.map_or(Went::Done, Went::Failed));
            };
            let conflicts = plan::contradictions_of_imported(&dialect, &here, &item, &rules);
            let decided = match self.profile.on_conflict {
                OnConflict::File => {
                    let error = "an imported story has nothing to take from the conflict's file: edit the story, then --use local";
                    return Ok(Went::failed(Reason::InvalidInput, error));
                }
                OnConflict::Manual if conflicts.is_empty() => None,
                OnConflict::Manual => return self.show_imported(&action.story, &item, &conflicts),
                _ if conflicts.is_empty() && here.waits.is_none() => None,
                // Where the file that waits does not say over what is decided, it is over all that differs.
                OnConflict::Local | OnConflict::Remote if conflicts.is_empty() => {
                    Some(story::differing(&here.record, &story::said(&item)))
                }
                OnConflict::Local | OnConflict::Remote => Some(conflicts),
            };
            let right =
                if self.profile.on_conflict == OnConflict::Remote { Side::Remote } else { Side::Local };
            let over = decided.as_ref().map(|fields| (fields.as_slice(), right));
            let mut out = plan::decide_imported(&dialect, &here, &item, &rules, over);
            let wins = decided.map(|fields| Wins(if right == Side::Remote { fields } else { Vec::new() }));
            if !out.pushed.is_empty() {
                if wins.is_none()
                    && let Some(waits) = &here.waits
                {
                    let told = format!("{} waits for a decision first: {DECIDE}", waits.file);
                    return Ok(Went::failed(Reason::Conflict, told));
                }
                match self.push_imported(action, &item, &mut out, &mut is_fresh).await? {
                    Written::Done => {}
                    Written::Again => continue,
                    Written::Failed(went) => return Ok(went),
                }
            }
            if out.pulled.contains(&Field::Boxes) {
                let mut document = Document::parse(&here.text);
                document.set_marks(&Record { boxes: out.local.boxes.clone(), ..story::said(&item) });
                let text = document.text();
                if text != here.text && !self.docs.write(&here.path, Some(&here.text), &text)? {
                    continue;
                }
            }
            let item = self.items.get(&key).cloned().unwrap_or(item);
            if !self.profile.may_import() {
                self.docs.note_met(&item)?;
            } else if let Some(failure) = self.import_one(&item, wins)? {
                return Ok(Went::Failed(failure));
            }
            // What was imported is what both sides say now.
            self.store.set(&action.story, Link { imported: true, ..link_to(&item, &here.path, None) })?;
            return Ok(Went::Done);
        }
        Ok(Went::failed(Reason::Remote, "it was changed at the same time, again and again"))
    }

    /// Leaves a contradiction to a person: the import shows it beside the file, which goes on following its item in all other
    /// fields.
    fn show_imported(&mut self, story: &str, item: &Item, fields: &[Field]) -> Result<Went, Ended> {
        let told = format!(
            "conflict: {} changed here and in {}: specweave-jobs resolve {} --use local|remote",
            plan::names(fields),
            item.shown,
            shell_word(story)
        );
        let told = Failure::new(Reason::Conflict, told);
        Ok(Went::Failed(self.import_one(item, None)?.unwrap_or(told)))
    }

    /// Sends what was changed here, unless the item has changed since it was decided over.
    async fn push_imported(
        &mut self,
        action: &Action,
        item: &Item,
        out: &mut Outcome,
        is_fresh: &mut bool,
    ) -> Result<Written, Ended> {
        let dialect = self.dialect();
        self.pace(Write::Change).await?;
        if !*is_fresh {
            let Some(now) = self.look(item.reference()).await? else {
                let told = format!("{} is gone in the tracker", item.shown);
                return Ok(Written::Failed(Went::failed(Reason::NotFound, told)));
            };
            *is_fresh = true;
            let changed = dialect.record(&now, Origin::Imported) != dialect.record(item, Origin::Imported);
            self.items.insert(item.key.clone(), now);
            if changed {
                return Ok(Written::Again);
            }
        }
        let item = self.items.get(&item.key).cloned().unwrap_or_else(|| item.clone());
        let change = dialect.change(&action.story, &item, &out.remote, &out.pushed, Origin::Imported);
        match self.written(self.editor.update(&item, &change)).await {
            Ok(updated) => {
                self.took_state(out, updated.state);
                let missed = self.not_taken(out, updated.item, Origin::Imported);
                if !missed.is_empty() {
                    return Ok(Written::Failed(not_taken(&item, &missed)));
                }
            }
            Err(WriteError::Changed) => {
                *is_fresh = false;
                self.reread(&item).await?;
                return Ok(Written::Again);
            }
            Err(error) => return self.refused(error).map(Written::Failed),
        }
        self.reread(&item).await?;
        Ok(Written::Done)
    }

    fn import_one(&mut self, item: &Item, wins: Option<Wins>) -> Result<Option<Failure>, Ended> {
        let failed = self.docs.import(std::slice::from_ref(item), &self.items, wins)?;
        Ok(failed.into_values().next())
    }
}
