//! Where the conflict of a story is shown: a file beside it whose name no reader of stories takes for one, as SpecWeave
//! reads every `us-*.md`. Pure.

const PREFIX: &str = "conflict-";

/// The file beside a story; further ones, from 2 on, keep what a person wrote into earlier ones.
pub fn beside(story: &str, number: u32) -> String {
    let (folder, name) = parts(story);
    match number {
        0 | 1 => format!("{folder}{PREFIX}{name}"),
        number => format!("{folder}{PREFIX}{}-{number}.md", name.strip_suffix(".md").unwrap_or(name)),
    }
}

/// Whether a file's name is that of one.
pub fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".md")
}

/// Whether a file shows a conflict of this story.
pub fn is_beside(file: &str, story: &str) -> bool {
    let rest = beside(story, 1);
    let Some(rest) = file.strip_prefix(rest.strip_suffix(".md").unwrap_or(&rest)) else { return false };
    let number = rest.strip_suffix(".md").and_then(|rest| rest.strip_prefix('-'));
    rest == ".md" || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The story that a file stands beside, as far as its name tells.
pub fn story_of(file: &str) -> String {
    let (folder, name) = parts(file);
    format!("{folder}{}", name.strip_prefix(PREFIX).unwrap_or(name))
}

/// The folder with its slash, and the name.
fn parts(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_stands_beside_its_story_and_no_other() {
        let story = "web/FS-001/us-001-log-in.md";
        assert_eq!(beside(story, 1), "web/FS-001/conflict-us-001-log-in.md");
        assert_eq!(beside(story, 2), "web/FS-001/conflict-us-001-log-in-2.md");
        for number in [1, 2, 31] {
            assert!(is_beside(&beside(story, number), story));
        }
        assert_eq!(story_of(&beside(story, 1)), story);
        for other in ["web/FS-001/us-001-log.md", "web/FS-002/us-001-log-in.md", "us-001-log-in.md"] {
            assert!(!is_beside(&beside(story, 1), other), "{other}");
        }
        assert!(is_name("conflict-us-001.md") && !is_name("us-001-conflict.md") && !is_beside(story, story));
    }
}
