//! What a person may type. Defined once: help, completions and the manual page come from here.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "\
Exit status: 0 done; 1 the job failed, ended with warnings or stays paused, or a general error; 2 usage;
3 no such job; 4 the daemon cannot be reached; 124 `wait` timed out; 130 Ctrl-C (the job goes on).

Environment: SPECWEAVE_JOBS_SOCKET_DIR, SPECWEAVE_JOBS_NO_DAEMON, SPECWEAVE_JOBSD, GITHUB_TOKEN, GITHUB_API_URL,
AZURE_DEVOPS_PAT, AZURE_DEVOPS_ORG_URL, JIRA_DOMAIN, JIRA_EMAIL, JIRA_API_TOKEN, HTTPS_PROXY, SSL_CERT_FILE, NO_COLOR.";

/// Background jobs of a SpecWeave project: list, follow, kill, resume, start.
#[derive(Parser)]
#[command(name = "specweave-jobs", version, after_help = AFTER, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = true)]
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
}

/// The documented options. Without one, the active jobs are listed.
#[derive(Args)]
#[group(multiple = false)]
pub struct Look {
    /// Include finished jobs (the last 10)
    #[arg(long)]
    pub all: bool,
    /// Show one job in detail
    #[arg(long, value_name = "JOB")]
    pub id: Option<String>,
    /// Follow a job's progress [default: the only active job]
    #[arg(long, value_name = "JOB", num_args = 0..=1, default_missing_value = "")]
    pub follow: Option<String>,
    /// Show the last 50 lines of a job's log [default: the only active job]
    #[arg(long, value_name = "JOB", num_args = 0..=1, default_missing_value = "")]
    pub logs: Option<String>,
    /// Stop a running job; it is paused and can be resumed
    #[arg(long, value_name = "JOB")]
    pub kill: Option<String>,
    /// Let a paused or failed job go on, or retry the failed items of a finished one
    #[arg(long, value_name = "JOB")]
    pub resume: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make the current folder a project (.specweave with the minimum in it)
    Init,
    /// Clone repositories in the background
    Clone(CloneArgs),
    /// Import issues into the living docs, in the background
    Import(ImportArgs),
    /// Keep stories and a tracker's items the same, in the background
    Sync(SyncArgs),
    /// Show what waits for a decision: all of it, or one story with what both sides say
    Conflicts {
        /// FS-001/US-001 or US-001
        story: Option<String>,
    },
    /// Decide over a story that both sides changed
    Resolve(ResolveArgs),
    /// Wait until a job has ended
    Wait {
        job: String,
        /// Give up after so many seconds, with status 124
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
    },
    /// Remove finished jobs, with their folders
    Prune {
        /// Keep so many of the newest
        #[arg(long, default_value_t = 0, value_name = "N")]
        keep: u32,
    },
    /// Show every change of every job until interrupted
    Watch,
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
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
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
    #[arg(long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(long)]
    pub follow: bool,
}

/// What to sync. What is not named comes from `sync` of the project's config.json.
#[derive(Args)]
pub struct SyncArgs {
    /// github, jira, ado [default: the profile's]
    #[arg(value_name = "TRACKER", value_parser = ["github", "jira", "ado"])]
    pub tracker: Option<String>,
    /// A key of sync.profiles
    #[arg(long, value_name = "ID")]
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
    #[arg(long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(long)]
    pub follow: bool,
}

/// Which story, and what is right.
#[derive(Args)]
pub struct ResolveArgs {
    /// FS-001/US-001, US-001, or the id of an imported item
    #[arg(value_name = "STORY")]
    pub story: String,
    /// local: the story; remote: the tracker; file: what you left in the conflict's file
    #[arg(long = "use", value_name = "SIDE", value_parser = ["local", "remote", "file"])]
    pub side: String,
    /// github, jira, ado [default: the profile's]
    #[arg(long, value_name = "TRACKER", value_parser = ["github", "jira", "ado"])]
    pub tracker: Option<String>,
    /// A key of sync.profiles
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
}

/// What to clone.
#[derive(Args)]
pub struct CloneArgs {
    /// owner/repo, owner/glob*, a URL (https, ssh, git, file) or a path beginning with / or .
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
    #[arg(long, value_name = "PROJECT", requires = "ado_org")]
    pub ado_project: Option<String>,
    /// Only repositories whose name matches: a glob, a prefix, or regex:RE
    #[arg(long = "match", value_name = "PATTERN")]
    pub matching: Vec<String>,
    /// Not those whose name matches
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Take archived and disabled repositories of a listing too
    #[arg(long)]
    pub include_archived: bool,
    /// Take forks of a listing too
    #[arg(long)]
    pub include_forks: bool,
    /// Clones at a time [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub concurrency: Option<u32>,
    /// Only so many commits of history
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,
    /// Where they go below repositories/: owner/name, or host/every/group/name [default: owner]
    #[arg(long, value_name = "LAYOUT", value_parser = ["owner", "host"])]
    pub layout: Option<String>,
    /// Clone owner/repo and listings over ssh
    #[arg(long)]
    pub ssh: bool,
    /// Say what would be cloned, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Follow the job once it is started
    #[arg(long)]
    pub follow: bool,
}
