//! Which names `--match` and `--exclude` take. Pure.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Why a pattern cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a valid pattern: {cause}")]
pub struct PatternError {
    pub pattern: String,
    pub cause: String,
}

/// Patterns as somebody wrote them, each of which can be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Patterns(Vec<String>);

impl Patterns {
    pub fn parse(texts: Vec<String>) -> Result<Self, PatternError> {
        texts.iter().try_for_each(|text| Pattern::parse(text).map(drop))?;
        Ok(Self(texts))
    }

    pub fn texts(&self) -> &[String] {
        &self.0
    }
}

impl From<Patterns> for Vec<String> {
    fn from(patterns: Patterns) -> Self {
        patterns.0
    }
}

impl TryFrom<Vec<String>> for Patterns {
    type Error = PatternError;

    fn try_from(texts: Vec<String>) -> Result<Self, PatternError> {
        Self::parse(texts)
    }
}

/// `--match` and `--exclude`.
pub struct Filter {
    wanted: Vec<Pattern>,
    unwanted: Vec<Pattern>,
}

enum Pattern {
    Glob(GlobMatcher),
    Regex(Regex),
    Prefix(String),
    Suffix(String),
    Part(String),
}

impl Filter {
    pub fn new(wanted: &Patterns, unwanted: &Patterns) -> Self {
        let built = |patterns: &Patterns| {
            patterns
                .0
                .iter()
                .map(|text| Pattern::parse(text).expect("patterns are checked when they are made"))
                .collect()
        };
        Self { wanted: built(wanted), unwanted: built(unwanted) }
    }

    pub fn takes(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.wanted.is_empty() || matches(&self.wanted)) && !matches(&self.unwanted)
    }
}

impl Pattern {
    /// SpecWeave's rules: no regard to case, `starts:`, `ends:` and `contains:` as shortcuts, and a pattern
    /// without a glob character is a prefix.
    fn parse(text: &str) -> Result<Self, PatternError> {
        let bad = |cause: String| PatternError { pattern: text.to_owned(), cause };
        if let Some(regex) = text.strip_prefix("regex:") {
            let built = RegexBuilder::new(regex).case_insensitive(true).size_limit(1 << 20).build();
            return built.map(Self::Regex).map_err(|error| bad(error.to_string()));
        }
        let shortcut = |prefix: &str| text.strip_prefix(prefix).map(|rest| rest.trim().to_lowercase());
        if let Some(rest) = shortcut("starts:") {
            return Ok(Self::Prefix(rest));
        }
        if let Some(rest) = shortcut("ends:") {
            return Ok(Self::Suffix(rest));
        }
        if let Some(rest) = shortcut("contains:") {
            return Ok(Self::Part(rest));
        }
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Self::Prefix(text.to_lowercase()));
        }
        let glob = GlobBuilder::new(text).case_insensitive(true).build();
        glob.map(|glob| Self::Glob(glob.compile_matcher())).map_err(|error| bad(error.to_string()))
    }

    fn matches(&self, name: &str) -> bool {
        let lower = || name.to_lowercase();
        match self {
            Self::Glob(glob) => glob.is_match(name),
            Self::Regex(regex) => regex.is_match(name),
            Self::Prefix(prefix) => lower().starts_with(prefix),
            Self::Suffix(suffix) => lower().ends_with(suffix),
            Self::Part(part) => lower().contains(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_follow_specweaves_rules() {
        let takes = |wanted: &[&str], unwanted: &[&str], name: &str| {
            let own =
                |list: &[&str]| Patterns::parse(list.iter().map(|text| text.to_string()).collect()).unwrap();
            Filter::new(&own(wanted), &own(unwanted)).takes(name)
        };
        assert!(takes(&[], &[], "anything"));
        assert!(takes(&["API*"], &[], "api-gateway"));
        assert!(takes(&["api"], &[], "Api-Gateway"), "no glob character: a prefix");
        assert!(!takes(&["api"], &[], "my-api"));
        assert!(takes(&["regex:^web|-be$"], &[], "inventory-BE"));
        assert!(takes(&["ends: -fe", "contains:core"], &[], "data-core-lib"));
        assert!(!takes(&["*"], &["*-legacy"], "crm-legacy"));
        assert!(Patterns::parse(vec!["regex:(".into()]).is_err());
        assert!(Patterns::parse(vec!["[".into()]).is_err());
    }
}
