//! Work items that are made and changed. Each change is conditional on the revision that was read: here nothing can be
//! overwritten that was not seen.

use crate::markup;
use crate::model::issue_text;
use crate::model::item::{Item, Status};
use crate::trackers::ado::WorkItems;
use crate::trackers::edits::{
    Category, Change, Draft, Editor, Group, Updated, WriteError, WritePace, no_such_box, shown_by,
};
use crate::trackers::server::{Ask, Reply};
use crate::trackers::{TrackerError, encode, read, unless_gone};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use specweave_jobs::clock::Millis;
use std::sync::atomic::Ordering;

/// Types for a story and for what holds stories, in whatever process: first choice first.
const STORIES: [&str; 4] = ["User Story", "Product Backlog Item", "Requirement", "Issue"];
const GROUPS: [&str; 2] = ["Feature", "Epic"];

const DESCRIPTION: &str = "System.Description";

#[derive(Deserialize)]
struct Listed<T> {
    value: Vec<T>,
}

#[derive(Deserialize)]
pub struct Named {
    name: String,
    /// `Proposed`, `InProgress`, `Resolved`, `Completed`, `Removed`; of a state alone.
    #[serde(default)]
    category: String,
    /// Of a type alone.
    #[serde(default)]
    states: Vec<Named>,
}

impl WorkItems {
    async fn list(&self, path: &str) -> Result<Vec<Named>, TrackerError> {
        let what = self.what();
        let path = format!("{}/_apis/wit/{path}?api-version=7.1", encode(&self.project));
        let reply = self.server.ask(Ask::get(&what, self.server.address(&path)?)).await?;
        Ok(read::<Listed<Named>>(&what, &reply.body)?.value)
    }

    /// The types of the project, with their states; asked for once.
    pub(super) async fn known_types(&self) -> Result<&[Named], TrackerError> {
        self.types.get_or_try_init(|| self.list("workitemtypes")).await.map(Vec::as_slice)
    }

    /// What a state of a type means, once the types are known: a project may call its states as it likes.
    pub(super) fn meaning(&self, kind: &str, state: &str) -> Option<Status> {
        let kind = self.types.get()?.iter().find(|known| known.name == kind)?;
        let state = kind.states.iter().find(|known| known.name == state)?;
        Some(match state.category.as_str() {
            "InProgress" => Status::InProgress,
            "Resolved" | "Completed" => Status::Completed,
            "Removed" => Status::Removed,
            _ => Status::Open,
        })
    }

    /// The type that this project has for a story, or for what holds stories.
    async fn type_for(&self, is_group: bool) -> Result<String, TrackerError> {
        let types = self.known_types().await?;
        let wanted = if is_group { &GROUPS[..] } else { &STORIES[..] };
        let found = wanted.iter().find(|name| types.iter().any(|known| known.name == **name));
        found.map(|name| (*name).to_owned()).ok_or_else(|| TrackerError::Refused {
            what: self.what(),
            said: format!("it has no work item type among {}", wanted.join(", ")),
        })
    }

    /// The state of a type that means so.
    async fn state_for(&self, kind: &str, category: Category) -> Result<String, TrackerError> {
        let types = self.known_types().await?;
        let states = types.iter().find(|known| known.name == kind).map_or(&[][..], |known| &known.states);
        let wanted: &[&str] = match category {
            Category::Open => &["Proposed"],
            Category::InProgress => &["InProgress"],
            Category::Completed => &["Completed", "Resolved"],
            Category::Cancelled => &["Removed", "Completed"],
        };
        let find = |category: &&str| states.iter().find(|state| state.category == **category);
        let found = wanted.iter().find_map(find).map(|state| state.name.clone());
        found.ok_or_else(|| TrackerError::Refused {
            what: self.what(),
            said: format!("{kind} has no state of the category {}", wanted[0]),
        })
    }

    async fn patch(&self, method: Method, path: &str, patch: &[Value]) -> Result<Reply, WriteError> {
        let path = format!("{}/_apis/wit/{path}?api-version=7.1", encode(&self.project));
        let address = self.server.address(&path).map_err(WriteError::Refused)?;
        let what = self.what();
        let mut ask = Ask::post(&what, address, &json!(patch)).by(method);
        ask.headers
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json-patch+json"));
        self.server.send_once(ask).await
    }

    /// A text for a field, in Markdown where the server knows it.
    fn described(&self, text: &str, is_markdown: bool) -> Vec<Value> {
        let path = format!("/fields/{DESCRIPTION}");
        if is_markdown {
            vec![
                json!({"op": "add", "path": path, "value": text}),
                json!({"op": "add", "path": format!("/multilineFieldsFormat/{DESCRIPTION}"), "value": "Markdown"}),
            ]
        } else {
            vec![json!({"op": "add", "path": path, "value": markup::to_html(text)})]
        }
    }

    fn knows_markdown(&self) -> bool {
        !self.html_only.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl Editor for WorkItems {
    async fn identity(&self) -> Result<String, TrackerError> {
        #[derive(Deserialize)]
        struct Project {
            id: String,
        }
        let what = self.what();
        let path = format!("_apis/projects/{}?api-version=7.1", encode(&self.project));
        let reply = self.server.ask(Ask::get(&what, self.server.address(&path)?)).await?;
        // From here on states are read by what they mean.
        self.known_types().await?;
        Ok(format!("ado:project:{}", read::<Project>(&what, &reply.body)?.id))
    }

    async fn current(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        let what = format!("work item {reference}");
        let path = format!(
            "{}/_apis/wit/workitems/{}?$expand=fields&api-version=7.1",
            encode(&self.project),
            encode(reference)
        );
        let asked = self.server.ask(Ask::get(&what, self.server.address(&path)?)).await;
        let Some(reply) = unless_gone(asked)? else { return Ok(None) };
        let raw: Box<serde_json::value::RawValue> = read(&what, &reply.body)?;
        self.item(&raw).transpose().map_err(|(_, cause)| TrackerError::Malformed { what, cause })
    }

    async fn marked(&self, marker: &str, _: Millis) -> Result<Vec<Item>, TrackerError> {
        let condition = format!("[System.Tags] CONTAINS '{marker}'");
        let ids = self.query(0, None, super::PER_PAGE, &condition).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.batch(&ids).await?;
        let items = rows.iter().filter_map(|row| self.item(row)).flatten();
        Ok(items.filter(|item| item.marker() == Some(marker)).collect())
    }

    async fn create(&self, draft: &Draft) -> Result<String, WriteError> {
        #[derive(Deserialize)]
        struct Made {
            id: u64,
        }
        let kind = self.type_for(draft.is_group).await.map_err(WriteError::Refused)?;
        let set = |name: &str, value: Value| json!({"op": "add", "path": format!("/fields/{name}"), "value": value});
        loop {
            let is_markdown = self.knows_markdown();
            let mut patch = vec![set("System.Title", json!(draft.title))];
            if !draft.body.is_empty() {
                patch.extend(self.described(&draft.body, is_markdown));
            }
            patch.push(set("System.Tags", json!(draft.labels.join("; "))));
            if let Some(priority) = draft.priority {
                patch.push(set("Microsoft.VSTS.Common.Priority", json!(u32::from(priority.min(3)) + 1)));
            }
            if let Some(group) = &draft.group {
                let base = self.server.base.as_str().trim_end_matches('/');
                let url = format!("{base}/_apis/wit/workItems/{}", group.reference);
                let link = json!({"rel": "System.LinkTypes.Hierarchy-Reverse", "url": url});
                patch.push(json!({"op": "add", "path": "/relations/-", "value": link}));
            }
            match self.patch(Method::POST, &format!("workitems/${}", encode(&kind)), &patch).await {
                Ok(reply) => {
                    let made: Made = read(&self.what(), &reply.body).map_err(WriteError::Unknown)?;
                    return Ok(made.id.to_string());
                }
                // An older server knows HTML alone; nothing was made.
                Err(WriteError::Refused(TrackerError::Refused { said, .. }))
                    if is_markdown && said.contains("multilineFieldsFormat") =>
                {
                    self.html_only.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn update(&self, item: &Item, change: &Change) -> Result<Updated, WriteError> {
        let revision: u64 = item.revision.parse().unwrap_or(0);
        let mut patch = vec![json!({"op": "test", "path": "/rev", "value": revision})];
        let mut set = |name: &str, value: Value| {
            patch.push(json!({"op": "add", "path": format!("/fields/{name}"), "value": value}));
        };
        if let Some(title) = &change.title {
            set("System.Title", json!(title));
        }
        if let Some(priority) = change.priority {
            set(
                "Microsoft.VSTS.Common.Priority",
                json!(priority.map_or(4, |priority| u32::from(priority.min(3)) + 1)),
            );
        }
        if !change.add_labels.is_empty() || !change.remove_labels.is_empty() {
            let gone =
                |label: &&String| change.remove_labels.iter().any(|gone| gone.eq_ignore_ascii_case(label));
            let mut tags: Vec<&String> = item.labels.iter().filter(|label| !gone(label)).collect();
            tags.extend(change.add_labels.iter().filter(|label| !item.labels.contains(label)));
            let tags: Vec<&str> = tags.into_iter().map(String::as_str).collect();
            // To add would leave those that are to go.
            patch.push(json!({"op": "replace", "path": "/fields/System.Tags", "value": tags.join("; ")}));
        }
        let mut set = |name: &str, value: Value| {
            patch.push(json!({"op": "add", "path": format!("/fields/{name}"), "value": value}));
        };
        let mut went_to = None;
        if let Some(state) = &change.state {
            let name = match &state.name {
                Some(name) => name.clone(),
                None => self.state_for(&item.type_name, state.category).await.map_err(WriteError::Refused)?,
            };
            set("System.State", json!(name));
            went_to = Some((state.category, name));
        }
        let is_markdown = self.knows_markdown() && !item.is_html;
        if let Some(text) = &change.body {
            patch.extend(self.described(text, is_markdown));
        }
        if let Some(boxes) = &change.marks {
            let (marked, all) = issue_text::marked(&item.body, boxes);
            all.then_some(()).ok_or_else(|| no_such_box(item))?;
            if marked != item.body {
                patch.extend(self.described(&marked, is_markdown));
            }
        }
        if patch.len() == 1 {
            return Ok(Updated::default());
        }
        match self.patch(Method::PATCH, &format!("workitems/{}", encode(item.reference())), &patch).await {
            Ok(reply) => {
                Ok(Updated { state: went_to, item: shown_by(&reply.body, item, |raw| self.item(raw)) })
            }
            Err(WriteError::Refused(TrackerError::Refused { said, .. }))
                if is_markdown && said.contains("multilineFieldsFormat") =>
            {
                self.html_only.store(true, Ordering::Relaxed);
                self.update(item, change).await
            }
            // What failed is the test of the revision.
            Err(WriteError::Refused(TrackerError::Refused { said, .. }))
                if said.contains("TF26071") || said.contains("VS403351") =>
            {
                Err(WriteError::Changed)
            }
            Err(WriteError::Refused(TrackerError::Status {
                status: StatusCode::PRECONDITION_FAILED,
                ..
            })) => Err(WriteError::Changed),
            Err(error) => Err(error),
        }
    }

    async fn group(&self, _: &str, _: &str) -> Result<Option<Group>, WriteError> {
        Ok(None)
    }

    fn owns(&self, address: &url::Url) -> bool {
        let path = percent_encoding::percent_decode_str(address.path()).decode_utf8_lossy().to_lowercase();
        path.contains(&format!("/{}/_workitems/edit/", self.project).to_lowercase())
    }

    fn echo(&self, text: &str) -> String {
        if self.knows_markdown() { text.to_owned() } else { markup::from_html(&markup::to_html(text)) }
    }

    /// Azure DevOps asks by `Retry-After` when it has had enough. Its queries are some seconds behind.
    fn pace(&self) -> WritePace {
        WritePace { gap: 100, creates_a_minute: 0, creates_an_hour: 0, lag: 60_000 }
    }
}
