//! A story that people or SpecWeave wrote: front matter, a description, boxes. What is ours to change in it is changed
//! line by line; everything else stays to the byte. Pure.

mod edits;
mod links;

use crate::docs::front_matter::{is_there, quoted};
use crate::model::record::{self, Checkbox, List, MOST_BOXES, Record};
use crate::model::text::{self, Fence};
use edits::harmless;
use serde_json::{Map, Value};
use std::ops::Range;

/// Sections that end a description; what stands in the ones that hold no boxes of ours stays here.
const SECTIONS: [&str; 8] = [
    "## Acceptance Criteria",
    "## Tasks",
    "## Implementation",
    "## Business Rationale",
    "## Related User Stories",
    "## Related Stories",
    "## Links",
    "## External Metadata",
];

/// Stands behind the link of a story that SpecWeave generates. It keeps the link when it generates the story anew, and no
/// comment: so a file that a sync has written is told from one that was generated since.
const SYNCED: &str = " # synced by specweave-jobs";

/// Why a file is no story that can be synced, or not in this way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoredError {
    #[error("its front matter is not valid YAML: {0}")]
    Yaml(String),
    #[error("it has more than {MOST_BOXES} boxes")]
    ManyBoxes,
    #[error("its front matter has no `id: US-NNN`")]
    NoId,
    #[error("its front matter is written in a way that `{0}` cannot be changed in without touching the rest")]
    Unwritable(String),
}

/// A story's file, taken apart.
#[derive(Clone, Debug)]
pub struct Authored {
    lines: Vec<String>,
    /// Of the front matter, without its fences.
    front: Range<usize>,
    pub meta: Map<String, Value>,
    heading: Option<usize>,
    description: Range<usize>,
    /// Lines of each box.
    boxes: Vec<(Checkbox, Range<usize>)>,
    /// The word for the status as it stands there.
    pub status: String,
    record: Record,
    /// What ends most lines here.
    end: &'static str,
}

/// Whether an id is a story's: `US-001`, `US-001E`, or with the short name of a project as in `US-FE-001`.
fn is_story_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix("US-") else { return false };
    let rest = match rest.split_once('-') {
        Some((project, rest)) if project.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let is_name =
                (2..=6).contains(&project.len()) && project.bytes().all(|b| b.is_ascii_alphabetic());
            if is_name { rest } else { return false }
        }
        _ => rest,
    };
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Authored {
    /// Takes a file apart. The status of the record is the word as it stands there.
    pub fn parse(text: &str) -> Result<Self, AuthoredError> {
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let bare = |at: usize| lines.get(at).map_or("", |line| line.trim_end());
        let opens = is_there(text);
        let close = opens.then(|| (1..lines.len()).find(|at| bare(*at) == "---")).flatten();
        let front = close.map_or(0..0, |close| 1..close);
        let meta = yaml(&lines[front.clone()].concat())?;
        let with_return = lines.iter().filter(|line| line.ends_with("\r\n")).count();
        let end = if with_return * 2 > lines.len() { "\r\n" } else { "\n" };
        let body = close.map_or(0, |close| close + 1);
        let mut fence = Fence::default();
        let in_code: Vec<bool> =
            (0..lines.len()).map(|at| at >= body && fence.passes(lines[at].trim_end())).collect();
        let section = |at: usize| {
            let known = |heading: &&str| [bare(at), bare(at).trim_end_matches(':')].contains(heading);
            SECTIONS.iter().find(|heading| !in_code[at] && known(heading)).copied()
        };
        let heading = (body..lines.len()).find(|at| !in_code[*at] && bare(*at).starts_with("# "));
        let mut from = heading.map_or(body, |at| at + 1);
        while from < lines.len() && (bare(from).is_empty() || is_link_line(bare(from))) {
            from += 1;
        }
        let mut until = (from..lines.len()).find(|at| section(*at).is_some()).unwrap_or(lines.len());
        while until > from && matches!(bare(until - 1), "" | "---") {
            until -= 1;
        }
        let mut boxes: Vec<(Checkbox, Range<usize>)> = Vec::new();
        let mut list = None;
        for (at, is_code) in in_code.iter().copied().enumerate().skip(until) {
            let line = bare(at);
            if let Some(heading) = section(at) {
                list = match heading {
                    "## Acceptance Criteria" => Some(List::Criteria),
                    "## Tasks" | "## Implementation" => Some(List::Tasks),
                    _ => None,
                };
            } else if !is_code && line.starts_with('#') {
                list = list.filter(|_| line.starts_with("###"));
            } else if let Some(list) = list.filter(|_| !is_code) {
                match Checkbox::parse(list, line) {
                    Some(one) => boxes.push((one, at..at + 1)),
                    // What is indented below a box belongs to it.
                    None if line.starts_with("  ") && boxes.last().is_some_and(|(_, r)| r.end == at) => {
                        if let Some((one, range)) = boxes.last_mut() {
                            one.text.push_str(&format!("\n{line}"));
                            range.end = at + 1;
                        }
                    }
                    None => {}
                }
            }
        }
        if boxes.len() > MOST_BOXES {
            return Err(AuthoredError::ManyBoxes);
        }
        let text_of = |name: &str| scalar(meta.get(name));
        let title = match text_of("title") {
            title if title.is_empty() => heading.map_or(String::new(), |at| heading_title(bare(at))),
            title => title,
        };
        let description =
            lines[from..until].iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
        let record = Record {
            title,
            status: text_of("status"),
            priority: record::priority(&text_of("priority").to_ascii_uppercase()),
            labels: labels(meta.get("labels")),
            description,
            criteria: Vec::new(),
            boxes: boxes.iter().map(|(one, _)| one.clone()).collect(),
        };
        let status = record.status.clone();
        Ok(Self { lines, front, meta, heading, description: from..until, boxes, status, record, end })
    }

    /// What the file says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// `US-001`.
    pub fn id(&self) -> Result<String, AuthoredError> {
        let id = scalar(self.meta.get("id")).to_uppercase();
        is_story_id(&id).then_some(id).ok_or(AuthoredError::NoId)
    }

    /// Whether SpecWeave generates this file from an increment, and has since a sync last wrote it.
    pub fn is_generated(&self) -> bool {
        let mut front = self.lines[self.front.clone()].iter();
        !front.any(|line| line.trim_end().ends_with(SYNCED)) && !self.increments().is_empty()
    }

    /// The increments whose folders the file names.
    pub fn increments(&self) -> Vec<String> {
        // What stands in a description may be a tracker's.
        let own = self.lines.iter().enumerate().filter(|(at, _)| !self.description.contains(at));
        let lines = own.filter_map(|(_, line)| line.trim_end().strip_prefix("**Increment**: ["));
        let names = lines.filter_map(|rest| rest.split_once(']')).map(|(name, _)| name.to_owned());
        let safe = |name: &String| {
            name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        names.filter(safe).collect()
    }
}

/// A new file for a story whose own is gone.
pub fn restored(id: &str, feature: &str, record: &Record, status: &str) -> String {
    let mut out =
        format!("---\nid: {id}\nfeature: {feature}\ntitle: {}\nstatus: {status}\n", quoted(&record.title));
    if let Some(priority) = record.priority {
        out.push_str(&format!("priority: P{priority}\n"));
    }
    if !record.labels.is_empty() {
        let labels: Vec<String> = record.labels.iter().map(|label| quoted(label)).collect();
        out.push_str(&format!("labels: [{}]\n", labels.join(", ")));
    }
    let title = text::heading(&record.title);
    out.push_str(&format!("---\n\n# {id}: {title}\n\n**Feature**: [{feature}](./FEATURE.md)\n\n"));
    if !record.description.is_empty() {
        out.push_str(&format!("{}\n\n", harmless(&record.description).join("\n")));
    }
    for list in List::ALL {
        let lines: Vec<String> =
            record.boxes.iter().filter(|one| one.list == list).map(|one| one.line() + "\n").collect();
        if !lines.is_empty() {
            out.push_str(&format!("{}\n\n{}\n", list.heading(), lines.concat()));
        }
    }
    out
}

/// Lines below the heading that link elsewhere and are no description.
fn is_link_line(line: &str) -> bool {
    ["**Feature**:", "**Increment**:", "**Project**:", "**Board**:", "**Origin**:"]
        .iter()
        .any(|name| line.starts_with(name))
}

fn heading_title(line: &str) -> String {
    let text = line.trim_start_matches("# ").trim();
    let title = text.split_once(": ").filter(|(id, _)| id.to_uppercase().starts_with("US-"));
    title.map_or(text, |(_, title)| title).to_owned()
}

fn yaml(text: &str) -> Result<Map<String, Value>, AuthoredError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        AuthoredError::Yaml(specweave_jobs::text::plain(text.lines().next().unwrap_or_default()))
    })
}

fn scalar(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

fn labels(value: Option<&Value>) -> std::collections::BTreeSet<String> {
    match value {
        Some(Value::Array(all)) => {
            all.iter().map(|one| scalar(Some(one))).filter(|label| !label.is_empty()).collect()
        }
        Some(Value::String(text)) => {
            text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
        }
        _ => Default::default(),
    }
}

#[cfg(test)]
#[path = "authored_tests.rs"]
mod tests;
