//! Finding the daemon, or starting it. The client reads where the daemon listens and computes nothing; it
//! never unlinks a socket, and signals only the process that a held lock names.

use crate::failure::Failure;
use specweave_jobs::project::{Endpoint, EndpointError, Identity, Project, host};
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::{GetInfoRequest, GetInfoResponse, ShutdownRequest};
use specweave_jobs::{PROTOCOL, PROTOCOL_HEADER, disk, environment, process};
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
/// A stopping daemon is gone within this time; its own watchdog sees to that.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
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
    _attached: Option<Attached>,
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
    let asking = async {
        let client = match connect_to(socket).await {
            Ok(client) => client,
            Err(error) if is_refused_by_sandbox(&error) => return Err(Failure::NoSockets(error)),
            Err(_) => return Ok(None),
        };
        let connection = Connection { client, endpoint, _attached: None };
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
    let lock = lock_state(project);
    if !matches!(lock, LockState::Held(Some(_))) {
        return Ok(None);
    }
    lock.signal(rustix::process::Signal::HUP);
    let began = Instant::now();
    while began.elapsed() < ANSWER_DEADLINE && lock_state(project) == lock {
        if let Some(connection) = find(project, patience).await? {
            return Ok(Some(connection));
        }
        tokio::time::sleep(POLL).await;
    }
    if lock_state(project) == lock {
        Err(Failure::Silent("it lives, but takes no connection".into()))
    } else {
        Ok(None)
    }
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

/// Held by the one client that starts the daemon; the others wait and then find it.
struct StartTurn {
    _file: File,
}

impl StartTurn {
    fn take(project: &Project) -> Result<Self, Failure> {
        let files = project.daemon();
        let path = files.start_lock();
        let fail = |source| Failure::Write { path: path.clone(), source };
        project.vet_state().map_err(|path| {
            let text = format!(
                "{} is a link that leads out of the project; links are not followed there",
                path.display()
            );
            Failure::Start(text)
        })?;
        disk::make_folders(&files.folder, 0o700).map_err(fail)?;
        let file = disk::open_lock(&path).map_err(fail)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if began.elapsed() < READY_DEADLINE => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::Start("another client has been starting it for too long".into()));
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }
}

/// A daemon whose life is bound to this command's: it ends when the pipe to it closes.
struct Attached {
    child: Child,
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It stops in order and has a watchdog of its own.
        let _ = self.child.wait();
    }
}

/// Whether jobs are to end with the command (`SPECWEAVE_JOBS_NO_DAEMON`).
pub fn wants_no_daemon() -> bool {
    std::env::var_os("SPECWEAVE_JOBS_NO_DAEMON").is_some_and(|value| !value.is_empty() && value != "0")
}

async fn start(project: &Project) -> Result<Connection, Failure> {
    let attached = wants_no_daemon();
    let mut command = daemon_command(project);
    if attached {
        command.arg("--attached").stdin(Stdio::piped());
    } else {
        command.stdin(Stdio::null());
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::Start(format!("{}: {error}", daemon_binary().display())))?;
    let stdout = child.stdout.take().expect("it is piped");
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout.take(64 * 1024)).read_line(&mut line).map(|_| line)
    });
    let line = match tokio::time::timeout(READY_DEADLINE, line).await {
        Ok(Ok(Ok(line))) => line,
        Ok(_) => String::new(),
        Err(_) => {
            let _ = child.kill();
            return Err(Failure::Start("it did not say that it is ready".into()));
        }
    };
    let word: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
    if word["ready"] == true {
        let mut connection = find(project, Patience::Long)
            .await?
            .ok_or_else(|| Failure::Start("it said that it is ready, but does not listen".into()))?;
        connection._attached = attached.then(|| Attached { child });
        return Ok(connection);
    }
    let _ = child.wait();
    match (word["held_by"].as_u64(), word["error"].as_str()) {
        (Some(_), _) => wake_hidden(project).await,
        (None, Some(error)) => Err(Failure::Start(error.to_owned())),
        (None, None) => Err(Failure::Start("it died before it was ready".into())),
    }
}

/// A daemon lives, but its socket or endpoint file is gone: it is asked to look, and binds again.
async fn wake_hidden(project: &Project) -> Result<Connection, Failure> {
    lock_state(project).signal(rustix::process::Signal::HUP);
    let began = Instant::now();
    while began.elapsed() < READY_DEADLINE {
        if let Some(connection) = find(project, Patience::Long).await? {
            return Ok(connection);
        }
        // Stopping daemons hold the lock to their end; then a new one may start.
        if lock_state(project) == LockState::Free {
            return Box::pin(start(project)).await;
        }
        tokio::time::sleep(POLL).await;
    }
    let elsewhere =
        Endpoint::read(&project.daemon().endpoint()).is_ok_and(|endpoint| endpoint.host != host());
    Err(if elsewhere {
        Failure::Start("a daemon of another machine or container holds this project's lock".into())
    } else {
        // The same as of one that takes a connection and says nothing: it hangs, and can be stopped.
        Failure::Silent("it lives, but takes no connection".into())
    })
}

/// What the daemon's lock says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// Nobody is the daemon.
    Free,
    /// A daemon lives; its pid is known when it lives on this host.
    Held(Option<rustix::process::Pid>),
}

impl LockState {
    /// Signals the process that the held lock names.
    fn signal(&self, signal: rustix::process::Signal) {
        if let Self::Held(Some(pid)) = self {
            let _ = rustix::process::kill_process(*pid, signal);
        }
    }
}

/// Looks at the lock, and changes nothing.
pub fn lock_state(project: &Project) -> LockState {
    let Ok(mut file) = disk::open_regular(&project.daemon().lock()) else { return LockState::Free };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return LockState::Free;
    }
    let mut text = String::new();
    let _ = file.by_ref().take(MOST_LOCK).read_to_string(&mut text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok()).filter(|pid| process::is_daemon(*pid));
    // A number of another container or an earlier boot names some other process here, and whoever else can write in
    // the folder could have put any number there.
    let is_private = disk::facts(&project.daemon().folder).is_ok_and(|folder| folder.mode & 0o022 == 0);
    let pid = pid.filter(|_| is_private && lines.next() == Some(&*host()));
    LockState::Held(pid.and_then(|pid| rustix::process::Pid::from_raw(pid as i32)))
}

/// A pid and a host's name.
const MOST_LOCK: u64 = 4 * 1024;

/// The daemon's command with a clean environment: where it is and who it serves, not what the first
/// client happened to have set.
fn daemon_command(project: &Project) -> Command {
    /// What the daemon needs beside what its own helper programs get.
    const MORE: [&str; 3] = ["XDG_STATE_HOME", "RUST_BACKTRACE", "LD_LIBRARY_PATH"];
    let mut command = Command::new(daemon_binary());
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let is_kept = environment::OWN.contains(&&*name_text) || MORE.contains(&&*name_text);
        if is_kept || name_text.starts_with("SPECWEAVE_JOBS_") {
            command.env(name, value);
        }
    }
    command.args(["serve", "--project"]).arg(project.root());
    command
}

/// Beside this program, else `SPECWEAVE_JOBSD`, else in PATH.
fn daemon_binary() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
    let beside = beside.map(|exe| exe.with_file_name("specweave-jobsd")).filter(|path| path.exists());
    beside
        .or_else(|| std::env::var_os("SPECWEAVE_JOBSD").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("specweave-jobsd"))
}

/// Becomes the daemon. Returns only when that is impossible.
pub fn become_daemon(project: &Project) -> Failure {
    use std::os::unix::process::CommandExt;
    let error = daemon_command(project).arg("--foreground").exec();
    Failure::Start(error.to_string())
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

/// Waits until the lock is free, or another daemon's.
fn wait_until_gone(project: &Project, leaving: &LockState) -> Result<(), Failure> {
    let began = Instant::now();
    while lock_state(project) == *leaving && *leaving != LockState::Free {
        if began.elapsed() > STOP_DEADLINE {
            return Err(Failure::Silent("it was asked to stop and has not".into()));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
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
