//! Messages as people read them, in the documented shapes. Every function here makes text from values; only
//! [`follow`] draws on a terminal.

pub mod details;
pub mod follow;
pub mod list;
pub mod screen;
pub mod terminal;

use specweave_jobs::text::{plain, thousands};
use specweave_jobs::v1::*;
use specweave_jobs::{clock, mirror};
use std::io::IsTerminal;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a failure says; nothing where there is none.
fn message(failure: Option<&Failure>) -> &str {
    failure.map_or("", |failure| &failure.message)
}

/// The same text with the commands in it as they are typed where `SPECWEAVE_JOBS_HINT_PREFIX` says so, such as
/// `/specweave:jobs` within Claude Code.
pub fn with_prefix(text: &str) -> std::borrow::Cow<'_, str> {
    match std::env::var("SPECWEAVE_JOBS_HINT_PREFIX") {
        Ok(prefix) if !prefix.is_empty() => {
            text.replace("specweave-jobs ", &format!("{} ", plain(&prefix))).into()
        }
        _ => text.into(),
    }
}

/// Whether words may be coloured. Colour only repeats what a word says.
#[derive(Clone, Copy)]
pub struct Paint(bool);

/// Whether a terminal can do more than take lines.
pub fn is_capable() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns and rows of the terminal that standard output is, if it is one.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row.max(1))))
}

impl Paint {
    pub fn for_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && is_capable() && !no_color)
    }

    fn paint(self, code: &str, word: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }

    pub fn heading(self, state: JobState, word: &str) -> String {
        let code = match state {
            JobState::Running | JobState::Pending => "1;36",
            JobState::Paused | JobState::CompletedWithWarnings => "1;33",
            JobState::Failed => "1;31",
            _ => "1;32",
        };
        self.paint(code, word)
    }
}

/// `1,234/10,000 (12%)`, or what the worker does while there are no items.
pub fn progress_text(progress: &Progress) -> String {
    if progress.total == 0 && !progress.phase.is_empty() {
        return format!("{}...", progress.phase);
    }
    let counts = format!("{}/{}", thousands(progress.current), thousands(progress.total));
    format!("{counts} ({}%)", progress.percentage)
}

/// `0.1/s`.
pub fn rate_text(progress: &Progress) -> String {
    match progress.rate {
        rate if rate <= 0.0 => "-".into(),
        rate if rate < 0.05 => format!("{:.1}/min", rate * 60.0),
        rate => format!("{rate:.1}/s"),
    }
}

/// `~15 min`; `-` while unknown.
pub fn eta_text(progress: &Progress) -> String {
    progress.eta_seconds.map_or("-".into(), |seconds| format!("~{}", span(seconds)))
}

/// `45s`, `15 min`, `3h 7m`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=89 => format!("{seconds}s"),
        90..=5_399 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Seconds since a moment; 0 for one in the future.
pub fn seconds_since(at: &Option<prost_types::Timestamp>) -> u64 {
    let at = at.as_ref().map_or(0, clock::millis);
    (clock::now() - at).max(0) as u64 / 1000
}

/// Seconds between two moments; 0 where they stand the other way round.
pub fn seconds_between(from: &Option<prost_types::Timestamp>, to: &Option<prost_types::Timestamp>) -> u64 {
    let at = |moment: &Option<prost_types::Timestamp>| moment.as_ref().map_or(0, clock::millis);
    (at(to) - at(from)).max(0) as u64 / 1000
}

/// `just now`, `~23 min ago`.
pub fn about_ago(at: &Option<prost_types::Timestamp>) -> String {
    match seconds_since(at) {
        0..=59 => "just now".into(),
        seconds => format!("~{} ago", span(seconds)),
    }
}

/// `just now`, `5 mins ago`, `2 hours ago`.
pub fn ago(at: &Option<prost_types::Timestamp>) -> String {
    let seconds = seconds_since(at);
    let (count, unit) = match seconds {
        0..=59 => return "just now".into(),
        60..=3_599 => (seconds / 60, "min"),
        3_600..=86_399 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// `2024-01-15 10:30:00`, local.
pub fn local(at: &Option<prost_types::Timestamp>) -> String {
    let at = at.as_ref().map_or(0, clock::millis);
    let moment = chrono::DateTime::from_timestamp_millis(at).unwrap_or_default();
    moment.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `Rate limited (resumes in 45s)`.
pub fn pause_text(pause: &Pause) -> String {
    let message = plain(&pause.message);
    match &pause.resume_at {
        None => message,
        Some(at) => {
            let left = (clock::millis(at) - clock::now()).max(0) as u64 / 1000;
            format!("{message} (resumes in {})", span(left))
        }
    }
}

/// `in 23 min`, of a job that waits for its next time.
pub fn next_in(job: &Job) -> Option<String> {
    let next_at = job.schedule.as_ref()?.next_at.as_ref()?;
    let left = (clock::millis(next_at) - clock::now()).max(0) as u64 / 1000;
    Some(if left == 0 { "now".to_owned() } else { format!("in {}", span(left)) })
}

/// `30 min`, `1 hour`, `2 days`: as somebody has asked for it.
pub fn interval(seconds: u64) -> String {
    let (count, one, many) = match seconds {
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day", "days"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour", "hours"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "min", "min"),
        _ => (seconds, "s", "s"),
    };
    specweave_jobs::text::counted(count, one, many)
}

/// `in 23 min (every 30 min)`, of a job that waits for its next time.
pub fn next_time(job: &Job) -> Option<String> {
    let every = job.schedule.as_ref()?.every_seconds;
    Some(format!("{} (every {})", next_in(job)?, interval(every)))
}

/// How a job stands, or of one that waits for its next time, how the last one ended.
pub fn last_state(job: &Job) -> JobState {
    match (job.state(), &job.schedule) {
        (JobState::Scheduled, Some(schedule)) => schedule.last_state(),
        (state, _) => state,
    }
}

/// What became of a worker that should be there: `dead (process 1234)`.
pub fn worker_text(job: &Job) -> String {
    match (job.pid, job.state()) {
        (0, JobState::Pending) => "none; it was never started, or is about to be".to_owned(),
        (0, _) => "dead".to_owned(),
        (pid, _) => format!("dead (process {pid})"),
    }
}

/// What to do about a job whose worker is dead.
pub fn way_out(job: &Job) -> String {
    let id = plain(&job.id);
    if mirror::can_go_on(job) {
        format!("go on with: specweave-jobs --resume {id}")
    } else {
        format!("mark it as paused with: specweave-jobs --kill {id}")
    }
}

/// `item 5,000 of 10,000`; nothing of a job that failed before it had any.
pub fn failed_at(progress: &Progress) -> Option<String> {
    let place = || format!("item {} of {}", thousands(progress.current), thousands(progress.total));
    (progress.total > 0).then(place)
}

/// Whether a new token is what a failed job needs.
pub fn needs_a_token(job: &Job) -> bool {
    job.failure.as_ref().is_some_and(|failure| failure.reason() == FailureReason::Authentication)
}

/// `repo` and `repositories`, or `item` and `items`.
pub fn item_words(job: &Job) -> (&'static str, &'static str) {
    mirror::item_words(job.r#type())
}

/// `clone-repos`, or `import-issues (GitHub)`.
pub fn type_text(job: &Job) -> String {
    let provider = match job.provider.as_str() {
        "github" => "GitHub",
        "jira" => "JIRA",
        "ado" => "Azure DevOps",
        _ => return plain(&job.type_name),
    };
    format!("{} ({provider})", plain(&job.type_name))
}

/// `done`, as lists of items have it.
pub fn item_state(state: ItemState) -> &'static str {
    match state {
        ItemState::Waiting => "waiting",
        ItemState::Done => "done",
        ItemState::Skipped => "skipped",
        ItemState::Failed => "failed",
        ItemState::Unspecified => "unknown",
    }
}

/// The documented table: columns as wide as their widest cell. In a terminal it fits: long cells lose their middle, and
/// where that would leave too little of them, each row becomes a block of lines. A pipe gets everything.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    table_within(header, rows, terminal_size().map(|(columns, _)| columns))
}

/// A column is not made narrower.
const LEAST_COLUMN: usize = 8;

fn table_within(header: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.chain([header[column].width()]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..header.len()).map(width).collect();
    if let Some(columns) = columns {
        let frame = 3 * widths.len() + 1;
        let least: usize = widths.iter().map(|width| (*width).min(LEAST_COLUMN)).sum();
        if least + frame > columns {
            return blocks(header, rows, columns);
        }
        while widths.iter().sum::<usize>() + frame > columns {
            let widest = widths.iter_mut().max().expect("a table has columns");
            *widest -= 1;
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| {
            let cell = shortened(cell, *width);
            format!(" {cell}{} |", " ".repeat(width.saturating_sub(cell.width())))
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let mut out = line(&mut header.iter().copied());
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    out.push_str(&format!("|{rule}\n"));
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// Each row as lines, for a terminal that is too narrow for columns.
fn blocks(header: &[&str], rows: &[Vec<String>], columns: usize) -> String {
    let block = |row: &Vec<String>| -> String {
        let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        cells.map(|(name, cell)| format!("{}\n", shortened(&format!("{name}: {cell}"), columns))).collect()
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// A text of at most so many columns; a longer one loses its middle, as names differ at both ends.
pub fn shortened(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let head = taken(text.chars(), room.div_ceil(2));
    let tail: String = taken(text.chars().rev(), room / 2).chars().rev().collect();
    taken(format!("{head}…{tail}").chars(), columns)
}

/// A text of at most so many columns; a longer one loses its end.
pub fn shortened_end(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    taken(format!("{}…", taken(text.chars(), columns.saturating_sub(1))).chars(), columns)
}

fn taken(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod shown_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let shown = [45, 90, 1_380, 7_300].map(span);
        assert_eq!(shown, ["45s", "2 min", "23 min", "2h 1m"]);
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cell() {
        let text = table(&["Id", "N"], &[vec!["ae362dfe".into(), "é".into()], vec!["b".into(), "22".into()]]);
        assert_eq!(text, "| Id       | N  |\n|----------|----|\n| ae362dfe | é  |\n| b        | 22 |\n");
    }

    #[test]
    fn a_table_fits_any_terminal_and_a_pipe_gets_all_of_it() {
        let long = "acme/a-repository-with-a-very-long-name-indeed-and-more-of-it".to_owned();
        let rows = [vec![
            "ae362dfe".to_owned(),
            "clone-repos".to_owned(),
            long.clone(),
            "漢字漢字漢字漢字漢字".to_owned(),
        ]];
        let header = ["Job ID", "Type", "Current Item", "Rate"];
        for columns in [20, 40, 60, 80, 200] {
            let text = table_within(&header, &rows, Some(columns));
            assert!(text.lines().all(|line| line.width() <= columns), "{columns}:\n{text}");
            assert!(text.contains("ae362dfe"), "{text}");
        }
        assert!(table_within(&header, &rows, Some(80)).contains("acme/a-re"));
        assert!(table_within(&header, &rows, Some(20)).starts_with("Job ID: ae362dfe\n"));
        assert!(table_within(&header, &rows, None).contains(&long));
        assert_eq!(
            (shortened("abcdef", 5), shortened("abcdef", 1), shortened_end("abcdef", 3)),
            ("ab…ef".into(), "…".into(), "ab…".into())
        );
    }
}
