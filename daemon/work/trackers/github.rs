//! GitHub, through octocrab over the job's own pool of connections.

use super::{Listed, MOST_PAGES, TrackerError, check, encode, read};
use crate::secrets::{Login, Secrets};
use crate::work::net;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use std::convert::Infallible;
use url::Url;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One GitHub server, as one job sees it.
pub struct GitHub {
    crab: Octocrab,
    api: String,
    with_login: bool,
}

/// Of a repository, what a clone needs; everything else may change without us.
#[derive(Deserialize)]
struct Repository {
    name: String,
    owner: Owner,
    clone_url: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    fork: bool,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

impl GitHub {
    pub async fn new(http: reqwest::Client, secrets: &Secrets) -> Result<Self, TrackerError> {
        let api = secrets.github_api();
        let address = Url::parse(&api).map_err(|error| TrackerError::Malformed {
            what: format!("GITHUB_API_URL {api:?}"),
            cause: error.to_string(),
        })?;
        let login = secrets.first_login(&address).await;
        let with_login = login.is_some();
        let service = tower::service_fn(move |request| send(http.clone(), login.clone(), request));
        let built: Result<_, Infallible> =
            OctocrabBuilder::new_empty().with_service(service).with_auth(AuthState::None).build();
        let Ok(crab) = built;
        Ok(Self { crab, api, with_login })
    }

    /// All repositories of an organisation or, when there is none of that name, of a user.
    pub async fn org_repositories(&self, org: &str) -> Result<Vec<Listed>, TrackerError> {
        let org_path = encode(org);
        let first = format!("{}/orgs/{org_path}/repos?per_page=100&type=all", self.api);
        match self.list(&format!("the GitHub organisation {org}"), first).await {
            Err(TrackerError::NotFound(_)) => self.user_repositories(org).await,
            result => result,
        }
    }

    /// All repositories of a user; private ones too when the token is that user's.
    pub async fn user_repositories(&self, user: &str) -> Result<Vec<Listed>, TrackerError> {
        let what = format!("the GitHub user {user}");
        let own = self.with_login && self.login_is(user).await?;
        let path = match own {
            true => "user/repos?affiliation=owner&per_page=100".to_owned(),
            false => format!("users/{}/repos?per_page=100", encode(user)),
        };
        self.list(&what, format!("{}/{path}", self.api)).await
    }

    async fn login_is(&self, user: &str) -> Result<bool, TrackerError> {
        let what = "the token's own account";
        match self.get(what, format!("{}/user", self.api)).await {
            Ok((_, body)) => Ok(read::<Owner>(what, &body)?.login.eq_ignore_ascii_case(user)),
            // A token of an app or a narrow one has no account, yet may list.
            Err(TrackerError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, what: &str, first: String) -> Result<Vec<Listed>, TrackerError> {
        let mut found = Vec::new();
        let mut next = Some(first);
        for _ in 0..MOST_PAGES {
            let Some(address) = next.take() else { return Ok(found) };
            let (headers, body) = self.get(what, address).await?;
            let page: Vec<Repository> = read(what, &body)?;
            found.extend(page.into_iter().map(|repository| Listed {
                owner: repository.owner.login,
                name: repository.name,
                project: None,
                address: repository.clone_url,
                archived: repository.archived,
                fork: repository.fork,
            }));
            next = next_page(&headers).filter(|next| same_origin(next, &self.api));
        }
        let cause = format!("more than {MOST_PAGES} pages");
        Err(TrackerError::Malformed { what: what.to_owned(), cause })
    }

    async fn get(&self, what: &str, address: String) -> Result<(HeaderMap, Bytes), TrackerError> {
        let network = |error: octocrab::Error| TrackerError::Network(net::innermost(&error).to_string());
        let response = self.crab._get(address).await.map_err(network)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(network)?.to_bytes();
        check(what, parts.status, &parts.headers)?;
        Ok((parts.headers, body))
    }
}

/// octocrab's request over our client.
async fn send(
    http: reqwest::Client,
    login: Option<Login>,
    request: Request<OctoBody>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut address = Url::parse(&parts.uri.to_string())?;
    let mut redirects = 0;
    let answer = loop {
        let mut outgoing = http
            .request(parts.method.clone(), address.clone())
            .headers(parts.headers.clone())
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .body(body.clone());
        if let Some(login) = &login {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", login.secret.reveal()))?;
            value.set_sensitive(true);
            outgoing = outgoing.header(AUTHORIZATION, value);
        }
        let answer = outgoing.send().await.map_err(|error| net::cause(&error))?;
        // A renamed owner leads to its number on the same server; the token goes nowhere else.
        match net::redirected(&answer).filter(|to| to.origin() == address.origin()) {
            Some(to) if redirects < net::MOST_REDIRECTS => (address, redirects) = (to, redirects + 1),
            _ => break answer,
        }
    };
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = answer.headers().clone();
    }
    let body = answer.bytes().await.map_err(|error| net::cause(&error))?;
    Ok(response.body(Full::new(body))?)
}

/// The address of `Link: <..>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(http::header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// A link to another server would carry the token there.
fn same_origin(one: &str, other: &str) -> bool {
    matches!((Url::parse(one), Url::parse(other)), (Ok(one), Ok(other)) if one.origin() == other.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_read_from_the_link_header() {
        let mut headers = HeaderMap::new();
        let links = "<https://h/a?page=1>; rel=\"prev\", <https://h/a?page=3>; rel=\"next\"";
        headers.insert("link", links.parse().unwrap());
        assert_eq!(next_page(&headers).as_deref(), Some("https://h/a?page=3"));
        headers.insert("link", "<https://h/a?page=1>; rel=\"prev\"".parse().unwrap());
        assert_eq!(next_page(&headers), None);
    }
}
