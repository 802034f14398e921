//! Repositories found through GitHub's and Azure DevOps' listings.

use crate::world::World;
use crate::world::git_server::{Fault, GitServer};
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

/// A project, a server of repositories, and what one of the other forges lists of them under `name`.
fn world_of_forge(name: &str, entry: impl Fn(&GitServer, &str, usize) -> Value) -> (World, GitServer) {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 5);
    let server = GitServer::http(&root);
    let all = names.iter().enumerate().map(|(place, one)| entry(&server, one, place)).collect();
    server.state.listings.lock().unwrap().insert(name.into(), all);
    server.require_token("t0ken-of-a-forge");
    (world, server)
}

#[test]
fn a_group_of_gitlab_is_listed_with_its_subgroups_and_cloned_with_its_token() {
    let (mut world, server) = world_of_forge("acme%2Fplatform", |server, name, place| {
        let forked = if place == 1 { json!({"id": 7}) } else { Value::Null };
        json!({
            "id": place, "path": name, "http_url_to_repo": server.repository(name),
            "ssh_url_to_repo": "git@unused:x.git", "archived": place == 2, "forked_from_project": forked,
        })
    });
    world.set("GITLAB_HOST", server.url()).set("GITLAB_TOKEN", "t0ken-of-a-forge");
    let id = world.start_clone(["--gitlab-group", "acme/platform"]);
    let job = world.wait(&id);
    assert_eq!(job["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    assert_eq!(cloned(&world), ["repo-000", "repo-003", "repo-004"]);
    assert_eq!(server.requests("/api/v4/groups"), 3);
    let log = world.run(["--logs", &id]).ok();
    log.says("looked at 5 repositories of the GitLab group acme/platform").says("1 archived").says("1 forks");
    assert_eq!(job["title"], "3 repositories of acme/platform");
}

#[test]
fn an_organisation_of_gitea_is_listed_to_its_end_and_says_where_it_is_to_be_named() {
    let (mut world, server) = world_of_forge("acme", |server, name, place| {
        json!({
            "name": name, "clone_url": server.repository(name), "ssh_url": "git@unused:x.git",
            "archived": false, "fork": place == 0, "parent": null,
        })
    });
    let said = world.run(["clone", "--gitea-org", "acme", "--follow"]).with_status(1);
    assert!(said.stdout.contains("GITEA_SERVER_URL"), "{said:?}");
    world.set("GITEA_SERVER_URL", server.url()).set("GITEA_SERVER_TOKEN", "t0ken-of-a-forge");
    let id = world.start_clone(["--gitea-org", "acme"]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    assert_eq!(cloned(&world), ["repo-001", "repo-002", "repo-003", "repo-004"]);
    // A server that gives one page again and again has given all that it has.
    let listing =
        world.run(["clone", "--gitea-org", "acme", "--include-forks", "--dry-run", "--json"]).ok().json();
    assert_eq!(listing["items"].as_array().unwrap().len(), 5);
}

#[test]
fn a_workspace_of_bitbucket_is_listed_without_whoever_asks_and_says_which_token_it_wants() {
    let address = |server: &GitServer, name: &str| {
        // Bitbucket names whoever asks.
        server.repository(name).replace("://", "://ann@")
    };
    let (mut world, server) = world_of_forge("acme", |server, name, _| {
        let links = [
            json!({"name": "ssh", "href": "git@unused:x.git"}),
            json!({"name": "https", "href": address(server, name)}),
        ];
        json!({"slug": name, "links": {"clone": links}, "parent": null})
    });
    let api = format!("{}/2.0", server.url());
    world.set("BITBUCKET_API_URL", &api).set("BITBUCKET_TOKEN", "t0ken-of-a-forge");
    let id = world.start_clone(["--bitbucket", "acme"]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    assert_eq!(cloned(&world).len(), 5);
    let journal = crate::world::read(&world.state().join("jobs").join(&id).join("journal.jsonl"));
    assert!(!journal.contains("t0ken-of-a-forge") && !journal.contains("ann@"), "{journal}");
    world.unset("BITBUCKET_TOKEN");
    let said = world.run(["clone", "--bitbucket", "acme", "--dry-run"]).with_status(1);
    assert!(
        said.stderr.contains("Authentication failed") && said.stderr.contains("BITBUCKET_TOKEN"),
        "{said:?}"
    );
}

#[test]
fn a_listing_is_narrowed_by_topic_language_and_last_activity() {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 4);
    let server = GitServer::http(&root);
    let about = |name: &str, topics: &[&str], language: Option<&str>, pushed_at: Option<&str>| {
        repository(&server, name, json!({"topics": topics, "language": language, "pushed_at": pushed_at}))
    };
    let long_ago = Some("2019-03-01T12:00:00Z");
    let yesterday = specweave_jobs::clock::iso(specweave_jobs::clock::now() - 86_400_000);
    server.lists(vec![
        about("repo-000", &["cli", "rust"], Some("Rust"), Some(&yesterday)),
        about("repo-001", &["cli"], Some("Go"), long_ago),
        about("repo-002", &["rust"], Some("Rust"), long_ago),
        about("repo-003", &[], None, None),
    ]);
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url()));
    let named = |filters: &[&str]| -> Vec<String> {
        let mut arguments = vec!["clone", "--github-org", "acme", "--dry-run", "--json"];
        arguments.extend(filters);
        let listing = world.run(arguments).ok().json();
        let items = listing["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named(&["--topic", "CLI"]), ["repo-000", "repo-001"]);
    assert_eq!(named(&["--topic", "cli", "--topic", "rust"]), ["repo-000"]);
    assert_eq!(named(&["--language", "rust", "--language", "go"]), ["repo-000", "repo-001", "repo-002"]);
    assert_eq!(named(&["--active-since", "2w"]), ["repo-000"]);
    assert_eq!(named(&["--active-since", "2019-01-31", "--language", "rust"]), ["repo-000", "repo-002"]);

    let said = world.run(["clone", "--github-org", "acme", "--topic", "none", "-n"]).with_status(1);
    assert!(said.stderr.contains("left out 4 of other topics, languages or times"), "{said:?}");
    let said = world.run(["clone", "acme/repo-000", "--topic", "cli", "-n"]).with_status(2);
    assert!(said.stderr.contains("told by listings alone"), "{said:?}");
    let said = world.run(["clone", "--github-org", "acme", "--active-since", "last", "-n"]).with_status(2);
    assert!(said.stderr.contains("\"last\" is no time"), "{said:?}");

    let id = world.start_clone(["--github-org", "acme", "--topic", "cli", "--active-since", "2w"]);
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_eq!(cloned(&world), ["repo-000"]);
}

#[test]
fn what_a_listing_does_not_tell_is_no_reason_to_leave_anything_out() {
    let (mut world, server) = world_of_forge("acme", |server, name, _| {
        json!({
            "path": name, "http_url_to_repo": server.repository(name), "topics": ["cli"],
            "last_activity_at": "2019-03-01T12:00:00.123Z",
        })
    });
    world.set("GITLAB_HOST", server.url()).set("GITLAB_TOKEN", "t0ken-of-a-forge");
    world
        .run(["clone", "--gitlab-group", "acme", "--topic", "cli", "--active-since", "2019-03-01", "-n"])
        .ok();
    let said = world.run(["clone", "--gitlab-group", "acme", "--language", "rust", "-n"]).with_status(2);
    assert!(said.stderr.contains("the GitLab group acme does not tell languages"), "{said:?}");
}

#[test]
fn the_largest_are_cloned_first_and_the_time_that_is_left_goes_by_their_sizes() {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 4);
    let server = GitServer::http(&root);
    let sized = |name: &str, kilobytes: u64| repository(&server, name, json!({"size": kilobytes}));
    // One that has no size is taken for a usual one.
    server.lists(vec![
        sized("repo-000", 1),
        repository(&server, "repo-001", json!({"size": -1})),
        sized("repo-002", 900_000),
        sized("repo-003", 99_999),
    ]);
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url()));
    server.fault("repo-001", Fault::Silent);
    let id = world.start_clone(["--github-org", "acme", "-j", "1"]);
    let job = world.until(&id, "the largest", |job| job["progress"]["current"] == 1);
    assert_eq!(job["progress"]["current_item"], "repo-002", "{job}");
    // Three of four items are left, and less than half of the bytes.
    let job = world.until(
        &id,
        "a rate of whole seconds",
        |job| matches!(job["progress"]["rate"].as_f64(), Some(rate) if rate > 0.0 && rate < 0.4),
    );
    let (rate, eta) =
        (job["progress"]["rate"].as_f64().unwrap(), job["progress"]["eta_seconds"].as_f64().unwrap());
    assert!(eta < 1.5 / rate, "{job}");
    server.heal("repo-001");
    world.run(["kill", &id]).ok();
    world.run(["resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    let log = world.run(["--logs", &id]).ok().stdout;
    let order: Vec<&str> = log.lines().filter_map(|line| line.split("Cloned: ").nth(1)).collect();
    let order: Vec<&str> = order.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(order, ["repo-002", "repo-001", "repo-003", "repo-000"]);
}
