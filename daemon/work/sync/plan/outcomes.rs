//! What is to become of one pair: the merge of both sides, in the words that the tracker will have for it. Pure.

use super::{Imported, Story};
use crate::docs::story::{self, Fields, Prints};
use crate::model::item::Item;
use crate::model::record::{self, BoxKey, Checkbox, Field, Record};
use crate::model::story_key::StoryKey;
use crate::work::sync::dialect::{self, Dialect, Origin};
use crate::work::sync::merge::{self, Base, Outcome, Rules};
use crate::work::sync::regenerated;
use crate::work::sync::store::{Link, Store};
use std::collections::BTreeSet;

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

/// What no side ever says: a side that is compared with it has changed.
pub fn nothing() -> Record {
    let unsaid = || "\u{0}".to_owned();
    Record {
        title: unsaid(),
        status: unsaid(),
        priority: Some(u8::MAX),
        labels: BTreeSet::from([unsaid()]),
        description: unsaid(),
        boxes: Vec::new(),
    }
}

/// The base of a story that an import wrote, as far as its hashes tell: a side that has changed is like no other.
pub fn remembered(
    bases: &[story::Base],
    fields: &Fields,
    item: &Item,
    local: &Record,
    remote: &Record,
) -> Base {
    let (ours, theirs) = (fields.prints(), Fields::of(item).prints());
    let was = |prints: &dyn Fn(&story::Base) -> Prints, now: &Prints, place: usize| {
        bases.iter().any(|base| prints(base).0[place] == now.0[place])
    };
    let places = [(Field::Title, 0), (Field::Status, 1), (Field::Priority, 2), (Field::Description, 3)];
    let other = nothing();
    let mut base = Base { local: local.clone(), remote: remote.clone() };
    for (field, place) in places {
        let criteria = field == Field::Description;
        let local_is_old =
            was(&|base| base.local, &ours, place) && (!criteria || was(&|base| base.local, &ours, 4));
        let remote_is_old = bases.first().is_some_and(|base| {
            base.remote.0[place] == theirs.0[place] && (!criteria || base.remote.0[4] == theirs.0[4])
        });
        if !local_is_old {
            base.local.take(field, &other);
        }
        if !remote_is_old {
            base.remote.take(field, &other);
        }
    }
    if bases.first().is_some_and(|base| base.checks == Fields::of(item).checks()) {
        base.local.boxes.clone_from(&remote.boxes);
        return base;
    }
    // A box that is marked on one side alone was marked there.
    for (mine, theirs) in base.local.boxes.iter_mut().zip(&mut base.remote.boxes) {
        if mine.checked != theirs.checked {
            (mine.checked, theirs.checked) = (false, false);
        }
    }
    base
}

/// The outcome for a story that came from the tracker, and the base that it was compared with.
pub fn decide_imported(
    dialect: &Dialect,
    link: Option<&Link>,
    here: &Imported,
    item: &Item,
    rules: &Rules,
) -> (Outcome, Base) {
    let remote = dialect.record(item, Origin::Imported);
    let local = dialect::imported_here(dialect.map, &here.fields, &remote, &here.text);
    let known = link.and_then(|link| link.base.clone());
    let base = known.unwrap_or_else(|| remembered(&here.bases, &here.fields, item, &local, &remote));
    (merge::decide(Some(&base), &local, &local, &remote, rules), base)
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
