//! What is to become of one pair: the merge of both sides, in the words that the tracker will have for it. Pure.

use super::Story;
use crate::docs::story;
use crate::docs::writer::Kept;
use crate::model::item::Item;
use crate::model::merge::{self, Base, Known, Outcome, Policy, Rules, Side};
use crate::model::record::{self, BoxKey, Checkbox, Field, Record};
use crate::model::story_key::StoryKey;
use crate::work::sync::dialect::{self, Dialect, Origin};
use crate::work::sync::regenerated;
use crate::work::sync::store::Store;

/// What an item was when it was made: what was sent, but for what its tracker decides itself.
pub fn newborn(dialect: &Dialect, sent: &Record, remote: &Record) -> Base {
    let mut base = Base { local: sent.clone(), remote: dialect.echo(sent) };
    base.local.status.clone_from(&remote.status);
    base.remote.status.clone_from(&remote.status);
    base.remote.priority = remote.priority;
    // A label that the tracker left out is not one that somebody took away.
    base.remote.labels.retain(|label| remote.labels.contains(label));
    base
}

/// The outcome for a story and its item.
pub fn decide_authored(
    dialect: &Dialect,
    base: Option<&Base>,
    local: &Record,
    remote: &Record,
    rules: &Rules,
) -> Outcome {
    let mut out = merge::decide(base, local, &dialect.echo(local), remote, rules);
    if out.pushed.is_empty() {
        return out;
    }
    let marks = only_marks(&out.remote.boxes, &dialect.echo(&out.remote).boxes, &remote.boxes);
    if let Some(boxes) = &marks {
        out.remote.boxes.clone_from(boxes);
    }
    if out.pushed.contains(&Field::Priority) && out.remote.priority.is_none() && !dialect.can_clear_priority()
    {
        // Every item there has one: who takes his away leaves it to the tracker.
        out.pushed.retain(|field| *field != Field::Priority);
        out.remote.priority = remote.priority;
        out.base.remote.priority = remote.priority;
    }
    // What the tracker will say of it is what is compared the next time.
    let echo = dialect.echo(&out.base.remote);
    for field in out.pushed.clone() {
        match only_marks(&out.base.remote.boxes, &echo.boxes, &remote.boxes)
            .filter(|_| marks.is_some() && field == Field::Boxes)
        {
            Some(boxes) => out.base.remote.boxes = boxes,
            None => out.base.remote.take(field, &echo),
        }
    }
    out
}

/// A story that has another name by now has it in the title of its item, too.
pub fn retitle(store: &Store, key: &str, item: &Item, rules: &Rules, out: &mut Outcome) {
    let moved = store.story(&item.key).is_some_and(|known| known != key);
    if moved
        && out.conflicts.is_empty()
        && rules.push.contains(&Field::Title)
        && !out.pushed.contains(&Field::Title)
    {
        out.pushed.insert(0, Field::Title);
    }
}

/// The tracker's own boxes with other marks, where marks are all in which they differ from those that are wanted: whose
/// words are the same as they stand, or as the tracker would give them back.
pub fn only_marks(wanted: &[Checkbox], echo: &[Checkbox], remote: &[Checkbox]) -> Option<Vec<Checkbox>> {
    let (wanted, echo) = (record::by_key(wanted), record::by_key(echo));
    let theirs = record::keys(remote);
    let marked = |(one, key): (&Checkbox, &BoxKey)| {
        let mine = wanted.get(key)?;
        let same_words = mine.text == one.text || echo.get(key).is_some_and(|echo| echo.text == one.text);
        same_words.then(|| Checkbox { checked: mine.checked, ..one.clone() })
    };
    (wanted.len() == theirs.len()).then_some(())?;
    remote.iter().zip(&theirs).map(marked).collect()
}

/// What a story and its item are compared with, and what counts as said here.
pub struct Meeting {
    /// What both sides were when they last met, as far as it is known.
    pub base: Option<Base>,
    /// What the story says, but for what only stands there again.
    pub local: Record,
}

impl Meeting {
    pub fn of(store: &Store, dialect: &Dialect, story: &Story, item: &Item, remote: &Record) -> Self {
        let base = base_of(store, dialect, story, item, remote);
        let generated = store.link(&story.key).and_then(|link| link.generated.as_ref());
        match (generated.filter(|_| story.is_generated), base) {
            (Some(generated), Some(base)) => {
                let (base, local) = regenerated::seen(generated, &base, &story.record);
                Self { base: Some(base), local }
            }
            (_, base) => Self { base, local: story.record.clone() },
        }
    }

    /// The outcome. What stands in the file again is put right there, too.
    pub fn decide(&self, dialect: &Dialect, story: &Story, remote: &Record, rules: &Rules) -> Outcome {
        let mut out = decide_authored(dialect, self.base.as_ref(), &self.local, remote, rules);
        if out.conflicts.is_empty() {
            let is_behind =
                |field: &Field| rules.pull.contains(field) && !self.local.same(&story.record, *field);
            let behind = Field::ALL.into_iter().filter(is_behind).filter(|field| !out.pulled.contains(field));
            let behind: Vec<Field> = behind.collect();
            out.pulled.extend(behind);
        }
        out
    }
}

/// The outcome for a story that came from the tracker. What both sides said when they last met is what its import remembers
/// of them; fields over which somebody has decided are as if only the side that is right had changed them.
pub fn decide_imported(
    dialect: &Dialect,
    here: &Kept,
    item: &Item,
    rules: &Rules,
    decided: Option<(&[Field], Side)>,
) -> Outcome {
    let remote = dialect.record(item, Origin::Imported);
    let local = dialect::imported_here(dialect.map, &here.record, &remote);
    let mut changes = story::changes(&here.bases, &here.record, &story::said(item));
    story::note_marks(&mut changes, &here.bases, &local.boxes, &remote.boxes);
    if let Some((fields, right)) = decided {
        changes.decide(fields, right);
    }
    merge::decide(Known::Changes(&changes), &local, &local, &remote, rules)
}

/// The fields of an imported story over which a person has to decide: those that both sides have changed, and those that
/// wait since an earlier import.
pub fn contradictions_of_imported(dialect: &Dialect, here: &Kept, item: &Item, rules: &Rules) -> Vec<Field> {
    let rules = Rules { policy: Policy::Manual, ..rules.clone() };
    let mut fields = decide_imported(dialect, here, item, &rules, None).conflicts;
    fields.extend(here.waits.iter().flat_map(|waits| waits.fields.iter().copied()));
    fields.sort();
    fields.dedup();
    fields
}

/// The base of a pair, as far as it is known. A copy that was left when its original went is not what met.
pub fn base_of(
    store: &Store,
    dialect: &Dialect,
    story: &Story,
    item: &Item,
    remote: &Record,
) -> Option<Base> {
    let key = story.key.as_str();
    let id = |key: &str| StoryKey::parse(key).map_or(key.to_owned(), |key| key.story.to_owned());
    let known = store.story(&item.key).and_then(|known| Some((known, store.link(known)?)));
    let same =
        known.filter(|(known, link)| id(known) == id(key) || link.path == story.path || link.path.is_empty());
    let link = same.map(|(_, link)| link);
    let sent = link.and_then(|link| link.born.as_ref()).or(store.intent(key).map(|intent| &intent.record));
    link.and_then(|link| link.base.clone()).or_else(|| sent.map(|sent| newborn(dialect, sent, remote)))
}
