//! `service`: a unit of systemd or an agent of launchd that starts the project's daemon when its user logs in, for those who
//! want jobs to be done again after a restart of the machine. The daemon leaves as ever when it has nothing to do.

use super::print;
use crate::cli::ServiceAction;
use crate::connect;
use crate::failure::Failure;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a system wants to know, and how it is told.
struct Service {
    path: PathBuf,
    text: String,
    start: Vec<Vec<String>>,
    stop: Vec<Vec<String>>,
}

pub fn service(project: &Project, action: &ServiceAction) -> Result<u8, Failure> {
    let service = Service::of(project)?;
    match action {
        ServiceAction::Install { print: true } => print(&service.text)?,
        ServiceAction::Install { print: false } => {
            let fail = |source| Failure::Write { path: service.path.clone(), source };
            if let Some(folder) = service.path.parent() {
                disk::make_folders(folder, 0o777).map_err(fail)?;
            }
            disk::replace(&service.path, service.text.as_bytes(), 0o644).map_err(fail)?;
            print(&format!("Wrote {}.\n", service.path.display()))?;
            told(&service.start)?;
        }
        ServiceAction::Remove => {
            let is_there = disk::exists(&service.path);
            if is_there {
                told(&service.stop)?;
                let fail = |source| Failure::Write { path: service.path.clone(), source };
                disk::remove_file(&service.path).map_err(fail)?;
            }
            let what = if is_there { "Removed" } else { "There is no" };
            print(&format!("{what} {}.\n", service.path.display()))?;
        }
    }
    Ok(0)
}

/// Runs the system's commands. Where they cannot be run, as in a container, a person is told what to type.
fn told(commands: &[Vec<String>]) -> Result<(), Failure> {
    for words in commands {
        let [program, arguments @ ..] = &words[..] else { continue };
        let quiet =
            Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !quiet.is_ok_and(|status| status.success()) {
            print(&format!("To type where that is possible: {}\n", words.join(" ")))?;
        }
    }
    Ok(())
}

impl Service {
    fn of(project: &Project) -> Result<Self, Failure> {
        let folders = directories::BaseDirs::new();
        let home = folders.ok_or_else(|| Failure::Usage("this user has no home folder".into()))?;
        let daemon = connect::daemon_program();
        let root = project.root();
        let name = format!("specweave-jobs-{:08x}", crc32fast::hash(root.as_os_str().as_encoded_bytes()));
        Ok(if cfg!(target_os = "macos") {
            Self::of_launchd(home.home_dir(), &name, &daemon, root)
        } else {
            Self::of_systemd(home.config_dir(), &name, &daemon, root)
        })
    }

    fn of_systemd(config: &Path, name: &str, daemon: &Path, root: &Path) -> Self {
        let command = |words: &[&str]| {
            ["systemctl", "--user"]
                .iter()
                .chain(words)
                .map(|word| (*word).to_owned())
                .collect::<Vec<String>>()
        };
        let unit = format!("{name}.service");
        Self {
            path: config.join("systemd/user").join(&unit),
            text: format!(
                "[Unit]\nDescription=Background jobs of {}\n\n[Service]\nExecStart={} serve --foreground --project {}\n\
                 Restart=on-failure\n\n[Install]\nWantedBy=default.target\n",
                root.display().to_string().replace('%', "%%"),
                systemd_word(daemon),
                systemd_word(root)
            ),
            start: vec![command(&["daemon-reload"]), command(&["enable", "--now", &unit])],
            stop: vec![command(&["disable", "--now", &unit])],
        }
    }

    fn of_launchd(home: &Path, name: &str, daemon: &Path, root: &Path) -> Self {
        let path = home.join("Library/LaunchAgents").join(format!("dev.specweave.{name}.plist"));
        let command = |verb: &str| {
            ["launchctl".to_owned(), verb.to_owned(), "-w".to_owned(), path.display().to_string()].to_vec()
        };
        let words = [xml(daemon), "serve".into(), "--foreground".into(), "--project".into(), xml(root)];
        let words: String = words.iter().map(|word| format!("    <string>{word}</string>\n")).collect();
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
             \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n  <key>Label</key>\n  \
             <string>dev.specweave.{name}</string>\n  <key>ProgramArguments</key>\n  <array>\n{words}  </array>\n  \
             <key>RunAtLoad</key>\n  <true/>\n</dict>\n</plist>\n"
        );
        Self { start: vec![command("load")], stop: vec![command("unload")], text, path }
    }
}

/// A path as one word of a unit's command.
fn systemd_word(path: &Path) -> String {
    let text = path.display().to_string();
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

fn xml(path: &Path) -> String {
    let text = path.display().to_string();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_blanks_and_signs_stay_one_word() {
        let root = Path::new("/home/me/my \"100%\" <project> $x");
        let unit = Service::of_systemd(Path::new("/c"), "n", Path::new("/usr/bin/specweave-jobsd"), root);
        assert_eq!(unit.path, Path::new("/c/systemd/user/n.service"));
        let command = r#"ExecStart="/usr/bin/specweave-jobsd" serve --foreground --project "/home/me/my \"100%%\" <project> $$x""#;
        assert!(unit.text.lines().any(|line| line == command), "{}", unit.text);
        let agent = Service::of_launchd(Path::new("/h"), "n", Path::new("/d"), root);
        assert!(
            agent.text.contains("<string>/home/me/my \"100%\" &lt;project&gt; $x</string>"),
            "{}",
            agent.text
        );
        assert_eq!(agent.path, Path::new("/h/Library/LaunchAgents/dev.specweave.n.plist"));
    }
}
