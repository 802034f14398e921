//! `specweave-jobs`: the client. It reads what a person typed, asks the daemon or reads the files, prints,
//! and says by its exit status how it went. It owns nothing.

mod cli;
mod connect;
mod doctor;
mod failure;
mod render;
mod source;
mod verbs;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use failure::Failure;
use specweave_jobs::project::Project;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
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
            failure.print();
            ExitCode::from(failure.exit_status())
        }
    }
}

/// One verb, in the order of the documented precedence. Gives the exit status.
async fn run(cli: Cli) -> Result<u8, Failure> {
    let start = cli.project.as_deref().unwrap_or(Path::new("."));
    let json = cli.json;
    match &cli.command {
        Some(Command::Init) => return verbs::init(start),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Cli::command(), "specweave-jobs", &mut std::io::stdout());
            return Ok(0);
        }
        Some(Command::Man) => {
            let page = clap_mangen::Man::new(Cli::command());
            let rendered = page.render(&mut std::io::stdout());
            return rendered.map(|()| 0).map_err(|_| Failure::Closed);
        }
        _ => {}
    }
    let project = Project::find(start)?;
    match cli.command {
        Some(Command::Clone(arguments)) => verbs::clone::clone(&project, arguments, json).await,
        Some(Command::Import(arguments)) => verbs::import::import(&project, arguments, json).await,
        Some(Command::Sync(arguments)) => verbs::sync::sync(&project, arguments, json).await,
        Some(Command::Conflicts { story }) => verbs::conflicts::conflicts(&project, story, json).await,
        Some(Command::Resolve(arguments)) => verbs::sync::resolve(&project, arguments, json).await,
        Some(Command::Wait { job, timeout }) => verbs::follow::wait(&project, &job, timeout, json).await,
        Some(Command::Prune { keep }) => verbs::prune(&project, keep, json).await,
        Some(Command::Watch) => verbs::follow::watch(&project, json).await,
        Some(Command::Endpoint { start }) => verbs::daemon::endpoint(&project, start).await,
        Some(Command::Doctor) => doctor::doctor(&project, json).await,
        Some(Command::Daemon { action }) => verbs::daemon::daemon(&project, action, json).await,
        Some(Command::Init | Command::Completions { .. } | Command::Man) => Ok(0),
        None => {
            let look = cli.look;
            if let Some(id) = look.kill {
                verbs::kill(&project, &id, json).await
            } else if let Some(id) = look.resume {
                verbs::resume(&project, &id, json).await
            } else if let Some(id) = look.logs {
                verbs::logs(&project, &id).await
            } else if let Some(id) = look.follow {
                verbs::follow::follow(&project, &id, json).await
            } else if let Some(id) = look.id {
                verbs::details(&project, &id, json).await
            } else {
                verbs::list(&project, look.all, json).await
            }
        }
    }
}
