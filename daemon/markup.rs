//! The trackers' texts as Markdown and back: JIRA Cloud's documents, JIRA Data Center's wiki markup, Azure DevOps' HTML.
//! Nothing is lost silently: what has no counterpart stays as it was written, marked as what it is.

mod adf;
mod to_adf;
mod to_wiki;
mod wiki;

pub use adf::{from_adf, marked_adf};
pub use to_adf::to_adf;
pub use to_wiki::to_wiki;
pub use wiki::from_wiki;

use std::sync::LazyLock;

/// HTML as Azure DevOps' editor writes it. Scripts and styles are no text.
pub fn from_html(html: &str) -> String {
    static CONVERTER: LazyLock<htmd::HtmlToMarkdown> = LazyLock::new(|| {
        htmd::HtmlToMarkdown::builder().skip_tags(vec!["script", "style", "head", "noscript"]).build()
    });
    if !html.contains(['<', '&']) {
        return html.trim().to_owned();
    }
    let convert =
        || CONVERTER.convert(html).map_or_else(|_| fenced("html", html), |text| text.trim().to_owned());
    // The converter goes as deep as elements nest, and a stack that ends there ends the daemon.
    match most_depth(html) {
        depth if depth <= SHALLOW => convert(),
        depth if depth <= MOST_DEPTH => std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(DEEP_STACK).spawn_scoped(scope, convert);
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| fenced("html", html))
        }),
        _ => fenced("html", html),
    }
}

/// Markdown as HTML, for servers that know nothing else. What is HTML in it already is shown as it was written.
pub fn to_html(text: &str) -> String {
    use pulldown_cmark::{Event, Options, Parser, html};
    let events = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut out = String::with_capacity(text.len() * 3 / 2);
    html::push_html(
        &mut out,
        events.map(|event| match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            event => event,
        }),
    );
    out.trim_end().to_owned()
}

/// So many elements may stand within each other on any thread's stack.
const SHALLOW: usize = 100;

/// A text of more elements is kept as it is: no editor makes one.
const MOST_DEPTH: usize = 10_000;

/// Memory that is only taken where it is used.
const DEEP_STACK: usize = 512 * 1024 * 1024;

/// At most how deep elements can nest. Which end tags count, only a parser knows: none does here.
fn most_depth(html: &str) -> usize {
    const ENDLESS: [&str; 6] = ["br", "hr", "img", "input", "meta", "wbr"];
    let openings = html.split('<').skip(1).filter(|part| {
        let name: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
        !name.is_empty() && !ENDLESS.contains(&name.to_ascii_lowercase().as_str())
    });
    openings.count()
}

/// A block of code whose fence is longer than any within it.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_markdown_without_its_scripts() {
        let html = "<div>As a <b>user</b></div><ul><li>one</li><li>two</li></ul><script>alert(1)</script>";
        let text = from_html(html);
        assert!(text.contains("**user**") && text.contains("one") && !text.contains("alert"), "{text}");
        assert_eq!(from_html("plain & simple").trim(), "plain & simple");
        assert_eq!(from_html(""), "");
    }

    #[test]
    fn html_that_nests_without_end_is_kept_as_it_is() {
        assert!(from_html(&"<div>".repeat(200_000)).starts_with("```html\n<div>"));
        for deep in ["<div>", "<brx>", "<div></x>", "<p><b id=1></p>", "<ul><li>", "<table><td>"] {
            let text = from_html(&format!("{}text", deep.repeat(3_000)));
            assert!(text.contains("text"), "{deep}");
        }
        assert!(from_html(&"<br>".repeat(1_000)).len() < 10_000);
    }

    #[test]
    fn a_fence_is_longer_than_those_within() {
        assert_eq!(fenced("x", "a\n````\nb\n"), "`````x\na\n````\nb\n`````");
    }
}
