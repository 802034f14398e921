//! Taking over a sync that SpecWeave entered into its list, and for which it has no worker: what the list says of it becomes an
//! order of ours, under the same id.

use crate::job::order::{Direction, Order, SyncOrder};
use crate::model::item::Platform;
use crate::net::secrets::Caller;
use crate::work::adoption::{AdoptError, Adoption, Left};
use serde_json::json;

/// Reads the job's entry; it holds nothing secret.
pub fn read(left: &Left, _caller: &mut Caller) -> Result<Adoption, AdoptError> {
    let word = |key: &str| left.listed[key].as_str().unwrap_or_default();
    let platform = match word("provider") {
        "github" => Some(Platform::GitHub),
        "jira" => Some(Platform::Jira),
        "ado" => Some(Platform::Ado),
        _ => None,
    };
    let direction = match word("direction") {
        "import" => Some(Direction::Import),
        "export" => Some(Direction::Export),
        "bidirectional" => Some(Direction::Both),
        _ => None,
    };
    let profile = Some(word("profileId").to_owned()).filter(|id| !id.is_empty());
    if platform.is_none() && profile.is_none() {
        return Err(AdoptError::Nothing);
    }
    let order = SyncOrder { platform, profile, direction, ..SyncOrder::default() };
    Ok(Adoption { order: Order::Sync(order), config: json!({}), notices: Vec::new() })
}
