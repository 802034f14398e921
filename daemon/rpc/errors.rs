//! Failures as the contract tells them: a canonical code, a reason that programs read, a text for people.

use crate::keeper::KeeperError;
use crate::trackers::TrackerError;
use crate::work::clone::PreviewError;
use crate::work::clone::discover::DiscoverError;
use crate::work::import::ImportError;
use crate::work::sources::SourceError;
use crate::work::sync::SyncError;
use crate::work::sync::profile::ProfileError;
use specweave_jobs::redactor::Redactor;
use specweave_jobs::v1::Job;
use specweave_jobs::{ERROR_DOMAIN, reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Ids in an error's metadata.
const MOST_IDS: usize = 50;

pub fn error<const N: usize>(
    code: Code,
    reason: &str,
    text: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    Status::with_error_details(code, text, details)
}

pub fn shutting_down() -> Status {
    error(Code::Unavailable, reason::SHUTTING_DOWN, "the daemon is stopping", [])
}

pub fn not_found(wanted: &str, jobs: &[Job]) -> Status {
    let known: Vec<&str> = jobs.iter().take(MOST_IDS).map(|job| job.id.as_str()).collect();
    let wanted = specweave_jobs::text::plain(wanted);
    error(
        Code::NotFound,
        reason::JOB_NOT_FOUND,
        format!("there is no job {wanted:?}"),
        [("known", known.join(" "))],
    )
}

pub fn ambiguous(wanted: &str, fitting: &[&Job]) -> Status {
    let candidates: Vec<&str> = fitting.iter().take(MOST_IDS).map(|job| job.id.as_str()).collect();
    error(
        Code::InvalidArgument,
        reason::JOB_AMBIGUOUS,
        format!("{wanted:?} fits {} jobs: {}", fitting.len(), candidates.join(" ")),
        [("candidates", candidates.join(" "))],
    )
}

pub fn from_keeper(failure: KeeperError) -> Status {
    let text = failure.to_string();
    match failure {
        KeeperError::NotFound(_) => error(Code::NotFound, reason::JOB_NOT_FOUND, text, []),
        KeeperError::Busy { id } => {
            error(Code::AlreadyExists, reason::TARGET_BUSY, text, [("job", id.to_string())])
        }
        KeeperError::NotKillable { .. } => {
            error(Code::FailedPrecondition, reason::JOB_NOT_KILLABLE, text, [])
        }
        KeeperError::Completed { .. } | KeeperError::Refused(_) => {
            error(Code::FailedPrecondition, reason::JOB_NOT_RESUMABLE, text, [])
        }
        KeeperError::ConfigNotFound { .. } => {
            error(Code::FailedPrecondition, reason::CONFIG_NOT_FOUND, text, [])
        }
        KeeperError::Storage(_) => error(Code::ResourceExhausted, reason::STATE_NOT_WRITABLE, text, []),
        KeeperError::OutOfMemory(_) => error(Code::ResourceExhausted, reason::OUT_OF_MEMORY, text, []),
        KeeperError::Stopping => shutting_down(),
    }
}

/// As [`from_keeper`], with the command that starts afresh where the job cannot go on.
pub fn from_resume(failure: KeeperError, restart: &str) -> Status {
    match failure {
        KeeperError::ConfigNotFound { .. } => error(
            Code::FailedPrecondition,
            reason::CONFIG_NOT_FOUND,
            failure.to_string(),
            [("restart", restart.to_owned())],
        ),
        other => from_keeper(other),
    }
}

pub fn from_discover(failure: &DiscoverError) -> Status {
    // What could not be understood is quoted, and may hold a login.
    let text = Redactor::default().clean(&failure.to_string());
    match failure {
        DiscoverError::Source(_)
        | DiscoverError::Pattern(_)
        | DiscoverError::HalfAdo
        | DiscoverError::NoSource => error(Code::InvalidArgument, reason::INVALID_SPEC, text, []),
        DiscoverError::Empty(_) => error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, []),
        DiscoverError::Tracker(TrackerError::Auth(_)) => {
            error(Code::Unauthenticated, reason::AUTH_FAILED, text, [])
        }
        DiscoverError::Tracker(_) => error(Code::Unavailable, reason::REMOTE_FAILED, text, []),
    }
}

pub fn from_import(failure: &ImportError, redactor: &Redactor) -> Status {
    // A pattern's error draws an arrow below it.
    let text = redactor.clean(&failure.to_string()).replace('\n', " ");
    // Whose help helps.
    let verb = [("verb", "import".to_owned())];
    match failure {
        ImportError::Source(SourceError::Nothing(_)) => {
            error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, verb)
        }
        ImportError::Source(_) | ImportError::Pattern(_) | ImportError::Since(_) | ImportError::State(_) => {
            error(Code::InvalidArgument, reason::INVALID_SPEC, text, verb)
        }
        ImportError::Tracker(TrackerError::Auth(_)) => {
            error(Code::Unauthenticated, reason::AUTH_FAILED, text, [])
        }
        ImportError::Tracker(_) | ImportError::Net(_) => {
            error(Code::Unavailable, reason::REMOTE_FAILED, text, [])
        }
    }
}

pub fn from_sync(failure: &SyncError, redactor: &Redactor) -> Status {
    let text = redactor.clean(&failure.to_string()).replace('\n', " ");
    let verb = [("verb", "sync".to_owned())];
    match failure {
        SyncError::Profile(ProfileError::NoProject(_) | ProfileError::NoTracker(_)) => {
            error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, verb)
        }
        SyncError::Profile(_) => error(Code::InvalidArgument, reason::INVALID_SPEC, text, verb),
        SyncError::Guard(_) | SyncError::OtherProject { .. } => {
            error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, verb)
        }
        SyncError::Tracker(TrackerError::Auth(_)) => {
            error(Code::Unauthenticated, reason::AUTH_FAILED, text, [])
        }
        SyncError::Tracker(TrackerError::NotFound(_)) => {
            error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, verb)
        }
        SyncError::Storage(_) => error(Code::ResourceExhausted, reason::STATE_NOT_WRITABLE, text, []),
        SyncError::Busy => error(Code::FailedPrecondition, reason::TARGET_BUSY, text, []),
        SyncError::Tracker(_) | SyncError::Net(_) | SyncError::Cancelled => {
            error(Code::Unavailable, reason::REMOTE_FAILED, text, [])
        }
    }
}

pub fn from_preview(failure: &PreviewError, redactor: &Redactor) -> Status {
    match failure {
        PreviewError::Discover(failure) => from_discover(failure),
        PreviewError::Net(failure) => {
            let text = redactor.clean(&failure.to_string());
            error(Code::Unavailable, reason::REMOTE_FAILED, text, [])
        }
    }
}
