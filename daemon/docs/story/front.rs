//! The front matter of a story that came from a tracker: what SpecWeave's matcher, its sync and its issue builder look for. It says
//! what the body says; a value that somebody changes only here is an edit like one in the body. Pure.

use crate::docs::authored::Authored;
use crate::docs::front_matter;
use crate::docs::story::document::Document;
use crate::docs::story::{Base, FIELDS, Prints};
use crate::model::item::{Item, Status, number_or_text};
use crate::model::record::{self, Field, Record};
use crate::model::text;
use serde_json::{Map, Value, json};

/// SpecWeave's word for a status of the body.
fn word(status: &str) -> &'static str {
    match Status::of_word(status) {
        Status::Open => "not_started",
        Status::InProgress => "in_progress",
        Status::Completed => "completed",
        Status::Cancelled | Status::Removed => "cancelled",
    }
}

impl Document {
    /// What the file says, whoever wrote it: where the body still says what was last written there, a value that was changed in
    /// the front matter counts.
    pub fn record_since(&self, bases: &[Base]) -> Record {
        let mut record = self.record();
        let Some(front) = self.as_in_front(&record) else { return record };
        let body = Prints::of(&record);
        let stays = |field: Field| {
            let place = FIELDS.into_iter().position(|known| known == field);
            place.is_some_and(|place| {
                // What was only intended may not stand there: a person's words in it say nothing.
                let (known, intended) = bases.split_at(bases.len().min(1));
                known.iter().any(|base| base.written.0[place] == body.0[place])
                    || intended.iter().any(|base| base.local.0[place] == body.0[place])
            })
        };
        if stays(Field::Title) {
            record.title = front.title;
        }
        if stays(Field::Status) {
            record.status = front.status;
        }
        if stays(Field::Priority) {
            record.priority = front.priority;
        }
        record
    }

    /// What the front matter and the body both say; of what differs, none was written by us.
    pub fn written(&self) -> Prints {
        let record = self.record();
        let body = Prints::of(&record);
        match self.as_in_front(&record) {
            Some(front) => body.agreed(Prints::of(&front)),
            None => Prints::default(),
        }
    }

    /// A record with what the front matter says in its place; nothing where that cannot be read.
    fn as_in_front(&self, record: &Record) -> Option<Record> {
        let front = Authored::parse(&self.front).ok()?;
        let mut shown = record.clone();
        let said = |key: &str| front.meta.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(title) = said("title") {
            shown.title = text::title(title);
        }
        if let Some(status) = said("status").filter(|status| word(status) != word(&record.status)) {
            shown.status = Status::of_word(status).word().to_owned();
        }
        if let Some(priority) = said("priority").and_then(record::priority) {
            shown.priority = Some(priority);
        }
        Some(shown)
    }

    /// Writes the front matter of an item's file; keys that are not ours stay, and one that cannot be read stays as it is.
    pub fn set_front(&mut self, item: &Item, number: u32, folder: &str, record: &Record) {
        if self.front.is_empty() {
            let keys = keys(item, number, folder, record, Map::new());
            let said = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let lines: Vec<String> =
                said.flat_map(|(key, value)| front_matter::lines_of(key, &value)).collect();
            self.front = format!("---\n{}\n---\n\n", lines.join("\n"));
            return;
        }
        let Ok(before) = Authored::parse(&self.front) else { return };
        let external = before.meta.get("external").and_then(Value::as_object).cloned().unwrap_or_default();
        // A word that means the same stays.
        let there = before.meta.get("status").and_then(Value::as_str);
        let stays = there.is_some_and(|there| word(there) == word(&record.status));
        let mut keys = keys(item, number, folder, record, external);
        keys.retain(|(key, _)| !(stays && *key == "status"));
        if let Ok(front) = before.with_keys(&keys) {
            self.front = front;
        }
    }
}

/// What it says; `external` is what it says of other trackers.
fn keys(
    item: &Item,
    number: u32,
    folder: &str,
    record: &Record,
    mut external: Map<String, Value>,
) -> Vec<(&'static str, Option<Value>)> {
    let link = number_or_text(item.reference());
    let platform = item.platform.word();
    let url = text::value(&item.url);
    external.insert(platform.to_owned(), json!({item.platform.link_name(): link, "url": url}));
    vec![
        ("id", Some(json!(format!("US-{number:03}E")))),
        ("feature", Some(json!(folder))),
        ("title", Some(json!(record.title))),
        ("status", Some(json!(word(&record.status)))),
        ("priority", record.priority.map(|priority| json!(format!("P{priority}")))),
        ("origin", Some(json!("external"))),
        ("external_source", Some(json!(platform))),
        ("external_id", Some(json!(text::value(&item.external_id)))),
        ("external_url", Some(json!(url))),
        ("external", Some(Value::Object(external))),
    ]
}
