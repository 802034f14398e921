//! The items of a job that knows them by name: what each is, and how far it has come.

use super::Done;
use super::shared_vec::SharedVec;
use crate::model::failure::{Failure, Reason};
use serde::{Deserialize, Serialize};
use specweave_jobs::v1::Action;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An item as it is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// Unique among the items of its job.
    pub name: String,
    /// What is to be done with it, as the contract's word.
    #[serde(with = "action")]
    pub action: Action,
    /// Where it stands or is to stand, from the project's root; empty where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Where it comes from or goes to, without credentials; empty where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// The word of an action in a journal.
mod action {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use specweave_jobs::v1::Action;

    pub(super) fn serialize<S: Serializer>(action: &Action, to: S) -> Result<S::Ok, S::Error> {
        action.word().serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Action, D::Error> {
        String::deserialize(from).map(|word| Action::of_word(&word))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    Waiting,
    Done,
    Before,
    Failed,
}

/// A job has no more items than this.
pub const MOST_ITEMS: usize = 100_000;

/// The items of a job: names in one shared text, a byte of state each, copies that share what has not
/// changed, so that ten thousand cost little and a snapshot of them nearly nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    planned: Arc<Planned>,
    states: SharedVec<ItemState>,
    /// Successful items in the order in which they ended, as the documented file lists them.
    order: SharedVec<u32>,
    failures: SharedVec<Option<Arc<Failure>>>,
    waiting: usize,
    before: usize,
    failed: usize,
    in_conflict: usize,
}

/// What is known of each item, as one text of all: its name and, of jobs that plan them, its target and address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Planned {
    text: String,
    /// Where each part of the text ends.
    ends: Vec<u32>,
    /// How many parts of the text an item has: its name alone, or all three.
    parts: usize,
    /// One for all items where they have the same, else one for each.
    actions: Vec<Action>,
}

impl Planned {
    fn new(items: &[PlannedItem]) -> Self {
        let has_more = items.iter().any(|item| !item.target.is_empty() || !item.url.is_empty());
        let parts = if has_more { 3 } else { 1 };
        let is_same = items.windows(2).all(|two| two[0].action == two[1].action);
        let actions = items.iter().take(if is_same { 1 } else { items.len() }).map(|item| item.action);
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(items.len() * parts));
        for item in items {
            for part in [&item.name, &item.target, &item.url].into_iter().take(parts) {
                text.push_str(part);
                ends.push(text.len() as u32);
            }
        }
        text.shrink_to_fit();
        Self { text, ends, parts, actions: actions.collect() }
    }

    fn part(&self, item: u32, part: usize) -> &str {
        if part >= self.parts {
            return "";
        }
        let at = item as usize * self.parts + part;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    fn action(&self, item: u32) -> Action {
        match self.actions[..] {
            [of_all] => of_all,
            _ => self.actions[item as usize],
        }
    }
}

impl Items {
    pub(super) fn new(items: &[PlannedItem]) -> Self {
        Self {
            planned: Arc::new(Planned::new(items)),
            states: SharedVec::filled(ItemState::Waiting, items.len()),
            failures: SharedVec::filled(None, items.len()),
            waiting: items.len(),
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Panics when there is no such item, as the other questions about a planned item do.
    pub fn name(&self, item: u32) -> &str {
        self.planned.part(item, 0)
    }

    pub fn target(&self, item: u32) -> &str {
        self.planned.part(item, 1)
    }

    pub fn url(&self, item: u32) -> &str {
        self.planned.part(item, 2)
    }

    pub fn action(&self, item: u32) -> Action {
        self.planned.action(item)
    }

    /// `None` when there is no such item.
    pub fn item_state(&self, item: u32) -> Option<ItemState> {
        self.states.get(item as usize).copied()
    }

    pub fn failure(&self, item: u32) -> Option<&Failure> {
        self.failures.get(item as usize)?.as_deref()
    }

    /// Successful items in the order in which they ended.
    pub fn succeeded(&self) -> impl Iterator<Item = u32> {
        self.order.iter().copied()
    }

    pub fn failed(&self) -> impl Iterator<Item = (u32, &Failure)> {
        let marked = self.states.iter().enumerate().filter(|(_, state)| **state == ItemState::Failed);
        marked.take(self.failed).filter_map(|(at, _)| Some((at as u32, self.failure(at as u32)?)))
    }

    pub fn failed_count(&self) -> usize {
        self.failed
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Of the successful ones, those that were there before.
    pub fn before(&self) -> usize {
        self.before
    }

    /// Items dealt with; never more than there are.
    pub fn current(&self) -> usize {
        self.len() - self.waiting
    }

    /// Of the failed ones, those that wait for a person.
    pub(super) fn in_conflict(&self) -> usize {
        self.in_conflict
    }

    pub(super) fn succeed(&mut self, item: u32, how: Done) {
        self.end(item, if how == Done::Now { ItemState::Done } else { ItemState::Before });
        self.order.push(item);
        self.before += usize::from(how == Done::Before);
    }

    pub(super) fn fail(&mut self, item: u32, failure: Failure) {
        self.end(item, ItemState::Failed);
        self.in_conflict += usize::from(failure.reason == Reason::Conflict);
        self.failures.set(item as usize, Some(failure.into()));
        self.failed += 1;
    }

    fn end(&mut self, item: u32, state: ItemState) {
        self.states.set(item as usize, state);
        self.waiting -= 1;
    }

    /// Successful items wait again.
    pub(super) fn lose(&mut self, lost: Vec<u32>) {
        let lost: BTreeSet<u32> = lost.into_iter().collect();
        for item in &lost {
            self.before -= usize::from(self.item_state(*item) == Some(ItemState::Before));
            self.states.set(*item as usize, ItemState::Waiting);
        }
        self.waiting += lost.len();
        let mut order = SharedVec::default();
        self.succeeded().filter(|item| !lost.contains(item)).for_each(|item| order.push(item));
        self.order = order;
    }

    /// Failed items wait again: these, or all where none is named.
    pub(super) fn retry(&mut self, only: &[u32]) {
        let is_meant = |item: &u32| only.is_empty() || only.contains(item);
        let failed: Vec<u32> = self.failed().map(|(item, _)| item).filter(is_meant).collect();
        for item in &failed {
            let was_in_conflict =
                self.failure(*item).is_some_and(|failure| failure.reason == Reason::Conflict);
            self.in_conflict -= usize::from(was_in_conflict);
            self.states.set(*item as usize, ItemState::Waiting);
            self.failures.set(*item as usize, None);
        }
        self.waiting += failed.len();
        self.failed -= failed.len();
    }
}
