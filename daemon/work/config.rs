//! A job's documented files: its `config.json`, which is believed again only with this user's MAC, and what its results
//! have in common.

use crate::model::failure::{Failure, Reason};
use crate::store::mac::{FileKey, PlaceKey};
use serde::Serialize;
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId};
use std::io;

/// A plan of the most items that a job may have is smaller.
const MOST_CONFIG: u64 = 256 * 1024 * 1024;

/// What failed, as a documented result names it.
#[derive(Debug, Serialize)]
pub struct FailedEntry {
    pub name: String,
    pub error: String,
    pub reason: Reason,
}

impl FailedEntry {
    pub fn new(name: &str, failure: &Failure) -> Self {
        Self { name: name.to_owned(), error: failure.message.clone(), reason: failure.reason }
    }
}

/// Why there is no usable `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config not found: {0}")]
    Missing(String),
    #[error("config not usable: {path}: {cause}")]
    Unusable { path: String, cause: String },
    /// It decides what the job works on, and may have come with a checkout.
    #[error(
        "config not usable: {path} is not as this user's daemon wrote it in this place; somebody has changed config.json"
    )]
    Changed { path: String },
}

/// The key for a job's `config.json`.
pub fn config_key(key: &PlaceKey, id: &JobId) -> FileKey {
    key.job(id, "config")
}

/// Reads a job's `config.json`. It is believed only with the MAC by `key`; without a key it is what anybody may have
/// written, to be shown or to be vetted.
pub fn read_config<T: serde::de::DeserializeOwned>(
    files: &JobFiles,
    key: Option<&FileKey>,
) -> Result<T, ConfigError> {
    let path = files.config();
    let shown = path.display().to_string();
    let unusable = |cause: String| ConfigError::Unusable { path: shown.clone(), cause };
    let bytes = match disk::read_regular(&path, MOST_CONFIG) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ConfigError::Missing(shown)),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    if let Some(key) = key {
        fields = key.believed(fields).ok_or_else(|| ConfigError::Changed { path: shown.clone() })?;
    }
    serde_json::from_value(fields.into()).map_err(|error| unusable(error.to_string()))
}

/// Writes a job's `config.json`.
pub fn write_config(files: &JobFiles, key: &FileKey, config: &impl Serialize) -> io::Result<()> {
    disk::replace(&files.config(), &pretty(&key.authenticated(config)), 0o600)
}

/// What a documented file holds.
pub fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data serialises")
}
