//! Which items a request wants as new ones, and when a number of months began.

use crate::job::order::ImportOrder;
use crate::model::item::{Item, Status};
use crate::model::patterns::Filter;
use specweave_jobs::clock::{self, Millis};

pub fn months_ago(months: u32) -> Millis {
    let now = chrono::DateTime::from_timestamp_millis(clock::now()).unwrap_or_default();
    now.checked_sub_months(chrono::Months::new(months)).unwrap_or_default().timestamp_millis()
}

pub fn days_ago(days: u32) -> Millis {
    clock::now() - Millis::from(days) * 24 * 3_600_000
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
    pub fn new(order: &ImportOrder) -> Self {
        let mut labels: Vec<String> = order.labels.iter().map(|label| label.to_lowercase()).collect();
        labels.sort();
        let mut parts = Vec::new();
        if order.open_only {
            parts.push("state=open".to_owned());
        }
        parts.extend(labels.iter().map(|label| format!("label={label}")));
        parts.extend(order.titles.texts().iter().map(|pattern| format!("match={pattern}")));
        let titles = Filter::new(&order.titles, &Default::default());
        Self { open_only: order.open_only, labels, titles, text: parts.join(" ") }
    }

    pub fn takes(&self, item: &Item) -> bool {
        let has = |label: &String| item.labels.iter().any(|own| own.to_lowercase() == *label);
        !(self.open_only && matches!(item.status, Status::Completed | Status::Cancelled | Status::Removed))
            && self.labels.iter().all(has)
            && self.titles.takes(&item.title)
    }
}
