//! A story's file with other values: what changes is changed line by line, and everything else stays to the byte.

use super::{Authored, AuthoredError, SECTIONS, SYNCED, is_link_line, scalar};
use crate::docs::front_matter;
use crate::model::record::{BoxKey, Checkbox, Field, List, Record, keys};
use crate::model::text::{self, Fence};
use serde_json::{Map, Value};
use std::ops::Range;

impl Authored {
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
                // Those of a story that was written here are boxes.
                Field::Criteria => {}
                Field::Boxes => edits.extend(self.boxed(&wanted.boxes)),
            }
        }
        self.finish(edits, &meta)
    }

    /// The file with the link to an item of a tracker, below these keys. A story that SpecWeave generates says that it has
    /// been synced.
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
        let text = self.finish(edits, &meta)?;
        let is_story = self.is_generated() && self.id().is_ok();
        Ok(if is_story { Self::parse(&text)?.marked_as_synced().unwrap_or(text) } else { text })
    }

    /// The file with the mark behind its link, if it can stand there.
    fn marked_as_synced(&self) -> Option<String> {
        let last = self.key_lines("external")?.last()?;
        let line = self.lines[last].trim_end_matches(['\n', '\r']);
        let edit = (last..last + 1, vec![format!("{line}{SYNCED}")]);
        self.finish(vec![edit], &self.meta).ok()
    }

    /// The file with these keys in its front matter; without a value, a key goes.
    pub fn with_keys(&self, keys: &[(&str, Option<Value>)]) -> Result<String, AuthoredError> {
        let (mut edits, mut meta) = (Vec::new(), self.meta.clone());
        for (key, value) in keys {
            self.set_key(&mut edits, &mut meta, key, value.clone());
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
        // It keeps its place in a numbered list, or the bullet that it has.
        let first = self.lines[range.start].trim_end();
        let marker = text::after_list_marker(first).map(|rest| &first[..first.len() - rest.len()]);
        let mut lines = lines_of(one);
        if let Some((marker, rest)) = marker.zip(lines[0].strip_prefix("- ").map(str::to_owned)) {
            lines[0] = format!("{marker}{rest}");
        }
        lines
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

    /// What ends the line at `place` of the `count` that replace a range: what ended the line that stood there, as files
    /// of several hands mix their line ends, and the last of a file may have none.
    fn end_of(&self, range: &Range<usize>, place: usize, count: usize) -> &'static str {
        let replaced = &self.lines[range.clone()];
        let is_end_of_file = range.end == self.lines.len() && place + 1 == count;
        if is_end_of_file && replaced.last().is_some_and(|line| !line.ends_with('\n')) {
            return "";
        }
        match replaced.get(place) {
            Some(line) if line.ends_with("\r\n") => "\r\n",
            Some(line) if line.ends_with('\n') => "\n",
            _ => self.end,
        }
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
            for (place, line) in lines.iter().enumerate() {
                out.push_str(line);
                out.push_str(self.end_of(range, place, lines.len()));
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
pub(super) fn harmless(description: &str) -> Vec<String> {
    let mut fence = Fence::default();
    // A rule between two paragraphs is only that; at the end it would be the file's own.
    let all: Vec<&str> = description.lines().collect();
    let end = all.iter().rposition(|line| !matches!(line.trim_end(), "" | "---")).map_or(0, |last| last + 1);
    let lines = all.iter().enumerate().map(|(at, &line)| {
        let bare = line.trim_end();
        let is_end = bare == "---" && at >= end;
        let means = SECTIONS.contains(&bare.trim_end_matches(':')) || is_link_line(bare) || is_end;
        if !fence.passes(line) && means { format!(" {line}") } else { line.to_owned() }
    });
    let mut lines: Vec<String> = lines.collect();
    // Code without an end would take in the sections that follow.
    lines.extend(fence.open());
    lines
}
