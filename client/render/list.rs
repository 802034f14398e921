//! The listing: active jobs, and with `--all` the finished ones.

use super::*;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Finished jobs that are shown of each kind.
const FINISHED_SHOWN: usize = 10;

/// Item counts that a person saw last, by job.
pub type Looks = BTreeMap<String, u64>;

/// The whole listing. `looks` is what was shown before.
pub fn text(jobs: &[Job], all: bool, looks: &Looks, paint: Paint) -> String {
    let of = |state: JobState| jobs.iter().filter(move |job| job.state() == state).collect::<Vec<_>>();
    let mut sections: Vec<String> = Vec::new();
    let running = of(JobState::Running);
    if !running.is_empty() {
        sections.push(running_section(&running, looks, paint));
    }
    let block_sections = [
        (JobState::Pending, "Pending", true),
        (JobState::Paused, "Paused", true),
        (JobState::Scheduled, "Scheduled", true),
        (JobState::Unspecified, "Unknown", true),
        (JobState::CompletedWithWarnings, "Completed with Warnings", all),
        (JobState::Failed, "Failed", all),
    ];
    for (state, heading, shown) in block_sections {
        let jobs = of(state);
        if shown && !jobs.is_empty() {
            let heading = paint.heading(state, &format!("{heading} ({}):", jobs.len()));
            let blocks = jobs.iter().take(FINISHED_SHOWN).map(|job| block(job));
            sections.push(format!("{heading}\n{}", blocks.collect::<Vec<_>>().join("\n")));
        }
    }
    let completed = of(JobState::Completed);
    if all && !completed.is_empty() {
        sections.push(completed_section(&completed, paint));
    }
    if sections.is_empty() {
        sections.push(if all {
            "No background jobs. Start one: specweave-jobs clone, import or sync\n".into()
        } else {
            "No active jobs. Start one: specweave-jobs clone, import or sync\n".into()
        });
    }
    if !all {
        sections.extend(finished_line(jobs));
    }
    format!("Background Jobs Status\n\n{}", sections.join("\n"))
}

fn finished_line(jobs: &[Job]) -> Option<String> {
    let count = |states: &[JobState]| jobs.iter().filter(|job| states.contains(&job.state())).count();
    let finished = count(&[JobState::Completed, JobState::CompletedWithWarnings, JobState::Failed]);
    let mut notes = Vec::new();
    for (state, word) in [(JobState::Failed, "failed"), (JobState::CompletedWithWarnings, "with warnings")] {
        match count(&[state]) {
            0 => {}
            count => notes.push(format!("{count} {word}")),
        }
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    (finished > 0).then(|| format!("Finished: {finished}{notes}; specweave-jobs --all shows them\n"))
}

fn running_section(jobs: &[&Job], looks: &Looks, paint: Paint) -> String {
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let progress = job.progress.clone().unwrap_or_default();
            vec![
                plain(&job.id),
                plain(&job.type_name),
                progress_text(&progress),
                plain(&progress.current_item),
                rate_text(&progress),
                eta_text(&progress),
            ]
        })
        .collect();
    let mut out = paint.heading(JobState::Running, &format!("Running ({}):", jobs.len()));
    out.push_str("\n\n");
    out.push_str(&table(&["Job ID", "Type", "Progress", "Current Item", "Rate", "ETA"], &rows));
    for job in jobs {
        out.push('\n');
        if jobs.len() > 1 {
            let _ = writeln!(out, "{}:", plain(&job.id));
        }
        out.push_str(&summary(job, looks));
    }
    out
}

/// `Started: ..`, `Cloned: .. (up from ..)`, `Failed: ..`.
fn summary(job: &Job, looks: &Looks) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let (one, many) = item_words(job);
    let mut out = format!("Started: {}\n", about_ago(&job.started_at));
    let done = progress.succeeded + progress.skipped;
    let verb = if many == "repositories" { "Cloned" } else { "Done" };
    let before = looks.get(&job.id).filter(|before| **before < done);
    let up_from = before.map(|before| format!(" (up from {})", thousands(*before))).unwrap_or_default();
    let _ = writeln!(out, "{verb}: {} {many}{up_from}", thousands(done));
    if progress.failed > 0 {
        let word = if progress.failed == 1 { one.to_owned() } else { format!("{one}s") };
        let _ = writeln!(out, "Failed: {} {word} ({})", thousands(progress.failed), failed_names(&progress));
    }
    if mirror::is_dead(job) {
        let _ = writeln!(out, "Worker: {}; {}", worker_text(job), way_out(job));
    }
    out
}

/// The names of failed items, cut where there are many.
pub fn failed_names(progress: &Progress) -> String {
    let names: Vec<String> = progress.failed_items.iter().map(|name| plain(name)).collect();
    let more = progress.failed.saturating_sub(names.len() as u64);
    match more {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names.join(", ")),
    }
}

fn block(job: &Job) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let id = plain(&job.id);
    let mut out = format!("  [{id}] {}\n", type_text(job));
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "     {name}: {text}");
    };
    match job.state() {
        JobState::Paused => {
            line("Progress", &progress_text(&progress));
            line("Reason", &job.pause.as_ref().map(pause_text).unwrap_or_default());
            if mirror::can_go_on(job) {
                line("Resume", &format!("specweave-jobs --resume {id}"));
            }
        }
        JobState::Scheduled => {
            let last_at = job.schedule.as_ref().and_then(|schedule| schedule.last_at);
            line("Next", &next_time(job).unwrap_or_default());
            let last = mirror::status_word(last_state(job)).replace('_', " ");
            line("Last", &format!("{last} {}: {}", ago(&last_at), progress_text(&progress)));
            if job.failure.is_some() {
                line("Error", &plain(message(job.failure.as_ref())));
            }
            if !job.warning.is_empty() {
                line("Warning", &plain(&job.warning));
            }
            line("Now", &format!("specweave-jobs resume {id}"));
            line("End it", &format!("specweave-jobs kill {id}"));
        }
        JobState::Failed => {
            line("Error", &plain(message(job.failure.as_ref())));
            if let Some(place) = failed_at(&progress) {
                line("Failed at", &place);
            }
            let first = if needs_a_token(job) { "Update token, then " } else { "" };
            if mirror::can_go_on(job) {
                line("Retry", &format!("{first}specweave-jobs --resume {id}"));
            }
        }
        JobState::CompletedWithWarnings => {
            line("Progress", &progress_text(&progress));
            line("Warning", &plain(&job.warning));
            line("Failed", &failed_names(&progress));
            if details::is_in_conflict(job) {
                line("Decide", "specweave-jobs conflicts");
            } else if mirror::can_go_on(job) {
                line("Retry", &format!("specweave-jobs --resume {id}"));
            }
        }
        _ => {
            line("Progress", &progress_text(&progress));
            line("Started", &about_ago(&job.started_at));
            if mirror::is_dead(job) {
                line("Worker", &worker_text(job));
                line("Way out", &way_out(job));
            }
        }
    }
    out
}

fn completed_section(jobs: &[&Job], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .take(FINISHED_SHOWN)
        .map(|job| {
            let total = job.progress.as_ref().map_or(0, |progress| progress.total);
            vec![plain(&job.id), plain(&job.type_name), thousands(total), ago(&job.completed_at)]
        })
        .collect();
    let heading = paint.heading(JobState::Completed, &format!("Completed ({}):", jobs.len()));
    format!("{heading}\n\n{}", table(&["Job ID", "Type", "Items", "Completed"], &rows))
}
