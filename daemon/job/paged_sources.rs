//! How far a job is that reads sources page by page: a cursor and counts for each, however many items there are.
//! Pure, as [`crate::job`] is; a page counts when its event is applied and never before.

use crate::model::failure::{FailedItem, Failure};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Failures that are kept by name; of more, only their number is known, and the log.
pub const MOST_NAMED: usize = 1_000;

/// What became of the items of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub created: u64,
    pub updated: u64,
    /// As they were already.
    pub unchanged: u64,
    /// Read, but not wanted by the request's filters.
    pub left_out: u64,
}

impl Counts {
    pub fn sum(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.left_out
    }

    pub fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.left_out += other.left_out;
    }
}

/// A page whose effects are on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageDone {
    pub source: u32,
    /// Where the source goes on; only its own reader understands it.
    pub cursor: Arc<str>,
    /// Items of the source in all, as far as it has said.
    pub total: Option<u64>,
    pub counts: Counts,
    pub failed: Vec<FailedItem>,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagedSource {
    pub name: Arc<str>,
    /// `None` before the first page.
    pub cursor: Option<Arc<str>>,
    pub counts: Counts,
    pub failed: u64,
    pub end: Option<End>,
    total: u64,
    failures: Arc<Vec<FailedItem>>,
}

/// How a source was read to its end, or given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Read,
    Failed(Arc<Failure>),
}

impl PagedSource {
    /// The failures whose names are known.
    pub fn failures(&self) -> &[FailedItem] {
        &self.failures
    }

    pub fn current(&self) -> u64 {
        self.counts.sum() + self.failed
    }

    /// Items in all: what the source said, while that can be true.
    pub fn total(&self) -> u64 {
        match self.end {
            Some(End::Read) => self.current(),
            _ => self.total.max(self.current()),
        }
    }
}

/// All sources of a job. Copies share the texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagedSources(Vec<PagedSource>);

impl PagedSources {
    pub fn new(names: &[String]) -> Self {
        Self(
            names
                .iter()
                .map(|name| PagedSource { name: name.as_str().into(), ..PagedSource::default() })
                .collect(),
        )
    }

    pub fn all(&self) -> &[PagedSource] {
        &self.0
    }

    pub fn get(&self, source: u32) -> Option<&PagedSource> {
        self.0.get(source as usize)
    }

    pub fn current(&self) -> u64 {
        self.0.iter().map(PagedSource::current).sum()
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(PagedSource::total).sum()
    }

    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.0.iter().for_each(|source| sum.add(&source.counts));
        sum
    }

    /// Items that failed, and sources that could not be read.
    pub fn failed(&self) -> u64 {
        let broken = |source: &&PagedSource| matches!(source.end, Some(End::Failed(_)));
        self.0.iter().map(|source| source.failed).sum::<u64>() + self.0.iter().filter(broken).count() as u64
    }

    /// The names of what failed, with the reasons.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        self.0.iter().flat_map(|source| {
            let broken = match &source.end {
                Some(End::Failed(failure)) => Some((&*source.name, &**failure)),
                _ => None,
            };
            source.failures.iter().map(|one| (one.name.as_str(), &one.failure)).chain(broken)
        })
    }

    pub fn has_ended(&self) -> bool {
        self.0.iter().all(|source| source.end.is_some())
    }

    /// Panics when there is no such source.
    pub fn page(&mut self, page: PageDone) {
        let source = &mut self.0[page.source as usize];
        source.cursor = Some(page.cursor);
        source.total = page.total.unwrap_or(source.total);
        source.counts.add(&page.counts);
        source.failed += page.failed.len() as u64;
        if !page.failed.is_empty() {
            let room = MOST_NAMED.saturating_sub(source.failures.len());
            Arc::make_mut(&mut source.failures).extend(page.failed.into_iter().take(room));
        }
    }

    /// Panics when there is no such source.
    pub fn end(&mut self, source: u32, end: End) {
        self.0[source as usize].end = Some(end);
    }

    /// What could not be read goes on where it stopped; a source with failed items is read again from its beginning.
    pub fn retry(&mut self) {
        for source in &mut self.0 {
            // One that is still under way goes on from there, whatever failed on its way.
            if source.failed > 0 && source.end.is_some() {
                *source = PagedSource { name: source.name.clone(), ..PagedSource::default() };
            } else if matches!(source.end, Some(End::Failed(_))) {
                source.end = None;
            }
        }
    }
}
