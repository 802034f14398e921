//! The documented `background-jobs.json`: [`Document`] is the file, [`Entry::of`] and [`from_entries`]
//! translate one job. The daemon writes it, a client reads it when no daemon runs.
//!
//! Jobs and fields that we do not know are kept as they are. Nothing here decides what a job does.

use crate::clock::{self, Millis};
use crate::project::{JobFiles, JobId, Project};
use crate::{disk, v1};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
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
    /// Its documented status, as it stood in the file; empty for a new one.
    pub status: String,
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
        Self::read_patiently(path, Entry::new)
    }

    /// As [`Self::read`], but of our own entries only what is not ours to write, so that the file need not fit into
    /// memory.
    pub fn read_slim(path: &Path) -> Result<Self, MirrorError> {
        Self::read_patiently(path, Entry::new_slim)
    }

    /// The file that these bytes are; `None` when they are none.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes, Entry::new).ok()
    }

    /// What can be kept of a file that cannot be read: the jobs before the place where it is torn, and those of SpecWeave's
    /// whose folder tells what they were to do.
    pub fn salvaged(torn: &[u8], project: &Project) -> Self {
        let mut jobs = whole_jobs(torn);
        let mut known: HashSet<String> = jobs.iter().map(|job| job.id.clone()).collect();
        let folders = disk::read_folder(&project.jobs()).unwrap_or_default();
        let mut ids: Vec<JobId> = folders.iter().filter_map(|(name, _)| JobId::parse(name)).collect();
        ids.sort();
        let lost = ids.into_iter().filter(|id| known.insert(id.to_string()));
        jobs.extend(lost.filter_map(|id| of_folder(&project.job(&id), &id)));
        Self { rest: BTreeMap::new(), jobs }
    }

    fn read_patiently(path: &Path, keep: fn(Box<RawValue>) -> Entry) -> Result<Self, MirrorError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::read_once(path, keep) {
                Err(MirrorError::Unreadable { .. }) if tries < TORN_READ_TRIES => {
                    std::thread::sleep(TORN_READ_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn read_once(path: &Path, keep: fn(Box<RawValue>) -> Entry) -> Result<Self, MirrorError> {
        let file = match disk::open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            // A link or a pipe is not the file that is documented.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                return Err(MirrorError::Unreadable { path: path.to_path_buf(), source: None });
            }
            Err(source) => return Err(MirrorError::Io { path: path.to_path_buf(), source }),
        };
        let reader = io::BufReader::with_capacity(READ_AHEAD, file);
        Self::parse(reader, keep).map_err(|source| match source {
            Some(error) if error.is_io() => {
                MirrorError::Io { path: path.to_path_buf(), source: error.into() }
            }
            source => MirrorError::Unreadable { path: path.to_path_buf(), source },
        })
    }

    /// `None` as the error: it is JSON, but not this file's.
    fn parse(
        reader: impl io::Read,
        keep: fn(Box<RawValue>) -> Entry,
    ) -> Result<Self, Option<serde_json::Error>> {
        let mut json = serde_json::Deserializer::from_reader(reader);
        let read = json.deserialize_map(Fields { keep }).and_then(|read| json.end().map(|()| read));
        match read.map_err(Some)? {
            (rest, Some(jobs)) => Ok(Self { rest, jobs }),
            (rest, None) if rest.is_empty() => Ok(Self::default()),
            _ => Err(None),
        }
    }

    /// Writes the file as SpecWeave does: two spaces, no newline at the end. `enter` may put another text in the place
    /// of an entry.
    pub fn write(&self, out: &mut dyn io::Write, enter: impl Fn(&Entry) -> Option<Entry>) -> io::Result<()> {
        out.write_all(b"{\n  \"jobs\": [")?;
        for (place, job) in self.jobs.iter().enumerate() {
            out.write_all(if place == 0 { b"\n    " } else { b",\n    " })?;
            match enter(job) {
                Some(entry) => out.write_all(entry.text.get().as_bytes())?,
                None => out.write_all(job.text.get().as_bytes())?,
            }
        }
        out.write_all(if self.jobs.is_empty() { b"]" } else { b"\n  ]" })?;
        for (key, value) in &self.rest {
            write!(out, ",\n  {}: {}", Value::from(key.as_str()), value.get())?;
        }
        out.write_all(b"\n}")
    }
}

/// The jobs that stand whole in a text that is torn somewhere.
fn whole_jobs(torn: &[u8]) -> Vec<Entry> {
    const LIST: &[u8] = b"\"jobs\"";
    let begin = torn.windows(LIST.len()).position(|window| window == LIST);
    let Some(begin) = begin.and_then(|at| Some(at + torn[at..].iter().position(|byte| *byte == b'[')? + 1))
    else {
        return Vec::new();
    };
    let (mut rest, mut jobs) = (&torn[begin..], Vec::new());
    loop {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        rest = &rest[rest.iter().take_while(|byte| blank(byte)).count()..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Box<RawValue>>();
        match values.next() {
            Some(Ok(text)) if text.get().starts_with('{') => jobs.push(Entry::new(text)),
            _ => return jobs,
        }
        rest = &rest[values.byte_offset()..];
    }
}

/// The entry of a job of SpecWeave's that the list has lost, as its `config.json` tells; `None` for one of ours, whose journal
/// tells more, and for a folder that tells nothing.
fn of_folder(files: &JobFiles, id: &JobId) -> Option<Entry> {
    if disk::exists(&files.journal()) {
        return None;
    }
    let config: Value =
        serde_json::from_slice(&disk::read_regular(&files.config(), MOST_SMALL).ok()?).ok()?;
    let (kind, total) = match (&config["repositories"], &config["coordinatorConfig"]) {
        (Value::Array(repositories), _) => (v1::JobType::CloneRepos, repositories.len()),
        (_, Value::Object(_)) => (v1::JobType::ImportIssues, 0),
        _ => return None,
    };
    let progress = DocumentedProgress { total: total as u64, ..DocumentedProgress::default() };
    let entry = serde_json::json!({
        "id": id.as_str(),
        "type": type_word(kind),
        "status": documented_status(v1::JobState::Paused),
        "progress": progress,
        "startedAt": config["startedAt"],
        "updatedAt": config["startedAt"],
        "config": {"type": type_word(kind), "projectPath": config["projectPath"]},
        "error": "its entry in background-jobs.json was lost; config.json tells what it was to do",
    });
    Some(Entry::new(serde_json::value::to_raw_value(&entry).ok()?))
}

/// Read at a time.
const READ_AHEAD: usize = 256 * 1024;

/// The file's top-level object: the jobs entry by entry, anything else as it is.
struct Fields {
    keep: fn(Box<RawValue>) -> Entry,
}

type Read = (BTreeMap<String, Box<RawValue>>, Option<Vec<Entry>>);

impl<'de> Visitor<'de> for Fields {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with jobs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let (mut rest, mut jobs) = (BTreeMap::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "jobs" => jobs = Some(map.next_value_seed(Entries { keep: self.keep })?),
                _ => drop(rest.insert(key, map.next_value()?)),
            }
        }
        Ok((rest, jobs))
    }
}

struct Entries {
    keep: fn(Box<RawValue>) -> Entry,
}

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Entry>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<Entry>, A::Error> {
        let mut jobs = Vec::new();
        while let Some(text) = entries.next_element()? {
            jobs.push((self.keep)(text));
        }
        Ok(jobs)
    }
}

/// The field by which our own entries are known, also after their journal is gone.
const OWNER: (&str, &str) = ("owner", "specweave-jobsd");

/// The fields that are ours to write; any other stays.
const FIELDS: [&str; 14] = [
    "id",
    "type",
    "status",
    "progress",
    "startedAt",
    "updatedAt",
    "config",
    "completedAt",
    "error",
    "errorReason",
    "pauseReason",
    "resumeAfter",
    "schedule",
    OWNER.0,
];

/// What the documented form has beyond [`v1::Job`].
pub struct Extra<'a> {
    pub items_completed: Vec<&'a str>,
    pub items_failed: Vec<&'a str>,
    /// The documented `config` object.
    pub config: Value,
}

#[derive(Default, Serialize)]
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

/// Ours alone: another tool sees a job that is paused, and when it goes on.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DocumentedSchedule<'a> {
    every_seconds: u64,
    /// While it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_at: Option<String>,
}

impl Entry {
    fn new(text: Box<RawValue>) -> Self {
        #[derive(Default, Deserialize)]
        struct Head {
            id: Option<String>,
            owner: Option<String>,
            status: Option<String>,
        }
        // An entry with an odd id or none is somebody else's, and stays what it is.
        let head: Head = serde_json::from_str(text.get()).unwrap_or_default();
        Self {
            id: head.id.unwrap_or_default(),
            ours: head.owner.as_deref() == Some(OWNER.1),
            status: head.status.unwrap_or_default(),
            text,
        }
    }

    /// As [`Self::new`], but an entry of ours keeps only the fields that are not ours to write: what [`Self::of`] takes
    /// from it.
    fn new_slim(text: Box<RawValue>) -> Self {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text.get()).unwrap_or_default();
        let word = |name: &str| serde_json::from_str::<String>(fields.get(name)?.get()).ok();
        let (id, status) = (word("id").unwrap_or_default(), word("status").unwrap_or_default());
        if word(OWNER.0).as_deref() != Some(OWNER.1) {
            return Self { id, ours: false, status, text };
        }
        let others = fields.iter().filter(|(key, _)| !FIELDS.contains(&key.as_str()));
        let others: BTreeMap<&String, &&RawValue> = others.collect();
        let text = serde_json::value::to_raw_value(&others).expect("it was JSON");
        Self { id, ours: true, status, text }
    }

    /// A place in the file for a job that is not in it yet.
    pub fn empty(id: &str) -> Self {
        let text = RawValue::from_string("{}".into()).expect("it is JSON");
        Self { id: id.to_owned(), ours: true, status: String::new(), text }
    }

    /// The entry of `job`, keeping from `before` the fields that are not ours.
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
            ("status", nested(&documented_status(job.state()))),
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
        // Indentation would be most of a long list.
        let many = progress.total > MOST_INDENTED;
        fields.push(("progress", value_text(&documented, many)));
        fields.push(("startedAt", nested(&moment(&job.started_at))));
        fields.push(("updatedAt", nested(&moment(&job.updated_at))));
        fields.push(("config", value_text(&extra.config, many)));
        let mut when = |name: &'static str, value: Option<&str>| {
            fields.extend(value.map(|value| (name, nested(&value))));
        };
        when("completedAt", moment(&job.completed_at).as_deref());
        let failure = job.failure.as_ref();
        let error = failure.map_or(job.warning.as_str(), |failure| failure.message.as_str());
        when("error", Some(error).filter(|error| !error.is_empty()));
        when("errorReason", failure.map(|failure| failure.reason().word()).as_deref());
        let pause = job.pause.as_ref();
        let waits = job.schedule.as_ref().and_then(|schedule| schedule.next_at);
        when("pauseReason", pause.map(|pause| pause.message.as_str()).or(waits.map(|_| SCHEDULED)));
        when("resumeAfter", pause.map_or(moment(&waits), |pause| moment(&pause.resume_at)).as_deref());
        when(OWNER.0, Some(OWNER.1));
        if let Some(schedule) = &job.schedule {
            let last_status = schedule.next_at.map(|_| status_word(schedule.last_state()));
            let schedule = DocumentedSchedule {
                every_seconds: schedule.every_seconds,
                last_status,
                last_at: moment(&schedule.last_at),
            };
            fields.push(("schedule", nested(&schedule)));
        }
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

    /// What its documented `config` says; nothing where there is none.
    pub fn config(&self) -> Value {
        self.value().get("config").cloned().unwrap_or_default()
    }

    /// The entry as a value.
    fn value(&self) -> Value {
        serde_json::from_str(self.text.get()).unwrap_or_default()
    }
}

/// SpecWeave's small files are no larger.
const MOST_SMALL: u64 = 1024 * 1024;

/// The jobs that SpecWeave keeps in a file each, outside the list: `jobs/brownfield/<id>.json`.
pub fn brownfield(project: &Project) -> Vec<Entry> {
    const MOST: usize = 1_000;
    let folder = project.jobs().join("brownfield");
    let files = disk::read_folder(&folder).unwrap_or_default().into_iter();
    let read =
        files.take(MOST).filter_map(|(name, _)| disk::read_regular(&folder.join(name), MOST_SMALL).ok());
    let texts = read.filter_map(|bytes| String::from_utf8(bytes).ok());
    texts.filter_map(|text| RawValue::from_string(text).ok()).map(Entry::new).collect()
}

/// A job of more items is written without line breaks in its lists.
const MOST_INDENTED: u64 = 100;

fn value_text(value: &impl Serialize, many: bool) -> String {
    if many { serde_json::to_string(value).expect("plain data serialises") } else { nested(value) }
}

/// A field's value, indented as deep as it stands in the file. No JSON string holds a bare line break.
fn nested(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain data serialises");
    text.replace('\n', "\n      ")
}

/// Reads documented jobs, tolerantly: what is missing is empty, what is out of bounds is bounded, and what has no id is left
/// out. The pid and whether it lives are looked up in the project, for those jobs that have a folder there.
pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a Entry>, project: &Project) -> Vec<v1::Job> {
    let folders: HashSet<String> =
        disk::read_folder(&project.jobs()).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
    entries.into_iter().filter_map(|entry| from_entry(entry, project, &folders)).collect()
}

fn from_entry(entry: &Entry, project: &Project, folders: &HashSet<String>) -> Option<v1::Job> {
    let ours = entry.ours;
    let entry = &entry.value();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let id = text(entry, "id");
    if id.is_empty() {
        return None;
    }
    let type_name = text(entry, "type");
    let status = text(entry, "status");
    let files = JobId::parse(&id).filter(|id| folders.contains(id.as_str())).map(|id| project.job(&id));
    let worker = files.as_ref().and_then(|files| crate::process::read_pid(&files.pid()));
    let config = entry.get("config").unwrap_or(&Value::Null);
    let provider = match config.get("provider").and_then(Value::as_str) {
        Some(provider) => provider.to_owned(),
        None if type_name == "clone-repos" => "git".to_owned(),
        None => "unknown".to_owned(),
    };
    let resume_at = moment(entry.get("resumeAfter"));
    let mut schedule = entry.get("schedule").filter(|_| ours).and_then(|told| schedule(told, &status));
    let state = match state_of(&status) {
        v1::JobState::Paused if schedule.as_ref().is_some_and(|schedule| schedule.last_state != 0) => {
            v1::JobState::Scheduled
        }
        state => state,
    };
    let mut progress = progress(entry.get("progress").unwrap_or(&Value::Null));
    let theirs = files.as_ref().filter(|_| !ours);
    if let Some((percent, phase)) = theirs.and_then(phased_progress) {
        (progress.current, progress.total, progress.percentage, progress.phase) =
            (percent, 100, percent as u32, phase);
    }
    let mut told = text(entry, "error");
    let has_ended = !is_active(state) && type_of(&type_name) == v1::JobType::ImportIssues;
    if let Some((brought, errors)) = theirs.filter(|_| has_ended).and_then(import_result) {
        progress = v1::Progress {
            current: brought,
            total: brought,
            percentage: percentage(brought, brought),
            succeeded: brought,
            current_item: progress.current_item,
            ..v1::Progress::default()
        };
        told = if errors.is_empty() { told } else { errors };
    }
    let last_state = schedule.as_ref().map_or(v1::JobState::Unspecified, |schedule| schedule.last_state());
    if let Some(schedule) = schedule.as_mut().filter(|_| state == v1::JobState::Scheduled) {
        schedule.next_at = resume_at;
    }
    let failed = [state, last_state].contains(&v1::JobState::Failed);
    let reason = text(entry, "pauseReason");
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
        failure: failed.then(|| v1::Failure {
            reason: v1::FailureReason::of_word(&text(entry, "errorReason")) as i32,
            message: told.clone(),
            ..v1::Failure::default()
        }),
        warning: if failed { String::new() } else { told },
        pause,
        pid: worker.map_or(0, |(pid, _)| pid),
        alive: worker.is_some_and(|(_, alive)| alive),
        foreign: !ours,
        provider,
        schedule,
        id,
        ..v1::Job::default()
    })
}

fn schedule(told: &Value, status: &str) -> Option<v1::Schedule> {
    let told = DocumentedSchedule::deserialize(told).ok()?;
    let waits = status == documented_status(v1::JobState::Scheduled);
    let last_state = told.last_status.filter(|_| waits).map_or(v1::JobState::Unspecified, state_of);
    let last_at = told.last_at.filter(|_| waits).map(Value::from);
    Some(v1::Schedule {
        every_seconds: told.every_seconds,
        next_at: None,
        last_state: last_state as i32,
        last_at: moment(last_at.as_ref()),
    })
}

fn state_of(status: &str) -> v1::JobState {
    match status {
        "pending" => v1::JobState::Pending,
        "running" => v1::JobState::Running,
        "paused" => v1::JobState::Paused,
        "completed" => v1::JobState::Completed,
        "completed_with_warnings" => v1::JobState::CompletedWithWarnings,
        "failed" => v1::JobState::Failed,
        _ => v1::JobState::Unspecified,
    }
}

/// SpecWeave's jobs that have phases tell of them in a file of their own, and stay at 0 in the list.
fn phased_progress(files: &JobFiles) -> Option<(u64, String)> {
    let bytes = disk::read_regular(&files.folder.join("progress.json"), MOST_SMALL).ok()?;
    let told: Value = serde_json::from_slice(&bytes).ok()?;
    let percent = told.get("progress")?.as_f64()?.clamp(0.0, 100.0);
    Some((percent as u64, told.get("phase")?.as_str()?.to_owned()))
}

/// What an import of SpecWeave's brought, and what went wrong meanwhile: the list says what it meant to bring, and that all is
/// well.
fn import_result(files: &JobFiles) -> Option<(u64, String)> {
    let bytes = disk::read_regular(&files.result(), MOST_SMALL).ok()?;
    let told: Value = serde_json::from_slice(&bytes).ok()?;
    let brought = told.get("totalCount")?.as_u64()?;
    let errors = told.get("errors").and_then(Value::as_object).into_iter().flatten();
    let lines = errors.flat_map(|(tracker, errors)| {
        let errors = errors.as_array().into_iter().flatten().filter_map(Value::as_str);
        errors.map(move |error| {
            format!("{tracker}: {}", error.split_whitespace().collect::<Vec<_>>().join(" "))
        })
    });
    Some((brought, lines.collect::<Vec<_>>().join("; ")))
}

/// The largest count that a JSON number tells exactly; arithmetic on it stays far from overflowing.
const MOST_COUNT: f64 = 9_007_199_254_740_991.0;

/// The furthest moment from 1970 that JavaScript's `Date` knows; another tool cannot have meant one beyond.
const FURTHEST_MOMENT: Millis = 8_640_000_000_000_000;

fn progress(entry: &Value) -> v1::Progress {
    let count =
        |key: &str| entry.get(key).and_then(Value::as_f64).unwrap_or(0.0).clamp(0.0, MOST_COUNT) as u64;
    let list = |key: &str| entry.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let failed = list("itemsFailed");
    let (current, total) = (count("current"), count("total"));
    v1::Progress {
        current,
        // SpecWeave's imports pass their estimate; a total below what is done is no total.
        total: total.max(current),
        percentage: percentage(current, total.max(current)),
        succeeded: current.saturating_sub(failed.len() as u64),
        failed: failed.len() as u64,
        current_item: entry.get("currentItem").and_then(Value::as_str).unwrap_or("").to_owned(),
        rate: entry.get("rate").and_then(Value::as_f64).unwrap_or(0.0),
        eta_seconds: entry.get("eta").and_then(Value::as_u64).filter(|eta| *eta > 0),
        failed_items: failed.iter().filter_map(Value::as_str).take(10).map(str::to_owned).collect(),
        // SpecWeave's tools tell no more.
        ..v1::Progress::default()
    }
}

/// Whole percents, rounded as SpecWeave does it.
pub fn percentage(current: u64, total: u64) -> u32 {
    (current * 100 + total / 2).checked_div(total).unwrap_or(0) as u32
}

/// SpecWeave writes RFC 3339; some of its tools write epoch milliseconds.
fn moment(value: Option<&Value>) -> Option<prost_types::Timestamp> {
    let at: Millis = match value? {
        Value::String(text) => clock::parse_iso(text)?,
        Value::Number(number) => number.as_f64()? as Millis,
        _ => return None,
    };
    (-FURTHEST_MOMENT..=FURTHEST_MOMENT).contains(&at).then(|| clock::timestamp(at))
}

/// Why a job that is done again stands as paused in the documented file.
const SCHEDULED: &str = "Scheduled";

/// The word of the documented file, which knows no job that is done again: that one is paused.
fn documented_status(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Scheduled => status_word(v1::JobState::Paused),
        state => status_word(state),
    }
}

/// The word for a state: the documented one, and ours for a job that is done again.
pub fn status_word(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Pending => "pending",
        v1::JobState::Running => "running",
        v1::JobState::Paused => "paused",
        v1::JobState::Completed => "completed",
        v1::JobState::CompletedWithWarnings => "completed_with_warnings",
        v1::JobState::Failed => "failed",
        v1::JobState::Scheduled => "scheduled",
    }
}

/// Whether a job in this state has something ahead of it.
pub fn is_active(state: v1::JobState) -> bool {
    use v1::JobState::{Paused, Pending, Running, Scheduled};
    matches!(state, Pending | Running | Paused | Scheduled)
}

/// Whether a job is said to run or to begin, and nothing works on it.
pub fn is_dead(job: &v1::Job) -> bool {
    match job.state() {
        v1::JobState::Running | v1::JobState::Pending => !job.alive && (job.foreign || job.pid != 0),
        _ => false,
    }
}

/// Whether the daemon can go on with a job: with all of ours, and with another tool's of a type that it knows.
pub fn can_go_on(job: &v1::Job) -> bool {
    !job.foreign || job.r#type() != v1::JobType::Unspecified
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
