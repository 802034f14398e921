//! The documented `background-jobs.json`: [`Document`] is the file, [`Entry::of`] and [`from_entry`]
//! translate one job. The daemon writes it, a client reads it when no daemon runs.
//!
//! Jobs and fields that we do not know are kept as they are. Nothing here decides what a job does.

use crate::clock::{self, Millis};
use crate::project::{JobFiles, JobId, Project};
use crate::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The whole file. Unknown top-level keys survive; entries stay the text they are until somebody looks into
/// one, as a single job can be megabytes.
#[derive(Debug, Default)]
pub struct Document {
    rest: BTreeMap<String, Box<RawValue>>,
    pub jobs: Vec<Entry>,
}

/// One job of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Empty when the entry has none.
    pub id: String,
    /// Whether this project's daemon wrote it.
    pub ours: bool,
    text: Box<RawValue>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("{path} is not the documented JSON")]
    Unreadable { path: PathBuf, source: Option<serde_json::Error> },
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: io::Error },
}

/// SpecWeave rewrites the file in place, so that a reader can meet half of it; a moment later it is whole.
const TORN_READ_TRIES: u32 = 6;
const TORN_READ_PAUSE: Duration = Duration::from_millis(20);

impl Document {
    /// Reads the file; a missing one is an empty document.
    pub fn read(path: &Path) -> Result<Self, MirrorError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::read_once(path) {
                Err(MirrorError::Unreadable { .. }) if tries < TORN_READ_TRIES => {
                    std::thread::sleep(TORN_READ_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn read_once(path: &Path) -> Result<Self, MirrorError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(MirrorError::Io { path: path.to_path_buf(), source }),
        };
        Self::parse(&bytes).map_err(|source| MirrorError::Unreadable { path: path.to_path_buf(), source })
    }

    /// `None` as the error: it is JSON, but not this file's.
    fn parse(bytes: &[u8]) -> Result<Self, Option<serde_json::Error>> {
        let mut rest: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes).map_err(Some)?;
        let Some(jobs) = rest.remove("jobs") else {
            return if rest.is_empty() { Ok(Self::default()) } else { Err(None) };
        };
        let jobs: Vec<Box<RawValue>> = serde_json::from_str(jobs.get()).map_err(Some)?;
        Ok(Self { rest, jobs: jobs.into_iter().map(Entry::new).collect() })
    }

    /// The file's bytes as SpecWeave writes them: two spaces, no newline at the end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = String::from("{\n  \"jobs\": [");
        for (place, job) in self.jobs.iter().enumerate() {
            out.push_str(if place == 0 { "\n    " } else { ",\n    " });
            out.push_str(job.text.get());
        }
        out.push_str(if self.jobs.is_empty() { "]" } else { "\n  ]" });
        for (key, value) in &self.rest {
            out.push_str(&format!(",\n  {}: {}", Value::from(key.as_str()), value.get()));
        }
        out.push_str("\n}");
        out.into_bytes()
    }
}

/// The field by which our own entries are known, also after their journal is gone.
const OWNER: (&str, &str) = ("owner", "specweave-jobsd");

/// The fields that are ours to write; any other stays.
const FIELDS: [&str; 12] = [
    "id",
    "type",
    "status",
    "progress",
    "startedAt",
    "updatedAt",
    "config",
    "completedAt",
    "error",
    "pauseReason",
    "resumeAfter",
    OWNER.0,
];

/// What the documented form has beyond [`v1::Job`].
pub struct Extra<'a> {
    pub items_completed: Vec<&'a str>,
    pub items_failed: Vec<&'a str>,
    /// The documented `config` object, for an entry that has none yet.
    pub config: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentedProgress<'a> {
    current: u64,
    total: u64,
    percentage: u32,
    items_completed: &'a [&'a str],
    items_failed: &'a [&'a str],
    #[serde(skip_serializing_if = "str::is_empty")]
    current_item: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<u64>,
}

impl Entry {
    fn new(text: Box<RawValue>) -> Self {
        #[derive(Default, Deserialize)]
        struct Head {
            id: Option<String>,
            owner: Option<String>,
        }
        // An entry with an odd id or none is somebody else's, and stays what it is.
        let head: Head = serde_json::from_str(text.get()).unwrap_or_default();
        Self { id: head.id.unwrap_or_default(), ours: head.owner.as_deref() == Some(OWNER.1), text }
    }

    /// How many repositories the entry's `config` lists.
    pub fn listed_repositories(&self) -> usize {
        #[derive(Default, Deserialize)]
        struct Outer {
            #[serde(default)]
            config: Inner,
        }
        #[derive(Default, Deserialize)]
        struct Inner {
            #[serde(default)]
            repositories: Vec<serde::de::IgnoredAny>,
        }
        let outer: Outer = serde_json::from_str(self.text.get()).unwrap_or_default();
        outer.config.repositories.len()
    }

    /// The entry of `job`, keeping from `before` the fields that are not ours and, when `extra` brings none,
    /// its `config`.
    pub fn of(job: &v1::Job, extra: &Extra<'_>, before: Option<&Self>) -> Self {
        let before: BTreeMap<String, Box<RawValue>> =
            before.and_then(|entry| serde_json::from_str(entry.text.get()).ok()).unwrap_or_default();
        let moment =
            |at: &Option<prost_types::Timestamp>| at.as_ref().map(|at| clock::iso(clock::millis(at)));
        let progress = job.progress.clone().unwrap_or_default();
        let known_rate = progress.rate > 0.0;
        let mut fields: Vec<(&str, String)> = vec![
            ("id", nested(&job.id)),
            ("type", nested(&job.type_name)),
            ("status", nested(&status_word(job.state()))),
        ];
        let documented = DocumentedProgress {
            current: progress.current.min(progress.total),
            total: progress.total,
            percentage: progress.percentage,
            items_completed: &extra.items_completed,
            items_failed: &extra.items_failed,
            current_item: &progress.current_item,
            rate: known_rate.then(|| (progress.rate * 10.0).round() / 10.0),
            eta: known_rate.then(|| progress.eta_seconds.unwrap_or(0)),
        };
        fields.push(("progress", nested(&documented)));
        fields.push(("startedAt", nested(&moment(&job.started_at))));
        fields.push(("updatedAt", nested(&moment(&job.updated_at))));
        let config = match before.get("config").filter(|_| extra.config.is_null()) {
            Some(config) => config.get().to_owned(),
            None => nested(&extra.config),
        };
        fields.push(("config", config));
        let mut when = |name: &'static str, value: Option<&str>| {
            fields.extend(value.map(|value| (name, nested(&value))));
        };
        when("completedAt", moment(&job.completed_at).as_deref());
        when("error", Some(job.error.as_str()).filter(|error| !error.is_empty()));
        let pause = job.pause.as_ref();
        when("pauseReason", pause.map(|pause| pause.message.as_str()));
        when("resumeAfter", pause.and_then(|pause| moment(&pause.resume_at)).as_deref());
        when(OWNER.0, Some(OWNER.1));
        let foreign = before.iter().filter(|(key, _)| !FIELDS.contains(&key.as_str()));
        fields.extend(foreign.map(|(key, value)| (key.as_str(), value.get().to_owned())));

        let mut text = String::from("{");
        for (place, (key, value)) in fields.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            text.push_str(&format!("{comma}\n      {}: {value}", Value::from(*key)));
        }
        text.push_str("\n    }");
        Self::new(RawValue::from_string(text).expect("its parts are JSON"))
    }

    /// The same entry with another status; every other field stays.
    pub fn with_status(&self, state: v1::JobState, at: Millis) -> Self {
        let Value::Object(mut fields) = self.value() else { return self.clone() };
        fields.insert("status".into(), status_word(state).into());
        fields.insert("updatedAt".into(), clock::iso(at).into());
        let text = serde_json::to_string_pretty(&fields).expect("plain data serialises");
        Self::new(RawValue::from_string(text.replace('\n', "\n    ")).expect("it was JSON"))
    }

    /// The entry as a value.
    fn value(&self) -> Value {
        serde_json::from_str(self.text.get()).unwrap_or_default()
    }
}

/// The jobs that SpecWeave keeps in a file each, outside the list: `jobs/brownfield/<id>.json`.
pub fn brownfield(project: &Project) -> Vec<Entry> {
    const MOST: usize = 1_000;
    const MOST_BYTES: u64 = 1024 * 1024;
    let files = std::fs::read_dir(project.jobs().join("brownfield")).into_iter().flatten().flatten();
    let small = files.filter(|file| file.metadata().is_ok_and(|facts| facts.len() <= MOST_BYTES)).take(MOST);
    let texts = small.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts.filter_map(|text| RawValue::from_string(text).ok()).map(Entry::new).collect()
}

/// A field's value, indented as deep as it stands in the file. No JSON string holds a bare line break.
fn nested(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain data serialises");
    text.replace('\n', "\n      ")
}

/// Reads one documented job, tolerantly: what is missing is empty, what is out of bounds is bounded.
/// `None` when it has no id. The pid and whether it lives are looked up in the project.
pub fn from_entry(entry: &Entry, project: &Project) -> Option<v1::Job> {
    let ours = entry.ours;
    let entry = &entry.value();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let id = text(entry, "id");
    if id.is_empty() {
        return None;
    }
    let type_name = text(entry, "type");
    let status = text(entry, "status");
    let worker = JobId::parse(&id).and_then(|id| crate::process::read_pid(&project.job(&id).pid()));
    let config = entry.get("config").unwrap_or(&Value::Null);
    let provider = match config.get("provider").and_then(Value::as_str) {
        Some(provider) => provider.to_owned(),
        None if type_name == "clone-repos" => "git".to_owned(),
        None => "unknown".to_owned(),
    };
    let state = match status.as_str() {
        "pending" => v1::JobState::Pending,
        "running" => v1::JobState::Running,
        "paused" => v1::JobState::Paused,
        "completed" => v1::JobState::Completed,
        "completed_with_warnings" => v1::JobState::CompletedWithWarnings,
        "failed" => v1::JobState::Failed,
        _ => v1::JobState::Unspecified,
    };
    let mut progress = progress(entry.get("progress").unwrap_or(&Value::Null));
    let files = JobId::parse(&id).map(|id| project.job(&id));
    if let Some((percent, phase)) = files.filter(|_| !ours).and_then(|files| phased_progress(&files)) {
        (progress.current, progress.total, progress.percentage, progress.phase) =
            (percent, 100, percent as u32, phase);
    }
    let reason = text(entry, "pauseReason");
    let resume_at = moment(entry.get("resumeAfter"));
    let pause = (state == v1::JobState::Paused).then(|| v1::Pause {
        reason: v1::PauseReason::Unspecified as i32,
        message: if reason.is_empty() { "paused".into() } else { reason },
        resume_at,
    });
    Some(v1::Job {
        r#type: type_of(&type_name) as i32,
        type_name,
        state: state as i32,
        progress: Some(progress),
        started_at: moment(entry.get("startedAt")),
        updated_at: moment(entry.get("updatedAt")),
        completed_at: moment(entry.get("completedAt")),
        error: text(entry, "error"),
        pause,
        pid: worker.map_or(0, |(pid, _)| pid),
        alive: worker.is_some_and(|(_, alive)| alive),
        foreign: !ours,
        provider,
        revision: 0,
        id,
    })
}

/// SpecWeave's jobs that have phases tell of them in a file of their own, and stay at 0 in the list.
fn phased_progress(files: &JobFiles) -> Option<(u64, String)> {
    let text = std::fs::read_to_string(files.folder.join("progress.json")).ok()?;
    let told: Value = serde_json::from_str(&text).ok()?;
    let percent = told.get("progress")?.as_f64()?.clamp(0.0, 100.0);
    Some((percent as u64, told.get("phase")?.as_str()?.to_owned()))
}

fn progress(entry: &Value) -> v1::Progress {
    let count = |key: &str| entry.get(key).and_then(Value::as_f64).unwrap_or(0.0).max(0.0) as u64;
    let list = |key: &str| entry.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let failed = list("itemsFailed");
    let (current, total) = (count("current"), count("total"));
    v1::Progress {
        current,
        // SpecWeave's imports pass their estimate; a total below what is done is no total.
        total: total.max(current),
        percentage: (current * 100).checked_div(total).unwrap_or(0).min(100) as u32,
        succeeded: current.saturating_sub(failed.len() as u64),
        skipped: 0,
        failed: failed.len() as u64,
        current_item: entry.get("currentItem").and_then(Value::as_str).unwrap_or("").to_owned(),
        rate: entry.get("rate").and_then(Value::as_f64).unwrap_or(0.0),
        eta_seconds: entry.get("eta").and_then(Value::as_u64).filter(|eta| *eta > 0),
        failed_items: failed.iter().filter_map(Value::as_str).take(10).map(str::to_owned).collect(),
        phase: String::new(),
    }
}

/// SpecWeave writes RFC 3339; some of its tools write epoch milliseconds.
fn moment(value: Option<&Value>) -> Option<prost_types::Timestamp> {
    let at: Millis = match value? {
        Value::String(text) => clock::parse_iso(text)?,
        Value::Number(number) => number.as_f64()? as Millis,
        _ => return None,
    };
    Some(clock::timestamp(at))
}

/// The documented word for a state.
pub fn status_word(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Pending => "pending",
        v1::JobState::Running => "running",
        v1::JobState::Paused => "paused",
        v1::JobState::Completed => "completed",
        v1::JobState::CompletedWithWarnings => "completed_with_warnings",
        v1::JobState::Failed => "failed",
    }
}

/// The documented word for a type.
pub fn type_word(kind: v1::JobType) -> &'static str {
    match kind {
        v1::JobType::Unspecified => "unknown",
        v1::JobType::CloneRepos => "clone-repos",
        v1::JobType::ImportIssues => "import-issues",
        v1::JobType::SyncExternal => "sync-external",
    }
}

fn type_of(word: &str) -> v1::JobType {
    [v1::JobType::CloneRepos, v1::JobType::ImportIssues, v1::JobType::SyncExternal]
        .into_iter()
        .find(|kind| type_word(*kind) == word)
        .unwrap_or(v1::JobType::Unspecified)
}

/// What items of a type are called, for people: one and many.
pub fn item_words(kind: v1::JobType) -> (&'static str, &'static str) {
    match kind {
        v1::JobType::CloneRepos => ("repo", "repositories"),
        _ => ("item", "items"),
    }
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
