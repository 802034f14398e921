//! Issues and milestones that are made and changed. GitHub knows no conditional write: whoever changes an issue has just
//! read it.

use crate::model::issue_text;
use crate::model::item::Item;
use crate::trackers::edits::{
    Category, Change, Draft, Editor, Group, Updated, WriteError, WritePace, no_such_box, shown_by,
};
use crate::trackers::github::{Issues, net, next_page};
use crate::trackers::server::Reply;
use crate::trackers::{MOST_PAGES, Position, Source, TrackerError, Window, encode, read, unless_gone};
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use specweave_jobs::clock::{self, Millis};

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

#[derive(Deserialize)]
struct Milestone {
    number: u64,
    title: String,
    #[serde(default)]
    html_url: String,
}

/// A clock need not be known to the second.
const CLOCKS_APART: Millis = 600_000;

/// How a label begins that says where an open issue stands.
const STATUS: &str = "status:";

/// SpecWeave's words after it, for work that is under way and for work that is not. Any other word is somebody else's
/// label: `status:stale` and `status: needs info` are conventions of many projects.
const UNDER_WAY: [&str; 12] = [
    "active",
    "in_progress",
    "implementing",
    "implemented",
    "in_qa",
    "in_review",
    "review",
    "ready_for_review",
    "blocked",
    "paused",
    "started",
    "resumed",
];
const IDLE: [&str; 12] = [
    "not_started",
    "planning",
    "planned",
    "backlog",
    "open",
    "complete",
    "completed",
    "done",
    "closed",
    "cancelled",
    "canceled",
    "abandoned",
];

impl Issues {
    fn path(&self, rest: &str) -> String {
        format!("{}/repos/{}/{}{rest}", self.github.api, encode(&self.owner), encode(&self.name))
    }

    async fn send(&self, method: Method, address: String, body: &Value) -> Result<Reply, WriteError> {
        let what = self.what();
        let server = &self.github.server;
        server
            .send_once_by(&what, || async {
                let network =
                    |error: octocrab::Error| TrackerError::Network(net::innermost(&error).to_string());
                let response = match method {
                    Method::PATCH => self.github.crab._patch(address, Some(body)).await,
                    _ => self.github.crab._post(address, Some(body)).await,
                };
                let (parts, body) = response.map_err(network)?.into_parts();
                let body = body.collect().await.map_err(network)?.to_bytes();
                Ok(Reply { status: parts.status, headers: parts.headers, body, moved: false })
            })
            .await
    }

    async fn milestone(&self, feature: &str) -> Result<Option<Group>, TrackerError> {
        let what = self.what();
        let mut next = Some(self.path("/milestones?state=all&per_page=100"));
        for _ in 0..MOST_PAGES {
            let Some(address) = next.take() else { break };
            let reply = self.github.get(&what, address).await?;
            let page: Vec<Milestone> = read(&what, &reply.body)?;
            let is_it =
                |one: &Milestone| one.title == feature || one.title.starts_with(&format!("{feature}:"));
            if let Some(found) = page.into_iter().find(is_it) {
                return Ok(Some(Group { reference: found.number.to_string(), url: found.html_url }));
            }
            next = next_page(&reply.headers, &self.github.server.base);
        }
        Ok(None)
    }
}

#[tonic::async_trait]
impl Editor for Issues {
    async fn identity(&self) -> Result<String, TrackerError> {
        #[derive(Deserialize)]
        struct Id {
            id: u64,
        }
        let what = self.what();
        let reply = self.github.get(&what, self.path("")).await?;
        let host = self.host.as_deref().unwrap_or("github.com");
        Ok(format!("github:{host}:{}", read::<Id>(&what, &reply.body)?.id))
    }

    async fn current(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        let what = format!("issue {reference} of {}/{}", self.owner, self.name);
        let asked = self.github.get(&what, self.path(&format!("/issues/{}", encode(reference)))).await;
        let Some(reply) = unless_gone(asked)? else { return Ok(None) };
        let raw: Box<serde_json::value::RawValue> = read(&what, &reply.body)?;
        // A pull request is nobody's story.
        self.item(&raw).transpose().map_err(|(_, cause)| TrackerError::Malformed { what, cause })
    }

    /// GitHub's listing knows at once what was made; its search does not, and is not asked.
    async fn marked(&self, marker: &str, since: Millis) -> Result<Vec<Item>, TrackerError> {
        let mut found = Vec::new();
        // By the server's clock, and some more.
        let ahead = self.github.server.now().0 - clock::now();
        let since = Some(since + ahead - CLOCKS_APART);
        let mut at = self.first(&Window { since, ..Window::default() });
        loop {
            let page = self.page(&at).await?;
            found.extend(page.items.into_iter().flatten().filter(|item| item.marker() == Some(marker)));
            match page.next {
                Position::At(next) => at = next,
                Position::End(_) => return Ok(found),
            }
        }
    }

    async fn create(&self, draft: &Draft) -> Result<String, WriteError> {
        let mut body = json!({"title": draft.title, "body": draft.body, "labels": draft.labels});
        if let Some(number) = draft.group.as_ref().and_then(|group| group.reference.parse::<u64>().ok()) {
            body["milestone"] = json!(number);
        }
        let reply = self.send(Method::POST, self.path("/issues"), &body).await?;
        let made: Numbered = read(&self.what(), &reply.body).map_err(WriteError::Unknown)?;
        Ok(made.number.to_string())
    }

    async fn update(&self, item: &Item, change: &Change) -> Result<Updated, WriteError> {
        let mut body = Map::new();
        if let Some(title) = &change.title {
            body.insert("title".into(), json!(title));
        }
        if let Some(text) = &change.body {
            body.insert("body".into(), json!(text));
        }
        if let Some(boxes) = &change.marks {
            let (text, all) = issue_text::marked(&item.body, boxes);
            all.then_some(()).ok_or_else(|| no_such_box(item))?;
            body.insert("body".into(), json!(text));
        }
        let mut labels: Vec<&str> = item.labels.iter().map(String::as_str).collect();
        labels.retain(|label| !change.remove_labels.iter().any(|gone| gone.eq_ignore_ascii_case(label)));
        for label in &change.add_labels {
            if !labels.iter().any(|known| known.eq_ignore_ascii_case(label)) {
                labels.push(label);
            }
        }
        let mut state_label = String::new();
        if let Some(state) = &change.state {
            let closed = match state.category {
                Category::Completed => Some("completed"),
                Category::Cancelled => Some("not_planned"),
                Category::Open | Category::InProgress => None,
            };
            body.insert("state".into(), json!(if closed.is_some() { "closed" } else { "open" }));
            body.insert("state_reason".into(), json!(closed.unwrap_or("reopened")));
            if closed.is_none() && item.state == "open" {
                body.retain(|key, _| key != "state" && key != "state_reason");
            }
            state_label = status_label(state);
        }
        if !state_label.is_empty() {
            labels.push(&state_label);
        }
        if labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>() != item.labels {
            body.insert("labels".into(), json!(labels));
        }
        if let Some(priority) = change.priority {
            let mut labels: Vec<String> = match body.get("labels").and_then(Value::as_array) {
                Some(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                None => item.labels.clone(),
            };
            labels.retain(|label| priority_of(label).is_none());
            labels.extend(priority.map(|priority| format!("p{priority}")));
            body.insert("labels".into(), json!(labels));
        }
        if body.is_empty() {
            return Ok(Updated::default());
        }
        let address = self.path(&format!("/issues/{}", encode(item.reference())));
        let reply = self.send(Method::PATCH, address, &Value::Object(body)).await?;
        Ok(Updated { state: None, item: shown_by(&reply.body, item, |raw| self.item(raw)) })
    }

    async fn group(&self, feature: &str, title: &str) -> Result<Option<Group>, WriteError> {
        if let Some(known) = self.milestone(feature).await.map_err(WriteError::Refused)? {
            return Ok(Some(known));
        }
        let body =
            json!({"title": format!("{feature}: {title}"), "description": format!("Feature {feature}")});
        match self.send(Method::POST, self.path("/milestones"), &body).await {
            Ok(reply) => {
                let made: Milestone = read(&self.what(), &reply.body).map_err(WriteError::Unknown)?;
                Ok(Some(Group { reference: made.number.to_string(), url: made.html_url }))
            }
            // Titles are unique: somebody was faster, or it was ours and the answer was lost.
            Err(WriteError::Refused(TrackerError::Refused { .. }) | WriteError::Unknown(_)) => {
                match self.milestone(feature).await.map_err(WriteError::Refused)? {
                    Some(known) => Ok(Some(known)),
                    None => {
                        let said = "the milestone could not be made".to_owned();
                        Err(WriteError::Refused(TrackerError::Refused { what: self.what(), said }))
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    fn owns(&self, address: &url::Url) -> bool {
        let path = address.path().to_lowercase();
        path.contains(&format!("/{}/{}/issues/", self.owner, self.name).to_lowercase())
    }

    fn echo(&self, markdown: &str) -> String {
        markdown.to_owned()
    }

    /// As GitHub's documentation of its secondary limits has it.
    fn pace(&self) -> WritePace {
        WritePace { gap: 1_000, creates_a_minute: 80, creates_an_hour: 500, lag: 5_000 }
    }
}

/// What stands behind `status:`, whatever its case.
pub fn status_word(label: &str) -> Option<&str> {
    let (prefix, word) = label.split_at_checked(STATUS.len())?;
    prefix.eq_ignore_ascii_case(STATUS).then_some(word)
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    let word = word.to_lowercase().replace(['-', ' '], "_");
    words.contains(&word.as_str())
}

pub fn is_status(label: &str) -> bool {
    match status_word(label) {
        Some(word) => is_one_of(word, &UNDER_WAY) || is_one_of(word, &IDLE),
        None => is_one_of(label, &["in_progress"]),
    }
}

/// What a label says of where an open issue stands, if it says that it is under way. SpecWeave leaves the label of a
/// completed issue on one that was opened again.
pub fn under_way(label: &str) -> Option<&str> {
    match status_word(label) {
        Some(word) => is_one_of(word, &UNDER_WAY).then_some(word),
        None => is_status(label).then_some("active"),
    }
}

/// The priority that a label means: `p1`, or `priority:p1` of SpecWeave's earlier versions.
pub fn priority_of(label: &str) -> Option<u8> {
    let lower = label.to_lowercase();
    match lower.strip_prefix("priority:").unwrap_or(&lower).as_bytes() {
        [b'p', digit @ b'0'..=b'4'] => Some(digit - b'0'),
        _ => None,
    }
}

/// The label that tells apart what an open issue may be.
fn status_label(state: &super::super::edits::State) -> String {
    match (&state.name, state.category) {
        (Some(name), _) if !["open", "closed"].contains(&name.to_lowercase().as_str()) => {
            format!("{STATUS}{name}")
        }
        (_, Category::InProgress) => format!("{STATUS}active"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_specweaves_words_are_a_status_and_a_priority() {
        for (label, state) in [
            ("status:active", Some("active")),
            ("status:In Progress", Some("In Progress")),
            ("Status:in-review", Some("in-review")),
            ("in-progress", Some("active")),
            ("status:completed", None),
            ("status:not-started", None),
        ] {
            assert!(is_status(label), "{label}");
            assert_eq!(under_way(label), state, "{label}");
        }
        for label in ["status:stale", "status: needs info", "status: blocked", "status", "stale", "progress"]
        {
            assert!(!is_status(label) && under_way(label).is_none(), "{label}");
        }
        assert_eq!(
            [priority_of("p1"), priority_of("P0"), priority_of("priority:P2")],
            [Some(1), Some(0), Some(2)]
        );
        assert_eq!([priority_of("p9"), priority_of("priority: high"), priority_of("php")], [None; 3]);
    }
}
