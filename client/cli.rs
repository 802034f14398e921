//! What a person may type. Defined once: help, completions and the manual page come from here.

use crate::complete;
use crate::when::{Age, Since};
use clap::{Args, Parser, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;

const AFTER: &str = "\
Exit status: 0 done; 1 the job failed, ended with warnings or stays paused, or a general error; 2 usage;
3 no such job; 4 the daemon cannot be reached; 124 `wait` timed out; 130 Ctrl-C (the job goes on).

Environment: SPECWEAVE_JOBS_SOCKET_DIR, SPECWEAVE_JOBS_NO_DAEMON, SPECWEAVE_JOBSD, GITHUB_TOKEN, GITHUB_API_URL,
AZURE_DEVOPS_PAT, AZURE_DEVOPS_ORG_URL, JIRA_DOMAIN, JIRA_EMAIL, JIRA_API_TOKEN, HTTPS_PROXY, SSL_CERT_FILE, NO_COLOR.";

/// Background jobs of a SpecWeave project: list, follow, kill, resume, start.
#[derive(Parser)]
#[command(name = "specweave-jobs", version = VERSION, after_help = AFTER)]
#[command(subcommand_help_heading = "Commands")]
pub struct Cli {
    #[command(flatten)]
    pub look: Look,
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A folder inside the project [default: the current one]
    #[arg(long, global = true, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Print JSON, one document a line for streams; field names as in jobs.proto
    #[arg(long, global = true)]
    pub json: bool,
    /// Print ids alone: of the job that is started, or of those that are listed
    #[arg(short, long, global = true, conflicts_with = "json")]
    pub quiet: bool,
}

/// The release, and the commit that it was built from where that was known.
const VERSION: &str = env!("SPECWEAVE_JOBS_VERSION");

/// The documented options. Without one, the active jobs are listed.
#[derive(Args)]
#[group(multiple = false)]
pub struct Look {
    /// Include finished jobs
    #[arg(short, long)]
    pub all: bool,
    /// Show one job in detail
    #[arg(long, value_name = "JOB", add = ArgValueCompleter::new(complete::any_job))]
    pub id: Option<String>,
    /// Follow a job's progress [default: the only active job, or the last one]
    #[arg(long, value_name = "JOB", num_args = 0..=1, default_missing_value = "", add = ArgValueCompleter::new(complete::any_job))]
    pub follow: Option<String>,
    /// Show the last 50 lines of a job's log [default: the only active job, or the last one]
    #[arg(long, value_name = "JOB", num_args = 0..=1, default_missing_value = "", add = ArgValueCompleter::new(complete::any_job))]
    pub logs: Option<String>,
    /// Stop a running job; it is paused and can be resumed
    #[arg(long, value_name = "JOB", add = ArgValueCompleter::new(complete::running_job))]
    pub kill: Option<String>,
    /// Let a paused or failed job go on, or retry the failed items of a finished one
    #[arg(long, value_name = "JOB", add = ArgValueCompleter::new(complete::resumable_job))]
    pub resume: Option<String>,
}

impl Look {
    /// The option that was given, as it is typed.
    pub fn first(&self) -> Option<&'static str> {
        let given = [
            ("--all", self.all),
            ("--id", self.id.is_some()),
            ("--follow", self.follow.is_some()),
            ("--logs", self.logs.is_some()),
            ("--kill", self.kill.is_some()),
            ("--resume", self.resume.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// List jobs: those that are active, or all
    #[command(visible_alias = "ls")]
    #[command(
        after_help = "Examples:\n  specweave-jobs list --all\n  specweave-jobs list --state failed --type clone-repos\n  specweave-jobs list --json | jq -r .jobs[].id"
    )]
    List(ListArgs),
    /// Show jobs in detail
    #[command(
        after_help = "Examples:\n  specweave-jobs show ae36\n  specweave-jobs show ae36 --items --failed"
    )]
    Show(ShowArgs),
    /// Follow a job's progress to its end
    Follow {
        /// An id, or its beginning [default: the only active job, or the last one]
        #[arg(add = ArgValueCompleter::new(complete::any_job))]
        job: Option<String>,
        /// Stop following after so many seconds, with status 124; the job goes on
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
    },
    /// Show the end of a job's log
    #[command(
        after_help = "Examples:\n  specweave-jobs logs ae36 -n 200\n  specweave-jobs logs -f ae36\n  specweave-jobs logs ae36 --since 10m"
    )]
    Logs(LogsArgs),
    /// Stop running jobs, which are paused and can be resumed; end those that are done again and again
    Kill {
        /// Ids, or their beginnings
        #[arg(value_name = "JOB", required = true, add = ArgValueCompleter::new(complete::running_job))]
        jobs: Vec<String>,
    },
    /// Let paused or failed jobs go on, or retry what failed in finished ones
    #[command(
        after_help = "Examples:\n  specweave-jobs resume ae36 --follow\n  specweave-jobs resume --all-paused"
    )]
    Resume(ResumeArgs),
    /// Retry what failed in a job: all of it, or the items that are named
    #[command(after_help = "Examples:\n  specweave-jobs retry ae36\n  specweave-jobs retry ae36 web api")]
    Retry {
        /// An id, or its beginning
        #[arg(add = ArgValueCompleter::new(complete::resumable_job))]
        job: String,
        /// Names of failed items, as `show` has them
        #[arg(value_name = "ITEM")]
        items: Vec<String>,
        /// Follow the job
        #[arg(short, long)]
        follow: bool,
    },
    /// Start a new job that does the same work as an earlier one
    RunAgain {
        /// An id, or its beginning
        #[arg(add = ArgValueCompleter::new(complete::any_job))]
        job: String,
        /// Follow the new job
        #[arg(short, long)]
        follow: bool,
    },
    /// Remove jobs that are paused or have ended, with their logs; what they have made stays
    #[command(visible_alias = "remove")]
    Rm {
        /// Ids, or their beginnings
        #[arg(value_name = "JOB", required = true, add = ArgValueCompleter::new(complete::removable_job))]
        jobs: Vec<String>,
    },
    /// Make the current folder a project (.specweave with the minimum in it)
    Init {
        /// Leave .gitignore as it is
        #[arg(long)]
        no_gitignore: bool,
    },
    /// Clone repositories in the background
    #[command(
        after_help = "Examples:\n  specweave-jobs clone acme/web https://git.example/team/tool.git\n  specweave-jobs clone --github-org acme --match 'api-*' --follow\n  specweave-jobs clone --from repositories.txt -j 16 --dry-run"
    )]
    Clone(CloneArgs),
    /// Import issues into the living docs, in the background
    #[command(
        after_help = "Examples:\n  specweave-jobs import github --repo acme/web --since all --follow\n  specweave-jobs import jira --jql 'sprint in openSprints()' -n\n  specweave-jobs import"
    )]
    Import(ImportArgs),
    /// Keep stories and a tracker's items the same, in the background
    #[command(
        after_help = "Examples:\n  specweave-jobs sync --dry-run\n  specweave-jobs sync github --every 30m\n  specweave-jobs sync --only FS-001 --direction export"
    )]
    Sync(SyncArgs),
    /// Show what waits for a decision: all of it, or one story with what both sides say
    Conflicts {
        /// FS-001/US-001, US-001, or the id of an imported item
        #[arg(add = ArgValueCompleter::new(complete::conflict))]
        story: Option<String>,
    },
    /// Decide over a story that both sides changed
    #[command(
        after_help = "Examples:\n  specweave-jobs resolve US-001 --use local\n  specweave-jobs resolve 'github#acme/web#7' --use remote"
    )]
    Resolve(ResolveArgs),
    /// Wait until a job has ended
    Wait {
        /// An id, or its beginning
        #[arg(add = ArgValueCompleter::new(complete::any_job))]
        job: String,
        /// Give up after so many seconds, with status 124
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
    },
    /// Remove finished jobs, also those that failed, with their logs; what they have made stays
    #[command(
        after_help = "Examples:\n  specweave-jobs prune --dry-run --older-than 7d\n  specweave-jobs prune --keep 5 --yes"
    )]
    Prune(PruneArgs),
    /// Show all jobs as they change: a table in a terminal, lines in a pipe
    Watch {
        /// Show them as they are now, and end
        #[arg(long)]
        once: bool,
        /// Print a line for each job that ends, or pauses and waits for somebody, and nothing else
        #[arg(long, conflicts_with = "once")]
        ends: bool,
        /// Stop watching after so many seconds, with status 124
        #[arg(long, value_name = "SECONDS", conflicts_with = "once")]
        timeout: Option<f64>,
    },
    /// Print where the daemon listens, as JSON
    Endpoint {
        /// Start the daemon if none runs
        #[arg(long)]
        start: bool,
    },
    /// Look for what is wrong, and change nothing
    Doctor,
    /// Look after the daemon itself
    Daemon {
        #[command(subcommand)]
        action: DaemonAction,
    },
    /// Let SpecWeave's own commands hand their background jobs to the daemon
    Hook {
        #[command(subcommand)]
        action: HookAction,
    },
    /// Let the system start this project's daemon when you log in, for jobs that are done again; nothing does so unasked
    Service {
        #[command(subcommand)]
        action: ServiceAction,
    },
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write one for every verb
    Man {
        /// Write the pages into DIR/man1, for `man specweave-jobs-clone`
        #[arg(long, value_name = "DIR")]
        install: Option<PathBuf>,
    },
}

#[derive(Args, Default)]
pub struct ListArgs {
    /// Include finished jobs
    #[arg(short, long)]
    pub all: bool,
    /// Only jobs in this state; finished ones, too
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    pub state: Vec<String>,
    /// All of it in one line, as for a status line; nothing where nothing is active
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    pub line: bool,
    /// Only jobs of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = ["clone-repos", "import-issues", "sync-external"])]
    pub types: Vec<String>,
}

/// The states of the contract, as `--json` has them.
const STATES: [&str; 7] =
    ["pending", "running", "paused", "scheduled", "completed", "completed_with_warnings", "failed"];

#[derive(Args)]
pub struct ShowArgs {
    /// Ids, or their beginnings [default: the only active job, or the last one]
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::any_job))]
    pub jobs: Vec<String>,
    /// List every item with its state; needs the daemon
    #[arg(long)]
    pub items: bool,
    /// Of the items, only those that failed
    #[arg(long, requires = "items")]
    pub failed: bool,
}

#[derive(Args)]
pub struct LogsArgs {
    /// An id, or its beginning [default: the only active job, or the last one]
    #[arg(add = ArgValueCompleter::new(complete::any_job))]
    pub job: Option<String>,
    /// Go on until the job has ended
    #[arg(short, long)]
    pub follow: bool,
    /// So many lines [default: 50, or all since the moment]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u32>,
    /// Only lines since then: 10m, 2h, 1d, or a moment as 2026-01-31T08:00
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
}

impl LogsArgs {
    /// The documented `--logs JOB`.
    pub fn of(job: String) -> Self {
        Self { job: Some(job), follow: false, lines: None, since: None }
    }
}

#[derive(Args)]
pub struct ResumeArgs {
    /// Ids, or their beginnings
    #[arg(value_name = "JOB", required_unless_present = "all_paused", add = ArgValueCompleter::new(complete::resumable_job))]
    pub jobs: Vec<String>,
    /// Every job that is paused
    #[arg(long, conflicts_with = "jobs")]
    pub all_paused: bool,
    /// Follow the job
    #[arg(short, long, conflicts_with = "all_paused")]
    pub follow: bool,
}

#[derive(Args)]
pub struct PruneArgs {
    /// Keep so many of the newest
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub keep: u32,
    /// Only those that ended so long ago: 12h, 7d, 2w
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<Age>,
    /// Say which, and remove none
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask; needed where nobody can be asked
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Subcommand)]
pub enum HookAction {
    /// Let SpecWeave hand its clone and import jobs over
    Install {
        #[command(flatten)]
        scope: ScopeArgs,
        /// Print a line for a shell instead
        #[arg(long, conflicts_with = "user")]
        shell: bool,
    },
    /// Say whether it does, and where that is set
    Status,
    /// Let SpecWeave run its jobs itself again
    Uninstall {
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

/// Whose settings of Claude Code are changed.
#[derive(Args)]
pub struct ScopeArgs {
    /// For all of your projects, in ~/.claude/settings.json [default: this one, in .claude/settings.local.json]
    #[arg(long)]
    user: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Project,
    User,
}

impl ScopeArgs {
    pub fn scope(&self) -> Scope {
        if self.user { Scope::User } else { Scope::Project }
    }
}

#[derive(Subcommand)]
pub enum ServiceAction {
    /// Make a user unit of systemd, or an agent of launchd
    Install {
        /// Print it, and write nothing
        #[arg(long)]
        print: bool,
    },
    /// Take it away again
    Remove,
}

#[derive(Subcommand)]
pub enum DaemonAction {
    /// Start it, if none runs
    Start,
    /// Stop it; returns when it is gone
    Stop,
    /// Say whether one runs, and since when
    Status,
    /// Be the daemon, in this terminal
    Run,
    /// Print the end of its log
    Logs,
}

/// When a job is done again, and who hears of its end.
#[derive(Args)]
pub struct TermsArgs {
    /// Do it again and again, so long after it last began: 30m, 2h, 1d
    #[arg(long, value_name = "INTERVAL")]
    pub every: Option<Age>,
    /// Run this with the shell, in the project's folder, each time the work has ended; the job is on its standard input, as JSON
    #[arg(long, value_name = "COMMAND")]
    pub on_finish: Option<String>,
    /// Tell the desktop, or the terminal that follows, when the job has ended
    #[arg(long)]
    pub notify: bool,
}

/// What to import. Without an argument: every source that the project's configuration, the environment and the git
/// remote name, since the last import.
#[derive(Args)]
pub struct ImportArgs {
    /// github, jira, ado
    #[arg(value_name = "TRACKER", value_parser = ["github", "jira", "ado"])]
    pub trackers: Vec<String>,
    /// A repository of GitHub
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Vec<String>,
    /// A project of JIRA
    #[arg(long, value_name = "KEY")]
    pub project_key: Vec<String>,
    /// The Azure DevOps organisation
    #[arg(long, value_name = "ORG")]
    pub ado_org: Option<String>,
    /// A project of it
    #[arg(long, value_name = "NAME")]
    pub ado_project: Vec<String>,
    /// last, 10d, 2w, 3m, all, or a date: items that have changed since [default: last; the first time 1m]
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// open: closed items are only updated where they have been imported before
    #[arg(long, value_name = "STATE", value_parser = ["open", "all"])]
    pub state: Option<String>,
    /// Only new items with this label
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Only new items whose title matches: a glob, a prefix, or regex:RE
    #[arg(long = "match", value_name = "PATTERN")]
    pub matching: Vec<String>,
    /// Only issues that GitHub's search finds
    #[arg(long, value_name = "TERMS")]
    pub search: Option<String>,
    /// Only issues that fit this condition of JIRA's JQL
    #[arg(long, value_name = "CONDITION")]
    pub jql: Option<String>,
    /// Only work items that fit this condition of Azure DevOps' WIQL
    #[arg(long, value_name = "CONDITION")]
    pub wiql: Option<String>,
    /// Only what is assigned to this person, or to @me
    #[arg(long, value_name = "WHO")]
    pub assignee: Option<String>,
    /// Only this milestone, version (JIRA) or iteration (Azure DevOps)
    #[arg(long, value_name = "NAME")]
    pub milestone: Option<String>,
    /// Say what would come, and write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub terms: TermsArgs,
}

/// What to sync. What is not named comes from `sync` of the project's config.json.
#[derive(Args)]
pub struct SyncArgs {
    /// github, jira, ado [default: the profile's]
    #[arg(value_name = "TRACKER", value_parser = ["github", "jira", "ado"])]
    pub tracker: Option<String>,
    /// A key of sync.profiles
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(complete::profile))]
    pub profile: Option<String>,
    /// Which way edits go; never more than the preset allows
    #[arg(long, value_name = "WAY", value_parser = ["import", "export", "bidirectional"])]
    pub direction: Option<String>,
    /// What becomes of a story that both sides changed [default: manual]
    #[arg(long, value_name = "POLICY", value_parser = ["manual", "local", "remote"])]
    pub on_conflict: Option<String>,
    /// Only these: FS-001, US-001, FS-001/US-001, or the id of an imported item
    #[arg(long, value_name = "STORY")]
    pub only: Vec<String>,
    /// Go on although more is gone on one side than a person removes
    #[arg(long)]
    pub force_deletes: bool,
    /// Say what would be done, and write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub terms: TermsArgs,
}

/// Which story, and what is right.
#[derive(Args)]
pub struct ResolveArgs {
    /// FS-001/US-001, US-001, or the id of an imported item
    #[arg(value_name = "STORY", add = ArgValueCompleter::new(complete::conflict))]
    pub story: String,
    /// local: the story; remote: the tracker; file: what you left in the conflict's file
    #[arg(long = "use", value_name = "SIDE", value_parser = ["local", "remote", "file"])]
    pub side: String,
    /// github, jira, ado [default: the profile's]
    #[arg(long, value_name = "TRACKER", value_parser = ["github", "jira", "ado"])]
    pub tracker: Option<String>,
    /// A key of sync.profiles
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(complete::profile))]
    pub profile: Option<String>,
}

/// What to clone.
#[derive(Args)]
pub struct CloneArgs {
    /// owner/repo, owner/glob*, a URL (https, ssh, git, file), or a path that begins with "./", "../" or "/"
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// More sources, one a line, # for comments; - is standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// All repositories of a GitHub organisation
    #[arg(long, value_name = "ORG")]
    pub github_org: Option<String>,
    /// All repositories of a GitHub user
    #[arg(long, value_name = "USER")]
    pub github_user: Option<String>,
    /// All repositories of a project of this Azure DevOps organisation
    #[arg(long, value_name = "ORG", requires = "ado_project")]
    pub ado_org: Option<String>,
    /// The project of it
    #[arg(long, value_name = "PROJECT", requires = "ado_org")]
    pub ado_project: Option<String>,
    /// All repositories of a GitLab group and its subgroups (GITLAB_HOST, GITLAB_TOKEN)
    #[arg(long, value_name = "GROUP")]
    pub gitlab_group: Option<String>,
    /// All repositories of an organisation of Gitea or Forgejo (GITEA_SERVER_URL, GITEA_SERVER_TOKEN)
    #[arg(long, value_name = "ORG")]
    pub gitea_org: Option<String>,
    /// All repositories of a Bitbucket workspace (BITBUCKET_TOKEN, BITBUCKET_USERNAME)
    #[arg(long, value_name = "WORKSPACE")]
    pub bitbucket: Option<String>,
    /// Only repositories whose name matches: a glob, a prefix, or regex:RE
    #[arg(long = "match", value_name = "PATTERN")]
    pub matching: Vec<String>,
    /// Not those whose name matches
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Of listings, only repositories with this topic; several: with all of them
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Of listings, only repositories mostly written in it; several: in any of them
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Vec<String>,
    /// Of listings, only repositories that were pushed to since then: 10d, 2w, 3m, or a date
    #[arg(long, value_name = "WHEN")]
    pub active_since: Option<String>,
    /// Take archived and disabled repositories of a listing too
    #[arg(long)]
    pub include_archived: bool,
    /// Take forks of a listing too
    #[arg(long)]
    pub include_forks: bool,
    /// Clones at a time, at most [default: what the host takes, up to 64]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub concurrency: Option<u32>,
    /// Only so many commits of history
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,
    /// Only the default branch, with all of its history
    #[arg(long)]
    pub single_branch: bool,
    /// Clone submodules, and theirs, as well
    #[arg(long)]
    pub recurse_submodules: bool,
    /// Every ref as it is on the server, without a work tree, at repositories/owner/name.git
    #[arg(long, conflicts_with_all = ["single_branch", "recurse_submodules"])]
    pub mirror: bool,
    /// Leave out what is not needed yet: blob:none, blob:limit=SIZE or tree:DEPTH
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Where they go below repositories/: owner/name, or host/every/group/name [default: owner]
    #[arg(long, value_name = "LAYOUT", value_parser = ["owner", "host"])]
    pub layout: Option<String>,
    /// Clone owner/repo and listings over ssh
    #[arg(long)]
    pub ssh: bool,
    /// Bring what stands there already up to date; without a SOURCE, all that stands below repositories/
    #[arg(short, long)]
    pub update: bool,
    /// Name what is gone upstream and has nothing of yours in it
    #[arg(long, requires = "update")]
    pub prune: bool,
    /// Remove what --prune names
    #[arg(long, requires = "prune")]
    pub force: bool,
    /// Say what would be cloned, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub terms: TermsArgs,
}
