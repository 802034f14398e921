//! Taking over an import that SpecWeave wrote: its `config.json` becomes an order of ours, under the same id. Tokens
//! that stand in it are taken out and used once, from memory. Everything here blocks.

use crate::job::order::{ImportOrder, Order, Since, is_project_key, is_repository};
use crate::net::secrets::Caller;
use crate::work::adoption::{AdoptError, Adoption, Left};
use crate::work::config::read_config;
use serde_json::{Map, Value};

/// The keys under which SpecWeave writes secrets, wherever they stand.
const SECRETS: [&str; 4] = ["githubToken", "token", "apiToken", "pat"];

/// Reads the job's `config.json`; its tokens go to `caller`, where that has none of its own.
pub fn read(left: &Left, caller: &mut Caller) -> Result<Adoption, AdoptError> {
    let id = &left.id;
    let mut config: Map<String, Value> = read_config(&left.files, None)?;
    let Some(coordinator) = config.get_mut("coordinatorConfig") else { return Err(AdoptError::Nothing) };
    let order = requested(coordinator, caller);
    if order.repos.is_empty() && order.project_keys.is_empty() && order.ado_projects.is_empty() {
        return Err(AdoptError::Nothing);
    }
    let count = scrub(coordinator);
    // SpecWeave would start a worker of its own from it.
    let import = coordinator["importConfig"].take();
    config.remove("coordinatorConfig");
    config.insert("importConfig".into(), import);
    let notices = match count {
        0 => Vec::new(),
        count => vec![format!(
            "{count} tokens stood in config.json of job {id} in clear text. They are used this once, from memory, and \
             were taken out of the file. Revoke them: the file was readable by others and not ignored by git"
        )],
    };
    Ok(Adoption { order: Order::Import(order), config: config.into(), notices })
}

/// What was asked for, and who may ask.
fn requested(coordinator: &Value, caller: &mut Caller) -> ImportOrder {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_owned();
    let mut order = ImportOrder::default();
    let single = Some(&coordinator["github"]).filter(|github| github.is_object());
    let several = coordinator["githubRepositories"].as_array().into_iter().flatten();
    for repository in several.chain(single) {
        order.repos.push(format!("{}/{}", text(repository, "owner"), text(repository, "repo")));
    }
    let (jira, ado) = (&coordinator["jira"], &coordinator["ado"]);
    let mappings = jira["projectMappings"].as_array().into_iter().flatten();
    order.project_keys = mappings.map(|mapping| text(mapping, "projectKey")).collect();
    order.project_keys.extend([text(jira, "projectKey"), text(jira, "project")]);
    // The file may have come with a checkout: what cannot be such a name is not asked for.
    order.project_keys.retain(|key| is_project_key(key));
    order.repos.retain(|name| is_repository(name));
    order.project_keys.dedup();
    // Several projects stand as mappings, beside or instead of the one.
    let mapped = ado["projectMappings"].as_array().into_iter().flatten();
    order.ado_projects = mapped.map(|mapping| text(mapping, "projectName")).collect();
    order.ado_projects.push(text(ado, "project"));
    order.ado_projects.retain(|name| !name.is_empty());
    let mut known = std::collections::HashSet::new();
    order.ado_projects.retain(|name| known.insert(name.clone()));
    let import = &coordinator["importConfig"];
    order.since = import["timeRangeMonths"]
        .as_u64()
        .map_or(Since::Last, |months| Since::Months(months.clamp(1, 1_200) as u32));
    order.open_only = import["includeClosed"] != true;
    let labels = import["labels"].as_array().into_iter().flatten();
    order.labels = labels.filter_map(|label| label.as_str().map(str::to_owned)).collect();

    let github = match text(coordinator, "githubToken") {
        token if token.is_empty() => text(&coordinator["github"], "token"),
        token => token,
    };
    offer(caller, None, &[("GITHUB_TOKEN", github)]);
    let tokens = [("JIRA_EMAIL", text(jira, "email")), ("JIRA_API_TOKEN", text(jira, "apiToken"))];
    offer(caller, Some(("JIRA_DOMAIN", text(jira, "host"))), &tokens);
    offer(
        caller,
        Some(("AZURE_DEVOPS_ORG_URL", text(ado, "orgUrl"))),
        &[("AZURE_DEVOPS_PAT", text(ado, "pat"))],
    );
    order
}

/// Gives a file's tokens to a caller that has none. The file may have come with a clone: of its addresses only those of
/// the vendors' own clouds are believed.
fn offer(caller: &mut Caller, address: Option<(&str, String)>, tokens: &[(&'static str, String)]) {
    if let Some((name, address)) = address.filter(|(_, address)| is_vendors(address))
        && !caller.variables.contains_key(name)
    {
        caller.variables.insert(name.to_owned(), address);
    }
    for (name, token) in tokens.iter().filter(|(_, token)| !token.is_empty()) {
        caller.variables.entry((*name).to_owned()).or_insert_with(|| token.clone());
    }
}

fn is_vendors(address: &str) -> bool {
    let address = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let Ok(url) = url::Url::parse(&address) else { return false };
    let host = url.host_str().unwrap_or("");
    let known = host == "dev.azure.com"
        || [".visualstudio.com", ".atlassian.net"].iter().any(|end| host.ends_with(end));
    known && url.scheme() == "https" && url.username().is_empty() && url.password().is_none()
}

/// Takes the secrets out; how many there were.
fn scrub(value: &mut Value) -> usize {
    match value {
        Value::Object(map) => {
            let before = map.len();
            map.retain(|key, value| !(SECRETS.contains(&key.as_str()) && value.is_string()));
            before - map.len() + map.values_mut().map(scrub).sum::<usize>()
        }
        Value::Array(values) => values.iter_mut().map(scrub).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_projects_of_azure_devops_that_are_mapped_are_taken_over_once() {
        let config = json!({"ado": {
            "orgUrl": "https://dev.azure.com/acme", "project": "Nova",
            "projectMappings": [{"projectName": "Core"}, {"projectName": "Nova"}, {"other": 1}],
        }});
        assert_eq!(requested(&config, &mut Caller::default()).ado_projects, ["Core", "Nova"]);
    }

    #[test]
    fn tokens_are_taken_out_and_an_address_of_the_files_is_not_believed() {
        let mut config = json!({
            "githubRepositories": [{"owner": "acme", "repo": "web"}],
            "githubToken": "ghp_x",
            "jira": {"host": "evil.example", "email": "a@b", "apiToken": "t", "projectMappings": [{"projectKey": "PAY"}]},
            "importConfig": {"timeRangeMonths": 3, "includeClosed": true},
        });
        let mut caller = Caller::default();
        caller.variables.insert("JIRA_API_TOKEN".into(), "mine".into());
        caller.variables.insert("GITHUB_TOKEN".into(), "mine".into());
        let order = requested(&config, &mut caller);
        assert_eq!((order.repos, order.project_keys), (vec!["acme/web".to_owned()], vec!["PAY".to_owned()]));
        assert_eq!((order.since, order.open_only), (Since::Months(3), false));
        let variable = |name: &str| caller.variables[name].as_str();
        assert_eq!((variable("JIRA_API_TOKEN"), variable("GITHUB_TOKEN")), ("mine", "mine"));
        assert!(!caller.variables.contains_key("JIRA_DOMAIN"));
        assert!(is_vendors("acme.atlassian.net") && is_vendors("https://dev.azure.com/acme"));
        assert!(!is_vendors("https://dev.azure.com.evil/acme") && !is_vendors("http://acme.atlassian.net"));
        assert_eq!(scrub(&mut config), 2);
        assert!(!config.to_string().contains("ghp_x") && config["jira"]["email"] == "a@b");
    }
}
