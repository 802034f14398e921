//! Issues that are made and changed, and their ways from status to status. JIRA knows no conditional write: whoever
//! changes an issue has just read it.

use crate::markup;
use crate::model::issue_text;
use crate::model::item::Item;
use crate::model::record::Checkbox;
use crate::trackers::edits::{Category, Change, Draft, Editor, Group, WriteError, WritePace, no_such_box};
use crate::trackers::jira::{FIELDS, Flavor, Issues};
use crate::trackers::server::{Ask, Reply};
use crate::trackers::{TrackerError, encode, read, unless_gone};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use specweave_jobs::clock::Millis;

#[derive(Deserialize)]
struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Transition {
    id: String,
    to: To,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct To {
    name: String,
    #[serde(default)]
    status_category: super::Category,
}

const PRIORITIES: [&str; 5] = ["Highest", "High", "Medium", "Low", "Lowest"];

/// Where the story's name stands that an issue was made from.
const PROPERTY: &str = "specweave-jobs";

/// Issue types for a story and for what holds stories, first choice first.
const STORIES: [&str; 2] = ["Story", "Task"];
const GROUPS: [&str; 1] = ["Epic"];

impl Issues {
    fn api(&self) -> &'static str {
        match self.flavor {
            Flavor::Cloud => "rest/api/3",
            Flavor::DataCenter { .. } => "rest/api/2",
        }
    }

    /// A text as this JIRA wants it.
    fn document(&self, text: &str) -> Value {
        match self.flavor {
            Flavor::Cloud => markup::to_adf(text),
            Flavor::DataCenter { .. } => json!(markup::to_wiki(text)),
        }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Reply, WriteError> {
        let address = self.server.address(&format!("{}/{path}", self.api())).map_err(WriteError::Refused)?;
        self.server.send_once(Ask::post(&self.what(), address, body).by(method)).await
    }

    async fn raw(&self, reference: &str) -> Result<Option<Reply>, TrackerError> {
        let what = format!("issue {reference}");
        let mut fields = FIELDS.to_owned();
        if let Flavor::DataCenter { epic_link: Some(link), .. } = &self.flavor {
            fields.push_str(&format!(",{link}"));
        }
        let mut address = self.server.address(&format!("{}/issue/{}", self.api(), encode(reference)))?;
        address.set_query(Some(&format!("fields={fields}")));
        unless_gone(self.server.ask(Ask::get(&what, address)).await)
    }

    /// Moves an issue to a status by whatever way leads there.
    async fn transition(
        &self,
        item: &Item,
        category: Category,
        name: Option<&str>,
    ) -> Result<(Category, String), WriteError> {
        if name.is_some_and(|name| item.state.eq_ignore_ascii_case(name)) {
            return Ok((category, item.state.clone()));
        }
        let what = self.what();
        let path = format!("issue/{}/transitions", encode(item.reference()));
        let address = self.server.address(&format!("{}/{path}", self.api())).map_err(WriteError::Refused)?;
        let reply = self.server.ask(Ask::get(&what, address)).await.map_err(WriteError::Refused)?;
        let ways: Transitions = read(&what, &reply.body).map_err(WriteError::Refused)?;
        let wanted = match category {
            Category::Open => "new",
            Category::InProgress => "indeterminate",
            Category::Completed | Category::Cancelled => "done",
        };
        let fits = |way: &&Transition| match name {
            Some(name) => way.to.name.eq_ignore_ascii_case(name),
            None => {
                way.to.status_category.key == wanted
                    && (wanted != "done" || (is_cancelled(&way.to.name) == (category == Category::Cancelled)))
            }
        };
        // Where nothing is called cancelled, done is what comes nearest.
        let nearest = |way: &&Transition| name.is_none() && way.to.status_category.key == wanted;
        let way = ways.transitions.iter().find(fits).or_else(|| ways.transitions.iter().find(nearest));
        let Some(way) = way else {
            let known: Vec<&str> = ways.transitions.iter().map(|way| way.to.name.as_str()).collect();
            let wanted =
                name.map_or_else(|| format!("a status of the kind {wanted}"), |name| format!("{name:?}"));
            let said = format!(
                "no transition leads from {} to {wanted}; they lead to: {}",
                item.state,
                known.join(", ")
            );
            return Err(WriteError::Refused(TrackerError::Refused { what: item.shown.clone(), said }));
        };
        self.send(Method::POST, &path, &json!({"transition": {"id": way.id}})).await?;
        let category = match way.to.status_category.key.as_str() {
            "indeterminate" => Category::InProgress,
            "done" if is_cancelled(&way.to.name) => Category::Cancelled,
            "done" => Category::Completed,
            _ => Category::Open,
        };
        Ok((category, way.to.name.clone()))
    }

    /// The description with these boxes marked so, as JIRA itself has it.
    async fn marked_document(&self, item: &Item, boxes: &[Checkbox]) -> Result<Option<Value>, WriteError> {
        let what = self.what();
        let Some(reply) = self.raw(item.reference()).await.map_err(WriteError::Refused)? else {
            return Err(WriteError::Changed);
        };
        let issue: Value = read(&what, &reply.body).map_err(WriteError::Refused)?;
        let before = &issue["fields"]["description"];
        let after = match markup::marked_adf(before, boxes) {
            Some(document) => document,
            // What somebody else wrote is not written anew for a box: it may hold what Markdown does not know.
            None if item.marker().is_none() => return Err(no_such_box(item)),
            None => {
                let (text, all) = issue_text::marked(&item.body, boxes);
                all.then_some(()).ok_or_else(|| no_such_box(item))?;
                self.document(&text)
            }
        };
        Ok((after != *before).then_some(after))
    }
}

#[tonic::async_trait]
impl Editor for Issues {
    async fn identity(&self) -> Result<String, TrackerError> {
        #[derive(Deserialize)]
        struct Project {
            id: String,
        }
        let what = self.what();
        let address = self.server.address(&format!("{}/project/{}", self.api(), encode(&self.key)))?;
        let reply = self.server.ask(Ask::get(&what, address)).await?;
        Ok(self.item_key(&format!("project:{}", read::<Project>(&what, &reply.body)?.id)))
    }

    async fn current(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        let Some(reply) = self.raw(reference).await? else { return Ok(None) };
        let what = format!("issue {reference}");
        let raw: Box<serde_json::value::RawValue> = read(&what, &reply.body)?;
        self.item(&raw).map(Some).map_err(|(_, cause)| TrackerError::Malformed { what, cause })
    }

    async fn marked(&self, marker: &str, _: Millis) -> Result<Vec<Item>, TrackerError> {
        self.all(&format!("project = \"{}\" AND labels = \"{marker}\"", self.key)).await
    }

    async fn create(&self, draft: &Draft) -> Result<String, WriteError> {
        #[derive(Deserialize)]
        struct Made {
            key: String,
        }
        let mut fields = Map::new();
        fields.insert("project".into(), json!({"key": self.key}));
        fields.insert("summary".into(), json!(draft.title));
        if !draft.body.is_empty() {
            fields.insert("description".into(), self.document(&draft.body));
        }
        fields.insert("labels".into(), json!(draft.labels));
        if let Some(priority) = draft.priority {
            fields.insert("priority".into(), json!({"name": PRIORITIES[usize::from(priority.min(4))]}));
        }
        if let Some(group) = &draft.group {
            match &self.flavor {
                Flavor::Cloud => drop(fields.insert("parent".into(), json!({"key": group.reference}))),
                Flavor::DataCenter { epic_link: Some(link), .. } => {
                    drop(fields.insert(link.clone(), json!(group.reference)))
                }
                Flavor::DataCenter { epic_link: None, .. } => {}
            }
        }
        if let Flavor::DataCenter { epic_name: Some(name), .. } = &self.flavor
            && draft.is_group
        {
            fields.insert(name.clone(), json!(draft.title));
        }
        let property = json!([{"key": PROPERTY, "value": {"marker": draft.marker}}]);
        let mut types = if draft.is_group { &GROUPS[..] } else { &STORIES[..] }.iter();
        let mut kind = types.next().copied().unwrap_or_default();
        loop {
            fields.insert("issuetype".into(), json!({"name": kind}));
            let sent =
                self.send(Method::POST, "issue", &json!({"fields": fields, "properties": property})).await;
            match sent {
                Ok(reply) => {
                    let made: Made = read(&self.what(), &reply.body).map_err(WriteError::Unknown)?;
                    return Ok(made.key);
                }
                // A project may have other types, and no priorities or labels on its screen. Nothing was made.
                Err(WriteError::Refused(TrackerError::Refused { what, said })) => {
                    let lower = said.to_lowercase();
                    let unwanted = ["priority", "parent"]
                        .into_iter()
                        .find(|name| lower.contains(*name) && fields.contains_key(*name));
                    match (unwanted, types.next()) {
                        (Some(name), _) => drop(fields.shift_remove(name)),
                        (None, Some(next)) if lower.contains("issue type") || lower.contains("issuetype") => {
                            kind = next
                        }
                        _ => return Err(WriteError::Refused(TrackerError::Refused { what, said })),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn update(&self, item: &Item, change: &Change) -> Result<Option<(Category, String)>, WriteError> {
        let (mut fields, mut update) = (Map::new(), Map::new());
        if let Some(title) = &change.title {
            fields.insert("summary".into(), json!(title));
        }
        if let Some(text) = &change.body {
            fields.insert("description".into(), self.document(text));
        }
        if let Some(boxes) = &change.marks
            && let Some(document) = self.marked_document(item, boxes).await?
        {
            fields.insert("description".into(), document);
        }
        if let Some(Some(priority)) = change.priority {
            fields.insert("priority".into(), json!({"name": PRIORITIES[usize::from(priority.min(4))]}));
        }
        let added = change.add_labels.iter().map(|label| json!({"add": label}));
        let removed = change.remove_labels.iter().map(|label| json!({"remove": label}));
        let labels: Vec<Value> = added.chain(removed).collect();
        if !labels.is_empty() {
            update.insert("labels".into(), json!(labels));
        }
        if !fields.is_empty() || !update.is_empty() {
            let path = format!("issue/{}", encode(item.reference()));
            match self.send(Method::PUT, &path, &json!({"fields": fields, "update": update})).await {
                // A project may have no priorities; nothing was changed.
                Err(WriteError::Refused(TrackerError::Refused { said, .. }))
                    if said.to_lowercase().contains("priority") && fields.len() + update.len() > 1 =>
                {
                    fields.shift_remove("priority");
                    self.send(Method::PUT, &path, &json!({"fields": fields, "update": update})).await?;
                }
                sent => drop(sent?),
            }
        }
        match &change.state {
            Some(state) => self.transition(item, state.category, state.name.as_deref()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn group(&self, _: &str, _: &str) -> Result<Option<Group>, WriteError> {
        Ok(None)
    }

    fn owns(&self, address: &url::Url) -> bool {
        let is_here = address.host_str() == self.server.base.host_str();
        is_here && address.path().contains(&format!("/browse/{}-", self.key))
    }

    fn echo(&self, text: &str) -> String {
        match self.flavor {
            Flavor::Cloud => markup::from_adf(&markup::to_adf(text)),
            Flavor::DataCenter { .. } => markup::from_wiki(&markup::to_wiki(text)),
        }
    }

    /// An issue takes 20 writes in 2 seconds; two writes of one are never so near. The index is some seconds behind.
    fn pace(&self) -> WritePace {
        WritePace { gap: 100, creates_a_minute: 0, creates_an_hour: 0, lag: 60_000 }
    }
}

/// Whether a status of the kind done says that nothing came of it.
pub fn is_cancelled(name: &str) -> bool {
    let name = name.to_lowercase();
    ["cancel", "won't", "wont ", "reject", "declin", "abandon", "duplicate"]
        .iter()
        .any(|word| name.contains(word))
}
