//! Acceptance criteria and check boxes in Markdown: found, compared, carried from one text to another. Pure.

use crate::docs::story::Criterion;
use crate::model::text;

/// The places of the criteria that are the same on both sides: of one text, and where as many others are left on each,
/// one after the other.
pub(super) fn counterparts(one: &[Criterion], other: &[Criterion]) -> Vec<(usize, usize)> {
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
pub(super) fn once_each(criteria: Vec<Criterion>) -> Vec<Criterion> {
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
        let criterion = bullet(trimmed).filter(|(text, boxed)| {
            let named = text.starts_with("AC") || text.starts_with("**AC");
            !text.is_empty() && (open.is_some() || (*boxed && named))
        });
        match criterion {
            // A list within a list belongs to what it explains; a box in it is ticked by itself.
            Some((_, false)) if extends && line.starts_with("  ") => extend(&mut criteria, trimmed),
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
    let text = plain_criterion(bullet(line).map_or(line, |(text, _)| text));
    (!text.is_empty()).then(|| Criterion { text, checked: is_checked(line) })
}

/// A criterion without an id of ours before it.
pub(super) fn plain_criterion(text: &str) -> String {
    let own = text.strip_prefix("**AC-US").and_then(|rest| rest.split_once("**:")).map(|(_, text)| text);
    own.unwrap_or(text).trim().to_owned()
}

/// The text behind a bullet, and whether there is a box.
pub(super) fn bullet(line: &str) -> Option<(&str, bool)> {
    let text = text::after_list_marker(line.trim_start())?.trim_start();
    match ["[ ]", "[x]", "[X]"].iter().find_map(|mark| text.strip_prefix(mark)) {
        Some(text) => Some((text.trim(), true)),
        None => Some((text.trim(), false)),
    }
}

pub(super) fn is_checked(line: &str) -> bool {
    let line = line.trim_start();
    let text = text::after_list_marker(line).unwrap_or(line).trim_start();
    text.starts_with("[x]") || text.starts_with("[X]")
}

/// A text with every box empty.
pub(super) fn unchecked(text: &str) -> String {
    text.lines()
        .map(|line| if is_checked(line) { empty_box(line) } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) fn empty_box(line: &str) -> String {
    line.replacen("[x]", "[ ]", 1).replacen("[X]", "[ ]", 1)
}

/// `text` with those boxes checked that are so in `other`.
pub(super) fn checks_carried(text: &str, other: &str) -> String {
    let checked: Vec<String> = other.lines().filter(|line| is_checked(line)).map(empty_box).collect();
    if checked.is_empty() {
        return text.to_owned();
    }
    let carried = text.lines().map(|line| {
        if checked.iter().any(|one| one == line) { line.replacen("[ ]", "[x]", 1) } else { line.to_owned() }
    });
    carried.collect::<Vec<_>>().join("\n")
}
