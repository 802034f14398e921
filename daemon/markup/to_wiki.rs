//! Markdown as JIRA Data Center's wiki markup.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The text as wiki markup.
pub fn to_wiki(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut wiki = Wiki::default();
    for event in Parser::new_ext(text, options) {
        wiki.take(event);
    }
    wiki.out.trim().to_owned()
}

#[derive(Default)]
struct Wiki {
    out: String,
    /// The bullets of the lists that are open.
    bullets: String,
    /// Addresses of the links that are open.
    links: Vec<String>,
    /// What ends the block of code that is open.
    code: Option<&'static str>,
    in_head: bool,
}

impl Wiki {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) if self.code.is_some() => {
                self.out.push_str(&text);
            }
            // A brace opens a macro.
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.out.push_str(&text.replace('{', "\\{"));
            }
            Event::Code(code) if self.code.is_none() => self.out.push_str(&format!("{{{{{code}}}}}")),
            Event::Code(code) => self.out.push_str(&code),
            Event::SoftBreak | Event::HardBreak => self.out.push('\n'),
            Event::Rule => {
                block(&mut self.out);
                self.out.push_str("----");
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag) {
        let out = &mut self.out;
        match tag {
            Tag::Paragraph if self.bullets.is_empty() => block(out),
            // A further paragraph of an item goes on below it.
            Tag::Paragraph if !out.ends_with(' ') => out.push('\n'),
            Tag::Heading { level, .. } => {
                block(out);
                out.push_str(&format!("h{}. ", level as u8));
            }
            Tag::BlockQuote(_) => {
                block(out);
                out.push_str("{quote}\n");
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                block(out);
                out.push_str(&format!("{{code:{language}}}\n"));
                self.code = Some("{code}");
            }
            Tag::CodeBlock(_) => {
                block(out);
                out.push_str("{noformat}\n");
                self.code = Some("{noformat}");
            }
            Tag::List(first) => {
                if self.bullets.is_empty() {
                    block(out);
                }
                self.bullets.push(if first.is_some() { '#' } else { '*' });
            }
            Tag::Item => {
                line(out);
                out.push_str(&format!("{} ", self.bullets));
            }
            Tag::Table(_) => block(out),
            Tag::TableHead => self.in_head = true,
            Tag::TableRow => line(out),
            Tag::TableCell => out.push_str(if self.in_head { "||" } else { "|" }),
            Tag::Emphasis => out.push('_'),
            Tag::Strong => out.push('*'),
            Tag::Strikethrough => out.push('-'),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                out.push('[');
                self.links.push(dest_url.into_string());
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        let out = &mut self.out;
        match tag {
            TagEnd::BlockQuote(_) => {
                line(out);
                out.push_str("{quote}");
            }
            TagEnd::CodeBlock => {
                line(out);
                out.push_str(self.code.take().unwrap_or_default());
            }
            TagEnd::List(_) => drop(self.bullets.pop()),
            TagEnd::TableHead => {
                self.in_head = false;
                out.push_str("||");
            }
            TagEnd::TableRow => out.push('|'),
            TagEnd::Emphasis => out.push('_'),
            TagEnd::Strong => out.push('*'),
            TagEnd::Strikethrough => out.push('-'),
            TagEnd::Link | TagEnd::Image => {
                let to = self.links.pop().unwrap_or_default();
                let opened = out.rfind('[').unwrap_or(0);
                // An address that is its own text.
                if out[opened + 1..] == to { out.push(']') } else { out.push_str(&format!("|{to}]")) }
            }
            _ => {}
        }
    }
}

/// An empty line before a block.
fn block(out: &mut String) {
    if !out.is_empty() {
        line(out);
        out.push('\n');
    }
}

fn line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_wiki;
    use super::*;

    #[test]
    fn what_people_write_comes_back_as_it_was() {
        for text in [
            "As a **user** I *want* `it`, see [docs](https://a/b).",
            "## User Story\n\ntext\n\n## Acceptance Criteria\n\n- [ ] **AC-US1-01**: works\n- [x] **AC-US1-02**: fast",
            "- one\n- two\n   - deeper\n- three",
            "```rust\nfn main() {}\n```",
            "a\n\n---\n\nb",
        ] {
            assert_eq!(from_wiki(&to_wiki(text)), text, "{}", to_wiki(text));
        }
    }

    #[test]
    fn code_keeps_what_markup_would_take() {
        assert_eq!(to_wiki("```\n*a* [b|c]\n```"), "{noformat}\n*a* [b|c]\n{noformat}");
        assert_eq!(to_wiki("| a |\n| - |\n| 1 |"), "||a||\n|1|");
    }
}
