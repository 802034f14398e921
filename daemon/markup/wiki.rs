//! JIRA Data Center's wiki markup as Markdown, line by line. What is not recognised stays as it was written.

use crate::markup::fenced;
use regex::Regex;
use std::sync::LazyLock;

/// The text as Markdown, without a line break at its end.
pub fn from_wiki(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        match block_start(line) {
            Some((kind, language, first)) => {
                let end = format!("{{{kind}}}");
                let mut code = String::new();
                let mut rest = first.to_owned();
                let closed = loop {
                    if let Some((last, after)) = rest.split_once(&end) {
                        code.push_str(last);
                        break Some(after.to_owned());
                    }
                    code.push_str(&rest);
                    code.push('\n');
                    match lines.next() {
                        Some(next) => rest = next.to_owned(),
                        None => break None,
                    }
                };
                out.push(fenced(&language, code.strip_prefix('\n').unwrap_or(&code)));
                out.extend(closed.filter(|after| !after.trim().is_empty()).map(|after| one_line(&after)));
            }
            None => out.push(one_line(line)),
        }
    }
    out.join("\n").trim().to_owned()
}

/// `{code:java}rest` or `{noformat}rest` at a line's beginning.
fn block_start(line: &str) -> Option<(&'static str, String, &str)> {
    static START: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\s*\{(code|noformat)(?::([^}]*))?\}(.*)$").expect("it is valid"));
    let found = START.captures(line)?;
    let kind = if &found[1] == "code" { "code" } else { "noformat" };
    let options = found.get(2).map_or("", |options| options.as_str());
    let language = options.split('|').find(|option| !option.contains('=')).unwrap_or("").to_owned();
    Some((kind, language, found.get(3)?.as_str()))
}

fn one_line(line: &str) -> String {
    static HEADING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\s*h([1-6])\.\s+(.*)$").expect("it is valid"));
    static BULLETS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\s*([*#-]+)\s+(.*)$").expect("it is valid"));
    if let Some(found) = HEADING.captures(line) {
        let level = found[1].parse().unwrap_or(1);
        return format!("{} {}", "#".repeat(level), inline(&found[2]));
    }
    if line.trim() == "----" {
        return "---".to_owned();
    }
    if let Some(text) = line.trim_start().strip_prefix("bq. ") {
        return format!("> {}", inline(text));
    }
    if line.trim_start().starts_with("||") {
        let cells: Vec<String> =
            line.trim().trim_matches('|').split("||").map(|cell| inline(cell.trim())).collect();
        return format!("| {} |\n|{}", cells.join(" | "), " --- |".repeat(cells.len()));
    }
    if let Some(found) = BULLETS.captures(line) {
        let marks = &found[1];
        let bullet = if marks.ends_with('#') { "1." } else { "-" };
        return format!("{}{bullet} {}", "   ".repeat(marks.len() - 1), inline(&found[2]));
    }
    inline(line)
}

fn inline(text: &str) -> String {
    static MONO: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{(.+?)\}\}").expect("it is valid"));
    static LINK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\[([^\]|\n]+)\|([^\]|\s]+)(?:\|[^\]]*)?\]").expect("it is valid"));
    static BARE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\[((?:https?|mailto):[^\]|\s]+)\]").expect("it is valid"));
    static BOLD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(^|[\s(])\*([^\s*](?:[^*\n]*[^\s*])?)\*($|[\s).,;:!?])").expect("it is valid")
    });
    static ITALIC: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(^|[\s(])_([^\s_](?:[^_\n]*[^\s_])?)_($|[\s).,;:!?])").expect("it is valid")
    });
    let text = MONO.replace_all(text, "`$1`");
    let text = LINK.replace_all(&text, "[$1]($2)");
    let text = BARE.replace_all(&text, "<$1>");
    let text = ITALIC.replace_all(&text, "${1}\u{0}${2}\u{0}${3}");
    let text = BOLD.replace_all(&text, "$1**$2**$3");
    text.replace('\u{0}', "*").replace("\\{", "{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_markup_becomes_markdown() {
        let wiki = "h2. Steps\r\n# open {{/login}}\r\n# see *this* and _that_\r\n** deeper\r\n[docs|https://a/b]\r\nbq. said";
        let wanted = "## Steps\n1. open `/login`\n1. see **this** and *that*\n   - deeper\n[docs](https://a/b)\n> said";
        assert_eq!(from_wiki(wiki), wanted);
    }

    #[test]
    fn code_is_kept_to_the_letter() {
        let wiki = "{code:java|title=X}\n*a* = b_c;\n{code}\nafter";
        assert_eq!(from_wiki(wiki), "```java\n*a* = b_c;\n```\nafter");
        assert_eq!(from_wiki("{noformat}never closed"), "```\nnever closed\n```");
    }

    #[test]
    fn what_is_not_known_stays() {
        for text in ["{panel:title=x}", "2 * 3 * 4", "snake_case_word", "a || b"] {
            assert_eq!(from_wiki(text), text);
        }
    }
}
