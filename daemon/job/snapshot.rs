//! What everybody reads: a snapshot of all jobs. Only the keeper makes one.

use crate::job::{ItemState, Job, State};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// All jobs as they stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows with every change.
    pub revision: u64,
    pub jobs: BTreeMap<JobId, Arc<Entry>>,
    /// Jobs that were removed last, as they stood then, for whoever follows them.
    pub removed: VecDeque<Arc<Entry>>,
    /// What was found wrong and set right, for people.
    pub notices: Vec<String>,
}

/// Removed jobs that are remembered.
const MOST_REMOVED: usize = 64;

impl Snapshot {
    /// Takes a job from it.
    pub fn remove(&mut self, id: &JobId) {
        self.revision += 1;
        if let Some(entry) = self.jobs.remove(id) {
            self.removed.push_back(entry);
            if self.removed.len() > MOST_REMOVED {
                self.removed.pop_front();
            }
        }
    }

    /// A job, also one that was removed a while ago.
    pub fn last_seen(&self, id: &JobId) -> Option<&Arc<Entry>> {
        self.jobs.get(id).or_else(|| self.removed.iter().rev().find(|entry| entry.job.id == *id))
    }

    /// The job that a request has made; nothing for one without a name.
    pub fn requested(&self, request_id: &str) -> Option<&Arc<Entry>> {
        let made = |entry: &&Arc<Entry>| *entry.job.request_id == *request_id;
        self.jobs.values().find(made).filter(|_| !request_id.is_empty())
    }
}

/// One job in it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub job: Job,
    /// The snapshot's revision when this job last changed.
    pub revision: u64,
    /// The stand-in's pid while the job runs.
    pub pid: u32,
    /// What the work tells of itself; not durable.
    pub news: News,
}

/// What a run tells beside its events.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// What the work touched last.
    pub item: Arc<str>,
    pub phase: &'static str,
    /// What it worked on when it looked last: an item of these may have ended since.
    pub active: Vec<UnderWay>,
    /// How much of this run is done, where its items are not alike.
    pub weighed: Option<Weighed>,
    /// Milliseconds of waiting that surely are ahead of it, such as for a limit that it will reach.
    pub ahead: Millis,
}

/// The items of a run by what they weigh, in any unit: their number says little where one is a thousand times another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    pub done: f64,
    pub left: f64,
}

/// An item that is being worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    pub item: u32,
    pub name: Arc<str>,
    /// Bytes that have come.
    pub received: u64,
    /// Bytes a second since it began.
    pub per_second: u64,
    /// Objects that have come, of so many; 0 where that is not known.
    pub objects: u64,
    pub total_objects: u64,
}

impl UnderWay {
    /// How much of it is done, from 0 to 1.
    pub fn part(&self) -> f64 {
        if self.total_objects == 0 {
            return 0.0;
        }
        self.objects.min(self.total_objects) as f64 / self.total_objects as f64
    }
}

impl Entry {
    pub fn new(job: Job) -> Self {
        Self { job, revision: 0, pid: 0, news: News::default() }
    }

    /// What is being worked on. An item that has ended is told once, as ended.
    pub fn under_way(&self) -> impl Iterator<Item = &UnderWay> {
        let is_running = self.job.state == State::Running;
        let items = self.job.items();
        let waits = move |item| items.and_then(|items| items.item_state(item)) == Some(ItemState::Waiting);
        self.news.active.iter().filter(move |one| is_running && waits(one.item))
    }
}
