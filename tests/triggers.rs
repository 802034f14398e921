//! Every trigger that SpecWeave documents ends in a job of the daemon: its own launchers hand over, and what they left dead
//! is taken over.

use crate::contract::clients;
use crate::world::git_server::GitServer;
use crate::world::repositories::{assert_whole, make_many};
use crate::world::trackers::{TOKEN, Trackers};
use crate::world::{Said, World, eventually, read};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A project with an organisation on a server that SpecWeave takes for GitHub, and SpecWeave itself.
struct Scene {
    world: World,
    server: GitServer,
    names: Vec<String>,
    specweave: PathBuf,
    clients: PathBuf,
}

impl Scene {
    fn new(count: usize) -> Option<Self> {
        let clients = clients()?;
        let mut world = World::new();
        std::fs::write(world.project.join(".specweave/config.json"), "{}").unwrap();
        let root = world.dir.join("remotes");
        let names = make_many(&root, count);
        let server = GitServer::http(&root);
        let entry = |name: &String| {
            json!({
                "name": name, "owner": {"login": "acme"}, "clone_url": server.repository(name),
                "archived": false, "fork": false,
            })
        };
        server.state.listings.lock().unwrap().insert("acme".into(), names.iter().map(entry).collect());
        world.set("GITHUB_API_URL", format!("{}/api/v3", server.url())).set("GH_TOKEN", "ghp_of_a_test");
        world.set("NODE_OPTIONS", format!("--require={}", clients.join("github-here.cjs").display()));
        let specweave = clients.join("node_modules/specweave");
        Some(Self { world, server, names, specweave, clients })
    }

    /// As a shell does it that reads what `hook install --shell` prints.
    fn hook(&mut self) {
        let line = self.world.run(["hook", "install", "--shell"]).ok().stdout;
        let script = format!("{line}printf %s \"$NODE_OPTIONS\"");
        let options = self.world.finish(self.world.program("sh", ["-c", &script])).ok().stdout;
        assert!(options.contains("github-here.cjs") && options.contains("hand-over.cjs"), "{options}");
        self.world.set("NODE_OPTIONS", options);
    }

    /// SpecWeave's command.
    fn specweave(&self, arguments: &[&str]) -> Said {
        let program = self.specweave.join("bin/specweave.js");
        let mut command = self.world.program("node", [program]);
        command.args(arguments);
        self.world.finish(command)
    }

    /// The only job of the list, once it has ended.
    fn ended(&self) -> Value {
        // SpecWeave writes the list in place: half of it may stand there.
        let list = self.world.state().join("background-jobs.json");
        let only = || -> Value {
            let all: Value = serde_json::from_str(&read(&list)).unwrap_or_default();
            all["jobs"][0].clone()
        };
        eventually("the job ends", || {
            only()["status"].as_str().is_some_and(|status| status.starts_with("completed"))
        });
        only()
    }

    /// All that the job names stands there.
    fn assert_cloned(&self, job: &Value) {
        let named = job["config"]["repositories"].as_array().unwrap();
        assert_eq!(named.len(), self.names.len(), "{job}");
        for name in &self.names {
            let clone = self.world.project.join("repositories/acme").join(name);
            assert_whole(&clone, &self.world.dir.join(format!("remotes/acme/{name}.git")));
        }
    }

    fn log(&self, job: &Value) -> String {
        let id = job["id"].as_str().unwrap();
        read(&self.world.project.join(format!(".specweave/state/jobs/{id}/worker.log")))
    }
}

#[test]
fn what_specweaves_own_command_starts_becomes_a_job_of_the_daemon() {
    let Some(mut scene) = Scene::new(2) else { return };
    scene.hook();
    scene.specweave(&["get", "acme/*"]).ok().says("started.");
    let job = scene.ended();
    assert_eq!((&job["owner"], &job["status"]), (&json!("specweave-jobsd"), &json!("completed")), "{job}");
    scene.assert_cloned(&job);
    assert!(scene.log(&job).contains("Starting clone operations"), "{}", scene.log(&job));
    assert_eq!(scene.world.mirror()["jobs"].as_array().unwrap().len(), 1);
    drop(scene.server);
}

#[test]
fn where_a_job_is_not_taken_specweaves_worker_goes_on_as_if_nothing_had_been_there() {
    // The project says no; the daemon cannot be started; the program is gone.
    for obstacle in ["setting", "daemon", "program"] {
        let Some(mut scene) = Scene::new(2) else { return };
        scene.hook();
        match obstacle {
            "setting" => {
                let config = json!({"jobs": {"takeOver": "never"}}).to_string();
                std::fs::write(scene.world.project.join(".specweave/config.json"), config).unwrap();
            }
            "daemon" => drop(scene.world.set("SPECWEAVE_JOBS_SOCKET_DIR", "/proc/nowhere")),
            _ => {
                let module = scene.world.dir.join("home/.local/share/specweave-jobs/hand-over.cjs");
                let own = env!("CARGO_BIN_EXE_specweave-jobs");
                std::fs::write(&module, read(&module).replace(own, "/nowhere/specweave-jobs")).unwrap();
            }
        }
        scene.specweave(&["get", "acme/*"]).ok().says("started.");
        let job = scene.ended();
        assert_eq!((&job["owner"], &job["status"]), (&Value::Null, &json!("completed")), "{obstacle}: {job}");
        scene.assert_cloned(&job);
        assert!(scene.log(&job).contains("Clone worker started"), "{obstacle}: {}", scene.log(&job));
    }
}

#[test]
fn an_import_of_specweaves_launcher_becomes_a_job_of_the_daemon() {
    let Some(mut scene) = Scene::new(1) else { return };
    let trackers = Trackers::seeded(30);
    scene.world.set("GITHUB_API_URL", format!("{}/api/v3", trackers.url()));
    scene.hook();
    let config = json!({
        "githubRepositories": [{"owner": "acme", "repo": "web"}], "githubToken": TOKEN,
        "importConfig": {"timeRangeMonths": 3, "includeClosed": true},
    });
    let script = scene.clients.join("specweave-import.mjs");
    let mut command = scene.world.program("node", [&script, &scene.specweave, &scene.world.project]);
    command.arg(config.to_string());
    scene.world.finish(command).ok();
    let job = scene.ended();
    assert_eq!((&job["owner"], &job["status"]), (&json!("specweave-jobsd"), &json!("completed")), "{job}");
    let id = job["id"].as_str().unwrap();
    let left = read(&scene.world.project.join(format!(".specweave/state/jobs/{id}/config.json")));
    assert!(!left.contains(TOKEN), "{left}");
}

#[test]
fn no_other_program_of_nodes_is_touched() {
    let Some(mut scene) = Scene::new(1) else { return };
    let script = scene.world.dir.join("cli/workers");
    std::fs::create_dir_all(&script).unwrap();
    let script = script.join("clone-worker.js");
    std::fs::write(&script, "console.log(process.argv.length, process.argv[2] ?? 'none')").unwrap();
    let id = "0123abcd";
    let run = |scene: &Scene, arguments: &[&str]| {
        let mut command = scene.world.program("node", [&script]);
        command.args(arguments);
        scene.world.finish(command).ok().stdout
    };
    let project = scene.world.project.display().to_string();
    // One that is called like a worker, of a job that there is not.
    let cases: [&[&str]; 4] = [&[], &[id], &[id, &project], &["../../etc", &project]];
    let before = cases.map(|arguments| run(&scene, arguments));
    scene.hook();
    assert_eq!(cases.map(|arguments| run(&scene, arguments)), before);
    assert!(!scene.world.state().join("jobs").join(id).exists());
    assert_eq!(scene.world.daemon_pid(), None);
}

#[test]
fn the_hook_is_set_in_settings_that_keep_all_else_and_doctor_says_so() {
    let world = World::new();
    let file = world.project.join(".claude/settings.local.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let before =
        "{\n  // mine\n  \"model\": \"opus\",\n  \"env\": {\"NODE_OPTIONS\": \"--no-warnings\"}\n}\n";
    std::fs::write(&file, before).unwrap();
    world.run(["hook", "status"]).with_status(1).says("SpecWeave runs its jobs itself");
    world.run(["doctor"]).says("note  hand-over");
    world.run(["hook", "install"]).ok().says("settings.local.json");
    let after = read(&file);
    assert!(after.contains("// mine") && after.contains("\"--no-warnings --require="), "{after}");
    world.run(["hook", "install"]).ok();
    assert_eq!(read(&file), after);
    world.run(["hook", "status"]).ok().says("go to the daemon");
    assert_eq!(world.run(["hook", "status", "--json"]).ok().json()["active"], json!(true));
    world.run(["doctor"]).says("ok    hand-over");
    // A module that is gone ends every program of node's: that is said.
    std::fs::remove_file(world.dir.join("home/.local/share/specweave-jobs/hand-over.cjs")).unwrap();
    world.run(["doctor"]).with_status(1).says("load a module that is gone");
    world.run(["hook", "uninstall"]).ok();
    assert_eq!(read(&file), before);
    world.run(["hook", "install", "--user"]).ok();
    assert!(Path::new(&world.dir.join("home/.claude/settings.json")).exists());
    world.run(["hook", "uninstall", "--user"]).ok();
    std::fs::write(&file, "{ not json").unwrap();
    world.run(["hook", "install"]).with_status(1).complains("cannot read");
    assert_eq!(read(&file), "{ not json");
}
