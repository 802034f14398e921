//! The one owner of all jobs. Commands come in by one inbox; each change is applied, journalled and synced
//! before its sender hears of it; then the [`Board`] that everybody reads is replaced.
//!
//! Orders travel by token and inbox, news by the board's revision. Nothing else holds a job.

mod load;
mod run;

use crate::job::{Event, Items, Job, Order, Outcome, PauseReason, Refused, State};
use crate::journal::Journal;
use crate::present;
use crate::secrets::Caller;
use crate::work::{Finish, Stop};
use run::Run;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobId, Project};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait; a sender beyond that waits for room.
const INBOX: usize = 1024;

/// Ended jobs that are kept, with their folders.
pub const KEPT: usize = 10;

/// Runs in a row that the daemon did not survive and that made no progress, before the job is left alone.
const MOST_FRUITLESS_RUNS: u32 = 3;

/// What everybody reads: all jobs as they stood at one moment.
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
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("there is no job {0}")]
    NotFound(JobId),
    #[error("job {id} is already on it")]
    Busy { id: JobId },
    #[error("job {id} does not run ({state})")]
    NotKillable { id: JobId, state: &'static str },
    #[error("job {id} is already completed")]
    Completed { id: JobId },
    #[error("config not found: job {id} ({state}) has no config.json")]
    ConfigNotFound { id: JobId, state: &'static str },
    #[error("the state folder cannot be written: {0}")]
    Storage(Arc<std::io::Error>),
    #[error("the daemon is stopping")]
    Stopping,
    #[error(transparent)]
    Refused(#[from] Refused),
}

type Reply<T> = oneshot::Sender<Result<T, KeeperError>>;

enum Command {
    Start {
        request_id: String,
        order: Order,
        caller: Caller,
        reply: Reply<Started>,
    },
    Kill {
        id: JobId,
        reply: Reply<Arc<Entry>>,
    },
    Resume {
        id: JobId,
        caller: Caller,
        reply: Reply<Resumed>,
    },
    Prune {
        keep: usize,
        reply: Reply<Vec<JobId>>,
    },
    /// Forgets ended jobs whose folder a person has removed.
    Sweep,
    Checkpoint {
        id: JobId,
        run: u64,
        event: Event,
        reply: Reply<()>,
    },
    Live {
        id: JobId,
        run: u64,
        live: Live,
    },
    StandInGone {
        id: JobId,
        run: u64,
    },
    Over {
        id: JobId,
        run: u64,
        result: Result<Finish, Stop>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// Answer to a start.
pub struct Started {
    pub entry: Arc<Entry>,
    /// The request was known.
    pub existing: bool,
}

/// Answer to a resume.
pub struct Resumed {
    pub entry: Arc<Entry>,
    pub already_running: bool,
}

/// What a run tells without waiting. At most one message of a run is under way: it reads the newest value.
#[derive(Clone, Default)]
pub struct Live {
    value: Arc<std::sync::Mutex<(Arc<str>, &'static str)>>,
    announced: Arc<AtomicBool>,
}

impl Live {
    pub fn item(&self, item: &str) {
        self.value.lock().expect("no holder panics").0 = item.into();
    }

    pub fn phase(&self, phase: &'static str) {
        self.value.lock().expect("no holder panics").1 = phase;
    }
}

/// How everybody else talks to the keeper.
#[derive(Clone)]
pub struct KeeperHandle {
    inbox: mpsc::Sender<Command>,
    /// `None` until the journals have been read.
    board: watch::Receiver<Option<Arc<Board>>>,
    pub epoch: Arc<str>,
}

impl KeeperHandle {
    /// All jobs; waits until the journals have been read.
    pub async fn board(&self) -> Arc<Board> {
        let mut board = self.board.clone();
        let loaded = board.wait_for(Option::is_some).await;
        loaded.ok().and_then(|board| board.clone()).unwrap_or_default()
    }

    /// A view that can be waited on.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Board>>> {
        self.board.clone()
    }

    /// The items of a job as they stand.
    pub fn items(&self, id: &JobId) -> Option<Items> {
        let board = self.board.borrow().clone()?;
        board.jobs.get(id)?.job.items.clone()
    }

    pub async fn start(
        &self,
        request_id: String,
        order: Order,
        caller: Caller,
    ) -> Result<Started, KeeperError> {
        self.ask(|reply| Command::Start { request_id, order, caller, reply }).await
    }

    pub async fn kill(&self, id: JobId) -> Result<Arc<Entry>, KeeperError> {
        self.ask(|reply| Command::Kill { id, reply }).await
    }

    pub async fn resume(&self, id: JobId, caller: Caller) -> Result<Resumed, KeeperError> {
        self.ask(|reply| Command::Resume { id, caller, reply }).await
    }

    pub async fn prune(&self, keep: usize) -> Result<Vec<JobId>, KeeperError> {
        self.ask(|reply| Command::Prune { keep, reply }).await
    }

    pub async fn sweep(&self) {
        let _ = self.inbox.send(Command::Sweep).await;
    }

    /// Lets every run reach a safe point, then ends the keeper.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.inbox.send(Command::Stop { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    pub(crate) async fn checkpoint(&self, id: &JobId, run: u64, event: Event) -> Result<(), Stop> {
        let id = id.clone();
        match self.ask(|reply| Command::Checkpoint { id, run, event, reply }).await {
            Ok(()) => Ok(()),
            Err(KeeperError::Storage(error)) => Err(Stop::Pause {
                reason: PauseReason::Storage,
                message: format!("the state folder cannot be written: {error}"),
                resume_at: Some(clock::now() + 30_000),
            }),
            Err(_) => Err(Stop::Cancelled),
        }
    }

    pub(crate) fn live_changed(&self, id: &JobId, run: u64, live: &Live) {
        if live.announced.swap(true, Ordering::AcqRel) {
            return;
        }
        let command = Command::Live { id: id.clone(), run, live: live.clone() };
        if self.inbox.try_send(command).is_err() {
            // The next change tries again; nothing durable travels this way.
            live.announced.store(false, Ordering::Release);
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(command(reply)).await.map_err(|_| KeeperError::Stopping)?;
        answer.await.map_err(|_| KeeperError::Stopping)?
    }
}

/// Answers wait here until what they tell is durable.
type Answer = Box<dyn FnOnce(Result<(), KeeperError>) + Send>;

pub struct Keeper {
    project: Project,
    inbox: mpsc::Receiver<Command>,
    handle: KeeperHandle,
    published: watch::Sender<Option<Arc<Board>>>,
    board: Board,
    journals: HashMap<JobId, Journal>,
    runs: HashMap<JobId, Run>,
    requests: HashMap<String, JobId>,
    last_run: u64,
    unsynced: HashSet<JobId>,
    answers: Vec<Answer>,
    stopping: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// The keeper and the way to talk to it. It answers once [`Self::keep`] runs.
    pub fn new(project: Project) -> (Self, KeeperHandle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (published, board) = watch::channel(None);
        let epoch = format!("{:016x}", disk::random()).into();
        let handle = KeeperHandle { inbox: sender, board, epoch };
        let keeper = Self {
            project,
            inbox,
            handle: handle.clone(),
            published,
            board: Board::default(),
            journals: HashMap::new(),
            runs: HashMap::new(),
            requests: HashMap::new(),
            last_run: 0,
            unsynced: HashSet::new(),
            answers: Vec::new(),
            stopping: None,
        };
        (keeper, handle)
    }

    /// Reads the journals, lets interrupted jobs go on, then serves until told to stop.
    pub async fn keep(mut self) {
        self.load();
        self.settle();
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
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Start { request_id, order, caller, reply } => {
                let result = self.start(request_id, order, caller);
                self.answer(reply, result);
            }
            Command::Kill { id, reply } => match self.kill(&id) {
                Ok(()) => self.runs.get_mut(&id).expect("it runs").killers.push(reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Resume { id, caller, reply } => {
                let result = self.resume(&id, caller);
                self.answer(reply, result);
            }
            Command::Prune { keep, reply } => {
                let removed = self.prune(keep);
                self.answer(reply, Ok(removed));
            }
            Command::Sweep => self.sweep(),
            Command::Checkpoint { id, run, event, reply } => {
                let result = match self.runs.get(&id).is_some_and(|current| current.number == run) {
                    true => self.commit(&id, event),
                    false => Err(KeeperError::Refused(Refused::NotRunning)),
                };
                self.answer(reply, result);
            }
            Command::Live { id, run, live } => self.take_live(&id, run, &live),
            Command::StandInGone { id, run } => {
                if let Some(current) = self.runs.get_mut(&id).filter(|current| current.number == run) {
                    current.end_because(PauseReason::Killed);
                }
            }
            Command::Over { id, run, result } => self.over(&id, run, result),
            Command::Stop { reply } => {
                for run in self.runs.values_mut() {
                    run.end_because(PauseReason::DaemonStopped);
                }
                self.stopping = Some(reply);
            }
        }
    }

    fn start(&mut self, request_id: String, order: Order, caller: Caller) -> Result<Started, KeeperError> {
        if self.stopping.is_some() {
            return Err(KeeperError::Stopping);
        }
        if let Some(id) = self.requests.get(&request_id) {
            let entry = self.board.jobs[id].clone();
            return Ok(Started { entry, existing: true });
        }
        let same = |entry: &&Arc<Entry>| *entry.job.order == order && entry.job.is_active();
        if let Some(busy) = self.board.jobs.values().find(same) {
            return Err(KeeperError::Busy { id: busy.job.id.clone() });
        }
        let id = self.create(Event::Created {
            order,
            request_id: request_id.clone(),
            settings: caller.lasting_settings(),
        })?;
        self.requests.insert(request_id, id.clone());
        self.launch(&id, caller)?;
        Ok(Started { entry: self.board.jobs[&id].clone(), existing: false })
    }

    /// Makes the job's folder and journal.
    fn create(&mut self, event: Event) -> Result<JobId, KeeperError> {
        let storage = |error| KeeperError::Storage(Arc::new(error));
        std::fs::create_dir_all(self.project.jobs()).map_err(storage)?;
        let (id, files) = loop {
            let id = JobId::random();
            let files = self.project.job(&id);
            match make_private_folder(&files.folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                result => break result.map(|()| (id, files)).map_err(storage)?,
            }
        };
        let now = clock::now();
        let made = Journal::create(&files.journal()).and_then(|mut journal| {
            journal.append(now, &event)?;
            if let Event::Created { order, .. } = &event
                && let Some(sources) = present::sources_file(order)
            {
                disk::replace_unsynced(&files.sources(), sources.as_bytes(), 0o600)?;
            }
            disk::sync_folder(&files.folder)?;
            disk::sync_folder(&self.project.jobs())?;
            Ok(journal)
        });
        let journal = made.inspect_err(|_| drop(std::fs::remove_dir_all(&files.folder))).map_err(storage)?;
        let job = Job::create(id.clone(), now, event)?;
        self.journals.insert(id.clone(), journal);
        self.unsynced.insert(id.clone());
        self.board.jobs.insert(id.clone(), Arc::new(Entry::new(job)));
        self.touch(&id, |_| ());
        Ok(id)
    }

    /// Cancels a run. The kill is answered when the run is over.
    fn kill(&mut self, id: &JobId) -> Result<(), KeeperError> {
        let entry = self.board.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?;
        let state = state_word(&entry.job.state);
        let run = self.runs.get_mut(id).ok_or(KeeperError::NotKillable { id: id.clone(), state })?;
        run.end_because(PauseReason::Killed);
        Ok(())
    }

    fn resume(&mut self, id: &JobId, caller: Caller) -> Result<Resumed, KeeperError> {
        if self.stopping.is_some() {
            return Err(KeeperError::Stopping);
        }
        let entry = self.board.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?.clone();
        if self.runs.contains_key(id) {
            return Ok(Resumed { entry, already_running: true });
        }
        if matches!(entry.job.state, State::Ended { outcome: Outcome::Completed, .. }) {
            return Err(KeeperError::Completed { id: id.clone() });
        }
        if entry.job.items.is_some() && !self.project.job(id).config().exists() {
            let state = state_word(&entry.job.state);
            return Err(KeeperError::ConfigNotFound { id: id.clone(), state });
        }
        self.commit(id, Event::Retried)?;
        self.launch(id, caller)?;
        Ok(Resumed { entry: self.board.jobs[id].clone(), already_running: false })
    }

    fn over(&mut self, id: &JobId, number: u64, result: Result<Finish, Stop>) {
        if self.runs.get(id).is_none_or(|run| run.number != number) {
            return;
        }
        let mut run = self.runs.remove(id).expect("it was just found");
        let event = match result {
            Ok(Finish::Complete) => Event::Ended(Outcome::Completed),
            Ok(Finish::WithWarnings(summary)) => Event::Ended(Outcome::CompletedWithWarnings { summary }),
            Err(Stop::Fail(error)) => Event::Ended(Outcome::Failed { error }),
            Err(Stop::Pause { reason, message, resume_at }) => Event::Paused { reason, message, resume_at },
            Err(Stop::Cancelled) => run.pause_event(),
        };
        run.end(&self.project.job(id));
        if let Err(error) = self.commit(id, event.clone()) {
            tracing::error!(job = %id, %error, "the end of a run could not be journalled");
            self.keep_in_memory(id, event);
        }
        self.touch(id, |entry| {
            entry.pid = 0;
            entry.phase = "";
        });
        let entry = self.board.jobs[id].clone();
        let killers = std::mem::take(&mut run.killers);
        self.answers.push(Box::new(move |synced| {
            for killer in killers {
                let _ = killer.send(synced.clone().map(|()| entry.clone()));
            }
        }));
        if self.board.jobs[id].job.has_ended() {
            self.prune(KEPT);
        }
    }

    /// The disk refused the line. Memory is the truth while the daemon lives; the job is tried again.
    fn keep_in_memory(&mut self, id: &JobId, event: Event) {
        let pause = Event::Paused {
            reason: PauseReason::Storage,
            message: "the state folder cannot be written".into(),
            resume_at: Some(clock::now() + 30_000),
        };
        let event = if matches!(event, Event::Ended(_)) { pause } else { event };
        self.touch(id, |entry| drop(entry.job.apply(clock::now(), event)));
    }

    /// Applies an event and journals it; durable after the next [`Self::settle`].
    fn commit(&mut self, id: &JobId, event: Event) -> Result<(), KeeperError> {
        let entry = self.board.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?;
        entry.job.check(&event)?;
        let now = clock::now();
        let journal = self.journals.get_mut(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?;
        journal.append(now, &event).map_err(|error| KeeperError::Storage(Arc::new(error)))?;
        self.unsynced.insert(id.clone());
        let mut applied = Ok(());
        self.touch(id, |entry| applied = entry.job.apply(now, event));
        Ok(applied?)
    }

    /// Changes an entry and gives it a new revision.
    fn touch(&mut self, id: &JobId, change: impl FnOnce(&mut Entry)) {
        self.board.revision += 1;
        if let Some(entry) = self.board.jobs.get_mut(id) {
            let entry = Arc::make_mut(entry);
            change(entry);
            entry.revision = self.board.revision;
        }
    }

    fn take_live(&mut self, id: &JobId, run: u64, live: &Live) {
        live.announced.store(false, Ordering::Release);
        if self.runs.get(id).is_some_and(|current| current.number == run) {
            let (item, phase) = live.value.lock().expect("no holder panics").clone();
            self.touch(id, |entry| (entry.item, entry.phase) = (item, phase));
        }
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, result: Result<T, KeeperError>) {
        self.answers.push(Box::new(move |synced| {
            let _ = reply.send(synced.and(result));
        }));
    }

    /// Syncs what was journalled, shows it, and only then answers.
    fn settle(&mut self) {
        let mut synced = Ok(());
        for id in self.unsynced.drain() {
            let Some(journal) = self.journals.get_mut(&id) else { continue };
            if let Err(error) = tokio::task::block_in_place(|| journal.sync()) {
                tracing::error!(job = %id, %error, "a journal could not be synced");
                synced = Err(KeeperError::Storage(Arc::new(error)));
            }
        }
        self.published.send_if_modified(|shown| {
            let news = shown.as_ref().is_none_or(|shown| shown.revision != self.board.revision);
            if news {
                *shown = Some(Arc::new(self.board.clone()));
            }
            news
        });
        for answer in self.answers.drain(..) {
            answer(synced.clone());
        }
    }

    /// The earliest moment at which a paused job goes on by itself.
    fn next_wake(&self) -> Option<Millis> {
        let paused = self.board.jobs.values().filter(|entry| !self.runs.contains_key(&entry.job.id));
        paused
            .filter_map(|entry| match entry.job.state {
                State::Paused { resume_at, .. } => resume_at,
                _ => None,
            })
            .min()
    }

    /// Lets the jobs go on whose moment has come.
    fn wake(&mut self) {
        let now = clock::now();
        let due: Vec<JobId> = self
            .board
            .jobs
            .values()
            .filter(|entry| matches!(entry.job.state, State::Paused { resume_at: Some(at), .. } if at <= now))
            .map(|entry| entry.job.id.clone())
            .collect();
        for id in due {
            if self.stopping.is_none() && !self.runs.contains_key(&id) {
                self.launch_or_postpone(&id);
            }
        }
    }

    fn launch_or_postpone(&mut self, id: &JobId) {
        if let Err(error) = self.launch(id, Caller::default()) {
            tracing::warn!(job = %id, %error, "a job could not go on; trying again");
            self.keep_in_memory(
                id,
                Event::Paused {
                    reason: PauseReason::Storage,
                    message: error.to_string(),
                    resume_at: Some(clock::now() + 30_000),
                },
            );
        }
    }

    /// Removes all but the newest `keep` ended jobs.
    fn prune(&mut self, keep: usize) -> Vec<JobId> {
        let mut ended: Vec<(Millis, JobId)> = self
            .board
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

    fn sweep(&mut self) {
        let gone: Vec<JobId> = self
            .board
            .jobs
            .values()
            .filter(|entry| !self.runs.contains_key(&entry.job.id))
            .map(|entry| entry.job.id.clone())
            .filter(|id| !self.project.job(id).folder.exists())
            .collect();
        for id in gone {
            tracing::info!(job = %id, "its folder was removed by hand");
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &JobId) {
        self.journals.remove(id);
        self.requests.retain(|_, known| known != id);
        self.board.jobs.remove(id);
        self.board.revision += 1;
    }
}

impl Entry {
    fn new(job: Job) -> Self {
        Self { job, revision: 0, pid: 0, item: "".into(), phase: "" }
    }
}

/// The journal goes last: a folder that has none is no job.
fn remove_job_folder(project: &Project, id: &JobId) -> std::io::Result<()> {
    let files = project.job(id);
    let journal = files.journal();
    for entry in std::fs::read_dir(&files.folder)? {
        let entry = entry?;
        match entry.path() {
            path if path == journal => {}
            path if entry.file_type()?.is_dir() => std::fs::remove_dir_all(path)?,
            path => std::fs::remove_file(path)?,
        }
    }
    let _ = std::fs::remove_file(journal);
    std::fs::remove_dir(&files.folder)
}

fn make_private_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// The wall clock decides, so that a laptop's sleep delays nothing by more than a second.
async fn sleep_until(at: Option<Millis>) {
    let Some(at) = at else { return std::future::pending().await };
    while clock::now() < at {
        let nap = (at - clock::now()).clamp(1, 1_000) as u64;
        tokio::time::sleep(Duration::from_millis(nap)).await;
    }
}

/// The documented word for a state.
pub fn state_word(state: &State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Paused { .. } => "paused",
        State::Ended { outcome: Outcome::Completed, .. } => "completed",
        State::Ended { outcome: Outcome::CompletedWithWarnings { .. }, .. } => "completed_with_warnings",
        State::Ended { outcome: Outcome::Failed { .. }, .. } => "failed",
    }
}
