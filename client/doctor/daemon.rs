//! The daemon: its lock, what it has published, its socket, and whether it answers.

use super::Finding;
use crate::connect::{self, LockState, Patience};
use specweave_jobs::project::{Endpoint, EndpointError, Project, host};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const START: &str = "specweave-jobs daemon start";
const STOP: &str = "specweave-jobs daemon stop";

/// The longest path that every Unix takes for a socket.
const LONGEST_SOCKET_PATH: usize = 103;

pub(super) async fn examine(project: &Project) -> Vec<Finding> {
    let lock = connect::lock_state(project);
    let held = lock != LockState::Free;
    let mut findings = vec![match lock {
        LockState::Free => Finding::ok("lock", "free: no daemon runs"),
        LockState::Held(Some(pid)) => {
            Finding::ok("lock", format!("held by process {}", pid.as_raw_nonzero()))
        }
        LockState::Held(None) => Finding::note(
            "lock",
            "held by a process of another machine, container or boot",
            "use specweave-jobs there, or end that process there",
        ),
    }];
    let endpoint = match (Endpoint::read(&project.daemon().endpoint()), held) {
        (Ok(endpoint), true) => endpoint,
        (Ok(_), false) => {
            findings.push(Finding::note("endpoint", "a dead daemon's; the next one replaces it", START));
            return findings;
        }
        (Err(EndpointError::Missing), false) => {
            findings.push(Finding::ok("endpoint", "none, as no daemon runs"));
            return findings;
        }
        (Err(error), _) => {
            findings.push(Finding::wrong("endpoint", error.to_string(), START));
            return findings;
        }
    };
    findings.push(matches_lock(&endpoint, lock));
    if let Some(socket) = endpoint.socket() {
        findings.push(socket_is_private(socket));
    }
    findings.push(answers(project).await);
    findings
}

fn matches_lock(endpoint: &Endpoint, lock: LockState) -> Finding {
    let same = match lock {
        LockState::Held(Some(pid)) => pid.as_raw_nonzero().get() as u32 == endpoint.pid,
        _ => endpoint.host != host(),
    };
    if same {
        Finding::ok("endpoint", &*endpoint.endpoint)
    } else {
        Finding::wrong(
            "endpoint",
            format!("names process {}, which does not hold the lock", endpoint.pid),
            START,
        )
    }
}

/// Owner, mode and length of the socket and its folder, without following links.
fn socket_is_private(socket: &Path) -> Finding {
    let me = rustix::process::geteuid().as_raw();
    let shown = socket.display();
    let facts = match std::fs::symlink_metadata(socket) {
        Ok(facts) => facts,
        Err(error) => return Finding::wrong("socket", format!("{shown}: {error}"), START),
    };
    let folder = socket.parent().and_then(|folder| std::fs::symlink_metadata(folder).ok());
    let length = socket.as_os_str().len();
    let complaint = if !facts.file_type().is_socket() {
        "is no socket"
    } else if facts.uid() != me || folder.as_ref().is_none_or(|folder| folder.uid() != me) {
        "belongs to another user, or lies in another user's folder"
    } else if facts.mode() & 0o077 != 0 || folder.is_none_or(|folder| folder.mode() & 0o077 != 0) {
        "can be used by others"
    } else if length > LONGEST_SOCKET_PATH {
        "has a path that is too long"
    } else {
        return Finding::ok("socket", format!("{shown} (mode {:o}, {length} bytes)", facts.mode() & 0o777));
    };
    Finding::wrong("socket", format!("{shown} {complaint}"), STOP)
}

async fn answers(project: &Project) -> Finding {
    let connection = match connect::find(project, Patience::Short).await {
        Ok(Some(connection)) => connection,
        Ok(None) => return Finding::wrong("handshake", "nothing listens at the endpoint", START),
        Err(error) => return Finding::wrong("handshake", error.to_string(), STOP),
    };
    match connect::info(&connection).await {
        Ok(info) if info.version != env!("CARGO_PKG_VERSION") => Finding::note(
            "handshake",
            format!("the daemon is version {}, this is {}", info.version, env!("CARGO_PKG_VERSION")),
            STOP,
        ),
        Ok(info) => {
            let detail = format!(
                "version {}, protocol {}, {} active jobs",
                info.version, info.protocol, info.active_jobs
            );
            match info.notices.as_slice() {
                [] => Finding::ok("handshake", detail),
                notices => Finding::note(
                    "handshake",
                    format!("{detail}; {}", notices.join("; ")),
                    "specweave-jobs daemon logs",
                ),
            }
        }
        Err(error) => Finding::wrong("handshake", error.to_string(), STOP),
    }
}
