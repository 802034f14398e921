//! What is particular to sync-external among the kinds of jobs.

use super::outputs::Config;
use super::plan::Guard;
use super::profile::{Profile, ProfileError};
use super::{SyncError, in_words};
use crate::job::Job;
use crate::job::order::{OnConflict, SyncOrder};
use crate::model::item::Platform;
use crate::trackers::TrackerError;
use crate::work::command::CommandLine;
use crate::work::config::read_config;
use crate::work::kind::{Kind, Preview, Refusal, Scope, Why, why_not};
use crate::work::{Context, Finish, Stop};
use serde_json::{Value, json};
use specweave_jobs::project::{JobFiles, Project};
use specweave_jobs::text::shell_word;
use specweave_jobs::v1::PreviewItem;

fn refusal(error: &SyncError, order: &SyncOrder, scope: &Scope) -> Refusal {
    let why = match error {
        SyncError::Profile(ProfileError::NoProject(_) | ProfileError::NoTracker(_))
        | SyncError::Guard(_)
        | SyncError::OtherProject { .. }
        | SyncError::Tracker(TrackerError::NotFound(_)) => Why::Nothing,
        SyncError::Profile(_) => Why::Invalid,
        SyncError::Tracker(error) => why_not(error),
        SyncError::Storage(_) => Why::Storage,
        SyncError::Busy => Why::Busy,
        SyncError::Net(_) | SyncError::Cancelled => Why::Remote,
    };
    let refusal = Refusal::new(why, error, &scope.secrets.redactor());
    match error {
        SyncError::Guard(guard) => refusal.with_hint(hint(guard)),
        SyncError::Tracker(_) => {
            let profile = Profile::find(&scope.project, order, &scope.secrets).ok();
            let asked = profile.map(|profile| profile.source.platform);
            refusal.with_variables_of(asked.as_slice())
        }
        _ => refusal,
    }
}

/// What to type where a sync stops before it begins.
fn hint(guard: &Guard) -> String {
    match guard {
        Guard::NothingHere(_) | Guard::NothingThere(_) | Guard::ManyGone { .. } => {
            "specweave-jobs sync --dry-run --force-deletes   (shows what would go; without --dry-run it goes)"
                .into()
        }
        Guard::NoStory(_) => "specweave-jobs sync --dry-run   (names what there is to do)".into(),
        Guard::Several { meant, .. } => {
            let first = meant.first().map_or("STORY", String::as_str);
            format!("specweave-jobs conflicts {}", shell_word(first))
        }
        Guard::NoConflict(_) => "specweave-jobs conflicts".into(),
    }
}

#[tonic::async_trait]
impl Kind for SyncOrder {
    fn verb(&self) -> &'static str {
        "sync"
    }

    fn title(&self, _job: &Job) -> String {
        if let (true, Some(story)) = (self.resolve, self.only.first()) {
            return format!("settle {story}");
        }
        format!("sync with {}", self.container)
    }

    fn provider<'a>(&'a self, _job: &'a Job) -> &'a str {
        self.platform.map_or("", Platform::word)
    }

    fn restart_command(&self, _files: &JobFiles) -> String {
        if let (true, Some(story)) = (self.resolve, self.only.first()) {
            let mut line = CommandLine::of("resolve");
            return line.word(story).option("--use", [self.on_conflict.word()]).text();
        }
        let mut line = CommandLine::of(self.verb());
        if let Some(platform) = self.platform {
            line.word(platform.word());
        }
        let policy = Some(self.on_conflict).filter(|policy| *policy != OnConflict::Manual);
        line.option("--profile", &self.profile)
            .option("--direction", self.direction.map(|direction| direction.word()))
            .option("--on-conflict", policy.map(OnConflict::word))
            .option("--only", &self.only)
            .flag("--force-deletes", self.force_deletes);
        line.text()
    }

    fn documented(&self, job: &Job, project: &Project) -> Value {
        match read_config::<Config>(&project.job(&job.id), None) {
            Ok(config) => config.documented(),
            Err(_) => json!({
                "type": "sync-external",
                "provider": self.provider(job),
                "direction": self.direction.map_or("", |direction| direction.word()),
                "profileId": self.profile.as_deref().unwrap_or_default(),
                "projectPath": project.root(),
            }),
        }
    }

    /// What a sync has ahead is all of its writes, at the tracker's pace.
    fn waits_alone(&self) -> bool {
        true
    }

    /// Whatever the configuration says later, the job is about what it says now.
    fn prepare(&mut self, scope: &Scope) -> Result<(), Refusal> {
        let found = Profile::find(&scope.project, self, &scope.secrets);
        let profile = found.map_err(|error| refusal(&error.into(), self, scope))?;
        self.platform = Some(profile.source.platform);
        self.container = profile.source.name;
        Ok(())
    }

    async fn preview(&self, scope: &Scope) -> Result<Preview, Refusal> {
        let previewed = super::preview(&scope.project, &scope.key, self, &scope.secrets).await;
        let preview = previewed.map_err(|error| refusal(&error, self, scope))?;
        let mut notes = match preview.unchanged {
            0 => Vec::new(),
            1 => vec!["nothing to do for 1 other".to_owned()],
            others => vec![format!("nothing to do for {others} others")],
        };
        notes.extend(preview.notes);
        if preview.duration >= super::TELLING {
            notes.push(format!("the tracker's limits make this take about {}", in_words(preview.duration)));
        }
        let (redactor, source) = (scope.secrets.redactor(), preview.profile.source.shown());
        let items = preview.actions.into_iter().map(|shown| PreviewItem {
            name: shown.name,
            source: if shown.item.is_empty() { source.clone() } else { format!("{source} {}", shown.item) },
            target: shown.file,
            action: shown.verb.in_contract() as i32,
            reason: redactor.clean(&shown.reason),
            count: None,
        });
        Ok(Preview { items: items.collect(), notes })
    }

    async fn run(&self, context: &Context) -> Result<Finish, Stop> {
        super::run(context, self).await
    }
}
