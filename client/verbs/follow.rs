//! Following jobs. The stream is read as fast as it comes and only the newest state is drawn, so that a slow
//! terminal shows the present and not the past. Ctrl-C detaches; the job goes on.

use super::{Says, interrupted, print, print_json};
use crate::connect::{self, Connection, Patience};
use crate::failure::{self, Failure};
use crate::render::follow::View;
use crate::render::{self, details::ending};
use crate::source::Source;
use specweave_jobs::mirror;
use specweave_jobs::project::Project;
use specweave_jobs::text::plain;
use specweave_jobs::v1::*;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::error::Elapsed;

/// A stream that broke is tried again for so long: the daemon may be being replaced.
const RECONNECT: Duration = Duration::from_secs(5);

/// A daemon that sends no heartbeat for three times its interval hangs.
const SILENCE: Duration = Duration::from_secs(45);

/// The exit status that a job's state stands for.
fn exit_status(job: &Job) -> u8 {
    match render::last_state(job) {
        JobState::Completed => 0,
        _ => failure::GENERAL,
    }
}

pub async fn follow(project: &Project, id: &str, timeout: Option<f64>, says: Says) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Long).await?;
    let id = from.id_or_only_active(project, id).await?;
    let (job, _) = from.get(project, &id).await?;
    match from {
        Source::Daemon(connection) if !job.foreign => {
            until_over(project, *connection, &job.id, timeout, says, false).await
        }
        _ if job.foreign || matches!(from, Source::FilesAlone) => {
            looked_at_until_over(project, from, &job.id, timeout, says).await
        }
        _ => {
            match says {
                Says::Json => print_json(&job)?,
                Says::Text => print(&ending(&job))?,
                Says::Id => {}
            }
            if job.state() == JobState::Running {
                return Err(Failure::NoDaemon);
            }
            Ok(exit_status(&job))
        }
    }
}

/// Follows a job by looking at it: another tool's for as long as its worker lives, and one of ours whose daemon may not be talked
/// to from in here.
async fn looked_at_until_over(
    project: &Project,
    from: Source,
    id: &str,
    timeout: Option<f64>,
    says: Says,
) -> Result<u8, Failure> {
    let limit = seconds(timeout)?;
    let painter = Painter::start(says);
    let following = each_look(project, from, id, |job| {
        let event = Some(follow_job_response::Event::Snapshot(job.clone()));
        painter.show(&FollowJobResponse { event, ..FollowJobResponse::default() })
    });
    let result = tokio::select! {
        result = tokio::time::timeout(limit, following) => result,
        () = interrupted() => {
            painter.leave().await;
            return Ok(failure::INTERRUPTED);
        }
    };
    Ok(exit_status(&ended(painter, result, id, says)?))
}

/// Leaves what was drawn, and says how the job has ended.
fn ended(
    painter: Painter,
    result: Result<Result<Job, Failure>, Elapsed>,
    id: &str,
    says: Says,
) -> Result<Job, Failure> {
    painter.finish()?;
    let job = result.map_err(|_| Failure::TimedOut(plain(id)))??;
    if says == Says::Text {
        print(&format!("\n{}", ending(&job)))?;
    }
    Ok(job)
}

/// Where nothing tells of a job's changes, it is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// A job that was just made may have no worker for so long.
const BEGINNING: u64 = 15;

/// Looks at a job until nothing works on it any more; gives it as it then stands.
async fn each_look(
    project: &Project,
    mut from: Source,
    id: &str,
    mut show: impl FnMut(&Job) -> Result<(), Failure>,
) -> Result<Job, Failure> {
    loop {
        let (job, _) = from.get(project, id).await?;
        show(&job)?;
        let is_new = job.state() == JobState::Pending && render::seconds_since(&job.updated_at) < BEGINNING;
        let is_under_way = matches!(job.state(), JobState::Running | JobState::Pending);
        // Of a daemon in another sandbox not even the processes can be seen.
        let is_dead = job.foreign && mirror::is_dead(&job) && !is_new;
        if !is_under_way || is_dead {
            return Ok(job);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Follows a job to its end, or until it waits for a person.
pub async fn until_over(
    project: &Project,
    connection: Connection,
    id: &str,
    timeout: Option<f64>,
    says: Says,
    notify: bool,
) -> Result<u8, Failure> {
    let limit = seconds(timeout)?;
    let ends_with_this_command = connection.is_attached();
    if says == Says::Text {
        print(&format!("Following job {} (Ctrl+C to stop)\n\n", plain(id)))?;
    }
    let painter = Painter::start(says);
    let following = each_state(project, connection, id, |response| painter.show(response));
    let result = tokio::select! {
        result = tokio::time::timeout(limit, following) => Some(result),
        () = interrupted() => None,
    };
    let Some(result) = result else {
        painter.leave().await;
        if ends_with_this_command {
            eprintln!(
                "\nInterrupted; job {id} stops here, and all that was done is kept. Go on: specweave-jobs --resume {id}"
            );
        } else {
            eprintln!("\nDetached; job {id} goes on. Follow it again: specweave-jobs --follow {id}");
        }
        return Ok(failure::INTERRUPTED);
    };
    let job = ended(painter, result, id, says)?;
    if notify && says == Says::Text {
        print(&render::terminal::notification(&ending(&job)))?;
    }
    Ok(exit_status(&job))
}

/// Draws on a thread of its own: a terminal or pipe that takes its time never holds up the stream, and sees the
/// newest state when it is ready again.
struct Painter {
    states: mpsc::Sender<FollowJobResponse>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Painter {
    fn start(says: Says) -> Self {
        let (states, received) = mpsc::channel::<FollowJobResponse>();
        let thread = std::thread::spawn(move || {
            let mut view = View::new();
            while let Ok(mut newest) = received.recv() {
                while let Ok(newer) = received.try_recv() {
                    newest = newer;
                }
                match (says, state_of(&newest)) {
                    (Says::Json, _) => print_json(&newest)?,
                    (Says::Text, Some(job)) => view.show(job).map_err(Failure::of_output)?,
                    (Says::Text, None) | (Says::Id, _) => {}
                }
            }
            view.close();
            Ok(())
        });
        Self { states, thread }
    }

    fn show(&self, response: &FollowJobResponse) -> Result<(), Failure> {
        // The thread only ends early when nobody reads any more.
        self.states.send(response.clone()).map_err(|_| Failure::Closed)
    }

    /// Lets the last state be drawn, so that nothing draws over what is said next. A reader that does not read is not waited
    /// for.
    async fn leave(self) {
        drop(self.states);
        let drawn = async {
            while !self.thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), drawn).await;
    }

    /// Draws the last state and leaves the terminal in order.
    fn finish(self) -> Result<(), Failure> {
        drop(self.states);
        self.thread.join().unwrap_or(Ok(()))
    }
}

/// Calls `show` with every state until the stream ends; gives the last one. A broken stream is resumed.
async fn each_state(
    project: &Project,
    mut connection: Connection,
    id: &str,
    mut show: impl FnMut(&FollowJobResponse) -> Result<(), Failure>,
) -> Result<Job, Failure> {
    let mut request = FollowJobRequest { id: id.to_owned(), ..Default::default() };
    let mut last: Option<Job> = None;
    loop {
        let broken = match connection.client.follow_job(request.clone()).await {
            Err(status) => Failure::from(status),
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    let next = match tokio::time::timeout(SILENCE, stream.message()).await {
                        Ok(next) => next,
                        Err(_) => break Failure::Silent("its stream fell silent".into()),
                    };
                    match next {
                        Ok(Some(response)) => {
                            request.epoch.clone_from(&response.epoch);
                            request.since_revision = response.revision;
                            if let Some(job) = state_of(&response) {
                                last = Some(job.clone());
                            }
                            show(&response)?;
                        }
                        Ok(None) => {
                            return last.ok_or_else(|| Failure::Silent("the stream was empty".into()));
                        }
                        Err(status) => break Failure::from(status),
                    }
                }
            }
        };
        if broken.exit_status() != failure::UNREACHABLE {
            return Err(broken);
        }
        connection = reconnect(project).await.ok_or(broken)?;
    }
}

fn state_of(response: &FollowJobResponse) -> Option<&Job> {
    match response.event.as_ref()? {
        follow_job_response::Event::Snapshot(job) | follow_job_response::Event::Changed(job) => Some(job),
        follow_job_response::Event::Heartbeat(_) => None,
    }
}

/// Waits for a daemon to come back. It is not started: that is for a person to decide.
async fn reconnect(project: &Project) -> Option<Connection> {
    let looking = async {
        loop {
            if let Ok(Some(connection)) = connect::find_awake(project, Patience::Long).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(RECONNECT, looking).await.ok()
}

pub async fn wait(project: &Project, id: &str, timeout: Option<f64>, json: bool) -> Result<u8, Failure> {
    let mut from = Source::open(project, Patience::Long).await?;
    let (job, _) = from.get(project, id).await?;
    let waiting = async {
        match from {
            Source::Daemon(connection) if !job.foreign => {
                each_state(project, *connection, &job.id, |_| Ok(())).await
            }
            from if job.foreign || matches!(from, Source::FilesAlone) => {
                each_look(project, from, &job.id, |_| Ok(())).await
            }
            _ if matches!(job.state(), JobState::Running | JobState::Pending) => Err(Failure::NoDaemon),
            _ => Ok(job),
        }
    };
    let limit = seconds(timeout)?;
    let result = tokio::select! {
        result = tokio::time::timeout(limit, waiting) => result,
        () = interrupted() => return Ok(failure::INTERRUPTED),
    };
    let Ok(job) = result else { return Err(Failure::TimedOut(plain(id))) };
    let job = job?;
    if json {
        print_json(&job)?
    } else {
        print(&ending(&job))?
    }
    Ok(exit_status(&job))
}

pub fn seconds(timeout: Option<f64>) -> Result<Duration, Failure> {
    timeout.map_or(Ok(Duration::MAX), |seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Failure::Usage(format!("{seconds} is no number of seconds")))
    })
}
