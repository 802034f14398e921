//! A feature's file, and the note in the folder of orphans: valid YAML, whatever a title says. Pure.

use crate::docs::front_matter::quoted;
use crate::model::item::{Item, Platform};
use crate::model::text;
use specweave_jobs::clock::{self, Millis};

/// What a folder of stories stands for.
pub enum Subject<'a> {
    /// An epic or feature of a tracker.
    Item(&'a Item),
    /// A whole repository.
    Repository { name: &'a str, url: String },
}

/// The text of `FEATURE.md`.
pub fn text(folder: &str, subject: &Subject, created: Millis) -> String {
    let mut front = vec![("id", folder.to_owned())];
    let title = match subject {
        Subject::Item(item) => format!("{}: {}", text::value(&item.type_name), text::title(&item.title)),
        Subject::Repository { name, .. } => format!("Feature: {} External Items", text::value(name)),
    };
    front.push(("title", quoted(&title)));
    front.push(("origin", "external".to_owned()));
    let platform = match subject {
        Subject::Item(item) => item.platform,
        Subject::Repository { .. } => Platform::GitHub,
    };
    front.push(("source", platform.word().to_owned()));
    match subject {
        Subject::Item(item) => {
            if item.platform == Platform::Ado {
                front.push(("ado_project", quoted(&text::value(&item.project))));
            }
            if let Some(area) = &item.area {
                front.push(("ado_area_path", quoted(&text::value(area))));
            }
            front.push(("work_item_type", quoted(&text::value(&item.type_name))));
            front.push(("external_id", quoted(&text::value(&item.external_id))));
        }
        Subject::Repository { name, .. } => front.push(("source_repo", quoted(&text::value(name)))),
    }
    // SpecWeave's validation of docs refuses the colons of a moment without quotes.
    front.push(("created", quoted(&clock::iso(created))));
    let front: String = front.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    let mut out = format!("---\n{front}---\n\n# {}\n\n", text::heading(&title));
    let (link, url) = match subject {
        Subject::Item(item) => {
            (format!("{} in {}", text::value(&item.type_name), platform.name()), item.url.clone())
        }
        Subject::Repository { url, .. } => ("Repository on GitHub".to_owned(), url.clone()),
    };
    match text::link(&url) {
        url if url.is_empty() => out.push_str(&format!("**Origin**: 🔗 {link}\n")),
        url => out.push_str(&format!("**Origin**: 🔗 [{link}]({url})\n")),
    }
    if let Subject::Item(item) = subject {
        out.push_str(&format!("**Status**: {}\n", item.status.word()));
        let body = text::body(&item.body);
        if !body.is_empty() {
            out.push_str(&format!("\n## Description\n\n{body}\n"));
        }
    }
    out.push_str(
        "\n## User Stories\n\nThe user stories of this feature are the `us-*.md` files beside this one.\n",
    );
    out
}

/// When the feature of a file was made, as [`text()`] writes it, or SpecWeave does.
pub fn created(text: &str) -> Option<Millis> {
    text.lines().find_map(|line| clock::parse_iso(line.strip_prefix("created: ")?.trim_matches('"')))
}

/// The note in `_orphans`.
pub const ORPHANS: &str = "# Orphan Items\n\n\
    Items that have no feature or epic above them in the tracker, or one that could not be seen.\n\n\
    An item that is given a parent there moves to that parent's folder with the next import.\n";

/// The origin that a `FEATURE.md` names, in whatever state its YAML is: SpecWeave's own cannot be parsed.
pub fn origin(text: &str) -> Option<String> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "---" {
        return None;
    }
    let front = lines.take_while(|line| line.trim() != "---");
    let find = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let value = value.trim().trim_matches(['"', '\'']);
        match key.trim() {
            "external_id" | "source_repo" if !value.is_empty() => Some(value.to_lowercase()),
            _ => None,
        }
    };
    front.filter_map(find).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_of_any_kind_stays_one_scalar() {
        let name = "a: \"b\"\n---\n# {x} | %y \\ 'z'";
        let text = text("FS-001E", &Subject::Repository { name, url: "https://a/b".into() }, 0);
        let front: Vec<&str> = text.split("---\n").collect();
        let title = front[1].lines().find_map(|line| line.strip_prefix("title: ")).unwrap();
        let read: String = serde_json::from_str(title).unwrap();
        assert_eq!(read, "Feature: a: \"b\" --- # {x} | %y \\ 'z' External Items");
        assert_eq!(front[1].lines().count(), 6);
    }

    #[test]
    fn origins_are_read_from_broken_yaml_too() {
        let specweaves = "---\nid: FS-001E\ntitle: Epic: Checkout\n\n\nexternal_id: JIRA-PAY-1\n---\n";
        assert_eq!(origin(specweaves).as_deref(), Some("jira-pay-1"));
        assert_eq!(origin("# no front matter\nexternal_id: X"), None);
        let ours = text("FS-001E", &Subject::Repository { name: "Acme/Web", url: String::new() }, 0);
        assert_eq!(origin(&ours).as_deref(), Some("acme/web"));
    }

    #[test]
    fn the_moment_of_its_making_is_quoted_and_read_with_and_without_quotes() {
        let ours =
            text("FS-001E", &Subject::Repository { name: "a/b", url: String::new() }, 1_795_393_241_998);
        assert!(ours.contains("\ncreated: \"2026-11-23T"), "{ours}");
        assert_eq!(created(&ours), Some(1_795_393_241_998));
        assert_eq!(created(&ours.replace("created: \"", "created: ").replace("Z\"", "Z")), created(&ours));
        assert_eq!(created("created: soon"), None);
    }
}
