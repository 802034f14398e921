//! Every trigger that SpecWeave documents ends in a job of the daemon: its own launchers hand over, and what they left dead
//! is taken over.

use crate::contract::clients;
use crate::world::git_server::{Fault, GitServer};
use crate::world::recorded::{self, lay_out};
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
        server.lists(names.iter().map(|name| server.listed(name)).collect());
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

/// A project in which SpecWeave died, with a daemon that looks often.
fn left_behind(case: &str) -> World {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_TAKE_OVER_SECONDS", "0.2");
    lay_out(&world, case, &[]);
    world
}

#[test]
fn a_job_that_specweave_left_without_a_worker_is_taken_over_and_one_of_another_kind_is_not() {
    let world = left_behind("clone-orphaned-sigkill");
    let before = recorded::jobs(&world)[0].clone();
    let id = before["id"].as_str().unwrap();
    world.run(["daemon", "start"]).ok();
    let job = world.until(id, "it is taken over", |job| job["foreign"] == false);
    assert_eq!((&job["type"], &job["id"]), (&json!("clone-repos"), &before["id"]));
    world.until(id, "its end", |job| !["running", "pending"].contains(&job["state"].as_str().unwrap()));

    let world = left_behind("codebase-rescan-crashed-still-running");
    let id = recorded::jobs(&world)[0]["id"].as_str().unwrap().to_owned();
    world.run(["daemon", "start"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(world.job(&id)["foreign"], json!(true));
    world
        .run(["list"])
        .ok()
        .says("Worker: dead")
        .says(&format!("mark it as paused with: specweave-jobs --kill {id}"));
    let shown = world.run(["show", &id]).ok().stdout;
    assert!(!shown.contains("--resume"), "a hint stands only where it works: {shown}");
}

#[test]
fn nothing_is_taken_over_whose_worker_lives_or_where_the_project_says_never() {
    let world = left_behind("clone-orphaned-sigkill");
    let id = recorded::jobs(&world)[0]["id"].as_str().unwrap().to_owned();
    let config = world.project.join(".specweave/config.json");
    std::fs::write(&config, json!({"jobs": {"takeOver": "never"}}).to_string()).unwrap();
    world.run(["daemon", "start"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(world.job(&id)["foreign"], json!(true));
    // A worker that lives: a process whose command line names the job.
    let mut worker = std::process::Command::new("sh").args(["-c", "sleep 60; :", &id]).spawn().unwrap();
    std::fs::write(world.state().join(format!("jobs/{id}/worker.pid")), worker.id().to_string()).unwrap();
    std::fs::write(&config, "{}").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!((&world.job(&id)["foreign"], &world.job(&id)["alive"]), (&json!(true), &json!(true)));
    worker.kill().unwrap();
    worker.wait().unwrap();
    world.until(&id, "it is taken over", |job| job["foreign"] == false);
}

#[test]
fn a_sync_that_specweave_entered_is_taken_over_like_the_others() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_TAKE_OVER_SECONDS", "0.2");
    let trackers = Trackers::seeded(3);
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    let config = json!({"sync": {"profiles": {"work": {"provider": "github", "config": {"owner": "acme", "repo": "web"}}}}});
    std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
    let listed = json!({"jobs": [{
        "id": "5ca1ab1e", "type": "sync-external", "status": "pending",
        "progress": {"current": 0, "total": 0, "percentage": 0, "itemsCompleted": [], "itemsFailed": []},
        "startedAt": "2026-11-23T00:20:41.998Z", "updatedAt": "2026-11-23T00:20:41.998Z",
        "config": {
            "type": "sync-external", "provider": "github", "direction": "import", "profileId": "work",
            "projectPath": world.project,
        },
    }]});
    std::fs::create_dir_all(world.state().join("jobs/5ca1ab1e")).unwrap();
    std::fs::write(world.state().join("background-jobs.json"), listed.to_string()).unwrap();
    let shown = world.run(["list"]).ok();
    shown
        .says("Worker: none; it was never started, or is about to be")
        .says("go on with: specweave-jobs --resume 5ca1ab1e");
    world.run(["--resume", "5ca1ab1e"]).ok();
    let job = world.wait("5ca1ab1e");
    assert_eq!(
        (&job["state"], &job["type"], &job["foreign"]),
        (&json!("completed"), &json!("sync-external"), &json!(false)),
        "{job}"
    );
    assert!(trackers.writes().is_empty(), "its direction is import: {:?}", trackers.writes());
    assert_eq!(
        world.run(["show", "5ca1ab1e", "--json"]).ok().json()["job"]["spec"]["work"]["sync"]["profile"],
        json!("work")
    );
}

#[test]
fn specweaves_own_resume_of_a_job_of_ours_lets_it_go_on_and_starts_nothing_else() {
    let Some(clients) = clients() else { return };
    let (world, server, names) = World::with_remotes(3);
    server.fault(&names[1], Fault::Silent);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.until(&id, "two clones", |job| job["progress"]["current"] == 2);
    world.run(["kill", &id]).ok();
    server.heal(&names[1]);
    let program = clients.join("node_modules/specweave/bin/specweave.js");
    // What it says of the worker that it cannot start is SpecWeave's own.
    let mut command = world.program("node", [program]);
    command.args(["jobs", "--resume", &id]);
    world.finish(command);
    world.until(&id, "it goes on", |job| job["state"] == "completed");
    assert_eq!(world.mirror()["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_finished_import_of_specweaves_shows_what_it_brought_and_what_went_wrong() {
    let world = World::new();
    lay_out(&world, "import-github", &[]);
    let id = recorded::jobs(&world)[0]["id"].as_str().unwrap().to_owned();
    let job = world.job(&id);
    assert_eq!((&job["progress"]["current"], &job["progress"]["total"]), (&json!(227), &json!(227)), "{job}");
    world
        .run(["--id", &id])
        .ok()
        .says("227/227 (100%)")
        .says("github: Repository not found or no access: acme/gone");
}

#[test]
fn a_job_of_specweaves_is_followed_and_waited_for_until_nothing_works_on_it() {
    let world = World::new();
    lay_out(&world, "clone-orphaned-sigkill", &[]);
    let id = recorded::jobs(&world)[0]["id"].as_str().unwrap().to_owned();
    for verb in ["follow", "wait"] {
        world.run([verb, &id]).with_status(1).says("The worker is dead. Go on with: specweave-jobs --resume");
    }
    let mut worker = std::process::Command::new("sh").args(["-c", "sleep 60; :", &id]).spawn().unwrap();
    std::fs::write(world.state().join(format!("jobs/{id}/worker.pid")), worker.id().to_string()).unwrap();
    world.run(["follow", &id, "--timeout", "1"]).with_status(124).says("Progress: ");
    world.run(["wait", &id, "--timeout", "0.2"]).with_status(124);
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn a_clone_that_git_left_half_made_is_set_aside_and_cloned_again_but_not_while_a_git_works_there() {
    let (world, server, names) = World::with_remotes(1);
    let source = server.repository(&names[0]);
    server.fault(&names[0], Fault::Silent);
    let target = world.project.join("repositories/acme").join(&names[0]);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let mut git = world.program("git", ["clone", "--quiet", &source]).arg(&target).spawn().unwrap();
    eventually("git has begun", || read(&target.join(".git/config")).contains("remote"));
    let job = || {
        let id = world.start_clone([&source]);
        world.wait(&id)
    };
    let refused = job();
    let why = refused["failure"]["message"].as_str().unwrap();
    assert!(why.contains("a git is cloning into the target"), "{refused}");
    git.kill().unwrap();
    git.wait().unwrap();
    server.heal(&names[0]);
    // An hour later.
    for path in [".git", ".git/config", ".git/objects/pack"] {
        let touch = world.program("touch", ["-d", "1 hour ago"]).arg(target.join(path)).status().unwrap();
        assert!(touch.success());
    }
    let done = job();
    assert_eq!(done["state"], "completed", "{done}");
    assert_whole(&target, &world.dir.join(format!("remotes/acme/{}.git", names[0])));
    let log = world.run(["logs", done["id"].as_str().unwrap()]).ok().stdout;
    assert!(log.contains("a clone that git had begun and never ended"), "{log}");
    let beside = std::fs::read_dir(target.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 2, "the old one is kept");
}

#[test]
fn a_torn_list_loses_nobodys_jobs() {
    let whole = World::new();
    lay_out(&whole, "clone-orphaned-sigkill", &[]);
    let (lost, text) = (recorded::jobs(&whole)[0].clone(), read(&whole.state().join("background-jobs.json")));
    let id = lost["id"].as_str().unwrap();
    // Another job stands whole before the place where the text ends.
    let first = json!({
        "id": "0a0b0c0d", "type": "living-docs-builder", "status": "paused",
        "progress": {"current": 1, "total": 2, "percentage": 50, "itemsCompleted": [], "itemsFailed": []},
        "startedAt": "2026-11-23T00:20:41.998Z", "updatedAt": "2026-11-23T00:20:41.998Z",
        "config": {"type": "living-docs-builder", "projectPath": "/p"},
    });
    let torn = text.replacen("\"jobs\": [", &format!("\"jobs\": [{first},"), 1);
    let list = whole.state().join("background-jobs.json");
    std::fs::write(&list, &torn[..torn.len() - 40]).unwrap();
    whole.run(["daemon", "start"]).ok();
    eventually("the list is whole", || {
        serde_json::from_str::<Value>(&read(&list))
            .is_ok_and(|all| all["jobs"].as_array().is_some_and(|jobs| jobs.len() == 2))
    });
    let listed = whole.run(["list", "--all"]).ok().complains("of other tools' jobs could be kept").stdout;
    assert!(
        listed.contains("[0a0b0c0d] living-docs-builder") && listed.contains(&format!("[{id}] clone-repos")),
        "{listed}"
    );
    assert_eq!(whole.mirror()["jobs"][0], first, "what could be read is as it was");
    whole.run(["--id", id]).ok().says("its entry in background-jobs.json was lost");
    whole.run(["--resume", id]).ok();
    whole.wait(id);
    whole.run(["doctor"]).says("background-jobs.json.corrupt-");
}
