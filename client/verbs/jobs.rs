//! Verbs about jobs that are there: show, kill, resume, retry, run again, remove.

use super::{Says, follow, print, print_json, start};
use crate::cli::{PruneArgs, ResumeArgs, ShowArgs};
use crate::connect::{self, Connection, Patience, timed};
use crate::failure::{self, Failure};
use crate::render::{self, Paint, details as detail, table};
use crate::source::Source;
use specweave_jobs::project::Project;
use specweave_jobs::v1::*;
use specweave_jobs::{environment, text};
use std::io::{IsTerminal, Write};

/// Items that are asked for at a time.
const PAGE: u32 = 1_000;

/// Does the same to each of several jobs. One that fails does not keep the others from it: the first failure decides over
/// the exit status.
async fn each<'a, F: Future<Output = Result<u8, Failure>>>(
    ids: &'a [String],
    json: bool,
    mut verb: impl FnMut(&'a String) -> F,
) -> Result<u8, Failure> {
    let mut status = 0;
    for (place, id) in ids.iter().enumerate() {
        let is_last = place + 1 == ids.len();
        let came = match verb(id).await {
            Err(failure) if is_last && status == 0 => return Err(failure),
            Err(failure) => {
                failure.print(json);
                failure.exit_status()
            }
            Ok(came) => came,
        };
        status = if status == 0 { came } else { status };
    }
    Ok(status)
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

pub async fn show(project: &Project, arguments: &ShowArgs, json: bool) -> Result<u8, Failure> {
    let mut ids = arguments.jobs.clone();
    if ids.is_empty() {
        ids.push(Source::open(project, Patience::Short).await?.id_or_only_active(project, "").await?);
    }
    each(&ids, json, |id| async move {
        if arguments.items {
            items(project, id, arguments.failed, json).await
        } else {
            details(project, id, json).await
        }
    })
    .await
}

/// Every item of a job, page by page.
async fn items(project: &Project, id: &str, only_failed: bool, json: bool) -> Result<u8, Failure> {
    let mut connection = connect_for(project, id).await?;
    let mut request = GetJobRequest { id: id.to_owned(), item_page_size: PAGE, ..Default::default() };
    if only_failed {
        request.item_states = vec![ItemState::Failed as i32];
    }
    let mut all = Vec::new();
    loop {
        let page = connection.client.get_job(timed(request.clone())).await?.into_inner();
        all.extend(page.items);
        if page.next_item_page_token.is_empty() {
            break;
        }
        request.item_page_token = page.next_item_page_token;
    }
    if json {
        print_json(&serde_json::json!({"items": all}))?;
        return Ok(0);
    }
    if all.is_empty() {
        print(if only_failed { "No item has failed.\n" } else { "The job has no items yet.\n" })?;
        return Ok(0);
    }
    let row = |item: &Item| {
        let why = item.failure.as_ref().map(|failure| text::plain(&failure.message)).unwrap_or_default();
        vec![render::item_state(item.state()).to_owned(), text::plain(&item.name), why]
    };
    print(&table(&["State", "Item", "Why"], &all.iter().map(row).collect::<Vec<_>>()))?;
    Ok(0)
}

pub async fn kill(project: &Project, ids: &[String], json: bool) -> Result<u8, Failure> {
    each(ids, json, |id| async move {
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
    })
    .await
}

pub async fn resume(project: &Project, arguments: &ResumeArgs, says: Says) -> Result<u8, Failure> {
    let ids = if arguments.all_paused { paused(project).await? } else { arguments.jobs.clone() };
    if ids.is_empty() && says == Says::Text {
        print("No job is paused.\n")?;
    }
    each(&ids, says == Says::Json, |id| resume_one(project, id, Vec::new(), arguments.follow, says)).await
}

async fn paused(project: &Project) -> Result<Vec<String>, Failure> {
    let jobs = Source::open(project, Patience::Short).await?.list(project).await?.jobs;
    Ok(jobs.into_iter().filter(|job| job.state() == JobState::Paused).map(|job| job.id).collect())
}

/// Lets a job go on; of what failed in it, only these items, or all where none is named.
pub async fn resume_one(
    project: &Project,
    id: &str,
    items: Vec<String>,
    follow: bool,
    says: Says,
) -> Result<u8, Failure> {
    let mut connection = connect_for(project, id).await?;
    let again: Vec<String> = items.iter().map(|item| text::plain(item)).collect();
    let request = ResumeJobRequest { id: id.to_owned(), environment: environment::carried(), items };
    let resumed = connect::call(project, &mut connection, |mut client| {
        let request = timed(request.clone());
        async move { client.resume_job(request).await }
    });
    let ResumeJobResponse { job, already_running, notices } = resumed.await?;
    for notice in &notices {
        eprintln!("note: {}", text::plain(notice));
    }
    let job = job.unwrap_or_default();
    let follows = follow || connect::wants_no_daemon();
    match says {
        Says::Json if follow => {}
        Says::Json => print_json(&job)?,
        Says::Id => print(&format!("{}\n", text::plain(&job.id)))?,
        Says::Text => print(&detail::resumed(&job, already_running, &again, follows))?,
    }
    if follows {
        return follow::until_over(project, connection, &job.id, None, says, false).await;
    }
    Ok(0)
}

pub async fn run_again(project: &Project, id: &str, follow: bool, says: Says) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Short).await?;
    let (job, _) = from.get(project, id).await?;
    let Some(spec) = job.spec else {
        let told = format!(
            "what job {} was to do is not known: it is SpecWeave's, or no daemon runs",
            text::plain(&job.id)
        );
        return Err(Failure::Usage(told));
    };
    let connection = connect::find_or_start(project).await?;
    start(project, connection, spec, follow || connect::wants_no_daemon(), says).await
}

pub async fn remove(project: &Project, ids: &[String], json: bool) -> Result<u8, Failure> {
    each(ids, json, |id| async move {
        let mut connection = connect_for(project, id).await?;
        let response = connection.client.remove_job(timed(RemoveJobRequest { id: id.to_owned() })).await?;
        let job = response.into_inner().job.unwrap_or_default();
        if json {
            print_json(&job)?;
        } else {
            print(&format!("Removed job {}. What it has made stays.\n", text::plain(&job.id)))?;
        }
        Ok(0)
    })
    .await
}

pub async fn prune(project: &Project, arguments: &PruneArgs, json: bool) -> Result<u8, Failure> {
    let mut connection = connect::find_or_start(project).await?;
    let mut request = PruneJobsRequest {
        keep: arguments.keep,
        older_than_seconds: arguments.older_than.map_or(0, |age| age.0.as_secs()),
        dry_run: true,
        ids: Vec::new(),
    };
    let is_asked = !arguments.yes && !arguments.dry_run;
    if is_asked && (json || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal()) {
        let told =
            "nobody can be asked here whether finished jobs are to be removed: add --yes, or --dry-run";
        return Err(Failure::Usage(told.to_owned()));
    }
    if is_asked {
        let there = connection.client.prune_jobs(timed(request.clone())).await?.into_inner().jobs;
        if there.is_empty() {
            print("No finished job is there to remove.\n")?;
            return Ok(0);
        }
        print(&listed(&there))?;
        if !confirmed(&format!("Remove {}?", finished(there.len())))? {
            print("Nothing was removed.\n")?;
            return Ok(failure::GENERAL);
        }
    }
    request.dry_run = arguments.dry_run;
    let response = connection.client.prune_jobs(timed(request)).await?.into_inner();
    if json {
        print_json(&response)?;
    } else if arguments.dry_run {
        print(&listed(&response.jobs))?;
        print(&format!("Would remove {}. Nothing was removed.\n", finished(response.jobs.len())))?;
    } else {
        print(&format!("Removed {}.\n", finished(response.jobs.len())))?;
    }
    Ok(0)
}

fn finished(count: usize) -> String {
    text::counted(count as u64, "finished job", "finished jobs")
}

fn listed(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let row = |job: &Job| {
        let state = specweave_jobs::mirror::status_word(job.state()).replace('_', " ");
        vec![text::plain(&job.id), render::type_text(job), state, render::ago(&job.completed_at)]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    format!("{}\n", table(&["Job ID", "Type", "State", "Ended"], &rows))
}

/// Asks a person at the terminal; anything but a clear yes is a no.
fn confirmed(question: &str) -> Result<bool, Failure> {
    print(&format!("{question} [y/N] "))?;
    std::io::stdout().flush().map_err(Failure::of_output)?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The daemon, for a verb about one job. A job that does not exist starts no daemon.
async fn connect_for(project: &Project, id: &str) -> Result<Connection, Failure> {
    if let Some(connection) = connect::find_awake(project, Patience::Long).await? {
        return Ok(connection);
    }
    Source::Files.get(project, id).await?;
    connect::find_or_start(project).await
}
