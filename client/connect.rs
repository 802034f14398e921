//! Finding the daemon, or starting it. The client reads where the daemon listens and computes nothing; it
//! never unlinks a socket, and signals only the process that a held lock names.

mod lock;
mod start;

pub use lock::{LockState, lock_state};
pub use start::{become_daemon, daemon_program, wants_no_daemon};

use crate::failure::Failure;
use lock::wait_until_gone;
use specweave_jobs::project::{Endpoint, EndpointError, Identity, Project};
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::{GetInfoRequest, GetInfoResponse, ShutdownRequest};
use specweave_jobs::{PROTOCOL, PROTOCOL_HEADER};
use start::{Attached, StartTurn, start};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A daemon on this machine that takes longer to say who it is hangs, as far as a list is concerned: that is to be there
/// within two seconds.
const ANSWER_DEADLINE: Duration = Duration::from_millis(1_500);
/// The longest a call may take, unless it asks a remote.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A new daemon says that it is ready within this time; so does one whose socket was gone.
const READY_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

pub type Client = JobsServiceClient<InterceptedService<Channel, Protocol>>;

/// Names the protocol in every request.
#[derive(Clone)]
pub struct Protocol;

impl Interceptor for Protocol {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(PROTOCOL_HEADER, MetadataValue::from(PROTOCOL));
        Ok(request)
    }
}

/// A daemon that answers.
pub struct Connection {
    pub client: Client,
    pub endpoint: Endpoint,
    /// A daemon that lives only as long as this command.
    attached: Option<Attached>,
}

impl Connection {
    /// Whether the daemon, and with it the job, ends with this command.
    pub fn is_attached(&self) -> bool {
        self.attached.is_some()
    }
}

/// A request with the usual deadline.
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// How long a daemon may take to say who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For what the files tell as well: whoever asks for a list wants it soon, also beside a daemon that hangs.
    Short,
    /// For what only the daemon can do, also on a busy machine.
    Long,
}

impl Patience {
    fn deadline(self) -> Duration {
        match self {
            Self::Short => ANSWER_DEADLINE,
            Self::Long => CALL_DEADLINE,
        }
    }
}

/// The daemon of this very project, if one listens. A missing, stale or unreadable endpoint is no daemon, and neither is
/// one that serves another project: the endpoint file may have come with a copy or a checkout.
pub async fn find(project: &Project, patience: Patience) -> Result<Option<Connection>, Failure> {
    let endpoint = match Endpoint::read(&project.daemon().endpoint()) {
        Ok(endpoint) => endpoint,
        Err(EndpointError::Missing | EndpointError::Garbage { .. }) => return Ok(None),
        Err(error) => return Err(Failure::Endpoint(error)),
    };
    let Some(socket) = endpoint.socket().map(Path::to_path_buf) else { return Ok(None) };
    let folder = socket.parent().unwrap_or(Path::new("/")).to_path_buf();
    let asking = async {
        let client = match connect_to(socket).await {
            Ok(client) => client,
            Err(error) if is_refused_by_sandbox(&error) => {
                return Err(Failure::NoSockets { folder, source: error });
            }
            Err(_) => return Ok(None),
        };
        let connection = Connection { client, endpoint, attached: None };
        match info(&connection).await {
            Ok(info) if serves(&info, project) => Ok(Some(connection)),
            Ok(_) => Ok(None),
            // It is going, or gone.
            Err(failure) if failure.is_shutting_down() || failure.is_broken() => Ok(None),
            Err(failure) => Err(failure),
        }
    };
    match tokio::time::timeout(patience.deadline(), asking).await {
        Ok(found) => found,
        Err(_) => {
            let seconds = patience.deadline().as_secs_f32();
            Err(Failure::Silent(format!("it did not say who it is within {seconds} s")))
        }
    }
}

/// As [`find`]; a daemon that lives and whose socket is gone is asked to bind it again.
pub async fn find_awake(project: &Project, patience: Patience) -> Result<Option<Connection>, Failure> {
    if let Some(connection) = find(project, patience).await? {
        return Ok(Some(connection));
    }
    match lock_state(project) {
        lock @ LockState::Held(Some(_)) => wake(project, &lock, patience, ANSWER_DEADLINE).await,
        LockState::Held(None) | LockState::Free => Ok(None),
    }
}

/// A daemon lives, but its socket or endpoint file is gone: it is asked to look, and binds again. `None` when it has gone
/// meanwhile, so that its lock is free or another's.
async fn wake(
    project: &Project,
    lock: &LockState,
    patience: Patience,
    deadline: Duration,
) -> Result<Option<Connection>, Failure> {
    lock.signal(rustix::process::Signal::HUP);
    let began = Instant::now();
    while began.elapsed() < deadline {
        if let Some(connection) = find(project, patience).await? {
            return Ok(Some(connection));
        }
        if lock_state(project) != *lock {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
    // The same as of one that takes a connection and says nothing: it hangs, and can be stopped.
    Err(Failure::Silent("it lives, but takes no connection".into()))
}

/// Whether the daemon that said this is that of this project.
fn serves(info: &GetInfoResponse, project: &Project) -> bool {
    let identity = Identity { device: info.specweave_device, inode: info.specweave_inode };
    Path::new(&info.project) == project.root() && identity == project.identity()
}

/// Whether this process may not use Unix sockets at all, which says nothing about the daemon.
fn is_refused_by_sandbox(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [Errno::AFNOSUPPORT, Errno::PERM, Errno::ACCESS];
    error.raw_os_error().is_some_and(|code| refusals.iter().any(|refusal| refusal.raw_os_error() == code))
}

async fn connect_to(socket: PathBuf) -> Result<Client, io::Error> {
    let stream = UnixStream::connect(&socket).await?;
    // Whoever listens there sees our tokens: it must be ourselves.
    if stream.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("the socket belongs to another user"));
    }
    let mut first = Some(stream);
    let connector = tower::service_fn(move |_| {
        let first = first.take();
        let socket = socket.clone();
        async move {
            let stream = match first {
                Some(stream) => stream,
                None => UnixStream::connect(socket).await?,
            };
            Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let channel = Channel::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(io::Error::other)?;
    Ok(JobsServiceClient::with_interceptor(channel, Protocol).max_decoding_message_size(64 * 1024 * 1024))
}

/// The daemon, started if none runs; an idle one of another version is replaced.
pub async fn find_or_start(project: &Project) -> Result<Connection, Failure> {
    if let Some(connection) = find(project, Patience::Long).await?
        && connection.endpoint.version == env!("CARGO_PKG_VERSION")
    {
        return Ok(connection);
    }
    let _turn = StartTurn::take(project)?;
    if let Some(connection) = find(project, Patience::Long).await? {
        let same_version = connection.endpoint.version == env!("CARGO_PKG_VERSION");
        if same_version || !retire(&connection, project).await? {
            return Ok(connection);
        }
    }
    start(project).await
}

/// Asks an idle daemon of another version to leave. A busy one stays and is used.
async fn retire(connection: &Connection, project: &Project) -> Result<bool, Failure> {
    let mut client = connection.client.clone();
    let leaving = lock_state(project);
    let reason = format!("replaced by version {}", env!("CARGO_PKG_VERSION"));
    let response = client.shutdown(timed(ShutdownRequest { reason, only_if_idle: true })).await;
    // One that cannot answer any more is leaving already.
    if response.is_ok_and(|response| !response.into_inner().stopping) {
        eprintln!("note: the daemon is version {}; it is busy and stays", connection.endpoint.version);
        return Ok(false);
    }
    wait_until_gone(project, &leaving)?;
    Ok(true)
}

/// Stops the daemon and returns when it is gone. False when none ran.
pub async fn stop(project: &Project) -> Result<bool, Failure> {
    let running = lock_state(project);
    if running == LockState::Free {
        return Ok(false);
    }
    let asked = async {
        let mut client = find(project, Patience::Long).await.ok()??.client;
        let request = ShutdownRequest { reason: "specweave-jobs daemon stop".into(), only_if_idle: false };
        client.shutdown(timed(request)).await.ok()
    };
    let asked = tokio::time::timeout(Duration::from_secs(2), asked).await;
    if !matches!(asked, Ok(Some(_))) && running == LockState::Held(None) && lock_state(project) == running {
        return Err(Failure::Silent(
            "it holds this project's lock, and it cannot be told from here which process it is: of another container, \
             machine or user, or none of ours"
                .into(),
        ));
    }
    if !matches!(asked, Ok(Some(_))) && lock_state(project) == running {
        // It does not answer; the lock proves that this process is the daemon.
        running.signal(rustix::process::Signal::TERM);
    }
    match wait_until_gone(project, &running) {
        // It hangs: all that it has acknowledged is in its journals, as for any crash.
        Err(Failure::Silent(_) | Failure::Broke) if matches!(running, LockState::Held(Some(_))) => {
            running.signal(rustix::process::Signal::KILL);
            wait_until_gone(project, &running)?;
        }
        gone => gone?,
    }
    Ok(true)
}

/// Makes a call that changes something and may be made again; once more with a new daemon when this one is just leaving,
/// or died.
pub async fn call<T, F: Future<Output = Result<tonic::Response<T>, Status>>>(
    project: &Project,
    connection: &mut Connection,
    call: impl Fn(Client) -> F,
) -> Result<T, Failure> {
    let failure = match call(connection.client.clone()).await {
        Ok(response) => return Ok(response.into_inner()),
        Err(status) => Failure::from(status),
    };
    if !failure.is_shutting_down() && !failure.is_broken() {
        return Err(failure);
    }
    wait_until_gone(project, &lock_state(project))?;
    *connection = find_or_start(project).await?;
    Ok(call(connection.client.clone()).await?.into_inner())
}

/// What the daemon says about itself.
pub async fn info(connection: &Connection) -> Result<GetInfoResponse, Failure> {
    let mut client = connection.client.clone();
    Ok(client.get_info(timed(GetInfoRequest {})).await?.into_inner())
}
