//! Waits that end at a moment of the wall clock, so that a laptop's sleep delays none of them, and after the time that they
//! were to last as well, so that a clock that is set back holds nothing up.

use specweave_jobs::clock::{self, Millis};
use specweave_jobs::system::since_boot;
use std::time::Duration;

/// No wait is longer: a moment further away was written by a clock that was wrong.
const LONGEST: Millis = 3 * 3_600_000;

/// So often it is looked at both clocks.
const NAP: Millis = 1_000;

/// When a wait ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Millis,
    /// The same by a clock that nobody sets and that goes on while the machine sleeps.
    elapsed: Millis,
}

impl Deadline {
    /// A wait that begins now and ends at a moment of the wall clock.
    pub fn at_moment(at: Millis) -> Self {
        let left = at.saturating_sub(clock::now()).clamp(0, LONGEST);
        Self { at, elapsed: since_boot() + left }
    }

    /// A wait that begins now and lasts so long.
    pub fn after(wait: Duration) -> Self {
        let wait = Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX);
        Self::at_moment(clock::now().saturating_add(wait))
    }

    /// The moment that it was made for.
    pub fn at(&self) -> Millis {
        self.at
    }

    /// How much of it is left.
    pub fn left(&self) -> Millis {
        self.at.saturating_sub(clock::now()).min(self.elapsed - since_boot()).max(0)
    }

    pub fn is_over(&self) -> bool {
        self.left() == 0
    }

    /// Waits until it is over.
    pub async fn reached(self) {
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(self.left().clamp(1, NAP) as u64)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_either_clock_and_is_never_endless() {
        let now = clock::now();
        assert!(Deadline::at_moment(now - 1).is_over());
        assert!(
            Deadline { at: now - 1, elapsed: since_boot() + 60_000 }.is_over(),
            "the clock was set forward"
        );
        assert!(
            Deadline { at: now + 31_536_000_000, elapsed: since_boot() }.is_over(),
            "the clock was set back"
        );
        assert!(Deadline::at_moment(Millis::MAX).left() <= LONGEST);
        assert!(!Deadline::at_moment(now + 60_000).is_over());
    }
}
