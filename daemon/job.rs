//! What a job is and how events change it. Pure: no I/O, no clock, no randomness, so that replaying a
//! journal always gives the same job. [`Job::apply`] is the only way to change one; the keeper is its
//! only caller.

use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use specweave_jobs::v1;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was asked for. Journalled, so that it never holds a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Clone(v1::CloneSpec),
}

impl Order {
    pub fn kind(&self) -> v1::JobType {
        match self {
            Self::Clone(_) => v1::JobType::CloneRepos,
        }
    }
}

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
    Failed { error: String },
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
    },
    /// A run began.
    Started,
    /// The items are known. Once a job.
    Planned {
        items: Vec<String>,
    },
    ItemDone {
        item: u32,
        how: Done,
    },
    ItemFailed {
        item: u32,
        error: String,
    },
    /// The run ended before the work was done.
    Paused {
        reason: PauseReason,
        message: String,
        resume_at: Option<Millis>,
    },
    /// Failed items wait again.
    Retried,
    Ended(Outcome),
}

/// Where a job stands, with what belongs to that state alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Running,
    Paused { reason: PauseReason, message: String, resume_at: Option<Millis> },
    Ended { outcome: Outcome, at: Millis },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Waiting,
    Done,
    Before,
    Failed,
}

/// The items of a job: names in one shared text, a byte of state each, so that ten thousand cost little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    names: Arc<Names>,
    marks: Vec<Mark>,
    /// Successful items in the order in which they ended, as the documented file lists them.
    order: Vec<u32>,
    errors: BTreeMap<u32, Arc<str>>,
    waiting: usize,
    before: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Items {
    fn new(names: &[String]) -> Self {
        let mut text = String::with_capacity(names.iter().map(String::len).sum());
        let mut ends = Vec::with_capacity(names.len());
        for name in names {
            text.push_str(name);
            ends.push(text.len() as u32);
        }
        Self {
            names: Arc::new(Names { text, ends }),
            marks: vec![Mark::Waiting; names.len()],
            waiting: names.len(),
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.marks.len()
    }

    pub fn name(&self, item: u32) -> &str {
        let at = item as usize;
        let start = if at == 0 { 0 } else { self.names.ends[at - 1] as usize };
        &self.names.text[start..self.names.ends[at] as usize]
    }

    pub fn mark(&self, item: u32) -> Mark {
        self.marks[item as usize]
    }

    pub fn error(&self, item: u32) -> Option<&str> {
        self.errors.get(&item).map(AsRef::as_ref)
    }

    /// Successful items in the order in which they ended.
    pub fn succeeded(&self) -> impl ExactSizeIterator<Item = u32> {
        self.order.iter().copied()
    }

    pub fn failed(&self) -> impl ExactSizeIterator<Item = (u32, &str)> {
        self.errors.iter().map(|(item, error)| (*item, error.as_ref()))
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

    fn end(&mut self, item: u32, mark: Mark) -> Result<(), Refused> {
        match self.marks.get(item as usize) {
            None => Err(Refused::NoSuchItem(item)),
            Some(Mark::Waiting) => {
                self.marks[item as usize] = mark;
                self.waiting -= 1;
                Ok(())
            }
            Some(_) => Err(Refused::ItemHasEnded(item)),
        }
    }

    fn retry(&mut self) {
        for item in std::mem::take(&mut self.errors).into_keys() {
            self.marks[item as usize] = Mark::Waiting;
            self.waiting += 1;
        }
    }
}

/// One job. Every field follows from its journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub order: Order,
    pub request_id: String,
    /// Base addresses and the like from the caller's environment; nothing secret.
    pub settings: BTreeMap<String, String>,
    pub state: State,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// `None` until the items are known.
    pub items: Option<Items>,
    /// When the present or last run began, and how many items had ended by then: the base of the rate.
    pub run_started_at: Option<Millis>,
    pub run_base: usize,
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
    #[error("the items are known already")]
    PlannedTwice,
    #[error("there is no item {0}")]
    NoSuchItem(u32),
    #[error("item {0} has ended already")]
    ItemHasEnded(u32),
    #[error("items still wait")]
    ItemsWait,
    #[error("a journal begins with its creation, and has only one")]
    Creation,
}

impl Job {
    /// The job that a journal's first event makes.
    pub fn create(id: JobId, at: Millis, event: Event) -> Result<Self, Refused> {
        let Event::Created { order, request_id, settings } = event else {
            return Err(Refused::Creation);
        };
        Ok(Self {
            id,
            order,
            request_id,
            settings,
            state: State::Pending,
            created_at: at,
            updated_at: at,
            items: None,
            run_started_at: None,
            run_base: 0,
            fruitless_runs: 0,
        })
    }

    /// Changes the job as the event says, or refuses it and changes nothing.
    pub fn apply(&mut self, at: Millis, event: Event) -> Result<(), Refused> {
        if matches!(self.state, State::Ended { outcome: Outcome::Completed, .. }) {
            return Err(Refused::Complete);
        }
        let running = self.state == State::Running;
        match event {
            Event::Created { .. } => return Err(Refused::Creation),
            Event::Started => {
                // A running job that starts again is one whose daemon died.
                self.state = State::Running;
                self.run_started_at = Some(at);
                self.run_base = self.items.as_ref().map_or(0, Items::current);
                self.fruitless_runs += 1;
            }
            Event::Retried if running => return Err(Refused::Running),
            Event::Retried => {
                if let Some(items) = &mut self.items {
                    items.retry();
                }
                self.fruitless_runs = 0;
            }
            _ if !running => return Err(Refused::NotRunning),
            Event::Planned { items } => {
                if self.items.is_some() {
                    return Err(Refused::PlannedTwice);
                }
                self.items = Some(Items::new(&items));
                self.fruitless_runs = 0;
            }
            Event::ItemDone { item, how } => {
                let items = self.items.as_mut().ok_or(Refused::NoSuchItem(item))?;
                items.end(item, if how == Done::Now { Mark::Done } else { Mark::Before })?;
                items.order.push(item);
                items.before += usize::from(how == Done::Before);
                self.fruitless_runs = 0;
            }
            Event::ItemFailed { item, error } => {
                let items = self.items.as_mut().ok_or(Refused::NoSuchItem(item))?;
                items.end(item, Mark::Failed)?;
                items.errors.insert(item, error.into());
                self.fruitless_runs = 0;
            }
            Event::Paused { reason, message, resume_at } => {
                self.state = State::Paused { reason, message, resume_at };
                if reason != PauseReason::Crashes {
                    self.fruitless_runs = 0;
                }
            }
            Event::Ended(outcome) => {
                let waits = self.items.as_ref().is_none_or(|items| items.waiting() > 0);
                if waits && !matches!(outcome, Outcome::Failed { .. }) {
                    return Err(Refused::ItemsWait);
                }
                self.state = State::Ended { outcome, at };
                self.fruitless_runs = 0;
            }
        }
        self.updated_at = self.updated_at.max(at);
        Ok(())
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Whether the daemon still has something to do for it without being asked.
    pub fn is_active(&self) -> bool {
        match &self.state {
            State::Pending | State::Running => true,
            State::Paused { resume_at, .. } => resume_at.is_some(),
            State::Ended { .. } => false,
        }
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
