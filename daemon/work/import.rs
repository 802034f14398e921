//! import-issues: finds the sources, reads each page by page, and writes every page into the living docs before the
//! next counts. Nothing is kept of what was read: memory does not grow with the number of items.

pub mod adopt;
pub mod record;
pub mod sources;

use crate::feeds::{Counts, End, Failure, Feed, PageDone};
use crate::job::{Event, PauseReason, Plan};
use crate::secrets::Secrets;
use crate::specs::shelf::{Shelf, ShelfError};
use crate::work::clone::git::settings::GitSettings;
use crate::work::clone::sources::{Filter, SourceError as PatternError};
use crate::work::trackers::item::{Item, Kind, Platform, Status};
use crate::work::trackers::server::Session;
use crate::work::trackers::{Page, Position, Source, TrackerError, Window, ado, github, jira};
use crate::work::{Context, Finish, Stop, net};
use record::{Config, Planned, ResultCounts, SourceResult, Spool, Summary};
use serde_json::{Map, Value};
use sources::{SourceError, SourceId};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::v1::ImportSpec;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pages that may be read ahead of the one that is written.
const READ_AHEAD: usize = 1;

/// Sources that a summary names with the reason why they could not be read.
const MOST_NAMED_SOURCES: usize = 3;

/// Rounds of asking for the parents of parents.
const MOST_LEVELS: usize = 8;

/// Without a word about it, the first import goes back so far.
const FIRST_MONTHS: u32 = 1;

/// Only one job at a time writes living docs: places and numbers are given once.
static SPECS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error("{0:?} is no beginning: last, all, a number of months such as 3m, or a date such as 2026-01-31")]
    Since(String),
    #[error("{0:?} is no state: open or all")]
    State(String),
}

/// Checks what can be checked without a network.
pub fn check(spec: &ImportSpec) -> Result<(), ImportError> {
    sources::check(spec)?;
    Since::parse(&spec.since)?;
    Wanted::new(spec)?;
    Ok(())
}

/// Where an import begins.
enum Since {
    Last,
    All,
    At(Millis, Option<u32>),
}

impl Since {
    fn parse(text: &str) -> Result<Self, ImportError> {
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

fn months_ago(months: u32) -> Millis {
    let now = chrono::DateTime::from_timestamp_millis(clock::now()).unwrap_or_default();
    now.checked_sub_months(chrono::Months::new(months)).unwrap_or_default().timestamp_millis()
}

/// Which items may be new. Those that have a file are kept up to date in any case.
struct Wanted {
    open_only: bool,
    labels: Vec<String>,
    titles: Filter,
    /// Says the same in a word, for the mark that belongs to it.
    text: String,
}

impl Wanted {
    fn new(spec: &ImportSpec) -> Result<Self, ImportError> {
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

    fn takes(&self, item: &Item) -> bool {
        let has = |label: &String| item.labels.iter().any(|own| own.to_lowercase() == *label);
        !(self.open_only && matches!(item.status, Status::Completed | Status::Removed))
            && self.labels.iter().all(has)
            && self.titles.takes(&item.title)
    }
}

/// What would come from one source.
pub struct Preview {
    pub source: SourceId,
    pub count: Option<u64>,
    pub since: Option<Millis>,
    /// Whether it begins where the last import ended.
    pub continues: bool,
    /// Why nothing can come.
    pub error: Option<String>,
}

/// Shows what a request would import; writes nothing.
pub async fn preview(
    project: &specweave_jobs::project::Project,
    spec: &ImportSpec,
    secrets: &Secrets,
) -> Result<Vec<Preview>, ImportError> {
    let settings = git_settings().await;
    let session = Session::quiet(net::client(secrets, &settings, net::Use::Trackers)?);
    let wanted = Wanted::new(spec)?;
    let mut previews = Vec::new();
    for id in sources::find(project, spec, secrets)? {
        let planned = planned(project, spec, &wanted, id)?;
        let counted = match open(&session, secrets, &planned).await {
            Ok(source) => source.count(&window(&planned, spec)).await,
            Err(error) => Err(error),
        };
        let (count, error) = match counted {
            Ok(count) => (count, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let continues = planned.mark.is_some();
        previews.push(Preview { source: planned.id, count, since: planned.since, continues, error });
    }
    Ok(previews)
}

async fn git_settings() -> GitSettings {
    tokio::task::spawn_blocking(GitSettings::read).await.unwrap_or_default()
}

/// Where the reading of a source begins.
fn planned(
    project: &specweave_jobs::project::Project,
    spec: &ImportSpec,
    wanted: &Wanted,
    id: SourceId,
) -> Result<Planned, ImportError> {
    // What an import without a filter has had, one with a filter need not have again.
    let last = record::last_mark(project, &id, &wanted.text).or_else(|| record::last_mark(project, &id, ""));
    let (since, mark, advances) = match (Since::parse(&spec.since)?, last) {
        (Since::All, _) => (None, None, true),
        (Since::At(at, _), last) => (Some(at), None, last.is_none()),
        (Since::Last, None) => (Some(months_ago(FIRST_MONTHS)), None, true),
        (Since::Last, last) => (None, last, true),
    };
    Ok(Planned { id, since, mark, advances, with_login: false })
}

fn window(planned: &Planned, spec: &ImportSpec) -> Window {
    Window { since: planned.since, mark: planned.mark.clone(), labels: spec.labels.clone() }
}

/// The reader of a source.
async fn open(
    session: &Session,
    secrets: &Secrets,
    planned: &Planned,
) -> Result<Box<dyn Source>, TrackerError> {
    let SourceId { platform, name, server } = &planned.id;
    Ok(match platform {
        Platform::GitHub => {
            let (owner, name) = name.split_once('/').unwrap_or((name, ""));
            Box::new(github::Issues::new(github::GitHub::new(session, secrets).await?, owner, name))
        }
        Platform::Jira => {
            let server = jira::server(session, secrets, server)?;
            let flavor = match planned.mark.as_deref().and_then(jira::Mark::read) {
                Some(mark) => mark.flavor,
                None => jira::flavor(&server).await?,
            };
            Box::new(jira::Issues::new(server, name, flavor))
        }
        Platform::Ado => Box::new(ado::WorkItems::new(ado::server(session, secrets, server)?, name)),
    })
}

/// Runs an import from wherever it stands.
pub async fn run(context: &Context, spec: &ImportSpec) -> Result<Finish, Stop> {
    let fail = |error: ImportError| Stop::Fail(context.secrets.redactor().clean(&error.to_string()));
    let settings = git_settings().await;
    let http = net::client(&context.secrets, &settings, net::Use::Trackers)
        .map_err(|error| Stop::Fail(net::chain(&error)))?;
    let session = context.session(http);
    let wanted = Wanted::new(spec).map_err(fail)?;
    let mut config = plan(context, spec, &wanted).await?;
    context.phase("waiting for another import");
    let _turn = tokio::select! {
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        turn = SPECS.lock() => turn,
    };
    context.phase("");
    let project = context.project.clone();
    let shelf = blocking(move || Shelf::open(&project)).await?.map_err(stop_for_shelf)?;
    let import = Import {
        context,
        spec,
        wanted: &wanted,
        shelf: Arc::new(Mutex::new(shelf)),
        spool: Arc::new(Spool::of(&context.project.job(&context.job.id))),
        unseen: Mutex::default(),
    };
    let mut refused = None;
    for feed in 0..config.sources.len() as u32 {
        let planned = config.sources[feed as usize].clone();
        let standing = import.feed(feed)?;
        if standing.end.is_some() {
            continue;
        }
        let mut with_login = true;
        let read = match open(&session, &context.secrets, &planned).await {
            Ok(source) => {
                with_login = source.server().has_login();
                if with_login && !planned.with_login {
                    config.sources[feed as usize].with_login = true;
                    write_config(context, &config)?;
                }
                import.read(feed, &standing, &planned, &*source).await
            }
            Err(error) => Err(Interruption::Tracker(error)),
        };
        match read {
            Ok(mark) => import.end(feed, &planned, Some(mark), End::Read).await?,
            Err(Interruption::Stop(stop)) => return Err(stop),
            Err(Interruption::Tracker(error)) => match stops(context, error, with_login, &planned) {
                // The other sources may have another token.
                Verdict::Refused(error) => {
                    context.log(format!("{}: {error}", planned.id.shown()));
                    refused.get_or_insert(error);
                }
                Verdict::Stop(stop) => return Err(stop),
                Verdict::Broken(error) => {
                    context.log(format!("FAILED: {} - {error}", planned.id.shown()));
                    import.end(feed, &planned, None, End::Failed(error.into())).await?;
                }
            },
        }
    }
    if let Some(error) = refused {
        return Err(Stop::Fail(error));
    }
    import.conclude(&config).await
}

/// What an error of a tracker means for the job.
enum Verdict {
    Stop(Stop),
    /// A token that is not taken: the job fails, and goes on here with another.
    Refused(String),
    /// This source alone cannot be read.
    Broken(String),
}

fn stops(context: &Context, error: TrackerError, with_login: bool, planned: &Planned) -> Verdict {
    let text = context.secrets.redactor().clean(&error.to_string());
    match error {
        // A daemon that was started anew has no token of somebody's environment: what could be read can be again.
        TrackerError::Auth(_) | TrackerError::NotFound(_) if !with_login && planned.with_login => {
            let message = format!("needs credentials for {}", planned.id.shown());
            Verdict::Stop(Stop::Pause { reason: PauseReason::Credentials, message, resume_at: None })
        }
        TrackerError::Cancelled => Verdict::Stop(Stop::Cancelled),
        TrackerError::Limited(wait) => Verdict::Stop(Stop::limited(wait)),
        TrackerError::Network(_) | TrackerError::Transient { .. } => {
            Verdict::Stop(Stop::offline(format!("{}: {text}", planned.id.shown())))
        }
        TrackerError::Auth(_) if !with_login => Verdict::Refused(format!(
            "Authentication failed - there is no token for {}: set {} (one of the environment does not go to a server that \
             only .env names)",
            planned.id.shown(),
            planned.id.platform.variables()
        )),
        TrackerError::Auth(_) => Verdict::Refused(text),
        _ => Verdict::Broken(text),
    }
}

fn stop_for_shelf(error: ShelfError) -> Stop {
    let ShelfError::Io { source, .. } = &error;
    let no_room = matches!(
        source.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded
    );
    match no_room {
        true => Stop::no_room(error.to_string()),
        false => Stop::Fail(error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| Stop::Fail(format!("internal error: {panic}")))
}

/// The sources of the job, found or found before.
async fn plan(context: &Context, spec: &ImportSpec, wanted: &Wanted) -> Result<Config, Stop> {
    let files = context.project.job(&context.job.id);
    let earlier =
        if files.config().exists() { Some(Config::read(&files).map_err(Stop::Fail)?) } else { None };
    match (context.job.feeds(), earlier) {
        (Some(feeds), Some(config)) => {
            let same =
                config.feeds().iter().map(String::as_str).eq(feeds.all().iter().map(|feed| &*feed.name));
            return if same {
                Ok(config)
            } else {
                Err(Stop::Fail("config not usable: somebody has changed config.json".into()))
            };
        }
        (Some(_), None) => return Err(Stop::Fail("config not found".into())),
        // A daemon died before it could say what it had planned.
        (None, Some(config)) if !config.sources.is_empty() => {
            context.checkpoint(Event::FeedsPlanned { feeds: config.feeds() }).await?;
            return Ok(config);
        }
        (None, _) => {}
    }
    let fail = |error: ImportError| Stop::Fail(context.secrets.redactor().clean(&error.to_string()));
    let found =
        sources::find(&context.project, spec, &context.secrets).map_err(|error| fail(error.into()))?;
    let planned: Result<Vec<Planned>, ImportError> =
        found.into_iter().map(|id| planned(&context.project, spec, wanted, id)).collect();
    let planned = planned.map_err(fail)?;
    let months = match Since::parse(&spec.since).map_err(fail)? {
        Since::At(_, months) => months.map(i64::from),
        Since::Last => Some(i64::from(FIRST_MONTHS)),
        Since::All => None,
    };
    let config = Config::new(&context.project, &context.job.id, context.job.created_at, planned, months);
    write_config(context, &config)?;
    context.checkpoint(Event::FeedsPlanned { feeds: config.feeds() }).await?;
    for source in &config.sources {
        let from = match (&source.mark, source.since) {
            (Some(_), _) => "since the last import".to_owned(),
            (None, Some(at)) => format!("since {}", &clock::iso(at)[..10]),
            (None, None) => "everything".to_owned(),
        };
        context.log(format!("Source: {} ({from})", source.id.shown()));
    }
    Ok(config)
}

fn write_config(context: &Context, config: &Config) -> Result<(), Stop> {
    let written = config.write(&context.project.job(&context.job.id));
    written.map_err(|error| Stop::no_room(format!("cannot write config.json: {error}")))
}

/// Why a source is not read further.
enum Interruption {
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

struct Import<'a> {
    context: &'a Context,
    spec: &'a ImportSpec,
    wanted: &'a Wanted,
    shelf: Arc<Mutex<Shelf>>,
    spool: Arc<Spool>,
    /// Parents that were asked for and cannot be seen.
    unseen: Mutex<HashSet<String>>,
}

/// A page, where it came from, and what the source has in all, if that was asked.
struct Arrived {
    at: String,
    page: Page,
    total: Option<u64>,
}

/// A position as the journal keeps it.
fn cursor(position: &Position) -> Arc<str> {
    serde_json::to_string(position).expect("plain data serialises").into()
}

impl Import<'_> {
    /// A source as it stands.
    fn feed(&self, feed: u32) -> Result<Feed, Stop> {
        let plan = self.context.keeper.plan(&self.context.job.id);
        match plan {
            Some(Plan::Feeds(feeds)) => feeds.get(feed).cloned().ok_or(Stop::Cancelled),
            _ => Err(Stop::Cancelled),
        }
    }

    /// Reads a source to its end; gives the mark with which a later reading begins.
    async fn read(
        &self,
        feed: u32,
        standing: &Feed,
        planned: &Planned,
        source: &dyn Source,
    ) -> Result<String, Interruption> {
        let window = window(planned, self.spec);
        let position = match &standing.cursor {
            Some(cursor) => serde_json::from_str(cursor)
                .map_err(|error| Stop::Fail(format!("the checkpoint cannot be read: {error}")))?,
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
                read = self.read_pages(feed, first, source, &window, &pages) => read,
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
                match self.write_page(feed, planned, source, arrived, &mut written, total).await {
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
        feed: u32,
        mut at: String,
        source: &dyn Source,
        window: &Window,
        pages: &mpsc::Sender<Arrived>,
    ) -> Result<(), Interruption> {
        let mut is_first = true;
        loop {
            let (spool, place) = (self.spool.clone(), at.clone());
            let page = match blocking(move || spool.kept(feed, &place)).await? {
                Some(page) => page,
                None => {
                    let page = source.page(&at).await?;
                    let (spool, place) = (self.spool.clone(), at.clone());
                    let kept = blocking(move || spool.keep(feed, &place, &page).map(|()| page)).await?;
                    kept.map_err(|error| Stop::no_room(format!("a page cannot be kept: {error}")))?
                }
            };
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
            if pages.send(Arrived { at, page, total }).await.is_err() {
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
        feed: u32,
        planned: &Planned,
        source: &dyn Source,
        arrived: Arrived,
        written: &mut u64,
        total: Option<u64>,
    ) -> Result<Position, Interruption> {
        let Arrived { at, page, .. } = arrived;
        let context = self.context;
        for note in &page.notes {
            context.log(note);
        }
        let mut failed = Vec::new();
        let mut items = Vec::new();
        for read in page.items {
            match read {
                Ok(item) => items.push(item),
                Err((name, error)) => failed.push(Failure { name, error }),
            }
        }
        let last = items.last().map(|item| item.shown.clone());
        let read = items.len() + failed.len();
        let (items, left_out) = self.chosen(items, source).await?;
        let parents = self.parents(&items, source).await?;
        let (shelf, spool, name) = (self.shelf.clone(), self.spool.clone(), planned.id.name.clone());
        let place = at.clone();
        let put = blocking(move || {
            let mut shelf = shelf.lock().expect("no holder panics");
            let outcome = match spool.outcome(feed, &place) {
                // A daemon died before it could say so.
                Some(outcome) => outcome,
                None => {
                    let outcome = shelf.put(&parents, &items, &name)?;
                    spool.keep_outcome(feed, &place, &outcome)?;
                    outcome
                }
            };
            shelf.close().map(|()| outcome)
        });
        let outcome = put.await?.map_err(stop_for_shelf)?;
        failed.extend(outcome.failed);
        for one in &mut failed {
            one.name = specweave_jobs::text::plain(&one.name);
            one.error = context.secrets.redactor().clean(&one.error);
            context.log(format!("FAILED: {} - {}", one.name, one.error));
        }
        let counts = Counts { left_out: outcome.counts.left_out + left_out, ..outcome.counts };
        *written += counts.sum() + failed.len() as u64;
        let done = PageDone { feed, cursor: cursor(&page.next), total, counts, failed };
        context.checkpoint(Event::PageDone(done)).await?;
        self.spool.drop_page(feed, &at);
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
            let shelf = self.shelf.lock().expect("no holder panics");
            chosen.extend(others.into_iter().filter(|item| shelf.knows(item) || self.wanted.takes(item)));
            for step in steps {
                match shelf.knows(&step) || shelf.knows_parent(&step) {
                    true => chosen.push(step),
                    false => undecided.push(step),
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
            let mut unknown = {
                let known: Vec<Item> = parents.iter().chain(items).cloned().collect();
                self.shelf.lock().expect("no holder panics").unknown_parents(&known)
            };
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

    async fn end(&self, feed: u32, planned: &Planned, mark: Option<String>, end: End) -> Result<(), Stop> {
        let standing = self.feed(feed)?;
        let broken = matches!(end, End::Failed(_));
        let (project, id, filter) =
            (self.context.project.clone(), planned.id.clone(), self.wanted.text.clone());
        // What failed is not behind the mark: the next import reads it again.
        let mark = mark.filter(|_| planned.advances && standing.failed == 0);
        let noted = blocking(move || {
            record::note_import(
                &project,
                &id,
                &filter,
                mark.as_deref(),
                &standing.counts,
                standing.failed,
                broken,
            )
        });
        noted.await?.map_err(|error| Stop::no_room(format!("cannot write sync-metadata.json: {error}")))?;
        self.context.checkpoint(Event::FeedEnded { feed, end }).await
    }

    /// Writes the result.
    async fn conclude(&self, config: &Config) -> Result<Finish, Stop> {
        let context = self.context;
        let Some(Plan::Feeds(feeds)) = context.keeper.plan(&context.job.id) else {
            return Err(Stop::Cancelled);
        };
        let files = context.project.job(&context.job.id);
        let mut errors: Map<String, Value> = Map::new();
        let mut results = Vec::new();
        for (feed, planned) in feeds.all().iter().zip(&config.sources) {
            let error = match &feed.end {
                Some(End::Failed(error)) => Some(error.to_string()),
                _ => None,
            };
            if let Some(error) = &error {
                let list =
                    errors.entry(planned.id.platform.word()).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()
                    .expect("it was made as one")
                    .push(format!("{}: {error}", planned.id.name).into());
            }
            results.push(SourceResult {
                source: planned.id.shown(),
                counts: ResultCounts::new(&feed.counts, feed.failed),
                error,
            });
        }
        let failed_items: Vec<Failure> =
            feeds.all().iter().flat_map(|feed| feed.failures().to_vec()).collect();
        let failed: u64 = feeds.all().iter().map(|feed| feed.failed).sum();
        let counts = feeds.counts();
        let waiting = {
            let shelf = self.shelf.clone();
            blocking(move || shelf.lock().expect("no holder panics").conflicts()).await?
        };
        let mut warnings = Vec::new();
        if failed > 0 {
            warnings.push(format!("{failed} of {} items failed or are in conflict", feeds.current()));
        }
        let broken = results
            .iter()
            .filter_map(|result| Some(format!("{}: {}", result.source, result.error.as_ref()?)));
        warnings.extend(broken.take(MOST_NAMED_SOURCES));
        if let Some(first) = waiting.first() {
            let more =
                if waiting.len() > 1 { format!(" and {} more", waiting.len() - 1) } else { String::new() };
            warnings.push(format!("settle {first}{more}: take over what you want of it, then remove it"));
        }
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        let mut platforms: Vec<&'static str> =
            config.sources.iter().map(|source| source.id.platform.word()).collect();
        platforms.dedup();
        let summary = Summary {
            total_count: counts.sum() + failed,
            completed_at: clock::iso(clock::now()),
            platforms,
            errors,
            sources: results,
            more_failed: failed - failed_items.len() as u64,
            failed_items,
            resume_hint: warning
                .as_ref()
                .map(|_| format!("specweave-jobs --resume {} tries what failed again", context.job.id)),
            conflicts: waiting,
        };
        let (spool, written) = (
            self.spool.clone(),
            blocking({
                let files = files.clone();
                move || summary.write(&files)
            }),
        );
        written.await?.map_err(|error| Stop::no_room(format!("cannot write result.json: {error}")))?;
        blocking(move || spool.clear()).await?;
        context.log("\n========== IMPORT JOB SUMMARY ==========");
        context.log(format!(
            "Created: {} | Updated: {} | Unchanged: {} | Left out: {} | Failed: {failed}",
            counts.created, counts.updated, counts.unchanged, counts.left_out
        ));
        Ok(warning.map_or(Finish::Complete, Finish::WithWarnings))
    }
}
