//! sync-external: keeps stories and a tracker's items the same. [`plan`] decides (pure), [`engine`] carries out, and what
//! both sides said when they last met is in the [`store`]. The tracker is only asked through
//! [`crate::trackers::edits::Editor`], the files only through [`engine::Docs`].

pub mod adopt;
mod dialect;
mod engine;
#[cfg(test)]
mod imported_tests;
mod kind;
mod local;
#[cfg(test)]
mod model_tests;
pub mod outputs;
mod pace;
mod plan;
pub mod profile;
mod regenerated;
mod status;
mod store;

use crate::docs::writer::Access;
use crate::job::order::{OnConflict, SyncOrder};
use crate::job::{Event, Plan as JobPlan, PlannedItem};
use crate::model::failure::{Failure, Reason};
use crate::model::item::Platform;
use crate::net;
use crate::net::git_settings::GitSettings;
use crate::net::secrets::Secrets;
use crate::store::mac::PlaceKey;
use crate::trackers::edits::Editor;
use crate::trackers::server::Session;
use crate::trackers::{TrackerError, ado, github, jira};
use crate::work::turn::{self, Verdict};
use crate::work::{Context, Finish, Stop};
use engine::{Ended, Engine, Run};
use local::{InPlace, LivingDocs};
use outputs::{Config, NotSynced, Summary};
use plan::Verb;
use profile::{Profile, ProfileError};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::project::Project;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
pub use store::Contradiction;
use store::Store;
use store::file::FileLog;

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error(transparent)]
    Guard(#[from] plan::Guard),
    #[error("{0}")]
    Storage(io::Error),
    #[error("{}", other_project(.was, .is))]
    OtherProject { was: String, is: String },
    #[error("the project is being imported or synced: wait until that has ended")]
    Busy,
    #[error("cancelled")]
    Cancelled,
}

fn other_project(was: &str, is: &str) -> String {
    format!(
        "the profile leads to another project ({is}) than the one that its stories are linked to ({was}); nothing was \
         changed. Give the new project a profile of its own"
    )
}

impl From<Ended> for SyncError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Tracker(error) => Self::Tracker(error),
            Ended::Storage(error) => Self::Storage(error),
            Ended::Guard(guard) => Self::Guard(guard),
            Ended::OtherProject { was, is } => Self::OtherProject { was, is },
            Ended::Stop(_) => Self::Cancelled,
        }
    }
}

/// The contradictions that wait for somebody, of all profiles, by story. Blocks.
pub fn contradictions(project: &Project, key: &PlaceKey) -> io::Result<Vec<(String, Contradiction)>> {
    let mut all = Vec::new();
    for profile in store::file::profiles(project)? {
        // What is remembered is looked at, and not changed.
        let log = Box::new(store::Copy::of(FileLog::new(project, key, &profile)));
        let store = Store::open(log)?;
        all.extend(store.conflicts().map(|(story, one)| (story.to_owned(), one.clone())));
    }
    Ok(all)
}

/// What would be done.
pub struct Preview {
    pub profile: Profile,
    pub actions: Vec<Shown>,
    pub unchanged: u64,
    /// How long the writes take at least, by the tracker's documented limits.
    pub duration: Millis,
    /// What a person should know besides.
    pub notes: Vec<String>,
}

/// One thing that would be done, in words.
pub struct Shown {
    pub verb: Verb,
    pub name: String,
    pub item: String,
    /// From the project's root; empty where there is none.
    pub file: String,
    pub reason: String,
}

/// Shows what a request would do: exactly what a run then does, as long as neither side changes. Writes nothing.
pub async fn preview(
    project: &Project,
    key: &PlaceKey,
    order: &SyncOrder,
    secrets: &Secrets,
) -> Result<Preview, SyncError> {
    let profile = Profile::find(project, order, secrets)?;
    let _turn = turn::DOCS.try_read().map_err(|_| SyncError::Busy)?;
    let settings = GitSettings::read(secrets).await;
    let session = Session::quiet(net::client(secrets, &settings, net::Use::Trackers)?);
    let editor = open(&session, secrets, &profile).await?;
    let (platform, name) = (profile.source.platform, profile.source.name.as_str());
    let docs = tokio::task::block_in_place(|| LivingDocs::open(project, key, Access::Look, platform, name))
        .map_err(|error| SyncError::Storage(io::Error::other(error.to_string())))?;
    let mut docs = InPlace(docs);
    // What is remembered is looked at, and not changed.
    let log = Box::new(store::Copy::of(FileLog::new(project, key, &slug(&profile.id))));
    let mut store = Store::open(log).map_err(SyncError::Storage)?;
    let run = Silent;
    let mut engine =
        Engine::new(&profile, &*editor, &mut docs, &mut store, &run, &order.only, order.force_deletes);
    engine.resolve = order.resolve;
    let planned = engine.plan().await;
    if let (Err(Ended::Tracker(TrackerError::Auth(_))), false) = (&planned, editor.server().has_login()) {
        return Err(TrackerError::Auth(turn::no_token(&profile.source)).into());
    }
    let plan = planned?;
    let duration = engine.duration(&plan.actions);
    let notes = plan.notes.clone();
    let shown = plan.actions.iter().map(|action| Shown {
        verb: action.verb,
        name: action.name(),
        item: action.item.as_deref().and_then(|key| engine.shown(key)).unwrap_or_default(),
        file: action.file(),
        reason: action.reason.clone(),
    });
    let (actions, unchanged) = (shown.collect(), plan.unchanged);
    Ok(Preview { profile, actions, unchanged, duration, notes })
}

/// A profile's name as that of a file.
fn slug(id: &str) -> String {
    format!("{}-{:08x}", crate::model::text::folder(id), crc32fast::hash(id.as_bytes()))
}

async fn open(
    session: &Session,
    secrets: &Secrets,
    profile: &Profile,
) -> Result<Box<dyn Editor>, TrackerError> {
    let source = &profile.source;
    Ok(match source.platform {
        Platform::GitHub => {
            let (owner, name) = source.name.split_once('/').unwrap_or((&source.name, ""));
            Box::new(github::Issues::new(github::GitHub::new(session, secrets).await?, owner, name))
        }
        Platform::Jira => {
            let server = jira::server(session, secrets, &source.server)?;
            let flavor = jira::flavor(&server).await?;
            Box::new(jira::Issues::new(server, &source.name, flavor))
        }
        Platform::Ado => {
            Box::new(ado::WorkItems::new(ado::server(session, secrets, &source.server)?, &source.name))
        }
    })
}

/// Runs a sync from wherever it stands.
pub async fn run(context: &Context, order: &SyncOrder) -> Result<Finish, Stop> {
    let redactor = context.secrets.redactor();
    let profile = Profile::find(&context.project, order, &context.secrets)
        .map_err(|error| Stop::fail(Reason::InvalidInput, redactor.clean(&error.to_string())))?;
    let settings = GitSettings::read(&context.secrets).await;
    let http = net::client(&context.secrets, &settings, net::Use::Trackers)
        .map_err(|error| Stop::fail(Reason::Network, net::chain(&error)))?;
    let session = context.session(http);
    context.phase("waiting for another import or sync");
    let _turn = tokio::select! {
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        turn = turn::DOCS.write() => turn,
    };
    context.phase("");
    // Whoever has changed it only changes what is said of a token that is missing.
    let earlier: Option<Config> = context.config().ok();
    let mut config = Config::new(context, &profile);
    config.with_login = earlier.is_some_and(|earlier| earlier.with_login);
    let stopped = |ended: Ended, had_login: bool, with_login: bool| match ended {
        Ended::Stop(stop) => stop,
        Ended::Storage(error) => no_room(&error),
        Ended::Guard(guard) => Stop::fail(Reason::InvalidInput, guard.to_string()),
        Ended::OtherProject { was, is } => Stop::fail(Reason::InvalidInput, other_project(&was, &is)),
        Ended::Tracker(error) => {
            match turn::verdict(context, &error, with_login, &profile.source, had_login) {
                Verdict::Stop(stop) => stop,
                Verdict::Refused(failure) | Verdict::Broken(failure) => failure.into(),
            }
        }
    };
    let editor = open(&session, &context.secrets, &profile)
        .await
        .map_err(|error| stopped(error.into(), config.with_login, true))?;
    let with_login = editor.server().has_login();
    let had_login = config.with_login;
    config.with_login |= with_login;
    context.write_config(&config).map_err(|error| no_room(&error))?;
    let (platform, name) = (profile.source.platform, profile.source.name.as_str());
    let docs = tokio::task::block_in_place(|| {
        LivingDocs::open(&context.project, &context.key, Access::Write, platform, name)
    })
    .map_err(|error| turn::stop_for_docs(&error))?;
    let mut docs = InPlace(docs);
    let log = FileLog::new(&context.project, &context.key, &slug(&profile.id));
    let mut store = Store::open(Box::new(InPlace(log))).map_err(|error| no_room(&error))?;
    let job = Job { context, items: Mutex::new(items(context)) };
    context.log(format!(
        "Sync: {} {} ({}, {})",
        profile.source.shown(),
        profile.id,
        profile.direction.word(),
        match profile.on_conflict {
            OnConflict::Manual => "conflicts wait for a person",
            OnConflict::Local => "the stories win",
            OnConflict::Remote => "the tracker wins",
            OnConflict::File => "what stands in the conflict's file wins",
        }
    ));
    let synced = {
        let mut engine =
            Engine::new(&profile, &*editor, &mut docs, &mut store, &job, &order.only, order.force_deletes);
        engine.resolve = order.resolve;
        sync(context, &job, &mut engine).await
    };
    synced.map_err(|ended| stopped(ended, had_login, with_login))?;
    conclude(context, &profile).await
}

/// Plans, and carries out what is still to be done.
async fn sync(context: &Context, job: &Job<'_>, engine: &mut Engine<'_>) -> Result<(), Ended> {
    let plan = engine.plan().await?;
    for note in &plan.notes {
        job.log(note);
    }
    if context.job.items().is_none() {
        let items: Vec<PlannedItem> = plan.actions.iter().map(|action| engine.planned(action)).collect();
        let places: Vec<(String, u32)> =
            items.iter().enumerate().map(|(place, item)| (item.name.clone(), place as u32)).collect();
        context.checkpoint(Event::Planned { items }).await?;
        job.items.lock().expect("no holder panics").extend(places);
        let duration = engine.duration(&plan.actions);
        context.log(format!("{} to do, {} the same on both sides", plan.actions.len(), plan.unchanged));
        if duration > TELLING {
            context.log(format!("The tracker's limits make this take about {}", in_words(duration)));
        }
    }
    let waiting: Vec<String> = {
        let items = job.items.lock().expect("no holder panics");
        let mut waiting: Vec<(&String, &u32)> = items.iter().collect();
        waiting.sort_by_key(|(_, place)| **place);
        waiting.into_iter().map(|(name, _)| name.clone()).collect()
    };
    engine.carry_out(plan, &waiting).await
}

/// A sync that takes longer says so before it begins.
const TELLING: Millis = 60_000;

/// `about 20 h`.
pub fn in_words(duration: Millis) -> String {
    let minutes = (duration + 59_999) / 60_000;
    match minutes {
        ..=90 => format!("{minutes} min"),
        _ => format!("{} h", (minutes + 30) / 60),
    }
}

/// The items that the job has still to deal with, by their names, with their places.
fn items(context: &Context) -> BTreeMap<String, u32> {
    let Some(JobPlan::Items(items)) = &context.job.plan else { return BTreeMap::new() };
    let waiting = (0..items.len() as u32)
        .filter(|place| items.item_state(*place) == Some(crate::job::ItemState::Waiting));
    waiting.map(|place| (items.name(place).to_owned(), place)).collect()
}

fn no_room(error: &io::Error) -> Stop {
    Stop::of_disk(error, error.to_string())
}

/// Writes the result, and says how it went.
async fn conclude(context: &Context, profile: &Profile) -> Result<Finish, Stop> {
    let Some(JobPlan::Items(items)) = context.plan() else {
        return Err(Stop::Cancelled);
    };
    let failed: Vec<NotSynced> = items
        .failed()
        .map(|(place, failure)| NotSynced {
            story: items.name(place).to_owned(),
            planned: items.action(place).word(),
            error: failure.message.clone(),
            reason: failure.reason,
        })
        .collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for place in items.succeeded() {
        *counts.entry(items.action(place).word()).or_default() += 1;
    }
    let summary = Summary::new(profile, &counts, &failed);
    let files = context.project.job(&context.job.id);
    summary.write(&files).map_err(|error| no_room(&error))?;
    outputs::note_sync(&context.project, profile, &counts, failed.len() as u64)
        .map_err(|error| no_room(&error))?;
    context.log("\n========== SYNC JOB SUMMARY ==========");
    let told: Vec<String> = counts.iter().map(|(verb, count)| format!("{verb}: {count}")).collect();
    context.log(if told.is_empty() { "Nothing to do".to_owned() } else { told.join(" | ") });
    let Some(first) = failed.first() else { return Ok(Finish::Complete) };
    let more = if failed.len() > 1 { format!("; and {} more", failed.len() - 1) } else { String::new() };
    let conflicts = failed.iter().filter(|one| one.reason == Reason::Conflict).count();
    let what = match conflicts {
        0 => format!("{} not synced", failed.len()),
        _ if conflicts == failed.len() => format!("{conflicts} in conflict"),
        _ => format!("{} not synced, {conflicts} of them in conflict", failed.len()),
    };
    let why = first.error.trim_start_matches("conflict: ");
    Ok(Finish::WithWarnings(format!("{what}: {}: {why}{more}", first.story)))
}

/// The job as the engine sees it.
struct Job<'a> {
    context: &'a Context,
    /// Places of the items that wait, by their names.
    items: Mutex<BTreeMap<String, u32>>,
}

impl Job<'_> {
    fn take(&self, name: &str) -> Option<u32> {
        self.items.lock().expect("no holder panics").remove(name)
    }
}

#[tonic::async_trait]
impl Run for Job<'_> {
    fn now(&self) -> Millis {
        clock::now()
    }

    async fn sleep_until(&self, at: Millis) -> Result<(), Stop> {
        self.context.sleep_until(at).await
    }

    fn log(&self, text: &str) {
        self.context.log(self.context.secrets.redactor().clean(text));
    }

    fn progress(&self, story: &str) {
        self.context.progress(story);
    }

    fn phase(&self, phase: &'static str) {
        self.context.phase(phase);
    }

    fn ahead(&self, waiting: Millis) {
        self.context.ahead(waiting);
    }

    async fn done(&self, names: &[String]) -> Result<(), Stop> {
        let places = names.iter().filter_map(|name| self.take(name));
        let events =
            places.map(|item| self.context.checkpoint(Event::ItemDone { item, how: crate::job::Done::Now }));
        // Together, so that they become durable together.
        futures_util::future::try_join_all(events).await.map(|_| ())
    }

    async fn failed(&self, name: &str, failure: Failure) -> Result<(), Stop> {
        let Some(item) = self.take(name) else { return Ok(()) };
        let redactor = self.context.secrets.redactor();
        let failure = failure.cleaned(|text| redactor.clean(text));
        self.context.checkpoint(Event::ItemFailed { item, failure }).await
    }
}

/// A run that tells nobody and does nothing.
struct Silent;

#[tonic::async_trait]
impl Run for Silent {
    fn now(&self) -> Millis {
        clock::now()
    }
    async fn sleep_until(&self, _: Millis) -> Result<(), Stop> {
        Ok(())
    }
    fn log(&self, _: &str) {}
    fn progress(&self, _: &str) {}
    fn phase(&self, _: &'static str) {}
    fn ahead(&self, _: Millis) {}
    async fn done(&self, _: &[String]) -> Result<(), Stop> {
        Ok(())
    }
    async fn failed(&self, _: &str, _: Failure) -> Result<(), Stop> {
        Ok(())
    }
}
