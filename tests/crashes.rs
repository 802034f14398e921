//! The daemon dies right after each durable step that a job takes, one after the other; the next daemon finishes the
//! job, and nothing tells the difference. A new kind of work takes part by an entry in [`kinds`].

use crate::world::git_server::{Fault, GitServer};
use crate::world::recorded::lay_out;
use crate::world::trackers::{LATER_TOKEN, TOKEN, Trackers, seed};
use crate::world::{World, eventually, files_below, read};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A kind of work, with its servers.
trait Kind: Sync {
    fn name(&self) -> &'static str;
    /// Makes the project what it is before.
    fn prepare(&self, _world: &World) {}
    /// What is typed to start it.
    fn order(&self) -> Vec<String>;
    /// What it leaves in the project, without moments and ids.
    fn left(&self, world: &World) -> Value;
}

fn kinds() -> Vec<Box<dyn Kind>> {
    let imports = ["github", "jira", "ado"].map(|tracker| Box::new(Imports::new(tracker)) as Box<dyn Kind>);
    let others: [Box<dyn Kind>; 2] = [Box::new(Clones::new()), Box::new(Adopted)];
    others.into_iter().chain(imports).collect()
}

/// A second import of two pages: some items are new, some have changed, and some of those a person has changed too.
struct Imports {
    tracker: &'static str,
    trackers: Trackers,
}

impl Imports {
    fn new(tracker: &'static str) -> Self {
        let trackers = Trackers::seeded(120);
        let mut later = trackers.issues().clone();
        seed(&mut later, if tracker == "ado" { 230 } else { 150 });
        for number in (3..120).step_by(9) {
            let issue = later.get_mut(&number).unwrap();
            issue.title = format!("Changed {number}");
            issue.body = format!("{}\n\nAnd more.", issue.body);
            issue.parent = None;
            issue.touch();
        }
        *trackers.state.later.lock().unwrap() = later;
        Self { tracker, trackers }
    }

    /// Whatever daemon it is, it finds the token.
    fn set_token(&self, world: &World, token: &str) {
        let pairs = self.trackers.environment().into_iter().map(|(name, value)| format!("{name}={value}\n"));
        let text = pairs.collect::<String>().replace(TOKEN, token);
        std::fs::write(world.project.join(".env"), text).unwrap();
    }
}

impl Kind for Imports {
    fn name(&self) -> &'static str {
        self.tracker
    }

    fn prepare(&self, world: &World) {
        self.set_token(world, TOKEN);
        let mut order = self.order();
        order.push("--json".into());
        let id = world.run(order).ok().json()["id"].as_str().unwrap().to_owned();
        assert_eq!(world.wait(&id)["state"], "completed");
        for path in files_below(&world.project.join(".specweave/docs")) {
            let text = read(&path);
            if text.contains("number 12.") || text.contains("number 30.") {
                std::fs::write(path, text.replace("As a user I want", "As a user I really want")).unwrap();
            }
        }
        world.run(["prune"]).ok();
        world.run(["daemon", "stop"]).ok();
        self.set_token(world, LATER_TOKEN);
    }

    fn order(&self) -> Vec<String> {
        let words: &[&str] = match self.tracker {
            "github" => &["import", "github", "--repo", "acme/web", "--since", "all"],
            "jira" => &["import", "jira", "--project-key", "PAY", "--since", "all"],
            _ => &["import", "ado", "--ado-project", "Nova CAD", "--since", "all"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn left(&self, world: &World) -> Value {
        let specs = world.project.join(".specweave/docs");
        let moment = |line: &&str| !line.starts_with("- **Imported At**") && !line.starts_with("created: ");
        let texts: BTreeMap<String, String> = files_below(&specs)
            .iter()
            .map(|path| {
                let text: Vec<String> = read(path).lines().filter(moment).map(str::to_owned).collect();
                (path.strip_prefix(&specs).unwrap().display().to_string(), text.join("\n"))
            })
            .collect();
        let mut metadata: Value =
            serde_json::from_str(&read(&world.project.join(".specweave/sync-metadata.json")))
                .unwrap_or_default();
        forget_moments(&mut metadata);
        json!({"docs": texts, "metadata": metadata})
    }
}

/// A clone job that SpecWeave left half-done, with a token in its file.
struct Adopted;

impl Kind for Adopted {
    fn name(&self) -> &'static str {
        "an adopted clone-repos"
    }

    fn prepare(&self, world: &World) {
        lay_out(world, "clone-killed", &[]);
    }

    fn order(&self) -> Vec<String> {
        vec!["--resume".into(), "c3dc81e3".into()]
    }

    fn left(&self, world: &World) -> Value {
        repositories(world)
    }
}

struct Clones {
    _remotes: World,
    server: GitServer,
    names: Vec<String>,
}

impl Clones {
    fn new() -> Self {
        let (remotes, server, names) = World::with_remotes(4);
        server.fault("repo-002", Fault::Status(404));
        Self { _remotes: remotes, server, names }
    }
}

impl Kind for Clones {
    fn name(&self) -> &'static str {
        "clone-repos"
    }

    fn order(&self) -> Vec<String> {
        let sources = self.names.iter().map(|name| self.server.repository(name));
        ["clone".to_owned(), "--concurrency".into(), "1".into()].into_iter().chain(sources).collect()
    }

    fn left(&self, world: &World) -> Value {
        repositories(world)
    }
}

/// Every repository, what is in it and whether it is marked.
fn repositories(world: &World) -> Value {
    let folder = world.project.join("repositories/acme");
    let mut repositories: BTreeMap<String, Value> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let repository = git2::Repository::open(entry.path()).unwrap();
        let refs = repository.references().unwrap().map(|reference| {
            let reference = reference.unwrap();
            (reference.name().unwrap().to_owned(), reference.resolve().unwrap().target().unwrap().to_string())
        });
        let refs: BTreeMap<String, String> = refs.collect();
        let clean = repository.statuses(None).unwrap().is_empty();
        let inside: Vec<String> = std::fs::read_dir(entry.path().join(".git"))
            .unwrap()
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        let marked = inside.iter().any(|name| name == "specweave-job");
        let name = entry.file_name().to_string_lossy().into_owned();
        repositories.insert(name, json!({"refs": refs, "clean": clean, "marked": marked}));
    }
    json!(repositories)
}

/// Everything that a finished job leaves, without what differs from run to run.
fn end_state(world: &World, kind: &dyn Kind) -> Value {
    let mirror = world.mirror();
    let jobs = mirror["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "one job was asked for: {mirror}");
    let id = jobs[0]["id"].as_str().unwrap().to_owned();
    let folder = world.state().join("jobs").join(&id);
    let json_of = |path: &Path| -> Value { serde_json::from_str(&read(path)).unwrap_or_default() };
    let began = regex::Regex::new(r#"began[\\"]*:\d+"#).unwrap();
    let mut events: Vec<String> = read(&folder.join("journal.jsonl"))
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .filter(|event| {
            let kinds =
                ["item_done", "item_failed", "planned", "ended", "feeds_planned", "page_done", "feed_ended"];
            kinds.iter().any(|kind| event.get(kind).is_some())
        })
        // When a reading began is a moment, too.
        .map(|event| began.replace_all(&event.to_string(), "").into_owned())
        .collect();
    events.sort();
    let is_the_daemons = |path: &String| path.contains("jobs-daemon/");
    let mut files: Vec<String> = files_below(&world.project.join(".specweave"))
        .iter()
        .map(|path| path.strip_prefix(&world.project).unwrap().display().to_string())
        .filter(|path| !is_the_daemons(path))
        .collect();
    files.sort();
    let state = json!({
        "job": jobs[0],
        "result": json_of(&folder.join("result.json")),
        "config": json_of(&folder.join("config.json")),
        "project": json_of(&world.project.join(".specweave/config.json")),
        "events": events,
        "files": files,
        "left": kind.left(world),
    });
    let text = state.to_string().replace(&id, "ID").replace(world.dir.to_str().unwrap(), "DIR");
    let mut state: Value = serde_json::from_str(&text).unwrap();
    forget_moments(&mut state);
    state
}

fn forget_moments(value: &mut Value) {
    const MOMENTS: [&str; 10] = [
        "startedAt",
        "updatedAt",
        "completedAt",
        "clonedAt",
        "detectedAt",
        "lastImport",
        "lastUpdated",
        "rate",
        "eta",
        "currentItem",
    ];
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !MOMENTS.contains(&key.as_str()));
            map.values_mut().for_each(forget_moments);
        }
        Value::Array(values) => {
            values.iter_mut().for_each(forget_moments);
            // Items end in any order.
            if values.iter().all(Value::is_string) {
                values.sort_by_key(Value::to_string);
            }
        }
        _ => {}
    }
}

/// Runs the work with a daemon that obeys `set`, then with one that does not, to its end.
fn run(kind: &dyn Kind, set: (&str, &str)) -> Value {
    let mut world = World::new();
    kind.prepare(&world);
    world.set(set.0, set.1);
    world.run(kind.order());
    let ended = |world: &World| {
        let mirror: Value =
            serde_json::from_str(&read(&world.state().join("background-jobs.json"))).unwrap_or_default();
        let status = mirror["jobs"][0]["status"].as_str().unwrap_or("").to_owned();
        status.starts_with("completed") || status == "failed"
    };
    eventually("the daemon has died, or the job has ended", || world.daemon_pid().is_none() || ended(&world));
    if world.daemon_pid().is_some() {
        world.run(["daemon", "stop"]);
    }
    world.unset(set.0);
    world.run(["daemon", "start"]).ok();
    let jobs = world.run(["--all", "--json"]).ok().json()["jobs"].clone();
    let id = match jobs.as_array().unwrap().iter().find(|job| job["foreign"] == false) {
        Some(job) => job["id"].as_str().unwrap().to_owned(),
        // The step came before anything was acknowledged: the user asks again.
        None => {
            let mut order = kind.order();
            order.push("--json".into());
            world.run(order).ok().json()["id"].as_str().unwrap().to_owned()
        }
    };
    world.wait(&id);
    world.run(["daemon", "stop"]).ok();
    end_state(&world, kind)
}

/// Every time that a step is reached; of one that is reached for each of many files, the first, the last and some between.
fn which(times: usize) -> impl Iterator<Item = usize> {
    const MOST: usize = 20;
    let all = times.min(MOST);
    (0..all).map(move |place| if all < MOST { place + 1 } else { 1 + place * (times - 1) / (MOST - 1) })
}

/// The lines that only one of two states has.
fn difference(state: &Value, undisturbed: &Value) -> String {
    let (one, other) = (format!("{state:#}"), format!("{undisturbed:#}"));
    let only = |these: &str, those: &str, mark: char| -> Vec<String> {
        let lines = these.lines().filter(|line| !those.contains(line)).take(8);
        lines.map(|line| format!("{mark} {line:.300}")).collect()
    };
    [only(&one, &other, '+'), only(&other, &one, '-')].concat().join("\n")
}

#[test]
fn a_daemon_that_dies_after_any_step_of_a_job_loses_nothing_and_doubles_nothing() {
    for kind in kinds() {
        let trace = std::env::temp_dir().join(format!("trace-{:x}", specweave_jobs::disk::random()));
        let undisturbed = run(&*kind, ("SPECWEAVE_JOBS_CRASH_TRACE", trace.to_str().unwrap()));
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        for step in read(&trace).lines() {
            *reached.entry(step.to_owned()).or_default() += 1;
        }
        let _ = std::fs::remove_file(&trace);
        for step in ["journal-appended", "journal-synced", "stand-in-started", "worker.pid-renamed"] {
            assert!(reached.contains_key(step), "{step} is not among {reached:?}");
        }
        let crashes: Vec<String> = reached
            .iter()
            .flat_map(|(step, times)| which(*times).map(move |nth| format!("{step}:abort@{nth}")))
            .collect();
        eprintln!("{}: {} steps, {} crashes", kind.name(), reached.len(), crashes.len());
        let next = AtomicUsize::new(0);
        let wrong = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(crash) = crashes.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let state = run(&*kind, ("SPECWEAVE_JOBS_CRASH", crash));
                        if state != undisturbed {
                            let difference = difference(&state, &undisturbed);
                            wrong.lock().unwrap().push(format!("{crash}:\n{difference}"));
                        }
                    }
                });
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{}: {}", kind.name(), wrong.join("\n"));
    }
}
