//! A daemon's first act: read every journal, and let jobs that ran when the last daemon died go on.

use super::{KEPT, Keeper, MOST_FRUITLESS_RUNS};
use crate::board::Entry;
use crate::job::{Event, PauseReason, State};
use crate::journal::{Journal, JournalError};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project, UNNAMED};
use std::sync::Arc;

impl Keeper {
    pub(super) fn load(&mut self) {
        // The mirror looks at the file at least once: it may tell of jobs that are gone.
        self.board.revision += 1;
        clear_leftovers(&self.project);
        let Ok(folders) = std::fs::read_dir(self.project.jobs()) else { return };
        let ids = folders.filter_map(|folder| JobId::parse(folder.ok()?.file_name().to_str()?));
        let mut ids: Vec<JobId> = ids.collect();
        ids.sort();
        for id in ids {
            let files = self.project.job(&id);
            // A folder without a journal is another tool's.
            if files.journal().exists() {
                disk::remove_temporaries(&files.folder, &JobFiles::REPLACED);
                self.load_job(id, &files.journal());
            }
        }
        self.prune(KEPT);
        let interrupted: Vec<JobId> = self
            .board
            .jobs
            .values()
            .filter(|entry| goes_on(&entry.job.state))
            .map(|entry| entry.job.id.clone())
            .collect();
        for id in interrupted {
            self.go_on(&id);
        }
    }

    fn load_job(&mut self, id: JobId, path: &std::path::Path) {
        if std::fs::metadata(path).is_ok_and(|facts| facts.len() == 0) {
            // A daemon died while it took the job over; it still is the other tool's.
            let _ = std::fs::remove_file(path);
            return;
        }
        match Journal::replay(path, id.clone()) {
            Ok(replay) => {
                if let Some(aside) = replay.set_aside {
                    let name = aside.display();
                    self.notice(format!(
                        "the end of job {id}'s journal could not be read; it was set aside as {name}"
                    ));
                }
                self.requests.insert(replay.job.request_id.to_string(), id.clone());
                self.journals.insert(id.clone(), replay.journal);
                self.board.jobs.insert(id.clone(), Arc::new(Entry::new(replay.job)));
                self.touch(&id, |_| ());
            }
            Err(error @ JournalError::NoJob { .. }) => self.notice(error.to_string()),
            Err(error) => self.notice(format!("job {id} could not be read: {error}")),
        }
    }

    fn go_on(&mut self, id: &JobId) {
        let fruitless = self.board.jobs[id].job.fruitless_runs;
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
        self.board.notices.push(notice);
        self.board.revision += 1;
    }
}

/// Removes what the last daemon had begun to write when it died.
fn clear_leftovers(project: &Project) {
    disk::remove_temporaries(&project.specweave(), &["config.json"]);
    disk::remove_temporaries(&project.state(), &["background-jobs.json", "background-jobs.lock"]);
    disk::remove_temporaries(&project.daemon().folder, &["endpoint.json"]);
    for entry in std::fs::read_dir(project.jobs()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNNAMED) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn goes_on(state: &State) -> bool {
    matches!(
        state,
        State::Pending | State::Running | State::Paused { reason: PauseReason::DaemonStopped, .. }
    )
}
