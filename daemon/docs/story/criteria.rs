//! Acceptance criteria and check boxes in Markdown as people write it: found, and paired with those of another text. Pure.

use crate::model::record::{Checkbox, List};
use crate::model::text;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    pub(super) text: String,
    /// Absent where it stands without a box.
    pub(super) checked: Option<bool>,
}

/// A box that is named by its words alone.
pub(super) fn a_box(text: &str, checked: bool) -> Checkbox {
    Checkbox { list: List::Criteria, id: String::new(), text: text.to_owned(), checked }
}

/// The places of the criteria that are the same on both sides: of one text, and where as many others are left on each,
/// one after the other.
pub(super) fn counterparts(one: &[String], other: &[String]) -> Vec<(usize, usize)> {
    let mut taken = vec![false; other.len()];
    let (mut pairs, mut left) = (Vec::new(), Vec::new());
    for (place, words) in one.iter().enumerate() {
        match (0..other.len()).find(|at| !taken[*at] && other[*at] == *words) {
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
pub(super) fn once_each(criteria: Vec<Criterion>) -> Vec<Criterion> {
    let mut once: Vec<Criterion> = Vec::new();
    for one in criteria {
        match once.iter_mut().find(|known| known.text == one.text) {
            Some(known) => known.checked = known.checked.max(one.checked),
            None => once.push(one),
        }
    }
    once
}

/// Blanks at the beginning of a line may be all that keeps it from being a heading of ours.
pub(super) fn blank_lines_cut(text: &str) -> &str {
    text.trim_start_matches(['\n', '\r']).trim_end()
}

pub(super) fn mark(checked: bool) -> char {
    if checked { 'x' } else { ' ' }
}

/// Takes the acceptance criteria out of a body: the bullets below a heading of that name, and boxes that begin with
/// `AC`. Every other line stays where it is.
pub(super) fn split_criteria(body: &str) -> (String, Vec<Criterion>) {
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
        let criterion = bullet(trimmed).filter(|(text, checked)| {
            let named = text.starts_with("AC") || text.starts_with("**AC");
            !text.is_empty() && (open.is_some() || (checked.is_some() && named))
        });
        match criterion {
            // A list within a list belongs to what it explains; a box in it is ticked by itself.
            Some((_, None)) if extends && line.starts_with("  ") => extend(&mut criteria, trimmed),
            Some((text, checked)) => {
                criteria.push(Criterion { text: plain_criterion(text), checked });
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

pub(super) fn extend(criteria: &mut [Criterion], more: &str) {
    if let Some(last) = criteria.last_mut() {
        last.text.push(' ');
        last.text.push_str(more);
    }
}

pub(super) fn close(rest: &mut Vec<&str>, open: &mut Option<(usize, usize)>) {
    if let Some((_, at)) = open.take()
        && rest[at + 1..].iter().all(|line| line.trim().is_empty())
    {
        rest.truncate(at);
    }
}

/// The criteria of a list that holds nothing else; a line that is no bullet is one too.
pub(super) fn listed_criteria(text: &str) -> Vec<Criterion> {
    text.lines().map(str::trim).filter_map(criterion).collect()
}

/// The criterion of a line, if there is one.
pub(super) fn criterion(line: &str) -> Option<Criterion> {
    let (text, checked) = bullet(line).unwrap_or((line, None));
    let text = plain_criterion(text);
    (!text.is_empty()).then_some(Criterion { text, checked })
}

/// A criterion without an id of ours before it.
pub(super) fn plain_criterion(text: &str) -> String {
    let own = text.strip_prefix("**AC-US").and_then(|rest| rest.split_once("**:")).map(|(_, text)| text);
    own.unwrap_or(text).trim().to_owned()
}

/// The words behind a bullet, and whether its box is checked, if it has one.
pub(super) fn bullet(line: &str) -> Option<(&str, Option<bool>)> {
    let line = line.trim_start();
    if let Some((checked, words)) = Checkbox::split(line) {
        return Some((words, Some(checked)));
    }
    // A box without words is no criterion.
    let words = text::after_list_marker(line)?.trim();
    Some((if ["[ ]", "[x]", "[X]"].contains(&words) { "" } else { words }, None))
}

/// Every box of a text, named by its words.
pub(super) fn boxes_in(text: &str) -> Vec<Checkbox> {
    let mut fence = text::Fence::default();
    let lines = text.lines().filter(|line| !fence.passes(line));
    lines
        .filter_map(|line| Checkbox::split(line.trim()))
        .map(|(checked, words)| a_box(words, checked))
        .collect()
}

/// A text with every box empty.
pub(super) fn unmarked(text: &str) -> String {
    let mut fence = text::Fence::default();
    let lines = text.lines().map(|line| {
        let is_box = !fence.passes(line) && Checkbox::split(line.trim()).is_some();
        if is_box { Checkbox::with_mark(line, false) } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A text with its boxes marked as these are, which are all of its own in their order; what is right already keeps its bytes.
pub(super) fn marked(text: &str, boxes: &[Checkbox]) -> String {
    let mut fence = text::Fence::default();
    let mut boxes = boxes.iter();
    let lines = text.split_inclusive('\n').map(|line| {
        let known = if fence.passes(line.trim_end()) { None } else { Checkbox::split(line.trim()) };
        match known.map(|(checked, _)| (checked, boxes.next())) {
            Some((checked, Some(one))) if one.checked != checked => Checkbox::with_mark(line, one.checked),
            _ => line.to_owned(),
        }
    });
    lines.collect()
}
