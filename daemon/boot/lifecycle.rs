//! One daemon per project: the lock that proves it, the socket, the endpoint file, and the checks that both
//! still are ours. Only the holder of the lock may unlink or bind.

use crate::store::tenure::Tenure;
use specweave_jobs::project::{Endpoint, Identity, Project, host};
use specweave_jobs::{PROTOCOL, disk, process};
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest path that every Unix takes for a socket.
const LONGEST_SOCKET_PATH: usize = 103;

/// Why this process is not the project's daemon.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else is; that is an answer, not a failure.
    #[error("a daemon of this project already runs (process {pid})")]
    Held { pid: u32 },
    #[error("{path} is a link that leads out of the project; links are not followed there (remove it)")]
    Outside { path: PathBuf },
    /// A checkout can bring such a folder, and what stands in it would be believed.
    #[error("others may write in {path}, so that its lock proves nothing (chmod go-w {path})")]
    OpenFolder { path: PathBuf },
    #[error(
        "the daemon that this project had before its state folder was removed (process {pid}) still runs and does not \
         leave (kill {pid})"
    )]
    Lingering { pid: u32 },
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the folder for sockets {path} is not safe: {why} \
         (set SPECWEAVE_JOBS_SOCKET_DIR to a folder that only you can use)"
    )]
    UnsafeFolder { path: PathBuf, why: &'static str },
    #[error(
        "the socket's path {path} has {len} bytes, {LONGEST_SOCKET_PATH} are possible (set SPECWEAVE_JOBS_SOCKET_DIR to a shorter folder)"
    )]
    TooLong { path: PathBuf, len: usize },
}

/// Proof that this process is the project's daemon: the lock in the project, which is never deleted by us, and one beside
/// the socket, which holds also when somebody has removed the project's state.
pub struct DaemonLock {
    _file: File,
    _beside_socket: File,
    tenure: Tenure,
}

/// A daemon whose state was removed leaves within this time once it is told to look.
const LINGERING: Duration = Duration::from_secs(9);

impl DaemonLock {
    /// Makes the daemon's folder and takes the locks, waiting only for a daemon of this project that is to leave.
    pub fn take(project: &Project) -> Result<Self, StartError> {
        let files = project.daemon();
        project.vet_state().map_err(|path| StartError::Outside { path })?;
        make_folder(&files.folder).map_err(|source| StartError::Io { path: files.folder.clone(), source })?;
        let path = files.lock();
        let fail = |source| StartError::Io { path: path.clone(), source };
        let folder = disk::facts(&files.folder).map_err(fail)?;
        if folder.mode & 0o022 != 0 {
            return Err(StartError::OpenFolder { path: files.folder });
        }
        let mut file = disk::open_lock(&path).map_err(fail)?;
        match try_lock_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::Held { pid: pid_in(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let beside_socket = lock_beside_socket(project)?;
        // For people, and for a client that has to wake a daemon whose socket is gone: the pid, and the host
        // on which it means something.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}\n{}", std::process::id(), host()))
            .map_err(fail)?;
        let facts = file.metadata().map_err(fail)?;
        let tenure = Tenure::new(project, Identity { device: facts.dev(), inode: facts.ino() });
        Ok(Self { _file: file, _beside_socket: beside_socket, tenure })
    }

    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }
}

fn pid_in(lock: &mut File) -> u32 {
    let mut text = String::new();
    let _ = lock.take(1024).read_to_string(&mut text);
    text.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

/// The lock by which daemons of one `.specweave` exclude each other whatever becomes of its state. A daemon that holds it
/// and not the project's lock has lost its state: it is told to look, and leaves.
fn lock_beside_socket(project: &Project) -> Result<File, StartError> {
    let Identity { device, inode } = project.identity();
    let path = socket_path(&format!("{device:x}-{inode:x}.lock"))?;
    let fail = |source| StartError::Io { path: path.clone(), source };
    let mut options = fs::OpenOptions::new();
    // The folder was vetted: nobody else can put a link there.
    options.read(true).write(true).create(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(fail)?;
    let began = std::time::Instant::now();
    let mut told = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if began.elapsed() < LINGERING => {}
            Err(TryLockError::WouldBlock) => {
                file.rewind().map_err(fail)?;
                return Err(StartError::Lingering { pid: pid_in(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        file.rewind().map_err(fail)?;
        let pid = pid_in(&mut file);
        if pid != told && process::is_daemon(pid) {
            told = pid;
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(fail)?;
    Ok(file)
}

/// A client that looks whether the lock is held holds it for an instant itself; that is no daemon.
fn try_lock_for_a_moment(file: &File) -> Result<(), TryLockError> {
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries < 5 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    disk::make_folders(folder, 0o700)?;
    let ignore = folder.join(".gitignore");
    if !disk::exists(&ignore) {
        disk::replace_unsynced(&ignore, b"*\n", 0o644)?;
    }
    Ok(())
}

/// The bound socket and what was published about it.
pub struct Socket {
    path: PathBuf,
    identity: (u64, u64),
    endpoint: Endpoint,
    endpoint_path: PathBuf,
}

impl Socket {
    /// Binds a socket in a private folder and publishes it. Needs the lock: whatever stands at the path is
    /// a dead daemon's.
    pub fn bind(project: &Project, _lock: &DaemonLock) -> Result<(Self, UnixListener), StartError> {
        let Identity { device, inode } = project.identity();
        // Two projects may have one path, one after the other, and a moved one is known by this alone.
        let path = socket_path(&format!("{:016x}.sock", hash(&(project.root(), device, inode))))?;
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::Io { path, source });
            }
            _ => {}
        }
        let fail = |source| StartError::Io { path: path.clone(), source };
        // No moment at which others could connect; everything else is made with the user's own umask.
        let usual = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let bound = UnixListener::bind(&path);
        rustix::process::umask(usual);
        let listener = bound.map_err(fail)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let identity = identity(&path).map_err(fail)?;
        let endpoint = Endpoint {
            endpoint: format!("unix:{}", path.display()),
            pid: std::process::id(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            project: project.root().to_path_buf(),
            host: host(),
        };
        let endpoint_path = project.daemon().endpoint();
        let text = serde_json::to_vec(&endpoint).expect("plain data serialises");
        disk::replace_unsynced(&endpoint_path, &text, 0o600)
            .map_err(|source| StartError::Io { path: endpoint_path.clone(), source })?;
        Ok((Self { path, identity, endpoint, endpoint_path }, listener))
    }

    /// Whether clients still find this socket: the path leads to it and the endpoint file names it.
    pub fn is_reachable(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
            && Endpoint::read(&self.endpoint_path).is_ok_and(|found| found == self.endpoint)
    }

    /// The folder that it lies in: only this user can use it.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Removes socket and endpoint file, if they still are ours.
    pub fn remove(&self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
        if Endpoint::read(&self.endpoint_path).is_ok_and(|found| found == self.endpoint) {
            let _ = fs::remove_file(&self.endpoint_path);
        }
    }
}

/// Which file this is, whatever its path is called: device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let facts = fs::symlink_metadata(path)?;
    Ok((facts.dev(), facts.ino()))
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A short path: a name in a private folder.
fn socket_path(name: &str) -> Result<PathBuf, StartError> {
    if let Some(folder) = std::env::var_os("SPECWEAVE_JOBS_SOCKET_DIR") {
        return vetted(PathBuf::from(folder).join(name));
    }
    let runtime = directories::BaseDirs::new().and_then(|dirs| dirs.runtime_dir().map(Path::to_path_buf));
    if let Some(path) = runtime.and_then(|folder| vetted(folder.join("specweave").join(name)).ok()) {
        return Ok(path);
    }
    let uid = rustix::process::geteuid().as_raw();
    vetted(PathBuf::from(format!("/tmp/specweave-{uid}")).join(name))
}

/// Makes the socket's folder, or checks it without following links: a folder of ours that nobody else can use.
fn vetted(path: PathBuf) -> Result<PathBuf, StartError> {
    let len = path.as_os_str().len();
    if len > LONGEST_SOCKET_PATH {
        return Err(StartError::TooLong { path, len });
    }
    let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let fail = |source| StartError::Io { path: folder.clone(), source };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
        _ => {}
    }
    let facts = fs::symlink_metadata(&folder).map_err(fail)?;
    let unsafe_because = |why| Err(StartError::UnsafeFolder { path: folder.clone(), why });
    if facts.file_type().is_symlink() {
        return unsafe_because("it is a symbolic link");
    }
    if !facts.is_dir() {
        return unsafe_because("it is no folder");
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_because("it belongs to another user");
    }
    if facts.mode() & 0o077 != 0 {
        return unsafe_because("others may enter it");
    }
    Ok(path)
}

/// Ends the process when an orderly stop takes longer than `deadline`. An OS thread, so that a runtime that
/// hangs cannot hold it up.
pub fn arm_watchdog(deadline: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(deadline);
        eprintln!("the orderly stop took too long; ending at once");
        std::process::exit(1);
    });
}
