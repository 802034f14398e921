//! Where everything of one project lies. Paths are computed here and nowhere else.

use crate::{disk, system};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of this user's with `.specweave` in it, its symbolic links resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
    identity: Identity,
}

/// A larger configuration is none.
pub const MOST_CONFIG: u64 = 16 * 1024 * 1024;

/// What a `config.json` says; nothing where it cannot be read.
pub fn configuration(path: &Path) -> serde_json::Value {
    let bytes = disk::read_regular(path, MOST_CONFIG).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Which folder `.specweave` is, whatever its path is called: another one may come to stand at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("no SpecWeave project here: neither {0} nor a folder above it has a .specweave folder")]
    NotFound(PathBuf),
    #[error("the project that stood in {0} is gone: it was removed or moved")]
    Gone(PathBuf),
    #[error("cannot look at {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    /// Its files could name what runs and who is signalled.
    #[error("{path} belongs to another user ({owner}), so that nothing in it is read or written")]
    OtherOwner { path: PathBuf, owner: u32 },
}

impl Project {
    /// The project that `start` lies in: the nearest folder, upwards, that has `.specweave`. One that another user has
    /// made there is refused and not passed by.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        let unreadable = |source| ProjectError::Unreadable { path: start.to_path_buf(), source };
        let start = start.canonicalize().map_err(unreadable)?;
        let has_project = |folder: &&Path| folder.join(".specweave").is_dir();
        let Some(root) = start.ancestors().find(has_project) else {
            return Err(ProjectError::NotFound(start));
        };
        let path = root.join(".specweave");
        let found =
            disk::facts(&path).map_err(|source| ProjectError::Unreadable { path: path.clone(), source })?;
        if found.owner != rustix::process::geteuid().as_raw() {
            return Err(ProjectError::OtherOwner { path, owner: found.owner });
        }
        let identity = Identity { device: found.device, inode: found.inode };
        Ok(Self { root: root.to_path_buf(), identity })
    }

    /// Which folder `.specweave` was when the project was found.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the project still stands at its path: it was neither removed nor moved, and no other took its place.
    pub fn is_still_here(&self) -> bool {
        let now = disk::facts(&self.specweave());
        now.is_ok_and(|now| Identity { device: now.device, inode: now.inode } == self.identity)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn specweave(&self) -> PathBuf {
        self.root.join(".specweave")
    }

    /// SpecWeave's own settings; people write it, so it is changed with care.
    pub fn config(&self) -> PathBuf {
        self.specweave().join("config.json")
    }

    pub fn state(&self) -> PathBuf {
        self.specweave().join("state")
    }

    /// Whether the folders of state lie in the project, wherever their links lead; the one that does not.
    pub fn vet_state(&self) -> Result<(), PathBuf> {
        let folders = [self.specweave(), self.state(), self.jobs(), self.daemon().folder];
        let leads_out =
            |folder: &PathBuf| folder.canonicalize().is_ok_and(|real| !real.starts_with(&self.root));
        folders.into_iter().find(leads_out).map_or(Ok(()), Err)
    }

    /// The documented list of jobs.
    pub fn background_jobs(&self) -> PathBuf {
        self.state().join("background-jobs.json")
    }

    /// The documented lock around changes of [`Self::background_jobs`].
    pub fn background_jobs_lock(&self) -> PathBuf {
        self.state().join("background-jobs.lock")
    }

    pub fn jobs(&self) -> PathBuf {
        self.state().join("jobs")
    }

    pub fn job(&self, id: &JobId) -> JobFiles {
        JobFiles { folder: self.jobs().join(id.as_str()) }
    }

    /// What a job's folder is called before it is whole and while it is removed; no id begins with a dot.
    pub fn unnamed_job(&self, id: &JobId) -> JobFiles {
        JobFiles { folder: self.jobs().join(format!("{UNNAMED}{id}")) }
    }

    /// What was imported from where: a line for each story; the daemon's alone.
    pub fn imports(&self) -> PathBuf {
        self.daemon().folder.join("imports.jsonl")
    }

    /// What the syncs of a profile know from one time to the next; the daemon's alone.
    pub fn sync(&self, profile: &str) -> PathBuf {
        self.daemon().folder.join("sync").join(format!("{profile}.jsonl"))
    }

    /// When each source was imported last; SpecWeave's own format.
    pub fn sync_metadata(&self) -> PathBuf {
        self.specweave().join("sync-metadata.json")
    }

    /// The project's `.env`, which SpecWeave reads too.
    pub fn dotenv(&self) -> PathBuf {
        self.root.join(".env")
    }

    /// The daemon's own folder.
    pub fn daemon(&self) -> DaemonFiles {
        DaemonFiles { folder: self.state().join("jobs-daemon") }
    }
}

/// How the name of a job's folder begins that is no job yet, or none any more.
pub const UNNAMED: &str = ".unnamed-";

/// The files of one job.
#[derive(Clone, Debug)]
pub struct JobFiles {
    pub folder: PathBuf,
}

impl JobFiles {
    /// The names of those that are replaced whole.
    pub const REPLACED: [&str; 4] = ["config.json", "worker.pid", "result.json", "sources.txt"];

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }
    pub fn pid(&self) -> PathBuf {
        self.folder.join("worker.pid")
    }
    pub fn log(&self) -> PathBuf {
        self.folder.join("worker.log")
    }
    /// What the log told of earlier times of a job that is done again.
    pub fn old_log(&self) -> PathBuf {
        self.folder.join("worker.old.log")
    }
    pub fn result(&self) -> PathBuf {
        self.folder.join("result.json")
    }
    /// What was asked for, where that is too long for a command line; ours alone.
    pub fn sources(&self) -> PathBuf {
        self.folder.join("sources.txt")
    }
    /// The truth across restarts; ours alone.
    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }
    /// The journal of a job's next time, before it takes the other's place.
    pub fn next_journal(&self) -> PathBuf {
        self.folder.join("journal.next.jsonl")
    }
}

/// The files of the daemon.
#[derive(Clone, Debug)]
pub struct DaemonFiles {
    pub folder: PathBuf,
}

impl DaemonFiles {
    /// Held for life by the daemon, never deleted: the truth about who lives.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("daemon.lock")
    }
    /// Held by the client that starts a daemon.
    pub fn start_lock(&self) -> PathBuf {
        self.folder.join("start.lock")
    }
    pub fn endpoint(&self) -> PathBuf {
        self.folder.join("endpoint.json")
    }
    pub fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }
    /// Which place this project is; the daemon's alone.
    pub fn place(&self) -> PathBuf {
        self.folder.join("place.json")
    }
    /// What a person last saw of each job, for `(up from ..)`. It decides nothing.
    pub fn looks(&self) -> PathBuf {
        self.folder.join("looks.json")
    }
}

/// A job's id, safe to be a folder's name: 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// `None` when the text could leave the folder of jobs or hide in a listing.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned()))
    }

    /// Eight random hexadecimal digits, as SpecWeave's ids look.
    pub fn random() -> Self {
        Self(format!("{:08x}", disk::random() as u32))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no job id"))
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the daemon publishes about itself; clients read it and compute nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `unix:` and the absolute path of the socket.
    pub endpoint: String,
    pub pid: u32,
    pub protocol: u32,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub project: PathBuf,
    /// Names the machine's or container's life, so that a client elsewhere can tell.
    #[serde(default)]
    pub host: String,
}

/// Why there is no usable endpoint file.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("no daemon has published an endpoint")]
    Missing,
    #[error("{path} is not an endpoint file")]
    Garbage { path: PathBuf },
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// An endpoint file is a few hundred bytes; more is not one.
const ENDPOINT_LIMIT: u64 = 64 * 1024;

impl Endpoint {
    /// Reads the endpoint file. Whether that daemon lives, only a connection tells.
    pub fn read(path: &Path) -> Result<Self, EndpointError> {
        let unreadable = |source| EndpointError::Unreadable { path: path.to_path_buf(), source };
        let garbage = || EndpointError::Garbage { path: path.to_path_buf() };
        let bytes = match disk::read_regular(path, ENDPOINT_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(EndpointError::Missing),
            Err(error) if error.kind() == io::ErrorKind::Other => return Err(garbage()),
            Err(error) => return Err(unreadable(error)),
        };
        Self::parse(&bytes).ok_or_else(garbage)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let endpoint: Self = serde_json::from_slice(bytes).ok()?;
        endpoint.socket().is_some().then_some(endpoint)
    }

    /// The socket's path; `None` when the endpoint is not an absolute Unix path.
    pub fn socket(&self) -> Option<&Path> {
        let path = Path::new(self.endpoint.strip_prefix("unix:")?);
        path.is_absolute().then_some(path)
    }
}

/// The machine's boot and this process's own numbering of processes, so that a pid of another container or an earlier boot
/// is not taken for ours.
pub fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{name}/{}", system::boot())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_endpoint_file_gives_an_absolute_socket_or_nothing(
            endpoint in prop_oneof![".*", "unix:.*", "unix:/.*", "(http|unix|dns):[a-z/.]*"],
            pid in any::<u32>(),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let text = serde_json::json!({"endpoint": endpoint, "pid": pid, "protocol": 1}).to_string();
            if let Some(read) = Endpoint::parse(text.as_bytes()) {
                prop_assert!(read.socket().unwrap().is_absolute());
            }
            prop_assert_eq!(Endpoint::parse(&noise), None);
        }

        #[test]
        fn an_id_never_leaves_the_folder_of_jobs(text in ".*") {
            if let Some(id) = JobId::parse(&text) {
                let project =
                    Project { root: PathBuf::from("/p"), identity: Identity { device: 0, inode: 0 } };
                let folder = project.job(&id).folder;
                prop_assert_eq!(folder.parent().map(Path::to_path_buf), Some(project.jobs()));
                prop_assert!(folder.components().all(|part| part != std::path::Component::ParentDir));
            }
        }
    }

    #[test]
    fn an_id_that_could_leave_the_folder_is_refused() {
        for bad in ["", "..", "a/b", "/etc", "a b", "a\n", "-rf", &"x".repeat(65)] {
            assert_eq!(JobId::parse(bad), None, "{bad:?}");
        }
        for good in ["ae362dfe", "bf-558070e4", "5e5e0001-1111-4222"] {
            assert_eq!(JobId::parse(good).unwrap().as_str(), good);
        }
    }
}
