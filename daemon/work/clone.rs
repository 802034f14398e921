//! clone-repos: discover, then clone many at a time; one failure never stops the rest.

pub mod adopt;
pub mod discover;
mod kind;
pub mod outputs;
mod targets;

use crate::git::{self, CloneError, Cloned, Engine, Success, Traffic, mark};
use crate::job::order::CloneOrder;
use crate::job::{Done, Event, ItemState, MOST_ITEMS, Plan};
use crate::model::failure::{Failure, Reason};
use crate::net;
use crate::net::git_settings::GitSettings;
use crate::net::secrets::{Caller, Secrets};
use crate::trackers::TrackerError;
use crate::trackers::server::Session;
use crate::work::config::ConfigError;
use crate::work::config::FailedEntry;
use crate::work::{Context, Finish, Stop, all_failed, blocking};
use discover::{DiscoverError, Selection};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use outputs::{Config, Repository, Summary};
use specweave_jobs::{clock, crash, disk};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// Clones at a time unless the request says otherwise: enough to hide a round trip over the internet.
const CONCURRENCY: usize = 32;
const MOST_CONCURRENCY: usize = 64;

/// Clones from one host at a time, over all jobs of this daemon; GitHub asks for at most 100.
const PER_HOST: usize = 64;

/// A reason is cut here; a remote's can be a whole page.
const MOST_WORDS: usize = 2_000;

/// What is said of a repository with large files.
const POINTERS: &str = ": large files are pointers; run `git lfs pull` in it";

/// Pauses before another attempt after a passing network failure.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Clones that are begun for each that has its turn: those that wait for the disk keep none waiting for the
/// network.
const STARTED_AHEAD: usize = 4;

/// How often it is told what is under way.
const LOOK: Duration = Duration::from_millis(300);

/// Clones of this run that have begun, in the order of their names.
#[derive(Default)]
struct Begun(Mutex<BTreeMap<Arc<str>, Arc<Traffic>>>);

impl Begun {
    fn shown(&self) -> Vec<(Arc<str>, u64)> {
        let begun = self.0.lock().expect("no holder panics");
        begun.iter().filter_map(|(name, traffic)| Some((name.clone(), traffic.received()?))).collect()
    }
}

/// A clone among those that have begun, until it is dropped.
struct UnderWay<'a> {
    begun: &'a Begun,
    name: Arc<str>,
}

impl<'a> UnderWay<'a> {
    fn enter(begun: &'a Begun, name: &str, traffic: &Arc<Traffic>) -> Self {
        let name: Arc<str> = name.into();
        begun.0.lock().expect("no holder panics").insert(name.clone(), traffic.clone());
        Self { begun, name }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.begun.0.lock().expect("no holder panics").remove(&self.name);
    }
}

fn at_a_time(order: &CloneOrder) -> usize {
    order.concurrency.map_or(CONCURRENCY, |wanted| (wanted as usize).min(MOST_CONCURRENCY))
}

/// Shows what a request would clone.
pub async fn preview(order: &CloneOrder, secrets: &Secrets) -> Result<Selection, PreviewError> {
    let settings = GitSettings::read(secrets).await;
    let http = net::client(secrets, &settings, net::Use::Git)?;
    Ok(discover::discover(order, &Session::quiet(http), secrets).await?)
}

#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
}

/// Runs a clone job from wherever it stands.
pub async fn run(context: &Context, order: &CloneOrder) -> Result<Finish, Stop> {
    let settings = GitSettings::read(&context.secrets).await;
    let http = net::client(&context.secrets, &settings, net::Use::Git)
        .map_err(|error| Stop::fail(Reason::Network, net::chain(&error)))?;
    let config = match (context.job.items(), earlier_config(context)?) {
        (Some(items), Some(config)) => config_of(items.len(), config)?,
        (Some(_), None) => return Err(Stop::fail(Reason::Storage, "config not found")),
        (None, Some(config)) => adopt_plan(context, config).await?,
        (None, None) => plan(context, order, &http).await?,
    };
    let root = context.project.root();
    let tenure = context.tenure.clone();
    let engine = Engine::new(
        http,
        context.secrets.clone(),
        settings,
        order.depth.unwrap_or_default(),
        at_a_time(order),
        root,
        tenure,
    );
    let run = Run { engine, config, ended: AtomicUsize::default(), under_way: Begun::default(), context };
    run.find_lost().await?;
    run.clone_waiting(order).await?;
    run.conclude().await
}

struct Run<'a> {
    engine: Engine,
    config: Config,
    /// Items that have ended, for the log.
    ended: AtomicUsize,
    under_way: Begun,
    context: &'a Context,
}

impl Run<'_> {
    /// Looks at what earlier runs have cloned: what no longer stands there is cloned again.
    async fn find_lost(&self) -> Result<(), Stop> {
        let Some(Plan::Items(items)) = self.context.plan() else { return Ok(()) };
        let mut cloned: Vec<(u32, PathBuf)> = items
            .succeeded()
            .filter_map(|item| Some((item, self.folder(self.config.repositories.get(item as usize)?))))
            .collect();
        cloned.sort_unstable();
        let is_gone = |folder: &PathBuf| !disk::exists(&folder.join(".git"));
        let looking = move || -> Vec<u32> {
            cloned.into_iter().filter(|(_, folder)| is_gone(folder)).map(|(item, _)| item).collect()
        };
        let lost = blocking(looking).await?;
        if lost.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = lost.iter().map(|item| items.name(*item)).collect();
        self.context.log(format!("Gone since they were cloned, and cloned again: {}", names.join(", ")));
        self.context.checkpoint(Event::Lost { items: lost }).await
    }

    async fn clone_waiting(&self, order: &CloneOrder) -> Result<(), Stop> {
        let context = self.context;
        let Some(Plan::Items(items)) = context.plan() else { return Err(Stop::Cancelled) };
        let waiting = |item: u32| items.item_state(item) == Some(ItemState::Waiting);
        self.ended.store(items.current(), Ordering::Relaxed);
        let count = self.config.repositories.len();
        for (place, refused) in self.config.refused.iter().enumerate() {
            let item = (count + place) as u32;
            if waiting(item) {
                context.log(format!("FAILED: {} - {}", refused.name, refused.reason));
                let failure = Failure::new(Reason::InvalidInput, &refused.reason);
                context.checkpoint(Event::ItemFailed { item, failure }).await?;
            }
        }
        let at_a_time = at_a_time(order);
        context.log(format!("Starting clone operations ({at_a_time} at a time)..."));
        let mut items = (0..count as u32).filter(|item| waiting(*item));
        let mut under_way = FuturesUnordered::new();
        let mut stop = None;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            while stop.is_none() && under_way.len() < at_a_time * STARTED_AHEAD {
                let Some(item) = items.next() else { break };
                under_way.push(self.clone_item(item));
            }
            let ended = tokio::select! {
                ended = under_way.next() => ended,
                _ = looks.tick() => {
                    context.active(self.under_way.shown());
                    continue;
                }
            };
            // After a stop nothing new begins; what is under way ends by itself and is recorded.
            match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(why)) => drop(stop.get_or_insert(why)),
            }
        }
        stop.map_or(Ok(()), Err)
    }

    async fn clone_item(&self, item: u32) -> Result<(), Stop> {
        let context = self.context;
        let repository = &self.config.repositories[item as usize];
        let total = self.config.repositories.len() + self.config.refused.len();
        let outcome = self.attempt(repository).await;
        let place = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        let event = match outcome {
            Err(CloneError::Cancelled) => return Err(Stop::Cancelled),
            Err(CloneError::Limited(wait)) => return Err(Stop::limited(wait)),
            Err(error) if error.is_storage() => return Err(Stop::no_room(error.to_string())),
            Ok(Success::AlreadyThere) if self.made(repository).is_none() => {
                context.log(format!("Skipping {} (already cloned)", repository.name));
                Event::ItemDone { item, how: Done::Before }
            }
            // A clone of this job that stands there already got its name just before the daemon died.
            Ok(success) => {
                let way = match &success {
                    Success::Cloned(Cloned { by_git: Some(reason), .. }) => {
                        format!(" by git itself: {}", context.secrets.redactor().clean(reason))
                    }
                    _ => String::new(),
                };
                if let Success::Cloned(Cloned { aside: Some(aside), .. }) = &success {
                    context.log(format!("Set aside: {aside}, a clone that git had begun and never ended"));
                }
                context.log(format!("Cloned: {} ({place}/{total}){way}", repository.name));
                Event::ItemDone { item, how: Done::Now }
            }
            Err(error) => {
                let redactor = context.secrets.redactor();
                let fit = |text: &str| {
                    let mut text = redactor.clean(&specweave_jobs::text::plain(text));
                    text.truncate(text.floor_char_boundary(MOST_WORDS));
                    text
                };
                let mut failure = error.failure(&repository.clone_url).cleaned(fit);
                if failure.reason == Reason::Authentication
                    && let Ok(url) = Url::parse(&repository.clone_url)
                {
                    let variables = context.secrets.variables_for(&url);
                    failure.variables = variables.iter().map(|name| (*name).to_owned()).collect();
                }
                context.log(format!("FAILED: {} - {failure}", repository.name));
                Event::ItemFailed { item, failure }
            }
        };
        context.progress(&repository.name);
        context.checkpoint(event).await
    }

    fn folder(&self, repository: &Repository) -> PathBuf {
        self.context.project.root().join(&repository.path)
    }

    /// The mark that this job has set in a clone.
    fn made(&self, repository: &Repository) -> Option<mark::Mark> {
        mark::of(&self.folder(repository), self.context.job.id.as_str())
    }

    /// Clones one repository, again after a passing failure.
    async fn attempt(&self, repository: &Repository) -> Result<Success, CloneError> {
        let context = self.context;
        let root = context.project.root();
        let target = git::Task {
            address: repository.clone_url.clone(),
            target: root.join(&repository.path),
            partial: root.join(format!("{}.partial-{}", repository.path, context.job.id)),
            job: context.job.id.to_string(),
            traffic: Arc::default(),
        };
        let _under_way = UnderWay::enter(&self.under_way, &repository.name, &target.traffic);
        let (owned_root, path) = (root.to_path_buf(), repository.path.clone());
        tokio::task::spawn_blocking(move || outputs::make_parents(&owned_root, &path))
            .await
            .unwrap_or_else(|panic| Err(panic.to_string()))
            .map_err(CloneError::Refused)?;
        let gate = host_gate(&repository.clone_url);
        let mut short_waits = 0..net::MOST_SHORT_WAITS;
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            let error = match self.engine.clone(&target, &gate, &context.cancel).await {
                Ok(success) => return Ok(success),
                Err(error) => error,
            };
            let pause = match &error {
                CloneError::Limited(wait) if *wait < net::SHORT_WAIT => short_waits.next().map(|_| *wait),
                error if error.is_passing() => pauses.next().copied(),
                _ => None,
            };
            let Some(pause) = pause else { return Err(error) };
            context.log(format!("{}: {error}; trying again in {} s", repository.name, pause.as_secs()));
            let until = clock::now() + pause.as_millis() as i64;
            context.sleep_until(until).await.map_err(|_| CloneError::Cancelled)?;
        }
    }

    /// Writes the result and enters what was cloned into the project's configuration.
    async fn conclude(&self) -> Result<Finish, Stop> {
        let context = self.context;
        let Some(Plan::Items(items)) = context.plan() else {
            return Err(Stop::Cancelled);
        };
        let total = items.len();
        let failed: Vec<FailedEntry> =
            items.failed().map(|(item, failure)| FailedEntry::new(items.name(item), failure)).collect();
        let nothing_stands = items.succeeded().next().is_none();
        let nothing_stands = nothing_stands
            .then(|| {
                all_failed(
                    "nothing was cloned",
                    items.failed().map(|(item, failure)| (items.name(item), failure)),
                )
            })
            .flatten();
        let succeeded = total - failed.len();
        let rate = format!("{:.1}", 100.0 * succeeded as f64 / total.max(1) as f64);
        let warning = (!failed.is_empty())
            .then(|| format!("{} of {total} repositories failed ({rate}% success rate)", failed.len()));
        context.log("\n========== CLONE JOB SUMMARY ==========");
        context.log(format!(
            "Total: {total} | Succeeded: {succeeded} | Failed: {} | Skipped (already cloned): {}",
            failed.len(),
            items.before()
        ));
        for one in &failed {
            context.log(format!("  - {}: {}", one.name, one.error));
        }
        let mut succeeded_items: Vec<u32> = items.succeeded().collect();
        // As they were asked for: in which order they ended is nobody's wish.
        succeeded_items.sort_unstable();
        let cloned: Vec<&Repository> =
            succeeded_items.iter().filter_map(|item| self.config.repositories.get(*item as usize)).collect();
        let uses_lfs = |one: &&&Repository| self.made(one).is_some_and(|mark| mark.uses_lfs);
        let files = context.project.job(&context.job.id);
        // An earlier conclusion of this job has removed its marks.
        let mut notes = outputs::earlier_notes(&files);
        notes.retain(|note| note.ends_with(POINTERS));
        notes.extend(cloned.iter().filter(uses_lfs).map(|one| format!("{}{POINTERS}", one.name)));
        notes.sort();
        notes.dedup();
        context.log("Persisting umbrella configuration...");
        match outputs::enter_into_project(&context.project, &cloned) {
            Ok(all) => {
                context.log(format!("Umbrella config saved: {all} repos ({} from this job)", cloned.len()))
            }
            Err(why) => {
                context.log(format!("WARNING: the project's configuration was not changed: {why}"));
                notes.push(format!("the project's configuration was not changed: {why}"));
            }
        }
        let hint = warning
            .as_ref()
            .map(|_| format!("specweave-jobs --resume {} retries just the failed ones", context.job.id));
        let summary = Summary {
            total_count: total,
            succeeded,
            failed: failed.len(),
            skipped: items.before(),
            success_rate: rate.clone(),
            completed_at: clock::iso(clock::now()),
            failed_repos: failed,
            resume_hint: hint,
            notes,
        };
        summary.write(&files).map_err(|error| Stop::no_room(format!("cannot write result.json: {error}")))?;
        for one in cloned.iter().filter(|one| self.made(one).is_some()) {
            mark::remove(&self.folder(one));
        }
        crash::point("marks-removed");
        context.log(format!(
            "Clone job completed: {succeeded}/{total} succeeded, {} failed ({rate}% success rate)",
            summary.failed
        ));
        if let Some(failure) = nothing_stands {
            return Err(failure.into());
        }
        Ok(warning.map_or(Finish::Complete, Finish::WithWarnings))
    }
}

/// Discovers the repositories and makes them the job's items.
async fn plan(context: &Context, order: &CloneOrder, http: &reqwest::Client) -> Result<Config, Stop> {
    context.phase("discovering");
    context.log("Looking for repositories...");
    let session = context.session(http.clone());
    let discovering = discover::discover(order, &session, &context.secrets);
    let selection = tokio::select! {
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        result = discovering => result.map_err(|error| stop_for(context, error))?,
    };
    let found = selection.targets.len() + selection.refusals.len();
    if found > MOST_ITEMS {
        return Err(Stop::fail(
            Reason::InvalidInput,
            format!("{found} repositories are too many for a job; narrow it with --match"),
        ));
    }
    for note in &selection.notes {
        context.log(note);
    }
    let config = Config::new(
        &context.project,
        &context.job.id,
        context.job.created_at,
        &selection.targets,
        &selection.refusals,
    );
    context.write_plan(&config)?;
    context.checkpoint(Event::Planned { items: config.items() }).await?;
    context.phase("");
    context.log(format!("Repositories to clone: {}", config.repositories.len()));
    Ok(config)
}

/// The `config.json` that stands there: an earlier run's, or SpecWeave's in a job that was taken over.
fn earlier_config(context: &Context) -> Result<Option<Config>, Stop> {
    match context.config() {
        Ok(config) => Ok(Some(config)),
        Err(ConfigError::Missing(_)) => Ok(None),
        Err(error) => Err(Stop::fail(Reason::Storage, error.to_string())),
    }
}

fn config_of(items: usize, mut config: Config) -> Result<Config, Stop> {
    let named = config.items().len();
    if named != items {
        return Err(Stop::fail(
            Reason::Storage,
            format!("config not usable: config.json names {named} repositories, the job has {items}"),
        ));
    }
    let refused = config.refused.len();
    if adopt::vet(&mut config, &mut Caller::default()) > 0 || config.refused.len() > refused {
        return Err(Stop::fail(
            Reason::Storage,
            "config not usable: somebody has changed config.json: it holds a login or a place outside repositories/",
        ));
    }
    Ok(config)
}

/// A plan that was made already: by SpecWeave, or by a run that died before it could say so.
async fn adopt_plan(context: &Context, mut config: Config) -> Result<Config, Stop> {
    let refused = config.refused.len();
    if adopt::vet(&mut config, &mut Caller::default()) > 0 || config.refused.len() > refused {
        context.write_plan(&config)?;
    }
    context.checkpoint(Event::Planned { items: config.items() }).await?;
    context.log(format!("Repositories to clone: {}", config.repositories.len()));
    Ok(config)
}

fn stop_for(context: &Context, error: DiscoverError) -> Stop {
    let redactor = context.secrets.redactor();
    let clean = |text: &str| redactor.clean(text);
    match error {
        DiscoverError::Tracker(TrackerError::Limited(wait)) => Stop::limited(wait),
        DiscoverError::Tracker(error @ (TrackerError::Network(_) | TrackerError::Transient { .. })) => {
            Stop::offline(clean(&error.to_string()))
        }
        DiscoverError::Tracker(TrackerError::Cancelled) => Stop::Cancelled,
        DiscoverError::Tracker(error) => error.failure().cleaned(clean).into(),
        error => Stop::fail(Reason::InvalidInput, clean(&error.to_string())),
    }
}

/// The gate of an address's host, shared by all jobs of this daemon.
fn host_gate(address: &str) -> Arc<Semaphore> {
    static GATES: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);
    let mut gates = GATES.lock().expect("no holder panics");
    gates.entry(git::host_of(address)).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone()
}
