//! `specweave-jobsd`: the daemon of one project. This file is its life, top to bottom: detach, lock, bind,
//! say ready, read the journals, serve, and stop in order.
//!
//! Naming: `_handle` talks to an owner, `stop*` are tokens that travel down, news travels in `watch`.

mod boot;
mod docs;
mod git;
mod job;
mod keeper;
mod markup;
mod mirror;
mod model;
mod net;
mod rpc;
mod store;
mod trackers;
mod view;
mod work;

use boot::lifecycle::{DaemonLock, Socket, StartError};
use boot::parent::Tie;
use clap::{Parser, Subcommand};
use keeper::{Keeper, KeeperHandle};
use mirror::ForeignJobs;
use rpc::{Activity, Service};
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::v1::jobs_service_server::JobsServiceServer;
use specweave_jobs::{clock, disk};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::mac::UserKey;
use store::place::Place;
use store::tenure::Tenure;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Without a job, a stream or a call for so long, the daemon leaves (`SPECWEAVE_JOBS_IDLE_SECONDS`).
const IDLE: Duration = Duration::from_secs(5 * 60);
/// How often it looks whether socket and project still are its own (`SPECWEAVE_JOBS_CHECK_SECONDS`).
const CHECK: Duration = Duration::from_secs(30);
/// Running work may take so long to reach a safe point.
const SAFE_POINT: Duration = Duration::from_secs(5);
/// Open connections may take so long to close.
const DRAIN: Duration = Duration::from_secs(2);
#[derive(Parser)]
#[command(name = "specweave-jobsd", version, about = "The daemon of one project; specweave-jobs starts it")]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Own the jobs of a project until told to stop.
    Serve {
        /// A folder inside the project.
        #[arg(long)]
        project: PathBuf,
        /// Stay in this terminal and log to it.
        #[arg(long)]
        foreground: bool,
        /// End when standard input does: the starter's life bounds this one's.
        #[arg(long)]
        attached: bool,
    },
    /// Stand for one job in its worker.pid (started by the daemon itself).
    #[command(hide = true)]
    StandIn {
        #[arg(long, value_parser = |text: &str| JobId::parse(text).ok_or("no job id"))]
        job: JobId,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Action::StandIn { .. } => keeper::stand_in::live().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Action::Serve { project, foreground, attached } => {
            let tie = match (foreground, attached) {
                (true, _) => Tie::Terminal,
                (false, true) => Tie::Starter,
                (false, false) => Tie::Nothing,
            };
            if tie == Tie::Nothing {
                boot::parent::detach();
            }
            match serve(&project, tie) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    boot::parent::tell(
                        &serde_json::json!({"error": error.to_string(), "held_by": held_by(&error)}),
                    );
                    if tie == Tie::Terminal {
                        eprintln!("error: {error}");
                    }
                    ExitCode::FAILURE
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Project(#[from] specweave_jobs::project::ProjectError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Key(#[from] store::mac::KeyError),
    #[error("the keeper of all jobs has ended; the daemon's log has the details")]
    KeeperGone,
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
}

fn held_by(error: &ServeError) -> Option<u32> {
    match error {
        ServeError::Start(StartError::Held { pid }) => Some(*pid),
        _ => None,
    }
}

/// The boot story.
fn serve(project: &std::path::Path, tie: Tie) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4))
        .enable_all()
        .build()
        .map_err(|error| ServeError::Io("cannot start the runtime", error))?;
    // Before the lock: whoever finds it held may send a signal.
    let signals = runtime
        .block_on(async { Signals::listen() })
        .map_err(|error| ServeError::Io("cannot listen for signals", error))?;
    specweave_jobs::crash::arm();
    let project = Project::find(project)?;
    let lock = DaemonLock::take(&project)?;
    let (socket, listener) = Socket::bind(&project, &lock)?;
    boot::daemon_log::start(&project, tie)
        .map_err(|error| ServeError::Io("cannot open daemon.log", error))?;
    let user = UserKey::of_user(socket.folder()).inspect_err(|_| socket.remove())?;
    let place = Place::of(&project, &user)
        .map_err(|error| ServeError::Io("cannot tell which place this project is", error))
        .inspect_err(|_| socket.remove())?;
    boot::limits::raise_descriptor_limit();
    boot::limits::keep_memory_to_itself();
    rustls::crypto::ring::default_provider().install_default().ok();
    git::bound_libgit2();
    tracing::info!(project = %project.root().display(), version = env!("CARGO_PKG_VERSION"), "started");
    if tie != Tie::Terminal {
        boot::parent::tell(&serde_json::json!({"ready": true}));
        disk::open_log(&project.daemon().log())
            .and_then(|log| boot::parent::release(&log, tie))
            .map_err(|error| ServeError::Io("cannot detach", error))?;
    }
    let stopped = runtime.block_on(live(project, place, (socket, listener), &lock, tie, signals));
    runtime.shutdown_timeout(Duration::from_millis(100));
    // Work that did not stop in time may still write: the lock goes with the process, not before it.
    std::mem::forget(lock);
    stopped
}

/// From the first connection to the last.
async fn live(
    project: Project,
    place: Place,
    bound: (Socket, StdListener),
    lock: &DaemonLock,
    tie: Tie,
    mut signals: Signals,
) -> Result<(), ServeError> {
    let (mut socket, listener) = bound;
    let started_at = clock::now();
    let stopping = CancellationToken::new();
    let stop_requested = CancellationToken::new();
    let tenure = lock.tenure();
    let Place { key, notice } = place;
    let (keeper, handle) =
        Keeper::new(project.clone(), key.clone(), tenure.clone(), stop_requested.clone(), notice, view::job);
    let stop_mirror = CancellationToken::new();
    if tie == Tie::Starter {
        boot::parent::stop_with(stop_requested.clone());
    }
    let activity = Activity::begun();
    let foreign = Arc::new(ForeignJobs::new(project.clone()));
    let (mirror, mirroring) =
        mirror::start(project.clone(), tenure.clone(), handle.clone(), foreign.clone(), stop_mirror.clone());
    let mut keeping = tokio::spawn(keeper.keep());
    let service = Arc::new(Service {
        project: project.clone(),
        key,
        tenure: tenure.clone(),
        keeper: handle.clone(),
        mirror,
        foreign,
        activity: activity.clone(),
        stopping: stopping.clone(),
        stop_requested: stop_requested.clone(),
        started_at,
    });
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<JobsServiceServer<Service>>().await;
    let accept = |listener: StdListener| boot::serve::connections(listener, service.clone(), health.clone());
    let look = seconds("SPECWEAVE_JOBS_TAKE_OVER_SECONDS", rpc::takeover::PERIOD);
    let taking_over = rpc::takeover::keep(service.clone(), look);
    let mut serving = vec![tokio::spawn(accept(listener)), tokio::spawn(taking_over)];

    let watch = Watch { tenure: &tenure, handle: &handle, activity: &activity };
    let reason = loop {
        let happening = tokio::select! {
            // A keeper that was told to end is not one that has gone.
            biased;
            happening = watch.until_something_happens(&socket, &stop_requested, &mut signals) => happening,
            _ = &mut keeping => Happening::KeeperGone,
        };
        match happening {
            Happening::Stop(reason) => break reason,
            // The journals have all that was acknowledged; the next daemon goes on from them.
            Happening::KeeperGone => return Err(ServeError::KeeperGone),
            Happening::Unreachable => match Socket::bind(&project, lock) {
                Ok((bound, listener)) => {
                    tracing::warn!("the socket or its endpoint file was gone; bound again");
                    socket = bound;
                    serving.push(tokio::spawn(accept(listener)));
                }
                Err(error) => tracing::error!(%error, "the socket is gone and cannot be bound again"),
            },
        }
    };

    tracing::info!(reason = reason.told(), "stopping");
    rpc::errors::stops_because(reason.contract_word());
    boot::lifecycle::arm_watchdog(SAFE_POINT + DRAIN + Duration::from_secs(3));
    health_reporter.set_not_serving::<JobsServiceServer<Service>>().await;
    socket.remove();
    stopping.cancel();
    if tokio::time::timeout(SAFE_POINT, handle.stop()).await.is_err() {
        tracing::warn!("some work did not reach a safe point in time; it resumes at the next start");
    }
    stop_mirror.cancel();
    let _ = tokio::time::timeout(DRAIN, mirroring).await;
    keeping.abort();
    let _ = tokio::time::timeout(DRAIN, closed(&activity)).await;
    for server in serving {
        server.abort();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until every stream has ended.
async fn closed(activity: &Activity) {
    while activity.streams() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The last answers, such as that to `Shutdown`, are on their way.
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Why the daemon stops.
enum StopReason {
    /// The name of a signal.
    Signal(&'static str),
    Asked,
    Idle,
    ProjectGone,
}

impl StopReason {
    /// As the daemon's own log has it.
    fn told(&self) -> &'static str {
        match self {
            Self::Signal(name) => name,
            Self::Asked => "asked to",
            Self::Idle => "nothing to do",
            Self::ProjectGone => "the project or its state was removed or moved",
        }
    }

    fn contract_word(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::Asked => "asked",
            Self::Idle => "idle",
            Self::ProjectGone => rpc::errors::MOVED,
        }
    }
}

/// What makes the daemon act without a call.
enum Happening {
    Stop(StopReason),
    Unreachable,
    KeeperGone,
}

/// The signals that the daemon acts on, heard from before it takes the lock.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// A client that found the lock held and no socket asks for a look at once.
    look: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            look: signal(SignalKind::hangup())?,
        })
    }
}

struct Watch<'a> {
    tenure: &'a Tenure,
    handle: &'a KeeperHandle,
    activity: &'a Activity,
}

impl Watch<'_> {
    async fn until_something_happens(
        &self,
        socket: &Socket,
        stop_requested: &CancellationToken,
        signals: &mut Signals,
    ) -> Happening {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Happening::Stop(StopReason::Signal("SIGTERM")),
                _ = signals.interrupt.recv() => return Happening::Stop(StopReason::Signal("SIGINT")),
                () = stop_requested.cancelled() => {
                    if self.tenure.holds() {
                        return Happening::Stop(StopReason::Asked);
                    }
                }
                _ = signals.look.recv() => {}
                () = tokio::time::sleep(seconds("SPECWEAVE_JOBS_CHECK_SECONDS", CHECK)) => {}
            }
            if !self.tenure.holds() {
                return Happening::Stop(StopReason::ProjectGone);
            }
            if !socket.is_reachable() {
                return Happening::Unreachable;
            }
            self.handle.sweep().await;
            // The keeper decides, so that no job is taken after the decision to leave.
            if self.is_idle() && self.handle.stop_if_idle().await {
                return Happening::Stop(StopReason::Idle);
            }
        }
    }

    fn is_idle(&self) -> bool {
        let idle_for = clock::now() - self.activity.last_call();
        let long = idle_for >= seconds("SPECWEAVE_JOBS_IDLE_SECONDS", IDLE).as_millis() as i64;
        long && self.activity.streams() == 0
    }
}

/// A duration that tests and impatient people may change.
fn seconds(name: &str, usual: Duration) -> Duration {
    let set = std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    set.filter(|seconds| seconds.is_finite() && *seconds > 0.0).map_or(usual, Duration::from_secs_f64)
}
