//! Makes finished clones durable and gives them their names, in batches: one `syncfs` for all that are ready at
//! the same moment, then their renames, then one sync of each folder. Syncing file by file, or clone by clone,
//! would cost more than cloning.

use crate::store::tenure::Tenure;
use specweave_jobs::{crash, disk};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// What became of a finished clone.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    Named,
    /// Something came to stand at the target meanwhile; the clone still has its partial name.
    Taken,
}

struct Request {
    partial: PathBuf,
    target: PathBuf,
    reply: oneshot::Sender<io::Result<Published>>,
}

pub struct Publisher {
    requests: mpsc::Sender<Request>,
}

impl Publisher {
    /// `folder` is any on the file system that the clones are on.
    pub fn start(folder: &Path, tenure: Tenure) -> Self {
        let folder = folder.to_path_buf();
        let (requests, mut waiting) = mpsc::channel::<Request>(64);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut batch = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    batch.push(next);
                }
                let (folder, tenure) = (folder.clone(), tenure.clone());
                // A panic drops the replies, which their waiters hear.
                let _ = tokio::task::spawn_blocking(move || publish(&folder, &tenure, batch)).await;
            }
        });
        Self { requests }
    }

    /// Waits until the clone is durable under its name. Not to be abandoned half-way: the rename may be under
    /// way.
    pub async fn publish(&self, partial: &Path, target: &Path) -> io::Result<Published> {
        let gone = || io::Error::other("the settling task has ended");
        let (reply, done) = oneshot::channel();
        let request = Request { partial: partial.to_path_buf(), target: target.to_path_buf(), reply };
        self.requests.send(request).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

fn publish(folder: &Path, tenure: &Tenure, batch: Vec<Request>) {
    if let Err(error) = disk::sync_file_system(folder) {
        return batch.into_iter().for_each(|request| drop(request.reply.send(Err(copy(&error)))));
    }
    crash::point("clones-synced");
    let mut folders = BTreeSet::new();
    let mut answers = Vec::with_capacity(batch.len());
    for Request { partial, target, reply } in batch {
        // A clone of this project is not to stand in another one that took its place.
        let gone = || io::Error::other("the project or its state was moved or removed");
        let renamed = if tenure.holds() { disk::rename(&partial, &target) } else { Err(gone()) };
        let result = match renamed {
            Ok(()) => {
                crash::point("clone-renamed");
                folders.extend(target.parent().map(Path::to_path_buf));
                Ok(Published::Named)
            }
            Err(error) if is_taken(&error) => Ok(Published::Taken),
            Err(error) => Err(error),
        };
        answers.push((reply, result));
    }
    let synced = folders.iter().try_for_each(|folder| disk::sync_folder(folder));
    crash::point("clone-folders-synced");
    for (reply, result) in answers {
        let _ = reply.send(match &synced {
            Ok(()) => result,
            Err(error) => Err(copy(error)),
        });
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}
