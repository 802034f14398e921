//! One function a verb: ask, print, say how it went.

pub mod clone;
pub mod conflicts;
pub mod daemon;
pub mod follow;
pub mod import;
pub mod sync;

use crate::connect::{self, Patience, timed};
use crate::failure::Failure;
use crate::render::list::Looks;
use crate::render::{Paint, details as detail, list as listing};
use crate::source::{self, Source};
use specweave_jobs::project::Project;
use specweave_jobs::v1::*;
use specweave_jobs::{disk, environment, text};
use std::io::Write;
use std::path::Path;

/// Lines of a log that `--logs` shows.
const LOG_LINES: u32 = 50;

/// Writes to standard output; a reader that has gone away ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| Failure::Closed)
}

pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).expect("the contract's messages serialise");
    print(&format!("{line}\n"))
}

/// Makes the folder a project, with what SpecWeave itself would write; an existing one is left as it is.
pub fn init(folder: &Path) -> Result<u8, Failure> {
    let write = |path: &Path, source| Failure::Write { path: path.to_path_buf(), source };
    let state = folder.join(".specweave/state");
    let made =
        folder.canonicalize().and_then(|real| disk::make_folders(&real.join(".specweave/state"), 0o777));
    made.map_err(|source| write(&state, source))?;
    let project = Project::find(folder)?;
    let config = project.config();
    if !disk::exists(&config) {
        let name = project.root().file_name().map(|name| name.to_string_lossy().into_owned());
        let settings = serde_json::json!({
            "version": "2.0",
            "project": {"name": name.unwrap_or_default(), "version": "0.1.0"},
            "language": "en"
        });
        let text = serde_json::to_string_pretty(&settings).expect("plain data serialises");
        disk::replace(&config, text.as_bytes(), 0o644).map_err(|source| write(&config, source))?;
    }
    print(&format!(
        "{} is a project. Start a job: specweave-jobs clone owner/repo\n",
        project.root().display()
    ))?;
    Ok(0)
}

pub async fn list(project: &Project, all: bool, json: bool) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Short).await?;
    let mut found = from.list(project).await?;
    for notice in &found.notices {
        eprintln!("note: {}", text::plain(notice));
    }
    if json {
        if !all {
            found.jobs.retain(|job| {
                matches!(job.state(), JobState::Pending | JobState::Running | JobState::Paused)
            });
        }
        print_json(&serde_json::json!({"jobs": found.jobs}))?;
        return Ok(0);
    }
    let looks_path = project.daemon().looks();
    let looks = read_looks(&looks_path);
    print(&listing::text(&found.jobs, all, &looks, Paint::for_stdout()))?;
    let seen: Looks = found.jobs.iter().filter(|job| job.state() == JobState::Running).map(done).collect();
    if seen != looks {
        // A courtesy for the next look; a folder that cannot be written costs nothing else.
        let _ = disk::replace_unsynced(&looks_path, &serde_json::to_vec(&seen).unwrap_or_default(), 0o600);
    }
    Ok(0)
}

fn done(job: &Job) -> (String, u64) {
    let progress = job.progress.clone().unwrap_or_default();
    (job.id.clone(), progress.succeeded + progress.skipped)
}

/// A few numbers a job.
const MOST_LOOKS: u64 = 1024 * 1024;

fn read_looks(path: &Path) -> Looks {
    disk::read_regular(path, MOST_LOOKS)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

pub async fn details(project: &Project, id: &str, json: bool) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Short).await?;
    let (job, failed) = from.get(project, id).await?;
    if json {
        print_json(&serde_json::json!({"job": job, "failed_items": failed}))?;
    } else {
        print(&detail::text(&job, &failed, Paint::for_stdout()))?;
    }
    Ok(0)
}

pub async fn logs(project: &Project, id: &str) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Short).await?;
    let id = from.id_or_only_active(project, id).await?;
    let (job, _) = from.get(project, &id).await?;
    let bytes = source::log_tail(project, &job.id, LOG_LINES)?;
    let lines = text::plain_lines(&String::from_utf8_lossy(&bytes));
    print(&format!("Worker Logs for {} (last {LOG_LINES} lines):\n\n{lines}", text::plain(&job.id)))?;
    if bytes.is_empty() {
        print("No log yet.\n")?;
    }
    Ok(0)
}

pub async fn kill(project: &Project, id: &str, json: bool) -> Result<u8, Failure> {
    let mut connection = connect_for(project, id).await?;
    let request = timed(KillJobRequest { id: id.to_owned() });
    let KillJobResponse { job, pid } = connection.client.kill_job(request).await?.into_inner();
    let job = job.unwrap_or_default();
    if json {
        print_json(&job)?
    } else {
        print(&detail::killed(&job, pid))?
    }
    Ok(0)
}

pub async fn resume(project: &Project, id: &str, json: bool) -> Result<u8, Failure> {
    let mut connection = connect_for(project, id).await?;
    let resumed = connect::call(project, &mut connection, |mut client| async move {
        let environment = environment::carried();
        client.resume_job(timed(ResumeJobRequest { id: id.to_owned(), environment })).await
    });
    let ResumeJobResponse { job, already_running, notices } = resumed.await?;
    for notice in &notices {
        eprintln!("note: {}", text::plain(notice));
    }
    let job = job.unwrap_or_default();
    if json {
        print_json(&job)?
    } else {
        print(&detail::resumed(&job, already_running))?
    }
    if connect::wants_no_daemon() {
        return follow::until_over(project, connection, &job.id, json).await;
    }
    Ok(0)
}

/// Asks what a request would do, and shows it.
async fn preview(
    mut connection: connect::Connection,
    spec: JobSpec,
    json: bool,
    plan: impl FnOnce(&PreviewJobResponse) -> String,
) -> Result<PreviewJobResponse, Failure> {
    // Listings of thousands of repositories take their time; the daemon bounds each request.
    let request = PreviewJobRequest { spec: Some(spec), environment: environment::carried() };
    let preview = connection.client.preview_job(request).await?.into_inner();
    if json {
        print_json(&preview)?
    } else {
        print(&plan(&preview))?
    }
    Ok(preview)
}

/// Starts a job and says so, or follows it.
pub async fn start(
    project: &Project,
    mut connection: connect::Connection,
    spec: JobSpec,
    follow: bool,
    json: bool,
) -> Result<u8, Failure> {
    let request_id = format!("{:016x}{:016x}", disk::random(), disk::random());
    let request = StartJobRequest { request_id, spec: Some(spec), environment: environment::carried() };
    let started = connect::call(project, &mut connection, |mut client| {
        let request = timed(request.clone());
        async move { client.start_job(request).await }
    });
    let job = started.await?.job.unwrap_or_default();
    let id = job.id.clone();
    match (json, follow) {
        (true, false) => print_json(&job)?,
        (true, true) => {}
        (false, _) => print(&format!("Started job {id} ({}).\n", text::plain(&job.type_name)))?,
    }
    if follow {
        return follow::until_over(project, connection, &id, json).await;
    }
    if !json {
        eprintln!("It goes on in the background. Check progress: specweave-jobs --follow {id}");
    }
    Ok(0)
}

/// The daemon, for a verb about one job. A job that does not exist starts no daemon.
async fn connect_for(project: &Project, id: &str) -> Result<connect::Connection, Failure> {
    if let Some(connection) = connect::find_awake(project, Patience::Long).await? {
        return Ok(connection);
    }
    Source::Files.get(project, id).await?;
    connect::find_or_start(project).await
}

pub async fn prune(project: &Project, keep: u32, json: bool) -> Result<u8, Failure> {
    let mut connection = connect::find_or_start(project).await?;
    let response = connection.client.prune_jobs(timed(PruneJobsRequest { keep })).await?.into_inner();
    if json {
        print_json(&response)?
    } else {
        print(&format!("Removed {} finished jobs.\n", response.removed_ids.len()))?
    }
    Ok(0)
}
