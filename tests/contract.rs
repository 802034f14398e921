//! Stock gRPC clients in other languages just work, and the trackers' own clients read the fakes.

use crate::world::World;
use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::make_many;
use crate::world::trackers::{TOKEN, Trackers};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where `tests/clients/install.sh` put the libraries; `None`, loudly, where it was not run.
pub fn clients() -> Option<PathBuf> {
    let folder = std::env::var_os("SPECWEAVE_JOBS_TEST_CLIENTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: run tests/clients/install.sh DIR and set SPECWEAVE_JOBS_TEST_CLIENTS=DIR");
    }
    folder
}

/// A client takes every call that an editor needs: starts a job, gets, lists and watches it, follows it over a crash of the daemon
/// and over its stop, reads its log, kills it, resumes it and follows it to its end, asks for what is not there, and removes it.
fn takes_every_call(client: &[&Path]) {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 5);
    let server = GitServer::http(&root);
    server.fault("repo-004", Fault::Silent);
    let sources: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let jobs = env!("CARGO_BIN_EXE_specweave-jobs");
    let said = |part: &str, rest: &[String]| -> Vec<Value> {
        let mut command = world.program(client[0], &client[1..]);
        command.args([part, jobs]).args(rest);
        let said = world.finish(command).ok();
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };

    let begun = said("begin", &sources);
    let id = begun.last().unwrap()["killed"][1].as_str().unwrap().to_owned();
    let wanted = [
        json!({"started": ["clone-repos", true]}),
        json!({"watched": true}),
        json!({"followed": 4}),
        json!({"got": [true, 5, 1]}),
        json!({"crashed": true}),
        json!({"again": [true, 4]}),
        json!({"stopped": "SHUTTING_DOWN"}),
        json!({"and again": 4}),
        json!({"logged": true}),
        json!({"killed": [true, id]}),
    ];
    assert_eq!(begun, wanted);

    server.heal("repo-004");
    let reasons =
        ["JOB_NOT_FOUND", "INVALID_SPEC", "JOB_NOT_KILLABLE", "JOB_NOT_RESUMABLE", "CONFLICT_NOT_FOUND"];
    let wanted = [json!({"ended": [true, 5]}), json!({"refused": reasons}), json!({"left": [0, 0]})];
    assert_eq!(said("end", &[id]), wanted);
}

#[test]
fn a_stock_node_client_takes_every_call() {
    let Some(clients) = clients() else { return };
    let protos = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto"));
    takes_every_call(&[Path::new("node"), &clients.join("client.js"), protos]);
}

#[test]
fn a_typed_node_client_takes_every_call() {
    let Some(clients) = clients() else { return };
    takes_every_call(&[Path::new("node"), &clients.join("contract.js")]);
}

#[test]
fn a_stock_python_client_learns_the_contract_by_reflection_and_takes_every_call() {
    let Some(clients) = clients() else { return };
    takes_every_call(&[&clients.join("python/bin/python3"), &clients.join("client.py")]);
}

#[test]
fn a_stock_go_client_takes_every_call() {
    let Some(clients) = clients() else { return };
    let client = clients.join("client-go");
    if !client.exists() {
        eprintln!("SKIPPED: the client in Go is built with Debian's packages");
        return;
    }
    takes_every_call(&[&client]);
}

#[test]
fn the_trackers_own_clients_read_the_fakes_and_github_knows_its_issues() {
    let Some(clients) = clients() else { return };
    let world = World::new();
    let trackers = Trackers::seeded(330);
    let arguments =
        [clients.join("trackers.mjs").display().to_string(), trackers.url(), TOKEN.into(), "330".into()];
    let said = world.finish(world.program("node", arguments)).ok();
    assert_eq!(said.json(), json!({"github": 330, "jira": 330, "ado": 330}));
}

#[test]
fn github_knows_every_request_that_a_sync_sends() {
    let Some(clients) = clients() else { return };
    let mut world = World::new();
    let trackers = Trackers::start();
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let limits = json!({"writeGapMs": 0});
    let profile =
        json!({"provider": "github", "config": {"owner": "acme", "repo": "web"}, "rateLimits": limits});
    let config = json!({"sync": {"profiles": {"it": profile}}});
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
