//! All jobs on one screen, for `watch`: what is active with a bar each, then what has ended last. Pure but for the clock.

use super::*;

/// The whole screen: at most so many lines of at most so many columns.
pub fn text<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    with_daemon: bool,
    columns: usize,
    rows: usize,
) -> String {
    let (mut active, mut ended): (Vec<&Job>, Vec<&Job>) =
        jobs.partition(|job| mirror::is_active(job.state()));
    active.sort_by_key(|job| (job.state() != JobState::Running, started(job), job.id.clone()));
    ended.sort_by_key(|job| std::cmp::Reverse((at(&job.completed_at), job.id.clone())));
    let count = |state| active.iter().filter(|job| job.state() == state).count();
    let mut lines = vec![format!(
        "{} running, {} paused{}   (Ctrl+C to stop)",
        count(JobState::Running),
        count(JobState::Paused),
        if with_daemon { "" } else { "; no daemon runs" }
    )];
    for job in &active {
        lines.push(String::new());
        lines.extend(of_active(job, columns));
    }
    if active.is_empty() {
        lines.extend([String::new(), "No job is active.".to_owned()]);
    }
    if !ended.is_empty() && lines.len() + 3 <= rows {
        lines.extend([String::new(), "Ended:".to_owned()]);
        lines.extend(ended.iter().map(|job| of_ended(job)));
    }
    let is_cut = lines.len() > rows;
    lines.truncate(rows);
    if is_cut && let Some(last) = lines.last_mut() {
        *last = "… and more: make the terminal higher, or specweave-jobs list --all".to_owned();
    }
    lines.iter().map(|line| shortened_end(line, columns)).collect::<Vec<_>>().join("\n")
}

/// One line of a job that has ended, or waits for somebody: `ae36… clone-repos failed: nothing was cloned: …`.
pub fn end(job: &Job) -> String {
    let state = mirror::status_word(last_state(job)).replace('_', " ");
    let why = match (&job.failure, &job.pause) {
        (Some(failure), _) => plain(&failure.message),
        (None, Some(pause)) => pause_text(pause),
        (None, None) if !job.warning.is_empty() => plain(&job.warning),
        (None, None) => progress_text(&job.progress.clone().unwrap_or_default()),
    };
    format!("{} {} {state}: {why}\n", plain(&job.id), type_text(job))
}

/// All that is active in one line: `2 running (45%), 1 paused`; nothing where nothing is.
pub fn line(jobs: &[Job]) -> String {
    let of = |state: JobState| jobs.iter().filter(move |job| job.state() == state);
    let running: Vec<Progress> =
        of(JobState::Running).map(|job| job.progress.clone().unwrap_or_default()).collect();
    let mut parts = Vec::new();
    if !running.is_empty() {
        let current = running.iter().map(|progress| progress.current).sum();
        let total = running.iter().map(|progress| progress.total).sum();
        parts.push(format!("{} running ({}%)", running.len(), mirror::percentage(current, total)));
    }
    for (state, word) in
        [(JobState::Pending, "pending"), (JobState::Paused, "paused"), (JobState::Scheduled, "scheduled")]
    {
        let count = of(state).count();
        parts.extend((count > 0).then(|| format!("{count} {word}")));
    }
    if parts.is_empty() { String::new() } else { format!("jobs: {}\n", parts.join(", ")) }
}

fn at(moment: &Option<prost_types::Timestamp>) -> i64 {
    moment.as_ref().map_or(0, clock::millis)
}

fn started(job: &Job) -> i64 {
    at(&job.started_at)
}

fn of_active(job: &Job, columns: usize) -> Vec<String> {
    let progress = job.progress.clone().unwrap_or_default();
    let state = mirror::status_word(job.state());
    let mut first = format!("{} {}", plain(&job.id), type_text(job));
    if job.state() != JobState::Running {
        first.push_str(&format!("  {state}"));
    }
    let told = match (&job.pause, next_time(job)) {
        (Some(pause), _) => pause_text(pause),
        (None, Some(next)) => format!("again {next}"),
        (None, None) => follow::bar_message(job, &progress),
    };
    let counts = progress_text(&progress);
    let room = columns.saturating_sub(counts.width() + 3).min(30);
    let bar = if room >= 5 { format!("{} ", bar(&progress, room)) } else { String::new() };
    vec![first, format!("{bar}{counts}"), format!("  {told}")]
}

fn of_ended(job: &Job) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let state = mirror::status_word(job.state()).replace('_', " ");
    format!(
        "{} {}  {state}  {}  {}",
        plain(&job.id),
        type_text(job),
        progress_text(&progress),
        ago(&job.completed_at)
    )
}

fn bar(progress: &Progress, width: usize) -> String {
    let done = progress.percentage.min(100) as usize * width / 100;
    format!("{}{}", "█".repeat(done), "░".repeat(width - done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, state: JobState, current: u64) -> Job {
        let progress = Progress {
            current,
            total: 10,
            percentage: (current * 10) as u32,
            current_item: "acme/a-long-name".into(),
            ..Progress::default()
        };
        Job {
            id: id.into(),
            state: state as i32,
            type_name: "clone-repos".into(),
            progress: Some(progress),
            ..Job::default()
        }
    }

    #[test]
    fn every_size_of_a_terminal_holds_what_fits() {
        let jobs = [
            job("aaaaaaaa", JobState::Running, 4),
            job("bbbbbbbb", JobState::Paused, 2),
            job("cccccccc", JobState::Completed, 10),
        ];
        for columns in [1, 20, 40, 80, 200] {
            for rows in [1, 3, 24] {
                let text = text(jobs.iter(), true, columns, rows);
                assert!(text.lines().count() <= rows, "{text}");
                assert!(text.lines().all(|line| line.width() <= columns), "{columns}: {text}");
            }
        }
        let whole = text(jobs.iter(), true, 80, 24);
        for part in [
            "1 running, 1 paused",
            "████████████░░░░░░░░░░░░░░░░░░ 4/10 (40%)",
            "cccccccc clone-repos  completed",
        ] {
            assert!(whole.contains(part), "{part}: {whole}");
        }
    }
}
