//! Jobs that leave: the oldest that have ended, and those whose folders somebody removed.

use super::Keeper;
use crate::job::State;
use specweave_jobs::clock::Millis;
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::{crash, disk};

impl Keeper {
    /// Removes all but the newest `keep` ended jobs.
    pub(super) fn prune(&mut self, keep: usize) -> Vec<JobId> {
        let mut ended: Vec<(Millis, JobId)> = self
            .snapshot
            .jobs
            .values()
            .filter_map(|entry| match entry.job.state {
                State::Ended { at, .. } => Some((at, entry.job.id.clone())),
                _ => None,
            })
            .collect();
        ended.sort();
        ended.truncate(ended.len().saturating_sub(keep));
        let removed: Vec<JobId> = ended.into_iter().map(|(_, id)| id).collect();
        for id in &removed {
            if let Err(error) = remove_job_folder(&self.project, id) {
                tracing::warn!(job = %id, %error, "an old job's folder could not be removed");
            }
            self.forget(id);
        }
        removed
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
