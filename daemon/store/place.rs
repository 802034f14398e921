//! Which place a project is. The daemon's own files are bound to their place: a copy of a project is another one, so that
//! two copies never do the same work twice at a tracker, while a project that was moved stays the place that it was.

use crate::store::mac::{PlaceKey, UserKey};
use serde::{Deserialize, Serialize};
use specweave_jobs::disk;
use specweave_jobs::project::{Identity, Project};
use std::io;
use std::path::{Path, PathBuf};

/// What is kept of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Random; no two places share one.
    name: String,
    /// Where the project lay when this was written.
    root: PathBuf,
    /// Which folder its `.specweave` was.
    identity: Identity,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    place: Record,
    /// By the user's key, over the place.
    mac: String,
}

/// A few paths.
const MOST_BYTES: u64 = 64 * 1024;

/// The key for a project's state, and what a person should know about its place.
pub struct Place {
    pub key: PlaceKey,
    pub notice: Option<String>,
}

impl Place {
    /// Finds out which place a project is: the one that its file names, also after a move, or a new one.
    pub fn of(project: &Project, user: &UserKey) -> io::Result<Self> {
        let path = project.daemon().place();
        let kept = match disk::read_regular(&path, MOST_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::Other => Some(Vec::new()),
            Err(error) => return Err(error),
        };
        let believed = kept.as_deref().and_then(|bytes| believed(bytes, user));
        let here =
            |name: String| Record { name, root: project.root().to_path_buf(), identity: project.identity() };
        let (record, notice) = match (&believed, &kept) {
            (Some(record), _) if !is_copy(record, project) => (here(record.name.clone()), None),
            (Some(original), _) => {
                let notice = format!(
                    "this project is a copy of {}: its jobs and what they remember stay with the original, and are not \
                     gone on with here",
                    original.root.display()
                );
                (here(random_name()), Some(notice))
            }
            (None, Some(_)) => {
                let aside = disk::set_aside(&path)?;
                let notice = format!(
                    "{} was not written by this user's daemon, and was set aside as {}",
                    path.display(),
                    aside.display()
                );
                (here(random_name()), Some(notice))
            }
            (None, None) => (here(random_name()), None),
        };
        if believed.as_ref() != Some(&record) {
            let mac = user.tag(&covered(&record)).hex();
            let key = Kept { place: record.clone(), mac };
            disk::replace(&path, &serde_json::to_vec(&key).expect("plain data serialises"), 0o600)?;
        }
        Ok(Self { key: user.place(&record.name), notice })
    }
}

fn random_name() -> String {
    format!("{:016x}{:016x}", disk::random(), disk::random())
}

fn covered(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("plain data serialises")
}

fn believed(bytes: &[u8], user: &UserKey) -> Option<Record> {
    let kept: Kept = serde_json::from_slice(bytes).ok()?;
    user.tag(&covered(&kept.place)).is(kept.mac.as_bytes()).then_some(kept.place)
}

/// Whether the place that a record names still stands somewhere else. A folder that was moved is the same folder at
/// another path, or, from one file system to another, no longer there under the old path.
fn is_copy(record: &Record, project: &Project) -> bool {
    let is_same_folder = record.identity == project.identity();
    record.root != project.root() && !is_same_folder && stands(&record.root, record.identity)
}

fn stands(root: &Path, identity: Identity) -> bool {
    let found = disk::facts(&root.join(".specweave"));
    found.is_ok_and(|found| Identity { device: found.device, inode: found.inode } == identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mac::Tag;
    use std::fs;

    fn project(root: &Path) -> Project {
        fs::create_dir_all(root.join(".specweave/state/jobs-daemon")).unwrap();
        Project::find(root).unwrap()
    }

    fn copy(from: &Path, to: &Path) {
        let status = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
        assert!(status.success());
    }

    fn name_of(root: &Path, user: &UserKey) -> (String, bool) {
        let place = Place::of(&project(root), user).unwrap();
        (place.key.file("x").tag(Tag::default(), b"").hex(), place.notice.is_some())
    }

    #[test]
    fn a_moved_project_is_the_same_place_and_a_copied_or_planted_one_is_not() {
        let folder = std::env::temp_dir().join(format!("place-{:x}", disk::random()));
        let home = folder.join("key");
        fs::create_dir_all(&home).unwrap();
        let user = UserKey::of_test(&home);
        let (first, told) = name_of(&folder.join("p"), &user);
        assert!(!told);
        assert_eq!(name_of(&folder.join("p"), &user), (first.clone(), false));

        fs::rename(folder.join("p"), folder.join("moved")).unwrap();
        assert_eq!(name_of(&folder.join("moved"), &user), (first.clone(), false));

        copy(&folder.join("moved"), &folder.join("copy"));
        let (copied, told) = name_of(&folder.join("copy"), &user);
        assert!(copied != first && told);
        assert_eq!(name_of(&folder.join("copy"), &user), (copied, false), "it is told once");
        assert_eq!(name_of(&folder.join("moved"), &user), (first.clone(), false));

        // Moved to another file system: another folder, and the old one is gone.
        copy(&folder.join("moved"), &folder.join("elsewhere"));
        fs::remove_dir_all(folder.join("moved")).unwrap();
        assert_eq!(name_of(&folder.join("elsewhere"), &user), (first.clone(), false));

        let other = folder.join("other-key");
        fs::create_dir_all(&other).unwrap();
        let stranger = UserKey::of_test(&other);
        let (theirs, told) = name_of(&folder.join("elsewhere"), &stranger);
        assert!(theirs != first && told);
        fs::remove_dir_all(&folder).unwrap();
    }
}
