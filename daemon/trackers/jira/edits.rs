//! Issues that are made and changed, and their ways from status to status. JIRA knows no conditional write: whoever
//! changes an issue has just read it.

use crate::markup;
use crate::model::issue_text;
use crate::model::item::Item;
use crate::model::record::Checkbox;
use crate::trackers::edits::{
    Category, Change, Draft, Editor, Group, Updated, WriteError, WritePace, no_such_box,
};
use crate::trackers::jira::{FIELDS, Flavor, Issues};
use crate::trackers::server::{Ask, Reply};
use crate::trackers::{TrackerError, encode, read, unless_gone};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use specweave_jobs::clock::Millis;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Transition {
    id: String,
    to: To,
    /// What its screen asks for.
    #[serde(default)]
    fields: BTreeMap<String, ScreenField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ScreenField {
    required: bool,
    has_default_value: bool,
    name: String,
    allowed_values: Vec<Allowed>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Allowed {
    name: String,
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

    /// The types of issues that the project has; empty where it does not say. Asked for once, before the first is made.
    async fn known_kinds(&self) -> &[IssueKind] {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Kinds {
            issue_types: Vec<IssueKind>,
            /// As JIRA Data Center calls them.
            values: Vec<IssueKind>,
        }
        let ask = async {
            let what = self.what();
            let path = format!("{}/issue/createmeta/{}/issuetypes", self.api(), encode(&self.key));
            let address = self.server.address(&path).ok()?;
            let reply = self.server.ask(Ask::get(&what, address)).await.ok()?;
            let Kinds { issue_types, values } = read(&what, &reply.body).ok()?;
            Some(if issue_types.is_empty() { values } else { issue_types })
        };
        self.kinds.get_or_init(|| async { ask.await.unwrap_or_default() }).await
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
        let mut address =
            self.server.address(&format!("{}/{path}", self.api())).map_err(WriteError::Refused)?;
        address.set_query(Some("expand=transitions.fields"));
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
        let (fields, resolution) = asked_for(way, category, item)?;
        let mut body = json!({"transition": {"id": way.id}});
        if !fields.is_empty() {
            body["fields"] = Value::Object(fields);
        }
        self.send(Method::POST, &path, &body).await?;
        let is_cancelled = is_cancelled(&way.to.name) || resolution.as_deref().is_some_and(is_cancelled);
        let category = match way.to.status_category.key.as_str() {
            "indeterminate" => Category::InProgress,
            "done" if is_cancelled => Category::Cancelled,
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
        let kinds = kinds_for(draft.is_group, self.known_kinds().await);
        let mut kinds = kinds.into_iter();
        let mut kind = kinds.next().ok_or_else(|| {
            let wanted = if draft.is_group { "holds stories" } else { "is a story" };
            let said = format!("the project {} has no type of issue that {wanted}", self.key);
            WriteError::Refused(TrackerError::Refused { what: self.what(), said })
        })?;
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
                    match (unwanted, kinds.next()) {
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

    async fn update(&self, item: &Item, change: &Change) -> Result<Updated, WriteError> {
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
            Some(state) => {
                let went_to = self.transition(item, state.category, state.name.as_deref()).await?;
                Ok(Updated { state: Some(went_to), item: None })
            }
            None => Ok(Updated::default()),
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

/// What a transition's screen must be told, and the resolution among it. What only a person can know is named.
fn asked_for(
    way: &Transition,
    category: Category,
    item: &Item,
) -> Result<(Map<String, Value>, Option<String>), WriteError> {
    let mut fields = Map::new();
    let mut resolution = None;
    for (key, field) in way.fields.iter().filter(|(_, field)| field.required && !field.has_default_value) {
        let mut values = field.allowed_values.iter().map(|value| value.name.as_str());
        let fitting = values.find(|name| is_cancelled(name) == (category == Category::Cancelled));
        match fitting.filter(|_| key == "resolution") {
            Some(name) => {
                fields.insert(key.clone(), json!({"name": name}));
                resolution = Some(name.to_owned());
            }
            None => {
                let name = if field.name.is_empty() { key } else { &field.name };
                let said = format!(
                    "the way to {} asks for {name:?}, which a sync does not know: take the requirement off that \
                     transition, or set another status for this word in statusSync.mappings.jira",
                    way.to.name
                );
                return Err(WriteError::Refused(TrackerError::Refused { what: item.shown.clone(), said }));
            }
        }
    }
    Ok((fields, resolution))
}

/// A type of issue that a project has.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssueKind {
    name: String,
    #[serde(default)]
    subtask: bool,
    /// JIRA Cloud alone says it: 0 is what stories are, above it is what holds them.
    hierarchy_level: Option<i64>,
}

/// The types to try for a new issue, first choice first: by the names that JIRA gives them in English, else by what the
/// project's own types say of themselves.
fn kinds_for(is_group: bool, known: &[IssueKind]) -> Vec<String> {
    let names = if is_group { &GROUPS[..] } else { &STORIES[..] };
    if known.is_empty() {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    let level = i64::from(is_group);
    let by_name =
        names.iter().filter_map(|name| known.iter().find(|kind| kind.name.eq_ignore_ascii_case(name)));
    let by_level = known.iter().filter(|kind| !kind.subtask && kind.hierarchy_level == Some(level));
    let any = known.iter().filter(|kind| !kind.subtask && kind.hierarchy_level.is_none() && !is_group);
    let mut kinds: Vec<String> = by_name.chain(by_level).chain(any).map(|kind| kind.name.clone()).collect();
    let mut seen = std::collections::BTreeSet::new();
    kinds.retain(|kind| seen.insert(kind.clone()));
    kinds
}

/// Whether a status of the kind done says that nothing came of it.
pub fn is_cancelled(name: &str) -> bool {
    let name = name.to_lowercase();
    ["cancel", "won't", "wont ", "reject", "declin", "abandon", "duplicate"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, subtask: bool, level: Option<i64>) -> IssueKind {
        IssueKind { name: name.to_owned(), subtask, hierarchy_level: level }
    }

    #[test]
    fn a_project_in_another_language_has_a_type_for_stories_too() {
        let german = [
            kind("Epos", false, Some(1)),
            kind("Geschichte", false, Some(0)),
            kind("Unteraufgabe", true, Some(-1)),
        ];
        assert_eq!(kinds_for(false, &german), ["Geschichte"]);
        assert_eq!(kinds_for(true, &german), ["Epos"]);
        let english =
            [kind("Bug", false, Some(0)), kind("Task", false, Some(0)), kind("Story", false, Some(0))];
        assert_eq!(kinds_for(false, &english), ["Story", "Task", "Bug"]);
        let older = [kind("Sub-task", true, None), kind("Improvement", false, None)];
        assert_eq!(
            (kinds_for(false, &older), kinds_for(true, &older)),
            (vec!["Improvement".to_owned()], vec![])
        );
        assert_eq!(kinds_for(false, &[]), ["Story", "Task"]);
    }
}
