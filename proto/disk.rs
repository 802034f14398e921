//! Files that are replaced whole: a reader sees the old one or the new one, never a torn one.

use crate::crash;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces `path` with `bytes`: temporary file in the same folder with `mode` from its creation, sync,
/// rename, and a sync of the folder when the name is new.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_if(path, bytes, mode, || true).map(|_| ())
}

/// As [`replace`], if `still` holds when the bytes are on the disk and only the rename is left. Whether it was done.
pub fn replace_if(path: &Path, bytes: &[u8], mode: u32, still: impl Fn() -> bool) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = temporary_beside(path);
    let result = (|| {
        let mut file = create_new(&temporary, mode)?;
        file.write_all(bytes)?;
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

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{:016x}", random()))
}

/// Removes what interrupted calls of [`replace`] left beside the files `names`. Only for the one process that writes
/// them.
pub fn remove_temporaries(folder: &Path, names: &[&str]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.')).is_some_and(
            |(stem, random)| {
                names.contains(&stem) && random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())
            },
        );
        if is_ours {
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
