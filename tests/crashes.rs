//! The daemon dies right after each durable step that a job takes, one after the other; the next daemon finishes the
//! job, and nothing tells the difference. A new kind of work takes part by a test at the end.

use crate::world::git_server::{Fault, GitServer};
use crate::world::recorded::lay_out;
use crate::world::trackers::{Issue, LATER_TOKEN, TOKEN, Trackers, seed};
use crate::world::{World, alone, eventually, files_below, is_thorough, read};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

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

/// A sync of stories of which some are new, some were edited here, there or on both sides, one is in conflict and one
/// came from the tracker. Every world has a tracker of its own: a sync writes.
struct Syncs {
    tracker: &'static str,
    trackers: Mutex<BTreeMap<PathBuf, Trackers>>,
}

impl Syncs {
    fn new(tracker: &'static str) -> Self {
        Self { tracker, trackers: Mutex::default() }
    }

    fn path(world: &World, number: u32) -> PathBuf {
        world.project.join(format!(
            ".specweave/docs/internal/specs/web/FS-00{}/us-00{number}-story.md",
            number.div_ceil(4)
        ))
    }

    fn write(world: &World, number: u32) {
        let (path, feature) = (Self::path(world, number), number.div_ceil(4));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "---\nid: US-00{number}\ntitle: \"Story {number}\"\nstatus: active\npriority: P1\n---\n\n# US-00{number}: Story {number}\n\n\
             Text of {number}.\n\n## Acceptance Criteria\n\n- [ ] **AC-US{number}-01**: works\n\n## Implementation\n\n\
             **Increment**: [000{feature}-one](../x)\n"
        );
        std::fs::write(&path, text).unwrap();
        let feature_text = format!("---\nid: FS-00{feature}\ntitle: \"Feature {feature}\"\n---\n");
        std::fs::write(path.with_file_name("FEATURE.md"), feature_text).unwrap();
    }
}

impl Kind for Syncs {
    fn name(&self) -> &'static str {
        match self.tracker {
            "github" => "a sync with github",
            "jira" => "a sync with jira",
            _ => "a sync with ado",
        }
    }

    fn prepare(&self, world: &World) {
        let trackers = Trackers::start();
        let pairs = trackers.environment().into_iter().map(|(name, value)| format!("{name}={value}\n"));
        std::fs::write(world.project.join(".env"), pairs.collect::<String>()).unwrap();
        let limits = json!({"writeGapMs": 0, "writesPerMinute": 0, "writesPerHour": 0, "indexLagSeconds": 0});
        let source = match self.tracker {
            "github" => json!({"owner": "acme", "repo": "web"}),
            "jira" => json!({"projectKey": "PAY"}),
            _ => json!({"project": "Nova CAD"}),
        };
        let profile = json!({"provider": self.tracker, "config": source, "rateLimits": limits});
        let config = json!({"version": "2.0", "sync": {"profiles": {"it": profile}}});
        std::fs::write(world.project.join(".specweave/config.json"), config.to_string()).unwrap();
        for name in ["0001-one", "0002-one"] {
            let increment = world.project.join(".specweave/increments").join(name);
            std::fs::create_dir_all(&increment).unwrap();
            std::fs::write(increment.join("metadata.json"), json!({"id": name}).to_string()).unwrap();
        }
        (1..=3).for_each(|number| Self::write(world, number));
        let mut theirs = Issue::new(7, "Theirs");
        theirs.body = "- [ ] a thing".into();
        theirs.is_markdown = true;
        trackers.add(theirs);
        let id = world.run(["sync", self.tracker, "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
        assert_eq!(world.wait(&id)["state"], "completed");
        world.run(["prune", "--yes"]).ok();
        world.run(["daemon", "stop"]).ok();
        // What both sides do before the sync that is disturbed.
        (4..=5).for_each(|number| Self::write(world, number));
        let edit = |number: u32, from: &str, to: &str| {
            let text = read(&Self::path(world, number));
            assert!(text.contains(from), "{text}");
            std::fs::write(Self::path(world, number), text.replace(from, to)).unwrap();
        };
        edit(1, "- [ ]", "- [x]");
        edit(2, "status: active", "status: completed");
        edit(3, "title: \"Story 3\"", "title: \"Mine\"");
        let numbers: Vec<u64> = trackers.issues().values().map(|issue| issue.number).collect();
        for number in numbers {
            trackers.edit(number, |issue| {
                if issue.title.ends_with("Story 1") || issue.title.ends_with("Story 2") {
                    issue.labels.push("theirs".into());
                }
                if issue.title.ends_with("Story 3") {
                    issue.title = "[FS-001][US-003] Theirs".into();
                }
            });
        }
        for path in files_below(&world.project.join(".specweave/docs")) {
            let text = read(&path);
            if text.contains("a thing") {
                std::fs::write(path, text.replace("**Status**: Open", "**Status**: In Progress")).unwrap();
            }
        }
        self.trackers.lock().unwrap().insert(world.dir.clone(), trackers);
    }

    fn order(&self) -> Vec<String> {
        vec!["sync".into(), self.tracker.into()]
    }

    fn left(&self, world: &World) -> Value {
        let trackers = self.trackers.lock().unwrap().remove(&world.dir).unwrap();
        let specs = world.project.join(".specweave");
        // Numbers are given in the order of arrival, and a death may change that.
        let number = |line: &&str| {
            !["issue: ", "key: ", "id: ", "url: "].iter().any(|name| line.trim_start().starts_with(name))
        };
        let docs = files_below(&specs.join("docs")).into_iter().chain(files_below(&specs.join("increments")));
        let texts: BTreeMap<String, String> = docs
            .map(|path| {
                let text = read(&path);
                static NUMBERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(127.0.0.1:\d+|\d{4}-\d\d-\d\dT[\d:.]+Z|issues/\d+|edit/\d+|PAY-\d+|[Nn]umber\W+\d+|Id\W+\d+|Url\W+\S+|ADO-\d+|#\d+)").unwrap());
                let mut kept: Vec<&str> = text.lines().filter(number).collect();
                if path.ends_with("metadata.json") {
                    // Its entries stand in the order in which they came.
                    kept = kept.into_iter().map(|line| line.trim_end_matches(',')).collect();
                    kept.sort_unstable();
                }
                (path.strip_prefix(&specs).unwrap().display().to_string(), NUMBERS.replace_all(&kept.join("\n"), "N").into_owned())
            })
            .collect();
        let mut items: Vec<String> = trackers
            .issues()
            .values()
            .map(|issue| {
                let mut labels = issue.labels.clone();
                labels.sort();
                let group = issue.milestone.is_some() || issue.parent.is_some();
                let body = issue.document.as_ref().map_or(issue.body.clone(), Value::to_string);
                format!(
                    "{} {:?} {:?} {labels:?} {:?} {group} {body}",
                    issue.title, issue.phase, issue.state, issue.priority
                )
            })
            .collect();
        items.sort();
        let milestones: Vec<String> = trackers.state.milestones.lock().unwrap().values().cloned().collect();
        let planned = world.run(["sync", self.tracker, "--dry-run", "--json"]).json()["items"].clone();
        let planned: Vec<Value> =
            planned.as_array().unwrap().iter().map(|item| json!([item["action"], item["name"]])).collect();
        world.run(["daemon", "stop"]).ok();
        json!({"docs": texts, "items": items, "milestones": milestones, "still to do": planned})
    }
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
        world.run(["prune", "--yes"]).ok();
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
        let marked = inside.iter().any(|name| name.starts_with("specweave-job"));
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
    static BEGAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"began[\\"]*:\d+"#).unwrap());
    let mut events: Vec<String> = read(&folder.join("journal.jsonl"))
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .filter(|event| {
            let kinds = [
                "item_done",
                "item_failed",
                "planned",
                "ended",
                "sources_planned",
                "page_done",
                "source_ended",
            ];
            kinds.iter().any(|kind| event.get(kind).is_some())
        })
        // When a reading began is a moment, too.
        .map(|event| BEGAN.replace_all(&event.to_string(), "").into_owned())
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
    static PORT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"127\.0\.0\.1:\d+").unwrap());
    let text = PORT.replace_all(&text, "SERVER");
    let mut state: Value = serde_json::from_str(&text).unwrap();
    forget_moments(&mut state);
    state
}

fn forget_moments(value: &mut Value) {
    // A MAC covers the moments, too.
    const MOMENTS: [&str; 12] = [
        "mac",
        "lastSync",
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
    let jobs = known_to_the_daemon(&world);
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

/// The jobs that the daemon itself tells of: where it is slow to answer, the client shows what stands in the files, which it may not
/// have written yet.
fn known_to_the_daemon(world: &World) -> Value {
    let mut jobs = Value::Null;
    eventually("the daemon answers", || {
        let listed = world.run(["--all", "--json"]).ok();
        jobs = listed.json()["jobs"].clone();
        listed.stderr.is_empty()
    });
    jobs
}

/// Every time that a step is reached; of one that is reached for each of many files, the first, the last and some between.
fn which(times: usize) -> impl Iterator<Item = usize> {
    let most = if is_thorough() { 6 } else { 2 };
    let all = times.min(most);
    (0..all).map(move |place| if all < most { place + 1 } else { 1 + place * (times - 1) / (most - 1) })
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

/// Lets the daemon die after every step that a job of this kind takes, and compares what is left in the end.
fn dies_after_any_step(kind: &dyn Kind) {
    let trace = std::env::temp_dir().join(format!("trace-{:x}", specweave_jobs::disk::random()));
    let undisturbed = run(kind, ("SPECWEAVE_JOBS_CRASH_TRACE", trace.to_str().unwrap()));
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
    let own = alone::own();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                alone::belongs_to(own);
                while let Some(crash) = crashes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let state = run(kind, ("SPECWEAVE_JOBS_CRASH", crash));
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

#[test]
fn a_daemon_that_dies_after_any_step_of_a_clone_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Clones::new());
}

#[test]
fn a_daemon_that_dies_after_any_step_of_an_adopted_clone_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Adopted);
}

#[test]
fn a_daemon_that_dies_after_any_step_of_an_import_from_github_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Imports::new("github"));
}

#[test]
fn a_daemon_that_dies_after_any_step_of_an_import_from_jira_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Imports::new("jira"));
}

#[test]
fn a_daemon_that_dies_after_any_step_of_an_import_from_ado_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Imports::new("ado"));
}

#[test]
fn a_daemon_that_dies_after_any_step_of_a_sync_with_github_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Syncs::new("github"));
}

#[test]
fn a_daemon_that_dies_after_any_step_of_a_sync_with_jira_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Syncs::new("jira"));
}

#[test]
fn a_daemon_that_dies_after_any_step_of_a_sync_with_ado_loses_nothing_and_doubles_nothing() {
    dies_after_any_step(&Syncs::new("ado"));
}
