//! Makes a finished clone durable and gives it its name. What is waited for is what makes the clone whole: its objects, refs, index and
//! configuration, file by file, so that nobody waits for what other programs write to the same disk. The work tree is
//! not: like after a clone of git's own, a machine that loses its power may leave files of it to be checked out again.
//! Many clones are published side by side, and the file system then makes them durable in one go. Everything here blocks.

use crate::git::mark;
use crate::git::standing::git_folder;
use crate::store::tenure::Tenure;
use specweave_jobs::disk::{self, Folder, Kind};
use specweave_jobs::process::descriptor_limit;
use specweave_jobs::{crash, system};
use std::fs::File;
use std::io;
use std::path::Path;

/// What became of a finished clone.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    Named,
    /// Something came to stand at the target meanwhile; the clone still has its partial name.
    Taken,
}

/// Gives the clone in `partial` the name `target`, once it is durable.
pub fn publish(partial: &Path, target: &Path, tenure: &Tenure) -> io::Result<Published> {
    let mut durable = Durable::default();
    let git = git_folder(partial).ok_or(io::ErrorKind::NotFound)?;
    durable.take(Folder::open(&git)?, Path::new(""))?;
    durable.sync()?;
    disk::sync_folder(partial)?;
    crash::point("clone-synced");
    // A clone of this project is not to stand in another one that took its place.
    tenure.check()?;
    match disk::rename(partial, target) {
        Ok(()) => crash::point("clone-renamed"),
        Err(error) if is_taken(&error) => return Ok(Published::Taken),
        Err(error) => return Err(error),
    }
    target.parent().map_or(Ok(()), disk::sync_folder)?;
    crash::point("clone-folder-synced");
    Ok(Published::Named)
}

/// What git itself makes again, or does without, by its place in a repository's folder of git's.
fn is_left_out(at: &Path, name: &str) -> bool {
    match at.to_str() {
        Some("") => ["hooks", "info", "logs", "description"].contains(&name) || mark::is_name(name),
        // It only says which branch of a remote is its default.
        _ => name == "HEAD" && at.parent() == Some(Path::new("refs/remotes")),
    }
}

/// Files and folders of one clone that are held open. A clone has a dozen of each that count; one with submodules may have many more,
/// and their order does not matter before the clone has its name.
const MOST_OPEN: usize = 32;

/// Folders inside each other on the way to them, and what else is open beside them.
const ON_THE_WAY: usize = 8;

/// Enough for the file system to make many durable in one go.
const MOST_AT_A_TIME: usize = 16;

/// How many clones are made durable at a time: what they hold open is at most half of what this process may.
pub fn at_a_time() -> usize {
    let half = descriptor_limit() as usize / 2;
    (half / (MOST_OPEN + ON_THE_WAY)).clamp(1, MOST_AT_A_TIME)
}

/// What is waited for in a clone.
#[derive(Default)]
struct Durable {
    files: Vec<File>,
    folders: Vec<Folder>,
}

impl Durable {
    /// Takes what is in the folder that stands at `at`, and the folder, if there is anything in it that counts.
    fn take(&mut self, folder: Folder, at: &Path) -> io::Result<bool> {
        let mut has_anything = false;
        for (name, kind) in folder.entries()? {
            if is_left_out(at, &name) {
                continue;
            }
            has_anything |= match kind {
                Kind::File => {
                    self.make_room()?;
                    self.files.push(folder.file(&name)?);
                    true
                }
                Kind::Folder => self.take(folder.folder(&name)?, &at.join(&name))?,
                Kind::Link | Kind::Other => false,
            };
        }
        if has_anything {
            self.make_room()?;
            self.folders.push(folder);
        }
        Ok(has_anything)
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.files.len() + self.folders.len() < MOST_OPEN { Ok(()) } else { self.sync() }
    }

    /// Waits for all that is held, and lets go of it.
    fn sync(&mut self) -> io::Result<()> {
        self.files.iter().for_each(system::begin_writing);
        self.files.drain(..).try_for_each(|file| file.sync_all())?;
        self.folders.drain(..).try_for_each(|folder| folder.sync())
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}
