//! How the contract's values look in `--json`.

use crate::v1;
use serde::Serializer;

pub(crate) fn moment<S: Serializer>(at: &Option<prost_types::Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_str(&crate::clock::iso(crate::clock::millis(at))),
        None => to.serialize_none(),
    }
}

/// The word of an enum's value: its name in the contract without what all names of that enum begin with.
macro_rules! word {
    ($name:ident, $enum:ident, $prefix:literal) => {
        pub(crate) fn $name<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(&v1::$enum::try_from(*value).unwrap_or_default().word())
        }

        impl v1::$enum {
            /// As `--json` and tables write it.
            pub fn word(self) -> String {
                self.as_str_name().trim_start_matches($prefix).to_ascii_lowercase()
            }

            /// The value of a [`Self::word`]; unspecified for any other text.
            pub fn of_word(word: &str) -> Self {
                let name = format!("{}{}", $prefix, word.to_ascii_uppercase());
                Self::from_str_name(&name).unwrap_or_default()
            }
        }
    };
}

word!(job_state, JobState, "JOB_STATE_");
word!(pause_reason, PauseReason, "PAUSE_REASON_");
word!(item_state, ItemState, "ITEM_STATE_");
word!(action, Action, "ACTION_");
word!(failure_reason, FailureReason, "FAILURE_REASON_");
word!(tracker, Tracker, "TRACKER_");
word!(direction, Direction, "DIRECTION_");
word!(on_conflict, OnConflict, "ON_CONFLICT_");
word!(layout, Layout, "LAYOUT_");
word!(gone, Gone, "GONE_");

pub(crate) fn trackers<S: Serializer>(values: &[i32], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(|value| v1::Tracker::try_from(*value).unwrap_or_default().word()))
}

pub(crate) fn job_type<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
    let kind = v1::JobType::try_from(*value).unwrap_or_default();
    to.serialize_str(crate::mirror::type_word(kind))
}
