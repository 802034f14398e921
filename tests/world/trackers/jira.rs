//! JIRA's face: the project `PAY`, of the Cloud or of a Data Center.

use super::{Issue, Kind, Phase, Reply, State, now, parameters};
use crate::world::http::Request;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const PROJECT: &str = "PAY";
const EPIC_LINK: &str = "customfield_10100";

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
        ])),
        ("/rest/api/3/search/approximate-count", false) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            match found(state, request, body["jql"].as_str().unwrap_or("")) {
                Ok(rows) => Reply::json(&json!({"count": rows.len()})),
                Err(refused) => refused,
            }
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

/// As much of JQL as a client of ours asks, and nothing that it does not.
fn found(state: &State, request: &Request, jql: &str) -> Result<Vec<Issue>, Reply> {
    let refuse = |text: String| Err(Reply::status(400, &json!({"errorMessages": [text], "errors": {}})));
    let (condition, order) = jql.split_once(" ORDER BY ").unwrap_or((jql, ""));
    let issues = state.world(request);
    let mut rows: Vec<Issue> =
        issues.values().filter(|issue| !issue.deleted && !issue.is_pull_request).cloned().collect();
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
    let (state, category) = match issue.phase {
        Phase::Open => ("To Do", "new"),
        Phase::Active => ("In Progress", "indeterminate"),
        Phase::Closed => ("Done", "done"),
    };
    let paragraphs: Vec<Value> = issue
        .body
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| json!({"type": "paragraph", "content": [{"type": "text", "text": line}]}))
        .collect();
    let document = json!({"type": "doc", "version": 1, "content": paragraphs});
    let description = match cloud {
        true => issue.document.clone().unwrap_or(document),
        false => json!(issue.body),
    };
    let mut issue_type = json!({"id": "1", "name": name, "subtask": level < 0, "self": format!("{base}/rest/api/3/issuetype/1")});
    if cloud {
        issue_type["hierarchyLevel"] = json!(level);
    }
    let mut fields = json!({
        "summary": issue.title,
        "description": description,
        "status": {"id": "3", "name": state, "statusCategory": {"id": 4, "key": category, "name": state}},
        "priority": {"id": "2", "name": if issue.number.is_multiple_of(4) { "High" } else { "Medium" }},
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
