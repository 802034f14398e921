//! One job's journal: a line per event, each with a checksum, appended and synced before anybody is told.
//! Reading takes the longest valid prefix; what follows it is set aside under another name.
//!
//! A line is `{"crc":"xxxxxxxx","at":<ms>,"event":..}`; the checksum covers all after its own comma. The first line
//! has `"seal":"<64 digits>"` before `at`, which proves whose daemon wrote what follows it in that line.

use crate::job::{Event, Job};
use crate::seal::Seal;
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::JobId;
use specweave_jobs::{crash, disk};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
struct Record {
    at: Millis,
    event: Event,
}

const CRC_FIELD: &[u8] = b"{\"crc\":\"";
/// Up to and with the comma after the checksum.
const HEAD: usize = CRC_FIELD.len() + 8 + 2;

const SEAL_FIELD: &[u8] = b"\"seal\":\"";
/// Up to and with the comma after the seal.
const SEALED: usize = SEAL_FIELD.len() + 64 + 2;

/// A journal takes no more than this: a job of the most items, all of which fail several times with the longest reasons.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// An open journal. Dropping it syncs nothing.
pub struct Journal {
    file: File,
    /// The length up to which every line is whole.
    len: u64,
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
        "{path} was not written by this user's daemon, so that nothing in it is believed or started; it came with the \
         project, or this user's key was lost. To have the work done: start it afresh. To be rid of it: remove its \
         folder"
    )]
    Unsealed { path: PathBuf },
}

impl Journal {
    /// A new journal that begins with `event`. It is durable; the folder's entry for it after a sync of the folder.
    pub fn create(path: &Path, seal: &Seal, id: &JobId, at: Millis, event: &Event) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let mut journal = Self { file, len: 0, dirty: false };
        journal.write(&first_line(seal, id, at, event))?;
        journal.sync()?;
        Ok(journal)
    }

    /// Reads a journal and opens it for more.
    pub fn replay(path: &Path, id: JobId, seal: &Seal) -> Result<Replay, JournalError> {
        let fail = |source| JournalError::Io { path: path.to_path_buf(), source };
        let bytes = disk::read_regular(path, MOST_BYTES).map_err(fail)?;
        if first_event_is_unsealed(&bytes, &id, seal) {
            return Err(JournalError::Unsealed { path: path.to_path_buf() });
        }
        let (job, valid) = replay_bytes(&bytes, id);
        let Some(job) = job else {
            let aside = disk::set_aside(path).map_err(fail)?;
            return Err(JournalError::NoJob { path: path.to_path_buf(), aside });
        };
        let mut set_aside = None;
        if valid < bytes.len() {
            let stamp = specweave_jobs::clock::iso(specweave_jobs::clock::now()).replace(':', "-");
            let aside = path.with_file_name(format!("journal.jsonl.torn-{stamp}"));
            disk::replace(&aside, &bytes[valid..], 0o600).map_err(fail)?;
            set_aside = Some(aside);
        }
        let file = disk::open_unlinked(OpenOptions::new().append(true), path).map_err(fail)?;
        if set_aside.is_some() {
            file.set_len(valid as u64).and_then(|()| file.sync_data()).map_err(fail)?;
        }
        let journal = Self { file, len: valid as u64, dirty: false };
        Ok(Replay { job, journal, set_aside })
    }

    /// Writes a line; durable after [`Self::sync`]. A line that did not fit is taken back.
    pub fn append(&mut self, at: Millis, event: &Event) -> io::Result<()> {
        self.write(&line(at, event))
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len + line.len() as u64 > MOST_BYTES {
            return Err(io::Error::other("the journal is full; start the work afresh as a new job"));
        }
        match self.file.write_all(line) {
            Ok(()) => {
                self.len += line.len() as u64;
                self.dirty = true;
                crash::point("journal-appended");
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.len)?;
                Err(error)
            }
        }
    }

    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
            crash::point("journal-synced");
        }
        Ok(())
    }
}

fn line(at: Millis, event: &Event) -> Vec<u8> {
    checked(&body(at, event))
}

fn first_line(seal: &Seal, id: &JobId, at: Millis, event: &Event) -> Vec<u8> {
    let body = body(at, event);
    let tag = seal.of(id, &body);
    checked(&[SEAL_FIELD, tag.as_bytes(), b"\",", &body].concat())
}

/// A record without its opening brace: other fields come before it.
fn body(at: Millis, event: &Event) -> Vec<u8> {
    let mut body = serde_json::to_vec(&Record { at, event: event.clone() }).expect("an event serialises");
    body.remove(0);
    body
}

fn checked(covered: &[u8]) -> Vec<u8> {
    let mut line = format!("{{\"crc\":\"{:08x}\",", crc32fast::hash(covered)).into_bytes();
    line.extend_from_slice(covered);
    line.push(b'\n');
    line
}

/// Whether a journal begins with a whole line that is not sealed for this job. A damaged line is no line.
fn first_event_is_unsealed(bytes: &[u8], id: &JobId, seal: &Seal) -> bool {
    let Some(line) = bytes.split_inclusive(|byte| *byte == b'\n').next() else { return false };
    let Some(covered) = covered(line) else { return false };
    let sealed = || {
        let tag = covered.strip_prefix(SEAL_FIELD)?.get(..64)?;
        (covered.get(SEALED - 2..SEALED)? == b"\",").then_some(())?;
        Some(seal.is(tag, id, covered.get(SEALED..)?))
    };
    sealed() != Some(true)
}

/// The job after the longest valid prefix, and that prefix's length.
pub fn replay_bytes(bytes: &[u8], id: JobId) -> (Option<Job>, usize) {
    let mut job: Option<Job> = None;
    let mut valid = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(record) = parse(line) else { break };
        let applied = match &mut job {
            Some(job) => job.apply(record.at, record.event),
            None => Job::create(id.clone(), record.at, record.event).map(|new| job = Some(new)),
        };
        if applied.is_err() {
            break;
        }
        valid += line.len();
    }
    (job, valid)
}

/// What the checksum of a line covers, if it holds.
fn covered(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let crc = line.strip_prefix(CRC_FIELD)?.get(..8)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    let covered = line.get(HEAD..)?;
    (line.get(HEAD - 2..HEAD) == Some(b"\",") && crc32fast::hash(covered) == crc).then_some(covered)
}

fn parse(line: &[u8]) -> Option<Record> {
    covered(line)?;
    // Checksum and seal are more fields, which the record does not know.
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
