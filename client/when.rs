//! Ages and moments as people type them. Pure but for the clock.

use specweave_jobs::clock::{self, Millis};
use std::str::FromStr;
use std::time::Duration;

/// A span of time: `90s`, `10m`, `2h`, `7d`, `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    #[error("{0:?} is no span of time: write 90s, 10m, 2h, 7d or 2w")]
    Age(String),
    #[error("{0:?} is neither a span of time such as 10m, 2h, 1d nor a moment such as 2026-01-31T08:00")]
    Moment(String),
}

impl FromStr for Age {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let wrong = || WhenError::Age(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        Ok(Self(Duration::from_secs(u64::from(count) * seconds)))
    }
}

/// A moment, given as one or by how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(pub Millis);

impl FromStr for Since {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        if let Ok(Age(age)) = text.parse() {
            return Ok(Self(clock::now().saturating_sub(age.as_millis() as Millis)));
        }
        if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
            return Ok(Self(moment.timestamp_millis()));
        }
        // Without a zone it is the reader's own time.
        let formats = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
        let day = || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        let moment =
            formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
        let local =
            moment.or_else(day).and_then(|moment| moment.and_local_timezone(chrono::Local).earliest());
        local.map(|moment| Self(moment.timestamp_millis())).ok_or_else(|| WhenError::Moment(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_moments_are_read_as_people_type_them() {
        assert_eq!("7d".parse(), Ok(Age(Duration::from_secs(7 * 86_400))));
        assert_eq!("90s".parse(), Ok(Age(Duration::from_secs(90))));
        for wrong in ["", "d", "7", "7y", "-1d", "1.5h", "é"] {
            assert_eq!(wrong.parse::<Age>(), Err(WhenError::Age(wrong.into())), "{wrong}");
        }
        assert_eq!("2026-01-31T08:00:00Z".parse(), Ok(Since(1_769_846_400_000)));
        let Since(ago) = "2h".parse().unwrap();
        assert!((clock::now() - ago - 7_200_000).abs() < 10_000);
        assert!("2026-01-31".parse::<Since>().is_ok() && "2026-01-31 08:00".parse::<Since>().is_ok());
        assert!("yesterday".parse::<Since>().is_err());
    }
}
