//! A throw-away world for tests that use the real binaries: a project, a home, a folder for sockets, a
//! cleared environment, a deadline on every command. Nothing outlives it.

#![allow(dead_code)]

pub mod alone;
pub mod git_server;
mod graves;
pub mod http;
pub mod recorded;
pub mod relay;
pub mod repositories;
pub mod terminal;
pub mod trackers;

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Whether every case of a sweep is tried, as CI does. A developer's own run tries some of each kind.
pub fn is_thorough() -> bool {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u32>().ok()).unwrap_or(0) >= 2_000
}

/// No command of a test takes longer; one that does is a failure that names itself.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct World {
    pub dir: PathBuf,
    pub project: PathBuf,
    pub environment: BTreeMap<String, String>,
    _place: alone::Place,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl World {
    /// An empty folder with a home and no project yet.
    pub fn bare() -> Self {
        let dir = std::env::temp_dir().join(format!("sw-{:010x}", specweave_jobs::disk::random() >> 24));
        for folder in ["home", "project", "tmp"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let dir = dir.canonicalize().unwrap();
        let mut environment = BTreeMap::new();
        let mut set = |name: &str, value: String| drop(environment.insert(name.to_owned(), value));
        set("HOME", dir.join("home").display().to_string());
        set("PATH", std::env::var("PATH").unwrap_or_default());
        set("TMPDIR", dir.join("tmp").display().to_string());
        set("SPECWEAVE_JOBS_SOCKET_DIR", dir.join("s").display().to_string());
        // Longer than a test takes: where a silent server is to be given up, the test says how soon.
        set("SPECWEAVE_JOBS_STALL_SECONDS", "60".into());
        set("TZ", "UTC".into());
        let project = dir.join("project");
        Self { dir, project, environment, _place: alone::Place::take() }
    }

    /// A world with a project in it.
    pub fn new() -> Self {
        let world = Self::bare();
        world.run(["init"]).ok();
        world
    }

    /// A world with a project and a server of `count` small repositories of the owner `acme`.
    pub fn with_remotes(count: usize) -> (Self, git_server::GitServer, Vec<String>) {
        let world = Self::new();
        let root = world.dir.join("remotes");
        let names = repositories::make_many(&root, count);
        let server = git_server::GitServer::http(&root);
        (world, server, names)
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.environment.remove(name);
        self
    }

    /// The client with arguments, in the project, with the world's environment alone.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.program(env!("CARGO_BIN_EXE_specweave-jobs"), arguments)
    }

    pub fn program<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.project);
        command.stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.finish(self.command(arguments))
    }

    /// Runs a command to its end, its output through files, so that no pipe can hold it.
    pub fn finish(&self, command: Command) -> Said {
        self.finish_within(command, DEADLINE)
    }

    pub fn finish_within(&self, mut command: Command, deadline: Duration) -> Said {
        let stem = self.dir.join("tmp").join(format!("out-{:x}", specweave_jobs::disk::random()));
        let (out, err) = (stem.with_extension("out"), stem.with_extension("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let status = wait(&mut child, deadline);
        let took = began.elapsed();
        let said = Said {
            status: status.and_then(|status| status.code()),
            stdout: read(&out),
            stderr: read(&err),
            took,
        };
        assert!(status.is_some(), "{command:?} did not end within {deadline:?}: {said:?}");
        let _ = (std::fs::remove_file(out), std::fs::remove_file(err));
        said
    }

    /// Starts a clone job and gives its id.
    pub fn start_clone<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let mut command = self.command(["clone", "--json"]);
        command.args(arguments);
        let said = self.finish(command).ok();
        said.json()["id"].as_str().unwrap().to_owned()
    }

    /// The job as the daemon or the files tell it.
    pub fn job(&self, id: &str) -> Value {
        self.run(["--id", id, "--json"]).ok().json()["job"].clone()
    }

    /// Follows a job to its end, and gives it as it ended.
    pub fn wait(&self, id: &str) -> Value {
        let said = self.run(["wait", id, "--json", "--timeout", "50"]);
        assert!(said.status == Some(0) || said.status == Some(1), "{said:?}");
        said.json()
    }

    /// Waits until a job has ended that may pause and go on by itself on its way.
    pub fn wait_through_pauses(&self, id: &str) -> Value {
        self.until(id, "its end", |job| {
            !matches!(job["state"].as_str(), Some("running" | "paused" | "pending"))
        })
    }

    /// Follows a job's stream until it is in a state that fits.
    pub fn until(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let job = self.job(id);
            if fits(&job) {
                return job;
            }
            assert!(began.elapsed() < DEADLINE, "{what} did not come about: {job}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn state(&self) -> PathBuf {
        self.project.join(".specweave/state")
    }

    pub fn mirror(&self) -> Value {
        let path = self.state().join("background-jobs.json");
        serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn endpoint(&self) -> Value {
        serde_json::from_str(&read(&self.state().join("jobs-daemon/endpoint.json"))).unwrap()
    }

    /// The socket that the daemon has published.
    pub fn socket(&self) -> PathBuf {
        self.endpoint()["endpoint"].as_str().unwrap().strip_prefix("unix:").unwrap().into()
    }

    /// The living daemon's pid, as the held lock proves it.
    pub fn daemon_pid(&self) -> Option<u32> {
        let path = self.state().join("jobs-daemon/daemon.lock");
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text.lines().next()?.parse().ok()
            }
        }
    }

    /// Ends the daemon without a warning, and waits until the lock is free.
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        signal(pid, rustix::process::Signal::KILL);
        eventually("the daemon is gone", || self.daemon_pid().is_none());
    }

    pub fn daemon_log(&self) -> String {
        read(&self.state().join("jobs-daemon/daemon.log"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon_pid() {
            signal(pid, rustix::process::Signal::CONT);
            let _ = self.command(["daemon", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        if let Some(pid) = self.daemon_pid() {
            signal(pid, rustix::process::Signal::KILL);
        }
        graves::bury(&self.dir);
    }
}

impl Said {
    /// Fails the test unless the command went well.
    pub fn ok(self) -> Self {
        self.with_status(0)
    }

    pub fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout))
    }

    /// Fails the test unless both texts appear on the named streams.
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} in: {}\n{}", self.stdout, self.stderr);
        self
    }

    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in: {}\n{}", self.stderr, self.stdout);
        self
    }
}

/// Where a conflict of a story is shown.
pub fn beside(story: &Path) -> PathBuf {
    story.with_file_name(format!("conflict-{}", story.file_name().unwrap().to_string_lossy()))
}

pub fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Suspends a process, as a debugger or a laptop's lid does, until `SIGCONT`.
pub fn suspend(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
    eventually("the process is suspended", || state_of(pid).as_deref() == Some("T"));
}

/// Whether the process runs; a zombie does not.
pub fn lives(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != "Z" && state != "X")
}

/// The kernel's letter for what the process does.
fn state_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().next().map(str::to_owned)
}

/// Waits for something that another process does, looking often.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}: it did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a child, and ends it at the deadline.
pub fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if began.elapsed() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every regular file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
