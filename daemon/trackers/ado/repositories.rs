//! The repositories of a project of Azure DevOps, as a clone needs them.

use crate::model::repository::{About, Listed, is_web};
use crate::trackers::server::{Ask, Server};
use crate::trackers::{MOST_PAGES, Repositories, TrackerError, encode, read};
use serde::Deserialize;
use serde_json::Value;
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
    let mut found = Repositories::default();
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
        // A server does not lead to what is on this machine.
        let web = page.value.into_iter().filter(|one| is_web(&one.remote_url));
        let listed = web.map(|repository| {
            let mut address = Url::parse(&repository.remote_url).map_err(malformed)?;
            // Azure DevOps puts the organisation where a user would stand.
            let _ = address.set_username("");
            let _ = address.set_password(None);
            Ok(Listed {
                owner: org.to_owned(),
                name: repository.name,
                project: Some(project.to_owned()),
                address: address.into(),
                archived: repository.is_disabled,
                fork: repository.is_fork,
                about: About { size: repository.size.as_u64(), ..About::default() },
            })
        });
        let has_news = found.take(listed.collect::<Result<Vec<_>, TrackerError>>()?);
        if continuation.is_none() || !has_news {
            return Ok(found.into_all());
        }
    }
    Err(TrackerError::Malformed { what, cause: format!("more than {MOST_PAGES} pages") })
}
