//! The process that started this one: how to let go of it, and what it is told.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use tokio_util::sync::CancellationToken;

/// What the daemon's life is bound to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    Nothing,
    /// The process that started it: its end of standard input.
    Starter,
    Terminal,
}

/// Leaves the caller's terminal, folder and descriptors, so that none of them waits for this process.
pub fn detach() {
    // Both only fail when they were done already.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    close_inherited();
}

/// Closes every descriptor but the three standard ones: a descriptor 3 of `$(..)` would keep its reader
/// waiting for as long as the daemon lives.
fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return };
    let open: Vec<i32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    // The listing's own descriptor is gone by now.
    for descriptor in
        open.into_iter().filter(|one| std::fs::symlink_metadata(format!("/dev/fd/{one}")).is_ok())
    {
        // SAFETY: nothing in this process has opened a descriptor yet, so that none of them is owned here.
        unsafe { rustix::io::close(descriptor) };
    }
}

/// One JSON line to whoever started this process and waits for it.
pub fn tell(line: &serde_json::Value) {
    let mut out = io::stdout();
    // A starter that has gone away needs no answer.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Standard input and output become nothing and standard error the log, so that the starter sees the end
/// of its pipe, and a panic is kept.
pub fn release(log: &File, tie: Tie) -> io::Result<()> {
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    if tie == Tie::Nothing {
        rustix::stdio::dup2_stdin(&nothing)?;
    }
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(())
}

/// A thread of its own: a read of standard input cannot be cancelled.
pub fn stop_with(stop_requested: CancellationToken) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop_requested.cancel();
    });
}
