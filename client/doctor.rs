//! `doctor`: what the examination of a project says, with what only a caller can see: whether the daemon answers it, and
//! whether SpecWeave hands its jobs over. It only reads: nothing is started, written or removed.

mod daemon;

use crate::failure::{Failure, GENERAL};
use crate::verbs::{hook, print, print_json};
use specweave_jobs::diagnosis::{self, Finding, Verdict};
use specweave_jobs::project::Project;
use specweave_jobs::text::plain;

/// Examines the project. Status 1 when something is wrong.
pub async fn doctor(project: &Project, json: bool) -> Result<u8, Failure> {
    let mut findings = vec![Finding::ok("project", project.root().display().to_string())];
    findings.extend(daemon::examine(project).await);
    findings.extend(diagnosis::examine(project));
    findings.extend(hand_over(project));
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

/// Whether SpecWeave's own commands hand their jobs over.
fn hand_over(project: &Project) -> Option<Finding> {
    let state = hook::State::look(project.root()).ok()?;
    Some(if state.is_broken() {
        Finding::wrong("hand-over", state.told(), "specweave-jobs hook install")
    } else if state.is_active() {
        Finding::ok("hand-over", state.told())
    } else {
        Finding::note("hand-over", "SpecWeave runs its jobs itself", "specweave-jobs hook install")
    })
}
