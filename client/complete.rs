//! What a shell offers when a person presses the key for it: ids of jobs, stories in conflict, profiles. Read from the files
//! alone, and whatever cannot be read offers nothing.

use clap_complete::engine::CompletionCandidate;
use specweave_jobs::mirror::{self, Document, from_entries};
use specweave_jobs::project::{Project, configuration};
use specweave_jobs::text::plain;
use specweave_jobs::v1::{Job, JobState};
use specweave_jobs::{clock, conflict_files};
use std::ffi::OsStr;
use std::path::Path;

fn project() -> Option<Project> {
    Project::find(Path::new(".")).ok()
}

/// Those that begin as what was typed.
fn offered(
    current: &OsStr,
    all: impl IntoIterator<Item = (String, Option<String>)>,
) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy().into_owned();
    let fitting = all.into_iter().filter(|(word, _)| word.starts_with(&typed));
    fitting.map(|(word, help)| CompletionCandidate::new(word).help(help.map(Into::into))).collect()
}

fn jobs(current: &OsStr, fits: impl Fn(&Job) -> bool) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return Vec::new() };
    let Ok(document) = Document::read(&project.background_jobs()) else { return Vec::new() };
    let mut jobs: Vec<Job> = from_entries(document.jobs.iter(), &project);
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started_at.as_ref().map_or(0, clock::millis)));
    let told = |job: &Job| {
        let progress = job.progress.clone().unwrap_or_default();
        let state = mirror::status_word(job.state());
        format!("{} {}/{} {state}", plain(&job.type_name), progress.current, progress.total)
    };
    offered(current, jobs.iter().filter(|job| fits(job)).map(|job| (job.id.clone(), Some(told(job)))))
}

pub fn any_job(current: &OsStr) -> Vec<CompletionCandidate> {
    jobs(current, |_| true)
}

pub fn running_job(current: &OsStr) -> Vec<CompletionCandidate> {
    jobs(current, |job| matches!(job.state(), JobState::Running | JobState::Pending | JobState::Scheduled))
}

/// Those that have something left to do.
pub fn resumable_job(current: &OsStr) -> Vec<CompletionCandidate> {
    let is_resumable = |state| !matches!(state, JobState::Running | JobState::Pending | JobState::Completed);
    jobs(current, |job| is_resumable(job.state()))
}

pub fn removable_job(current: &OsStr) -> Vec<CompletionCandidate> {
    jobs(current, |job| !matches!(job.state(), JobState::Running | JobState::Pending | JobState::Scheduled))
}

/// Stories whose conflict stands in a file beside them.
pub fn conflict(current: &OsStr) -> Vec<CompletionCandidate> {
    let stories = project().map(|project| conflict_files::stories(&project)).unwrap_or_default();
    offered(current, stories.into_iter().map(|story| (story, None)))
}

pub fn profile(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return Vec::new() };
    let config = configuration(&project.config());
    let profiles = config["sync"]["profiles"].as_object().into_iter().flatten();
    let named = profiles.map(|(name, profile)| {
        let tracker = profile["provider"].as_str().or(profile["platform"].as_str());
        (name.clone(), tracker.map(plain))
    });
    offered(current, named)
}
