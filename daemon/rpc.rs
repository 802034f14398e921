//! The tonic service: translates, resolves ids, streams. It decides nothing about jobs.

pub mod errors;
mod foreign;
mod streams;
pub mod takeover;

use crate::job::order::Order;
use crate::job::snapshot::{Entry, Snapshot};
use crate::job::terms::Terms;
use crate::keeper::{KeeperHandle, Which};
use crate::mirror::{ForeignJobs, MirrorState};
use crate::net::secrets::{Caller, Secrets};
use crate::store::mac::PlaceKey;
use crate::store::tenure::Tenure;
use crate::trackers::pace;
use crate::view;
use crate::work::conflicts;
use crate::work::import;
use crate::work::kind::{self, Refusal, Scope, Why};
use errors::{error, from_keeper};
use specweave_jobs::clock::Millis;
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::redactor::Redactor;
use specweave_jobs::v1::jobs_service_server::JobsService;
use specweave_jobs::v1::*;
use specweave_jobs::{PROTOCOL, PROTOCOL_HEADER, clock, diagnosis, disk, environment, reason};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

const DEFAULT_PAGE: usize = 100;
const MOST_JOBS_A_PAGE: usize = 1_000;
const MOST_ITEMS_A_PAGE: u32 = 10_000;

/// How busy the service is, for the decision to leave.
#[derive(Default)]
pub struct Activity {
    streams: AtomicU32,
    last_call: AtomicI64,
}

impl Activity {
    /// That of a daemon whose starter is about to call.
    pub fn begun() -> Arc<Self> {
        let activity = Self::default();
        activity.called();
        Arc::new(activity)
    }

    /// Notes a call.
    pub fn called(&self) {
        self.last_call.store(clock::now(), Ordering::Relaxed);
    }

    pub fn streams(&self) -> u32 {
        self.streams.load(Ordering::Relaxed)
    }

    /// When the last call came, or the last stream ended.
    pub fn last_call(&self) -> Millis {
        self.last_call.load(Ordering::Relaxed)
    }
}

pub struct Service {
    pub project: Project,
    pub key: PlaceKey,
    pub tenure: Tenure,
    pub keeper: KeeperHandle,
    pub mirror: MirrorState,
    pub foreign: Arc<ForeignJobs>,
    pub activity: Arc<Activity>,
    /// Cancelled when the daemon stops: streams end, and nothing new is taken.
    pub stopping: CancellationToken,
    /// Cancelled by `Shutdown`: the boot story then stops the daemon.
    pub stop_requested: CancellationToken,
    pub started_at: Millis,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// Every call begins here.
    async fn enter<T>(&self, request: &Request<T>) -> Result<Arc<Snapshot>, Status> {
        self.activity.called();
        let theirs = request.metadata().get(PROTOCOL_HEADER);
        if theirs.is_some_and(|theirs| theirs.as_bytes() != PROTOCOL.to_string().as_bytes()) {
            let text = format!("this daemon speaks protocol {PROTOCOL}");
            return Err(error(Code::FailedPrecondition, reason::PROTOCOL_MISMATCH, text, []));
        }
        if !self.tenure.holds() {
            // The project was moved or removed: another daemon is to serve what stands there now.
            errors::stops_because(errors::MOVED);
            self.stop_requested.cancel();
            return Err(errors::shutting_down());
        }
        if self.stopping.is_cancelled() {
            return Err(errors::shutting_down());
        }
        Ok(self.keeper.snapshot().await)
    }

    /// All jobs, newest first.
    async fn jobs(&self, snapshot: &Arc<Snapshot>) -> Vec<Job> {
        let besides = self.foreign.besides(snapshot).await;
        let now = clock::now();
        let ours = snapshot
            .jobs
            .values()
            // A folder that somebody removed is a job that is no more; what runs keeps its own.
            .filter(|entry| entry.pid != 0 || disk::exists(&self.project.job(&entry.job.id).folder))
            .map(|entry| view::job(entry, now));
        let mut jobs: Vec<Job> = ours.chain(besides).collect();
        jobs.sort_by_cached_key(|job| {
            let started = job.started_at.as_ref().map_or(0, clock::millis);
            (std::cmp::Reverse(started), job.id.clone())
        });
        jobs
    }

    /// The job that an id or an unambiguous prefix names.
    async fn find(&self, snapshot: &Arc<Snapshot>, wanted: &str) -> Result<FoundJob, Status> {
        if let Some(entry) = JobId::parse(wanted).and_then(|id| snapshot.jobs.get(&id)) {
            return Ok(FoundJob::Ours(entry.clone()));
        }
        let jobs = self.jobs(snapshot).await;
        let fits = |job: &&Job| !wanted.is_empty() && job.id.starts_with(wanted);
        let mut fitting: Vec<&Job> = jobs.iter().filter(fits).collect();
        if let Some(exact) = fitting.iter().find(|job| job.id == wanted) {
            fitting = vec![exact];
        }
        match fitting[..] {
            [] => Err(errors::not_found(wanted, &jobs)),
            [one] => Ok(match JobId::parse(&one.id).and_then(|id| snapshot.jobs.get(&id)) {
                Some(entry) => FoundJob::Ours(entry.clone()),
                None => FoundJob::Foreign(Box::new(one.clone())),
            }),
            _ => Err(errors::ambiguous(wanted, &fitting)),
        }
    }

    /// What a request may look at before there is a job.
    fn scope(&self, caller: Caller) -> Scope {
        let secrets = Secrets::new(&self.project, caller, &Default::default());
        Scope { project: self.project.clone(), key: self.key.clone(), secrets }
    }

    /// Makes a job of a request, and starts it.
    async fn start(&self, request: StartJobRequest) -> Result<StartJobResponse, Status> {
        // What has been carried out is not looked at again: it may not be there to be done any more.
        if let Some(entry) = self.keeper.snapshot().await.requested(&request.request_id) {
            return Ok(StartJobResponse { job: Some(view::job(entry, clock::now())), existing: true });
        }
        let mut caller = caller(request.environment);
        let terms = Terms::parse(request.spec.as_ref().unwrap_or(&JobSpec::default()));
        let mut order = order(request.spec, &mut caller)?;
        let terms = terms.map_err(|wrong| {
            let refusal = Refusal::new(Why::Invalid, &wrong, &Redactor::default());
            errors::from_refusal(refusal, kind::of(&order).verb())
        })?;
        let request_id = match request.request_id.as_str() {
            "" => format!("{:016x}", disk::random()),
            id if id.len() <= 128 => id.to_owned(),
            _ => {
                return Err(error(Code::InvalidArgument, reason::INVALID_SPEC, "request_id is too long", []));
            }
        };
        if let Order::Sync(decision) = &mut order
            && decision.resolve
            && let [story] = &mut decision.only[..]
        {
            // What is not in conflict, or could be one of several, makes no job that fails.
            *story = errors::only_conflict(story, self.conflicts().await?)?.story;
        }
        let order = self.prepared(order, &caller).await?;
        let started = self.keeper.start(request_id, order, terms, caller).await.map_err(from_keeper)?;
        self.mirror.told(started.entry.revision).await;
        let job = Some(view::job(&started.entry, clock::now()));
        Ok(StartJobResponse { job, existing: started.existing })
    }

    /// An order in which stands fast what has to, before a job is made of it.
    async fn prepared(&self, mut order: Order, caller: &Caller) -> Result<Order, Status> {
        let (scope, verb) = (self.scope(caller.clone()), kind::of(&order).verb());
        let preparing = move || kind::of_mut(&mut order).prepare(&scope).map(|()| order);
        blocking(preparing).await?.map_err(|refusal| errors::from_refusal(refusal, verb))
    }

    /// Says of items where they stand and come from, where their plan does not.
    async fn locate(&self, entry: &Arc<Entry>, items: &mut [Item]) -> Result<(), Status> {
        if items.is_empty() {
            return Ok(());
        }
        let (entry, project) = (entry.clone(), self.project.clone());
        let read = move || kind::of(&entry.job.order).places(&entry.job, &project);
        let places = blocking(read).await?;
        for item in items {
            if let Some((target, url)) = places.get(item.index as usize) {
                (item.target, item.url) = (target.clone(), url.clone());
                if let Some(failure) = &mut item.failure {
                    (failure.path, failure.url) = (target.clone(), url.clone());
                }
            }
        }
        Ok(())
    }

    async fn conflicts(&self) -> Result<Vec<Conflict>, Status> {
        let (project, key) = (self.project.clone(), self.key.clone());
        blocking(move || conflicts::all(&project, &key)).await?.map_err(|error| {
            let text = format!("the conflicts cannot be read: {error}");
            errors::error(Code::ResourceExhausted, reason::STATE_NOT_WRITABLE, text, [])
        })
    }

    fn notices(&self, snapshot: &Snapshot) -> Vec<String> {
        snapshot.notices.iter().cloned().chain(self.mirror.notices()).collect()
    }
}

/// Runs what blocks; a panic in it is an answer, too.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| Status::internal(panic.to_string()))
}

enum FoundJob {
    Ours(Arc<Entry>),
    Foreign(Box<Job>),
}

impl FoundJob {
    fn present(&self) -> Job {
        match self {
            Self::Ours(entry) => view::job(entry, clock::now()),
            Self::Foreign(job) => (**job).clone(),
        }
    }
}

/// What a request asks for. Credentials in its addresses go to the caller.
fn order(spec: Option<JobSpec>, caller: &mut Caller) -> Result<Order, Status> {
    let verb = match spec.as_ref().and_then(|spec| spec.work.as_ref()) {
        Some(job_spec::Work::Import(_)) => "import",
        Some(job_spec::Work::Sync(_)) => "sync",
        Some(job_spec::Work::Clone(_)) | None => "clone",
    };
    let (order, logins) = Order::parse(spec).map_err(|wrong| {
        let refusal = Refusal::new(Why::Invalid, &wrong, &Redactor::default());
        errors::from_refusal(refusal, verb)
    })?;
    for (address, user, secret) in logins {
        caller.offer(&address, user, &secret);
    }
    Ok(order)
}

fn rate_budget(budget: pace::Budget) -> RateBudget {
    RateBudget {
        host: budget.host,
        remaining: budget.remaining,
        limit: budget.limit,
        reset_at: Some(clock::timestamp(budget.reset)),
    }
}

fn caller(sent: Vec<EnvironmentVariable>) -> Caller {
    Caller { variables: environment::accepted(sent), logins: Vec::new() }
}

#[tonic::async_trait]
impl JobsService for Service {
    async fn get_info(&self, request: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        Ok(Response::new(GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            project: self.project.root().to_string_lossy().into_owned(),
            started_at: Some(clock::timestamp(self.started_at)),
            active_jobs: snapshot.jobs.values().filter(|entry| entry.job.is_active()).count() as u32,
            streams: self.activity.streams(),
            epoch: self.keeper.epoch.to_string(),
            notices: self.notices(&snapshot),
            specweave_device: self.project.identity().device,
            specweave_inode: self.project.identity().inode,
            rate_budgets: pace::budgets().into_iter().map(rate_budget).collect(),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let mut jobs = self.jobs(&snapshot).await;
        if !request.states.is_empty() {
            jobs.retain(|job| request.states.contains(&job.state));
        }
        let from: usize = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| bad_token())?,
        };
        let size = match request.page_size as usize {
            0 => DEFAULT_PAGE,
            size => size.min(MOST_JOBS_A_PAGE),
        };
        let all = jobs.len();
        let page: Vec<Job> = jobs.into_iter().skip(from).take(size).collect();
        let next = from + page.len();
        let next_page_token = if next < all { next.to_string() } else { String::new() };
        Ok(Response::new(ListJobsResponse { jobs: page, next_page_token, notices: self.notices(&snapshot) }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let found = self.find(&snapshot, &request.id).await?;
        let mut job = found.present();
        if let FoundJob::Ours(entry) = &found
            && request.with_spec
        {
            let spec = job.spec.insert(entry.job.order.spec());
            entry.job.terms.enter(spec);
        }
        let mut response = GetJobResponse { job: Some(job), ..Default::default() };
        if let (FoundJob::Ours(entry), 1..) = (&found, request.item_page_size) {
            let from = match request.item_page_token.as_str() {
                "" => 0,
                token => token.parse().map_err(|_| bad_token())?,
            };
            let wanted: Vec<ItemState> = request.item_states().collect();
            let limit = request.item_page_size.min(MOST_ITEMS_A_PAGE);
            let (mut items, next) = view::items(&entry.job, from, limit, &wanted);
            self.locate(entry, &mut items).await?;
            response.items = items;
            response.next_item_page_token = next.map(|next| next.to_string()).unwrap_or_default();
        }
        Ok(Response::new(response))
    }

    async fn preview_job(
        &self,
        request: Request<PreviewJobRequest>,
    ) -> Result<Response<PreviewJobResponse>, Status> {
        self.enter(&request).await?;
        let request = request.into_inner();
        let mut caller = caller(request.environment);
        let order = order(request.spec, &mut caller)?;
        let scope = self.scope(caller);
        let kind = kind::of(&order);
        let preview = tokio::select! {
            () = self.stopping.cancelled() => return Err(errors::shutting_down()),
            result = kind.preview(&scope) => {
                result.map_err(|refusal| errors::from_refusal(refusal, kind.verb()))?
            }
        };
        Ok(Response::new(PreviewJobResponse { items: preview.items, notes: preview.notes }))
    }

    async fn start_job(
        &self,
        request: Request<StartJobRequest>,
    ) -> Result<Response<StartJobResponse>, Status> {
        self.enter(&request).await?;
        self.start(request.into_inner()).await.map(Response::new)
    }

    async fn resolve_conflict(
        &self,
        request: Request<ResolveConflictRequest>,
    ) -> Result<Response<ResolveConflictResponse>, Status> {
        self.enter(&request).await?;
        let request = request.into_inner();
        let decision = SyncSpec {
            on_conflict: request.r#use,
            only: vec![request.story],
            resolve: true,
            ..SyncSpec::default()
        };
        let spec = JobSpec { work: Some(job_spec::Work::Sync(decision)), ..JobSpec::default() };
        let started = self.start(StartJobRequest {
            request_id: request.request_id,
            spec: Some(spec),
            environment: request.environment,
        });
        let StartJobResponse { job, existing } = started.await?;
        Ok(Response::new(ResolveConflictResponse { job, existing }))
    }

    async fn list_sources(
        &self,
        request: Request<ListSourcesRequest>,
    ) -> Result<Response<ListSourcesResponse>, Status> {
        self.enter(&request).await?;
        let scope = self.scope(caller(request.into_inner().environment));
        let looking = move || import::known_sources(&scope.project, &scope.secrets);
        Ok(Response::new(blocking(looking).await?))
    }

    async fn diagnose(
        &self,
        request: Request<DiagnoseRequest>,
    ) -> Result<Response<DiagnoseResponse>, Status> {
        self.enter(&request).await?;
        let project = self.project.clone();
        let findings = blocking(move || diagnosis::examine(&project)).await?;
        Ok(Response::new(DiagnoseResponse { findings: findings.into_iter().map(Finding::from).collect() }))
    }

    type FollowJobStream = Streamed<FollowJobResponse>;

    async fn follow_job(
        &self,
        request: Request<FollowJobRequest>,
    ) -> Result<Response<Self::FollowJobStream>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let removed = JobId::parse(&request.id).and_then(|id| snapshot.last_seen(&id).cloned());
        let found = match removed {
            Some(entry) => FoundJob::Ours(entry),
            None => self.find(&snapshot, &request.id).await?,
        };
        let stream = match found {
            FoundJob::Ours(entry) => streams::follow(self, entry.job.id.clone(), request),
            FoundJob::Foreign(job) => {
                let text =
                    format!("job {} is run by another tool; only its list entry and log can be read", job.id);
                return Err(error(Code::FailedPrecondition, reason::JOB_NOT_RESUMABLE, text, []));
            }
        };
        Ok(Response::new(stream))
    }

    type WatchJobsStream = Streamed<WatchJobsResponse>;

    async fn watch_jobs(
        &self,
        request: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        self.enter(&request).await?;
        Ok(Response::new(streams::watch(self, request.into_inner())))
    }

    type TailLogStream = Streamed<TailLogResponse>;

    async fn tail_log(
        &self,
        request: Request<TailLogRequest>,
    ) -> Result<Response<Self::TailLogStream>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let id = match self.find(&snapshot, &request.id).await? {
            FoundJob::Ours(entry) => entry.job.id.clone(),
            FoundJob::Foreign(job) => JobId::parse(&job.id).ok_or_else(|| errors::not_found(&job.id, &[]))?,
        };
        streams::tail(self, id, request).map(Response::new)
    }

    async fn kill_job(&self, request: Request<KillJobRequest>) -> Result<Response<KillJobResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        match self.find(&snapshot, &request.id).await? {
            FoundJob::Ours(entry) => {
                let pid = entry.pid;
                let entry = self.keeper.kill(entry.job.id.clone()).await.map_err(from_keeper)?;
                self.mirror.told(entry.revision).await;
                Ok(Response::new(KillJobResponse { job: Some(view::job(&entry, clock::now())), pid }))
            }
            FoundJob::Foreign(job) => foreign::kill(&self.project, *job).await.map(Response::new),
        }
    }

    async fn resume_job(
        &self,
        request: Request<ResumeJobRequest>,
    ) -> Result<Response<ResumeJobResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let (resumed, notices) = match self.find(&snapshot, &request.id).await? {
            FoundJob::Ours(entry) => {
                (self.resume(&entry, request.items, caller(request.environment)).await?, Vec::new())
            }
            FoundJob::Foreign(job) if !request.items.is_empty() => {
                let text = format!("job {} is another tool's, whose items are not known by name", job.id);
                return Err(error(
                    Code::InvalidArgument,
                    reason::ITEM_NOT_FAILED,
                    text,
                    [("job", job.id.clone())],
                ));
            }
            FoundJob::Foreign(job) => self.adopt(*job, caller(request.environment)).await?,
        };
        self.mirror.told(resumed.entry.revision).await;
        Ok(Response::new(ResumeJobResponse {
            job: Some(view::job(&resumed.entry, clock::now())),
            already_running: resumed.already_running,
            notices,
        }))
    }

    async fn list_conflicts(
        &self,
        request: Request<ListConflictsRequest>,
    ) -> Result<Response<ListConflictsResponse>, Status> {
        self.enter(&request).await?;
        let mut conflicts = self.conflicts().await?;
        for field in conflicts.iter_mut().flat_map(|conflict| &mut conflict.fields) {
            *field = ConflictField { name: std::mem::take(&mut field.name), ..ConflictField::default() };
        }
        Ok(Response::new(ListConflictsResponse { conflicts }))
    }

    async fn get_conflict(
        &self,
        request: Request<GetConflictRequest>,
    ) -> Result<Response<GetConflictResponse>, Status> {
        self.enter(&request).await?;
        let wanted = request.into_inner().story;
        let conflicts = self.conflicts().await?;
        let conflict = errors::only_conflict(&wanted, conflicts)?;
        Ok(Response::new(GetConflictResponse { conflict: Some(conflict) }))
    }

    async fn remove_job(
        &self,
        request: Request<RemoveJobRequest>,
    ) -> Result<Response<RemoveJobResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        match self.find(&snapshot, &request.id).await? {
            FoundJob::Ours(entry) => {
                let entry = self.keeper.remove(entry.job.id.clone()).await.map_err(from_keeper)?;
                Ok(Response::new(RemoveJobResponse { job: Some(view::job(&entry, clock::now())) }))
            }
            FoundJob::Foreign(job) => {
                let text = format!("job {} is SpecWeave's, and only SpecWeave removes it", job.id);
                Err(error(Code::FailedPrecondition, reason::JOB_NOT_REMOVABLE, text, []))
            }
        }
    }

    async fn prune_jobs(
        &self,
        request: Request<PruneJobsRequest>,
    ) -> Result<Response<PruneJobsResponse>, Status> {
        self.enter(&request).await?;
        let PruneJobsRequest { keep, older_than_seconds, dry_run, ids } = request.into_inner();
        let known = |id: &String| JobId::parse(id).ok_or_else(|| errors::not_found(id, &[]));
        let ids: Vec<JobId> = ids.iter().map(known).collect::<Result<_, _>>()?;
        let age = Millis::try_from(older_than_seconds.saturating_mul(1_000)).unwrap_or(Millis::MAX);
        let before = if age == 0 { Millis::MAX } else { clock::now().saturating_sub(age) };
        let which = Which { ids, keep: keep as usize, before, dry_run };
        let removed = self.keeper.prune(which).await.map_err(from_keeper)?;
        let now = clock::now();
        Ok(Response::new(PruneJobsResponse {
            removed_ids: removed.iter().map(|entry| entry.job.id.to_string()).collect(),
            jobs: removed.iter().map(|entry| view::job(entry, now)).collect(),
        }))
    }

    async fn shutdown(
        &self,
        request: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownResponse>, Status> {
        let snapshot = self.enter(&request).await?;
        let request = request.into_inner();
        let busy = snapshot.jobs.values().any(|entry| entry.job.is_active());
        if request.only_if_idle && busy {
            return Ok(Response::new(ShutdownResponse { stopping: false }));
        }
        tracing::info!(reason = request.reason, "asked to stop");
        self.stop_requested.cancel();
        Ok(Response::new(ShutdownResponse { stopping: true }))
    }
}

fn bad_token() -> Status {
    error(Code::InvalidArgument, reason::INVALID_SPEC, "the page token is not one of ours", [])
}
