//! What people see, whole: a change of it is seen in the review.

use super::*;
use specweave_jobs::clock::timestamp;

/// Long ago, so that no word of it depends on today.
const AT: i64 = 1_577_836_800_000;

fn job(state: JobState) -> Job {
    Job {
        id: "ae362dfe".into(),
        r#type: JobType::CloneRepos as i32,
        type_name: "clone-repos".into(),
        state: state as i32,
        started_at: Some(timestamp(AT)),
        updated_at: Some(timestamp(AT + 60_000)),
        progress: Some(Progress {
            current: 12,
            total: 245,
            percentage: 5,
            succeeded: 10,
            skipped: 1,
            failed: 1,
            current_item: "acme/web".into(),
            failed_items: vec!["acme/gone".into()],
            ..Progress::default()
        }),
        ..Job::default()
    }
}

/// Without what depends on the moment and the time zone.
fn settled(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some((name, _)) if matches!(name.trim(), "Started" | "Updated" | "Completed at") => {
            format!("{name}: (a moment)")
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_list_says_of_each_job_what_to_type_next() {
    let paused = Job {
        id: "11112222".into(),
        pause: Some(Pause {
            reason: PauseReason::Credentials as i32,
            message: "needs credentials for github acme/web".into(),
            resume_at: None,
        }),
        ..job(JobState::Paused)
    };
    let failed = Job {
        id: "33334444".into(),
        failure: Some(Failure {
            reason: FailureReason::Authentication as i32,
            message: "Authentication failed - token expired or wrong".into(),
            ..Failure::default()
        }),
        ..job(JobState::Failed)
    };
    let warned = Job {
        id: "55556666".into(),
        warning: "1 of 245 repositories failed (99.6% success rate)".into(),
        ..job(JobState::CompletedWithWarnings)
    };
    let text = list::text(&[paused, failed, warned], true, &list::Looks::new(), Paint(false));
    insta::assert_snapshot!(settled(&text));
}

#[test]
fn the_details_of_a_job_name_every_failure_with_its_reason() {
    let failed = Item {
        name: "acme/gone".into(),
        state: ItemState::Failed as i32,
        failure: Some(Failure { message: "repository not found".into(), ..Failure::default() }),
        ..Item::default()
    };
    let text = details::text(&job(JobState::CompletedWithWarnings), &[failed], Paint(false));
    insta::assert_snapshot!(settled(&text));
}

#[test]
fn an_import_tells_what_was_left_out_with_its_filter_and_without_one() {
    let told = |reason: &str| {
        let progress = Progress {
            total: 3,
            created: 1,
            skipped: 2,
            left_out: 1,
            left_out_reason: reason.into(),
            ..Progress::default()
        };
        let job = Job {
            r#type: JobType::ImportIssues as i32,
            progress: Some(progress),
            ..job(JobState::Completed)
        };
        details::ending(&job)
    };
    assert_eq!(told(""), "Job completed: 3 items: 1 created, 1 unchanged, 1 left out\n");
    assert_eq!(told("not open"), "Job completed: 3 items: 1 created, 1 unchanged, 1 left out (not open)\n");
}
