//! What other tools wrote into `background-jobs.json`, read again only when the file has changed.

use crate::job::snapshot::Snapshot;
use specweave_jobs::mirror::{self as documented, Document, MirrorError};
use specweave_jobs::project::{JobId, Project};
use specweave_jobs::{disk, v1};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Jobs that other tools wrote into the file; read again only when it has changed.
pub struct ForeignJobs {
    project: Project,
    cache: Mutex<(Option<Stamp>, Arc<Vec<documented::Entry>>)>,
    /// Held by whoever reads the file; it can be large, and one reading is enough for all who wait for it.
    reading: Mutex<()>,
}

pub(super) type Stamp = (u64, u64, SystemTime);

impl ForeignJobs {
    pub fn new(project: Project) -> Self {
        Self { project, cache: Mutex::default(), reading: Mutex::default() }
    }

    /// Those that are not in it, as they stand now. The file can be large: no other call waits for its reading.
    pub async fn besides(self: &Arc<Self>, snapshot: &Arc<Snapshot>) -> Vec<v1::Job> {
        let (foreign, snapshot) = (self.clone(), snapshot.clone());
        tokio::task::spawn_blocking(move || foreign.read_besides(&snapshot)).await.unwrap_or_default()
    }

    /// What the list says of another tool's job was to do.
    pub async fn config_of(self: &Arc<Self>, id: &JobId) -> serde_json::Value {
        let (foreign, id) = (self.clone(), id.clone());
        let read = move || {
            let entries = foreign.entries();
            entries
                .iter()
                .find(|entry| entry.id == id.as_str())
                .map(documented::Entry::config)
                .unwrap_or_default()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    fn read_besides(&self, snapshot: &Snapshot) -> Vec<v1::Job> {
        let ours = |job: &v1::Job| JobId::parse(&job.id).is_some_and(|id| snapshot.jobs.contains_key(&id));
        let (entries, brownfield) = (self.entries(), documented::brownfield(&self.project));
        let mut jobs = documented::from_entries(entries.iter().chain(&brownfield), &self.project);
        // A job that was ours and is pruned may be in the file for a moment longer.
        jobs.retain(|job| !ours(job));
        jobs
    }

    fn entries(&self) -> Arc<Vec<documented::Entry>> {
        self.known().unwrap_or_else(|| {
            let _turn = self.reading.lock().expect("reading does not panic");
            self.known().unwrap_or_else(|| {
                let (stamp, document) = self.read_in_turn().unwrap_or_default();
                self.learn(stamp, &document)
            })
        })
    }

    /// What was read last, if the file is still that one.
    fn known(&self) -> Option<Arc<Vec<documented::Entry>>> {
        let (read, entries) = self.cache.lock().expect("no holder panics").clone();
        (read == stamp(&self.project.background_jobs())).then_some(entries)
    }

    /// Reads the whole file, and learns what is in it.
    pub(super) fn read(&self) -> Result<(Option<Stamp>, Document), MirrorError> {
        let _turn = self.reading.lock().expect("reading does not panic");
        let (stamp, document) = self.read_in_turn()?;
        self.learn(stamp, &document);
        Ok((stamp, document))
    }

    fn read_in_turn(&self) -> Result<(Option<Stamp>, Document), MirrorError> {
        let path = self.project.background_jobs();
        let stamp = stamp(&path);
        Ok((stamp, Document::read_slim(&path)?))
    }

    pub(super) fn learn(&self, stamp: Option<Stamp>, document: &Document) -> Arc<Vec<documented::Entry>> {
        let foreign = document.jobs.iter().filter(|job| !job.ours);
        let foreign = Arc::new(foreign.cloned().collect());
        *self.cache.lock().expect("no holder panics") = (stamp, Arc::clone(&foreign));
        foreign
    }
}

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let facts = disk::facts(path).ok()?;
    Some((facts.inode, facts.len, facts.modified))
}
