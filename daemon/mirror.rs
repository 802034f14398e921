//! Keeps the documented `background-jobs.json` true: one task that waits for news, and rewrites the file
//! under SpecWeave's own lock. Jobs of other tools and unknown fields stay. Of jobs it only ever reads the snapshot; where
//! SpecWeave's own command has written that a job of ours is to go on, it says so to the keeper.

mod foreign;
mod lock;

pub use foreign::ForeignJobs;

use crate::job::snapshot::{Entry, Snapshot};
use crate::job::{Plan, State};
use crate::keeper::KeeperHandle;
use crate::net::secrets::Caller;
use crate::store::tenure::Tenure;
use crate::view;
use crate::work::kind;
use foreign::{Stamp, stamp};
use lock::DocumentLock;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::mirror::{self as documented, Document, Extra, MirrorError};
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::{disk, v1};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The least time between two writes that only tell of progress.
const PACE: Duration = Duration::from_millis(250);

/// Progress is told at no more than so many bytes a second, so that a large file is written less often.
const BYTES_A_SECOND: u64 = 256 * 1024;

/// All progress of one job costs about so many bytes, however long it takes.
const BYTES_A_JOB: u64 = 48 * 1024 * 1024;

/// Progress is never older than this in the file.
const OLDEST: Duration = Duration::from_secs(60);

/// The last error of the mirror, and up to which revision the file tells.
#[derive(Clone)]
pub struct MirrorState {
    told: watch::Receiver<u64>,
    notices: Arc<Mutex<Vec<String>>>,
}

impl MirrorState {
    /// Waits until the file tells of `revision`, for a second at most: the file is a courtesy to others, the
    /// journal is what counts.
    pub async fn told(&self, revision: u64) {
        let mut told = self.told.clone();
        let _ = tokio::time::timeout(Duration::from_secs(1), told.wait_for(|told| *told >= revision)).await;
    }

    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().expect("no holder panics").clone()
    }
}

/// Starts the task. It ends, with a last write, after `stop`.
pub fn start(
    project: Project,
    tenure: Tenure,
    keeper: KeeperHandle,
    foreign: Arc<ForeignJobs>,
    stop: CancellationToken,
) -> (MirrorState, tokio::task::JoinHandle<()>) {
    let (told, receiver) = watch::channel(0);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let state = MirrorState { told: receiver, notices: notices.clone() };
    let task = tokio::spawn(keep(project, tenure, keeper, foreign, stop, told, notices));
    (state, task)
}

async fn keep(
    project: Project,
    tenure: Tenure,
    keeper: KeeperHandle,
    foreign: Arc<ForeignJobs>,
    stop: CancellationToken,
    told: watch::Sender<u64>,
    notices: Arc<Mutex<Vec<String>>>,
) {
    let mut news = keeper.watch();
    let mut shown = Shown::default();
    loop {
        let stopping = stop.is_cancelled();
        let snapshot = keeper.snapshot().await;
        let wait = if stopping { Duration::ZERO } else { shown.wait(&snapshot) };
        if wait > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = news.changed() => {}
                () = stop.cancelled() => {}
            }
            continue;
        }
        // Where this daemon is no longer the project's, the file is another's.
        let is_due = shown.revision < snapshot.revision || shown.was_overwritten(&project.background_jobs());
        if is_due && tenure.holds() {
            let (project, newest, foreign) = (project.clone(), snapshot.clone(), foreign.clone());
            let told_to_wait = shown.that_wait();
            let writing = move || write(&project, &newest, &foreign, &told_to_wait);
            let written = tokio::task::spawn_blocking(writing).await;
            match written.map_err(|panic| MirrorWriteError::Io(io::Error::other(panic))).flatten() {
                Ok(written) => {
                    for id in written.to_go_on {
                        tracing::info!(job = %id, "SpecWeave's command lets it go on");
                        if let Err(error) = keeper.resume(id.clone(), Vec::new(), Caller::default()).await {
                            tracing::warn!(job = %id, %error, "it cannot go on");
                        }
                    }
                    notices.lock().expect("no holder panics").extend(written.notice);
                    shown.have_written(&snapshot, written.bytes, written.stamp);
                    told.send_replace(snapshot.revision);
                }
                Err(error) => {
                    tracing::warn!(%error, "background-jobs.json could not be written");
                    shown.failed_at = Some(Instant::now());
                    if !stopping {
                        continue;
                    }
                }
            }
        }
        if stopping {
            return;
        }
        let look_again = shown.look_again();
        tokio::select! {
            _ = news.changed() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(look_again) => {}
        }
    }
}

/// What the file tells, and when it was written.
#[derive(Default)]
struct Shown {
    revision: u64,
    ours: BTreeMap<JobId, (State, u64)>,
    written_at: Option<Instant>,
    failed_at: Option<Instant>,
    bytes: u64,
    stamp: Option<Stamp>,
}

/// SpecWeave's lock is not safe: a writer of its may break ours and put back what it read before. It is looked for
/// soon after each write, and less often for as long as nothing is written.
const LOOK_SOON: Duration = Duration::from_millis(500);
const LOOK_SELDOM: Duration = Duration::from_secs(2);

impl Shown {
    /// Whether the file is no longer the one that was written last.
    fn was_overwritten(&self, path: &Path) -> bool {
        self.written_at.is_some() && stamp(path) != self.stamp
    }

    /// Our jobs of which the file said last that they do not run, and do not only wait to begin.
    fn that_wait(&self) -> HashSet<JobId> {
        let waits = |state: &State| !matches!(state, State::Pending | State::Running);
        self.ours.iter().filter(|(_, (state, _))| waits(state)).map(|(id, _)| id.clone()).collect()
    }

    fn look_again(&self) -> Duration {
        match self.written_at.map(|written| written.elapsed()) {
            Some(age) if age < LOOK_SOON * 2 => LOOK_SOON,
            _ => LOOK_SELDOM,
        }
    }

    /// How long the next write should wait: not at all for a change of state, paced for progress.
    fn wait(&self, snapshot: &Snapshot) -> Duration {
        if let Some(failed) = self.failed_at {
            return Duration::from_secs(1).saturating_sub(failed.elapsed());
        }
        let Some(written) = self.written_at else { return Duration::ZERO };
        let state_changed = self.ours.len() != snapshot.jobs.len()
            || snapshot
                .jobs
                .iter()
                .any(|(id, entry)| self.ours.get(id).is_none_or(|(state, _)| *state != entry.job.state));
        if state_changed || self.revision == snapshot.revision {
            return Duration::ZERO;
        }
        let (mut updates, mut total) = (0, 0);
        for (id, entry) in &snapshot.jobs {
            let (current, all) =
                entry.job.plan.as_ref().map_or((0, 0), |plan| (plan.current(), plan.total()));
            let before = self.ours.get(id).map_or(0, |(_, current)| *current);
            if current != before {
                updates += current.abs_diff(before);
                total += all;
            }
        }
        let earned = updates * BYTES_A_JOB / total.max(1);
        let by_size = Duration::from_millis(self.bytes * 1000 / BYTES_A_SECOND);
        let pace = if earned >= self.bytes { PACE.max(by_size) } else { OLDEST };
        pace.min(OLDEST).saturating_sub(written.elapsed())
    }

    fn have_written(&mut self, snapshot: &Snapshot, bytes: u64, stamp: Option<Stamp>) {
        self.stamp = stamp;
        self.revision = snapshot.revision;
        self.bytes = bytes;
        self.written_at = Some(Instant::now());
        self.failed_at = None;
        self.ours = snapshot
            .jobs
            .iter()
            .map(|(id, entry)| {
                let current = entry.job.plan.as_ref().map_or(0, Plan::current);
                (id.clone(), (entry.job.state.clone(), current))
            })
            .collect();
    }
}

struct Written {
    bytes: u64,
    stamp: Option<Stamp>,
    notice: Option<String>,
    /// Jobs that are to go on, as somebody has written into the file.
    to_go_on: Vec<JobId>,
}

#[derive(Debug, thiserror::Error)]
enum MirrorWriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Of a larger file that cannot be read, nothing is kept.
const MOST_TORN: u64 = 64 * 1024 * 1024;

/// So often a file is read again that changes while it is rewritten.
const MOST_READS: u32 = 20;

/// Rewrites the file. Our own entries that are no longer in it go.
fn write(
    project: &Project,
    snapshot: &Snapshot,
    foreign: &ForeignJobs,
    told_to_wait: &HashSet<JobId>,
) -> Result<Written, MirrorWriteError> {
    let path = project.background_jobs();
    let _lock = DocumentLock::take(&project.background_jobs_lock())?;
    let (mut notice, mut to_go_on) = (None, Vec::new());
    for reads in 1.. {
        let (read, mut document) = match foreign.read() {
            Ok(read) => read,
            Err(error @ MirrorError::Unreadable { .. }) => {
                let torn = disk::read_regular(&path, MOST_TORN).unwrap_or_default();
                let kept = Document::salvaged(&torn, project);
                let aside = disk::set_aside(&path)?;
                notice = Some(format!(
                    "{error}; it was set aside as {} and rebuilt from the journals; {} of other tools' jobs could be kept",
                    aside.display(),
                    kept.jobs.iter().filter(|job| !job.ours).count()
                ));
                disk::replace_if(
                    &path,
                    0o644,
                    |out: &mut dyn Write| kept.write(out, |_| None),
                    |_| Ok(true),
                    || true,
                )?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        to_go_on.extend(flipped(&document, told_to_wait));
        enter(snapshot, &mut document);
        if read.is_none() && document.jobs.is_empty() {
            return Ok(Written { bytes: 0, stamp: None, notice, to_go_on });
        }
        let now = clock::now();
        let mut same = false;
        let fill =
            |out: &mut dyn Write| document.write(out, |before| translated(project, snapshot, before, now));
        // A file that would not change is left alone.
        let wanted = |new: &Path| {
            disk::same_content(new, &path).map(|found| {
                same = found;
                !found
            })
        };
        let still = || reads == MOST_READS || stamp(&path) == read;
        let replaced = disk::replace_if(&path, 0o644, fill, wanted, still)?;
        if same || replaced {
            let stamp = stamp(&path);
            foreign.learn(stamp, &document);
            to_go_on.dedup();
            return Ok(Written { bytes: stamp.map_or(0, |(_, len, _)| len), stamp, notice, to_go_on });
        }
    }
    unreachable!("the last read is used whatever happens meanwhile")
}

/// Jobs of which we had written that they do not run, and which somebody has set to running: `specweave jobs --resume` does
/// that before it starts a worker.
fn flipped(document: &Document, told_to_wait: &HashSet<JobId>) -> Vec<JobId> {
    let ours = document.jobs.iter().filter(|job| job.ours);
    let ours = ours.filter_map(|job| Some((JobId::parse(&job.id)?, job)));
    let waiting = ours.filter(|(id, _)| told_to_wait.contains(id));
    waiting.filter(|(_, job)| job.status == "running").map(|(id, _)| id).collect()
}

/// Gives every job of the snapshot its place in the document, the oldest first; our own entries that are no longer on the
/// snapshot go.
fn enter(snapshot: &Snapshot, document: &mut Document) {
    let on_board = |id: &str| JobId::parse(id).is_some_and(|id| snapshot.jobs.contains_key(&id));
    document.jobs.retain(|job| !job.ours || on_board(&job.id));
    let mut by_age: Vec<&Arc<Entry>> = snapshot.jobs.values().collect();
    by_age.sort_by_key(|entry| entry.job.created_at);
    for entry in by_age {
        let id = entry.job.id.as_str();
        if !document.jobs.iter().any(|job| job.id == id) {
            document.jobs.push(documented::Entry::empty(id));
        }
    }
}

/// Says of another tool's job that it is paused. False when the file does not have it.
pub fn pause_foreign(project: &Project, id: &JobId) -> io::Result<bool> {
    let path = project.background_jobs();
    let _lock = DocumentLock::take(&project.background_jobs_lock())?;
    let mut document = Document::read(&path).map_err(io::Error::other)?;
    let Some(job) = document.jobs.iter_mut().find(|job| !job.ours && job.id == id.as_str()) else {
        return Ok(false);
    };
    *job = job.with_status(v1::JobState::Paused, clock::now());
    let fill = |out: &mut dyn Write| document.write(out, |_| None);
    disk::replace_if(&path, 0o644, fill, |_| Ok(true), || true)
}

/// The text of a job of ours in the place of the entry `before`; `None` for another tool's.
fn translated(
    project: &Project,
    snapshot: &Snapshot,
    before: &documented::Entry,
    now: Millis,
) -> Option<documented::Entry> {
    let entry = snapshot.jobs.get(&JobId::parse(&before.id)?)?;
    let job = view::job(entry, now);
    let (mut items_completed, mut items_failed) = (Vec::new(), Vec::new());
    if let Some(items) = entry.job.items() {
        items_completed = items.succeeded().map(|item| items.name(item)).collect();
    }
    if let Some(plan) = &entry.job.plan {
        items_failed = plan.failures().map(|(name, _)| name).collect();
    }
    let config = kind::of(&entry.job.order).documented(&entry.job, project);
    Some(documented::Entry::of(&job, &Extra { items_completed, items_failed, config }, Some(before)))
}
