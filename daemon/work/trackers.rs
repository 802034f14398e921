//! What GitHub and Azure DevOps are asked, and one reading of every reply. Nothing here decides what to do
//! about it.

pub mod ado;
pub mod github;

use crate::work::net;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Why a tracker gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    #[error("Authentication failed - {0}")]
    Auth(String),
    #[error("{0} was not found, or the token may not see it")]
    NotFound(String),
    #[error("Rate limited (resumes in {} s)", .0.as_secs())]
    Limited(Duration),
    #[error("{0}")]
    Network(String),
    #[error("{what}: the server answered {status}")]
    Status { what: String, status: StatusCode },
    #[error("{what}: the answer could not be read: {cause}")]
    Malformed { what: String, cause: String },
}

/// A repository as a listing describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub owner: String,
    pub name: String,
    /// Azure DevOps alone has projects.
    pub project: Option<String>,
    /// Without credentials.
    pub address: String,
    pub archived: bool,
    pub fork: bool,
}

/// A listing longer than this is cut off, loudly.
pub const MOST_PAGES: usize = 1_000;

/// Reads a reply's status and headers. `what` names what was asked for.
fn check(what: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), TrackerError> {
    let wait = net::asked_to_wait(headers);
    let content = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let sign_in_page = content.is_some_and(|kind| kind.starts_with("text/html"));
    match status {
        StatusCode::UNAUTHORIZED => Err(TrackerError::Auth("token expired or wrong".into())),
        StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::FOUND if sign_in_page => {
            Err(TrackerError::Auth("token expired or wrong (the server answered with a sign-in page)".into()))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(TrackerError::Limited(wait.unwrap_or(Duration::from_secs(60))))
        }
        StatusCode::FORBIDDEN => Err(match wait {
            Some(wait) => TrackerError::Limited(wait),
            None => TrackerError::Auth(format!("the token may not see {what}")),
        }),
        StatusCode::NOT_FOUND => Err(TrackerError::NotFound(what.to_owned())),
        status if status.is_success() => Ok(()),
        status => Err(TrackerError::Status { what: what.to_owned(), status }),
    }
}

fn read<T: serde::de::DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, TrackerError> {
    serde_json::from_slice(body)
        .map_err(|error| TrackerError::Malformed { what: what.to_owned(), cause: error.to_string() })
}

/// A name as one segment of an address.
fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}
