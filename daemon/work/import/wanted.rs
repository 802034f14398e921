//! What a request wants of its sources: since when, and which items may be new.

use super::ImportError;
use crate::model::item::{Item, Status};
use crate::model::patterns::Filter;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::v1::ImportSpec;

/// Where an import begins.
pub enum Since {
    Last,
    All,
    At(Millis, Option<u32>),
}

impl Since {
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let wrong = || ImportError::Since(text.to_owned());
        match text {
            "" | "last" => return Ok(Self::Last),
            "all" => return Ok(Self::All),
            _ => {}
        }
        if let Some(months) = text.strip_suffix('m') {
            let months =
                months.parse().ok().filter(|months| (1..=1_200).contains(months)).ok_or_else(wrong)?;
            return Ok(Self::At(months_ago(months), Some(months)));
        }
        let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let at = day.map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
        at.or_else(|| clock::parse_iso(text)).map(|at| Self::At(at, None)).ok_or_else(wrong)
    }
}

pub fn months_ago(months: u32) -> Millis {
    let now = chrono::DateTime::from_timestamp_millis(clock::now()).unwrap_or_default();
    now.checked_sub_months(chrono::Months::new(months)).unwrap_or_default().timestamp_millis()
}

/// Which items may be new. Those that have a file are kept up to date in any case.
pub struct Wanted {
    open_only: bool,
    labels: Vec<String>,
    titles: Filter,
    /// Says the same in a word, for the mark that belongs to it.
    pub text: String,
}

impl Wanted {
    pub fn new(spec: &ImportSpec) -> Result<Self, ImportError> {
        let open_only = match spec.state.as_str() {
            "" | "all" => false,
            "open" => true,
            other => return Err(ImportError::State(other.to_owned())),
        };
        let mut labels: Vec<String> = spec.labels.iter().map(|label| label.to_lowercase()).collect();
        labels.sort();
        let mut parts = Vec::new();
        if open_only {
            parts.push("state=open".to_owned());
        }
        parts.extend(labels.iter().map(|label| format!("label={label}")));
        parts.extend(spec.r#match.iter().map(|pattern| format!("match={pattern}")));
        Ok(Self { open_only, labels, titles: Filter::new(&spec.r#match, &[])?, text: parts.join(" ") })
    }

    pub fn takes(&self, item: &Item) -> bool {
        let has = |label: &String| item.labels.iter().any(|own| own.to_lowercase() == *label);
        !(self.open_only && matches!(item.status, Status::Completed | Status::Removed))
            && self.labels.iter().all(has)
            && self.titles.takes(&item.title)
    }
}
