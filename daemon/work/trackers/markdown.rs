//! The trackers' texts as Markdown: JIRA Cloud's documents, JIRA Data Center's wiki markup, Azure DevOps' HTML. Nothing
//! is lost silently: what has no counterpart stays as it was written, marked as what it is.

mod adf;
mod wiki;

pub use adf::from_adf;
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
    // A text that nests deeper than a converter bears is kept as it is.
    match depth(html) > MOST_DEPTH {
        true => fenced("html", html),
        false => CONVERTER.convert(html).map_or_else(|_| fenced("html", html), |text| text.trim().to_owned()),
    }
}

/// Elements within elements; no editor makes more.
const MOST_DEPTH: usize = 100;

/// At most how deep elements may nest: an upper bound, as elements that need no end count too.
fn depth(html: &str) -> usize {
    const ENDLESS: [&str; 6] = ["br", "hr", "img", "input", "meta", "!"];
    let (mut depth, mut deepest) = (0_usize, 0);
    for part in html.split('<').skip(1) {
        match part.strip_prefix('/') {
            Some(_) => depth = depth.saturating_sub(1),
            None if ENDLESS.iter().any(|name| part.starts_with(name)) => {}
            None => depth += 1,
        }
        deepest = deepest.max(depth);
    }
    deepest
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
        let deep = "<div>".repeat(200_000);
        assert!(from_html(&deep).starts_with("```html\n<div>"));
        assert!(from_html(&"<br>".repeat(1_000)).len() < 10_000);
    }

    #[test]
    fn a_fence_is_longer_than_those_within() {
        assert_eq!(fenced("x", "a\n````\nb\n"), "`````x\na\n````\nb\n`````");
    }
}
