//! The repositories of a project of Azure DevOps, as a clone needs them.

use crate::model::repository::{About, Listed, is_web};
use crate::trackers::server::{Ask, Server};
use crate::trackers::{MOST_PAGES, TrackerError, encode, read};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;
use url::Url;

/// The header with which a listing says where it goes on.
const CONTINUATION: &str = "x-ms-continuationtoken";

#[derive(Deserialize)]
struct Listing {
    value: Vec<Repository>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Repository {
    name: String,
    remote_url: String,
    #[serde(default)]
    is_disabled: bool,
    #[serde(default)]
    is_fork: bool,
    /// Bytes.
    #[serde(default)]
    size: Value,
}

/// The repositories of a project; disabled ones count as archived.
pub async fn repositories(server: &Server, org: &str, project: &str) -> Result<Vec<Listed>, TrackerError> {
    let what = format!("the Azure DevOps project {org}/{project}");
    let malformed =
        |cause: url::ParseError| TrackerError::Malformed { what: what.clone(), cause: cause.to_string() };
    let first = server.address(&format!("{}/_apis/git/repositories?api-version=7.0", encode(project)))?;
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut continuation: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut address = first.clone();
        if let Some(token) = &continuation {
            address.query_pairs_mut().append_pair("continuationToken", token);
        }
        let reply = server.ask(Ask::get(&what, address)).await?;
        continuation =
            reply.headers.get(CONTINUATION).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let page: Listing = read(&what, &reply.body)?;
        let before = seen.len();
        // A server does not lead to what is on this machine.
        for repository in page.value.into_iter().filter(|one| is_web(&one.remote_url)) {
            if !seen.insert(repository.remote_url.clone()) {
                continue;
            }
            let mut address = Url::parse(&repository.remote_url).map_err(malformed)?;
            // Azure DevOps puts the organisation where a user would stand.
            let _ = address.set_username("");
            let _ = address.set_password(None);
            found.push(Listed {
                owner: org.to_owned(),
                name: repository.name,
                project: Some(project.to_owned()),
                address: address.into(),
                archived: repository.is_disabled,
                fork: repository.is_fork,
                about: About { size: repository.size.as_u64(), ..About::default() },
            });
        }
        // What gives nothing new has come to its end.
        if continuation.is_none() || seen.len() == before {
            return Ok(found);
        }
    }
    Err(TrackerError::Malformed { what, cause: format!("more than {MOST_PAGES} pages") })
}
