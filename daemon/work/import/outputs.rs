//! What an import leaves besides living docs: its `config.json` and `result.json`, when each source was read last, and
//! pages that were read and are not written yet. Everything here blocks.

use crate::job::paged_sources::{Counts, End, PagedSources};
use crate::model::conflict::DECIDE;
use crate::work::config::{FailedEntry, pretty};
use crate::work::sources::SourceId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project};
use std::collections::BTreeMap;
use std::io;

/// The documented input of an import, without its secrets, and without the part from which SpecWeave would start a worker of
/// its own beside ours (`coordinatorConfig`). What one source begins with is decided once a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub job_id: String,
    pub project_path: String,
    pub import_config: Value,
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
        Self {
            job_id: id.to_string(),
            project_path: project.root().to_string_lossy().into_owned(),
            import_config: json!({"timeRangeMonths": months, "pageSize": 100}),
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
        let months = &self.import_config["timeRangeMonths"];
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
    pub failed_items: Vec<FailedEntry>,
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
        let failed_items: Vec<FailedEntry> = progress
            .all()
            .iter()
            .flat_map(|one| one.failures())
            .map(|one| FailedEntry::new(&one.name, &one.failure))
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
            warnings.push(format!("{first}{more} waits for a decision: {DECIDE}"));
        }
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.result(), &pretty(self), 0o600)
    }
}
