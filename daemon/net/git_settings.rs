//! What of the user's git configuration a clone obeys: rewritten addresses, proxy, authorities, extra
//! headers, the name of a first branch. Read once a run; a broken file counts as empty, as it must not stop
//! a clone that does not need it.

use std::path::Path;
use url::Url;

#[derive(Clone, Debug, Default)]
pub struct GitSettings {
    /// `url.<base>.insteadOf`: (prefix, base).
    instead_of: Vec<(String, String)>,
    pub proxy: Option<String>,
    pub ca_file: Option<String>,
    /// `http.<url>.extraHeader`: (url prefix, header).
    extra_headers: Vec<(String, String)>,
    pub default_branch: Option<String>,
}

impl GitSettings {
    /// Reads the system's and the user's files. Blocks.
    pub fn read() -> Self {
        git2::Config::open_default().map(|config| Self::from(&config)).unwrap_or_default()
    }

    /// Reads one file.
    #[cfg(test)]
    fn read_file(path: &Path) -> Self {
        git2::Config::open(path).map(|config| Self::from(&config)).unwrap_or_default()
    }

    fn from(config: &git2::Config) -> Self {
        let mut settings = Self {
            proxy: config.get_string("http.proxy").ok(),
            ca_file: config.get_path("http.sslcainfo").ok().and_then(existing),
            default_branch: config.get_string("init.defaultbranch").ok(),
            ..Self::default()
        };
        each(config, "^url\\..*\\.insteadof$", |name, value| {
            let base = name.strip_prefix("url.")?.strip_suffix(".insteadof")?;
            settings.instead_of.push((value.to_owned(), base.to_owned()));
            Some(())
        });
        each(config, "^http\\.(.*\\.)?extraheader$", |name, value| {
            let middle = name.strip_prefix("http.")?.strip_suffix("extraheader")?;
            let url = middle.strip_suffix('.').unwrap_or("");
            settings.extra_headers.push((url.to_owned(), value.to_owned()));
            Some(())
        });
        settings
    }

    /// `address` as git would ask for it: the longest matching prefix is replaced.
    pub fn rewritten(&self, address: &str) -> String {
        self.instead_of
            .iter()
            .filter(|(prefix, _)| address.starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(prefix, base)| format!("{base}{}", &address[prefix.len()..]))
            .unwrap_or_else(|| address.to_owned())
    }

    /// The headers that requests to `url` shall have: (name, value).
    pub fn extra_headers(&self, url: &Url) -> Vec<(&str, &str)> {
        self.extra_headers
            .iter()
            .filter(|(prefix, _)| prefix.is_empty() || is_below(url, prefix))
            .filter_map(|(_, header)| header.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect()
    }
}

/// Whether `url` is of the same origin as `prefix` and below its path, so that a header meant for
/// `https://host` never goes to `https://host.example`.
fn is_below(url: &Url, prefix: &str) -> bool {
    let Ok(prefix) = Url::parse(prefix) else { return false };
    let base = prefix.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(base);
    prefix.origin() == url.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn existing(path: std::path::PathBuf) -> Option<String> {
    Path::new(&path).is_file().then(|| path.to_string_lossy().into_owned())
}

fn each(config: &git2::Config, pattern: &str, mut take: impl FnMut(&str, &str) -> Option<()>) {
    let Ok(mut entries) = config.entries(Some(pattern)) else { return };
    while let Some(Ok(entry)) = entries.next() {
        if let (Ok(name), Ok(value)) = (entry.name(), entry.value()) {
            take(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rewrite_wins_and_headers_go_only_where_they_belong() {
        let path = std::env::temp_dir().join(format!("gitconfig-{:x}", specweave_jobs::disk::random()));
        let text = "[url \"ssh://git@Host/\"]\n insteadOf = https://host/\n\
                    [url \"file:///mirror/\"]\n insteadOf = https://host/acme/\n\
                    [http \"https://one.example/team\"]\n extraHeader = X-Key: k1\n";
        std::fs::write(&path, text).unwrap();
        let settings = GitSettings::read_file(&path);
        std::fs::remove_file(&path).unwrap();

        assert_eq!(settings.rewritten("https://host/acme/x.git"), "file:///mirror/x.git");
        assert_eq!(settings.rewritten("https://host/other/x"), "ssh://git@Host/other/x");
        assert_eq!(settings.rewritten("https://elsewhere/x"), "https://elsewhere/x");
        let headers = |url: &str| settings.extra_headers(&Url::parse(url).unwrap()).len();
        assert_eq!(headers("https://one.example/team/x.git"), 1);
        assert_eq!(headers("https://one.example/teammate/x.git"), 0);
        assert_eq!(headers("https://one.example.org/team/x"), 0);
    }
}
