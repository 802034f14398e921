//! Repositories found through GitHub's and Azure DevOps' listings.

use crate::world::World;
use crate::world::git_server::GitServer;
use crate::world::repositories::make_many;
use serde_json::{Value, json};

fn repository(server: &GitServer, name: &str, more: Value) -> Value {
    let mut entry = server.listed(name);
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

fn world_with_github() -> (World, GitServer) {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 6);
    let server = GitServer::http(&root);
    let all = vec![
        repository(&server, "repo-000", json!({})),
        repository(&server, "repo-001", json!({"archived": true})),
        repository(&server, "repo-002", json!({"fork": true})),
        repository(&server, "repo-003", json!({})),
        repository(&server, "repo-004", json!({})),
    ];
    server.lists(all);
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url()));
    (world, server)
}

fn cloned(world: &World) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(world.project.join("repositories/acme"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_organisation_is_listed_page_by_page_and_filtered() {
    let (world, server) = world_with_github();
    let id = world.start_clone(["--github-org", "acme", "--exclude", "repo-004"]);
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(cloned(&world), ["repo-000", "repo-003"]);
    assert_eq!(server.requests("/orgs/acme/repos"), 3);
    let log = world.run(["--logs", &id]).ok();
    log.says("looked at 5 repositories of the GitHub organisation acme").says("1 archived").says("1 forks");

    let id = world.start_clone(["--github-org", "acme", "--include-archived", "--include-forks"]);
    let job = world.wait(&id);
    assert_eq!((&job["progress"]["total"], &job["progress"]["skipped"]), (&5.into(), &2.into()));
}

#[test]
fn an_owner_with_a_glob_and_a_user_are_listed_too() {
    let (world, _server) = world_with_github();
    let id = world.start_clone(["acme/*-00[34]"]);
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(cloned(&world), ["repo-003", "repo-004"]);
    let id = world.start_clone(["--github-user", "acme", "--match", "regex:000$"]);
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(cloned(&world), ["repo-000", "repo-003", "repo-004"]);
}

#[test]
fn a_short_name_is_cloned_from_the_configured_github() {
    let (world, _server) = world_with_github();
    let id = world.start_clone(["acme/repo-005"]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_eq!(cloned(&world), ["repo-005"]);
}

#[test]
fn an_empty_selection_says_what_was_looked_at() {
    let (world, _server) = world_with_github();
    let said = world.run(["clone", "--github-org", "acme", "--match", "zzz", "--follow"]).with_status(1);
    said.says("nothing to clone: looked at 5 repositories of the GitHub organisation acme, left out 5");
    let said = world.run(["clone", "--github-org", "acme", "--match", "zzz", "--dry-run"]).with_status(1);
    said.complains("looked at 5 repositories");
    let said = world.run(["clone", "--github-org", "nobody", "--follow"]).with_status(1);
    said.says("the GitHub user nobody was not found");
}

#[test]
fn a_wrong_token_fails_the_job_with_the_documented_words() {
    let (mut world, server) = world_with_github();
    server.require_token("right-token-123456");
    world.set("GITHUB_TOKEN", "wrong-token-123456");
    let id = world.start_clone(["--github-org", "acme"]);
    let job = world.wait(&id);
    assert_eq!(job["state"], "failed");
    world
        .run(["--all"])
        .ok()
        .says("Failed (1):")
        .says("Error: Authentication failed - token expired")
        .says("Retry: Update token, then specweave-jobs --resume");
    world.set("GITHUB_TOKEN", "right-token-123456");
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(cloned(&world), ["repo-000", "repo-003", "repo-004"]);
}

#[test]
fn an_azure_devops_project_is_listed_with_its_continuation() {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 4);
    let server = GitServer::http(&root);
    let entry = |name: &str, disabled: bool| {
        let address = server.repository(name).replace("http://", "http://acme@");
        json!({"name": name, "remoteUrl": address, "isDisabled": disabled})
    };
    let all = vec![entry("repo-000", false), entry("repo-001", true), entry("repo-002", false)];
    server.state.listings.lock().unwrap().insert("Nova%20CAD".into(), all);
    world.set("AZURE_DEVOPS_ORG_URL", format!("{}/acme", server.url()));
    server.require_token("ado-pat-123456");
    world.set("AZURE_DEVOPS_PAT", "ado-pat-123456");
    let id = world.start_clone(["--ado-org", "acme", "--ado-project", "Nova CAD"]);
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_eq!(cloned(&world), ["repo-000", "repo-002"]);
    assert_eq!(server.requests("continuationToken=2"), 1);
}
