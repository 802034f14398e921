//! What everybody reads: a snapshot of all jobs. Only the keeper makes one.

use crate::job::Job;
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
    /// What it works on at the moment, with the bytes that have come.
    pub active: Vec<(Arc<str>, u64)>,
    /// Milliseconds of waiting that surely are ahead of it, such as for a limit that it will reach.
    pub ahead: Millis,
}

impl Entry {
    pub fn new(job: Job) -> Self {
        Self { job, revision: 0, pid: 0, news: News::default() }
    }
}
