//! A tracker on this machine for trying `import` and `sync` without an account: GitHub's, JIRA's and Azure DevOps' faces
//! over one world that is gone when it ends. It prints what to set, answers until it is interrupted, an hour at most, and
//! lets a person edit as somebody else would: `new TITLE`, `edit NUMBER title TEXT`, `close NUMBER`, `check NUMBER`, `show NUMBER`.

#[path = "world"]
#[allow(dead_code)]
mod world {
    pub mod http;
    pub mod trackers;
}

use std::io::BufRead;
use std::time::{Duration, Instant};
use world::trackers::{Issue, Phase, Trackers};

const MOST: Duration = Duration::from_secs(3_600);

const COMMANDS: &str = "list, show NUMBER, new TITLE, edit NUMBER title TEXT, check NUMBER, close NUMBER";

/// What the project's people have written already.
const ISSUES: [(&str, &str, Phase); 3] = [
    (
        "Users are logged out after five minutes",
        "As a user I want to stay logged in while I read.\n\n## Acceptance Criteria\n\n- [ ] reading counts as being there\n- [x] the time is a setting",
        Phase::Open,
    ),
    (
        "The list of orders is slow",
        "As a clerk I want to see the orders of a day at once.\n\n## Acceptance Criteria\n\n- [ ] a thousand orders take less than a second",
        Phase::Active,
    ),
    ("Dark colours", "As a user I want dark colours at night.", Phase::Closed),
];

fn main() {
    let trackers = Trackers::start();
    for (title, body, phase) in ISSUES {
        add(&trackers, title, body, phase);
    }
    println!(
        "A tracker with {} items listens on this machine for an hour. In another terminal:\n",
        ISSUES.len()
    );
    for (name, value) in trackers.environment() {
        println!("export {name}={value}");
    }
    println!("\nGitHub's repository is acme/web, JIRA's project PAY, Azure DevOps' \"Nova CAD\".");
    println!("Here: {COMMANDS}; Ctrl-C ends it.\n");
    std::thread::spawn(|| {
        let began = Instant::now();
        while began.elapsed() < MOST {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(0);
    });
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        act(&trackers, &line);
    }
    // Nobody types here; it still answers.
    std::thread::sleep(MOST);
}

/// Gives the new item's number.
fn add(trackers: &Trackers, title: &str, body: &str, phase: Phase) -> u64 {
    let number = trackers.issues().keys().next_back().map_or(1, |last| last + 1);
    let mut issue = Issue::new(number, title);
    (issue.body, issue.phase) = (body.to_owned(), phase);
    trackers.add(issue);
    number
}

fn act(trackers: &Trackers, line: &str) {
    if let Some(title) = line.strip_prefix("new ").map(str::trim).filter(|title| !title.is_empty()) {
        let number = add(trackers, title, "", Phase::Open);
        trackers.edit(number, |_| ());
        return println!("#{number} {title}");
    }
    if line.trim() == "list" {
        for (number, issue) in trackers.issues().iter() {
            println!("#{number} {} ({:?})", issue.title, issue.phase);
        }
        return;
    }
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let Some(number) = words.get(1).and_then(|word| word.trim_start_matches('#').parse().ok()) else {
        return println!("{COMMANDS}");
    };
    if !trackers.issues().contains_key(&number) {
        return println!("there is no #{number}");
    }
    match (words[0], words.get(2), words.get(3)) {
        ("edit", Some(&"title"), Some(text)) => trackers.edit(number, |issue| {
            let names = issue.title.find("] ").map_or("", |end| &issue.title[..end + 2]);
            issue.title = format!("{names}{text}");
        }),
        ("check", ..) => trackers.edit(number, |issue| {
            issue.body = issue.body.replacen("- [ ]", "- [x]", 1);
            if let Some(document) = &mut issue.document {
                let text = document.to_string().replacen("\"TODO\"", "\"DONE\"", 1);
                *document = serde_json::from_str(&text).unwrap_or_default();
            }
        }),
        ("close", ..) => trackers.edit(number, |issue| (issue.phase, issue.state) = (Phase::Closed, None)),
        ("show", ..) => {}
        _ => return println!("{COMMANDS}"),
    }
    let issue = trackers.issue(number);
    println!("#{number} {} ({:?}) {:?}\n{}\n", issue.title, issue.phase, issue.labels, issue.body);
}
