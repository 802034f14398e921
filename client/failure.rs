//! How a command ends badly: what failed, why, a command to type, and the exit status.

use specweave_jobs::project::{EndpointError, ProjectError};
use specweave_jobs::text::plain;
use specweave_jobs::{mirror::MirrorError, reason};
use std::io::{self, Write};
use std::path::PathBuf;
use tonic::Code;
use tonic_types::StatusExt;

pub const GENERAL: u8 = 1;
pub const NO_SUCH_JOB: u8 = 3;
pub const UNREACHABLE: u8 = 4;
pub const TIMED_OUT: u8 = 124;
pub const INTERRUPTED: u8 = 130;

/// A connection was refused.
const CROWDED: &str = "it has too many connections; end some of those that follow jobs or watch";

/// Everything that can go wrong in the client.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Endpoint(EndpointError),
    /// The daemon answered, and said no.
    #[error("{}", plain(.0.message()))]
    Refused(Box<tonic::Status>),
    #[error("the daemon does not answer: {0}")]
    Silent(String),
    /// A connection that was there is no more.
    #[error("the daemon does not answer: the connection broke")]
    Broke,
    #[error("the daemon could not be started: {0}")]
    Start(String),
    #[error("no daemon runs in this project")]
    NoDaemon,
    /// Whether a daemon runs cannot be told from in here.
    #[error(
        "this process may not use Unix sockets, so that it cannot talk to a daemon; they lie in {folder}"
    )]
    NoSockets { folder: PathBuf, source: io::Error },
    #[error("there is no job {wanted:?}")]
    NoSuchJob { wanted: String, known: Vec<String> },
    #[error("{wanted:?} fits several jobs: {}", .candidates.join(" "))]
    Ambiguous { wanted: String, candidates: Vec<String> },
    #[error("job {0} has not ended in time")]
    TimedOut(String),
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    /// Whoever read our output has gone away; that is no failure.
    #[error("the output was closed")]
    Closed,
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            // The transport's own word, by which the daemon refuses a connection: what it says itself has a reason.
            Code::ResourceExhausted if reason(&status).is_empty() => Self::Silent(CROWDED.into()),
            // Our own clock ran out: whoever is there has not answered, and is still there.
            Code::Cancelled if has_timed_out(&status) => Self::Silent("it took too long".into()),
            // A daemon that was killed gives `Unknown` with a transport error beneath.
            Code::Unknown | Code::Cancelled if std::error::Error::source(&status).is_some() => Self::Broke,
            Code::DeadlineExceeded => Self::Silent("it took too long".into()),
            _ => Self::Refused(Box::new(status)),
        }
    }
}

impl Failure {
    /// A reader that has gone away ends a command quietly; a full disk does not.
    pub fn of_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Output(error),
        }
    }

    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoSuchJob { .. } => NO_SUCH_JOB,
            Self::Silent(_)
            | Self::Broke
            | Self::Start(_)
            | Self::NoDaemon
            | Self::NoSockets { .. }
            | Self::Endpoint(_) => UNREACHABLE,
            Self::Refused(status) => match status.code() {
                Code::NotFound => NO_SUCH_JOB,
                Code::Unavailable if reason(status) != reason::REMOTE_FAILED => UNREACHABLE,
                Code::InvalidArgument => 2,
                _ => GENERAL,
            },
            Self::TimedOut(_) => TIMED_OUT,
            Self::Ambiguous { .. } | Self::Usage(_) => 2,
            Self::Closed => 0,
            _ => GENERAL,
        }
    }

    /// Whether the daemon died while it was asked.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Broke => true,
            // Nobody listens any more: what a daemon itself refuses has a reason.
            Self::Refused(status) => status.code() == Code::Unavailable && reason(status).is_empty(),
            _ => false,
        }
    }

    /// Whether the daemon answered that it is stopping.
    pub fn is_shutting_down(&self) -> bool {
        matches!(self, Self::Refused(status) if reason(status) == reason::SHUTTING_DOWN)
    }

    /// A command to type.
    fn hint(&self) -> String {
        match self {
            Self::Project(ProjectError::Gone(_)) => "cd PROJECT   (where it is now)".into(),
            Self::Project(_) => "specweave-jobs init".into(),
            Self::Mirror(_) => {
                "specweave-jobs daemon start   (it sets an unreadable file aside and rebuilds it)".into()
            }
            Self::Silent(_) | Self::Broke => "specweave-jobs daemon stop".into(),
            Self::Start(_) | Self::Endpoint(_) => "specweave-jobs daemon logs".into(),
            Self::NoDaemon => "specweave-jobs daemon start".into(),
            Self::NoSockets { folder, .. } => format!(
                "allow Unix sockets in {} (Claude Code: sandbox.network.allowUnixSockets), or run it outside of the sandbox",
                plain(&folder.display().to_string())
            ),
            Self::NoSuchJob { known, .. } => known_ids(known.iter().map(String::as_str)),
            Self::Ambiguous { candidates, .. } => candidates_hint(candidates.iter().map(String::as_str)),
            Self::Output(_) => "df -h .".into(),
            Self::TimedOut(id) => format!("specweave-jobs --follow {id}"),
            Self::Refused(status) => hint_of(status),
            _ => "specweave-jobs --help".into(),
        }
    }

    /// The contract's word for it, or one of this client for what never came to the daemon.
    fn reason(&self) -> String {
        let word = match self {
            Self::Refused(status) => return reason(status),
            Self::Project(_) => "PROJECT_NOT_FOUND",
            Self::Mirror(_) | Self::Read { .. } => "NOT_READABLE",
            Self::Write { .. } | Self::Output(_) => "NOT_WRITABLE",
            Self::Silent(_)
            | Self::Broke
            | Self::Start(_)
            | Self::NoDaemon
            | Self::NoSockets { .. }
            | Self::Endpoint(_) => "DAEMON_UNREACHABLE",
            Self::NoSuchJob { .. } => reason::JOB_NOT_FOUND,
            Self::Ambiguous { .. } => reason::JOB_AMBIGUOUS,
            Self::TimedOut(_) => "TIMED_OUT",
            Self::Usage(_) => "USAGE",
            Self::Closed => "CLOSED",
        };
        word.to_owned()
    }

    /// The failure for programs.
    pub fn document(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "reason": self.reason(), "message": plain(&self.to_string()), "hint": self.hint(),
        }})
    }

    /// Prints the failure for people, and before that as a document where one was asked for: a program reads the one, its
    /// log shows the other.
    pub fn print(&self, json: bool) {
        if matches!(self, Self::Closed) {
            return;
        }
        if json {
            // Where even this cannot be written, people are told all the same.
            let _ = writeln!(io::stdout(), "{}", self.document());
        }
        eprintln!("error: {}", plain(&self.to_string()));
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            eprintln!("caused by: {}", plain(&error.to_string()));
            cause = error.source();
        }
        eprintln!("hint: {}", crate::render::with_prefix(&self.hint()));
    }
}

/// Whether a call ended because the time that this client gave it was over.
fn has_timed_out(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The `ErrorInfo` reason of a status.
fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn hint_of(status: &tonic::Status) -> String {
    let Some(info) = status.get_details_error_info() else {
        return "specweave-jobs daemon logs".into();
    };
    let data = |name: &str| info.metadata.get(name).map(|value| plain(value)).unwrap_or_default();
    // The daemon knows best where it says so.
    if !data("hint").is_empty() {
        return data("hint");
    }
    match info.reason.as_str() {
        reason::JOB_NOT_FOUND => known_ids(data("known").split_whitespace()),
        reason::JOB_AMBIGUOUS => candidates_hint(data("candidates").split_whitespace()),
        reason::CONFLICT_NOT_FOUND => "specweave-jobs conflicts".into(),
        reason::JOB_NOT_KILLABLE | reason::JOB_NOT_RESUMABLE => "specweave-jobs --all".into(),
        reason::JOB_NOT_REMOVABLE if data("job").is_empty() => "specweave-jobs list --all".into(),
        reason::JOB_NOT_REMOVABLE => format!("specweave-jobs kill {}", data("job")),
        reason::ITEM_NOT_FAILED => {
            // One a line.
            let known = info.metadata.get("known").map(String::as_str).unwrap_or_default();
            let known = known.lines().map(plain).collect::<Vec<_>>().join(" ");
            let shown = format!("specweave-jobs show {} --items --failed", data("job"));
            if known.is_empty() { shown } else { format!("{shown}   (failed: {known})") }
        }
        reason::CONFIG_NOT_FOUND => format!("start fresh with: {}", data("restart")),
        reason::TARGET_BUSY => format!("specweave-jobs --follow {}", data("job")).trim_end().into(),
        reason::AUTH_FAILED => {
            "set GITHUB_TOKEN, JIRA_EMAIL and JIRA_API_TOKEN, AZURE_DEVOPS_PAT or the token of whom was asked (or run `gh auth login`) and try again"
                .into()
        }
        reason::REMOTE_FAILED if !data("answered").is_empty() => {
            "what the server said stands above; try again once that is mended".into()
        }
        reason::REMOTE_FAILED => "check the network and try again".into(),
        reason::OUT_OF_MEMORY => "specweave-jobs   (wait for a job to end, or end one with --kill ID)".into(),
        reason::STATE_NOT_WRITABLE => "df -h .specweave".into(),
        reason::PROTOCOL_MISMATCH => "specweave-jobs daemon stop   (then try again)".into(),
        reason::SHUTTING_DOWN => "try again in a moment".into(),
        reason::INVALID_SPEC | reason::EMPTY_SELECTION => match data("verb").as_str() {
            "import" => "specweave-jobs import --help".into(),
            "sync" => "specweave-jobs sync --help".into(),
            _ => "specweave-jobs clone --help".into(),
        },
        _ => "specweave-jobs daemon logs".into(),
    }
}

fn known_ids<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match known[..] {
        [] => "there are no jobs; start one with: specweave-jobs clone owner/repo".into(),
        _ => format!("specweave-jobs --all   (jobs: {})", known.join(" ")),
    }
}

fn candidates_hint<'a>(mut candidates: impl Iterator<Item = &'a str>) -> String {
    format!("specweave-jobs --id {}", candidates.next().unwrap_or("JOB"))
}
