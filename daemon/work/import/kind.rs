//! What is particular to import-issues among the kinds of jobs.

use super::outputs::Config;
use super::{ImportError, find_sources};
use crate::docs::writer::SPECS;
use crate::job::Job;
use crate::job::order::{ImportOrder, Since};
use crate::job::paged_sources::PagedSources;
use crate::work::command::CommandLine;
use crate::work::config::read_config;
use crate::work::kind::{Kind, Preview, Refusal, Scope, Why, why_not};
use crate::work::sources::SourceError;
use crate::work::{Context, Finish, Stop};
use serde_json::{Value, json};
use specweave_jobs::clock;
use specweave_jobs::project::{JobFiles, Project};
use specweave_jobs::v1::{Action, PreviewItem};

fn refusal(error: &ImportError, order: &ImportOrder, scope: &Scope) -> Refusal {
    let why = match error {
        ImportError::Source(SourceError::Nothing(_)) => Why::Nothing,
        ImportError::Source(_) => Why::Invalid,
        ImportError::Tracker(error) => why_not(error),
        ImportError::Net(_) => Why::Remote,
    };
    Refusal::new(why, error, &scope.secrets.redactor()).with_variables_of(&order.platforms)
}

#[tonic::async_trait]
impl Kind for ImportOrder {
    fn verb(&self) -> &'static str {
        "import"
    }

    fn title(&self, job: &Job) -> String {
        let sources: Vec<&str> =
            job.sources().map_or(&[][..], PagedSources::all).iter().map(|source| &*source.name).collect();
        match sources[..] {
            [] => "import".to_owned(),
            [one] => format!("import from {one}"),
            [first, ref rest @ ..] => format!("import from {first} and {} more", rest.len()),
        }
    }

    fn action(&self) -> Action {
        Action::Import
    }

    fn provider<'a>(&'a self, job: &'a Job) -> &'a str {
        let sources = job.sources().map_or(&[][..], PagedSources::all);
        let named = sources.iter().filter_map(|source| source.name.split_once(' ')).map(|(word, _)| word);
        let mut all = named.chain(self.platforms.iter().map(|platform| platform.word()));
        match all.next() {
            Some(first) if all.all(|other| other == first) => first,
            _ => "several",
        }
    }

    fn restart_command(&self, _files: &JobFiles) -> String {
        let mut line = CommandLine::of(self.verb());
        for platform in &self.platforms {
            line.word(platform.word());
        }
        line.option("--repo", &self.repos)
            .option("--project-key", &self.project_keys)
            .option("--ado-project", &self.ado_projects)
            .option("--label", &self.labels)
            .option("--match", self.titles.texts())
            .option("--search", &self.question.search)
            .option("--jql", &self.question.jql)
            .option("--wiql", &self.question.wiql)
            .option("--assignee", &self.question.assignee)
            .option("--milestone", &self.question.milestone)
            .option("--ado-org", &self.ado_org)
            .option("--since", (self.since != Since::Last).then(|| self.since.text()))
            .option("--state", self.open_only.then_some("open"));
        line.text()
    }

    fn documented(&self, job: &Job, project: &Project) -> Value {
        let config = || read_config::<Config>(&project.job(&job.id), None).ok();
        match job.plan.as_ref().and_then(|_| config()) {
            Some(config) => config.documented(),
            None => {
                json!({"type": "import-issues", "provider": self.provider(job), "projectPath": project.root()})
            }
        }
    }

    /// Nobody wants a job that has nothing to read.
    fn prepare(&mut self, scope: &Scope) -> Result<(), Refusal> {
        let found = find_sources(&scope.project, self, &scope.secrets);
        found.map(drop).map_err(|error| refusal(&error.into(), self, scope))
    }

    fn left_out_reason(&self) -> String {
        let mut reasons: Vec<String> =
            self.labels.iter().map(|label| format!("no label `{label}`")).collect();
        let titles: Vec<String> = self.titles.texts().iter().map(|text| format!("`{text}`")).collect();
        if !titles.is_empty() {
            reasons.push(format!("no title like {}", titles.join(" or ")));
        }
        if self.open_only {
            reasons.push("not open".to_owned());
        }
        if reasons.is_empty() {
            reasons.push("deleted, or the item of a story that was written here".to_owned());
        }
        reasons.join(", or ")
    }

    async fn preview(&self, scope: &Scope) -> Result<Preview, Refusal> {
        let redactor = scope.secrets.redactor();
        let previews = super::preview(&scope.project, &scope.key, self, &scope.secrets).await;
        let items =
            previews.map_err(|error| refusal(&error, self, scope))?.into_iter().map(|preview| PreviewItem {
                name: preview.source.name,
                source: preview.source.platform.word().to_owned(),
                target: SPECS.to_owned(),
                action: match preview.error {
                    Some(_) => Action::Refuse as i32,
                    None => Action::Import as i32,
                },
                reason: match (preview.error, preview.since) {
                    (Some(error), _) => redactor.clean(&error),
                    (None, Some(at)) => format!("changed since {}", &clock::iso(at)[..10]),
                    (None, None) if preview.continues => "changed since the last import".to_owned(),
                    (None, None) => "everything".to_owned(),
                },
                count: preview.count,
            });
        let filters = !self.labels.is_empty() || !self.titles.texts().is_empty() || self.open_only;
        let note = "counted before the filters, which leave out what is new and does not fit".to_owned();
        Ok(Preview { items: items.collect(), notes: Some(note).filter(|_| filters).into_iter().collect() })
    }

    async fn run(&self, context: &Context) -> Result<Finish, Stop> {
        super::run(context, self).await
    }
}
