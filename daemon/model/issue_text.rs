//! A story as the text of a tracker's item, and such a text as a story: Markdown with the headings that SpecWeave's own
//! issues have. What a person writes between them is not lost. Pure.

use crate::model::record::{Checkbox, List, Record};
use crate::model::text::Fence;

const STORY: &str = "## User Story";

/// Sections that SpecWeave makes anew each time, and the line at the end of its issues.
const GENERATED: [&str; 2] = ["## Progress", "## Links"];
const GENERATED_END: &str = "Auto-created by SpecWeave";

/// How the line begins that says whose item it is.
const MARKER: &str = "<!-- specweave-jobs ";

/// The text of an item. `marker` and the story's name are written where only programs look.
pub fn text(record: &Record, marker: Option<(&str, &str)>) -> String {
    let mut out = String::new();
    if !record.description.is_empty() {
        out.push_str(&format!("{STORY}\n\n{}\n", record.description));
    }
    for list in List::ALL {
        let mut boxes = record.boxes.iter().filter(|one| one.list == list).peekable();
        if boxes.peek().is_some() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&format!("{}\n\n", list.heading()));
            boxes.for_each(|one| out.push_str(&format!("{}\n", one.line())));
        }
    }
    if let Some((marker, story)) = marker {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{MARKER}{marker} {story} -->\n"));
    }
    out.trim_end().to_owned()
}

/// The marker in a text, and the story that it names.
pub fn marker(text: &str) -> Option<(&str, &str)> {
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(MARKER))?;
    line.strip_suffix("-->")?.trim().split_once(' ')
}

/// What a text says: its description and its boxes.
pub fn parse(text: &str) -> (String, Vec<Checkbox>) {
    let text = text.replace("\r\n", "\n");
    let is_specweaves = text.contains(GENERATED_END);
    let mut fence = Fence::default();
    let mut list: Option<List> = None;
    let mut generated = false;
    let mut rest: Vec<&str> = Vec::new();
    let mut boxes: Vec<Checkbox> = Vec::new();
    let mut in_box = false;
    for line in text.lines() {
        let line = line.trim_end();
        if fence.passes(line) {
            if !generated {
                rest.push(line);
            }
            in_box = false;
            continue;
        }
        if line.starts_with(MARKER) && line.ends_with("-->") {
            continue;
        }
        let heading = line.trim_end_matches(':');
        if line.starts_with("# ") || line.starts_with("## ") {
            in_box = false;
            generated = is_specweaves && GENERATED.contains(&heading);
            list = List::ALL.into_iter().find(|list| list.heading() == heading);
            if list.is_none() && heading != STORY && !generated {
                rest.push(line);
            }
            continue;
        }
        if generated {
            continue;
        }
        if is_specweaves && (line.contains(GENERATED_END) || line == "---") {
            continue;
        }
        if let Some(list) = list {
            if let Some(one) = Checkbox::parse(list, line) {
                boxes.push(one);
                in_box = true;
                continue;
            }
            if in_box && line.starts_with("  ") && !line.trim().is_empty() {
                if let Some(last) = boxes.last_mut() {
                    last.text.push_str(&format!("\n{line}"));
                }
                continue;
            }
        }
        in_box = false;
        // An empty line between boxes is nobody's text.
        if !(list.is_some() && line.is_empty() && rest.last().is_none_or(|last| last.is_empty())) {
            rest.push(line);
        }
    }
    let description = rest.join("\n").trim_matches('\n').to_owned();
    boxes.sort_by_key(|one| one.list);
    (description, boxes)
}

/// A text with these boxes marked so, and nothing else touched: for items whose words are the tracker's. The second says
/// whether each was found.
pub fn marked(text: &str, wanted: &[Checkbox]) -> (String, bool) {
    let mut left: Vec<&Checkbox> = wanted.iter().collect();
    let mut fence = Fence::default();
    let all: Vec<&str> = text.split('\n').collect();
    let lines = all.iter().enumerate().map(|(at, &line)| {
        if fence.passes(line.trim_end()) {
            return line.to_owned();
        }
        let start = line.len() - line.trim_start().len();
        let Some(known) = Checkbox::parse(List::Criteria, line[start..].trim_end()) else {
            return line.to_owned();
        };
        let whole = Checkbox { text: with_continuation(&known.text, &all[at + 1..]), ..known.clone() };
        let mut place = left.iter().position(|one| one.stands_as(&whole));
        place = place.or_else(|| left.iter().position(|one| one.stands_as(&known)));
        let Some(one) = place.map(|place| left.remove(place)) else { return line.to_owned() };
        if one.checked == known.checked { line.to_owned() } else { Checkbox::with_mark(line, one.checked) }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    (text, left.is_empty())
}

/// The words of a box with the lines that belong to it, as a criterion has them: in one line.
fn with_continuation(words: &str, behind: &[&str]) -> String {
    let goes_on = |line: &&&str| {
        line.starts_with("  ") && !line.trim().is_empty() && Checkbox::split(line.trim()).is_none()
    };
    let more = behind.iter().take_while(goes_on).map(|line| line.trim());
    std::iter::once(words).chain(more).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> Record {
        let one = |list, id: &str, checked| Checkbox {
            list,
            id: id.into(),
            text: format!("text of {id}"),
            checked,
        };
        Record {
            description: "As a user I want it.\n\n```md\n## Tasks\n```".into(),
            boxes: vec![
                one(List::Criteria, "AC-US1-01", true),
                one(List::Criteria, "AC-US1-02", false),
                one(List::Tasks, "T-001", true),
            ],
            ..Record::default()
        }
    }

    #[test]
    fn a_text_is_read_back_as_it_was_written() {
        let story = story();
        let written = text(&story, Some(("sw-1", "web/FS-001/US-001")));
        assert_eq!(parse(&written), (story.description, story.boxes));
        assert_eq!(marker(&written), Some(("sw-1", "web/FS-001/US-001")));
        assert_eq!(parse(&text(&Record::default(), None)), Default::default());
    }

    #[test]
    fn what_a_person_writes_anywhere_stays() {
        let written = text(&story(), Some(("sw-1", "US-001")));
        let edited = written
            .replace("- [ ] **AC-US1-02**", "A note of mine.\n\n- [ ] **AC-US1-02**")
            .replace("<!--", "## More\n\nand more\n\n<!--");
        let (description, boxes) = parse(&edited);
        assert_eq!(boxes, story().boxes);
        assert!(
            description.contains("A note of mine.") && description.ends_with("## More\n\nand more"),
            "{description}"
        );
    }

    #[test]
    fn what_specweave_makes_anew_is_no_text_of_anybodys() {
        let issue = "## Progress\n\n**Acceptance Criteria**: 1/2 (50%)\n\n## User Story\n\n**As a** user\n\n\
            ## Acceptance Criteria\n\n- [x] **AC-US1-01**: works\n\n---\n\n## Links\n\n- [spec](x)\n\n---\n\n\
            🤖 Auto-created by SpecWeave User Story Sync | Updates automatically";
        let (description, boxes) = parse(issue);
        assert_eq!(description, "**As a** user");
        assert_eq!(boxes.len(), 1);
    }

    #[test]
    fn only_boxes_change_where_the_words_are_the_trackers() {
        let text = "Intro\r\n- [ ] one\n  * [x] two\n```\n- [ ] one\n```\n- [ ] **AC-1**: three";
        let one = |id: &str, text: &str, checked| Checkbox {
            list: List::Criteria,
            id: id.into(),
            text: text.into(),
            checked,
        };
        let wanted = [one("", "one", true), one("", "two", false), one("", "**AC-1**: three", true)];
        let (marked, all) = marked(text, &wanted);
        assert!(all && !self::marked("", &wanted).1);
        let long = "- [ ] one\n  with more\n  - and a detail\n- [ ] two";
        let wanted = [one("", "two", false), one("", "one with more - and a detail", true)];
        assert_eq!(self::marked(long, &wanted), (long.replacen("[ ]", "[x]", 1), true));
        assert_eq!(marked, "Intro\r\n- [x] one\n  * [ ] two\n```\n- [ ] one\n```\n- [x] **AC-1**: three");
    }
}
