//! A clone that stands is brought up to date: the remote is asked what it has, and only where that is news the user's own
//! git fetches it and forwards the branch, as it knows every setting of the repository. Nothing that a person changed is
//! touched.

use crate::git::by_git::{with_login, worse};
use crate::git::place::{Place, unless_cancelled};
use crate::git::standing::{self, Branch, Refs, Standing};
use crate::git::{CloneError, Engine, Host, Success, Task};
use tokio_util::sync::CancellationToken;

impl Engine {
    /// Brings the clone at the task's target up to date.
    pub(super) async fn bring_up_to_date(
        &self,
        task: &Task,
        standing: Option<Standing>,
        place: &Place,
        host: &Host,
        cancel: &CancellationToken,
    ) -> Result<Success, CloneError> {
        let remote = standing.as_ref().and_then(|standing| standing.remote(self.sameness(task)));
        let (Some(standing), Some(remote)) = (standing, remote) else {
            return Err(CloneError::Refused(
                "only git itself reads it: bring it up to date with git pull".into(),
            ));
        };
        let asked = remote.clone();
        // It may know another way there, or another login.
        let (obstacle, branch) = match self.open(task, host, cancel).await {
            Ok((_, refs)) => {
                let look = move || {
                    let has_news = standing.has_news(&asked, &refs).unwrap_or(true);
                    Ok((has_news, if has_news { None } else { Some(standing.branch()?) }))
                };
                let (has_news, branch) = place.blocking(cancel, look).await?;
                (has_news.then(|| CloneError::Inexact("there is news".into())), branch)
            }
            Err(error) if error.may_go_well_with_git() => (Some(error), None),
            Err(error) => return Err(error),
        };
        let mut login_is_refused = false;
        let has_changed = match obstacle {
            None => false,
            Some(obstacle) => {
                let is_gone = matches!(obstacle, CloneError::NotFound(_)) && task.address.starts_with("http");
                let before = self.refs(task, place, cancel).await?;
                let fetched = self.fetch(task, &remote, cancel).await;
                login_is_refused = fetched.map_err(|error| gone(is_gone, worse(obstacle, error)))?;
                self.refs(task, place, cancel).await? != before
            }
        };
        let branch = match branch {
            Some(known) => known,
            None => {
                let at = task.target.clone();
                place.blocking(cancel, move || Ok(Standing::open(&at)?.branch()?)).await?
            }
        };
        let is_forwarded = self.forward(task, branch, login_is_refused, place, cancel).await?;
        Ok(if has_changed || is_forwarded { Success::Updated } else { Success::AlreadyThere })
    }

    async fn refs(&self, task: &Task, place: &Place, cancel: &CancellationToken) -> Result<Refs, CloneError> {
        let at = task.target.clone();
        place.blocking(cancel, move || Ok(standing::refs(&at))).await
    }

    /// Whether the login that is known was refused.
    async fn fetch(&self, task: &Task, remote: &str, cancel: &CancellationToken) -> Result<bool, CloneError> {
        let address = &*self.settings.rewritten(&task.address);
        let fetch =
            |login| async move { self.git().fetch(&task.target, remote, (login, address), cancel).await };
        with_login(self.login(address).await, fetch).await
    }

    /// Forwards the branch of the work tree to its upstream, beside which it stands like this, if nobody has changed anything.
    async fn forward(
        &self,
        task: &Task,
        branch: Branch,
        login_is_refused: bool,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<bool, CloneError> {
        match branch {
            Branch::Level => return Ok(false),
            Branch::Diverged(here, there) => return Err(CloneError::Diverged { here, there }),
            Branch::Behind => {}
        }
        let at = task.target.clone();
        if let Some(why) = place.blocking(cancel, move || Ok(standing::in_the_way(&at)?)).await? {
            return Err(CloneError::Dirty(why.into()));
        }
        let asking = async { Ok(self.git().ask(&task.target, &CHANGES).await) };
        match unless_cancelled(cancel, asking).await? {
            Ok(changes) if changes.as_deref().unwrap_or_default().is_empty() => {}
            Ok(_) => return Err(CloneError::Dirty("it has changes that are not committed".into())),
            Err(CloneError::NoGit) => return Err(CloneError::NoGit),
            Err(error) => {
                return Err(CloneError::Dirty(format!("git cannot tell what is changed in it: {error}")));
            }
        }
        // What its files need may not be here yet.
        let address = self.settings.rewritten(&task.address);
        let login = if login_is_refused { None } else { self.login(&address).await };
        // Git itself looks once more, and leaves everything as it is where a person has been faster.
        let merged = self.git().forward(&task.target, (login, &address), cancel).await;
        merged.map(|()| true).map_err(|error| match error {
            CloneError::Remote(said) => CloneError::Dirty(said),
            error => error,
        })
    }
}

/// Asks for what is changed and would be in a merge's way.
const CHANGES: [&str; 4] = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"];

/// A repository that was there once, and that its server itself says is not. What git says may be about anything that
/// is not found.
fn gone(is_gone: bool, error: CloneError) -> CloneError {
    match error {
        CloneError::NotFound(why) if is_gone => CloneError::Gone(why),
        error => error,
    }
}
