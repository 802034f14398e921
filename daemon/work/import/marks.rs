//! Up to where each source was read last, in SpecWeave's `sync-metadata.json`. Everything here blocks.

use crate::job::paged_sources::Counts;
use crate::model::item::Platform;
use crate::store::mac::PlaceKey;
use crate::work::config::pretty;
use crate::work::sources::SourceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use specweave_jobs::project::Project;
use specweave_jobs::{clock, disk};
use std::collections::BTreeMap;
use std::io;

/// The file is no larger.
const MOST_METADATA: u64 = 16 * 1024 * 1024;

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
    match disk::read_regular(&path, MOST_METADATA) {
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

/// The object that a value is to be; another tool may have written anything there.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}
