//! Keeps the documented `background-jobs.json` true: one task that waits for news, and rewrites the file
//! under SpecWeave's own lock. Jobs of other tools and unknown fields stay. It only ever reads the snapshot.

use crate::job::snapshot::{Entry, Snapshot};
use crate::job::{Plan, State};
use crate::keeper::KeeperHandle;
use crate::store::tenure::Tenure;
use crate::view;
use crate::work::kind;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::mirror::{self as documented, Document, Extra, MirrorError};
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::{crash, disk, process, v1};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
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
            let written = tokio::task::spawn_blocking(move || write(&project, &newest, &foreign)).await;
            match written.map_err(|panic| MirrorWriteError::Io(io::Error::other(panic))).flatten() {
                Ok(written) => {
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
/// soon after each write, and seldom for as long as nothing is written.
const LOOK_SOON: Duration = Duration::from_millis(500);
const LOOK_SELDOM: Duration = Duration::from_secs(30);

impl Shown {
    /// Whether the file is no longer the one that was written last.
    fn was_overwritten(&self, path: &Path) -> bool {
        self.written_at.is_some() && stamp(path) != self.stamp
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
}

#[derive(Debug, thiserror::Error)]
enum MirrorWriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// So often a file is read again that changes while it is rewritten.
const MOST_READS: u32 = 20;

/// Rewrites the file. Our own entries that are no longer in it go.
fn write(project: &Project, snapshot: &Snapshot, foreign: &ForeignJobs) -> Result<Written, MirrorWriteError> {
    let path = project.background_jobs();
    let _lock = DocumentLock::take(&project.background_jobs_lock())?;
    let mut notice = None;
    for reads in 1.. {
        let (read, mut document) = match foreign.read() {
            Ok(read) => read,
            Err(error @ MirrorError::Unreadable { .. }) => {
                let aside = disk::set_aside(&path)?;
                notice = Some(format!(
                    "{error}; it was set aside as {} and rebuilt from the journals",
                    aside.display()
                ));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        enter(snapshot, &mut document);
        if read.is_none() && document.jobs.is_empty() {
            return Ok(Written { bytes: 0, stamp: None, notice });
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
            return Ok(Written { bytes: stamp.map_or(0, |(_, len, _)| len), stamp, notice });
        }
    }
    unreachable!("the last read is used whatever happens meanwhile")
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

/// SpecWeave's lock: a file with `<pid>\n<epoch ms>`, made whole in one step so that nobody reads it empty.
struct DocumentLock {
    path: PathBuf,
    content: String,
}

/// SpecWeave breaks a lock after this time, whoever holds it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_STALE_MS: Millis = 30_000;
/// Nobody holds it for so long; then it is looked whether its holder lives, which in another container's folder
/// cannot be told.
const LOCK_HELD_LONG_MS: Millis = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl DocumentLock {
    fn take(path: &Path) -> io::Result<Self> {
        let began = Instant::now();
        loop {
            let content = format!("{}\n{}", std::process::id(), clock::now());
            let whole = disk::temporary_beside(path);
            disk::create_new(&whole, 0o644)?.write_all(content.as_bytes())?;
            let linked = fs::hard_link(&whole, path);
            disk::remove_file(&whole)?;
            match linked {
                Ok(()) => {
                    crash::point("list-locked");
                    return Ok(Self { path: path.to_path_buf(), content });
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                // Nobody's lock, wherever it came from: neither we nor SpecWeave could ever remove a folder there.
                Err(_) if disk::facts(path).is_ok_and(|facts| facts.kind != disk::Kind::File) => {
                    let aside = disk::set_aside(path)?;
                    tracing::warn!(aside = %aside.display(), "the lock of the list was no file; it was set aside");
                }
                Err(_) if is_stale(path) || began.elapsed() > LOCK_PATIENCE => {
                    disk::remove_file(path)?;
                }
                Err(_) => std::thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

impl Drop for DocumentLock {
    fn drop(&mut self) {
        // Another tool may have broken the lock and taken it meanwhile.
        if disk::read_regular(&self.path, 1024).is_ok_and(|content| content == self.content.as_bytes()) {
            let _ = disk::remove_file(&self.path);
            crash::point("list-unlocked");
        }
    }
}

fn is_stale(path: &Path) -> bool {
    let content = disk::read_regular(path, 1024).unwrap_or_default();
    holder_is_gone(&String::from_utf8_lossy(&content), clock::now())
}

/// An empty lock is one that SpecWeave is just writing.
fn holder_is_gone(content: &str, now: Millis) -> bool {
    let mut lines = content.lines();
    let pid: Option<u32> = lines.next().and_then(|pid| pid.trim().parse().ok());
    let taken: Option<Millis> = lines.next().and_then(|at| at.trim().parse().ok());
    let (Some(pid), Some(taken)) = (pid, taken) else { return false };
    let age = now.saturating_sub(taken);
    age > LOCK_STALE_MS || age > LOCK_HELD_LONG_MS && !process::is_still(pid, taken)
}

/// Jobs that other tools wrote into the file; read again only when it has changed.
pub struct ForeignJobs {
    project: Project,
    cache: Mutex<(Option<Stamp>, Arc<Vec<documented::Entry>>)>,
    /// Held by whoever reads the file; it can be large, and one reading is enough for all who wait for it.
    reading: Mutex<()>,
}

type Stamp = (u64, u64, SystemTime);

impl ForeignJobs {
    pub fn new(project: Project) -> Self {
        Self { project, cache: Mutex::default(), reading: Mutex::default() }
    }

    /// Those that are not in it, as they stand now. The file can be large: no other call waits for its reading.
    pub async fn besides(self: &Arc<Self>, snapshot: &Arc<Snapshot>) -> Vec<v1::Job> {
        let (foreign, snapshot) = (self.clone(), snapshot.clone());
        tokio::task::spawn_blocking(move || foreign.read_besides(&snapshot)).await.unwrap_or_default()
    }

    fn read_besides(&self, snapshot: &Snapshot) -> Vec<v1::Job> {
        let ours = |job: &v1::Job| JobId::parse(&job.id).is_some_and(|id| snapshot.jobs.contains_key(&id));
        let (entries, brownfield) = (self.entries(), documented::brownfield(&self.project));
        let mut jobs = documented::from_entries(entries.iter().chain(&brownfield), &self.project);
        // A job that was ours and is pruned may be in the file for a moment longer.
        jobs.retain(|job| !ours(job));
        jobs
    }

    fn entries(&self) -> Arc<Vec<documented::Entry>> {
        self.known().unwrap_or_else(|| {
            let _turn = self.reading.lock().expect("reading does not panic");
            self.known().unwrap_or_else(|| {
                let (stamp, document) = self.read_in_turn().unwrap_or_default();
                self.learn(stamp, &document)
            })
        })
    }

    /// What was read last, if the file is still that one.
    fn known(&self) -> Option<Arc<Vec<documented::Entry>>> {
        let (read, entries) = self.cache.lock().expect("no holder panics").clone();
        (read == stamp(&self.project.background_jobs())).then_some(entries)
    }

    /// Reads the whole file, and learns what is in it.
    fn read(&self) -> Result<(Option<Stamp>, Document), MirrorError> {
        let _turn = self.reading.lock().expect("reading does not panic");
        let (stamp, document) = self.read_in_turn()?;
        self.learn(stamp, &document);
        Ok((stamp, document))
    }

    fn read_in_turn(&self) -> Result<(Option<Stamp>, Document), MirrorError> {
        let path = self.project.background_jobs();
        let stamp = stamp(&path);
        Ok((stamp, Document::read_slim(&path)?))
    }

    fn learn(&self, stamp: Option<Stamp>, document: &Document) -> Arc<Vec<documented::Entry>> {
        let foreign = document.jobs.iter().filter(|job| !job.ours);
        let foreign = Arc::new(foreign.cloned().collect());
        *self.cache.lock().expect("no holder panics") = (stamp, Arc::clone(&foreign));
        foreign
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let facts = disk::facts(path).ok()?;
    Some((facts.inode, facts.len, facts.modified))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = 1_795_393_241_998;

    #[test]
    fn a_lock_is_broken_when_it_is_old_or_its_holder_is_dead_and_no_sooner() {
        let me = std::process::id();
        let gone = u32::MAX / 2;
        let now = clock::now();
        assert!(!holder_is_gone(&format!("{me}\n{now}"), now));
        assert!(!holder_is_gone(&format!("{me}\n{}", now - 1_500), now));
        assert!(holder_is_gone(&format!("{me}\n{}", now - 30_001), now));
        assert!(!holder_is_gone(&format!("{gone}\n{now}"), now), "it may be another container's");
        assert!(holder_is_gone(&format!("{gone}\n{}", now - 600), now));
        assert!(!holder_is_gone("", now), "SpecWeave writes the content in a second step");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_lock_content_is_read_without_harm(content in ".*", number in any::<i64>()) {
            holder_is_gone(&content, NOW);
            holder_is_gone(&format!("{number}\n{number}"), NOW);
            // A lock from the future is not old.
            let future = format!("{}\n{}", std::process::id(), NOW + 1_000_000);
            prop_assert_eq!(holder_is_gone(&future, NOW), false);
        }
    }
}
