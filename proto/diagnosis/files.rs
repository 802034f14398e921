//! The files: the file system they are on, room, what cannot be read, what was left behind, and secrets.

use super::Finding;
use crate::mirror::{self, Document, from_entries};
use crate::project::{JobId, Project};
use crate::redactor::Redactor;
use crate::{clock, conflict_files, disk, process, system};
use serde::de::IgnoredAny;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Less room than this, and jobs soon pause.
const LITTLE_ROOM: u64 = 100 * 1024 * 1024;

/// Files larger than this are searched for secrets in their first part only.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A file of state is no larger.
const MOST_STATE: u64 = 1024 * 1024 * 1024;

/// A finding names so many files, and counts the others.
const MOST_NAMED: usize = 5;

pub(super) fn examine(project: &Project) -> Vec<Finding> {
    let state = files_below(&project.state(), 4);
    let clones = git_folders(&project.root().join("repositories"));
    vec![
        file_system(project),
        room(project),
        list_lock(project),
        readable(project, &state),
        set_aside(project, &state),
        conflicts(project),
        partial_clones(project),
        secrets(project, &state, &clones),
    ]
}

/// Network file systems do not all keep locks.
fn file_system(project: &Project) -> Finding {
    if let Some(name) = system::network_file_system(&project.specweave()) {
        let detail = format!(".specweave is on a network file system ({name}); its locks may not hold");
        return Finding::note("file system", detail, "keep the project on a local disk");
    }
    Finding::ok("file system", "local")
}

fn room(project: &Project) -> Finding {
    let facts = match rustix::fs::statvfs(project.specweave()) {
        Ok(facts) => facts,
        Err(error) => return Finding::wrong("disk", error.to_string(), "df -h .specweave"),
    };
    let free = facts.f_bavail * facts.f_frsize;
    let detail = format!("{} MB free", free / (1024 * 1024));
    if facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        Finding::wrong("disk", "the file system is read-only", "mount | grep ro,")
    } else if free < LITTLE_ROOM || facts.f_files > 0 && facts.f_favail == 0 {
        Finding::wrong(
            "disk",
            format!("{detail}, {} files can be made", facts.f_favail),
            "df -h .specweave; df -i .specweave",
        )
    } else {
        Finding::ok("disk", detail)
    }
}

/// SpecWeave's lock is held for milliseconds.
fn list_lock(project: &Project) -> Finding {
    const STALE_MS: clock::Millis = 30_000;
    let path = project.background_jobs_lock();
    if !disk::exists(&path) {
        return Finding::ok("list lock", "free");
    }
    let content = disk::read_regular(&path, 1024).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let mut lines = content.lines();
    let pid: Option<u32> = lines.next().and_then(|pid| pid.parse().ok());
    let taken: Option<clock::Millis> = lines.next().and_then(|at| at.parse().ok());
    let holder_lives = pid.zip(taken).is_some_and(|(pid, taken)| process::is_still(pid, taken));
    if taken.is_some_and(|taken| clock::now() - taken < STALE_MS) && holder_lives {
        Finding::ok("list lock", format!("held by process {}", pid.unwrap_or(0)))
    } else {
        Finding::note(
            "list lock",
            "left by a process that is gone; the next writer breaks it",
            format!("rm {}", path.display()),
        )
    }
}

fn readable(project: &Project, files: &[PathBuf]) -> Finding {
    let list = Document::read(&project.background_jobs()).err().map(|_| project.background_jobs());
    let is_json = |path: &Path| {
        let bytes = disk::read_regular(path, MOST_STATE).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            serde_json::from_slice::<IgnoredAny>(&bytes).is_ok()
        } else {
            bytes
                .split(|byte| *byte == b'\n')
                .all(|line| line.is_empty() || serde_json::from_slice::<IgnoredAny>(line).is_ok())
        }
    };
    let named = |path: &&PathBuf| {
        path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl")
    };
    let broken =
        files.iter().filter(named).filter(|path| **path != project.background_jobs() && !is_json(path));
    let broken: Vec<PathBuf> = list.into_iter().chain(broken.cloned()).collect();
    if broken.is_empty() {
        Finding::ok("state files", format!("{} files, all readable", files.len()))
    } else {
        Finding::wrong(
            "state files",
            format!("not valid JSON: {}", shown(project, &broken)),
            "specweave-jobs daemon start   (what it cannot read it sets aside, and rebuilds the list)",
        )
    }
}

/// What a daemon could not read and did not overwrite.
fn set_aside(project: &Project, files: &[PathBuf]) -> Finding {
    let is_aside = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        disk::is_aside(&name)
    };
    let aside: Vec<PathBuf> = files.iter().filter(is_aside).cloned().collect();
    if aside.is_empty() {
        Finding::ok("quarantine", "nothing was set aside")
    } else {
        Finding::note(
            "quarantine",
            format!("unreadable parts were set aside: {}", all(project, &aside)),
            "look at them, then remove them",
        )
    }
}

/// What waits for a person beside stories.
fn conflicts(project: &Project) -> Finding {
    match &conflict_files::paths(project)[..] {
        [] => Finding::ok("conflicts", "no story is in conflict"),
        waiting => Finding::note(
            "conflicts",
            format!("a person is to decide over {}", all(project, waiting)),
            "specweave-jobs conflicts",
        ),
    }
}

/// Half clones that no job goes on with.
fn partial_clones(project: &Project) -> Finding {
    let document = Document::read(&project.background_jobs()).unwrap_or_default();
    let jobs = from_entries(&document.jobs, project).into_iter();
    let unfinished: HashSet<String> =
        jobs.filter(|job| mirror::is_active(job.state())).map(|job| job.id).collect();
    let orphan = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let job = name.rsplit_once(".partial-").map(|(_, job)| job.to_owned());
        job.is_some_and(|job| JobId::parse(&job).is_some() && !unfinished.contains(&job))
    };
    let orphans: Vec<PathBuf> =
        folders_below(&project.root().join("repositories"), 3).into_iter().filter(orphan).collect();
    if orphans.is_empty() {
        Finding::ok("partial clones", "none without a job")
    } else {
        Finding::wrong(
            "partial clones",
            format!("left by jobs that are over: {}", shown(project, &orphans)),
            format!("rm -rf {}", shown(project, &orphans)),
        )
    }
}

fn secrets(project: &Project, state: &[PathBuf], clones: &[PathBuf]) -> Finding {
    use std::io::Read;
    let redactor = Redactor::default();
    let tells = |path: &PathBuf| {
        let mut text = Vec::new();
        let read = disk::open_regular(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        read.is_ok() && redactor.clean(&text) != text
    };
    let configs: Vec<PathBuf> = clones.iter().map(|clone| clone.join("config")).collect();
    let found: Vec<PathBuf> = state.iter().chain(&configs).filter(|path| tells(path)).cloned().collect();
    if found.is_empty() {
        Finding::ok("secrets", "none in state files or in clones' .git/config")
    } else {
        Finding::wrong(
            "secrets",
            format!("in clear text in {}", shown(project, &found)),
            "revoke them; then remove them: `git remote set-url origin ADDRESS` in a clone, \
         `specweave-jobs --resume ID` for a job of SpecWeave",
        )
    }
}

/// Every path, where a person has to look at each.
fn all(project: &Project, paths: &[PathBuf]) -> String {
    paths.iter().map(|path| name_of(project, path)).collect::<Vec<_>>().join(" ")
}

fn name_of(project: &Project, path: &Path) -> String {
    path.strip_prefix(project.root()).unwrap_or(path).display().to_string()
}

/// The first paths as seen from the project, and how many more there are.
fn shown(project: &Project, paths: &[PathBuf]) -> String {
    let mut names: Vec<String> = paths.iter().take(MOST_NAMED).map(|path| name_of(project, path)).collect();
    if paths.len() > MOST_NAMED {
        names.push(format!("and {} more", paths.len() - MOST_NAMED));
    }
    names.join(" ")
}

/// Regular files, without following links.
fn files_below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (name, kind) in disk::read_folder(folder).unwrap_or_default() {
        let path = folder.join(name);
        match kind {
            disk::Kind::Folder if depth > 0 => files.extend(files_below(&path, depth - 1)),
            disk::Kind::File => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

/// Folders down to a depth; not into repositories.
fn folders_below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (name, kind) in disk::read_folder(folder).unwrap_or_default() {
        if kind != disk::Kind::Folder {
            continue;
        }
        let path = folder.join(name);
        if depth > 1 && !disk::exists(&path.join(".git")) {
            folders.extend(folders_below(&path, depth - 1));
        }
        folders.push(path);
    }
    folders.sort();
    folders
}

fn git_folders(repositories: &Path) -> Vec<PathBuf> {
    let folders = folders_below(repositories, 3).into_iter().map(|folder| folder.join(".git"));
    folders.filter(|git| disk::is_folder(git)).collect()
}
