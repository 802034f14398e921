//! Azure DevOps, through its REST API.

use super::{Listed, MOST_PAGES, TrackerError, check, encode, read};
use crate::secrets::Secrets;
use crate::work::net;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use url::Url;

/// The header with which a listing says where it goes on.
const CONTINUATION: &str = "x-ms-continuationtoken";

#[derive(Deserialize)]
struct Page {
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
}

/// The repositories of a project; disabled ones count as archived.
pub async fn repositories(
    http: &reqwest::Client,
    secrets: &Secrets,
    org: &str,
    project: &str,
) -> Result<Vec<Listed>, TrackerError> {
    let what = format!("the Azure DevOps project {org}/{project}");
    let malformed =
        |cause: url::ParseError| TrackerError::Malformed { what: what.clone(), cause: cause.to_string() };
    let base = match secrets.setting("AZURE_DEVOPS_ORG_URL") {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None => format!("https://dev.azure.com/{}", encode(org)),
    };
    let first = format!("{base}/{}/_apis/git/repositories?api-version=7.0", encode(project));
    let first = Url::parse(&first).map_err(malformed)?;
    let login = secrets.first_login(&first).await;
    let mut found = Vec::new();
    let mut continuation: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut address = first.clone();
        if let Some(token) = &continuation {
            address.query_pairs_mut().append_pair("continuationToken", token);
        }
        let mut request = http.get(address);
        if let Some(value) = login.as_ref().and_then(net::authorization) {
            request = request.header(AUTHORIZATION, value);
        }
        let network = |error: reqwest::Error| TrackerError::Network(net::cause(&error));
        let response = request.send().await.map_err(network)?;
        check(&what, response.status(), response.headers())?;
        continuation =
            response.headers().get(CONTINUATION).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let page: Page = read(&what, &response.bytes().await.map_err(network)?)?;
        for repository in page.value {
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
            });
        }
        if continuation.is_none() {
            return Ok(found);
        }
    }
    Err(TrackerError::Malformed { what, cause: format!("more than {MOST_PAGES} pages") })
}
