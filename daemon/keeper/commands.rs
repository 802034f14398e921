//! What people and clients order: start, kill, resume, and take over another tool's job. Each of them changes the one
//! state that the keeper owns, and nothing else does.

use super::handle::{KeeperError, Reply, Resumed, Started};
use super::retention::remove_job_folder;
use super::run::Cause;
use super::{Keeper, memory};
use crate::job::order::Order;
use crate::job::snapshot::Entry;
use crate::job::terms::Terms;
use crate::job::{Event, Job, Outcome, PauseReason, State};
use crate::net::secrets::Caller;
use crate::store::job_log::WorkerLog;
use crate::store::journal::Journal;
use crate::work;
use crate::work::adoption::Adoption;
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::project::JobId;
use specweave_jobs::{crash, disk};
use std::sync::Arc;

impl Keeper {
    pub(super) fn start(
        &mut self,
        request_id: String,
        order: Order,
        terms: Terms,
        caller: Caller,
    ) -> Result<Started, KeeperError> {
        if self.stopping.is_some() {
            return Err(KeeperError::Stopping);
        }
        if let Some(id) = self.requests.get(&request_id) {
            let entry = self.snapshot.jobs[id].clone();
            return Ok(Started { entry, existing: true });
        }
        if let Some(why) = memory::shortage() {
            return Err(KeeperError::OutOfMemory(why));
        }
        // What waits for its next time keeps nobody from doing the same once before.
        let is_busy = |job: &Job| job.is_active() && (terms.every.is_some() || !job.is_scheduled());
        let same = |entry: &&Arc<Entry>| *entry.job.order == order && is_busy(&entry.job);
        if let Some(busy) = self.snapshot.jobs.values().find(same) {
            return Err(KeeperError::Busy { id: busy.job.id.clone() });
        }
        let id = self.create(Event::Created {
            order,
            request_id: request_id.clone(),
            settings: caller.lasting_settings(),
            terms,
        })?;
        self.callers.insert(id.clone(), caller);
        if let Err(error) = self.launch(&id, Cause::Daemon) {
            // The caller is told that nothing was started, and nothing is to remain.
            let _ = remove_job_folder(&self.project, &id);
            self.forget(&id);
            self.snapshot.removed.pop_back();
            return Err(error);
        }
        self.requests.insert(request_id, id.clone());
        Ok(Started { entry: self.snapshot.jobs[&id].clone(), existing: false })
    }

    /// Makes the job's folder and journal.
    fn create(&mut self, event: Event) -> Result<JobId, KeeperError> {
        let storage = |error| KeeperError::Storage(Arc::new(error));
        disk::make_folders(&self.project.jobs(), 0o777).map_err(storage)?;
        let id = std::iter::repeat_with(JobId::random).find(|id| !disk::exists(&self.project.job(id).folder));
        let id = id.expect("ids do not run out");
        let now = clock::now();
        // It gets its name when it is whole, so that a crash leaves a job or none.
        let unnamed = self.project.unnamed_job(&id);
        let made = disk::make_folder(&unnamed.folder, 0o700).and_then(|()| {
            let mut journal = Journal::create(&unnamed.journal(), &self.key, &id, now, &event)?;
            if let Event::Created { order, .. } = &event
                && let Some(sources) = work::kind::of(order).sources_file()
            {
                disk::replace_unsynced(&unnamed.sources(), sources.as_bytes(), 0o600)?;
            }
            disk::sync_folder(&unnamed.folder)?;
            disk::rename(&unnamed.folder, &self.project.job(&id).folder)?;
            journal.lies_at(&self.project.job(&id).journal());
            crash::point("job-folder-named");
            disk::sync_folder(&self.project.jobs())?;
            Ok(journal)
        });
        let journal = made.inspect_err(|_| drop(disk::remove_folder(&unnamed.folder))).map_err(storage)?;
        let job = Job::create(id.clone(), now, event)?;
        self.journals.insert(id.clone(), journal);
        self.snapshot.jobs.insert(id.clone(), Arc::new(Entry::new(job)));
        self.touch(&id, |_| ());
        Ok(id)
    }

    /// Cancels a run; answered when the run is over. A job that only waits for its moment waits no more, and what was to be
    /// done again has been done for the last time.
    pub(super) fn kill(&mut self, id: &JobId, reply: Reply<Arc<Entry>>) {
        if let Some(run) = self.runs.get_mut(id) {
            run.end_because(PauseReason::Killed);
            run.killers.push(reply);
            return;
        }
        let result = match self.snapshot.jobs.get(id) {
            None => Err(KeeperError::NotFound(id.clone())),
            Some(entry) if matches!(entry.job.state, State::Paused { resume_at: Some(_), .. }) => {
                let (reason, message) = (PauseReason::Killed, "killed".to_owned());
                self.commit(id, Event::Paused { reason, message, resume_at: None })
            }
            Some(entry) if let State::Scheduled { outcome, .. } = &entry.job.state => {
                self.commit(id, Event::Ended(outcome.clone()))
            }
            Some(entry) => Err(KeeperError::NotKillable { id: id.clone(), state: entry.job.state.word() }),
        };
        let result = result.map(|()| self.snapshot.jobs[id].clone());
        self.answer(reply, result);
    }

    /// Lets a job go on; of what failed, only these items are tried again, or all where none is named.
    pub(super) fn resume(
        &mut self,
        id: &JobId,
        only: &[String],
        caller: Caller,
    ) -> Result<Resumed, KeeperError> {
        if self.stopping.is_some() {
            return Err(KeeperError::Stopping);
        }
        let entry = self.snapshot.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?.clone();
        if self.runs.contains_key(id) {
            if !self.callers.contains_key(id) && caller.brings_secrets() {
                // This daemon took it up by itself, without anybody's token: it goes on with what comes now.
                self.callers.insert(id.clone(), caller);
                if let Some(run) = self.runs.get_mut(id) {
                    run.start_over();
                }
            }
            return Ok(Resumed { entry, already_running: true });
        }
        if matches!(entry.job.state, State::Ended { outcome: Outcome::Completed, .. }) {
            return Err(KeeperError::Completed { id: id.clone() });
        }
        if entry.job.is_scheduled() {
            if !only.is_empty() {
                return Err(KeeperError::NoNames { id: id.clone() });
            }
            self.callers.entry(id.clone()).or_default().renew(caller);
            self.launch(id, Cause::Person)?;
            return Ok(Resumed { entry: self.snapshot.jobs[id].clone(), already_running: false });
        }
        if entry.job.plan.is_some() && !disk::exists(&self.project.job(id).config()) {
            let state = entry.job.state.word();
            return Err(KeeperError::ConfigNotFound { id: id.clone(), state });
        }
        let only = failed_items(&entry.job, only)?;
        self.commit(id, Event::Retried { only })?;
        self.callers.entry(id.clone()).or_default().renew(caller);
        self.launch(id, Cause::Person)?;
        Ok(Resumed { entry: self.snapshot.jobs[id].clone(), already_running: false })
    }

    /// Removes a job that nothing works on, and that does not wait for a moment to go on.
    pub(super) fn remove(&mut self, id: &JobId) -> Result<Arc<Entry>, KeeperError> {
        let entry = self.snapshot.jobs.get(id).ok_or_else(|| KeeperError::NotFound(id.clone()))?.clone();
        if self.runs.contains_key(id) || entry.job.is_active() {
            return Err(KeeperError::NotRemovable { id: id.clone(), state: entry.job.state.word() });
        }
        remove_job_folder(&self.project, id).map_err(|error| KeeperError::Storage(Arc::new(error)))?;
        self.forget(id);
        Ok(entry)
    }

    /// Another tool's job becomes ours: its folder gets a journal, and its plan loses its secrets.
    pub(super) fn adopt(
        &mut self,
        id: &JobId,
        created_at: Millis,
        adoption: Adoption,
        caller: Caller,
    ) -> Result<Resumed, KeeperError> {
        if self.stopping.is_some() || self.snapshot.jobs.contains_key(id) {
            return self.resume(id, &[], caller);
        }
        let storage = |error| KeeperError::Storage(Arc::new(error));
        let event = Event::Created {
            order: adoption.order,
            request_id: format!("adopted-{id}"),
            settings: caller.lasting_settings(),
            terms: Terms::default(),
        };
        let files = self.project.job(id);
        // The journal makes the job ours, so it comes last: whoever reads it finds a plan that was vetted, and what
        // was found in the old one stands in the log.
        let log = WorkerLog::open(&files.log(), Default::default()).map_err(storage)?;
        for notice in &adoption.notices {
            log.line(&format!("WARNING: {notice}"));
        }
        let config_key = work::config::config_key(&self.key, id);
        work::config::write_config(&files, &config_key, &adoption.config).map_err(storage)?;
        let made = Journal::create(&files.journal(), &self.key, id, created_at, &event).and_then(|journal| {
            disk::sync_folder(&files.folder)?;
            Ok(journal)
        });
        let journal = made.inspect_err(|_| drop(disk::remove_file(&files.journal()))).map_err(storage)?;
        let job = Job::create(id.clone(), created_at, event)?;
        self.journals.insert(id.clone(), journal);
        self.callers.insert(id.clone(), caller);
        self.snapshot.jobs.insert(id.clone(), Arc::new(Entry::new(job)));
        self.touch(id, |_| ());
        self.launch_or_postpone(id);
        Ok(Resumed { entry: self.snapshot.jobs[id].clone(), already_running: false })
    }
}

/// The places of failed items in a job, by their names.
fn failed_items(job: &Job, names: &[String]) -> Result<Vec<u32>, KeeperError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let Some(items) = job.items() else { return Err(KeeperError::NoNames { id: job.id.clone() }) };
    let place = |name: &String| {
        let found = items.failed().find(|(item, _)| items.name(*item) == name).map(|(item, _)| item);
        found.ok_or_else(|| KeeperError::ItemNotFailed {
            id: job.id.clone(),
            name: name.clone(),
            known: items.failed().take(MOST_NAMED).map(|(item, _)| items.name(item).to_owned()).collect(),
        })
    };
    names.iter().map(place).collect()
}

/// So many names stand in an error.
const MOST_NAMED: usize = 20;
