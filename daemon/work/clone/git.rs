//! How to clone one repository: find out what the remote has, bring its pack, build the repository under a
//! temporary name, make it durable, and only then give it its name.

mod http;
mod repository;
pub mod settings;
mod ssh;
mod wire;

use super::sources::split_login;
use crate::secrets::{Login, Secrets};
use crate::work::net;
use bytes::Bytes;
use repository::{Existing, Plan};
use settings::GitSettings;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;
use wire::{Dialect, PacketReader, RemoteRefs};

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A pack up to this size is held in memory until it is whole, so that a slow remote holds no thread.
const SMALL_PACK: usize = 4 * 1024 * 1024;

/// Chunks of a large pack that may wait for the indexer.
const CHUNKS_AHEAD: usize = 16;

/// What was cloned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cloned {
    /// Large files are pointers; `git lfs pull` is the user's.
    pub uses_lfs: bool,
}

/// How a clone went well.
#[derive(Debug, PartialEq, Eq)]
pub enum Success {
    Cloned(Cloned),
    AlreadyThere,
}

/// Why a repository was not cloned. The text is the real reason, for people.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Auth(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Network(String),
    #[error("stalled: no byte for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("the server asks to wait {} s", .0.as_secs())]
    Limited(Duration),
    #[error("{0}")]
    NotGit(String),
    #[error("{0}")]
    Remote(String),
    #[error("{0}")]
    Refused(String),
    #[error("cannot {what}: {source}")]
    Local { what: &'static str, source: io::Error },
    #[error("{}", .0.message())]
    Git(#[from] git2::Error),
}

impl CloneError {
    /// Whether the same attempt may go well a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Network(_))
    }

    /// Whether the disk has no room or cannot be written.
    pub fn is_storage(&self) -> bool {
        match self {
            Self::Local { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded
            ),
            Self::Git(error) => {
                let full = ["No space left", "Read-only file system", "quota exceeded"];
                full.iter().any(|words| error.message().contains(words))
            }
            _ => false,
        }
    }

    fn from_stream(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Network("the connection broke: it ended early".into()),
            io::ErrorKind::TimedOut => Self::Stalled(net::stall_deadline()),
            _ => Self::Network(format!("the connection broke: {error}")),
        }
    }

    fn from_http(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::Stalled(net::stall_deadline());
        }
        Self::Network(net::cause(&error))
    }
}

/// What all clones of one job share.
pub struct Engine {
    http: reqwest::Client,
    secrets: Arc<Secrets>,
    settings: GitSettings,
    stall: Duration,
    depth: u32,
    /// Repositories that are built at a time: indexing and checking out is bound by the processor.
    builders: Arc<Semaphore>,
    syncer: Syncer,
    /// What servers that speak version 2 announced, by origin.
    v2_servers: Mutex<HashMap<String, Arc<[String]>>>,
}

/// Gives libgit2's own network transports the deadlines that it does not have by itself. Once a process.
pub fn bound_libgit2() {
    let millis = |time: Duration| time.as_millis().try_into().unwrap_or(i32::MAX);
    // SAFETY: nothing else uses libgit2 yet.
    let set = unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(millis(net::CONNECT_DEADLINE))
            .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(millis(net::stall_deadline())))
    };
    if let Err(error) = set {
        tracing::warn!(%error, "git:// has no deadlines");
    }
}

/// One repository and its place.
#[derive(Clone, Debug)]
pub struct Order {
    /// Without credentials.
    pub address: String,
    pub target: PathBuf,
    /// Beside the target, named for the job.
    pub partial: PathBuf,
}

/// How an address is reached.
enum Route {
    /// With the login that stood in a rewritten address.
    Http(Url, Option<Login>),
    Ssh(ssh::Address),
    Libgit2(String),
}

impl Engine {
    pub fn new(
        http: reqwest::Client,
        secrets: Arc<Secrets>,
        settings: GitSettings,
        depth: u32,
        project_root: &Path,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            http,
            secrets,
            settings,
            stall: net::stall_deadline(),
            depth,
            builders: Arc::new(Semaphore::new(cores.max(2))),
            syncer: Syncer::start(project_root),
            v2_servers: Mutex::default(),
        }
    }

    fn known_v2(&self, url: &Url) -> Option<Arc<[String]>> {
        let servers = self.v2_servers.lock().expect("no holder panics");
        servers.get(&url.origin().ascii_serialization()).cloned()
    }

    fn remember_v2(&self, url: &Url, capabilities: &[String]) {
        let mut servers = self.v2_servers.lock().expect("no holder panics");
        servers.entry(url.origin().ascii_serialization()).or_insert_with(|| capabilities.into());
    }

    /// Clones one repository, or finds that it stands there whole. After an error or a cancellation neither
    /// the target nor the partial folder exists because of this call.
    pub async fn clone(&self, order: &Order, cancel: &CancellationToken) -> Result<Success, CloneError> {
        // A cancelled attempt of an earlier run may still be ending in this folder.
        let place = unless_cancelled(cancel, async { Ok(claim(&order.partial).await) }).await?;
        let found = self.existing(order).await?;
        match found {
            Existing::Whole => return Ok(Success::AlreadyThere),
            Existing::Other(reason) => return Err(CloneError::Refused(reason)),
            Existing::Nothing | Existing::Unborn => {}
        }
        remove_folder(&order.partial).await?;
        let made = self.make(order, found == Existing::Unborn, &place, cancel).await;
        let result = match made {
            Ok(Some(_)) if cancel.is_cancelled() => Err(CloneError::Cancelled),
            Ok(Some(cloned)) => self.settle(order, cloned, cancel).await,
            Ok(None) => Ok(Success::AlreadyThere),
            Err(error) => Err(error),
        };
        if matches!(result, Err(CloneError::Cancelled)) {
            // A thread may still write there: it is waited for behind the kill's back.
            tokio::spawn(clear_away(place, order.partial.clone()));
        } else if !matches!(result, Ok(Success::Cloned(_))) {
            // The reason of the failure matters more than a folder that could not be removed; the next run
            // of the job removes it first.
            let _ = remove_folder(&order.partial).await;
        }
        result
    }

    /// Builds the repository under its partial name. `None`: the remote is empty and so is what stands there.
    async fn make(
        &self,
        order: &Order,
        unborn: bool,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Option<Cloned>, CloneError> {
        let route = route(&self.settings.rewritten(&order.address))?;
        let opening = async {
            Ok(match &route {
                Route::Libgit2(_) => None,
                Route::Http(url, login) => {
                    let (session, refs) = http::Session::open(self, url, login.as_ref()).await?;
                    Some((Open::Http(session), refs))
                }
                Route::Ssh(address) => {
                    let (session, refs) = ssh::Session::open(self, address).await?;
                    Some((Open::Ssh(Box::new(session)), refs))
                }
            })
        };
        let opened = unless_cancelled(cancel, opening).await?;
        if unborn {
            let empty = match (&opened, &route) {
                (Some((_, refs)), _) => refs.refs.is_empty(),
                (None, Route::Libgit2(address)) => {
                    let address = address.clone();
                    place.blocking(cancel, move || repository::is_empty_remote(&address)).await?
                }
                (None, _) => false,
            };
            let unfinished = "an unfinished clone stands at the target; move it away to clone again";
            return if empty { Ok(None) } else { Err(CloneError::Refused(unfinished.into())) };
        }
        match (opened, route) {
            (Some((session, refs)), _) => self.receive(order, session, refs, place, cancel).await.map(Some),
            (None, Route::Libgit2(address)) => {
                let permit = unless_cancelled(cancel, self.turn()).await?;
                let (at, token) = (order.partial.clone(), cancel.clone());
                let build = move || {
                    let _permit = permit;
                    repository::build_with_libgit2(&address, &at, &token)
                };
                place.blocking(cancel, build).await.map(Some)
            }
            (None, _) => unreachable!("only libgit2 opens no session of ours"),
        }
    }

    /// A turn at the processor.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, CloneError> {
        Ok(self.builders.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }

    async fn existing(&self, order: &Order) -> Result<Existing, CloneError> {
        let target = order.target.clone();
        let wanted = [order.address.clone(), self.settings.rewritten(&order.address)];
        let same = move |origin: &str| wanted.iter().any(|wanted| same_repository(wanted, origin));
        blocking(move || Ok(repository::existing(&target, same))).await
    }

    async fn receive(
        &self,
        order: &Order,
        session: Open<'_>,
        refs: RemoteRefs,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let mut plan = Plan {
            origin: order.address.clone(),
            shallow: Vec::new(),
            single_branch: self.depth > 0,
            default_branch: self.settings.default_branch.clone(),
            refs,
        };
        let wants = wants(&plan.refs, plan.single_branch);
        if wants.is_empty() {
            let turn = unless_cancelled(cancel, self.turn()).await?;
            return self.build(order, plan, std::iter::empty(), || turn, place, cancel).await;
        }
        let fetching = async {
            let mut pack = session.fetch(&wants, self.depth).await?;
            let (mut chunks, mut size) = (Vec::new(), 0);
            while size < SMALL_PACK {
                match pack.next().await? {
                    Some(chunk) => {
                        size += chunk.len();
                        chunks.push(chunk);
                    }
                    None => return Ok((chunks, None, pack.shallow)),
                }
            }
            let shallow = std::mem::take(&mut pack.shallow);
            Ok((chunks, Some(pack), shallow))
        };
        let (chunks, rest, shallow) = unless_cancelled(cancel, fetching).await?;
        plan.shallow = shallow;
        let held = chunks.into_iter().map(Ok);
        let Some(mut pack) = rest else {
            let turn = unless_cancelled(cancel, self.turn()).await?;
            return self.build(order, plan, held, || turn, place, cancel).await;
        };
        let (to_indexer, mut from_remote) = mpsc::channel(CHUNKS_AHEAD);
        let arriving = std::iter::from_fn(move || from_remote.blocking_recv());
        // A remote that takes its time must not hold a turn: it is taken once the last byte is here.
        let (builders, runtime) = (self.builders.clone(), tokio::runtime::Handle::current());
        let turn = move || runtime.block_on(builders.acquire_owned());
        let building = self.build(order, plan, held.chain(arriving), turn, place, cancel);
        let bringing = async move {
            loop {
                let next = unless_cancelled(cancel, pack.next()).await;
                let ended = !matches!(next, Ok(Some(_)));
                let Some(chunk) = next.transpose() else { return };
                if to_indexer.send(chunk).await.is_err() || ended {
                    return;
                }
            }
        };
        let (built, ()) = tokio::join!(building, bringing);
        built
    }

    async fn build<T>(
        &self,
        order: &Order,
        plan: Plan,
        pack: impl Iterator<Item = Result<Bytes, CloneError>> + Send + 'static,
        turn: impl FnOnce() -> T + Send + 'static,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let (at, token) = (order.partial.clone(), cancel.clone());
        place.blocking(cancel, move || repository::build(&at, &plan, pack, turn, &token)).await
    }

    /// Makes the partial clone durable and gives it its name.
    async fn settle(
        &self,
        order: &Order,
        cloned: Cloned,
        cancel: &CancellationToken,
    ) -> Result<Success, CloneError> {
        let local = |what| move |source| CloneError::Local { what, source };
        let syncing = async { self.syncer.sync().await.map_err(local("sync the clone")) };
        unless_cancelled(cancel, syncing).await?;
        let (partial, target) = (order.partial.clone(), order.target.clone());
        let renamed = blocking(move || match std::fs::rename(&partial, &target) {
            Ok(()) => {
                let folder = target.parent().unwrap_or(Path::new("/"));
                specweave_jobs::disk::sync_folder(folder).map(|()| true).map_err(local("sync the folder"))
            }
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(local("give the clone its name")(error)),
        });
        match renamed.await? {
            true => Ok(Success::Cloned(cloned)),
            // Another job was faster.
            false => match self.existing(order).await? {
                Existing::Whole => Ok(Success::AlreadyThere),
                _ => Err(CloneError::Refused("something else came to stand at the target meanwhile".into())),
            },
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

/// The right to work in one partial folder. A blocking step that was cancelled holds on to it until its thread
/// has really ended.
struct Place {
    claim: Arc<OwnedMutexGuard<()>>,
}

/// Waits until nothing in this process works in the folder any more.
async fn claim(partial: &Path) -> Place {
    static PLACES: LazyLock<Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let lock = {
        let mut places = PLACES.lock().expect("no holder panics");
        places.retain(|_, lock| lock.strong_count() > 0);
        match places.get(partial).and_then(Weak::upgrade) {
            Some(lock) => lock,
            None => {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                places.insert(partial.to_path_buf(), Arc::downgrade(&lock));
                lock
            }
        }
    };
    Place { claim: Arc::new(lock.lock_owned().await) }
}

impl Place {
    /// Runs a blocking step. A cancellation is answered at once; the thread ends when it can.
    async fn blocking<T: Send + 'static>(
        &self,
        cancel: &CancellationToken,
        work: impl FnOnce() -> Result<T, CloneError> + Send + 'static,
    ) -> Result<T, CloneError> {
        let claim = self.claim.clone();
        let step = blocking(move || {
            let result = work();
            drop(claim);
            result
        });
        unless_cancelled(cancel, step).await
    }
}

/// Removes what a cancelled attempt leaves, once its threads have ended; the folder is claimed until then.
async fn clear_away(place: Place, partial: PathBuf) {
    let Place { mut claim } = place;
    loop {
        match Arc::try_unwrap(claim) {
            Ok(_last) => {
                let _ = remove_folder(&partial).await;
                return;
            }
            Err(shared) => claim = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

enum Open<'a> {
    Http(http::Session<'a>),
    Ssh(Box<ssh::Session>),
}

impl Open<'_> {
    async fn fetch(self, wants: &[git2::Oid], depth: u32) -> Result<PackStream, CloneError> {
        match self {
            Self::Http(session) => session.fetch(wants, depth).await,
            Self::Ssh(session) => session.fetch(wants, depth).await,
        }
    }
}

/// A pack as it arrives.
pub struct PackStream {
    reader: PacketReader<Reader>,
    shallow: Vec<git2::Oid>,
    /// What must live as long as the stream.
    process: Option<(tokio::process::Child, tokio::process::ChildStdin)>,
}

impl PackStream {
    async fn begin(
        mut reader: PacketReader<Reader>,
        dialect: &Dialect,
        depth: u32,
    ) -> Result<Self, CloneError> {
        if !wire::has_side_band(dialect) {
            return Err(CloneError::NotGit("the server is too old: it has no side band".into()));
        }
        let shallow = wire::read_until_pack(&mut reader, dialect, depth).await?;
        Ok(Self { reader, shallow, process: None })
    }

    fn keep_alive(&mut self, child: tokio::process::Child, stdin: tokio::process::ChildStdin) {
        self.process = Some((child, stdin));
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CloneError> {
        wire::read_pack(&mut self.reader).await
    }
}

/// The objects to ask for: every branch and tag, or with a bounded depth the default branch alone.
fn wants(refs: &RemoteRefs, single_branch: bool) -> Vec<git2::Oid> {
    let mut wants: Vec<git2::Oid> = match refs.head.filter(|_| single_branch) {
        Some(head) => vec![head],
        None => {
            let taken = |name: &str| name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
            let named = refs.refs.iter().filter(|r| taken(&r.name)).map(|r| r.oid);
            refs.head.into_iter().chain(named).collect()
        }
    };
    wants.sort();
    wants.dedup();
    wants
}

fn route(address: &str) -> Result<Route, CloneError> {
    if address.starts_with("http://") || address.starts_with("https://") {
        let (address, login) = split_login(address);
        let url = Url::parse(&address)
            .map_err(|error| CloneError::Refused(format!("the address is not valid: {error}")))?;
        return Ok(Route::Http(url, login.and_then(|(user, secret)| Login::new(user, &secret))));
    }
    if Path::new(address).is_absolute() {
        return match Path::new(address).exists() {
            true => Ok(Route::Libgit2(address.to_owned())),
            false => Err(CloneError::NotFound(format!("{address} does not exist"))),
        };
    }
    if address.starts_with("file://") || address.starts_with("git://") {
        return Ok(Route::Libgit2(address.to_owned()));
    }
    ssh::Address::parse(address)
        .map(Route::Ssh)
        .ok_or_else(|| CloneError::Refused("the address is of no kind that can be cloned".into()))
}

/// Whether two addresses name the same repository: credentials, a final `.git` or slash and the case of the
/// host do not matter.
pub fn same_repository(one: &str, other: &str) -> bool {
    fn key(address: &str) -> String {
        let address = address.trim_end_matches('/');
        let address = address.strip_suffix(".git").unwrap_or(address);
        match Url::parse(address) {
            Ok(url) if url.has_host() => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}{}", url.host_str().unwrap_or("").to_ascii_lowercase(), url.path())
            }
            Ok(url) if url.scheme() == "file" => url.path().to_owned(),
            _ => match ssh::Address::parse(address) {
                Some(ssh) => {
                    let host = ssh.account.rsplit('@').next().unwrap_or("").to_ascii_lowercase();
                    format!("{host}/{}", ssh.path.trim_start_matches('/'))
                }
                None => address.to_owned(),
            },
        }
    }
    key(one) == key(other)
}

/// One `syncfs` for all clones that are ready at the same moment: syncing file by file would cost more than
/// cloning them.
struct Syncer {
    requests: mpsc::Sender<oneshot::Sender<io::Result<()>>>,
}

impl Syncer {
    fn start(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        let (requests, mut waiting) = mpsc::channel::<oneshot::Sender<io::Result<()>>>(64);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut batch = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    batch.push(next);
                }
                let folder = folder.clone();
                let result = tokio::task::spawn_blocking(move || sync_file_system(&folder))
                    .await
                    .unwrap_or_else(|panic| Err(io::Error::other(panic)));
                for waiter in batch {
                    let copy = match &result {
                        Ok(()) => Ok(()),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    let _ = waiter.send(copy);
                }
            }
        });
        Self { requests }
    }

    async fn sync(&self) -> io::Result<()> {
        let gone = || io::Error::other("the syncing task has ended");
        let (reply, done) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

fn sync_file_system(folder: &Path) -> io::Result<()> {
    let folder = std::fs::File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    drop(folder);
    Ok(())
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, CloneError>>,
) -> Result<T, CloneError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CloneError::Cancelled),
        result = work => result,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CloneError> + Send + 'static,
) -> Result<T, CloneError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
        Err(CloneError::Local { what: "finish the clone", source: io::Error::other(panic) })
    })
}

async fn remove_folder(at: &Path) -> Result<(), CloneError> {
    let at = at.to_path_buf();
    blocking(move || match std::fs::remove_dir_all(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CloneError::Local { what: "remove a partial clone", source: error })
        }
        _ => Ok(()),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::same_repository;

    #[test]
    fn addresses_of_the_same_repository_are_recognised() {
        assert!(same_repository("https://tok@GitHub.com/a/b.git", "https://github.com/a/b"));
        assert!(same_repository("git@github.com:a/b.git", "ssh://git@github.com/a/b"));
        assert!(same_repository("/srv/x.git/", "/srv/x"));
        assert!(same_repository("file:///srv/x.git", "file:///srv/x"));
        assert!(!same_repository("https://github.com/a/b", "https://github.com/a/c"));
        assert!(!same_repository("https://github.com/a/b", "https://github.com:8443/a/b"));
    }
}
