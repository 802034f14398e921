//! Why something could not be done, as data: what a program goes by, and what a person reads. Made where the cause is
//! known; nobody above reads a message to find out what it means.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A remote did not take the credentials, or there are none.
    Authentication,
    NotFound,
    /// It exists, and the credentials do not allow what was wanted.
    Forbidden,
    RateLimited,
    Network,
    /// The disk, or a file of the project.
    Storage,
    /// The remote refused, or gave an answer that cannot be read.
    Remote,
    /// Both sides changed the same; a person decides.
    Conflict,
    /// What was asked for, or what stands in a file, cannot be used.
    InvalidInput,
    /// A branch and its upstream have both gone on; a person merges them.
    Diverged,
    /// A work tree has changes of a person's, which stay.
    Dirty,
    /// A fault of this program.
    #[default]
    Internal,
}

/// One failure. Everything but the reason and the message may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub reason: Reason,
    /// For people: the real cause, in a sentence.
    pub message: String,
    /// The host that was asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Variables of the environment that are missing or wrong, such as one for a token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Where a person can look at it, without credentials.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file that it is about, from the project's root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// What failed, by its name, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    pub name: String,
    pub failure: Failure,
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), ..Self::default() }
    }

    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    pub fn with_url(self, url: impl Into<String>) -> Self {
        Self { url: url.into(), ..self }
    }

    /// The same with every text made fit to be shown and kept, as by a redactor.
    pub fn cleaned(self, clean: impl Fn(&str) -> String) -> Self {
        Self { message: clean(&self.message), host: clean(&self.host), url: clean(&self.url), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.message)
    }
}
