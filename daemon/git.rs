//! How to clone one repository: find out what the remote has, bring its pack, build the repository under a
//! temporary name, make it durable, and only then give it its name.

mod address;
mod bounds;
mod by_git;
mod checkout;
mod error;
mod exact;
mod host;
mod http;
mod links;
pub mod mark;
mod pack;
mod place;
mod processors;
mod publish;
mod repository;
mod skeleton;
mod ssh;
mod standing;
mod starter;
mod system;
mod traffic;
mod update;
mod wire;

use crate::net;
use crate::net::git_settings::GitSettings;
use crate::net::secrets::Secrets;
use crate::net::silence;
use crate::store::tenure::Tenure;
use address::{Route, route};
use bytes::Bytes;
use mark::Mark;
use place::{Place, blocking, claim, clear_away, remove_folder, unless_cancelled};
use processors::Processors;
use publish::Published;
use repository::{Existing, Plan};
use skeleton::Skeleton;
use specweave_jobs::{crash, disk};
use standing::Standing;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;
use wire::{Dialect, PacketReader, RemoteRefs};

pub use address::{host_of, same_repository};
pub use error::CloneError;
pub use host::{Host, is_anybody_heard_since};
pub use standing::{git_folder, origin, own};
pub use traffic::Traffic;

/// Whether somebody has asked a server already, held until the answer is there.
type Pioneer = tokio::sync::OwnedMutexGuard<bool>;

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A pack up to this size is held in memory until it is whole, so that a slow remote holds no thread.
const SMALL_PACK: usize = 4 * 1024 * 1024;

/// All packs of a job that are held in memory.
const MOST_HELD: usize = 96 * 1024 * 1024;

/// What a piece of a pack costs beside its bytes.
const PIECE_COST: usize = 128;

/// What is said of a clone that ended before it had a commit.
const UNFINISHED: &str = "an unfinished clone stands at the target; move it away to clone again";

/// A kill waits so long for cancelled steps to end.
const CLEARING: Duration = Duration::from_millis(400);

/// Others wait so long for the first to ask a server: its repository may be the one that the server is slow with.
const PIONEERED: Duration = Duration::from_secs(1);

/// Chunks of a large pack that may wait for the indexer.
const CHUNKS_AHEAD: usize = 16;

/// What was cloned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cloned {
    /// Large files are pointers; `git lfs pull` is the user's.
    pub uses_lfs: bool,
    /// Why the user's own git was used, where it was.
    pub by_git: Option<String>,
    /// What git had left half-made at the target, and under which name it stands now.
    pub aside: Option<String>,
}

/// How a clone went well.
#[derive(Debug, PartialEq, Eq)]
pub enum Success {
    Cloned(Cloned),
    /// It stood there, and was brought up to date.
    Updated,
    /// It stands there, with all that was to be had.
    AlreadyThere,
}

/// What all clones of one job share.
pub struct Engine {
    http: reqwest::Client,
    secrets: Arc<Secrets>,
    settings: Arc<GitSettings>,
    /// Why nothing can be cloned here the fast way.
    obstacle: Option<String>,
    stall: Duration,
    wish: Wish,
    /// Repositories that are built at a time: indexing and checking out is bound by the processor.
    builders: Arc<Semaphore>,
    processors: Arc<Processors>,
    skeleton: Arc<Skeleton>,
    /// Repositories that are fetched and built at a time.
    slots: Semaphore,
    /// Clones that are made durable at a time.
    publishing: Semaphore,
    /// Bytes of packs that are held in memory.
    held: AtomicUsize,
    /// Cancelled when nothing more may begin.
    closing: CancellationToken,
    tenure: Tenure,
    /// What servers that speak version 2 announced, by origin.
    v2_servers: Mutex<HashMap<String, Arc<[String]>>>,
    /// Owners of whom a repository has answered, by their addresses.
    reached: Mutex<HashSet<String>>,
    /// Held, by origin, while the first request to a server is under way.
    pioneers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<bool>>>>,
}

/// How a job wants its repositories.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Commits of history; 0 for all.
    pub depth: u32,
    /// Every ref as it is on the server, and no work tree.
    pub mirror: bool,
    /// Only the default branch.
    pub single_branch: bool,
    pub submodules: bool,
    /// What is left out until it is needed, in git's words.
    pub filter: Option<String>,
    /// Whether what stands is brought up to date.
    pub updates: bool,
    /// Repositories that are fetched and built at a time.
    pub at_a_time: usize,
}

impl Wish {
    /// A bounded depth is that of the default branch alone.
    fn is_of_one_branch(&self) -> bool {
        self.single_branch || self.depth > 0
    }
}

/// Gives libgit2 the deadlines and limits that it does not have by itself. Once a process.
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
    bounds::bound_libgit2();
    // Each object of a new pack gets its name from its content (`pack`): nobody needs to compute it again to read it.
    git2::opts::strict_hash_verification(false);
}

/// One repository and its place.
#[derive(Clone, Debug)]
pub struct Task {
    /// Without credentials.
    pub address: String,
    pub target: PathBuf,
    /// Beside the target, named for the job.
    pub partial: PathBuf,
    /// The job's id, for its mark.
    pub job: String,
    /// How far it is.
    pub traffic: Arc<Traffic>,
}

impl Engine {
    pub fn new(
        http: reqwest::Client,
        secrets: Arc<Secrets>,
        settings: GitSettings,
        wish: Wish,
        tenure: Tenure,
    ) -> Self {
        let obstacle = exact::variables(secrets.variables()).or_else(|| exact::settings(&settings));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            http,
            secrets,
            settings: Arc::new(settings),
            obstacle,
            stall: net::stall_deadline(),
            slots: Semaphore::new(wish.at_a_time),
            wish,
            builders: Arc::new(Semaphore::new(cores.max(2))),
            processors: Arc::new(Processors::new(cores)),
            skeleton: Arc::default(),
            publishing: Semaphore::new(publish::at_a_time()),
            held: AtomicUsize::default(),
            closing: CancellationToken::new(),
            tenure,
            v2_servers: Mutex::default(),
            reached: Mutex::default(),
            pioneers: Mutex::default(),
        }
    }

    /// Nothing more begins: clones that still wait for their turn end as cancelled.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// How this job wants its repositories.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The answer to a request, unless the server is silent.
    async fn sent(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CloneError> {
        let answer = silence::broken_within(self.stall, request.send()).await?;
        answer.map_err(|error| CloneError::Network(net::cause(&error)))
    }

    fn known_v2(&self, url: &Url) -> Option<Arc<[String]>> {
        let servers = self.v2_servers.lock().expect("no holder panics");
        servers.get(&url.origin().ascii_serialization()).cloned()
    }

    /// The turn of the first to ask a server; nobody's once one has asked, whatever came of it.
    async fn pioneer(&self, url: &Url) -> Option<Pioneer> {
        let origin = url.origin().ascii_serialization();
        let turn = self.pioneers.lock().expect("no holder panics").entry(origin).or_default().clone();
        let mut turn =
            tokio::time::timeout(PIONEERED, turn.lock_owned()).await.ok().filter(|asked| !**asked)?;
        *turn = true;
        Some(turn)
    }

    fn remember_v2(&self, url: &Url, capabilities: &[String]) {
        let mut servers = self.v2_servers.lock().expect("no holder panics");
        servers.entry(url.origin().ascii_serialization()).or_insert_with(|| capabilities.into());
    }

    /// Clones one repository, or finds that it stands there whole. After an error or a cancellation neither
    /// the target nor the partial folder exists because of this call.
    pub async fn clone(
        &self,
        task: &Task,
        host: &Host,
        cancel: &CancellationToken,
    ) -> Result<Success, CloneError> {
        let turns = async {
            // Whoever waits for a slow host keeps no slot from those who wait for another.
            let turn = host.turn().await;
            Ok((self.slots.acquire().await.expect("the semaphore is never closed"), turn))
        };
        let (slot, turn) = unless_cancelled(cancel, unless_cancelled(&self.closing, turns)).await?;
        if self.closing.is_cancelled() {
            return Err(CloneError::Cancelled);
        }
        task.traffic.begin();
        // A cancelled attempt of an earlier run may still be ending in this folder.
        let place = unless_cancelled(cancel, async { Ok(claim(&task.partial).await) }).await?;
        let (mut found, standing) = self.existing(task).await?;
        let aside = if found == Existing::HalfMade {
            found = Existing::Nothing;
            Some(set_aside(task.target.clone()).await?)
        } else {
            None
        };
        match found {
            Existing::Whole | Existing::Unborn if self.wish.updates => {
                let updated = self.bring_up_to_date(task, standing, &place, host, cancel).await;
                turn.ended(&updated);
                return updated;
            }
            Existing::Whole => return Ok(Success::AlreadyThere),
            Existing::Other(reason) | Existing::Unreadable(reason) => {
                return Err(CloneError::Refused(reason));
            }
            Existing::Nothing | Existing::Unborn | Existing::HalfMade => {}
        }
        let unborn = found == Existing::Unborn;
        let made = match self.make(task, unborn, &place, host, cancel).await {
            Err(error) if error.may_go_well_with_git() => {
                self.make_with_git(task, unborn, error, &place, cancel).await
            }
            made => made,
        };
        // What waits for the disk keeps its turn from nobody who waits for the network.
        turn.ended(&made);
        if made.is_ok() {
            host.heard();
        }
        drop(slot);
        let result = match made {
            Ok(Some(_)) if cancel.is_cancelled() => Err(CloneError::Cancelled),
            Ok(Some(cloned)) => self.publish(task, Cloned { aside, ..cloned }).await,
            Ok(None) => Ok(Success::AlreadyThere),
            Err(error) => Err(error),
        };
        if matches!(result, Err(CloneError::Cancelled)) {
            // A thread may still write there: if that takes long, it is waited for behind the kill's back.
            let clearing = tokio::spawn(clear_away(place, task.partial.clone()));
            let _ = tokio::time::timeout(CLEARING, clearing).await;
        } else if !matches!(result, Ok(Success::Cloned(_))) {
            // The reason of the failure matters more than a folder that could not be removed; the next run
            // of the job removes it first.
            let _ = remove_folder(&task.partial).await;
        }
        result
    }

    /// Builds the repository under its partial name. `None`: the remote is empty and so is what stands there.
    async fn make(
        &self,
        task: &Task,
        unborn: bool,
        place: &Place,
        host: &Host,
        cancel: &CancellationToken,
    ) -> Result<Option<Cloned>, CloneError> {
        if self.wish.filter.is_some() {
            return Err(CloneError::Inexact("a filter is asked for".into()));
        }
        if self.wish.mirror {
            return Err(CloneError::Inexact("a mirror is asked for".into()));
        }
        let (session, refs) = self.open(task, host, cancel).await?;
        if unborn {
            return if refs.refs.is_empty() { Ok(None) } else { Err(CloneError::Refused(UNFINISHED.into())) };
        }
        if let Some(reason) = exact::refs(&refs, self.wish.is_of_one_branch()) {
            return Err(CloneError::Inexact(reason.to_owned()));
        }
        self.receive(task, session, refs, place, cancel).await.map(Some)
    }

    /// Asks the remote what it has.
    async fn open(
        &self,
        task: &Task,
        host: &Host,
        cancel: &CancellationToken,
    ) -> Result<(Open<'_>, RemoteRefs), CloneError> {
        let address = self.settings.rewritten(&task.address);
        if let Some(reason) = self.obstacle.as_deref().or_else(|| exact::address(&address)) {
            return Err(CloneError::Inexact(reason.to_owned()));
        }
        let route = route(&address)?;
        let opening = async {
            Ok(match &route {
                Route::Http(url, login) => {
                    let (session, refs) = http::Transport::open(self, url, login.as_ref()).await?;
                    (Open::Http(session), refs)
                }
                Route::Ssh(address) => {
                    let (session, refs) = ssh::Transport::open(self, address).await?;
                    (Open::Ssh(Box::new(session)), refs)
                }
            })
        };
        let asked = Instant::now();
        let opened = unless_cancelled(cancel, opening).await;
        if !matches!(opened, Err(CloneError::Network(_) | CloneError::Stalled(_) | CloneError::Cancelled)) {
            host.heard();
        }
        let opened = opened?;
        host.answered(asked.elapsed());
        self.reached.lock().expect("no holder panics").insert(owner_of(&task.address).to_owned());
        Ok(opened)
    }

    /// Whether another repository of the same owner has answered: what is not found there is then not hidden by a login that has
    /// lost all of its rights.
    pub fn has_reached_owner_of(&self, address: &str) -> bool {
        self.reached.lock().expect("no holder panics").contains(owner_of(address))
    }

    /// Whether an address is that of the task's repository.
    fn sameness(&self, task: &Task) -> impl Fn(&str) -> bool + Clone + Send + 'static {
        let settings = self.settings.clone();
        let wanted = [task.address.clone(), settings.rewritten(&task.address)];
        move |address| {
            let is_it = |address: &str| wanted.iter().any(|wanted| same_repository(wanted, address));
            is_it(address) || is_it(&settings.rewritten(address))
        }
    }

    /// A turn at the processor.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, CloneError> {
        Ok(self.builders.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }

    async fn existing(&self, task: &Task) -> Result<(Existing, Option<Standing>), CloneError> {
        // Most often there is nothing at all, and that is told at once.
        if !disk::exists(&task.target) && !disk::exists(&task.partial) {
            return Ok((Existing::Nothing, None));
        }
        let same = self.sameness(task);
        let (at, partial, is_same) = (task.target.clone(), task.partial.clone(), same.clone());
        let looking = move || {
            // What an earlier run has left.
            place::remove(&partial)?;
            Ok(repository::look(&at, is_same))
        };
        match blocking(looking).await? {
            (Existing::Unreadable(why), _) => {
                Ok((self.readable_by_git(&task.target, same, &why).await, None))
            }
            found => Ok(found),
        }
    }

    async fn receive(
        &self,
        task: &Task,
        session: Open<'_>,
        refs: RemoteRefs,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let mut plan = Plan {
            origin: task.address.clone(),
            shallow: Vec::new(),
            submodules: self.wish.submodules,
            traffic: task.traffic.clone(),
            single_branch: self.wish.is_of_one_branch(),
            settings: self.settings.clone(),
            refs,
        };
        let wants = wants(&plan.refs, plan.single_branch);
        if wants.is_empty() {
            let turn = unless_cancelled(cancel, self.turn()).await?;
            return self.build(task, plan, std::iter::empty(), || turn, place, cancel).await;
        }
        let mut held = Held { of: &self.held, bytes: 0 };
        let fetching = async {
            let mut pack = session.fetch(&wants, self.wish.depth).await?;
            let mut chunks = Vec::new();
            while !held.is_enough() {
                match pack.next().await? {
                    Some(chunk) => {
                        task.traffic.add(chunk.len());
                        held.add(chunk.len() + PIECE_COST);
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
        let chunks = chunks.into_iter().map(Ok);
        let Some(mut pack) = rest else {
            let turn = unless_cancelled(cancel, self.turn()).await?;
            return self.build(task, plan, chunks, || turn, place, cancel).await;
        };
        let (to_indexer, mut from_remote) = mpsc::channel(CHUNKS_AHEAD);
        let arriving = std::iter::from_fn(move || from_remote.blocking_recv());
        // A remote that takes its time must not hold a turn: it is taken once the last byte is here.
        let (builders, runtime) = (self.builders.clone(), tokio::runtime::Handle::current());
        let turn = move || runtime.block_on(builders.acquire_owned());
        let building = self.build(task, plan, chunks.chain(arriving), turn, place, cancel);
        let bringing = async move {
            loop {
                let next = unless_cancelled(cancel, pack.next()).await;
                let ended = !matches!(next, Ok(Some(_)));
                let Some(chunk) = next.transpose() else { return };
                task.traffic.add(chunk.as_ref().map_or(0, Bytes::len));
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
        task: &Task,
        plan: Plan,
        pack: impl Iterator<Item = Result<Bytes, CloneError>> + Send + 'static,
        turn: impl FnOnce() -> T + Send + 'static,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let (at, token) = (task.partial.clone(), cancel.clone());
        let (skeleton, processors) = (self.skeleton.clone(), self.processors.clone());
        let build = move || repository::build(&at, &plan, pack, turn, (&skeleton, &processors), &token);
        let built = place.blocking(cancel, build).await?;
        self.checked_out(task, built, cancel).await
    }

    /// Makes the partial clone durable and gives it its name.
    async fn publish(&self, task: &Task, cloned: Cloned) -> Result<Success, CloneError> {
        let fail = |source| CloneError::Local { what: "give the clone its name", source };
        let (task_of_step, tenure) = (task.clone(), self.tenure.clone());
        let mark = Mark { uses_lfs: cloned.uses_lfs };
        let naming = move || {
            let Task { partial, target, job, .. } = task_of_step;
            mark::set(&partial, &job, mark)?;
            crash::point("clone-built");
            publish::publish(&partial, &target, &tenure)
        };
        let _turn = self.publishing.acquire().await.expect("the semaphore is never closed");
        match blocking(move || naming().map_err(fail)).await? {
            Published::Named => Ok(Success::Cloned(cloned)),
            // Another job was faster.
            Published::Taken => match self.existing(task).await?.0 {
                Existing::Whole => Ok(Success::AlreadyThere),
                _ => Err(CloneError::Refused("something else came to stand at the target meanwhile".into())),
            },
        }
    }
}

/// What one pack holds of the memory for all, until it is dropped.
struct Held<'a> {
    of: &'a AtomicUsize,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize) {
        self.of.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Whether the rest goes to the indexer as it comes.
    fn is_enough(&self) -> bool {
        self.bytes >= SMALL_PACK || self.of.load(Ordering::Relaxed) >= MOST_HELD
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Moves away what git had left half-made: nobody has worked in it, but it is not ours to remove.
async fn set_aside(target: PathBuf) -> Result<String, CloneError> {
    let moving = move || {
        disk::set_aside(&target)
            .map_err(|source| CloneError::Local { what: "set the half-made clone aside", source })
    };
    let aside = blocking(moving).await?;
    Ok(aside.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// The address of a repository without its own name.
fn owner_of(address: &str) -> &str {
    address.trim_end_matches('/').rsplit_once('/').map_or(address, |(owner, _)| owner)
}

enum Open<'a> {
    Http(http::Transport<'a>),
    Ssh(Box<ssh::Transport>),
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
            return Err(CloneError::Inexact("the server has no side band".into()));
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
