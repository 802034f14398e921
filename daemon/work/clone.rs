//! clone-repos: discover, then clone many at a time; one failure never stops the rest.

pub mod adopt;
pub mod discover;
mod kind;
pub mod outputs;
mod standing;
mod targets;

use crate::git::{self, CloneError, Cloned, Engine, Host, Success, Traffic, Wish, mark};
use crate::job::order::{CloneOrder, Gone};
use crate::job::snapshot::{UnderWay, Weighed};
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
use specweave_jobs::process::descriptor_limit;
use specweave_jobs::{clock, crash, disk};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use url::Url;

/// Clones at a time, over all hosts, whatever the request says; each host has a number of its own, which is learnt.
const MOST_CONCURRENCY: u32 = 64;

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

/// Clones of this run that have begun, by their items.
#[derive(Default)]
struct Begun(Mutex<BTreeMap<u32, Load>>);

struct Load {
    name: Arc<str>,
    traffic: Arc<Traffic>,
    weight: u64,
}

impl Begun {
    /// What is under way, and how much of the run's weight has come of it.
    fn shown(&self) -> (Vec<UnderWay>, f64) {
        let begun = self.0.lock().expect("no holder panics");
        let (mut shown, mut weight) = (Vec::new(), 0.0);
        for (item, load) in begun.iter() {
            if let Some(one) = load.traffic.shown(*item, &load.name) {
                weight += one.part() * load.weight as f64;
                shown.push(one);
            }
        }
        (shown, weight)
    }
}

/// A listing may say anything: a terabyte, so that all items of a job still have a sum.
const MOST_WEIGHT: u64 = 1 << 40;

/// What repositories weigh: bytes where a listing told them.
struct Weights {
    /// Of one whose size nobody told; 0 where no size is known.
    usual: u64,
    /// Of those that have ended in this run.
    ended: AtomicU64,
}

impl Weights {
    fn of(repositories: &[Repository]) -> Self {
        let known = || repositories.iter().filter_map(Self::size);
        let usual = known().sum::<u64>().checked_div(known().count() as u64).unwrap_or(0);
        Self { usual, ended: AtomicU64::default() }
    }

    fn size(repository: &Repository) -> Option<u64> {
        repository.size_bytes.map(|size| size.min(MOST_WEIGHT))
    }

    fn of_one(&self, repository: &Repository) -> u64 {
        Self::size(repository).unwrap_or(self.usual)
    }

    /// How much of `all` is done, with what has come of those that are under way; `None` where no size is known.
    fn weighed(&self, all: u64, under_way: f64) -> Option<Weighed> {
        let done = self.ended.load(Ordering::Relaxed) as f64 + under_way;
        (all > 0).then(|| Weighed { done, left: (all as f64 - done).max(0.0) })
    }
}

/// A clone among those that have begun, until it is dropped.
struct Entered<'a> {
    begun: &'a Begun,
    item: u32,
}

impl<'a> Entered<'a> {
    fn enter(begun: &'a Begun, item: u32, load: Load) -> Self {
        begun.0.lock().expect("no holder panics").insert(item, load);
        Self { begun, item }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.begun.0.lock().expect("no holder panics").remove(&self.item);
    }
}

/// A clone that is under way has a connection and some files open; no more of them begin than this process may have files.
const DESCRIPTORS_EACH: usize = 16;

fn at_a_time(order: &CloneOrder) -> usize {
    let wanted = order.concurrency.unwrap_or(MOST_CONCURRENCY).min(MOST_CONCURRENCY) as usize;
    wanted.min(descriptor_limit() as usize / DESCRIPTORS_EACH).max(1)
}

/// Shows what a request would clone.
pub async fn preview(order: &CloneOrder, root: &Path, secrets: &Secrets) -> Result<Selection, PreviewError> {
    let settings = GitSettings::read(secrets).await;
    let http = net::client(secrets, &settings, net::Use::Git)?;
    Ok(discover::discover(order, root, &Session::quiet(http), secrets).await?)
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
        (None, Some(config)) => adopt_plan(context, order, config).await?,
        (None, None) => plan(context, order, &http).await?,
    };
    let engine = Engine::new(
        http,
        context.secrets.clone(),
        settings,
        Wish {
            depth: order.depth.unwrap_or_default(),
            mirror: order.mirror,
            single_branch: order.single_branch,
            submodules: order.submodules,
            filter: order.filter.clone(),
            updates: order.update.is_some(),
            at_a_time: at_a_time(order),
        },
        context.tenure.clone(),
    );
    let run = Run {
        engine,
        weights: Weights::of(&config.repositories),
        config,
        update: order.update,
        ended: AtomicUsize::default(),
        under_way: Begun::default(),
        gone: Mutex::default(),
        parents: tokio::sync::Mutex::default(),
        context,
    };
    run.find_lost().await?;
    run.clone_waiting().await?;
    run.conclude().await
}

/// What became of a repository, when all went well.
enum Became {
    Made(Success),
    /// It was gone upstream.
    Removed,
}

struct Run<'a> {
    engine: Engine,
    config: Config,
    update: Option<Gone>,
    /// Items that have ended, for the log.
    ended: AtomicUsize,
    weights: Weights,
    under_way: Begun,
    /// What is gone upstream and may be pruned, and what its server said.
    gone: Mutex<Vec<(u32, String)>>,
    /// Folders of owners that this run has made.
    parents: tokio::sync::Mutex<HashSet<String>>,
    context: &'a Context,
}

impl Run<'_> {
    /// Looks at what earlier runs have cloned: what no longer stands there is cloned again.
    async fn find_lost(&self) -> Result<(), Stop> {
        let Some(Plan::Items(items)) = self.context.plan() else { return Ok(()) };
        if self.update == Some(Gone::Remove) {
            return Ok(());
        }
        let mut cloned: Vec<(u32, PathBuf)> = items
            .succeeded()
            .filter_map(|item| Some((item, self.folder(self.config.repositories.get(item as usize)?))))
            .collect();
        cloned.sort_unstable();
        let is_gone = |folder: &PathBuf| git::git_folder(folder).is_none();
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

    async fn clone_waiting(&self) -> Result<(), Stop> {
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
        let at_a_time = self.engine.wish().at_a_time;
        context.log(format!("Starting clone operations (at most {at_a_time} at a time)..."));
        let weight = |item: u32| self.weights.of_one(&self.config.repositories[item as usize]);
        let mut items: Vec<u32> = (0..count as u32).filter(|item| waiting(*item)).collect();
        // The largest first: one that is begun last keeps the job waiting for it alone.
        items.sort_by_key(|item| Reverse(weight(*item)));
        let all = items.iter().map(|item| weight(*item)).sum();
        let mut items = items.into_iter();
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
                    let (shown, weight) = self.under_way.shown();
                    context.active(shown, self.weights.weighed(all, weight));
                    continue;
                }
            };
            // After a stop nothing new begins; what is under way ends by itself and is recorded.
            match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(why)) => {
                    stop = Some(match stop {
                        None => why,
                        Some(known) => Stop::or_later(known, why),
                    });
                    self.engine.close();
                }
            }
        }
        match stop {
            Some(why) => Err(why),
            None => self.prune_gone().await,
        }
    }

    async fn clone_item(&self, item: u32) -> Result<(), Stop> {
        let repository = &self.config.repositories[item as usize];
        if let Some(outcome) = self.finish_pruning(repository).await {
            return self.end(item, outcome).await;
        }
        let outcome = match self.attempt(item, repository).await {
            // Whether it is only hidden is told by the others.
            Err(CloneError::Gone(why)) if self.update.is_some_and(|gone| gone != Gone::Keep) => {
                self.gone.lock().expect("no holder panics").push((item, why));
                return Ok(());
            }
            outcome => outcome.map(Became::Made),
        };
        self.end(item, outcome).await
    }

    /// Prunes what is gone upstream, once all others have been asked.
    async fn prune_gone(&self) -> Result<(), Stop> {
        let gone = std::mem::take(&mut *self.gone.lock().expect("no holder panics"));
        for (item, why) in gone {
            let outcome = self.prune(&self.config.repositories[item as usize], why).await;
            self.end(item, outcome).await?;
        }
        Ok(())
    }

    /// Whether the network is lost rather than a repository or a host: this host has answered before, and nobody at all since then.
    fn is_cut_off(&self, repository: &Repository, since: Instant) -> bool {
        let was_there =
            || Host::of(&repository.clone_url).was_heard() || self.has_cloned_from_host_of(repository);
        !git::is_anybody_heard_since(since) && was_there()
    }

    /// Whether an earlier run, perhaps of an earlier daemon, has cloned from the same host.
    fn has_cloned_from_host_of(&self, repository: &Repository) -> bool {
        let Some(Plan::Items(items)) = self.context.plan() else { return false };
        let host = git::host_of(&repository.clone_url);
        items.succeeded().any(|item| {
            let other = self.config.repositories.get(item as usize);
            other.is_some_and(|other| git::host_of(&other.clone_url) == host)
        })
    }

    async fn end(&self, item: u32, outcome: Result<Became, CloneError>) -> Result<(), Stop> {
        let context = self.context;
        let repository = &self.config.repositories[item as usize];
        let total = self.config.repositories.len() + self.config.refused.len();
        let place = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        self.weights.ended.fetch_add(self.weights.of_one(repository), Ordering::Relaxed);
        let event = match outcome {
            Err(CloneError::Cancelled) => return Err(Stop::Cancelled),
            Err(CloneError::Limited(wait)) => return Err(Stop::limited(wait)),
            Err(error) if error.is_storage() => {
                return Err(Stop::no_room(self.failure(repository, &error).message));
            }
            Err(error @ CloneError::Offline(_)) => {
                return Err(Stop::offline(self.failure(repository, &error).message));
            }
            Ok(how) => {
                context.log(format!("{} ({place}/{total})", self.in_words(repository, &how)));
                let was_there = matches!(how, Became::Made(Success::AlreadyThere));
                // A clone of this job that stands there already got its name just before the daemon died.
                let is_new = !was_there || self.made(repository).is_some();
                Event::ItemDone { item, how: if is_new { Done::Now } else { Done::Before } }
            }
            Err(error) => {
                let failure = self.failure(repository, &error);
                context.log(format!("FAILED: {} - {failure}", repository.name));
                Event::ItemFailed { item, failure }
            }
        };
        context.progress(&repository.name);
        context.checkpoint(event).await
    }

    /// What became of a repository, for the log.
    fn in_words(&self, repository: &Repository, how: &Became) -> String {
        let name = &repository.name;
        match how {
            Became::Made(Success::Cloned(Cloned { by_git, aside, .. })) => {
                if let Some(aside) = aside {
                    let why = "a clone that git had begun and never ended";
                    self.context.log(format!("Set aside: {aside}, {why}"));
                }
                let redactor = self.context.secrets.redactor();
                let way = by_git.as_ref().map(|why| format!(" by git itself: {}", redactor.clean(why)));
                format!("Cloned: {name}{}", way.unwrap_or_default())
            }
            Became::Made(Success::Updated) => format!("Updated: {name}"),
            Became::Made(Success::AlreadyThere) if self.update.is_some() => format!("Current: {name}"),
            Became::Made(Success::AlreadyThere) if self.made(repository).is_some() => {
                format!("Cloned: {name}")
            }
            Became::Made(Success::AlreadyThere) => format!("Skipping {name} (already cloned)"),
            Became::Removed => format!("Removed: {name}, which is gone upstream"),
        }
    }

    fn failure(&self, repository: &Repository, error: &CloneError) -> Failure {
        let secrets = &self.context.secrets;
        let redactor = secrets.redactor();
        let fit = |text: &str| {
            let mut text = redactor.clean(&specweave_jobs::text::plain(text));
            text.truncate(text.floor_char_boundary(MOST_WORDS));
            text
        };
        let mut failure = error.failure(&repository.clone_url).cleaned(fit);
        if failure.reason == Reason::Authentication
            && let Ok(url) = Url::parse(&repository.clone_url)
        {
            let variables = secrets.variables_for(&url);
            failure.variables = variables.iter().map(|name| (*name).to_owned()).collect();
        }
        failure
    }

    /// What becomes of a clone whose repository is gone upstream.
    async fn prune(&self, repository: &Repository, why: String) -> Result<Became, CloneError> {
        let folder = self.folder(repository);
        let looking = tokio::task::spawn_blocking(move || own(&folder)).await;
        let is_alone = !self.engine.has_reached_owner_of(&repository.clone_url);
        match looking.unwrap_or(Some("it cannot be read")) {
            Some(own) => return Err(CloneError::Gone(format!("{why}; it stays: {own}"))),
            None if self.update != Some(Gone::Remove) => {
                return Err(CloneError::Gone(format!(
                    "{why}; nothing of yours is in it: --force removes it"
                )));
            }
            None if is_alone => {
                let all = "no repository of its owner answered, so it may only be hidden";
                return Err(CloneError::Gone(format!("{why}; it stays: {all}")));
            }
            None => {}
        }
        let (target, going) = (self.folder(repository), self.going(repository));
        let tenure = self.context.tenure.clone();
        let removing = move || {
            tenure.check()?;
            // A folder that is half removed has a name that says so, and nobody works in it any more.
            disk::rename(&target, &going[0])?;
            crash::point("clone-unnamed");
            remove_unless_own(&target, &going)
        };
        removed(tokio::task::spawn_blocking(removing).await)
    }

    /// Goes on with what an earlier run had begun to remove, if it has.
    async fn finish_pruning(&self, repository: &Repository) -> Option<Result<Became, CloneError>> {
        if self.update != Some(Gone::Remove) {
            return None;
        }
        let (target, going) = (self.folder(repository), self.going(repository));
        let has_begun = going.iter().any(|path| disk::exists(path));
        if !has_begun || disk::exists(&target) {
            return None;
        }
        let tenure = self.context.tenure.clone();
        let removing = move || {
            tenure.check()?;
            remove_unless_own(&target, &going)
        };
        Some(removed(tokio::task::spawn_blocking(removing).await))
    }

    /// Where a clone lies while it is removed: before it is seen that nothing in it is anybody's, and after.
    fn going(&self, repository: &Repository) -> [PathBuf; 2] {
        targets::GOING.map(|going| {
            let name = format!("{}{going}{}", repository.path, self.context.job.id);
            self.context.project.root().join(name)
        })
    }

    fn folder(&self, repository: &Repository) -> PathBuf {
        self.context.project.root().join(&repository.path)
    }

    /// The mark that this job has set in a clone.
    fn made(&self, repository: &Repository) -> Option<mark::Mark> {
        mark::of(&self.folder(repository), self.context.job.id.as_str())
    }

    fn task(&self, repository: &Repository) -> git::Task {
        let (root, job) = (self.context.project.root(), &self.context.job.id);
        git::Task {
            address: repository.clone_url.clone(),
            target: root.join(&repository.path),
            partial: root.join(format!("{}.partial-{job}", repository.path)),
            job: job.to_string(),
            traffic: Arc::default(),
        }
    }

    /// Makes the folders above a clone, once for all that have them in common.
    async fn make_parents(&self, repository: &Repository) -> Result<(), String> {
        let above = repository.path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        let mut made = self.parents.lock().await;
        if made.contains(&above) {
            return Ok(());
        }
        let (root, path) = (self.context.project.root().to_path_buf(), repository.path.clone());
        let making = tokio::task::spawn_blocking(move || outputs::make_parents(&root, &path));
        making.await.unwrap_or_else(|panic| Err(panic.to_string()))?;
        made.insert(above);
        Ok(())
    }

    /// Clones one repository, again after a passing failure.
    async fn attempt(&self, item: u32, repository: &Repository) -> Result<Success, CloneError> {
        let context = self.context;
        let target = self.task(repository);
        let load = Load {
            name: repository.name.as_str().into(),
            traffic: target.traffic.clone(),
            weight: self.weights.of_one(repository),
        };
        let _under_way = Entered::enter(&self.under_way, item, load);
        self.make_parents(repository).await.map_err(CloneError::Refused)?;
        let host = Host::of(&repository.clone_url);
        let mut short_waits = 0..net::MOST_SHORT_WAITS;
        let mut pauses = RETRY_PAUSES.iter();
        let mut failing_since = None;
        loop {
            let error = match self.engine.clone(&target, &host, &context.cancel).await {
                Ok(success) => return Ok(success),
                Err(error) => error,
            };
            let pause = match &error {
                CloneError::Limited(wait) if *wait < net::SHORT_WAIT => short_waits.next().map(|_| *wait),
                error if error.is_passing() => pauses.next().copied(),
                _ => None,
            };
            let since = *failing_since.get_or_insert_with(Instant::now);
            let Some(pause) = pause else {
                return Err(match error {
                    CloneError::Network(why) if self.is_cut_off(repository, since) => {
                        CloneError::Offline(why)
                    }
                    error => error,
                });
            };
            context.log(format!("{}: {error}; trying again in {} s", repository.name, pause.as_secs()));
            let until = clock::now() + pause.as_millis() as i64;
            context.sleep_until(until).await.map_err(|_| CloneError::Cancelled)?;
        }
    }

    fn log_summary(&self, succeeded: usize, before: usize, failed: &[FailedEntry]) {
        let (context, total) = (self.context, succeeded + failed.len());
        context.log("\n========== CLONE JOB SUMMARY ==========");
        context.log(format!(
            "Total: {total} | Succeeded: {succeeded} | Failed: {} | Skipped (already cloned): {before}",
            failed.len()
        ));
        for one in failed {
            context.log(format!("  - {}: {}", one.name, one.error));
        }
    }

    /// Enters what was cloned into the project's configuration; what has to be told of that.
    fn enter(
        &self,
        cloned: &[&Repository],
        is_new: impl Fn(&Repository) -> bool,
        removed: &[&Repository],
    ) -> Option<String> {
        let context = self.context;
        context.log("Persisting umbrella configuration...");
        // Nobody works in a mirror.
        let is_mirror = |one: &Repository| git::git_folder(&self.folder(one)) == Some(self.folder(one));
        // What stood there before an update, and was taken out by somebody, is not put in again.
        let entered: Vec<(&Repository, bool)> = cloned
            .iter()
            .filter(|one| !is_mirror(one) && (self.update.is_none() || is_new(one)))
            .map(|one| (*one, is_new(one)))
            .collect();
        match outputs::enter_into_project(&context.project, &entered, removed) {
            Ok(all) => {
                context.log(format!("Umbrella config saved: {all} repos ({} from this job)", entered.len()));
                None
            }
            Err(why) => {
                context.log(format!("WARNING: the project's configuration was not changed: {why}"));
                Some(format!("the project's configuration was not changed: {why}"))
            }
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
                    if self.update.is_some() { "nothing is up to date" } else { "nothing was cloned" },
                    items.failed().map(|(item, failure)| (items.name(item), failure)),
                )
            })
            .flatten();
        let succeeded = total - failed.len();
        let rate = format!("{:.1}", 100.0 * succeeded as f64 / total.max(1) as f64);
        let warning = (!failed.is_empty()).then(|| match self.update {
            None => format!("{} of {total} repositories failed ({rate}% success rate)", failed.len()),
            Some(_) => format!("{} of {total} repositories were not brought up to date", failed.len()),
        });
        self.log_summary(succeeded, items.before(), &failed);
        let mut succeeded_items: Vec<u32> = items.succeeded().collect();
        // As they were asked for: in which order they ended is nobody's wish.
        succeeded_items.sort_unstable();
        let succeeded_items = succeeded_items.iter();
        let (cloned, removed): (Vec<&Repository>, Vec<&Repository>) = succeeded_items
            .filter_map(|item| self.config.repositories.get(*item as usize))
            .partition(|one| self.update != Some(Gone::Remove) || disk::exists(&self.folder(one)));
        let made: Vec<(&Repository, mark::Mark)> =
            cloned.iter().filter_map(|one| Some((*one, self.made(one)?))).collect();
        let with_lfs = made.iter().filter(|(_, mark)| mark.uses_lfs);
        let files = context.project.job(&context.job.id);
        // An earlier conclusion of this job has removed its marks.
        let mut notes = outputs::earlier_notes(&files);
        notes.retain(|note| note.ends_with(POINTERS));
        notes.extend(with_lfs.map(|(one, _)| format!("{}{POINTERS}", one.name)));
        notes.sort();
        notes.dedup();
        let new: HashSet<&str> = made.iter().map(|(one, _)| one.path.as_str()).collect();
        let is_new = |one: &Repository| new.contains(one.path.as_str());
        notes.extend(self.enter(&cloned, is_new, &removed));
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
        for (one, mark) in made {
            mark::remove(&self.folder(one), context.job.id.as_str(), mark);
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

/// What of a person's is in a clone; one that cannot be read may have anything.
fn own(folder: &Path) -> Option<&'static str> {
    git::own(folder).unwrap_or(Some("it cannot be read"))
}

/// Removes a clone that has lost its name, and gives it back where somebody has worked in it meanwhile.
fn remove_unless_own(target: &Path, [unnamed, vetted]: &[PathBuf; 2]) -> io::Result<()> {
    // What is half removed already cannot be looked at any more.
    if !disk::exists(vetted) {
        if own(unnamed).is_some() {
            disk::rename(unnamed, target)?;
            return Err(io::Error::other("somebody has worked in it meanwhile"));
        }
        disk::rename(unnamed, vetted)?;
    }
    crash::point("clone-vetted");
    disk::remove_folder(vetted)
}

fn removed(done: Result<io::Result<()>, tokio::task::JoinError>) -> Result<Became, CloneError> {
    done.map_err(io::Error::other)
        .flatten()
        .map(|()| Became::Removed)
        .map_err(|source| CloneError::Local { what: "remove what is gone upstream", source })
}

/// Discovers the repositories and makes them the job's items.
async fn plan(context: &Context, order: &CloneOrder, http: &reqwest::Client) -> Result<Config, Stop> {
    context.phase("discovering");
    context.log("Looking for repositories...");
    let session = context.session(http.clone());
    let discovering = discover::discover(order, context.project.root(), &session, &context.secrets);
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
    context.checkpoint(Event::Planned { items: config.items(order.action()) }).await?;
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
    let named = config.count();
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
async fn adopt_plan(context: &Context, order: &CloneOrder, mut config: Config) -> Result<Config, Stop> {
    let refused = config.refused.len();
    if adopt::vet(&mut config, &mut Caller::default()) > 0 || config.refused.len() > refused {
        context.write_plan(&config)?;
    }
    context.checkpoint(Event::Planned { items: config.items(order.action()) }).await?;
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
