//! How long a remote may say nothing. It is counted while this process runs: a daemon that was suspended, or that a busy machine
//! did not let run, has heard nothing either, and what came meanwhile waits to be read.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// A silence is made of so many parts; a time in which the process stood still is one of them, however long it was.
const PARTS: u32 = 8;

/// The remote said nothing for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stalled: no byte for {} s", .0.as_secs())]
pub struct Silence(pub Duration);

/// What `hearing` gives, unless it takes longer than `limit`.
pub async fn broken_within<T>(limit: Duration, hearing: impl Future<Output = T>) -> Result<T, Silence> {
    let mut hearing = pin!(hearing);
    for _ in 0..PARTS {
        if let Ok(heard) = tokio::time::timeout(limit / PARTS, &mut hearing).await {
            return Ok(heard);
        }
    }
    Err(Silence(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(80);

    #[tokio::test]
    async fn a_silence_ends_after_its_limit() {
        let begin = std::time::Instant::now();
        assert_eq!(broken_within(LIMIT, std::future::pending::<()>()).await, Err(Silence(LIMIT)));
        assert!(begin.elapsed() >= LIMIT);
    }

    #[tokio::test]
    async fn a_time_in_which_the_process_stood_still_is_no_silence() {
        let hearing = async {
            std::thread::sleep(LIMIT * 3);
            tokio::time::sleep(Duration::from_millis(1)).await;
            "a byte"
        };
        assert_eq!(broken_within(LIMIT, hearing).await, Ok("a byte"));
    }
}
