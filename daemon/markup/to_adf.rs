//! Markdown as Atlassian's document format: what JIRA's own editor would make of it. A block that stands for a node
//! which Markdown does not know becomes that node again.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

/// The document of a text.
pub fn to_adf(text: &str) -> Value {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut builder = Builder { open: vec![Open::new("doc")], marks: Vec::new(), boxes: 0, ignored: 0 };
    for event in Parser::new_ext(text, options) {
        builder.take(event);
    }
    while builder.open.len() > 1 {
        builder.close();
    }
    let doc = builder.open.pop().expect("it was never taken");
    json!({"type": "doc", "version": 1, "content": doc.content})
}

/// A node whose content is not complete.
struct Open {
    kind: &'static str,
    attributes: Value,
    content: Vec<Value>,
    /// Of an item of a list, whether its box is checked, if it has one.
    checked: Option<bool>,
}

impl Open {
    fn new(kind: &'static str) -> Self {
        Self { kind, attributes: Value::Null, content: Vec::new(), checked: None }
    }

    fn with(kind: &'static str, attributes: Value) -> Self {
        Self { attributes, ..Self::new(kind) }
    }
}

struct Builder {
    open: Vec<Open>,
    marks: Vec<Value>,
    /// Boxes so far: each needs a name of its own.
    boxes: u32,
    /// Blocks that are open deeper than any editor goes: what is in them stands where they begin.
    ignored: u32,
}

/// So many blocks may stand within each other.
const MOST_DEPTH: usize = 40;

/// Nodes that hold inline content and nothing else.
const INLINE: [&str; 3] = ["paragraph", "heading", "codeBlock"];

impl Builder {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => {
                let mut marks: Vec<Value> =
                    self.marks.iter().filter(|mark| mark["type"] == "link").cloned().collect();
                marks.push(json!({"type": "code"}));
                self.inline(json!({"type": "text", "text": &*code, "marks": marks}));
            }
            Event::Html(text) | Event::InlineHtml(text) => match text.trim().to_lowercase().as_str() {
                "<br>" | "<br/>" | "<br />" => self.inline(json!({"type": "hardBreak"})),
                "<u>" => self.marks.push(json!({"type": "underline"})),
                "</u>" => self.marks.retain(|mark| mark["type"] != "underline"),
                _ => self.text(&text),
            },
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.inline(json!({"type": "hardBreak"})),
            Event::Rule => self.block(json!({"type": "rule"})),
            Event::TaskListMarker(checked) => {
                if let Some(item) = self.open.iter_mut().rev().find(|open| open.kind == "listItem") {
                    item.checked = Some(checked);
                }
            }
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.text(&text)
            }
        }
    }

    fn start(&mut self, tag: Tag) {
        let open = match tag {
            Tag::Paragraph => Open::new("paragraph"),
            Tag::Heading { level, .. } => Open::with("heading", json!({"level": number(level)})),
            Tag::BlockQuote(_) => Open::new("blockquote"),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                Open::with("codeBlock", json!({"language": &*language}))
            }
            Tag::CodeBlock(_) => Open::new("codeBlock"),
            Tag::List(Some(first)) => Open::with("orderedList", json!({"order": first})),
            Tag::List(None) => Open::new("bulletList"),
            Tag::Item => Open::new("listItem"),
            Tag::Table(_) => Open::new("table"),
            Tag::TableHead | Tag::TableRow => Open::new("tableRow"),
            Tag::TableCell => {
                let in_head = self.open.last().is_some_and(|row| row.content.is_empty())
                    && self.open.iter().rev().nth(1).is_some_and(|table| table.content.is_empty());
                let is_head = in_head
                    || self.open.last().is_some_and(|row| {
                        row.content.first().is_some_and(|cell| cell["type"] == "tableHeader")
                    });
                Open::new(if is_head { "tableHeader" } else { "tableCell" })
            }
            Tag::Emphasis => return self.marks.push(json!({"type": "em"})),
            Tag::Strong => return self.marks.push(json!({"type": "strong"})),
            Tag::Strikethrough => return self.marks.push(json!({"type": "strike"})),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                return self.marks.push(json!({"type": "link", "attrs": {"href": &*dest_url}}));
            }
            _ => return,
        };
        if self.open.len() >= MOST_DEPTH || self.ignored > 0 {
            self.ignored += 1;
            return;
        }
        if self.open.last().is_some_and(|last| last.kind == "paragraph") {
            self.close();
        }
        self.open.push(open);
    }

    fn end(&mut self, tag: TagEnd) {
        let kind = match tag {
            TagEnd::Paragraph => "paragraph",
            TagEnd::Heading(_) => "heading",
            TagEnd::BlockQuote(_) => "blockquote",
            TagEnd::CodeBlock => "codeBlock",
            TagEnd::List(true) => "orderedList",
            TagEnd::List(false) => "bulletList",
            TagEnd::Item => "listItem",
            TagEnd::Table => "table",
            TagEnd::TableHead | TagEnd::TableRow => "tableRow",
            TagEnd::TableCell => "",
            TagEnd::Emphasis => return self.unmark("em"),
            TagEnd::Strong => return self.unmark("strong"),
            TagEnd::Strikethrough => return self.unmark("strike"),
            TagEnd::Link | TagEnd::Image => return self.unmark("link"),
            // What HTML began stands in a paragraph that nothing else ends.
            TagEnd::HtmlBlock if self.open.last().is_some_and(|last| last.kind == "paragraph") => {
                self.close();
                return;
            }
            _ => return,
        };
        if self.ignored > 0 {
            self.ignored -= 1;
            return;
        }
        if !self.open.iter().any(|open| open.kind == kind || kind.is_empty()) {
            return;
        }
        loop {
            let closed = self.close();
            if closed == kind || (kind.is_empty() && closed.starts_with("table")) || self.open.len() == 1 {
                return;
            }
        }
    }

    fn unmark(&mut self, kind: &str) {
        if let Some(at) = self.marks.iter().rposition(|mark| mark["type"] == kind) {
            self.marks.remove(at);
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.open.last().is_some_and(|open| open.kind == "codeBlock") {
            return self.inline(json!({"type": "text", "text": text}));
        }
        let mut node = json!({"type": "text", "text": text});
        if !self.marks.is_empty() {
            node["marks"] = Value::from(self.marks.clone());
        }
        self.inline(node);
    }

    /// Inline content where only blocks may stand begins a paragraph.
    fn inline(&mut self, node: Value) {
        let last = self.open.last().expect("the document is never taken");
        if !INLINE.contains(&last.kind) {
            self.open.push(Open::new("paragraph"));
        }
        self.open.last_mut().expect("it was just seen").content.push(node);
    }

    fn block(&mut self, node: Value) {
        if self.open.last().is_some_and(|open| open.kind == "paragraph") {
            self.close();
        }
        let parent = self.open.last_mut().expect("the document is never taken");
        let inside = parent.kind;
        parent.content.extend(fitting(node, inside));
    }

    /// Completes the innermost node; gives its kind.
    fn close(&mut self) -> &'static str {
        if self.open.len() < 2 {
            return "doc";
        }
        let open = self.open.pop().expect("there are two");
        let kind = open.kind;
        let node = self.completed(open);
        let parent = self.open.last_mut().expect("there was another");
        let inside = parent.kind;
        parent.content.extend(node.into_iter().flat_map(|node| fitting(node, inside)));
        kind
    }

    fn completed(&mut self, open: Open) -> Vec<Value> {
        let mut content = open.content;
        match open.kind {
            "codeBlock" => {
                let text: String = content.iter().filter_map(|node| node["text"].as_str()).collect();
                let language = open.attributes["language"].as_str().unwrap_or("");
                if language.starts_with("adf:")
                    && let Ok(node @ Value::Object(_)) = serde_json::from_str(&text)
                {
                    return vec![node];
                }
                content = match text.trim_end_matches('\n') {
                    "" => Vec::new(),
                    text => vec![json!({"type": "text", "text": text})],
                };
            }
            "paragraph" if content.is_empty() => return Vec::new(),
            "listItem" => {
                if !content
                    .first()
                    .is_some_and(|first| first["type"] == "paragraph" || first["type"] == "codeBlock")
                {
                    content.insert(0, json!({"type": "paragraph", "content": []}));
                }
                let item = json!({"type": "listItem", "content": content, "checked": open.checked});
                return vec![item];
            }
            "bulletList" | "orderedList" => return self.lists(open.kind, &open.attributes, content),
            "tableCell" | "tableHeader" | "blockquote" if content.is_empty() => {
                content.push(json!({"type": "paragraph", "content": []}));
            }
            _ => {}
        }
        let mut node = json!({"type": open.kind, "content": content});
        if !open.attributes.is_null() {
            node["attrs"] = open.attributes;
        }
        vec![node]
    }

    /// A list, or several where boxes and others take turns.
    fn lists(&mut self, kind: &'static str, attributes: &Value, items: Vec<Value>) -> Vec<Value> {
        let mut lists: Vec<Value> = Vec::new();
        for mut item in items {
            let checked = item.as_object_mut().and_then(|item| item.shift_remove("checked"));
            let checked = checked.as_ref().and_then(Value::as_bool);
            let content = item["content"].as_array().cloned().unwrap_or_default();
            let simple = content.len() == 1 && content[0]["type"] == "paragraph";
            let (kind, item) = match checked {
                Some(checked) if simple => {
                    self.boxes += 1;
                    let state = if checked { "DONE" } else { "TODO" };
                    let attributes = json!({"localId": format!("box-{}", self.boxes), "state": state});
                    (
                        "taskList",
                        json!({"type": "taskItem", "attrs": attributes, "content": content[0]["content"]}),
                    )
                }
                // A box with more than a line below it is no task of JIRA's.
                Some(checked) => {
                    let mark = if checked { "[x] " } else { "[ ] " };
                    if let Some(first) = item["content"][0]["content"].as_array_mut() {
                        first.insert(0, json!({"type": "text", "text": mark}));
                    }
                    (kind, item)
                }
                None => (kind, item),
            };
            match lists.last_mut().filter(|list| list["type"] == kind) {
                Some(list) => list["content"].as_array_mut().expect("it was made as one").push(item),
                None => {
                    let mut list = json!({"type": kind, "content": [item]});
                    if kind == "taskList" {
                        self.boxes += 1;
                        list["attrs"] = json!({"localId": format!("list-{}", self.boxes)});
                    } else if !attributes.is_null() {
                        list["attrs"] = attributes.clone();
                    }
                    lists.push(list);
                }
            }
        }
        lists
    }
}

/// What of a node may stand in another: JIRA refuses a whole text for one that may not.
fn fitting(mut node: Value, inside: &str) -> Vec<Value> {
    let kind = node["type"].as_str().unwrap_or("").to_owned();
    match (inside, kind.as_str()) {
        ("blockquote" | "listItem", "heading") => {
            node["type"] = "paragraph".into();
            node.as_object_mut().map(|node| node.shift_remove("attrs"));
            vec![node]
        }
        ("listItem" | "blockquote", "blockquote") => match node["content"].take() {
            Value::Array(content) => content,
            _ => Vec::new(),
        },
        ("blockquote" | "listItem", "rule") => Vec::new(),
        ("listItem" | "blockquote", "table") => {
            let rows = node["content"].as_array().into_iter().flatten();
            let cells = rows.flat_map(|row| row["content"].as_array().into_iter().flatten());
            let blocks = cells.flat_map(|cell| cell["content"].as_array().cloned().unwrap_or_default());
            blocks.flat_map(|block| fitting(block, inside)).collect()
        }
        // A quotation has no tasks, but may have a list whose lines begin as such.
        ("blockquote", "taskList") => {
            let items = node["content"].as_array().into_iter().flatten().map(|item| {
                let mark = if item["attrs"]["state"] == "DONE" { "[x] " } else { "[ ] " };
                let mut content = item["content"].as_array().cloned().unwrap_or_default();
                content.insert(0, json!({"type": "text", "text": mark}));
                json!({"type": "listItem", "content": [{"type": "paragraph", "content": content}]})
            });
            vec![json!({"type": "bulletList", "content": items.collect::<Vec<_>>()})]
        }
        // A node that stands for itself, where the format has no place for it.
        ("listItem" | "blockquote" | "tableCell" | "tableHeader", kind) if !known(kind) => {
            let text = json!({"type": "text", "text": node.to_string()});
            vec![
                json!({"type": "codeBlock", "attrs": {"language": format!("adf:{kind}")}, "content": [text]}),
            ]
        }
        _ => vec![node],
    }
}

/// Nodes that Markdown makes.
fn known(kind: &str) -> bool {
    let blocks = [
        "paragraph",
        "bulletList",
        "orderedList",
        "taskList",
        "codeBlock",
        "heading",
        "rule",
        "blockquote",
        "table",
        "listItem",
        "tableRow",
        "tableCell",
        "tableHeader",
    ];
    blocks.contains(&kind)
}

fn number(level: HeadingLevel) -> u8 {
    level as u8
}

#[cfg(test)]
mod tests {
    use super::super::from_adf;
    use super::*;

    fn round(text: &str) -> String {
        from_adf(&to_adf(text))
    }

    #[test]
    fn what_people_write_comes_back_as_it_was() {
        for text in [
            "As a **user** I *want* `it`, see [docs](https://a/b).",
            "## User Story\n\ntext\n\n## Acceptance Criteria\n\n- [ ] **AC-US1-01**: works\n- [x] **AC-US1-02**: fast",
            "- one\n- two\n  - deeper\n- three",
            "1. one\n2. two",
            "> quoted\n> more",
            "```rust\nfn main() {}\n```",
            "a\n\n---\n\nb",
            "| a | b |\n| --- | --- |\n| 1 | 2 |",
            "~~gone~~ and\\\nbroken",
        ] {
            assert_eq!(round(text), text, "{:#}", to_adf(text));
            assert_eq!(round(&round(text)), round(text));
        }
    }

    #[test]
    fn a_node_that_markdown_does_not_know_survives() {
        let document = json!({"type": "doc", "version": 1, "content": [
            {"type": "extension", "attrs": {"extensionKey": "toc"}},
            {"type": "paragraph", "content": [{"type": "text", "text": "x"}]},
        ]});
        let again = to_adf(&from_adf(&document));
        assert_eq!(again["content"][0], document["content"][0]);
    }

    #[test]
    fn no_depth_and_no_nesting_is_too_much() {
        let deep = to_adf(&">".repeat(20_000));
        from_adf(&deep);
        let document = to_adf("> # title\n>\n> > inner\n\n- > quoted\n- a\n\n  # head");
        let text = document.to_string();
        assert!(
            text.contains("title")
                && text.contains("inner")
                && text.contains("quoted")
                && !text.contains("heading")
        );
    }

    #[test]
    fn every_box_has_a_name_and_every_list_its_items() {
        let document = to_adf("- [x] one\n- two\n- [ ] three\n\n  more");
        let kinds: Vec<&str> =
            document["content"].as_array().unwrap().iter().filter_map(|n| n["type"].as_str()).collect();
        assert_eq!(kinds, ["taskList", "bulletList"]);
        assert_eq!(document["content"][0]["content"][0]["attrs"]["state"], "DONE");
        assert!(document["content"][0]["attrs"]["localId"].is_string());
        assert!(from_adf(&document).ends_with("three\n\n  more"));
    }

    /// What Atlassian's published schema of the format lets stand in what, of the nodes that Markdown makes.
    fn faults(node: &Value, path: &str, out: &mut Vec<String>) {
        const INLINE: [&str; 2] = ["text", "hardBreak"];
        const BLOCKS: [&str; 9] = [
            "paragraph",
            "heading",
            "bulletList",
            "orderedList",
            "taskList",
            "codeBlock",
            "blockquote",
            "rule",
            "table",
        ];
        let kind = node["type"].as_str().unwrap_or("");
        let may: &[&str] = match kind {
            "doc" => &BLOCKS,
            "paragraph" | "heading" | "taskItem" => &INLINE,
            "codeBlock" => &["text"],
            "bulletList" | "orderedList" => &["listItem"],
            "taskList" => &["taskItem", "taskList"],
            "listItem" => &["paragraph", "bulletList", "orderedList", "codeBlock", "taskList"],
            "blockquote" => &["paragraph", "bulletList", "orderedList", "codeBlock"],
            "table" => &["tableRow"],
            "tableRow" => &["tableCell", "tableHeader"],
            "tableCell" | "tableHeader" => &BLOCKS[..8],
            _ => &[],
        };
        let content = node["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let needs_some =
            ["bulletList", "orderedList", "taskList", "listItem", "blockquote", "table"].contains(&kind);
        if needs_some && content.is_empty() {
            out.push(format!("{path}: {kind} has no content"));
        }
        if kind == "text" && node["text"].as_str().is_none_or(str::is_empty) {
            out.push(format!("{path}: an empty text"));
        }
        if kind == "listItem" && !["paragraph", "codeBlock"].iter().any(|first| content[0]["type"] == *first)
        {
            out.push(format!("{path}: an item begins with {}", content[0]["type"]));
        }
        let marks: Vec<&str> =
            node["marks"].as_array().into_iter().flatten().filter_map(|mark| mark["type"].as_str()).collect();
        if marks.contains(&"code") && marks.iter().any(|mark| !["code", "link"].contains(mark)) {
            out.push(format!("{path}: code with {marks:?}"));
        }
        for child in content {
            let inner = child["type"].as_str().unwrap_or("");
            if !may.contains(&inner) {
                out.push(format!("{path}: {inner} in {kind}"));
            }
            faults(child, &format!("{path}/{inner}"), out);
        }
    }

    fn assert_valid(text: &str) {
        let mut wrong = Vec::new();
        faults(&to_adf(text), "doc", &mut wrong);
        assert!(wrong.is_empty(), "{text:?}: {wrong:?}");
    }

    #[test]
    fn what_may_not_stand_in_another_node_finds_a_place_that_jira_takes() {
        for text in [
            "text\n\n<!-- note -->",
            "<details>\n<summary>Notes</summary>\n\nmore\n\n</details>\n\n## Notes",
            "<img src=\"a.png\">\n\n## Notes\n\nmore",
            "<br>\n# head",
            "- a\n\n  ---\n\n  b",
            "> ---",
            ">",
            "> - [ ] a\n> - [x] b",
            "- # head",
            "> > a",
            "- a\n\n  | a |\n  | - |\n  | 1 |",
            "-\n-",
            "- - a",
            "- a\n\n  ```\n  x\n  ```",
            "```\n```",
            "**`x`** [`y`](https://a)",
            "- [ ] a\n  - [ ] b",
            "[x]()",
            "![](https://a/b.png)",
            "> ```adf:panel\n> {\"type\": \"panel\"}\n> ```",
        ] {
            assert_valid(text);
        }
        assert!(to_adf("> - [x] done").to_string().contains("[x] "));
    }

    #[test]
    fn a_story_is_this_document() {
        let text = "As a **user** I want `it`.\n\n## Acceptance Criteria\n\n- [ ] **AC-US1-01**: works\n- [x] fast\n\n> - [ ] quoted\n\n1. one\n   - two";
        insta::assert_snapshot!(format!("{:#}", to_adf(text)));
    }

    /// A line of Markdown, with whatever may stand before and in it.
    const LINE: &str = "( {0,4}|> |- |[0-9]\\. ){0,3}(# |\\[ \\] |\\[x\\] |```|---|<!-- |-->|<b>|<div>|\\| a \\| b \\||\\| - \\| - \\||\\*\\*|`|!\\[\\]\\(https://a/b\\)|\\[a\\]\\(b\\))?[a-z`*~<>\\[\\]()! ]{0,8}";

    #[test]
    fn any_markdown_makes_a_document_of_the_schema_that_atlassian_publishes() {
        use proptest::strategy::{Strategy, ValueTree};
        let Some(clients) = std::env::var_os("SPECWEAVE_JOBS_TEST_CLIENTS").map(std::path::PathBuf::from)
        else {
            eprintln!("SKIPPED: run tests/clients/install.sh DIR and set SPECWEAVE_JOBS_TEST_CLIENTS=DIR");
            return;
        };
        let mut runner = proptest::test_runner::TestRunner::default();
        let lines = proptest::collection::vec(LINE, 0..12);
        let count = runner.config().cases as usize;
        let texts = (0..count).map(|_| lines.new_tree(&mut runner).unwrap().current().join("\n"));
        let documents: Vec<(String, Value)> = texts.map(|text| (text.clone(), to_adf(&text))).collect();
        let file = std::env::temp_dir().join(format!("adf-{:x}.json", specweave_jobs::disk::random()));
        std::fs::write(&file, serde_json::to_vec(&documents).unwrap()).unwrap();
        let node = std::process::Command::new("node").arg(clients.join("adf.mjs")).arg(&file).output();
        std::fs::remove_file(&file).unwrap();
        let said = node.unwrap();
        let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert_eq!(out.trim(), "ok", "{err}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::default() })]

        #[test]
        fn any_text_makes_a_document(text in "[-*#>|`~_\\[\\]() \nax1.:\\\\]{0,80}") {
            let document = to_adf(&text);
            proptest::prop_assert_eq!(&document["type"], "doc");
            from_adf(&document);
            assert_valid(&text);
        }

        #[test]
        fn any_markdown_makes_a_document_that_jira_takes(lines in proptest::collection::vec(LINE, 0..12)) {
            assert_valid(&lines.join("\n"));
        }
    }
}
