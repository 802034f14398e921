//! A story's file: what stands where in it, and how a part is replaced so that every other byte stays. Pure.

use crate::docs::front_matter;
use crate::docs::story::criteria::{
    blank_lines_cut, counterparts, criterion, is_checked, listed_criteria, mark,
};
use crate::docs::story::{Criterion, Field, Fields};
use crate::model::item::{Item, Platform};
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
    pub fn new(number: u32, item: &Item, fields: &Fields) -> Self {
        let id = format!("US-{number:03}E");
        let link = match text::link(&item.url) {
            url if url.is_empty() => format!("🔗 {} {}", item.platform.name(), text::value(&item.shown)),
            url => format!("🔗 [{} {}]({url})", item.platform.name(), text::value(&item.shown)),
        };
        let mut preamble = format!("# {id}: {}\n\n**Origin**: {link}\n", fields.title);
        preamble.push_str(&format!(
            "**Project**: {}\n\n**Status**: {}\n",
            text::value(&item.project),
            fields.status
        ));
        if !fields.priority.is_empty() {
            preamble.push_str(&format!("**Priority**: {}\n", fields.priority));
        }
        preamble.push('\n');
        let mut document = Self { front: String::new(), preamble, sections: Vec::new() };
        document.sections.push(("## Description", format!("\n\n{}\n\n", fields.description)));
        if !fields.criteria.is_empty() {
            document
                .sections
                .push(("## Acceptance Criteria", document.criteria_body(&fields.criteria, number)));
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
    pub fn fields(&self) -> Fields {
        let heading = self.preamble.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("");
        let title = heading.split_once(": ").map_or(heading, |(_, title)| title).trim();
        Fields {
            title: title.to_owned(),
            status: self.line_value("**Status**:").unwrap_or("").to_owned(),
            priority: self.line_value("**Priority**:").unwrap_or("").to_owned(),
            description: blank_lines_cut(self.body("## Description").unwrap_or("")).to_owned(),
            criteria: self.body("## Acceptance Criteria").map(listed_criteria).unwrap_or_default(),
        }
    }

    /// Writes fields where they differ from what stands there; what is the same keeps every byte.
    pub fn set_fields(&mut self, fields: &Fields, number: u32) {
        let before = self.fields();
        if before.title != fields.title {
            self.replace_line("# ", format!("# US-{number:03}E: {}", fields.title));
        }
        if before.status != fields.status {
            self.replace_line("**Status**:", format!("**Status**: {}", fields.status));
        }
        if before.priority != fields.priority {
            let line = format!("**Priority**: {}", fields.priority);
            match (self.line_value("**Priority**:").is_some(), fields.priority.is_empty()) {
                (true, false) => self.replace_line("**Priority**:", line),
                (true, true) => self.replace_line("**Priority**:", String::new()),
                (false, _) => {
                    let status = format!("**Status**: {}", fields.status);
                    self.replace_line("**Status**:", format!("{status}\n{line}"));
                }
            }
        }
        if before.description != fields.description {
            self.set_body("## Description", format!("\n\n{}\n\n", fields.description));
        }
        if before.criteria != fields.criteria {
            let texts = |fields: &Fields| fields.text(Field::Criteria);
            // Where only boxes differ, only boxes are written: what stands between them may be a person's.
            let body = if texts(&before) == texts(fields) {
                self.checked_body(&fields.criteria)
            } else {
                self.criteria_body(&fields.criteria, number)
            };
            self.set_body("## Acceptance Criteria", body);
        }
    }

    /// The criteria as they stand, with the boxes of `criteria`, which are as many.
    fn checked_body(&self, criteria: &[Criterion]) -> String {
        let mut criteria = criteria.iter();
        let before = self.body("## Acceptance Criteria").unwrap_or("");
        let lines = before.split_inclusive('\n').map(|line| {
            if criterion(line.trim()).is_none() {
                return line.to_owned();
            }
            if criteria.next().is_some_and(|one| one.checked) {
                line.replacen("[ ]", "[x]", 1)
            } else {
                line.to_owned()
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
    fn criteria_body(&self, criteria: &[Criterion], number: u32) -> String {
        let before = self.body("## Acceptance Criteria").unwrap_or("");
        let (ids, known): (Vec<&str>, Vec<Criterion>) = before
            .lines()
            .filter_map(|line| {
                let (_, rest) = line.trim_start().strip_prefix("- [")?.split_once("] **")?;
                let (id, text) = rest.split_once("**:")?;
                Some((id, Criterion { text: text.trim().to_owned(), checked: false }))
            })
            .unzip();
        let place = |id: &&str| id.rsplit_once('-').and_then(|(_, place)| place.parse::<u32>().ok());
        let mut next = ids.iter().filter_map(place).max().unwrap_or(0);
        let pairs = counterparts(criteria, &known);
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
        let title = self.fields().title;
        self.replace_line("# ", format!("# US-{number:03}E: {title}"));
    }
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
