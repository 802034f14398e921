//! What an organisation or a user of GitHub has, as a clone needs it.

use super::{GitHub, next_page};
use crate::model::repository::{About, Listed, is_web, split_login};
use crate::trackers::{MOST_PAGES, Repositories, TrackerError, encode, read};
use serde::Deserialize;
use serde_json::Value;
use specweave_jobs::clock;

/// Of a repository, what a clone needs; everything else may change without us.
#[derive(Deserialize)]
struct Repository {
    name: String,
    owner: Owner,
    clone_url: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    fork: bool,
    /// Kilobytes.
    #[serde(default)]
    size: Value,
    /// Older servers tell none.
    topics: Option<Vec<String>>,
    language: Option<String>,
    pushed_at: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

impl GitHub {
    /// All repositories of an organisation or, when there is none of that name, of a user.
    pub async fn org_repositories(&self, org: &str) -> Result<Vec<Listed>, TrackerError> {
        let org_path = encode(org);
        let first = format!("{}/orgs/{org_path}/repos?per_page=100&type=all", self.api);
        match self.list(&format!("the GitHub organisation {org}"), first).await {
            Err(TrackerError::NotFound(_)) => self.user_repositories(org).await,
            result => result,
        }
    }

    /// All repositories of a user; private ones too when the token is that user's.
    pub async fn user_repositories(&self, user: &str) -> Result<Vec<Listed>, TrackerError> {
        let what = format!("the GitHub user {user}");
        let own = self.server.has_login() && self.login_is(user).await?;
        let path = if own {
            "user/repos?affiliation=owner&per_page=100".to_owned()
        } else {
            format!("users/{}/repos?per_page=100", encode(user))
        };
        self.list(&what, format!("{}/{path}", self.api)).await
    }

    async fn login_is(&self, user: &str) -> Result<bool, TrackerError> {
        let what = "the token's own account";
        match self.get(what, format!("{}/user", self.api)).await {
            Ok(reply) => Ok(read::<Owner>(what, &reply.body)?.login.eq_ignore_ascii_case(user)),
            // A token of an app or a narrow one has no account, yet may list.
            Err(TrackerError::NotFound(_) | TrackerError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, what: &str, first: String) -> Result<Vec<Listed>, TrackerError> {
        let mut found = Repositories::default();
        let mut next = Some(first);
        for _ in 0..MOST_PAGES {
            let Some(address) = next.take() else { return Ok(found.into_all()) };
            let reply = self.get(what, address).await?;
            let page: Vec<Repository> = read(what, &reply.body)?;
            // A server does not lead to what is on this machine, nor to a login.
            let web = page.into_iter().filter(|one| is_web(&one.clone_url));
            let has_news = found.take(web.map(|repository| Listed {
                owner: repository.owner.login,
                name: repository.name,
                project: None,
                address: split_login(&repository.clone_url).0,
                archived: repository.archived,
                fork: repository.fork,
                about: About {
                    size: repository.size.as_u64().map(|kilobytes| kilobytes.saturating_mul(1024)),
                    topics: repository.topics,
                    language: Some(repository.language.unwrap_or_default()),
                    active_at: Some(repository.pushed_at.and_then(|at| clock::parse_iso(&at)).unwrap_or(0)),
                },
            }));
            next = next_page(&reply.headers, &self.server.base).filter(|_| has_news);
        }
        let cause = format!("more than {MOST_PAGES} pages");
        Err(TrackerError::Malformed { what: what.to_owned(), cause })
    }
}
