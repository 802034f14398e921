//! GitHub, through octocrab over the job's own pool of connections: listings of repositories, and issues page by page.
//! [`edits`] is what is written.

mod edits;
mod repositories;

pub use edits::{is_status as is_status_label, priority_of, status_word, under_way};

use crate::model::item::{Item, Kind, Parent, Platform, Status};
use crate::net;
use crate::net::secrets::Secrets;
use crate::trackers::server::{Reply, Scheme, Server, Session};
use crate::trackers::{
    Page, Position, Read, Source, TrackerError, Window, classify, encode, moment, read, text,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use specweave_jobs::clock::{self, Millis};
use std::convert::Infallible;
use std::sync::Arc;
use url::Url;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One GitHub server, as one job sees it.
pub struct GitHub {
    crab: Octocrab,
    server: Arc<Server>,
    api: String,
}

/// Whether the reply came from where a redirect led.
#[derive(Clone, Copy)]
struct Moved(bool);

impl GitHub {
    pub async fn new(session: &Session, secrets: &Secrets) -> Result<Self, TrackerError> {
        let api = secrets.github_api();
        let address = Url::parse(&api).map_err(|error| TrackerError::Malformed {
            what: format!("GITHUB_API_URL {api:?}"),
            cause: error.to_string(),
        })?;
        let login = secrets.first_login(&address).await;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        let server = Arc::new(Server::new(session, address, login, Scheme::Bearer, headers));
        let through = server.clone();
        let service = tower::service_fn(move |request| send(through.clone(), request));
        let built: Result<_, Infallible> =
            OctocrabBuilder::new_empty().with_service(service).with_auth(AuthState::None).build();
        let Ok(crab) = built;
        Ok(Self { crab, server, api })
    }

    async fn get(&self, what: &str, address: String) -> Result<Reply, TrackerError> {
        self.get_unless(what, &address, None).await
    }

    /// The reply, or that nothing has changed since the one with this tag.
    async fn get_unless(&self, what: &str, address: &str, tag: Option<&str>) -> Result<Reply, TrackerError> {
        self.server.ask_by(what, || self.attempt(address, tag)).await
    }

    async fn attempt(&self, address: &str, tag: Option<&str>) -> Result<Reply, TrackerError> {
        let network = |error: octocrab::Error| TrackerError::Network(net::innermost(&error).to_string());
        let tag = tag.and_then(|tag| HeaderValue::from_str(tag).ok());
        let headers = tag.map(|tag| HeaderMap::from_iter([(http::header::IF_NONE_MATCH, tag)]));
        let response = self.crab._get_with_headers(address, headers).await.map_err(network)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(network)?.to_bytes();
        let moved = parts.extensions.get::<Moved>().is_some_and(|moved| moved.0);
        Ok(Reply { status: parts.status, headers: parts.headers, body, moved })
    }
}

/// octocrab's request over our client.
async fn send(
    server: Arc<Server>,
    request: Request<OctoBody>,
) -> Result<Response<Full<bytes::Bytes>>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let address = Url::parse(&parts.uri.to_string())?;
    let mut headers = parts.headers;
    // What octocrab says of itself is for its own transport.
    headers.remove(http::header::USER_AGENT);
    headers.remove(http::header::CONTENT_LENGTH);
    let reply = server.exchange(parts.method, address, headers, body).await?;
    let mut response = Response::builder().status(reply.status).extension(Moved(reply.moved));
    if let Some(headers) = response.headers_mut() {
        *headers = reply.headers;
    }
    Ok(response.body(Full::new(reply.body))?)
}

/// The address of `Link: <..>; rel="next"`, on the server that is asked: behind a proxy it may call itself something else,
/// and a link to another server would carry the token there.
fn next_page(headers: &HeaderMap, base: &Url) -> Option<String> {
    let links = headers.get(http::header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let next = Url::parse(next.split_once('<')?.1.split_once('>')?.0).ok()?;
    let mut own = base.clone();
    own.set_path(next.path());
    own.set_query(next.query());
    Some(own.into())
}

/// Issues of one repository.
pub struct Issues {
    github: GitHub,
    owner: String,
    name: String,
    /// Names the server where it is not github.com.
    host: Option<String>,
}

/// Issues that one request gives.
const PER_PAGE: usize = 100;

/// Where a reading goes on. A link of GitHub's is followed as it is; where it is none that stays true while issues
/// change, or is no longer taken, the last moment that was seen is enough.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    address: String,
    seen: Option<Millis>,
    labels: Vec<String>,
    /// Terms of a search; the listing knows none.
    #[serde(default)]
    condition: String,
    /// The tag of an earlier reply to the same address.
    tag: Option<String>,
    /// Pages that this reading has had.
    pages: u64,
    /// The moment at which a link was no longer taken: a second time there is one time too many.
    fell_back: Option<Millis>,
    /// The issues of the moment `seen` that were read: the next page begins with that moment and has them again.
    #[serde(default)]
    edge: Vec<u64>,
}

/// Issues of one moment that are remembered; more of them than this are counted again, and changed by nothing.
const MOST_EDGE: usize = 1_000;

impl Cursor {
    /// Whether a row was on the page before, as one of its last moment.
    fn has_had(&self, row: &RawValue) -> bool {
        at_moment(row, self.seen).is_some_and(|number| self.edge.contains(&number))
    }
}

/// The number of an issue that was changed last at the moment `seen`.
fn at_moment(row: &RawValue, seen: Option<Millis>) -> Option<u64> {
    let head: Head = serde_json::from_str(row.get()).ok()?;
    if seen.is_some() && moment(&head.updated_at?) == seen { head.number } else { None }
}

/// A search gives no more, however many it finds: what comes after is found by its moment.
const MOST_OF_A_SEARCH: u64 = 1_000;

/// What a search finds.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    total_count: u64,
    #[serde(default)]
    incomplete_results: bool,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

/// What a later reading begins with.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    seen: Option<Millis>,
    /// An address whose reply was the whole reading, and that reply's tag.
    tag: Option<(String, String)>,
}

/// Of an issue, what is needed; everything else may change or be missing.
#[derive(Deserialize)]
struct Issue {
    id: u64,
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    labels: Vec<Label>,
    created_at: String,
    updated_at: String,
    state_reason: Option<String>,
    #[serde(default)]
    author_association: String,
    html_url: String,
    repository_url: Option<String>,
    parent_issue_url: Option<String>,
    #[serde(rename = "type")]
    kind: Option<IssueType>,
}

/// What tells an issue from a pull request, and names it when it cannot be read.
#[derive(Default, Deserialize)]
struct Head {
    number: Option<u64>,
    updated_at: Option<String>,
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Text(String),
    Object { name: Option<String> },
}

#[derive(Deserialize)]
struct IssueType {
    name: String,
}

impl Issues {
    pub fn new(github: GitHub, owner: &str, name: &str) -> Self {
        let base = &github.server.base;
        let host = base.host_str().filter(|host| *host != "api.github.com");
        let host = host.map(|host| match base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        });
        Self { github, owner: owner.to_owned(), name: name.to_owned(), host }
    }

    fn what(&self) -> String {
        format!("the GitHub repository {}/{}", self.owner, self.name)
    }

    /// Where a reading begins or goes on: the listing of the repository, or a search where there is a condition.
    fn address(&self, since: Option<Millis>, labels: &[String], condition: &str) -> String {
        if !condition.is_empty() {
            let query = self.query(since, labels, condition);
            let order = "sort=updated&order=asc";
            return format!(
                "{}/search/issues?{order}&per_page={PER_PAGE}&q={}",
                self.github.api,
                encode(&query)
            );
        }
        let (owner, name) = (encode(&self.owner), encode(&self.name));
        let mut address = format!(
            "{}/repos/{owner}/{name}/issues?state=all&sort=updated&direction=asc&per_page={PER_PAGE}",
            self.github.api
        );
        if let Some(since) = since {
            address.push_str(&format!("&since={}", encode(&seconds(since))));
        }
        if !labels.is_empty() {
            address.push_str(&format!("&labels={}", encode(&labels.join(","))));
        }
        address
    }

    /// The same as terms of a search.
    fn query(&self, since: Option<Millis>, labels: &[String], condition: &str) -> String {
        let mut query = format!("repo:{}/{} is:issue", self.owner, self.name);
        if let Some(since) = since {
            query.push_str(&format!(" updated:>={}", seconds(since)));
        }
        for label in labels {
            query.push_str(&format!(" label:\"{}\"", label.replace('"', "")));
        }
        if !condition.is_empty() {
            query.push_str(&format!(" {condition}"));
        }
        query
    }

    async fn ask(&self, cursor: &mut Cursor) -> Result<Reply, TrackerError> {
        let what = self.what();
        match self.github.get_unless(&what, &cursor.address, cursor.tag.as_deref()).await {
            // Past ten thousand issues, or days later, a link is no longer taken; the moment still is.
            Err(TrackerError::Refused { .. })
                if cursor.pages > 0 && cursor.fell_back != Some(cursor.seen.unwrap_or(0)) =>
            {
                cursor.fell_back = Some(cursor.seen.unwrap_or(0));
                cursor.address = self.address(cursor.seen, &cursor.labels, &cursor.condition);
                self.github.get(&what, cursor.address.clone()).await
            }
            reply => reply,
        }
    }

    fn item(&self, raw: &RawValue) -> Option<Read> {
        let head: Head = serde_json::from_str(raw.get()).unwrap_or_default();
        if head.pull_request.is_some() {
            return None;
        }
        let read: Result<Issue, _> = serde_json::from_str(raw.get());
        Some(read.map(|issue| self.normal(issue)).map_err(|error| {
            let number = head.number.map_or("?".to_owned(), |number| number.to_string());
            let name = format!("{}/{}#{number}", self.owner, self.name);
            (name, format!("the issue could not be read: {error}"))
        }))
    }

    fn normal(&self, issue: Issue) -> Item {
        let own = format!("{}/{}", self.owner, self.name);
        // A repository that has moved says so in its issues.
        let project = issue.repository_url.as_deref().and_then(repository_of).unwrap_or(own);
        let labels: Vec<String> = issue
            .labels
            .into_iter()
            .filter_map(|label| match label {
                Label::Text(name) => Some(name),
                Label::Object { name } => name,
            })
            .collect();
        let status = match issue.state.as_str() {
            "closed" if matches!(issue.state_reason.as_deref(), Some("not_planned" | "duplicate")) => {
                Status::Cancelled
            }
            "closed" => Status::Completed,
            _ if labels.iter().any(|label| under_way(label).is_some()) => Status::InProgress,
            _ => Status::Open,
        };
        let priority = labels.iter().find_map(|label| priority_of(label));
        let parent = issue.parent_issue_url.as_deref().and_then(|url| {
            let (repository, number) = url.rsplit_once("/issues/")?;
            Some(format!("github#{}#{number}", repository_of(repository)?))
        });
        let key = match &self.host {
            Some(host) => format!("github:{host}:{}", issue.id),
            None => format!("github:{}", issue.id),
        };
        Item {
            key,
            external_id: format!("github#{project}#{}", issue.number),
            platform: Platform::GitHub,
            shown: format!("#{}", issue.number),
            title: issue.title,
            body: issue.body.unwrap_or_default(),
            criteria: None,
            kind: Kind::Story,
            type_name: issue.kind.map(|kind| kind.name).unwrap_or_default(),
            status,
            priority,
            labels,
            created: moment(&issue.created_at).unwrap_or_default(),
            updated: moment(&issue.updated_at).unwrap_or_default(),
            state: match &issue.state_reason {
                Some(reason) if issue.state == "closed" => format!("closed/{reason}"),
                _ => issue.state,
            },
            is_html: false,
            by_outsider: !["", "OWNER", "MEMBER", "COLLABORATOR"]
                .contains(&issue.author_association.as_str()),
            revision: issue.updated_at,
            url: issue.html_url,
            parent: parent.map(|external_id| Parent { key: String::new(), external_id }),
            project,
            area: None,
        }
    }
}

/// `owner/name` at the end of an API address.
fn repository_of(address: &str) -> Option<String> {
    let (owner, name) = address.rsplit_once("/repos/")?.1.trim_end_matches('/').split_once('/')?;
    (!owner.is_empty() && !name.is_empty() && !name.contains('/')).then(|| format!("{owner}/{name}"))
}

/// GitHub's moments have seconds.
fn seconds(at: Millis) -> String {
    let text = clock::iso(at);
    format!("{}Z", &text[..19])
}

#[tonic::async_trait]
impl Source for Issues {
    fn first(&self, window: &Window) -> String {
        let mark: Mark = window.mark();
        let address = self.address(mark.seen.or(window.since), &window.labels, &window.condition);
        let tag = mark.tag.filter(|(of, _)| *of == address).map(|(_, tag)| tag);
        let (labels, condition) = (window.labels.clone(), window.condition.clone());
        text(&Cursor {
            address,
            seen: mark.seen.or(window.since),
            labels,
            condition,
            tag,
            pages: 0,
            fell_back: None,
            edge: Vec::new(),
        })
    }

    /// The search has a quota of its own and is asked once: a total is a courtesy.
    async fn count(&self, window: &Window) -> Result<Option<u64>, TrackerError> {
        if self.github.server.gate.closed().is_some() {
            return Ok(None);
        }
        let mark: Mark = window.mark();
        let query = self.query(mark.seen.or(window.since), &window.labels, &window.condition);
        let address = format!("{}/search/issues?per_page=1&q={}", self.github.api, encode(&query));
        let what = self.what();
        let asked = self.github.attempt(&address, None).await.and_then(|reply| {
            classify::check(&what, reply.status, &reply.headers, &reply.body)?;
            read::<Found>(&what, &reply.body)
        });
        if let Err(TrackerError::Limited(wait)) = &asked {
            self.github.server.gate.close(*wait);
        }
        asked.map(|found| Some(found.total_count))
    }

    async fn page(&self, at: &str) -> Result<Page, TrackerError> {
        let what = self.what();
        let mut cursor: Cursor = read(&what, at.as_bytes())?;
        let reply = self.ask(&mut cursor).await?;
        if reply.status == http::StatusCode::NOT_MODIFIED {
            let tag = cursor.tag.map(|tag| (cursor.address, tag));
            let end = Position::End(text(&Mark { seen: cursor.seen, tag }));
            return Ok(Page { items: Vec::new(), next: end, notes: Vec::new() });
        }
        let mut rows = if cursor.condition.is_empty() {
            read(&what, &reply.body)?
        } else {
            let found: Found = read(&what, &reply.body)?;
            if found.incomplete_results {
                let said = "its search did not finish in time; narrow it, or try again later".to_owned();
                return Err(TrackerError::Refused { what, said });
            }
            if found.total_count > MOST_OF_A_SEARCH
                && found.items.len() == PER_PAGE
                && next_page(&reply.headers, &self.github.server.base).is_none()
            {
                let said = "more issues were changed in one second than its search gives; leave out --search, --assignee and --milestone";
                return Err(TrackerError::Refused { what, said: said.to_owned() });
            }
            found.items
        };
        rows.retain(|row| !cursor.has_had(row));
        let items: Vec<Read> = rows.iter().filter_map(|row| self.item(row)).collect();
        let moments =
            rows.iter().filter_map(|row| moment(&serde_json::from_str::<Head>(row.get()).ok()?.updated_at?));
        let moments: Vec<Millis> = moments.collect();
        let (earliest, latest) = (moments.iter().min().copied(), moments.iter().max().copied());
        let seen = latest.max(cursor.seen);
        let mut edge = if seen == cursor.seen { std::mem::take(&mut cursor.edge) } else { Vec::new() };
        edge.extend(rows.iter().filter_map(|row| at_moment(row, seen)));
        edge.drain(..edge.len().saturating_sub(MOST_EDGE));
        let link = next_page(&reply.headers, &self.github.server.base);
        let pages = cursor.pages + 1;
        let next = match link {
            None => {
                let tag = reply.headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok());
                let tag = tag.filter(|_| pages == 1).map(|tag| (cursor.address, tag.to_owned()));
                Position::End(text(&Mark { seen, tag }))
            }
            Some(link) => {
                // A number of a page means other issues as soon as one before it changes. A moment does not, as
                // long as a page is not filled by one.
                let stays_true = link.contains("after=") || earliest == latest;
                let address =
                    if stays_true { link } else { self.address(seen, &cursor.labels, &cursor.condition) };
                if address == cursor.address {
                    let cause =
                        "it gives the same page again and again, so that what comes after it cannot be read";
                    return Err(TrackerError::Malformed { what, cause: cause.to_owned() });
                }
                Position::At(text(&Cursor {
                    address,
                    seen,
                    labels: cursor.labels,
                    condition: cursor.condition,
                    tag: None,
                    pages,
                    fell_back: cursor.fell_back,
                    edge,
                }))
            }
        };
        let moved = items.iter().flatten().map(|item| &item.project).find(|project| {
            reply.moved && !project.eq_ignore_ascii_case(&format!("{}/{}", self.owner, self.name))
        });
        let notes = moved.map(|to| format!("{}/{} has moved to {to}", self.owner, self.name));
        Ok(Page { items, next, notes: notes.into_iter().collect() })
    }

    async fn items(&self, _: &[String]) -> Result<Vec<Item>, TrackerError> {
        Ok(Vec::new())
    }

    fn requests(&self, items: u64) -> u64 {
        items.div_ceil(PER_PAGE as u64)
    }

    fn server(&self) -> &Server {
        &self.github.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_read_from_the_link_header() {
        let mut headers = HeaderMap::new();
        let links = "<https://h/a?page=1>; rel=\"prev\", <https://h/a?page=3>; rel=\"next\"";
        headers.insert("link", links.parse().unwrap());
        let base = Url::parse("https://own:8443/api/v3").unwrap();
        assert_eq!(next_page(&headers, &base).as_deref(), Some("https://own:8443/a?page=3"));
        headers.insert("link", "<https://h/a?page=1>; rel=\"prev\"".parse().unwrap());
        assert_eq!(next_page(&headers, &base), None);
    }
}
