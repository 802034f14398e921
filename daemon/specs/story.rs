//! A user story's file: what an item says in it, what a person has made of it, and how both become one. Pure.

use super::text;
use crate::work::trackers::item::{Item, Platform};
use serde::{Deserialize, Serialize};
use specweave_jobs::clock;

/// What both sides may change, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Title,
    Status,
    Priority,
    Description,
    Criteria,
}

impl Field {
    pub const ALL: [Self; 5] = [Self::Title, Self::Status, Self::Priority, Self::Description, Self::Criteria];

    pub fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Description => "description",
            Self::Criteria => "acceptance criteria",
        }
    }
}

/// The fields of one side, as their hashes. Whether a box is checked does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints(pub [u64; 5]);

/// What both sides were when they last met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub local: Prints,
    pub remote: Prints,
    /// What was checked in the tracker.
    pub checks: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub text: String,
    pub checked: bool,
}

/// The fields of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub title: String,
    pub status: String,
    pub priority: String,
    pub description: String,
    pub criteria: Vec<Criterion>,
}

const NO_DESCRIPTION: &str = "No description provided.";

const NO_TASKS: &str = "> **Note**: This User Story was imported from an external tool.\n\
                        > Create an increment to implement this user story, then tasks will sync here.";

impl Fields {
    /// What an item says.
    pub fn of(item: &Item) -> Self {
        let body = text::body(&item.body);
        let (description, mut criteria) = split_criteria(&body);
        if let Some(field) = &item.criteria {
            criteria.extend(listed_criteria(&text::body(field)));
        }
        let criteria = once_each(criteria);
        Self {
            title: text::heading(&text::title(&item.title)),
            status: item.status.word().to_owned(),
            priority: item.priority.map_or_else(String::new, |priority| format!("P{priority}")),
            description: if description.is_empty() { NO_DESCRIPTION.to_owned() } else { description },
            criteria,
        }
    }

    fn text(&self, field: Field) -> String {
        match field {
            Field::Title => self.title.clone(),
            Field::Status => self.status.clone(),
            Field::Priority => self.priority.clone(),
            Field::Description => unchecked(self.description.trim()),
            Field::Criteria => self.criteria.iter().map(|one| format!("{}\n", one.text)).collect(),
        }
    }

    pub fn prints(&self) -> Prints {
        Prints(Field::ALL.map(|field| text::hash(&self.text(field))))
    }

    fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Title => self.title.clone_from(&from.title),
            Field::Status => self.status.clone_from(&from.status),
            Field::Priority => self.priority.clone_from(&from.priority),
            Field::Description => self.description.clone_from(&from.description),
            Field::Criteria => self.criteria.clone_from(&from.criteria),
        }
    }

    /// What is checked on the other side is checked here too, also where the words have changed.
    fn carry_checks(&mut self, from: &Self) {
        self.description = checks_carried(&self.description, &from.description);
        for (own, other) in counterparts(&self.criteria, &from.criteria) {
            self.criteria[own].checked |= from.criteria[other].checked;
        }
    }

    /// All that is checked.
    pub fn checks(&self) -> u64 {
        let lines = self.description.lines().filter(|line| is_checked(line)).map(empty_box);
        let criteria = self.criteria.iter().filter(|one| one.checked).map(|one| one.text.clone());
        text::hash(&lines.chain(criteria).collect::<Vec<_>>().join("\n"))
    }

    /// Whether something that is checked here has no counterpart there.
    fn loses_check(&self, field: Field, there: &Self) -> bool {
        match field {
            Field::Description => {
                let known: Vec<String> = unchecked(&there.description).lines().map(str::to_owned).collect();
                self.description.lines().any(|line| is_checked(line) && !known.contains(&empty_box(line)))
            }
            Field::Criteria => {
                let paired = counterparts(&self.criteria, &there.criteria);
                let is_paired = |place: usize| paired.iter().any(|(own, _)| *own == place);
                self.criteria.iter().enumerate().any(|(place, one)| one.checked && !is_paired(place))
            }
            _ => false,
        }
    }

    /// The fields that are not the same, with the other side's text, for people.
    pub fn shown(&self, field: Field) -> String {
        match field {
            Field::Description => self.description.clone(),
            Field::Criteria => {
                let lines = self.criteria.iter().map(|one| format!("- [{}] {}", mark(one.checked), one.text));
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => self.text(field),
        }
    }
}

/// Both sides as one: what only one side changed is taken from it; what both did stays as the person has it, and is
/// told.
pub fn merge(local: &Fields, bases: &[Base], remote: &Fields) -> (Fields, Vec<Field>) {
    let (ours, theirs) = (local.prints(), remote.prints());
    let mut merged = local.clone();
    let mut conflicts = Vec::new();
    let persons_checks = bases.iter().all(|base| base.checks != local.checks());
    for (place, field) in Field::ALL.into_iter().enumerate() {
        let same = ours.0[place] == theirs.0[place];
        let remote_is_old = bases.first().is_some_and(|base| base.remote.0[place] == theirs.0[place]);
        let local_is_old = bases.iter().any(|base| base.local.0[place] == ours.0[place]);
        if same || remote_is_old {
            continue;
        }
        // A box that a person has checked is an edit, too, and what it stood at must not be gone.
        let loses_check = persons_checks && local.loses_check(field, remote);
        if local_is_old && !loses_check {
            merged.take(field, remote);
        } else {
            conflicts.push(field);
        }
    }
    merged.carry_checks(local);
    merged.carry_checks(remote);
    (merged, conflicts)
}

/// The fields that are not the same, boxes apart.
pub fn differing(one: &Fields, other: &Fields) -> Vec<Field> {
    let (ours, theirs) = (one.prints(), other.prints());
    let differs = |(place, field): (usize, Field)| (ours.0[place] != theirs.0[place]).then_some(field);
    Field::ALL.into_iter().enumerate().filter_map(differs).collect()
}

/// `fields` with what is checked in `local`.
pub fn with_checks(fields: &Fields, local: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.carry_checks(local);
    fields
}

/// What both sides say, for a file that another tool wrote; a field in which they differ is a person's.
pub fn agreed(local: &Prints, remote: &Prints) -> Prints {
    let mut agreed = *local;
    for (ours, theirs) in agreed.0.iter_mut().zip(remote.0) {
        if *ours != theirs {
            *ours = NOBODYS;
        }
    }
    agreed
}

/// The print of no text.
const NOBODYS: u64 = 0;

/// What the next merge may replace: what was written from the tracker now or before, and never what a person wrote.
pub fn base_after(written: &Prints, bases: &[Base], local: &Fields, remote: &Fields) -> Prints {
    let (ours, theirs) = (local.prints(), remote.prints());
    let mut kept = *written;
    for place in 0..Field::ALL.len() {
        let is_persons = bases.iter().all(|base| base.local.0[place] != ours.0[place]);
        let stays = written.0[place] == ours.0[place] && ours.0[place] != theirs.0[place];
        if let Some(base) = bases.first().filter(|_| is_persons && stays) {
            kept.0[place] = base.local.0[place];
        }
    }
    kept
}

/// A file as it stands: what is ours to change in it, and everything else to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Up to the first of our headings.
    preamble: String,
    /// Headings of ours and what stands below each.
    sections: Vec<(&'static str, String)>,
}

impl Document {
    pub fn parse(text: &str) -> Self {
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
        Self { preamble, sections }
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
        let mut document = Self { preamble, sections: Vec::new() };
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
        let mut out = self.preamble.clone();
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
            let body = match texts(&before) == texts(fields) {
                true => self.checked_body(&fields.criteria),
                false => self.criteria_body(&fields.criteria, number),
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
            match criteria.next().is_some_and(|one| one.checked) {
                true => line.replacen("[ ]", "[x]", 1),
                false => line.to_owned(),
            }
        });
        lines.collect()
    }

    fn replace_line(&mut self, prefix: &str, new: String) {
        let mut done = false;
        let lines = self.preamble.split_inclusive('\n').map(|line| match !done && line.starts_with(prefix) {
            true => {
                done = true;
                if new.is_empty() { String::new() } else { format!("{new}\n") }
            }
            false => line.to_owned(),
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

/// The places of the criteria that are the same on both sides: of one text, and where as many others are left on each,
/// one after the other.
fn counterparts(one: &[Criterion], other: &[Criterion]) -> Vec<(usize, usize)> {
    let mut taken = vec![false; other.len()];
    let (mut pairs, mut left) = (Vec::new(), Vec::new());
    for (place, criterion) in one.iter().enumerate() {
        match (0..other.len()).find(|at| !taken[*at] && other[*at].text == criterion.text) {
            Some(at) => {
                taken[at] = true;
                pairs.push((place, at));
            }
            None => left.push(place),
        }
    }
    let others: Vec<usize> = (0..other.len()).filter(|at| !taken[*at]).collect();
    if left.len() == others.len() {
        pairs.extend(left.into_iter().zip(others));
    }
    pairs
}

/// A criterion that is said twice is one, checked if it is so once.
fn once_each(criteria: Vec<Criterion>) -> Vec<Criterion> {
    let mut once: Vec<Criterion> = Vec::new();
    for one in criteria {
        match once.iter_mut().find(|known| known.text == one.text) {
            Some(known) => known.checked |= one.checked,
            None => once.push(one),
        }
    }
    once
}

/// Blanks at the beginning of a line may be all that keeps it from being a heading of ours.
fn blank_lines_cut(text: &str) -> &str {
    text.trim_start_matches(['\n', '\r']).trim_end()
}

fn mark(checked: bool) -> char {
    if checked { 'x' } else { ' ' }
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

/// Takes the acceptance criteria out of a body: the bullets below a heading of that name, and boxes that begin with
/// `AC`. Every other line stays where it is.
fn split_criteria(body: &str) -> (String, Vec<Criterion>) {
    let mut rest: Vec<&str> = Vec::new();
    let mut criteria: Vec<Criterion> = Vec::new();
    let mut fence = text::Fence::default();
    // The heading that is open, and where it stands; it goes when nothing else stands below it.
    let mut open: Option<(usize, usize)> = None;
    let mut extends = false;
    for line in body.split('\n') {
        if fence.passes(line) {
            rest.push(line);
            extends = false;
            continue;
        }
        let trimmed = line.trim();
        let level = trimmed.bytes().take_while(|b| *b == b'#').count();
        if (1..=6).contains(&level) && trimmed[level..].starts_with(' ') {
            let name = trimmed[level..].trim().trim_end_matches(':').to_lowercase();
            if open.is_some_and(|(depth, _)| level <= depth) || open.is_none() {
                close(&mut rest, &mut open);
                if name == "acceptance criteria" {
                    open = Some((level, rest.len()));
                }
            }
            rest.push(line);
            extends = false;
            continue;
        }
        let criterion = bullet(trimmed).filter(|(text, boxed)| {
            let named = text.starts_with("AC") || text.starts_with("**AC");
            !text.is_empty() && (open.is_some() || (*boxed && named))
        });
        match criterion {
            // A list within a list belongs to what it explains.
            Some(_) if extends && line.starts_with("  ") => extend(&mut criteria, trimmed),
            Some((text, _)) => {
                criteria.push(Criterion { text: plain_criterion(text), checked: is_checked(trimmed) });
                extends = true;
            }
            None if extends && line.starts_with("  ") && !trimmed.is_empty() => {
                extend(&mut criteria, trimmed)
            }
            None => {
                extends &= trimmed.is_empty();
                rest.push(line);
            }
        }
    }
    close(&mut rest, &mut open);
    let text = rest.join("\n");
    (blank_lines_cut(&text).to_owned(), criteria)
}

fn extend(criteria: &mut [Criterion], more: &str) {
    if let Some(last) = criteria.last_mut() {
        last.text.push(' ');
        last.text.push_str(more);
    }
}

fn close(rest: &mut Vec<&str>, open: &mut Option<(usize, usize)>) {
    if let Some((_, at)) = open.take()
        && rest[at + 1..].iter().all(|line| line.trim().is_empty())
    {
        rest.truncate(at);
    }
}

/// The criteria of a list that holds nothing else; a line that is no bullet is one too.
fn listed_criteria(text: &str) -> Vec<Criterion> {
    text.lines().map(str::trim).filter_map(criterion).collect()
}

/// The criterion of a line, if there is one.
fn criterion(line: &str) -> Option<Criterion> {
    let text = plain_criterion(bullet(line).map_or(line, |(text, _)| text));
    (!text.is_empty()).then(|| Criterion { text, checked: is_checked(line) })
}

/// A criterion without an id of ours before it.
fn plain_criterion(text: &str) -> String {
    let own = text.strip_prefix("**AC-US").and_then(|rest| rest.split_once("**:")).map(|(_, text)| text);
    own.unwrap_or(text).trim().to_owned()
}

/// The text behind a bullet, and whether there is a box.
fn bullet(line: &str) -> Option<(&str, bool)> {
    let line = line.trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let text = match line.strip_prefix("- ").or(line.strip_prefix("* ")).or(line.strip_prefix("+ ")) {
        Some(text) => text,
        None if digits > 0 => line[digits..].strip_prefix(". ").or(line[digits..].strip_prefix(") "))?,
        None => return None,
    };
    let text = text.trim_start();
    match ["[ ]", "[x]", "[X]"].iter().find_map(|mark| text.strip_prefix(mark)) {
        Some(text) => Some((text.trim(), true)),
        None => Some((text.trim(), false)),
    }
}

fn is_checked(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches(['-', '*', '+']).trim_start();
    line.starts_with("[x]") || line.starts_with("[X]")
}

/// A text with every box empty.
fn unchecked(text: &str) -> String {
    text.lines()
        .map(|line| if is_checked(line) { empty_box(line) } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

fn empty_box(line: &str) -> String {
    line.replacen("[x]", "[ ]", 1).replacen("[X]", "[ ]", 1)
}

/// `text` with those boxes checked that are so in `other`.
fn checks_carried(text: &str, other: &str) -> String {
    let checked: Vec<String> = other.lines().filter(|line| is_checked(line)).map(empty_box).collect();
    if checked.is_empty() {
        return text.to_owned();
    }
    let carried = text.lines().map(|line| match checked.iter().any(|one| one == line) {
        true => line.replacen("[ ]", "[x]", 1),
        false => line.to_owned(),
    });
    carried.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
