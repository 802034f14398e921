//! JIRA: Cloud by its token-paged search, Data Center by the older one. Both are read in the order of ids, which
//! edits do not change, so that a place in it stays true for as long as it takes.

mod edits;
mod flavor;

pub use edits::is_cancelled;
pub use flavor::{Flavor, flavor};

use crate::markup;
use crate::model::item::{Item, Kind, Parent, Platform, Status};
use crate::net::secrets::Secrets;
use crate::trackers::server::{Ask, Scheme, Server, Session};
use crate::trackers::{
    Page, Position, Read, Source, TrackerError, Window, encode, moment, read, text, without_login,
};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use specweave_jobs::clock::Millis;
use url::Url;

/// Issues that one request gives.
const PER_PAGE: usize = 100;

/// JQL knows minutes only, and the server's clock is not ours: so much is read again.
const OVERLAP_MINUTES: i64 = 2;

/// Clocks that are further apart make another window.
const CLOCKS_APART: Millis = 60_000;

const FIELDS: &str =
    "summary,description,status,priority,issuetype,created,updated,labels,parent,project,resolution";

/// The server, as one job sees it.
pub fn server(session: &Session, secrets: &Secrets, domain: &str) -> Result<Server, TrackerError> {
    let mut base = Url::parse(domain).map_err(|error| TrackerError::Malformed {
        what: format!("JIRA's address {domain:?}"),
        cause: error.to_string(),
    })?;
    without_login(&mut base);
    let login = secrets.jira_login(&base);
    // A token without an account is a personal one of Data Center.
    let scheme = if login.as_ref().is_some_and(|login| login.user.is_empty()) {
        Scheme::Bearer
    } else {
        Scheme::Basic
    };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    Ok(Server::new(session, base, login, scheme, headers))
}

/// Issues of one project.
pub struct Issues {
    server: Server,
    key: String,
    flavor: Flavor,
    kinds: tokio::sync::OnceCell<Vec<edits::IssueKind>>,
}

/// Where a reading goes on: behind an id, and on the Cloud by a token while it is good.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Items that have changed since; `None` for all.
    since: Option<Millis>,
    labels: Vec<String>,
    #[serde(default)]
    condition: String,
    /// The server's moment when the reading began: what changed later may have been passed already.
    began: Option<Millis>,
    /// Only issues behind this id are asked for. A token belongs to that question.
    behind: u64,
    token: Option<String>,
    /// The last id that was read: it is enough when the token is no longer good.
    last: u64,
    seen: Option<Millis>,
}

/// What a later reading begins with. The flavor spares it the question.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark {
    seen: Option<Millis>,
    pub flavor: Flavor,
}

impl Mark {
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    issues: Vec<Box<RawValue>>,
    next_page_token: Option<String>,
    total: Option<u64>,
}

/// Enough of an issue to name it when it cannot be read.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    id: String,
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Issue {
    id: String,
    key: String,
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    summary: String,
    #[serde(default)]
    description: Value,
    status: Option<State>,
    priority: Option<Named>,
    issuetype: Option<IssueType>,
    created: String,
    updated: String,
    #[serde(default)]
    labels: Vec<String>,
    parent: Option<Head>,
    project: Option<Project>,
    resolution: Option<Named>,
    /// Fields whose names differ from server to server.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status_category: Category,
}

#[derive(Default, Deserialize)]
struct Category {
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssueType {
    name: String,
    hierarchy_level: Option<i64>,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

impl Issues {
    pub fn new(server: Server, key: &str, flavor: Flavor) -> Self {
        Self { server, key: key.to_owned(), flavor, kinds: tokio::sync::OnceCell::new() }
    }

    fn what(&self) -> String {
        format!("the JIRA project {}", self.key)
    }

    /// The condition as of now: so many minutes before now mean another moment with every request.
    fn jql(&self, since: Option<Millis>, labels: &[String], condition: &str) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut jql = format!("project = {}", quoted(&self.key));
        if let Some(since) = since {
            // They mean the same in every time zone.
            let minutes = (self.server.now().0 - since).max(0) / 60_000 + 1 + OVERLAP_MINUTES;
            jql.push_str(&format!(" AND updated >= -{minutes}m"));
        }
        for label in labels {
            jql.push_str(&format!(" AND labels = {}", quoted(label)));
        }
        if !condition.is_empty() {
            jql.push_str(&format!(" AND {condition}"));
        }
        jql
    }

    fn since(window: &Window) -> Option<Millis> {
        window.mark.as_deref().and_then(Mark::read).and_then(|mark| mark.seen).or(window.since)
    }

    async fn search(
        &self,
        jql: &str,
        behind: u64,
        token: Option<&str>,
        most: usize,
    ) -> Result<Found, TrackerError> {
        let what = self.what();
        let mut fields = FIELDS.to_owned();
        if let Flavor::DataCenter { epic_link: Some(link), .. } = &self.flavor {
            fields.push_str(&format!(",{link}"));
        }
        let path = match self.flavor {
            Flavor::Cloud => "rest/api/3/search/jql",
            Flavor::DataCenter { .. } => "rest/api/2/search",
        };
        let condition = if behind > 0 { format!(" AND id > {behind}") } else { String::new() };
        let jql = format!("{jql}{condition} ORDER BY id ASC");
        let mut address = self.server.address(path)?;
        let mut query = format!("jql={}&maxResults={most}&fields={fields}", encode(&jql));
        if let Some(token) = token {
            query.push_str(&format!("&nextPageToken={}", encode(token)));
        }
        address.set_query(Some(&query));
        let reply = self.server.ask(Ask::get(&what, address)).await.map_err(|error| match error {
            TrackerError::Refused { said, .. } if said.contains("does not exist for the field 'project'") => {
                TrackerError::NotFound(what.clone())
            }
            error => error,
        })?;
        read(&what, &reply.body)
    }

    /// All issues of a condition that few fit, however short the pages are.
    async fn all(&self, jql: &str) -> Result<Vec<Item>, TrackerError> {
        let (mut items, mut token) = (Vec::new(), None);
        loop {
            let found = self.search(jql, 0, token.as_deref(), PER_PAGE).await?;
            items.extend(found.issues.iter().filter_map(|row| self.item(row).ok()));
            match found.next_page_token {
                next @ Some(_) if next != token => token = next,
                _ => return Ok(items),
            }
        }
    }

    fn item(&self, raw: &RawValue) -> Read {
        let read: Result<Issue, _> = serde_json::from_str(raw.get());
        read.map(|issue| self.normal(issue)).map_err(|error| {
            let head: Head = serde_json::from_str(raw.get()).unwrap_or_default();
            (head.key, format!("the issue could not be read: {error}"))
        })
    }

    fn normal(&self, issue: Issue) -> Item {
        let fields = issue.fields;
        let type_name = fields.issuetype.as_ref().map_or("", |kind| &kind.name).to_owned();
        let level = fields.issuetype.as_ref().and_then(|kind| kind.hierarchy_level);
        let kind = if level.map_or_else(|| is_feature(&type_name), |level| level > 0) {
            Kind::Feature
        } else {
            Kind::Story
        };
        let (state, category) =
            fields.status.map_or_else(Default::default, |status| (status.name, status.status_category.key));
        let status = match category.as_str() {
            "indeterminate" => Status::InProgress,
            // A resolution says more than the name of a status, which may be "Done" all the same.
            "done" => match &fields.resolution {
                Some(resolution) if is_cancelled(&resolution.name) => Status::Cancelled,
                _ if is_cancelled(&state) => Status::Cancelled,
                _ => Status::Completed,
            },
            _ => Status::Open,
        };
        let priority = fields.priority.and_then(|priority| {
            ["highest", "high", "medium", "low", "lowest"]
                .iter()
                .position(|name| priority.name.eq_ignore_ascii_case(name))
                .map(|place| place as u8)
        });
        let epic = match &self.flavor {
            Flavor::DataCenter { epic_link: Some(link), .. } => {
                fields.others.get(link).and_then(Value::as_str)
            }
            _ => None,
        };
        let parent = match (fields.parent, epic) {
            (Some(parent), _) => Some(Parent {
                key: if parent.id.is_empty() { String::new() } else { self.item_key(&parent.id) },
                external_id: format!("JIRA-{}", parent.key),
            }),
            (None, Some(epic)) => Some(Parent { key: String::new(), external_id: format!("JIRA-{epic}") }),
            (None, None) => None,
        };
        let body = match &self.flavor {
            Flavor::Cloud => markup::from_adf(&fields.description),
            Flavor::DataCenter { .. } => markup::from_wiki(fields.description.as_str().unwrap_or("")),
        };
        let base = self.server.base.as_str().trim_end_matches('/');
        Item {
            key: self.item_key(&issue.id),
            external_id: format!("JIRA-{}", issue.key),
            platform: Platform::Jira,
            shown: issue.key.clone(),
            title: fields.summary,
            body,
            criteria: None,
            kind,
            type_name,
            status,
            priority,
            labels: fields.labels,
            created: moment(&fields.created).unwrap_or_default(),
            updated: moment(&fields.updated).unwrap_or_default(),
            state,
            by_outsider: false,
            is_html: false,
            revision: fields.updated,
            url: format!("{base}/browse/{}", issue.key),
            parent,
            project: fields.project.map_or_else(|| self.key.clone(), |project| project.key),
            area: None,
        }
    }

    fn item_key(&self, id: &str) -> String {
        let base =
            self.server.base.as_str().split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
        format!("jira:{base}:{id}")
    }
}

/// Whether issues of a type have stories below them, where the server tells no level. "New Feature" is a story like others.
fn is_feature(type_name: &str) -> bool {
    let name = type_name.to_lowercase();
    name.contains("epic") || ["feature", "capability", "initiative", "l2", "l3"].contains(&name.trim())
}

/// The greatest id of what was found: pages come in the order of ids.
fn last_id(found: &Found) -> Option<u64> {
    let heads = found.issues.iter().map(|row| serde_json::from_str::<Head>(row.get()).unwrap_or_default());
    heads.filter_map(|head| head.id.parse().ok()).max()
}

#[tonic::async_trait]
impl Source for Issues {
    fn first(&self, window: &Window) -> String {
        let since = Self::since(window);
        let (labels, condition) = (window.labels.clone(), window.condition.clone());
        text(&Cursor { since, labels, condition, began: None, behind: 0, token: None, last: 0, seen: since })
    }

    async fn count(&self, window: &Window) -> Result<Option<u64>, TrackerError> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let jql = self.jql(Self::since(window), &window.labels, &window.condition);
        if self.flavor != Flavor::Cloud {
            return Ok(self.search(&jql, 0, None, 0).await?.total);
        }
        let what = self.what();
        let address = self.server.address("rest/api/3/search/approximate-count")?;
        let reply = self.server.ask(Ask::post(&what, address, &json!({"jql": jql}))).await?;
        Ok(Some(read::<Count>(&what, &reply.body)?.count))
    }

    async fn page(&self, at: &str) -> Result<Page, TrackerError> {
        let Cursor { since, labels, condition, began, mut behind, token, last, seen } =
            read(&self.what(), at.as_bytes())?;
        let (asked_at, knew_clock) = self.server.now();
        let jql = self.jql(since, &labels, &condition);
        let mut found = match self.search(&jql, behind, token.as_deref(), PER_PAGE).await {
            Err(TrackerError::Refused { .. }) if token.is_some() => {
                behind = last;
                self.search(&jql, behind, None, PER_PAGE).await?
            }
            found => found?,
        };
        if token.is_some() && last_id(&found).is_some_and(|found| found <= last) {
            // The token leads back to what was read already: what comes next is asked for by its id.
            behind = last;
            found = self.search(&jql, behind, None, PER_PAGE).await?;
        }
        let (now, _) = self.server.now();
        if since.is_some() && !knew_clock && now - asked_at > CLOCKS_APART {
            // The server is ahead: what it took for the window began too late.
            found = self.search(&self.jql(since, &labels, &condition), behind, None, PER_PAGE).await?;
        }
        let began = began.unwrap_or(asked_at.min(now));
        let rows = found.issues.len();
        if let Some(total) = found.total.filter(|total| rows == 0 && *total > 0) {
            let cause = format!("it counts {total} more and gives none of them");
            return Err(TrackerError::Malformed { what: self.what(), cause });
        }
        let last = last_id(&found).unwrap_or(0).max(last);
        let items: Vec<Read> = found.issues.iter().map(|row| self.item(row)).collect();
        let seen = items.iter().flatten().map(|item| item.updated).max().max(seen);
        let next = match (&self.flavor, found.next_page_token) {
            // A window that moves is read by id: a token would belong to another one.
            (Flavor::Cloud, Some(_)) if since.is_some() && rows > 0 => Some((last, None)),
            // A short page is not the last one; the last one has no token.
            (Flavor::Cloud, next @ Some(_)) if since.is_none() && next != token => Some((behind, next)),
            // One that leads to itself: behind the last id, as long as something new comes.
            (Flavor::Cloud, Some(_)) if since.is_none() && rows > 0 => Some((last, None)),
            (Flavor::DataCenter { .. }, _)
                if rows > 0 && found.total.is_none_or(|total| total > rows as u64) =>
            {
                Some((last, None))
            }
            _ => None,
        };
        let next = match next {
            Some((behind, token)) => {
                let began = Some(began);
                Position::At(text(&Cursor { since, labels, condition, began, behind, token, last, seen }))
            }
            None => {
                let seen = seen.map(|seen| seen.min(began));
                Position::End(text(&Mark { seen, flavor: self.flavor.clone() }))
            }
        };
        Ok(Page { items, next, notes: Vec::new() })
    }

    async fn items(&self, keys: &[String]) -> Result<Vec<Item>, TrackerError> {
        let mut items = Vec::new();
        for some in keys.chunks(50) {
            let names: Vec<String> = some
                .iter()
                .filter_map(|key| key.strip_prefix("JIRA-").or(key.rsplit_once(':').map(|(_, id)| id)))
                .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
                .map(str::to_owned)
                .collect();
            if names.is_empty() {
                continue;
            }
            // A key that is not there any more makes the whole question fail: then they are asked for one by one.
            match self.all(&format!("issuekey in ({})", names.join(", "))).await {
                Ok(found) => items.extend(found),
                Err(TrackerError::Refused { .. }) => {
                    for name in names {
                        match self.all(&format!("issuekey = {name}")).await {
                            Ok(found) => items.extend(found),
                            Err(TrackerError::Refused { .. } | TrackerError::NotFound(_)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn requests(&self, items: u64) -> u64 {
        items.div_ceil(PER_PAGE as u64)
    }

    fn server(&self) -> &Server {
        &self.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_feature_is_a_story_and_an_epic_of_any_name_is_not() {
        for name in ["Epic", "Business Epic", "Feature", "Capability"] {
            assert!(is_feature(name), "{name}");
        }
        for name in ["New Feature", "Story", "Task", "Feature Request", ""] {
            assert!(!is_feature(name), "{name}");
        }
    }
}
