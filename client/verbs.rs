//! One function a verb: ask, print, say how it went.

pub mod clone;
pub mod conflicts;
pub mod daemon;
pub mod follow;
pub mod hook;
pub mod import;
pub mod init;
pub mod jobs;
pub mod logs;
pub mod man;
pub mod service;
pub mod sync;
pub mod watch;

use crate::cli::{ListArgs, TermsArgs};
use crate::connect::{self, Patience, timed};
use crate::defaults::Defaults;
use crate::failure::Failure;
use crate::gitignore;
use crate::render::list::Looks;
use crate::render::{self, Paint, list as listing};
use crate::source::Source;
use specweave_jobs::project::Project;
use specweave_jobs::v1::*;
use specweave_jobs::{disk, environment, mirror, text};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// How a verb answers that starts a job or lets one go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Text,
    Json,
    /// Its id, and nothing else.
    Id,
}

impl Says {
    pub fn of(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Id,
            (false, false) => Self::Text,
        }
    }
}

/// Writes to standard output; a reader that has gone away ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&render::with_prefix(text))
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::of_output)
}

/// Waits until somebody presses Ctrl-C. A terminal throws away what is written in the same moment: what is said next comes a
/// little later.
pub async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
    if std::io::stdout().is_terminal() {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).expect("the contract's messages serialise");
    write(&format!("{line}\n"))
}

/// The lines that a shell reads at its start, so that it asks this program what could be typed next.
pub fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    const NAME: &str = "specweave-jobs";
    let shells = clap_complete::env::Shells::builtins();
    let known = shells.completer(&shell.to_string());
    let known = known.ok_or_else(|| Failure::Usage(format!("{shell} is no shell that is known")))?;
    let mut script = Vec::new();
    let written = known.write_registration("COMPLETE", NAME, NAME, NAME, &mut script);
    written.expect("memory takes what is written to it");
    write(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub async fn list(project: &Project, arguments: &ListArgs, says: Says) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Short).await?;
    let mut found = from.list(project).await?;
    for notice in &found.notices {
        eprintln!("note: {}", text::plain(notice));
    }
    let seen: Looks = found.jobs.iter().filter(|job| job.state() == JobState::Running).map(done).collect();
    let is_of = |wanted: &[String], word: &str| wanted.is_empty() || wanted.iter().any(|one| one == word);
    found.jobs.retain(|job| is_of(&arguments.types, &job.type_name));
    found.jobs.retain(|job| is_of(&arguments.state, mirror::status_word(job.state())));
    if arguments.line {
        print(&render::screen::line(&found.jobs))?;
        return Ok(0);
    }
    // Whoever asks for a state means the finished jobs in it, too.
    let all = arguments.all || !arguments.state.is_empty();
    if !all && says != Says::Text {
        found.jobs.retain(|job| mirror::is_active(job.state()));
    }
    if says == Says::Id {
        let ids: String = found.jobs.iter().map(|job| format!("{}\n", text::plain(&job.id))).collect();
        print(&ids)?;
        return Ok(0);
    }
    if says == Says::Json {
        print_json(&serde_json::json!({"jobs": found.jobs}))?;
        return Ok(0);
    }
    let looks_path = project.daemon().looks();
    let looks = read_looks(&looks_path);
    print(&listing::text(&found.jobs, all, &looks, Paint::for_stdout()))?;
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

/// A request without its work: when it is done again, and who hears of its end.
fn job_spec(terms: &TermsArgs, defaults: &Defaults) -> Result<JobSpec, Failure> {
    let every_seconds = match terms.every {
        None => 0,
        Some(every) if every.0.is_zero() => {
            return Err(Failure::Usage("--every takes a span of time, such as 30m, and not none".into()));
        }
        Some(_) if connect::wants_no_daemon() => {
            return Err(Failure::Usage(
                "--every needs a daemon that stays, and SPECWEAVE_JOBS_NO_DAEMON is set".into(),
            ));
        }
        Some(every) => every.0.as_secs(),
    };
    Ok(JobSpec {
        work: None,
        every_seconds,
        on_finish: terms.on_finish.clone().or(defaults.on_finish.clone()).unwrap_or_default(),
        notify: terms.notify || defaults.notify == Some(true),
    })
}

/// Asks what a request would do, and shows it.
async fn preview(
    mut connection: connect::Connection,
    spec: JobSpec,
    says: Says,
    plan: impl FnOnce(&PreviewJobResponse) -> String,
) -> Result<PreviewJobResponse, Failure> {
    // Listings of thousands of repositories take their time; the daemon bounds each request.
    let request = PreviewJobRequest { spec: Some(spec), environment: environment::carried() };
    let preview = connection.client.preview_job(request).await?.into_inner();
    if says == Says::Json {
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
    says: Says,
) -> Result<u8, Failure> {
    let (every_seconds, notify) = (spec.every_seconds, spec.notify);
    let is_first = disk::read_folder(&project.jobs()).is_ok_and(|jobs| jobs.is_empty());
    let request_id = format!("{:016x}{:016x}", disk::random(), disk::random());
    let request = StartJobRequest { request_id, spec: Some(spec), environment: environment::carried() };
    let started = connect::call(project, &mut connection, |mut client| {
        let request = timed(request.clone());
        async move { client.start_job(request).await }
    });
    let job = started.await?.job.unwrap_or_default();
    let id = job.id.clone();
    match (says, follow) {
        (Says::Json, false) => print_json(&job)?,
        (Says::Json, true) => {}
        (Says::Id, _) => print(&format!("{}\n", text::plain(&id)))?,
        (Says::Text, _) => print(&format!("Started job {id} ({}).\n", text::plain(&job.type_name)))?,
    }
    // Said once, when there is something to leave alone for the first time.
    if is_first && says == Says::Text {
        let missing = gitignore::missing(project);
        if !missing.is_empty() {
            eprintln!(
                "note: git does not ignore {}; specweave-jobs init adds that to .gitignore",
                missing.join(" and ")
            );
        }
    }
    if follow {
        return follow::until_over(project, connection, &id, None, says, notify).await;
    }
    if says == Says::Text && every_seconds > 0 {
        eprintln!(
            "It is done again every {}. To end that: specweave-jobs kill {id}",
            render::interval(every_seconds)
        );
    } else if says == Says::Text {
        eprintln!("It goes on in the background. Check progress: specweave-jobs --follow {id}");
    }
    Ok(0)
}
