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

#[test]
fn github_knows_every_request_that_a_sync_sends() {
    let Some(clients) = clients() else { return };
    let mut world = World::new();
    let trackers = Trackers::start();
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let limits = serde_json::json!({"writeGapMs": 0});
    let profile = serde_json::json!({"provider": "github", "config": {"owner": "acme", "repo": "web"}, "rateLimits": limits});
    let config = serde_json::json!({"sync": {"profiles": {"it": profile}}});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    let folder = world.project.join(".specweave/docs/internal/specs/web/FS-001");
    std::fs::create_dir_all(&folder).unwrap();
    let path = |number: u32| folder.join(format!("us-00{number}-x.md"));
    for (number, status) in [(1, "active"), (2, "completed"), (3, "cancelled"), (4, "not_started")] {
        let text = format!(
            "---\nid: US-00{number}\ntitle: x\nstatus: {status}\npriority: P2\nlabels: [a]\n---\n\ntext\n\n## Tasks\n\n- [ ] one\n"
        );
        std::fs::write(path(number), text).unwrap();
    }
    world.run(["sync", "--follow"]).ok();
    for (number, from, to) in [
        (1, "- [ ]", "- [x]"),
        (2, "completed", "active"),
        (3, "labels: [a]", "labels: [b]"),
        (4, "P2", "P0"),
    ] {
        let text = std::fs::read_to_string(path(number)).unwrap();
        std::fs::write(path(number), text.replace(from, to)).unwrap();
    }
    world.run(["sync", "--follow"]).ok();
    let bodies = trackers.state.bodies.lock().unwrap().clone();
    let file = world.dir.join("requests.json");
    std::fs::write(&file, serde_json::to_vec(&bodies).unwrap()).unwrap();
    let arguments = [clients.join("trackers.mjs"), "--requests".into(), file];
    let said = world.finish(world.program("node", arguments)).ok();
    assert_eq!(said.json()["requests"], bodies.len());
    assert!(bodies.len() >= 11, "{bodies:?}");
}
