//! `clone`: gather the sources, show the plan or start the job.

use super::{Says, job_spec, preview, start};
use crate::cli::CloneArgs;
use crate::connect;
use crate::defaults::Defaults;
use crate::failure::Failure;
use crate::render::table;
use specweave_jobs::project::Project;
use specweave_jobs::text::plain;
use specweave_jobs::v1::*;
use std::io::Read;
use std::path::{Path, PathBuf};

pub async fn clone(project: &Project, arguments: CloneArgs, says: Says) -> Result<u8, Failure> {
    let (dry_run, follow) = (arguments.dry_run, arguments.follow || connect::wants_no_daemon());
    let defaults = Defaults::read(project)?;
    let mut wanted = job_spec(&arguments.terms, &defaults)?;
    wanted.work = Some(job_spec::Work::Clone(spec(arguments, &defaults)?));
    let connection = connect::find_or_start(project).await?;
    if dry_run {
        preview(connection, wanted, says, plan).await?;
        return Ok(0);
    }
    start(project, connection, wanted, follow, says).await
}

fn spec(arguments: CloneArgs, defaults: &Defaults) -> Result<CloneSpec, Failure> {
    let mut sources = arguments.sources;
    if let Some(path) = &arguments.from {
        let text = read(path)?;
        // Windows' editors begin a file with a mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        sources.extend(text.lines().filter_map(listed));
    }
    for source in sources.iter().filter(|source| is_folder_here(source)) {
        eprintln!("note: {source} is taken for a repository of GitHub; the folder here is ./{source}");
    }
    let sources = sources.into_iter().map(absolute).collect::<Result<_, _>>()?;
    Ok(CloneSpec {
        sources,
        github_org: arguments.github_org.unwrap_or_default(),
        github_user: arguments.github_user.unwrap_or_default(),
        ado_org: arguments.ado_org.unwrap_or_default(),
        ado_project: arguments.ado_project.unwrap_or_default(),
        gitlab_group: arguments.gitlab_group.unwrap_or_default(),
        gitea_org: arguments.gitea_org.unwrap_or_default(),
        bitbucket_workspace: arguments.bitbucket.unwrap_or_default(),
        r#match: arguments.matching,
        exclude: arguments.exclude,
        include_archived: arguments.include_archived,
        include_forks: arguments.include_forks,
        concurrency: arguments.concurrency.or(defaults.concurrency).unwrap_or(0),
        depth: arguments.depth.unwrap_or(0),
        layout: match arguments.layout.as_deref().or(defaults.layout.as_deref()) {
            Some("host") => Layout::Host,
            _ => Layout::Owner,
        } as i32,
        ssh: arguments.ssh,
        topics: arguments.topic,
        languages: arguments.language,
        active_since: arguments.active_since.unwrap_or_default(),
        mirror: arguments.mirror,
        single_branch: arguments.single_branch,
        recurse_submodules: arguments.recurse_submodules,
        filter: arguments.filter.unwrap_or_default(),
        update: arguments.update,
        gone: match (arguments.prune, arguments.force) {
            (false, _) => Gone::Keep,
            (true, false) => Gone::Name,
            (true, true) => Gone::Remove,
        } as i32,
    })
}

/// The source of a line: `#` begins a comment, at its beginning or behind a blank.
fn listed(line: &str) -> Option<String> {
    let line = line.trim();
    let mut marks = line.match_indices('#').map(|(at, _)| at);
    let is_comment = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = marks.find(is_comment).unwrap_or(line.len());
    Some(line[..end].trim_end().to_owned()).filter(|source| !source.is_empty())
}

fn read(path: &Path) -> Result<String, Failure> {
    let fail = |source| Failure::Read { path: path.to_path_buf(), source };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(fail)
}

/// Whether `owner/repo` may have been meant as a folder.
fn is_folder_here(source: &str) -> bool {
    let is_short = source.split('/').count() == 2 && !source.starts_with(['.', '/']) && !source.contains(':');
    is_short && Path::new(source).join(".git").exists()
}

/// The daemon works elsewhere: a path that begins with a dot is made absolute here.
fn absolute(source: String) -> Result<String, Failure> {
    let relative = source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    if !relative {
        return Ok(source);
    }
    let path = PathBuf::from(&source);
    // One that does not exist is the job's to report, like any other repository that fails.
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(&path));
    let absolute = absolute.map_err(|error| Failure::Read { path, source: error })?;
    Ok(absolute.to_string_lossy().into_owned())
}

fn plan(preview: &PreviewJobResponse) -> String {
    let rows: Vec<Vec<String>> = preview
        .items
        .iter()
        .map(|item| {
            vec![
                item.action().word(),
                plain(&item.name),
                plain(&item.source),
                plain(&item.target),
                plain(&item.reason),
            ]
        })
        .collect();
    let mut out = table(&["Action", "Name", "Source", "Target", "Why"], &rows);
    let count = |action| preview.items.iter().filter(|item| item.action() == action).count();
    out.push_str(&format!(
        "\nWould clone {}, {}, refuse {}. Nothing was changed.\n",
        count(Action::Clone),
        match (count(Action::Check), count(Action::Update)) {
            (check, 0) => format!("check {check} that stand there already"),
            (_, update) => format!("bring {update} up to date"),
        },
        count(Action::Refuse)
    ));
    for note in &preview.notes {
        out.push_str(&format!("({})\n", plain(note)));
    }
    out
}
