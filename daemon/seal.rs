//! The seal on a journal's first line: proof that this user's daemon wrote it. A checkout can bring a journal, and a
//! journal starts work by itself; the key that proves its origin lies with the user and never in a project.

use ring::hmac;
use specweave_jobs::disk;
use specweave_jobs::project::JobId;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const KEY: &str = "journal.key";
const KEY_BYTES: usize = 32;

/// The user's key. It never leaves this process.
#[derive(Clone)]
pub struct Seal(hmac::Key);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot use {path}, the key that journals are sealed with: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not safe as the key that journals are sealed with: {why} (remove it to have a new one made)"
    )]
    Unsafe { path: PathBuf, why: &'static str },
}

impl Seal {
    /// The user's key, made at the first use: one for all projects, so that a project may move. A user without a home
    /// that can be written has it in `fallback`, a folder that only this user can use.
    pub fn of_user(fallback: &Path) -> Result<Self, SealError> {
        let home = directories::BaseDirs::new().map(|dirs| {
            let state = dirs.state_dir().unwrap_or(dirs.data_local_dir());
            Self::at(&state.join("specweave-jobs").join(KEY))
        });
        match home {
            Some(Err(SealError::Io { path, source })) => {
                tracing::warn!(path = %path.display(), error = %source, "no key of journals in the home folder");
                Self::at(&fallback.join(KEY))
            }
            None => Self::at(&fallback.join(KEY)),
            Some(found) => found,
        }
    }

    fn at(path: &Path) -> Result<Self, SealError> {
        let fail = |source| SealError::Io { path: path.to_path_buf(), source };
        let key = match read(path)? {
            Some(key) => key,
            None => {
                make(path).map_err(fail)?;
                read(path)?.ok_or_else(|| fail(ErrorKind::NotFound.into()))?
            }
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The seal of a first line, in hexadecimal.
    pub fn of(&self, id: &JobId, line: &[u8]) -> String {
        let tag = hmac::sign(&self.0, &bound(id, line));
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `seal` is that of this line in the journal of this job.
    pub fn is(&self, seal: &[u8], id: &JobId, line: &[u8]) -> bool {
        let digits = std::str::from_utf8(seal).unwrap_or_default();
        let tag: Option<Vec<u8>> = (0..digits.len().div_ceil(2))
            .map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
            .collect();
        tag.is_some_and(|tag| hmac::verify(&self.0, &bound(id, line), &tag).is_ok())
    }

    #[cfg(test)]
    pub fn of_test() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, b"a test's key"))
    }
}

/// An id holds no line break: neither part can pass for a piece of the other.
fn bound(id: &JobId, line: &[u8]) -> Vec<u8> {
    [id.as_str().as_bytes(), b"\n", line].concat()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SealError> {
    let unsafe_because = |why| Err(SealError::Unsafe { path: path.to_path_buf(), why });
    let key = match disk::read_regular(path, KEY_BYTES as u64) {
        Ok(key) => key,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SealError::Io { path: path.to_path_buf(), source }),
    };
    let facts = fs::symlink_metadata(path);
    let facts = facts.map_err(|source| SealError::Io { path: path.to_path_buf(), source })?;
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_because("it belongs to another user");
    }
    if facts.mode() & 0o077 != 0 {
        return unsafe_because("others may read it");
    }
    match key.len() == KEY_BYTES {
        true => Ok(Some(key)),
        false => unsafe_because("it is cut off"),
    }
}

/// Makes the key; of two daemons that do so at once, the first one's stays.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let unnamed = path.with_extension(format!("{:016x}", disk::random()));
    let made =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed).and_then(|mut file| {
            file.write_all(&key)?;
            file.sync_all()?;
            match fs::hard_link(&unnamed, path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => disk::sync_folder(folder),
            }
        });
    let _ = fs::remove_file(&unnamed);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_seal_holds_for_its_job_its_line_and_its_key_alone() {
        let (a, b) = (JobId::parse("a").unwrap(), JobId::parse("b").unwrap());
        let seal = Seal::of_test();
        let made = seal.of(&a, b"line");
        assert!(seal.is(made.as_bytes(), &a, b"line"));
        assert!(!seal.is(made.as_bytes(), &b, b"line"));
        assert!(!seal.is(made.as_bytes(), &a, b"lime"));
        assert!(!seal.is(b"", &a, b"line"));
        let other = Seal(hmac::Key::new(hmac::HMAC_SHA256, b"another"));
        assert!(!other.is(made.as_bytes(), &a, b"line"));
    }

    #[test]
    fn the_key_is_made_once_is_private_and_refused_when_it_is_not() {
        let folder = std::env::temp_dir().join(format!("seal-{:x}", disk::random()));
        let path = folder.join("specweave-jobs/journal.key");
        let id = JobId::parse("a").unwrap();
        let first = Seal::at(&path).unwrap().of(&id, b"x");
        assert_eq!(Seal::at(&path).unwrap().of(&id, b"x"), first);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Seal::at(&path), Err(SealError::Unsafe { .. })));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(Seal::at(&path), Err(SealError::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
