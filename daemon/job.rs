//! What a job is and how events change it. Pure: no I/O, no clock, no randomness, so that replaying a
//! journal always gives the same job. [`Job::apply`] is the only way to change one; the keeper is its
//! only caller.

mod items;
pub mod order;
pub mod paged_sources;
pub mod shared_vec;
pub mod snapshot;
pub mod terms;

pub use items::{ItemState, Items, MOST_ITEMS, PlannedItem};

use crate::model::failure::{Failure, Reason};
use order::Order;
use paged_sources::{End, PageDone, PagedSources};
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use std::collections::BTreeMap;
use std::sync::Arc;
use terms::Terms;

/// Why a paused job does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    Killed,
    RateLimited,
    Network,
    Credentials,
    Storage,
    Crashes,
    DaemonStopped,
}

/// How an item ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// This job did it.
    Now,
    /// It was there already.
    Before,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    CompletedWithWarnings { summary: String },
    Failed { failure: Failure },
}

impl Outcome {
    /// The documented word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithWarnings { .. } => "completed_with_warnings",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What happens to a job; one journal line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first event of every journal.
    Created {
        order: Order,
        request_id: String,
        settings: BTreeMap<String, String>,
        #[serde(default)]
        terms: Terms,
    },
    /// A run began.
    Started,
    /// The items are known. Once a job.
    Planned {
        items: Vec<PlannedItem>,
    },
    ItemDone {
        item: u32,
        how: Done,
    },
    ItemFailed {
        item: u32,
        failure: Failure,
    },
    /// The sources are known, of a job that reads pages. Once a job.
    SourcesPlanned {
        sources: Vec<String>,
    },
    PageDone(PageDone),
    SourceEnded {
        source: u32,
        end: End,
    },
    /// The run ended before the work was done.
    Paused {
        reason: PauseReason,
        message: String,
        resume_at: Option<Millis>,
    },
    /// Failed items wait again: these, or all of them.
    Retried {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<u32>,
    },
    /// What these items had brought is gone, so that they wait again.
    Lost {
        items: Vec<u32>,
    },
    Ended(Outcome),
    /// All is done for this time; it is done again, from a journal of its own, at the moment `next`.
    Scheduled {
        outcome: Outcome,
        next: Millis,
    },
}

/// Where a job stands, with what belongs to that state alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Running,
    Paused {
        reason: PauseReason,
        message: String,
        resume_at: Option<Millis>,
    },
    /// Waits for the moment `next` to do its work again. `outcome` is the last time's, and `at` when that ended.
    Scheduled {
        outcome: Outcome,
        at: Millis,
        next: Millis,
    },
    Ended {
        outcome: Outcome,
        at: Millis,
    },
}

impl State {
    /// The documented word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Scheduled { .. } => "scheduled",
            Self::Ended { outcome, .. } => outcome.word(),
        }
    }
}

/// What a job has to do, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Items that are known by name.
    Items(Items),
    /// Sources whose items nobody lists beforehand.
    Sources(PagedSources),
}

impl Plan {
    /// Items dealt with; never more than [`Self::total`].
    pub fn current(&self) -> u64 {
        match self {
            Self::Items(items) => items.current() as u64,
            Self::Sources(sources) => sources.current(),
        }
    }

    pub fn total(&self) -> u64 {
        match self {
            Self::Items(items) => items.len() as u64,
            Self::Sources(sources) => sources.total(),
        }
    }

    /// Items that were as they should be before.
    pub fn before(&self) -> u64 {
        match self {
            Self::Items(items) => items.before() as u64,
            Self::Sources(sources) => sources.counts().unchanged + sources.counts().left_out,
        }
    }

    pub fn failed_count(&self) -> u64 {
        match self {
            Self::Items(items) => items.failed_count() as u64,
            Self::Sources(sources) => sources.failed(),
        }
    }

    /// Of what failed, what waits for a person's decision, as far as it is known by name.
    pub fn in_conflict(&self) -> u64 {
        match self {
            Self::Items(items) => items.in_conflict() as u64,
            Self::Sources(sources) => {
                sources.failures().filter(|(_, failure)| failure.reason == Reason::Conflict).count() as u64
            }
        }
    }

    /// What failed, by name, with the reason.
    pub fn failures(&self) -> Box<dyn Iterator<Item = (&str, &Failure)> + '_> {
        match self {
            Self::Items(items) => Box::new(items.failed().map(|(item, failure)| (items.name(item), failure))),
            Self::Sources(sources) => Box::new(sources.failures()),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Items(items) => items.waiting() == 0,
            Self::Sources(sources) => sources.has_ended(),
        }
    }
}

/// One job. Every field follows from its journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    /// Shared, as it may name thousands of sources and a job is copied with every snapshot.
    pub order: Arc<Order>,
    pub request_id: Arc<str>,
    /// Base addresses and the like from the caller's environment; nothing secret.
    pub settings: Arc<BTreeMap<String, String>>,
    pub terms: Arc<Terms>,
    pub state: State,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// `None` until it is known what there is to do.
    pub plan: Option<Plan>,
    /// When the present or last run began, and how many items had ended by then: the base of the rate.
    pub run_started_at: Option<Millis>,
    pub run_base: u64,
    /// Runs since the last progress; the daemon's death ends a run without an event.
    pub fruitless_runs: u32,
}

/// Why an event does not apply. The job is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the job is complete")]
    Complete,
    #[error("the job does not run")]
    NotRunning,
    #[error("the job runs already")]
    Running,
    #[error("the job waits for its next time, which begins with a journal of its own")]
    Waits,
    #[error("the job is done once")]
    Once,
    #[error("the items are known already")]
    PlannedTwice,
    #[error("there is no source {0} that still is read")]
    NoSuchSource(u32),
    #[error("there is no item {0}")]
    NoSuchItem(u32),
    #[error("item {0} has ended already")]
    ItemHasEnded(u32),
    #[error("more than {MOST_ITEMS} items")]
    TooManyItems,
    #[error("items still wait")]
    ItemsWait,
    #[error("a journal begins with its creation, and has only one")]
    Creation,
}

impl Job {
    /// The job that a journal's first event makes.
    pub fn create(id: JobId, at: Millis, event: Event) -> Result<Self, Refused> {
        let Event::Created { order, request_id, settings, terms } = event else {
            return Err(Refused::Creation);
        };
        Ok(Self {
            id,
            order: Arc::new(order),
            request_id: request_id.into(),
            settings: Arc::new(settings),
            terms: Arc::new(terms),
            state: State::Pending,
            created_at: at,
            updated_at: at,
            plan: None,
            run_started_at: None,
            run_base: 0,
            fruitless_runs: 0,
        })
    }

    /// Whether the event applies to the job as it is.
    pub fn check(&self, event: &Event) -> Result<(), Refused> {
        if matches!(self.state, State::Ended { outcome: Outcome::Completed, .. }) {
            return Err(Refused::Complete);
        }
        let running = self.state == State::Running;
        match event {
            Event::Created { .. } => Err(Refused::Creation),
            Event::Scheduled { .. } if self.terms.every.is_none() => Err(Refused::Once),
            // It is put off, or somebody ends it.
            Event::Scheduled { .. } | Event::Ended(_) if self.is_scheduled() => Ok(()),
            _ if self.is_scheduled() => Err(Refused::Waits),
            // A running job that starts again is one whose daemon died.
            Event::Started => Ok(()),
            Event::Retried { .. } if running => Err(Refused::Running),
            Event::Retried { only } => {
                let has_failed = |item: &&u32| {
                    self.items().is_some_and(|items| items.item_state(**item) == Some(ItemState::Failed))
                };
                match only.iter().find(|item| !has_failed(item)) {
                    None => Ok(()),
                    Some(item) => Err(Refused::NoSuchItem(*item)),
                }
            }
            // A run that could not even begin is put off, too.
            Event::Paused { .. } if !self.has_ended() => Ok(()),
            _ if !running => Err(Refused::NotRunning),
            Event::Planned { .. } | Event::SourcesPlanned { .. } if self.plan.is_some() => {
                Err(Refused::PlannedTwice)
            }
            Event::Planned { items } if items.len() > MOST_ITEMS => Err(Refused::TooManyItems),
            Event::SourcesPlanned { sources } if sources.len() > MOST_ITEMS => Err(Refused::TooManyItems),
            Event::Planned { .. }
            | Event::SourcesPlanned { .. }
            | Event::Paused { .. }
            | Event::Ended(Outcome::Failed { .. })
            | Event::Scheduled { outcome: Outcome::Failed { .. }, .. } => Ok(()),
            Event::ItemDone { item, .. } | Event::ItemFailed { item, .. } => {
                match self.items().and_then(|items| items.item_state(*item)) {
                    None => Err(Refused::NoSuchItem(*item)),
                    Some(ItemState::Waiting) => Ok(()),
                    Some(_) => Err(Refused::ItemHasEnded(*item)),
                }
            }
            Event::Lost { items } => {
                let is_successful = |item: &&u32| {
                    let state = self.items().and_then(|known| known.item_state(**item));
                    matches!(state, Some(ItemState::Done | ItemState::Before))
                };
                match items.iter().find(|item| !is_successful(item)) {
                    None => Ok(()),
                    Some(item) => Err(Refused::NoSuchItem(*item)),
                }
            }
            Event::PageDone(PageDone { source, .. }) | Event::SourceEnded { source, .. } => {
                match self.sources().and_then(|sources| sources.get(*source)) {
                    Some(known) if known.end.is_none() => Ok(()),
                    _ => Err(Refused::NoSuchSource(*source)),
                }
            }
            Event::Ended(_) | Event::Scheduled { .. } => match &self.plan {
                Some(plan) if plan.is_done() => Ok(()),
                _ => Err(Refused::ItemsWait),
            },
        }
    }

    /// Changes the job as the event says, or refuses it and changes nothing.
    pub fn apply(&mut self, at: Millis, event: Event) -> Result<(), Refused> {
        self.check(&event)?;
        let mut progress = true;
        match event {
            Event::Created { .. } => {}
            Event::Started => {
                self.state = State::Running;
                self.run_started_at = Some(at);
                self.run_base = self.plan.as_ref().map_or(0, Plan::current);
                self.fruitless_runs += 1;
                progress = false;
            }
            Event::Retried { only } => match &mut self.plan {
                Some(Plan::Items(items)) => items.retry(&only),
                Some(Plan::Sources(sources)) => sources.retry(),
                None => {}
            },
            Event::Planned { items } => self.plan = Some(Plan::Items(Items::new(&items))),
            Event::SourcesPlanned { sources } => self.plan = Some(Plan::Sources(PagedSources::new(&sources))),
            Event::PageDone(page) => {
                if let Some(Plan::Sources(sources)) = &mut self.plan {
                    sources.page(page);
                }
            }
            Event::SourceEnded { source, end } => {
                if let Some(Plan::Sources(sources)) = &mut self.plan {
                    sources.end(source, end);
                }
            }
            Event::ItemDone { item, how } => {
                if let Some(Plan::Items(items)) = &mut self.plan {
                    items.succeed(item, how);
                }
            }
            Event::Lost { items: lost } => {
                if let Some(Plan::Items(items)) = &mut self.plan {
                    items.lose(lost);
                }
                self.run_base = self.plan.as_ref().map_or(0, Plan::current);
            }
            Event::ItemFailed { item, failure } => {
                if let Some(Plan::Items(items)) = &mut self.plan {
                    items.fail(item, failure);
                }
            }
            Event::Paused { reason, message, resume_at } => {
                progress = reason != PauseReason::Crashes;
                self.state = State::Paused { reason, message, resume_at };
            }
            Event::Ended(outcome) => self.state = State::Ended { outcome, at },
            Event::Scheduled { outcome, next } => {
                // One that is put off ended when it ended.
                let at = if let State::Scheduled { at, .. } = self.state { at } else { at };
                self.state = State::Scheduled { outcome, at, next };
            }
        }
        if progress {
            self.fruitless_runs = 0;
        }
        self.updated_at = at;
        Ok(())
    }

    /// The items, of a job that knows them by name.
    pub fn items(&self) -> Option<&Items> {
        match &self.plan {
            Some(Plan::Items(items)) => Some(items),
            _ => None,
        }
    }

    /// The sources, of a job that reads pages.
    pub fn sources(&self) -> Option<&PagedSources> {
        match &self.plan {
            Some(Plan::Sources(sources)) => Some(sources),
            _ => None,
        }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Whether it waits for its next time.
    pub fn is_scheduled(&self) -> bool {
        matches!(self.state, State::Scheduled { .. })
    }

    /// When the daemon lets it go on by itself.
    pub fn goes_on_at(&self) -> Option<Millis> {
        match self.state {
            State::Paused { resume_at, .. } => resume_at,
            State::Scheduled { next, .. } => Some(next),
            State::Pending | State::Running | State::Ended { .. } => None,
        }
    }

    /// Whether the daemon still has something to do for it without being asked.
    pub fn is_active(&self) -> bool {
        match &self.state {
            State::Pending | State::Running | State::Scheduled { .. } => true,
            State::Paused { resume_at, .. } => resume_at.is_some(),
            State::Ended { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
