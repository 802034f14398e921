//! A user story's file: what an item says in it, what a person has made of it, and how both become one. Pure.

mod criteria;
mod document;
mod front;

pub use document::{Document, metadata, named};

use crate::model::item::Item;
use crate::model::text;
use criteria::*;
use serde::{Deserialize, Serialize};

/// What both sides may change, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Title,
    Status,
    Priority,
    Description,
    Criteria,
}

impl Field {
    pub const ALL: [Self; 5] = [Self::Title, Self::Status, Self::Priority, Self::Description, Self::Criteria];

    pub fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Description => "description",
            Self::Criteria => "acceptance criteria",
        }
    }
}

/// The fields of one side, as their hashes. Whether a box is checked does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints(pub [u64; 5]);

/// What both sides were when they last met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub local: Prints,
    pub remote: Prints,
    /// What was checked in the tracker.
    pub checks: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub text: String,
    pub checked: bool,
}

/// The fields of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub title: String,
    pub status: String,
    pub priority: String,
    pub description: String,
    pub criteria: Vec<Criterion>,
}

const NO_DESCRIPTION: &str = "No description provided.";

impl Fields {
    /// What an item says.
    pub fn of(item: &Item) -> Self {
        let body = text::body(&item.body);
        let (description, mut criteria) = split_criteria(&body);
        if let Some(field) = &item.criteria {
            criteria.extend(listed_criteria(&text::body(field)));
        }
        let criteria = once_each(criteria);
        Self {
            title: text::heading(&text::title(&item.title)),
            status: item.status.word().to_owned(),
            priority: item.priority.map_or_else(String::new, |priority| format!("P{priority}")),
            description: if description.is_empty() { NO_DESCRIPTION.to_owned() } else { description },
            criteria,
        }
    }

    fn text(&self, field: Field) -> String {
        match field {
            Field::Title => self.title.clone(),
            Field::Status => self.status.clone(),
            Field::Priority => self.priority.clone(),
            Field::Description => unchecked(self.description.trim()),
            Field::Criteria => self.criteria.iter().map(|one| format!("{}\n", one.text)).collect(),
        }
    }

    pub fn prints(&self) -> Prints {
        Prints(Field::ALL.map(|field| text::hash(&self.text(field))))
    }

    /// What an item is from now on, of which these fields are the tracker's side.
    pub fn base_with(&self, local: Prints) -> Base {
        Base { local, remote: self.prints(), checks: self.checks() }
    }

    fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Title => self.title.clone_from(&from.title),
            Field::Status => self.status.clone_from(&from.status),
            Field::Priority => self.priority.clone_from(&from.priority),
            Field::Description => self.description.clone_from(&from.description),
            Field::Criteria => self.criteria.clone_from(&from.criteria),
        }
    }

    /// What is checked on the other side is checked here too, also where the words have changed.
    fn carry_checks(&mut self, from: &Self) {
        self.description = checks_carried(&self.description, &from.description);
        for (own, other) in counterparts(&self.criteria, &from.criteria) {
            self.criteria[own].checked |= from.criteria[other].checked;
        }
    }

    /// All that is checked.
    pub fn checks(&self) -> u64 {
        let lines = self.description.lines().filter(|line| is_checked(line)).map(empty_box);
        let criteria = self.criteria.iter().filter(|one| one.checked).map(|one| one.text.clone());
        text::hash(&lines.chain(criteria).collect::<Vec<_>>().join("\n"))
    }

    /// Whether something that is checked here has no counterpart there.
    fn loses_check(&self, field: Field, there: &Self) -> bool {
        match field {
            Field::Description => {
                let known: Vec<String> = unchecked(&there.description).lines().map(str::to_owned).collect();
                self.description.lines().any(|line| is_checked(line) && !known.contains(&empty_box(line)))
            }
            Field::Criteria => {
                let paired = counterparts(&self.criteria, &there.criteria);
                let is_paired = |place: usize| paired.iter().any(|(own, _)| *own == place);
                self.criteria.iter().enumerate().any(|(place, one)| one.checked && !is_paired(place))
            }
            _ => false,
        }
    }

    /// The fields that are not the same, with the other side's text, for people.
    pub fn shown(&self, field: Field) -> String {
        match field {
            Field::Description => self.description.clone(),
            Field::Criteria => {
                let lines = self.criteria.iter().map(|one| format!("- [{}] {}", mark(one.checked), one.text));
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => self.text(field),
        }
    }
}

/// Both sides as one: what only one side changed is taken from it; what both did stays as the person has it, and is
/// told.
pub fn merge(local: &Fields, bases: &[Base], remote: &Fields) -> (Fields, Vec<Field>) {
    let (ours, theirs) = (local.prints(), remote.prints());
    let mut merged = local.clone();
    let mut conflicts = Vec::new();
    let persons_checks = bases.iter().all(|base| base.checks != local.checks());
    for (place, field) in Field::ALL.into_iter().enumerate() {
        let same = ours.0[place] == theirs.0[place];
        let remote_is_old = bases.first().is_some_and(|base| base.remote.0[place] == theirs.0[place]);
        let local_is_old = bases.iter().any(|base| base.local.0[place] == ours.0[place]);
        if same || remote_is_old {
            continue;
        }
        // A box that a person has checked is an edit, too, and what it stood at must not be gone.
        let loses_check = persons_checks && local.loses_check(field, remote);
        if local_is_old && !loses_check {
            merged.take(field, remote);
        } else {
            conflicts.push(field);
        }
    }
    merged.carry_checks(local);
    merged.carry_checks(remote);
    (merged, conflicts)
}

/// What was merged, with the fields that somebody has decided are the tracker's.
pub fn settled(mut merged: Fields, fields: &[Field], remote: &Fields) -> Fields {
    for field in fields {
        let local = merged.clone();
        merged.take(*field, remote);
        merged.carry_checks(&local);
    }
    merged
}

/// The fields that are not the same, boxes apart.
pub fn differing(one: &Fields, other: &Fields) -> Vec<Field> {
    let (ours, theirs) = (one.prints(), other.prints());
    let differs = |(place, field): (usize, Field)| (ours.0[place] != theirs.0[place]).then_some(field);
    Field::ALL.into_iter().enumerate().filter_map(differs).collect()
}

/// `fields` with what is checked in `local`.
pub fn with_checks(fields: &Fields, local: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.carry_checks(local);
    fields
}

/// What both sides say, for a file that another tool wrote; a field in which they differ is a person's.
pub fn agreed(local: &Prints, remote: &Prints) -> Prints {
    let mut agreed = *local;
    for (ours, theirs) in agreed.0.iter_mut().zip(remote.0) {
        if *ours != theirs {
            *ours = NOBODYS;
        }
    }
    agreed
}

/// The print of no text.
const NOBODYS: u64 = 0;

/// What the next merge may replace: what was written from the tracker now or before, and never what a person wrote.
pub fn base_after(written: &Prints, bases: &[Base], local: &Fields, remote: &Fields) -> Prints {
    let (ours, theirs) = (local.prints(), remote.prints());
    let mut kept = *written;
    for place in 0..Field::ALL.len() {
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
