//! `import`: show what would come, or start the job.

use super::{Says, job_spec, preview, start};
use crate::cli::ImportArgs;
use crate::connect;
use crate::defaults::Defaults;
use crate::failure::Failure;
use crate::render::table;
use specweave_jobs::project::Project;
use specweave_jobs::text::{counted, plain, thousands};
use specweave_jobs::v1::*;

pub async fn import(project: &Project, arguments: ImportArgs, says: Says) -> Result<u8, Failure> {
    let (dry_run, follow) = (arguments.dry_run, arguments.follow || connect::wants_no_daemon());
    let mut wanted = job_spec(&arguments.terms, &Defaults::read(project)?)?;
    wanted.work = Some(job_spec::Work::Import(spec(arguments)));
    let connection = connect::find_or_start(project).await?;
    if dry_run {
        let preview = preview(connection, wanted, says, plan).await?;
        return Ok(u8::from(preview.items.iter().any(|item| item.action() == Action::Refuse)));
    }
    start(project, connection, wanted, follow, says).await
}

fn spec(arguments: ImportArgs) -> ImportSpec {
    ImportSpec {
        trackers: arguments.trackers.iter().map(|word| Tracker::of_word(word) as i32).collect(),
        repos: arguments.repo,
        project_keys: arguments.project_key,
        ado_org: arguments.ado_org.unwrap_or_default(),
        ado_projects: arguments.ado_project,
        since: arguments.since.unwrap_or_default(),
        open_only: arguments.state.as_deref() == Some("open"),
        labels: arguments.label,
        r#match: arguments.matching,
        search: arguments.search.unwrap_or_default(),
        jql: arguments.jql.unwrap_or_default(),
        wiql: arguments.wiql.unwrap_or_default(),
        assignee: arguments.assignee.unwrap_or_default(),
        milestone: arguments.milestone.unwrap_or_default(),
    }
}

fn plan(preview: &PreviewJobResponse) -> String {
    let rows: Vec<Vec<String>> = preview
        .items
        .iter()
        .map(|item| {
            let count = match (item.action(), item.count) {
                (Action::Refuse, _) => "-".to_owned(),
                (_, None) => "not told".to_owned(),
                (_, Some(count)) => thousands(count),
            };
            vec![plain(&item.source), plain(&item.name), count, plain(&item.target), plain(&item.reason)]
        })
        .collect();
    let mut out = table(&["Tracker", "Source", "Items", "Target", "Why"], &rows);
    let all: u64 = preview.items.iter().filter_map(|item| item.count).sum();
    out.push_str(&format!("\nWould read {}. Nothing was written.\n", counted(all, "item", "items")));
    for note in &preview.notes {
        out.push_str(&format!("({})\n", plain(note)));
    }
    out
}
