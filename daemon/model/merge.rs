//! Two sides and what they were when they last met become one, field by field. Pure: the same three always give the
//! same outcome, which a dry run prints and a run carries out.

use crate::model::record::{BoxKey, Checkbox, Field, Record, by_key, keys};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Both sides as they were when they last met. A tracker may say the same in other words: each side is compared with
/// its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub local: Record,
    pub remote: Record,
}

/// Which side has changed what since both last met, where no more is remembered of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub here: BTreeSet<Field>,
    pub there: BTreeSet<Field>,
    /// The boxes of both sides as they stood.
    pub boxes: Vec<Checkbox>,
}

impl Changes {
    /// Somebody has decided over these fields: they are as if only the side that is right had changed them.
    pub fn decide(&mut self, fields: &[Field], right: Side) {
        let (right, other) = match right {
            Side::Local => (&mut self.here, &mut self.there),
            Side::Remote => (&mut self.there, &mut self.here),
        };
        for field in fields {
            right.insert(*field);
            other.remove(field);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Local,
    Remote,
}

/// What is known of a pair since both sides last met.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// They never have, or nobody remembers.
    Nothing,
    Base(&'a Base),
    Changes(&'a Changes),
}

impl<'a> From<Option<&'a Base>> for Known<'a> {
    fn from(base: Option<&'a Base>) -> Self {
        base.map_or(Self::Nothing, Self::Base)
    }
}

impl<'a> Known<'a> {
    fn base(self) -> Option<&'a Base> {
        match self {
            Self::Base(base) => Some(base),
            Self::Nothing | Self::Changes(_) => None,
        }
    }

    /// Whether a side says something else in a field than it did.
    fn has_changed(self, side: Side, now: &Record, field: Field) -> bool {
        match (self, side) {
            (Self::Nothing, _) => true,
            (Self::Base(base), Side::Local) => !now.same(&base.local, field),
            (Self::Base(base), Side::Remote) => !now.same(&base.remote, field),
            (Self::Changes(changes), Side::Local) => changes.here.contains(&field),
            (Self::Changes(changes), Side::Remote) => changes.there.contains(&field),
        }
    }

    /// The boxes of both sides as they stood.
    fn boxes(self) -> Option<(&'a [Checkbox], &'a [Checkbox])> {
        match self {
            Self::Nothing => None,
            Self::Base(base) => Some((&base.local.boxes, &base.remote.boxes)),
            Self::Changes(changes) => Some((&changes.boxes, &changes.boxes)),
        }
    }
}

/// What happens to a field that both sides changed, each in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Neither side is changed; a person decides.
    #[default]
    Manual,
    Local,
    Remote,
}

/// What may be moved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Fields that may be written to the tracker.
    pub push: BTreeSet<Field>,
    /// Fields that may be written here.
    pub pull: BTreeSet<Field>,
    pub policy: Policy,
    pub conflict_holds: Holds,
}

/// What waits while a person decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// The pair: a story that was written here and its item are moved together or not at all.
    #[default]
    Pair,
    /// The field alone: the file goes on following its item in all others.
    Field,
}

/// What is to become of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub local: Record,
    pub remote: Record,
    /// Fields that are written here, and there.
    pub pulled: Vec<Field>,
    pub pushed: Vec<Field>,
    /// Fields over which nobody has decided.
    pub conflicts: Vec<Field>,
    /// What both sides will have been when they met.
    pub base: Base,
}

impl Outcome {
    /// What was pulled stands here as this says: it may be in a little other words.
    pub fn stands_here_as(&mut self, written: &Record) {
        for field in &self.pulled {
            if self.base.local.same(&self.local, *field) {
                self.base.local.take(*field, written);
            }
        }
    }
}

/// Decides over a pair. `echo` is what the tracker would say if it were told what `local` says.
pub fn decide<'a>(
    known: impl Into<Known<'a>>,
    local: &Record,
    echo: &Record,
    remote: &Record,
    rules: &Rules,
) -> Outcome {
    let known: Known = known.into();
    let base = known.base();
    let mut out = Outcome {
        local: local.clone(),
        remote: remote.clone(),
        base: base.cloned().unwrap_or_else(|| Base { local: local.clone(), remote: remote.clone() }),
        ..Outcome::default()
    };
    for field in Field::ALL {
        let same = local.same(remote, field) || echo.same(remote, field);
        let local_changed = known.has_changed(Side::Local, local, field);
        let remote_changed = known.has_changed(Side::Remote, remote, field);
        let (may_push, may_pull) = (rules.push.contains(&field), rules.pull.contains(&field));
        // A story that never had a priority leaves it to the tracker, which may have one for all.
        let is_left = matches!(known, Known::Nothing) && field == Field::Priority && local.priority.is_none();
        match (local_changed, remote_changed) {
            (false, false) => continue,
            _ if same || is_left => {
                out.base.local.take(field, local);
                out.base.remote.take(field, remote);
            }
            (true, false) => out.push(field, local, may_push),
            // A tracker may say a box in other words: one whose words did not change there keeps those here.
            // And a label that stands on one side only, as its tracker did not take it, is nobody's edit.
            (false, true) if field == Field::Boxes || field == Field::Labels && base.is_some() => {
                let both = merged(field, known, local, remote, rules.policy);
                out.pull(field, both.as_ref().unwrap_or(remote), may_pull);
            }
            (false, true) => out.pull(field, remote, may_pull),
            (true, true) => match merged(field, known, local, remote, rules.policy) {
                Some(both) => out.meet(field, &both, may_push, may_pull),
                None => match rules.policy {
                    Policy::Manual if may_push || may_pull => out.conflicts.push(field),
                    Policy::Manual => {}
                    // What lost has been seen: it is no news the next time. A side that may not be written has not won.
                    Policy::Local if may_push => {
                        out.base.remote.take(field, remote);
                        out.push(field, local, may_push);
                    }
                    Policy::Remote if may_pull => {
                        out.base.local.take(field, local);
                        out.pull(field, remote, may_pull);
                    }
                    Policy::Local | Policy::Remote => {}
                },
            },
        }
    }
    if !out.conflicts.is_empty() && rules.conflict_holds == Holds::Pair {
        return Outcome { conflicts: out.conflicts, ..Outcome::unchanged(base, local, remote) };
    }
    out
}

impl Outcome {
    fn unchanged(base: Option<&Base>, local: &Record, remote: &Record) -> Self {
        let base = base.cloned().unwrap_or_default();
        Self { local: local.clone(), remote: remote.clone(), base, ..Self::default() }
    }

    /// Whether a side is written.
    #[cfg(test)]
    pub fn writes(&self) -> bool {
        !self.pulled.is_empty() || !self.pushed.is_empty()
    }

    fn push(&mut self, field: Field, value: &Record, may: bool) {
        if may && !self.remote.same(value, field) {
            self.remote.take(field, value);
            self.pushed.push(field);
        }
        if may {
            self.base.local.take(field, &self.local);
            self.base.remote.take(field, value);
        }
    }

    /// Both sides get what both say; one that may not be written keeps its own, and its change stays news to the other.
    fn meet(&mut self, field: Field, both: &Record, may_push: bool, may_pull: bool) {
        let (mine, theirs) = (self.local.clone(), self.remote.clone());
        self.push(field, both, may_push);
        self.pull(field, both, may_pull);
        let met = match (may_push, may_pull) {
            (true, true) => both,
            (true, false) => &mine,
            (false, true) => &theirs,
            (false, false) => return,
        };
        self.base.local.take(field, met);
        self.base.remote.take(field, met);
    }

    fn pull(&mut self, field: Field, value: &Record, may: bool) {
        if may && !self.local.same(value, field) {
            self.local.take(field, value);
            self.pulled.push(field);
        }
        if may {
            self.base.local.take(field, value);
            self.base.remote.take(field, &self.remote);
        }
    }
}

/// Both changes of a field as one, where they do not contradict each other.
fn merged(field: Field, known: Known, local: &Record, remote: &Record, policy: Policy) -> Option<Record> {
    let base = known.base();
    let mut both = local.clone();
    match field {
        Field::Labels => both.labels = merged_labels(base, local, remote),
        Field::Boxes => both.boxes = merged_boxes(known, &local.boxes, &remote.boxes, policy)?,
        Field::Description => {
            let base = base.filter(|base| base.local.description == base.remote.description)?;
            both.description = merged_text(&base.local.description, &local.description, &remote.description)?;
        }
        Field::Title | Field::Status | Field::Priority | Field::Criteria => return None,
    }
    Some(both)
}

/// A label without what trackers spell in their own ways: case, and what they take for a separator.
fn spelling(label: &str) -> String {
    let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '-');
    let words: Vec<&str> = label.split(separates).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

/// Labels by their spelling: each as it stands, mostly one.
fn by_spelling(labels: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<&String>> {
    let mut spelled: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
    for label in labels {
        spelled.entry(spelling(label)).or_default().insert(label);
    }
    spelled
}

/// Whether both are the same labels, however they are spelled.
pub fn are_same_labels(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    by_spelling(one).into_keys().eq(by_spelling(other).into_keys())
}

/// Whether a label is among others, however it is spelled.
pub fn has_label(labels: &BTreeSet<String>, label: &str) -> bool {
    labels.iter().any(|known| spelling(known) == spelling(label))
}

/// Each label goes the way of the side that has changed it. Where both have, or nobody remembers, it stays, as it is
/// spelled here.
fn merged_labels(base: Option<&Base>, local: &Record, remote: &Record) -> BTreeSet<String> {
    let (mine, theirs) = (by_spelling(&local.labels), by_spelling(&remote.labels));
    let (my_base, their_base) = base
        .map(|base| (by_spelling(&base.local.labels), by_spelling(&base.remote.labels)))
        .unwrap_or_default();
    let spellings: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
    let standing = |spelling: &String| {
        let (here, there) = (mine.get(spelling), theirs.get(spelling));
        let was_there = their_base.get(spelling);
        match (here != my_base.get(spelling), there != was_there) {
            (_, false) => here,
            // Somebody has added there what the tracker had not taken from here.
            (false, true) if was_there.is_none() => here.or(there),
            (false, true) => there,
            (true, true) => here.or(there),
        }
    };
    spellings.into_iter().filter_map(standing).flatten().map(|label| (*label).clone()).collect()
}

/// Texts that are longer are not put together: it would take too long to see what has changed.
const MOST_MERGED: usize = 256 * 1024;

/// `None` where both changed the same lines.
pub fn merged_text(base: &str, local: &str, remote: &str) -> Option<String> {
    if [base, local, remote].iter().any(|text| text.len() > MOST_MERGED) {
        return None;
    }
    let whole = |text: &str| if text.is_empty() { String::new() } else { format!("{text}\n") };
    let merged = diffy::merge(&whole(base), &whole(local), &whole(remote)).ok()?;
    Some(merged.trim_matches('\n').to_owned())
}

/// Boxes one by one: words and marks each on their own.
fn merged_boxes(
    known: Known,
    local: &[Checkbox],
    remote: &[Checkbox],
    policy: Policy,
) -> Option<Vec<Checkbox>> {
    let (own, theirs) = (keys(local), keys(remote));
    let (mine_by_key, theirs_by_key) = (by_key(local), by_key(remote));
    let bases = known.boxes().map(|(local, remote)| (by_key(local), by_key(remote)));
    let base_of = |key: &BoxKey| match &bases {
        None => (None, None),
        Some((local, remote)) => (local.get(key).copied(), remote.get(key).copied()),
    };
    let mut out: Vec<(BoxKey, Checkbox)> = Vec::new();
    for (key, mine) in own.iter().zip(local) {
        let (my_base, their_base) = base_of(key);
        match theirs_by_key.get(key) {
            Some(other) => out.push((key.clone(), one_box(my_base, their_base, mine, other, policy)?)),
            // Somebody took it away there; an edit here keeps it.
            None if their_base.is_some() && my_base == Some(mine) => {}
            None => out.push((key.clone(), mine.clone())),
        }
    }
    for (place, (key, other)) in theirs.iter().zip(remote).enumerate() {
        if mine_by_key.contains_key(key) {
            continue;
        }
        let (my_base, their_base) = base_of(key);
        if my_base.is_some() && their_base == Some(other) {
            continue;
        }
        let before =
            theirs[..place].iter().rev().find_map(|known| out.iter().position(|(key, _)| key == known));
        let at = before.map_or_else(
            || out.iter().position(|((list, _, _), _)| *list == other.list).unwrap_or(out.len()),
            |at| at + 1,
        );
        out.insert(at, (key.clone(), other.clone()));
    }
    let mut boxes: Vec<Checkbox> = out.into_iter().map(|(_, one)| one).collect();
    boxes.sort_by_key(|one| one.list);
    Some(boxes)
}

fn one_box(
    my_base: Option<&Checkbox>,
    their_base: Option<&Checkbox>,
    mine: &Checkbox,
    theirs: &Checkbox,
    policy: Policy,
) -> Option<Checkbox> {
    let mut one = mine.clone();
    let (Some(my_base), Some(their_base)) = (my_base, their_base) else {
        // Both made it: checked once is checked.
        one.checked |= theirs.checked;
        if mine.text != theirs.text {
            one.text = chosen(&mine.text, &theirs.text, policy)?;
        }
        return Some(one);
    };
    if mine.text != theirs.text {
        one.text = match (mine.text != my_base.text, theirs.text != their_base.text) {
            (_, false) => mine.text.clone(),
            (false, true) => theirs.text.clone(),
            (true, true) => chosen(&mine.text, &theirs.text, policy)?,
        };
    }
    if mine.checked == my_base.checked && theirs.checked != their_base.checked {
        one.checked = theirs.checked;
    }
    Some(one)
}

fn chosen(mine: &str, theirs: &str, policy: Policy) -> Option<String> {
    match policy {
        Policy::Manual => None,
        Policy::Local => Some(mine.to_owned()),
        Policy::Remote => Some(theirs.to_owned()),
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
