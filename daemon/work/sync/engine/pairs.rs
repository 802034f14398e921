//! A story and its item: decided over with what both say at this moment, and written. Nothing is written that was not seen.

use super::{Ended, Engine, MOST_TRIES, Note, Went, item_link, link_to};
use crate::docs::authored::{self, Authored};
use crate::docs::writer::SPECS;
use crate::job::order::OnConflict;
use crate::model::conflict::{self, Shown, Stamp, Standing};
use crate::model::conflict_file;
use crate::model::failure::Reason;
use crate::model::item::Item;
use crate::model::merge::{self, Outcome, Policy, Rules};
use crate::model::record::{Field, Record};
use crate::model::story_key::StoryKey;
use crate::trackers::TrackerError;
use crate::trackers::edits::{Category, WriteError};
use crate::work::sync::dialect::Origin;
use crate::work::sync::pace::Write;
use crate::work::sync::plan::{self, Action, Meeting, Story, Verb};
use crate::work::sync::store::{self, Link};
use std::collections::BTreeSet;

impl Engine<'_> {
    /// A story as its file stands at this moment.
    pub(super) fn fresh(&mut self, key: &str) -> Result<Option<Story>, Ended> {
        let Some(path) = self.stories.get(key).map(|story| story.path.clone()) else { return Ok(None) };
        let Some(text) = self.docs.read(&path)? else { return Ok(None) };
        match self.read_story(&path, &text) {
            Ok(Some(story)) if story.key == *key => {
                self.stories.insert(key.to_owned(), story.clone());
                Ok(Some(story))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn sync_authored(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.clone() else { return Ok(Went::Done) };
        self.sync_pair(&action.story, &item, action.verb).await
    }

    /// Decides over a pair with what both sides say now, and writes it.
    pub(super) async fn sync_pair(&mut self, key: &str, item_key: &str, verb: Verb) -> Result<Went, Ended> {
        let mut is_fresh = verb == Verb::Create;
        for _ in 0..MOST_TRIES {
            let Some(story) = self.fresh(key)? else {
                return Ok(Went::failed(Reason::NotFound, "its file has gone or cannot be read any more"));
            };
            let Some(item) = self.items.get(item_key).cloned() else { return Ok(Went::Done) };
            let decision = self.decide(&story, &item)?;
            let (writes, pushes) = match &decision {
                Decision::Write(out) => {
                    (!out.pulled.is_empty() || !out.pushed.is_empty(), !out.pushed.is_empty())
                }
                Decision::Conflict(_) | Decision::Refused(_) => (true, false),
            };
            // Waited for before the last look, so that little time is left for somebody else between it and the write.
            if pushes {
                self.pace(Write::Change).await?;
            }
            if writes && !is_fresh {
                // A listing may be behind, and minutes old.
                let Some(now) = self.look(item.reference()).await? else {
                    return Ok(Went::failed(
                        Reason::NotFound,
                        format!("{} is gone in the tracker", item.shown),
                    ));
                };
                is_fresh = true;
                let dialect = self.dialect();
                let changed =
                    dialect.record(&now, Origin::Authored) != dialect.record(&item, Origin::Authored);
                self.items.insert(item_key.to_owned(), now);
                if changed {
                    continue;
                }
            }
            let item = self.items.get(item_key).cloned().unwrap_or(item);
            let out = match decision {
                Decision::Write(out) => *out,
                Decision::Refused(error) => return Ok(Went::failed(Reason::InvalidInput, error)),
                Decision::Conflict(contradiction) => return self.show(&story, &item, &contradiction),
            };
            match self.write_pair(&story, &item, out).await? {
                Written::Done => {
                    self.drop_conflict(&conflict_file::beside(&story.path, 1))?;
                    return Ok(Went::Done);
                }
                Written::Again => is_fresh = false,
                Written::Failed(went) => return Ok(went),
            }
        }
        Ok(Went::failed(Reason::Remote, "it was changed at the same time, again and again"))
    }

    /// What is to become of a pair.
    fn decide(&mut self, story: &Story, item: &Item) -> Result<Decision, Ended> {
        let dialect = self.dialect();
        let remote = dialect.record(item, Origin::Authored);
        let meeting = Meeting::of(self.store, &dialect, story, item, &remote);
        let rules = self.profile.rules(Origin::Authored);
        let decide = |meeting: &Meeting, rules: &Rules| {
            let mut out = meeting.decide(&dialect, story, &remote, rules);
            plan::retitle(self.store, &story.key, item, rules, &mut out);
            out
        };
        let fields = decide(&meeting, &Rules { policy: Policy::Manual, ..rules.clone() }).conflicts;
        let contradiction = |fields: Vec<Field>, why| {
            let (base, remote) = (meeting.base.clone(), remote.clone());
            Decision::Conflict(Box::new(Contradiction { fields, base, remote, why }))
        };
        if fields.is_empty() || !self.resolve {
            let out = decide(&meeting, &rules);
            return Ok(if out.conflicts.is_empty() {
                Decision::Write(Box::new(out))
            } else {
                contradiction(out.conflicts, "")
            });
        }
        // A decision is one over what was shown.
        let kept = self.docs.read(&conflict_file::beside(&story.path, 1))?.unwrap_or_default();
        let Some(seen) = Stamp::read(&kept) else {
            return Ok(contradiction(fields, "it was not shown yet, "));
        };
        let now = Stamp::of(&fields, &story.record, &remote);
        let on_conflict = self.profile.on_conflict;
        let is_seen = match on_conflict {
            OnConflict::Local => seen.remote == now.remote,
            OnConflict::Remote => seen.local == now.local,
            OnConflict::File | OnConflict::Manual => seen == now,
        };
        if !is_seen {
            return Ok(contradiction(fields, "it was changed again since it was shown, "));
        }
        let may = |allowed: &BTreeSet<Field>| fields.iter().all(|field| allowed.contains(field));
        if on_conflict != OnConflict::Remote && !may(&rules.push) {
            return Ok(Decision::Refused(
                "config.json or --direction does not let stories be written to the tracker".into(),
            ));
        }
        if on_conflict != OnConflict::Local && !may(&rules.pull) {
            return Ok(Decision::Refused(
                "config.json or --direction does not let the tracker change stories".into(),
            ));
        }
        if on_conflict != OnConflict::File {
            return Ok(Decision::Write(Box::new(decide(&meeting, &rules))));
        }
        let mut local = meeting.local.clone();
        if let Err(error) = conflict::decided(&kept, &fields, &mut local) {
            return Ok(Decision::Refused(error.to_string()));
        }
        local.status = self.profile.map.of_local(&local.status);
        let decided = Meeting { local, base: meeting.base.clone() };
        Ok(Decision::Write(Box::new(decide(&decided, &Rules { policy: Policy::Local, ..rules }))))
    }

    /// Shows a contradiction beside its story. What a person has written there already stays.
    fn show(&mut self, story: &Story, item: &Item, contradiction: &Contradiction) -> Result<Went, Ended> {
        let Contradiction { fields, base, remote, why } = contradiction;
        let place = conflict_file::beside(&story.path, 1);
        let kept = self.docs.read(&place)?;
        let now = Stamp::of(fields, &story.record, remote);
        if kept.as_deref().and_then(Stamp::read) != Some(now) {
            if let Some(kept) = kept.as_deref().filter(|kept| !conflict::is_untouched(kept)) {
                for number in 2..MOST_KEPT {
                    let aside = conflict_file::beside(&story.path, number);
                    if self.docs.read(&aside)?.is_none() {
                        self.docs.write(&aside, None, kept)?;
                        break;
                    }
                }
            }
            let text = conflict::text(&Shown {
                story: &story.key,
                item: &item.shown,
                standing: Standing::Untouched,
                fields,
                base: base.as_ref(),
                local: &story.record,
                remote,
            });
            self.docs.write(&place, kept.as_deref(), &text)?;
        }
        let shown = store::Contradiction {
            at: self.run.now(),
            fields: fields.clone(),
            path: story.path.clone(),
            item: item.shown.clone(),
            url: item.url.clone(),
            base: base.clone(),
            local: story.record.clone(),
            remote: remote.clone(),
        };
        self.store.contradict(&story.key, shown)?;
        let what = plan::names(fields);
        let told = format!("conflict: {why}{what} changed here and in {}; see {SPECS}/{place}", item.shown);
        Ok(Went::failed(Reason::Conflict, told))
    }

    async fn write_pair(&mut self, story: &Story, item: &Item, mut out: Outcome) -> Result<Written, Ended> {
        let key = story.key.as_str();
        let Some(text) = self.docs.read(&story.path)? else { return Ok(Written::Again) };
        if crate::model::text::hash(&text) != story.print {
            // Somebody saved it since it was decided over.
            return Ok(Written::Again);
        }
        let failed = |error: authored::AuthoredError| {
            Ok(Written::Failed(Went::failed(Reason::InvalidInput, error.to_string())))
        };
        let parsed = match Authored::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => return failed(error),
        };
        let word = self.profile.map.local_word(&out.local.status, &parsed.status);
        let new = match parsed.with(&out.local, &out.pulled, &word) {
            Ok(new) => new,
            Err(error) => return failed(error),
        };
        let platform = self.profile.source.platform;
        let link = item_link(item);
        // SpecWeave looks for JIRA's and Azure DevOps' in another place.
        let places: &[&str] = match platform {
            crate::model::item::Platform::GitHub => &["external"],
            _ => &["external", "external_tools"],
        };
        let new = match Authored::parse(&new).and_then(|parsed| {
            parsed.linked(places, platform.word(), link.as_object().expect("it was made as one"))
        }) {
            Ok(new) => new,
            Err(error) => return failed(error),
        };
        if new != text && !self.docs.write(&story.path, Some(&text), &new)? {
            return Ok(Written::Again);
        }
        // What was written may say a little else than what was pulled: a line that would be a heading of the file.
        if let Ok(written) = Authored::parse(&new) {
            let mut record = written.record().clone();
            record.status = self.profile.map.of_local(&record.status);
            out.stands_here_as(&record);
        }
        let mut missed = Vec::new();
        if !out.pushed.is_empty() {
            let change = self.dialect().change(key, item, &out.remote, &out.pushed, Origin::Authored);
            match self.written(self.editor.update(item, &change)).await {
                Ok(updated) => {
                    self.took_state(&mut out, updated.state);
                    missed = self.not_taken(&mut out, updated.item, Origin::Authored);
                }
                Err(WriteError::Changed) => {
                    self.reread(item).await?;
                    return Ok(Written::Again);
                }
                // A change that got no answer is looked at, and made again where it was not made.
                Err(WriteError::Unknown(
                    error @ (TrackerError::Network(_) | TrackerError::Transient { .. }),
                )) => {
                    self.run.log(&format!("{key}: {error}; looking again"));
                    self.reread(item).await?;
                    return Ok(Written::Again);
                }
                Err(error) => return self.refused(error).map(Written::Failed),
            }
        }
        // Told before it counts as done: a daemon that dies in between comes by here or through `settle`.
        self.note(key, item, &parsed, &out.base.remote.status)?;
        let generated = self.tell_increments(story, &parsed, &out.base.local)?;
        self.store.set(key, Link { generated, ..link_to(item, &story.path, Some(out.base.clone())) })?;
        if missed.is_empty() {
            return Ok(Written::Done);
        }
        Ok(Written::Failed(not_taken(item, &missed)))
    }

    /// The fields of a change that the tracker has not taken, by what its reply shows. They count as what the tracker says
    /// now, so that nobody takes them for an edit there.
    pub(super) fn not_taken(&mut self, out: &mut Outcome, now: Option<Item>, origin: Origin) -> Vec<Field> {
        let Some(now) = now else { return Vec::new() };
        let dialect = self.dialect();
        let told = dialect.record(&now, origin);
        // A state may have become another one than was asked for, which is known.
        let status = out.base.remote.status.clone();
        let sent = Record { status, ..dialect.echo(&out.remote) };
        let simple = [Field::Title, Field::Status, Field::Priority, Field::Labels];
        let is_missed = |field: &Field| match field {
            Field::Labels => !merge::are_same_labels(&told.labels, &sent.labels),
            field => !told.same(&sent, *field),
        };
        let pushed = simple.into_iter().filter(|field| out.pushed.contains(field));
        let missed: Vec<Field> = pushed.filter(is_missed).collect();
        let known = out.base.remote.labels.clone();
        for field in &missed {
            out.base.remote.take(*field, &told);
        }
        if out.pushed.contains(&Field::Labels) {
            // What somebody has changed there, and may not come here yet, stays news.
            let added: BTreeSet<&String> = sent.labels.difference(&known).collect();
            let removed = known.difference(&sent.labels).cloned();
            let stood = told.labels.iter().filter(|label| !added.contains(label)).cloned();
            out.base.remote.labels = stood.chain(removed).collect();
        }
        self.items.insert(now.key.clone(), now);
        missed
    }

    /// Tells the increments of a story about its item.
    pub(super) fn note(
        &mut self,
        key: &str,
        item: &Item,
        parsed: &Authored,
        status: &str,
    ) -> Result<(), Ended> {
        let is_closed = matches!(status, "completed" | "cancelled");
        let Some(key) = StoryKey::parse(key) else { return Ok(()) };
        let note = Note {
            story: key.story.to_owned(),
            reference: item.reference().to_owned(),
            url: item.url.clone(),
            status: if is_closed { "closed" } else { "open" }.to_owned(),
            group: self.known_group(&key.path()),
        };
        for increment in parsed.increments() {
            self.docs.note(&increment, &note)?;
        }
        Ok(())
    }

    /// The state that an item went to may have another meaning than the one that was asked for.
    pub(super) fn took_state(&self, out: &mut Outcome, state: Option<(Category, String)>) {
        if let Some((category, state)) = state {
            out.base.remote.status =
                self.profile.map.of_remote(crate::work::sync::status::Told { category, state: &state });
        }
    }

    pub(super) async fn reread(&mut self, item: &Item) -> Result<(), Ended> {
        if let Some(now) = self.look(item.reference()).await? {
            self.items.insert(item.key.clone(), now);
        }
        Ok(())
    }

    pub(super) fn drop_conflict(&mut self, beside: &str) -> Result<(), Ended> {
        match self.docs.read(beside)? {
            // One that an import wrote, or that a person wrote in, is not ours to remove.
            Some(text) if Stamp::read(&text).is_some() && (self.resolve || conflict::is_untouched(&text)) => {
                Ok(self.docs.remove(beside)?)
            }
            _ => Ok(()),
        }
    }
}

/// A tracker that takes a part of a change and says nothing of the rest, as GitHub does of labels from whoever may not
/// triage.
pub(super) fn not_taken(item: &Item, fields: &[Field]) -> Went {
    let told = format!(
        "{} did not take {} of {}: the token may lack the rights; the story keeps what it says",
        item.platform.name(),
        plan::names(fields),
        item.shown
    );
    Went::failed(Reason::Forbidden, told)
}

/// What is to become of a pair.
enum Decision {
    Write(Box<Outcome>),
    Conflict(Box<Contradiction>),
    /// It may not be done.
    Refused(String),
}

/// What a person has to decide over.
struct Contradiction {
    fields: Vec<Field>,
    base: Option<merge::Base>,
    remote: Record,
    why: &'static str,
}

/// So many files that a person wrote in may wait beside a story.
const MOST_KEPT: u32 = 100;

/// How the writing of a pair went.
pub(super) enum Written {
    Done,
    /// Somebody changed a side in the meantime.
    Again,
    Failed(Went),
}
