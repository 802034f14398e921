//! Whether there is memory for more work, and when it is given back. A process that its system ends for want of it loses nothing that was
//! acknowledged, but everything that it was doing; one that takes no more work lives.

use specweave_jobs::system::{self, Use};
use std::time::Duration;
use tokio::task::AbortHandle;

/// New work is refused when less than this part of what the process may use is left.
const RESERVE_PERCENT: u64 = 10;

fn is_short(of: &Use) -> bool {
    of.limit.saturating_sub(of.used) < of.limit / 100 * RESERVE_PERCENT
}

/// Why no new work should begin, if so: the limit of this process, or of the container that it runs in, is near.
pub fn shortage() -> Option<String> {
    let short = system::memory().into_iter().find(is_short)?;
    let megabytes = |bytes: u64| bytes / (1024 * 1024);
    Some(format!(
        "the daemon uses {} MB of the {} MB of memory that it may use",
        megabytes(short.used),
        megabytes(short.limit)
    ))
}

/// By then the daemon is reachable, or the end of the last run is written everywhere, and what that took is free as well.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What the start or the last run took: it is handed back when nothing runs, for a daemon may live for days after it.
#[derive(Default)]
pub struct Spare(Option<AbortHandle>);

impl Spare {
    pub fn give_back_soon(&mut self) {
        self.keep();
        let giving = tokio::spawn(async {
            tokio::time::sleep(SETTLED_AFTER).await;
            // It goes through all of the heap.
            let _ = tokio::task::spawn_blocking(system::give_memory_back).await;
        });
        self.0 = Some(giving.abort_handle());
    }

    /// A run begins, and would take it anew.
    pub fn keep(&mut self) {
        if let Some(giving) = self.0.take() {
            giving.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_kept() {
        let of_a_thousand = |used| is_short(&Use { used, limit: 1_000 });
        assert!(!of_a_thousand(0) && !of_a_thousand(900));
        assert!(of_a_thousand(901) && of_a_thousand(1_000) && of_a_thousand(2_000));
    }
}
