//! A tracker on this machine for trying `import` and `sync` without an account: GitHub's, JIRA's and Azure DevOps' faces
//! over one world that is gone when it ends. It prints what to set, answers until it is interrupted, an hour at most, and
//! lets a person edit as somebody else would: `edit NUMBER title TEXT`, `close NUMBER`, `check NUMBER`, `show NUMBER`.

#[path = "world"]
#[allow(dead_code)]
mod world {
    pub mod http;
    pub mod trackers;
}

use std::io::BufRead;
use std::time::{Duration, Instant};
use world::trackers::{Phase, Trackers};

const MOST: Duration = Duration::from_secs(3_600);

fn main() {
    let trackers = Trackers::start();
    println!("A tracker without items listens on this machine for an hour. In another terminal:\n");
    for (name, value) in trackers.environment() {
        println!("export {name}={value}");
    }
    println!("\nGitHub's repository is acme/web, JIRA's project PAY, Azure DevOps' \"Nova CAD\".");
    println!("Here: show NUMBER, edit NUMBER title TEXT, check NUMBER, close NUMBER; Ctrl-C ends it.\n");
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

fn act(trackers: &Trackers, line: &str) {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let Some(number) = words.get(1).and_then(|word| word.trim_start_matches('#').parse().ok()) else {
        return println!("show NUMBER, edit NUMBER title TEXT, check NUMBER, close NUMBER");
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
        _ => return println!("show NUMBER, edit NUMBER title TEXT, check NUMBER, close NUMBER"),
    }
    let issue = trackers.issue(number);
    println!("#{number} {} ({:?}) {:?}\n{}\n", issue.title, issue.phase, issue.labels, issue.body);
}
