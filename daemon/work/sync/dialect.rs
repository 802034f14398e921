//! A story as a tracker's item and back: titles, labels, texts, states. Pure but for the tracker's own reading of a text.

use super::status::{StatusMap, Told};
use crate::docs::story;
use crate::model::issue_text;
use crate::model::item::{Item, MARKER, Platform, Status};
use crate::model::record::{Checkbox, Field, Record};
use crate::model::story_key::{StoryKey, marker};
use crate::model::text;
use crate::trackers::edits::{Category, Change, Draft, Editor, Group, State};
use crate::trackers::github::{is_status_label, priority_of, status_word, under_way};
use std::collections::BTreeSet;

/// Who wrote a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A person or SpecWeave, here.
    Authored,
    /// Somebody in the tracker.
    Imported,
}

/// Labels that say what an item is, and nothing about the story.
const OURS: [&str; 3] = ["user-story", "specweave", "auto-created"];

/// How one tracker says things.
pub struct Dialect<'a> {
    pub platform: Platform,
    pub map: &'a StatusMap,
    /// Knows how a text comes back; nothing is asked of it here.
    pub tracker: &'a dyn Editor,
}

/// `[FS-001][US-001] Title`.
pub fn title(story: &str, title: &str) -> String {
    match StoryKey::parse(story) {
        Some(key) => format!("[{}][{}] {title}", key.feature, key.story),
        None => title.to_owned(),
    }
}

/// The names in front of a title, and the title.
pub fn split_title(text: &str) -> (Option<(&str, &str)>, &str) {
    let names = text.strip_prefix('[').and_then(|rest| rest.split_once("][")).and_then(|(feature, rest)| {
        let (id, title) = rest.split_once(']')?;
        let fits = feature.to_uppercase().starts_with("FS-") && id.to_uppercase().starts_with("US-");
        fits.then_some(((feature, id), title.trim()))
    });
    match names {
        Some((names, title)) => (Some(names), title),
        None => (None, text),
    }
}

impl Dialect<'_> {
    /// What an item says.
    pub fn record(&self, item: &Item, origin: Origin) -> Record {
        let status = self.map.of_remote(self.told(item));
        match origin {
            Origin::Authored => {
                let (description, boxes) = issue_text::parse(&tidy(&item.body));
                Record {
                    title: match item.marker() {
                        Some(_) => text::title(split_title(&item.title).1),
                        // SpecWeave's own titles end with the priority.
                        None => without_priority(&text::title(split_title(&item.title).1)).to_owned(),
                    },
                    status,
                    priority: item.priority,
                    labels: item.labels.iter().filter(|label| !self.is_managed(label)).cloned().collect(),
                    description,
                    criteria: Vec::new(),
                    boxes,
                }
            }
            Origin::Imported => {
                // A box in HTML that is not ours could only be marked by writing all of it anew.
                let boxes = if item.is_html { Vec::new() } else { story::boxes_of_body(item) };
                Record { status, boxes, ..story::said(item) }
            }
        }
    }

    fn is_managed(&self, label: &str) -> bool {
        let lower = label.to_lowercase();
        OURS.contains(&lower.as_str())
            || lower.starts_with(MARKER)
            || lower.starts_with("project:")
            || (self.platform == Platform::GitHub && (self.is_status(label) || priority_of(label).is_some()))
    }

    /// Whether a label says where an issue stands: SpecWeave's words, and those that the project has set.
    fn is_status(&self, label: &str) -> bool {
        is_status_label(label) || status_word(label).is_some_and(|word| self.map.names(word))
    }

    /// Where an item stands, also by the words that the project has set.
    fn told<'i>(&self, item: &'i Item) -> Told<'i> {
        let told = told(item);
        let set =
            || item.labels.iter().filter_map(|label| status_word(label)).find(|word| self.map.names(word));
        match (item.platform, told.category) {
            (Platform::GitHub, Category::Open) => match set() {
                Some(state) => Told { category: Category::InProgress, state },
                None => told,
            },
            _ => told,
        }
    }

    /// What the tracker would say if it were told this.
    pub fn echo(&self, record: &Record) -> Record {
        let (description, boxes) =
            issue_text::parse(&tidy(&self.tracker.echo(&issue_text::text(record, None))));
        let target = self.map.target(&record.status);
        let status = match &target.name {
            // Several words may mean one state.
            Some(state) => self.map.of_remote(Told { category: target.category, state }),
            None => record.status.clone(),
        };
        Record {
            title: text::title(&record.title),
            status,
            priority: record.priority.map(|priority| match self.platform {
                Platform::Ado => priority.min(3),
                _ => priority,
            }),
            labels: record
                .labels
                .iter()
                .map(|label| self.label(label))
                .filter(|label| !self.is_managed(label))
                .collect(),
            description,
            criteria: Vec::new(),
            boxes,
        }
    }

    /// Whether an item can be without a priority.
    pub fn can_clear_priority(&self) -> bool {
        self.platform == Platform::GitHub
    }

    /// A label as the tracker takes it.
    fn label(&self, label: &str) -> String {
        match self.platform {
            Platform::GitHub => label.replace(',', " "),
            Platform::Jira => label.split_whitespace().collect::<Vec<_>>().join("-"),
            Platform::Ado => label.replace([';', ','], " "),
        }
    }

    /// The item of a story before it is made.
    pub fn draft(&self, story: &str, record: &Record, group: Option<Group>) -> Draft {
        let marker = marker(story);
        let mut labels: BTreeSet<String> = record.labels.iter().map(|label| self.label(label)).collect();
        labels.extend(["specweave", "user-story"].map(str::to_owned));
        let named = match self.platform {
            Platform::GitHub => {
                labels.extend(record.priority.map(|priority| format!("p{priority}")));
                Some((marker.as_str(), story))
            }
            _ => {
                labels.insert(marker.clone());
                None
            }
        };
        Draft {
            title: title(story, &text::title(&record.title)),
            body: issue_text::text(record, named),
            priority: record.priority,
            labels: labels.into_iter().collect(),
            marker: marker.clone(),
            group,
            is_group: false,
        }
    }

    /// The item of a feature, where features are items.
    pub fn group_draft(&self, feature: &str, id: &str, title: &str) -> Draft {
        let marker = marker(feature);
        Draft {
            title: format!("[{id}] {}", text::title(title)),
            body: String::new(),
            priority: None,
            labels: vec!["specweave".to_owned(), marker.clone()],
            marker,
            group: None,
            is_group: true,
        }
    }

    /// What brings an item to a state: on GitHub, labels that say another one go.
    pub fn to_state(&self, item: &Item, state: State) -> Change {
        let is_old = |label: &&String| self.platform == Platform::GitHub && self.is_status(label);
        let remove_labels = item.labels.iter().filter(is_old).cloned().collect();
        Change { state: Some(state), remove_labels, ..Change::default() }
    }

    /// What makes an item say these fields of a record.
    pub fn change(
        &self,
        story: &str,
        item: &Item,
        wanted: &Record,
        fields: &[Field],
        origin: Origin,
    ) -> Change {
        let has = |field| fields.contains(&field);
        let mut change = if has(Field::Status) {
            self.to_state(item, self.map.target(&wanted.status))
        } else {
            Change::default()
        };
        if has(Field::Title) {
            let plain = text::title(&wanted.title);
            change.title = Some(if origin == Origin::Authored { title(story, &plain) } else { plain });
        }
        let remote = self.record(item, origin);
        let words = |boxes: &[Checkbox]| boxes.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        match origin {
            // Where only marks change, the rest of the text stays as the tracker has it.
            _ if has(Field::Boxes)
                && !has(Field::Description)
                && words(&remote.boxes) == words(&wanted.boxes) =>
            {
                change.marks = Some(wanted.boxes.clone());
            }
            Origin::Authored if has(Field::Description) || has(Field::Boxes) => {
                let marker = marker(story);
                let named = (self.platform == Platform::GitHub).then_some((marker.as_str(), story));
                change.body = Some(issue_text::text(wanted, named));
            }
            Origin::Imported if has(Field::Boxes) => change.marks = Some(wanted.boxes.clone()),
            _ => {}
        }
        if has(Field::Priority) {
            change.priority = Some(wanted.priority);
        }
        if has(Field::Labels) {
            let wanted: BTreeSet<String> = wanted.labels.iter().map(|label| self.label(label)).collect();
            let there: BTreeSet<String> =
                item.labels.iter().filter(|label| !self.is_managed(label)).cloned().collect();
            change.add_labels = wanted.difference(&there).cloned().collect();
            change.remove_labels.extend(there.difference(&wanted).cloned());
        }
        change
    }
}

fn without_priority(title: &str) -> &str {
    let bare = title.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (P"));
    match bare {
        Some((bare, digit)) if digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit() => bare,
        _ => title,
    }
}

/// Whether there still is something to do about an item.
pub fn is_open(item: &Item) -> bool {
    matches!(told(item).category, Category::Open | Category::InProgress)
}

/// Where an item stands.
pub fn told(item: &Item) -> Told<'_> {
    let state = item.state.as_str();
    let told = |category, state| Told { category, state };
    match (item.platform, item.status) {
        (Platform::GitHub, _) if state.starts_with("closed") => match state {
            "closed/not_planned" | "closed/duplicate" => told(Category::Cancelled, "closed"),
            _ => told(Category::Completed, "closed"),
        },
        (Platform::GitHub, _) => match item.labels.iter().find_map(|label| under_way(label)) {
            Some(state) => told(Category::InProgress, state),
            None => told(Category::Open, "open"),
        },
        (_, Status::Open) => told(Category::Open, state),
        (_, Status::InProgress) => told(Category::InProgress, state),
        (_, Status::Completed) => told(Category::Completed, state),
        (_, Status::Cancelled | Status::Removed) => told(Category::Cancelled, state),
    }
}

/// What an imported story's file says, in the words of a sync; its boxes are those that the tracker has.
pub fn imported_here(map: &StatusMap, here: &Record, remote: &Record) -> Record {
    let boxes = story::boxes_as_marked(remote, here);
    Record { status: map.of_local(&here.status), boxes, ..here.clone() }
}

/// Lines without blanks at their ends.
fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
