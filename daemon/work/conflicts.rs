//! What waits for a person to decide: the contradictions that syncs have found, and the files that imports have left
//! beside a story. Read from the disk each time it is asked, so that it is never older than the last job. Blocks.

use crate::docs::story::Document;
use crate::docs::writer::{Access, SPECS, Writer};
use crate::model::conflict;
use crate::model::conflict_file::{self, is_beside};
use crate::model::record::Field;
use crate::model::story_key::StoryKey;
use crate::store::mac::PlaceKey;
use crate::work::sync::{self, Contradiction};
use specweave_jobs::clock::timestamp;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use specweave_jobs::v1;
use std::io;

/// All of them, with what both sides say.
pub fn all(project: &Project, key: &PlaceKey) -> io::Result<Vec<v1::Conflict>> {
    let mut all: Vec<v1::Conflict> =
        sync::contradictions(project, key)?.iter().map(|(story, one)| of_sync(story, one)).collect();
    let docs = Writer::open(project, key, Access::Look).map_err(io::Error::other)?;
    let is_known = |file: &str| all.iter().any(|known| is_beside(file, &known.path));
    let others: Vec<String> = docs.conflicts().into_iter().filter(|file| !is_known(file)).collect();
    let text = |file: &str| disk::read_regular(&project.root().join(file), MOST_TEXT).unwrap_or_default();
    all.extend(others.into_iter().map(|file| {
        let path = conflict_file::story_of(&file);
        let [shown, story] = [&file, &path].map(|name| String::from_utf8_lossy(&text(name)).into_owned());
        let facts = disk::facts(&project.root().join(&file)).ok();
        let seen_at = facts.map(|facts| facts.modified.into());
        v1::Conflict { seen_at, ..of_import(file, &shown, path, &story) }
    }));
    Ok(all)
}

fn of_sync(story: &str, contradiction: &Contradiction) -> v1::Conflict {
    let Contradiction { at, fields, path, item, url, base, local, remote } = contradiction;
    let field = |field: &Field| v1::ConflictField {
        name: field.name().to_owned(),
        base: base.as_ref().map(|base| base.local.shown(*field)),
        local: local.shown(*field),
        remote: remote.shown(*field),
    };
    let key = StoryKey::parse(story).map(|key| v1::StoryKey {
        folder: key.folder.to_owned(),
        feature: key.feature.to_owned(),
        story: key.story.to_owned(),
    });
    v1::Conflict {
        story: story.to_owned(),
        file: format!("{SPECS}/{}", conflict_file::beside(path, 1)),
        key,
        item: item.clone(),
        url: url.clone(),
        path: format!("{SPECS}/{path}"),
        seen_at: Some(timestamp(*at)),
        fields: fields.iter().map(field).collect(),
    }
}

/// A story that came from a tracker, named by its id there: all that is known of its conflict stands in the files.
fn of_import(file: String, text: &str, path: String, story_text: &str) -> v1::Conflict {
    let name = path.rsplit('/').next().unwrap_or(&path);
    let (story, item) = conflict::names(text).unwrap_or((name.trim_end_matches(".md"), ""));
    let field = |field: Field| {
        let (local, remote) = conflict::sides(text, field)?;
        Some(v1::ConflictField { name: field.name().to_owned(), base: None, local, remote })
    };
    v1::Conflict {
        story: story.to_owned(),
        item: item.to_owned(),
        url: Document::parse(story_text).metadata("External URL").unwrap_or_default().to_owned(),
        fields: conflict::fields(text).into_iter().filter_map(field).collect(),
        path,
        file,
        ..v1::Conflict::default()
    }
}

/// A conflict's file is no longer: two sides of a tracker's longest text.
const MOST_TEXT: u64 = 32 * 1024 * 1024;
