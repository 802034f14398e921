//! How the contract's values look in `--json`.

use crate::v1;
use serde::Serializer;

pub(crate) fn moment<S: Serializer>(at: &Option<prost_types::Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_str(&crate::clock::iso(crate::clock::millis(at))),
        None => to.serialize_none(),
    }
}

macro_rules! word {
    ($name:ident, $enum:ident, $prefix:literal) => {
        pub(crate) fn $name<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
            let name = v1::$enum::try_from(*value).unwrap_or_default().as_str_name();
            to.serialize_str(&name.trim_start_matches($prefix).to_ascii_lowercase())
        }
    };
}

word!(job_state, JobState, "JOB_STATE_");
word!(pause_reason, PauseReason, "PAUSE_REASON_");
word!(item_state, ItemState, "ITEM_STATE_");

pub(crate) fn job_type<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
    let kind = v1::JobType::try_from(*value).unwrap_or_default();
    to.serialize_str(crate::mirror::type_word(kind))
}
