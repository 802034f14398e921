//! Whether this daemon still is the one that may write: looked at before whatever must not land in another's project.

use specweave_jobs::disk;
use specweave_jobs::project::{Identity, Project};
use std::io;

/// Whether this daemon still is the one of its project. Its folder may be moved, and its state removed, while it lives;
/// nothing may be written then, as another daemon may be there by now.
#[derive(Clone, Debug)]
pub struct Tenure {
    project: Project,
    lock: Identity,
}

impl Tenure {
    /// The tenure of the daemon whose lock in the project is that file.
    pub fn new(project: &Project, lock: Identity) -> Self {
        Self { project: project.clone(), lock }
    }

    /// As [`Self::holds`], as an error for whoever is about to write.
    pub fn check(&self) -> io::Result<()> {
        if self.holds() {
            Ok(())
        } else {
            Err(io::Error::other("the project or its state was moved or removed"))
        }
    }

    /// Whether the project and this daemon's lock in it still stand where they stood.
    pub fn holds(&self) -> bool {
        let now = disk::facts(&self.project.daemon().lock());
        self.project.is_still_here()
            && now.is_ok_and(|now| Identity { device: now.device, inode: now.inode } == self.lock)
    }
}
