//! The tools: what each is for, what it takes, and which command of the client it is. Pure.
//!
//! A value becomes part of one word (`--match=api-*`) or stands behind `--`, so that nothing that an agent was told to pass on
//! can become an option.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A kind of value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Several texts.
    Texts,
    Flag,
    /// A whole number in these bounds.
    Number(u64, u64),
    /// The same in minutes; the client counts in units.
    Minutes(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Where a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind `--`.
    Positional,
    Option(&'static str),
    /// The verb of the client.
    Verb,
}

struct Parameter {
    name: &'static str,
    kind: Kind,
    place: Place,
    is_needed: bool,
    told: &'static str,
}

/// One tool.
pub struct Definition {
    name: &'static str,
    told: &'static str,
    /// The words of the command before the values.
    verb: &'static [&'static str],
    is_reading: bool,
    is_destructive: bool,
    parameters: &'static [&'static [Parameter]],
}

const fn option(name: &'static str, kind: Kind, option: &'static str, told: &'static str) -> Parameter {
    Parameter { name, kind, place: Place::Option(option), is_needed: false, told }
}

const fn needed(name: &'static str, kind: Kind, place: Place, told: &'static str) -> Parameter {
    Parameter { name, kind, place, is_needed: true, told }
}

const fn free(name: &'static str, kind: Kind, told: &'static str) -> Parameter {
    Parameter { name, kind, place: Place::Positional, is_needed: false, told }
}

const JOB: &[Parameter] =
    &[needed("job", Kind::Text, Place::Positional, "The job's id, of which a beginning is enough")];

/// What clone, import and sync take; which belong together, the client says.
const WORK: &[Parameter] = &[
    needed("work", Kind::Word(&["clone", "import", "sync"]), Place::Verb, "What kind of work"),
    free(
        "sources",
        Kind::Texts,
        "clone: owner/repo, owner/glob*, addresses of git, absolute paths. import: github, jira, ado. sync: one of these",
    ),
    option("github_org", Kind::Text, "--github-org", "clone: all repositories of a GitHub organisation"),
    option("github_user", Kind::Text, "--github-user", "clone: all repositories of a GitHub user"),
    option("ado_org", Kind::Text, "--ado-org", "clone and import: an Azure DevOps organisation"),
    option("ado_project", Kind::Text, "--ado-project", "clone and import: a project of it"),
    option(
        "match",
        Kind::Texts,
        "--match",
        "clone: only repositories whose name matches; import: only new items whose title does. A glob, a prefix, or regex:RE",
    ),
    option("exclude", Kind::Texts, "--exclude", "clone: not those whose name matches"),
    option("repo", Kind::Texts, "--repo", "import: repositories of GitHub, owner/name"),
    option("project_key", Kind::Texts, "--project-key", "import: keys of JIRA projects"),
    option("since", Kind::Text, "--since", "import: last, 10d, 2w, 3m, all, or a date"),
    option("label", Kind::Texts, "--label", "import: only new items with these labels"),
    option("profile", Kind::Text, "--profile", "sync: a key of sync.profiles in config.json"),
    option(
        "direction",
        Kind::Word(&["import", "export", "bidirectional"]),
        "--direction",
        "sync: which way edits go",
    ),
    option(
        "only",
        Kind::Texts,
        "--only",
        "sync: only these: FS-001, US-001, FS-001/US-001, or the id of an imported item",
    ),
];

pub const ALL: &[Definition] = &[
    Definition {
        name: "list",
        told: "The background jobs of the project, newest first: those that are active, or all with `all`.",
        verb: &["list"],
        is_reading: true,
        is_destructive: false,
        parameters: &[&[option("all", Kind::Flag, "--all", "Finished jobs, too")]],
    },
    Definition {
        name: "show",
        told: "One job in detail, with the reason of each failure.",
        verb: &["show"],
        is_reading: true,
        is_destructive: false,
        parameters: &[JOB],
    },
    Definition {
        name: "preview",
        told: "What a clone, an import or a sync would do. Writes nothing.",
        verb: &[],
        is_reading: true,
        is_destructive: false,
        parameters: &[WORK],
    },
    Definition {
        name: "start",
        told: "Starts a clone, an import or a sync as a background job, and returns it at once. It goes on by itself.",
        verb: &[],
        is_reading: false,
        is_destructive: false,
        parameters: &[
            WORK,
            &[option(
                "every_minutes",
                Kind::Minutes(1, 527_040),
                "--every",
                "Do it again and again, so long after it last began",
            )],
        ],
    },
    Definition {
        name: "resume",
        told: "Lets a paused or failed job go on, or tries again what failed in one that ended with warnings.",
        verb: &["resume"],
        is_reading: false,
        is_destructive: false,
        parameters: &[JOB],
    },
    Definition {
        name: "kill",
        told: "Stops a job. It is paused with everything done kept, and can be resumed; one that is done again and again ends.",
        verb: &["kill"],
        is_reading: false,
        is_destructive: true,
        parameters: &[JOB],
    },
    Definition {
        name: "wait",
        told: "Waits until a job has ended, or waits for somebody, for so many seconds at most; the job goes on all the same.",
        verb: &["wait"],
        is_reading: true,
        is_destructive: false,
        parameters: &[
            JOB,
            &[needed(
                "timeout_seconds",
                Kind::Number(1, 600),
                Place::Option("--timeout"),
                "When to give up waiting",
            )],
        ],
    },
    Definition {
        name: "conflicts",
        told: "What both sides of a sync or an import changed, each in its own way: all of it, or one story with both sides' values.",
        verb: &["conflicts"],
        is_reading: true,
        is_destructive: false,
        parameters: &[&[free("story", Kind::Text, "FS-001/US-001, US-001, or the id of an imported item")]],
    },
    Definition {
        name: "resolve",
        told: "Carries out what the user has decided over a story in conflict. Never decide for them.",
        verb: &["resolve"],
        is_reading: false,
        is_destructive: true,
        parameters: &[&[
            needed("story", Kind::Text, Place::Positional, "The story, as `conflicts` names it"),
            needed(
                "use",
                Kind::Word(&["local", "remote", "file"]),
                Place::Option("--use"),
                "local: the story is right; remote: the tracker is; file: what was left in the conflict's file",
            ),
        ]],
    },
];

pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().find(|tool| tool.name == name)
}

impl Definition {
    fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied().flatten()
    }

    pub fn tool(&self) -> Tool {
        let properties: Map<String, Value> =
            self.parameters().map(|one| (one.name.to_owned(), one.schema())).collect();
        let required: Vec<&str> = self.parameters().filter(|one| one.is_needed).map(|one| one.name).collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let Value::Object(schema) = schema else { unreachable!("it was made as an object") };
        let hints = ToolAnnotations::new().read_only(self.is_reading).destructive(self.is_destructive);
        Tool::new(self.name, self.told, Arc::new(schema)).with_annotations(hints)
    }

    /// The command line for these arguments, or what is wrong with them.
    pub fn words(&self, arguments: &JsonObject) -> Result<Vec<String>, String> {
        if let Some(unknown) = arguments.keys().find(|name| self.parameters().all(|one| one.name != *name)) {
            return Err(format!("{} takes no {unknown:?}", self.name));
        }
        let mut verb: Vec<String> = self.verb.iter().map(|word| (*word).to_owned()).collect();
        let (mut options, mut positional) = (vec!["--json".to_owned()], Vec::new());
        for one in self.parameters() {
            let given = arguments.get(one.name).filter(|value| !value.is_null());
            let Some(given) = given else {
                if one.is_needed {
                    return Err(format!("{} needs {:?}: {}", self.name, one.name, one.told));
                }
                continue;
            };
            let values = one
                .values(given)
                .ok_or_else(|| format!("{:?} is not as it should be: {}", one.name, one.told))?;
            match one.place {
                Place::Verb => verb.extend(values),
                Place::Positional => positional.extend(values),
                Place::Option(option) if one.kind == Kind::Flag => {
                    options.extend((!values.is_empty()).then(|| option.to_owned()));
                }
                Place::Option(option) => {
                    options.extend(values.iter().map(|value| format!("{option}={value}")))
                }
            }
        }
        if self.name == "preview" {
            options.push("--dry-run".to_owned());
        }
        Ok(verb.into_iter().chain(options).chain(["--".to_owned()]).chain(positional).collect())
    }
}

impl Parameter {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Number(least, most) | Kind::Minutes(least, most) => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Kind::Word(words) => json!({"type": "string", "enum": words}),
        };
        schema["description"] = self.told.into();
        schema
    }

    /// The value as words; none for a flag that is not set.
    fn values(&self, given: &Value) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.kind {
            Kind::Text => text(given).map(|one| vec![one]),
            Kind::Texts => given.as_array()?.iter().map(text).collect(),
            Kind::Flag => given.as_bool().map(|is_set| if is_set { vec![String::new()] } else { Vec::new() }),
            Kind::Number(least, most) | Kind::Minutes(least, most) => {
                let number = given.as_u64().filter(|number| (least..=most).contains(number))?;
                let unit = if matches!(self.kind, Kind::Minutes(..)) { "m" } else { "" };
                Some(vec![format!("{number}{unit}")])
            }
            Kind::Word(words) => text(given).filter(|one| words.contains(&one.as_str())).map(|one| vec![one]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tool: &str, arguments: Value) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { unreachable!() };
        find(tool).unwrap().words(&arguments).map(|words| words.join(" "))
    }

    #[test]
    fn a_tool_is_one_command_of_the_client() {
        let clone =
            json!({"work": "clone", "sources": ["acme/web"], "match": ["svc-*"], "every_minutes": 30});
        assert_eq!(words("start", clone).unwrap(), "clone --json --match=svc-* --every=30m -- acme/web");
        let sync = json!({"work": "sync", "sources": ["github"], "only": ["FS-001"]});
        assert_eq!(words("preview", sync).unwrap(), "sync --json --only=FS-001 --dry-run -- github");
        assert_eq!(words("list", json!({"all": true})).unwrap(), "list --json --all --");
        assert_eq!(words("list", json!({"all": false})).unwrap(), "list --json --");
        assert_eq!(
            words("wait", json!({"job": "ae36", "timeout_seconds": 5})).unwrap(),
            "wait --json --timeout=5 -- ae36"
        );
    }

    #[test]
    fn nothing_that_is_passed_on_becomes_an_option() {
        let words =
            words("start", json!({"work": "clone", "sources": ["--on-finish=rm"], "since": "--x"})).unwrap();
        assert_eq!(words, "clone --json --since=--x -- --on-finish=rm");
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        assert!(words("show", json!({})).unwrap_err().contains("needs \"job\""));
        assert!(words("show", json!({"job": 7})).unwrap_err().contains("not as it should be"));
        assert!(
            words("show", json!({"job": "a", "shell": "rm"})).unwrap_err().contains("takes no \"shell\"")
        );
        assert!(words("wait", json!({"job": "a", "timeout_seconds": 100_000})).is_err());
        assert!(words("start", json!({"work": "prune"})).is_err());
        assert!(words("resolve", json!({"story": "US-001", "use": "both"})).is_err());
    }
}
