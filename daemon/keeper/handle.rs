//! How everybody else talks to the keeper: commands and their answers, and the snapshot.

use crate::job::order::Order;
use crate::job::snapshot::{Entry, Snapshot};
use crate::job::terms::Terms;
use crate::job::{Event, Refused};
use crate::net::secrets::Caller;
use crate::work::adoption::Adoption;
use crate::work::{Finish, Keeping, Live, Stop};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("there is no job {0}")]
    NotFound(JobId),
    #[error("job {id} is already on it")]
    Busy { id: JobId },
    #[error("job {id} is not running ({state})")]
    NotKillable { id: JobId, state: &'static str },
    #[error("job {id} is {state}: kill it first")]
    NotRemovable { id: JobId, state: &'static str },
    #[error("job {id} has no failed item {name:?}")]
    ItemNotFailed { id: JobId, name: String, known: Vec<String> },
    #[error("job {id} cannot try single items again: it can only go on with all of them")]
    NoNames { id: JobId },
    #[error("job {id} is already completed")]
    Completed { id: JobId },
    #[error("config not found: job {id} ({state}) has no config.json")]
    ConfigNotFound { id: JobId, state: &'static str },
    #[error("the state folder cannot be written: {0}")]
    Storage(Arc<std::io::Error>),
    #[error("no new work is begun: {0}")]
    OutOfMemory(String),
    #[error("the daemon is stopping")]
    Stopping,
    #[error(transparent)]
    Refused(#[from] Refused),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, KeeperError>>;

pub(super) enum Command {
    Start {
        request_id: String,
        order: Order,
        terms: Terms,
        caller: Caller,
        reply: Reply<Started>,
    },
    Kill {
        id: JobId,
        reply: Reply<Arc<Entry>>,
    },
    Resume {
        id: JobId,
        /// Of what failed, only these; empty for all.
        only: Vec<String>,
        caller: Caller,
        reply: Reply<Resumed>,
    },
    Adopt {
        id: JobId,
        created_at: Millis,
        adoption: Box<Adoption>,
        caller: Caller,
        reply: Reply<Resumed>,
    },
    Remove {
        id: JobId,
        reply: Reply<Arc<Entry>>,
    },
    Prune {
        which: Which,
        reply: Reply<Vec<Arc<Entry>>>,
    },
    /// Forgets ended jobs whose folder a person has removed.
    Sweep,
    Checkpoint {
        id: JobId,
        run: u64,
        event: Event,
        reply: Reply<Arc<Entry>>,
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
        only_if_idle: bool,
        reply: oneshot::Sender<bool>,
    },
}

impl Command {
    /// Whether it is about more than to look, or to end.
    pub(super) fn changes_something(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Resume { .. }
            | Self::Adopt { .. }
            | Self::Remove { .. }
            | Self::Prune { .. }
            | Self::Sweep
            | Self::Checkpoint { .. } => true,
            Self::Kill { .. }
            | Self::Live { .. }
            | Self::StandInGone { .. }
            | Self::Over { .. }
            | Self::Stop { .. } => false,
        }
    }
}

/// Which ended jobs leave.
#[derive(Clone, Debug)]
pub struct Which {
    /// Only these; all that fit where none is named.
    pub ids: Vec<JobId>,
    /// So many of the newest stay.
    pub keep: usize,
    /// Those that ended later stay.
    pub before: Millis,
    /// None leaves: it is only said which would.
    pub dry_run: bool,
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

/// How everybody else talks to the keeper.
#[derive(Clone)]
pub struct KeeperHandle {
    pub(super) inbox: mpsc::Sender<Command>,
    /// `None` until the journals have been read.
    pub(super) snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    pub epoch: Arc<str>,
}

impl KeeperHandle {
    /// All jobs; waits until the journals have been read.
    pub async fn snapshot(&self) -> Arc<Snapshot> {
        let mut snapshot = self.snapshot.clone();
        let loaded = snapshot.wait_for(Option::is_some).await;
        loaded.ok().and_then(|snapshot| snapshot.clone()).unwrap_or_default()
    }

    /// A view that can be waited on.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshot.clone()
    }

    pub async fn start(
        &self,
        request_id: String,
        order: Order,
        terms: Terms,
        caller: Caller,
    ) -> Result<Started, KeeperError> {
        self.ask(|reply| Command::Start { request_id, order, terms, caller, reply }).await
    }

    pub async fn kill(&self, id: JobId) -> Result<Arc<Entry>, KeeperError> {
        self.ask(|reply| Command::Kill { id, reply }).await
    }

    pub async fn resume(&self, id: JobId, only: Vec<String>, caller: Caller) -> Result<Resumed, KeeperError> {
        self.ask(|reply| Command::Resume { id, only, caller, reply }).await
    }

    /// Takes over a job that another tool wrote, and lets it go on.
    pub async fn adopt(
        &self,
        id: JobId,
        created_at: Millis,
        adoption: Adoption,
        caller: Caller,
    ) -> Result<Resumed, KeeperError> {
        self.ask(|reply| Command::Adopt { id, created_at, adoption: Box::new(adoption), caller, reply }).await
    }

    pub async fn remove(&self, id: JobId) -> Result<Arc<Entry>, KeeperError> {
        self.ask(|reply| Command::Remove { id, reply }).await
    }

    /// Removes ended jobs, or only says which; gives them as they were, the oldest first.
    pub async fn prune(&self, which: Which) -> Result<Vec<Arc<Entry>>, KeeperError> {
        self.ask(|reply| Command::Prune { which, reply }).await
    }

    pub async fn sweep(&self) {
        let _ = self.inbox.send(Command::Sweep).await;
    }

    /// Lets every run reach a safe point, then ends the keeper.
    pub async fn stop(&self) {
        self.end(false).await;
    }

    /// Ends the keeper unless a job is active; from then on nothing new is taken. Whether it ended.
    pub async fn stop_if_idle(&self) -> bool {
        self.end(true).await
    }

    async fn end(&self, only_if_idle: bool) -> bool {
        let (reply, done) = oneshot::channel();
        match self.inbox.send(Command::Stop { only_if_idle, reply }).await {
            Ok(()) => done.await.unwrap_or(true),
            Err(_) => true,
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(command(reply)).await.map_err(|_| KeeperError::Stopping)?;
        answer.await.map_err(|_| KeeperError::Stopping)?
    }
}

/// The keeper as one run of a job sees it.
pub(super) struct KeptRun {
    pub keeper: KeeperHandle,
    pub id: JobId,
    pub run: u64,
}

#[tonic::async_trait]
impl Keeping for KeptRun {
    async fn checkpoint(&self, event: Event) -> Result<Arc<Entry>, Stop> {
        let (id, run) = (self.id.clone(), self.run);
        match self.keeper.ask(|reply| Command::Checkpoint { id, run, event, reply }).await {
            Ok(entry) => Ok(entry),
            Err(error @ KeeperError::Storage(_)) => Err(Stop::no_room(error.to_string())),
            Err(_) => Err(Stop::Cancelled),
        }
    }

    fn has_news(&self, live: &Live) {
        if live.announces() {
            let command = Command::Live { id: self.id.clone(), run: self.run, live: live.clone() };
            if self.keeper.inbox.try_send(command).is_err() {
                live.was_not_announced();
            }
        }
    }
}
