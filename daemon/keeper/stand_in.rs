//! The process whose pid stands in `worker.pid`: SIGTERM to it means "pause this job". It does nothing but
//! wait for the daemon's end of a pipe to close, so that it cannot outlive the daemon.

use specweave_jobs::project::JobId;
use specweave_jobs::system;
use std::io::{self, Read};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A running stand-in. Dropping it lets the process end.
pub struct StandIn {
    child: Child,
}

impl StandIn {
    /// Starts the stand-in of `job`: this very binary, in a process group of its own, so that Ctrl-C in a
    /// foreground daemon's terminal reaches the daemon alone.
    pub fn start(job: &JobId) -> io::Result<Self> {
        let child = Command::new(system::own_program()?)
            .args(["stand-in", "--job", job.as_str()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Waits until somebody has ended the process from outside.
    pub async fn gone(&mut self) {
        // tokio's `wait` would close the pipe first, which is how we end it ourselves.
        let pipe = self.child.stdin.take();
        let _ = self.child.wait().await;
        drop(pipe);
    }

    /// Ends the process and reaps it.
    pub async fn dismiss(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill().await;
    }
}

/// The stand-in's whole life.
pub fn live() -> io::Result<()> {
    let mut nothing = [0];
    while io::stdin().read(&mut nothing)? > 0 {}
    Ok(())
}
