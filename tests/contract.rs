//! Stock gRPC clients in other languages just work: list, follow, health, reflection.

use crate::world::World;
use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::make_many;
use crate::world::trackers::{TOKEN, Trackers};
use std::path::PathBuf;

/// Where `tests/clients/install.sh` put the libraries; `None`, loudly, where it was not run.
pub fn clients() -> Option<PathBuf> {
    let folder = std::env::var_os("SPECWEAVE_JOBS_TEST_CLIENTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: run tests/clients/install.sh DIR and set SPECWEAVE_JOBS_TEST_CLIENTS=DIR");
    }
    folder
}

struct Scene {
    world: World,
    server: GitServer,
    id: String,
    endpoint: String,
}

/// A job that runs on until it is healed.
fn scene() -> Scene {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 5);
    let server = GitServer::http(&root);
    server.fault("repo-004", Fault::Slow);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let endpoint = world.endpoint()["endpoint"].as_str().unwrap().to_owned();
    Scene { world, server, id, endpoint }
}

#[test]
fn a_stock_node_client_lists_and_follows() {
    let Some(clients) = clients() else { return };
    let scene = scene();
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let script = clients.join("client.js");
    let mut command =
        scene.world.program("node", [script.to_str().unwrap(), &scene.endpoint, protos, &scene.id]);
    command.current_dir(&clients);
    let said = scene.world.finish(command).ok();
    let id = &scene.id;
    let said = said.says(&format!("{{\"list\":[[\"{id}\",\"JOB_STATE_"));
    let said = said.says("{\"missing\":[5,\"there is no job \\\"ffffffff\\\"\"]}");
    said.says(&format!("{{\"followed\":[\"{id}\",\"JOB_STATE_COMPLETED\",5,5]}}"));
    drop(scene.server);
}

#[test]
fn a_stock_python_client_learns_the_contract_by_reflection() {
    let Some(clients) = clients() else { return };
    let scene = scene();
    let script = clients.join("client.py");
    let python = clients.join("python/bin/python3");
    let command = scene.world.program(python, [script.to_str().unwrap(), &scene.endpoint, &scene.id]);
    let said = scene.world.finish(command).ok();
    let said = said.says("\"specweave.jobs.v1.JobsService\"").says("\"grpc.health.v1.Health\"");
    let said = said.says(&format!("{{\"list\": [\"{}\"]}}", scene.id));
    said.says(&format!("{{\"followed\": [\"{}\", 5, 5]}}", scene.id));
    drop(scene.server);
}

#[test]
fn the_trackers_own_clients_read_the_fakes_and_github_knows_its_issues() {
    let Some(clients) = clients() else { return };
    let world = World::new();
    let trackers = Trackers::seeded(330);
    let arguments =
        [clients.join("trackers.mjs").display().to_string(), trackers.url(), TOKEN.into(), "330".into()];
    let said = world.finish(world.program("node", arguments)).ok();
    assert_eq!(said.json(), serde_json::json!({"github": 330, "jira": 330, "ado": 330}));
}
