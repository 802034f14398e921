//! Which variables of a caller's environment travel with a job. The daemon's own environment is clean,
//! so that the first client's does not leak into every later job.

use crate::system;
use crate::v1::EnvironmentVariable;
use std::collections::BTreeMap;

/// Where things are; kept in the job's journal, so that a restarted job finds the same servers.
pub const SETTINGS: [&str; 20] = [
    UMASK,
    "GITHUB_API_URL",
    "AZURE_DEVOPS_ORG_URL",
    "AZURE_DEVOPS_ORG",
    "AZURE_DEVOPS_PROJECT",
    "AZURE_DEVOPS_PROJECTS",
    "JIRA_DOMAIN",
    "JIRA_HOST",
    "JIRA_PROJECT_KEY",
    "GITLAB_HOST",
    "GITEA_SERVER_URL",
    "BITBUCKET_API_URL",
    "BITBUCKET_USERNAME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Secrets; in memory only.
pub const SECRETS: [&str; 11] = [
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "AZURE_DEVOPS_PAT",
    "ADO_PAT",
    "AZURE_DEVOPS_TOKEN",
    "JIRA_EMAIL",
    "JIRA_API_TOKEN",
    "GITLAB_TOKEN",
    "GITEA_SERVER_TOKEN",
    "GITEA_TOKEN",
    "BITBUCKET_TOKEN",
];

/// What helper programs (ssh, gh, git's credential helpers) need; in memory only. All that begins with `GIT_` goes with it,
/// but for [`NOT_FOR_GIT`].
const HELPERS: [&str; 10] = [
    "HOME",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "SSH_ASKPASS_REQUIRE",
    "XDG_CONFIG_HOME",
    "GH_CONFIG_DIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// Variables of git's that are about the repository in which a command was typed, or write what git says and does into
/// files; names and beginnings of names.
const NOT_FOR_GIT: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_INTERNAL_",
    "GIT_TRACE",
    "GIT_CURL_VERBOSE",
    "GIT_REDIRECT_",
];

/// Whether a variable is for helper programs.
pub fn is_for_helpers(name: &str) -> bool {
    let is_gits = name.starts_with("GIT_") && !NOT_FOR_GIT.iter().any(|other| name.starts_with(other));
    is_gits || HELPERS.contains(&name)
}

/// Tells the daemon the umask of the command that asks, in octal.
pub const UMASK: &str = "SPECWEAVE_JOBS_UMASK";

/// What of a client's environment its daemon gets, and of the daemon's its helper programs.
pub const OWN: [&str; 10] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
];

/// A project's `.env` of more bytes is none.
pub const MOST_DOTENV: u64 = 1024 * 1024;

/// A proxy may also be named in lower case.
const LOWER_CASE_TOO: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

/// The variables of this process that travel, and its umask.
pub fn carried() -> Vec<EnvironmentVariable> {
    let named = SETTINGS.into_iter().chain(SECRETS).filter_map(|name| {
        let lower = LOWER_CASE_TOO.contains(&name).then(|| name.to_ascii_lowercase());
        let value = std::env::var(name).ok().or_else(|| std::env::var(lower?).ok())?;
        Some((name.to_owned(), value))
    });
    let helpers = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| is_for_helpers(name))?;
        Some((name, value.into_string().ok()?))
    });
    let umask = system::umask().map(|umask| (UMASK.to_owned(), umask));
    let all = named.filter(|(name, _)| name != UMASK).chain(helpers).chain(umask);
    all.filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| EnvironmentVariable { name, value })
        .collect()
}

/// Of what a caller sent, the variables that may travel.
pub fn accepted(sent: Vec<EnvironmentVariable>) -> BTreeMap<String, String> {
    sent.into_iter()
        .filter(|variable| travels(&variable.name))
        .map(|variable| (variable.name, variable.value))
        .collect()
}

fn travels(name: &str) -> bool {
    SETTINGS.contains(&name) || SECRETS.contains(&name) || is_for_helpers(name)
}

/// SpecWeave's reading of `.env`: `KEY=VALUE`, `#` comments, one pair of quotes, no interpolation.
pub fn parse_dotenv(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let value = value.trim();
            let bare = ['"', '\'']
                .iter()
                .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
                .unwrap_or(value);
            (name.trim().to_owned(), bare.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_file_is_read_as_specweave_reads_it() {
        let read = parse_dotenv("# note\n A = \"b c\" \nB='x'\nC=\"half\nnonsense\nD=a=b\n");
        let expected = [("A", "b c"), ("B", "x"), ("C", "\"half"), ("D", "a=b")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
