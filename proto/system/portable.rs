//! Every Unix, and macOS above all: what the standard calls give, and what `ps`, `sysctl` and the shell tell.

use super::Use;
use crate::clock::{self, Millis};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Whether one call makes all files of a file system durable: none does everywhere.
pub const SYNCS_AT_ONCE: bool = false;

/// How a folder is opened that is only a part of a way.
pub const WAY: OFlags = OFlags::RDONLY;

/// The first line that a program prints, if it ends well.
fn told(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output =
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Names this boot of the machine.
pub fn boot() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    let ask = || {
        let session = told("sysctl", &["-n", "kern.bootsessionuuid"]);
        session.or_else(|| told("who", &["-b"])).unwrap_or_else(|| "unknown".to_owned())
    };
    BOOT.get_or_init(ask).clone()
}

/// Milliseconds of a clock that goes on while the machine sleeps, where its system has one: macOS' monotonic one does.
pub fn since_boot() -> Millis {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as Millis * 1_000 + now.tv_nsec as Millis / 1_000_000
}

/// The umask of this process, in octal: a shell inherits it.
pub fn umask() -> Option<String> {
    told("sh", &["-c", "umask"])
}

/// The file of this program.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// One line of `ps` about a process.
fn shown(pid: u32, columns: &str) -> Option<String> {
    told("ps", &["-p", &pid.to_string(), "-o", columns])
}

/// When a process was started, by the wall clock and give or take a second. `None` when there is none, or it only waits to be
/// reaped.
pub fn started_at(pid: u32) -> Option<Millis> {
    let line = shown(pid, "state=,etime=")?;
    let (state, age) = line.split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then_some(())?;
    Some(clock::now() - seconds(age.trim())? * 1000)
}

/// `[[days-]hours:]minutes:seconds`.
fn seconds(age: &str) -> Option<i64> {
    let (days, clock) = age.split_once('-').unwrap_or(("0", age));
    let parts: Option<Vec<i64>> = clock.split(':').map(|part| part.parse().ok()).collect();
    let within = parts?.into_iter().fold(0, |sum, part| sum * 60 + part);
    Some(days.parse::<i64>().ok()? * 86_400 + within)
}

/// A process's name, of which some systems keep 15 bytes, and whose it is.
pub fn name_and_owner(pid: u32) -> Option<(String, u32)> {
    let line = shown(pid, "uid=,comm=")?;
    let (owner, name) = line.split_once(char::is_whitespace)?;
    let name = Path::new(name.trim()).file_name()?.to_string_lossy().into_owned();
    Some((name, owner.parse().ok()?))
}

/// The words with which a process was started; none where there is none. A word with a blank in it is told as two.
pub fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let line = shown(pid, "args=").unwrap_or_default();
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// No call does it everywhere.
pub fn open_without_links(_path: &Path, _flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    None
}

/// A sync that follows does all of it.
pub fn begin_writing(_file: &File) {}

/// Asks the system to write all that waits. Some return before that is done: whoever has to be sure syncs each file.
pub fn sync_file_system(folder: &File) -> io::Result<()> {
    rustix::fs::sync();
    folder.sync_all()
}

/// Which network file system a path lies on is not told.
pub fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}

/// Other processes of a user cannot look into one here without being asked for.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(())
}

/// The allocator hands memory back by itself, as far as it does.
pub fn give_memory_back() {}

/// A process cannot ask to end with another: one that was started goes on to its end where the daemon is killed.
pub fn end_with_parent() {}

/// No limit is told.
pub fn memory() -> Vec<Use> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_processes_are_read_as_ps_writes_them() {
        let read = ["00:07", "01:02", "03:04:05", "2-00:00:01", "x", ""].map(seconds);
        assert_eq!(read, [Some(7), Some(62), Some(11_045), Some(172_801), None, None]);
    }
}
