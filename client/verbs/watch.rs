//! `watch`: every job as it changes. A terminal gets a table that is drawn anew, a pipe a line a change. It outlives the
//! daemon and finds the next one; until then, what stands in the files is shown.

use super::follow::seconds;
use super::{Says, interrupted, list, print, print_json};
use crate::cli::ListArgs;
use crate::connect::{self, Patience};
use crate::failure::{self, Failure};
use crate::render::{self, screen};
use crate::source::{Listing, Source};
use specweave_jobs::clock;
use specweave_jobs::mirror::status_word;
use specweave_jobs::project::{Project, ProjectError};
use specweave_jobs::text::plain;
use specweave_jobs::v1::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;
use tonic::Streaming;

/// A daemon is looked for so often.
const LOOK: Duration = Duration::from_millis(500);

/// What counts down is drawn so often.
const TICK: Duration = Duration::from_secs(1);

pub async fn once(project: &Project, json: bool) -> Result<u8, Failure> {
    list(project, &ListArgs::default(), Says::of(json, false)).await
}

pub async fn watch(project: &Project, ends: bool, timeout: Option<f64>, json: bool) -> Result<u8, Failure> {
    let limit = seconds(timeout)?;
    let is_live = !json && !ends && std::io::stdout().is_terminal() && render::is_capable();
    let watching = async { if is_live { live(project).await } else { lines(project, ends, json).await } };
    let screen = is_live.then(Screen::open).transpose()?;
    let result = tokio::select! {
        result = tokio::time::timeout(limit, watching) => match result {
            Ok(result) => result.map(|()| 0),
            Err(_) => Ok(failure::TIMED_OUT),
        },
        () = interrupted() => Ok(failure::INTERRUPTED),
    };
    drop(screen);
    result
}

/// The terminal's other screen; what stood on the first is there again when this is dropped.
struct Screen;

impl Screen {
    fn open() -> Result<Self, Failure> {
        print("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = print("\u{1b}[?25h\u{1b}[?1049l");
    }
}

async fn live(project: &Project) -> Result<(), Failure> {
    loop {
        match changes(project).await? {
            Some(stream) => draw_changes(stream).await?,
            None => {
                let jobs = Source::Files.list(project).await?.jobs;
                draw(jobs.iter(), false)?;
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

async fn draw_changes(mut stream: Streaming<WatchJobsResponse>) -> Result<(), Failure> {
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    loop {
        tokio::select! {
            next = stream.message() => match next {
                Ok(Some(response)) => apply(&mut jobs, response),
                Ok(None) | Err(_) => return Ok(()),
            },
            () = tokio::time::sleep(TICK) => {}
        }
        draw(jobs.values(), true)?;
    }
}

fn apply(jobs: &mut BTreeMap<String, Job>, response: WatchJobsResponse) {
    match response.event {
        Some(watch_jobs_response::Event::Snapshot(all)) => {
            *jobs = all.jobs.into_iter().map(|job| (job.id.clone(), job)).collect();
        }
        Some(watch_jobs_response::Event::Changed(changed)) => {
            for id in changed.removed_ids {
                jobs.remove(&id);
            }
            jobs.extend(changed.jobs.into_iter().map(|job| (job.id.clone(), job)));
        }
        _ => {}
    }
}

fn draw<'a>(jobs: impl Iterator<Item = &'a Job>, with_daemon: bool) -> Result<(), Failure> {
    let (columns, rows) = render::terminal_size().unwrap_or((80, 24));
    let text = screen::text(jobs, with_daemon, columns, rows);
    // Each line clears what stood behind it, and the last all below: nothing flickers.
    let lines: Vec<&str> = text.lines().collect();
    print(&format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n")))
}

/// A stream of changes, if a daemon runs. Whoever watches ends with the project.
async fn changes(project: &Project) -> Result<Option<Streaming<WatchJobsResponse>>, Failure> {
    if !project.is_still_here() {
        return Err(ProjectError::Gone(project.root().to_path_buf()).into());
    }
    let found = match connect::find_awake(project, Patience::Long).await {
        // One that hangs may go on; until then it is none.
        Err(Failure::Silent(_)) => None,
        found => found?,
    };
    let Some(mut connection) = found else { return Ok(None) };
    match connection.client.watch_jobs(WatchJobsRequest::default()).await {
        Ok(stream) => Ok(Some(stream.into_inner())),
        Err(status) => match Failure::from(status) {
            broken if broken.exit_status() == failure::UNREACHABLE => Ok(None),
            refused => Err(refused),
        },
    }
}

async fn lines(project: &Project, ends: bool, json: bool) -> Result<(), Failure> {
    // Jobs of which it is known that they are over; `None` before the first look.
    let mut over: Option<BTreeSet<String>> = None;
    let mut tell = |response| match (ends, json) {
        (true, _) => show_ends(response, &mut over, json),
        (false, true) => print_json(&response),
        (false, false) => show(response),
    };
    // What the files said last, as long as no daemon says more.
    let mut told: Option<Vec<Job>> = None;
    loop {
        if let Some(mut stream) = changes(project).await? {
            told = None;
            while let Ok(Some(response)) = stream.message().await {
                tell(response)?;
            }
            continue;
        }
        // A list that cannot be read is somebody's who may mend it.
        if let Ok(Listing { jobs, .. }) = Source::Files.list(project).await
            && told.as_ref() != Some(&jobs)
        {
            let event = watch_jobs_response::Event::Snapshot(JobList { jobs: jobs.clone() });
            tell(WatchJobsResponse { event: Some(event), ..WatchJobsResponse::default() })?;
            told = Some(jobs);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells of jobs that have come to their end, or wait for a person, since they were looked at last: also of those that were over
/// before anybody saw them begin.
fn show_ends(
    response: WatchJobsResponse,
    over: &mut Option<BTreeSet<String>>,
    json: bool,
) -> Result<(), Failure> {
    let mut jobs = match response.event {
        Some(watch_jobs_response::Event::Snapshot(all)) => all.jobs,
        Some(watch_jobs_response::Event::Changed(changes)) => changes.jobs,
        _ => return Ok(()),
    };
    // Several may have ended between two messages.
    jobs.sort_by_key(|job| job.updated_at.as_ref().map_or(0, clock::millis));
    let is_first = over.is_none();
    let known = over.get_or_insert_default();
    for job in jobs {
        let goes_on = job.pause.as_ref().is_some_and(|pause| pause.resume_at.is_some());
        let is_over = !matches!(job.state(), JobState::Pending | JobState::Running) && !goes_on;
        if !is_over {
            known.remove(&job.id);
        } else if known.insert(job.id.clone()) && !is_first {
            if json { print_json(&job)? } else { print(&screen::end(&job))? }
        }
    }
    Ok(())
}

fn show(response: WatchJobsResponse) -> Result<(), Failure> {
    let (jobs, removed) = match response.event {
        Some(watch_jobs_response::Event::Snapshot(all)) => (all.jobs, Vec::new()),
        Some(watch_jobs_response::Event::Changed(changes)) => (changes.jobs, changes.removed_ids),
        _ => return Ok(()),
    };
    let now = chrono::Local::now().format("%H:%M:%S");
    for job in jobs {
        let progress = job.progress.clone().unwrap_or_default();
        let told = [
            plain(&job.id),
            plain(&job.type_name),
            format!("{}:", status_word(job.state())),
            render::progress_text(&progress),
            plain(&progress.current_item),
        ];
        print(&format!("[{now}] {}\n", told.join(" ").trim_end()))?;
    }
    for id in removed {
        print(&format!("[{now}] {} was removed\n", plain(&id)))?;
    }
    Ok(())
}
