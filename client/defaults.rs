//! What is not typed: `jobs` of the project's `config.json`, and of the user's own. The project's comes with a checkout and may
//! be anybody's, so that it names no command to run.

use crate::failure::Failure;
use serde_json::Value;
use specweave_jobs::project::{Project, configuration};
use specweave_jobs::text::plain;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub struct Defaults {
    pub concurrency: Option<u32>,
    pub layout: Option<String>,
    pub notify: Option<bool>,
    pub on_finish: Option<String>,
}

impl Defaults {
    pub fn read(project: &Project) -> Result<Self, Failure> {
        let shared = Self::of(&project.config())?;
        let own_file = own_file();
        let own = own_file.as_deref().map(Self::of).transpose()?.unwrap_or_default();
        if shared.on_finish.is_some() {
            let place =
                own_file.map_or("a configuration of your own".into(), |path| path.display().to_string());
            eprintln!(
                "note: jobs.onFinish in .specweave/config.json is not run, as it comes with the project; put it into {place}"
            );
        }
        Ok(Self {
            concurrency: shared.concurrency.or(own.concurrency),
            layout: shared.layout.or(own.layout),
            notify: shared.notify.or(own.notify),
            on_finish: own.on_finish,
        })
    }

    fn of(path: &Path) -> Result<Self, Failure> {
        // One that cannot be read has no defaults; whoever needs more of it says what is wrong with it.
        let config = configuration(path);
        let jobs = &config["jobs"];
        let wrong = |name: &str, wanted: &str| {
            Failure::Usage(format!(
                "jobs.{name} in {} is {}, and not {wanted}",
                path.display(),
                plain(&jobs[name].to_string())
            ))
        };
        let concurrency = match &jobs["concurrency"] {
            Value::Null => None,
            given => {
                let number = given.as_u64().filter(|number| (1..=64).contains(number));
                Some(number.ok_or_else(|| wrong("concurrency", "a number from 1 to 64"))? as u32)
            }
        };
        let layout = match &jobs["layout"] {
            Value::Null => None,
            Value::String(layout) if ["owner", "host"].contains(&layout.as_str()) => Some(layout.clone()),
            _ => return Err(wrong("layout", "owner or host")),
        };
        let notify = match &jobs["notify"] {
            Value::Null => None,
            Value::Bool(notify) => Some(*notify),
            _ => return Err(wrong("notify", "true or false")),
        };
        let on_finish = match &jobs["onFinish"] {
            Value::Null => None,
            Value::String(command) => Some(command.clone()),
            _ => return Err(wrong("onFinish", "a command")),
        };
        Ok(Self { concurrency, layout, notify, on_finish })
    }
}

/// The user's own configuration, such as `~/.config/specweave-jobs/config.json`.
fn own_file() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "specweave-jobs")?;
    Some(folders.config_dir().join("config.json"))
}
