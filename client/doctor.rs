//! `doctor`: looks at everything that a project's jobs rest on and says what is wrong, each with its fix. It only reads:
//! nothing is started, written or removed.

mod daemon;
mod files;

use crate::failure::{Failure, GENERAL};
use crate::verbs::{hook, print, print_json};
use serde::Serialize;
use serde_json::Value;
use specweave_jobs::project::Project;
use specweave_jobs::text::plain;
use specweave_jobs::{clock, disk, environment};
use std::path::Path;
use std::process::{Command, Stdio};

/// One line of the examination.
#[derive(Serialize)]
pub struct Finding {
    /// What was looked at.
    check: &'static str,
    verdict: Verdict,
    detail: String,
    /// A command to type, or what to do; empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    fix: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// Worth knowing; nothing is broken.
    Note,
    Wrong,
}

fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Ok, detail: detail.into(), fix: String::new() }
}

fn note(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Note, detail: detail.into(), fix: fix.into() }
}

fn wrong(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Wrong, detail: detail.into(), fix: fix.into() }
}

/// Examines the project. Status 1 when something is wrong.
pub async fn doctor(project: &Project, json: bool) -> Result<u8, Failure> {
    let mut findings = vec![ok("project", project.root().display().to_string())];
    findings.extend(daemon::examine(project).await);
    findings.extend(files::examine(project));
    findings.extend(programs());
    findings.extend(credentials(project));
    findings.extend(hand_over(project));
    findings.push(clock_is_right(project));
    let healthy = findings.iter().all(|finding| finding.verdict != Verdict::Wrong);
    if json {
        print_json(&serde_json::json!({"healthy": healthy, "findings": findings}))?;
    } else {
        findings.iter().try_for_each(|finding| print(&line(finding)))?;
    }
    Ok(if healthy { 0 } else { GENERAL })
}

fn line(finding: &Finding) -> String {
    let word = match finding.verdict {
        Verdict::Ok => "ok   ",
        Verdict::Note => "note ",
        Verdict::Wrong => "WRONG",
    };
    let fix = match finding.fix.as_str() {
        "" => String::new(),
        fix => format!("{:21}fix: {}\n", "", plain(fix)),
    };
    format!("{word} {:<14} {}\n{fix}", finding.check, plain(&finding.detail))
}

/// None of them is needed; each makes something possible.
fn programs() -> Vec<Finding> {
    let uses = [
        ("git", &["--version"][..], "git's credential helpers cannot be asked"),
        ("ssh", &["-V"], "addresses of ssh cannot be cloned"),
        ("gh", &["--version"], "gh's login cannot be used"),
    ];
    uses.into_iter()
        .map(|(program, arguments, without)| {
            if runs(program, arguments) {
                ok(program, "is there")
            } else {
                note(program, format!("is not there: {without}"), "")
            }
        })
        .collect()
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Whether SpecWeave's own commands hand their jobs over.
fn hand_over(project: &Project) -> Option<Finding> {
    let state = hook::State::look(project.root()).ok()?;
    Some(if state.is_broken() {
        wrong("hand-over", state.told(), "specweave-jobs hook install")
    } else if state.is_active() {
        ok("hand-over", state.told())
    } else {
        note("hand-over", "SpecWeave runs its jobs itself", "specweave-jobs hook install")
    })
}

/// A larger configuration is none.
const MOST_CONFIG: u64 = 16 * 1024 * 1024;

/// Where credentials are; never what they are.
fn credentials(project: &Project) -> Vec<Finding> {
    const SERVICES: [(&str, &str, &[&str]); 3] = [
        ("github", "GitHub", &["GITHUB_TOKEN", "GH_TOKEN"]),
        ("ado", "Azure DevOps", &["AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN"]),
        ("jira", "JIRA", &["JIRA_API_TOKEN"]),
    ];
    let config = disk::read_regular(&project.config(), MOST_CONFIG).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    let is_used = |word: &str| {
        let mut profiles = config["sync"]["profiles"].as_object().into_iter().flatten();
        config["sync"][word].is_object()
            || profiles.any(|(_, profile)| profile["provider"] == word || profile["platform"] == word)
    };
    let dotenv = disk::read_regular(&project.dotenv(), environment::MOST_DOTENV).unwrap_or_default();
    let dotenv = environment::parse_dotenv(&String::from_utf8_lossy(&dotenv));
    let in_dotenv = |name: &str| dotenv.contains_key(name);
    let place = |(word, service, names): (&str, &str, &[&str])| {
        let set = names.iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        match (set, names.iter().find(|name| in_dotenv(name))) {
            (Some(name), _) => ok("credentials", format!("{service}: {name} is set")),
            (None, Some(name)) => ok("credentials", format!("{service}: {name} is in .env")),
            (None, None) if is_used(word) => note(
                "credentials",
                format!("{service}: config.json names it, and no token is in the environment or .env"),
                format!("export {}=...", names[0]),
            ),
            (None, None) => ok("credentials", format!("{service}: none in the environment or .env")),
        }
    };
    SERVICES.into_iter().map(place).collect()
}

/// A job from the future was written by a clock that was wrong, or is read by one that is.
fn clock_is_right(project: &Project) -> Finding {
    const SLACK_MS: clock::Millis = 5 * 60_000;
    let now = clock::now();
    let newest = newest_moment(&project.state());
    match newest {
        Some(at) if at > now + SLACK_MS => wrong(
            "clock",
            format!("it is {}, and files of this project are from {}", clock::iso(now), clock::iso(at)),
            "set the clock right (timedatectl)",
        ),
        _ => ok("clock", clock::iso(now)),
    }
}

fn newest_moment(folder: &Path) -> Option<clock::Millis> {
    let names = disk::read_folder(folder).ok()?.into_iter();
    let modified = names.filter_map(|(name, _)| Some(disk::facts(&folder.join(name)).ok()?.modified));
    let newest = modified.max()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(newest.as_millis() as clock::Millis)
}
