//! One source, page by page: read ahead and kept, chosen, given its parents, written, and only then counted.

use super::wanted::Wanted;
use super::window;
use crate::docs::writer::Writer;
use crate::job::order::ImportOrder;
use crate::job::paged_sources::{Counts, End, PageDone, PagedSource};
use crate::job::{Event, Plan};
use crate::model::failure::{FailedItem, Failure, Reason};
use crate::model::item::{Item, Kind, Platform};
use crate::model::text::hash;
use crate::trackers::{Page, Position, Source, TrackerError, Window};
use crate::work::import::marks;
use crate::work::import::outputs::Planned;
use crate::work::import::spool::Spool;
use crate::work::turn::stop_for_docs;
use crate::work::{Context, Stop, blocking};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pages that may be read ahead of the one that is written.
const READ_AHEAD: usize = 1;

/// Rounds of asking for the parents of parents.
const MOST_LEVELS: usize = 8;

/// Why a source is not read further.
pub(super) enum Interruption {
    Stop(Stop),
    Tracker(TrackerError),
}

impl From<Stop> for Interruption {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<TrackerError> for Interruption {
    fn from(error: TrackerError) -> Self {
        Self::Tracker(error)
    }
}

pub(super) struct Import<'a> {
    pub(super) context: &'a Context,
    pub(super) order: &'a ImportOrder,
    pub(super) wanted: &'a Wanted,
    pub(super) writer: Arc<Mutex<Writer>>,
    pub(super) spool: Arc<Spool>,
    /// Parents that were asked for and cannot be seen.
    pub(super) unseen: Mutex<HashSet<String>>,
}

/// A page, where it came from, and what the source has in all, if that was asked.
struct Arrived {
    at: String,
    page: Page,
    /// Items of it that an earlier page had in another state.
    again: HashSet<String>,
    total: Option<u64>,
}

/// What a reading has had, as hashes: a few bytes an item.
#[derive(Default)]
struct Seen(HashMap<u64, u64>);

/// Items that come on a page although an earlier one had them.
#[derive(Default)]
struct Again {
    /// Keys of those that have changed since.
    keys: HashSet<String>,
    /// Whether the page was not empty, and had nothing else.
    is_stuck: bool,
}

impl Seen {
    /// Takes out what this reading has had in the same state.
    fn sort(&mut self, mut page: Page) -> (Page, Again) {
        let had = page.items.len();
        let mut again = Again::default();
        page.items.retain(|read| {
            let Ok(item) = read else { return true };
            let state = hash(&format!("{} {} {}", item.revision, item.updated, item.state));
            match self.0.insert(hash(&item.key), state) {
                Some(before) if before == state => false,
                Some(_) => {
                    again.keys.insert(item.key.clone());
                    true
                }
                None => true,
            }
        });
        again.is_stuck = had > 0 && page.items.is_empty();
        (page, again)
    }
}

/// A position as the journal keeps it.
fn cursor(position: &Position) -> Arc<str> {
    serde_json::to_string(position).expect("plain data serialises").into()
}

impl Import<'_> {
    /// A source as it stands.
    pub(super) fn standing(&self, index: u32) -> Result<PagedSource, Stop> {
        let plan = self.context.plan();
        match plan {
            Some(Plan::Sources(progress)) => progress.get(index).cloned().ok_or(Stop::Cancelled),
            _ => Err(Stop::Cancelled),
        }
    }

    /// Reads a source to its end; gives the mark with which a later reading begins.
    pub(super) async fn read(
        &self,
        index: u32,
        standing: &PagedSource,
        planned: &Planned,
        source: &dyn Source,
    ) -> Result<String, Interruption> {
        let window = window(planned, self.order);
        let position = match &standing.cursor {
            Some(cursor) => serde_json::from_str(cursor).map_err(|error| {
                Stop::fail(Reason::Storage, format!("the checkpoint cannot be read: {error}"))
            })?,
            None => Position::At(source.first(&window)),
        };
        let first = match position {
            Position::End(mark) => return Ok(mark),
            Position::At(first) => first,
        };
        self.context.progress(&planned.id.name);
        let (pages, mut arrived) = mpsc::channel(READ_AHEAD);
        let enough = CancellationToken::new();
        let reading = async {
            let read = tokio::select! {
                () = enough.cancelled() => Ok(()),
                read = self.read_pages(index, first, source, &window, &pages) => read,
            };
            drop(pages);
            read
        };
        let writing = async {
            let mut mark = None;
            let mut written = standing.current();
            let mut total = (standing.total() > standing.current()).then(|| standing.total());
            while let Some(arrived) = arrived.recv().await {
                total = arrived.total.or(total);
                match self.write_page(index, planned, source, arrived, &mut written, total).await {
                    Ok(Position::End(end)) => mark = Some(end),
                    Ok(Position::At(_)) => {}
                    Err(stop) => {
                        enough.cancel();
                        return Err(stop);
                    }
                }
            }
            Ok(mark)
        };
        let (read, written) = tokio::join!(reading, writing);
        let mark = written?;
        read?;
        mark.ok_or(Interruption::Stop(Stop::Cancelled))
    }

    /// Reads pages and keeps each before the next is asked for.
    async fn read_pages(
        &self,
        index: u32,
        mut at: String,
        source: &dyn Source,
        window: &Window,
        pages: &mpsc::Sender<Arrived>,
    ) -> Result<(), Interruption> {
        let mut is_first = true;
        // Where this reading has been, and what it has had: a source that leads there again would never end.
        let mut been = HashSet::new();
        let mut seen = Seen::default();
        loop {
            if !been.insert(at.clone()) {
                let cause = "its pages lead round in a circle, so that not all of it can be read".to_owned();
                return Err(TrackerError::Malformed { what: "the tracker".to_owned(), cause }.into());
            }
            let (spool, place) = (self.spool.clone(), at.clone());
            let page = match blocking(move || spool.kept(index, &place)).await? {
                Some(page) => page,
                None => {
                    let page = source.page(&at).await?;
                    let (spool, place) = (self.spool.clone(), at.clone());
                    let kept = blocking(move || spool.keep(index, &place, &page).map(|()| page)).await?;
                    kept.map_err(|error| Stop::no_room(format!("a page cannot be kept: {error}")))?
                }
            };
            let (page, again) = seen.sort(page);
            if again.is_stuck && matches!(page.next, Position::At(_)) {
                let cause =
                    "it gives the same page again and again, so that not all of it can be read".to_owned();
                return Err(TrackerError::Malformed { what: "the tracker".to_owned(), cause }.into());
            }
            let next = page.next.clone();
            // Asked between two pages, never beside one. What a single page holds is known without a question.
            let total = match (&next, std::mem::take(&mut is_first)) {
                (Position::At(_), true) => match source.count(window).await {
                    Ok(count) => count,
                    Err(TrackerError::Cancelled) => return Err(TrackerError::Cancelled.into()),
                    // A total is a courtesy; what stands in its way will stand in the next page's, too.
                    Err(_) => None,
                },
                _ => None,
            };
            if pages.send(Arrived { at, page, again: again.keys, total }).await.is_err() {
                return Ok(());
            }
            match next {
                Position::At(next) => at = next,
                Position::End(_) => return Ok(()),
            }
        }
    }

    /// Writes a page, and gives where the source goes on.
    async fn write_page(
        &self,
        index: u32,
        planned: &Planned,
        source: &dyn Source,
        arrived: Arrived,
        written: &mut u64,
        total: Option<u64>,
    ) -> Result<Position, Interruption> {
        let Arrived { at, page, again, .. } = arrived;
        let context = self.context;
        for note in &page.notes {
            context.log(note);
        }
        let mut failed = Vec::new();
        let mut items = Vec::new();
        for read in page.items {
            match read {
                Ok(item) => items.push(item),
                Err((name, error)) => {
                    failed.push(FailedItem { name, failure: Failure::new(Reason::Remote, error) });
                }
            }
        }
        let last = items.last().map(|item| item.shown.clone());
        let read = items.len() + failed.len();
        let (items, left_out) = self.chosen(items, source).await?;
        let parents = self.parents(&items, source).await?;
        let (writer, spool, name) = (self.writer.clone(), self.spool.clone(), planned.id.name.clone());
        let place = at.clone();
        let put = blocking(move || {
            let mut writer = writer.lock().expect("no holder panics");
            let outcome = match spool.outcome(index, &place) {
                // A daemon died before it could say so.
                Some(outcome) => outcome,
                None => {
                    // What came before is brought up to date, and counts once.
                    let (later, first): (Vec<Item>, Vec<Item>) =
                        items.into_iter().partition(|item| again.contains(&item.key));
                    let mut outcome = writer.put(&parents, &first, &name)?;
                    if !later.is_empty() {
                        outcome.failed.extend(writer.put(&[], &later, &name)?.failed);
                    }
                    spool.keep_outcome(index, &place, &outcome)?;
                    outcome
                }
            };
            writer.close().map(|()| outcome)
        });
        let outcome = put.await?.map_err(|error| stop_for_docs(&error))?;
        failed.extend(outcome.failed);
        for one in &mut failed {
            one.name = specweave_jobs::text::plain(&one.name);
            let redactor = context.secrets.redactor();
            one.failure = std::mem::take(&mut one.failure).cleaned(|text| redactor.clean(text));
            context.log(format!("FAILED: {} - {}", one.name, one.failure));
        }
        let counts = Counts { left_out: outcome.counts.left_out + left_out, ..outcome.counts };
        *written += counts.sum() + failed.len() as u64;
        let done = PageDone { source: index, cursor: cursor(&page.next), total, counts, failed };
        context.checkpoint(Event::PageDone(done)).await?;
        self.spool.drop_page(index, &at);
        let of = total.map_or("?".to_owned(), |total| total.max(*written).to_string());
        context.log(format!(
            "[{}] {} - {read} read | {written}/{of} items",
            planned.id.platform.word(),
            planned.id.name
        ));
        if let Some(last) = last {
            context.progress(&match planned.id.platform {
                Platform::Jira => last,
                _ => format!("{}{last}", planned.id.name),
            });
        }
        let left = total.map_or(0, |total| total.saturating_sub(*written));
        context.ahead(source.server().gate.ahead(source.requests(left)));
        Ok(page.next)
    }

    /// The items that are wanted or known, and how many others there are. A step comes with what it belongs to, whatever
    /// it is called itself.
    async fn chosen(&self, items: Vec<Item>, source: &dyn Source) -> Result<(Vec<Item>, u64), TrackerError> {
        if self.wanted.text.is_empty() {
            return Ok((items, 0));
        }
        let all = items.len();
        let (steps, others): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| item.kind == Kind::Step);
        let (mut chosen, mut undecided) = (Vec::new(), Vec::new());
        {
            let writer = self.writer.lock().expect("no holder panics");
            chosen.extend(others.into_iter().filter(|item| writer.knows(item) || self.wanted.takes(item)));
            for step in steps {
                if writer.knows(&step) || writer.knows_parent(&step) {
                    chosen.push(step)
                } else {
                    undecided.push(step)
                }
            }
        }
        let mut wanted: HashSet<String> = chosen.iter().map(|item| item.key.clone()).collect();
        let parent = |step: &Item| step.parent.as_ref().map(|parent| parent.reference().to_owned());
        let mut unknown: Vec<String> = undecided.iter().filter_map(parent).collect();
        unknown.retain(|key| !wanted.contains(key));
        unknown.sort();
        unknown.dedup();
        if !unknown.is_empty() {
            let found = source.items(&unknown).await?;
            wanted.extend(found.into_iter().filter(|item| self.wanted.takes(item)).map(|item| item.key));
        }
        chosen.extend(
            undecided.into_iter().filter(|step| parent(step).is_some_and(|key| wanted.contains(&key))),
        );
        let left_out = all - chosen.len();
        Ok((chosen, left_out as u64))
    }

    /// The parents of items, and theirs, that nobody has seen yet.
    async fn parents(&self, items: &[Item], source: &dyn Source) -> Result<Vec<Item>, TrackerError> {
        let mut parents: Vec<Item> = Vec::new();
        for _ in 0..MOST_LEVELS {
            let known = parents.iter().chain(items);
            let mut unknown = self.writer.lock().expect("no holder panics").unknown_parents(known);
            unknown.retain(|key| !self.unseen.lock().expect("no holder panics").contains(key));
            if unknown.is_empty() {
                break;
            }
            let found = source.items(&unknown).await?;
            // What was found is no longer unknown; what was not is not asked for again.
            self.unseen.lock().expect("no holder panics").extend(unknown);
            parents.extend(found);
        }
        Ok(parents)
    }

    pub(super) async fn end(
        &self,
        index: u32,
        planned: &Planned,
        mark: Option<String>,
        end: End,
    ) -> Result<(), Stop> {
        let standing = self.standing(index)?;
        let broken = matches!(end, End::Failed(_));
        let (project, key) = (self.context.project.clone(), self.context.key.clone());
        let read = marks::SourceRead {
            source: planned.id.clone(),
            filter: self.wanted.text.clone(),
            // What failed is not behind the mark: the next import reads it again.
            mark: mark.filter(|_| planned.advances && standing.failed == 0),
            counts: standing.counts,
            failed: standing.failed,
            broken,
        };
        let noted = blocking(move || marks::note_import(&project, &key, &read));
        noted.await?.map_err(|error| Stop::no_room(format!("cannot write sync-metadata.json: {error}")))?;
        self.context.checkpoint(Event::SourceEnded { source: index, end }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(items: &[(&str, &str)]) -> Page {
        let item = |(key, revision): &(&str, &str)| {
            let item = json!({
                "key": key, "external_id": key, "platform": "github", "shown": key, "title": key, "body": "", "criteria": null,
                "kind": "story", "type_name": "", "status": "open", "revision": revision, "priority": null, "labels": [],
                "created": 0, "updated": 0, "url": "", "parent": null, "project": "", "area": null,
            });
            Ok(serde_json::from_value(item).unwrap())
        };
        Page { items: items.iter().map(item).collect(), next: Position::At(String::new()), notes: Vec::new() }
    }

    #[test]
    fn a_page_that_has_nothing_new_is_told_from_one_whose_items_have_changed() {
        let mut seen = Seen::default();
        let (first, again) = seen.sort(page(&[("a", "1"), ("b", "1")]));
        assert!(first.items.len() == 2 && again.keys.is_empty() && !again.is_stuck);
        let (second, again) = seen.sort(page(&[("b", "2"), ("a", "1"), ("c", "1")]));
        assert_eq!((second.items.len(), again.keys.len(), again.is_stuck), (2, 1, false));
        let (third, again) = seen.sort(page(&[("b", "2"), ("c", "1")]));
        assert!(third.items.is_empty() && again.is_stuck);
        assert!(!seen.sort(page(&[])).1.is_stuck, "an empty page says nothing");
    }
}
