//! What a job that SpecWeave wrote becomes when this daemon takes it over, whatever its kind.

use crate::job::MOST_ITEMS;
use crate::job::order::Order;
use crate::work::config::ConfigError;
use specweave_jobs::project::{JobFiles, JobId};

/// What SpecWeave left of a job: its folder, and what the list says of it.
pub struct Left {
    pub id: JobId,
    pub files: JobFiles,
    pub listed: serde_json::Value,
}

/// A job that can be taken over.
pub struct Adoption {
    pub order: Order,
    /// What its `config.json` is to be: without a secret, and without a place outside the project.
    pub config: serde_json::Value,
    /// What to tell the user.
    pub notices: Vec<String>,
}

/// Why a job's `config.json` gives no plan.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("config not usable: it names nothing to work on")]
    Nothing,
    #[error("config not usable: it names more than {MOST_ITEMS} repositories")]
    TooMany,
}
