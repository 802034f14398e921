//! Makes finished clones durable.

use std::io;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// One `syncfs` for all clones that are ready at the same moment: syncing file by file would cost more than
/// cloning them.
pub struct Syncer {
    requests: mpsc::Sender<oneshot::Sender<io::Result<()>>>,
}

impl Syncer {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        let (requests, mut waiting) = mpsc::channel::<oneshot::Sender<io::Result<()>>>(64);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut batch = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    batch.push(next);
                }
                let folder = folder.clone();
                let result = tokio::task::spawn_blocking(move || sync_file_system(&folder))
                    .await
                    .unwrap_or_else(|panic| Err(io::Error::other(panic)));
                for waiter in batch {
                    let copy = match &result {
                        Ok(()) => Ok(()),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    let _ = waiter.send(copy);
                }
            }
        });
        Self { requests }
    }

    pub async fn sync(&self) -> io::Result<()> {
        let gone = || io::Error::other("the syncing task has ended");
        let (reply, done) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

fn sync_file_system(folder: &Path) -> io::Result<()> {
    let folder = std::fs::File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    drop(folder);
    Ok(())
}
