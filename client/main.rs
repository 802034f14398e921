//! `specweave-jobs`: the client. It reads what a person typed, asks the daemon or reads the files, prints,
//! and says by its exit status how it went. It owns nothing.

mod cli;
mod complete;
mod connect;
mod defaults;
mod doctor;
mod failure;
mod gitignore;
mod render;
mod source;
mod verbs;
mod when;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, Look};
use failure::Failure;
use specweave_jobs::project::Project;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use verbs::Says;

fn main() -> ExitCode {
    // A shell that asks what could be typed next gets its answer here, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::try_parse().unwrap_or_else(|error| wrong(&error));
    let json = cli.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli));
            // A thread that still waits for something must not hold up the answer.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::Usage(format!("cannot start: {error}"))),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit_status())
        }
    }
}

/// What was typed makes no sense, or asks for help: said as clap says it, and as a document where one was asked for.
fn wrong(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args().any(|argument| argument == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        // The exit status says it as well, where nobody reads.
        let _ = writeln!(std::io::stdout(), "{}", Failure::Usage(first.to_owned()).document());
    }
    error.exit()
}

/// One verb. Gives the exit status.
async fn run(cli: Cli) -> Result<u8, Failure> {
    let start = cli.project.as_deref().unwrap_or(Path::new("."));
    let says = Says::of(cli.json, cli.quiet);
    let Some(command) = cli.command else {
        return look(&Project::find(start)?, cli.look, says).await;
    };
    if let Some(option) = cli.look.first() {
        let told = format!("{option} is a command of its own: it goes with no other");
        return Err(Failure::Usage(told));
    }
    let project = || Project::find(start);
    let json = cli.json;
    match command {
        Command::Init { no_gitignore } => verbs::init::init(start, no_gitignore),
        Command::Completions { shell } => verbs::completions(shell),
        Command::Man { install } => verbs::man::man(install.as_deref()),
        Command::List(arguments) => verbs::list(&project()?, &arguments, says).await,
        Command::Show(arguments) => verbs::jobs::show(&project()?, &arguments, json).await,
        Command::Follow { job, timeout } => {
            verbs::follow::follow(&project()?, job.as_deref().unwrap_or_default(), timeout, says).await
        }
        Command::Logs(arguments) => verbs::logs::logs(&project()?, &arguments, json).await,
        Command::Kill { jobs } => verbs::jobs::kill(&project()?, &jobs, json).await,
        Command::Resume(arguments) => verbs::jobs::resume(&project()?, &arguments, says).await,
        Command::Retry { job, items, follow } => {
            verbs::jobs::resume_one(&project()?, &job, items, follow, says).await
        }
        Command::RunAgain { job, follow } => verbs::jobs::run_again(&project()?, &job, follow, says).await,
        Command::Rm { jobs } => verbs::jobs::remove(&project()?, &jobs, json).await,
        Command::Clone(arguments) => verbs::clone::clone(&project()?, arguments, says).await,
        Command::Import(arguments) => verbs::import::import(&project()?, arguments, says).await,
        Command::Sync(arguments) => verbs::sync::sync(&project()?, arguments, says).await,
        Command::Conflicts { story } => verbs::conflicts::conflicts(&project()?, story, json).await,
        Command::Resolve(arguments) => verbs::sync::resolve(&project()?, arguments, says).await,
        Command::Wait { job, timeout } => verbs::follow::wait(&project()?, &job, timeout, json).await,
        Command::Prune(arguments) => verbs::jobs::prune(&project()?, &arguments, json).await,
        Command::Watch { once: true, .. } => verbs::watch::once(&project()?, json).await,
        Command::Watch { ends, timeout, .. } => verbs::watch::watch(&project()?, ends, timeout, json).await,
        Command::Endpoint { start } => verbs::daemon::endpoint(&project()?, start).await,
        Command::Doctor => doctor::doctor(&project()?, json).await,
        Command::Hook { action } => verbs::hook::hook(start, &action, json),
        Command::Service { action } => verbs::service::service(&project()?, &action),
        Command::Daemon { action } => verbs::daemon::daemon(&project()?, action, json).await,
    }
}

/// The documented options, in the order of their precedence.
async fn look(project: &Project, look: Look, says: Says) -> Result<u8, Failure> {
    let json = says == Says::Json;
    if let Some(id) = look.kill {
        verbs::jobs::kill(project, &[id], json).await
    } else if let Some(id) = look.resume {
        verbs::jobs::resume_one(project, &id, Vec::new(), false, says).await
    } else if let Some(id) = look.logs {
        verbs::logs::logs(project, &cli::LogsArgs::of(id), json).await
    } else if let Some(id) = look.follow {
        verbs::follow::follow(project, &id, None, says).await
    } else if let Some(id) = look.id {
        verbs::jobs::details(project, &id, json).await
    } else {
        verbs::list(project, &cli::ListArgs { all: look.all, ..Default::default() }, says).await
    }
}
