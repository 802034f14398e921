//! Streams that cannot fall behind: a follower waits for the snapshot's revision, then sends what is newest, at
//! most once a gap, and the end at once. What lies between two messages is never queued, so that a reader that sleeps is no
//! more than a gap stale and costs nothing.

use super::{Activity, Service, Streamed, errors};
use crate::job::snapshot::{Entry, Snapshot};
use crate::job::{PauseReason, State};
use crate::store::job_log;
use crate::view;
use specweave_jobs::project::JobId;
use specweave_jobs::v1::*;
use specweave_jobs::{clock, tail};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

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

    async fn news<T>(&mut self, to: &Outlet<T>) -> News {
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
            () = tokio::time::sleep(HEARTBEAT) => News::Nothing,
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
                match listener.news(&to).await {
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
        // What the reader has; `None` before the snapshot.
        let mut told: Option<Arc<Snapshot>> = None;
        loop {
            let Ok(room) = to.reserve().await else { return };
            let now = clock::now();
            let event = match &told {
                None => {
                    let besides = foreign.besides(&snapshot).await;
                    let ours = snapshot.jobs.values().map(|entry| view::job(entry, now));
                    Some(Event::Snapshot(JobList { jobs: ours.chain(besides).collect() }))
                }
                Some(told) => {
                    let fresh = snapshot.jobs.values().filter(|entry| entry.revision > told.revision);
                    let jobs: Vec<Job> = fresh.map(|entry| view::job(entry, now)).collect();
                    let removed = told.jobs.keys().filter(|id| !snapshot.jobs.contains_key(*id));
                    let removed_ids: Vec<String> = removed.map(JobId::to_string).collect();
                    let changed = !jobs.is_empty() || !removed_ids.is_empty();
                    changed.then_some(Event::Changed(JobChanges { jobs, removed_ids }))
                }
            };
            let since = snapshot.revision;
            told = Some(snapshot);
            match event {
                Some(event) => {
                    room.send(message(event, since));
                    listener.pause(gap, &to).await;
                    let newer = listener.now();
                    if newer.revision > since {
                        snapshot = newer;
                        continue;
                    }
                }
                None => drop(room),
            }
            snapshot = loop {
                match listener.news(&to).await {
                    News::Snapshot(snapshot) => break snapshot,
                    News::Over => return,
                    News::Nothing => {
                        if to.send(message(Event::Heartbeat(Heartbeat {}), since)).await.is_err() {
                            return;
                        }
                    }
                }
            };
        }
    })
}

pub fn tail(
    service: &Service,
    id: JobId,
    request: TailLogRequest,
) -> Result<Streamed<TailLogResponse>, Status> {
    let path = service.project.job(&id).log();
    let unreadable = |error: std::io::Error| Status::internal(format!("the log cannot be read: {error}"));
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
                match listener.news(&to).await {
                    News::Snapshot(snapshot) => snapshot,
                    News::Nothing => newer,
                    News::Over => return,
                }
            };
        }
    }))
}
