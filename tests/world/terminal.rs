//! A terminal of our own: the client believes that a person sits before it.

use super::{World, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

pub struct Terminal {
    child: Child,
    master: File,
    pieces: Receiver<Vec<u8>>,
    shown: String,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// Starts a command in a terminal of this size.
    pub fn run(world: &World, arguments: &[&str], columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, size(columns, rows)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut command: Command = world.command(arguments);
        command.env("TERM", "xterm");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        // SAFETY: both calls are allowed between fork and exec; the terminal becomes the child's own, for Ctrl-C.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        // Its ends of the terminal are the child's alone now.
        drop(command);
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (pieces, received) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if pieces.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, master, pieces: received, shown: String::new() }
    }

    /// Reads until the terminal has shown this, and gives all that it has shown.
    pub fn until(&mut self, what: &str) -> &str {
        let began = Instant::now();
        while !self.shown.contains(what) {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => panic!("{what:?} was not shown:\n{}", self.shown),
            }
        }
        &self.shown
    }

    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, size(columns, rows)).unwrap();
    }

    /// Waits for the end, and gives the exit status and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        let status =
            wait(&mut self.child, DEADLINE).unwrap_or_else(|| panic!("it does not end:\n{}", self.shown));
        while let Ok(piece) = self.pieces.recv_timeout(Duration::from_millis(200)) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        (status.code().unwrap_or(-1), std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that a terminal has shown, each as wide as what stood in it at any time: without the signs that move the cursor
/// or colour words.
pub fn lines(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = shown.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if rest.next() == Some('[') {
                    let _ = rest.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}
