//! Where a token comes from, to which host it may go, and how text is kept free of it. Nothing else in the
//! daemon touches a secret, and none is ever written anywhere.
//!
//! Order: the environment of the client that asked, the project's `.env`, `gh auth token`, git's credential
//! helpers. Nothing here prompts.

use crate::model::item::Platform;
use crate::model::repository::ForgeKind;
use specweave_jobs::project::Project;
use specweave_jobs::redactor::Redactor;
use specweave_jobs::{disk, environment};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

/// A helper program that says nothing for this long has nothing to say.
const HELPER_DEADLINE: Duration = Duration::from_secs(10);

/// Text that must not be seen. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    fn new(text: impl Into<String>) -> Option<Self> {
        let text = Zeroizing::new(text.into());
        let text = Zeroizing::new(text.trim().to_owned());
        (!text.is_empty()).then_some(Self(text))
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user name and a secret, as HTTP's basic scheme wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub secret: Secret,
}

impl Login {
    /// `None` when there is no secret.
    pub fn new(user: String, secret: &str) -> Option<Self> {
        Secret::new(secret).map(|secret| Self { user, secret })
    }
}

/// What came with one request: variables of the client's environment, and logins that stood in addresses.
/// In memory only.
#[derive(Clone, Default)]
pub struct Caller {
    pub variables: BTreeMap<String, String>,
    /// By the address that they stood in.
    pub logins: Vec<(Url, Login)>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.variables.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Caller {
    /// Keeps a login that stood in an address.
    pub fn offer(&mut self, address: &str, user: String, secret: &str) {
        if let (Ok(url), Some(login)) = (Url::parse(address), Login::new(user, secret)) {
            self.logins.push((url, login));
        }
    }

    /// Whether there is something in it that a daemon which was started anew does not have.
    pub fn brings_secrets(&self) -> bool {
        let is_secret = |name: &String| environment::SECRETS.contains(&name.as_str());
        !self.logins.is_empty() || self.variables.keys().any(is_secret)
    }

    /// What a later request brings goes before what an earlier one brought.
    pub fn renew(&mut self, mut later: Self) {
        self.variables.append(&mut later.variables);
        self.logins.splice(0..0, std::mem::take(&mut later.logins));
    }

    /// The variables that a restarted job needs too and that hold no secret.
    pub fn lasting_settings(&self) -> BTreeMap<String, String> {
        let lasting = |name: &String, value: &String| {
            environment::SETTINGS.contains(&name.as_str()) && !value.contains('@')
        };
        self.variables
            .iter()
            .filter(|(name, value)| lasting(name, value))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.variables.values_mut().for_each(Zeroize::zeroize);
    }
}

/// What one job may use. Its secrets are overwritten when it is dropped, with the job's run.
pub struct Secrets {
    logins: Vec<(Url, Login)>,
    /// The caller's variables, with those of `.env` beneath them.
    variables: BTreeMap<String, String>,
    redactor: Redactor,
    /// What `gh` and git's helpers said, once asked.
    asked: tokio::sync::Mutex<HashMap<String, Option<Login>>>,
}

impl Secrets {
    /// `caller` is what came with the request; `settings` what the journal kept of an earlier one.
    pub fn new(project: &Project, mut caller: Caller, settings: &BTreeMap<String, String>) -> Self {
        let dotenv = disk::read_regular(&project.dotenv(), environment::MOST_DOTENV).unwrap_or_default();
        let dotenv = String::from_utf8_lossy(&dotenv);
        let mut variables = settings.clone();
        variables.append(&mut caller.variables);
        add_dotenv(&mut variables, environment::parse_dotenv(&dotenv));
        let redactor = Redactor::default();
        for name in environment::SECRETS {
            if let Some(value) = variables.get(name) {
                redactor.learn(value);
            }
        }
        for (_, login) in &caller.logins {
            redactor.learn(login.secret.reveal());
        }
        for value in
            variables.iter().filter(|(name, _)| name.starts_with("GIT_CONFIG_")).map(|(_, value)| value)
        {
            learn_configured(&redactor, value);
        }
        Self { logins: std::mem::take(&mut caller.logins), variables, redactor, asked: Default::default() }
    }

    pub fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }

    /// A variable that is no secret, such as a base address.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn first(&self, names: &[&str]) -> Option<Secret> {
        names.iter().find_map(|name| Secret::new(self.variables.get(*name)?.as_str()))
    }

    /// GitHub's REST address.
    pub fn github_api(&self) -> String {
        let api = self.setting("GITHUB_API_URL").unwrap_or("https://api.github.com");
        api.trim_end_matches('/').to_owned()
    }

    /// Where that GitHub serves git: `https://github.com` or the Enterprise server's root.
    pub fn github_web(&self) -> String {
        match Url::parse(&self.github_api()) {
            Ok(api) if api.host_str() != Some("api.github.com") => api.origin().ascii_serialization(),
            _ => "https://github.com".to_owned(),
        }
    }

    /// JIRA's address, as the caller or `.env` names it: a domain, or a whole address.
    pub fn jira(&self) -> Option<String> {
        self.setting("JIRA_DOMAIN").or(self.setting("JIRA_HOST")).map(whole_address)
    }

    /// JIRA's address where only the project's configuration names it. It may have come with a clone: only Atlassian's
    /// own cloud, which hands no token on, is believed to be there.
    pub fn jira_by_configuration(&self, domain: &str) -> Option<String> {
        let address = whole_address(domain);
        (self.jira().is_none() && is_atlassian(&Url::parse(&address).ok()?)).then_some(address)
    }

    /// The login to send with the first request to `url`. `None` is anonymous.
    pub async fn first_login(&self, url: &Url) -> Option<Login> {
        if !may_carry_secrets(url) {
            return None;
        }
        // As with git, a login in an address is that of its repository and of no other on the server, which may be of
        // somebody else or refuse it.
        if let Some((_, login)) = self.logins.iter().find(|(given_for, _)| is_same_place(given_for, url)) {
            return Some(login.clone());
        }
        if self.is_github(url) {
            let user = "x-access-token".to_owned();
            return match self.first(&["GITHUB_TOKEN", "GH_TOKEN"]) {
                Some(secret) => Some(Login { user, secret }),
                None => self.ask_gh(url).await.map(|secret| Login { user, secret }),
            };
        }
        if self.is_ado(url) {
            return self.ado_login(url);
        }
        self.forge_of(url).and_then(|kind| self.forge_login(kind, url))
    }

    fn is_github(&self, url: &Url) -> bool {
        [self.github_web(), self.github_api()].iter().any(|base| same_origin(base, url))
    }

    fn is_ado(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or("");
        host == "dev.azure.com"
            || host.ends_with(".visualstudio.com")
            || self.setting("AZURE_DEVOPS_ORG_URL").is_some_and(|base| same_origin(base, url))
    }

    /// Where a forge's interface is; nothing for one that may be anywhere and was not named.
    pub fn forge(&self, kind: ForgeKind) -> Option<String> {
        let (setting, cloud) = match kind {
            ForgeKind::GitLab => ("GITLAB_HOST", Some("https://gitlab.com")),
            ForgeKind::Gitea => ("GITEA_SERVER_URL", None),
            ForgeKind::Bitbucket => ("BITBUCKET_API_URL", Some("https://api.bitbucket.org/2.0")),
        };
        let set = self.setting(setting).map(whole_address);
        set.or(cloud.map(str::to_owned))
    }

    /// Which forge `url` is of, as one of its repositories or as its interface.
    fn forge_of(&self, url: &Url) -> Option<ForgeKind> {
        let kinds = [ForgeKind::GitLab, ForgeKind::Gitea, ForgeKind::Bitbucket];
        let is_of = |kind: &ForgeKind| self.forge(*kind).is_some_and(|base| same_origin(&base, url));
        // The cloud's repositories are beside its interface; a server of somebody's own has nothing to do with them.
        let is_bitbucket =
            url.host_str() == Some("bitbucket.org") && self.setting("BITBUCKET_API_URL").is_none();
        kinds.into_iter().find(is_of).or(is_bitbucket.then_some(ForgeKind::Bitbucket))
    }

    /// The login for a forge at `url`.
    pub fn forge_login(&self, kind: ForgeKind, url: &Url) -> Option<Login> {
        let (user, names): (&str, &[&str]) = match kind {
            ForgeKind::GitLab => ("oauth2", &["GITLAB_TOKEN"]),
            ForgeKind::Gitea => ("oauth2", &["GITEA_SERVER_TOKEN", "GITEA_TOKEN"]),
            ForgeKind::Bitbucket => {
                (self.setting("BITBUCKET_USERNAME").unwrap_or("x-token-auth"), &["BITBUCKET_TOKEN"])
            }
        };
        let secret = self.first(names).filter(|_| may_carry_secrets(url))?;
        Some(Login { user: user.to_owned(), secret })
    }

    /// The variables in which a token for `url` is looked for; empty for a server that none is known for.
    pub fn variables_for(&self, url: &Url) -> &'static [&'static str] {
        if self.is_github(url) {
            Platform::GitHub.variables()
        } else if self.is_ado(url) {
            Platform::Ado.variables()
        } else {
            self.forge_of(url).map_or(&[], ForgeKind::variables)
        }
    }

    /// The login for JIRA at `url`, if that is where it is. A token without an account has no user.
    pub fn jira_login(&self, url: &Url) -> Option<Login> {
        let is_jira = match self.jira() {
            Some(base) => same_origin(&base, url),
            None => is_atlassian(url),
        };
        let secret = self.first(&["JIRA_API_TOKEN"]).filter(|_| is_jira && may_carry_secrets(url))?;
        Some(Login { user: self.setting("JIRA_EMAIL").unwrap_or("").to_owned(), secret })
    }

    /// The login for Azure DevOps at `url`, which is its address by default or by setting.
    pub fn ado_login(&self, url: &Url) -> Option<Login> {
        let secret = self.first(&["AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN"])?;
        may_carry_secrets(url).then_some(Login { user: String::new(), secret })
    }

    /// The login to try after `url` refused the first one: git's credential helpers.
    pub async fn second_login(&self, url: &Url) -> Option<Login> {
        if !may_carry_secrets(url) {
            return None;
        }
        let key = format!("git {}", url.origin().ascii_serialization());
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(&key) {
            return known.clone();
        }
        let login = self.ask_git(url).await;
        asked.insert(key, login.clone());
        login
    }

    async fn ask_gh(&self, url: &Url) -> Option<Secret> {
        let host = match url.host_str()? {
            "api.github.com" => "github.com",
            host => host,
        };
        let key = format!("gh {host}");
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(&key) {
            return known.clone().map(|login| login.secret);
        }
        let mut gh = self.helper("gh");
        gh.args(["auth", "token", "--hostname", host]);
        let secret = self.run(gh, "").await.and_then(Secret::new);
        if let Some(secret) = &secret {
            self.redactor.learn(secret.reveal());
        }
        let login = secret.clone().map(|secret| Login { user: "x-access-token".into(), secret });
        asked.insert(key, login);
        secret
    }

    async fn ask_git(&self, url: &Url) -> Option<Login> {
        let mut host = url.host_str()?.to_owned();
        if let Some(port) = url.port() {
            host.push_str(&format!(":{port}"));
        }
        let path = url.path().trim_start_matches('/');
        let mut git = self.helper("git");
        // No repository's configuration, wherever this runs: it may have come with a checkout, and names what git is to run.
        git.args(["credential", "fill"]).env("GIT_DIR", "/dev/null");
        let question = format!("protocol={}\nhost={host}\npath={path}\n\n", url.scheme());
        let answer = self.run(git, &question).await?;
        let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name));
        let secret = Secret::new(field("password=")?)?;
        self.redactor.learn(secret.reveal());
        Some(Login { user: field("username=").unwrap_or("").to_owned(), secret })
    }

    /// A program that may know a secret, with [`Self::program`]'s environment and no way to ask a person.
    pub fn helper(&self, program: &str) -> Command {
        let mut command = self.program(program);
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS", "true")
            .env("GH_PROMPT_DISABLED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What the caller sent besides its secrets: git's variables and the settings.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// A program of the caller's PATH with an environment of the daemon's choice and what the caller sent for such programs.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Nothing of the project's, in which the daemon may lie when it runs in the foreground.
        command.env_clear().current_dir("/");
        for name in environment::OWN {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &self.variables {
            if environment::is_for_helpers(name) {
                command.env(name, value);
            }
        }
        for name in NETWORK {
            if let Some(value) = self.setting(name) {
                // Some programs read only the one, some only the other.
                command.env(name, value).env(name.to_ascii_lowercase(), value);
            }
        }
        command
    }

    /// The helper's output, when it ended well and in time.
    async fn run(&self, mut command: Command, input: &str) -> Option<String> {
        let mut child = command.spawn().ok()?;
        let mut stdin = child.stdin.take()?;
        let talk = async {
            // A helper that does not read its question has its own answer.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(HELPER_DEADLINE, talk).await.ok()?.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// How programs reach servers, and whom they trust.
const NETWORK: [&str; 6] =
    ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

fn is_atlassian(url: &Url) -> bool {
    url.scheme() == "https" && url.host_str().is_some_and(|host| host.ends_with(".atlassian.net"))
}

fn whole_address(domain: &str) -> String {
    let domain = domain.trim().trim_end_matches('/');
    let address = if domain.contains("://") { domain.to_owned() } else { format!("https://{domain}") };
    // A login in it would be written wherever the address is.
    match Url::parse(&address) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let _ = (url.set_username(""), url.set_password(None));
            url.as_str().trim_end_matches('/').to_owned()
        }
        _ => address,
    }
}

/// A secret travels encrypted, or not beyond this machine.
fn may_carry_secrets(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || loopback
}

/// Whether both addresses name one repository of one server.
fn is_same_place(one: &Url, other: &Url) -> bool {
    fn path(url: &Url) -> &str {
        let path = url.path().trim_end_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }
    one.origin() == other.origin() && path(one) == path(other)
}

fn same_origin(base: &str, url: &Url) -> bool {
    Url::parse(base).is_ok_and(|base| base.origin() == url.origin())
}

/// A header or an address of git's configuration may hold a secret.
fn learn_configured(redactor: &Redactor, value: &str) {
    if let Some((_, Some((_, secret)))) =
        value.find("http").map(|at| crate::model::repository::split_login(&value[at..]))
    {
        redactor.learn(&secret);
    }
    if let Some(credentials) = value.to_lowercase().find("authorization:").map(|at| &value[at..]) {
        redactor.learn(credentials.rsplit(' ').next().unwrap_or_default());
    }
}

/// A service's base address and the secrets that go there.
const SERVICES: [(&str, &[&str]); 7] = [
    ("GITHUB_API_URL", &["GITHUB_TOKEN", "GH_TOKEN"]),
    ("AZURE_DEVOPS_ORG_URL", &["AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN"]),
    ("GITLAB_HOST", &["GITLAB_TOKEN"]),
    ("GITEA_SERVER_URL", &["GITEA_SERVER_TOKEN", "GITEA_TOKEN"]),
    ("BITBUCKET_API_URL", &["BITBUCKET_TOKEN"]),
    ("JIRA_DOMAIN", &["JIRA_EMAIL", "JIRA_API_TOKEN"]),
    ("JIRA_HOST", &["JIRA_EMAIL", "JIRA_API_TOKEN"]),
];

/// Adds the project's `.env` beneath what the caller has. The file may come with a clone: it gives tokens and
/// base addresses and nothing that runs, and an address of its own goes only with tokens of its own.
fn add_dotenv(variables: &mut BTreeMap<String, String>, dotenv: BTreeMap<String, String>) {
    for (address, secrets) in SERVICES {
        let own_address =
            dotenv.get(address).filter(|own| variables.get(address).is_none_or(|set| set != *own));
        match own_address {
            Some(_) if variables.contains_key(address) => continue,
            Some(own) => {
                variables.insert(address.to_owned(), own.clone());
                for name in secrets {
                    variables.remove(*name);
                }
            }
            None => {}
        }
        let has_one = secrets.iter().any(|name| variables.contains_key(*name));
        for name in secrets.iter().filter(|_| !has_one) {
            if let Some(value) = dotenv.get(*name) {
                variables.insert((*name).to_owned(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_file_cannot_lead_a_callers_token_elsewhere_or_run_anything() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let mut variables = map(&[("GITHUB_TOKEN", "callers")]);
        let hostile = [("GITHUB_API_URL", "https://evil"), ("GIT_SSH_COMMAND", "evil"), ("PATH", "/evil")];
        add_dotenv(&mut variables, map(&hostile));
        assert_eq!(variables, map(&[("GITHUB_API_URL", "https://evil")]));

        let mut variables = map(&[("GITHUB_API_URL", "https://ours"), ("GITHUB_TOKEN", "callers")]);
        add_dotenv(&mut variables, map(&[("GITHUB_API_URL", "https://evil"), ("GITHUB_TOKEN", "x")]));
        assert_eq!(variables, map(&[("GITHUB_API_URL", "https://ours"), ("GITHUB_TOKEN", "callers")]));

        let mut variables = map(&[]);
        add_dotenv(&mut variables, map(&[("GITHUB_TOKEN", "dotenv")]));
        assert_eq!(variables, map(&[("GITHUB_TOKEN", "dotenv")]));
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Some(***)");
    }
}
