//! A job's `worker.log`: appended line by line, capped, without secrets and without control characters,
//! and read back by byte offset.

use specweave_jobs::redactor::Redactor;
use specweave_jobs::{clock, disk, text};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

/// A log that reached this many bytes takes no more lines; its last one says so.
const CAP: u64 = 20 * 1024 * 1024;

/// One entry may be this long; a remote's error can be a whole page.
const ENTRY_CAP: usize = 4 * 1024;

/// The open log of a running job.
pub struct WorkerLog {
    file: Mutex<Open>,
    redactor: Redactor,
}

struct Open {
    file: File,
    len: u64,
}

impl WorkerLog {
    pub fn open(path: &Path, redactor: Redactor) -> io::Result<Self> {
        let file = disk::open_log(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: Mutex::new(Open { file, len }), redactor })
    }

    /// Appends `[<moment>] <entry>`. A log that cannot be written never stops the work it tells of.
    pub fn line(&self, entry: &str) {
        let mut open = self.file.lock().expect("no holder of the log panics");
        if open.len >= CAP {
            return;
        }
        let entry = self.redactor.clean(&text::plain_lines(cut(entry, ENTRY_CAP)));
        let mut line = format!("[{}] {entry}\n", clock::iso(clock::now()));
        if open.len + line.len() as u64 >= CAP {
            line = format!("[{}] The log is full; later entries are left out.\n", clock::iso(clock::now()));
            open.len = CAP;
        }
        match open.file.write_all(line.as_bytes()) {
            Ok(()) => open.len += line.len() as u64,
            Err(error) => tracing::warn!(%error, "a job's log could not be written"),
        }
    }
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Up to `limit` bytes of the log from `offset` on. Empty when there are none yet.
pub fn read_from(path: &Path, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut file = match disk::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
