//! One job in detail, and the answers to kill and resume.

use super::list::failed_names;
use super::*;
use specweave_jobs::text::counted;
use std::fmt::Write;

/// The documented `Job Details`.
pub fn text(job: &Job, failed: &[Item], paint: Paint) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let id = plain(&job.id);
    let (one, many) = item_words(job);
    let status = paint.heading(job.state(), &mirror::status_word(job.state()).replace('_', " "));
    let mut out = format!("Job Details: {id}\n\nType: {}\nStatus: {status}\n", type_text(job));
    if let Some(schedule) = &job.schedule {
        let _ = writeln!(out, "Every: {}", interval(schedule.every_seconds));
    }
    if let Some(next) = job.schedule.as_ref().filter(|schedule| schedule.next_at.is_some()) {
        let last = mirror::status_word(last_state(job)).replace('_', " ");
        let _ = writeln!(out, "Next: {} ({})", local(&next.next_at), next_in(job).unwrap_or_default());
        let _ = writeln!(out, "Last: {last} {}", ago(&next.last_at));
    }
    if job.pid != 0 && job.completed_at.is_none() {
        let _ = writeln!(out, "PID: {} ({})", job.pid, if job.alive { "alive" } else { "dead" });
    } else if mirror::is_dead(job) {
        let _ = writeln!(out, "Worker: {}", worker_text(job));
    }
    if job.foreign {
        out.push_str("Written by: SpecWeave\n");
    }
    let _ = writeln!(out, "\nStarted: {}", local(&job.started_at));
    let _ = writeln!(out, "Updated: {} ({})", local(&job.updated_at), short_ago(&job.updated_at));
    if job.completed_at.is_some() {
        let _ = writeln!(out, "Completed: {}", local(&job.completed_at));
        let _ = writeln!(out, "Took: {}", span(seconds_between(&job.started_at, &job.completed_at)));
    }
    let _ = writeln!(out, "\nProgress: {}", progress_text(&progress));
    if !progress.current_item.is_empty() {
        let _ = writeln!(out, "Current: {}", plain(&progress.current_item));
    }
    if progress.rate > 0.0 {
        let _ = writeln!(out, "Rate: {:.1} items/sec", progress.rate);
    }
    if let Some(eta) = progress.eta_seconds {
        let _ = writeln!(out, "ETA: ~{}", span(eta).replace(" min", " minutes"));
    }
    if let Some(pause) = &job.pause {
        let _ = writeln!(out, "Reason: {}", pause_text(pause));
    }
    let done = progress.succeeded + progress.skipped;
    let _ = writeln!(out, "\nCompleted: {} {}", thousands(done), if done == 1 { one } else { many });
    if let Some(became) = became(job) {
        let _ = writeln!(out, "Of these: {became}");
    } else if progress.skipped > 0 {
        let was = if progress.skipped == 1 { "was" } else { "were" };
        let _ = writeln!(out, "Of these: {} {was} there already", thousands(progress.skipped));
    }
    if progress.failed > 0 {
        let _ = writeln!(out, "Failed: {} ({})", thousands(progress.failed), failed_names(&progress));
    }
    for item in failed {
        // Of a sync, what was to be done is not the same for every item.
        let action = match job.r#type() {
            JobType::SyncExternal if item.action() != Action::Unspecified => {
                format!("{} ", item.action().word())
            }
            _ => String::new(),
        };
        let _ = writeln!(out, "  {action}{}: {}", plain(&item.name), plain(message(item.failure.as_ref())));
    }
    if !job.warning.is_empty() {
        let _ = writeln!(out, "\nWarning: {}", plain(&job.warning));
    }
    if let Some(failure) = &job.failure {
        let _ = writeln!(out, "\nError: {}", plain(&failure.message));
        if let Some(place) = failed_at(&progress) {
            let _ = writeln!(out, "Failed at: {place}");
        }
    }
    out.push_str(&next_step(job));
    let folder = format!(".specweave/state/jobs/{id}");
    let _ = write!(
        out,
        "\nFiles:\n  Config: {folder}/config.json\n  Logs: {folder}/worker.log\n  PID: {folder}/worker.pid\n"
    );
    out
}

fn next_step(job: &Job) -> String {
    let id = plain(&job.id);
    match job.state() {
        _ if mirror::is_dead(job) => format!("\n{}\n", dead(job)),
        JobState::Paused if mirror::can_go_on(job) => format!("\nResume: specweave-jobs --resume {id}\n"),
        JobState::Scheduled => {
            format!("\nNow: specweave-jobs resume {id}\nEnd it: specweave-jobs kill {id}\n")
        }
        JobState::Failed if needs_a_token(job) && mirror::can_go_on(job) => {
            format!("\nRetry: Update token, then specweave-jobs --resume {id}\n")
        }
        JobState::CompletedWithWarnings if is_in_conflict(job) => format!("\n{DECIDE}\n"),
        JobState::Failed | JobState::CompletedWithWarnings if mirror::can_go_on(job) => {
            format!("\nRetry: specweave-jobs --resume {id}\n")
        }
        _ => String::new(),
    }
}

pub const DECIDE: &str = "Decide: specweave-jobs conflicts   (names them, and how each is decided)";

/// Whether only a person can bring it further.
pub fn is_in_conflict(job: &Job) -> bool {
    let progress = job.progress.as_ref();
    job.r#type() == JobType::SyncExternal
        && progress
            .is_some_and(|progress| progress.in_conflict > 0 && progress.in_conflict == progress.failed)
}

/// `30s ago`.
fn short_ago(at: &Option<prost_types::Timestamp>) -> String {
    match seconds_since(at) {
        seconds @ 0..=59 => format!("{seconds}s ago"),
        _ => ago(at),
    }
}

/// The documented answer to `--kill`.
pub fn killed(job: &Job, pid: u32) -> String {
    let id = plain(&job.id);
    let progress = job.progress.clone().unwrap_or_default();
    let mut out = format!("Killing job {id}...\n\nType: {}\n", type_text(job));
    if pid != 0 {
        let _ = writeln!(out, "PID: {pid}");
    }
    let _ = writeln!(out, "Progress: {}\n", progress_text(&progress));
    match job.state() {
        JobState::Paused => {
            let _ = writeln!(out, "Job killed. Status changed to 'paused'.");
            if mirror::can_go_on(job) {
                let _ = writeln!(out, "Resume later: specweave-jobs --resume {id}");
            }
        }
        _ if job.schedule.is_some() && pid == 0 => {
            let _ = writeln!(
                out,
                "Job ended. It is not done again.\nStart it anew: specweave-jobs run-again {id}"
            );
        }
        state => {
            let word = mirror::status_word(state).replace('_', " ");
            let _ = writeln!(out, "Job had just ended ({word}); there was nothing left to kill.");
        }
    }
    out
}

/// The documented answer to `--resume`.
pub fn resumed(job: &Job, already_running: bool, again: &[String], follows: bool) -> String {
    let id = plain(&job.id);
    let progress = job.progress.clone().unwrap_or_default();
    if already_running {
        return format!("Job {id} is already running.\nCheck progress: specweave-jobs --follow {id}\n");
    }
    let mut out = format!("Resuming job {id}...\n\nType: {}\n", type_text(job));
    if !again.is_empty() {
        let _ = writeln!(out, "Trying again: {}", again.join(", "));
    } else if progress.total > 0 {
        let next = (progress.current + 1).min(progress.total);
        let _ = writeln!(out, "Resuming from: item {} of {}", thousands(next), thousands(progress.total));
    }
    let _ =
        write!(out, "\nStarting background worker...\nNew PID: {}\n\nJob resumed in background.\n", job.pid);
    if !follows {
        let _ = writeln!(out, "Check progress: specweave-jobs --follow {id}");
    }
    out
}

/// What an import made of the items that it has read; `None` for other jobs, and before the first item.
fn became(job: &Job) -> Option<String> {
    let progress = job.progress.as_ref()?;
    if job.action() == Action::Update {
        return told(&[(progress.succeeded, "updated"), (progress.skipped, "current")]);
    }
    if job.r#type() != JobType::ImportIssues || job.foreign {
        return None;
    }
    // What is gone in the tracker and was never here is left out without any filter.
    let left_out = match progress.left_out_reason.as_str() {
        "" => "left out".to_owned(),
        reason => format!("left out ({})", plain(reason)),
    };
    told(&[
        (progress.created, "created"),
        (progress.updated, "updated"),
        (progress.skipped.saturating_sub(progress.left_out), "unchanged"),
        (progress.left_out, &*left_out),
    ])
}

/// Counts with what they are of, as far as there are any.
fn told(counts: &[(u64, &str)]) -> Option<String> {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = counts.map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What is said of a job whose worker is dead.
fn dead(job: &Job) -> String {
    let way = way_out(job);
    format!("The worker is dead. {}{}", way[..1].to_uppercase(), &way[1..])
}

/// How a job ended, or the last time of one that is done again, for `--follow` and `wait`.
pub fn ending(job: &Job) -> String {
    let ended = how_it_ended(job);
    match next_time(job) {
        Some(next) => format!("{ended}Again: {next}\nEnd it: specweave-jobs kill {}\n", plain(&job.id)),
        None => ended,
    }
}

fn how_it_ended(job: &Job) -> String {
    let id = plain(&job.id);
    let progress = job.progress.clone().unwrap_or_default();
    let (one, many) = item_words(job);
    match last_state(job) {
        JobState::Completed => {
            let skipped = match (became(job), progress.skipped) {
                (Some(became), _) => format!(": {became}"),
                (None, 0) => String::new(),
                (None, 1) => ", 1 of them was there already".to_owned(),
                (None, skipped) => format!(", {} of them were there already", thousands(skipped)),
            };
            format!("Job completed: {}{skipped}\n", counted(progress.total, one, many))
        }
        JobState::CompletedWithWarnings if is_in_conflict(job) => format!(
            "Job completed with warnings: {}\nFailed: {}\nReasons: specweave-jobs --id {id}\n{DECIDE}\n",
            plain(&job.warning),
            failed_names(&progress)
        ),
        JobState::CompletedWithWarnings => format!(
            "Job completed with warnings: {}\nFailed: {}\nReasons: specweave-jobs --id {id}\nRetry: specweave-jobs --resume {id}\n",
            plain(&job.warning),
            failed_names(&progress)
        ),
        JobState::Failed => {
            let place = failed_at(&progress).map(|place| format!("Failed at: {place}\n")).unwrap_or_default();
            let first = if needs_a_token(job) { "Update token, then " } else { "" };
            format!(
                "Job failed: {}\n{place}Retry: {first}specweave-jobs --resume {id}\n",
                plain(message(job.failure.as_ref()))
            )
        }
        JobState::Paused => {
            let resume = format!("Resume: specweave-jobs --resume {id}\n");
            let reason = job.pause.as_ref().map(pause_text).unwrap_or_default();
            format!("Job paused: {reason}\n{}", if mirror::can_go_on(job) { &resume } else { "" })
        }
        _ if mirror::is_dead(job) => format!("{}\n", dead(job)),
        state => format!("Job is {}\n", mirror::status_word(state)),
    }
}
