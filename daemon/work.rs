//! What a job does: the kinds of work, and the [`Context`] through which work talks to its keeper. Work
//! owns no state that must survive: whatever has to be known after a crash goes through a checkpoint.

pub mod adoption;
pub mod clone;
pub mod command;
pub mod config;
pub mod conflicts;
mod context;
pub mod import;
pub mod kind;
pub mod sources;
pub mod sync;
pub mod turn;

pub use context::{Context, Keeping, Live};

use crate::job::PauseReason;
use crate::model::failure::{Failure, Reason};
use crate::store;
use specweave_jobs::clock::{self, Millis};
use std::io;
use std::time::Duration;

/// How work ends when all its items have been dealt with.
#[derive(Debug)]
pub enum Finish {
    Complete,
    /// Some items failed; the text sums them up.
    WithWarnings(String),
}

/// Why work stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// The token was cancelled; who did it knows why.
    Cancelled,
    /// The keeper pauses the job, and resumes it at `resume_at` if that is set.
    Pause { reason: PauseReason, message: String, resume_at: Option<Millis> },
    /// The job has failed.
    Fail(Box<Failure>),
}

/// A state folder that takes no writes is tried again this often: somebody may have made room.
pub const STORAGE_RETRY_MS: Millis = 10_000;

/// A network that was lost is tried again this often.
const NETWORK_RETRY_MS: Millis = 60_000;

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(Box::new(failure))
    }
}

impl Stop {
    pub fn fail(reason: Reason, message: impl Into<String>) -> Self {
        Failure::new(reason, message).into()
    }

    /// The disk refuses: tried again by itself.
    pub fn no_room(message: String) -> Self {
        let resume_at = Some(clock::now() + STORAGE_RETRY_MS);
        Self::Pause { reason: PauseReason::Storage, message, resume_at }
    }

    /// What a failure of the disk means: one that has no room is tried again by itself.
    pub fn of_disk(error: &io::Error, message: String) -> Self {
        if store::has_no_room(error) { Self::no_room(message) } else { Self::fail(Reason::Storage, message) }
    }

    /// A remote's limit: goes on by itself when it opens.
    pub fn limited(wait: Duration) -> Self {
        let resume_at = Some(clock::now() + wait.as_millis() as Millis);
        Self::Pause { reason: PauseReason::RateLimited, message: "Rate limited".into(), resume_at }
    }

    /// Of two reasons the first, and of two waits for the same the longer.
    pub fn or_later(self, other: Self) -> Self {
        match (&self, &other) {
            (
                Self::Pause { reason, resume_at: Some(known), .. },
                Self::Pause { reason: same, resume_at: Some(later), .. },
            ) if reason == same && later > known => other,
            _ => self,
        }
    }

    /// The network is gone: tried again by itself.
    pub fn offline(message: String) -> Self {
        let resume_at = Some(clock::now() + NETWORK_RETRY_MS);
        Self::Pause { reason: PauseReason::Network, message, resume_at }
    }
}

/// Of a job in which nothing was done as all of it failed: why. It has not ended with warnings, it has failed.
pub fn all_failed<'a>(
    told: &str,
    mut failures: impl Iterator<Item = (&'a str, &'a Failure)>,
) -> Option<Failure> {
    let (first, failure) = failures.next()?;
    let (mut others, mut is_alike) = (0, true);
    for (_, other) in failures {
        others += 1;
        is_alike &= other.reason == failure.reason;
    }
    let more = if others > 0 { format!("; and {others} more") } else { String::new() };
    // What is true of all of them is true of the job.
    let reason = if is_alike { failure.reason } else { Reason::Remote };
    let message = format!("{told}: {first}: {}{more}", failure.message);
    Some(Failure { message, reason, ..failure.clone() })
}

/// Work that waits for the disk, on a thread that may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Stop::fail(Reason::Internal, format!("internal error: {panic}")))
}
