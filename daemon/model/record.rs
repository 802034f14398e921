//! What a story says, whichever side says it: the fields that imports and syncs compare and move. Pure data.

use crate::model::text;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// What both sides may change, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    Title,
    Status,
    Priority,
    Labels,
    Description,
    Criteria,
    Boxes,
}

impl Field {
    pub const ALL: [Self; 7] = [
        Self::Title,
        Self::Status,
        Self::Priority,
        Self::Labels,
        Self::Description,
        Self::Criteria,
        Self::Boxes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Labels => "labels",
            Self::Description => "description",
            Self::Criteria => "acceptance criteria",
            Self::Boxes => "boxes",
        }
    }
}

/// Which list a box stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    Criteria,
    Tasks,
}

impl List {
    pub const ALL: [Self; 2] = [Self::Criteria, Self::Tasks];

    pub fn heading(self) -> &'static str {
        match self {
            Self::Criteria => "## Acceptance Criteria",
            Self::Tasks => "## Tasks",
        }
    }
}

/// An acceptance criterion or a task, with its box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkbox {
    #[serde(rename = "l")]
    pub list: List,
    /// `AC-US1-01`, `T-001`; empty where the text is all that names it.
    #[serde(rename = "i", default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "t")]
    pub text: String,
    #[serde(rename = "c", default)]
    pub checked: bool,
}

/// A story of more boxes is nobody's.
pub const MOST_BOXES: usize = 2_000;

/// What tells one box of a story from another.
pub type BoxKey = (List, String, usize);

/// The names of boxes, in their order. A name that stands there twice is counted.
pub fn keys(boxes: &[Checkbox]) -> Vec<BoxKey> {
    let mut before: HashMap<(List, String), usize> = HashMap::new();
    let named = boxes.iter().map(|one| {
        let name = match one.id.as_str() {
            "" => plain(&one.text),
            id => id.to_owned(),
        };
        let count = before.entry((one.list, name.clone())).or_default();
        *count += 1;
        (one.list, name, *count - 1)
    });
    named.collect()
}

/// Boxes by their names.
pub fn by_key(boxes: &[Checkbox]) -> HashMap<BoxKey, &Checkbox> {
    keys(boxes).into_iter().zip(boxes).collect()
}

/// A text without what trackers escape or mark in their own ways.
fn plain(text: &str) -> String {
    match text.chars().filter(|c| c.is_alphanumeric()).collect::<String>() {
        plain if plain.is_empty() => text.to_owned(),
        plain => plain,
    }
}

/// `P1`; other words mean nothing here.
pub fn priority(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b'P', digit @ b'0'..=b'4'] => Some(digit - b'0'),
        _ => None,
    }
}

/// One side's story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub title: String,
    /// In the words that both sides share: `work::sync::status` has them.
    pub status: String,
    /// 0 is the most urgent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Markdown without a line break at its ends.
    pub description: String,
    /// The words of the acceptance criteria of a story that came from a tracker, where they may stand without a box. Those
    /// of a story that was written here are boxes, with words that both sides may change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<Checkbox>,
}

impl Record {
    pub fn same(&self, other: &Self, field: Field) -> bool {
        match field {
            Field::Title => self.title == other.title,
            Field::Status => self.status == other.status,
            Field::Priority => self.priority == other.priority,
            Field::Labels => self.labels == other.labels,
            Field::Description => self.description == other.description,
            Field::Criteria => self.criteria == other.criteria,
            Field::Boxes => self.boxes == other.boxes,
        }
    }

    pub fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Title => self.title.clone_from(&from.title),
            Field::Status => self.status.clone_from(&from.status),
            Field::Priority => self.priority = from.priority,
            Field::Labels => self.labels.clone_from(&from.labels),
            Field::Description => self.description.clone_from(&from.description),
            Field::Criteria => self.criteria.clone_from(&from.criteria),
            Field::Boxes => self.boxes.clone_from(&from.boxes),
        }
    }

    /// A field as people read it.
    pub fn shown(&self, field: Field) -> String {
        match field {
            Field::Title => self.title.clone(),
            Field::Status => self.status.clone(),
            Field::Priority => self.priority.map_or_else(String::new, |priority| format!("P{priority}")),
            Field::Labels => self.labels.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            Field::Description => self.description.clone(),
            Field::Criteria => {
                self.criteria.iter().map(|one| format!("- {one}")).collect::<Vec<_>>().join("\n")
            }
            Field::Boxes => self.boxes.iter().map(Checkbox::line).collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Checkbox {
    /// The line that shows it.
    pub fn line(&self) -> String {
        let mark = if self.checked { 'x' } else { ' ' };
        match self.id.as_str() {
            "" => format!("- [{mark}] {}", self.text),
            id => format!("- [{mark}] **{id}**: {}", self.text),
        }
    }

    /// Whether this is the box that a tracker has under these words: by its id, or by its words with or without one.
    pub fn stands_as(&self, known: &Self) -> bool {
        (self.id == known.id && !known.id.is_empty())
            || self.text == known.text
            || self.text == known.line()["- [ ] ".len()..]
    }

    /// The line of a box with another mark, and nothing else changed.
    pub fn with_mark(line: &str, checked: bool) -> String {
        let marks = ["[ ]", "[x]", "[X]", "\\[ \\]", "\\[x\\]"];
        let found = marks.iter().filter_map(|mark| Some((line.find(mark)?, mark.len()))).min();
        match found {
            Some((at, length)) => {
                let mark = if checked { "[x]" } else { "[ ]" };
                format!("{}{mark}{}", &line[..at], &line[at + length..])
            }
            None => line.to_owned(),
        }
    }

    /// Whether the box at the beginning of a line is checked, and the words behind it, if there is one.
    pub fn split(line: &str) -> Option<(bool, &str)> {
        let rest = text::after_list_marker(line)?.trim_start();
        // As it is, or as converters escape it.
        let marks = [("[ ]", false), ("[x]", true), ("[X]", true), ("\\[ \\]", false), ("\\[x\\]", true)];
        let (rest, checked) =
            marks.iter().find_map(|(mark, checked)| Some((rest.strip_prefix(mark)?, *checked)))?;
        let words = rest.strip_prefix(' ').filter(|words| !words.trim().is_empty())?.trim();
        Some((checked, words))
    }

    /// The box of a line, if there is one at its beginning.
    pub fn parse(list: List, line: &str) -> Option<Self> {
        let (checked, text) = Self::split(line)?;
        let named = text.strip_prefix("**").and_then(|rest| rest.split_once("**"));
        let named = named.and_then(|(id, rest)| {
            let (id, rest) = match id.strip_suffix(':') {
                Some(id) => (id, rest),
                None => (id, rest.strip_prefix(':')?),
            };
            let is_id = id.contains('-') && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            (is_id && !rest.trim().is_empty()).then(|| (id.to_owned(), rest.trim().to_owned()))
        });
        let (id, text) = named.unwrap_or_else(|| (String::new(), text.to_owned()));
        Some(Self { list, id, text, checked })
    }
}
