//! What a job does: the kinds of work, and the [`Context`] through which work talks to its keeper. Work
//! owns no state that must survive: whatever has to be known after a crash goes through a checkpoint.

pub mod adoption;
pub mod clone;
pub mod import;
pub mod sources;
pub mod sync;

use crate::job::{Event, Job, Order, PauseReason};
use crate::keeper::{KeeperHandle, Live};
use crate::net::deadline::Deadline;
use crate::net::secrets::Secrets;
use crate::store;
use crate::store::job_log::WorkerLog;
use crate::store::mac::{FileKey, PlaceKey};
use crate::store::tenure::Tenure;
use crate::trackers::server::Session;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How work ends when all its items have been dealt with.
#[derive(Debug)]
pub enum Finish {
    Complete,
    /// Some items failed; the text sums them up.
    WithWarnings(String),
}

/// Why work stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// The token was cancelled; who did it knows why.
    Cancelled,
    /// The keeper pauses the job, and resumes it at `resume_at` if that is set.
    Pause { reason: PauseReason, message: String, resume_at: Option<Millis> },
    /// The job has failed.
    Fail(String),
}

/// A state folder that takes no writes is tried again this often: somebody may have made room.
pub const STORAGE_RETRY_MS: Millis = 10_000;

/// A network that was lost is tried again this often.
const NETWORK_RETRY_MS: Millis = 60_000;

impl Stop {
    /// The disk refuses: tried again by itself.
    pub fn no_room(message: String) -> Self {
        let resume_at = Some(clock::now() + STORAGE_RETRY_MS);
        Self::Pause { reason: PauseReason::Storage, message, resume_at }
    }

    /// What a failure of the disk means: one that has no room is tried again by itself.
    pub fn of_disk(error: &io::Error, message: String) -> Self {
        match store::has_no_room(error) {
            true => Self::no_room(message),
            false => Self::Fail(message),
        }
    }

    /// A remote's limit: goes on by itself when it opens.
    pub fn limited(wait: Duration) -> Self {
        let resume_at = Some(clock::now() + wait.as_millis() as Millis);
        Self::Pause { reason: PauseReason::RateLimited, message: "Rate limited".into(), resume_at }
    }

    /// The network is gone: tried again by itself.
    pub fn offline(message: String) -> Self {
        let resume_at = Some(clock::now() + NETWORK_RETRY_MS);
        Self::Pause { reason: PauseReason::Network, message, resume_at }
    }
}

/// Everything a run of work may use.
pub struct Context {
    /// The job as it stood when the run began.
    pub job: Job,
    pub project: Project,
    pub key: PlaceKey,
    pub tenure: Tenure,
    pub secrets: Arc<Secrets>,
    pub cancel: CancellationToken,
    /// Whether a person wants it to go on now: a limit is asked about once more, before its moment.
    pub insists: bool,
    pub log: Arc<WorkerLog>,
    pub(crate) keeper: KeeperHandle,
    pub(crate) run: u64,
    pub(crate) live: Live,
}

impl Context {
    /// Records what happened; returns once it is durable.
    pub async fn checkpoint(&self, event: Event) -> Result<(), Stop> {
        self.keeper.checkpoint(&self.job.id, self.run, event).await
    }

    /// Tells what is being worked on. Coalesced, never durable, never waits.
    pub fn progress(&self, item: &str) {
        self.live.item(item);
        self.keeper.live_changed(&self.job.id, self.run, &self.live);
    }

    /// Tells what the work does while it has no items yet.
    pub fn phase(&self, phase: &'static str) {
        self.live.phase(phase);
        self.keeper.live_changed(&self.job.id, self.run, &self.live);
    }

    /// Tells how many milliseconds of waiting surely are ahead.
    pub fn ahead(&self, waiting: Millis) {
        self.live.ahead(waiting);
        self.keeper.live_changed(&self.job.id, self.run, &self.live);
    }

    /// Writes an entry to the job's log.
    pub fn log(&self, entry: impl AsRef<str>) {
        self.log.line(entry.as_ref());
        self.keeper.live_changed(&self.job.id, self.run, &self.live);
    }

    /// How this run asks trackers.
    pub fn session(&self, http: reqwest::Client) -> Session {
        let log = self.log.clone();
        let notice = Arc::new(move |text: &str| log.line(text));
        Session { http, cancel: self.cancel.clone(), notice, insists: self.insists }
    }

    /// Sleeps until a moment of the wall clock, also across a laptop's sleep, or until the run is cancelled.
    pub async fn sleep_until(&self, at: Millis) -> Result<(), Stop> {
        tokio::select! {
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            () = Deadline::at_moment(at).reached() => Ok(()),
        }
    }
}

/// A plan of the most items that a job may have is smaller.
const MOST_CONFIG: u64 = 256 * 1024 * 1024;

/// Why there is no usable `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config not found: {0}")]
    Missing(String),
    #[error("config not usable: {path}: {cause}")]
    Unusable { path: String, cause: String },
    /// It decides what the job works on, and may have come with a checkout.
    #[error(
        "config not usable: {path} is not as this user's daemon wrote it in this place; somebody has changed config.json"
    )]
    Changed { path: String },
}

/// The key for a job's `config.json`.
pub fn config_key(key: &PlaceKey, id: &JobId) -> FileKey {
    key.job(id, "config")
}

/// Reads a job's `config.json`. It is believed only with the MAC by `key`; without a key it is what anybody may have
/// written, to be shown or to be vetted.
pub fn read_config<T: serde::de::DeserializeOwned>(
    files: &JobFiles,
    key: Option<&FileKey>,
) -> Result<T, ConfigError> {
    let path = files.config();
    let shown = path.display().to_string();
    let unusable = |cause: String| ConfigError::Unusable { path: shown.clone(), cause };
    let bytes = match disk::read_regular(&path, MOST_CONFIG) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ConfigError::Missing(shown)),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    if let Some(key) = key {
        fields = key.believed(fields).ok_or_else(|| ConfigError::Changed { path: shown.clone() })?;
    }
    serde_json::from_value(fields.into()).map_err(|error| unusable(error.to_string()))
}

/// Writes a job's `config.json`.
pub fn write_config(files: &JobFiles, key: &FileKey, config: &impl serde::Serialize) -> io::Result<()> {
    disk::replace(&files.config(), &pretty(&key.authenticated(config)), 0o600)
}

/// What a documented file holds.
fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data serialises")
}

/// Runs the work of the context's job to its end.
pub async fn run(context: Context) -> Result<Finish, Stop> {
    match &*context.job.order {
        Order::Clone(spec) => clone::run(&context, spec).await,
        Order::Import(spec) => import::run(&context, spec).await,
        Order::Sync(spec) => sync::run(&context, spec).await,
    }
}
