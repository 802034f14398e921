//! A user story's file that came from a tracker: what an item says in it, what a person has made of it, and how both become
//! one by the merge that imports and syncs share. Pure.

mod criteria;
mod document;
mod front;

pub use document::{Document, metadata, named};

use crate::model::item::Item;
use crate::model::merge::{self, Changes, Holds, Known, Policy, Rules, Side};
use crate::model::record::{self, BoxKey, Checkbox, Field, Record};
use crate::model::text;
use criteria::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a file of a tracker's story says beside its boxes, in the order of [`Prints`].
pub const FIELDS: [Field; 5] =
    [Field::Title, Field::Status, Field::Priority, Field::Description, Field::Criteria];

/// The fields of one side, as their hashes. Whether a box is checked does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints(pub [u64; FIELDS.len()]);

/// The print of no text.
const NOBODYS: u64 = 0;

impl Prints {
    pub fn of(record: &Record) -> Self {
        Self(FIELDS.map(|field| match field {
            Field::Description => text::hash(&record.description),
            Field::Criteria => {
                text::hash(&record.criteria.iter().map(|one| format!("{one}\n")).collect::<String>())
            }
            field => text::hash(&record.shown(field)),
        }))
    }

    /// What both sides say, for a file that another tool wrote; a field in which they differ is a person's.
    pub fn agreed(self, other: Self) -> Self {
        let mut agreed = self;
        for (ours, theirs) in agreed.0.iter_mut().zip(other.0) {
            if *ours != theirs {
                *ours = NOBODYS;
            }
        }
        agreed
    }
}

/// The boxes that are checked, as hashes of their words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(Box<[u64]>);

impl Marks {
    pub fn of(boxes: &[Checkbox]) -> Self {
        let checked = record::keys(boxes).into_iter().zip(boxes).filter(|(_, one)| one.checked);
        Self(checked.map(|(key, _)| print(&key)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These boxes with the marks that are remembered.
    fn on(&self, boxes: &[Checkbox]) -> Vec<Checkbox> {
        let keys = record::keys(boxes);
        let marked = boxes.iter().zip(&keys).map(|(one, key)| {
            let checked = self.0.contains(&print(key));
            Checkbox { checked, ..one.clone() }
        });
        marked.collect()
    }
}

fn print((_, words, count): &BoxKey) -> u64 {
    text::hash(&format!("{words}\0{count}"))
}

/// What both sides were when they last met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub local: Prints,
    /// What the file said when it was last written, in its front matter and its body alike.
    pub written: Prints,
    pub remote: Prints,
    /// What was checked in the tracker.
    pub marks: Marks,
}

impl Base {
    /// What an item says from now on, where its file says this, all of it from the tracker or known to it.
    pub fn of(local: Prints, remote: &Record) -> Self {
        Self { local, written: local, remote: Prints::of(remote), marks: Marks::of(&remote.boxes) }
    }

    /// Notes what both sides say, where they say the same.
    pub fn note(&mut self, met: Prints, local: &Record, remote: &Record) {
        for (place, print) in met.0.into_iter().enumerate().filter(|(_, print)| *print != NOBODYS) {
            (self.local.0[place], self.remote.0[place]) = (print, print);
        }
        let marks = Marks::of(&remote.boxes);
        if marks == Marks::of(&local.boxes) {
            self.marks = marks;
        }
    }
}

/// What an item says, as its file is to say it: the status in a word of the files, and every box that the tracker shows.
pub fn said(item: &Item) -> Record {
    let (description, mut criteria) = split_criteria(&text::body(&item.body));
    if let Some(field) = &item.criteria {
        criteria.extend(listed_criteria(&text::body(field)));
    }
    Record {
        title: text::title(&item.title),
        status: item.status.word().to_owned(),
        priority: item.priority,
        ..record_of(&description, criteria)
    }
}

/// The boxes that stand in an item's body.
pub fn boxes_of_body(item: &Item) -> Vec<Checkbox> {
    let (description, criteria) = split_criteria(&text::body(&item.body));
    record_of(&description, criteria).boxes
}

/// The words and the boxes of a description and its criteria, apart.
fn record_of(description: &str, criteria: Vec<Criterion>) -> Record {
    let criteria = once_each(criteria);
    let mut boxes = boxes_in(description);
    boxes.extend(criteria.iter().filter_map(|one| Some(a_box(&one.text, one.checked?))));
    let description = unmarked(description);
    Record {
        description: if description == NO_DESCRIPTION { String::new() } else { description },
        criteria: criteria.into_iter().map(|one| one.text).collect(),
        boxes,
        ..Record::default()
    }
}

/// SpecWeave's words where an item has none.
const NO_DESCRIPTION: &str = "No description provided.";

/// The boxes that a file shows for these words: those of its description, and one for each criterion.
fn shown(record: &Record) -> Vec<Checkbox> {
    let mut boxes = boxes_in(&record.description);
    boxes.extend(record.criteria.iter().map(|text| a_box(text, false)));
    let marks = record::by_key(&record.boxes);
    let keys = record::keys(&boxes);
    for (one, key) in boxes.iter_mut().zip(keys) {
        one.checked = marks.get(&key).is_some_and(|known| known.checked);
    }
    boxes
}

/// The same for each criterion alone.
fn criteria_shown(record: &Record) -> Vec<Checkbox> {
    let mut boxes = shown(record);
    boxes.split_off(boxes.len() - record.criteria.len())
}

/// A record as people read it: with the marks of its boxes in its words.
pub fn for_people(record: &Record) -> Record {
    let criteria = criteria_shown(record);
    Record {
        description: marked(&record.description, &shown(record)),
        criteria: criteria.iter().map(|one| format!("[{}] {}", mark(one.checked), one.text)).collect(),
        ..record.clone()
    }
}

/// For each box that a file shows for these words, whether its counterpart on the other side is checked, where it has one:
/// the box of the same words, or of a criterion whose words have changed since.
fn marks_of(record: &Record, from: &Record) -> Vec<(Checkbox, Option<bool>)> {
    let marks = record::by_key(&from.boxes);
    let mark = |key: &BoxKey| marks.get(key).map(|known| known.checked);
    let with_marks = |boxes: Vec<Checkbox>| -> Vec<(Checkbox, Option<bool>)> {
        let keys = record::keys(&boxes);
        boxes.into_iter().zip(&keys).map(|(one, key)| (one, mark(key))).collect()
    };
    let (mut own, others) = (with_marks(shown(record)), with_marks(shown(from)));
    let (first, others_first) = (own.len() - record.criteria.len(), others.len() - from.criteria.len());
    for (place, other) in counterparts(&record.criteria, &from.criteria) {
        let (_, known) = &mut own[first + place];
        *known = known.or(others[others_first + other].1);
    }
    own
}

/// What is checked on the other side is checked here too.
fn carry_marks(record: &mut Record, from: &Record) {
    let marked = marks_of(record, from).into_iter();
    record.boxes =
        marked.map(|(one, mark)| Checkbox { checked: one.checked || mark == Some(true), ..one }).collect();
}

/// The boxes of one side with the marks that they have on the other.
pub fn boxes_as_marked(record: &Record, by: &Record) -> Vec<Checkbox> {
    let all: Vec<Checkbox> = marks_of(record, by)
        .into_iter()
        .map(|(one, mark)| Checkbox { checked: mark.unwrap_or(one.checked), ..one })
        .collect();
    let all = record::by_key(&all);
    let keys = record::keys(&record.boxes);
    let marked = record.boxes.iter().zip(keys).map(|(one, key)| {
        let checked = all.get(&key).map_or(one.checked, |known| known.checked);
        Checkbox { checked, ..one.clone() }
    });
    marked.collect()
}

/// Whether something that is checked here has no counterpart there.
fn loses_mark(local: &Record, field: Field, remote: &Record) -> bool {
    match field {
        Field::Description => {
            let there: BTreeSet<BoxKey> = record::keys(&boxes_in(&remote.description)).into_iter().collect();
            let here = shown(local);
            let here = &here[..here.len() - local.criteria.len()];
            record::keys(here).iter().zip(here).any(|(key, one)| one.checked && !there.contains(key))
        }
        Field::Criteria => {
            let paired = counterparts(&local.criteria, &remote.criteria);
            let is_paired = |place: usize| paired.iter().any(|(own, _)| *own == place);
            criteria_shown(local).iter().enumerate().any(|(place, one)| one.checked && !is_paired(place))
        }
        _ => false,
    }
}

/// Which side has changed what since both last met, as far as hashes tell. Of several bases, the first is known for sure,
/// and what the others wanted may stand in the file.
pub fn changes(bases: &[Base], local: &Record, remote: &Record) -> Changes {
    let (ours, theirs) = (Prints::of(local), Prints::of(remote));
    let mut changes = Changes::default();
    // A box that a person has checked is an edit, too, and what it stood at must not be gone.
    let own_marks = Marks::of(&local.boxes);
    let has_marked = bases.iter().all(|base| base.marks != own_marks);
    for (place, field) in FIELDS.into_iter().enumerate() {
        let is_own = bases.iter().all(|base| base.local.0[place] != ours.0[place]);
        if is_own || (has_marked && loses_mark(local, field, remote)) {
            changes.here.insert(field);
        }
        if bases.first().is_none_or(|base| base.remote.0[place] != theirs.0[place]) {
            changes.there.insert(field);
        }
    }
    changes
}

/// Notes which side has marked boxes since both last met. Both are lists of the same boxes.
pub fn note_marks(changes: &mut Changes, bases: &[Base], local: &[Checkbox], remote: &[Checkbox]) {
    let marks = bases.first().map(|base| base.marks.clone()).unwrap_or_default();
    changes.boxes = marks.on(remote);
    if changes.boxes != local {
        changes.here.insert(Field::Boxes);
    }
    if changes.boxes != remote {
        changes.there.insert(Field::Boxes);
    }
}

/// Both sides as one, and the fields that both have changed: those stay as the person has them, and are told. Where somebody
/// has decided, the fields that are named are the tracker's and nothing is left to tell.
pub fn merge(
    local: &Record,
    bases: &[Base],
    remote: &Record,
    decided: Option<&[Field]>,
) -> (Record, Vec<Field>) {
    let mut changes = changes(bases, local, remote);
    if let Some(theirs) = decided {
        let both: Vec<Field> = changes.here.intersection(&changes.there).copied().collect();
        changes.decide(&both, Side::Local);
        changes.decide(theirs, Side::Remote);
    }
    let rules = Rules {
        push: BTreeSet::new(),
        pull: FIELDS.into(),
        policy: Policy::Manual,
        conflict_holds: Holds::Field,
    };
    let out = merge::decide(Known::Changes(&changes), local, local, remote, &rules);
    let mut merged = out.local;
    merged.boxes = Vec::new();
    let marks = bases.first().map(|base| base.marks.clone()).unwrap_or_default();
    let then = Record { boxes: marks.on(&remote.boxes), ..remote.clone() };
    carry_marks(&mut merged, &without_cleared(local, &then, remote));
    carry_marks(&mut merged, &without_cleared(remote, &then, local));
    (merged, out.conflicts)
}

/// One side without the marks that the other side has cleared since both last met; `then` is the item as it was marked at that time.
fn without_cleared(side: &Record, then: &Record, other: &Record) -> Record {
    let before = marks_of(side, then);
    let boxes = marks_of(side, other).into_iter().zip(before).map(|((one, mark), (_, was))| {
        let is_cleared = was == Some(true) && mark == Some(false);
        Checkbox { checked: one.checked && !is_cleared, ..one }
    });
    Record { boxes: boxes.collect(), ..side.clone() }
}

/// The fields that are not the same, boxes apart.
pub fn differing(one: &Record, other: &Record) -> Vec<Field> {
    let (ours, theirs) = (Prints::of(one), Prints::of(other));
    let differs = |(place, field): (usize, Field)| (ours.0[place] != theirs.0[place]).then_some(field);
    FIELDS.into_iter().enumerate().filter_map(differs).collect()
}

/// `record` with what is checked in `local`.
pub fn with_marks(record: &Record, local: &Record) -> Record {
    let mut record = record.clone();
    carry_marks(&mut record, local);
    record
}

/// What the next merge may replace: what was written from the tracker now or before, and never what a person wrote.
pub fn base_after(written: Prints, bases: &[Base], local: &Record, remote: &Record) -> Prints {
    let (ours, theirs) = (Prints::of(local), Prints::of(remote));
    let mut kept = written;
    for place in 0..FIELDS.len() {
        let is_persons = bases.iter().all(|base| base.local.0[place] != ours.0[place]);
        let stays = written.0[place] == ours.0[place] && ours.0[place] != theirs.0[place];
        if let Some(base) = bases.first().filter(|_| is_persons && stays) {
            kept.0[place] = base.local.0[place];
        }
    }
    kept
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
