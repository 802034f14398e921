//! What an address leads to, and when two lead to the same.

use crate::git::{CloneError, ssh};
use crate::model::repository::split_login;
use crate::net::secrets::Login;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use url::Url;

/// How an address is reached.
pub enum Route {
    /// With the login that stood in a rewritten address.
    Http(Url, Option<Login>),
    Ssh(ssh::Address),
}

/// Reads an address.
pub fn route(address: &str) -> Result<Route, CloneError> {
    if address.starts_with("http://") || address.starts_with("https://") {
        let (address, login) = split_login(address);
        let url = Url::parse(&address)
            .map_err(|error| CloneError::Refused(format!("the address is not valid: {error}")))?;
        return Ok(Route::Http(url, login.and_then(|(user, secret)| Login::new(user, &secret))));
    }
    ssh::Address::parse(address)
        .map(Route::Ssh)
        .ok_or_else(|| CloneError::Refused("the address is of no kind that can be cloned".into()))
}

/// Where a repository of this machine lies.
pub fn local_path(address: &str) -> Option<PathBuf> {
    match address.strip_prefix("file://") {
        Some(rest) => {
            let path = rest.find('/').map_or(rest, |at| &rest[at..]);
            let decoded = percent_encoding::percent_decode_str(path);
            Some(PathBuf::from(OsString::from_vec(decoded.collect())))
        }
        None => address.starts_with('/').then(|| PathBuf::from(address)),
    }
}

/// Whether something stands where git would look for a repository under this name.
pub fn may_be_repository(path: &Path) -> bool {
    let with_end = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    [path.to_path_buf(), with_end(".git"), with_end(".bundle")].iter().any(|path| path.exists())
}

/// The host of an address; empty for one of this machine.
pub fn host_of(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) => url.host_str().unwrap_or_default().to_owned(),
        Err(_) => ssh::Address::parse(address).map(|ssh| ssh.host().to_owned()).unwrap_or_default(),
    }
}

/// Whether two addresses name the same repository: credentials, a final `.git` or slash, the case of the host and, where its
/// server does not tell cases apart, that of names do not matter.
pub fn same_repository(one: &str, other: &str) -> bool {
    /// Servers on which names that differ only in case are one.
    const FOLDING: [&str; 4] = ["github.com/", "gitlab.com/", "bitbucket.org/", "dev.azure.com/"];
    fn key(address: &str) -> String {
        let key = place(address);
        // Azure DevOps over ssh: v3/<org>/<project>/<name>.
        let key = match key.strip_prefix("ssh.dev.azure.com/v3/").and_then(|path| path.rsplit_once('/')) {
            Some((project, name)) => format!("dev.azure.com/{project}/_git/{name}"),
            None => key,
        };
        if FOLDING.iter().any(|host| key.starts_with(host)) { key.to_lowercase() } else { key }
    }
    fn place(address: &str) -> String {
        let address = address.trim_end_matches('/');
        let address = address.strip_suffix(".git").unwrap_or(address);
        match Url::parse(address) {
            Ok(url) if url.has_host() => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}{}", url.host_str().unwrap_or("").to_ascii_lowercase(), url.path())
            }
            Ok(url) if url.scheme() == "file" => url.path().to_owned(),
            _ => match ssh::Address::parse(address) {
                Some(ssh) => {
                    let host = ssh.host().to_ascii_lowercase();
                    format!("{host}/{}", ssh.path.trim_start_matches('/'))
                }
                None => address.to_owned(),
            },
        }
    }
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use super::same_repository;

    #[test]
    fn addresses_of_the_same_repository_are_recognised() {
        assert!(same_repository("https://tok@GitHub.com/a/b.git", "https://github.com/a/b"));
        assert!(same_repository("git@github.com:a/b.git", "ssh://git@github.com/a/b"));
        assert!(same_repository("https://github.com/Acme/Web", "git@github.com:acme/web.git"));
        assert!(!same_repository("https://git.example/Acme/Web", "https://git.example/acme/web"));
        assert!(same_repository(
            "git@ssh.dev.azure.com:v3/o/My%20App/n",
            "https://dev.azure.com/o/My%20App/_git/n"
        ));
        assert!(same_repository("/srv/x.git/", "/srv/x"));
        assert!(same_repository("file:///srv/x.git", "file:///srv/x"));
        assert!(!same_repository("https://github.com/a/b", "https://github.com/a/c"));
        assert!(!same_repository("https://github.com/a/b", "https://github.com:8443/a/b"));
    }
}
