//! Linux: `/proc`, `/sys`, and calls that no other system has.

use super::Use;
use crate::clock::Millis;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::{self, File, read_to_string};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether one call makes all files of a file system durable.
pub const SYNCS_AT_ONCE: bool = true;

/// How a folder is opened that is only a part of a way.
pub const WAY: OFlags = OFlags::PATH;

/// Names this boot of the machine, and the numbering of processes that this one belongs to.
pub fn boot() -> String {
    let boot = read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let processes = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), processes.display())
}

/// Milliseconds since the machine was started, also those that it slept.
pub fn since_boot() -> Millis {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as Millis * 1_000 + now.tv_nsec as Millis / 1_000_000
}

/// The umask of this process, in octal. It can only be read by setting it, which other threads would notice: the kernel
/// tells it.
pub fn umask() -> Option<String> {
    let status = read_to_string("/proc/self/status").ok()?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    Some(umask.trim().to_owned())
}

/// This very program, also after an upgrade has replaced its file.
pub fn own_program() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

/// Hands memory that is free in this process back to the system, and pages of its code. The allocator keeps what it may need
/// again, which after a large job is most of what that took.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0)
    };
    let maps = read_to_string("/proc/self/maps").unwrap_or_default();
    for code in maps.lines().filter_map(code_in) {
        // SAFETY: the pages are read from their file again when they are run. Nothing writes code, so nothing is lost.
        unsafe { libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED) };
    }
}

/// The addresses of code that was mapped from a file, if a line of `/proc/self/maps` is of such. Most of it runs once, as the
/// process begins, and the kernel maps what lies around it as well; pages that nobody has mapped are the first that it takes
/// when memory is short.
fn code_in(line: &str) -> Option<std::ops::Range<usize>> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [addresses, "r-xp", _, _, inode, ..] = fields[..] else { return None };
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    (inode != "0").then_some(address(start)?..address(end)?)
}

/// When a process was started, by the wall clock and give or take two seconds: the kernel counts from a boot time that is
/// itself rounded. `None` when there is none, or it only waits to be reaped.
pub fn started_at(pid: u32) -> Option<Millis> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name stands in parentheses and may contain anything; the fields follow the last one.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    let ticks: i64 = fields.get(19)?.parse().ok()?;
    let boot = read_to_string("/proc/stat").ok()?;
    let boot: i64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot * 1000 + ticks * 1000 / rustix::param::clock_ticks_per_second() as i64)
}

/// The first 15 bytes of a process's name, and whose it is.
pub fn name_and_owner(pid: u32) -> Option<(String, u32)> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
    Some((field("Name:")?.to_owned(), field("Uid:")?.parse().ok()?))
}

/// The words with which a process was started; none where there is none.
pub fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Opens what a path leads to in one call, if no part of it is a link. `None` where that was not possible, or the kernel does not
/// know the call.
pub fn open_without_links(path: &Path, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    match rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(error) if error != rustix::io::Errno::NOENT => None,
        found => Some(found),
    }
}

/// Begins to write a file's content to the disk and waits for nothing. Of many files that are synced one after the other, the
/// places of all are settled then before the first is waited for, and one commit of the file system holds for them all.
pub fn begin_writing(file: &File) {
    // SAFETY: the descriptor is open, and no memory is touched. It only makes the sync cheaper that follows: no error matters.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes all that was written to the file system of an open folder durable.
pub fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// The name of the network file system on which a path lies.
pub fn network_file_system(path: &Path) -> Option<&'static str> {
    const NETWORK: [(i64, &str); 5] =
        [(0x6969, "NFS"), (0x517b, "SMB"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB2"), (0x0102_1997, "9p")];
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    NETWORK.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// No other process of the user's may look into this one, and the kernel writes no dump of it.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// From now on the kernel ends this process when the thread ends that started it. May stand between fork and exec.
pub fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// What this process uses of the addresses that it may have (`ulimit -v`), and its container of its memory; only what is
/// limited.
pub fn memory() -> Vec<Use> {
    [address_space(), container()].into_iter().flatten().collect()
}

fn address_space() -> Option<Use> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let pages: u64 = read_to_string("/proc/self/statm").ok()?.split(' ').next()?.parse().ok()?;
    Some(Use { used: pages * rustix::param::page_size() as u64, limit })
}

fn container() -> Option<Use> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let number = |name: &str| -> Option<u64> { read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    // What the system keeps of files in memory goes before a process does.
    let statistics = read_to_string(folder.join("memory.stat")).ok()?;
    let cache = statistics.lines().find_map(|line| line.strip_prefix("file "))?.parse().unwrap_or(0);
    Some(Use { used: number("memory.current")?.saturating_sub(cache), limit: number("memory.max")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_mapped_anew() {
        let code = "7f10a000-7f10c000 r-xp 00001000 fe:00 1234                       /opt/bin/a program";
        assert_eq!(code_in(code), Some(0x7f10_a000..0x7f10_c000));
        for line in [
            "7f10a000-7f10c000 r--p 00001000 fe:00 1234   /opt/bin/program",
            "7f10a000-7f10c000 rwxp 00001000 fe:00 1234   /opt/bin/program",
            "7ffd1000-7ffd3000 r-xp 00000000 00:00 0      [vdso]",
            "7f10a000 r-xp 00000000 fe:00 1234",
            "",
        ] {
            assert_eq!(code_in(line), None, "{line}");
        }
    }
}
