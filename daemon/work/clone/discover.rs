//! Who to clone: sources and listings, filtered, each with its place.

use super::targets::{Refusal, Target, place};
use crate::job::order::{AdoProject, CloneOrder};
use crate::model::patterns::{Filter, PatternError, Patterns};
use crate::model::repository::{Listed, Source, described, over_ssh};
use crate::net::secrets::Secrets;
use crate::trackers::github::GitHub;
use crate::trackers::server::Session;
use crate::trackers::{TrackerError, ado};
use specweave_jobs::text::counted;

/// What a request comes to.
#[derive(Debug, Default)]
pub struct Selection {
    pub targets: Vec<Target>,
    pub refusals: Vec<Refusal>,
    /// What was looked at and left out, for people.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error("nothing to clone: {0}")]
    Empty(String),
}

/// Asks the listings and applies the filters. An empty selection is an error that says what was looked at.
pub async fn discover(
    order: &CloneOrder,
    session: &Session,
    secrets: &Secrets,
) -> Result<Selection, DiscoverError> {
    let filter = Filter::new(&order.wanted, &order.unwanted);
    let mut found = Found { order, filter: &filter, listed: Vec::new(), notes: Vec::new() };
    let mut named = Vec::new();
    let mut globs = Vec::new();
    for source in order.sources.iter().cloned() {
        match source {
            Source::GitHub { owner, name } => {
                let address = format!("{}/{owner}/{name}.git", secrets.github_web());
                let (project, archived, fork) = (None, false, false);
                named.push(found.addressed(Listed { owner, name, project, address, archived, fork }));
            }
            Source::Address(address) => named.push(described(&address)),
            Source::GitHubGlob { owner, glob } => globs.push((owner, glob)),
        }
    }
    found.take_named(named);
    if !globs.is_empty() || order.github_org.is_some() || order.github_user.is_some() {
        let github = GitHub::new(session, secrets).await?;
        for (owner, glob) in globs {
            let glob = Filter::new(&Patterns::parse(vec![glob])?, &Patterns::default());
            let listed = github.org_repositories(&owner).await?;
            found.take(&format!("the GitHub owner {owner}"), listed, |name| glob.takes(name));
        }
        if let Some(org) = &order.github_org {
            let listed = github.org_repositories(org).await?;
            found.take(&format!("the GitHub organisation {org}"), listed, |_| true);
        }
        if let Some(user) = &order.github_user {
            let listed = github.user_repositories(user).await?;
            found.take(&format!("the GitHub user {user}"), listed, |_| true);
        }
    }
    if let Some(AdoProject { organization, project }) = &order.ado {
        let server = ado::server(session, secrets, organization)?;
        let listed = ado::repositories(&server, organization, project).await?;
        let what = format!("the Azure DevOps project {organization}/{project}");
        found.take(&what, listed, |_| true);
    }
    let Found { listed, notes, .. } = found;
    let (targets, refusals) = place(listed, order.layout);
    if targets.is_empty() && refusals.is_empty() {
        return Err(DiscoverError::Empty(notes.join("; ")));
    }
    Ok(Selection { targets, refusals, notes })
}

struct Found<'a> {
    order: &'a CloneOrder,
    filter: &'a Filter,
    listed: Vec<Listed>,
    notes: Vec<String>,
}

impl Found<'_> {
    /// Repositories that were named one by one are taken whatever their kind; only the filters apply.
    fn take_named(&mut self, named: Vec<Listed>) {
        let count = named.len();
        let kept: Vec<Listed> = named.into_iter().filter(|one| self.filter.takes(&one.name)).collect();
        if kept.len() < count {
            let left_out = count - kept.len();
            self.notes.push(format!("{left_out} of {count} named repositories do not match the filters"));
        }
        self.listed.extend(kept);
    }

    /// A repository by the address that was asked for.
    fn addressed(&self, listed: Listed) -> Listed {
        match over_ssh(&listed.address).filter(|_| self.order.ssh) {
            Some(address) => Listed { address, ..listed },
            None => listed,
        }
    }

    fn take(&mut self, what: &str, listed: Vec<Listed>, also: impl Fn(&str) -> bool) {
        let looked_at = listed.len();
        let (mut archived, mut forks, mut unmatched) = (0, 0, 0);
        for repository in listed {
            if !self.filter.takes(&repository.name) || !also(&repository.name) {
                unmatched += 1;
            } else if repository.archived && !self.order.include_archived {
                archived += 1;
            } else if repository.fork && !self.order.include_forks {
                forks += 1;
            } else {
                let repository = self.addressed(repository);
                self.listed.push(repository);
            }
        }
        let mut note =
            format!("looked at {} of {what}", counted(looked_at as u64, "repository", "repositories"));
        let left_out = [
            (unmatched, "that do not match"),
            (archived, "archived or disabled (--include-archived takes them)"),
            (forks, "forks (--include-forks takes them)"),
        ];
        for (count, why) in left_out.iter().filter(|(count, _)| *count > 0) {
            note.push_str(&format!(", left out {count} {why}"));
        }
        self.notes.push(note);
    }
}
