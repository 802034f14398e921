//! Which containers of the trackers a request means, for import and sync alike: what it names, and else what the project's configuration, the environment and the
//! git remote name.

use crate::job::order::{ImportOrder, is_project_key, is_repository};
use crate::model::item::Platform;
use crate::net::secrets::Secrets;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use specweave_jobs::disk;
use specweave_jobs::project::{MOST_CONFIG, Project, configuration};
use specweave_jobs::v1;
use url::Url;

/// One source of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceId {
    pub platform: Platform,
    /// `acme/web`, `PAY`, `Nova CAD`.
    pub name: String,
    /// JIRA's address, or Azure DevOps' organisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
}

impl SourceId {
    /// `github acme/web`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.platform.word(), self.name)
    }

    fn new(platform: Platform, name: &str, server: &str) -> Self {
        Self { platform, name: name.trim().to_owned(), server: server.trim().to_owned() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{0:?} is no tracker: github, jira or ado")]
    NoPlatform(String),
    #[error("nothing to import from: {0}")]
    Nothing(String),
    #[error("{0} has several: {1}; give each a profile under sync.profiles in config.json, and name one")]
    Several(&'static str, String),
}

/// The platforms that a request names; all of them when it names none.
fn platforms(order: &ImportOrder) -> Vec<Platform> {
    if !order.platforms.is_empty() {
        return order.platforms.clone();
    }
    // What names a source names its tracker.
    let by_source: Vec<Platform> =
        Platform::ALL.into_iter().filter(|platform| names_any(order, *platform)).collect();
    if by_source.is_empty() { Platform::ALL.to_vec() } else { by_source }
}

/// The project's configuration, or why it cannot be read.
pub fn read_config(project: &Project) -> Result<Value, String> {
    match disk::read_regular(&project.config(), MOST_CONFIG) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error.to_string()),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("it is not JSON: {error}")),
    }
}

/// The one source that a section of the configuration names, or, without one, that all of it does.
pub fn of_section(
    project: &Project,
    platform: Platform,
    section: Option<&Value>,
    secrets: &Secrets,
) -> Result<SourceId, SourceError> {
    let mut config = configuration(&project.config());
    if let Some(section) = section {
        config = serde_json::json!({"sync": {platform.word(): section}});
    } else if config["sync"][platform.word()].is_object() {
        // Repositories with a section of their own are routed to; they are not what is meant.
        config = serde_json::json!({"sync": {platform.word(): config["sync"][platform.word()]}});
    }
    let (mut sources, why) = sources_of(project, platform, &ImportOrder::default(), secrets, &config);
    sources.dedup();
    match sources.len() {
        1 => Ok(sources.remove(0)),
        0 => Err(SourceError::Nothing(format!("{}: {why}", platform.name()))),
        _ => {
            let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
            Err(SourceError::Several(platform.name(), names.join(", ")))
        }
    }
}

/// What is known without being named: what an import reads, and what a sync may be told.
pub fn known(project: &Project, secrets: &Secrets, imported: &[SourceId]) -> v1::ListSourcesResponse {
    let recorded = |platform| imported.iter().filter(|one| one.platform == platform).cloned().collect();
    let found = find(project, &ImportOrder::default(), secrets, recorded).unwrap_or_default();
    let sources = found.into_iter().map(|source| v1::KnownSource {
        tracker: tracker(source.platform) as i32,
        imported: imported.contains(&source),
        name: source.name,
        server: source.server,
    });
    let sync = &configuration(&project.config())["sync"];
    let default = sync["defaultProfile"].as_str();
    let profiles = sync["profiles"].as_object().into_iter().flatten().filter_map(|(id, profile)| {
        let word = profile["provider"].as_str().or(profile["platform"].as_str())?;
        Some(v1::KnownProfile {
            id: id.clone(),
            tracker: v1::Tracker::of_word(word) as i32,
            is_default: default == Some(id),
        })
    });
    let own = Platform::ALL.into_iter().filter(|platform| sync[platform.word()].is_object());
    let own = own.map(|platform| v1::KnownProfile {
        id: String::new(),
        tracker: tracker(platform) as i32,
        is_default: false,
    });
    let mut profiles: Vec<v1::KnownProfile> = profiles.chain(own).collect();
    if let [only] = &mut profiles[..] {
        only.is_default = true;
    }
    v1::ListSourcesResponse { sources: sources.collect(), profiles }
}

fn tracker(platform: Platform) -> v1::Tracker {
    v1::Tracker::of_word(platform.word())
}

fn sources_of(
    project: &Project,
    platform: Platform,
    order: &ImportOrder,
    secrets: &Secrets,
    config: &Value,
) -> (Vec<SourceId>, &'static str) {
    match platform {
        Platform::GitHub => github(project, order, secrets, config),
        Platform::Jira => jira(order, secrets, config),
        Platform::Ado => ado(order, secrets, config),
    }
}

/// All sources of a request. A tracker that was named and has none is an error that says what was looked at.
///
/// `recorded` tells which ones of a tracker were imported before.
pub fn find(
    project: &Project,
    order: &ImportOrder,
    secrets: &Secrets,
    recorded: impl Fn(Platform) -> Vec<SourceId>,
) -> Result<Vec<SourceId>, SourceError> {
    let config = configuration(&project.config());
    let mut found = Vec::new();
    let mut looked = Vec::new();
    for platform in platforms(order) {
        let (mut sources, why) = sources_of(project, platform, order, secrets, &config);
        if !names_any(order, platform) {
            // What was imported once is imported again.
            sources.extend(vetted(recorded(platform), platform, secrets));
        }
        if sources.is_empty() {
            looked.push(format!("{}: {why}", platform.name()));
            if order.platforms.contains(&platform) {
                return Err(SourceError::Nothing(looked.pop().unwrap_or_default()));
            }
        }
        for source in sources {
            if !found.contains(&source) {
                found.push(source);
            }
        }
    }
    if found.is_empty() { Err(SourceError::Nothing(looked.join("; "))) } else { Ok(found) }
}

fn names_any(order: &ImportOrder, platform: Platform) -> bool {
    match platform {
        Platform::GitHub => !order.repos.is_empty(),
        Platform::Jira => !order.project_keys.is_empty(),
        Platform::Ado => !order.ado_projects.is_empty(),
    }
}

/// What was imported before. The file that says so may have come with a clone: it leads to no other server than the
/// environment does.
pub fn vetted(mut sources: Vec<SourceId>, platform: Platform, secrets: &Secrets) -> Vec<SourceId> {
    sources.retain(|source| match platform {
        Platform::GitHub => is_repository(&source.name) && source.server.is_empty(),
        Platform::Jira => {
            let is_key = is_project_key(&source.name);
            let server = Some(source.server.clone());
            is_key && (secrets.jira() == server || secrets.jira_by_configuration(&source.server) == server)
        }
        Platform::Ado => !source.server.contains(['/', ':', '@']),
    });
    sources
}

/// Every object of the configuration that may name a source of a platform.
fn configured(config: &Value, platform: Platform) -> Vec<&Value> {
    let word = platform.word();
    let is_on = |section: &&Value| section.is_object() && section["enabled"] != false;
    let mut found: Vec<&Value> = Vec::new();
    found.extend(Some(&config["sync"][word]).filter(is_on));
    let profiles = config["sync"]["profiles"].as_object();
    found.extend(profiles.into_iter().flatten().filter_map(|(_, profile)| {
        let provider = profile["provider"].as_str().or(profile["platform"].as_str());
        (provider == Some(word)).then_some(&profile["config"])
    }));
    let repositories = config["workspace"]["repos"].as_array();
    found.extend(repositories.into_iter().flatten().map(|one| &one["sync"][word]).filter(is_on));
    found.extend(Some(&config["issueTracker"]).filter(|tracker| tracker["provider"] == word));
    found
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn github(
    project: &Project,
    order: &ImportOrder,
    secrets: &Secrets,
    config: &Value,
) -> (Vec<SourceId>, &'static str) {
    let of = |name: &String| SourceId::new(Platform::GitHub, name, "");
    if !order.repos.is_empty() {
        return (order.repos.iter().map(of).collect(), "");
    }
    let sections = configured(config, Platform::GitHub);
    let named =
        sections.iter().map(|section| format!("{}/{}", text(section, "owner"), text(section, "repo")));
    let mut names: Vec<String> = named.filter(|name| is_repository(name)).collect();
    if names.is_empty() {
        names.extend(remote(project, secrets));
    }
    (
        names.iter().map(of).collect(),
        "no --repo, no sync.github.owner and .repo in config.json, no git remote there, and none imported before",
    )
}

/// The repository of the project's own git remote, if that is on GitHub.
fn remote(project: &Project, secrets: &Secrets) -> Option<String> {
    let repository = git2::Repository::open(project.root()).ok()?;
    let remote = repository.find_remote("origin").ok()?;
    let address = remote.url().ok()?;
    let host = Url::parse(&secrets.github_web()).ok()?.host_str()?.to_owned();
    let path = match Url::parse(address) {
        Ok(url) if url.host_str() == Some(host.as_str()) => url.path().to_owned(),
        Ok(_) => return None,
        Err(_) => {
            let (account, path) = address.split_once(':')?;
            (account.rsplit('@').next() == Some(host.as_str())).then(|| path.to_owned())?
        }
    };
    let name = path.trim_matches('/').trim_end_matches(".git").to_owned();
    is_repository(&name).then_some(name)
}

fn jira(order: &ImportOrder, secrets: &Secrets, config: &Value) -> (Vec<SourceId>, &'static str) {
    let sections = configured(config, Platform::Jira);
    let domain = sections.iter().map(|section| text(section, "domain")).find(|domain| !domain.is_empty());
    let Some(server) = secrets.jira().or_else(|| secrets.jira_by_configuration(domain?)) else {
        return (
            Vec::new(),
            "no JIRA_DOMAIN in the environment or .env, and no atlassian.net domain in config.json",
        );
    };
    // A key belongs to the server that its section names.
    let host = |address: &str| Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    let is_there = |section: &&Value| {
        let domain = text(section, "domain");
        domain.is_empty()
            || host(&server) == host(&format!("https://{}", domain.trim_start_matches("https://")))
    };
    let mut keys: Vec<String> = order.project_keys.clone();
    if keys.is_empty() {
        // Where the environment leads elsewhere than every section, it leads there for all of them.
        let anywhere = !sections.iter().any(&is_there);
        let there = sections.iter().filter(|section| anywhere || is_there(section));
        keys.extend(there.map(|section| text(section, "projectKey").to_owned()));
        keys.extend(secrets.setting("JIRA_PROJECT_KEY").map(str::to_owned));
        keys.retain(|key| is_project_key(key));
    }
    let sources = keys.iter().map(|key| SourceId::new(Platform::Jira, key, &server)).collect();
    (sources, "no --project-key, and no projectKey in config.json")
}

fn ado(order: &ImportOrder, secrets: &Secrets, config: &Value) -> (Vec<SourceId>, &'static str) {
    let sections = configured(config, Platform::Ado);
    let configured =
        sections.iter().map(|section| text(section, "organization")).find(|name| !name.is_empty());
    let org = match order.ado_org.as_deref() {
        None => secrets.setting("AZURE_DEVOPS_ORG").or(configured).unwrap_or(""),
        Some(org) => org,
    };
    if org.is_empty() && secrets.setting("AZURE_DEVOPS_ORG_URL").is_none() {
        return (Vec::new(), "no --ado-org, no AZURE_DEVOPS_ORG, and no organization in config.json");
    }
    let mut found: Vec<(String, &str)> = order.ado_projects.iter().map(|name| (name.clone(), org)).collect();
    if found.is_empty() {
        // A project belongs to the organisation that its section names.
        found.extend(sections.iter().map(|section| {
            let own = text(section, "organization");
            (
                text(section, "project").to_owned(),
                if own.is_empty() || order.ado_org.is_some() { org } else { own },
            )
        }));
    }
    if found.iter().all(|(name, _)| name.is_empty()) {
        let set = secrets.setting("AZURE_DEVOPS_PROJECTS").or(secrets.setting("AZURE_DEVOPS_PROJECT"));
        found.extend(set.unwrap_or("").split(',').map(|name| (name.to_owned(), org)));
    }
    found.retain(|(name, _)| !name.trim().is_empty());
    let sources = found.iter().map(|(name, org)| SourceId::new(Platform::Ado, name, org)).collect();
    (sources, "no --ado-project, and no project in config.json or AZURE_DEVOPS_PROJECT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn project(config: &Value) -> Project {
        let root = std::env::temp_dir().join(format!("sources-{:x}", disk::random()));
        std::fs::create_dir_all(root.join(".specweave")).unwrap();
        std::fs::write(root.join(".specweave/config.json"), config.to_string()).unwrap();
        Project::find(&root).unwrap()
    }

    fn found(config: &Value, order: ImportOrder, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let project = project(config);
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let caller = crate::net::secrets::Caller { variables, logins: Vec::new() };
        let secrets = Secrets::new(&project, caller, &Default::default());
        let sources = find(&project, &order, &secrets, |_| Vec::new());
        std::fs::remove_dir_all(project.root()).unwrap();
        sources
            .map(|sources| sources.iter().map(SourceId::shown).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_configured_is_found_when_nothing_is_named() {
        let config = json!({"sync": {
            "github": {"enabled": true, "owner": "acme", "repo": "web"},
            "profiles": {
                "a": {"provider": "github", "config": {"owner": "acme", "repo": "api"}},
                "b": {"platform": "jira", "config": {"domain": "acme.atlassian.net", "projectKey": "PAY"}},
                "c": {"provider": "ado", "config": {"organization": "acme", "project": "Nova CAD"}},
            },
            "ado": {"enabled": false, "organization": "old", "project": "Old"},
        }});
        let all = found(&config, ImportOrder::default(), &[]).unwrap();
        assert_eq!(all, ["github acme/web", "github acme/api", "jira PAY", "ado Nova CAD"]);
        let order = ImportOrder { platforms: vec![Platform::Jira], ..Default::default() };
        assert_eq!(found(&config, order, &[]).unwrap(), ["jira PAY"]);
        let order = ImportOrder { repos: vec!["x/y".into()], ..Default::default() };
        assert_eq!(found(&config, order, &[]).unwrap(), ["github x/y"]);
    }

    #[test]
    fn a_domain_that_came_with_the_project_gets_no_token() {
        let config = json!({"sync": {"jira": {"domain": "evil.example", "projectKey": "PAY"}}});
        let order = || ImportOrder { platforms: vec![Platform::Jira], ..Default::default() };
        assert!(found(&config, order(), &[("JIRA_API_TOKEN", "t")]).unwrap_err().contains("JIRA_DOMAIN"));
        assert_eq!(found(&config, order(), &[("JIRA_DOMAIN", "jira.example")]).unwrap(), ["jira PAY"]);
    }

    #[test]
    fn nothing_to_import_says_where_was_looked() {
        let error = found(&json!({}), ImportOrder::default(), &[]).unwrap_err();
        assert!(error.contains("GitHub: no --repo") && error.contains("JIRA: no JIRA_DOMAIN"), "{error}");
    }
}
