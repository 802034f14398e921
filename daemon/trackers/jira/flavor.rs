//! Which JIRA a server is: the Cloud and Data Center are asked in different ways.

use crate::trackers::server::{Ask, Server};
use crate::trackers::{TrackerError, read};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which JIRA it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavor {
    Cloud,
    /// With the field that links an issue to its epic, where there is one.
    DataCenter {
        epic_link: Option<String>,
        /// The field for an epic's own name, without which none is made there.
        #[serde(default)]
        epic_name: Option<String>,
    },
}

/// Asks a server what it is.
pub async fn flavor(server: &Server) -> Result<Flavor, TrackerError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct About {
        #[serde(default)]
        deployment_type: String,
    }
    #[derive(Deserialize)]
    struct Field {
        id: String,
        #[serde(default)]
        schema: Value,
    }
    if server.base.host_str().is_some_and(|host| host.ends_with(".atlassian.net")) {
        return Ok(Flavor::Cloud);
    }
    let what = "the JIRA server";
    let reply = server.ask(Ask::get(what, server.address("rest/api/2/serverInfo")?)).await?;
    let about: About = read(what, &reply.body)?;
    if about.deployment_type.eq_ignore_ascii_case("cloud") {
        return Ok(Flavor::Cloud);
    }
    let reply = server.ask(Ask::get(what, server.address("rest/api/2/field")?)).await?;
    let fields: Vec<Field> = read(what, &reply.body)?;
    let find = |kind: &str| {
        let is_it = |field: &&Field| field.schema["custom"] == format!("com.pyxis.greenhopper.jira:{kind}");
        fields.iter().find(is_it).map(|field| field.id.clone())
    };
    Ok(Flavor::DataCenter { epic_link: find("gh-epic-link"), epic_name: find("gh-epic-label") })
}
