//! What a run of a job may use, and how it reaches whoever keeps the job. The keeper makes one for each run; work never
//! learns how its words travel.

use super::Stop;
use super::config::{ConfigError, config_key, read_config, write_config};
use crate::job::snapshot::{Entry, News, UnderWay, Weighed};
use crate::job::{Event, Job, Plan};
use crate::net::deadline::Deadline;
use crate::net::secrets::Secrets;
use crate::store::job_log::WorkerLog;
use crate::store::mac::PlaceKey;
use crate::store::tenure::Tenure;
use crate::trackers::server::Session;
use specweave_jobs::clock::Millis;
use specweave_jobs::project::Project;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Whoever keeps a job, as a run of it sees them.
#[tonic::async_trait]
pub trait Keeping: Send + Sync {
    /// Makes an event durable, and answers with the job as it stands then.
    async fn checkpoint(&self, event: Event) -> Result<Arc<Entry>, Stop>;

    /// There may be news in `live`. It is coalesced, never durable, and keeps nobody waiting.
    fn has_news(&self, live: &Live);
}

/// What a run tells without waiting. At most one message of a run is under way: it reads the newest value.
#[derive(Clone, Default)]
pub struct Live {
    value: Arc<Mutex<News>>,
    announced: Arc<AtomicBool>,
}

impl Live {
    fn change(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.value.lock().expect("no holder panics"));
    }

    /// Whether what is new has to be announced: not when an announcement is still under way.
    pub fn announces(&self) -> bool {
        !self.announced.swap(true, Ordering::AcqRel)
    }

    /// The announcement did not get through: the next change tries again, as nothing durable travels this way.
    pub fn was_not_announced(&self) {
        self.announced.store(false, Ordering::Release);
    }

    /// The newest value; what comes later is announced again.
    pub fn take(&self) -> News {
        self.announced.store(false, Ordering::Release);
        self.value.lock().expect("no holder panics").clone()
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
    pub keeper: Box<dyn Keeping>,
    pub live: Live,
    /// The job as the last checkpoint left it.
    pub standing: Mutex<Arc<Entry>>,
}

impl Context {
    /// Records what happened; returns once it is durable.
    pub async fn checkpoint(&self, event: Event) -> Result<(), Stop> {
        let entry = self.keeper.checkpoint(event).await?;
        let mut standing = self.standing.lock().expect("no holder panics");
        // Checkpoints may be under way at once, and their answers may come in any order.
        if entry.revision > standing.revision {
            *standing = entry;
        }
        Ok(())
    }

    /// What the job has to do, and what of it is done, as of the last checkpoint.
    pub fn plan(&self) -> Option<Plan> {
        self.standing.lock().expect("no holder panics").job.plan.clone()
    }

    /// The job's `config.json`, if it is as this user's daemon wrote it.
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let key = config_key(&self.key, &self.job.id);
        read_config(&self.project.job(&self.job.id), Some(&key))
    }

    /// Writes the job's `config.json`.
    pub fn write_config(&self, config: &impl serde::Serialize) -> io::Result<()> {
        let key = config_key(&self.key, &self.job.id);
        write_config(&self.project.job(&self.job.id), &key, config)
    }

    /// As [`Self::write_config`], of a plan without which the work cannot go on.
    pub fn write_plan(&self, config: &impl serde::Serialize) -> Result<(), Stop> {
        self.write_config(config).map_err(|error| Stop::no_room(format!("cannot write config.json: {error}")))
    }

    /// Tells what is being worked on. Coalesced, never durable, never waits.
    pub fn progress(&self, item: &str) {
        self.live.change(|news| news.item = item.into());
        self.keeper.has_news(&self.live);
    }

    /// Tells what the work does while it has no items yet.
    pub fn phase(&self, phase: &'static str) {
        self.live.change(|news| news.phase = phase);
        self.keeper.has_news(&self.live);
    }

    /// Tells what is under way, and how much of the run is done, where its items are not alike.
    pub fn active(&self, active: Vec<UnderWay>, weighed: Option<Weighed>) {
        self.live.change(|news| (news.active, news.weighed) = (active, weighed));
        self.keeper.has_news(&self.live);
    }

    /// Tells how many milliseconds of waiting surely are ahead.
    pub fn ahead(&self, waiting: Millis) {
        self.live.change(|news| news.ahead = waiting);
        self.keeper.has_news(&self.live);
    }

    /// Writes an entry to the job's log.
    pub fn log(&self, entry: impl AsRef<str>) {
        self.log.line(entry.as_ref());
        self.keeper.has_news(&self.live);
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
