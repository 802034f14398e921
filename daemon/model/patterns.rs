//! Which names `--match` and `--exclude` take. Pure.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

/// Why a pattern cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a valid pattern: {cause}")]
pub struct PatternError {
    pub pattern: String,
    pub cause: String,
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
    pub fn new(wanted: &[String], unwanted: &[String]) -> Result<Self, PatternError> {
        let parse =
            |patterns: &[String]| patterns.iter().map(|p| Pattern::parse(p)).collect::<Result<_, _>>();
        Ok(Self { wanted: parse(wanted)?, unwanted: parse(unwanted)? })
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
            let own = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
            Filter::new(&own(wanted), &own(unwanted)).unwrap().takes(name)
        };
        assert!(takes(&[], &[], "anything"));
        assert!(takes(&["API*"], &[], "api-gateway"));
        assert!(takes(&["api"], &[], "Api-Gateway"), "no glob character: a prefix");
        assert!(!takes(&["api"], &[], "my-api"));
        assert!(takes(&["regex:^web|-be$"], &[], "inventory-BE"));
        assert!(takes(&["ends: -fe", "contains:core"], &[], "data-core-lib"));
        assert!(!takes(&["*"], &["*-legacy"], "crm-legacy"));
        assert!(Filter::new(&["regex:(".into()], &[]).is_err());
        assert!(Filter::new(&["[".into()], &[]).is_err());
    }
}
