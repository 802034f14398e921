//! A job as it goes: a bar where a terminal watches, plain lines where a pipe does. Drawing never holds up
//! the stream: only the newest state is drawn.

use super::terminal::Taskbar;
use super::*;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// A pipe gets a line at most this often, and for every change of state.
const LINE_GAP: Duration = Duration::from_secs(1);

pub enum View {
    Bar(ProgressBar, Taskbar),
    Lines { last: Option<(Instant, JobState, String)> },
}

impl View {
    pub fn new() -> Self {
        if !io::stdout().is_terminal() || !is_capable() {
            return Self::Lines { last: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
        Self::Bar(bar, Taskbar::of_environment())
    }

    /// Shows the job as it is now.
    pub fn show(&mut self, job: &Job) -> io::Result<()> {
        let progress = job.progress.clone().unwrap_or_default();
        match self {
            Self::Bar(bar, taskbar) => {
                // A terminal may have another size by now.
                bar.set_style(style(terminal_size().map_or(80, |(columns, _)| columns)));
                bar.set_length(100);
                bar.set_position(progress.percentage.into());
                bar.set_prefix(progress_text(&progress));
                bar.set_message(bar_message(job, &progress));
                taskbar.show(job.state(), &progress)
            }
            Self::Lines { last } => {
                let line =
                    format!("Progress: {} → {}", progress_text(&progress), line_message(job, &progress));
                let due = match last {
                    None => true,
                    Some((_, state, _)) if *state != job.state() => true,
                    Some((at, _, shown)) => at.elapsed() >= LINE_GAP && *shown != line,
                };
                if due {
                    let now = chrono::Local::now().format("%H:%M:%S");
                    writeln!(io::stdout(), "[{now}] {line}")?;
                    *last = Some((Instant::now(), job.state(), line));
                }
                Ok(())
            }
        }
    }

    /// Leaves the terminal as a reader expects it.
    pub fn close(&mut self) {
        if let Self::Bar(bar, taskbar) = self {
            bar.abandon();
            taskbar.clear();
        }
    }
}

/// A line that fits: the narrower the terminal, the less of a bar.
fn style(columns: usize) -> ProgressStyle {
    let template = match columns {
        70.. => "{bar:30} {prefix} {wide_msg}",
        40..70 => "{bar:10} {prefix} {wide_msg}",
        24..40 => "{prefix} {wide_msg}",
        _ => "{percent}% {wide_msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("█▉▊▋▌▍▎▏░")
}

pub(super) fn bar_message(job: &Job, progress: &Progress) -> String {
    if let Some(pause) = &job.pause {
        return pause_text(pause);
    }
    let mut parts = vec![at_work(progress)];
    if progress.rate > 0.0 {
        parts.push(rate_text(progress));
    }
    if progress.eta_seconds.is_some() {
        parts.push(format!("ETA {}", eta_text(progress)));
    }
    if progress.failed > 0 {
        parts.push(format!("{} failed", progress.failed));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn line_message(job: &Job, progress: &Progress) -> String {
    match &job.pause {
        Some(pause) => pause_text(pause),
        None => match at_work(progress) {
            nothing if nothing.is_empty() => mirror::status_word(job.state()).replace('_', " "),
            item => item,
        },
    }
}

/// An item from so many bytes on is worth to be named for as long as it takes.
const LARGE: u64 = 4_000_000;

/// The item that was touched last, or a large one that is under way.
fn at_work(progress: &Progress) -> String {
    let largest = progress.active.iter().max_by_key(|item| item.received_bytes);
    match largest.filter(|item| item.received_bytes >= LARGE) {
        Some(item) => {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            let (came, speed) = (megabytes(item.received_bytes), megabytes(item.bytes_per_second));
            format!("{} {came:.0} MB, {speed:.1} MB/s", plain(&item.name))
        }
        None => plain(&progress.current_item),
    }
}
