//! JIRA's face: the project `PAY`, of the Cloud or of a Data Center.

use super::{Issue, Kind, Phase, Reply, State, now, parameters};
use crate::world::http::Request;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const PROJECT: &str = "PAY";
const EPIC_LINK: &str = "customfield_10100";
const EPIC_NAME: &str = "customfield_10101";

pub fn answer(state: &State, request: &Request, short: bool) -> Reply {
    let data_center = state.data_center.load(Ordering::Relaxed);
    let base = format!("http://{}", request.headers.get("host").map_or("", String::as_str));
    match (request.path.as_str(), data_center) {
        ("/rest/api/2/serverInfo" | "/rest/api/3/serverInfo", _) => Reply::json(&json!({
            "baseUrl": base, "version": "9.12.0", "deploymentType": if data_center { "Server" } else { "Cloud" },
        })),
        ("/rest/api/2/field", _) => Reply::json(&json!([
            {"id": "summary", "name": "Summary", "custom": false, "schema": {"type": "string", "system": "summary"}},
            {"id": EPIC_LINK, "name": "Epic Link", "custom": true,
             "schema": {"type": "any", "custom": "com.pyxis.greenhopper.jira:gh-epic-link", "customId": 10100}},
            {"id": EPIC_NAME, "name": "Epic Name", "custom": true,
             "schema": {"type": "string", "custom": "com.pyxis.greenhopper.jira:gh-epic-label", "customId": 10101}},
        ])),
        ("/rest/api/3/search/approximate-count", false) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            match found(state, request, body["jql"].as_str().unwrap_or("")) {
                Ok(rows) => Reply::json(&json!({"count": rows.len()})),
                Err(refused) => refused,
            }
        }
        (path, _) if path.starts_with("/rest/api/3/issue") || path.starts_with("/rest/api/2/issue") => {
            issue(state, request, &base, !data_center)
        }
        ("/rest/api/3/project/PAY" | "/rest/api/2/project/PAY", _) => {
            Reply::json(&json!({"id": "10000", "key": PROJECT, "name": "Payments"}))
        }
        ("/rest/api/3/search/jql", false) => cloud(state, request, &base, short),
        ("/rest/api/2/search", true) => server(state, request, &base),
        ("/rest/api/2/search" | "/rest/api/3/search", false) => Reply::status(
            410,
            &json!({"errorMessages": ["The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."], "errors": {}}),
        ),
        _ => Reply::status(404, &json!({"errorMessages": ["null for uri"], "errors": {}})),
    }
}

/// Where an issue may stand: the way there, its name, what kind it is of.
const STATUSES: [(&str, &str, &str); 5] = [
    ("11", "To Do", "new"),
    ("21", "In Progress", "indeterminate"),
    ("31", "In Review", "indeterminate"),
    ("41", "Done", "done"),
    ("51", "Cancelled", "done"),
];

const PRIORITIES: [&str; 5] = ["Highest", "High", "Medium", "Low", "Lowest"];

fn refused(text: &str) -> Reply {
    Reply::status(400, &json!({"errorMessages": [], "errors": {"field": text}}))
}

/// One issue: made, read, changed, moved.
fn issue(state: &State, request: &Request, base: &str, cloud: bool) -> Reply {
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
    let rest = path.trim_start_matches("/rest/api/3/issue").trim_start_matches("/rest/api/2/issue");
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut parts = rest.trim_start_matches('/').splitn(2, '/');
    let (name, what) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if name.is_empty() {
        return create(state, &body, base, cloud);
    }
    let mut issues = match request.method.as_str() {
        "GET" => state.world(request),
        _ => state.issues.lock().unwrap(),
    };
    let key = |issue: &Issue| format!("{PROJECT}-{}", issue.number);
    let Some(issue) = issues.values_mut().find(|issue| !issue.deleted && is(issue, name, &key)) else {
        let text = "Issue does not exist or you do not have permission to see it.";
        return Reply::status(404, &json!({"errorMessages": [text], "errors": {}}));
    };
    match (request.method.as_str(), what) {
        ("GET", "") => Reply::json(&issue_json(issue, base, cloud)),
        ("PUT", "") => {
            if let Err(text) = set_fields(issue, &body["fields"], cloud) {
                return refused(&text);
            }
            for change in body["update"]["labels"].as_array().into_iter().flatten() {
                if let Some(label) =
                    change["add"].as_str().filter(|label| !issue.labels.iter().any(|l| l == label))
                {
                    issue.labels.push(label.to_owned());
                }
                issue.labels.retain(|label| change["remove"].as_str() != Some(label));
            }
            issue.touch();
            Reply { status: 204, headers: Vec::new(), body: Vec::new() }
        }
        ("GET", "transitions") => {
            let now = status_of(issue);
            let ways: Vec<Value> = STATUSES
                .iter()
                .filter(|(_, name, _)| *name != now)
                .map(|(id, name, kind)| {
                    json!({"id": id, "name": name, "to": {"name": name, "statusCategory": {"key": kind}}})
                })
                .collect();
            Reply::json(&json!({"expand": "transitions", "transitions": ways}))
        }
        ("POST", "transitions") => {
            let way = STATUSES.iter().find(|(id, ..)| body["transition"]["id"] == *id);
            let Some((_, name, kind)) = way.filter(|(_, name, _)| *name != status_of(issue)) else {
                return refused("It is not on the appropriate screen");
            };
            issue.state = Some((*name).to_owned());
            issue.phase = match *kind {
                "new" => Phase::Open,
                "done" => Phase::Closed,
                _ => Phase::Active,
            };
            issue.touch();
            Reply { status: 204, headers: Vec::new(), body: Vec::new() }
        }
        _ => Reply::status(405, &json!({"errorMessages": ["Method Not Allowed"], "errors": {}})),
    }
}

fn create(state: &State, body: &Value, base: &str, cloud: bool) -> Reply {
    let fields = &body["fields"];
    if fields["project"]["key"] != PROJECT {
        return refused("valid project is required");
    }
    let mut issues = state.issues.lock().unwrap();
    let number = super::next_number(&issues);
    let mut issue = Issue::new(number, "");
    issue.kind = match fields["issuetype"]["name"].as_str() {
        Some("Epic") => Kind::Epic,
        Some("Story") => Kind::Story,
        Some("Bug") => Kind::Bug,
        _ => return refused("Specify a valid issue type"),
    };
    (issue.created, issue.updated) = (now(), now());
    issue.made = Some(std::time::SystemTime::now());
    issue.body = String::new();
    issue.document = Some(Value::Null);
    if fields["summary"].as_str().is_none_or(str::is_empty) {
        return refused("You must specify a summary of the issue.");
    }
    if !cloud && issue.kind == Kind::Epic && fields[EPIC_NAME].as_str().is_none_or(str::is_empty) {
        return refused("Epic Name is required.");
    }
    if let Err(text) = set_fields(&mut issue, fields, cloud) {
        return refused(&text);
    }
    issue.properties = body["properties"].clone();
    let reply = json!({
        "id": (10_000 + number).to_string(), "key": format!("{PROJECT}-{number}"),
        "self": format!("{base}/rest/api/3/issue/{}", 10_000 + number),
    });
    issues.insert(number, issue);
    Reply::status(201, &reply)
}

fn set_fields(issue: &mut Issue, fields: &Value, cloud: bool) -> Result<(), String> {
    for (name, value) in fields.as_object().into_iter().flatten() {
        match name.as_str() {
            "summary" => value.as_str().unwrap_or("").clone_into(&mut issue.title),
            "description" if cloud && (value.is_null() || is_document(value)) => {
                issue.document = Some(value.clone())
            }
            "description" if !cloud && value.is_string() => {
                issue.body = value.as_str().unwrap_or("").to_owned();
            }
            "description" => return Err("Operation value must be an Atlassian Document".into()),
            "labels" => {
                let labels: Vec<String> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                if labels.iter().any(|label| label.contains(' ')) {
                    return Err("The label can't contain spaces.".into());
                }
                issue.labels = labels;
            }
            "priority" => {
                let place = PRIORITIES.iter().position(|known| value["name"] == *known);
                issue.priority = Some(place.ok_or("The priority is not valid.")? as u8);
            }
            "parent" | EPIC_LINK => {
                let key = value["key"].as_str().or(value.as_str()).unwrap_or("");
                issue.parent = key.rsplit('-').next().and_then(|number| number.parse().ok());
            }
            "project" | "issuetype" => {}
            EPIC_NAME if !cloud && issue.kind == Kind::Epic => {}
            other => {
                return Err(format!("Field '{other}' cannot be set. It is not on the appropriate screen."));
            }
        }
    }
    Ok(())
}

/// Whether JIRA would take it: the node types that it knows, boxes with names, no empty text.
fn is_document(node: &Value) -> bool {
    const KNOWN: [&str; 19] = [
        "doc",
        "paragraph",
        "text",
        "heading",
        "bulletList",
        "orderedList",
        "listItem",
        "taskList",
        "taskItem",
        "codeBlock",
        "blockquote",
        "rule",
        "hardBreak",
        "table",
        "tableRow",
        "tableHeader",
        "tableCell",
        "mention",
        "extension",
    ];
    let kind = node["type"].as_str().unwrap_or("");
    let fits = match kind {
        "text" => node["text"].as_str().is_some_and(|text| !text.is_empty()),
        "taskItem" => node["attrs"]["localId"].is_string() && node["attrs"]["state"].is_string(),
        "taskList" => node["attrs"]["localId"].is_string(),
        _ => true,
    };
    fits && KNOWN.contains(&kind) && node["content"].as_array().into_iter().flatten().all(is_document)
}

fn status_of(issue: &Issue) -> String {
    let of_phase = match issue.phase {
        Phase::Open => "To Do",
        Phase::Active => "In Progress",
        Phase::Closed => "Done",
    };
    issue.state.clone().unwrap_or_else(|| of_phase.to_owned())
}

/// As much of JQL as a client of ours asks, and nothing that it does not.
fn found(state: &State, request: &Request, jql: &str) -> Result<Vec<Issue>, Reply> {
    let refuse = |text: String| Err(Reply::status(400, &json!({"errorMessages": [text], "errors": {}})));
    let (condition, order) = jql.split_once(" ORDER BY ").unwrap_or((jql, ""));
    let issues = state.world(request);
    let mut rows: Vec<Issue> =
        issues.values().filter(|issue| !issue.deleted && !issue.is_pull_request).cloned().collect();
    rows.retain(|issue| !state.is_hidden(issue));
    let key = |issue: &Issue| format!("{PROJECT}-{}", issue.number);
    let mut bounded = false;
    for part in condition.split(" AND ").map(str::trim) {
        let quoted = |text: &str| text.trim().trim_matches('"').to_owned();
        if let Some(project) = part.strip_prefix("project = ") {
            bounded = true;
            if quoted(project) != PROJECT {
                return refuse(format!(
                    "The value '{}' does not exist for the field 'project'.",
                    quoted(project)
                ));
            }
        } else if let Some(minutes) =
            part.strip_prefix("updated >= -").and_then(|rest| rest.strip_suffix('m'))
        {
            // A minute is as fine as it gets.
            let since = (now() - minutes.parse::<u64>().unwrap() * 60) / 60 * 60;
            rows.retain(|issue| issue.updated >= since);
        } else if let Some(id) = part.strip_prefix("id > ") {
            let id: u64 = id.trim().parse().unwrap();
            rows.retain(|issue| 10_000 + issue.number > id);
        } else if let Some(label) = part.strip_prefix("labels = ") {
            rows.retain(|issue| issue.labels.contains(&quoted(label)));
        } else if let Some(keys) = part.strip_prefix("issuekey in (").and_then(|rest| rest.strip_suffix(')'))
        {
            bounded = true;
            let keys: Vec<&str> = keys.split(", ").collect();
            if let Some(missing) =
                keys.iter().find(|wanted| !issues.values().any(|issue| is(issue, wanted, &key)))
            {
                return refuse(format!("An issue with key '{missing}' does not exist for field 'issuekey'."));
            }
            rows.retain(|issue| keys.iter().any(|wanted| is(issue, wanted, &key)));
        } else if let Some(wanted) = part.strip_prefix("issuekey = ") {
            bounded = true;
            rows.retain(|issue| is(issue, wanted, &key));
        } else if let Some(who) = part.strip_prefix("assignee = ") {
            rows.retain(|issue| issue.assignee == quoted(who));
        } else if let Some(word) = part.strip_prefix("(summary ~ ").and_then(|rest| rest.strip_suffix(')')) {
            rows.retain(|issue| issue.title.contains(&quoted(word)));
        } else if !part.is_empty() {
            return refuse(format!("Error in the JQL Query: {part}"));
        }
    }
    if !bounded {
        return refuse("Unbounded JQL queries are not allowed here.".to_owned());
    }
    match order {
        "" | "id ASC" => rows.sort_by_key(|issue| issue.number),
        other => return refuse(format!("this server does not order by {other}")),
    }
    Ok(rows)
}

fn is(issue: &Issue, wanted: &str, key: &impl Fn(&Issue) -> String) -> bool {
    key(issue) == wanted || (10_000 + issue.number).to_string() == wanted
}

fn cloud(state: &State, request: &Request, base: &str, short: bool) -> Reply {
    let mut wanted = parameters(&request.query);
    if request.method == "POST" {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        for key in ["jql", "nextPageToken"] {
            wanted.extend(body[key].as_str().map(|text| (key.to_owned(), text.to_owned())));
        }
    }
    let jql = wanted.remove("jql").unwrap_or_default();
    let rows = match found(state, request, &jql) {
        Ok(rows) => rows,
        Err(refused) => return refused,
    };
    let most = wanted.get("maxResults").and_then(|text| text.parse().ok()).unwrap_or(50_usize).min(100);
    let most = if short { most / 2 } else { most };
    // A token belongs to its question.
    let sum = crc32fast::hash(jql.as_bytes());
    let start = match wanted.get("nextPageToken").map(|token| token.split_once('.')) {
        None => 0,
        Some(Some((of, place))) if of == sum.to_string() => {
            let last: u64 = place.parse().unwrap();
            rows.iter().position(|issue| issue.number > last).unwrap_or(rows.len())
        }
        Some(_) => {
            return Reply::status(
                400,
                &json!({"errorMessages": ["The provided next page token is invalid or expired."], "errors": {}}),
            );
        }
    };
    let shown = &rows[start..(start + most).min(rows.len())];
    let issues: Vec<Value> = shown.iter().map(|issue| issue_json(issue, base, true)).collect();
    let mut body = json!({"issues": issues, "isLast": start + shown.len() >= rows.len()});
    if let Some(last) = shown.last().filter(|_| start + shown.len() < rows.len()) {
        body["nextPageToken"] = json!(format!("{sum}.{}", last.number));
    }
    Reply::json(&body)
}

fn server(state: &State, request: &Request, base: &str) -> Reply {
    let wanted = parameters(&request.query);
    let rows = match found(state, request, wanted.get("jql").map_or("", String::as_str)) {
        Ok(rows) => rows,
        Err(refused) => return refused,
    };
    let number = |key: &str, or: usize| wanted.get(key).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (start, most) = (number("startAt", 0), number("maxResults", 50).min(100));
    if start >= 10_000 {
        return Reply::status(
            500,
            &json!({"errorMessages": ["search platform limit of 10,000"], "errors": {}}),
        );
    }
    let issues: Vec<Value> =
        rows.iter().skip(start).take(most).map(|issue| issue_json(issue, base, false)).collect();
    Reply::json(&json!({"startAt": start, "maxResults": most, "total": rows.len(), "issues": issues}))
}

fn issue_json(issue: &Issue, base: &str, cloud: bool) -> Value {
    let id = 10_000 + issue.number;
    let key = format!("{PROJECT}-{}", issue.number);
    let moment = |seconds: u64| specweave_jobs::clock::iso(seconds as i64 * 1000).replace('Z', "+0000");
    let (name, level) = match issue.kind {
        Kind::Epic => ("Epic", 1),
        Kind::Feature => ("Feature", 2),
        Kind::Story => ("Story", 0),
        Kind::Bug => ("Bug", 0),
        Kind::Task => ("Sub-task", -1),
    };
    let state = status_of(issue);
    let category =
        STATUSES.iter().find(|(_, name, _)| *name == state).map_or("undefined", |(_, _, kind)| kind);
    let paragraphs: Vec<Value> = issue
        .body
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| json!({"type": "paragraph", "content": [{"type": "text", "text": line}]}))
        .collect();
    let document = json!({"type": "doc", "version": 1, "content": paragraphs});
    let description = if cloud { issue.document.clone().unwrap_or(document) } else { json!(issue.body) };
    let mut issue_type = json!({"id": "1", "name": name, "subtask": level < 0, "self": format!("{base}/rest/api/3/issuetype/1")});
    if cloud {
        issue_type["hierarchyLevel"] = json!(level);
    }
    let mut fields = json!({
        "summary": issue.title,
        "description": description,
        "status": {"id": "3", "name": state, "statusCategory": {"id": 4, "key": category, "name": state}},
        "priority": {"id": "2", "name": match issue.priority {
            Some(priority) => PRIORITIES[usize::from(priority)],
            None if issue.number.is_multiple_of(4) => "High",
            None => "Medium",
        }},
        "issuetype": issue_type,
        "created": moment(issue.created),
        "updated": moment(issue.updated),
        "labels": issue.labels,
        "project": {"id": "1", "key": PROJECT, "name": "Payments"},
    });
    match (issue.parent, cloud || issue.kind == Kind::Task) {
        (Some(parent), true) => {
            fields["parent"] = json!({"id": (10_000 + parent).to_string(), "key": format!("{PROJECT}-{parent}"), "fields": {}});
        }
        (Some(parent), false) => fields[EPIC_LINK] = json!(format!("{PROJECT}-{parent}")),
        (None, _) => {}
    }
    if issue.malformed {
        fields.as_object_mut().unwrap().remove("summary");
    }
    json!({"id": id.to_string(), "key": key, "self": format!("{base}/rest/api/3/issue/{id}"), "fields": fields})
}
