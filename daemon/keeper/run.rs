//! One run of a job: its task, its token, its stand-in process.

use super::handle::KeptRun;
use super::{Command, Keeper, KeeperError, Reply};
use crate::job::snapshot::Entry;
use crate::job::{Event, PauseReason};
use crate::keeper::stand_in::StandIn;
use crate::model::failure::Reason;
use crate::net::secrets::Secrets;
use crate::store::job_log::WorkerLog;
use crate::work::{self, Context, Finish, Live, Stop};
use specweave_jobs::project::{JobFiles, JobId};
use specweave_jobs::{crash, disk};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How much later than its stand-ins the daemon may hear that the machine goes down.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(300);

/// Who wants a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A start, a moment that has come, a daemon that came back.
    Daemon,
    /// Somebody who wants a job to go on now, whatever it waits for.
    Person,
}

pub(super) struct Run {
    /// Tells this run's messages from those of an earlier one.
    pub number: u64,
    cancel: CancellationToken,
    /// Why it was cancelled; the first reason counts.
    reason: Option<PauseReason>,
    /// Whether another run follows at once, with what a person has brought.
    again: bool,
    /// Who waits for the run to be over.
    pub killers: Vec<Reply<Arc<Entry>>>,
    /// Dropping it dismisses the stand-in.
    _dismissal: oneshot::Sender<()>,
}

impl Run {
    pub(super) fn end_because(&mut self, reason: PauseReason) {
        self.reason.get_or_insert(reason);
        self.cancel.cancel();
    }

    /// Ends it, to go on with what a person has brought.
    pub(super) fn start_over(&mut self) {
        self.again = true;
        self.cancel.cancel();
    }

    /// Whether another run is to follow one that came to this.
    pub(super) fn goes_on(&self, result: &Result<Finish, Stop>) -> bool {
        let unfinished =
            matches!(result, Err(Stop::Cancelled | Stop::Pause { reason: PauseReason::Credentials, .. }));
        self.again && self.reason.is_none() && unfinished
    }

    /// Whether somebody ordered its end.
    pub(super) fn was_ended(&self) -> bool {
        self.reason.is_some()
    }

    pub(super) fn pause_event(&self) -> Event {
        let reason = self.reason.unwrap_or(PauseReason::Killed);
        let message = match reason {
            PauseReason::DaemonStopped => "the daemon was stopped; goes on at its next start",
            _ => "killed",
        };
        Event::Paused { reason, message: message.to_owned(), resume_at: None }
    }

    /// The documented file says "a worker lives"; none does any more.
    pub(super) fn end(&self, files: &JobFiles) {
        match disk::remove_file(&files.pid()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "worker.pid could not be removed");
            }
            _ => crash::point("worker.pid-removed"),
        }
    }
}

impl Keeper {
    /// Starts a run: stand-in, `worker.pid`, journal line, task.
    pub(super) fn launch(&mut self, id: &JobId, cause: Cause) -> Result<(), KeeperError> {
        let storage = |error| KeeperError::Storage(Arc::new(error));
        self.begin_next_time(id).map_err(storage)?;
        let files = self.project.job(id);
        let job = self.snapshot.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?.job.clone();
        let caller = self.callers.get(id).cloned().unwrap_or_default();
        let secrets = Arc::new(Secrets::new(&self.project, caller, &job.settings));
        let log = Arc::new(WorkerLog::open(&files.log(), secrets.redactor()).map_err(storage)?);
        let mut standin = StandIn::start(id).map_err(storage)?;
        let pid = standin.pid();
        crash::point("stand-in-started");
        disk::replace_unsynced(&files.pid(), pid.to_string().as_bytes(), 0o644).map_err(storage)?;
        // Work begins when its start is on the disk: whoever is told that nothing was started finds nothing started.
        let started = self.commit(id, Event::Started).and_then(|()| self.sync(id));
        started.inspect_err(|_| drop(disk::remove_file(&files.pid())))?;

        self.spare.keep();
        self.last_run += 1;
        let number = self.last_run;
        let cancel = CancellationToken::new();
        let (dismissal, dismissed) = oneshot::channel();
        let (inbox, gone_id) = (self.handle.inbox.clone(), id.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = dismissed => standin.dismiss().await,
                () = standin.gone() => {
                    // A machine that goes down ends every process at once; then the daemon's own end counts.
                    tokio::time::sleep(SHUTDOWN_GRACE).await;
                    let _ = inbox.send(Command::StandInGone { id: gone_id, run: number }).await;
                }
            }
        });
        log.line(&format!("Worker started for job {id}"));
        log.line(&format!("Project path: {}", self.project.root().display()));
        log.line(&format!("PID: {pid}"));
        self.touch(id, |entry| {
            entry.pid = pid;
            entry.news.phase = if entry.job.plan.is_none() { "starting" } else { "" };
        });
        let context = Context {
            job: self.snapshot.jobs[id].job.clone(),
            project: self.project.clone(),
            key: self.key.clone(),
            tenure: self.tenure.clone(),
            secrets,
            cancel: cancel.clone(),
            insists: cause == Cause::Person,
            log: log.clone(),
            keeper: Box::new(KeptRun { keeper: self.handle.clone(), id: id.clone(), run: number }),
            live: Live::default(),
            standing: Mutex::new(self.snapshot.jobs[id].clone()),
        };
        let run =
            Run { number, cancel, reason: None, again: false, killers: Vec::new(), _dismissal: dismissal };
        self.runs.insert(id.clone(), run);
        let (inbox, id) = (self.handle.inbox.clone(), id.clone());
        tokio::spawn(async move {
            let result = outcome(tokio::spawn(work::kind::run(context)).await);
            log_end(&log, &result);
            let _ = inbox.send(Command::Over { id, run: number, result }).await;
        });
        Ok(())
    }
}

/// A panic fails its own job and nothing else.
fn outcome(joined: Result<Result<Finish, Stop>, tokio::task::JoinError>) -> Result<Finish, Stop> {
    joined.unwrap_or_else(|error| {
        tracing::error!(%error, "a job's task panicked");
        Err(Stop::fail(Reason::Internal, "internal error; the daemon's log has the details"))
    })
}

fn log_end(log: &WorkerLog, result: &Result<Finish, Stop>) {
    match result {
        Ok(_) => {}
        Err(Stop::Cancelled) => log.line("Worker stopped; everything done so far is kept"),
        Err(Stop::Pause { message, .. }) => log.line(&format!("Paused: {message}")),
        Err(Stop::Fail(failure)) => log.line(&format!("ERROR: {failure}")),
    }
}
