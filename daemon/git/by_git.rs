//! The way of the user's own git through a clone: where it is taken, what is seen to besides, and what is told when it leads
//! nowhere either. How git is run is [`system`]'s.

use crate::git::checkout::Built;
use crate::git::place::{Place, blocking, remove_folder, unless_cancelled};
use crate::git::repository::Existing;
use crate::git::{CloneError, Cloned, Engine, Task, UNFINISHED, address, bounds, repository, system};
use crate::net::secrets::Login;
use specweave_jobs::disk;
use std::path::Path;
use tokio_util::sync::CancellationToken;
use url::Url;

impl Engine {
    /// What git says of a repository whose format libgit2 does not know.
    pub(super) async fn readable_by_git(
        &self,
        at: &Path,
        same: impl Fn(&str) -> bool,
        why: &str,
    ) -> Existing {
        let git = self.git();
        let Ok(Some(said)) = git.ask(at, &["config", "--get-regexp", "^remote\\..*\\.url$"]).await else {
            return repository::broken(why);
        };
        let addresses: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        if !addresses.iter().any(|address| same(address)) {
            return repository::another(addresses.first().copied());
        }
        match git.ask(at, &["rev-parse", "--verify", "--quiet", "HEAD^{tree}"]).await {
            Ok(Some(_)) => Existing::Whole,
            Ok(None) | Err(_) => repository::broken(why),
        }
    }

    /// Has git check out what it alone does as it should be.
    pub(super) async fn checked_out(
        &self,
        task: &Task,
        built: Built,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let Built { mut uses_lfs, left } = built;
        if let Some(reason) = &left {
            let address = &*self.settings.rewritten(&task.address);
            let check_out =
                |login| async move { self.git().check_out(&task.partial, (login, address), cancel).await };
            // Only what is not here yet needs one.
            let login = if uses_lfs || self.wish.filter.is_some() { self.login(address).await } else { None };
            with_login(login, check_out).await.map_err(|error| needs_git(error, reason))?;
            if uses_lfs {
                let at = task.partial.clone();
                let looking = blocking(move || Ok(repository::has_pointers(&at)));
                uses_lfs = unless_cancelled(cancel, looking).await?;
            }
        }
        if self.wish.submodules && disk::exists(&task.partial.join(".gitmodules")) {
            let done = self.git().add_submodules(&task.partial, cancel).await;
            done.map_err(|error| needs_git(error, "it has submodules"))?;
        }
        Ok(Cloned { uses_lfs, by_git: left, aside: None })
    }

    /// The first login that is known for an address.
    pub(super) async fn login(&self, address: &str) -> Option<Login> {
        match Url::parse(address) {
            Ok(url) => self.secrets.first_login(&url).await,
            Err(_) => None,
        }
    }

    pub(super) fn git(&self) -> system::Git<'_> {
        system::Git { secrets: &self.secrets, stall: self.stall }
    }

    /// Clones with the user's own git what the fast path does not: `why` is what stood in its way.
    pub(super) async fn make_with_git(
        &self,
        task: &Task,
        unborn: bool,
        why: CloneError,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Option<Cloned>, CloneError> {
        let is_inexact = matches!(why, CloneError::Inexact(_));
        let address = self.settings.rewritten(&task.address);
        let local = address::local_path(&address);
        if let Some(path) = local.as_ref().filter(|path| !address::may_be_repository(path)) {
            return Err(CloneError::NotFound(format!("{} does not exist", path.display())));
        }
        // What is only copied is bound by the processor.
        let _turn = match local {
            Some(_) => Some(unless_cancelled(cancel, self.turn()).await?),
            None => None,
        };
        // A login that was refused is not tried again: git may know another.
        let login = if why.is_about_login() { None } else { self.login(&address).await };
        let rewritten = &*address;
        let clone = |login| async move {
            remove_folder(&task.partial).await?;
            task.traffic.begin();
            let (address, at) = (&*task.address, &*task.partial);
            let order = system::Order { address, rewritten, at, wish: &self.wish, login };
            self.git().clone(order, cancel).await
        };
        match with_login(login, clone).await {
            Ok(_) if unborn => {
                let at = task.partial.clone();
                let made = place.blocking(cancel, move || Ok(repository::existing(&at, |_| true))).await?;
                if made == Existing::Unborn { Ok(None) } else { Err(CloneError::Refused(UNFINISHED.into())) }
            }
            Ok(_) if self.wish.mirror => {
                Ok(Some(Cloned { by_git: Some(why.to_string()), ..Cloned::default() }))
            }
            Ok(_) => {
                let (at, token) = (task.partial.clone(), cancel.clone());
                let has_all = self.wish.filter.is_none();
                let measure = move || repository::measured(&at, has_all, &token);
                let measured = place.blocking(cancel, measure).await?;
                if measured.is_none() && has_all {
                    let counting =
                        async { Ok(self.git().has_more_paths(&task.partial, bounds::MOST_PATHS).await) };
                    if unless_cancelled(cancel, counting).await? {
                        return Err(CloneError::Refused(bounds::many_paths()));
                    }
                }
                let built = Built { uses_lfs: measured.unwrap_or_default(), left: Some(why.to_string()) };
                self.checked_out(task, built, cancel).await.map(Some)
            }
            Err(CloneError::NoGit) if is_inexact && task.address.starts_with('/') => {
                self.make_with_libgit2(task, place, cancel).await.map(Some)
            }
            Err(error) => Err(worse(why, error)),
        }
    }

    /// Clones a repository of this machine where there is no git.
    async fn make_with_libgit2(
        &self,
        task: &Task,
        place: &Place,
        cancel: &CancellationToken,
    ) -> Result<Cloned, CloneError> {
        let (address, at, token) = (task.address.clone(), task.partial.clone(), cancel.clone());
        let (settings, processors) = (self.settings.clone(), self.processors.clone());
        let build = move || repository::build_with_libgit2(&address, &at, &settings, &processors, &token);
        let built = place.blocking(cancel, build).await?;
        self.checked_out(task, built, cancel).await
    }
}

/// Does something with a login that is known; where that is refused, with those that git itself finds, which may be better.
/// Whether it was refused.
pub async fn with_login<F: Future<Output = Result<(), CloneError>>>(
    login: Option<Login>,
    run: impl Fn(Option<Login>) -> F,
) -> Result<bool, CloneError> {
    let has_login = login.is_some();
    match run(login).await {
        Err(error) if has_login && error.is_about_login() => run(None).await.map(|()| true),
        done => done.map(|()| false),
    }
}

/// What is to be told of a repository that git could not clone either: why it had to be git, if there is none; else what says
/// more of the two.
pub fn worse(why: CloneError, error: CloneError) -> CloneError {
    match (why, error) {
        (CloneError::Inexact(reason), error) => needs_git(error, &reason),
        (why, CloneError::NoGit) => why,
        (_, error @ (CloneError::Cancelled | CloneError::Limited(_) | CloneError::Local { .. })) => error,
        // Our words name what to do, and git's only that nobody answered it.
        (
            why @ (CloneError::Auth(_)
            | CloneError::Forbidden(_)
            | CloneError::NotFound(_)
            | CloneError::Network(_)),
            _,
        ) => why,
        (_, error) => error,
    }
}

fn needs_git(error: CloneError, reason: &str) -> CloneError {
    match error {
        CloneError::NoGit => CloneError::Refused(format!(
            "git is needed, as {reason}; it is not installed, or not in the PATH of the command"
        )),
        error => error,
    }
}
