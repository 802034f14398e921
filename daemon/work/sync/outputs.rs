//! What a sync leaves besides stories and items: its `config.json` and `result.json`, and a word in
//! `sync-metadata.json`. Everything here blocks.

use super::profile::Profile;
use crate::model::failure::Reason;
use crate::work::config::pretty;
use crate::work::{Context, import};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use specweave_jobs::clock;
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, Project};
use std::collections::BTreeMap;
use std::io;

/// What is not synced is named in the result, so many of it.
const MOST_NAMED: usize = 1_000;

/// The documented input of a sync, without its secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub job_id: String,
    pub provider: String,
    pub direction: String,
    pub profile_id: String,
    pub project_path: String,
    pub source: String,
    /// Whether the tracker was asked with somebody's login: without one it may look as if it were not there.
    pub with_login: bool,
}

impl Config {
    pub fn new(context: &Context, profile: &Profile) -> Self {
        Self {
            job_id: context.job.id.to_string(),
            provider: profile.source.platform.word().to_owned(),
            direction: profile.direction.word().to_owned(),
            profile_id: profile.id.clone(),
            project_path: context.project.root().to_string_lossy().into_owned(),
            source: profile.source.name.clone(),
            with_login: false,
        }
    }

    /// The `config` object of `background-jobs.json`.
    pub fn documented(&self) -> Value {
        json!({
            "type": "sync-external",
            "provider": self.provider,
            "direction": self.direction,
            "profileId": self.profile_id,
            "projectPath": self.project_path,
        })
    }
}

/// One story that is not the same on both sides, and why.
#[derive(Clone, Debug, Serialize)]
pub struct NotSynced {
    pub story: String,
    /// What was to be done with it.
    pub planned: String,
    pub error: String,
    pub reason: Reason,
}

/// What became of it all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub completed_at: String,
    pub provider: &'static str,
    pub profile_id: String,
    pub direction: &'static str,
    /// Stories by what was done to them.
    pub done: BTreeMap<String, u64>,
    pub not_synced: Vec<NotSynced>,
    /// Further ones that the list leaves out.
    pub more_not_synced: usize,
}

impl Summary {
    pub fn new(profile: &Profile, counts: &BTreeMap<String, u64>, failed: &[NotSynced]) -> Self {
        Self {
            completed_at: clock::iso(clock::now()),
            provider: profile.source.platform.word(),
            profile_id: profile.id.clone(),
            direction: profile.direction.word(),
            done: counts.clone(),
            not_synced: failed.iter().take(MOST_NAMED).cloned().collect(),
            more_not_synced: failed.len().saturating_sub(MOST_NAMED),
        }
    }

    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.result(), &pretty(self), 0o600)
    }
}

/// Notes in `sync-metadata.json` that there was a sync; an import's own words there stay.
pub fn note_sync(
    project: &Project,
    profile: &Profile,
    counts: &BTreeMap<String, u64>,
    failed: u64,
) -> io::Result<()> {
    let told = json!({
        "lastSync": clock::iso(clock::now()),
        "lastSyncProfile": profile.id,
        "lastSyncCount": counts.values().sum::<u64>(),
        "lastSyncResult": if failed == 0 { "success" } else { "partial" },
    });
    import::marks::note(project, profile.source.platform.word(), &told)
}
