//! Who to clone: sources and listings, filtered, each with its place.

use super::standing;
use super::targets::{Refusal, Target, place};
use crate::job::order::{AdoProject, CloneOrder, Traits};
use crate::model::patterns::{Filter, PatternError, Patterns};
use crate::model::repository::{About, Listed, Source, described, over_ssh};
use crate::net::secrets::Secrets;
use crate::trackers::github::GitHub;
use crate::trackers::server::Session;
use crate::trackers::{TrackerError, ado, forges};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::text::counted;
use std::path::Path;

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
    #[error("the listing of {listing} does not tell {what}")]
    Untold { listing: String, what: &'static str },
}

/// Asks the listings and applies the filters. An empty selection is an error that says what was looked at.
pub async fn discover(
    order: &CloneOrder,
    root: &Path,
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
                named.push(found.addressed(Listed { owner, name, address, ..Listed::default() }));
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
            found.take(&format!("the GitHub owner {owner}"), listed, |name| glob.takes(name))?;
        }
        if let Some(org) = &order.github_org {
            let listed = github.org_repositories(org).await?;
            found.take(&format!("the GitHub organisation {org}"), listed, |_| true)?;
        }
        if let Some(user) = &order.github_user {
            let listed = github.user_repositories(user).await?;
            found.take(&format!("the GitHub user {user}"), listed, |_| true)?;
        }
    }
    if let Some(AdoProject { organization, project }) = &order.ado {
        let server = ado::server(session, secrets, organization)?;
        let listed = ado::repositories(&server, organization, project).await?;
        let what = format!("the Azure DevOps project {organization}/{project}");
        found.take(&what, listed, |_| true)?;
    }
    for forge in &order.forges {
        let listed = forges::repositories(session, secrets, forge).await?;
        found.take(&forge.to_string(), listed, |_| true)?;
    }
    if !order.names_repositories() {
        return Ok(found.standing(standing::all(root).await));
    }
    let Found { listed, notes, .. } = found;
    let origin = |path: &str| {
        let at = root.join(path);
        // Most often nothing stands there, which one call tells.
        at.symlink_metadata().ok().and_then(|_| crate::git::origin(&at))
    };
    let (targets, refusals) =
        tokio::task::block_in_place(|| place(listed, order.layout, order.mirror, origin));
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

    /// What stands already, where it stands.
    fn standing(mut self, standing: Vec<Target>) -> Selection {
        let looked_at = standing.len();
        let targets: Vec<Target> =
            standing.into_iter().filter(|target| self.filter.takes(&target.name)).collect();
        let mut note = counted(looked_at as u64, "repository stands", "repositories stand");
        note.push_str(" below repositories/");
        if targets.len() < looked_at {
            note.push_str(&format!(", left out {} that do not match", looked_at - targets.len()));
        }
        self.notes.push(note);
        Selection { targets, refusals: Vec::new(), notes: self.notes }
    }

    fn take(
        &mut self,
        what: &str,
        listed: Vec<Listed>,
        also: impl Fn(&str) -> bool,
    ) -> Result<(), DiscoverError> {
        let looked_at = listed.len();
        let now = clock::now();
        let untold = |told| DiscoverError::Untold { listing: what.to_owned(), what: told };
        let (mut archived, mut forks, mut unmatched, mut others) = (0, 0, 0, 0);
        for repository in listed {
            if !self.filter.takes(&repository.name) || !also(&repository.name) {
                unmatched += 1;
            } else if repository.archived && !self.order.include_archived {
                archived += 1;
            } else if repository.fork && !self.order.include_forks {
                forks += 1;
            } else if !has(&self.order.traits, &repository.about, now).map_err(untold)? {
                others += 1;
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
            (others, "of other topics, languages or times"),
        ];
        for (count, why) in left_out.iter().filter(|(count, _)| *count > 0) {
            note.push_str(&format!(", left out {count} {why}"));
        }
        self.notes.push(note);
        Ok(())
    }
}

/// Whether a repository is what is wanted; an error names what its listing does not tell.
fn has(traits: &Traits, about: &About, now: Millis) -> Result<bool, &'static str> {
    let among = |all: &[String], one: &str| all.iter().any(|known| known.eq_ignore_ascii_case(one));
    if !traits.topics.is_empty() {
        let topics = about.topics.as_ref().ok_or("topics")?;
        if !traits.topics.iter().all(|wanted| among(topics, wanted)) {
            return Ok(false);
        }
    }
    if !traits.languages.is_empty() {
        let language = about.language.as_ref().ok_or("languages")?;
        if !among(&traits.languages, language) {
            return Ok(false);
        }
    }
    match traits.active_since.and_then(|since| since.moment(now)) {
        Some(since) => Ok(about.active_at.ok_or("when somebody has pushed")? >= since),
        None => Ok(true),
    }
}
