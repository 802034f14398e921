//! The lines of a front matter, changed as little as YAML lets them be: comments, order, quotes and everything about other
//! keys stay as somebody wrote them. Pure.

use serde_json::{Map, Value};

/// Whether a text begins as one with front matter does.
pub fn is_there(text: &str) -> bool {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().next().is_some_and(|line| line.trim_end() == "---")
}

/// The front matter of a text with its fences and the empty lines behind it, and the rest.
pub fn split(text: &str) -> (&str, &str) {
    if !is_there(text) {
        return ("", text);
    }
    let mut end = 0;
    let mut is_open = true;
    for (place, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if !is_open && !bare.is_empty() {
            break;
        }
        is_open &= place == 0 || bare != "---";
        end += line.len();
    }
    if is_open { ("", text) } else { text.split_at(end) }
}

/// The lines of a key that is to have a new value, from those that it has: `lines` begin with the key's own, without
/// line ends. Where nothing smaller would mean the same, the key is written anew.
pub fn changed(lines: &[&str], key: &str, before: &Value, value: &Value) -> Vec<String> {
    let means_it = |lines: &Vec<String>| {
        let read: Result<Map<String, Value>, _> = serde_saphyr::from_str(&format!("{}\n", lines.join("\n")));
        read.is_ok_and(|read| read.len() == 1 && read.values().next() == Some(value))
    };
    edited(lines, before, value).filter(means_it).unwrap_or_else(|| lines_of(key, value))
}

/// A key and its value in lines of YAML.
pub fn lines_of(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let nested = map.iter().flat_map(|(name, value)| lines_of(&scalar(name), value));
            let mut lines = vec![format!("{key}:")];
            lines.extend(nested.map(|line| format!("  {line}")));
            lines
        }
        Value::Array(all) => vec![format!("{key}: [{}]", listed(all))],
        Value::String(text) if key == "title" => vec![format!("{key}: {}", quoted(text))],
        other => vec![format!("{key}: {}", shown(other))],
    }
}

/// A text as it may stand in YAML: bare where it cannot mean anything else.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(word);
    let means = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_address = text.starts_with("https://") && text.chars().all(|c| word(c) || c == ':');
    if (bare && !means.contains(&text.to_ascii_lowercase().as_str())) || is_address {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// As JSON has it, which is YAML but for what YAML does not let stand in a file at all.
pub fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a string serialises");
    let unwritable = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
    };
    if !json.contains(unwritable) {
        return json;
    }
    json.chars()
        .map(|c| if unwritable(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() })
        .collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

/// The inside of a list on one line; JSON is YAML.
fn listed(all: &[Value]) -> String {
    all.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn edited(lines: &[&str], before: &Value, value: &Value) -> Option<Vec<String>> {
    match (before, value) {
        (Value::Object(before), Value::Object(value)) => mapping(lines, before, value),
        (Value::Array(_), Value::Array(value)) if lines.len() > 1 => sequence(lines, value),
        (Value::Array(_), Value::Array(value)) => {
            let one = Line::parse(lines[0])?;
            Some(vec![format!("{}[{}]{}", one.before, listed(value), one.comment)])
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => None,
        (_, value) if lines.len() == 1 => {
            let one = Line::parse(lines[0])?;
            let new = match (one.value.chars().next(), value.as_str()) {
                (Some('"'), Some(text)) => quoted(text),
                (Some('\''), Some(text)) if !text.contains('\n') => format!("'{}'", text.replace('\'', "''")),
                _ => shown(value),
            };
            Some(vec![format!("{}{new}{}", one.before, one.comment)])
        }
        _ => None,
    }
}

/// `key: value   # comment`, in its parts.
struct Line<'a> {
    /// Up to the value.
    before: &'a str,
    value: &'a str,
    /// From the blanks before `#` on.
    comment: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let colon = line.find(": ").map(|at| at + 1).or_else(|| line.ends_with(':').then_some(line.len()))?;
        let start = line.len() - line[colon..].trim_start().len();
        let rest = &line[start..];
        let end = start + end_of_value(rest);
        let value = line[start..end].trim_end();
        Some(Self { before: &line[..start], value, comment: &line[start + value.len()..] })
    }
}

/// Where the value at the beginning of a text ends, and a comment may follow.
fn end_of_value(text: &str) -> usize {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if quote == '"' => escaped = true,
                c if c == quote => return at + 1,
                _ => {}
            }
        }
        return text.len();
    }
    if text.starts_with('#') {
        return 0;
    }
    text.find(" #").unwrap_or(text.len())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line says nothing to YAML.
fn is_silent(line: &str) -> bool {
    let bare = line.trim();
    bare.is_empty() || bare.starts_with('#')
}

/// A list with an item a line: what is not wanted goes, what is new comes behind the last.
fn sequence(lines: &[&str], wanted: &[Value]) -> Option<Vec<String>> {
    let mut left: Vec<&Value> = wanted.iter().collect();
    let mut out: Vec<String> = vec![lines[0].to_owned()];
    let mut last = None;
    for line in &lines[1..] {
        if is_silent(line) {
            out.push((*line).to_owned());
            continue;
        }
        let bullet = line.find("- ")?;
        let text = line[bullet + 2..].trim_start();
        let value: Value = serde_saphyr::from_str(text[..end_of_value(text)].trim_end()).ok()?;
        if line[..bullet].trim() != "" || value.is_object() || value.is_array() {
            return None;
        }
        let Some(place) = left.iter().position(|known| **known == value) else { continue };
        left.remove(place);
        out.push((*line).to_owned());
        last = Some((out.len(), bullet));
    }
    let (at, bullet) = last?;
    let new = left.into_iter().map(|value| format!("{}- {}", " ".repeat(bullet), shown(value)));
    out.splice(at..at, new);
    Some(out)
}

/// A mapping with a key a line: only what differs is touched.
fn mapping(lines: &[&str], before: &Map<String, Value>, wanted: &Map<String, Value>) -> Option<Vec<String>> {
    let first = lines[1..].iter().find(|line| !is_silent(line))?;
    let depth = indent(first);
    let is_key = |line: &&str| !is_silent(line) && indent(line) == depth;
    if depth == 0 {
        return None;
    }
    let mut out: Vec<String> = vec![lines[0].to_owned()];
    let mut at = 1;
    while at < lines.len() {
        if !is_key(&lines[at]) {
            out.push(lines[at].to_owned());
            at += 1;
            continue;
        }
        let mut end = at + 1;
        while end < lines.len() && !is_key(&lines[end]) {
            end += 1;
        }
        // What says nothing and stands no deeper than the key belongs to what follows.
        while end > at + 1 && is_silent(lines[end - 1]) && indent(lines[end - 1]) <= depth {
            end -= 1;
        }
        let block: Vec<&str> = lines[at..end].iter().map(|line| line.get(depth..).unwrap_or("")).collect();
        let read: Map<String, Value> = serde_saphyr::from_str(&format!("{}\n", block.join("\n"))).ok()?;
        let (name, value) = read.into_iter().next()?;
        match wanted.get(&name) {
            None => {}
            Some(wanted) if *wanted == value => {
                out.extend(lines[at..end].iter().map(|line| (*line).to_owned()))
            }
            Some(wanted) => {
                let new = changed(&block, &scalar(&name), &value, wanted);
                out.extend(new.into_iter().map(|line| format!("{}{line}", " ".repeat(depth))));
            }
        }
        at = end;
    }
    let new = wanted.iter().filter(|(name, _)| !before.contains_key(*name));
    let new = new.flat_map(|(name, value)| lines_of(&scalar(name), value));
    // Comments at the end stay there.
    let mut place = out.len();
    while place > 1 && is_silent(&out[place - 1]) {
        place -= 1;
    }
    out.splice(place..place, new.map(|line| format!("{}{line}", " ".repeat(depth))).collect::<Vec<_>>());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn change(text: &str, value: &Value) -> String {
        let read: Map<String, Value> = serde_saphyr::from_str(text).unwrap();
        let (key, before) = read.iter().next().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        changed(&lines, key, before, value).join("\n")
    }

    #[test]
    fn comments_order_and_quotes_stay() {
        assert_eq!(
            change("status: open  # waiting for legal", &json!("done")),
            "status: done  # waiting for legal"
        );
        assert_eq!(change("title: 'a # b'   # c", &json!("it's")), "title: 'it''s'   # c");
        assert_eq!(change("title: \"a\" # c", &json!("b: \"c\"")), "title: \"b: \\\"c\\\"\" # c");
        let labels = "labels:\n  # owned by QA\n  - zebra   # first\n  - apple\n  # end";
        assert_eq!(
            change(labels, &json!(["zebra", "apple", "new"])),
            "labels:\n  # owned by QA\n  - zebra   # first\n  - apple\n  - new\n  # end"
        );
        assert_eq!(change(labels, &json!(["apple"])), "labels:\n  # owned by QA\n  - apple\n  # end");
        assert_eq!(change("labels: [b, a] # two", &json!(["b", "a", "c"])), "labels: [b, a, c] # two");
    }

    #[test]
    fn a_link_of_one_tracker_leaves_the_lines_of_the_others_alone() {
        let text = "external:\n  # by hand\n  jira:\n    key: PAY-1   # old\n  # and this";
        assert_eq!(
            change(text, &json!({"jira": {"key": "PAY-1"}, "github": {"issue": 5}})),
            "external:\n  # by hand\n  jira:\n    key: PAY-1   # old\n  github:\n    issue: 5\n  # and this"
        );
        assert_eq!(
            change(text, &json!({"jira": {"key": "PAY-2"}})),
            "external:\n  # by hand\n  jira:\n    key: PAY-2   # old\n  # and this"
        );
        let flow = "external: {jira: {key: PAY-1}}";
        assert_eq!(
            change(flow, &json!({"jira": {"key": "PAY-1"}, "github": {"issue": 5}})),
            "external:\n  jira:\n    key: PAY-1\n  github:\n    issue: 5"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_stands_there_means_afterwards_what_was_wanted(
            old in prop::collection::vec("[a-z#:' \"-]{0,6}", 0..4), new in prop::collection::vec("[a-z#:' \"-]{0,6}", 0..4), one in ".{0,8}"
        ) {
            let block: String = old.iter().map(|label| format!("  - {}   # c\n", scalar(label))).collect();
            let text = if old.is_empty() { "labels: []\n".to_owned() } else { format!("labels:\n{block}") };
            for value in [json!(new), json!(one), json!({"github": {"issue": 1}})] {
                let after = change(&text, &value);
                let read: Map<String, Value> = serde_saphyr::from_str(&format!("{after}\n")).unwrap();
                prop_assert_eq!(&read["labels"], &value, "{}", after);
            }
        }
    }
}
