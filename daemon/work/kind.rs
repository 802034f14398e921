//! One place for everything in which kinds of jobs differ. Whoever serves, shows, mirrors or runs a job asks its kind, and
//! knows none of them by name.

use super::adoption::{AdoptError, Adoption, Left};
use super::{Context, Finish, Stop};
use super::{clone, import, sync};
use crate::job::Job;
use crate::job::order::Order;
use crate::model::item::Platform;
use crate::net::secrets::{Caller, Secrets};
use crate::store::mac::PlaceKey;
use crate::trackers::TrackerError;
use serde_json::Value;
use specweave_jobs::project::{JobFiles, Project};
use specweave_jobs::redactor::Redactor;
use specweave_jobs::v1::{self, Action};

/// What there is before a job: the project, and what came with the request.
pub struct Scope {
    pub project: Project,
    pub key: PlaceKey,
    pub secrets: Secrets,
}

/// What a request would do.
#[derive(Debug, Default)]
pub struct Preview {
    pub items: Vec<v1::PreviewItem>,
    /// What was looked at and left out, for people.
    pub notes: Vec<String>,
}

/// Why there can be no such job, or no preview of it.
#[derive(Debug)]
pub struct Refusal {
    pub why: Why,
    pub text: String,
    /// A command that helps in this case more than the verb's own help; empty without one.
    pub hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The request, or the configuration that it leads to, cannot be understood.
    Invalid,
    /// There is nothing to work on.
    Nothing,
    Authentication,
    /// A remote answered, and refused.
    Remote,
    /// No answer came.
    Unreachable,
    /// The project's own files cannot be used.
    Storage,
    /// Another job works on the same.
    Busy,
}

impl Refusal {
    /// What could not be understood is quoted in its reason, and may hold a login.
    pub fn new(why: Why, error: &dyn std::error::Error, redactor: &Redactor) -> Self {
        // A pattern's error draws an arrow below it.
        Self { why, text: redactor.clean(&error.to_string()).replace('\n', " "), hint: String::new() }
    }

    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Names the variables of the one tracker that was asked, where it did not take the credentials.
    pub fn with_variables_of(self, asked: &[Platform]) -> Self {
        let asked: Vec<_> = asked.iter().map(|platform| platform.variables()).collect();
        self.with_variables(&asked)
    }

    /// The same by the variables of each that was asked.
    pub fn with_variables(self, asked: &[&[&str]]) -> Self {
        match (self.why, asked) {
            (Why::Authentication, [variables]) => {
                let set: Vec<String> = variables.iter().map(|name| format!("export {name}=...")).collect();
                self.with_hint(format!("{}   (then the same command again)", set.join("; ")))
            }
            _ => self,
        }
    }
}

/// What a tracker's failure means before there is a job.
pub fn why_not(error: &TrackerError) -> Why {
    match error {
        TrackerError::Auth(_) | TrackerError::Forbidden { .. } => Why::Authentication,
        TrackerError::Network(_) => Why::Unreachable,
        _ => Why::Remote,
    }
}

/// What an order of one kind says and does.
#[tonic::async_trait]
pub trait Kind: Send + Sync {
    /// The verb of the command line that asks for it.
    fn verb(&self) -> &'static str;

    /// What the job is called for people: `12 repositories of acme`.
    fn title(&self, job: &Job) -> String;

    /// Where its items come from: `git`, a tracker's word, `several`.
    fn provider<'a>(&'a self, job: &'a Job) -> &'a str;

    /// What is done with its items, where that is the same for all.
    fn action(&self) -> Action {
        Action::Unspecified
    }

    /// The command that would start the same work afresh.
    fn restart_command(&self, files: &JobFiles) -> String;

    /// Sources that are too many for a command line stand in a file of the job, one a line.
    fn sources_file(&self) -> Option<String> {
        None
    }

    /// The documented `config` of the list.
    fn documented(&self, job: &Job, project: &Project) -> Value;

    /// Where the items stand, from the project's root, and where they come from, in their order: for a kind that keeps
    /// this in a file of the job and not in its plan. Blocks.
    fn places(&self, _job: &Job, _project: &Project) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Which of the request's filters leave items out, for people; empty without filters.
    fn left_out_reason(&self) -> String {
        String::new()
    }

    /// Whether the waiting that is ahead is all that there is to wait for, and does not come on top of the work.
    fn waits_alone(&self) -> bool {
        false
    }

    /// Decides what has to stand fast before there is a job, or says why there can be none. Blocks.
    fn prepare(&mut self, _scope: &Scope) -> Result<(), Refusal> {
        Ok(())
    }

    /// Shows what a run would do. Writes nothing.
    async fn preview(&self, scope: &Scope) -> Result<Preview, Refusal>;

    /// Does the work from wherever it stands.
    async fn run(&self, context: &Context) -> Result<Finish, Stop>;
}

/// The kind of an order.
pub fn of(order: &Order) -> &dyn Kind {
    match order {
        Order::Clone(order) => order.as_ref(),
        Order::Import(order) => order,
        Order::Sync(order) => order,
    }
}

/// As [`of`], for what is still to be decided.
pub fn of_mut(order: &mut Order) -> &mut dyn Kind {
    match order {
        Order::Clone(order) => order.as_mut(),
        Order::Import(order) => order,
        Order::Sync(order) => order,
    }
}

/// How a job that SpecWeave wrote becomes one of ours.
pub struct Adopter {
    /// Reads what it was to do; logins and tokens in it go to the caller. Blocks.
    pub read: fn(&Left, &mut Caller) -> Result<Adoption, AdoptError>,
    /// Whether what it leads to has to stand fast before there is a job of ours.
    pub prepares: bool,
    /// The command that starts such work afresh where that file is gone.
    pub restart: &'static str,
}

/// `None` for a type of job that this daemon cannot go on with.
pub fn adopter(of: v1::JobType) -> Option<Adopter> {
    match of {
        v1::JobType::CloneRepos => Some(Adopter {
            read: clone::adopt::read,
            prepares: false,
            restart: "specweave-jobs clone OWNER/REPO...",
        }),
        v1::JobType::ImportIssues => {
            Some(Adopter { read: import::adopt::read, prepares: false, restart: "specweave-jobs import" })
        }
        v1::JobType::SyncExternal => {
            Some(Adopter { read: sync::adopt::read, prepares: true, restart: "specweave-jobs sync" })
        }
        v1::JobType::Unspecified => None,
    }
}

/// Runs the work of the context's job to its end.
pub async fn run(context: Context) -> Result<Finish, Stop> {
    let order = context.job.order.clone();
    of(&order).run(&context).await
}
