//! The daemon's own log, bounded while it runs.

use crate::boot::parent::Tie;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
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

/// Opens the daemon's own log: `daemon.log`, or the terminal in the foreground.
pub fn start(project: &Project, tie: Tie) -> io::Result<()> {
    let layer = tracing_subscriber::fmt()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_max_level(tracing::Level::INFO);
    if tie == Tie::Terminal {
        layer.with_writer(io::stderr).with_target(false).init();
        return Ok(());
    }
    let log = DaemonLog::open(&project.daemon().log())?;
    layer.with_writer(std::sync::Mutex::new(log)).with_target(false).init();
    Ok(())
}
