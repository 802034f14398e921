//! Jobs that SpecWeave wrote: how ours end its workers, and which of its jobs become ours.

use super::{Service, blocking};
use crate::job::snapshot::Entry;
use crate::keeper::Resumed;
use crate::mirror;
use crate::net::secrets::Caller;
use crate::rpc::errors::{self, error, from_keeper};
use crate::work::adoption::{AdoptError, Left};
use crate::work::config::ConfigError;
use crate::work::kind;
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::v1::{Job, JobState, KillJobResponse};
use specweave_jobs::{clock, disk, process, reason};
use tonic::{Code, Status};

/// Its worker is asked to end, as SpecWeave would: SIGTERM, if the pid still is its worker. The list then says
/// `paused`, also of a job whose worker died long ago.
pub(super) async fn kill(project: &Project, mut job: Job) -> Result<KillJobResponse, Status> {
    let refused = |why: &str| {
        let text = format!("job {} {why}", job.id);
        error(Code::FailedPrecondition, reason::JOB_NOT_KILLABLE, text, [])
    };
    let id = JobId::parse(&job.id).ok_or_else(|| refused("has no id that can be a folder's name"))?;
    let worker = process::read_pid(&project.job(&id).pid()).filter(|(_, alive)| *alive);
    if let Some((pid, _)) = worker.filter(|(pid, _)| !process::is_worker_of(*pid, id.as_str())) {
        return Err(refused(&format!(
            "names process {pid} as its worker, which does not work on this job, so that it is not signalled"
        )));
    }
    if worker.is_none() && !matches!(job.state(), JobState::Running | JobState::Pending) {
        let state = specweave_jobs::mirror::status_word(job.state());
        return Err(refused(&format!("is not running ({state})")));
    }
    if let Some(worker) = worker.and_then(|(pid, _)| rustix::process::Pid::from_raw(pid as i32)) {
        // SpecWeave starts it as the leader of a group, in which its git is, too; it leaves that running when it ends alone.
        rustix::process::kill_process_group(worker, rustix::process::Signal::TERM)
            .or_else(|_| rustix::process::kill_process(worker, rustix::process::Signal::TERM))
            .map_err(|error| refused(&format!("has a worker that takes no signal: {error}")))?;
    }
    let owned_project = project.clone();
    let writing = tokio::task::spawn_blocking(move || mirror::pause_foreign(&owned_project, &id));
    let paused = writing.await.map_err(std::io::Error::other).and_then(|written| written);
    if !paused.map_err(|error| refused(&format!("could not be written to the list: {error}")))? {
        return Err(refused("is not in background-jobs.json and has no worker of its own"));
    }
    job.alive = false;
    job.set_state(JobState::Paused);
    Ok(KillJobResponse { job: Some(job), pid: worker.map_or(0, |(pid, _)| pid) })
}

impl Service {
    pub(super) async fn resume(
        &self,
        entry: &Entry,
        only: Vec<String>,
        caller: Caller,
    ) -> Result<Resumed, Status> {
        let restart = kind::of(&entry.job.order).restart_command(&self.project.job(&entry.job.id));
        let resumed = self.keeper.resume(entry.job.id.clone(), only, caller).await;
        resumed.map_err(|error| errors::from_resume(error, &restart))
    }

    /// Takes over a job whose worker is dead and whose kind of work this daemon does.
    pub(super) async fn adopt(&self, job: Job, mut caller: Caller) -> Result<(Resumed, Vec<String>), Status> {
        let refused = |text: String| error(Code::FailedPrecondition, reason::JOB_NOT_RESUMABLE, text, []);
        if job.alive {
            return Err(refused(format!("job {} is run by SpecWeave (process {})", job.id, job.pid)));
        }
        if job.state() == JobState::Completed {
            return Err(refused(format!("job {} is already completed", job.id)));
        }
        let Some(adopter) = kind::adopter(job.r#type()) else {
            let text = format!(
                "job {} belongs to another tool: this daemon cannot go on with {} of SpecWeave",
                job.id, job.type_name
            );
            return Err(refused(text));
        };
        let id = JobId::parse(&job.id).ok_or_else(|| errors::not_found(&job.id, &[]))?;
        let files = self.project.job(&id);
        if disk::facts(&files.folder).is_ok_and(|facts| facts.kind == disk::Kind::Link) {
            return Err(refused(format!("the folder of job {id} is a link, and links are not followed")));
        }
        let left = Left { id: id.clone(), files, listed: self.foreign.config_of(&id).await };
        let read = move || ((adopter.read)(&left, &mut caller), caller);
        let (adoption, caller) = blocking(read).await?;
        let mut adoption = adoption.map_err(|failure| match failure {
            AdoptError::Config(ConfigError::Missing(_)) => error(
                Code::FailedPrecondition,
                reason::CONFIG_NOT_FOUND,
                format!("config not found: SpecWeave left no config.json of job {id}"),
                [("restart", adopter.restart.to_owned())],
            ),
            other => refused(format!("job {id} cannot be taken over: {other}")),
        })?;
        if adopter.prepares {
            adoption.order = self.prepared(adoption.order, &caller).await?;
        }
        let notices = adoption.notices.clone();
        let created_at = job.started_at.as_ref().map_or_else(clock::now, clock::millis);
        let resumed = self.keeper.adopt(id, created_at, adoption, caller).await.map_err(from_keeper)?;
        Ok((resumed, notices))
    }
}
