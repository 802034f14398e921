//! What a user may write as a source, which repositories a filter takes, and where each one goes. Pure.

use crate::work::trackers::Listed;
use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use std::collections::{HashMap, HashSet};
use url::Url;

/// One source of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `owner/name` on GitHub.
    GitHub { owner: String, name: String },
    /// `owner/glob*`: those of the owner's repositories that match.
    GitHubGlob { owner: String, glob: String },
    /// An address that git understands.
    Address(String),
}

/// Why a request cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("{0:?} is neither owner/repo, an address nor an absolute path")]
    Source(String),
    #[error("{pattern:?} is not a valid pattern: {cause}")]
    Pattern { pattern: String, cause: String },
}

impl Source {
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        let bad = || SourceError::Source(without_login(text));
        let schemes = ["http://", "https://", "ssh://", "git://", "file://"];
        if schemes.iter().any(|scheme| text.starts_with(scheme)) {
            return Url::parse(text).map(|_| Self::Address(text.to_owned())).map_err(|_| bad());
        }
        if text.starts_with('/') {
            return Ok(Self::Address(text.to_owned()));
        }
        if text.contains("://") {
            return Err(bad());
        }
        if text.contains(':') {
            return Ok(Self::Address(text.to_owned()));
        }
        let (owner, name) = text.split_once('/').ok_or_else(bad)?;
        let word = |text: &str, more: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c) || more.contains(c);
            !text.is_empty() && text.chars().all(fits)
        };
        if !word(owner, "") || !word(name, ".*?[]{},!") {
            return Err(bad());
        }
        let (owner, name) = (owner.to_owned(), name.to_owned());
        Ok(match name.contains(['*', '?', '[', '{']) {
            true => Self::GitHubGlob { owner, glob: name },
            false => Self::GitHub { owner, name: name.trim_end_matches(".git").to_owned() },
        })
    }
}

/// What may be shown of a text that is no address after all: a login may stand in it all the same.
fn without_login(text: &str) -> String {
    let Some((login, rest)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = login.split_once("://").map_or_else(String::new, |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}***@{rest}")
}

/// Takes the secret out of an address: the address without it, and user and secret if they are of use. ssh takes
/// no password from an address; there it is dropped.
pub fn split_login(address: &str) -> (String, Option<(String, String)>) {
    let Ok(mut url) = Url::parse(address) else { return (address.to_owned(), None) };
    let is_http = matches!(url.scheme(), "http" | "https");
    if url.password().is_none() && (!is_http || url.username().is_empty()) {
        return (address.to_owned(), None);
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), url.password().map(decoded));
    let _ = url.set_password(None);
    if !is_http {
        return (url.into(), None);
    }
    let _ = url.set_username("");
    // A token alone stands where the user would.
    let login = match password {
        Some(password) => (user, password),
        None => (String::new(), user),
    };
    (url.into(), Some(login))
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
    pub fn new(wanted: &[String], unwanted: &[String]) -> Result<Self, SourceError> {
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
    fn parse(text: &str) -> Result<Self, SourceError> {
        let bad = |cause: String| SourceError::Pattern { pattern: text.to_owned(), cause };
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

/// A repository to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub owner: String,
    pub name: String,
    /// Relative to the project.
    pub path: String,
    /// Without credentials.
    pub address: String,
}

/// A repository that is not cloned, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: String,
    pub reason: String,
}

/// Owner and name as an address suggests them: its last two parts.
pub fn described(address: &str) -> Listed {
    let path = match Url::parse(address) {
        Ok(url) => url.path().to_owned(),
        Err(_) if address.starts_with('/') => address.to_owned(),
        Err(_) => address.split_once(':').map_or("", |(_, path)| path).to_owned(),
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let last = parts.pop().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(&last).to_owned();
    let mut project = None;
    // https://dev.azure.com/<org>/<project>/_git/<name>
    if parts.last().is_some_and(|part| part == "_git") {
        parts.pop();
        project = if parts.len() > 1 { parts.pop() } else { None };
    }
    let owner = parts.pop().unwrap_or_else(|| "local".to_owned());
    Listed { owner, name, project, address: address.to_owned(), archived: false, fork: false }
}

/// Gives every repository its place below `repositories/`, and refuses those that have none.
pub fn place(listed: Vec<Listed>) -> (Vec<Target>, Vec<Refusal>) {
    let (mut targets, mut refusals) = (Vec::new(), Vec::new());
    // Lower-cased, as some file systems do not tell cases apart.
    let mut taken: HashMap<String, (String, String)> = HashMap::new();
    // The folders above those places.
    let mut ancestors: HashSet<String> = HashSet::new();
    for repository in listed {
        let Listed { owner, name, project, address, .. } = repository;
        let shown = specweave_jobs::text::plain(&name);
        let unsafe_part = [Some(&owner), Some(&name), project.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|part| unsafe_component(part).map(|why| (part.clone(), why)));
        if let Some((part, why)) = unsafe_part {
            let reason = format!("{:?} cannot be a folder's name: {why}", specweave_jobs::text::plain(&part));
            refusals.push(Refusal { name: shown, reason });
            continue;
        }
        let mut path = format!("repositories/{owner}/{name}");
        match taken.get(&path.to_lowercase()) {
            Some((_, other)) if super::git::same_repository(other, &address) => continue,
            Some(_) if project.is_some() => {
                path = format!("repositories/{owner}/{}/{name}", project.unwrap_or_default());
            }
            _ => {}
        }
        match taken.get(&path.to_lowercase()) {
            Some((_, other)) if super::git::same_repository(other, &address) => continue,
            Some((standing, other)) => {
                let difference = if *standing == path { "is" } else { "differs only in case from" };
                let reason = format!("its place {path} {difference} the place of {other}");
                refusals.push(Refusal { name: shown, reason });
            }
            None if is_nested(&path.to_lowercase(), &taken, &ancestors) => {
                let reason = format!("its place {path} lies inside another repository's, or around it");
                refusals.push(Refusal { name: shown, reason });
            }
            None => {
                taken.insert(path.to_lowercase(), (path.clone(), address.clone()));
                ancestors.extend(above(&path.to_lowercase()).map(str::to_owned));
                targets.push(Target { owner, name, path, address });
            }
        }
    }
    (targets, refusals)
}

/// Whether a place lies inside one that is taken, or around one.
fn is_nested(path: &str, taken: &HashMap<String, (String, String)>, ancestors: &HashSet<String>) -> bool {
    ancestors.contains(path) || above(path).any(|folder| taken.contains_key(folder))
}

/// The folders above a place.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Why a text cannot be one folder's name, on any of the systems that a project may be moved to.
fn unsafe_component(text: &str) -> Option<&'static str> {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let lower = text.to_lowercase();
    let stem = lower.split('.').next().unwrap_or("");
    let numbered = (stem.starts_with("com") || stem.starts_with("lpt"))
        && stem.len() == 4
        && stem.ends_with(|c: char| c.is_ascii_digit());
    match text {
        "" => Some("it is empty"),
        "." | ".." => Some("it leads elsewhere"),
        _ if text.starts_with('-') => Some("a command would take it for an option"),
        _ if text.contains(['/', '\\', '\0']) => Some("it has a path separator"),
        _ if text != specweave_jobs::text::plain(text) => Some("it has control characters"),
        _ if text.len() > 200 => Some("it is too long"),
        _ if lower == ".git" || lower.starts_with(".git/") || lower == "git~1" => Some("git itself uses it"),
        _ if RESERVED.contains(&stem) || numbered => Some("it is reserved"),
        _ if text.ends_with(['.', ' ']) || text.starts_with(' ') => {
            Some("it begins or ends with a dot or space")
        }
        _ if text.contains(['<', '>', ':', '"', '|', '?', '*']) => Some("it has a reserved character"),
        _ if lower.contains(".partial-") => Some("unfinished clones are named so"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
