//! What was asked for besides the work itself: when it is done again, and who hears of its end. Pure.

use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use specweave_jobs::v1;
use std::num::NonZeroU64;

/// A command of more bytes is none that a person typed.
const MOST_COMMAND: usize = 16 * 1024;

/// Nobody plans further ahead, in seconds: a year.
const LONGEST: u64 = 366 * 24 * 60 * 60;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// The work is done again, so many seconds after it last began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<NonZeroU64>,
    /// A line for the shell, which is run when the work has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_finish: Option<String>,
    /// Whether the desktop tells of the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
}

/// Why a request's terms cannot be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    #[error("{0} seconds is too long for --every: a year is the most")]
    TooLong(u64),
    #[error("the command of --on-finish is longer than {MOST_COMMAND} bytes")]
    LongCommand,
    #[error("the command of --on-finish has a zero byte in it")]
    ZeroByte,
}

impl Terms {
    pub fn parse(spec: &v1::JobSpec) -> Result<Self, TermsError> {
        if spec.every_seconds > LONGEST {
            return Err(TermsError::TooLong(spec.every_seconds));
        }
        if spec.on_finish.len() > MOST_COMMAND {
            return Err(TermsError::LongCommand);
        }
        if spec.on_finish.contains('\0') {
            return Err(TermsError::ZeroByte);
        }
        let command = spec.on_finish.trim();
        Ok(Self {
            every: NonZeroU64::new(spec.every_seconds),
            on_finish: (!command.is_empty()).then(|| command.to_owned()),
            notify: spec.notify,
        })
    }

    /// Enters them into the request that would ask for the same again.
    pub fn enter(&self, spec: &mut v1::JobSpec) {
        spec.every_seconds = self.every.map_or(0, NonZeroU64::get);
        spec.on_finish = self.on_finish.clone().unwrap_or_default();
        spec.notify = self.notify;
    }

    /// When work that began then, and has ended now, is to begin again: the next moment of its rhythm that lies ahead, so that
    /// what took longer than its rhythm, or slept through it, is done once and not several times.
    pub fn next(&self, began: Millis, now: Millis) -> Option<Millis> {
        let period = i64::try_from(self.every?.get()).ok()?.checked_mul(1000)?;
        let behind = now.saturating_sub(began).max(0) / period;
        began.checked_add(period.checked_mul(behind + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_time_is_the_first_of_the_rhythm_that_lies_ahead() {
        let hourly = Terms { every: NonZeroU64::new(3_600), ..Terms::default() };
        assert_eq!(hourly.next(1_000, 61_000), Some(3_601_000));
        assert_eq!(hourly.next(1_000, 3_601_000), Some(7_201_000), "it is due only once");
        assert_eq!(
            hourly.next(1_000, 36_000_000),
            Some(36_001_000),
            "what was slept through is not made up for"
        );
        assert_eq!(Terms::default().next(0, 0), None);
    }

    proptest! {
        #[test]
        fn the_next_time_always_lies_ahead_and_at_most_a_period(
            every in 1..LONGEST, began in 0..4_000_000_000_000_i64, took in 0..400_000_000_000_i64
        ) {
            let terms = Terms { every: NonZeroU64::new(every), ..Terms::default() };
            let next = terms.next(began, began + took).unwrap();
            prop_assert!(next > began + took);
            prop_assert!(next <= began + took + every as i64 * 1000);
        }
    }
}
