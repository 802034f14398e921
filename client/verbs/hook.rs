//! `hook`: lets SpecWeave's own commands hand their background jobs to the daemon. A small module is put into the user's
//! data folder, and the settings of Claude Code, or a line for a shell, let node load it.

use super::{print, print_json};
use crate::cli::{HookAction, Scope};
use crate::failure::Failure;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use std::io;
use std::path::{Path, PathBuf};

const MODULE: &str = include_str!("../../integrations/hand-over.cjs");

/// Settings are no longer.
const MOST_SETTINGS: u64 = 16 * 1024 * 1024;

pub fn hook(start: &Path, action: &HookAction, json: bool) -> Result<u8, Failure> {
    let module = module_path()?;
    match action {
        HookAction::Install { shell: true, .. } => {
            put_module(&module)?;
            print(&format!(
                "export NODE_OPTIONS=\"${{NODE_OPTIONS:+$NODE_OPTIONS }}{}\"\n",
                shell_text(&option(&module))
            ))?;
        }
        HookAction::Install { scope, .. } => {
            let settings = Settings::of(scope.scope(), start)?;
            put_module(&module)?;
            settings.change(|now| with_option(now, &module))?;
            print(&format!(
                "SpecWeave's clone and import jobs go to the daemon where {} counts.\n\
                 In a shell: source <(specweave-jobs hook install --shell)\n",
                settings.path.display()
            ))?;
        }
        HookAction::Uninstall { scope } => {
            let settings = Settings::of(scope.scope(), start)?;
            settings.change(without_option)?;
            print(&format!("{} lets SpecWeave run its jobs itself.\n", settings.path.display()))?;
        }
        HookAction::Status => {
            let state = State::look(start)?;
            if json {
                print_json(
                    &serde_json::json!({"active": state.is_active(), "places": state.places, "module": module}),
                )?;
            } else {
                print(&format!("{}\n", state.told()))?;
            }
            return Ok(u8::from(!state.is_active()));
        }
    }
    Ok(0)
}

/// Where the hand-over is set.
pub struct State {
    places: Vec<String>,
    is_whole: bool,
}

impl State {
    pub fn look(start: &Path) -> Result<Self, Failure> {
        let module = module_path()?;
        let mut places = Vec::new();
        for scope in [Scope::Project, Scope::User] {
            let Ok(settings) = Settings::of(scope, start) else { continue };
            let is_set =
                settings.read()?.is_some_and(|text| current(&text).is_ok_and(|now| names_module(&now)));
            places.extend(is_set.then(|| settings.path.display().to_string()));
        }
        let here = std::env::var("NODE_OPTIONS").unwrap_or_default();
        places.extend(names_module(&here).then(|| "NODE_OPTIONS of this shell".to_owned()));
        Ok(Self { places, is_whole: disk::exists(&module) })
    }

    pub fn is_active(&self) -> bool {
        self.is_whole && !self.places.is_empty()
    }

    /// Whether node is told to load a module that is not there, which ends every program of its.
    pub fn is_broken(&self) -> bool {
        !self.is_whole && !self.places.is_empty()
    }

    pub fn told(&self) -> String {
        match (&self.places[..], self.is_whole) {
            ([], _) => {
                "SpecWeave runs its jobs itself. To let the daemon run them: specweave-jobs hook install"
                    .into()
            }
            (places, true) => {
                format!("SpecWeave's clone and import jobs go to the daemon: {}", places.join(", "))
            }
            (places, false) => {
                format!("{} load a module that is gone: specweave-jobs hook install", places.join(", "))
            }
        }
    }
}

/// `~/.local/share/specweave-jobs/hand-over.cjs`, or its counterpart of the system.
fn module_path() -> Result<PathBuf, Failure> {
    let folders = directories::ProjectDirs::from("", "", "specweave-jobs");
    let folders = folders.ok_or_else(|| Failure::Usage("this user has no home folder".into()))?;
    Ok(folders.data_dir().join(FILE))
}

const FILE: &str = "hand-over.cjs";

fn put_module(path: &Path) -> Result<(), Failure> {
    let fail = |source| Failure::Write { path: path.to_path_buf(), source };
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).map_err(fail)?;
    let program = program.to_str().ok_or_else(|| fail(io::Error::other("the program's path is no text")))?;
    let text = MODULE.replace("\"@PROGRAM@\"", &serde_json::Value::from(program).to_string());
    if let Some(folder) = path.parent() {
        disk::make_folders(folder, 0o755).map_err(fail)?;
    }
    disk::replace(path, text.as_bytes(), 0o644).map_err(fail)
}

/// As node reads it: a word in quotes, in which a backslash keeps the next sign.
fn option(module: &Path) -> String {
    let path = module.display().to_string();
    format!("--require=\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text within double quotes of a shell.
fn shell_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut quoted, c| {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
        quoted
    })
}

fn names_module(options: &str) -> bool {
    words(options).iter().any(|word| is_ours(word))
}

fn is_ours(word: &str) -> bool {
    word.starts_with("--require=") && word.trim_end_matches('"').ends_with(&format!("specweave-jobs/{FILE}"))
}

/// The options of `NODE_OPTIONS`: blanks part them, but not within quotes.
fn words(options: &str) -> Vec<&str> {
    let (mut words, mut begin, mut is_quoted, mut is_kept) = (Vec::new(), 0, false, false);
    for (at, c) in options.char_indices() {
        match c {
            _ if is_kept => is_kept = false,
            '\\' if is_quoted => is_kept = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                words.push(&options[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    words.push(&options[begin..]);
    words.retain(|word| !word.is_empty());
    words
}

fn with_option(now: &str, module: &Path) -> String {
    let ours = option(module);
    let others = words(now).into_iter().filter(|word| !is_ours(word));
    others.chain([&*ours]).collect::<Vec<_>>().join(" ")
}

fn without_option(now: &str) -> String {
    words(now).into_iter().filter(|word| !is_ours(word)).collect::<Vec<_>>().join(" ")
}

/// A file of settings of Claude Code.
struct Settings {
    path: PathBuf,
}

impl Settings {
    /// The project's own file is shared by everybody who works on it, and a path in it would be that of one of them: a missing
    /// module ends every program of node's. So it is the file beside it, which belongs to one person.
    fn of(scope: Scope, start: &Path) -> Result<Self, Failure> {
        let path = match scope {
            Scope::Project => Project::find(start)?.root().join(".claude/settings.local.json"),
            Scope::User => {
                let folders = directories::BaseDirs::new();
                let folders = folders.ok_or_else(|| Failure::Usage("this user has no home folder".into()))?;
                folders.home_dir().join(".claude/settings.json")
            }
        };
        Ok(Self { path })
    }

    fn read(&self) -> Result<Option<String>, Failure> {
        match disk::read_regular(&self.path, MOST_SETTINGS) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Failure::Read { path: self.path.clone(), source }),
        }
    }

    /// Changes `env.NODE_OPTIONS`; every other key and comment stays.
    fn change(&self, change: impl Fn(&str) -> String) -> Result<(), Failure> {
        let before = self.read()?;
        let wrong = |why: String| {
            let source = io::Error::other(why);
            Failure::Read { path: self.path.clone(), source }
        };
        let after = changed(before.as_deref().unwrap_or("{}\n"), change).map_err(wrong)?;
        if before.as_deref() == Some(&after) || before.is_none() && after.trim() == "{}" {
            return Ok(());
        }
        let fail = |source| Failure::Write { path: self.path.clone(), source };
        if let Some(folder) = self.path.parent() {
            disk::make_folders(folder, 0o777).map_err(fail)?;
        }
        let mode = disk::facts(&self.path).map_or(0o644, |facts| facts.mode);
        disk::replace(&self.path, after.as_bytes(), mode).map_err(fail)
    }
}

fn root(text: &str) -> Result<CstRootNode, String> {
    CstRootNode::parse(text, &Default::default()).map_err(|error| error.to_string())
}

/// What `env.NODE_OPTIONS` says in these settings.
fn current(text: &str) -> Result<String, String> {
    let value = root(text)?.object_value().and_then(|all| all.object_value("env"));
    let value = value.and_then(|env| env.get("NODE_OPTIONS")?.value()?.as_string_lit()?.decoded_value().ok());
    Ok(value.unwrap_or_default())
}

fn changed(text: &str, change: impl Fn(&str) -> String) -> Result<String, String> {
    let wanted = change(&current(text)?);
    let root = root(text)?;
    let all = root.object_value_or_create().ok_or("it is no object")?;
    let known = all.object_value("env").and_then(|env| env.get("NODE_OPTIONS"));
    match (known, wanted.as_str()) {
        (Some(known), "") => {
            known.remove();
            if let Some(env) =
                all.get("env").filter(|env| env.object_value().is_some_and(|env| env.properties().is_empty()))
            {
                env.remove();
            }
        }
        (None, "") => {}
        (Some(known), wanted) => known.set_value(CstInputValue::String(wanted.to_owned())),
        (None, wanted) => {
            let env = all.object_value_or_create("env").ok_or("its env is no object")?;
            env.append("NODE_OPTIONS", CstInputValue::String(wanted.to_owned()));
        }
    }
    Ok(root.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_every_key_and_comment_and_other_options() {
        let module = Path::new("/home/me/my data/specweave-jobs/hand-over.cjs");
        let before = "{\n  // mine\n  \"model\": \"opus\",\n  \"env\": {\n    \"A\": \"1\", // one\n    \"NODE_OPTIONS\": \"--max-old-space-size=4096\"\n  }\n}\n";
        let after = changed(before, |now| with_option(now, module)).unwrap();
        let set = r#"--max-old-space-size=4096 --require="/home/me/my data/specweave-jobs/hand-over.cjs""#;
        assert_eq!(current(&after).unwrap(), set);
        assert!(
            after.contains("// mine") && after.contains("// one") && after.contains("\"model\": \"opus\"")
        );
        assert_eq!(changed(&after, |now| with_option(now, module)).unwrap(), after, "twice is once");
        assert_eq!(changed(&after, without_option).unwrap(), before);

        let alone = changed("{}", |now| with_option(now, module)).unwrap();
        assert!(names_module(&current(&alone).unwrap()), "{alone}");
        assert_eq!(current(&changed(&alone, without_option).unwrap()).unwrap(), "");
        assert!(changed("[]", |now| with_option(now, module)).is_err());
        assert!(changed("{", |now| with_option(now, module)).is_err());
    }

    #[test]
    fn options_are_told_apart_as_node_does_it() {
        let told = r#"-r a --require="/x y/specweave-jobs/hand-over.cjs" --title="a \" b""#;
        assert_eq!(
            words(told),
            ["-r", "a", "--require=\"/x y/specweave-jobs/hand-over.cjs\"", "--title=\"a \\\" b\""]
        );
        assert_eq!(without_option(told), r#"-r a --title="a \" b""#);
        assert_eq!(shell_text("a\"b$c`d\\"), "a\\\"b\\$c\\`d\\\\");
    }
}
