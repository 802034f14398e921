//! What import and sync share while they run: who may write living docs, and what a tracker's failure means for a job.

use crate::docs::writer::WriterError;
use crate::job::PauseReason;
use crate::model::failure::{Failure, Reason};
use crate::trackers::TrackerError;
use crate::work::sources::SourceId;
use crate::work::{Context, Stop};

/// Only one job at a time writes living docs: places and numbers are given once. Any number of dry runs reads them.
pub static DOCS: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// What an error of a tracker means for the job.
pub enum Verdict {
    Stop(Stop),
    /// A token that is not taken: the job fails, and goes on here with another.
    Refused(Failure),
    /// This source alone cannot be read.
    Broken(Failure),
}

/// What there is to do for who has no token.
pub fn no_token(source: &SourceId) -> String {
    format!(
        "there is no token for {}: set {} (one of the environment does not go to a server that only .env names)",
        source.shown(),
        source.platform.variables().join(" and ")
    )
}

/// What an error of a tracker means for the job. `had_login` says whether it was asked with one before.
pub fn verdict(
    context: &Context,
    error: &TrackerError,
    with_login: bool,
    source: &SourceId,
    had_login: bool,
) -> Verdict {
    let redactor = context.secrets.redactor();
    let mut failure = error.failure().cleaned(|text| redactor.clean(text));
    failure.host.clone_from(&source.server);
    if failure.reason == Reason::Authentication {
        failure.variables = source.platform.variables().iter().map(|name| (*name).to_owned()).collect();
    }
    match error {
        // A daemon that was started anew has no token of somebody's environment: what could be read can be again.
        TrackerError::Auth(_) | TrackerError::Forbidden { .. } | TrackerError::NotFound(_)
            if !with_login && had_login =>
        {
            let message = format!("needs credentials for {}", source.shown());
            Verdict::Stop(Stop::Pause { reason: PauseReason::Credentials, message, resume_at: None })
        }
        TrackerError::Cancelled => Verdict::Stop(Stop::Cancelled),
        TrackerError::Limited(wait) => Verdict::Stop(Stop::limited(*wait)),
        TrackerError::Network(_) | TrackerError::Transient { .. } => {
            Verdict::Stop(Stop::offline(format!("{}: {failure}", source.shown())))
        }
        TrackerError::Auth(_) | TrackerError::Forbidden { .. } if !with_login => Verdict::Refused(Failure {
            message: format!("Authentication failed - {}", no_token(source)),
            ..failure
        }),
        TrackerError::Auth(_) | TrackerError::Forbidden { .. } => Verdict::Refused(failure),
        _ => Verdict::Broken(failure),
    }
}

pub fn stop_for_docs(error: &WriterError) -> Stop {
    let WriterError::Io { source, .. } = error;
    Stop::of_disk(source, error.to_string())
}
