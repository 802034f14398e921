//! Streams that cannot fall behind: a follower waits for the snapshot's revision, then sends what is newest, at
//! most once a gap, and the end at once. What lies between two messages is never queued, so that a reader that sleeps is no
//! more than a gap stale and costs nothing.

use super::{Activity, Service, Streamed, errors};
use crate::job::snapshot::{Entry, Snapshot};
use crate::job::{PauseReason, State};
use crate::mirror::ForeignJobs;
use crate::store::job_log;
use crate::view;
use specweave_jobs::project::JobId;
use specweave_jobs::v1::*;
use specweave_jobs::{clock, reason, tail};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

const DEFAULT_GAP: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Bytes of a log in one message.
const LOG_CHUNK: usize = 64 * 1024;

type Outlet<T> = mpsc::Sender<Result<T, Status>>;

/// Counts as activity for as long as it lives.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.streams.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.called();
    }
}

fn gap(millis: u32) -> Duration {
    match millis {
        0 => DEFAULT_GAP,
        millis => Duration::from_millis(u64::from(millis.clamp(50, 60_000))),
    }
}

/// Whether there may be more to tell.
enum News {
    Snapshot(Arc<Snapshot>),
    Nothing,
    Over,
}

struct Listener {
    snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    stopping: CancellationToken,
}

impl Listener {
    fn new(service: &Service) -> Self {
        Self { snapshot: service.keeper.watch(), stopping: service.stopping.clone() }
    }

    fn now(&mut self) -> Arc<Snapshot> {
        self.snapshot.borrow_and_update().clone().unwrap_or_default()
    }

    async fn news<T>(&mut self, within: Duration, to: &Outlet<T>) -> News {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {
                let _ = to.send(Err(errors::shutting_down())).await;
                News::Over
            }
            () = to.closed() => News::Over,
            changed = self.snapshot.changed() => match changed {
                Ok(()) => News::Snapshot(self.now()),
                Err(_) => News::Over,
            },
            () = tokio::time::sleep(within) => News::Nothing,
        }
    }

    async fn pause<T>(&self, gap: Duration, to: &Outlet<T>) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = to.closed() => {}
            () = tokio::time::sleep(gap) => {}
        }
    }
}

/// Waits for the gap, but not longer than until there is no more to tell.
async fn pause_unless_over<T>(listener: &Listener, id: &JobId, gap: Duration, to: &Outlet<T>) {
    let mut ahead = listener.snapshot.clone();
    let ended = |snapshot: &Option<Arc<Snapshot>>| {
        snapshot.as_ref().is_some_and(|snapshot| snapshot.jobs.get(id).is_none_or(|entry| is_over(entry)))
    };
    tokio::select! {
        () = listener.pause(gap, to) => {}
        _ = ahead.wait_for(ended) => {}
    }
}

/// A task that sends, and the stream that the client reads. One message fits between them.
fn stream<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    service: &Service,
    send: impl FnOnce(Outlet<T>) -> F,
) -> Streamed<T> {
    let (to, from) = mpsc::channel(1);
    let open = Open::new(&service.activity);
    let sending = send(to);
    tokio::spawn(async move {
        sending.await;
        drop(open);
    });
    Box::pin(ReceiverStream::new(from))
}

pub fn follow(service: &Service, id: JobId, request: FollowJobRequest) -> Streamed<FollowJobResponse> {
    use follow_job_response::Event;
    let mut listener = Listener::new(service);
    let epoch = service.keeper.epoch.to_string();
    let gap = gap(request.gap_ms);
    let mirror = service.mirror.clone();
    let mut told = (request.epoch == epoch).then_some(request.since_revision);
    stream(service, move |to| async move {
        let message =
            |event, revision| Ok(FollowJobResponse { epoch: epoch.clone(), revision, event: Some(event) });
        loop {
            // Room first, then look: what is sent is what is newest when it is sent.
            let Ok(room) = to.reserve().await else { return };
            if listener.stopping.is_cancelled() {
                return room.send(Err(errors::shutting_down()));
            }
            let snapshot = listener.now();
            // One that is removed meanwhile is told of as it stood then.
            let Some(entry) = snapshot.last_seen(&id) else { return };
            let last = is_over(entry) || !snapshot.jobs.contains_key(&id);
            if told.is_none_or(|told| entry.revision > told) || last {
                if last {
                    // Whoever waits for the end may read the documented files next.
                    mirror.told(entry.revision).await;
                }
                let job = view::job(entry, clock::now());
                let event = if told.is_some() { Event::Changed(job) } else { Event::Snapshot(job) };
                told = Some(entry.revision);
                room.send(message(event, entry.revision));
                if last {
                    return;
                }
                pause_unless_over(&listener, &id, gap, &to).await;
                if listener.now().last_seen(&id).is_some_and(|entry| told < Some(entry.revision)) {
                    continue;
                }
            } else {
                drop(room);
            }
            loop {
                match listener.news(HEARTBEAT, &to).await {
                    News::Snapshot(_) => break,
                    News::Over => return,
                    News::Nothing => {
                        let heartbeat = message(Event::Heartbeat(Heartbeat {}), told.unwrap_or(0));
                        if to.send(heartbeat).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    })
}

/// Nothing more will happen by itself: the job has ended, waits for a person, or is done for this time. One that only waits
/// for the next daemon is not over.
fn is_over(entry: &Entry) -> bool {
    let for_next_daemon = matches!(entry.job.state, State::Paused { reason: PauseReason::DaemonStopped, .. });
    let is_done = !entry.job.is_active() || entry.job.is_scheduled();
    is_done && !for_next_daemon && entry.pid == 0
}

/// What other tools write is looked at so often.
const OTHERS: Duration = Duration::from_secs(2);

/// What a reader of all jobs has been told.
struct Told {
    snapshot: Arc<Snapshot>,
    /// Other tools' jobs, by their ids.
    others: BTreeMap<String, Job>,
    looked: Instant,
    sent: Instant,
}

impl Told {
    /// What has changed since, of ours and, now and then, of others.
    async fn changes(&mut self, snapshot: &Arc<Snapshot>, foreign: &Arc<ForeignJobs>) -> JobChanges {
        let now = clock::now();
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let fresh = snapshot.jobs.values().filter(|entry| entry.revision > before.revision);
        let mut jobs: Vec<Job> = fresh.map(|entry| view::job(entry, now)).collect();
        let gone = before.jobs.keys().filter(|id| !snapshot.jobs.contains_key(*id));
        let mut removed_ids: Vec<String> = gone.map(JobId::to_string).collect();
        if self.looked.elapsed() >= OTHERS {
            self.looked = Instant::now();
            let others = by_id(foreign.besides(snapshot).await);
            // One that was taken over is ours, and told as such.
            let is_ours = |id: &str| JobId::parse(id).is_some_and(|id| snapshot.jobs.contains_key(&id));
            removed_ids
                .extend(self.others.keys().filter(|id| !others.contains_key(*id) && !is_ours(id)).cloned());
            jobs.extend(others.values().filter(|job| self.others.get(&job.id) != Some(job)).cloned());
            self.others = others;
        }
        JobChanges { jobs, removed_ids }
    }
}

fn by_id(jobs: Vec<Job>) -> BTreeMap<String, Job> {
    jobs.into_iter().map(|job| (job.id.clone(), job)).collect()
}

pub fn watch(service: &Service, request: WatchJobsRequest) -> Streamed<WatchJobsResponse> {
    use watch_jobs_response::Event;
    let mut listener = Listener::new(service);
    let epoch = service.keeper.epoch.to_string();
    let gap = gap(request.gap_ms);
    let foreign = service.foreign.clone();
    stream(service, move |to| async move {
        let message =
            |event, revision| Ok(WatchJobsResponse { epoch: epoch.clone(), revision, event: Some(event) });
        let mut snapshot = listener.now();
        let Ok(room) = to.reserve().await else { return };
        let others = by_id(foreign.besides(&snapshot).await);
        let ours = snapshot.jobs.values().map(|entry| view::job(entry, clock::now()));
        let jobs = ours.chain(others.values().cloned()).collect();
        room.send(message(Event::Snapshot(JobList { jobs }), snapshot.revision));
        let now = Instant::now();
        let mut told = Told { snapshot: snapshot.clone(), others, looked: now, sent: now };
        loop {
            listener.pause(gap, &to).await;
            if listener.now().revision == snapshot.revision
                && matches!(listener.news(OTHERS, &to).await, News::Over)
            {
                return;
            }
            let Ok(room) = to.reserve().await else { return };
            // What is sent is what is newest when there is room for it.
            snapshot = listener.now();
            let changes = told.changes(&snapshot, &foreign).await;
            let event = if !changes.jobs.is_empty() || !changes.removed_ids.is_empty() {
                Event::Changed(changes)
            } else if told.sent.elapsed() >= HEARTBEAT {
                Event::Heartbeat(Heartbeat {})
            } else {
                continue;
            };
            told.sent = Instant::now();
            room.send(message(event, snapshot.revision));
        }
    })
}

pub fn tail(
    service: &Service,
    id: JobId,
    request: TailLogRequest,
) -> Result<Streamed<TailLogResponse>, Status> {
    let path = service.project.job(&id).log();
    let unreadable = |error: std::io::Error| {
        let text = format!("the log cannot be read: {error}");
        errors::error(Code::ResourceExhausted, reason::STATE_NOT_WRITABLE, text, [])
    };
    let mut offset = match request.last_lines {
        0 => request.offset,
        lines => tail::offset_of_last_lines(&path, lines).map_err(unreadable)?,
    };
    let mut listener = Listener::new(service);
    Ok(stream(service, move |to| async move {
        let mut snapshot = listener.now();
        loop {
            // The state first, then the log to its end: nothing that was written before is missed.
            let over = !request.follow || snapshot.jobs.get(&id).is_none_or(|entry| is_over(entry));
            loop {
                let chunk = match job_log::read_from(&path, offset, LOG_CHUNK) {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => chunk,
                    Err(error) => return drop(to.send(Err(unreadable(error))).await),
                };
                offset += chunk.len() as u64;
                let message = TailLogResponse { chunk, next_offset: offset };
                if to.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            if over {
                return;
            }
            listener.pause(DEFAULT_GAP, &to).await;
            let newer = listener.now();
            snapshot = if newer.revision > snapshot.revision {
                newer
            } else {
                match listener.news(HEARTBEAT, &to).await {
                    News::Snapshot(snapshot) => snapshot,
                    News::Nothing => newer,
                    News::Over => return,
                }
            };
        }
    }))
}
