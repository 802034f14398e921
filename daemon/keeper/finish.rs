//! What happens when a job has ended or waits for its next time, for those who asked to hear of it: a command of theirs, and
//! the desktop. At most once, as it is not known after a crash whether it had happened. Nothing here changes a job.

use crate::job::State;
use crate::job::snapshot::Entry;
use crate::store::job_log::WorkerLog;
use specweave_jobs::clock::Millis;
use specweave_jobs::project::Project;
use specweave_jobs::redactor::Redactor;
use specweave_jobs::{clock, environment, v1};
use std::collections::BTreeMap;
use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A command that takes longer is ended.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What the caller's environment has for such commands. Nothing in it is secret.
const CARRIED: [&str; 7] = [
    "HOME",
    "PATH",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// How a job is shown.
pub type Present = fn(&Entry, Millis) -> v1::Job;

/// One end of which somebody wants to hear.
pub(super) struct Finished {
    project: Project,
    entry: Arc<Entry>,
    present: Present,
    variables: BTreeMap<String, String>,
}

impl Finished {
    /// `None` where nobody asked, or where nothing has ended.
    pub(super) fn of(
        project: &Project,
        entry: &Arc<Entry>,
        present: Present,
        caller: &BTreeMap<String, String>,
    ) -> Option<Self> {
        outcome(&entry.job.state)?;
        let terms = &entry.job.terms;
        if terms.on_finish.is_none() && !terms.notify {
            return None;
        }
        let own =
            environment::OWN.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let carried =
            CARRIED.iter().filter_map(|name| Some(((*name).to_owned(), caller.get(*name)?.clone())));
        Some(Self {
            project: project.clone(),
            entry: entry.clone(),
            present,
            variables: own.chain(carried).collect(),
        })
    }

    /// Runs what was asked for, and says in the job's log how that went.
    pub(super) async fn tell(self) {
        let terms = self.entry.job.terms.clone();
        if let Some(command) = &terms.on_finish {
            let mut shell = Command::new("sh");
            shell.args(["-c", command]);
            self.run("the command of --on-finish", shell).await;
        }
        if terms.notify {
            self.run("the notification", self.notification()).await;
        }
    }

    fn notification(&self) -> Command {
        let job = (self.present)(&self.entry, clock::now());
        let title = format!("{} {}", job.type_name, outcome(&self.entry.job.state).unwrap_or_default());
        let body = format!("{} ({})", job.title, job.id);
        if cfg!(target_os = "macos") {
            let mut script = Command::new("osascript");
            script.args([
                "-e",
                "on run argv",
                "-e",
                "display notification (item 2 of argv) with title (item 1 of argv)",
            ]);
            script.args(["-e", "end run", &title, &body]);
            return script;
        }
        let mut desktop = Command::new("notify-send");
        desktop.args(["--app-name=specweave-jobs", "--", &title, &body]);
        desktop
    }

    async fn run(&self, what: &str, command: Command) {
        let said = match tokio::time::timeout(LONGEST, self.output(command)).await {
            Err(_) => {
                format!("WARNING: {what} took more than {} minutes and was ended", LONGEST.as_secs() / 60)
            }
            Ok(Err(error)) => format!("WARNING: {what} could not be run: {error}"),
            Ok(Ok(output)) if output.status.success() => format!("Ran {what}{}", said(&output)),
            Ok(Ok(output)) => format!("WARNING: {what} failed ({}){}", output.status, said(&output)),
        };
        let log = self.project.job(&self.entry.job.id).log();
        match WorkerLog::open(&log, Redactor::default()) {
            Ok(log) => log.line(&said),
            Err(error) => tracing::warn!(%error, "a job's log could not be opened"),
        }
    }

    async fn output(&self, mut command: Command) -> io::Result<Output> {
        let job = (self.present)(&self.entry, clock::now());
        let document = serde_json::to_vec(&job).map_err(io::Error::other)?;
        let mut child = command
            .env_clear()
            .envs(&self.variables)
            .env("SPECWEAVE_JOB_ID", &job.id)
            .env("SPECWEAVE_JOB_TYPE", &job.type_name)
            .env("SPECWEAVE_JOB_OUTCOME", outcome(&self.entry.job.state).unwrap_or_default())
            .current_dir(self.project.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let writing = async move {
            // Whoever does not read it does not want it.
            let _ = stdin.write_all(&document).await;
        };
        let ((), output) = tokio::join!(writing, child.wait_with_output());
        output
    }
}

/// How the job, or its last time, ended: the documented word.
fn outcome(state: &State) -> Option<&'static str> {
    let (State::Ended { outcome, .. } | State::Scheduled { outcome, .. }) = state else { return None };
    Some(outcome.word())
}

/// Bytes of its output that are shown.
const SHOWN: usize = 2_000;

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&all[..all.len().min(SHOWN)]);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
