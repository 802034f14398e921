//! Starting a daemon: one client at a time, with an environment of its own, and its word that it is ready.

use super::lock::{LockState, lock_state};
use super::{Connection, POLL, Patience, READY_DEADLINE, find, wake};
use crate::failure::Failure;
use specweave_jobs::project::{Endpoint, Project, host};
use specweave_jobs::{disk, environment};
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Held by the one client that starts the daemon; the others wait and then find it.
pub(super) struct StartTurn {
    _file: File,
}

impl StartTurn {
    pub(super) fn take(project: &Project) -> Result<Self, Failure> {
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
pub(super) struct Attached {
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

pub(super) async fn start(project: &Project) -> Result<Connection, Failure> {
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
        .map_err(|error| Failure::Start(format!("{}: {error}", daemon_program().display())))?;
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
        connection.attached = attached.then(|| Attached { child });
        return Ok(connection);
    }
    let _ = child.wait();
    match (word["held_by"].as_u64(), word["error"].as_str()) {
        (Some(_), _) => join_running(project).await,
        (None, Some(error)) => Err(Failure::Start(error.to_owned())),
        (None, None) => Err(Failure::Start("it died before it was ready".into())),
    }
}

/// Another daemon holds the lock: it is found, or, when it ends meanwhile, a new one is started.
async fn join_running(project: &Project) -> Result<Connection, Failure> {
    let began = Instant::now();
    loop {
        let lock = lock_state(project);
        if lock == LockState::Free {
            return Box::pin(start(project)).await;
        }
        let patience = READY_DEADLINE.saturating_sub(began.elapsed());
        match wake(project, &lock, Patience::Long, patience).await {
            Ok(Some(connection)) => return Ok(connection),
            Ok(None) => {}
            Err(Failure::Silent(_)) if is_elsewhere(project) => {
                let told = "a daemon of another machine or container holds this project's lock";
                return Err(Failure::Start(told.into()));
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn is_elsewhere(project: &Project) -> bool {
    Endpoint::read(&project.daemon().endpoint()).is_ok_and(|endpoint| endpoint.host != host())
}

/// The daemon's command with a clean environment: where it is and who it serves, not what the first
/// client happened to have set.
fn daemon_command(project: &Project) -> Command {
    /// What the daemon needs beside what its own helper programs get.
    const MORE: [&str; 3] = ["XDG_STATE_HOME", "RUST_BACKTRACE", "LD_LIBRARY_PATH"];
    let mut command = Command::new(daemon_program());
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

/// The daemon that belongs to this client: the program beside it, else `SPECWEAVE_JOBSD`, else in PATH.
pub fn daemon_program() -> PathBuf {
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
