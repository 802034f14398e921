//! A story's file: what stands where in it, and how a part is replaced so that every other byte stays. Pure.

use crate::docs::front_matter;
use crate::docs::story::criteria::{blank_lines_cut, counterparts, criterion, listed_criteria, mark, marked};
use crate::docs::story::{NO_DESCRIPTION, boxes_as_marked, criteria_shown, record_of, shown};
use crate::model::item::{Item, Platform};
use crate::model::record::{self, Checkbox, Record};
use crate::model::text;
use specweave_jobs::clock;

const NO_TASKS: &str = "> **Note**: This User Story was imported from an external tool.\n\
                        > Create an increment to implement this user story, then tasks will sync here.";

/// A file as it stands: what is ours to change in it, and everything else to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The front matter with its fences and the empty lines behind it; empty where there is none.
    pub(super) front: String,
    /// Up to the first of our headings.
    preamble: String,
    /// Headings of ours and what stands below each.
    sections: Vec<(&'static str, String)>,
}

impl Document {
    pub fn parse(text: &str) -> Self {
        let (front, text) = front_matter::split(text);
        let mut preamble = String::new();
        let mut sections: Vec<(&'static str, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            let known = text::HEADINGS.into_iter().find(|heading| line.trim_end() == *heading);
            match (known, sections.last_mut()) {
                (Some(heading), _) => sections.push((heading, line[line.trim_end().len()..].to_owned())),
                (None, Some((_, body))) => body.push_str(line),
                (None, None) => preamble.push_str(line),
            }
        }
        Self { front: front.to_owned(), preamble, sections }
    }

    /// A new file for an item.
    pub fn new(number: u32, item: &Item, record: &Record) -> Self {
        let id = format!("US-{number:03}E");
        let link = match text::link(&item.url) {
            url if url.is_empty() => format!("🔗 {} {}", item.platform.name(), text::value(&item.shown)),
            url => format!("🔗 [{} {}]({url})", item.platform.name(), text::value(&item.shown)),
        };
        let mut preamble = format!("# {id}: {}\n\n**Origin**: {link}\n", text::heading(&record.title));
        preamble.push_str(&format!(
            "**Project**: {}\n\n**Status**: {}\n",
            text::value(&item.project),
            record.status
        ));
        if let Some(priority) = record.priority {
            preamble.push_str(&format!("**Priority**: P{priority}\n"));
        }
        preamble.push('\n');
        let mut document = Self { front: String::new(), preamble, sections: Vec::new() };
        document.sections.push(("## Description", described(record)));
        if !record.criteria.is_empty() {
            document.sections.push(("## Acceptance Criteria", document.criteria_body(record, number)));
        }
        document.sections.push(("## Tasks", format!("\n\n{NO_TASKS}\n\n---\n\n")));
        document.sections.push(("## External Metadata", String::new()));
        document
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}{}", self.front, self.preamble);
        for (heading, body) in &self.sections {
            out.push_str(heading);
            out.push_str(body);
        }
        out
    }

    fn body(&self, heading: &str) -> Option<&str> {
        self.sections.iter().find(|(known, _)| *known == heading).map(|(_, body)| body.as_str())
    }

    fn set_body(&mut self, heading: &'static str, body: String) {
        match self.sections.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, known)) => *known = body,
            None => {
                let order = |name: &str| text::HEADINGS.iter().position(|heading| *heading == name);
                let place = self.sections.iter().position(|(known, _)| order(known) > order(heading));
                let place = place.unwrap_or(self.sections.len());
                self.sections.insert(place, (heading, body));
            }
        }
    }

    /// The number in the heading.
    pub fn number(&self) -> Option<u32> {
        let line = self.preamble.lines().find_map(|line| line.strip_prefix("# US-"))?;
        line.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn line_value(&self, name: &str) -> Option<&str> {
        self.preamble.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
    }

    /// What the file says, whoever wrote it.
    pub fn record(&self) -> Record {
        let heading = self.preamble.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("");
        let title = heading.split_once(": ").map_or(heading, |(_, title)| title).trim();
        let criteria = self.body("## Acceptance Criteria").map(listed_criteria).unwrap_or_default();
        Record {
            title: title.replace("\\<", "<"),
            status: self.line_value("**Status**:").unwrap_or("").to_owned(),
            priority: self.line_value("**Priority**:").and_then(record::priority),
            ..record_of(self.description(), criteria)
        }
    }

    /// Writes a record where it differs from what stands there; what is the same keeps every byte.
    pub fn set(&mut self, record: &Record, number: u32) {
        let before = self.record();
        if before.title != record.title {
            self.replace_line("# ", format!("# US-{number:03}E: {}", text::heading(&record.title)));
        }
        if before.status != record.status {
            self.replace_line("**Status**:", format!("**Status**: {}", record.status));
        }
        if before.priority != record.priority {
            let line = record.priority.map(|priority| format!("**Priority**: P{priority}"));
            match (self.line_value("**Priority**:").is_some(), line) {
                (true, line) => self.replace_line("**Priority**:", line.unwrap_or_default()),
                (false, Some(line)) => {
                    let status = format!("**Status**: {}", record.status);
                    self.replace_line("**Status**:", format!("{status}\n{line}"));
                }
                (false, None) => {}
            }
        }
        let body = self.body("## Description").map(str::to_owned);
        let new = match &body {
            // Where only boxes differ, only boxes are written: what stands between them may be a person's.
            Some(body) if before.description == record.description => marked(body, &shown(record)),
            None if before.description == record.description => String::new(),
            _ => described(record),
        };
        if new != body.unwrap_or_default() {
            self.set_body("## Description", new);
        }
        let body = if before.criteria == record.criteria {
            self.marked_criteria(record)
        } else {
            self.criteria_body(record, number)
        };
        if body != self.body("## Acceptance Criteria").unwrap_or("") {
            self.set_body("## Acceptance Criteria", body);
        }
    }

    /// Marks each box that the other side has, too, as it is marked there.
    pub fn set_marks(&mut self, other: &Record) {
        let mut record = self.record();
        record.boxes = boxes_as_marked(&record, other);
        let number = self.number().unwrap_or(0);
        self.set(&record, number);
    }

    /// What stands below the heading of the description, without the empty lines around it.
    pub fn description(&self) -> &str {
        blank_lines_cut(self.body("## Description").unwrap_or(""))
    }

    /// The criteria as they stand, with the marks of a record that has the same.
    fn marked_criteria(&self, record: &Record) -> String {
        let shown = criteria_shown(record);
        let before = self.body("## Acceptance Criteria").unwrap_or("");
        let lines = before.split_inclusive('\n').map(|line| {
            let known = criterion(line.trim());
            let one = known.as_ref().and_then(|known| shown.iter().find(|one| one.text == known.text));
            match (known.and_then(|known| known.checked), one) {
                (Some(checked), Some(one)) if one.checked != checked => {
                    Checkbox::with_mark(line, one.checked)
                }
                _ => line.to_owned(),
            }
        });
        lines.collect()
    }

    fn replace_line(&mut self, prefix: &str, new: String) {
        let mut done = false;
        let lines = self.preamble.split_inclusive('\n').map(|line| {
            if !done && line.starts_with(prefix) {
                done = true;
                if new.is_empty() { String::new() } else { format!("{new}\n") }
            } else {
                line.to_owned()
            }
        });
        self.preamble = lines.collect();
    }

    /// Criteria keep the ids that they have; new ones get the next.
    fn criteria_body(&self, record: &Record, number: u32) -> String {
        let before = self.body("## Acceptance Criteria").unwrap_or("");
        let (ids, known): (Vec<&str>, Vec<String>) = before
            .lines()
            .filter_map(|line| {
                let (_, rest) = line.trim_start().strip_prefix("- [")?.split_once("] **")?;
                let (id, text) = rest.split_once("**:")?;
                Some((id, text.trim().to_owned()))
            })
            .unzip();
        let place = |id: &&str| id.rsplit_once('-').and_then(|(_, place)| place.parse::<u32>().ok());
        let mut next = ids.iter().filter_map(place).max().unwrap_or(0);
        let pairs = counterparts(&record.criteria, &known);
        let criteria = criteria_shown(record);
        let lines = criteria.iter().enumerate().map(|(place, one)| {
            let id = match pairs.iter().find(|(own, _)| *own == place) {
                Some((_, known)) => ids[*known].to_owned(),
                None => {
                    next += 1;
                    format!("AC-US-{number:03}-{next:02}")
                }
            };
            format!("- [{}] **{id}**: {}\n", mark(one.checked), one.text)
        });
        format!("\n\n{}\n", lines.collect::<String>())
    }

    /// The value of a bullet in the metadata.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let prefix = format!("- **{name}**: ");
        self.body("## External Metadata")?
            .lines()
            .find_map(|line| line.strip_prefix(prefix.as_str()))
            .map(str::trim)
    }

    /// Writes the metadata anew; bullets that are not ours stay behind them.
    pub fn set_metadata(&mut self, bullets: &[(&'static str, String)]) {
        const OURS: [&str; 15] = [
            "External ID",
            "External URL",
            "Platform",
            "Imported At",
            "Created At",
            "Updated At",
            "Labels",
            "Source Repository",
            "Feature ID",
            "Orphan",
            "Parent ID",
            "Type",
            "ADO Work Item Type",
            "ADO Area Path",
            "JIRA Issue Type",
        ];
        let before = self.body("## External Metadata").unwrap_or("").to_owned();
        let is_ours = |line: &str| OURS.iter().any(|name| line.starts_with(&format!("- **{name}**:")));
        let lines = bullets.iter().map(|(name, value)| format!("- **{name}**: {value}"));
        // What stands behind the list is a person's, to the letter.
        let start = before.len() - before.trim_start().len();
        let bullets_there = before[start..].split_inclusive('\n').take_while(|line| line.starts_with("- **"));
        let (list, rest) = before.split_at(start + bullets_there.map(str::len).sum::<usize>());
        let others =
            list.lines().filter(|line| line.starts_with("- **") && !is_ours(line)).map(str::to_owned);
        let end = if list.trim_start().ends_with('\n') { "\n" } else { "" };
        let list = lines.chain(others).collect::<Vec<_>>().join("\n");
        self.set_body("## External Metadata", format!("\n\n{list}{end}{rest}"));
    }

    /// Puts a task into its line; its box stays checked once it is.
    pub fn set_task(&mut self, number: u32, text: &str, checked: bool) {
        let id = format!("**T-{number:03}**:");
        let body = self.body("## Tasks").unwrap_or("\n\n---\n\n").replace(&format!("\n{NO_TASKS}\n"), "");
        let mut lines: Vec<String> = body.split('\n').map(str::to_owned).collect();
        let known = lines.iter().position(|line| line.contains(&id));
        let is_checked = |line: &str| Checkbox::split(line.trim()).is_some_and(|(checked, _)| checked);
        let checked = checked || known.is_some_and(|place| is_checked(&lines[place]));
        let line = format!("- [{}] {id} {text}", mark(checked));
        match known {
            Some(place) => lines[place] = line,
            None => {
                let last = lines.iter().rposition(|line| line.starts_with("- [") && line.contains("**T-"));
                let place = last.map_or_else(
                    || lines.iter().take(2).take_while(|line| line.is_empty()).count(),
                    |last| last + 1,
                );
                lines.insert(place, line);
                if last.is_none() && lines.get(place + 1).is_some_and(|next| !next.is_empty()) {
                    lines.insert(place + 1, String::new());
                }
            }
        }
        self.set_body("## Tasks", lines.join("\n"));
    }

    /// The text of a task.
    pub fn task(&self, number: u32) -> Option<&str> {
        let id = format!("**T-{number:03}**:");
        let line = self.body("## Tasks")?.lines().find(|line| line.contains(&id))?;
        Some(line.split_once(&id)?.1.trim())
    }

    pub fn remove_task(&mut self, number: u32) {
        let id = format!("**T-{number:03}**:");
        let lines = self.body("## Tasks").unwrap_or("").split('\n').filter(|line| !line.contains(&id));
        let body = lines.collect::<Vec<_>>().join("\n");
        self.set_body("## Tasks", body);
    }

    /// The highest number of a task.
    pub fn last_task(&self) -> u32 {
        let lines = self.body("## Tasks").unwrap_or("").lines();
        let numbers = lines.filter_map(|line| line.split_once("**T-")?.1.split_once("**")?.0.parse().ok());
        numbers.max().unwrap_or(0)
    }

    /// Says in the heading what the story's number is now.
    pub fn renumber(&mut self, number: u32) {
        let title = text::heading(&self.record().title);
        self.replace_line("# ", format!("# US-{number:03}E: {title}"));
    }
}

/// What stands below the heading of a description.
fn described(record: &Record) -> String {
    let words = if record.description.is_empty() { NO_DESCRIPTION } else { &record.description };
    format!("\n\n{}\n\n", marked(words, &shown(record)))
}

/// The item that a story's text names, in lower case.
pub fn named(text: &str) -> Option<String> {
    Document::parse(text).metadata("External ID").map(str::to_lowercase)
}

/// The bullets at the end of the file, in SpecWeave's order.
pub fn metadata(item: &Item, imported_at: &str, folder: &str) -> Vec<(&'static str, String)> {
    let moment = |at| clock::iso(at);
    let orphan = folder == "_orphans";
    let mut bullets = vec![
        ("External ID", text::value(&item.external_id)),
        ("External URL", text::value(&item.url)),
        ("Platform", item.platform.word().to_owned()),
        ("Imported At", imported_at.to_owned()),
        ("Created At", moment(item.created)),
        ("Updated At", moment(item.updated)),
    ];
    if !item.labels.is_empty() {
        let labels: Vec<String> = item.labels.iter().map(|label| text::value(label)).collect();
        bullets.push(("Labels", labels.join(", ")));
    }
    if item.platform == Platform::GitHub {
        bullets.push(("Source Repository", text::value(&item.project)));
    }
    bullets.push(("Feature ID", folder.to_owned()));
    if orphan {
        bullets.push(("Orphan", "true (no parent in external tool)".to_owned()));
    }
    if let Some(parent) = &item.parent {
        bullets.push(("Parent ID", text::value(&parent.external_id)));
    }
    let type_name = text::value(&item.type_name);
    match item.platform {
        Platform::Ado => bullets.push(("ADO Work Item Type", type_name)),
        Platform::Jira => bullets.push(("JIRA Issue Type", type_name)),
        Platform::GitHub if !type_name.is_empty() => bullets.push(("Type", type_name)),
        Platform::GitHub => {}
    }
    if let Some(area) = &item.area {
        bullets.push(("ADO Area Path", text::value(area)));
    }
    bullets
}
