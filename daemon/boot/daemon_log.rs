//! The daemon's own log, bounded while it runs.

use specweave_jobs::disk;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The daemon's own log. One that has grown past [`Self::MOST`] is moved aside, and the one that was aside goes.
pub struct DaemonLog {
    path: PathBuf,
    file: File,
    len: u64,
}

impl DaemonLog {
    const MOST: u64 = 5 * 1024 * 1024;

    pub fn open(path: &Path) -> io::Result<Self> {
        let file = disk::open_log(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, len })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        disk::rename(&self.path, &self.path.with_extension("log.1"))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

impl Write for DaemonLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len > Self::MOST && self.begin_anew().is_err() {
            // Its folder may be gone: what is told then is told to nobody.
            return Ok(bytes.len());
        }
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
