//! Moments as the documented files write them. Milliseconds since 1970 (UTC) inside, never a local time.

use chrono::{DateTime, Utc};

/// Milliseconds since 1970-01-01T00:00:00Z, by the wall clock, so that they survive a laptop's sleep.
pub type Millis = i64;

/// The present moment.
pub fn now() -> Millis {
    Utc::now().timestamp_millis() + crate::crash::clock_offset()
}

/// `2026-11-23T00:20:41.998Z`, as JavaScript's `toISOString` writes it.
pub fn iso(at: Millis) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Reads RFC 3339. `None` when it is none.
pub fn parse_iso(text: &str) -> Option<Millis> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

/// The moment as the contract carries it.
pub fn timestamp(at: Millis) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.div_euclid(1000), nanos: (at.rem_euclid(1000) * 1_000_000) as i32 }
}

/// The contract's moment in milliseconds.
pub fn millis(at: &prost_types::Timestamp) -> Millis {
    at.seconds * 1000 + i64::from(at.nanos) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_text() {
        let at = 1_795_393_241_998;
        assert_eq!(iso(at), "2026-11-23T00:20:41.998Z");
        assert_eq!(parse_iso(&iso(at)), Some(at));
        assert_eq!(millis(&timestamp(at)), at);
        assert_eq!(millis(&timestamp(-1)), -1);
    }
}
