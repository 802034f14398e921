//! What GitLab, Gitea, Forgejo and Bitbucket list of somebody's repositories, as a clone needs them. They are asked for nothing else.

use super::server::{Ask, Scheme, Server, Session};
use super::{MOST_PAGES, Repositories, TrackerError, encode, read};
use crate::model::repository::{About, Forge, ForgeKind, Listed, described, is_web, split_login};
use crate::net::secrets::Secrets;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use specweave_jobs::clock;
use url::Url;

/// Repositories that one reply gives.
const PER_PAGE: usize = 100;

/// One repository, in the words of any of them.
#[derive(Deserialize)]
struct Found {
    /// GitLab's.
    http_url_to_repo: Option<String>,
    forked_from_project: Option<Value>,
    /// Gitea's and Forgejo's.
    clone_url: Option<String>,
    #[serde(default)]
    fork: bool,
    /// Bitbucket's.
    links: Option<Links>,
    parent: Option<Value>,
    #[serde(default)]
    archived: bool,
    /// Bitbucket's in bytes, Gitea's in kilobytes.
    #[serde(default)]
    size: Value,
    topics: Option<Vec<String>>,
    language: Option<String>,
    /// GitLab's, Gitea's and Bitbucket's.
    last_activity_at: Option<String>,
    updated_at: Option<String>,
    updated_on: Option<String>,
}

#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    clone: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    name: String,
    href: String,
}

/// Bitbucket's page.
#[derive(Deserialize)]
struct Page {
    values: Vec<Found>,
    next: Option<String>,
}

impl Found {
    fn listed(self, kind: ForgeKind) -> Option<Listed> {
        let about = self.about(kind);
        let links = self.links.map(|links| links.clone).unwrap_or_default();
        let of_links = links.into_iter().find(|link| link.name == "https");
        // Bitbucket writes the name of whoever asks into the address.
        let of_links = of_links.map(|link| split_login(&link.href).0);
        let address = self.http_url_to_repo.or(self.clone_url).or(of_links)?;
        // A server does not lead to what is on this machine.
        let address = Some(address).filter(|address| is_web(address))?;
        let is_there = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        Some(Listed {
            archived: self.archived,
            fork: self.fork || is_there(&self.forked_from_project) || is_there(&self.parent),
            about,
            ..described(&address)
        })
    }

    fn about(&self, kind: ForgeKind) -> About {
        let at = match kind {
            ForgeKind::GitLab => &self.last_activity_at,
            ForgeKind::Gitea => &self.updated_at,
            ForgeKind::Bitbucket => &self.updated_on,
        };
        let unit = if kind == ForgeKind::Gitea { 1024 } else { 1 };
        let tells_language = kind != ForgeKind::GitLab;
        About {
            size: self.size.as_u64().map(|size| size.saturating_mul(unit)),
            topics: self.topics.clone(),
            language: tells_language.then(|| self.language.clone().unwrap_or_default()),
            active_at: at.as_ref().and_then(|at| clock::parse_iso(at)),
        }
    }
}

/// What is said of a forge that may be anywhere.
const NO_SERVER: &str = "GITEA_SERVER_URL is not set, which says where it is";

/// Of a group all that is its own, the oldest first: what is made later takes no place from what stands.
const GITLAB: &str = "include_subgroups=true&with_shared=false&order_by=id&sort=asc";

/// All repositories of a group with its subgroups, of an organisation, or of a workspace.
pub async fn repositories(
    session: &Session,
    secrets: &Secrets,
    forge: &Forge,
) -> Result<Vec<Listed>, TrackerError> {
    let what = forge.to_string();
    let base = secrets.forge(forge.kind);
    let base = base.ok_or_else(|| TrackerError::Refused { what: what.clone(), said: NO_SERVER.into() })?;
    let base = Url::parse(&base)
        .map_err(|error| TrackerError::Malformed { what: base.clone(), cause: error.to_string() })?;
    let login = secrets.forge_login(forge.kind, &base);
    // An account's password is Basic; a token of its own is not.
    let has_account = forge.kind == ForgeKind::Bitbucket && secrets.setting("BITBUCKET_USERNAME").is_some();
    let scheme = if has_account { Scheme::Basic } else { Scheme::Bearer };
    let server = Server::new(session, base, login, scheme, HeaderMap::new());
    let name = encode(&forge.name);
    let first = match forge.kind {
        ForgeKind::GitLab => {
            format!("api/v4/groups/{name}/projects?{GITLAB}&per_page={PER_PAGE}")
        }
        ForgeKind::Gitea => format!("api/v1/orgs/{name}/repos?limit={PER_PAGE}"),
        ForgeKind::Bitbucket => format!("repositories/{name}?pagelen={PER_PAGE}"),
    };
    read_pages(&server, &what, server.address(&first)?, forge.kind).await
}

/// Whether a page is not the last; where that is not told, the next one is looked at.
fn goes_on(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("x-next-page"), text("link")) {
        (Some(next), _) => !next.is_empty(),
        (None, Some(links)) => links.contains("rel=\"next\""),
        (None, None) => true,
    }
}

async fn read_pages(
    server: &Server,
    what: &str,
    first: Url,
    kind: ForgeKind,
) -> Result<Vec<Listed>, TrackerError> {
    let malformed = |cause: String| TrackerError::Malformed { what: what.to_owned(), cause };
    let (mut all, mut address) = (Repositories::default(), first.clone());
    for page in 2..MOST_PAGES + 2 {
        let reply = server.ask(Ask::get(what, address)).await?;
        let (found, next) = if kind == ForgeKind::Bitbucket {
            let page: Page = read(what, &reply.body)?;
            let next = page.next.map(|next| Url::parse(&next)).transpose();
            (page.values, next.map_err(|error| malformed(error.to_string()))?)
        } else {
            let mut next = first.clone();
            next.query_pairs_mut().append_pair("page", &page.to_string());
            (read(what, &reply.body)?, Some(next).filter(|_| goes_on(&reply.headers)))
        };
        let has_news = all.take(found.into_iter().filter_map(|one| one.listed(kind)));
        match next.filter(|_| has_news) {
            Some(next) if next.origin() == first.origin() => address = next,
            Some(_) => return Err(malformed("its next page is on another server".into())),
            None => return Ok(all.into_all()),
        }
    }
    Err(malformed(format!("more than {MOST_PAGES} pages")))
}
