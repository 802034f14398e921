//! Projects as SpecWeave 1.0.593 left them, recorded by running it: `tests/fixtures/specweave-state/<case>`.

use super::repositories::{SMALL, make};
use super::{World, files_below, read};
use serde_json::Value;
use std::path::{Path, PathBuf};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/specweave-state");

/// The names of all cases.
pub fn cases() -> Vec<String> {
    let folders = std::fs::read_dir(RECORDED).unwrap();
    let mut names: Vec<String> =
        folders.map(|folder| folder.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Puts the case's state into the world's project, with remotes for its clone jobs. `replaced` are further texts and
/// what stands in their place here.
pub fn lay_out(world: &World, case: &str, replaced: &[(&str, String)]) {
    let from = Path::new(RECORDED).join(case);
    let remotes = world.dir.join("recorded-remotes");
    std::fs::create_dir_all(&remotes).unwrap();
    let _ = std::fs::remove_dir_all(world.project.join(".specweave"));
    for file in files_below(&from) {
        let to = world.project.join(file.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut text = read(&file);
        for (word, here) in replaced {
            text = text.replace(word, here);
        }
        make_remotes(&text, &remotes);
        text = text.replace("/home/dev/remotes", remotes.to_str().unwrap());
        text = text.replace("/home/dev/project", world.project.to_str().unwrap());
        std::fs::write(&to, text).unwrap();
        if file.ends_with("worker.pid") {
            make_old(&to);
        }
    }
}

/// The jobs of the case's list.
pub fn jobs(world: &World) -> Vec<Value> {
    let text = read(&world.state().join("background-jobs.json"));
    let list: Value = serde_json::from_str(&text).unwrap_or_default();
    list["jobs"].as_array().cloned().unwrap_or_default()
}

fn make_remotes(text: &str, remotes: &Path) {
    const HEAD: &str = "file:///home/dev/remotes/";
    for part in text.split(HEAD).skip(1) {
        let Some((name, _)) = part.split_once(".git\"") else { continue };
        let exists: PathBuf = remotes.join(format!("{name}.git"));
        if !name.starts_with("does-not-exist") && !name.contains(['"', '/']) && !exists.exists() {
            make(remotes, name, SMALL);
        }
    }
}

/// The pid in it was a process of the machine that was recorded; whatever has that number here is younger.
fn make_old(path: &Path) {
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}
