//! What an import leaves besides living docs: its `config.json` and `result.json`, when each source was read last, and
//! pages that were read and are not written yet. Everything here blocks.

use crate::docs::writer::{Outcome, WriterError};
use crate::job::paged_sources::{Counts, End, PagedSources};
use crate::model::failure::Reason;
use crate::model::item::Platform;
use crate::store::mac::{FileKey, PlaceKey, TAG_DIGITS, Tag};
use crate::trackers::{Page, Read};
use crate::work::config::pretty;
use crate::work::sources::SourceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

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
    /// In the order of the job's sources.
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

    /// The names of the job's sources.
    pub fn source_names(&self) -> Vec<String> {
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

/// An item that is not where it belongs, and why.
#[derive(Debug, Serialize)]
pub struct FailedItem {
    pub name: String,
    pub error: String,
    pub reason: Reason,
}

/// Sources that a warning names with the reason why they could not be read.
const MOST_NAMED_SOURCES: usize = 3;

/// The documented result of an import, and what SpecWeave's does not tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub total_count: u64,
    pub completed_at: String,
    pub platforms: Vec<&'static str>,
    /// By platform, of sources that could not be read.
    pub errors: BTreeMap<&'static str, Vec<String>>,
    pub sources: Vec<SourceResult>,
    pub failed_items: Vec<FailedItem>,
    /// Failed items that the list leaves out.
    pub more_failed: u64,
    pub resume_hint: Option<String>,
    /// Files that wait for a person, from the project's root.
    pub conflicts: Vec<String>,
}

impl Summary {
    /// What became of the sources. `conflicts` are files that wait for a person, from the project's root.
    pub fn new(config: &Config, progress: &PagedSources, conflicts: Vec<String>) -> Self {
        let mut errors: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut sources = Vec::new();
        for (one, planned) in progress.all().iter().zip(&config.sources) {
            let error = match &one.end {
                Some(End::Failed(failure)) => Some(failure.message.clone()),
                _ => None,
            };
            if let Some(error) = &error {
                let word = planned.id.platform.word();
                errors.entry(word).or_default().push(format!("{}: {error}", planned.id.name));
            }
            sources.push(SourceResult {
                source: planned.id.shown(),
                counts: ResultCounts::new(&one.counts, one.failed),
                error,
            });
        }
        let failed_items: Vec<FailedItem> = progress
            .all()
            .iter()
            .flat_map(|one| one.failures())
            .map(|one| FailedItem {
                name: one.name.clone(),
                error: one.failure.message.clone(),
                reason: one.failure.reason,
            })
            .collect();
        let failed: u64 = progress.all().iter().map(|one| one.failed).sum();
        let mut platforms: Vec<&'static str> =
            config.sources.iter().map(|source| source.id.platform.word()).collect();
        platforms.dedup();
        Self {
            total_count: progress.counts().sum() + failed,
            completed_at: clock::iso(clock::now()),
            platforms,
            errors,
            sources,
            more_failed: failed - failed_items.len() as u64,
            failed_items,
            resume_hint: None,
            conflicts,
        }
    }

    /// Items that are not where they belong.
    pub fn failed(&self) -> u64 {
        self.more_failed + self.failed_items.len() as u64
    }

    /// What a person should know, of `read` items; `None` where all went well.
    pub fn warning(&self, read: u64) -> Option<String> {
        let mut warnings = Vec::new();
        if self.failed() > 0 {
            warnings.push(format!("{} of {read} items failed or are in conflict", self.failed()));
        }
        let broken = self.sources.iter();
        let broken = broken.filter_map(|one| Some(format!("{}: {}", one.source, one.error.as_ref()?)));
        warnings.extend(broken.take(MOST_NAMED_SOURCES));
        if let Some(first) = self.conflicts.first() {
            let more = match self.conflicts.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            warnings.push(format!("settle {first}{more}: take over what you want of it, then remove it"));
        }
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.result(), &pretty(self), 0o600)
    }
}

/// Where the last import of a source with these filters ended; `sync-metadata.json` has it under `repos`, as SpecWeave
/// lays that out.
pub fn last_mark(project: &Project, key: &PlaceKey, source: &SourceId, filter: &str) -> Option<String> {
    let metadata = read_metadata(project).ok()?;
    let entry = &metadata.get("repos")?[source.metadata_key()][source.platform.word()];
    let known = believed(entry, key).filter(|known| known.source == *source)?;
    known.marks.get(filter).cloned()
}

/// What of a source's entry decides where an import asks, and for what. The file may have come with a checkout, so this
/// is believed only with a MAC.
#[derive(Serialize, Deserialize)]
struct Known {
    source: SourceId,
    marks: BTreeMap<String, String>,
}

/// The field of an entry that holds it.
const KNOWN: &str = "specweaveJobs";

fn believed(entry: &Value, key: &PlaceKey) -> Option<Known> {
    let fields = key.file(KNOWN).believed(entry[KNOWN].as_object()?.clone())?;
    serde_json::from_value(fields.into()).ok()
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
        if self.server.is_empty() {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.server.trim_start_matches("https://"))
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

/// How the reading of a source went.
pub struct SourceRead {
    pub source: SourceId,
    /// Which of its items were wanted.
    pub filter: String,
    /// Up to where it was read, where the next import begins.
    pub mark: Option<String>,
    pub counts: Counts,
    pub failed: u64,
    /// Whether it could not be read at all.
    pub broken: bool,
}

/// Notes that a source was read, and up to where. What another tool has written in the file stays.
pub fn note_import(project: &Project, key: &PlaceKey, read: &SourceRead) -> io::Result<()> {
    let SourceRead { source, filter, mark, counts, failed, broken } = read;
    let mut metadata = metadata_to_change(project)?;
    let now = clock::iso(clock::now());
    let result = match (*broken, *failed) {
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
    let mut marks = match believed(entry, key) {
        Some(known) if known.source == *source => known.marks,
        _ => BTreeMap::new(),
    };
    if let Some(mark) = mark {
        marks.insert(filter.clone(), mark.clone());
    }
    entry[KNOWN] = key.file(KNOWN).authenticated(&Known { source: source.clone(), marks }).into();
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
    index: u32,
    at: String,
    next: crate::trackers::Position,
    items: Vec<Read>,
    notes: Vec<String>,
}

/// The pages of one job.
pub struct Spool {
    folder: PathBuf,
    key: FileKey,
}

impl Spool {
    pub fn of(project: &Project, key: &PlaceKey, id: &JobId) -> Self {
        Self { folder: project.job(id).folder.join("pages"), key: key.job(id, "pages") }
    }

    /// What a file of the spool holds, if it is whole and this user's daemon wrote it there.
    fn read<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let bytes = disk::read_regular(path, MOST_PAGE).ok()?;
        let (mac, body) = (bytes.get(..TAG_DIGITS)?, bytes.get(TAG_DIGITS + 1..)?);
        self.tag(path, body).is(mac).then(|| serde_json::from_slice(body).ok())?
    }

    fn write(&self, path: &Path, what: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(what).expect("plain data serialises");
        let mut bytes = self.tag(path, &body).hex().into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        disk::make_folders(&self.folder, 0o700)?;
        disk::replace_unsynced(path, &bytes, 0o600)
    }

    /// One file's content is not another's.
    fn tag(&self, path: &Path, body: &[u8]) -> Tag {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        self.key.tag(self.key.tag(Tag::default(), name), body)
    }

    /// Notes what became of a page whose stories are on the disk.
    pub fn keep_outcome(&self, index: u32, at: &str, outcome: &Outcome) -> Result<(), WriterError> {
        let path = self.path(index, at).with_extension("done");
        self.write(&path, outcome).map_err(|source| WriterError::Io { path, source })
    }

    /// What became of a page, if its stories are on the disk.
    pub fn outcome(&self, index: u32, at: &str) -> Option<Outcome> {
        self.read(&self.path(index, at).with_extension("done"))
    }

    fn path(&self, index: u32, at: &str) -> PathBuf {
        self.folder.join(format!("{index}-{:08x}.json", crc32fast::hash(at.as_bytes())))
    }

    pub fn keep(&self, index: u32, at: &str, page: &Page) -> io::Result<()> {
        let spooled = Spooled {
            index,
            at: at.to_owned(),
            next: page.next.clone(),
            items: page.items.clone(),
            notes: page.notes.clone(),
        };
        self.write(&self.path(index, at), &spooled)
    }

    /// The page at a position, if it was kept whole.
    pub fn kept(&self, index: u32, at: &str) -> Option<Page> {
        let spooled: Spooled = self.read(&self.path(index, at))?;
        (spooled.index == index && spooled.at == at).then_some(Page {
            items: spooled.items,
            next: spooled.next,
            notes: spooled.notes,
        })
    }

    pub fn drop_page(&self, index: u32, at: &str) {
        let path = self.path(index, at);
        let _ = disk::remove_file(&path.with_extension("done"));
        let _ = disk::remove_file(&path);
    }

    pub fn clear(&self) {
        let _ = disk::remove_folder(&self.folder);
    }
}

/// The object that a value is to be; another tool may have written anything there.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}
