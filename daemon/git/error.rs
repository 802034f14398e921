//! Why a repository was not cloned.

use crate::git::address::host_of;
use crate::model::failure::{Failure, Reason};
use crate::net::silence::Silence;
use std::io;
use std::time::Duration;

/// The text is the real reason, for people.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Auth(String),
    /// The credentials are good, and do not allow it.
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    /// What a clone that stands came from is not found any more.
    #[error("it is gone upstream: {0}")]
    Gone(String),
    #[error(
        "its branch and the remote's have both gone on: {here} commits here, {there} there; merge or rebase it"
    )]
    Diverged { here: usize, there: usize },
    #[error("it was fetched and left as it is: {0}")]
    Dirty(String),
    #[error("{0}")]
    Network(String),
    /// The server itself is in trouble.
    #[error("{0}")]
    Troubled(String),
    /// The network is lost: of a host that has answered before, and nobody hears of any more.
    #[error("{0}")]
    Offline(String),
    #[error(transparent)]
    Stalled(#[from] Silence),
    #[error("the server asks to wait {} s", .0.as_secs())]
    Limited(Duration),
    #[error("{0}")]
    NotGit(String),
    /// The server answered with a page for people, which git would take for an empty repository.
    #[error("{0}")]
    Page(String),
    #[error("{0}")]
    Remote(String),
    /// What it sent is no pack that can be read whole.
    #[error("the pack that the remote sent is broken: {0}")]
    Pack(String),
    #[error("{0}")]
    Refused(String),
    /// The fast path does not do it exactly as git does.
    #[error("{0}")]
    Inexact(String),
    #[error("git is not installed, or not in the PATH of the command")]
    NoGit,
    #[error("cannot {what}: {source}")]
    Local { what: &'static str, source: io::Error },
    #[error("{}", in_words(.0))]
    Git(#[from] git2::Error),
}

/// libgit2's own words, which for an object that is too large are about memory.
fn in_words(error: &git2::Error) -> String {
    match error.class() {
        git2::ErrorClass::NoMemory => super::bounds::large_object(),
        _ => error.message().to_owned(),
    }
}

impl CloneError {
    /// The same as data. `address` is the repository's; only its host is kept, as a job knows the rest.
    pub fn failure(&self, address: &str) -> Failure {
        let reason = match self {
            Self::Auth(_) => Reason::Authentication,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::NotFound(_) | Self::Gone(_) => Reason::NotFound,
            Self::Diverged { .. } => Reason::Diverged,
            Self::Dirty(_) => Reason::Dirty,
            Self::Network(_) | Self::Troubled(_) | Self::Offline(_) | Self::Stalled(_) => Reason::Network,
            Self::Limited(_) => Reason::RateLimited,
            Self::NotGit(_) | Self::Page(_) | Self::Remote(_) | Self::Pack(_) => Reason::Remote,
            Self::Refused(_) | Self::Inexact(_) | Self::NoGit => Reason::InvalidInput,
            Self::Local { .. } => Reason::Storage,
            Self::Git(_) if self.is_storage() => Reason::Storage,
            Self::Git(error) if error.class() == git2::ErrorClass::Net => Reason::Network,
            Self::Git(_) => Reason::Remote,
            Self::Cancelled => Reason::Internal,
        };
        let host = host_of(address);
        let told = match (reason, host.as_str()) {
            // Which of several servers it was about.
            (Reason::Network, host) if !host.is_empty() => format!("{host}: {self}"),
            _ => self.to_string(),
        };
        Failure { host, ..Failure::new(reason, told) }
    }

    /// Whether git itself may clone what the fast path could not.
    pub fn may_go_well_with_git(&self) -> bool {
        match self {
            Self::Auth(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::NotGit(_)
            | Self::Remote(_)
            | Self::Pack(_)
            | Self::Inexact(_) => true,
            // What git may trust, or reach, in a way of its own.
            Self::Network(text) => {
                let text = text.to_lowercase();
                ["certificate", "tls", "ssl", "proxy", "invalid http", "unsupported"]
                    .iter()
                    .any(|word| text.contains(word))
            }
            // An object that is too large for memory is not for git either: the remote may be anybody.
            Self::Git(error) => !self.is_storage() && error.class() != git2::ErrorClass::NoMemory,
            Self::Cancelled
            | Self::Troubled(_)
            | Self::Offline(_)
            | Self::Stalled(_)
            | Self::Limited(_)
            | Self::Gone(_)
            | Self::Diverged { .. }
            | Self::Dirty(_)
            | Self::Page(_)
            | Self::Refused(_)
            | Self::NoGit
            | Self::Local { .. } => false,
        }
    }

    /// Whether another login, or none, may do better.
    pub fn is_about_login(&self) -> bool {
        matches!(self, Self::Auth(_) | Self::Forbidden(_) | Self::NotFound(_))
    }

    /// Whether the same attempt may go well a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Troubled(_))
    }

    /// Whether the disk has no room or cannot be written.
    pub fn is_storage(&self) -> bool {
        match self {
            Self::Local { source, .. } => crate::store::has_no_room(source),
            Self::Git(error) => {
                let full = ["No space left", "Read-only file system", "quota exceeded"];
                full.iter().any(|words| error.message().contains(words))
            }
            _ => false,
        }
    }

    pub(super) fn from_stream(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Network("the connection broke: it ended early".into()),
            _ => Self::Network(format!("the connection broke: {error}")),
        }
    }
}
