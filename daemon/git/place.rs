//! Blocking steps, and the folders they write to: a cancellation is answered at once, and the folder stays
//! claimed until the last thread that writes there has ended.

use crate::git::CloneError;
use specweave_jobs::disk;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// The right to work in one partial folder. A blocking step that was cancelled holds on to it until its thread
/// has really ended.
pub struct Place {
    claim: Arc<OwnedMutexGuard<()>>,
}

/// Waits until nothing in this process works in the folder any more.
pub async fn claim(partial: &Path) -> Place {
    static PLACES: LazyLock<Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let lock = {
        let mut places = PLACES.lock().expect("no holder panics");
        places.retain(|_, lock| lock.strong_count() > 0);
        match places.get(partial).and_then(Weak::upgrade) {
            Some(lock) => lock,
            None => {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                places.insert(partial.to_path_buf(), Arc::downgrade(&lock));
                lock
            }
        }
    };
    Place { claim: Arc::new(lock.lock_owned().await) }
}

impl Place {
    /// Runs a blocking step. A cancellation is answered at once; the thread ends when it can.
    pub async fn blocking<T: Send + 'static>(
        &self,
        cancel: &CancellationToken,
        work: impl FnOnce() -> Result<T, CloneError> + Send + 'static,
    ) -> Result<T, CloneError> {
        let claim = self.claim.clone();
        let step = blocking(move || {
            let result = work();
            drop(claim);
            result
        });
        unless_cancelled(cancel, step).await
    }
}

/// Removes what a cancelled attempt leaves, once its threads have ended; the folder is claimed until then.
pub async fn clear_away(place: Place, partial: PathBuf) {
    let Place { mut claim } = place;
    loop {
        match Arc::try_unwrap(claim) {
            Ok(_last) => {
                let _ = remove_folder(&partial).await;
                return;
            }
            Err(shared) => claim = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, CloneError>>,
) -> Result<T, CloneError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CloneError::Cancelled),
        result = work => result,
    }
}

pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CloneError> + Send + 'static,
) -> Result<T, CloneError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
        Err(CloneError::Local { what: "finish the clone", source: io::Error::other(panic) })
    })
}

/// Removes a folder, if it is there.
pub fn remove(at: &Path) -> Result<(), CloneError> {
    match disk::remove_folder(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CloneError::Local { what: "remove a partial clone", source: error })
        }
        _ => Ok(()),
    }
}

pub async fn remove_folder(at: &Path) -> Result<(), CloneError> {
    let at = at.to_path_buf();
    blocking(move || remove(&at)).await
}
