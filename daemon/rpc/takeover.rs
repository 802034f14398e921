//! Takes over what SpecWeave left without a worker: its workers die with a terminal or a machine, and of some kinds of jobs it
//! has none. A worker that lives is never touched unasked.

use super::Service;
use crate::net::secrets::Caller;
use specweave_jobs::mirror;
use specweave_jobs::project::{Project, configuration};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How often it looks (`SPECWEAVE_JOBS_TAKE_OVER_SECONDS`). A job must be without a worker in each of [`LOOKS`] looks after
/// the first, so that neither a launcher that takes its time nor a machine that slept makes it look dead: 15 s.
pub const PERIOD: Duration = Duration::from_secs(5);
const LOOKS: u32 = 3;

/// Looks for as long as the daemon serves.
pub async fn keep(service: Arc<Service>, period: Duration) {
    let mut dead: HashMap<String, u32> = HashMap::new();
    let mut refused: HashSet<String> = HashSet::new();
    loop {
        tokio::select! {
            () = service.stopping.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        if !service.tenure.holds() {
            return;
        }
        let snapshot = service.keeper.snapshot().await;
        let besides = service.foreign.besides(&snapshot).await;
        let found: Vec<_> = besides
            .into_iter()
            .filter(|job| mirror::is_dead(job) && mirror::can_go_on(job) && !refused.contains(&job.id))
            .collect();
        dead.retain(|id, _| found.iter().any(|job| job.id == *id));
        if found.is_empty() || !takes_over(&service.project) {
            continue;
        }
        for job in found {
            let looks = dead.entry(job.id.clone()).or_default();
            *looks += 1;
            if *looks <= LOOKS {
                continue;
            }
            let id = job.id.clone();
            match service.adopt(job, Caller::default()).await {
                Ok(_) => tracing::info!(job = %id, "taken over: SpecWeave left it without a worker"),
                Err(status) => {
                    tracing::info!(job = %id, why = status.message(), "not taken over");
                    refused.insert(id);
                }
            }
        }
    }
}

/// What the project's configuration says under `jobs.takeOver`.
fn takes_over(project: &Project) -> bool {
    configuration(&project.config())["jobs"]["takeOver"] != "never"
}
