//! The user's git configuration, as git itself reads it for the caller: rewritten addresses, proxy, authorities, extra headers,
//! the name of a first branch, and the attributes that hold for every repository. Read once a run.

use crate::net::secrets::Secrets;
use std::fs;
use std::path::{Path, PathBuf};
use url::Url;

/// Where git, as it was built, may look for the attributes of all users.
const ATTRIBUTES: [&str; 3] =
    ["/etc/gitattributes", "/usr/local/etc/gitattributes", "/opt/homebrew/etc/gitattributes"];

/// Every key and value in effect outside of a repository, in the order in which git reads them.
#[derive(Clone, Debug, Default)]
pub struct GitSettings {
    entries: Vec<(String, String)>,
    /// Why git cannot read them.
    pub broken: Option<String>,
    /// What files of the user's and the machine's say about attributes, without any setting that names them.
    pub attributes: String,
}

impl GitSettings {
    /// Asks git, which knows every scope, include and variable; without one, libgit2 reads the files that it knows.
    pub async fn read(secrets: &Secrets) -> Self {
        Self { attributes: attributes(secrets), ..Self::configured(secrets).await }
    }

    async fn configured(secrets: &Secrets) -> Self {
        let mut git = secrets.helper("git");
        git.args(["config", "--list", "-z"]).env("GIT_DIR", "/dev/null");
        let output = match git.output().await {
            Ok(output) => output,
            Err(_) => {
                let read = || git2::Config::open_default().map(|config| Self::from_libgit2(&config));
                return tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).unwrap_or_default();
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Self { broken: Some(said), ..Self::default() };
        }
        Self::parse(&output.stdout)
    }

    /// Reads what `git config --list -z` says.
    fn parse(listed: &[u8]) -> Self {
        let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let entries = entries.map(|entry| {
            let text = String::from_utf8_lossy(entry);
            let (key, value) = text.split_once('\n').unwrap_or((&text, NO_VALUE));
            (key.to_owned(), value.to_owned())
        });
        Self { entries: entries.collect(), ..Self::default() }
    }

    fn from_libgit2(config: &git2::Config) -> Self {
        let mut settings = Self::default();
        if let Ok(mut entries) = config.entries(None) {
            while let Some(Ok(entry)) = entries.next() {
                if let Ok(name) = entry.name() {
                    settings.entries.push((name.to_owned(), value_of(entry).to_owned()));
                }
            }
        }
        settings
    }

    /// All of them: a key's section and name are in lower case.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of a key: the last one counts.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.entries().filter(|(known, _)| *known == key).last().map(|(_, value)| value)
    }

    /// Values of keys that begin and end so, with what stands between.
    fn between<'s>(&'s self, start: &'s str, end: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        self.entries()
            .filter_map(move |(key, value)| Some((key.strip_prefix(start)?.strip_suffix(end)?, value)))
    }

    pub fn proxy(&self) -> Option<&str> {
        self.value("http.proxy")
    }

    pub fn ca_file(&self) -> Option<&str> {
        self.value("http.sslcainfo").filter(|path| Path::new(path).is_file())
    }

    pub fn default_branch(&self) -> Option<&str> {
        self.value("init.defaultbranch")
    }

    /// `address` as git would ask for it: the longest matching prefix is replaced.
    pub fn rewritten(&self, address: &str) -> String {
        self.between("url.", ".insteadof")
            .filter(|(_, prefix)| address.starts_with(prefix))
            .max_by_key(|(_, prefix)| prefix.len())
            .map(|(base, prefix)| format!("{base}{}", &address[prefix.len()..]))
            .unwrap_or_else(|| address.to_owned())
    }

    /// The headers that requests to `url` shall have: (name, value).
    pub fn extra_headers(&self, url: &Url) -> Vec<(&str, &str)> {
        self.between("http.", "extraheader")
            .map(|(middle, header)| (middle.strip_suffix('.').unwrap_or(""), header))
            .filter(|(prefix, _)| prefix.is_empty() || is_below(url, prefix))
            .filter_map(|(_, header)| header.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect()
    }
}

/// What a key without a value stands for.
const NO_VALUE: &str = "true";

/// The value of an entry that libgit2 has read, which it cannot be asked for where there is none.
pub fn value_of<'e>(entry: &'e git2::ConfigEntry) -> &'e str {
    if entry.has_value() { entry.value().unwrap_or_default() } else { NO_VALUE }
}

/// As git reads them: a file that cannot be read says nothing.
fn attributes(secrets: &Secrets) -> String {
    let variable = |name: &str| {
        let sent = secrets.variables().get(name).cloned();
        sent.or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    let own = folder.map(|folder| folder.join("git/attributes"));
    let read =
        |path: PathBuf| fs::read(path).ok().map(|text| String::from_utf8_lossy(&text).into_owned() + "\n");
    ATTRIBUTES.iter().map(PathBuf::from).chain(own).filter_map(read).collect()
}

/// Whether `url` is of the same origin as `prefix` and below its path, so that a header meant for
/// `https://host` never goes to `https://host.example`.
fn is_below(url: &Url, prefix: &str) -> bool {
    let Ok(prefix) = Url::parse(prefix) else { return false };
    let base = prefix.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(base);
    prefix.origin() == url.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rewrite_wins_and_headers_go_only_where_they_belong() {
        let listed = "url.ssh://git@Host/.insteadof\nhttps://host/\0url.file:///mirror/.insteadof\nhttps://host/acme/\0\
                      http.https://one.example/team.extraheader\nX-Key: k1\0core.bare\0";
        let settings = GitSettings::parse(listed.as_bytes());
        assert_eq!(settings.value("core.bare"), Some("true"));

        assert_eq!(settings.rewritten("https://host/acme/x.git"), "file:///mirror/x.git");
        assert_eq!(settings.rewritten("https://host/other/x"), "ssh://git@Host/other/x");
        assert_eq!(settings.rewritten("https://elsewhere/x"), "https://elsewhere/x");
        let headers = |url: &str| settings.extra_headers(&Url::parse(url).unwrap()).len();
        assert_eq!(headers("https://one.example/team/x.git"), 1);
        assert_eq!(headers("https://one.example/teammate/x.git"), 0);
        assert_eq!(headers("https://one.example.org/team/x"), 0);
    }
}
