//! What an import leaves besides living docs: its `config.json` and `result.json`, when each source was read last, and
//! pages that were read and are not written yet. Everything here blocks.

use super::sources::SourceId;
use crate::feeds::{Counts, Failure};
use crate::specs::shelf::{Outcome, ShelfError};
use crate::work::pretty;
use crate::work::trackers::item::Platform;
use crate::work::trackers::{Page, Read};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project};
use std::io;
use std::path::PathBuf;

/// SpecWeave's small files are no larger.
const MOST_SMALL: u64 = 16 * 1024 * 1024;

/// A page that was read is no larger.
const MOST_PAGE: u64 = 512 * 1024 * 1024;

/// The documented input of an import, without its secrets. What one source begins with is decided once a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub job_id: String,
    pub project_path: String,
    pub coordinator_config: Map<String, Value>,
    /// In the order of the job's feeds.
    pub sources: Vec<Planned>,
    pub started_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    #[serde(flatten)]
    pub id: SourceId,
    /// Items that have changed since; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// The mark of the last import, which knows better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Whether its end is where the next import may begin: not when it began later than the last one ended.
    #[serde(default)]
    pub advances: bool,
    /// Whether it was asked with somebody's login: without one it may look as if it were not there.
    #[serde(default)]
    pub with_login: bool,
}

impl Config {
    pub fn new(
        project: &Project,
        id: &JobId,
        at: Millis,
        sources: Vec<Planned>,
        months: Option<i64>,
    ) -> Self {
        let repositories: Vec<Value> = sources
            .iter()
            .filter_map(|source| source.id.name.split_once('/'))
            .map(|(owner, repo)| json!({"owner": owner, "repo": repo}))
            .collect();
        let mut coordinator_config = Map::new();
        coordinator_config.insert("importConfig".into(), json!({"timeRangeMonths": months, "pageSize": 100}));
        if !repositories.is_empty() {
            coordinator_config.insert("githubRepositories".into(), repositories.into());
        }
        Self {
            job_id: id.to_string(),
            project_path: project.root().to_string_lossy().into_owned(),
            coordinator_config,
            sources,
            started_at: clock::iso(at),
        }
    }

    pub fn read(files: &JobFiles) -> Result<Self, String> {
        let path = files.config();
        let bytes = disk::read_regular(&path, MOST_SMALL)
            .map_err(|error| format!("config not found: {}: {error}", path.display()))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("config not usable: {}: {error}", path.display()))
    }

    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.config(), &pretty(self), 0o600)
    }

    /// The names of the job's feeds.
    pub fn feeds(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.id.shown()).collect()
    }

    /// The `config` object of `background-jobs.json`.
    pub fn documented(&self) -> Value {
        let platform = self.sources.first().map_or("unknown", |source| source.id.platform.word());
        let repositories: Vec<&str> = self
            .sources
            .iter()
            .map(|source| source.id.name.as_str())
            .filter(|name| name.contains('/'))
            .collect();
        let months = &self.coordinator_config.get("importConfig").unwrap_or(&Value::Null)["timeRangeMonths"];
        let mut config = json!({
            "type": "import-issues",
            "provider": platform,
            "projectPath": self.project_path,
            "timeRangeMonths": months,
        });
        if !repositories.is_empty() {
            config["repositories"] = json!(repositories);
        }
        config
    }
}

/// How one source went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceResult {
    pub source: String,
    #[serde(flatten)]
    pub counts: ResultCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultCounts {
    pub read: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub left_out: u64,
    pub failed: u64,
}

impl ResultCounts {
    pub fn new(counts: &Counts, failed: u64) -> Self {
        let Counts { created, updated, unchanged, left_out } = *counts;
        Self { read: counts.sum() + failed, created, updated, unchanged, left_out, failed }
    }
}

/// The documented result of an import, and what SpecWeave's does not tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub total_count: u64,
    pub completed_at: String,
    pub platforms: Vec<&'static str>,
    /// By platform, of sources that could not be read.
    pub errors: Map<String, Value>,
    pub sources: Vec<SourceResult>,
    pub failed_items: Vec<Failure>,
    /// Failed items that the list leaves out.
    pub more_failed: u64,
    pub resume_hint: Option<String>,
    /// Files that wait for a person, from the project's root.
    pub conflicts: Vec<String>,
}

impl Summary {
    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.result(), &pretty(self), 0o600)
    }
}

/// Where the last import of a source with these filters ended; `sync-metadata.json` has it under `repos`, as SpecWeave
/// lays that out.
pub fn last_mark(project: &Project, source: &SourceId, filter: &str) -> Option<String> {
    let metadata = read_metadata(project).ok()?;
    let entry = &metadata.get("repos")?[source.metadata_key()][source.platform.word()];
    entry["marks"][filter].as_str().map(str::to_owned)
}

/// The sources of a platform that were imported before.
pub fn imported(project: &Project, platform: Platform) -> Vec<SourceId> {
    let metadata = read_metadata(project).unwrap_or_default();
    let repos = metadata.get("repos").and_then(Value::as_object).into_iter().flatten();
    let entries =
        repos.map(|(_, entry)| &entry[platform.word()]).filter(|entry| entry["lastImport"].is_string());
    let sources =
        entries.filter_map(|entry| serde_json::from_value::<SourceId>(entry["source"].clone()).ok());
    sources.filter(|source| source.platform == platform).collect()
}

impl SourceId {
    /// Two servers may have projects of one name.
    fn metadata_key(&self) -> String {
        match self.server.is_empty() {
            true => self.name.clone(),
            false => format!("{} ({})", self.name, self.server.trim_start_matches("https://")),
        }
    }
}

fn read_metadata(project: &Project) -> io::Result<Map<String, Value>> {
    let path = project.sync_metadata();
    match disk::read_regular(&path, MOST_SMALL) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(error),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
    }
}

/// Notes that a source was read, and up to where. What another tool has written in the file stays.
pub fn note_import(
    project: &Project,
    source: &SourceId,
    filter: &str,
    mark: Option<&str>,
    counts: &Counts,
    failed: u64,
    broken: bool,
) -> io::Result<()> {
    let mut metadata = metadata_to_change(project)?;
    let now = clock::iso(clock::now());
    let result = match (broken, failed) {
        (true, _) => "failed",
        (false, 0) => "success",
        (false, _) => "partial",
    };
    let record = |entry: &mut Value| {
        if !entry.is_object() {
            *entry = json!({});
        }
        if !broken {
            entry["lastImport"] = json!(now);
        }
        entry["lastImportCount"] = json!(counts.created + counts.updated);
        entry["lastSkippedCount"] = json!(counts.unchanged + counts.left_out);
        entry["lastSyncResult"] = json!(result);
    };
    record(metadata.entry(source.platform.word()).or_insert(Value::Null));
    let repos = object(metadata.entry("repos").or_insert(Value::Null));
    let repository = object(repos.entry(source.metadata_key()).or_insert(Value::Null));
    let entry = repository.entry(source.platform.word()).or_insert(Value::Null);
    record(entry);
    entry["source"] = json!(source);
    if let Some(mark) = mark {
        object(object(entry).entry("marks").or_insert(Value::Null)).insert(filter.to_owned(), json!(mark));
    }
    metadata.insert("lastUpdated".into(), json!(now));
    disk::replace(&project.sync_metadata(), &pretty(&metadata), 0o644)
}

/// The metadata, to be written again; what cannot be read is set aside.
fn metadata_to_change(project: &Project) -> io::Result<Map<String, Value>> {
    match read_metadata(project) {
        Err(error) if error.kind() == io::ErrorKind::Other => {
            disk::set_aside(&project.sync_metadata())?;
            Ok(Map::new())
        }
        read => read,
    }
}

/// Adds words to the record of a platform.
pub fn note(project: &Project, platform: &str, words: &Value) -> io::Result<()> {
    let mut metadata = metadata_to_change(project)?;
    let entry = object(metadata.entry(platform).or_insert(Value::Null));
    entry.extend(words.as_object().cloned().unwrap_or_default());
    metadata.insert("lastUpdated".into(), json!(clock::iso(clock::now())));
    disk::replace(&project.sync_metadata(), &pretty(&metadata), 0o644)
}

/// A page that was read: kept until its items are written, so that a daemon that dies asks for none again.
#[derive(Serialize, Deserialize)]
struct Spooled {
    feed: u32,
    at: String,
    next: crate::work::trackers::Position,
    items: Vec<Read>,
    notes: Vec<String>,
}

/// The pages of one job.
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub fn of(files: &JobFiles) -> Self {
        Self { folder: files.folder.join("pages") }
    }

    /// Notes what became of a page whose stories are on the disk.
    pub fn keep_outcome(&self, feed: u32, at: &str, outcome: &Outcome) -> Result<(), ShelfError> {
        let path = self.path(feed, at).with_extension("done");
        let bytes = serde_json::to_vec(outcome).expect("plain data serialises");
        disk::replace_unsynced(&path, &bytes, 0o600).map_err(|source| ShelfError::Io { path, source })
    }

    /// What became of a page, if its stories are on the disk.
    pub fn outcome(&self, feed: u32, at: &str) -> Option<Outcome> {
        let bytes = disk::read_regular(&self.path(feed, at).with_extension("done"), MOST_PAGE).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn path(&self, feed: u32, at: &str) -> PathBuf {
        self.folder.join(format!("{feed}-{:08x}.json", crc32fast::hash(at.as_bytes())))
    }

    pub fn keep(&self, feed: u32, at: &str, page: &Page) -> io::Result<()> {
        let spooled = Spooled {
            feed,
            at: at.to_owned(),
            next: page.next.clone(),
            items: page.items.clone(),
            notes: page.notes.clone(),
        };
        std::fs::create_dir_all(&self.folder)?;
        let body = serde_json::to_vec(&spooled).expect("plain data serialises");
        let mut bytes = format!("{:08x}\n", crc32fast::hash(&body)).into_bytes();
        bytes.extend(body);
        disk::replace_unsynced(&self.path(feed, at), &bytes, 0o600)
    }

    /// The page at a position, if it was kept whole.
    pub fn kept(&self, feed: u32, at: &str) -> Option<Page> {
        let bytes = disk::read_regular(&self.path(feed, at), MOST_PAGE).ok()?;
        let (sum, body) = (bytes.get(..8)?, bytes.get(9..)?);
        if format!("{:08x}", crc32fast::hash(body)).as_bytes() != sum {
            return None;
        }
        let spooled: Spooled = serde_json::from_slice(body).ok()?;
        (spooled.feed == feed && spooled.at == at).then_some(Page {
            items: spooled.items,
            next: spooled.next,
            notes: spooled.notes,
        })
    }

    pub fn drop_page(&self, feed: u32, at: &str) {
        let path = self.path(feed, at);
        let _ = std::fs::remove_file(path.with_extension("done"));
        let _ = std::fs::remove_file(path);
    }

    pub fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The object that a value is to be; another tool may have written anything there.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}
