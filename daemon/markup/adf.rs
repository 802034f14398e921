//! Atlassian's document format as Markdown. A node that is not known stands there as its JSON, in a block named
//! `adf:<type>`, so that a reader sees that something is there and what.

use crate::markup::fenced;
use crate::model::record::{Checkbox, List};
use serde_json::Value;

/// Nodes within nodes; no editor makes more.
const MOST_DEPTH: usize = 60;

/// The document as Markdown, without a line break at its end.
pub fn from_adf(document: &Value) -> String {
    match document {
        Value::Null => String::new(),
        // Some fields are plain text still.
        Value::String(text) => text.trim().to_owned(),
        _ => blocks(content(document), 0),
    }
}

/// The document with the boxes of its task lists marked as these are, and nothing else touched; `None` when it does not
/// have them all.
pub fn marked_adf(document: &Value, boxes: &[Checkbox]) -> Option<Value> {
    fn walk(node: &mut Value, left: &mut Vec<&Checkbox>, depth: usize) {
        if matches!(kind(node), "taskItem" | "blockTaskItem") {
            let text = match kind(node) {
                "taskItem" => inline(content(node)),
                _ => tight(content(node), 0),
            };
            let line = format!("- [ ] {}", text.lines().next().unwrap_or(""));
            let known = Checkbox::parse(List::Criteria, &line);
            let place = known.and_then(|known| left.iter().position(|one| one.stands_as(&known)));
            if let Some(one) = place.map(|place| left.remove(place)) {
                node["attrs"]["state"] = Value::from(if one.checked { "DONE" } else { "TODO" });
            }
        }
        if depth < MOST_DEPTH
            && let Some(nodes) = node.get_mut("content").and_then(Value::as_array_mut)
        {
            nodes.iter_mut().for_each(|node| walk(node, left, depth + 1));
        }
    }
    let (mut document, mut left) = (document.clone(), boxes.iter().collect());
    walk(&mut document, &mut left, 0);
    left.is_empty().then_some(document)
}

fn content(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or("")
}

fn attribute<'a>(node: &'a Value, name: &str) -> &'a str {
    node["attrs"][name].as_str().unwrap_or("")
}

/// Blocks with an empty line between two.
fn blocks(nodes: &[Value], depth: usize) -> String {
    let texts = nodes.iter().map(|node| block(node, depth)).filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join("\n\n")
}

fn block(node: &Value, depth: usize) -> String {
    if depth > MOST_DEPTH {
        return unknown(node);
    }
    let inner = || blocks(content(node), depth + 1);
    match kind(node) {
        "paragraph" => at_line_start(&inline(content(node))),
        "heading" => {
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6) as usize;
            format!("{} {}", "#".repeat(level), inline(content(node)).replace('\n', " "))
        }
        "bulletList" => list(node, depth, |_| "- ".to_owned()),
        "orderedList" => {
            let first = node["attrs"]["order"].as_u64().unwrap_or(1);
            list(node, depth, move |place| format!("{}. ", first.saturating_add(place as u64)))
        }
        "taskList" => tasks(node, depth),
        "decisionList" => list(node, depth, |_| "- **Decision:** ".to_owned()),
        "codeBlock" => fenced(attribute(node, "language"), &raw_text(node)),
        "blockquote" => quoted(&inner()),
        "panel" => quoted(&format!("**{}**\n\n{}", panel(attribute(node, "panelType")), inner())),
        "expand" | "nestedExpand" => match attribute(node, "title") {
            "" => inner(),
            title => format!("**{}**\n\n{}", escaped(title), inner()),
        },
        "layoutSection" | "layoutColumn" | "mediaGroup" | "mediaSingle" | "doc" | "bodiedExtension" => {
            inner()
        }
        "caption" => inline(content(node)),
        "rule" => "---".to_owned(),
        "table" => table(node),
        "media" => media(node),
        "blockCard" | "embedCard" => card(node),
        // Lone inlines where blocks belong.
        "text" | "hardBreak" | "mention" | "emoji" | "date" | "status" | "inlineCard" | "mediaInline" => {
            at_line_start(&inline(std::slice::from_ref(node)))
        }
        _ => unknown(node),
    }
}

fn list(node: &Value, depth: usize, bullet: impl Fn(usize) -> String) -> String {
    let items = content(node).iter().enumerate().map(|(place, item)| {
        let bullet = bullet(place);
        let text = match kind(item) {
            "decisionItem" => inline(content(item)),
            "listItem" => tight(content(item), depth + 1),
            _ => block(item, depth + 1),
        };
        hanging(&bullet, &text)
    });
    items.collect::<Vec<_>>().join("\n")
}

/// A list's own blocks stand close together.
fn tight(nodes: &[Value], depth: usize) -> String {
    let mut out = String::new();
    for node in nodes {
        let text = block(node, depth);
        if text.is_empty() {
            continue;
        }
        let is_list = matches!(kind(node), "bulletList" | "orderedList" | "taskList");
        if !out.is_empty() {
            out.push_str(if is_list { "\n" } else { "\n\n" });
        }
        out.push_str(&text);
    }
    out
}

fn tasks(node: &Value, depth: usize) -> String {
    let items = content(node).iter().map(|item| match kind(item) {
        "taskItem" | "blockTaskItem" => {
            let mark = if attribute(item, "state") == "DONE" { 'x' } else { ' ' };
            let text = match kind(item) {
                "taskItem" => inline(content(item)),
                _ => tight(content(item), depth + 1),
            };
            hanging(&format!("- [{mark}] "), &text)
        }
        "taskList" if depth < MOST_DEPTH => hanging("  ", &tasks(item, depth + 1)),
        _ => hanging("- ", &block(item, depth + 1)),
    });
    items.collect::<Vec<_>>().join("\n")
}

/// The first line behind the bullet, the others below it.
fn hanging(bullet: &str, text: &str) -> String {
    let indent =
        " ".repeat(bullet.chars().take_while(|c| *c == ' ').count().max(match bullet.trim_start() {
            bullet if bullet.starts_with("- ") => 2,
            bullet => bullet.len().min(4),
        }));
    let mut lines = text.split('\n');
    let mut out = format!("{bullet}{}", lines.next().unwrap_or(""));
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&indent);
            out.push_str(line);
        }
    }
    out
}

fn quoted(text: &str) -> String {
    let lines =
        text.split('\n').map(|line| if line.is_empty() { ">".to_owned() } else { format!("> {line}") });
    lines.collect::<Vec<_>>().join("\n")
}

fn panel(kind: &str) -> &'static str {
    match kind {
        "note" => "Note",
        "warning" => "Warning",
        "error" => "Error",
        "success" => "Success",
        _ => "Info",
    }
}

fn table(node: &Value) -> String {
    let cells = |row: &Value| -> Vec<String> { content(row).iter().map(cell).collect() };
    let rows: Vec<Vec<String>> = content(node).iter().map(cells).collect();
    let Some(width) = rows.iter().map(Vec::len).max().filter(|width| *width > 0) else {
        return String::new();
    };
    let has_head =
        content(node).first().is_some_and(|row| content(row).iter().any(|cell| kind(cell) == "tableHeader"));
    let line = |row: &[String]| {
        let padded = (0..width).map(|column| row.get(column).map_or("", String::as_str));
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut out = Vec::new();
    let mut body = rows.as_slice();
    if has_head {
        out.push(line(&rows[0]));
        body = &rows[1..];
    } else {
        out.push(line(&[]))
    }
    out.push(format!("|{}", " --- |".repeat(width)));
    out.extend(body.iter().map(|row| line(row)));
    out.join("\n")
}

/// A table's cell has one line.
fn cell(node: &Value) -> String {
    blocks(content(node), 1).replace('|', "\\|").replace("\n\n", "<br />").replace('\n', "<br />")
}

fn media(node: &Value) -> String {
    let alt = match attribute(node, "alt") {
        "" => "attachment",
        alt => alt,
    };
    match (attribute(node, "url"), attribute(node, "id")) {
        ("", id) => format!("*[{}: {}]*", escaped(alt), escaped(id)),
        (url, _) => format!("![{}]({})", escaped(alt), address(url)),
    }
}

fn card(node: &Value) -> String {
    match attribute(node, "url") {
        "" => unknown(node),
        url => format!("<{}>", address(url)),
    }
}

fn unknown(node: &Value) -> String {
    fenced(&format!("adf:{}", word(kind(node))), &serde_json::to_string_pretty(node).unwrap_or_default())
}

/// A type's name as the info of a fence.
fn word(kind: &str) -> String {
    kind.chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

fn raw_text(node: &Value) -> String {
    content(node).iter().map(|node| node["text"].as_str().unwrap_or("")).collect()
}

fn inline(nodes: &[Value]) -> String {
    nodes.iter().map(inline_one).collect()
}

fn inline_one(node: &Value) -> String {
    match kind(node) {
        "text" => marked(node),
        "hardBreak" => "\\\n".to_owned(),
        "mention" => {
            let text = match attribute(node, "text") {
                "" => attribute(node, "id"),
                text => text,
            };
            format!("@{}", escaped(text.trim_start_matches('@')))
        }
        "emoji" => match attribute(node, "text") {
            "" => attribute(node, "shortName").to_owned(),
            text => text.to_owned(),
        },
        "date" => {
            let at = node["attrs"]["timestamp"].as_str().and_then(|text| text.parse().ok());
            at.map_or_else(String::new, |at| specweave_jobs::clock::iso(at)[..10].to_owned())
        }
        "status" => format!("**[{}]**", escaped(attribute(node, "text"))),
        "inlineCard" => card(node),
        "media" | "mediaInline" => media(node),
        "placeholder" => escaped(attribute(node, "text")),
        _ => code(&node.to_string()),
    }
}

/// A text with its marks, blanks outside of them: Markdown takes none at their inner ends.
fn marked(node: &Value) -> String {
    let text = node["text"].as_str().unwrap_or("");
    let marks = node["marks"].as_array().map_or(&[][..], Vec::as_slice);
    let core = text.trim();
    if core.is_empty() {
        return text.to_owned();
    }
    let start = text.find(core).unwrap_or(0);
    let (before, after) = (&text[..start], &text[start + core.len()..]);
    let is = |name: &str| marks.iter().any(|mark| kind(mark) == name);
    let mut out = if is("code") { code(core) } else { escaped(core) };
    let around =
        [("strong", "**", "**"), ("em", "*", "*"), ("strike", "~~", "~~"), ("underline", "<u>", "</u>")];
    for (name, open, close) in around {
        if is(name) {
            out = format!("{open}{out}{close}");
        }
    }
    for mark in marks.iter().filter(|mark| kind(mark) == "subsup") {
        let tag = if attribute(mark, "type") == "sub" { "sub" } else { "sup" };
        out = format!("<{tag}>{out}</{tag}>");
    }
    if let Some(link) = marks.iter().find(|mark| kind(mark) == "link") {
        out = format!("[{out}]({})", address(attribute(link, "href")));
    }
    format!("{before}{out}{after}")
}

/// A code span whose fence is longer than any within it.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('\n', " "))
}

fn address(url: &str) -> String {
    url.replace(' ', "%20").replace('(', "%28").replace(')', "%29").replace(['\n', '\r', '<', '>'], "")
}

/// Text without what Markdown would take for itself.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let in_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '\\' | '*' | '`' | '[' | ']' | '<' | '~' => out.extend(['\\', c]),
            '_' if !in_word => out.push_str("\\_"),
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// What would make a line a heading, a list or a quotation at its beginning.
fn at_line_start(text: &str) -> String {
    let guard = |line: &str| -> String {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let ordered = digits > 0 && matches!(line.as_bytes().get(digits), Some(b'.' | b')'));
        match line.as_bytes().first() {
            Some(b'#' | b'>' | b'+' | b'=') => format!("\\{line}"),
            Some(b'-') if line.starts_with("- ") || line.starts_with("--") => format!("\\{line}"),
            _ if ordered => format!("{}\\{}", &line[..digits], &line[digits..]),
            _ => line.to_owned(),
        }
    };
    text.split('\n').map(guard).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn doc(content: Value) -> String {
        from_adf(&json!({"type": "doc", "version": 1, "content": content}))
    }

    fn text(text: &str, marks: Value) -> Value {
        json!({"type": "text", "text": text, "marks": marks})
    }

    fn paragraph(content: Value) -> Value {
        json!({"type": "paragraph", "content": content})
    }

    #[test]
    fn marks_and_links_become_markdown() {
        let line = doc(json!([paragraph(json!([
            text("plain ", json!([])),
            text("bold ", json!([{"type": "strong"}])),
            text("a*b", json!([])),
            text("x`y", json!([{"type": "code"}])),
            text("here", json!([{"type": "link", "attrs": {"href": "https://a/(b)"}}])),
        ]))]));
        assert_eq!(line, "plain **bold** a\\*b``x`y``[here](https://a/%28b%29)");
    }

    #[test]
    fn lists_nest_and_keep_their_numbers() {
        let item = |content: Value| json!({"type": "listItem", "content": content});
        let inner = json!({"type": "bulletList", "content": [item(json!([paragraph(json!([text("in", json!([]))]))]))]});
        let list = json!({"type": "orderedList", "attrs": {"order": 3}, "content": [
            item(json!([paragraph(json!([text("one", json!([]))])), inner])),
            item(json!([paragraph(json!([text("two", json!([]))]))])),
        ]});
        assert_eq!(doc(json!([list])), "3. one\n   - in\n4. two");
        let tasks = json!({"type": "taskList", "content": [
            {"type": "taskItem", "attrs": {"state": "DONE"}, "content": [text("a", json!([]))]},
            {"type": "taskItem", "attrs": {"state": "TODO"}, "content": [text("b", json!([]))]},
        ]});
        assert_eq!(doc(json!([tasks])), "- [x] a\n- [ ] b");
    }

    #[test]
    fn a_table_keeps_every_cell_in_its_place() {
        let cell = |kind: &str, one: &str| json!({"type": kind, "content": [paragraph(json!([text(one, json!([]))]))]});
        let two_lines = json!({"type": "tableCell", "content": [
            paragraph(json!([text("1", json!([]))])), paragraph(json!([text("2", json!([]))])),
        ]});
        let table = json!({"type": "table", "content": [
            {"type": "tableRow", "content": [cell("tableHeader", "A"), cell("tableHeader", "B")]},
            {"type": "tableRow", "content": [cell("tableCell", "x|y"), two_lines]},
        ]});
        assert_eq!(doc(json!([table])), "| A | B |\n| --- | --- |\n| x\\|y | 1<br />2 |");
    }

    #[test]
    fn what_is_not_known_stands_there_as_itself() {
        let strange = json!({"type": "extension", "attrs": {"key": "poll", "votes": 3}});
        let shown = doc(json!([strange]));
        assert!(shown.starts_with("```adf:extension\n") && shown.contains("\"votes\": 3"), "{shown}");
        let inline = doc(json!([paragraph(json!([{"type": "inlineExtension", "attrs": {"key": "x"}}]))]));
        assert!(inline.contains("\"key\":\"x\""), "{inline}");
        let code = json!({"type": "codeBlock", "attrs": {"language": "md"}, "content": [text("```\nx\n```", json!([]))]});
        assert_eq!(doc(json!([code])), "````md\n```\nx\n```\n````");
    }

    #[test]
    fn text_is_not_taken_for_markdown() {
        for (given, wanted) in [
            ("# no", "\\# no"),
            ("1. no", "1\\. no"),
            ("snake_case _x_", "snake_case \\_x\\_"),
            ("<b>", "\\<b>"),
        ] {
            assert_eq!(doc(json!([paragraph(json!([text(given, json!([]))]))])), wanted);
        }
    }

    #[test]
    fn a_document_that_nests_without_end_is_survived() {
        let mut node = paragraph(json!([text("deep", json!([]))]));
        for _ in 0..100 {
            node = json!({"type": "blockquote", "content": [node]});
        }
        assert!(doc(json!([node])).contains("adf:blockquote"));
    }
}
