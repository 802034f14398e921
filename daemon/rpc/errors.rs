//! Failures as the contract tells them: a canonical code, a reason that programs read, a text for people.

use crate::keeper::KeeperError;
use crate::work::kind::{Refusal, Why};
use specweave_jobs::v1::{Conflict, Job};
use specweave_jobs::{ERROR_DOMAIN, reason};
use std::sync::OnceLock;
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

/// Why this daemon stops; said once, before anything is refused for it.
static BECAUSE: OnceLock<&'static str> = OnceLock::new();

/// The project is not where this daemon serves it any more.
pub const MOVED: &str = "moved";

/// Says why it stops, in the word of the contract.
pub fn stops_because(word: &'static str) {
    let _ = BECAUSE.set(word);
}

pub fn shutting_down() -> Status {
    let because = BECAUSE.get().copied().unwrap_or_default();
    error(
        Code::Unavailable,
        reason::SHUTTING_DOWN,
        "the daemon is stopping",
        [("because", because.to_owned())],
    )
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

/// The conflict that a person names: by its story, or by the end of that where it fits only one.
pub fn only_conflict(wanted: &str, mut conflicts: Vec<Conflict>) -> Result<Conflict, Status> {
    let (exact, lower) = (wanted.to_owned(), wanted.to_lowercase());
    let ends_so = |conflict: &Conflict| {
        let story = conflict.story.to_lowercase();
        // A story that was imported has an id of its own, too, with which its file's name begins.
        let file = conflict.path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let is_own = file.strip_prefix(&lower).is_some_and(|rest| rest.starts_with('-') || rest == ".md");
        let is_item = conflict.item.to_lowercase() == lower;
        !lower.is_empty() && (story == lower || story.ends_with(&format!("/{lower}")) || is_own || is_item)
    };
    let fitting: Vec<usize> = (0..conflicts.len()).filter(|place| ends_so(&conflicts[*place])).collect();
    let named = fitting.iter().copied().find(|place| conflicts[*place].story == exact);
    match (named, &fitting[..]) {
        (Some(place), _) | (None, &[place]) => Ok(conflicts.swap_remove(place)),
        (None, _) => {
            let known: Vec<&str> = conflicts.iter().take(MOST_IDS).map(|one| one.story.as_str()).collect();
            let wanted = specweave_jobs::text::plain(wanted);
            let text = match fitting.len() {
                0 => format!("{wanted:?} is not in conflict, as far as the last sync or import has seen"),
                count => format!("{wanted:?} means {count} stories in conflict"),
            };
            Err(error(Code::NotFound, reason::CONFLICT_NOT_FOUND, text, [("known", known.join("\n"))]))
        }
    }
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
        KeeperError::NotRemovable { id, .. } => {
            error(Code::FailedPrecondition, reason::JOB_NOT_REMOVABLE, text, [("job", id.to_string())])
        }
        KeeperError::ItemNotFailed { id, known, .. } => {
            let metadata = [("job", id.to_string()), ("known", known.join("\n"))];
            error(Code::InvalidArgument, reason::ITEM_NOT_FAILED, text, metadata)
        }
        KeeperError::NoNames { id } => {
            error(Code::InvalidArgument, reason::ITEM_NOT_FAILED, text, [("job", id.to_string())])
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

/// Why a request came to nothing; `verb` is whose help helps.
pub fn from_refusal(refusal: Refusal, verb: &str) -> Status {
    let Refusal { why, text, hint } = refusal;
    let help = [("verb", verb.to_owned()), ("hint", hint)];
    match why {
        Why::Invalid => error(Code::InvalidArgument, reason::INVALID_SPEC, text, help),
        Why::Nothing => error(Code::FailedPrecondition, reason::EMPTY_SELECTION, text, help),
        Why::Authentication => error(Code::Unauthenticated, reason::AUTH_FAILED, text, help),
        Why::Remote => {
            error(Code::Unavailable, reason::REMOTE_FAILED, text, [("answered", "true".to_owned())])
        }
        Why::Unreachable => error(Code::Unavailable, reason::REMOTE_FAILED, text, []),
        Why::Storage => error(Code::ResourceExhausted, reason::STATE_NOT_WRITABLE, text, []),
        Why::Busy => error(Code::AlreadyExists, reason::TARGET_BUSY, text, []),
    }
}
