//! What GitHub, JIRA and Azure DevOps are asked, and what other forges list; one reading of every reply, one pace. Nothing here decides what to
//! do about what they say.

pub mod ado;
mod classify;
pub mod edits;
pub mod forges;
pub mod github;
pub mod jira;
pub mod pace;
pub mod server;

use crate::model::failure::{Failure, Reason};
use crate::model::item::Item;
use crate::model::repository::Listed;
use http::StatusCode;
use std::collections::HashSet;
use std::time::Duration;

/// Why a tracker gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    #[error("Authentication failed - {0}")]
    Auth(String),
    /// The credentials are good, and do not allow it.
    #[error("{what}: the server does not allow it: {said}")]
    Forbidden { what: String, said: String },
    #[error("{0} was not found, or the token may not see it")]
    NotFound(String),
    #[error("{what}: the server says that it is gone for good: {said}")]
    Gone { what: String, said: String },
    #[error("Rate limited (resumes in {} s)", .0.as_secs())]
    Limited(Duration),
    #[error("{0}")]
    Network(String),
    #[error("{what}: the server answered {status}")]
    Transient { what: String, status: StatusCode },
    #[error("{what}: the server refused: {said}")]
    Refused { what: String, said: String },
    #[error("{what}: the server answered {status}")]
    Status { what: String, status: StatusCode },
    #[error("{what}: the answer could not be read: {cause}")]
    Malformed { what: String, cause: String },
    #[error("cancelled")]
    Cancelled,
}

/// The repositories of a listing, each once.
#[derive(Default)]
pub struct Repositories {
    listed: Vec<Listed>,
    addresses: HashSet<String>,
}

impl Repositories {
    /// Takes a page; whether it has brought anything. What gives nothing new has come to its end, however it is paged.
    pub fn take(&mut self, page: impl IntoIterator<Item = Listed>) -> bool {
        let before = self.listed.len();
        let fresh = page.into_iter().filter(|one| self.addresses.insert(one.address.clone()));
        self.listed.extend(fresh);
        self.listed.len() > before
    }

    pub fn into_all(self) -> Vec<Listed> {
        self.listed
    }
}

impl TrackerError {
    /// The same as data.
    pub fn failure(&self) -> Failure {
        let reason = match self {
            Self::Auth(_) => Reason::Authentication,
            Self::Forbidden { .. } => Reason::Forbidden,
            Self::NotFound(_) | Self::Gone { .. } => Reason::NotFound,
            Self::Limited(_) => Reason::RateLimited,
            Self::Network(_) | Self::Transient { .. } => Reason::Network,
            Self::Refused { .. } | Self::Status { .. } | Self::Malformed { .. } => Reason::Remote,
            Self::Cancelled => Reason::Internal,
        };
        Failure::new(reason, self.to_string())
    }
}

/// Which items are wanted of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Items that have changed since; `None` for all.
    pub since: Option<specweave_jobs::clock::Millis>,
    /// The mark of the last page of an earlier reading, which knows better.
    pub mark: Option<String>,
    pub labels: Vec<String>,
    /// Narrows further in the tracker's own language: terms of a search, conditions of JQL or WIQL. Empty for all.
    pub condition: String,
}

impl Window {
    /// The mark as its own reader wrote it; an empty one where there is none that can be read.
    fn mark<T: serde::de::DeserializeOwned + Default>(&self) -> T {
        self.mark.as_deref().and_then(|mark| serde_json::from_str(mark).ok()).unwrap_or_default()
    }
}

/// An item that could be read, or the name of one that could not and why.
pub type Read = Result<Item, (String, String)>;

/// What a source gives at a time.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Read>,
    pub next: Position,
    /// What a person should know, such as that the source has moved.
    pub notes: Vec<String>,
}

/// Where a source goes on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Only the source's own reader understands it.
    At(String),
    /// It has been read; the mark lets a later reading begin here.
    End(String),
}

/// A repository, a project: whatever has items of its own.
#[tonic::async_trait]
pub trait Source: Send + Sync {
    /// The beginning of a reading.
    fn first(&self, window: &Window) -> String;

    /// How many items a reading would meet; `None` when the tracker does not say.
    async fn count(&self, window: &Window) -> Result<Option<u64>, TrackerError>;

    /// The page at a position.
    async fn page(&self, at: &str) -> Result<Page, TrackerError>;

    /// Items by their keys, wherever they lie. Those that cannot be seen are missing.
    async fn items(&self, keys: &[String]) -> Result<Vec<Item>, TrackerError>;

    /// The requests that `items` more will take.
    fn requests(&self, items: u64) -> u64;

    /// The server that is asked.
    fn server(&self) -> &server::Server;
}

/// A listing longer than this is cut off, loudly.
pub const MOST_PAGES: usize = 1_000;

fn read<T: serde::de::DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, TrackerError> {
    serde_json::from_slice(body)
        .map_err(|error| TrackerError::Malformed { what: what.to_owned(), cause: error.to_string() })
}

/// The reply about something that may be gone; `None` where it is.
fn unless_gone(asked: Result<server::Reply, TrackerError>) -> Result<Option<server::Reply>, TrackerError> {
    match asked {
        Ok(reply) => Ok(Some(reply)),
        Err(TrackerError::NotFound(_) | TrackerError::Gone { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A position or a mark as text.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}

/// What a login in an address says is told to nobody: addresses are written into files.
fn without_login(address: &mut url::Url) {
    let _ = (address.set_username(""), address.set_password(None));
}

/// A name as one segment of an address.
fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Moments as the three write them: RFC 3339, or JIRA's `2024-01-01T10:00:00.000+0000`.
fn moment(text: &str) -> Option<specweave_jobs::clock::Millis> {
    specweave_jobs::clock::parse_iso(text).or_else(|| {
        let at = chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").ok()?;
        Some(at.timestamp_millis())
    })
}
