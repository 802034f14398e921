//! GitHub's face: `/api/v3` of an Enterprise server with the repository `acme/web`.

use super::{Issue, Phase, Reply, State, iso, parameters};
use crate::world::http::Request;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const REPOSITORY: &str = "acme/web";
/// The repository's own number, which no name changes.
fn repository_id(state: &State) -> u64 {
    if state.replaced.load(Ordering::Relaxed) { 2 } else { 1 }
}

pub fn answer(state: &State, request: &Request) -> Reply {
    let reply = routed(state, request);
    let mut quota = state.quota.lock().unwrap();
    match &mut *quota {
        // The search has a quota of its own.
        Some((left, reset)) if !request.path.ends_with("/search/issues") => {
            *left = left.saturating_sub(1);
            reply
                .with("X-RateLimit-Remaining", left.to_string())
                .with("X-RateLimit-Reset", reset.to_string())
                .with("X-RateLimit-Resource", "core")
        }
        _ => reply,
    }
}

fn routed(state: &State, request: &Request) -> Reply {
    let base = format!("http://{}", request.headers.get("host").map_or("", String::as_str));
    let path = request.path.strip_prefix("/api/v3").unwrap_or(&request.path);
    let repository_id = repository_id(state);
    let moved = state.moved.lock().unwrap().clone();
    let name = moved.as_ref().map_or(REPOSITORY, |(_, name)| name.as_str());
    if path == "/search/issues" {
        return search(state, request, &base);
    }
    if let Some((old, _)) = &moved
        && let Some(rest) = path.strip_prefix(&format!("/repos/{old}"))
    {
        let to = format!("{base}/api/v3/repositories/{repository_id}{rest}?{}", request.query);
        return Reply::status(301, &json!({"message": "Moved Permanently", "url": to})).with("Location", to);
    }
    let of_repository = [format!("/repos/{name}"), format!("/repositories/{repository_id}")];
    let rest = of_repository.iter().find_map(|prefix| path.strip_prefix(prefix.as_str()));
    match rest {
        Some("/issues") if state.gone.load(Ordering::Relaxed) => {
            Reply::status(410, &json!({"message": "Issues are disabled for this repo"}))
        }
        Some("/issues") if request.method == "POST" => create(state, request, &base, name),
        Some("/issues") => list(state, request, &base, name),
        Some("/milestones") => milestones(state, request, &base, name),
        Some("") => {
            Reply::json(&json!({"id": repository_id, "name": name, "full_name": name, "private": true}))
        }
        Some(rest) if rest.starts_with("/issues/") => one(state, request, rest, &base, name),
        _ => Reply::status(404, &json!({"message": "Not Found"})),
    }
}

fn body_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn invalid(field: &str) -> Reply {
    Reply::status(
        422,
        &json!({"message": "Validation Failed", "errors": [{"resource": "Issue", "field": field, "code": "invalid"}]}),
    )
}

fn create(state: &State, request: &Request, base: &str, name: &str) -> Reply {
    let body = body_of(request);
    let Some(title) =
        body["title"].as_str().filter(|title| !title.is_empty() && title.chars().count() <= 256)
    else {
        return invalid("title");
    };
    let mut issues = state.issues.lock().unwrap();
    let number = super::next_number(&issues);
    let mut issue = Issue::new(number, title);
    (issue.created, issue.updated) = (super::now(), super::now());
    issue.made = Some(std::time::SystemTime::now());
    issue.body = body["body"].as_str().unwrap_or("").to_owned();
    if issue.body.chars().count() > 65_536 {
        return invalid("body");
    }
    issue.milestone = body["milestone"].as_u64();
    if issue.milestone.is_some_and(|milestone| !state.milestones.lock().unwrap().contains_key(&milestone)) {
        return invalid("milestone");
    }
    if !state.drops_labels.load(Ordering::Relaxed) {
        set_labels(&mut issue, &body["labels"]);
    }
    let reply = Reply::status(201, &issue_json(&issue, base, name));
    issues.insert(number, issue);
    reply
}

/// A label that says that it is under way is shown for a phase.
fn set_labels(issue: &mut Issue, labels: &Value) {
    let Some(labels) = labels.as_array() else { return };
    let mut labels: Vec<String> = labels.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let is_active = labels.iter().any(|label| label == "in-progress");
    labels.retain(|label| label != "in-progress");
    issue.labels = labels;
    if issue.phase != Phase::Closed {
        issue.phase = if is_active { Phase::Active } else { Phase::Open };
    }
}

fn one(state: &State, request: &Request, rest: &str, base: &str, name: &str) -> Reply {
    let number: u64 = rest.trim_start_matches("/issues/").parse().unwrap_or(0);
    let mut issues = match request.method.as_str() {
        "GET" => state.world(request),
        _ => state.issues.lock().unwrap(),
    };
    let Some(issue) = issues.get_mut(&number) else {
        return Reply::status(404, &json!({"message": "Not Found"}));
    };
    if issue.deleted {
        return Reply::status(410, &json!({"message": "This issue was deleted"}));
    }
    if request.method == "GET" {
        return Reply::json(&issue_json(issue, base, name));
    }
    let body = body_of(request);
    if let Some(title) = body["title"].as_str() {
        title.clone_into(&mut issue.title);
    }
    if let Some(text) = body["body"].as_str() {
        text.clone_into(&mut issue.body);
    }
    match body["state"].as_str() {
        Some("closed") => {
            issue.phase = Phase::Closed;
            issue.state = body["state_reason"].as_str().map(str::to_owned);
        }
        Some("open") => (issue.phase, issue.state) = (Phase::Open, None),
        _ => {}
    }
    if !state.drops_labels.load(Ordering::Relaxed) {
        set_labels(issue, &body["labels"]);
    }
    if body.get("milestone").is_some() {
        issue.milestone = body["milestone"].as_u64();
    }
    issue.touch();
    Reply::json(&issue_json(issue, base, name))
}

fn milestones(state: &State, request: &Request, base: &str, name: &str) -> Reply {
    let mut milestones = state.milestones.lock().unwrap();
    let shown = |number: u64, title: &str| {
        json!({
            "number": number, "title": title, "state": "open", "id": 50 + number,
            "html_url": format!("{base}/{name}/milestone/{number}"),
        })
    };
    if request.method == "GET" {
        return Reply::json(&json!(milestones.iter().map(|(n, title)| shown(*n, title)).collect::<Vec<_>>()));
    }
    let title = body_of(request)["title"].as_str().unwrap_or("").to_owned();
    if title.is_empty() || milestones.values().any(|known| *known == title) {
        let errors = json!([{"resource": "Milestone", "code": "already_exists", "field": "title"}]);
        return Reply::status(422, &json!({"message": "Validation Failed", "errors": errors}));
    }
    let number = milestones.len() as u64 + 1;
    milestones.insert(number, title.clone());
    Reply::status(201, &shown(number, &title))
}

/// As much of a search as a client of ours asks; any other word is one of the title. A thousand is all that it gives.
fn search(state: &State, request: &Request, base: &str) -> Reply {
    let wanted = parameters(&request.query);
    let number = |key: &str, or: usize| wanted.get(key).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (per_page, page) = (number("per_page", 30).min(100), number("page", 1));
    let query = wanted.get("q").cloned().unwrap_or_default();
    let name = query.split_whitespace().find_map(|word| word.strip_prefix("repo:")).unwrap_or("").to_owned();
    let issues = state.world(request);
    let mut rows: Vec<&Issue> = issues.values().filter(|issue| !issue.deleted).collect();
    for word in query.split_whitespace().filter(|word| !word.starts_with("repo:")) {
        rows.retain(|issue| match word.split_once(':') {
            Some(("is", "issue")) => !issue.is_pull_request,
            Some(("updated", since)) => iso(issue.updated).as_str() >= &since[2..],
            Some(("label", label)) => issue.labels.iter().any(|own| own == label.trim_matches('"')),
            Some(("assignee", who)) => issue.assignee == who,
            _ => issue.title.contains(word),
        });
    }
    rows.sort_by_key(|issue| (issue.updated, issue.number));
    let start = ((page - 1) * per_page).min(rows.len());
    let end = (start + per_page).min(rows.len()).min(1_000);
    let items: Vec<Value> =
        rows[start.min(end)..end].iter().map(|issue| issue_json(issue, base, &name)).collect();
    let all = rows.len();
    let reply = Reply::json(&json!({"total_count": all, "incomplete_results": false, "items": items}));
    if end == all || end == 1_000 {
        return reply;
    }
    let others = wanted.iter().filter(|(key, _)| *key != "page");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(others).append_pair("page", &(page + 1).to_string());
    reply.with("Link", format!("<{base}/api/v3/search/issues?{}>; rel=\"next\"", query.finish()))
}

fn list(state: &State, request: &Request, base: &str, name: &str) -> Reply {
    let wanted = parameters(&request.query);
    let number = |key: &str, or: usize| wanted.get(key).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (per_page, page) = (number("per_page", 30).min(100), number("page", 1));
    let issues = state.world(request);
    let labels: Vec<&str> = wanted
        .get("labels")
        .map(|labels| labels.split(',').filter(|label| !label.is_empty()).collect())
        .unwrap_or_default();
    let since = wanted.get("since").and_then(|since| specweave_jobs::clock::parse_iso(since));
    let since = since.map(|at| at as u64 / 1000);
    let mut rows: Vec<&Issue> = issues
        .values()
        .filter(|issue| !issue.deleted)
        .filter(|issue| since.is_none_or(|since| issue.updated >= since))
        .filter(|issue| labels.iter().all(|label| issue.labels.iter().any(|own| own == label)))
        .filter(|issue| match wanted.get("state").map_or("open", String::as_str) {
            "all" => true,
            "closed" => issue.phase == Phase::Closed,
            _ => issue.phase != Phase::Closed,
        })
        .collect();
    match wanted.get("sort").map(String::as_str) {
        Some("updated") => rows.sort_by_key(|issue| (issue.updated, issue.number)),
        _ => rows.sort_by_key(|issue| (issue.created, issue.number)),
    }
    if wanted.get("direction").map(String::as_str) != Some("asc") {
        rows.reverse();
    }
    let numbered = state.numbered_pages.load(Ordering::Relaxed);
    if numbered && (page - 1) * per_page >= 10_000 {
        let text = "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)";
        return Reply::status(422, &json!({"message": text, "documentation_url": "https://docs"}));
    }
    // A cursor is a place among moments; a number is a place among whatever there is now.
    let start = match wanted.get("after").and_then(|after| after.split_once('-')) {
        Some((updated, number)) => {
            let place: (u64, u64) = (updated.parse().unwrap_or(0), number.parse().unwrap_or(0));
            rows.iter().position(|issue| (issue.updated, issue.number) > place).unwrap_or(rows.len())
        }
        None => ((page - 1) * per_page).min(rows.len()),
    };
    let shown = &rows[start..(start + per_page).min(rows.len())];
    let bodies: Vec<Value> = shown.iter().map(|issue| issue_json(issue, base, name)).collect();
    let body = Value::from(bodies);
    let tag = format!("\"{:08x}\"", crc32fast::hash(body.to_string().as_bytes()));
    if request.headers.get("if-none-match") == Some(&tag) {
        return Reply { status: 304, headers: Vec::new(), body: Vec::new() }.with("ETag", tag);
    }
    let mut reply = Reply::json(&body).with("ETag", tag);
    let more = start + shown.len() < rows.len();
    if let Some(last) = shown.last().filter(|_| more) {
        let others = wanted.iter().filter(|(key, _)| *key != "page" && *key != "after");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(others);
        if !numbered {
            query.append_pair("after", &format!("{}-{}", last.updated, last.number));
        }
        query.append_pair("page", &(page + 1).to_string());
        let (id, query) = (repository_id(state), query.finish());
        let next = format!("<{base}/api/v3/repositories/{id}/issues?{query}>; rel=\"next\"");
        reply = reply.with("Link", next);
    }
    reply
}

/// An issue with everything that GitHub's description of its API requires of one.
fn issue_json(issue: &Issue, base: &str, name: &str) -> Value {
    let api = format!("{base}/api/v3/repos/{name}");
    let url = format!("{api}/issues/{}", issue.number);
    let closed = issue.phase == Phase::Closed;
    let labels: Vec<Value> = issue
        .labels
        .iter()
        .map(String::as_str)
        .chain((issue.phase == Phase::Active).then_some("in-progress"))
        .enumerate()
        .map(|(place, label)| {
            json!({
                "id": place + 1, "node_id": "L", "url": format!("{api}/labels/{label}"), "name": label,
                "color": "ededed", "default": false, "description": null,
            })
        })
        .collect();
    let user = json!({
        "login": "ada", "id": 1, "node_id": "U", "avatar_url": "https://a/u", "gravatar_id": "",
        "url": format!("{base}/api/v3/users/ada"), "html_url": "https://a/ada",
        "followers_url": "https://a/x", "following_url": "https://a/x", "gists_url": "https://a/x",
        "starred_url": "https://a/x", "subscriptions_url": "https://a/x", "organizations_url": "https://a/x",
        "repos_url": "https://a/x", "events_url": "https://a/x", "received_events_url": "https://a/x",
        "type": "User", "site_admin": false,
    });
    let mut row = json!({
        "url": url,
        "repository_url": api,
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "html_url": format!("{base}/{name}/issues/{}", issue.number),
        "id": 1_000_000 + issue.number,
        "node_id": format!("I_{}", issue.number),
        "number": issue.number,
        "title": issue.title,
        "user": if issue.nobody { Value::Null } else { user },
        "labels": labels,
        "state": if closed { "closed" } else { "open" },
        "state_reason": if closed { json!(issue.state.as_deref().unwrap_or("completed")) } else { Value::Null },
        "locked": false,
        "assignee": null,
        "assignees": [],
        "milestone": null,
        "comments": 0,
        "created_at": iso(issue.created),
        "updated_at": iso(issue.updated),
        "closed_at": if closed { json!(iso(issue.updated)) } else { Value::Null },
        "author_association": if issue.by_outsider { "NONE" } else { "OWNER" },
        "active_lock_reason": null,
        "body": if issue.body.is_empty() { Value::Null } else { json!(issue.body) },
        "timeline_url": format!("{url}/timeline"),
        "performed_via_github_app": null,
    });
    if let Some(parent) = issue.parent {
        row["parent_issue_url"] = json!(format!("{api}/issues/{parent}"));
    }
    if issue.is_pull_request {
        row["pull_request"] = json!({"url": format!("{api}/pulls/{}", issue.number), "html_url": null, "diff_url": null, "patch_url": null});
    }
    if issue.malformed {
        row["title"] = Value::Null;
    }
    row
}
