//! What comes in with the dependencies: the rules of `deny.toml`, checked without a network and without cargo-deny.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The packages of the whole tree for this platform.
fn packages() -> Vec<Value> {
    let root = env!("CARGO_MANIFEST_DIR");
    let asked = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: Value = serde_json::from_slice(&asked.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// A list of `deny.toml`: the quoted words between a key and the end of its list.
fn list(key: &str) -> BTreeSet<String> {
    let rules = include_str!("../deny.toml");
    let rest = &rules[rules.find(&format!("\n{key} = [")).unwrap()..];
    let list = &rest[..rest.find("\n\n").unwrap_or(rest.len())];
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression, or an older one with a slash, can be met by what is allowed.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let one_of = |part: &str| {
        let part = part.trim_matches(|c| c == '(' || c == ')' || c == ' ');
        part.split(" OR ").flat_map(|part| part.split('/')).any(|license| allowed.contains(license.trim()))
    };
    expression.split(" AND ").all(one_of)
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed_and_none_is_banned() {
    let (allowed, banned) = (list("allow"), list("deny"));
    assert!(allowed.contains("MIT") && banned.contains("openssl-sys"), "{allowed:?} {banned:?}");
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|package| {
            let license = package["license"].as_str().unwrap_or("none");
            !is_met(license, &allowed) || banned.contains(package["name"].as_str().unwrap())
        })
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!is_met("GPL-3.0", &allowed) && !is_met("MIT AND GPL-3.0", &allowed));
    assert!(is_met("GPL-3.0 OR MIT", &allowed) && is_met("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
}

#[test]
fn every_dependency_comes_from_the_registry_and_no_more_are_there_twice() {
    // Each costs a build; one that goes is to be taken off this number.
    const TWICE: usize = 12;
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap().to_owned();
        let source = package["source"].as_str();
        let is_ours = name == "specweave-jobs" && source.is_none();
        assert!(
            is_ours || source.is_some_and(|source| source.starts_with("registry+")),
            "{name}: {source:?}"
        );
        versions.entry(name).or_default().insert(package["version"].as_str().unwrap().to_owned());
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.len() <= TWICE, "{versions:#?}");
}
