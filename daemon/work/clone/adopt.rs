//! Taking over a clone job that SpecWeave wrote: its `config.json` becomes the plan of a job of ours, under the same
//! id. Logins that stand in its addresses are taken out; they are used once, from memory. Everything here blocks.

use super::outputs::{Config, Refused, Repository};
use crate::job::MOST_ITEMS;
use crate::job::order::{CloneOrder, Order};
use crate::model::repository::{Source, split_login};
use crate::net::secrets::Caller;
use crate::work::adoption::{AdoptError, Adoption, Left};
use crate::work::config::read_config;
use std::path::{Component, Path};

/// Reads the job's `config.json`; its logins go to `caller`.
pub fn read(left: &Left, caller: &mut Caller) -> Result<Adoption, AdoptError> {
    let id = &left.id;
    let mut config: Config = read_config(&left.files, None)?;
    if config.repositories.is_empty() {
        return Err(AdoptError::Nothing);
    }
    if config.count() > MOST_ITEMS {
        return Err(AdoptError::TooMany);
    }
    let secrets = vet(&mut config, caller);
    // The plan stands in the file: what cannot be asked for once more is cloned from there all the same.
    let sources = config.repositories.iter().filter_map(|one| Source::parse(&one.clone_url).ok()).collect();
    let order = Order::Clone(Box::new(CloneOrder { sources, ..Default::default() }));
    let notices = match secrets {
        0 => Vec::new(),
        count => vec![format!(
            "{count} addresses in config.json of job {id} held a token in clear text. It is used this once, from \
             memory, and was taken out of the file. Revoke it: the file was readable by others and not ignored by \
             git, and clones that SpecWeave made carry it in .git/config (specweave-jobs doctor names them)"
        )],
    };
    Ok(Adoption { order, config: serde_json::to_value(&config).expect("plain data serialises"), notices })
}

/// Takes out what the file may not hold, wherever it came from: logins, which go to `caller`, and places outside of
/// the project. How many addresses held a login.
pub fn vet(config: &mut Config, caller: &mut Caller) -> usize {
    refuse_places_outside(config);
    take_logins(config, caller)
}

fn take_logins(config: &mut Config, caller: &mut Caller) -> usize {
    let mut count = 0;
    for repository in &mut config.repositories {
        let (clean, login) = split_login(&repository.clone_url);
        count += usize::from(clean != repository.clone_url);
        if let Some((user, secret)) = login {
            caller.offer(&clean, user, &secret);
        }
        repository.clone_url = clean;
    }
    count
}

/// The file may have come with a clone: what it calls a place of a repository must be one.
fn refuse_places_outside(config: &mut Config) {
    let (inside, outside): (Vec<Repository>, Vec<Repository>) =
        std::mem::take(&mut config.repositories).into_iter().partition(|one| is_place(&one.path));
    config.repositories = inside;
    config.refused.extend(outside.into_iter().map(|one| Refused {
        name: one.name,
        reason: format!("its place {:?} is not below repositories/", one.path),
    }));
}

fn is_place(path: &str) -> bool {
    let parts: Vec<Component> = Path::new(path).components().collect();
    parts.len() > 1
        && parts[0].as_os_str() == "repositories"
        && parts.iter().all(|part| matches!(part, Component::Normal(name) if name != &".git"))
        && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outside_the_folder_of_repositories_is_refused() {
        for bad in [
            "",
            "repositories",
            "../x",
            "/etc/x",
            "repositories/../x",
            "repositories/a/../../.ssh",
            ".git/hooks/x",
        ] {
            assert!(!is_place(bad), "{bad}");
        }
        assert!(is_place("repositories/acme/x") && is_place("repositories/acme/project/x"));
        assert!(!is_place("repositories/acme/x/.git/hooks"));
    }
}
