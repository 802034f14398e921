//! The documented `background-jobs.json`: [`Document`] is the file, [`to_entry`] and [`from_entry`]
//! translate one job. The daemon writes it, a client reads it when no daemon runs.
//!
//! Jobs and fields that we do not know are kept as they are. Nothing here decides what a job does.

use crate::clock::{self, Millis};
use crate::project::{JobId, Project};
use crate::v1;
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The whole file. Unknown top-level keys survive.
#[derive(Clone, Debug, Default)]
pub struct Document {
    rest: Map<String, Value>,
    pub jobs: Vec<Value>,
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
        let unreadable = |source| MirrorError::Unreadable { path: path.to_path_buf(), source };
        let mut rest: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(Some(error)))?;
        match rest.shift_remove("jobs") {
            Some(Value::Array(jobs)) => Ok(Self { rest, jobs }),
            None if rest.is_empty() => Ok(Self::default()),
            _ => Err(unreadable(None)),
        }
    }

    /// The file's bytes as SpecWeave writes them: two spaces, no newline at the end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut top = Map::new();
        top.insert("jobs".into(), Value::Array(self.jobs.clone()));
        top.extend(self.rest.clone());
        serde_json::to_vec_pretty(&Value::Object(top)).expect("a JSON value has no unserialisable part")
    }

    /// The place of the job with this id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.jobs.iter().position(|job| job.get("id").and_then(Value::as_str) == Some(id))
    }
}

/// The field by which our own entries are known, also after their journal is gone.
const OWNER: (&str, &str) = ("owner", "specweave-jobsd");

/// Whether this project's daemon wrote the entry.
pub fn is_ours(entry: &Value) -> bool {
    entry.get(OWNER.0).and_then(Value::as_str) == Some(OWNER.1)
}

/// What the documented form has beyond [`v1::Job`].
pub struct Extra<'a> {
    pub items_completed: Vec<&'a str>,
    pub items_failed: Vec<&'a str>,
    /// The documented `config` object.
    pub config: Value,
}

/// Writes `job` over `entry`, keeping the fields that are not ours.
pub fn to_entry(job: &v1::Job, extra: Extra<'_>, entry: Option<&Value>) -> Value {
    let mut out = entry.and_then(Value::as_object).cloned().unwrap_or_default();
    let moment = |at: &Option<prost_types::Timestamp>| {
        at.as_ref().map(|at| Value::String(clock::iso(clock::millis(at))))
    };
    let progress = job.progress.clone().unwrap_or_default();

    out.insert("id".into(), json!(job.id));
    out.insert("type".into(), json!(job.type_name));
    out.insert("status".into(), json!(status_word(job.state())));
    let mut documented = Map::new();
    documented.insert("current".into(), json!(progress.current.min(progress.total)));
    documented.insert("total".into(), json!(progress.total));
    documented.insert("percentage".into(), json!(progress.percentage));
    documented.insert("itemsCompleted".into(), json!(extra.items_completed));
    documented.insert("itemsFailed".into(), json!(extra.items_failed));
    if !progress.current_item.is_empty() {
        documented.insert("currentItem".into(), json!(progress.current_item));
    }
    if progress.rate > 0.0 {
        documented.insert("rate".into(), json!((progress.rate * 10.0).round() / 10.0));
        documented.insert("eta".into(), json!(progress.eta_seconds.unwrap_or(0)));
    }
    out.insert("progress".into(), Value::Object(documented));
    out.insert("startedAt".into(), moment(&job.started_at).unwrap_or_default());
    out.insert("updatedAt".into(), moment(&job.updated_at).unwrap_or_default());
    out.insert("config".into(), extra.config);
    set_or_remove(&mut out, "completedAt", moment(&job.completed_at));
    set_or_remove(&mut out, "error", (!job.error.is_empty()).then(|| json!(job.error)));
    let pause = job.pause.as_ref();
    set_or_remove(&mut out, "pauseReason", pause.map(|pause| json!(pause.message)));
    set_or_remove(&mut out, "resumeAfter", pause.and_then(|pause| moment(&pause.resume_at)));
    out.insert(OWNER.0.into(), json!(OWNER.1));
    Value::Object(out)
}

fn set_or_remove(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(key.into(), value)),
        None => drop(map.shift_remove(key)),
    }
}

/// Reads one documented job, tolerantly: what is missing is empty, what is out of bounds is bounded.
/// `None` when it has no id. The pid and whether it lives are looked up in the project.
pub fn from_entry(entry: &Value, project: &Project) -> Option<v1::Job> {
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
        progress: Some(progress(entry.get("progress").unwrap_or(&Value::Null))),
        started_at: moment(entry.get("startedAt")),
        updated_at: moment(entry.get("updatedAt")),
        completed_at: moment(entry.get("completedAt")),
        error: text(entry, "error"),
        pause,
        pid: worker.map_or(0, |(pid, _)| pid),
        alive: worker.is_some_and(|(_, alive)| alive),
        foreign: !is_ours(entry),
        provider,
        revision: 0,
        id,
    })
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
