//! The one owner of all jobs. Commands come in by one inbox; each change is applied, journalled and synced
//! before its sender hears of it; then the [`Snapshot`] that everybody reads is replaced.
//!
//! Orders travel by token and inbox, news by the snapshot's revision. Nothing else holds a job.

mod commands;
mod finish;
mod handle;
mod load;
mod memory;
mod retention;
mod run;
mod schedule;
pub mod stand_in;

pub use handle::{KeeperError, KeeperHandle, Resumed, Which};

use crate::job::snapshot::{Entry, Snapshot};
use crate::job::{Event, Outcome, PauseReason, Refused, State};
use crate::net::deadline::Deadline;
use crate::net::secrets::Caller;
use crate::store::journal::Journal;
use crate::store::mac::PlaceKey;
use crate::store::tenure::Tenure;
use crate::work::{Finish, Live, STORAGE_RETRY_MS, Stop};
use finish::{Finished, Present};
use handle::{Command, Reply};
use memory::Spare;
use run::{Cause, Run};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobId, Project};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Commands that may wait; a sender beyond that waits for room.
const INBOX: usize = 1024;

/// Runs in a row that the daemon did not survive and that made no progress, before the job is left alone.
const MOST_FRUITLESS_RUNS: u32 = 3;

/// Answers wait here until what they tell is durable.
type Answer = Box<dyn FnOnce(Result<(), KeeperError>, &Snapshot) + Send>;

pub struct Keeper {
    project: Project,
    key: PlaceKey,
    tenure: Tenure,
    /// Cancelled when the project or its state is no longer this daemon's.
    leave: CancellationToken,
    present: Present,
    inbox: mpsc::Receiver<Command>,
    handle: KeeperHandle,
    published: watch::Sender<Option<Arc<Snapshot>>>,
    snapshot: Snapshot,
    journals: HashMap<JobId, Journal>,
    runs: HashMap<JobId, Run>,
    requests: HashMap<String, JobId>,
    last_run: u64,
    /// What came with the request that started or resumed each job; in memory only, until it has ended.
    callers: HashMap<JobId, Caller>,
    /// Events that the disk refused; they are journalled before anything else of their job.
    owed: HashMap<JobId, Vec<(Millis, Event)>>,
    unsynced: HashSet<JobId>,
    /// Until when paused jobs wait.
    waits: HashMap<JobId, Deadline>,
    answers: Vec<Answer>,
    /// Those who are being told that a job has ended.
    told: JoinSet<()>,
    /// Ends to be told once they are durable.
    finished: Vec<Finished>,
    spare: Spare,
    stopping: Option<oneshot::Sender<bool>>,
}

impl Keeper {
    /// The keeper and the way to talk to it. It answers once [`Self::keep`] runs.
    pub fn new(
        project: Project,
        key: PlaceKey,
        tenure: Tenure,
        leave: CancellationToken,
        notice: Option<String>,
        present: Present,
    ) -> (Self, KeeperHandle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (published, snapshot) = watch::channel(None);
        let epoch = format!("{:016x}", disk::random()).into();
        let handle = KeeperHandle { inbox: sender, snapshot, epoch };
        let keeper = Self {
            project,
            key,
            tenure,
            leave,
            present,
            inbox,
            handle: handle.clone(),
            published,
            snapshot: Snapshot { notices: notice.into_iter().collect(), ..Snapshot::default() },
            journals: HashMap::new(),
            runs: HashMap::new(),
            requests: HashMap::new(),
            last_run: 0,
            callers: HashMap::new(),
            owed: HashMap::new(),
            unsynced: HashSet::new(),
            waits: HashMap::new(),
            answers: Vec::new(),
            told: JoinSet::new(),
            finished: Vec::new(),
            spare: Spare::default(),
            stopping: None,
        };
        (keeper, handle)
    }

    /// Reads the journals, lets interrupted jobs go on, then serves until told to stop.
    pub async fn keep(mut self) {
        self.load();
        self.settle();
        if self.runs.is_empty() {
            self.spare.give_back_soon();
        }
        while self.stopping.is_none() || !self.runs.is_empty() {
            let next_wake = self.next_wake();
            let first = tokio::select! {
                command = self.inbox.recv() => command,
                () = sleep_until(next_wake) => {
                    self.wake();
                    self.settle();
                    continue;
                }
            };
            let Some(first) = first else { break };
            self.handle(first);
            // Everything that came meanwhile shares one sync.
            for _ in 0..INBOX {
                let Ok(next) = self.inbox.try_recv() else { break };
                self.handle(next);
            }
            self.settle();
        }
        // Whoever does not hear of an end now never will.
        while self.told.join_next().await.is_some() {}
        if let Some(done) = self.stopping.take() {
            let _ = done.send(true);
        }
    }

    fn handle(&mut self, command: Command) {
        if command.changes_something() && !self.tenure.holds() {
            // Nothing may be written where another daemon may be by now. Dropping the command refuses it.
            return self.leave.cancel();
        }
        match command {
            Command::Start { request_id, order, terms, caller, reply } => {
                let result = self.start(request_id, order, terms, caller);
                self.answer(reply, result);
            }
            Command::Kill { id, reply } => self.kill(&id, reply),
            Command::Resume { id, only, caller, reply } => {
                let result = self.resume(&id, &only, caller);
                self.answer(reply, result);
            }
            Command::Adopt { id, created_at, adoption, caller, reply } => {
                let result = self.adopt(&id, created_at, *adoption, caller);
                self.answer(reply, result);
            }
            Command::Remove { id, reply } => {
                let result = self.remove(&id);
                self.answer(reply, result);
            }
            Command::Prune { which, reply } => {
                let removed = self.prune(which);
                self.answer(reply, Ok(removed));
            }
            Command::Sweep => self.sweep(),
            Command::Checkpoint { id, run, event, reply } => {
                let result = if self.runs.get(&id).is_some_and(|current| current.number == run) {
                    self.commit(&id, event)
                } else {
                    Err(KeeperError::Refused(Refused::NotRunning))
                };
                self.answers.push(Box::new(move |synced, snapshot| {
                    let entry = synced.and(result).and_then(|()| {
                        snapshot.jobs.get(&id).cloned().ok_or_else(|| KeeperError::NotFound(id.clone()))
                    });
                    let _ = reply.send(entry);
                }));
            }
            Command::Live { id, run, live } => self.take_live(&id, run, &live),
            Command::StandInGone { id, run } => {
                if let Some(current) = self.runs.get_mut(&id).filter(|current| current.number == run) {
                    current.end_because(PauseReason::Killed);
                }
            }
            Command::Over { id, run, result } => self.over(&id, run, result),
            Command::Stop { only_if_idle, reply } => {
                while self.told.try_join_next().is_some() {}
                let is_busy =
                    !self.told.is_empty() || self.snapshot.jobs.values().any(|entry| entry.job.is_active());
                if only_if_idle && is_busy {
                    let _ = reply.send(false);
                    return;
                }
                for run in self.runs.values_mut() {
                    run.end_because(PauseReason::DaemonStopped);
                }
                self.stopping = Some(reply);
            }
        }
    }

    fn over(&mut self, id: &JobId, number: u64, result: Result<Finish, Stop>) {
        if self.runs.get(id).is_none_or(|run| run.number != number) {
            return;
        }
        let mut run = self.runs.remove(id).expect("it was just found");
        let goes_on = run.goes_on(&result);
        let event = match result {
            Ok(Finish::Complete) => Event::Ended(Outcome::Completed),
            Ok(Finish::WithWarnings(summary)) => Event::Ended(Outcome::CompletedWithWarnings { summary }),
            Err(Stop::Fail(failure)) => Event::Ended(Outcome::Failed { failure: *failure }),
            // Somebody's order outlasts a reason that would let the job go on by itself.
            Err(Stop::Pause { reason, message, resume_at }) if !run.was_ended() && !goes_on => {
                Event::Paused { reason, message, resume_at }
            }
            Err(Stop::Pause { .. } | Stop::Cancelled) if goes_on => Event::Paused {
                reason: PauseReason::Credentials,
                message: "goes on with the token that was brought".to_owned(),
                resume_at: None,
            },
            Err(Stop::Pause { .. } | Stop::Cancelled) => run.pause_event(),
        };
        let event = self.scheduled(id, event);
        run.end(&self.project.job(id));
        let committed = self.commit(id, event.clone());
        if let Err(error) = &committed {
            tracing::error!(job = %id, %error, "the end of a run could not be journalled");
            self.keep_in_memory(id, event);
        }
        self.touch(id, |entry| {
            entry.pid = 0;
            entry.news.phase = "";
            entry.news.ahead = 0;
            entry.news.active.clear();
            entry.news.weighed = None;
        });
        let entry = self.snapshot.jobs[id].clone();
        let variables = self.callers.get(id).map(|caller| caller.variables.clone()).unwrap_or_default();
        self.finished.extend(Finished::of(&self.project, &entry, self.present, &variables));
        let killers = std::mem::take(&mut run.killers);
        self.answers.push(Box::new(move |synced, _| {
            for killer in killers {
                let durable = synced.clone().and(committed.clone());
                let _ = killer.send(durable.map(|()| entry.clone()));
            }
        }));
        if goes_on && let Err(error) = self.launch(id, Cause::Person) {
            tracing::error!(job = %id, %error, "a job could not go on");
        }
        if self.snapshot.jobs[id].job.has_ended() {
            self.callers.remove(id);
            self.retain();
        }
        if self.runs.is_empty() {
            self.spare.give_back_soon();
        }
    }

    /// The disk refused the line. Memory is the truth while the daemon lives: the job waits there, is tried
    /// again, and the journal hears of it first when it takes lines again.
    fn keep_in_memory(&mut self, id: &JobId, event: Event) {
        let event = match event {
            Event::Paused { .. } | Event::Scheduled { .. } => event,
            _ => Event::Paused {
                reason: PauseReason::Storage,
                message: "the state folder cannot be written".into(),
                resume_at: Some(clock::now() + STORAGE_RETRY_MS),
            },
        };
        let now = clock::now();
        let mut applied = Ok(());
        self.touch(id, |entry| applied = entry.job.apply(now, event.clone()));
        match applied {
            Ok(()) => {
                let owed = self.owed.entry(id.clone()).or_default();
                // However long the disk is full: the last pause tells all that an earlier one would.
                if let Some((_, Event::Paused { .. } | Event::Scheduled { .. })) = owed.last() {
                    owed.pop();
                }
                owed.push((now, event));
            }
            Err(error) => tracing::error!(job = %id, %error, "a job could not be put off"),
        }
    }

    /// Applies an event and journals it; durable after the next [`Self::settle`].
    fn commit(&mut self, id: &JobId, event: Event) -> Result<(), KeeperError> {
        let entry = self.snapshot.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?;
        entry.job.check(&event)?;
        let now = clock::now();
        let journal = self.journals.get_mut(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?;
        let storage = |error| KeeperError::Storage(Arc::new(error));
        if let Some(owed) = self.owed.get_mut(id) {
            while let Some((at, earlier)) = owed.first() {
                journal.append(*at, earlier).map_err(storage)?;
                owed.remove(0);
            }
            self.owed.remove(id);
        }
        journal.append(now, &event).map_err(storage)?;
        self.unsynced.insert(id.clone());
        let mut applied = Ok(());
        self.touch(id, |entry| applied = entry.job.apply(now, event));
        Ok(applied?)
    }

    /// Changes an entry and gives it a new revision.
    fn touch(&mut self, id: &JobId, change: impl FnOnce(&mut Entry)) {
        self.snapshot.revision += 1;
        if let Some(entry) = self.snapshot.jobs.get_mut(id) {
            let entry = Arc::make_mut(entry);
            change(entry);
            entry.revision = self.snapshot.revision;
        }
    }

    fn take_live(&mut self, id: &JobId, run: u64, live: &Live) {
        let news = live.take();
        if self.runs.get(id).is_some_and(|current| current.number == run) {
            self.touch(id, |entry| entry.news = news);
        }
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, result: Result<T, KeeperError>) {
        self.answers.push(Box::new(move |synced, _| {
            let _ = reply.send(synced.and(result));
        }));
    }

    /// Syncs what was journalled, shows it, and only then answers.
    fn settle(&mut self) {
        let mut synced = Ok(());
        for id in std::mem::take(&mut self.unsynced) {
            if let Err(error) = self.sync(&id) {
                synced = Err(error);
            }
        }
        self.published.send_if_modified(|shown| {
            let news = shown.as_ref().is_none_or(|shown| shown.revision != self.snapshot.revision);
            if news {
                *shown = Some(Arc::new(self.snapshot.clone()));
            }
            news
        });
        for answer in self.answers.drain(..) {
            answer(synced.clone(), &self.snapshot);
        }
        for finished in self.finished.drain(..) {
            self.told.spawn(finished.tell());
        }
    }

    /// Makes a job's journal durable. One that could not be synced is tried again with the next settling.
    fn sync(&mut self, id: &JobId) -> Result<(), KeeperError> {
        let Some(journal) = self.journals.get_mut(id) else { return Ok(()) };
        tokio::task::block_in_place(|| journal.sync()).map_err(|error| {
            tracing::error!(job = %id, %error, "a journal could not be synced");
            self.unsynced.insert(id.clone());
            KeeperError::Storage(Arc::new(error))
        })
    }

    /// The earliest moment at which a paused job goes on by itself.
    fn next_wake(&mut self) -> Option<Deadline> {
        if self.stopping.is_some() {
            return None;
        }
        let waiting = self.snapshot.jobs.values().filter_map(|entry| {
            let at = entry.job.goes_on_at()?;
            (!self.runs.contains_key(&entry.job.id)).then(|| (entry.job.id.clone(), at))
        });
        let before = std::mem::take(&mut self.waits);
        // A wait that goes on keeps its beginning.
        let deadline = |(id, at)| {
            let known = before.get(&id).copied().filter(|known| known.at() == at);
            (id, known.unwrap_or_else(|| Deadline::at_moment(at)))
        };
        self.waits = waiting.map(deadline).collect();
        self.waits.values().min_by_key(|deadline| deadline.left()).copied()
    }

    /// Lets the jobs go on whose moment has come.
    fn wake(&mut self) {
        let due: Vec<JobId> =
            self.waits.iter().filter(|(_, deadline)| deadline.is_over()).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.waits.remove(&id);
            if !self.runs.contains_key(&id) {
                self.launch_or_postpone(&id);
            }
        }
    }

    fn launch_or_postpone(&mut self, id: &JobId) {
        if let Err(error) = self.launch(id, Cause::Daemon) {
            tracing::warn!(job = %id, %error, "a job could not go on; trying again");
            let again_at = clock::now() + STORAGE_RETRY_MS;
            let event = match &self.snapshot.jobs[id].job.state {
                State::Scheduled { outcome, .. } => {
                    Event::Scheduled { outcome: outcome.clone(), next: again_at }
                }
                _ => Event::Paused {
                    reason: PauseReason::Storage,
                    message: error.to_string(),
                    resume_at: Some(again_at),
                },
            };
            self.keep_in_memory(id, event);
        }
    }
}

async fn sleep_until(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => deadline.reached().await,
        None => std::future::pending().await,
    }
}
