//! The README's first command: a project and a dozen repositories of its own, cloned in the background with
//! live progress, listed, and everything that was started stopped again. No account, no network, no git.

#[path = "world/repositories.rs"]
#[allow(dead_code)]
mod repositories;

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const REPOSITORIES: usize = 12;

fn main() {
    let folder = std::env::temp_dir().join(format!("specweave-jobs-demo-{}", std::process::id()));
    let project = folder.join("project");
    let result = std::fs::create_dir_all(&project)
        .map_err(|error| error.to_string())
        .and_then(|()| show(&folder, &project));
    let stopped = client(&project, &["daemon", "stop"]);
    let _ = std::fs::remove_dir_all(&folder);
    if let Err(error) = result.and(stopped) {
        eprintln!("the demonstration failed: {error}");
        exit(1);
    }
}

fn show(folder: &Path, project: &Path) -> Result<(), String> {
    println!("Making {REPOSITORIES} git repositories in {} ...\n", folder.display());
    let names = repositories::make_many(&folder.join("remotes"), REPOSITORIES);
    client(project, &["init"])?;
    let mut clone = vec!["clone".to_owned(), "--follow".to_owned()];
    clone.extend(names.iter().map(|name| format!("file://{}/remotes/acme/{name}.git", folder.display())));
    client(project, &clone.iter().map(String::as_str).collect::<Vec<_>>())?;
    client(project, &["--all"])?;
    let cloned =
        std::fs::read_dir(project.join("repositories/acme")).map_err(|error| error.to_string())?.count();
    if cloned != REPOSITORIES {
        return Err(format!("{cloned} of {REPOSITORIES} repositories were cloned"));
    }
    println!("{cloned} repositories stand in {}/repositories/acme.\n", project.display());
    Ok(())
}

/// Runs the client that was built beside this program, and shows its command.
fn client(project: &Path, arguments: &[&str]) -> Result<(), String> {
    let shown: Vec<&str> = arguments.iter().take(3).copied().collect();
    let more = if arguments.len() > 3 { " ..." } else { "" };
    println!("$ specweave-jobs {}{more}", shown.join(" "));
    let status = Command::new(binary()?).args(arguments).current_dir(project).status();
    println!();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("specweave-jobs {}: {status}", shown.join(" "))),
        Err(error) => Err(error.to_string()),
    }
}

fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("specweave-jobs");
    beside.exists().then_some(beside).ok_or_else(|| "build first: cargo build".to_owned())
}
