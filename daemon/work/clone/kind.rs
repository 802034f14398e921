//! What is particular to clone-repos among the kinds of jobs.

use super::discover::DiscoverError;
use super::outputs::Config;
use crate::git;
use crate::job::Job;
use crate::job::order::{CloneOrder, Gone, Layout, Since};
use crate::model::item::Platform;
use crate::model::repository::ForgeKind;
use crate::work::command::CommandLine;
use crate::work::config::read_config;
use crate::work::kind::{Kind, Preview, Refusal, Scope, Why, why_not};
use crate::work::{Context, Finish, Stop};
use serde_json::{Value, json};
use specweave_jobs::project::{JobFiles, Project};
use specweave_jobs::v1::{Action, PreviewItem};
use std::collections::BTreeSet;
use std::path::Path;

/// A command with more words than this is no command to type.
const MOST_SOURCES_IN_COMMAND: usize = 20;

/// No job waits to be shown until more sources than this have been looked through for their owners.
const MOST_SOURCES_NAMED: usize = 500;

impl CloneOrder {
    /// Whose repositories are wanted, as far as the order says.
    fn find_owners(&self) -> BTreeSet<String> {
        let sources = self.sources.iter().filter_map(|source| source.owner());
        let listings = [&self.github_org, &self.github_user].into_iter().flatten().cloned();
        let ado = self.ado.iter().map(|ado| format!("{}/{}", ado.organization, ado.project));
        let forges = self.forges.iter().map(|forge| forge.name.clone());
        sources.chain(listings).chain(ado).chain(forges).collect()
    }
}

#[tonic::async_trait]
impl Kind for CloneOrder {
    fn verb(&self) -> &'static str {
        "clone"
    }

    fn title(&self, job: &Job) -> String {
        let what = match job.items().map(|items| items.len()) {
            None => "repositories".to_owned(),
            Some(1) => "1 repository".to_owned(),
            Some(count) => format!("{count} repositories"),
        };
        let what = if self.update.is_some() { format!("update of {what}") } else { what };
        if self.sources.len() > MOST_SOURCES_NAMED {
            return what;
        }
        let owners: Vec<&String> = self.owners.get(|| self.find_owners()).iter().collect();
        match &owners[..] {
            [] => what,
            [owner] => format!("{what} of {owner}"),
            [first, second] => format!("{what} of {first} and {second}"),
            [first, rest @ ..] => format!("{what} of {first} and {} others", rest.len()),
        }
    }

    fn provider<'a>(&'a self, _job: &'a Job) -> &'a str {
        "git"
    }

    fn action(&self) -> Action {
        CloneOrder::action(self)
    }

    fn restart_command(&self, files: &JobFiles) -> String {
        let mut line = CommandLine::of(self.verb());
        if self.sources.len() > MOST_SOURCES_IN_COMMAND {
            line.option("--from", [files.sources().to_string_lossy()]);
        } else {
            for source in &self.sources {
                line.word(&source.to_string());
            }
        }
        let on = |kind| Some(self.on(kind)).filter(|name| !name.is_empty());
        line.option("--github-org", &self.github_org)
            .option("--github-user", &self.github_user)
            .option("--ado-org", self.ado.iter().map(|ado| &ado.organization))
            .option("--ado-project", self.ado.iter().map(|ado| &ado.project))
            .option("--gitlab-group", on(ForgeKind::GitLab))
            .option("--gitea-org", on(ForgeKind::Gitea))
            .option("--bitbucket", on(ForgeKind::Bitbucket))
            .option("--match", self.wanted.texts())
            .option("--exclude", self.unwanted.texts())
            .option("--topic", &self.traits.topics)
            .option("--language", &self.traits.languages)
            .option("--active-since", self.traits.active_since.map(Since::text))
            .option("--concurrency", self.concurrency.map(|number| number.to_string()))
            .option("--depth", self.depth.map(|number| number.to_string()))
            .option("--layout", (self.layout == Layout::Host).then_some("host"))
            .option("--filter", &self.filter)
            .flag("--mirror", self.mirror)
            .flag("--single-branch", self.single_branch)
            .flag("--recurse-submodules", self.submodules)
            .flag("--ssh", self.ssh)
            .flag("--update", self.update.is_some())
            .flag("--prune", self.update.is_some_and(|gone| gone != Gone::Keep))
            .flag("--force", self.update == Some(Gone::Remove))
            .flag("--include-archived", self.include_archived)
            .flag("--include-forks", self.include_forks);
        line.text()
    }

    fn sources_file(&self) -> Option<String> {
        let many = self.sources.len() > MOST_SOURCES_IN_COMMAND;
        many.then(|| self.sources.iter().map(|source| format!("{source}\n")).collect())
    }

    fn documented(&self, job: &Job, project: &Project) -> Value {
        let config = || read_config::<Config>(&project.job(&job.id), None).ok();
        match job.plan.as_ref().and_then(|_| config()) {
            Some(config) => config.documented(),
            None => json!({"type": "clone-repos", "repositories": [], "projectPath": project.root()}),
        }
    }

    fn places(&self, job: &Job, project: &Project) -> Vec<(String, String)> {
        let config = read_config::<Config>(&project.job(&job.id), None);
        let repositories = config.map(|config| config.repositories).unwrap_or_default();
        repositories.into_iter().map(|repository| (repository.path, repository.clone_url)).collect()
    }

    async fn preview(&self, scope: &Scope) -> Result<Preview, Refusal> {
        let selection = super::preview(self, scope.project.root(), &scope.secrets).await;
        let selection = selection.map_err(|error| {
            let why = match &error {
                super::PreviewError::Net(_) => Why::Remote,
                super::PreviewError::Discover(DiscoverError::Pattern(_)) => Why::Invalid,
                super::PreviewError::Discover(DiscoverError::Empty(_)) => Why::Nothing,
                super::PreviewError::Discover(DiscoverError::Untold { .. }) => Why::Invalid,
                super::PreviewError::Discover(DiscoverError::Tracker(error)) => why_not(error),
            };
            let listed = [
                self.ado.as_ref().map(|_| Platform::Ado),
                self.github_org.as_ref().or(self.github_user.as_ref()).map(|_| Platform::GitHub),
            ];
            let asked = listed.into_iter().flatten().map(Platform::variables);
            let asked: Vec<_> = asked.chain(self.forges.iter().map(|forge| forge.kind.variables())).collect();
            Refusal::new(why, &error, &scope.secrets.redactor()).with_variables(&asked)
        })?;
        let targets = selection.targets.into_iter().map(|target| {
            let stands = git::git_folder(&scope.project.root().join(&target.path)).is_some();
            let is_nowhere = target.address.starts_with('/') && !Path::new(&target.address).exists();
            let (action, reason) = match (stands, is_nowhere) {
                (true, _) if self.update.is_some() => (Action::Update, ""),
                (true, _) => (Action::Check, "something stands there already"),
                (false, true) => (Action::Refuse, "it does not exist"),
                (false, false) => (Action::Clone, ""),
            };
            PreviewItem {
                action: action as i32,
                reason: reason.to_owned(),
                name: target.name,
                source: target.address,
                target: target.path,
                count: None,
            }
        });
        let refused = selection.refusals.into_iter().map(|refusal| PreviewItem {
            name: refusal.name,
            action: Action::Refuse as i32,
            reason: refusal.reason,
            ..Default::default()
        });
        Ok(Preview { items: targets.chain(refused).collect(), notes: selection.notes })
    }

    async fn run(&self, context: &Context) -> Result<Finish, Stop> {
        super::run(context, self).await
    }
}
