//! import-issues: finds the sources, reads each page by page, and writes every page into the living docs before the
//! next counts. Nothing is kept of what was read: memory does not grow with the number of items.

pub mod adopt;
mod kind;
pub mod marks;
pub mod outputs;
mod pages;
mod spool;
mod wanted;

use crate::docs::writer::{Access, Writer};
use crate::job::order::{ImportOrder, Since};
use crate::job::paged_sources::End;
use crate::job::{Event, Plan};
use crate::model::failure::{Failure, Reason};
use crate::model::item::Platform;
use crate::net;
use crate::net::git_settings::GitSettings;
use crate::net::secrets::Secrets;
use crate::store::mac::PlaceKey;
use crate::trackers::server::Session;
use crate::trackers::{Source, TrackerError, Window, ado, github, jira};
use crate::work::config::ConfigError;
use crate::work::sources::{self, SourceError, SourceId};
use crate::work::turn::{self, Verdict, stop_for_docs};
use crate::work::{Context, Finish, Stop, all_failed, blocking};
use outputs::{Config, Planned, Summary};
use pages::{Import, Interruption};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::project::Project;
use spool::Spool;
use std::sync::{Arc, Mutex};
use wanted::{Wanted, condition};

/// Without a word about it, the first import goes back so far.
const FIRST_MONTHS: u32 = 1;

/// The sources of a request; those that were imported once are imported again where it names none.
pub fn find_sources(
    project: &Project,
    order: &ImportOrder,
    secrets: &Secrets,
) -> Result<Vec<SourceId>, SourceError> {
    sources::find(project, order, secrets, |platform| marks::imported(project, platform))
}

/// What an import or a sync may be told, for a picker.
pub fn known_sources(project: &Project, secrets: &Secrets) -> specweave_jobs::v1::ListSourcesResponse {
    let imported: Vec<SourceId> = Platform::ALL
        .into_iter()
        .flat_map(|platform| sources::vetted(marks::imported(project, platform), platform, secrets))
        .collect();
    sources::known(project, secrets, &imported)
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
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
    project: &Project,
    key: &PlaceKey,
    order: &ImportOrder,
    secrets: &Secrets,
) -> Result<Vec<Preview>, ImportError> {
    let settings = GitSettings::read(secrets).await;
    let session = Session::quiet(net::client(secrets, &settings, net::Use::Trackers)?);
    let wanted = Wanted::new(order);
    let mut previews = Vec::new();
    for id in find_sources(project, order, secrets)? {
        let planned = planned(project, key, order, &wanted, id);
        let counted = match open(&session, secrets, &planned).await {
            Ok(source) => source.count(&window(&planned, order)).await,
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

/// Where the reading of a source begins.
fn planned(project: &Project, key: &PlaceKey, order: &ImportOrder, wanted: &Wanted, id: SourceId) -> Planned {
    // What an import without a filter has had, one with a filter need not have again.
    let last =
        marks::last_mark(project, key, &id, &wanted.text).or_else(|| marks::last_mark(project, key, &id, ""));
    let (since, mark, advances) = match (order.since, last) {
        (Since::All, _) => (None, None, true),
        (Since::Last, None) => (Since::Months(FIRST_MONTHS).moment(clock::now()), None, true),
        (Since::Last, last) => (None, last, true),
        (since, last) => (since.moment(clock::now()), None, last.is_none()),
    };
    Planned { id, since, mark, advances, with_login: false }
}

fn window(planned: &Planned, order: &ImportOrder) -> Window {
    let SourceId { platform, name, .. } = &planned.id;
    let condition = condition(&order.question, *platform, name);
    Window { since: planned.since, mark: planned.mark.clone(), labels: order.labels.clone(), condition }
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
pub async fn run(context: &Context, order: &ImportOrder) -> Result<Finish, Stop> {
    let settings = GitSettings::read(&context.secrets).await;
    let http = net::client(&context.secrets, &settings, net::Use::Trackers)
        .map_err(|error| Stop::fail(Reason::Network, net::chain(&error)))?;
    let session = context.session(http);
    let wanted = Wanted::new(order);
    let mut config = plan(context, order, &wanted).await?;
    context.phase("waiting for another import");
    let _turn = tokio::select! {
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        turn = turn::DOCS.write() => turn,
    };
    context.phase("");
    let (project, key) = (context.project.clone(), context.key.clone());
    let writer = blocking(move || Writer::open(&project, &key, Access::Write))
        .await?
        .map_err(|error| stop_for_docs(&error))?;
    let import = Import {
        context,
        order,
        wanted: &wanted,
        writer: Arc::new(Mutex::new(writer)),
        spool: Arc::new(Spool::of(&context.project, &context.key, &context.job.id)),
        unseen: Mutex::default(),
    };
    let mut refused = None;
    for index in 0..config.sources.len() as u32 {
        let planned = config.sources[index as usize].clone();
        let standing = import.standing(index)?;
        if standing.end.is_some() {
            continue;
        }
        let mut with_login = true;
        let read = match open(&session, &context.secrets, &planned).await {
            Ok(source) => {
                with_login = source.server().has_login();
                if with_login && !planned.with_login {
                    config.sources[index as usize].with_login = true;
                    context.write_plan(&config)?;
                }
                import.read(index, &standing, &planned, &*source).await
            }
            Err(error) => Err(Interruption::Tracker(error)),
        };
        match read {
            Ok(mark) => import.end(index, &planned, Some(mark), End::Read).await?,
            Err(Interruption::Stop(stop)) => return Err(stop),
            Err(Interruption::Tracker(error)) => {
                match turn::verdict(context, &error, with_login, &planned.id, planned.with_login) {
                    // The other sources may have another token.
                    Verdict::Refused(failure) => {
                        context.log(format!("{}: {failure}", planned.id.shown()));
                        refused.get_or_insert(failure);
                    }
                    Verdict::Stop(stop) => return Err(stop),
                    Verdict::Broken(failure) => {
                        context.log(format!("FAILED: {} - {failure}", planned.id.shown()));
                        import.end(index, &planned, None, End::Failed(failure.into())).await?;
                    }
                }
            }
        }
    }
    if let Some(failure) = refused {
        return Err(failure.into());
    }
    import.conclude(&config).await
}

fn failed(context: &Context, error: &ImportError) -> Stop {
    let redactor = context.secrets.redactor();
    let failure = match error {
        ImportError::Tracker(error) => error.failure(),
        ImportError::Net(error) => Failure::new(Reason::Network, net::chain(error)),
        ImportError::Source(error) => Failure::new(Reason::InvalidInput, error.to_string()),
    };
    failure.cleaned(|text| redactor.clean(text)).into()
}

/// The sources of the job, found or found before.
async fn plan(context: &Context, order: &ImportOrder, wanted: &Wanted) -> Result<Config, Stop> {
    let earlier: Option<Config> = match context.config() {
        Ok(config) => Some(config),
        Err(ConfigError::Missing(_)) => None,
        Err(error) => return Err(Stop::fail(Reason::Storage, error.to_string())),
    };
    match (context.job.sources(), earlier) {
        (Some(progress), Some(config)) => {
            let same = config
                .source_names()
                .iter()
                .map(String::as_str)
                .eq(progress.all().iter().map(|source| &*source.name));
            return if same {
                Ok(config)
            } else {
                Err(Stop::fail(Reason::Storage, "config not usable: somebody has changed config.json"))
            };
        }
        (Some(_), None) => return Err(Stop::fail(Reason::Storage, "config not found")),
        // A daemon died before it could say what it had planned.
        (None, Some(config)) if !config.sources.is_empty() => {
            context.checkpoint(Event::SourcesPlanned { sources: config.source_names() }).await?;
            return Ok(config);
        }
        (None, _) => {}
    }
    let fail = |error| failed(context, &error);
    let found =
        find_sources(&context.project, order, &context.secrets).map_err(|error| fail(error.into()))?;
    let planned =
        found.into_iter().map(|id| planned(&context.project, &context.key, order, wanted, id)).collect();
    let months = match order.since {
        Since::Months(months) => Some(i64::from(months)),
        Since::Last => Some(i64::from(FIRST_MONTHS)),
        Since::All | Since::At(_) | Since::Days(_) => None,
    };
    let config = Config::new(&context.project, &context.job.id, context.job.created_at, planned, months);
    context.write_plan(&config)?;
    context.checkpoint(Event::SourcesPlanned { sources: config.source_names() }).await?;
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

impl Import<'_> {
    /// Writes the result.
    async fn conclude(&self, config: &Config) -> Result<Finish, Stop> {
        let context = self.context;
        let Some(Plan::Sources(progress)) = context.plan() else {
            return Err(Stop::Cancelled);
        };
        let writer = self.writer.clone();
        let conflicts = blocking(move || writer.lock().expect("no holder panics").conflicts()).await?;
        let mut summary = Summary::new(config, &progress, conflicts);
        let warning = summary.warning(progress.current());
        summary.resume_hint = warning
            .as_ref()
            .map(|_| format!("specweave-jobs --resume {} tries what failed again", context.job.id));
        let (counts, failed) = (progress.counts(), summary.failed());
        let files = context.project.job(&context.job.id);
        let written = blocking(move || summary.write(&files)).await?;
        written.map_err(|error| Stop::no_room(format!("cannot write result.json: {error}")))?;
        let spool = self.spool.clone();
        blocking(move || spool.clear()).await?;
        context.log("\n========== IMPORT JOB SUMMARY ==========");
        context.log(format!(
            "Created: {} | Updated: {} | Unchanged: {} | Left out: {} | Failed: {failed}",
            counts.created, counts.updated, counts.unchanged, counts.left_out
        ));
        // Not a single source could be read.
        let is_nothing = progress.current() == 0 && progress.failed() == progress.all().len() as u64;
        if let Some(failure) =
            is_nothing.then(|| all_failed("nothing was imported", progress.failures())).flatten()
        {
            return Err(failure.into());
        }
        Ok(warning.map_or(Finish::Complete, Finish::WithWarnings))
    }
}
