//! The one door to the files of a project, for the daemon and its clients. What lies below a project may have come
//! with a checkout and belong to a stranger, so every file is reached without following a link on any part of the way,
//! is a regular file of this user's, and is read up to a limit. Files are replaced whole: a reader sees the old one or
//! the new one, never a torn one.
//!
//! Paths begin at the root of a [`crate::project::Project`], which is free of links itself. Nothing else opens, makes or
//! removes what lies below it; the git repositories that are cloned there are libgit2's.

use crate::{crash, system};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Replaces `path` with `bytes`: temporary file in the same folder with `mode` from its creation, sync,
/// rename, and a sync of the folder when the name is new.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let fill = |out: &mut dyn Write| out.write_all(bytes);
    replace_if(path, mode, fill, |_| Ok(true), || true).map(|_| ())
}

/// As [`replace`] with what `fill` writes, if it is `wanted` once it is written, and `still` once it is on the disk and
/// only the rename is left. Whether it was done.
pub fn replace_if(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    wanted: impl FnOnce(&Path) -> io::Result<bool>,
    still: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = temporary_beside(path);
    let result = (|| {
        let mut out = BufWriter::new(create_new(&temporary, mode)?);
        fill(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if !wanted(&temporary)? {
            return Ok(false);
        }
        file.sync_data()?;
        crash::file_point(path, "written");
        let is_new = !exists(path);
        if !still() {
            return Ok(false);
        }
        std::fs::rename(&temporary, path)?;
        crash::file_point(path, "renamed");
        if is_new {
            sync_folder(folder)?;
        }
        Ok(true)
    })();
    if !matches!(result, Ok(true)) {
        let _ = remove_file(&temporary);
    }
    result
}

/// Whether both files hold the same bytes; a missing one holds other bytes than any.
pub fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (Ok(one), Ok(other)) = (open_regular(one), open_regular(other)) else { return Ok(false) };
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let common = left.len().min(right.len());
        if common == 0 || left[..common] != right[..common] {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(common);
        other.consume(common);
    }
}

/// As [`replace`], but for files whose loss costs nothing: no sync.
pub fn replace_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let result = create_new(&temporary, mode).and_then(|mut file| file.write_all(bytes)).and_then(|()| {
        crash::file_point(path, "written");
        std::fs::rename(&temporary, path)
    });
    crash::file_point(path, "renamed");
    if result.is_err() {
        let _ = remove_file(&temporary);
    }
    result
}

/// Opens a regular file of this user's for reading.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY, Mode::empty())
}

/// Opens a regular file of this user's for lines that are added at its end. It must exist.
pub fn open_append(path: &Path) -> io::Result<File> {
    open(path, OFlags::WRONLY | OFlags::APPEND, Mode::empty())
}

/// As [`open_append`]; a missing file is made, for this user alone.
pub fn open_log(path: &Path) -> io::Result<File> {
    open(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE, PRIVATE)
}

/// Opens a file to hold a lock on, for reading and writing; a missing one is made, for this user alone.
pub fn open_lock(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE, PRIVATE)
}

/// Makes a file that must not be there yet, for writing.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    // Added to at its end, so that what is taken back leaves no hole.
    let how = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
    open(path, how, Mode::from_raw_mode(mode as rustix::fs::RawMode))
}

/// A file that only this user reads.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The one place where a file of a project is opened. Nothing that is opened can hold its reader up: a pipe or a device
/// is refused.
fn open(path: &Path, how: OFlags, mode: Mode) -> io::Result<File> {
    let (folder, name) = way_to(path)?;
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&folder, name, flags, mode) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(is_a_link(path)),
        // A pipe without a reader cannot be opened for writing.
        Err(rustix::io::Errno::NXIO) => return Err(is_no_file(path)),
        Err(error) => return Err(error.into()),
    };
    let facts = rustix::fs::fstat(&file)?;
    if rustix::fs::FileType::from_raw_mode(facts.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(is_no_file(path));
    }
    if facts.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{} belongs to another user", path.display())));
    }
    Ok(file)
}

fn is_a_link(path: &Path) -> io::Error {
    io::Error::other(format!("{} is a link, and links are not followed here", path.display()))
}

fn is_no_file(path: &Path) -> io::Error {
    io::Error::other(format!("{} is no regular file", path.display()))
}

/// The folder that a path lies in, reached without following a link, and the name in it.
fn way_to(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let name =
        path.file_name().ok_or_else(|| io::Error::other(format!("{} names no file", path.display())))?;
    Ok((folder(path.parent().unwrap_or(Path::new("/")))?, name))
}

/// A folder, reached without following a link on any part of the way.
fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | system::WAY;
    let leads_upwards = path.components().any(|part| part == Component::ParentDir);
    if !leads_upwards && let Some(found) = system::open_without_links(path, flags) {
        return Ok(found?);
    }
    // Part by part, which also tells what is wrong with the way.
    let mut at = rustix::fs::openat(
        rustix::fs::CWD,
        if path.is_absolute() { "/" } else { "." },
        flags,
        Mode::empty(),
    )?;
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::Normal(name) => name,
            Component::ParentDir => {
                return Err(io::Error::other(format!("{} leads upwards, out of its folder", path.display())));
            }
        };
        at = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
            Ok(next) => next,
            // Linux says of a link that it is no folder.
            Err(error @ (rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR)) => {
                let is_link = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|facts| {
                    rustix::fs::FileType::from_raw_mode(facts.st_mode) == rustix::fs::FileType::Symlink
                });
                return Err(if is_link { is_a_link(path) } else { error.into() });
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(at)
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl From<rustix::fs::FileType> for Kind {
    fn from(kind: rustix::fs::FileType) -> Self {
        match kind {
            rustix::fs::FileType::RegularFile => Self::File,
            rustix::fs::FileType::Directory => Self::Folder,
            rustix::fs::FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// What is known of a path without opening it. Of a link, these are the link's own.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub kind: Kind,
    pub len: u64,
    /// Its permissions, without the bits that change who runs it.
    pub mode: u32,
    pub device: u64,
    pub inode: u64,
    pub owner: u32,
    /// When it was last written.
    pub modified: std::time::SystemTime,
}

/// What stands at `path`, reached without following a link.
pub fn facts(path: &Path) -> io::Result<Facts> {
    let (folder, name) = way_to(path)?;
    let found = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = rustix::fs::FileType::from_raw_mode(found.st_mode).into();
    let since_1970 = std::time::Duration::new(found.st_mtime.max(0) as u64, found.st_mtime_nsec as u32);
    Ok(Facts {
        kind,
        len: found.st_size as u64,
        mode: found.st_mode as u32 & 0o777,
        device: found.st_dev as u64,
        inode: found.st_ino as u64,
        owner: found.st_uid,
        modified: std::time::UNIX_EPOCH + since_1970,
    })
}

/// Whether anything stands at `path`, reached without following a link.
pub fn exists(path: &Path) -> bool {
    facts(path).is_ok()
}

/// Whether a folder, and no link to one, stands at `path`.
pub fn is_folder(path: &Path) -> bool {
    facts(path).is_ok_and(|facts| facts.kind == Kind::Folder)
}

/// A folder that is held open: what lies in it is reached from there.
pub struct Folder(File);

impl Folder {
    /// The folder at `path`, reached without following a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (above, name) = match path.file_name() {
            Some(_) => way_to(path)?,
            None => (folder(path)?, OsStr::new(".")),
        };
        Self::within(above, name)
    }

    /// A folder in this one, and no link to one.
    pub fn folder(&self, name: &str) -> io::Result<Self> {
        Self::within(&self.0, name.as_ref())
    }

    fn within(above: impl AsFd, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(above, name, flags, Mode::empty())?.into()))
    }

    /// A file in this folder for reading, and no link to one; nothing that could hold its reader up is waited for.
    pub fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// The names in it and what they name, in no order. A name that is not UTF-8 is none of ours or SpecWeave's.
    pub fn entries(&self) -> io::Result<Vec<(String, Kind)>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                rustix::fs::FileType::Unknown => {
                    let found = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    rustix::fs::FileType::from_raw_mode(found.st_mode)
                }
                known => known,
            };
            names.push((name.to_owned(), kind.into()));
        }
        Ok(names)
    }

    /// Makes what was renamed or made in it durable.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// The names in a folder and what they name, in no order. A missing folder has none.
pub fn read_folder(path: &Path) -> io::Result<Vec<(String, Kind)>> {
    match Folder::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => found?.entries(),
    }
}

/// Makes a folder, and those on the way to it that are missing.
pub fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    match folder(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found.map(|_| ()),
    }
    if let Some(above) = path.parent() {
        make_folders(above, mode)?;
    }
    match make_folder(path, mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => folder(path).map(|_| ()),
        made => made,
    }
}

/// Makes a folder that must not be there yet, in one that is.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    way_to(path)?;
    std::fs::DirBuilder::new().mode(mode).create(path)
}

/// Gives a file other rights than those that it has.
pub fn change_mode(path: &Path, wanted: impl Fn(u32) -> u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (folder, name) = way_to(path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::empty())?);
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if wanted(mode) == mode {
        return Ok(());
    }
    file.set_permissions(std::fs::Permissions::from_mode(wanted(mode)))
}

/// Removes a file or a link.
pub fn remove_file(path: &Path) -> io::Result<()> {
    way_to(path)?;
    std::fs::remove_file(path)
}

/// Removes a folder with all that is in it; links in it are removed and not followed.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    way_to(path)?;
    std::fs::remove_dir_all(path)
}

/// Gives a file or folder another name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    way_to(from)?;
    way_to(to)?;
    std::fs::rename(from, to)
}

/// The bytes of a regular file, if they are no more than `limit`.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        Err(io::Error::other(format!("{} is larger than {limit} bytes", path.display())))
    } else {
        Ok(bytes)
    }
}

/// Makes a rename or a creation in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    Folder::open(path)?.sync()
}

/// Makes all that was written to the file system on which `path` lies durable.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    system::sync_file_system(&Folder::open(path)?.0)
}

/// Moves `path` out of the way under a name that says when, and returns that name. What could not be read is never
/// overwritten, and neither is what was set aside before.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = free_aside(path, CORRUPT)?;
    rename(path, &aside)?;
    Ok(aside)
}

/// Keeps `bytes`, the end of `path` that could not be read, beside it, and returns the name.
pub fn keep_aside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let aside = free_aside(path, TORN)?;
    let mut file = create_new(&aside, 0o600)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| drop(remove_file(&aside)))?;
    Ok(aside)
}

/// Whether a name is that of something that could not be read and was set aside: a whole file, or the end of one.
pub fn is_aside(name: &str) -> bool {
    name.contains(CORRUPT) || name.contains(TORN)
}

const CORRUPT: &str = ".corrupt-";
const TORN: &str = ".torn-";

fn free_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let stamp = crate::clock::iso(crate::clock::now()).replace(':', "-");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = (1..=1_000).map(|number| match number {
        1 => path.with_file_name(format!("{name}{why}{stamp}")),
        number => path.with_file_name(format!("{name}{why}{stamp}-{number}")),
    });
    let mut free = numbered.filter(|aside| !exists(aside));
    free.next().ok_or_else(|| io::Error::other(format!("too much was set aside beside {}", path.display())))
}

/// A name for what will replace `path`.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{:016x}", random()))
}

/// The file that a temporary one was to replace; `None` for the name of any other.
pub fn temporary_of(name: &str) -> Option<&str> {
    let (stem, random) = name.strip_prefix('.')?.rsplit_once('.')?;
    (random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())).then_some(stem)
}

/// Removes what interrupted calls of [`replace`] left beside the files `names`. Only for the one process that writes
/// them.
pub fn remove_temporaries(folder: &Path, names: &[&str]) {
    for (found, _) in read_folder(folder).unwrap_or_default() {
        if temporary_of(&found).is_some_and(|name| names.contains(&name)) {
            let _ = remove_file(&folder.join(found));
        }
    }
}

/// 64 random bits.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    u64::from_ne_bytes(bytes)
}
