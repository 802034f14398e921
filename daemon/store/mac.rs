//! Message authentication codes: proof that this user's daemon wrote what it finds in a project. A checkout can bring any
//! file, and what the daemon's own files say decides what runs and what is written; so each of them is believed only with
//! a MAC by this user's key over the place, the file and the content. The key lies with the user and never in a project.

use ring::hmac;
use serde_json::{Map, Value};
use specweave_jobs::disk;
use specweave_jobs::project::JobId;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const KEY: &str = "journal.key";
const KEY_BYTES: usize = 32;

/// Bytes of a MAC that are kept: enough that none is ever guessed.
const TAG_BYTES: usize = 16;

/// A MAC as text: lower-case hexadecimal digits.
pub const TAG_DIGITS: usize = 2 * TAG_BYTES;

/// The user's key. It never leaves this process.
pub struct UserKey(hmac::Key);

/// The key for one place: what one project's daemon wrote is not believed in a copy of the project.
#[derive(Clone)]
pub struct PlaceKey(hmac::Key);

/// The key for one file of a place.
#[derive(Clone)]
pub struct FileKey(hmac::Key);

/// A MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag([u8; TAG_BYTES]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot use {path}, the key that state files are authenticated with: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not safe as the key that state files are authenticated with: {why} (remove it to have a new one made)"
    )]
    Unsafe { path: PathBuf, why: &'static str },
}

impl UserKey {
    /// The user's key, made at the first use: one for all projects. A user without a home that can be written has it in
    /// `fallback`, a folder that only this user can use.
    pub fn of_user(fallback: &Path) -> Result<Self, KeyError> {
        let home = directories::BaseDirs::new().map(|dirs| {
            let state = dirs.state_dir().unwrap_or(dirs.data_local_dir());
            Self::at(&state.join("specweave-jobs").join(KEY))
        });
        match home {
            Some(Err(KeyError::Io { path, source })) => {
                tracing::warn!(path = %path.display(), error = %source, "no key in the home folder");
                Self::at(&fallback.join(KEY))
            }
            None => Self::at(&fallback.join(KEY)),
            Some(found) => found,
        }
    }

    #[cfg(test)]
    pub fn of_test(folder: &Path) -> Self {
        Self::at(&folder.join(KEY)).unwrap()
    }

    fn at(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Io { path: path.to_path_buf(), source };
        let key = match read(path)? {
            Some(key) => key,
            None => {
                make(path).map_err(fail)?;
                read(path)?.ok_or_else(|| fail(ErrorKind::NotFound.into()))?
            }
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The key for the place of this name.
    pub fn place(&self, name: &str) -> PlaceKey {
        PlaceKey(derived(&self.0, &["place", name]))
    }

    /// The MAC of what says which place this is.
    pub fn tag(&self, content: &[u8]) -> Tag {
        FileKey(derived(&self.0, &["places"])).tag(Tag::default(), content)
    }
}

impl PlaceKey {
    /// The key for a job's file.
    pub fn job(&self, id: &JobId, file: &str) -> FileKey {
        FileKey(derived(&self.0, &["job", id.as_str(), file]))
    }

    /// The key for a file of the place itself.
    pub fn file(&self, name: &str) -> FileKey {
        FileKey(derived(&self.0, &["file", name]))
    }

    #[cfg(test)]
    pub fn of_test() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, b"a test's key"))
    }
}

impl FileKey {
    /// The MAC of a part of the file that comes after the part with the MAC `before`: no part can be left out, moved or
    /// put in from elsewhere. The first part has [`Tag::default`] before it.
    pub fn tag(&self, before: Tag, content: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&before.0);
        context.update(content);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
        Tag(tag)
    }

    /// What is written of an object in JSON that is to be believed later: with its MAC as one more field.
    pub fn authenticated(&self, object: &impl serde::Serialize) -> Map<String, Value> {
        let mut fields = match serde_json::to_value(object).expect("plain data serialises") {
            Value::Object(fields) => fields,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        fields.remove(MAC);
        let tag = self.tag(Tag::default(), &covered(&fields));
        fields.insert(MAC.to_owned(), tag.hex().into());
        fields
    }

    /// The object without its MAC, if that is ours.
    pub fn believed(&self, mut object: Map<String, Value>) -> Option<Map<String, Value>> {
        let written = object.shift_remove(MAC)?;
        let tag = self.tag(Tag::default(), &covered(&object));
        tag.is(written.as_str()?.as_bytes()).then_some(object)
    }
}

/// The field of an object that holds its MAC.
const MAC: &str = "mac";

fn covered(fields: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(fields).expect("plain data serialises")
}

impl Tag {
    /// The MAC as it is written.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `written` is this MAC. Takes the same time whatever is written.
    pub fn is(self, written: &[u8]) -> bool {
        let written: &[u8; TAG_DIGITS] = match written.try_into() {
            Ok(written) => written,
            Err(_) => return false,
        };
        self.hex().bytes().zip(written).fold(0, |different, (ours, theirs)| different | (ours ^ theirs)) == 0
    }
}

/// A key that is good for one purpose alone. No part holds a NUL byte, so that none can pass for a piece of another.
fn derived(key: &hmac::Key, purpose: &[&str]) -> hmac::Key {
    let tag = hmac::sign(key, purpose.join("\0").as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
}

/// The key lies in the home folder, which may be reached through links as its owner likes.
fn read(path: &Path) -> Result<Option<Vec<u8>>, KeyError> {
    let unsafe_because = |why| Err(KeyError::Unsafe { path: path.to_path_buf(), why });
    let fail = |source| KeyError::Io { path: path.to_path_buf(), source };
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail(source)),
    };
    if !facts.is_file() {
        return Err(fail(io::Error::other("it is no regular file")));
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_because("it belongs to another user");
    }
    if facts.mode() & 0o077 != 0 {
        return unsafe_because("others may read it");
    }
    let mut key = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key))
        .map_err(fail)?;
    if key.len() == KEY_BYTES { Ok(Some(key)) } else { unsafe_because("it is cut off") }
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
                _ => fs::File::open(folder)?.sync_all(),
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
    fn a_mac_holds_for_its_place_its_file_its_order_and_its_content_alone() {
        let (a, b) = (JobId::parse("a").unwrap(), JobId::parse("b").unwrap());
        let user = UserKey(hmac::Key::new(hmac::HMAC_SHA256, b"a user's key"));
        let key = user.place("here").job(&a, "journal");
        let first = key.tag(Tag::default(), b"line");
        let written = first.hex().into_bytes();
        assert!(key.tag(Tag::default(), b"line").is(&written));
        assert!(!key.tag(Tag::default(), b"lime").is(&written));
        assert!(!key.tag(first, b"line").is(&written), "another line comes before it");
        assert!(!user.place("here").job(&b, "journal").tag(Tag::default(), b"line").is(&written));
        assert!(!user.place("there").job(&a, "journal").tag(Tag::default(), b"line").is(&written));
        assert!(!user.place("here").file("a\0journal").tag(Tag::default(), b"line").is(&written));
        let other = UserKey(hmac::Key::new(hmac::HMAC_SHA256, b"another's key"));
        assert!(!other.place("here").job(&a, "journal").tag(Tag::default(), b"line").is(&written));
        assert!(!first.is(b"") && !first.is(&written[1..]));
    }

    #[test]
    fn an_object_is_believed_as_it_was_written_and_in_no_other_form() {
        let key = PlaceKey::of_test().file("x");
        let written = key.authenticated(&serde_json::json!({"b": [1, {"c": "é"}], "a": null}));
        let read = |text: &str| key.believed(serde_json::from_str(text).unwrap());
        let text = serde_json::to_string_pretty(&written).unwrap();
        assert_eq!(serde_json::to_string(&read(&text).unwrap()).unwrap(), r#"{"b":[1,{"c":"é"}],"a":null}"#);
        assert_eq!(read(&text.replace("1,", "2,")), None);
        assert_eq!(read(r#"{"b":1}"#), None);
        assert_eq!(PlaceKey::of_test().file("y").believed(written), None);
    }

    #[test]
    fn the_key_is_made_once_is_private_and_refused_when_it_is_not() {
        let folder = std::env::temp_dir().join(format!("mac-{:x}", disk::random()));
        let path = folder.join("specweave-jobs/journal.key");
        let first = UserKey::at(&path).unwrap().tag(b"x");
        assert_eq!(UserKey::at(&path).unwrap().tag(b"x"), first);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(UserKey::at(&path), Err(KeyError::Unsafe { .. })));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(UserKey::at(&path), Err(KeyError::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
