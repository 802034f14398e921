//! `sync` and `resolve`: show what would be done, or start the job.

use super::{Says, job_spec, preview, start};
use crate::cli::{ResolveArgs, SyncArgs};
use crate::connect;
use crate::defaults::Defaults;
use crate::failure::Failure;
use crate::render::table;
use specweave_jobs::project::Project;
use specweave_jobs::text::plain;
use specweave_jobs::v1::*;

pub async fn sync(project: &Project, arguments: SyncArgs, says: Says) -> Result<u8, Failure> {
    let (dry_run, follow) = (arguments.dry_run, arguments.follow || connect::wants_no_daemon());
    let mut wanted = job_spec(&arguments.terms, &Defaults::read(project)?)?;
    wanted.work = Some(job_spec::Work::Sync(SyncSpec {
        tracker: Tracker::of_word(arguments.tracker.as_deref().unwrap_or_default()) as i32,
        profile: arguments.profile.unwrap_or_default(),
        direction: Direction::of_word(arguments.direction.as_deref().unwrap_or_default()) as i32,
        on_conflict: OnConflict::of_word(arguments.on_conflict.as_deref().unwrap_or_default()) as i32,
        only: arguments.only,
        force_deletes: arguments.force_deletes,
        resolve: false,
    }));
    let connection = connect::find_or_start(project).await?;
    if dry_run {
        let preview = preview(connection, wanted, says, plan).await?;
        return Ok(u8::from(
            preview.items.iter().any(|item| matches!(item.action(), Action::Conflict | Action::Broken)),
        ));
    }
    start(project, connection, wanted, follow, says).await
}

/// A sync of one story, with what a person has decided; it is over in a moment, and waited for.
pub async fn resolve(project: &Project, arguments: ResolveArgs, says: Says) -> Result<u8, Failure> {
    let spec = SyncSpec {
        tracker: Tracker::of_word(arguments.tracker.as_deref().unwrap_or_default()) as i32,
        profile: arguments.profile.unwrap_or_default(),
        on_conflict: OnConflict::of_word(&arguments.side) as i32,
        only: vec![arguments.story],
        resolve: true,
        ..SyncSpec::default()
    };
    let connection = connect::find_or_start(project).await?;
    let spec = JobSpec { work: Some(job_spec::Work::Sync(spec)), ..JobSpec::default() };
    start(project, connection, spec, true, says).await
}

fn plan(preview: &PreviewJobResponse) -> String {
    let rows: Vec<Vec<String>> = preview
        .items
        .iter()
        .map(|item| {
            let texts = [&item.name, &item.source, &item.reason].map(|text| plain(text));
            std::iter::once(item.action().word()).chain(texts).collect()
        })
        .collect();
    let mut out = if rows.is_empty() {
        "Nothing to do.\n".to_owned()
    } else {
        table(&["Would", "Story", "Item", "What"], &rows)
    };
    if !rows.is_empty() {
        out.push_str(&format!("\n{} to do. Nothing was written.\n", rows.len()));
    }
    for note in &preview.notes {
        out.push_str(&format!("({})\n", plain(note)));
    }
    out
}
