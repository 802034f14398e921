//! Jobs that are done again and again. Between two times such a job waits with what the last one came to; each time begins
//! with a journal of its own, so that what came before costs nothing.

use super::Keeper;
use crate::job::{Event, Job};
use crate::store::journal::Journal;
use specweave_jobs::clock;
use specweave_jobs::project::JobId;
use specweave_jobs::{crash, disk};
use std::io;

/// A longer log makes room for the next time's.
const MOST_LOG: u64 = 4 * 1024 * 1024;

impl Keeper {
    /// An end that is none, of a job that is done again.
    pub(super) fn scheduled(&self, id: &JobId, event: Event) -> Event {
        let job = &self.snapshot.jobs[id].job;
        let now = clock::now();
        match event {
            Event::Ended(outcome) => match job.terms.next(job.run_started_at.unwrap_or(now), now) {
                Some(next) => Event::Scheduled { outcome, next },
                None => Event::Ended(outcome),
            },
            event => event,
        }
    }

    /// Lets a job that waited for its next time begin it; nothing is done with any other. The plan goes first, and the journal
    /// that knows it last, so that a crash between them only begins again.
    pub(super) fn begin_next_time(&mut self, id: &JobId) -> io::Result<()> {
        let Some(entry) = self.snapshot.jobs.get(id).filter(|entry| entry.job.is_scheduled()) else {
            return Ok(());
        };
        let (files, created_at) = (self.project.job(id), entry.job.created_at);
        let creation = Event::Created {
            order: (*entry.job.order).clone(),
            request_id: entry.job.request_id.to_string(),
            settings: (*entry.job.settings).clone(),
            terms: (*entry.job.terms).clone(),
        };
        // A log that is full would tell nothing of what comes.
        if disk::facts(&files.log()).is_ok_and(|log| log.len > MOST_LOG) {
            disk::rename(&files.log(), &files.old_log())?;
        }
        for of_the_last_time in [files.config(), files.result()] {
            disk::remove_file(&of_the_last_time).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        crash::point("last-plan-removed");
        let _ = disk::remove_file(&files.next_journal());
        let mut journal = Journal::create(&files.next_journal(), &self.key, id, created_at, &creation)?;
        disk::rename(&files.next_journal(), &files.journal())?;
        journal.lies_at(&files.journal());
        crash::point("journal-renewed");
        disk::sync_folder(&files.folder)?;
        let job = Job::create(id.clone(), created_at, creation).expect("a creation creates a job");
        self.journals.insert(id.clone(), journal);
        self.owed.remove(id);
        self.touch(id, |entry| entry.job = job);
        Ok(())
    }
}
