//! What everybody reads: a snapshot of all jobs. Only the keeper makes one.

use crate::job::Job;
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All jobs as they stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Grows with every change.
    pub revision: u64,
    pub jobs: BTreeMap<JobId, Arc<Entry>>,
    /// What was found wrong and set right, for people.
    pub notices: Vec<String>,
}

/// One job on the board.
#[derive(Clone, Debug)]
pub struct Entry {
    pub job: Job,
    /// The board's revision when this job last changed.
    pub revision: u64,
    /// The stand-in's pid while the job runs.
    pub pid: u32,
    /// What the work touched last; not durable.
    pub item: Arc<str>,
    pub phase: &'static str,
    /// Milliseconds of waiting that surely are ahead of it, such as for a limit that it will reach.
    pub ahead: Millis,
}

impl Entry {
    pub fn new(job: Job) -> Self {
        Self { job, revision: 0, pid: 0, item: "".into(), phase: "", ahead: 0 }
    }
}
