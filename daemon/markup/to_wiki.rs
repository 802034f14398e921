//! Markdown as JIRA Data Center's wiki markup.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The text as wiki markup.
pub fn to_wiki(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut out = String::new();
    // The bullets of the lists that are open.
    let mut bullets = String::new();
    let mut links: Vec<String> = Vec::new();
    let mut in_code = false;
    let mut in_head = false;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(tag) => match tag {
                Tag::Paragraph if bullets.is_empty() => block(&mut out),
                // A further paragraph of an item goes on below it.
                Tag::Paragraph if !out.ends_with(' ') => out.push('\n'),
                Tag::Heading { level, .. } => {
                    block(&mut out);
                    out.push_str(&format!("h{}. ", level as u8));
                }
                Tag::BlockQuote(_) => {
                    block(&mut out);
                    out.push_str("{quote}\n");
                }
                Tag::CodeBlock(kind) => {
                    block(&mut out);
                    in_code = true;
                    match kind {
                        CodeBlockKind::Fenced(language) if !language.is_empty() => {
                            out.push_str(&format!("{{code:{language}}}\n"));
                        }
                        _ => out.push_str("{noformat}\n"),
                    }
                    links.push(if out.ends_with("{noformat}\n") {
                        "{noformat}".into()
                    } else {
                        "{code}".into()
                    });
                }
                Tag::List(first) => {
                    if bullets.is_empty() {
                        block(&mut out);
                    }
                    bullets.push(if first.is_some() { '#' } else { '*' });
                }
                Tag::Item => {
                    line(&mut out);
                    out.push_str(&format!("{bullets} "));
                }
                Tag::Table(_) => block(&mut out),
                Tag::TableHead => in_head = true,
                Tag::TableRow => line(&mut out),
                Tag::TableCell => out.push_str(if in_head { "||" } else { "|" }),
                Tag::Emphasis => out.push('_'),
                Tag::Strong => out.push('*'),
                Tag::Strikethrough => out.push('-'),
                Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                    out.push('[');
                    links.push(dest_url.into_string());
                }
                _ => {}
            },
            Event::End(tag) => match tag {
                TagEnd::BlockQuote(_) => {
                    line(&mut out);
                    out.push_str("{quote}");
                }
                TagEnd::CodeBlock => {
                    in_code = false;
                    line(&mut out);
                    out.push_str(&links.pop().unwrap_or_default());
                }
                TagEnd::List(_) => drop(bullets.pop()),
                TagEnd::TableHead => {
                    in_head = false;
                    out.push_str("||");
                }
                TagEnd::TableRow => out.push('|'),
                TagEnd::Emphasis => out.push('_'),
                TagEnd::Strong => out.push('*'),
                TagEnd::Strikethrough => out.push('-'),
                TagEnd::Link | TagEnd::Image => {
                    let to = links.pop().unwrap_or_default();
                    let opened = out.rfind('[').unwrap_or(0);
                    // An address that is its own text.
                    if out[opened + 1..] == to { out.push(']') } else { out.push_str(&format!("|{to}]")) }
                }
                _ => {}
            },
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) if in_code => out.push_str(&text),
            // A brace opens a macro.
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                out.push_str(&text.replace('{', "\\{"))
            }
            Event::Code(code) if !in_code => out.push_str(&format!("{{{{{code}}}}}")),
            Event::Code(code) => out.push_str(&code),
            Event::SoftBreak | Event::HardBreak => out.push('\n'),
            Event::Rule => {
                block(&mut out);
                out.push_str("----");
            }
            _ => {}
        }
    }
    out.trim().to_owned()
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
