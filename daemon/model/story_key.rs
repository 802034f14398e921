//! The name of a story that was written here.

use crate::model::item::MARKER;
use crate::model::text;
use std::fmt;

/// `web/FS-001/US-001`: the folder below the specs, the feature and the story. Folders may have blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoryKey<'a> {
    pub folder: &'a str,
    pub feature: &'a str,
    pub story: &'a str,
}

impl<'a> StoryKey<'a> {
    /// `None` for a text with fewer parts, such as the id of an imported item.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (path, story) = text.rsplit_once('/')?;
        let (folder, feature) = path.rsplit_once('/').unwrap_or(("", path));
        Some(Self { folder, feature, story })
    }

    /// The folder of its feature, from the folder of specs.
    pub fn path(&self) -> String {
        match self.folder {
            "" => self.feature.to_owned(),
            folder => format!("{folder}/{}", self.feature),
        }
    }
}

/// What names the item of a story, or of a feature, in its tracker: the same wherever and whenever it is made.
pub fn marker(key: &str) -> String {
    format!("{MARKER}{:016x}", text::hash(key))
}

impl fmt::Display for StoryKey<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.path(), self.story)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_also_with_blanks() {
        for text in ["web/FS-001/US-001", "my team/web/FS-001/US-001", "FS-001/US-001"] {
            assert_eq!(StoryKey::parse(text).unwrap().to_string(), text);
        }
        let key = StoryKey::parse("my team/FS-001/US-001").unwrap();
        assert_eq!((key.folder, key.feature, key.story), ("my team", "FS-001", "US-001"));
        assert_eq!(StoryKey::parse("GH-12"), None);
    }
}
