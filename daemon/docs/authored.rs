//! A story that people or SpecWeave wrote: front matter, a description, boxes. What is ours to change in it is changed
//! line by line; everything else stays to the byte. Pure.

use crate::docs::front_matter;
use crate::model::record::{self, BoxKey, Checkbox, Field, List, MOST_BOXES, Record, keys};
use crate::model::text::{self, Fence};
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

/// A link to an item as people write it: `5`, `"#5"`, `acme/web#5`, `PAY-1`, or its whole address.
struct Link {
    reference: String,
    /// Where it is, as far as the link says.
    address: Option<String>,
}

impl Link {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with("https://") || text.starts_with("http://") {
            let path = text.split(['?', '#']).next().unwrap_or(text);
            let reference = path.trim_end_matches('/').rsplit('/').next()?.to_owned();
            return Some(Self { reference, address: Some(text.to_owned()) });
        }
        match text.split_once('#') {
            Some(("", number)) => Some(Self { reference: number.to_owned(), address: None }),
            Some((repository, number)) if repository.contains('/') => Some(Self {
                reference: number.to_owned(),
                address: Some(format!("https://github.com/{repository}/issues/{number}")),
            }),
            _ => Some(Self { reference: text.to_owned(), address: None }),
        }
    }
}

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
    /// What ends a line here.
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

/// Whether a text begins as one with front matter does.
pub fn has_front_matter(text: &str) -> bool {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().next().is_some_and(|line| line.trim_end() == "---")
}

impl Authored {
    /// Takes a file apart. The status of the record is the word as it stands there.
    pub fn parse(text: &str) -> Result<Self, AuthoredError> {
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let bare = |at: usize| lines.get(at).map_or("", |line| line.trim_end());
        let opens = has_front_matter(text);
        let close = opens.then(|| (1..lines.len()).find(|at| bare(*at) == "---")).flatten();
        let front = close.map_or(0..0, |close| 1..close);
        let meta = yaml(&lines[front.clone()].concat())?;
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
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

    /// The item of a tracker that the front matter names: a number or a key, however people write it.
    pub fn link(&self, provider: &str) -> Option<String> {
        let named = self.linked_as(provider, &["issue", "key", "id", "number", "workItem", "work_item_id"]);
        let address = || self.linked_as(provider, &["url", "html_url"]);
        Link::parse(&named.or_else(address)?).map(|link| link.reference)
    }

    /// The address of that item, where the front matter has it, or says at least which repository it is in.
    pub fn link_address(&self, provider: &str) -> Option<String> {
        let named =
            self.linked_as(provider, &["issue", "key", "id", "number"]).and_then(|text| Link::parse(&text));
        self.linked_as(provider, &["url", "html_url"]).or_else(|| named?.address)
    }

    /// What the front matter says of a tracker under the first of these names, wherever links stand.
    fn linked_as(&self, provider: &str, names: &[&str]) -> Option<String> {
        let places = [self.meta.get("external"), self.meta.get("external_tools")];
        places.into_iter().flatten().find_map(|place| {
            let own = place.get(provider)?;
            names.iter().map(|name| scalar(own.get(name))).find(|found| !found.is_empty())
        })
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

    /// The file with these fields; `status` is the word to write where the status is among them.
    pub fn with(&self, wanted: &Record, fields: &[Field], status: &str) -> Result<String, AuthoredError> {
        let mut edits: Vec<(Range<usize>, Vec<String>)> = Vec::new();
        let mut meta = self.meta.clone();
        for field in fields {
            if *field != Field::Status && self.record.same(wanted, *field) {
                continue;
            }
            match field {
                Field::Title => {
                    self.set_key(&mut edits, &mut meta, "title", Some(Value::from(wanted.title.as_str())));
                    if let Some(at) = self.heading {
                        let before = self.lines[at].trim_end();
                        let id = before.trim_start_matches("# ").split_once(": ").map(|(id, _)| id);
                        let title = text::heading(&wanted.title);
                        let line = match id.filter(|id| id.to_uppercase().starts_with("US-")) {
                            Some(id) => format!("# {id}: {title}"),
                            None => format!("# {title}"),
                        };
                        edits.push((at..at + 1, vec![line]));
                    }
                }
                Field::Status => self.set_key(&mut edits, &mut meta, "status", Some(Value::from(status))),
                Field::Priority => {
                    let value = wanted.priority.map(|priority| Value::from(format!("P{priority}")));
                    self.set_key(&mut edits, &mut meta, "priority", value);
                }
                Field::Labels => {
                    // Those that are there keep their order.
                    let there = self.meta.get("labels").and_then(Value::as_array).into_iter().flatten();
                    let mut kept: Vec<String> = there.map(|label| scalar(Some(label))).collect();
                    kept.extend(
                        self.record
                            .labels
                            .iter()
                            .filter(|label| !kept.contains(label))
                            .cloned()
                            .collect::<Vec<_>>(),
                    );
                    let kept = kept.into_iter().filter(|label| wanted.labels.contains(label));
                    let new =
                        wanted.labels.iter().filter(|label| !self.record.labels.contains(*label)).cloned();
                    let all: Vec<Value> = kept.chain(new).map(Value::from).collect();
                    let value = (!all.is_empty()).then_some(Value::from(all));
                    self.set_key(&mut edits, &mut meta, "labels", value);
                }
                Field::Description => edits.push(self.described(&wanted.description)),
                Field::Boxes => edits.extend(self.boxed(&wanted.boxes)),
            }
        }
        self.finish(edits, &meta)
    }

    /// The file with the link to an item of a tracker, below these keys.
    pub fn linked(
        &self,
        keys: &[&str],
        provider: &str,
        link: &Map<String, Value>,
    ) -> Result<String, AuthoredError> {
        let (mut edits, mut meta) = (Vec::new(), self.meta.clone());
        for key in keys {
            let mut all = match meta.get(*key) {
                Some(Value::Object(all)) => all.clone(),
                _ => Map::new(),
            };
            let mut own = match all.get(provider) {
                Some(Value::Object(own)) => own.clone(),
                _ => Map::new(),
            };
            if link.iter().all(|(name, value)| own.get(name) == Some(value)) {
                continue;
            }
            own.extend(link.clone());
            all.insert(provider.to_owned(), Value::Object(own));
            self.set_key(&mut edits, &mut meta, key, Some(Value::Object(all)));
        }
        self.finish(edits, &meta)
    }

    fn described(&self, description: &str) -> (Range<usize>, Vec<String>) {
        let mut lines = harmless(description);
        if self.description.is_empty() && !lines.is_empty() {
            let before = self.description.start;
            if before > 0 && !self.lines[before - 1].trim().is_empty() {
                lines.insert(0, String::new());
            }
            lines.push(String::new());
        }
        (self.description.clone(), lines)
    }

    /// What makes the boxes those that are wanted.
    fn boxed(&self, wanted: &[Checkbox]) -> Vec<(Range<usize>, Vec<String>)> {
        let mut edits = Vec::new();
        for list in List::ALL {
            let mine: Vec<&(Checkbox, Range<usize>)> =
                self.boxes.iter().filter(|(one, _)| one.list == list).collect();
            let here: Vec<Checkbox> = mine.iter().map(|(one, _)| one.clone()).collect();
            let there: Vec<Checkbox> = wanted.iter().filter(|one| one.list == list).cloned().collect();
            let (own, target) = (keys(&here), keys(&there));
            let kept: Vec<&BoxKey> = own.iter().filter(|key| target.contains(key)).collect();
            let in_order: Vec<&BoxKey> = target.iter().filter(|key| own.contains(key)).collect();
            if kept != in_order && !mine.is_empty() {
                // They stand in another order: written anew where the first one stands.
                for (place, (_, range)) in mine.iter().enumerate() {
                    let lines =
                        if place == 0 { there.iter().flat_map(lines_of).collect() } else { Vec::new() };
                    edits.push((range.clone(), lines));
                }
                continue;
            }
            let mut before: Option<usize> = None;
            let mut added: Vec<(Option<usize>, Vec<String>)> = Vec::new();
            for (key, one) in target.iter().zip(&there) {
                match own.iter().position(|known| known == key) {
                    Some(place) => {
                        let (known, range) = mine[place];
                        if known != one {
                            edits.push((range.clone(), self.rewritten(known, one, range)));
                        }
                        before = Some(place);
                    }
                    None => match added.last_mut().filter(|(place, _)| *place == before) {
                        Some((_, lines)) => lines.extend(lines_of(one)),
                        None => added.push((before, lines_of(one))),
                    },
                }
            }
            for (place, key) in own.iter().enumerate() {
                if !target.contains(key) {
                    edits.push((mine[place].1.clone(), Vec::new()));
                }
            }
            for (before, lines) in added {
                match before.map(|place| mine[place].1.end).or(mine.first().map(|(_, range)| range.start)) {
                    Some(at) => edits.push((at..at, lines)),
                    None => edits.push(self.new_list(list, lines)),
                }
            }
        }
        edits
    }

    /// A box's lines where only the box has changed keep everything else.
    fn rewritten(&self, known: &Checkbox, one: &Checkbox, range: &Range<usize>) -> Vec<String> {
        if known.text == one.text {
            let mut lines: Vec<String> =
                self.lines[range.clone()].iter().map(|line| line.trim_end().to_owned()).collect();
            lines[0] = Checkbox::with_mark(&lines[0], one.checked);
            return lines;
        }
        lines_of(one)
    }

    /// Where a list of boxes goes that has none yet.
    fn new_list(&self, list: List, mut lines: Vec<String>) -> (Range<usize>, Vec<String>) {
        let is_heading = |line: &String| line.trim_end().trim_end_matches(':') == list.heading();
        let body = self.description.end;
        if let Some(at) = (body..self.lines.len()).find(|at| is_heading(&self.lines[*at])) {
            let mut after = at + 1;
            while self.lines.get(after).is_some_and(|line| line.trim().is_empty()) {
                after += 1;
            }
            // SpecWeave's words for an empty list.
            let none =
                self.lines.get(after).is_some_and(|line| line.trim() == "No acceptance criteria defined.");
            if after == at + 1 {
                lines.insert(0, String::new());
            }
            if !none && self.lines.get(after).is_some() {
                lines.push(String::new());
            }
            return (after..after + usize::from(none), lines);
        }
        // Behind the list that comes before it, if there is one.
        let before = List::ALL.into_iter().filter(|other| *other < list).find_map(|other| {
            let is_heading = |line: &String| line.trim_end().trim_end_matches(':') == other.heading();
            let from = (body..self.lines.len()).find(|at| is_heading(&self.lines[*at]))? + 1;
            let ends = |at: &usize| self.lines[*at].trim_end() == "---" || self.lines[*at].starts_with('#');
            let mut end = (from..self.lines.len()).find(ends).unwrap_or(self.lines.len());
            while end > from && self.lines[end - 1].trim().is_empty() {
                end -= 1;
            }
            Some(end)
        });
        let at = before.unwrap_or(body);
        let mut section = vec![String::new(), list.heading().to_owned(), String::new()];
        section.extend(lines);
        if self.lines.get(at).is_some_and(|line| !line.trim().is_empty()) {
            section.push(String::new());
        }
        (at..at, section)
    }

    /// Sets a key of the front matter, or takes it away.
    fn set_key(
        &self,
        edits: &mut Vec<(Range<usize>, Vec<String>)>,
        meta: &mut Map<String, Value>,
        key: &str,
        value: Option<Value>,
    ) {
        if meta.get(key) == value.as_ref() {
            return;
        }
        let known = self.key_lines(key);
        let lines = match (&value, &known, meta.get(key)) {
            (Some(value), Some(range), Some(before)) => {
                let there: Vec<&str> = self.lines[range.clone()].iter().map(|line| line.trim_end()).collect();
                front_matter::changed(&there, key, before, value)
            }
            (Some(value), ..) => front_matter::lines_of(key, value),
            (None, ..) => Vec::new(),
        };
        match value {
            Some(value) => drop(meta.insert(key.to_owned(), value)),
            None => drop(meta.shift_remove(key)),
        }
        edits.push((known.unwrap_or(self.front.end..self.front.end), lines));
    }

    /// The lines of a key at the top of the front matter.
    fn key_lines(&self, key: &str) -> Option<Range<usize>> {
        let is_key = |line: &String| {
            let rest = line.strip_prefix(key).or_else(|| {
                let quoted = [format!("\"{key}\""), format!("'{key}'")];
                quoted.iter().find_map(|name| line.strip_prefix(name.as_str()))
            });
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        };
        let start = self.front.clone().find(|at| is_key(&self.lines[*at]))?;
        let mut end = start + 1;
        while end < self.front.end {
            let line = self.lines[end].trim_end();
            let goes_on = line.starts_with([' ', '\t']) || line.starts_with("- ") || line == "-";
            // An empty line belongs to the value only when the value goes on behind it.
            let blank = line.is_empty()
                && self.lines[end + 1..self.front.end]
                    .iter()
                    .find(|line| !line.trim().is_empty())
                    .is_some_and(|line| line.starts_with([' ', '\t']));
            if !goes_on && !blank {
                break;
            }
            end += 1;
        }
        Some(start..end)
    }

    fn finish(
        &self,
        mut edits: Vec<(Range<usize>, Vec<String>)>,
        meta: &Map<String, Value>,
    ) -> Result<String, AuthoredError> {
        if edits.is_empty() {
            return Ok(self.lines.concat());
        }
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::new();
        let mut at = 0;
        for (range, lines) in &edits {
            for line in &self.lines[at..range.start.max(at)] {
                out.push_str(line);
            }
            if !lines.is_empty() && !out.is_empty() && !out.ends_with('\n') {
                out.push_str(self.end);
            }
            for line in lines {
                out.push_str(line);
                out.push_str(self.end);
            }
            at = range.end.max(at);
        }
        for line in &self.lines[at..] {
            out.push_str(line);
        }
        // What YAML says now is what was wanted, and nothing else has changed.
        let again = Self::parse(&out)?;
        if again.meta != *meta {
            let keys = meta.keys().chain(again.meta.keys());
            let wrong = keys.into_iter().find(|key| meta.get(*key) != again.meta.get(*key));
            return Err(AuthoredError::Unwritable(wrong.cloned().unwrap_or_default()));
        }
        Ok(out)
    }
}

fn lines_of(one: &Checkbox) -> Vec<String> {
    one.line().lines().map(str::to_owned).collect()
}

/// A description whose lines pass for nothing else in the file: no section, no link line, no end.
fn harmless(description: &str) -> Vec<String> {
    let mut fence = Fence::default();
    let lines = description.lines().map(|line| {
        let bare = line.trim_end();
        let means = SECTIONS.contains(&bare.trim_end_matches(':')) || is_link_line(bare) || bare == "---";
        if !fence.passes(line) && means { format!(" {line}") } else { line.to_owned() }
    });
    let mut lines: Vec<String> = lines.collect();
    // Code without an end would take in the sections that follow.
    lines.extend(fence.open());
    lines
}

/// A new file for a story whose own is gone.
pub fn restored(id: &str, feature: &str, record: &Record, status: &str) -> String {
    let quote = |text: &str| serde_json::to_string(text).expect("a string serialises");
    let mut out =
        format!("---\nid: {id}\nfeature: {feature}\ntitle: {}\nstatus: {status}\n", quote(&record.title));
    if let Some(priority) = record.priority {
        out.push_str(&format!("priority: P{priority}\n"));
    }
    if !record.labels.is_empty() {
        let labels: Vec<String> = record.labels.iter().map(|label| quote(label)).collect();
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
