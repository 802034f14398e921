//! Stories that came from the tracker: what may be changed from here is pushed, then they are imported as they are.

use super::pairs::{Written, not_taken};
use super::{Ended, Engine, MOST_TRIES, Went, link_to};
use crate::docs::story;
use crate::docs::writer::Wins;
use crate::job::order::OnConflict;
use crate::model::failure::{Failure, Reason};
use crate::model::item::Item;
use crate::model::record::{Field, Record};
use crate::trackers::edits::WriteError;
use crate::work::sync::dialect::{self, Dialect, Origin};
use crate::work::sync::merge::{Base, Outcome, Policy, Rules};
use crate::work::sync::pace::Write;
use crate::work::sync::plan::{self, Action, Imported, Verb};
use crate::work::sync::store::{Contradiction, Link};
use specweave_jobs::text::shell_word;

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
        self.run.log(&format!("[import] {} items", done.len()));
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
            let link = self.store.link(&action.story).cloned();
            let (out, base) = plan::decide_imported(&dialect, link.as_ref(), &here, &item, &rules);
            let conflicts = self.contradictions_of_imported(&dialect, link.as_ref(), &here, &item);
            let policy = self.profile.on_conflict;
            if policy == OnConflict::File {
                let error = "an imported story has nothing to take from the conflict's file: edit the story, then --use local";
                return Ok(Went::failed(Reason::InvalidInput, error));
            }
            if !conflicts.is_empty() && policy == OnConflict::Manual {
                return self.show_imported(&action.story, &here, &item, conflicts, out.local, base);
            }
            let is_decided = policy != OnConflict::Manual && (!conflicts.is_empty() || here.waits.is_some());
            let (mut out, wins) = if is_decided {
                let (out, wins) = self.decided_imported(&dialect, &here, &item, conflicts, &out.local, base);
                (out, Some(wins))
            } else {
                (out, None)
            };
            if !out.pushed.is_empty() {
                if wins.is_none()
                    && let Some(waits) = &here.waits
                {
                    let told = format!("settle {waits} first: take over what you want of it, then remove it");
                    return Ok(Went::failed(Reason::Conflict, told));
                }
                match self.push_imported(action, &item, &mut out, &mut is_fresh).await? {
                    Written::Done => {}
                    Written::Again => continue,
                    Written::Failed(went) => return Ok(went),
                }
            }
            if out.pulled.contains(&Field::Boxes) {
                let (text, _) = crate::model::issue_text::marked(&here.text, &out.local.boxes);
                if text != here.text && !self.docs.write(&here.path, Some(&here.text), &text)? {
                    continue;
                }
            }
            let item = self.items.get(&key).cloned().unwrap_or(item);
            if self.profile.may_import()
                && let Some(failure) = self.import_one(&item, wins)?
            {
                return Ok(Went::Failed(failure));
            }
            // What was imported is what both sides say now.
            if let Some(after) = self.docs.imported(&item)? {
                let local = dialect::imported_here(dialect.map, &after.fields, &out.remote, &after.text);
                out.stands_here_as(&local);
            }
            self.store.set(&action.story, Link { imported: true, ..link_to(&item, &here.path, out.base) })?;
            return Ok(Went::Done);
        }
        Ok(Went::failed(Reason::Remote, "it was changed at the same time, again and again"))
    }

    /// Leaves a contradiction to a person.
    fn show_imported(
        &mut self,
        story: &str,
        here: &Imported,
        item: &Item,
        fields: Vec<Field>,
        local: Record,
        base: Base,
    ) -> Result<Went, Ended> {
        let told = format!(
            "conflict: {} changed here and in {}: specweave-jobs resolve {} --use local|remote",
            plan::names(&fields),
            item.shown,
            shell_word(story)
        );
        let contradiction = Contradiction {
            at: self.run.now(),
            fields,
            path: here.path.clone(),
            item: item.shown.clone(),
            url: item.url.clone(),
            base: Some(base.clone()),
            local,
            remote: self.dialect().record(item, Origin::Imported),
        };
        // The base stays what it was, so that it is one until somebody decides.
        self.store.set(story, Link { imported: true, ..link_to(item, &here.path, base) })?;
        self.store.contradict(story, contradiction)?;
        let told = Failure::new(Reason::Conflict, told);
        Ok(Went::Failed(self.import_one(item, None)?.unwrap_or(told)))
    }

    /// What becomes of a pair when one side is right: as if only that side had changed.
    fn decided_imported(
        &self,
        dialect: &Dialect,
        here: &Imported,
        item: &Item,
        conflicts: Vec<Field>,
        local: &Record,
        mut base: Base,
    ) -> (Outcome, Wins) {
        let remote = dialect.record(item, Origin::Imported);
        let fields = if conflicts.is_empty() { local.differing(&remote) } else { conflicts };
        let from_tracker = self.profile.on_conflict == OnConflict::Remote;
        for field in &fields {
            let here = dialect::imported_here(dialect.map, &here.fields, &remote, &here.text);
            let other = plan::nothing();
            base.local.take(*field, if from_tracker { &here } else { &other });
            base.remote.take(*field, if from_tracker { &other } else { &remote });
        }
        let link = Link { imported: true, ..link_to(item, &here.path, base) };
        let rules = self.profile.rules(Origin::Imported);
        let out = plan::decide_imported(dialect, Some(&link), here, item, &rules).0;
        (out, Wins(if from_tracker { in_the_file(&fields) } else { Vec::new() }))
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
        match self.editor.update(&item, &change).await {
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

    fn contradictions_of_imported(
        &self,
        dialect: &Dialect,
        link: Option<&Link>,
        here: &Imported,
        item: &Item,
    ) -> Vec<Field> {
        let rules = Rules { policy: Policy::Manual, ..self.profile.rules(Origin::Imported) };
        plan::decide_imported(dialect, link, here, item, &rules).0.conflicts
    }

    fn import_one(&mut self, item: &Item, wins: Option<Wins>) -> Result<Option<Failure>, Ended> {
        let failed = self.docs.import(std::slice::from_ref(item), &self.items, wins)?;
        Ok(failed.into_values().next())
    }
}

/// The fields as the file of an imported story has them.
fn in_the_file(fields: &[Field]) -> Vec<story::Field> {
    let in_file = |field: &Field| match field {
        Field::Title => vec![story::Field::Title],
        Field::Status => vec![story::Field::Status],
        Field::Priority => vec![story::Field::Priority],
        Field::Description => vec![story::Field::Description, story::Field::Criteria],
        Field::Labels | Field::Boxes => Vec::new(),
    };
    fields.iter().flat_map(in_file).collect()
}
