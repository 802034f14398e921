//! Azure DevOps, through its REST API: repositories, and work items by their feed of revisions or by query.

mod edits;
mod repositories;

pub use repositories::repositories;

use crate::markup;
use crate::model::item::{Item, Kind, Parent, Platform, Status};
use crate::model::text::after_list_marker;
use crate::net::secrets::Secrets;
use crate::trackers::server::{Ask, Reply, Scheme, Server, Session};
use crate::trackers::{
    MOST_PAGES, Page, Position, Read, Source, TrackerError, Window, encode, moment, read, text, without_login,
};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use specweave_jobs::clock::{self, Millis};
use std::collections::BTreeMap;
use url::Url;

/// The server of an organisation, as one job sees it.
pub fn server(session: &Session, secrets: &Secrets, org: &str) -> Result<Server, TrackerError> {
    let set = secrets.setting("AZURE_DEVOPS_ORG_URL").map(|base| base.trim_end_matches('/'));
    // An address is that of one organisation; another's is the cloud's.
    let is_of = |base: &str| org.is_empty() || base.to_lowercase().contains(&org.to_lowercase());
    let base = match set.filter(|base| is_of(base)) {
        Some(base) => base.to_owned(),
        None => format!("https://dev.azure.com/{}", encode(org)),
    };
    let mut base = Url::parse(&base)
        .map_err(|error| TrackerError::Malformed { what: base.clone(), cause: error.to_string() })?;
    without_login(&mut base);
    let login = secrets.ado_login(&base);
    let mut headers = HeaderMap::new();
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    // A bad token is to be an error, not a page for people.
    headers.insert("x-tfs-fedauthredirect", HeaderValue::from_static("Suppress"));
    Ok(Server::new(session, base, login, Scheme::Basic, headers))
}

/// Work items of one project.
pub struct WorkItems {
    server: Server,
    project: String,
    /// The types that the project has, once they were asked for.
    types: tokio::sync::OnceCell<Vec<edits::Named>>,
    /// An older server takes no Markdown.
    html_only: std::sync::atomic::AtomicBool,
}

/// Revisions that one reply of the feed gives, and items that a batch does.
const PER_PAGE: usize = 200;

/// Clocks and moments of a query need not agree to the second: so much is read again.
const OVERLAP: Millis = 120_000;

/// A query of more is refused.
const MOST_OF_A_QUERY: usize = 19_999;

/// Where a reading goes on: in the feed, or past an id where the feed may not be read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cursor {
    Feed {
        token: Option<String>,
        since: Option<Millis>,
        seen: Option<Millis>,
    },
    Query {
        after: u64,
        since: Option<Millis>,
        seen: Option<Millis>,
        /// The server's moment when the reading began: what changed later may have been passed already.
        began: Option<Millis>,
        /// The feed knows none.
        #[serde(default)]
        condition: String,
    },
}

/// What a later reading begins with.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    token: Option<String>,
    seen: Option<Millis>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revisions {
    values: Vec<Box<RawValue>>,
    continuation_token: Option<String>,
    #[serde(default)]
    is_last_batch: bool,
}

/// What an answer to a query or a batch holds; an item that may not be seen is null.
#[derive(Deserialize)]
struct Batch {
    value: Vec<Option<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    work_items: Vec<Id>,
}

#[derive(Default, Deserialize)]
struct Id {
    #[serde(default)]
    id: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkItem {
    id: u64,
    #[serde(default)]
    rev: u64,
    fields: Map<String, Value>,
    /// Says of a field when it is Markdown and not HTML.
    #[serde(default)]
    multiline_fields_format: Map<String, Value>,
}

/// Fields whose text may be in either format.
const TEXTS: [&str; 3] =
    ["System.Description", "Microsoft.VSTS.TCM.ReproSteps", "Microsoft.VSTS.Common.AcceptanceCriteria"];

impl WorkItem {
    /// The format of a field, where the server tells it.
    fn format(&self, name: &str) -> Option<&str> {
        self.multiline_fields_format.get(name).and_then(Value::as_str)
    }

    /// Whether a text of it may be Markdown as well as HTML, and nobody has said which.
    fn is_of_either_format(&self) -> bool {
        TEXTS.iter().filter(|name| self.format(name).is_none()).any(|name| {
            let text = self.fields.get(*name).and_then(Value::as_str).unwrap_or("");
            looks_like_html(text) && looks_like_markdown(text)
        })
    }
}

/// What Azure DevOps' editor writes as HTML has elements or entities.
fn looks_like_html(text: &str) -> bool {
    let signs = ["</", "<br", "<p>", "<div", "&nbsp;", "&lt;", "&gt;", "&amp;", "&quot;"];
    signs.iter().any(|sign| text.contains(sign))
}

/// Whether a text has what HTML has no use for: marks at the beginning of a line, or pairs of them within one.
fn looks_like_markdown(text: &str) -> bool {
    let is_block = |line: &str| {
        let line = line.trim_start();
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len() && heading.starts_with(' '))
            || line.starts_with("```")
            || line.starts_with("> ")
            || after_list_marker(line).is_some()
    };
    ["**", "`", "]("].iter().any(|sign| text.contains(sign)) || text.lines().any(is_block)
}

/// Kinds that are no work: they belong to test plans and reviews.
const NO_WORK: [&str; 8] = [
    "Test Case",
    "Test Plan",
    "Test Suite",
    "Shared Steps",
    "Shared Parameter",
    "Code Review Request",
    "Code Review Response",
    "Feedback Request",
];

impl WorkItems {
    pub fn new(server: Server, project: &str) -> Self {
        let (types, html_only) = Default::default();
        Self { server, project: project.to_owned(), types, html_only }
    }

    fn what(&self) -> String {
        format!("the Azure DevOps project {}", self.project)
    }

    async fn feed(&self, token: Option<&str>, since: Option<Millis>) -> Result<Reply, TrackerError> {
        let path = format!("{}/_apis/wit/reporting/workitemrevisions", encode(&self.project));
        let mut address = self.server.address(&path)?;
        address
            .query_pairs_mut()
            .append_pair("includeLatestOnly", "true")
            .append_pair("includeDeleted", "true")
            .append_pair("$expand", "fields")
            .append_pair("$maxPageSize", &PER_PAGE.to_string())
            .append_pair("api-version", "7.1");
        if let Some(token) = token {
            address.query_pairs_mut().append_pair("continuationToken", token);
        } else if let Some(since) = since {
            address.query_pairs_mut().append_pair("startDateTime", &clock::iso(since));
        }
        self.server.ask(Ask::get(&self.what(), address)).await
    }

    /// The ids past `after`, in order.
    async fn query(
        &self,
        after: u64,
        since: Option<Millis>,
        top: usize,
        condition: &str,
    ) -> Result<Vec<u64>, TrackerError> {
        let what = self.what();
        let path =
            format!("{}/_apis/wit/wiql?$top={top}&timePrecision=true&api-version=7.1", encode(&self.project));
        let mut query = format!(
            "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project AND [System.Id] > {after}"
        );
        if let Some(since) = since {
            query.push_str(&format!(" AND [System.ChangedDate] >= '{}'", clock::iso(since)));
        }
        if !condition.is_empty() {
            query.push_str(&format!(" AND {condition}"));
        }
        query.push_str(" ORDER BY [System.Id]");
        let reply =
            self.server.ask(Ask::post(&what, self.server.address(&path)?, &json!({"query": query}))).await?;
        let found: Found = read(&what, &reply.body)?;
        Ok(found.work_items.into_iter().map(|found| found.id).collect())
    }

    async fn batch(&self, ids: &[u64]) -> Result<Vec<Box<RawValue>>, TrackerError> {
        let what = self.what();
        let path = format!("{}/_apis/wit/workitemsbatch?api-version=7.1", encode(&self.project));
        let body = json!({"ids": ids, "$expand": "fields", "errorPolicy": "omit"});
        let reply = self.server.ask(Ask::post(&what, self.server.address(&path)?, &body)).await?;
        let batch: Batch = read(&what, &reply.body)?;
        Ok(batch.value.into_iter().flatten().collect())
    }

    fn item(&self, raw: &RawValue) -> Option<Read> {
        let read: Result<WorkItem, _> = serde_json::from_str(raw.get());
        let unreadable = |why: String| {
            let id = serde_json::from_str::<Id>(raw.get()).unwrap_or_default().id;
            Some(Err((format!("{}#{id}", self.project), format!("the work item could not be read: {why}"))))
        };
        match read {
            Err(error) => unreadable(error.to_string()),
            Ok(work_item) => match self.normal(&work_item) {
                Some(item) if NO_WORK.contains(&item.type_name.as_str()) => None,
                Some(item) => Some(Ok(item)),
                // What was deleted and never seen has no more than its number.
                None if is_deleted(&work_item.fields) => None,
                None => unreadable("it has no title".into()),
            },
        }
    }

    fn normal(&self, work_item: &WorkItem) -> Option<Item> {
        let fields = &work_item.fields;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("");
        let number = |name: &str| fields.get(name).and_then(Value::as_f64);
        let type_name = text("System.WorkItemType").to_owned();
        let has_marker =
            text("System.Tags").split(';').any(|tag| tag.trim().starts_with(crate::model::item::MARKER));
        let is_markdown = |name: &str| match work_item.format(name) {
            Some(format) => format.eq_ignore_ascii_case("markdown"),
            None if text(name).trim_start().starts_with('<') => false,
            None => has_marker || !looks_like_html(text(name)),
        };
        let as_markdown = |name: &str| {
            if is_markdown(name) { text(name).to_owned() } else { markup::from_html(text(name)) }
        };
        let body = match as_markdown("System.Description") {
            body if body.trim().is_empty() => as_markdown("Microsoft.VSTS.TCM.ReproSteps"),
            body => body,
        };
        let kind = match type_name.as_str() {
            "Epic" | "Feature" | "Capability" => Kind::Feature,
            "Task" => Kind::Step,
            _ => Kind::Story,
        };
        let state = text("System.State");
        let status = match (self.meaning(&type_name, state), state.to_lowercase().as_str()) {
            _ if is_deleted(fields) => Status::Removed,
            (Some(status), _) => status,
            (None, "removed") => Status::Removed,
            (None, "active" | "in progress" | "committed" | "doing") => Status::InProgress,
            (None, "closed" | "done" | "resolved" | "completed") => Status::Completed,
            (None, _) => Status::Open,
        };
        let priority = number("Microsoft.VSTS.Common.Priority").map(|priority| match priority as i64 {
            first @ 1..=4 => first as u8 - 1,
            _ => 4,
        });
        let criteria = as_markdown("Microsoft.VSTS.Common.AcceptanceCriteria");
        let parent = number("System.Parent").map(|id| id as u64);
        let title = text("System.Title").to_owned();
        let organisation = self.server.base.as_str().trim_end_matches('/');
        (!title.is_empty()).then(|| Item {
            key: self.key(work_item.id),
            external_id: format!("ADO-{}", work_item.id),
            platform: Platform::Ado,
            shown: format!("#{}", work_item.id),
            title,
            body,
            criteria: (!criteria.trim().is_empty()).then_some(criteria),
            kind,
            type_name,
            status,
            priority,
            labels: text("System.Tags")
                .split(';')
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
            created: moment(text("System.CreatedDate")).unwrap_or_default(),
            updated: moment(text("System.ChangedDate")).unwrap_or_default(),
            state: text("System.State").to_owned(),
            by_outsider: false,
            is_html: !is_markdown("System.Description") && !text("System.Description").is_empty(),
            revision: work_item.rev.to_string(),
            url: format!("{organisation}/{}/_workitems/edit/{}", encode(&self.project), work_item.id),
            parent: parent.map(|id| Parent { key: self.key(id), external_id: format!("ADO-{id}") }),
            project: self.project.clone(),
            area: Some(text("System.AreaPath").to_owned()).filter(|area| !area.is_empty()),
        })
    }

    /// An organisation has several addresses, and one name.
    fn key(&self, id: u64) -> String {
        let base = &self.server.base;
        let host = base.host_str().unwrap_or("");
        let path = base.path().trim_matches('/').to_lowercase();
        let org = match (host, host.strip_suffix(".visualstudio.com")) {
            ("dev.azure.com", _) => path,
            (_, Some(org)) => org.to_owned(),
            _ => format!("{host}:{}/{path}", base.port_or_known_default().unwrap_or(0)),
        };
        format!("ado:{org}:{id}")
    }

    /// A project calls its states as it likes: what they mean is asked for before the first item is read. Where the server
    /// does not tell, the usual names count.
    async fn learn_types(&self, is_needed: bool) -> Result<(), TrackerError> {
        if !is_needed {
            return Ok(());
        }
        match self.known_types().await {
            Err(error @ (TrackerError::Cancelled | TrackerError::Limited(_) | TrackerError::Network(_))) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The feed does not tell in which format a text is. Where its words fit both, the work item itself is asked.
    async fn learn_formats(&self, rows: &mut [Box<RawValue>]) -> Result<(), TrackerError> {
        let untold = |row: &RawValue| {
            let work_item: WorkItem = serde_json::from_str(row.get()).ok()?;
            work_item.is_of_either_format().then_some(work_item.id)
        };
        let places = rows.iter().enumerate().filter_map(|(place, row)| Some((untold(row)?, place)));
        let places: BTreeMap<u64, usize> = places.collect();
        let ids: Vec<u64> = places.keys().copied().collect();
        for some in ids.chunks(PER_PAGE) {
            for told in self.batch(some).await? {
                let id = serde_json::from_str::<Id>(told.get()).unwrap_or_default().id;
                if let Some(place) = places.get(&id) {
                    rows[*place] = told;
                }
            }
        }
        Ok(())
    }

    fn page_of(&self, rows: &[Box<RawValue>]) -> (Vec<Read>, Option<Millis>) {
        let items: Vec<Read> = rows.iter().filter_map(|row| self.item(row)).collect();
        let latest = items.iter().flatten().map(|item| item.updated).max();
        (items, latest)
    }
}

fn is_deleted(fields: &Map<String, Value>) -> bool {
    fields
        .get("System.IsDeleted")
        .is_some_and(|deleted| deleted == true || deleted == "True" || deleted == "true")
}

#[tonic::async_trait]
impl Source for WorkItems {
    fn first(&self, window: &Window) -> String {
        let mark: Mark = window.mark();
        let since = mark.seen.or(window.since);
        let condition = window.condition.clone();
        text(&match (mark.token, window.mark.is_some()) {
            // An earlier reading that had no token could not read the feed.
            (None, true) => Cursor::Query { after: 0, since, seen: since, began: None, condition },
            _ if !condition.is_empty() => {
                Cursor::Query { after: 0, since, seen: since, began: None, condition }
            }
            (token, _) => Cursor::Feed { token, since, seen: since },
        })
    }

    async fn count(&self, window: &Window) -> Result<Option<u64>, TrackerError> {
        let mark: Mark = window.mark();
        let (mut after, mut count) = (0, 0);
        // A query gives so many ids and no more; the last of them is where the next goes on.
        for _ in 0..MOST_PAGES {
            let ids =
                self.query(after, mark.seen.or(window.since), MOST_OF_A_QUERY, &window.condition).await?;
            count += ids.len() as u64;
            match ids.last() {
                Some(last) if ids.len() == MOST_OF_A_QUERY => after = *last,
                _ => return Ok(Some(count)),
            }
        }
        Ok(None)
    }

    async fn page(&self, at: &str) -> Result<Page, TrackerError> {
        let what = self.what();
        let page = |(items, next)| Page { items, next, notes: Vec::new() };
        let (after, since, seen, began, condition, first) = match read(&what, at.as_bytes())? {
            Cursor::Query { after, since, seen, began, condition } => {
                (after, since, seen, began, condition, false)
            }
            Cursor::Feed { token, since, seen } => match self.feed(token.as_deref(), since).await {
                Ok(reply) => {
                    let mut revisions: Revisions = read(&what, &reply.body)?;
                    self.learn_types(!revisions.values.is_empty()).await?;
                    self.learn_formats(&mut revisions.values).await?;
                    let (items, latest) = self.page_of(&revisions.values);
                    let stands_still = revisions.values.is_empty() && revisions.continuation_token == token;
                    let (token, seen) = (revisions.continuation_token.or(token), latest.max(seen));
                    let next = if revisions.is_last_batch || stands_still {
                        Position::End(text(&Mark { token, seen }))
                    } else {
                        Position::At(text(&Cursor::Feed { token, since, seen }))
                    };
                    return Ok(page((items, next)));
                }
                // Older servers have no feed, and a token may be too narrow for it.
                Err(
                    TrackerError::NotFound(_)
                    | TrackerError::Auth(_)
                    | TrackerError::Forbidden { .. }
                    | TrackerError::Status { .. },
                ) if token.is_none() => (0, since, seen, None, String::new(), true),
                // A token that has grown too old is refused; what has changed since the last moment is not.
                Err(TrackerError::Refused { .. }) if token.is_some() => {
                    let next = Position::At(text(&Cursor::Feed { token: None, since: seen, seen }));
                    return Ok(page((Vec::new(), next)));
                }
                Err(error) => return Err(error),
            },
        };
        let asked_at = self.server.now().0;
        let ids = self.query(after, since, PER_PAGE, &condition).await?;
        let began = began.unwrap_or(asked_at.min(self.server.now().0));
        let rows = if ids.is_empty() { Vec::new() } else { self.batch(&ids).await? };
        self.learn_types(!rows.is_empty()).await?;
        let (items, latest) = self.page_of(&rows);
        let seen = latest.max(seen);
        let next = match ids.last() {
            Some(last) if ids.len() == PER_PAGE => {
                let began = Some(began);
                Position::At(text(&Cursor::Query { after: *last, since, seen, began, condition }))
            }
            _ => Position::End(text(&Mark { token: None, seen: seen.map(|seen| seen.min(began - OVERLAP)) })),
        };
        let mut notes = Vec::new();
        if first {
            notes.push("the feed of revisions could not be read; asking by query instead".to_owned());
        }
        if rows.len() < ids.len() {
            let unseen = ids.len() - rows.len();
            notes.push(format!("{unseen} of {} work items may not be read with this token", ids.len()));
        }
        Ok(Page { items, next, notes })
    }

    async fn items(&self, keys: &[String]) -> Result<Vec<Item>, TrackerError> {
        let ids: Vec<u64> = keys.iter().filter_map(|key| key.rsplit_once(':')?.1.parse().ok()).collect();
        let mut items = Vec::new();
        for some in ids.chunks(PER_PAGE) {
            let rows = self.batch(some).await?;
            items.extend(rows.iter().filter_map(|row| self.item(row)).flatten());
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
