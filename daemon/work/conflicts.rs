//! What waits for a person to decide: the contradictions that syncs have found, and the files that imports have left
//! beside a story. Read from the disk each time it is asked, so that it is never older than the last job. Blocks.

use crate::docs::writer::{Access, SPECS, Writer};
use crate::model::conflict_file::{self, is_beside};
use crate::model::story_key::StoryKey;
use crate::store::mac::PlaceKey;
use crate::work::sync::{self, Contradiction};
use specweave_jobs::clock::timestamp;
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
    all.extend(others.into_iter().map(of_import));
    Ok(all)
}

fn of_sync(story: &str, contradiction: &Contradiction) -> v1::Conflict {
    let Contradiction { at, fields, path, item, url, base, local, remote } = contradiction;
    let field = |field: &crate::model::record::Field| v1::ConflictField {
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
        // What came from a tracker is named by its id there.
        file: if key.is_some() {
            format!("{SPECS}/{}", conflict_file::beside(path, 1))
        } else {
            String::new()
        },
        key,
        item: item.clone(),
        url: url.clone(),
        path: format!("{SPECS}/{path}"),
        seen_at: Some(timestamp(*at)),
        fields: fields.iter().map(field).collect(),
    }
}

/// Of an import there is only what it left: the file.
fn of_import(file: String) -> v1::Conflict {
    let path = conflict_file::story_of(&file);
    let name = path.rsplit('/').next().unwrap_or(&path);
    v1::Conflict { story: name.trim_end_matches(".md").to_owned(), path, file, ..v1::Conflict::default() }
}
