//! A daemon's first act: read every journal, and let jobs that ran when the last daemon died go on.

use super::{Keeper, MOST_FRUITLESS_RUNS};
use crate::job::snapshot::Entry;
use crate::job::{Event, PauseReason, State};
use crate::store::journal::{Journal, JournalError, Replay};
use crate::store::mac::PlaceKey;
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project, UNNAMED};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

impl Keeper {
    pub(super) fn load(&mut self) {
        // The mirror looks at the file at least once: it may tell of jobs that are gone.
        self.snapshot.revision += 1;
        clear_leftovers(&self.project);
        let Ok(folders) = disk::read_folder(&self.project.jobs()) else { return };
        // What a link leads to is not this project's.
        let folders = folders.into_iter().filter(|(_, kind)| *kind == disk::Kind::Folder);
        let ids = folders.filter_map(|(name, _)| JobId::parse(&name));
        let mut ids: Vec<JobId> = ids.collect();
        ids.sort();
        for (id, read) in read_all(&self.project, &self.key, &ids) {
            self.load_job(id, read);
        }
        self.retain();
        let interrupted: Vec<JobId> = self
            .snapshot
            .jobs
            .values()
            .filter(|entry| goes_on(&entry.job.state))
            .map(|entry| entry.job.id.clone())
            .collect();
        for id in interrupted {
            self.go_on(&id);
        }
    }

    fn load_job(&mut self, id: JobId, read: Result<Replay, JournalError>) {
        match read {
            Ok(replay) => {
                if let Some(aside) = replay.set_aside {
                    let name = aside.display();
                    self.notice(format!(
                        "the end of job {id}'s journal could not be read; it was set aside as {name}"
                    ));
                }
                self.requests.insert(replay.job.request_id.to_string(), id.clone());
                self.journals.insert(id.clone(), replay.journal);
                self.snapshot.jobs.insert(id.clone(), Arc::new(Entry::new(replay.job)));
                self.touch(&id, |_| ());
            }
            Err(error @ (JournalError::NoJob { .. } | JournalError::Foreign { .. })) => {
                self.notice(error.to_string())
            }
            Err(error) => self.notice(format!("job {id} could not be read: {error}")),
        }
    }

    fn go_on(&mut self, id: &JobId) {
        let fruitless = self.snapshot.jobs[id].job.fruitless_runs;
        if fruitless < MOST_FRUITLESS_RUNS {
            tracing::info!(job = %id, "goes on where the last daemon left it");
            self.launch_or_postpone(id);
            return;
        }
        let message = format!("the daemon died {fruitless} times while this job made no progress");
        let pause = Event::Paused { reason: PauseReason::Crashes, message, resume_at: None };
        if let Err(error) = self.commit(id, pause) {
            tracing::error!(job = %id, %error, "a job that crashes could not be paused");
        }
    }

    pub(super) fn notice(&mut self, notice: String) {
        tracing::warn!("{notice}");
        self.snapshot.notices.push(notice);
        self.snapshot.revision += 1;
    }
}

/// Reads the journals of all jobs, on all processors.
fn read_all(project: &Project, key: &PlaceKey, ids: &[JobId]) -> Vec<(JobId, Result<Replay, JournalError>)> {
    let readers = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    let next = AtomicUsize::new(0);
    let read_some = || {
        let mine = std::iter::from_fn(|| ids.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.filter_map(|id| Some((id.clone(), read_one(project, key, id)?))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..readers.min(ids.len())).map(|_| scope.spawn(read_some)).collect();
        reading.into_iter().flat_map(|reader| reader.join().expect("reading does not panic")).collect()
    })
}

/// `None` for a folder that is no job of ours.
fn read_one(project: &Project, key: &PlaceKey, id: &JobId) -> Option<Result<Replay, JournalError>> {
    let files = project.job(id);
    let journal = files.journal();
    disk::remove_temporaries(&files.folder, &JobFiles::REPLACED);
    match disk::facts(&journal) {
        // A folder without a journal is another tool's.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        // A daemon died while it took the job over; it still is the other tool's.
        Ok(facts) if facts.len == 0 => {
            let _ = disk::remove_file(&journal);
            return None;
        }
        _ => {}
    }
    Some(Journal::replay(&journal, id.clone(), key))
}

/// Removes what the last daemon had begun to write when it died.
fn clear_leftovers(project: &Project) {
    disk::remove_temporaries(&project.specweave(), &["config.json", "sync-metadata.json"]);
    disk::remove_temporaries(&project.state(), &["background-jobs.json", "background-jobs.lock"]);
    disk::remove_temporaries(&project.daemon().folder, &["endpoint.json", "imports.jsonl"]);
    for (name, _) in disk::read_folder(&project.jobs()).unwrap_or_default() {
        if name.starts_with(UNNAMED) {
            let _ = disk::remove_folder(&project.jobs().join(name));
        }
    }
}

fn goes_on(state: &State) -> bool {
    matches!(
        state,
        State::Pending | State::Running | State::Paused { reason: PauseReason::DaemonStopped, .. }
    )
}
