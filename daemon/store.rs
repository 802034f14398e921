//! What this daemon keeps on the disk and believes when it reads it again: logs of checksummed lines with a MAC, journals of
//! jobs, the place and the tenure that they belong to, and the logs of jobs. It uses `job` for what a journal says, and the
//! shared library's door to the disk; it never decides what a job does next.

pub mod job_log;
pub mod journal;
pub mod lines;
pub mod mac;
pub mod place;
pub mod tenure;

use std::io;

/// Whether the disk has no room or cannot be written.
pub fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded)
}
