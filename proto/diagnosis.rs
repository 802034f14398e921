//! What can be said of a project's health without asking anybody: its files, the programs on this machine, where
//! credentials are, the clock. It only reads. What a daemon answers is its client's business.

mod files;

use crate::project::{self, Project};
use crate::v1;
use crate::{clock, disk, environment};
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// One line of the examination.
#[derive(Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// A command to type, or what to do; empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is broken.
    Note,
    /// Something does not work, or will not.
    Wrong,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into(), fix: String::new() }
    }

    /// Nothing is broken.
    pub fn note(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Note, detail: detail.into(), fix: fix.into() }
    }

    /// With what mends it.
    pub fn wrong(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Wrong, detail: detail.into(), fix: fix.into() }
    }
}

impl From<Finding> for v1::Finding {
    fn from(finding: Finding) -> Self {
        let verdict = match finding.verdict {
            Verdict::Ok => v1::finding::Verdict::Ok,
            Verdict::Note => v1::finding::Verdict::Note,
            Verdict::Wrong => v1::finding::Verdict::Wrong,
        };
        let (check, detail, fix) = (finding.check.to_owned(), finding.detail, finding.fix);
        Self { check, verdict: verdict.into(), detail, fix }
    }
}

/// Looks at everything that the project's jobs rest on.
pub fn examine(project: &Project) -> Vec<Finding> {
    let mut findings = files::examine(project);
    findings.extend(programs());
    findings.extend(credentials(project));
    findings.push(clock_is_right(project));
    findings
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
                Finding::ok(program, "is there")
            } else {
                Finding::note(program, format!("is not there: {without}"), "")
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

/// Where credentials are; never what they are.
fn credentials(project: &Project) -> Vec<Finding> {
    const SERVICES: [(&str, &str, &[&str]); 3] = [
        ("github", "GitHub", &["GITHUB_TOKEN", "GH_TOKEN"]),
        ("ado", "Azure DevOps", &["AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN"]),
        ("jira", "JIRA", &["JIRA_API_TOKEN"]),
    ];
    let config = project::configuration(&project.config());
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
            (Some(name), _) => Finding::ok("credentials", format!("{service}: {name} is set")),
            (None, Some(name)) => Finding::ok("credentials", format!("{service}: {name} is in .env")),
            (None, None) if is_used(word) => Finding::note(
                "credentials",
                format!("{service}: config.json names it, and no token is in the environment or .env"),
                format!("export {}=...", names[0]),
            ),
            (None, None) => Finding::ok("credentials", format!("{service}: none in the environment or .env")),
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
        Some(at) if at > now + SLACK_MS => Finding::wrong(
            "clock",
            format!("it is {}, and files of this project are from {}", clock::iso(now), clock::iso(at)),
            "set the clock right (timedatectl)",
        ),
        _ => Finding::ok("clock", clock::iso(now)),
    }
}

fn newest_moment(folder: &Path) -> Option<clock::Millis> {
    let names = disk::read_folder(folder).ok()?.into_iter();
    let modified = names.filter_map(|(name, _)| Some(disk::facts(&folder.join(name)).ok()?.modified));
    let newest = modified.max()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(newest.as_millis() as clock::Millis)
}
