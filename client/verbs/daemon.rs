//! `daemon` and `endpoint`: the daemon itself.

use super::{print, print_json};
use crate::cli::DaemonAction;
use crate::connect::{self, Patience};
use crate::failure::Failure;
use crate::render::about_ago;
use serde_json::json;
use specweave_jobs::project::Project;
use specweave_jobs::{disk, tail, text};

const LOG_LINES: u32 = 50;

/// The daemon moves its log aside long before.
const MOST_LOG: u64 = 1024 * 1024 * 1024;

pub async fn daemon(project: &Project, action: DaemonAction, json: bool) -> Result<u8, Failure> {
    match action {
        DaemonAction::Run => Err(connect::become_daemon(project)),
        DaemonAction::Start => {
            let connection = connect::find_or_start(project).await?;
            if json {
                print_json(&connect::info(&connection).await?)?
            } else {
                print(&format!("The daemon runs (process {}).\n", connection.endpoint.pid))?
            }
            Ok(0)
        }
        DaemonAction::Stop => {
            let active = match connect::find_awake(project, Patience::Short).await {
                Ok(Some(connection)) => connect::info(&connection).await.map_or(0, |info| info.active_jobs),
                _ => 0,
            };
            let ran = connect::stop(project).await?;
            match json {
                true => print_json(&json!({"stopped": ran}))?,
                false if ran && active > 0 => {
                    print("The daemon has stopped; what it had to do goes on at its next start.\n")?
                }
                false if ran => print("The daemon has stopped.\n")?,
                false => print("No daemon was running.\n")?,
            }
            Ok(0)
        }
        DaemonAction::Status => {
            let connection = connect::find_awake(project, Patience::Long).await?.ok_or(Failure::NoDaemon)?;
            let info = connect::info(&connection).await?;
            if json {
                print_json(&info)?;
                return Ok(0);
            }
            print(&format!(
                "The daemon runs (process {}, version {}, protocol {}).\nStarted: {}\nActive jobs: {}\nOpen streams: {}\nEndpoint: {}\n",
                info.pid,
                info.version,
                info.protocol,
                about_ago(&info.started_at),
                info.active_jobs,
                info.streams,
                connection.endpoint.endpoint
            ))?;
            for notice in &info.notices {
                print(&format!("Note: {}\n", text::plain(notice)))?;
            }
            Ok(0)
        }
        DaemonAction::Logs => {
            let path = project.daemon().log();
            let read = tail::offset_of_last_lines(&path, LOG_LINES)
                .and_then(|offset| Ok(disk::read_regular(&path, MOST_LOG)?.split_off(offset as usize)));
            match read {
                Ok(bytes) => print(&text::plain_lines(&String::from_utf8_lossy(&bytes)))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    print("No daemon has run here yet.\n")?
                }
                Err(source) => return Err(Failure::Read { path, source }),
            }
            Ok(0)
        }
    }
}

/// The documented line for editors: `{"endpoint":"unix:..","pid":..,"protocol":1}`.
pub async fn endpoint(project: &Project, start: bool) -> Result<u8, Failure> {
    let connection = if start {
        connect::find_or_start(project).await?
    } else {
        connect::find_awake(project, Patience::Long).await?.ok_or(Failure::NoDaemon)?
    };
    let endpoint = &connection.endpoint;
    print_json(&json!({
        "endpoint": endpoint.endpoint,
        "pid": endpoint.pid,
        "protocol": endpoint.protocol,
    }))?;
    Ok(0)
}
