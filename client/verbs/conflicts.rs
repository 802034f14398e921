//! `conflicts`: what waits for a person to decide.

use super::{print, print_json};
use crate::connect::{self, timed};
use crate::failure::Failure;
use crate::render::table;
use specweave_jobs::project::Project;
use specweave_jobs::text::{plain, shell_word};
use specweave_jobs::v1::*;
use std::fmt::Write;

pub async fn conflicts(project: &Project, story: Option<String>, json: bool) -> Result<u8, Failure> {
    let mut connection = connect::find_or_start(project).await?;
    match story {
        None => {
            let asked = connection.client.list_conflicts(timed(ListConflictsRequest {})).await;
            let listed = asked.map_err(Failure::from)?.into_inner();
            if json { print_json(&listed)? } else { print(&list(&listed.conflicts))? }
        }
        Some(story) => {
            let asked = connection.client.get_conflict(timed(GetConflictRequest { story })).await;
            let conflict = asked.map_err(Failure::from)?.into_inner().conflict.unwrap_or_default();
            if json { print_json(&conflict)? } else { print(&details(&conflict))? }
        }
    }
    Ok(0)
}

fn list(conflicts: &[Conflict]) -> String {
    if conflicts.is_empty() {
        return "Nothing is in conflict.\n".to_owned();
    }
    let fields =
        |one: &Conflict| one.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    let rows: Vec<Vec<String>> = conflicts
        .iter()
        .map(|one| [&one.story, &one.item, &fields(one), &one.path].map(|text| plain(text)).to_vec())
        .collect();
    let next = match conflicts.iter().find(|one| !one.fields.is_empty()) {
        Some(one) => {
            format!("Look: specweave-jobs conflicts {}\n{}\n", shell_word(&plain(&one.story)), decide(one))
        }
        None => "Take over what you want of the file beside each story, then remove that file.\n".to_owned(),
    };
    format!("{}\n{next}", table(&["Story", "Item", "Changed on both sides", "Story's file"], &rows))
}

fn details(conflict: &Conflict) -> String {
    let mut out =
        format!("{} and {} {}\n", plain(&conflict.story), plain(&conflict.item), plain(&conflict.url));
    let _ = writeln!(out, "File: {}", plain(&conflict.path));
    for field in &conflict.fields {
        let _ = writeln!(out, "\n{}", plain(&field.name));
        let sides = [
            ("before", field.base.as_deref()),
            ("here", Some(&*field.local)),
            ("there", Some(&*field.remote)),
        ];
        for (side, text) in sides.into_iter().filter_map(|(side, text)| Some((side, text?))) {
            let indented: Vec<String> = text.lines().map(|line| format!("    {}", plain(line))).collect();
            let _ = writeln!(out, "  {side}:\n{}", indented.join("\n"));
        }
    }
    if conflict.fields.is_empty() {
        let _ = writeln!(out, "\nTake over what you want of {}, then remove it.", plain(&conflict.file));
    } else {
        let _ = writeln!(out, "\n{}", decide(conflict));
    }
    out
}

/// What to type; an imported story has no text of its own in the conflict's file.
fn decide(conflict: &Conflict) -> String {
    let sides = if conflict.key.is_some() { "local|remote|file" } else { "local|remote" };
    format!("Decide: specweave-jobs resolve {} --use {sides}", shell_word(&plain(&conflict.story)))
}
