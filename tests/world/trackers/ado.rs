//! Azure DevOps' face: the organisation `acme` with the project `Nova CAD`.

use super::{Issue, Kind, Phase, Reply, State, iso, parameters};
use crate::world::http::Request;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const PROJECT: &str = "Nova CAD";

pub fn answer(state: &State, request: &Request) -> Reply {
    let base = format!("http://{}/acme", request.headers.get("host").map_or("", String::as_str));
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    if let Some(told) = routes(request, &path) {
        return told;
    }
    if path == format!("/acme/_apis/projects/{PROJECT}") {
        return Reply::json(
            &json!({"id": "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", "name": PROJECT, "state": "wellFormed"}),
        );
    }
    let Some(rest) = path.strip_prefix(&format!("/acme/{PROJECT}/_apis/wit/")) else {
        return Reply::status(
            404,
            &json!({
                "$id": "1", "message": "TF200016: The following project does not exist.", "typeKey": "ProjectDoesNotExistWithNameException",
            }),
        );
    };
    // Routes do not care about case.
    match (request.method.as_str(), rest.to_lowercase().as_str()) {
        ("GET", "reporting/workitemrevisions") if state.no_feed.load(Ordering::Relaxed) => {
            Reply::status(404, &json!({"message": "The controller is not there."}))
        }
        ("GET", "reporting/workitemrevisions") => feed(state, request, &base),
        ("POST", "wiql") => query(state, request, &base),
        ("POST", "workitemsbatch") => batch(state, request, &base),
        ("GET", "workitemtypes") => {
            let names = ["Bug", "Epic", "Feature", "Task", "User Story"];
            let states =
                STATES.map(|(name, category)| json!({"name": name, "category": category, "color": "b2b2b2"}));
            let value = names.map(|name| json!({"name": name, "referenceName": name, "states": states}));
            Reply::json(&json!({"count": 5, "value": value}))
        }
        ("GET", states) if states.starts_with("workitemtypes/") && states.ends_with("/states") => {
            let states =
                STATES.map(|(name, category)| json!({"name": name, "category": category, "color": "b2b2b2"}));
            Reply::json(&json!({"count": states.len(), "value": states}))
        }
        ("POST", made) if made.starts_with("workitems/$") => {
            create(state, request, &rest["workitems/$".len()..], &base)
        }
        (_, item) if item.starts_with("workitems/") => {
            one(state, request, &item["workitems/".len()..], &base)
        }
        _ => Reply::status(404, &json!({"message": "The controller is not there."})),
    }
}

/// The states of a user story in the Agile process, and what they mean.
const STATES: [(&str, &str); 6] = [
    ("New", "Proposed"),
    ("Active", "InProgress"),
    ("In Development", "InProgress"),
    ("Resolved", "Resolved"),
    ("Closed", "Completed"),
    ("Removed", "Removed"),
];

fn refused(status: u16, message: &str) -> Reply {
    Reply::status(status, &json!({"$id": "1", "innerException": null, "message": message, "errorCode": 0}))
}

fn create(state: &State, request: &Request, kind: &str, base: &str) -> Reply {
    let mut issues = state.issues.lock().unwrap();
    let number = super::next_number(&issues);
    let mut issue = Issue::new(number, "");
    issue.kind = match kind {
        "Epic" => Kind::Epic,
        "Feature" => Kind::Feature,
        "User Story" => Kind::Story,
        "Bug" => Kind::Bug,
        "Task" => Kind::Task,
        _ => return refused(404, "VS402323: Work item type does not exist."),
    };
    issue.body = String::new();
    (issue.created, issue.updated) = (super::now(), super::now());
    issue.made = Some(std::time::SystemTime::now());
    if let Err(reply) = patch(state, &mut issue, request) {
        return reply;
    }
    if issue.title.is_empty() {
        return refused(400, "TF401320: Rule Error for field Title. Error code: Required, InvalidEmpty.");
    }
    let reply = Reply::json(&revision(&issue, base, true));
    issues.insert(number, issue);
    reply
}

fn one(state: &State, request: &Request, id: &str, base: &str) -> Reply {
    let id: u64 = id.parse().unwrap_or(0);
    let mut issues = match request.method.as_str() {
        "GET" => state.world(request),
        _ => state.issues.lock().unwrap(),
    };
    let Some(issue) = issues.get_mut(&id).filter(|issue| !issue.deleted) else {
        return refused(
            404,
            &format!("TF401232: Work item {id} does not exist, or you do not have permissions to read it."),
        );
    };
    if request.method == "PATCH" {
        let mut changed = issue.clone();
        if let Err(reply) = patch(state, &mut changed, request) {
            return reply;
        }
        changed.touch();
        *issue = changed;
    }
    Reply::json(&revision(issue, base, true))
}

/// Does what a JSON patch says, or nothing of it.
fn patch(state: &State, issue: &mut Issue, request: &Request) -> Result<(), Reply> {
    let kind = request.headers.get("content-type").map_or("", String::as_str);
    if kind != "application/json-patch+json" {
        return Err(refused(415, "VS402356: The content type is not supported."));
    }
    let operations: Vec<Value> = serde_json::from_slice(&request.body).unwrap_or_default();
    for operation in &operations {
        let (path, value) = (operation["path"].as_str().unwrap_or(""), &operation["value"]);
        let text = value.as_str().unwrap_or("").to_owned();
        match (operation["op"].as_str().unwrap_or(""), path) {
            ("test", "/rev") if value.as_u64() == Some(issue.revision) => {}
            ("test", "/rev") => {
                let text = "VS403351: Test Operation for path /rev failed: the work item was changed by someone else.";
                return Err(refused(412, text));
            }
            ("add" | "replace", "/fields/System.Title") => issue.title = text,
            ("add" | "replace", "/fields/System.Description") => {
                issue.body = text;
                issue.is_markdown = false;
            }
            ("add", path) if path.starts_with("/multilineFieldsFormat/") => {
                if state.html_only.load(Ordering::Relaxed) {
                    return Err(refused(400, "VS403681: The path /multilineFieldsFormat is not supported."));
                }
                issue.is_markdown = text == "Markdown";
            }
            (op @ ("add" | "replace"), "/fields/System.Tags") => {
                let tags = text.split(';').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned);
                if op == "replace" {
                    issue.labels.clear();
                }
                // To add is to add: those that are there stay.
                for tag in tags.collect::<Vec<_>>() {
                    if !issue.labels.contains(&tag) {
                        issue.labels.push(tag);
                    }
                }
            }
            ("add" | "replace", "/fields/Microsoft.VSTS.Common.Priority") => {
                issue.priority = value.as_u64().map(|priority| priority as u8 - 1);
            }
            ("add" | "replace", "/fields/System.State") => {
                let Some((name, category)) = STATES.iter().find(|(name, _)| *name == text) else {
                    return Err(refused(
                        400,
                        &format!("TF401320: the value '{text}' for the field 'State' is not supported."),
                    ));
                };
                issue.state = Some((*name).to_owned());
                issue.phase = match *category {
                    "Proposed" => Phase::Open,
                    "InProgress" => Phase::Active,
                    _ => Phase::Closed,
                };
            }
            ("add", "/relations/-") => {
                issue.parent = value["url"].as_str().and_then(|url| url.rsplit('/').next()?.parse().ok());
            }
            _ => return Err(refused(400, &format!("VS402835: {operation} is not supported."))),
        }
    }
    Ok(())
}

/// What Microsoft's own client asks before it asks anything: where things are.
fn routes(request: &Request, path: &str) -> Option<Reply> {
    let route = |id: &str, area: &str, resource: &str, template: &str| {
        json!({
            "id": id, "area": area, "resourceName": resource, "routeTemplate": template, "resourceVersion": 2,
            "minVersion": "1.0", "maxVersion": "7.2", "releasedVersion": "7.1",
        })
    };
    let value = match (request.method.as_str(), path) {
        ("OPTIONS", "/acme/_apis/Location") => {
            json!([route(
                "e81700f7-3be2-46de-8624-2eb35882fcaa",
                "Location",
                "ResourceAreas",
                "_apis/{resource}/{areaId}"
            )])
        }
        ("OPTIONS", "/acme/_apis/wit") => json!([
            route(
                "1a9c53f7-f243-4447-b110-35ef023636e4",
                "wit",
                "wiql",
                "{project}/{team}/_apis/{area}/{resource}"
            ),
            route(
                "908509b6-4248-4475-a1cd-829139ba419f",
                "wit",
                "workItemsBatch",
                "{project}/_apis/{area}/{resource}"
            ),
            route(
                "7c8d7a76-4a09-43e8-b5df-bd792f4ac6aa",
                "wit",
                "workItemTypes",
                "{project}/_apis/{area}/{resource}/{type}"
            ),
            route(
                "7c9d7a76-4a09-43e8-b5df-bd792f4ac6aa",
                "wit",
                "workItemTypeStates",
                "{project}/_apis/{area}/workItemTypes/{type}/states"
            ),
            route(
                "62d3d110-0047-428c-ad3c-4fe872c91c74",
                "wit",
                "workItems",
                "{project}/_apis/{area}/{resource}/${type}"
            ),
            route(
                "72c7ddf8-2cdc-4f60-90cd-ab71c14a399b",
                "wit",
                "workItems",
                "{project}/_apis/{area}/{resource}/{id}"
            ),
            route(
                "f828fe59-dd87-495d-a17c-7a8d6211ca6c",
                "wit",
                "workItemRevisions",
                "{project}/_apis/{area}/reporting/{resource}"
            ),
        ]),
        ("GET", "/acme/_apis/ResourceAreas") => json!([]),
        _ => return None,
    };
    Some(Reply::json(&json!({"count": value.as_array().map_or(0, Vec::len), "value": value})))
}

/// The newest revision of each item, in the order of changes.
fn feed(state: &State, request: &Request, base: &str) -> Reply {
    let wanted = parameters(&request.query);
    let issues = state.world(request);
    let mut rows: Vec<&Issue> = issues.values().filter(|issue| !issue.is_pull_request).collect();
    rows.retain(|issue| !state.is_hidden(issue));
    rows.sort_by_key(|issue| issue.revision);
    if let Some(since) = wanted.get("startDateTime") {
        rows.retain(|issue| iso(issue.updated).as_str() >= &since[..19]);
    }
    if let Some(place) = wanted.get("continuationToken").and_then(|token| token.strip_prefix("rev;")) {
        let place: u64 = place.parse().unwrap();
        rows.retain(|issue| issue.revision > place);
    }
    let most =
        wanted.get("$maxPageSize").and_then(|text| text.parse().ok()).unwrap_or(1_000_usize).min(1_000);
    let shown = &rows[..rows.len().min(most)];
    let values: Vec<Value> = shown.iter().map(|issue| revision(issue, base, false)).collect();
    let token = shown.last().map(|last| format!("rev;{}", last.revision));
    let token =
        token.or_else(|| wanted.get("continuationToken").cloned()).unwrap_or_else(|| "rev;0".to_owned());
    Reply::json(&json!({
        "values": values,
        "nextLink": format!("{base}/_apis/wit/reporting/workitemrevisions?continuationToken={token}"),
        "continuationToken": token,
        "isLastBatch": shown.len() == rows.len(),
    }))
}

fn query(state: &State, request: &Request, base: &str) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = body["query"].as_str().unwrap_or("");
    let after: u64 = text
        .split_once("[System.Id] > ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let since = text.split_once("[System.ChangedDate] >= '").and_then(|(_, rest)| rest.split('\'').next());
    let tag = text.split_once("[System.Tags] CONTAINS '").and_then(|(_, rest)| rest.split('\'').next());
    let word = |before: &str| text.split_once(before).and_then(|(_, rest)| rest.split('\'').next());
    let (title, who) = (word("[System.Title] CONTAINS '"), word("[System.AssignedTo] = '"));
    let top =
        parameters(&request.query).get("$top").and_then(|text| text.parse().ok()).unwrap_or(20_001_usize);
    let issues = state.world(request);
    let ids: Vec<Value> = issues
        .values()
        .filter(|issue| !issue.deleted && !issue.is_pull_request && issue.number > after)
        .filter(|issue| !state.is_hidden(issue))
        .filter(|issue| title.is_none_or(|word| issue.title.contains(word)))
        .filter(|issue| who.is_none_or(|who| issue.assignee == who))
        .filter(|issue| tag.is_none_or(|tag| issue.labels.iter().any(|own| own == tag)))
        .filter(|issue| since.is_none_or(|since| iso(issue.updated).as_str() >= &since[..19]))
        .take(top)
        .map(|issue| json!({"id": issue.number, "url": format!("{base}/_apis/wit/workItems/{}", issue.number)}))
        .collect();
    if ids.len() > 20_000 {
        return Reply::status(
            400,
            &json!({"message": "VS402337: The number of work items returned exceeds the size limit of 20000."}),
        );
    }
    Reply::json(
        &json!({"queryType": "flat", "queryResultType": "workItem", "asOf": iso(super::now()), "columns": [], "workItems": ids}),
    )
}

fn batch(state: &State, request: &Request, base: &str) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let ids: Vec<u64> = body["ids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if ids.len() > 200 {
        return Reply::status(
            400,
            &json!({"message": "VS403474: You requested information about more than 200 work items."}),
        );
    }
    let issues = state.world(request);
    let value: Vec<Value> = ids
        .iter()
        .map(|id| {
            issues
                .get(id)
                .filter(|issue| !issue.deleted)
                .map_or(Value::Null, |issue| revision(issue, base, true))
        })
        .collect();
    Reply::json(&json!({"count": value.len(), "value": value}))
}

/// An item; only where items are asked for by themselves, the format of a text is told.
fn revision(issue: &Issue, base: &str, tells_format: bool) -> Value {
    let kind = match issue.kind {
        Kind::Epic => "Epic",
        Kind::Feature => "Feature",
        Kind::Story => "User Story",
        Kind::Bug => "Bug",
        Kind::Task => "Task",
    };
    let state = match issue.phase {
        Phase::Open => "New",
        Phase::Active => "Active",
        Phase::Closed => "Closed",
    };
    let mut fields = json!({
        "System.Id": issue.number,
        "System.AreaPath": format!("{PROJECT}\\{}", issue.area),
        "System.TeamProject": PROJECT,
        "System.WorkItemType": kind,
        "System.State": issue.state.as_deref().unwrap_or(state),
        "System.CreatedDate": iso(issue.created),
        "System.ChangedDate": iso(issue.updated),
        "System.Title": issue.title,
        "System.Tags": issue.labels.join("; "),
        "System.Description": issue.body,
        "Microsoft.VSTS.Common.Priority": issue.priority.map_or(issue.number % 4 + 1, |priority| u64::from(priority) + 1),
    });
    if issue.kind == Kind::Story {
        fields["Microsoft.VSTS.Common.AcceptanceCriteria"] = json!(issue.criteria);
    }
    if let Some(parent) = issue.parent {
        fields["System.Parent"] = json!(parent);
    }
    if issue.deleted {
        fields["System.IsDeleted"] = json!(true);
    }
    if issue.malformed {
        fields.as_object_mut().unwrap().remove("System.Title");
    }
    let format = if issue.is_markdown { "Markdown" } else { "Html" };
    let mut row = json!({"id": issue.number, "rev": issue.revision, "fields": fields, "url": format!("{base}/_apis/wit/workItems/{}", issue.number)});
    if tells_format {
        row["multilineFieldsFormat"] = json!({"System.Description": format});
    }
    row
}
