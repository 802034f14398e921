//! Remote text in files of ours: it may say anything, and may not pass for what the file itself says. Pure.

/// Headings that divide a story's file; a remote's own never stand at a line's beginning.
pub const HEADINGS: [&str; 4] =
    ["## Description", "## Acceptance Criteria", "## Tasks", "## External Metadata"];

/// A title in one line, without control characters.
pub fn title(text: &str) -> String {
    // A line break is a blank, and any other control character nothing.
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let line = specweave_jobs::text::plain(&line).replace('\u{fffd}', "");
    match line.split_whitespace().collect::<Vec<_>>().join(" ") {
        line if line.is_empty() => "(no title)".to_owned(),
        line => line,
    }
}

/// A value in one line, for a bullet or a front matter.
pub fn value(text: &str) -> String {
    specweave_jobs::text::plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A title where Markdown would read tags.
pub fn heading(title: &str) -> String {
    title.replace('<', "\\<")
}

/// An address inside the parentheses of a link; nothing that is not of the web.
pub fn link(url: &str) -> String {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let harmless = |c: char| !c.is_whitespace() && !c.is_control();
    if web && url.chars().all(harmless) {
        url.replace('(', "%28").replace(')', "%29").replace('<', "%3C").replace('>', "%3E")
    } else {
        String::new()
    }
}

/// A body that cannot end its own section, open another, or claim to be another item.
pub fn body(text: &str) -> String {
    let clean: String = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let mut out: Vec<String> = Vec::new();
    let mut fence = Fence::default();
    for line in clean.trim_end().split('\n') {
        let line = line.trim_end();
        let inside = fence.passes(line);
        // The first line is the first that says something.
        if out.is_empty() && line.is_empty() {
            continue;
        }
        out.push(match line {
            // As far as Markdown is concerned, a heading or code all the same.
            _ if HEADINGS.iter().any(|heading| line.starts_with(heading)) || line.starts_with("# US-") => {
                format!(" {line}")
            }
            _ if line.contains("**External ID**") => {
                line.replace("**External ID**", "\\*\\*External ID\\*\\*")
            }
            _ if inside => line.to_owned(),
            _ => closed_tags(line),
        });
    }
    if let Some(open) = fence.open() {
        out.push(open);
    }
    let start = out.iter().position(|line| !line.is_empty()).unwrap_or(out.len());
    out.split_off(start).join("\n")
}

/// What is no text of its own, line by line: fenced code, and comments of more than one line.
#[derive(Default)]
pub struct Fence {
    code: Option<(char, usize)>,
    in_comment: bool,
}

impl Fence {
    /// Whether a line is code, a fence, or in a comment.
    pub fn passes(&mut self, line: &str) -> bool {
        let trimmed = line.trim_start();
        if self.in_comment {
            self.in_comment = !line.contains("-->");
            return true;
        }
        if self.code.is_none() && trimmed.starts_with("<!--") && !trimmed.contains("-->") {
            self.in_comment = true;
            return true;
        }
        let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'));
        let length = mark.map_or(0, |mark| trimmed.chars().take_while(|c| *c == mark).count());
        match (self.code, mark) {
            (None, Some(mark)) if length >= 3 => {
                // A span of code in one line is no fence.
                if mark == '`' && trimmed[length..].contains('`') {
                    return false;
                }
                self.code = Some((mark, length));
                true
            }
            (Some((open, least)), Some(mark)) if mark == open && length >= least => {
                if trimmed[length..].trim().is_empty() {
                    self.code = None;
                }
                true
            }
            (open, _) => open.is_some(),
        }
    }

    /// What would close what is open.
    pub fn open(&self) -> Option<String> {
        let comment = self.in_comment.then(|| "-->".to_owned());
        comment.or_else(|| self.code.map(|(mark, length)| mark.to_string().repeat(length)))
    }
}

/// SpecWeave's site reads MDX, where an element without an end tag is an error.
fn closed_tags(line: &str) -> String {
    if !line.contains('<') || line.contains('`') {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len() + 8);
    let mut rest = line;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find('>') else {
            rest = tag;
            break;
        };
        let (element, after) = tag.split_at(end + 1);
        let name: String = element[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let void = ["br", "hr", "img"].contains(&name.to_ascii_lowercase().as_str());
        if void && !element.ends_with("/>") {
            out.push_str(&format!("{} />", element[..end].trim_end()))
        } else {
            out.push_str(element)
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A name as part of a path: lower-case letters, digits and single dashes; may be empty.
pub fn slug(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            ' ' | '-' | '_' | '/' | '.' if !out.ends_with('-') && !out.is_empty() => out.push('-'),
            _ => {}
        }
    }
    out.truncate(most);
    out.trim_end_matches('-').to_owned()
}

/// A folder's name for something that is called `name`. One that leaves nothing gets a name of its own, for ever.
pub fn folder(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    let mut out = out.trim_matches('-').to_owned();
    out.truncate(100);
    if out.is_empty() { format!("project-{:08x}", hash(name) as u32) } else { out }
}

/// 64 bits that stand for a text, today and after an update of the compiler.
pub fn hash(text: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    u64::from_be_bytes(digest.as_ref()[..8].try_into().expect("a digest is longer"))
}

/// What stands behind the marker of a list's item, as Markdown has them: `-`, `*`, `+`, and numbers of up to nine digits.
pub fn after_list_marker(line: &str) -> Option<&str> {
    if let Some(text) = ["- ", "* ", "+ "].iter().find_map(|bullet| line.strip_prefix(bullet)) {
        return Some(text);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let behind = (1..=9).contains(&digits).then(|| &line[digits..])?;
    behind.strip_prefix(". ").or(behind.strip_prefix(") "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_cannot_pass_for_the_file() {
        let hostile = "---\na: 1\n## Tasks\n- **External ID**: ADO-1\n```\n## External Metadata";
        let body = body(hostile);
        let sections = body.lines().filter(|line| HEADINGS.iter().any(|heading| line.starts_with(heading)));
        assert_eq!(sections.count(), 0, "{body}");
        assert!(!body.contains("- **External ID**"), "{body}");
        assert!(body.ends_with("```"), "an open fence is closed: {body}");
    }

    #[test]
    fn titles_are_one_harmless_line() {
        assert_eq!(title("a\u{1b}[2J\n b\u{202e}\t c: #x"), "a[2J b c: #x");
        assert_eq!(title("\n\u{7}"), "(no title)");
    }

    #[test]
    fn names_become_folders_that_stay_inside() {
        assert_eq!(folder("Nova CAD"), "nova-cad");
        assert_eq!(folder("../../etc"), "etc");
        assert_ne!(folder("日本"), folder("中国"));
        assert!(folder("日本").starts_with("project-"));
        assert_eq!(slug("Übersetzung: “smart” — a/b!", 50), "bersetzung-smart-a-b");
        assert_eq!(slug("日本", 50), "");
    }

    #[test]
    fn elements_without_an_end_are_closed() {
        assert_eq!(body("a<br>b <img src=\"x\"> `<br>`"), "a<br>b <img src=\"x\"> `<br>`");
        assert_eq!(body("a<br>b <img src=\"x\">"), "a<br />b <img src=\"x\" />");
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        assert_eq!(link("javascript:alert(1)"), "");
        assert_eq!(link("https://a/b(c)"), "https://a/b%28c%29");
    }
}
