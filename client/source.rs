//! Where jobs are read from: the daemon if one answers, else the documented files. Both give the same
//! messages, so that nothing else needs to know.

use crate::connect::{self, Connection, Patience, timed};
use crate::failure::Failure;
use serde_json::Value;
use specweave_jobs::mirror::{self, Document, from_entries};
use specweave_jobs::project::{JobFiles, JobId, Project};
use specweave_jobs::v1::*;
use specweave_jobs::{clock, disk, tail, v1};

/// Failed items that a detailed view shows.
const FAILED_SHOWN: u32 = 50;

/// A result larger than this is not ours.
const MOST_RESULT: u64 = 256 * 1024 * 1024;

pub enum Source {
    Daemon(Box<Connection>),
    Files,
    /// The files, of a daemon that may well run, but may not be talked to from in here.
    FilesAlone,
}

/// What a listing shows.
pub struct Listing {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// What the daemon set right, for people.
    pub notices: Vec<String>,
}

impl Source {
    /// Looks for a daemon; one that hangs is reported and passed by.
    pub async fn open(project: &Project, patience: Patience) -> Result<Self, Failure> {
        match connect::find_awake(project, patience).await {
            Ok(Some(connection)) => Ok(Self::Daemon(Box::new(connection))),
            Ok(None) => Ok(Self::Files),
            Err(error @ (Failure::Silent(_) | Failure::Broke)) => {
                eprintln!("note: {error}; showing what it wrote last");
                Ok(Self::Files)
            }
            // What the files tell is true all the same, as far as it was written.
            Err(error @ Failure::NoSockets { .. }) => {
                eprintln!("note: {error}; showing what the daemon, if one runs, wrote last");
                Ok(Self::FilesAlone)
            }
            Err(error) => Err(error),
        }
    }

    pub async fn list(&mut self, project: &Project) -> Result<Listing, Failure> {
        match self {
            Self::Daemon(connection) => {
                let request = timed(ListJobsRequest { page_size: 1_000, ..Default::default() });
                let listing = connection.client.list_jobs(request).await;
                match listing.map_err(Failure::from) {
                    Ok(response) => {
                        let ListJobsResponse { jobs, notices, .. } = response.into_inner();
                        Ok(Listing { jobs, notices })
                    }
                    // It stopped, or hangs: what it wrote last still stands.
                    Err(error) if error.exit_status() == crate::failure::UNREACHABLE => {
                        eprintln!("note: {error}; showing what it wrote last");
                        *self = Self::Files;
                        from_files(project)
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Files | Self::FilesAlone => from_files(project),
        }
    }

    /// One job, with its first failed items and, where a daemon knows that, what it was to do.
    pub async fn get(&mut self, project: &Project, wanted: &str) -> Result<(Job, Vec<Item>), Failure> {
        if let Self::Daemon(connection) = self {
            let request = timed(GetJobRequest {
                id: wanted.to_owned(),
                item_page_size: FAILED_SHOWN,
                item_states: vec![ItemState::Failed as i32],
                with_spec: true,
                ..Default::default()
            });
            let response = connection.client.get_job(request).await.map_err(Failure::from);
            match response {
                Ok(response) => {
                    let GetJobResponse { job, items, .. } = response.into_inner();
                    return Ok((job.unwrap_or_default(), items));
                }
                Err(error) if error.exit_status() != crate::failure::UNREACHABLE => return Err(error),
                Err(error) => eprintln!("note: {error}; showing what it wrote last"),
            }
            *self = Self::Files;
        }
        let job = choose(from_files(project)?.jobs, wanted)?;
        let files = JobId::parse(&job.id).map(|id| project.job(&id));
        let failed = files.map(|files| failed_in_result(&files)).unwrap_or_default();
        Ok((job, failed))
    }

    /// The id that a person means: what they typed, or if they typed nothing the only active job, or the last one.
    pub async fn id_or_only_active(&mut self, project: &Project, wanted: &str) -> Result<String, Failure> {
        if !wanted.is_empty() {
            return Ok(wanted.to_owned());
        }
        let active = |job: &Job| mirror::is_active(job.state());
        // The newest stands first.
        let jobs = self.list(project).await?.jobs;
        let last = jobs.first().map(|job| job.id.clone());
        let mut ids: Vec<String> = jobs.into_iter().filter(active).map(|job| job.id).collect();
        match (ids.len(), last) {
            (1, _) => Ok(ids.remove(0)),
            (0, Some(last)) => Ok(last),
            (0, None) => Err(Failure::NoSuchJob { wanted: String::new(), known: Vec::new() }),
            _ => Err(Failure::Ambiguous { wanted: String::new(), candidates: ids }),
        }
    }
}

fn from_files(project: &Project) -> Result<Listing, Failure> {
    let document = Document::read(&project.background_jobs())?;
    let brownfield = mirror::brownfield(project);
    let mut jobs: Vec<Job> = from_entries(document.jobs.iter().chain(&brownfield), project);
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started_at.as_ref().map_or(0, clock::millis)));
    Ok(Listing { jobs, notices: Vec::new() })
}

fn choose(jobs: Vec<Job>, wanted: &str) -> Result<Job, Failure> {
    let known = || jobs.iter().map(|job| job.id.clone()).collect();
    let fits: Vec<&Job> =
        jobs.iter().filter(|job| !wanted.is_empty() && job.id.starts_with(wanted)).collect();
    if let Some(exact) = fits.iter().find(|job| job.id == wanted) {
        return Ok((*exact).clone());
    }
    match fits[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::NoSuchJob { wanted: wanted.to_owned(), known: known() }),
        _ => {
            let candidates = fits.iter().map(|job| job.id.clone()).collect();
            Err(Failure::Ambiguous { wanted: wanted.to_owned(), candidates })
        }
    }
}

fn failed_in_result(files: &JobFiles) -> Vec<Item> {
    let result: Value = disk::read_regular(&files.result(), MOST_RESULT)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("").to_owned();
    let failed = result["failedRepos"].as_array().into_iter().flatten();
    let item = |entry: &Value| Item {
        name: text(entry, "name"),
        state: ItemState::Failed as i32,
        failure: Some(v1::Failure {
            reason: FailureReason::of_word(&text(entry, "reason")) as i32,
            message: text(entry, "error"),
            ..v1::Failure::default()
        }),
        ..Item::default()
    };
    failed.take(FAILED_SHOWN as usize).map(item).collect()
}

/// A part of a log.
#[derive(Default)]
pub struct LogPart {
    pub bytes: Vec<u8>,
    /// The byte behind it.
    pub end: u64,
}

/// So much of a log is shown at most: its end.
const MOST_LOG: u64 = 16 * 1024 * 1024;

/// The last lines of a job's log. The log is a file of this machine: no daemon is needed to read it.
pub fn log_tail(project: &Project, id: &str, lines: u32) -> Result<LogPart, Failure> {
    let Some(id) = JobId::parse(id) else { return Ok(LogPart::default()) };
    let path = project.job(&id).log();
    let read = || -> std::io::Result<LogPart> {
        use std::io::{Read, Seek, SeekFrom};
        let offset = tail::offset_of_last_lines(&path, lines)?;
        let mut file = match disk::open_regular(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(LogPart::default()),
            file => file?,
        };
        let offset = offset.max(file.metadata()?.len().saturating_sub(MOST_LOG));
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(MOST_LOG).read_to_end(&mut bytes)?;
        Ok(LogPart { end: offset + bytes.len() as u64, bytes })
    };
    read().map_err(|source| Failure::Read { path: path.clone(), source })
}
