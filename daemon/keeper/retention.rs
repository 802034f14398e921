//! Jobs that leave: the oldest that have ended, and those whose folders somebody removed.

use super::{Keeper, Which};
use crate::job::order::Order;
use crate::job::snapshot::Entry;
use crate::job::{Job, Outcome, State};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::{crash, disk};
use std::sync::Arc;

/// What an ended job is kept as. Each has so many places, and the oldest of a kind leave for the newer ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Memory {
    /// All of it was done: the documented list has the last ten.
    Completed,
    /// A decision over one conflict is done in a moment: many of them are not to push the others out.
    Decided,
    /// Somebody may want to go on with it.
    Unfinished,
}

impl Memory {
    fn of(job: &Job) -> Option<(Self, Millis)> {
        let State::Ended { outcome, at } = &job.state else { return None };
        let memory = match (outcome, &*job.order) {
            (Outcome::Completed, Order::Sync(order)) if order.resolve => Self::Decided,
            (Outcome::Completed, _) => Self::Completed,
            (Outcome::CompletedWithWarnings { .. } | Outcome::Failed { .. }, _) => Self::Unfinished,
        };
        Some((memory, *at))
    }

    fn places(self) -> usize {
        match self {
            Self::Completed | Self::Decided => 10,
            Self::Unfinished => 100,
        }
    }
}

impl Keeper {
    /// Lets those leave that have no place any more.
    pub(super) fn retain(&mut self) {
        let mut ended: Vec<(Memory, Millis, JobId)> = self
            .snapshot
            .jobs
            .values()
            .filter_map(|entry| Memory::of(&entry.job).map(|(memory, at)| (memory, at, entry.job.id.clone())))
            .collect();
        ended.sort();
        for of_a_kind in ended.chunk_by(|one, next| one.0 == next.0) {
            let surplus = of_a_kind.len().saturating_sub(of_a_kind[0].0.places());
            of_a_kind[..surplus].iter().for_each(|(.., id)| self.let_go(id));
        }
    }

    /// Removes ended jobs, or only says which: the oldest first.
    pub(super) fn prune(&mut self, which: Which) -> Vec<Arc<Entry>> {
        let mut ended: Vec<(Millis, Arc<Entry>)> = self
            .snapshot
            .jobs
            .values()
            .filter_map(|entry| Some((Memory::of(&entry.job)?.1, entry.clone())))
            .collect();
        ended.sort_by(|(at, one), (other_at, other)| (at, &one.job.id).cmp(&(other_at, &other.job.id)));
        ended.truncate(ended.len().saturating_sub(which.keep));
        ended.retain(|(at, _)| *at <= which.before);
        ended.retain(|(_, entry)| which.ids.is_empty() || which.ids.contains(&entry.job.id));
        let entries: Vec<Arc<Entry>> = ended.into_iter().map(|(_, entry)| entry).collect();
        if !which.dry_run {
            entries.iter().for_each(|entry| self.let_go(&entry.job.id));
        }
        entries
    }

    fn let_go(&mut self, id: &JobId) {
        if let Err(error) = remove_job_folder(&self.project, id) {
            tracing::warn!(job = %id, %error, "an old job's folder could not be removed");
        }
        self.forget(id);
    }

    pub(super) fn sweep(&mut self) {
        let gone: Vec<JobId> = self
            .snapshot
            .jobs
            .values()
            .filter(|entry| !self.runs.contains_key(&entry.job.id))
            .map(|entry| entry.job.id.clone())
            .filter(|id| !disk::exists(&self.project.job(id).folder))
            .collect();
        for id in gone {
            tracing::info!(job = %id, "its folder was removed by hand");
            self.forget(&id);
        }
    }

    pub(super) fn forget(&mut self, id: &JobId) {
        self.journals.remove(id);
        self.owed.remove(id);
        self.callers.remove(id);
        self.requests.retain(|_, known| known != id);
        self.waits.remove(id);
        self.snapshot.remove(id);
    }
}

/// It loses its name first, so that a crash leaves a whole job or none.
pub(super) fn remove_job_folder(project: &Project, id: &JobId) -> std::io::Result<()> {
    let unnamed = project.unnamed_job(id).folder;
    disk::rename(&project.job(id).folder, &unnamed)?;
    crash::point("job-folder-unnamed");
    disk::remove_folder(&unnamed)
}
