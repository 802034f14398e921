//! One job's journal: a line per event, appended and synced before anybody is told. See [`crate::store::lines`] for what a line
//! carries and for what becomes of a torn end.

use crate::job::{Event, Job};
use crate::store::lines::{Lines, LinesError};
use crate::store::mac::PlaceKey;
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use specweave_jobs::{crash, disk};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
struct Record {
    at: Millis,
    event: Event,
}

/// An open journal. Dropping it syncs nothing.
pub struct Journal {
    lines: Lines,
    dirty: bool,
}

/// A journal that was read.
pub struct Replay {
    pub job: Job,
    pub journal: Journal,
    /// Where the unreadable end was put, when there was one.
    pub set_aside: Option<PathBuf>,
}

/// Why a journal gives no job.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read or write {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} holds no job; it was set aside as {aside}")]
    NoJob { path: PathBuf, aside: PathBuf },
    #[error(
        "{path} was not written by this user's daemon in this place, so that nothing in it is believed or started; it \
         came with the project, the project is a copy, or this user's key was lost. To have the work done: start it \
         afresh. To be rid of it: remove its folder"
    )]
    Foreign { path: PathBuf },
}

impl Journal {
    /// A new journal that begins with `event`. It is durable; the folder's entry for it after a sync of the folder.
    pub fn create(path: &Path, key: &PlaceKey, id: &JobId, at: Millis, event: &Event) -> io::Result<Self> {
        let mut journal = Self { lines: Lines::create(path, key.job(id, FILE))?, dirty: false };
        journal.append(at, event)?;
        journal.sync()?;
        Ok(journal)
    }

    /// Says where the journal is since its job's folder got its name.
    pub fn lies_at(&mut self, path: &Path) {
        self.lines.lies_at(path);
    }

    /// Reads a journal and opens it for more.
    pub fn replay(path: &Path, id: JobId, key: &PlaceKey) -> Result<Replay, JournalError> {
        let fail = |source| JournalError::Io { path: path.to_path_buf(), source };
        let mut job = None;
        let found = match Lines::open(path, key.job(&id, FILE), |content| take(&mut job, &id, content)) {
            Ok(found) => found,
            Err(LinesError::Foreign) => return Err(JournalError::Foreign { path: path.to_path_buf() }),
            Err(LinesError::Unreadable) => None,
            Err(LinesError::Io(error)) => return Err(fail(error)),
        };
        match (job, found) {
            (Some(job), Some(found)) => {
                let journal = Self { lines: found.lines, dirty: false };
                Ok(Replay { job, journal, set_aside: found.set_aside })
            }
            _ => {
                let aside = disk::set_aside(path).map_err(fail)?;
                Err(JournalError::NoJob { path: path.to_path_buf(), aside })
            }
        }
    }

    /// Writes a line; durable after [`Self::sync`]. A line that did not fit is taken back.
    pub fn append(&mut self, at: Millis, event: &Event) -> io::Result<()> {
        self.lines.append(&content(at, event))?;
        self.dirty = true;
        crash::point("journal-appended");
        Ok(())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.lines.sync()?;
            self.dirty = false;
            crash::point("journal-synced");
        }
        Ok(())
    }
}

/// What a job's journal is called where its key is made.
const FILE: &str = "journal";

fn content(at: Millis, event: &Event) -> Vec<u8> {
    serde_json::to_vec(&Record { at, event: event.clone() }).expect("an event serialises")
}

/// Applies a line. Whether it made sense.
fn take(job: &mut Option<Job>, id: &JobId, content: &[u8]) -> bool {
    let Ok(Record { at, event }) = serde_json::from_slice(content) else { return false };
    match job {
        Some(job) => job.apply(at, event).is_ok(),
        None => Job::create(id.clone(), at, event).map(|new| *job = Some(new)).is_ok(),
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
