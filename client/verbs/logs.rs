//! `logs`: the end of a job's log, and what is added to it. The log is a file of this machine; a daemon is only needed to go
//! on with it.

use super::print;
use crate::cli::LogsArgs;
use crate::connect::{self, Patience};
use crate::failure::Failure;
use crate::source::{self, LogPart, Source};
use crate::when::Since;
use specweave_jobs::mirror;
use specweave_jobs::project::Project;
use specweave_jobs::text;
use specweave_jobs::v1::*;

/// Lines that are shown where nobody says how many.
const LINES: u32 = 50;

pub async fn logs(project: &Project, arguments: &LogsArgs, json: bool) -> Result<u8, Failure> {
    if json {
        return Err(Failure::Usage("a log is lines of text: it has no JSON".into()));
    }
    let mut from = Source::open(project, Patience::Short).await?;
    let id = from.id_or_only_active(project, arguments.job.as_deref().unwrap_or_default()).await?;
    let (job, _) = from.get(project, &id).await?;
    let wanted = match (arguments.lines, arguments.since) {
        (None, None) => Some(LINES),
        (lines, _) => lines,
    };
    let LogPart { bytes, end } = source::log_tail(project, &job.id, wanted.unwrap_or(u32::MAX))?;
    let shown = text::plain_lines(&String::from_utf8_lossy(&bytes));
    let shown = arguments.since.map_or(shown.clone(), |since| lines_since(&shown, since));
    let which = match (wanted, arguments.since) {
        (Some(count), None) => format!("last {count} lines"),
        (Some(count), Some(_)) => format!("of the last {count} lines, those since then"),
        (None, _) => "since then".to_owned(),
    };
    print(&format!("Worker Logs for {} ({which}):\n\n{shown}", text::plain(&job.id)))?;
    if bytes.is_empty() && !arguments.follow {
        print("No log yet.\n")?;
    }
    if !arguments.follow || !mirror::is_active(job.state()) {
        return Ok(0);
    }
    match from {
        Source::Daemon(connection) if !job.foreign => {
            let going_on = go_on(*connection, &job.id, end);
            tokio::select! {
                result = going_on => result.map(|()| 0),
                _ = tokio::signal::ctrl_c() => Ok(crate::failure::INTERRUPTED),
            }
        }
        _ => Err(Failure::NoDaemon),
    }
}

/// The lines from a moment on. A line without one belongs to the line before it.
fn lines_since(lines: &str, since: Since) -> String {
    let mut is_due = false;
    let moment = |line: &str| {
        let (at, _) = line.strip_prefix('[')?.split_once(']')?;
        Some(chrono::DateTime::parse_from_rfc3339(at).ok()?.timestamp_millis())
    };
    let due = lines.split_inclusive('\n').filter(|line| {
        if let Some(at) = moment(line) {
            is_due = at >= since.0;
        }
        is_due
    });
    due.collect()
}

/// Prints what is added to a log until the job has ended, line by line: a character may be split between two messages.
async fn go_on(mut connection: connect::Connection, id: &str, offset: u64) -> Result<(), Failure> {
    let request = TailLogRequest { id: id.to_owned(), offset, follow: true, ..Default::default() };
    let mut stream = connection.client.tail_log(request).await?.into_inner();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(TailLogResponse { chunk, .. }) = stream.message().await? {
        rest.extend_from_slice(&chunk);
        if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = rest.drain(..=end).collect();
            print(&text::plain_lines(&String::from_utf8_lossy(&lines)))?;
        }
    }
    print(&text::plain_lines(&String::from_utf8_lossy(&rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_since_a_moment_bring_along_what_belongs_to_them() {
        let log =
            "[2026-01-01T00:00:00.000Z] old\n  more of old\n[2026-01-01T00:00:02.000Z] new\n  more of new\n";
        let since = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(lines_since(log, since), "[2026-01-01T00:00:02.000Z] new\n  more of new\n");
        assert_eq!(lines_since("no moment\n", since), "");
    }
}
