//! What a clone job leaves behind besides repositories: its `config.json` and `result.json`, and the
//! entries in the project's configuration. Everything here blocks.

use super::targets::{Refusal, Target};
use crate::job::PlannedItem;
use crate::work::config::FailedEntry;
use crate::work::config::pretty;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::disk;
use specweave_jobs::project::{JobFiles, JobId, Project};
use specweave_jobs::v1::Action;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The documented input of a clone job. Its order is the order of the job's items: repositories first,
/// then the refused ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub job_id: String,
    pub project_path: String,
    pub repositories: Vec<Repository>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    pub started_at: String,
    /// What SpecWeave has written besides, in a job that was taken over.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Repository {
    pub owner: String,
    pub name: String,
    pub path: String,
    /// Without credentials.
    pub clone_url: String,
    /// In bytes, where a listing told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `areaPath`, `team` and the like.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    pub name: String,
    pub reason: String,
}

impl Config {
    pub fn new(project: &Project, id: &JobId, at: Millis, targets: &[Target], refusals: &[Refusal]) -> Self {
        Self {
            job_id: id.to_string(),
            project_path: project.root().to_string_lossy().into_owned(),
            repositories: targets
                .iter()
                .map(|target| Repository {
                    owner: target.owner.clone(),
                    name: target.name.clone(),
                    path: target.path.clone(),
                    clone_url: target.address.clone(),
                    size_bytes: target.size,
                    others: Map::new(),
                })
                .collect(),
            refused: refusals
                .iter()
                .map(|refusal| Refused { name: refusal.name.clone(), reason: refusal.reason.clone() })
                .collect(),
            started_at: clock::iso(at),
            others: Map::new(),
        }
    }

    /// How many items it comes to.
    pub fn count(&self) -> usize {
        self.repositories.len() + self.refused.len()
    }

    /// The job's items, and what is to be done with them.
    pub fn items(&self, action: Action) -> Vec<PlannedItem> {
        let repositories = self.repositories.iter().map(|repository| PlannedItem {
            name: repository.name.clone(),
            action,
            // This file has them: a job of many repositories is not to hold them twice.
            ..PlannedItem::default()
        });
        let refused = self.refused.iter().map(|refused| PlannedItem {
            name: refused.name.clone(),
            action: Action::Refuse,
            ..PlannedItem::default()
        });
        repositories.chain(refused).collect()
    }

    /// The `config` object of `background-jobs.json`.
    pub fn documented(&self) -> Value {
        let repositories: Vec<Value> = self
            .repositories
            .iter()
            .map(|one| json!({"owner": one.owner, "name": one.name, "path": one.path}))
            .collect();
        json!({"type": "clone-repos", "repositories": repositories, "projectPath": self.project_path})
    }
}

/// The documented result of a clone job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub total_count: usize,
    pub succeeded: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Percent with one decimal, as text.
    pub success_rate: String,
    pub completed_at: String,
    pub failed_repos: Vec<FailedEntry>,
    pub resume_hint: Option<String>,
    /// What a person should know, such as repositories whose large files are pointers.
    pub notes: Vec<String>,
}

impl Summary {
    pub fn write(&self, files: &JobFiles) -> io::Result<()> {
        disk::replace(&files.result(), &pretty(self), 0o600)
    }
}

/// A result of the most items that a job may have is smaller.
const MOST_RESULT: u64 = 256 * 1024 * 1024;

/// The project's configuration is smaller.
const MOST_PROJECT_CONFIG: u64 = 64 * 1024 * 1024;

/// The notes of the job's last conclusion.
pub fn earlier_notes(files: &JobFiles) -> Vec<String> {
    let result = disk::read_regular(&files.result(), MOST_RESULT).ok();
    let result: Value = result.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let notes = result["notes"].as_array().into_iter().flatten();
    notes.filter_map(|note| note.as_str().map(str::to_owned)).collect()
}

/// Enters the cloned repositories into the project's `config.json`, those that this job has made as such: under
/// `workspace.repos` where there is a workspace, under `umbrella.childRepos` otherwise. Every other key, and every key of an
/// entry that is there already, stays. Those of `removed` ones are taken out. What cannot be read is left alone.
pub fn enter_into_project(
    project: &Project,
    cloned: &[(&Repository, bool)],
    removed: &[&Repository],
) -> Result<usize, String> {
    // Jobs that end together do not undo each other's entries.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = project.config();
    for _ in 0..MOST_TRIES {
        let bytes = disk::read_regular(&path, MOST_PROJECT_CONFIG).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
            _ => format!("{} cannot be read: {error}", path.display()),
        })?;
        let (config, count) = entered(&bytes, cloned, removed)
            .map_err(|why| format!("{} {why} and was left alone", path.display()))?;
        let Some(config) = config else { return Ok(count) };
        let mut out = pretty(&config);
        if bytes.ends_with(b"\n") {
            out.push(b'\n');
        }
        let mode = disk::facts(&path).map_or(0o644, |facts| facts.mode);
        let fill = |file: &mut dyn io::Write| file.write_all(&out);
        // What a person saves meanwhile is not written over.
        let still = || disk::read_regular(&path, MOST_PROJECT_CONFIG).is_ok_and(|now| now == bytes);
        match disk::replace_if(&path, mode, fill, |_| Ok(true), still) {
            Ok(true) => return Ok(count),
            Ok(false) => {}
            Err(error) => return Err(format!("{} cannot be written: {error}", path.display())),
        }
    }
    Err(format!("{} is written again and again by somebody else", path.display()))
}

/// So often it is tried to write a file that somebody else writes, too.
const MOST_TRIES: usize = 20;

/// A configuration with its new entries, unless it has them all, and how many there are then; or what is wrong with it.
fn entered(
    bytes: &[u8],
    cloned: &[(&Repository, bool)],
    removed: &[&Repository],
) -> Result<(Option<Map<String, Value>>, usize), String> {
    let before: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| format!("is not valid JSON ({error})"))?;
    let mut config = before.clone();
    let wrong = |what: &str| format!("has an unexpected {what}");
    let now = clock::iso(clock::now());
    let (section, list, is_umbrella) = if config.contains_key("workspace") {
        ("workspace", "repos", false)
    } else {
        ("umbrella", "childRepos", true)
    };
    let section_map =
        config.entry(section).or_insert_with(|| json!({})).as_object_mut().ok_or_else(|| wrong(section))?;
    let entries =
        section_map.entry(list).or_insert_with(|| json!([])).as_array_mut().ok_or_else(|| wrong(list))?;
    let is_removed = |entry: &Value| removed.iter().any(|one| entry["path"] == one.path.as_str());
    entries.retain(|entry| !is_removed(entry));
    for (repository, is_made) in cloned {
        enter(entries, repository, *is_made, is_umbrella.then_some(now.as_str()));
    }
    let count = entries.len();
    if is_umbrella {
        for (key, value) in
            [("enabled", json!(true)), ("detectedFrom", json!("clone-job")), ("detectedAt", json!(now))]
        {
            section_map.entry(key).or_insert(value);
        }
    }
    Ok(((config != before).then_some(config), count))
}

/// `umbrella` entries say when they were cloned; `workspace` entries have no such key.
fn enter(entries: &mut Vec<Value>, repository: &Repository, is_made: bool, cloned_at: Option<&str>) {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let known = entries.iter().position(|entry| text(entry, "path") == repository.path);
    let place = known.unwrap_or_else(|| {
        let (owner, name) = (&repository.owner, &repository.name);
        let numbered = (2..).map(|number| format!("{owner}-{name}-{number}"));
        let mut ids = [name.clone(), format!("{owner}-{name}")].into_iter().chain(numbered);
        let is_taken = |id: &String| entries.iter().any(|entry| text(entry, "id") == *id);
        let id = ids.find(|id| !is_taken(id)).expect("numbers do not run out");
        let mut entry = json!({"id": id, "path": repository.path, "name": repository.name});
        if cloned_at.is_some() {
            entry["team"] = json!(team(&repository.name));
        }
        entries.push(entry);
        entries.len() - 1
    });
    if let (Some(at), Some(entry)) =
        (cloned_at.filter(|_| is_made || known.is_none()), entries[place].as_object_mut())
    {
        entry.insert("clonedAt".into(), json!(at));
        entry.insert("status".into(), json!("cloned"));
    }
}

/// SpecWeave's guess of a team: the name without its kind.
fn team(name: &str) -> &str {
    const KINDS: [&str; 9] =
        ["-fe", "-be", "-api", "-web", "-mobile", "-backend", "-frontend", "-service", "-srv"];
    KINDS.iter().find_map(|kind| name.strip_suffix(kind)).filter(|team| !team.is_empty()).unwrap_or(name)
}

fn is_clone(at: &Path) -> bool {
    crate::git::git_folder(at).is_some()
}

/// Whether every folder from the project down to `path`'s parent is a real one; they are made where they
/// are missing. A link could lead out of the project.
pub fn make_parents(root: &Path, path: &str) -> Result<(), String> {
    let mut at = root.to_path_buf();
    let parts: Vec<&str> = path.split('/').collect();
    for part in &parts[..parts.len().saturating_sub(1)] {
        if matches!(*part, "" | "." | "..") {
            return Err(format!("{path:?} leads out of the project"));
        }
        at.push(part);
        match disk::facts(&at) {
            Ok(facts)
                if facts.kind == disk::Kind::Folder && at != root.join("repositories") && is_clone(&at) =>
            {
                return Err(format!("{} is a repository itself; nothing is cloned into it", at.display()));
            }
            Ok(facts) if facts.kind == disk::Kind::Folder => {}
            Ok(_) => return Err(format!("{} is not a folder; links are not followed", at.display())),
            Err(_) => match disk::make_folder(&at, 0o777) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(format!("cannot make {}: {error}", at.display()));
                }
                _ => {}
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(owner: &str, name: &str) -> Repository {
        let path = format!("repositories/{owner}/{name}");
        Repository { owner: owner.into(), name: name.into(), path, ..Default::default() }
    }

    fn project(config: &str) -> Project {
        let root = std::env::temp_dir().join(format!("record-{:x}", disk::random()));
        std::fs::create_dir_all(root.join(".specweave")).unwrap();
        let project = Project::find(&root).unwrap();
        std::fs::write(project.config(), config).unwrap();
        project
    }

    fn read(project: &Project) -> Value {
        serde_json::from_slice(&std::fs::read(project.config()).unwrap()).unwrap()
    }

    #[test]
    fn entries_are_added_once_and_foreign_keys_survive() {
        let project = project(
            r#"{"version":"2.0","umbrella":{"mine":1,"childRepos":[{"id":"x","path":"repositories/a/x","prefix":"X"}]},"z":[]}"#,
        );
        let (ax, bx) = (repository("a", "x"), repository("b", "x"));
        enter_into_project(&project, &[(&ax, true), (&bx, true)], &[]).unwrap();
        let once = read(&project);
        enter_into_project(&project, &[(&ax, false)], &[]).unwrap();
        assert_eq!(read(&project), once, "what stood there is as it was");
        let config = read(&project);
        assert_eq!(config["umbrella"]["mine"], 1);
        assert_eq!(config["z"], json!([]));
        let children = config["umbrella"]["childRepos"].as_array().unwrap();
        assert_eq!(children.len(), 2);
        assert_eq!(children[0]["prefix"], "X");
        assert_eq!(children[0]["status"], "cloned");
        assert_eq!(children[1]["id"], "b-x");
        // One more of the same name and owner, and what a person has set.
        let (mut third, text) = (repository("b", "x"), std::fs::read_to_string(project.config()).unwrap());
        third.path = "repositories/other/b/x".into();
        std::fs::write(project.config(), text.replace("\"enabled\": true", "\"enabled\": false")).unwrap();
        enter_into_project(&project, &[(&third, true)], &[]).unwrap();
        let config = read(&project);
        assert_eq!(config["umbrella"]["childRepos"][2]["id"], "b-x-2");
        assert_eq!(config["umbrella"]["enabled"], false);
        std::fs::remove_dir_all(project.root()).unwrap();
    }

    #[test]
    fn a_workspace_is_used_where_there_is_one() {
        let project = project("{\"workspace\":{\"name\":\"w\"}}\n");
        enter_into_project(&project, &[(&repository("a", "x-api"), true)], &[]).unwrap();
        let config = read(&project);
        assert_eq!(
            config["workspace"]["repos"],
            json!([{"id":"x-api","path":"repositories/a/x-api","name":"x-api"}])
        );
        assert!(config.get("umbrella").is_none());
        assert!(std::fs::read_to_string(project.config()).unwrap().ends_with('\n'));
        std::fs::remove_dir_all(project.root()).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        for text in ["{broken", "[]", "{\"umbrella\":3}"] {
            let project = project(text);
            assert!(enter_into_project(&project, &[(&repository("a", "x"), true)], &[]).is_err());
            assert_eq!(std::fs::read_to_string(project.config()).unwrap(), text);
            std::fs::remove_dir_all(project.root()).unwrap();
        }
    }

    #[test]
    fn a_linked_folder_on_the_way_is_refused() {
        let project = project("{}");
        std::os::unix::fs::symlink("/tmp", project.root().join("repositories")).unwrap();
        assert!(
            make_parents(project.root(), "repositories/a/x").unwrap_err().contains("links are not followed")
        );
        assert!(make_parents(project.root(), "../a/x").is_err());
        std::fs::remove_dir_all(project.root()).unwrap();
    }
}
