//! A job as the contract shows it. Pure.

use crate::job::paged_sources::PagedSources;
use crate::job::snapshot::{Entry, UnderWay, Weighed};
use crate::job::{ItemState, Job, Outcome, PauseReason, Plan, State};
use crate::model::failure::{Failure, Reason};
use crate::work::kind;
use specweave_jobs::clock::{Millis, timestamp};
use specweave_jobs::{mirror, v1};
use std::num::NonZeroU64;

/// Names of failed items that a listing shows.
const FAILED_SHOWN: usize = 10;

/// A run shorter than this says nothing about its speed.
const LEAST_RUN: Millis = 200;

pub fn job(entry: &Entry, now: Millis) -> v1::Job {
    let job = &entry.job;
    let kind = kind::of(&job.order);
    let running = job.state == State::Running;
    let (mut failed, mut warning, mut pause, mut completed_at) = (None, String::new(), None, None);
    let every_seconds = job.terms.every.map_or(0, NonZeroU64::get);
    let mut schedule = v1::Schedule { every_seconds, ..v1::Schedule::default() };
    let mut outcome = None;
    match &job.state {
        State::Pending | State::Running => {}
        State::Paused { reason, message, resume_at } => {
            pause = Some(v1::Pause {
                reason: pause_reason(*reason) as i32,
                message: message.clone(),
                resume_at: resume_at.map(timestamp),
            });
        }
        State::Scheduled { outcome: last, at, next } => {
            outcome = Some(last);
            schedule.next_at = Some(timestamp(*next));
            schedule.last_state = self::outcome(last) as i32;
            schedule.last_at = Some(timestamp(*at));
        }
        State::Ended { outcome: last, at } => {
            outcome = Some(last);
            completed_at = Some(timestamp(*at));
        }
    }
    match outcome {
        None | Some(Outcome::Completed) => {}
        Some(Outcome::CompletedWithWarnings { summary }) => warning.clone_from(summary),
        Some(Outcome::Failed { failure }) => failed = Some(self::failure(failure)),
    }
    v1::Job {
        id: job.id.to_string(),
        r#type: job.order.job_type() as i32,
        type_name: mirror::type_word(job.order.job_type()).to_owned(),
        state: state(&job.state) as i32,
        progress: Some(progress(entry, now)),
        started_at: Some(timestamp(job.created_at)),
        updated_at: Some(timestamp(job.updated_at)),
        completed_at,
        failure: failed,
        warning,
        pause,
        pid: entry.pid,
        alive: running && entry.pid != 0,
        foreign: false,
        provider: kind.provider(job).to_owned(),
        title: kind.title(job),
        spec: None,
        schedule: job.terms.every.is_some().then_some(schedule),
        revision: entry.revision,
        action: kind.action() as i32,
    }
}

fn progress(entry: &Entry, now: Millis) -> v1::Progress {
    let job = &entry.job;
    let nothing = Plan::Sources(PagedSources::default());
    let plan = job.plan.as_ref().unwrap_or(&nothing);
    let (current, total) = (plan.current(), plan.total());
    let running = job.state == State::Running;
    // What is under way counts as far as it is: a job of one large item would show nothing until it ends.
    let begun: f64 = entry.under_way().map(UnderWay::part).sum();
    let done = (current as f64 + begun).min(total as f64);
    let rate = rate(job, done, now);
    let left = total as f64 - done;
    let read = job.sources().map(PagedSources::counts).unwrap_or_default();
    v1::Progress {
        current,
        total,
        percentage: percentage(done, current, total),
        succeeded: (current + broken(plan)).saturating_sub(plan.before() + plan.failed_count()),
        skipped: plan.before(),
        failed: plan.failed_count(),
        current_item: entry.news.item.to_string(),
        rate,
        eta_seconds: eta(entry, rate, left, now).filter(|_| running && current < total),
        failed_items: plan.failures().take(FAILED_SHOWN).map(|(name, _)| name.to_owned()).collect(),
        phase: entry.news.phase.to_owned(),
        in_conflict: plan.in_conflict(),
        created: read.created,
        updated: read.updated,
        left_out: read.left_out,
        left_out_reason: kind::of(&job.order).left_out_reason(),
        active: entry.under_way().map(active_item).collect(),
    }
}

/// Whole percents; what is not at its end is never told as a hundred.
fn percentage(done: f64, current: u64, total: u64) -> u32 {
    let whole = mirror::percentage(current, total);
    if total == 0 { whole } else { whole.max(((done * 100.0 / total as f64).round() as u32).min(99)) }
}

fn active_item(item: &UnderWay) -> v1::ActiveItem {
    v1::ActiveItem {
        name: item.name.to_string(),
        received_bytes: item.received,
        received_objects: item.objects,
        total_objects: item.total_objects,
        bytes_per_second: item.per_second,
    }
}

/// Seconds until the end. What a sync has ahead is all of its writes at the tracker's pace; of others, it comes on top.
fn eta(entry: &Entry, rate: f64, left: f64, now: Millis) -> Option<u64> {
    let ahead = entry.news.ahead as f64 / 1000.0;
    let at_this_rate = match (entry.news.weighed, entry.job.run_started_at) {
        (Some(Weighed { done, left }), Some(began)) if rate > 0.0 && done > 0.0 => {
            Some(left / done * (now - began) as f64 / 1000.0)
        }
        _ => (rate > 0.0).then(|| left / rate),
    };
    if ahead > 0.0 && kind::of(&entry.job.order).waits_alone() {
        return Some(ahead.ceil() as u64);
    }
    at_this_rate.map(|rest| (rest + ahead).ceil() as u64)
}

/// Items a second over the present or last run.
fn rate(job: &Job, done: f64, now: Millis) -> f64 {
    let Some(began) = job.run_started_at else { return 0.0 };
    let until = match job.state {
        State::Running => now,
        _ => job.updated_at,
    };
    let done = (done - job.run_base as f64).max(0.0);
    match until - began {
        short if short < LEAST_RUN => 0.0,
        span => done * 1000.0 / span as f64,
    }
}

/// A page of items: from the item `from`, at most `limit`, and where the next page begins.
pub fn items(job: &Job, from: u32, limit: u32, wanted: &[v1::ItemState]) -> (Vec<v1::Item>, Option<u32>) {
    let items = match &job.plan {
        Some(Plan::Items(items)) => items,
        Some(Plan::Sources(sources)) => return failures(sources, from, limit, wanted),
        None => return (Vec::new(), None),
    };
    let mut page = Vec::new();
    for index in from..items.len() as u32 {
        let state = match items.item_state(index) {
            None | Some(ItemState::Waiting) => v1::ItemState::Waiting,
            Some(ItemState::Done) => v1::ItemState::Done,
            Some(ItemState::Before) => v1::ItemState::Skipped,
            Some(ItemState::Failed) => v1::ItemState::Failed,
        };
        if !wanted.is_empty() && !wanted.contains(&state) {
            continue;
        }
        if page.len() as u32 == limit {
            return (page, Some(index));
        }
        page.push(v1::Item {
            index,
            name: items.name(index).to_owned(),
            state: state as i32,
            failure: items.failure(index).map(failure),
            action: items.action(index) as i32,
            target: items.target(index).to_owned(),
            url: items.url(index).to_owned(),
        });
    }
    (page, None)
}

/// Of a job that reads pages, only what failed has a name.
fn failures(
    sources: &PagedSources,
    from: u32,
    limit: u32,
    wanted: &[v1::ItemState],
) -> (Vec<v1::Item>, Option<u32>) {
    if !wanted.is_empty() && !wanted.contains(&v1::ItemState::Failed) {
        return (Vec::new(), None);
    }
    let all = sources.failures().enumerate().skip(from as usize);
    let mut page: Vec<v1::Item> = all
        .take(limit as usize + 1)
        .map(|(index, (name, failed))| v1::Item {
            index: index as u32,
            name: name.to_owned(),
            state: v1::ItemState::Failed as i32,
            failure: Some(failure(failed)),
            action: v1::Action::Import as i32,
            target: failed.path.clone(),
            url: failed.url.clone(),
        })
        .collect();
    let next = (page.len() > limit as usize).then(|| page.pop()).flatten().map(|item| item.index);
    (page, next)
}

/// Sources that could not be read: they failed, and are no items.
fn broken(plan: &Plan) -> u64 {
    match plan {
        Plan::Items(_) => 0,
        Plan::Sources(sources) => {
            sources.failed() - sources.all().iter().map(|source| source.failed).sum::<u64>()
        }
    }
}

pub fn state(state: &State) -> v1::JobState {
    match state {
        State::Pending => v1::JobState::Pending,
        State::Running => v1::JobState::Running,
        State::Paused { .. } => v1::JobState::Paused,
        State::Scheduled { .. } => v1::JobState::Scheduled,
        State::Ended { outcome, .. } => self::outcome(outcome),
    }
}

/// The state of a job that ended so.
pub fn outcome(outcome: &Outcome) -> v1::JobState {
    match outcome {
        Outcome::Completed => v1::JobState::Completed,
        Outcome::CompletedWithWarnings { .. } => v1::JobState::CompletedWithWarnings,
        Outcome::Failed { .. } => v1::JobState::Failed,
    }
}

fn failure(failure: &Failure) -> v1::Failure {
    let reason = match failure.reason {
        Reason::Authentication => v1::FailureReason::Authentication,
        Reason::NotFound => v1::FailureReason::NotFound,
        Reason::Forbidden => v1::FailureReason::Forbidden,
        Reason::RateLimited => v1::FailureReason::RateLimited,
        Reason::Network => v1::FailureReason::Network,
        Reason::Storage => v1::FailureReason::Storage,
        Reason::Remote => v1::FailureReason::Remote,
        Reason::Conflict => v1::FailureReason::Conflict,
        Reason::Diverged => v1::FailureReason::Diverged,
        Reason::Dirty => v1::FailureReason::Dirty,
        Reason::InvalidInput => v1::FailureReason::InvalidInput,
        Reason::Internal => v1::FailureReason::Internal,
    };
    v1::Failure {
        reason: reason as i32,
        message: failure.message.clone(),
        host: failure.host.clone(),
        variables: failure.variables.clone(),
        url: failure.url.clone(),
        path: failure.path.clone(),
    }
}

fn pause_reason(reason: PauseReason) -> v1::PauseReason {
    match reason {
        PauseReason::Killed => v1::PauseReason::Killed,
        PauseReason::RateLimited => v1::PauseReason::RateLimited,
        PauseReason::Network => v1::PauseReason::Network,
        PauseReason::Credentials => v1::PauseReason::Credentials,
        PauseReason::Storage => v1::PauseReason::Storage,
        PauseReason::Crashes => v1::PauseReason::Crashes,
        PauseReason::DaemonStopped => v1::PauseReason::DaemonStopped,
    }
}
