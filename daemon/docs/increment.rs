//! An increment's `spec.md` and `tasks.md`, from which SpecWeave generates the files of its stories: what they say of one
//! story, and how that is changed in them line by line. Nothing here knows of trackers, and nothing is read or written. Pure.

use crate::model::record::{Checkbox, List, Record};
use std::ops::Range;

/// The two files, as they stand; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub spec: String,
    pub tasks: String,
}

/// What they say of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// As SpecWeave writes it into a front matter.
    pub title: String,
    /// Criteria and tasks by their ids.
    pub boxes: Vec<Checkbox>,
    /// All that stands below the story's heading.
    pub section: String,
}

impl Sources {
    /// What SpecWeave would take from here for a story such as `US-001`.
    pub fn say(&self, story: &str) -> Option<Said> {
        let lines: Vec<&str> = self.spec.lines().collect();
        let (range, title) = section(&lines, story)?;
        let body = &lines[range.start + 1..range.end];
        let criteria = body.iter().filter_map(|line| criterion(line));
        let task_lines: Vec<&str> = self.tasks.lines().collect();
        let tasks = tasks(&task_lines).into_iter().map(|task| task.one);
        Some(Said {
            title: generated_title(title),
            boxes: criteria.chain(tasks).collect(),
            section: body.join("\n"),
        })
    }

    /// The same files with what `to` says of a story, wherever they say what `from` says: what a person has changed here
    /// since SpecWeave looked stays.
    pub fn with(&self, story: &str, from: &Record, to: &Record) -> Self {
        Self { spec: self.spec_with(story, from, to), tasks: self.tasks_with(from, to) }
    }

    fn spec_with(&self, story: &str, from: &Record, to: &Record) -> String {
        let lines: Vec<&str> = self.spec.lines().collect();
        let Some((range, title)) = section(&lines, story) else { return self.spec.clone() };
        let edit = |at: usize, line: &str| {
            if at == range.start && generated_title(title) == from.title && from.title != to.title {
                return Some(format!("{}{}", &line[..line.len() - title.len()], to.title));
            }
            let one = criterion(line).filter(|_| range.contains(&at))?;
            changed(line, &one, from, to)
        };
        edited(&self.spec, edit)
    }

    fn tasks_with(&self, from: &Record, to: &Record) -> String {
        let lines: Vec<&str> = self.tasks.lines().collect();
        let all = tasks(&lines);
        let edit = |at: usize, line: &str| {
            let task = all.iter().find(|task| task.heading == at || task.status == Some(at))?;
            let wanted = named(to, &task.one)?;
            let known = named(from, &task.one)?;
            if task.heading == at {
                let is_ours = known.text == task.one.text && !wanted.text.contains('\n');
                return (is_ours && wanted.text != known.text)
                    .then(|| line.replacen(&task.one.text, &wanted.text, 1));
            }
            if known.checked != task.one.checked || wanted.checked == known.checked {
                return None;
            }
            let line = Checkbox::with_mark(line, wanted.checked);
            let (before, after) = if wanted.checked {
                (["pending", "in_progress"], "completed")
            } else {
                (["completed", "done"], "pending")
            };
            let word = before.into_iter().find(|word| line.trim_end().ends_with(word));
            Some(word.map_or(line.clone(), |word| line.replacen(word, after, 1)))
        };
        edited(&self.tasks, edit)
    }
}

/// Where a story stands in a `spec.md`: its heading and all that follows up to the next story's, and its title.
fn section<'t>(lines: &[&'t str], story: &str) -> Option<(Range<usize>, &'t str)> {
    let is_story = |line: &&str| heading(line).is_some();
    let start = lines.iter().position(|line| heading(line).is_some_and(|(id, _)| id == story))?;
    let end = lines[start + 1..].iter().position(is_story).map_or(lines.len(), |more| start + 1 + more);
    Some((start..end, heading(lines[start])?.1))
}

/// The id and the title of a story's heading: `### US-001: Title`.
fn heading(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start_matches('#');
    let is_deep = line.len() - rest.len() >= 3;
    let (id, title) = rest.strip_prefix(' ')?.trim_start().split_once(':')?;
    (is_deep && id.starts_with("US-") && title.starts_with(' ')).then(|| (id, title.trim()))
}

/// A title as SpecWeave writes it into a front matter: with no `"` within its quotes.
pub fn generated_title(title: &str) -> String {
    title.replace('"', "'")
}

/// A criterion that SpecWeave takes: one with an id of its own, at the beginning of a line.
fn criterion(line: &str) -> Option<Checkbox> {
    Checkbox::parse(List::Criteria, line).filter(|one| one.id.starts_with("AC-"))
}

struct Task {
    /// Its lines.
    heading: usize,
    status: Option<usize>,
    one: Checkbox,
}

/// The tasks of a `tasks.md`: `### T-001: Title`, and `**Status**: [x] completed` below it.
fn tasks(lines: &[&str]) -> Vec<Task> {
    let mut found: Vec<Task> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let rest = line.trim_start_matches('#');
        let depth = line.len() - rest.len();
        let titled = rest.trim_start().split_once(':').filter(|(id, _)| {
            (2..=3).contains(&depth) && id.strip_prefix("T-").is_some_and(|n| n.parse::<u32>().is_ok())
        });
        if let Some((id, title)) = titled {
            let (id, text) = (id.to_owned(), title.trim().to_owned());
            let one = Checkbox { list: List::Tasks, id, text, checked: false };
            found.push(Task { heading: at, status: None, one });
        } else if let Some(task) = found.last_mut().filter(|task| task.status.is_none())
            && let Some((_, status)) = line.split_once("**Status**:")
            && let Some(mark) = status.trim_start().get(..3)
            && matches!(mark, "[x]" | "[ ]")
        {
            (task.status, task.one.checked) = (Some(at), mark == "[x]");
        }
    }
    found
}

/// The box of a record that has the id of this one.
fn named<'r>(record: &'r Record, one: &Checkbox) -> Option<&'r Checkbox> {
    record.boxes.iter().find(|known| known.list == one.list && known.id == one.id)
}

/// The line of a box that says what `from` says, with what `to` says.
fn changed(line: &str, one: &Checkbox, from: &Record, to: &Record) -> Option<String> {
    let (known, wanted) = (named(from, one)?, named(to, one)?);
    let mut line = line.to_owned();
    if known.checked == one.checked && wanted.checked != known.checked {
        line = Checkbox::with_mark(&line, wanted.checked);
    }
    if known.text == one.text && wanted.text != known.text && !wanted.text.contains('\n') {
        let words = line.trim_end().len() - one.text.len();
        line = format!("{}{}", &line[..words], wanted.text);
    }
    Some(line)
}

/// A text with some of its lines changed; each keeps its end.
fn edited(text: &str, edit: impl Fn(usize, &str) -> Option<String>) -> String {
    let lines = text.split_inclusive('\n').enumerate().map(|(at, line)| {
        let bare = line.trim_end_matches(['\n', '\r']);
        edit(at, bare).map_or_else(|| line.to_owned(), |new| format!("{new}{}", &line[bare.len()..]))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "---\ntitle: Login\n---\n\n### US-001: Sign \"in\"\r\n**Project**: web\n\n**As a** user\n\n\
        - [ ] **AC-US1-01**: a form\n- [x] **AC-US1-02**: an error\n\n### US-FE-002: Out\n\n- [ ] **AC-US2-01**: a button";
    const TASKS: &str = "### T-001: Build it\n**User Story**: US-001\n**Status**: [ ] pending\n\n\
        ## T-002: Test it\n**Status**: [x] completed\n";

    fn sources() -> Sources {
        Sources { spec: SPEC.into(), tasks: TASKS.into() }
    }

    fn record(title: &str, boxes: &[Checkbox]) -> Record {
        Record { title: title.into(), boxes: boxes.to_vec(), ..Record::default() }
    }

    #[test]
    fn a_story_is_found_with_its_criteria_and_tasks() {
        let said = sources().say("US-001").unwrap();
        assert_eq!(said.title, "Sign 'in'");
        let marks: Vec<(&str, bool)> = said.boxes.iter().map(|one| (one.id.as_str(), one.checked)).collect();
        let wanted = [("AC-US1-01", false), ("AC-US1-02", true), ("T-001", false), ("T-002", true)];
        assert_eq!(marks, wanted);
        assert!(said.section.contains("**As a** user"));
        assert_eq!(sources().say("US-FE-002").unwrap().boxes[0].id, "AC-US2-01");
        assert_eq!(sources().say("US-003"), None);
    }

    #[test]
    fn only_the_values_that_were_agreed_on_change() {
        let said = sources().say("US-001").unwrap();
        let from = record(&said.title, &said.boxes);
        let mut to = record("Sign in, \"now\"", &said.boxes);
        for one in &mut to.boxes {
            one.checked = !one.checked;
        }
        to.boxes[0].text = "a form with a field".into();
        let new = sources().with("US-001", &from, &to);
        let spec = SPEC
            .replace("US-001: Sign \"in\"\r\n", "US-001: Sign in, \"now\"\r\n")
            .replace("[ ] **AC-US1-01**: a form\n", "[x] **AC-US1-01**: a form with a field\n")
            .replace("[x] **AC-US1-02**", "[ ] **AC-US1-02**");
        assert_eq!(new.spec, spec);
        let tasks = "### T-001: Build it\n**User Story**: US-001\n**Status**: [x] completed\n\n\
            ## T-002: Test it\n**Status**: [ ] pending\n";
        assert_eq!(new.tasks, tasks);
        assert_eq!(sources().with("US-001", &from, &from), sources());
    }

    #[test]
    fn what_a_person_has_changed_there_since_stays() {
        let said = sources().say("US-001").unwrap();
        let mut from = record("Another title", &said.boxes);
        from.boxes[0].checked = true;
        let mut to = from.clone();
        to.title = "A third".into();
        to.boxes[0].checked = false;
        to.boxes[1].checked = false;
        let new = sources().with("US-001", &from, &to);
        assert_eq!(new.spec, SPEC.replace("[x] **AC-US1-02**", "[ ] **AC-US1-02**"));
    }
}
