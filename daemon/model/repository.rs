//! What a user may write as a source of repositories, and a repository as a listing describes it. Pure.

use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;
use std::fmt;
use url::Url;

/// One source of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// `owner/name` on GitHub.
    GitHub { owner: String, name: String },
    /// `owner/glob*`: those of the owner's repositories that match.
    GitHubGlob { owner: String, glob: String },
    /// An address that git understands.
    Address(String),
}

/// Somebody's repositories on a forge that is only cloned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forge {
    pub kind: ForgeKind,
    /// A group with or without those above it, an organisation, or a workspace.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    GitLab,
    /// Forgejo too.
    Gitea,
    Bitbucket,
}

impl ForgeKind {
    /// The variable in which a token is looked for.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::GitLab => &["GITLAB_TOKEN"],
            Self::Gitea => &["GITEA_SERVER_TOKEN"],
            Self::Bitbucket => &["BITBUCKET_TOKEN"],
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ForgeKind::GitLab => "GitLab group",
            ForgeKind::Gitea => "Gitea organisation",
            ForgeKind::Bitbucket => "Bitbucket workspace",
        };
        write!(to, "the {kind} {}", self.name)
    }
}

/// Why a request cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither owner/repo, an address, nor a path that begins with /, ./ or ../")]
pub struct AddressError(String);

impl Source {
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let bad = || AddressError(without_login(text));
        let schemes = ["http://", "https://", "ssh://", "git://", "file://"];
        if schemes.iter().any(|scheme| text.starts_with(scheme)) {
            return Url::parse(text).map(|_| Self::Address(text.to_owned())).map_err(|_| bad());
        }
        if text.starts_with('/') {
            return Ok(Self::Address(text.to_owned()));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            // Whatever the user's configuration makes of it; git knows which programs it has for others.
            let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
            let fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_scheme);
            return if fits && !rest.is_empty() { Ok(Self::Address(text.to_owned())) } else { Err(bad()) };
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
        Ok(if name.contains(['*', '?', '[', '{']) {
            Self::GitHubGlob { owner, glob: name }
        } else {
            Self::GitHub { owner, name: name.trim_end_matches(".git").to_owned() }
        })
    }
}

impl Source {
    /// Whose repositories it means, where that can be told.
    pub fn owner(&self) -> Option<String> {
        match self {
            Self::GitHub { owner, .. } | Self::GitHubGlob { owner, .. } => Some(owner.clone()),
            Self::Address(address) => Some(described(address).owner),
        }
    }
}

/// As it is written.
impl fmt::Display for Source {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub { owner, name } | Self::GitHubGlob { owner, glob: name } => {
                write!(into, "{owner}/{name}")
            }
            Self::Address(address) => into.write_str(address),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
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
    match password {
        Some(password) => (url.into(), Some((user, password))),
        // A token alone stands where the user would.
        None if is_token(&user) => (url.into(), Some((String::new(), user))),
        None => (address.to_owned(), None),
    }
}

/// Whether a name in an address is a token: one that says so at its beginning, or is too long for anybody's name.
fn is_token(text: &str) -> bool {
    const BEGINNINGS: [&str; 10] =
        ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "ATBB", "ATCTT"];
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) || text.len() >= LONGEST_NAME
}

/// Azure DevOps' tokens have 52 characters and more.
const LONGEST_NAME: usize = 40;

/// A repository as a listing describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub owner: String,
    pub name: String,
    /// Azure DevOps alone has projects.
    pub project: Option<String>,
    /// Without credentials.
    pub address: String,
    pub archived: bool,
    pub fork: bool,
    pub about: About,
}

/// What a listing tells of a repository besides. `None`: this one does not tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Bytes that it takes on its server, which is about what is fetched.
    pub size: Option<u64>,
    pub topics: Option<Vec<String>>,
    /// What most of it is written in; empty for nothing that is known.
    pub language: Option<String>,
    /// When somebody has last pushed to it; 0 for never.
    pub active_at: Option<Millis>,
}

/// The host of an address, and the folders of its path, the repository's own last.
fn taken_apart(address: &str) -> (Option<String>, Vec<String>) {
    let (host, path) = match Url::parse(address) {
        Ok(url) if url.has_host() => (url.host_str().map(str::to_owned), url.path().to_owned()),
        Ok(url) => (None, url.path().to_owned()),
        Err(_) if address.starts_with('/') => (None, address.to_owned()),
        Err(_) => match address.split_once(':') {
            Some((account, path)) => (account.rsplit('@').next().map(str::to_owned), path.to_owned()),
            None => (None, String::new()),
        },
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    // A repository's own folder in its work tree.
    if parts.len() > 1 && parts.last().is_some_and(|part| part == ".git") {
        parts.pop();
    }
    if let Some(last) = parts.last_mut()
        && let Some(bare) = last.strip_suffix(".git").filter(|bare| !bare.is_empty())
    {
        *last = bare.to_owned();
    }
    (host, parts)
}

/// Every folder above a repository on its host, the host first; empty for one of this machine.
pub fn whole_place(address: &str) -> Vec<String> {
    let (Some(host), mut parts) = taken_apart(address) else { return Vec::new() };
    parts.pop();
    parts.retain(|part| part != "_git");
    parts.insert(0, host);
    parts
}

/// Whether an address is one of the web, which a server may name for its repositories.
pub fn is_web(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

/// The address of a repository over ssh; `None` where that is not known.
pub fn over_ssh(address: &str) -> Option<String> {
    let (host, parts) = taken_apart(address);
    match (host?.as_str(), &parts[..]) {
        ("dev.azure.com", [org, project, git, name]) if git == "_git" => {
            Some(format!("git@ssh.dev.azure.com:v3/{org}/{}/{}", encoded(project), encoded(name)))
        }
        // Any number of groups above it; other forms of Azure DevOps stay as they are.
        (host, [_, .., _]) if !parts.iter().any(|part| part == "_git") => {
            Some(format!("git@{host}:{}.git", parts.join("/")))
        }
        _ => None,
    }
}

fn encoded(part: &str) -> String {
    part.replace(' ', "%20")
}

/// Owner and name as an address suggests them: its last two parts.
pub fn described(address: &str) -> Listed {
    let (_, mut parts) = taken_apart(address);
    let name = parts.pop().unwrap_or_default();
    let mut project = None;
    // https://dev.azure.com/<org>/<project>/_git/<name>
    if parts.last().is_some_and(|part| part == "_git") {
        parts.pop();
        project = if parts.len() > 1 { parts.pop() } else { None };
    }
    let owner = parts.pop().unwrap_or_else(|| "local".to_owned());
    Listed { owner, name, project, address: address.to_owned(), ..Listed::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_source_is_told_apart() {
        let github = |owner: &str, name: &str| Source::GitHub { owner: owner.into(), name: name.into() };
        assert_eq!(Source::parse("acme/api").unwrap(), github("acme", "api"));
        assert_eq!(Source::parse("acme/api.git").unwrap(), github("acme", "api"));
        assert_eq!(
            Source::parse("acme/api-*").unwrap(),
            Source::GitHubGlob { owner: "acme".into(), glob: "api-*".into() }
        );
        for address in [
            "https://h/a/b.git",
            "git@h:a/b",
            "ssh://h/a/b",
            "file:///srv/a",
            "/srv/a/b.git",
            "git+ssh://h/a",
            "work://a/b",
        ] {
            assert_eq!(Source::parse(address).unwrap(), Source::Address(address.into()));
        }
        for bad in ["acme", "", "a/b/c", "../x", "://h/x", "ext::sh -c x://", "a b/c", "a/b;rm"] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_login_is_taken_out_of_an_address() {
        let (clean, login) = split_login("https://bob:t%40k@h/a/b.git");
        assert_eq!(clean, "https://h/a/b.git");
        assert_eq!(login, Some(("bob".into(), "t@k".into())));
        assert_eq!(split_login("https://ghp_x@h/a").1, Some((String::new(), "ghp_x".into())));
        let long = format!("https://{}@h/a", "x".repeat(52));
        assert_eq!(split_login(&long), ("https://h/a".into(), Some((String::new(), "x".repeat(52)))));
        assert_eq!(split_login("https://acme@h/a"), ("https://acme@h/a".into(), None));
        assert_eq!(split_login("git@h:a/b"), ("git@h:a/b".into(), None));
        assert_eq!(split_login("ssh://bob:pw@h/a"), ("ssh://bob@h/a".into(), None));
        assert_eq!(split_login("ssh://git@h/a"), ("ssh://git@h/a".into(), None));
    }

    #[test]
    fn addresses_suggest_owner_and_name() {
        let told = |address: &str| {
            let listed = described(address);
            (listed.owner, listed.name, listed.project)
        };
        assert_eq!(told("https://github.com/acme/api.git"), ("acme".into(), "api".into(), None));
        assert_eq!(told("git@github.com:acme/api.git"), ("acme".into(), "api".into(), None));
        assert_eq!(
            told("https://dev.azure.com/acme/Nova%20CAD/_git/ui"),
            ("acme".into(), "ui".into(), Some("Nova CAD".into()))
        );
        assert_eq!(told("/srv/git/api.git"), ("git".into(), "api".into(), None));
        assert_eq!(told("/srv/git/api/.git"), ("git".into(), "api".into(), None));
        let place = |address: &str| whole_place(address).join("/");
        assert_eq!(place("https://gitlab.example/group/be/common/api.git"), "gitlab.example/group/be/common");
        assert_eq!(place("git@gitlab.example:group/api.git"), "gitlab.example/group");
        assert_eq!(place("/srv/git/api.git"), "");
        let ssh = |address: &str| over_ssh(address).unwrap_or_default();
        assert_eq!(ssh("https://github.com/acme/api.git"), "git@github.com:acme/api.git");
        let azure = "git@ssh.dev.azure.com:v3/acme/Nova%20CAD/ui";
        assert_eq!(ssh("https://dev.azure.com/acme/Nova%20CAD/_git/ui"), azure);
        assert_eq!(told("https://host/api.git"), ("local".into(), "api".into(), None));
    }
}
