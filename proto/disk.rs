//! Files that are replaced whole: a reader sees the old one or the new one, never a torn one.

use crate::crash;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
        let is_new = !path.exists();
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
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Whether both files hold the same bytes; a missing one holds other bytes than any.
pub fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (Ok(one), Ok(other)) = (File::open(one), File::open(other)) else { return Ok(false) };
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
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Opens a regular file for reading: not through a link, and nothing that could hold the reader up.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_unlinked(OpenOptions::new().read(true), path)
}

/// Opens a regular file as `options` say, and nothing that a link leads to: the project may have come with one.
pub fn open_unlinked(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits() as i32).open(path).map_err(|error| {
        match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => {
                io::Error::other(format!("{} is a link, and links are not followed here", path.display()))
            }
            false => error,
        }
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is no regular file", path.display()))),
    }
}

/// The bytes of a regular file, if they are no more than `limit`.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("{} is larger than {limit} bytes", path.display()))),
        false => Ok(bytes),
    }
}

/// Makes a rename or a creation in `folder` durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Moves `path` out of the way under a name that says when and why, and returns that name.
/// What could not be read is never overwritten.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let stamp = crate::clock::iso(crate::clock::now()).replace(':', "-");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{name}.corrupt-{stamp}"));
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
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
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if temporary_of(&entry.file_name().to_string_lossy()).is_some_and(|name| names.contains(&name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// 64 random bits.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    u64::from_ne_bytes(bytes)
}
