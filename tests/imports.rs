//! Imports from the three trackers, end to end: whole, repeatable, resumable, and true about what is missing.

use crate::world::trackers::{Fault, Issue, Kind, Phase, ToldBy, Trackers};
use crate::world::{World, beside, eventually, files_below, is_thorough, read};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

const TRACKERS: [&str; 3] = ["github", "jira", "ado"];

fn world_with(count: u64) -> (World, Trackers) {
    let mut world = World::new();
    let trackers = Trackers::seeded(count);
    for (name, value) in trackers.environment() {
        world.set(name, value);
    }
    (world, trackers)
}

/// What is typed to import from a tracker.
fn order(tracker: &str) -> Vec<&str> {
    match tracker {
        "github" => vec!["import", "github", "--repo", "acme/web", "--since", "all"],
        "jira" => vec!["import", "jira", "--project-key", "PAY", "--since", "all"],
        _ => vec!["import", "ado", "--ado-project", "Nova CAD", "--since", "all"],
    }
}

fn start(world: &World, arguments: &[&str]) -> String {
    let mut command = world.command(arguments);
    command.arg("--json");
    world.finish(command).ok().json()["id"].as_str().unwrap().to_owned()
}

fn import(world: &World, tracker: &str) -> Value {
    let id = start(world, &order(tracker));
    world.wait(&id)
}

/// As [`import`], since the last one.
fn import_again(world: &World, tracker: &str) -> Value {
    let all = order(tracker);
    let id = start(world, &all[..all.len() - 2]);
    world.wait(&id)
}

fn specs(world: &World) -> PathBuf {
    world.project.join(".specweave/docs/internal/specs")
}

/// Files of stories by the id that they name.
fn stories(world: &World) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files_below(&specs(world)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("us-") {
            let id = metadata(&read(&path), "External ID")
                .unwrap_or_else(|| panic!("{} names nothing", path.display()));
            found.entry(id).or_default().push(path);
        }
    }
    found
}

fn metadata(text: &str, name: &str) -> Option<String> {
    let prefix = format!("- **{name}**: ");
    text.lines().find_map(|line| line.strip_prefix(prefix.as_str())).map(str::to_owned)
}

/// The one file of an item.
fn story(world: &World, id: &str) -> PathBuf {
    let all = stories(world);
    let files = all
        .get(id)
        .unwrap_or_else(|| panic!("no file of {id} among {:?}", all.keys().take(5).collect::<Vec<_>>()));
    assert_eq!(files.len(), 1, "{id} has one file: {files:?}");
    files[0].clone()
}

fn id_of(tracker: &str, number: u64) -> String {
    match tracker {
        "github" => format!("github#acme/web#{number}"),
        "jira" => format!("JIRA-PAY-{number}"),
        _ => format!("ADO-{number}"),
    }
}

/// Every item of the tracker has its file or its line, once, and nothing else has.
fn assert_whole(world: &World, trackers: &Trackers, tracker: &str) {
    let issues = trackers.issues();
    let files = stories(world);
    let mut lines = 0;
    for issue in issues.values().filter(|issue| !issue.deleted) {
        if issue.is_pull_request && tracker == "github" || issue.malformed {
            continue;
        }
        if tracker == "ado" && issue.kind == Kind::Task && issue.parent.is_some() {
            lines += 1;
            continue;
        }
        let id = id_of(tracker, issue.number);
        let found = files.get(&id).unwrap_or_else(|| panic!("{id} has no file"));
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        let text = read(&found[0]);
        let heading = text.lines().find(|line| line.starts_with("# ")).unwrap();
        assert!(heading.ends_with(&issue.title), "{id}: {text}");
    }
    let in_files: usize = files
        .values()
        .flatten()
        .map(|path| {
            read(path).lines().filter(|line| line.starts_with("- [") && line.contains("**T-")).count()
        })
        .sum();
    assert_eq!(in_files, lines, "every step stands in its story");
    // No number is given twice in a folder of stories.
    let mut numbers: BTreeMap<(PathBuf, String), PathBuf> = BTreeMap::new();
    for path in files.values().flatten() {
        let base = path.parent().unwrap().parent().unwrap().to_path_buf();
        let number = path.file_name().unwrap().to_string_lossy()[..7].to_owned();
        if let Some(other) = numbers.insert((base, number), path.clone()) {
            panic!("{} and {} have one number", other.display(), path.display());
        }
    }
}

/// The text of every file of living docs, without the moment of the import.
fn texts(world: &World) -> BTreeMap<String, String> {
    let moment = |line: &&str| !line.starts_with("- **Imported At**") && !line.starts_with("created: ");
    files_below(&specs(world))
        .iter()
        .map(|path| {
            let name = path.strip_prefix(specs(world)).unwrap().display().to_string();
            let text: Vec<String> = read(path).lines().filter(moment).map(str::to_owned).collect();
            (name, text.join("\n"))
        })
        .collect()
}

#[test]
fn every_item_of_each_tracker_gets_its_place() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(230);
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        assert_eq!(job["type_name"], "import-issues");
        assert_eq!(job["provider"], tracker);
        assert_eq!(
            (&job["progress"]["current"], &job["progress"]["total"]),
            (&230.into(), &230.into()),
            "{job}"
        );
        assert_whole(&world, &trackers, tracker);
        let text = read(&story(&world, &id_of(tracker, 2)));
        for part in [
            "# US-",
            "**Status**: Open",
            "## Description",
            "## Tasks",
            "## External Metadata",
            "- **Feature ID**: FS-001E",
        ] {
            assert!(text.contains(part), "{tracker}: no {part:?} in\n{text}");
        }
        assert!(!text.ends_with('\n') && text.starts_with("---\nid: US-"));
    }
}

#[test]
fn a_second_import_asks_for_nothing_that_it_knows_and_changes_no_byte() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(230);
        import(&world, tracker);
        let before: Vec<_> =
            files_below(&specs(&world)).iter().map(|path| (path.clone(), read(path))).collect();
        for _ in 0..2 {
            trackers.forget_requests();
            let job = import_again(&world, tracker);
            assert_eq!(job["state"], "completed", "{tracker}: {job}");
            assert!(trackers.requests().len() <= 2, "{tracker}: {:?}", trackers.requests());
            assert_eq!(job["progress"]["succeeded"], 0, "{tracker}: {job}");
        }
        let job = import(&world, tracker);
        assert_eq!(
            (&job["state"], &job["progress"]["succeeded"]),
            (&"completed".into(), &0.into()),
            "{tracker}: {job}"
        );
        let after: Vec<_> =
            files_below(&specs(&world)).iter().map(|path| (path.clone(), read(path))).collect();
        assert_eq!(before, after, "{tracker}");
    }
}

#[test]
fn what_changed_in_the_tracker_changes_in_its_file_and_nowhere_else() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(60);
        import(&world, tracker);
        let path = story(&world, &id_of(tracker, 3));
        let before = texts(&world);
        trackers.edit(3, |issue| {
            issue.title = "Another title".to_owned();
            issue.phase = Phase::Closed;
            issue.body = "Another body.".to_owned();
        });
        let job = import_again(&world, tracker);
        assert_eq!(
            (&job["state"], &job["progress"]["succeeded"]),
            (&"completed".into(), &1.into()),
            "{tracker}: {job}"
        );
        let text = read(&story(&world, &id_of(tracker, 3)));
        assert_eq!(story(&world, &id_of(tracker, 3)), path, "its place and name stay");
        for part in [": Another title", "**Status**: Completed", "Another body."] {
            assert!(text.contains(part), "{tracker}: no {part:?} in\n{text}");
        }
        let after = texts(&world);
        let changed: Vec<&String> = after
            .iter()
            .filter(|(name, text)| before.get(*name) != Some(text))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(changed.len(), 1, "{tracker}: {changed:?}");
    }
}

#[test]
fn a_persons_edit_stays_and_what_it_kept_out_stands_beside_it() {
    let (world, trackers) = world_with(20);
    import(&world, "github");
    let path = story(&world, "github#acme/web#3");
    let edited = read(&path)
        .replace("As a user I want number 3.", "As a user I want it my way.")
        .replace("- [ ] **AC-US-003-01**", "- [x] **AC-US-003-01**")
        .replace("## Tasks", "## Notes\n\nMine.\n\n## Tasks");
    std::fs::write(&path, &edited).unwrap();
    // The tracker changes something else: both are kept.
    trackers.edit(3, |issue| issue.title = "Retitled".to_owned());
    assert_eq!(import_again(&world, "github")["state"], "completed");
    let text = read(&path);
    for part in ["it my way", "- [x] **AC-US-003-01**", "## Notes\n\nMine.", ": Retitled"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    // The tracker changes the same.
    trackers.edit(3, |issue| issue.body = "The tracker's way.".to_owned());
    let job = import_again(&world, "github");
    assert_eq!(job["state"], "completed_with_warnings", "{job}");
    let text = read(&path);
    assert!(text.contains("it my way") && !text.contains("The tracker's way"), "{text}");
    let shown = beside(&path);
    assert!(read(&shown).contains("The tracker's way."), "{}", read(&shown));
    let id = job["id"].as_str().unwrap();
    let result: Value =
        serde_json::from_str(&read(&world.state().join("jobs").join(id).join("result.json"))).unwrap();
    assert_eq!(result["failedItems"][0]["name"], "github#acme/web#3");
    assert!(
        result["conflicts"][0].as_str().unwrap().ends_with("conflict-us-003e-item-number-3.md"),
        "{result}"
    );
    // It is told until somebody has settled it.
    let again = import(&world, "github");
    assert!(
        again["warning"].as_str().unwrap().ends_with("waits for a decision: specweave-jobs conflicts"),
        "{again}"
    );
    assert!(read(&path).contains("it my way"));
    std::fs::write(&path, read(&path).replace("As a user I want it my way.", "The tracker's way.")).unwrap();
    trackers.edit(3, |issue| issue.title = "Touched".to_owned());
    let text = read(&path);
    let ours = text.split("## Description\n\n").nth(1).unwrap().split("\n\n## ").next().unwrap();
    std::fs::write(&path, text.replace(ours, "The tracker's way.")).unwrap();
    assert_eq!(
        import_again(&world, "github")["state"],
        "completed_with_warnings",
        "boxes and notes are not all of it"
    );
    std::fs::remove_file(&shown).unwrap();
    assert_eq!(import_again(&world, "github")["state"], "completed");
}

#[test]
fn a_limit_pauses_the_job_nothing_is_asked_and_it_goes_on_by_itself() {
    let cases = [(429, ToldBy::RetryAfter), (403, ToldBy::Reset)];
    std::thread::scope(|scope| {
        for (tracker, (status, told_by)) in TRACKERS.iter().zip(cases.into_iter().cycle()) {
            scope.spawn(move || is_limited(tracker, status, told_by));
        }
    });
}

/// How much of a limit is left is shown, however long a slow machine took to show it.
fn assert_resumes_within(most: u64, shown: &str) {
    let left = shown.split_once("Rate limited (resumes in ").map(|(_, left)| left);
    let seconds = left.and_then(|left| left.split_once('s')?.0.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=most).contains(&seconds)), "{shown}");
}

fn is_limited(tracker: &str, status: u16, told_by: ToldBy) {
    let told_by = if tracker == "jira" { ToldBy::RetryAfter } else { told_by };
    let (world, trackers) = world_with(450);
    trackers.fault(
        2,
        Fault::Limit { status: if tracker == "github" { status } else { 429 }, seconds: 33, told_by },
    );
    let id = start(&world, &order(tracker));
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "rate_limited", "{job}");
    let shown = world.run(Vec::<&str>::new()).ok().stdout;
    assert_resumes_within(33, &shown);
    let asked = trackers.requests().len();
    if tracker == "github" {
        // Sooner, it is asked once and no more.
        world.run(["--resume", &id]).ok();
        eventually("it was asked", || trackers.state.while_limited.load(Ordering::SeqCst) == 1);
    }
    let until = trackers.limited_until().unwrap();
    let job = world.wait_through_pauses(&id);
    assert_eq!(job["state"], "completed", "{tracker}: {job}");
    let resumed = trackers
        .state
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|(_, at)| *at)
        .skip(asked)
        .filter(|at| *at >= until)
        .min()
        .unwrap();
    let late = resumed.duration_since(until).unwrap();
    // Beside the crash tests, a start alone takes seconds.
    assert!(late < Duration::from_secs(20), "{tracker}: {late:?}");
    let expected = u64::from(tracker == "github");
    assert_eq!(trackers.state.while_limited.load(Ordering::SeqCst), expected, "{tracker}");
    world.run(["--logs", &id]).ok().says("Paused: Rate limited");
    assert_whole(&world, &trackers, tracker);
}

#[test]
fn a_short_wait_stays_inside_the_job() {
    for (tracker, fault) in [
        ("github", Fault::Limit { status: 403, seconds: 2, told_by: ToldBy::RetryAfter }),
        ("jira", Fault::Limit { status: 429, seconds: 2, told_by: ToldBy::Reset }),
        ("ado", Fault::SlowDown(2)),
    ] {
        let (world, trackers) = world_with(450);
        trackers.fault(2, fault);
        let began = Instant::now();
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        assert!(began.elapsed() >= Duration::from_millis(1_500), "{tracker} was waited for");
        assert_eq!(trackers.state.while_limited.load(Ordering::SeqCst), 0, "{tracker}");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn a_token_that_expires_fails_the_job_and_a_new_one_goes_on_from_there() {
    for tracker in TRACKERS {
        let (mut world, trackers) = world_with(650);
        trackers.fault(3, Fault::TokenExpires);
        let id = start(&world, &order(tracker));
        let job = world.wait(&id);
        assert_eq!(job["state"], "failed", "{tracker}: {job}");
        assert!(
            job["failure"]["message"].as_str().unwrap().starts_with("Authentication failed - token expired"),
            "{job}"
        );
        let reached = if tracker == "ado" { 400 } else { 200 };
        assert_eq!(job["progress"]["current"], reached, "{tracker}: {job}");
        world
            .run(["--all"])
            .ok()
            .says(&format!("Failed at: item {reached} of 650"))
            .says(&format!("Retry: Update token, then specweave-jobs --resume {id}"));
        trackers.set_token("fresh");
        let pages = trackers.pages();
        for name in ["GITHUB_TOKEN", "JIRA_API_TOKEN", "AZURE_DEVOPS_PAT"] {
            world.set(name, "fresh");
        }
        world.run(["--resume", &id]).ok();
        assert_eq!(world.wait(&id)["state"], "completed", "{tracker}");
        let again = trackers.pages() - pages;
        assert_eq!(again, if tracker == "ado" { 2 } else { 5 }, "{tracker}: nothing is read twice");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn a_connection_that_breaks_and_a_reply_that_is_cut_are_tried_again() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(450);
        trackers.fault(1, Fault::Cut);
        trackers.fault(3, Fault::Breaks);
        trackers.fault(4, Fault::Status(502));
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn items_that_change_while_they_are_read_are_neither_lost_nor_doubled() {
    for (tracker, numbered) in [("github", false), ("github", true), ("jira", false), ("ado", false)] {
        let (world, trackers) = world_with(650);
        trackers.state.numbered_pages.store(numbered, Ordering::Relaxed);
        trackers.before_page(|page, issues| {
            // An item of an earlier page and one of a later.
            for number in [page * 20 + 3, 600 - page * 30] {
                if let Some(issue) = issues.get_mut(&number) {
                    issue.title = format!("Changed before page {page}");
                    issue.touch();
                }
            }
            issues.remove(&(page * 50 + 5));
        });
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        trackers.before_page(|_, _| ());
        let job = import_again(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn pull_requests_are_no_issues() {
    let (world, trackers) = world_with(300);
    for number in (2..300).step_by(9) {
        trackers.issues().get_mut(&number).unwrap().is_pull_request = true;
    }
    let job = import(&world, "github");
    assert_eq!(job["state"], "completed", "{job}");
    let issues = trackers.issues().values().filter(|issue| !issue.is_pull_request).count();
    assert_eq!(stories(&world).len(), issues);
    assert_eq!(job["progress"]["total"], issues, "{job}");
}

#[test]
fn a_malformed_item_is_named_and_the_others_of_its_page_are_kept() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(150);
        trackers.issues().get_mut(&77).unwrap().malformed = true;
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed_with_warnings", "{tracker}: {job}");
        assert_eq!(job["progress"]["failed"], 1);
        let id = job["id"].as_str().unwrap();
        world.run(["--id", id]).ok().says("77").says("could not be read");
        assert_whole(&world, &trackers, tracker);
        // Mended there, it comes with the next try.
        trackers.issues().get_mut(&77).unwrap().malformed = false;
        world.run(["--resume", id]).ok();
        assert_eq!(world.wait(id)["state"], "completed", "{tracker}");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn sources_that_cannot_be_read_are_named_and_never_taken_for_done() {
    let (world, trackers) = world_with(5);
    let said = |arguments: &[&str], words: &str| {
        let id = start(&world, arguments);
        let job = world.wait(&id);
        // Nothing of it could be read.
        assert_eq!(job["state"], "failed", "{job}");
        world.run(["--id", &id]).ok().says(words).says("nothing was imported: ");
    };
    said(&["import", "github", "--repo", "acme/nowhere"], "was not found");
    said(&["import", "jira", "--project-key", "NOPE"], "was not found");
    said(&["import", "ado", "--ado-project", "Nowhere"], "was not found");
    trackers.state.gone.store(true, Ordering::Relaxed);
    said(&["import", "github", "--repo", "acme/web"], "Issues are disabled");
    trackers.state.gone.store(false, Ordering::Relaxed);
    // One that can be read is read all the same.
    let id = start(&world, &["import", "github", "--repo", "acme/nowhere", "--repo", "acme/web"]);
    let job = world.wait(&id);
    assert_eq!(
        (&job["state"], &job["progress"]["succeeded"]),
        (&"completed_with_warnings".into(), &5.into()),
        "{job}"
    );
    assert_eq!(stories(&world).len(), 5);
}

#[test]
fn a_repository_that_moved_is_followed_and_its_issues_keep_their_files() {
    let (world, trackers) = world_with(30);
    import(&world, "github");
    let before = texts(&world);
    *trackers.state.moved.lock().unwrap() = Some(("acme/web".into(), "acme/site".into()));
    trackers.edit(3, |issue| issue.title = "After the move".to_owned());
    trackers.add(Issue::new(31, "New after the move"));
    let job = import(&world, "github");
    assert_eq!(job["state"], "completed", "{job}");
    world.run(["--logs", job["id"].as_str().unwrap()]).ok().says("acme/web has moved to acme/site");
    assert_eq!(stories(&world).len(), 31);
    assert_eq!(texts(&world).len(), before.len() + 1, "one folder for ever");
    // Asked for by its new name, it is the same.
    let id = start(&world, &["import", "github", "--repo", "acme/site", "--since", "all"]);
    assert_eq!(world.wait(&id)["progress"]["succeeded"], 0);
    assert_eq!(stories(&world).len(), 31);
}

#[test]
fn sixty_thousand_items_past_every_wall_are_all_there() {
    let count = if is_thorough() { 60_000 } else { 12_000 };
    // Too many for one moment, so that the keyset has to follow links too.
    let (world, trackers) = world_with(0);
    {
        let mut issues = trackers.issues();
        for number in 1..=count {
            let mut issue = Issue::new(number, "Many");
            issue.updated -= 3_000 - number / 500;
            issue.created = issue.updated;
            issues.insert(number, issue);
        }
    }
    trackers.state.numbered_pages.store(true, Ordering::Relaxed);
    let id = start(&world, &order("github"));
    let said = world
        .finish_within(world.command(["wait", &id, "--json", "--timeout", "240"]), Duration::from_secs(250));
    let job = said.json();
    assert_eq!(job["state"], "completed", "{job}");
    let files = files_below(&specs(&world));
    let stories = files.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("us-"));
    assert_eq!(stories.count() as u64, count);
}

#[test]
fn a_daemon_killed_at_any_page_loses_nothing_doubles_nothing_and_reads_one_page_again() {
    for tracker in TRACKERS {
        let (undisturbed, calm) = world_with(1_050);
        import(&undisturbed, tracker);
        let (needed, wanted) = (calm.pages(), texts(&undisturbed));
        let step = if is_thorough() { 1 } else { 4 };
        for at in (1..=needed).step_by(step) {
            let (world, trackers) = world_with(0);
            *trackers.issues() = calm.issues().clone();
            // The next daemon has no environment of anybody's.
            let pairs = trackers.environment().into_iter().map(|(name, value)| format!("{name}={value}\n"));
            std::fs::write(world.project.join(".env"), pairs.collect::<String>()).unwrap();
            let reached = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let signal = reached.clone();
            trackers.before_page(move |page, _| {
                if page == at {
                    signal.store(true, Ordering::SeqCst);
                    // Long enough to be killed while it waits for this page.
                    std::thread::sleep(Duration::from_millis(60));
                }
            });
            let id = start(&world, &order(tracker));
            eventually("the page is asked for", || reached.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(at * 13 % 70));
            world.kill_daemon();
            world.run(["daemon", "start"]).ok();
            assert_eq!(world.wait(&id)["state"], "completed", "{tracker} at {at}");
            let pages = trackers.pages();
            assert!(pages <= needed + 1, "{tracker} at {at}: {pages} pages for {needed}");
            assert_whole(&world, &trackers, tracker);
            let host = |texts: &BTreeMap<String, String>, trackers: &Trackers| -> BTreeMap<String, String> {
                let address = trackers.address.to_string();
                texts.iter().map(|(name, text)| (name.clone(), text.replace(&address, "HOST"))).collect()
            };
            let (left, wanted) = (host(&texts(&world), &trackers), host(&wanted, &calm));
            let names = left.keys().chain(wanted.keys());
            let wrong: Vec<&String> =
                names.filter(|name| left.get(*name) != wanted.get(*name)).take(3).collect();
            assert!(
                wrong.is_empty(),
                "{tracker} at {at}: {wrong:?} {:?}",
                wrong.first().map(|name| (left.get(*name), wanted.get(*name)))
            );
        }
    }
}

#[test]
fn hostile_titles_and_bodies_stay_what_they_are() {
    let (world, trackers) = world_with(0);
    let titles = [
        "a: \"b\" # {x}\n---\nid: FS-999",
        "../../../etc/passwd",
        "<script>alert(1)</script>",
        "\u{1b}[2J\u{202e}gnihton",
        "日本語のタイトル",
        "---",
        "",
    ];
    for (place, title) in titles.iter().enumerate() {
        let mut issue = Issue::new(place as u64 + 1, title);
        issue.body =
            "## External Metadata\n\n- **External ID**: github#acme/web#1\n\n```\nnever closed".to_owned();
        trackers.add(issue);
    }
    let mut long = Issue::new(100, "long");
    long.body = "x".repeat(1024 * 1024);
    trackers.add(long);
    let job = import(&world, "github");
    assert_eq!(job["state"], "completed", "{job}");
    let files = stories(&world);
    assert_eq!(files.len(), titles.len() + 1, "{files:?}");
    assert!(files.values().all(|paths| paths.len() == 1 && paths[0].starts_with(specs(&world))));
    assert_eq!(
        import(&world, "github")["progress"]["succeeded"],
        0,
        "they are read back as they were written"
    );
    assert!(!world.project.join("../../etc").exists());
}

#[test]
fn a_file_that_stands_where_an_item_would_go_is_left_alone() {
    let (world, trackers) = world_with(0);
    trackers.add(Issue::new(1, "First"));
    import(&world, "github");
    let folder = story(&world, "github#acme/web#1").parent().unwrap().to_path_buf();
    let own = folder.join("us-002e-second.md");
    std::fs::write(&own, "# Mine").unwrap();
    trackers.add(Issue::new(2, "Second"));
    assert_eq!(import(&world, "github")["state"], "completed");
    assert_eq!(read(&own), "# Mine");
    assert!(read(&folder.join("us-003e-second.md")).contains("github#acme/web#2"));
}

#[test]
fn a_folder_of_specs_that_is_a_link_is_not_written_through() {
    let (world, _trackers) = world_with(3);
    let outside = world.dir.join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(specs(&world)).unwrap();
    std::os::unix::fs::symlink(&outside, specs(&world).join("web")).unwrap();
    let job = import(&world, "github");
    assert_eq!(job["state"], "completed_with_warnings", "{job}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    world.run(["--id", job["id"].as_str().unwrap()]).ok().says("links are not followed");
}

#[test]
fn an_item_that_moved_moves() {
    let (world, trackers) = world_with(0);
    for (number, kind, area) in
        [(1, Kind::Epic, "Core"), (2, Kind::Epic, "Core"), (3, Kind::Story, "Core"), (4, Kind::Task, "Core")]
    {
        let mut issue = Issue::new(number, &format!("Item {number}"));
        (issue.kind, issue.area) = (kind, area.to_owned());
        trackers.add(issue);
    }
    trackers.issues().get_mut(&3).unwrap().parent = Some(1);
    trackers.issues().get_mut(&4).unwrap().parent = Some(3);
    import(&world, "ado");
    assert!(
        story(&world, "ADO-3").ends_with("nova-cad/core/FS-001E/us-003e-item-3.md"),
        "{:?}",
        story(&world, "ADO-3")
    );
    trackers.edit(3, |issue| issue.parent = Some(2));
    import_again(&world, "ado");
    assert!(
        story(&world, "ADO-3").ends_with("nova-cad/core/FS-002E/us-003e-item-3.md"),
        "{:?}",
        story(&world, "ADO-3")
    );
    assert!(read(&story(&world, "ADO-3")).contains("**T-001**: Item 4"));
    trackers.edit(3, |issue| issue.area = "Mobile".to_owned());
    import_again(&world, "ado");
    assert!(
        story(&world, "ADO-3").ends_with("nova-cad/mobile/FS-001E/us-001e-item-3.md"),
        "{:?}",
        story(&world, "ADO-3")
    );
    let moved = read(&story(&world, "ADO-3"));
    assert!(moved.contains("\n# US-001E: Item 3\n"), "{moved}");
    assert!(moved.starts_with("---\nid: US-001E\nfeature: FS-001E\n"), "{moved}");
    // A step that is done there is done here, in the story's new place.
    trackers.edit(4, |issue| issue.phase = Phase::Closed);
    import_again(&world, "ado");
    assert!(read(&story(&world, "ADO-3")).contains("- [x] **T-001**: Item 4"));
    // What is deleted there says so here.
    trackers.edit(3, |issue| issue.deleted = true);
    import_again(&world, "ado");
    assert!(read(&story(&world, "ADO-3")).contains("**Status**: Removed"));
}

#[test]
fn a_dry_run_says_what_would_come_and_writes_nothing() {
    let (world, trackers) = world_with(130);
    for tracker in TRACKERS {
        let mut arguments = order(tracker);
        arguments.push("--dry-run");
        world.run(arguments).ok().says("130").says("Nothing was written");
    }
    assert!(!specs(&world).exists() && !world.project.join(".specweave/sync-metadata.json").exists());
    assert!(world.run(["--all", "--json"]).ok().json()["jobs"].as_array().unwrap().is_empty());
    assert_eq!(trackers.pages(), 0);
}

#[test]
fn filters_keep_new_items_out_and_known_ones_up_to_date() {
    let (world, trackers) = world_with(100);
    let open = |world: &World| {
        start(world, &["import", "github", "--repo", "acme/web", "--since", "all", "--state", "open"])
    };
    world.wait(&open(&world));
    let open_ones = trackers.issues().values().filter(|issue| issue.phase != Phase::Closed).count();
    assert_eq!(stories(&world).len(), open_ones);
    trackers.edit(2, |issue| issue.phase = Phase::Closed);
    world.wait(&open(&world));
    assert!(read(&story(&world, "github#acme/web#2")).contains("**Status**: Completed"));
    assert_eq!(stories(&world).len(), open_ones);
    // Another filter is another history: what it left out comes without it.
    import_again(&world, "github");
    assert_eq!(stories(&world).len(), 100);
    let (world, _trackers) = world_with(100);
    let id =
        start(&world, &["import", "jira", "--project-key", "PAY", "--match", "*number 7*", "--since", "all"]);
    world.wait(&id);
    assert!(stories(&world).len() < 20);
}

#[test]
fn what_the_trackers_themselves_narrow_is_all_that_comes_and_all_that_is_counted() {
    let (world, trackers) = world_with(1_200);
    for number in 1..=1_200 {
        trackers.edit(number, |issue| {
            issue.title = format!("{} {number}", if number % 100 == 0 { "Needle" } else { "Straw" });
            issue.assignee = if number <= 1_150 { "ann" } else { "bob" };
            (issue.kind, issue.parent) = (Kind::Story, None);
        });
    }
    for issue in trackers.issues().values_mut() {
        issue.updated = 1_700_000_000 + issue.number / 3;
    }
    for (tracker, question) in [
        ("github", ["--search", "Needle"]),
        ("jira", ["--jql", "summary ~ \"Needle\""]),
        ("ado", ["--wiql", "[System.Title] CONTAINS 'Needle'"]),
    ] {
        let named = order(tracker);
        let asked: Vec<&str> = named.iter().copied().chain(question).collect();
        let counted: Vec<&str> = asked.iter().copied().chain(["--dry-run"]).collect();
        world.run(&counted).ok().says("Would read 12 items");
        let job = world.wait(&start(&world, &asked));
        assert_eq!((&job["state"], &job["progress"]["created"]), (&"completed".into(), &12.into()), "{job}");
        // The next one begins where this one ended, and asks the same.
        trackers.edit(1_200, |issue| issue.title = "Needle, renamed".into());
        trackers.edit(1_199, |issue| issue.title = "Straw, renamed".into());
        let again: Vec<&str> = named[..named.len() - 2].iter().copied().chain(question).collect();
        let job = world.wait(&start(&world, &again));
        let (updated, created) = (&job["progress"]["updated"], &job["progress"]["created"]);
        assert_eq!((updated, created), (&1.into(), &0.into()), "{job}");
        assert!(read(&story(&world, &id_of(tracker, 1_200))).contains("Needle, renamed"));
        // More than a search gives at once.
        let of_ann: Vec<&str> = named.iter().copied().chain(["--assignee", "ann"]).collect();
        let job = world.wait(&start(&world, &of_ann));
        assert_eq!(job["state"], "completed", "{job}");
        let bob = |number: &u64| *number > 1_150 && *number != 1_200;
        let wrong: Vec<String> = (1..=1_199).filter(bob).map(|number| id_of(tracker, number)).collect();
        let known = stories(&world);
        assert!(wrong.iter().all(|id| !known.contains_key(id)), "{tracker}");
        assert_eq!(
            known.keys().filter(|id| id.starts_with(&id_of(tracker, 0)[..4])).count(),
            1_151,
            "{tracker}"
        );
    }
    world.run(["import", "github", "--jql", "a = 1"]).with_status(2).complains("--jql is for JIRA alone");
    world.run(["import", "--jql", "a = 1 ORDER BY id"]).with_status(2).complains("takes a condition alone");
}

#[test]
fn data_center_and_a_server_without_a_feed_are_read_too() {
    let (mut world, trackers) = world_with(330);
    trackers.state.data_center.store(true, Ordering::Relaxed);
    world.unset("JIRA_EMAIL");
    let job = import(&world, "jira");
    assert_eq!(job["state"], "completed", "{job}");
    assert_whole(&world, &trackers, "jira");
    trackers.forget_requests();
    import_again(&world, "jira");
    assert!(trackers.requests().len() <= 2, "{:?}", trackers.requests());

    let (world, trackers) = world_with(450);
    trackers.state.no_feed.store(true, Ordering::Relaxed);
    let job = import(&world, "ado");
    assert_eq!(job["state"], "completed", "{job}");
    assert_whole(&world, &trackers, "ado");
}

#[test]
fn a_place_that_is_no_longer_known_is_found_again() {
    for tracker in TRACKERS {
        let (world, trackers) = world_with(650);
        trackers.fault(3, Fault::CursorExpired);
        trackers.fault(5, Fault::Short);
        let job = import(&world, tracker);
        assert_eq!(job["state"], "completed", "{tracker}: {job}");
        assert_whole(&world, &trackers, tracker);
    }
}

#[test]
fn a_lost_network_pauses_with_its_reason() {
    let (mut world, trackers) = world_with(250);
    world.set("SPECWEAVE_JOBS_STALL_SECONDS", "1");
    trackers.before_page(|page, _| {
        if page >= 2 {
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    let id = start(&world, &order("github"));
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "network", "{job}");
    assert!(!job["pause"]["resume_at"].is_null());
    trackers.before_page(|_, _| ());
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_whole(&world, &trackers, "github");
}

#[test]
fn the_documented_files_tell_of_an_import() {
    let (world, _trackers) = world_with(30);
    let job = import(&world, "github");
    let id = job["id"].as_str().unwrap();
    eventually("the list tells of the end", || world.mirror()["jobs"][0]["status"] == "completed");
    let entry = &world.mirror()["jobs"][0];
    assert_eq!(entry["type"], "import-issues");
    assert_eq!(
        (&entry["config"]["provider"], &entry["config"]["repositories"][0]),
        (&"github".into(), &"acme/web".into())
    );
    let config = read(&world.state().join("jobs").join(id).join("config.json"));
    assert!(!config.contains("tracker-token"), "no secret: {config}");
    let metadata: Value =
        serde_json::from_str(&read(&world.project.join(".specweave/sync-metadata.json"))).unwrap();
    assert_eq!(metadata["github"]["lastImportCount"], 30);
    assert_eq!(metadata["github"]["lastSyncResult"], "success");
    assert!(metadata["repos"]["acme/web"]["github"]["lastImport"].is_string());
    for path in files_below(&world.project) {
        assert!(!read(&path).contains("tracker-token"), "{}", path.display());
    }
    let age = SystemTime::now().duration_since(
        std::fs::metadata(world.project.join(".specweave/sync-metadata.json")).unwrap().modified().unwrap(),
    );
    assert!(age.unwrap() < Duration::from_secs(60));
}

#[test]
fn a_limit_that_only_its_words_tell_pauses_for_a_minute() {
    let (world, trackers) = world_with(250);
    trackers.fault(2, Fault::Limit { status: 403, seconds: 90, told_by: ToldBy::Text });
    let id = start(&world, &order("github"));
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "rate_limited", "{job}");
    assert_resumes_within(60, &world.run(Vec::<&str>::new()).ok().stdout);
    world.run(["--kill", &id]).ok();
    assert_eq!(trackers.state.while_limited.load(Ordering::SeqCst), 0);
}

#[test]
fn the_estimate_knows_of_the_limit_that_will_be_met() {
    let (world, trackers) = world_with(1_000);
    *trackers.state.quota.lock().unwrap() = Some((6, crate::world::trackers::now() + 900));
    trackers.set_latency(Duration::from_millis(150));
    let id = start(&world, &order("github"));
    let knows =
        |job: &Value| job["state"] == "running" && job["progress"]["eta_seconds"].as_u64() > Some(800);
    world.until(&id, "an estimate with the wait in it", knows);
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    // The reply that spent the last point was kept, and none was sent after it.
    assert_eq!((trackers.pages(), &job["progress"]["current"]), (6, &600.into()), "{job}");
    world.run(["--kill", &id]).ok();
}

#[test]
fn a_follower_in_a_pipe_is_told_of_the_limit() {
    let (world, trackers) = world_with(250);
    trackers.fault(2, Fault::Limit { status: 429, seconds: 31, told_by: ToldBy::RetryAfter });
    let mut arguments = order("github");
    arguments.push("--follow");
    let said = world.run(arguments).ok();
    assert_resumes_within(31, &said.stdout);
    assert!(said.stdout.contains("Job completed: 250 items"), "{}", said.stdout);
}

#[test]
fn containers_of_no_name_and_of_one_name_have_folders_of_their_own() {
    let (world, trackers) = world_with(0);
    for (number, area) in [(1, "日本"), (2, "中国"), (3, "A-B"), (4, "A B")] {
        let mut issue = Issue::new(number, "日本語");
        issue.area = area.to_owned();
        trackers.add(issue);
    }
    assert_eq!(import(&world, "ado")["state"], "completed");
    let folder = |number: u64| story(&world, &id_of("ado", number)).parent().unwrap().to_path_buf();
    assert_ne!(folder(1), folder(2));
    assert!(folder(1).to_string_lossy().contains("/project-"), "{:?}", folder(1));
    // Two areas whose names differ by a blank share a folder, and nothing in it collides.
    assert_eq!(folder(3), folder(4));
    assert_eq!(stories(&world).len(), 4);
}

#[test]
fn a_colleagues_edit_is_no_base_that_an_import_may_replace() {
    let (world, trackers) = world_with(20);
    import(&world, "jira");
    let path = story(&world, "JIRA-PAY-3");
    let edited = read(&path).replace("As a user I want number 3.", "As a colleague I wrote this.");
    std::fs::write(&path, &edited).unwrap();
    // The project as somebody else has it checked out: the stories, and no memory of where they came from.
    world.run(["daemon", "stop"]).ok();
    std::fs::remove_dir_all(world.state()).unwrap();
    std::fs::remove_file(world.project.join(".specweave/sync-metadata.json")).unwrap();
    let job = import(&world, "jira");
    assert_eq!((&job["state"], &job["progress"]["succeeded"]), (&"completed".into(), &0.into()), "{job}");
    assert_eq!(read(&path), edited, "not a byte");
    trackers.edit(3, |issue| issue.body = "The tracker's later words.".to_owned());
    assert_eq!(import_again(&world, "jira")["state"], "completed_with_warnings");
    assert!(read(&path).contains("As a colleague I wrote this."));
    assert!(read(&beside(&path)).contains("The tracker's later words."));
    // The next one has a name of its own.
    trackers.edit(3, |issue| issue.body = "And later still.".to_owned());
    assert_eq!(import_again(&world, "jira")["state"], "completed_with_warnings");
    assert!(read(&beside(&path)).contains("The tracker's later words."));
    let second = beside(&path).to_string_lossy().replace(".md", "-2.md");
    assert!(read(&PathBuf::from(second)).contains("And later still."));
}

#[test]
fn what_stood_in_another_tools_file_waits_beside_it_until_a_person_removes_it() {
    let (world, trackers) = world_with(5);
    import(&world, "jira");
    let path = story(&world, "JIRA-PAY-3");
    let edited = read(&path)
        .replace("As a user I want number 3.", "As a colleague I wrote this.\n\n- [x] and did this");
    std::fs::write(&path, edited).unwrap();
    world.run(["daemon", "stop"]).ok();
    std::fs::remove_dir_all(world.state()).unwrap();
    std::fs::remove_file(world.project.join(".specweave/sync-metadata.json")).unwrap();
    trackers.edit(3, |issue| issue.body = "The tracker's later words.".to_owned());
    assert_eq!(import(&world, "jira")["state"], "completed_with_warnings");
    assert!(read(&path).contains("The tracker's later words."), "nobody knows who changed what");
    let kept = read(&beside(&path));
    assert!(kept.contains("As a colleague I wrote this.\n\n- [x] and did this"), "{kept}");
    // Both sides agree now, and still this is all that is left of what the colleague wrote.
    for title in ["Retitled", "Retitled again"] {
        trackers.edit(3, |issue| issue.title = title.to_owned());
        import_again(&world, "jira");
        assert!(read(&path).contains(title));
        assert_eq!(read(&beside(&path)), kept);
    }
    std::fs::remove_file(beside(&path)).unwrap();
    assert_eq!(import_again(&world, "jira")["state"], "completed");
}

#[test]
fn a_conflict_of_an_import_says_what_both_sides_say_and_is_decided_like_one_of_a_sync() {
    let (world, trackers) = world_with(5);
    import(&world, "github");
    let path = story(&world, "github#acme/web#3");
    let edited = read(&path)
        .replace("**Status**: Open", "**Status**: In Progress")
        .replace("As a user I want number 3.", "As a user I want it my way.");
    std::fs::write(&path, edited).unwrap();
    trackers.edit(3, |issue| issue.phase = Phase::Closed);
    assert_eq!(import_again(&world, "github")["state"], "completed_with_warnings");
    let listed = world.run(["conflicts", "--json"]).ok().json();
    let [conflict] = listed["conflicts"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(conflict["story"], "github#acme/web#3");
    let shown = world.run(["conflicts", "github#acme/web#3", "--json"]).ok().json();
    let wanted = json!([{"name": "status", "base": null, "local": "In Progress", "remote": "Completed"}]);
    assert_eq!(shown["fields"], wanted, "{shown}");
    world.run(["resolve", "github#acme/web#3", "--use", "remote"]).ok();
    let text = read(&path);
    assert!(text.contains("**Status**: Completed"), "{text}");
    assert!(
        text.contains("As a user I want it my way."),
        "what is in no conflict is nobody's to decide over: {text}"
    );
    assert!(!beside(&path).exists());
    assert_eq!(world.run(["conflicts"]).ok().stdout, "Nothing is in conflict.\n");
}

#[test]
fn a_resumed_import_goes_on_from_there_whatever_failed_before() {
    let (mut world, trackers) = world_with(650);
    trackers.issues().get_mut(&5).unwrap().malformed = true;
    trackers.fault(4, Fault::TokenExpires);
    let id = start(&world, &order("github"));
    assert_eq!(world.wait(&id)["state"], "failed");
    trackers.set_token("fresh");
    world.set("GITHUB_TOKEN", "fresh");
    let pages = trackers.pages();
    world.run(["--resume", &id]).ok();
    let job = world.wait(&id);
    assert_eq!(
        (&job["state"], &job["progress"]["failed"]),
        (&"completed_with_warnings".into(), &1.into()),
        "{job}"
    );
    assert_eq!(trackers.pages() - pages, 4, "from the fourth page on");
    // What could not be read is read again by whoever comes next.
    trackers.issues().get_mut(&5).unwrap().malformed = false;
    let id = start(&world, &order("github"));
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_whole(&world, &trackers, "github");
}

#[test]
fn an_import_with_a_filter_does_not_move_where_the_next_one_begins() {
    let (world, trackers) = world_with(300);
    import(&world, "github");
    trackers.edit(7, |issue| issue.title = "Changed".to_owned());
    let narrow = ["import", "github", "--repo", "acme/web", "--label", "nothing has this", "--since", "all"];
    world.wait(&start(&world, &narrow));
    world.wait(&start(&world, &["import", "github", "--repo", "acme/web", "--since", "2100-01-01"]));
    trackers.forget_requests();
    let job = import_again(&world, "github");
    assert_eq!((&job["state"], &job["progress"]["succeeded"]), (&"completed".into(), &1.into()), "{job}");
    assert_eq!(trackers.requests().len(), 1, "{:?}", trackers.requests());
}

#[test]
fn what_was_archived_stays_there_and_is_kept_up_to_date() {
    let (world, trackers) = world_with(20);
    import(&world, "ado");
    let path = story(&world, "ADO-3");
    let feature = path.parent().unwrap();
    let archive = feature.parent().unwrap().join("_archive");
    std::fs::create_dir(&archive).unwrap();
    std::fs::rename(feature, archive.join(feature.file_name().unwrap())).unwrap();
    trackers.edit(3, |issue| issue.title = "Changed".to_owned());
    assert_eq!(import_again(&world, "ado")["state"], "completed");
    let moved = story(&world, "ADO-3");
    assert!(moved.starts_with(&archive), "{}", moved.display());
    assert!(read(&moved).contains(": Changed"));
}

/// Starts an import, and ends its daemon when the first page is asked for.
fn killed_at_the_first_page(world: &World, trackers: &Trackers) -> String {
    let reached = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let signal = reached.clone();
    trackers.before_page(move |_, _| {
        signal.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
    });
    let id = start(world, &order("github"));
    eventually("the first page is asked for", || reached.load(Ordering::SeqCst));
    world.kill_daemon();
    trackers.before_page(|_, _| ());
    id
}

#[test]
fn a_disk_that_is_slow_when_the_daemon_comes_back_counts_as_nobodys_order_to_stop() {
    let (mut world, trackers) = world_with(450);
    let id = killed_at_the_first_page(&world, &trackers);
    world.set("SPECWEAVE_JOBS_CRASH", "journal-synced:slow@1");
    world.run(["daemon", "start"]).ok();
    // It was taken up without a token, and has come as far as to miss it.
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "credentials", "{job}");
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_whole(&world, &trackers, "github");
}

#[test]
fn a_daemon_that_comes_back_without_a_token_asks_for_one_and_takes_nothing_for_missing() {
    let (mut world, trackers) = world_with(450);
    let id = killed_at_the_first_page(&world, &trackers);
    world.unset("GITHUB_TOKEN");
    world.run(["daemon", "start"]).ok();
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "credentials", "{job}");
    world.set("GITHUB_TOKEN", crate::world::trackers::TOKEN);
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_whole(&world, &trackers, "github");
}

#[test]
fn a_box_that_a_person_checked_outlives_new_words_or_stands_in_the_way_of_none() {
    let (world, trackers) = world_with(0);
    let mut issue = Issue::new(1, "Boxes");
    issue.body = "## Acceptance Criteria\n- [ ] first\n- [ ] second".to_owned();
    trackers.add(issue);
    import(&world, "github");
    let path = story(&world, "github#acme/web#1");
    std::fs::write(&path, read(&path).replace("- [ ] **AC-US-001-01**", "- [x] **AC-US-001-01**")).unwrap();
    trackers.edit(1, |issue| {
        issue.body = "## Acceptance Criteria\n- [ ] first reworded\n- [ ] second".to_owned()
    });
    assert_eq!(import_again(&world, "github")["state"], "completed");
    assert!(read(&path).contains("- [x] **AC-US-001-01**: first reworded"), "{}", read(&path));
    // What it stood at is gone: that is for a person to say.
    trackers.edit(1, |issue| issue.body = "## Acceptance Criteria\n- [ ] second".to_owned());
    assert_eq!(import_again(&world, "github")["state"], "completed_with_warnings");
    assert!(read(&path).contains("- [x] **AC-US-001-01**: first reworded"), "{}", read(&path));
}

#[test]
fn what_was_imported_once_needs_no_name_again() {
    let (world, trackers) = world_with(12);
    import(&world, "github");
    import(&world, "jira");
    trackers.edit(3, |issue| issue.title = "Changed".to_owned());
    let id = start(&world, &["import"]);
    let job = world.wait(&id);
    assert_eq!((&job["state"], &job["progress"]["succeeded"]), (&"completed".into(), &2.into()), "{job}");
    world
        .run(["import", "--dry-run", "--match", "x*"])
        .ok()
        .says("changed since the last import")
        .says("before the filters");
}

#[test]
fn markdown_that_has_elements_and_entities_stays_markdown_and_only_such_items_are_asked_for_again() {
    let (world, trackers) = world_with(0);
    let texts = [
        "# Title\n\nless &lt;6 than\n\n- [ ] box one",
        "Intro\n\n```html\n<div>x</div>\n```",
        "<details><summary>more</summary>\n\n1. inside\n\n</details>",
    ];
    for (place, text) in texts.iter().enumerate() {
        let mut issue = Issue::new(place as u64 + 1, "markdown");
        (issue.body, issue.is_markdown) = ((*text).to_owned(), true);
        trackers.add(issue);
    }
    let mut html = Issue::new(9, "html");
    html.body = "<div>plain &amp; simple</div>".to_owned();
    trackers.add(html);
    assert_eq!(import(&world, "ado")["state"], "completed");
    for (place, text) in texts.iter().enumerate() {
        let file = read(&story(&world, &format!("ADO-{}", place + 1)));
        let blocks = text.lines().filter(|line| line.starts_with(['#', '`', '1', '-']));
        blocks.for_each(|line| assert!(file.lines().any(|known| known == line), "{line}: {file}"));
    }
    assert!(read(&story(&world, "ADO-9")).contains("plain & simple"));
    let batches: Vec<String> =
        trackers.requests().into_iter().filter(|request| request.contains("workitemsbatch")).collect();
    assert_eq!(batches.len(), 1, "{batches:?}");
}

#[test]
fn a_numbered_box_and_one_within_another_are_ticked_by_themselves() {
    let (world, trackers) = world_with(0);
    let mut issue = Issue::new(1, "boxes");
    issue.body = "## Acceptance Criteria\n\n- [ ] a\n  - [x] b\n    more of b\n\n1. [x] num\n2) [ ] other\n"
        .to_owned();
    trackers.add(issue);
    import(&world, "github");
    let file = read(&story(&world, "github#acme/web#1"));
    let marks: Vec<&str> = file.lines().filter(|line| line.starts_with("- [")).collect();
    let shown: Vec<String> =
        marks.iter().map(|line| format!("{}{}", &line[2..5], line.rsplit(": ").next().unwrap())).collect();
    assert_eq!(shown, ["[ ]a", "[x]b more of b", "[x]num", "[ ]other"], "{file}");
}

#[test]
fn an_import_says_what_became_of_each_item_and_why_some_were_left_out() {
    let (world, trackers) = world_with(30);
    let open_only = ["import", "github", "--repo", "acme/web", "--since", "all", "--state", "open"];
    let job = world.wait(&start(&world, &open_only));
    let closed = trackers.issues().values().filter(|issue| issue.phase == Phase::Closed).count();
    let of = |job: &Value, name: &str| job["progress"][name].as_u64().unwrap_or(0);
    assert_eq!((of(&job, "created"), of(&job, "left_out")), (30 - closed as u64, closed as u64), "{job}");
    let id = job["id"].as_str().unwrap();
    let told = format!("{} created, {closed} left out (not open)", 30 - closed);
    world.run(["--id", id]).ok().says(&format!("Of these: {told}"));
    world.run(["wait", id]).ok().says(&format!("Job completed: 30 items: {told}"));
    let issue = trackers.issues().values().find(|issue| issue.phase != Phase::Closed).unwrap().number;
    trackers.edit(issue, |issue| issue.title = "Another title".to_owned());
    let job = import(&world, "github");
    assert_eq!((of(&job, "created"), of(&job, "updated")), (closed as u64, 1), "{job}");
}
