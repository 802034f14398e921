//! What was asked for, in types of our own. They are made from the contract's messages once, at the door, where what cannot
//! be is refused; journals and engines hold these alone. Nothing here is secret. Pure.

use super::MOST_ITEMS;
use crate::model::item::Platform;
use crate::model::patterns::{PatternError, Patterns};
use crate::model::repository::{AddressError, Forge, ForgeKind, Source, split_login};
use serde::{Deserialize, Serialize};
use specweave_jobs::clock::{self, Millis};
use specweave_jobs::v1;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The work of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Clone(Box<CloneOrder>),
    Import(ImportOrder),
    Sync(SyncOrder),
}

/// A project of Azure DevOps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdoProject {
    pub organization: String,
    pub project: String,
}

/// Which repositories to clone. Sources and listings add up; patterns then apply to names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloneOrder {
    pub sources: Vec<Source>,
    pub github_org: Option<String>,
    pub github_user: Option<String>,
    pub ado: Option<AdoProject>,
    pub forges: Vec<Forge>,
    pub wanted: Patterns,
    pub unwanted: Patterns,
    pub include_archived: bool,
    pub include_forks: bool,
    pub traits: Traits,
    /// Clones at a time; the daemon's choice without it.
    pub concurrency: Option<u32>,
    /// Commits of history; all without it.
    pub depth: Option<u32>,
    pub layout: Layout,
    /// Whether what a listing or an owner names is cloned over ssh.
    pub ssh: bool,
    /// Whether what stands is brought up to date, and what becomes of what is gone upstream.
    pub update: Option<Gone>,
    /// Whether every ref is wanted as it is on the server, and no work tree.
    pub mirror: bool,
    pub single_branch: bool,
    pub submodules: bool,
    /// What is left out until it is needed, in git's words.
    pub filter: Option<String>,
    /// Whose repositories are wanted. A title names them, and one is made with every change of a job.
    #[serde(skip)]
    pub owners: Memo<BTreeSet<String>>,
}

/// What was found out from all the rest. It says nothing of its own: orders are the same whether it is known yet or not.
#[derive(Clone, Debug, Default)]
pub struct Memo<T>(OnceLock<T>);

impl<T> Memo<T> {
    pub fn get(&self, find_out: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(find_out)
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What the repositories of a listing are to be. Empty: anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traits {
    /// All of these.
    pub topics: Vec<String>,
    /// Any of these.
    pub languages: Vec<String>,
    /// Somebody has pushed since.
    pub active_since: Option<Since>,
}

impl Traits {
    fn parse(topics: Vec<String>, languages: Vec<String>, active_since: &str) -> Result<Self, OrderError> {
        let words = |words: Vec<String>| words.into_iter().filter_map(some).collect();
        let active_since = match active_since.trim() {
            "" => None,
            text => match Since::parse(text)? {
                Since::Last | Since::All => return Err(OrderError::ActiveSince(text.to_owned())),
                since => Some(since),
            },
        };
        Ok(Self { topics: words(topics), languages: words(languages), active_since })
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a clone whose repository is gone upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    #[default]
    Keep,
    /// It is told whether anything of a person's is in it.
    Name,
    /// It is removed if nothing of a person's is in it.
    Remove,
}

/// Where clones go below `repositories/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `owner/name`.
    #[default]
    Owner,
    /// `host/every/group/name`.
    Host,
}

/// Where an import begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// Where the last one ended.
    #[default]
    Last,
    All,
    Months(u32),
    Days(u32),
    At(Millis),
}

/// Which items to import. Without a name: all sources that the project's configuration, the environment and the git remote
/// name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportOrder {
    pub platforms: Vec<Platform>,
    /// `owner/name` of GitHub.
    pub repos: Vec<String>,
    pub project_keys: Vec<String>,
    pub ado_org: Option<String>,
    pub ado_projects: Vec<String>,
    pub since: Since,
    /// Whether closed items are only updated, not newly taken.
    pub open_only: bool,
    pub labels: Vec<String>,
    pub titles: Patterns,
    /// What the trackers themselves are to narrow.
    pub question: Box<Question>,
}

/// A condition in lower case, without what stands in quotes.
fn unquoted(text: &str) -> String {
    let mut quote = None;
    let outside = |c: &char| match (quote, *c) {
        (None, '"' | '\'') => {
            quote = Some(*c);
            false
        }
        (Some(open), c) => {
            quote = Some(open).filter(|open| *open != c);
            false
        }
        (None, _) => true,
    };
    text.chars().filter(outside).collect::<String>().to_lowercase()
}

/// What narrows a reading in a tracker's own language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// Terms of GitHub's search.
    pub search: Option<String>,
    /// A condition of JIRA's.
    pub jql: Option<String>,
    /// A condition of Azure DevOps'.
    pub wiql: Option<String>,
    /// `@me`, or a person as the tracker names people.
    pub assignee: Option<String>,
    pub milestone: Option<String>,
}

impl Question {
    /// What is asked of one tracker alone.
    pub fn own(&self, platform: Platform) -> Option<&str> {
        match platform {
            Platform::GitHub => self.search.as_deref(),
            Platform::Jira => self.jql.as_deref(),
            Platform::Ado => self.wiql.as_deref(),
        }
    }

    /// The option that asks it.
    fn option(platform: Platform) -> &'static str {
        match platform {
            Platform::GitHub => "--search",
            Platform::Jira => "--jql",
            Platform::Ado => "--wiql",
        }
    }

    fn parse(spec: &v1::ImportSpec) -> Result<Self, OrderError> {
        let text = |text: &String| some(text.clone());
        let question = Self {
            search: text(&spec.search),
            jql: text(&spec.jql),
            wiql: text(&spec.wiql),
            assignee: text(&spec.assignee),
            milestone: text(&spec.milestone),
        };
        // The order is ours, so that a reading can go on anywhere.
        for (platform, more) in [(Platform::Jira, "order by"), (Platform::Ado, "select ")] {
            if question.own(platform).is_some_and(|text| unquoted(text).contains(more)) {
                return Err(OrderError::NoCondition(Self::option(platform)));
            }
        }
        Ok(question)
    }

    /// The trackers that are asked: those that are named, or those that a question is for.
    fn platforms(&self, named: Vec<Platform>) -> Result<Vec<Platform>, OrderError> {
        let asked = [Platform::GitHub, Platform::Jira, Platform::Ado];
        let asked: Vec<Platform> =
            asked.into_iter().filter(|platform| self.own(*platform).is_some()).collect();
        if named.is_empty() {
            return Ok(asked);
        }
        match asked.into_iter().find(|platform| !named.contains(platform)) {
            Some(platform) => Err(OrderError::OtherTracker(Self::option(platform), platform.name())),
            None => Ok(named),
        }
    }
}

/// Which way edits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Import,
    Export,
    Both,
}

/// What becomes of a contradiction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is left to a person.
    #[default]
    Manual,
    Local,
    Remote,
    /// As a person wrote it into the conflict's file.
    File,
}

/// What to sync with a tracker. What is not named comes from the project's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncOrder {
    pub platform: Option<Platform>,
    pub profile: Option<String>,
    pub direction: Option<Direction>,
    pub on_conflict: OnConflict,
    /// Features, stories, both, or ids of imported items; all without one.
    pub only: Vec<String>,
    pub force_deletes: bool,
    /// Whether it settles the one story of `only`, whose conflict a person has looked at.
    pub resolve: bool,
    /// What it is synced with, once that is decided: `acme/web`.
    pub container: String,
}

/// Why a request cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("{0:?} is no filter; git knows blob:none, blob:limit=SIZE and tree:DEPTH")]
    Filter(String),
    #[error("the request names no work")]
    NoWork,
    #[error("the request has a value that this daemon does not know")]
    Unknown,
    #[error("more than {MOST_ITEMS} sources")]
    ManySources,
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("Azure DevOps needs both an organisation and a project")]
    HalfAdo,
    #[error("a mirror has every branch, and no work tree for submodules")]
    WholeMirror,
    #[error("nothing was named to clone")]
    NoSource,
    #[error("{0:?} is no time: days, weeks or months such as 10d, 2w or 3m, or a date such as 2026-01-31")]
    ActiveSince(String),
    #[error("topics, languages and activity are told by listings alone, and the request names none")]
    NoListing,
    #[error("{0:?} is no repository of GitHub: owner/name")]
    Repository(String),
    #[error("{0:?} is no key of a JIRA project")]
    ProjectKey(String),
    #[error(
        "{0:?} is no beginning: last, all, days, weeks or months such as 10d, 2w or 3m, or a date such as 2026-01-31"
    )]
    Since(String),
    #[error("{0} takes a condition alone, without SELECT or ORDER BY")]
    NoCondition(&'static str),
    #[error("{0} is for {1} alone, and the request names other trackers")]
    OtherTracker(&'static str, &'static str),
    #[error("one story is settled at a time: specweave-jobs resolve STORY --use local, remote or file")]
    OneAtATime,
    #[error("{0:?} names no story: FS-001, US-001, FS-001/US-001 or the id of an imported item")]
    Story(String),
}

/// A login that stood in an address: whom it is for, user and secret.
pub type FoundLogin = (String, String, String);

impl Order {
    pub fn job_type(&self) -> v1::JobType {
        match self {
            Self::Clone(_) => v1::JobType::CloneRepos,
            Self::Import(_) => v1::JobType::ImportIssues,
            Self::Sync(_) => v1::JobType::SyncExternal,
        }
    }

    /// What a request means, and the logins that were taken out of its addresses.
    pub fn parse(spec: Option<v1::JobSpec>) -> Result<(Self, Vec<FoundLogin>), OrderError> {
        match spec.and_then(|spec| spec.work).ok_or(OrderError::NoWork)? {
            v1::job_spec::Work::Clone(spec) => {
                let (order, logins) = CloneOrder::parse(spec)?;
                Ok((Self::Clone(Box::new(order)), logins))
            }
            v1::job_spec::Work::Import(spec) => Ok((Self::Import(ImportOrder::parse(spec)?), Vec::new())),
            v1::job_spec::Work::Sync(spec) => Ok((Self::Sync(SyncOrder::parse(spec)?), Vec::new())),
        }
    }

    /// The request that would ask for the same again.
    pub fn spec(&self) -> v1::JobSpec {
        let work = match self {
            Self::Clone(order) => v1::job_spec::Work::Clone(order.spec()),
            Self::Import(order) => v1::job_spec::Work::Import(order.spec()),
            Self::Sync(order) => v1::job_spec::Work::Sync(order.spec()),
        };
        v1::JobSpec { work: Some(work), ..v1::JobSpec::default() }
    }
}

/// A text that says something, or nothing.
fn some(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A filter that git knows.
fn known_filter(text: String) -> Result<String, OrderError> {
    let is_known = ["blob:none", "blob:limit=", "tree:"].iter().any(|known| text.starts_with(known));
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || ":=".contains(c));
    if is_known && is_plain { Ok(text) } else { Err(OrderError::Filter(text)) }
}

impl CloneOrder {
    fn parse(spec: v1::CloneSpec) -> Result<(Self, Vec<FoundLogin>), OrderError> {
        if spec.sources.len() > MOST_ITEMS {
            return Err(OrderError::ManySources);
        }
        let mut logins = Vec::new();
        let mut sources = Vec::with_capacity(spec.sources.len());
        for source in &spec.sources {
            let (clean, login) = split_login(source.trim());
            logins.extend(login.map(|(user, secret)| (clean.clone(), user, secret)));
            sources.push(Source::parse(&clean)?);
        }
        let ado = match (some(spec.ado_org), some(spec.ado_project)) {
            (Some(organization), Some(project)) => Some(AdoProject { organization, project }),
            (None, None) => None,
            _ => return Err(OrderError::HalfAdo),
        };
        let forges = [
            (ForgeKind::GitLab, spec.gitlab_group),
            (ForgeKind::Gitea, spec.gitea_org),
            (ForgeKind::Bitbucket, spec.bitbucket_workspace),
        ];
        let named = |(kind, name)| some(name).map(|name| Forge { kind, name });
        let forges: Vec<Forge> = forges.into_iter().filter_map(named).collect();
        let gone = match v1::Gone::try_from(spec.gone) {
            Ok(v1::Gone::Unspecified | v1::Gone::Keep) => Gone::Keep,
            Ok(v1::Gone::Name) => Gone::Name,
            Ok(v1::Gone::Remove) => Gone::Remove,
            Err(_) => return Err(OrderError::Unknown),
        };
        let order = Self {
            sources,
            github_org: some(spec.github_org),
            github_user: some(spec.github_user),
            ado,
            forges,
            wanted: Patterns::parse(spec.r#match)?,
            unwanted: Patterns::parse(spec.exclude)?,
            include_archived: spec.include_archived,
            include_forks: spec.include_forks,
            concurrency: Some(spec.concurrency).filter(|number| *number > 0),
            depth: Some(spec.depth).filter(|number| *number > 0),
            layout: match v1::Layout::try_from(spec.layout) {
                Ok(v1::Layout::Unspecified | v1::Layout::Owner) => Layout::Owner,
                Ok(v1::Layout::Host) => Layout::Host,
                Err(_) => return Err(OrderError::Unknown),
            },
            ssh: spec.ssh,
            update: spec.update.then_some(gone),
            mirror: spec.mirror,
            single_branch: spec.single_branch,
            submodules: spec.recurse_submodules,
            filter: some(spec.filter).map(known_filter).transpose()?,
            traits: Traits::parse(spec.topics, spec.languages, &spec.active_since)?,
            owners: Memo::default(),
        };
        if order.mirror && (order.single_branch || order.submodules) {
            return Err(OrderError::WholeMirror);
        }
        if !order.traits.is_empty() && !order.reads_listings() {
            return Err(OrderError::NoListing);
        }
        let names_something = order.update.is_some() || order.names_repositories();
        names_something.then_some((order, logins)).ok_or(OrderError::NoSource)
    }

    fn spec(&self) -> v1::CloneSpec {
        let ado = self.ado.clone();
        let (ado_org, ado_project) = ado.map_or_else(Default::default, |ado| (ado.organization, ado.project));
        v1::CloneSpec {
            sources: self.sources.iter().map(Source::to_string).collect(),
            github_org: self.github_org.clone().unwrap_or_default(),
            github_user: self.github_user.clone().unwrap_or_default(),
            ado_org,
            ado_project,
            r#match: self.wanted.texts().to_vec(),
            exclude: self.unwanted.texts().to_vec(),
            include_archived: self.include_archived,
            include_forks: self.include_forks,
            concurrency: self.concurrency.unwrap_or_default(),
            depth: self.depth.unwrap_or_default(),
            layout: match self.layout {
                Layout::Owner => v1::Layout::Owner,
                Layout::Host => v1::Layout::Host,
            } as i32,
            ssh: self.ssh,
            topics: self.traits.topics.clone(),
            languages: self.traits.languages.clone(),
            active_since: self.traits.active_since.map(Since::text).unwrap_or_default(),
            mirror: self.mirror,
            single_branch: self.single_branch,
            recurse_submodules: self.submodules,
            filter: self.filter.clone().unwrap_or_default(),
            gitlab_group: self.on(ForgeKind::GitLab).to_owned(),
            gitea_org: self.on(ForgeKind::Gitea).to_owned(),
            bitbucket_workspace: self.on(ForgeKind::Bitbucket).to_owned(),
            update: self.update.is_some(),
            gone: match self.update {
                None => v1::Gone::Unspecified,
                Some(Gone::Keep) => v1::Gone::Keep,
                Some(Gone::Name) => v1::Gone::Name,
                Some(Gone::Remove) => v1::Gone::Remove,
            } as i32,
        }
    }

    /// Whether it names repositories, rather than meaning all that stand.
    pub fn names_repositories(&self) -> bool {
        !self.sources.is_empty() || self.reads_listings()
    }

    /// Whether it asks somebody which repositories there are.
    fn reads_listings(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::GitHubGlob { .. }))
            || self.github_org.is_some()
            || self.github_user.is_some()
            || self.ado.is_some()
            || !self.forges.is_empty()
    }

    /// What is done with its repositories.
    pub fn action(&self) -> v1::Action {
        if self.update.is_some() { v1::Action::Update } else { v1::Action::Clone }
    }

    /// The name that is listed on a forge; empty where nothing is.
    pub fn on(&self, kind: ForgeKind) -> &str {
        self.forges.iter().find(|forge| forge.kind == kind).map_or("", |forge| &forge.name)
    }
}

/// A hundred years.
const MOST_MONTHS: u32 = 1_200;

impl Since {
    pub fn parse(text: &str) -> Result<Self, OrderError> {
        let wrong = || OrderError::Since(text.to_owned());
        match text {
            "" | "last" => return Ok(Self::Last),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let number = |number: &str, most: u32| number.parse().ok().filter(|n| (1..=most).contains(n));
        if let Some(months) = text.strip_suffix('m') {
            return number(months, MOST_MONTHS).map(Self::Months).ok_or_else(wrong);
        }
        if let Some(weeks) = text.strip_suffix('w') {
            return number(weeks, MOST_MONTHS * 4).map(|weeks| Self::Days(weeks * 7)).ok_or_else(wrong);
        }
        if let Some(days) = text.strip_suffix('d') {
            return number(days, MOST_MONTHS * 30).map(Self::Days).ok_or_else(wrong);
        }
        let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let at = day.map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
        at.or_else(|| clock::parse_iso(text)).map(Self::At).ok_or_else(wrong)
    }

    /// The moment that it means at `now`, where it is one.
    pub fn moment(self, now: Millis) -> Option<Millis> {
        match self {
            Self::Last | Self::All => None,
            Self::Months(months) => {
                let now = chrono::DateTime::from_timestamp_millis(now).unwrap_or_default();
                let then = now.checked_sub_months(chrono::Months::new(months));
                Some(then.unwrap_or_default().timestamp_millis())
            }
            Self::Days(days) => Some(now - Millis::from(days) * 24 * 3_600_000),
            Self::At(at) => Some(at),
        }
    }

    /// As it is written in a request.
    pub fn text(self) -> String {
        match self {
            Self::Last => String::new(),
            Self::All => "all".to_owned(),
            Self::Months(months) => format!("{months}m"),
            Self::Days(days) if days % 7 == 0 => format!("{}w", days / 7),
            Self::Days(days) => format!("{days}d"),
            Self::At(at) => {
                let moment = clock::iso(at);
                // A day is written as one.
                moment.strip_suffix("T00:00:00.000Z").map_or(moment.clone(), str::to_owned)
            }
        }
    }
}

/// Whether a text is `owner/name` as GitHub allows them.
pub fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// Whether a text can be a JIRA project's key.
pub fn is_project_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn tracker(platform: Platform) -> v1::Tracker {
    match platform {
        Platform::GitHub => v1::Tracker::Github,
        Platform::Jira => v1::Tracker::Jira,
        Platform::Ado => v1::Tracker::Ado,
    }
}

/// `None` for a tracker that is not named.
fn platform(tracker: i32) -> Result<Option<Platform>, OrderError> {
    match v1::Tracker::try_from(tracker) {
        Ok(v1::Tracker::Unspecified) => Ok(None),
        Ok(v1::Tracker::Github) => Ok(Some(Platform::GitHub)),
        Ok(v1::Tracker::Jira) => Ok(Some(Platform::Jira)),
        Ok(v1::Tracker::Ado) => Ok(Some(Platform::Ado)),
        Err(_) => Err(OrderError::Unknown),
    }
}

impl ImportOrder {
    fn parse(spec: v1::ImportSpec) -> Result<Self, OrderError> {
        let named: Result<Vec<_>, _> = spec.trackers.iter().map(|word| platform(*word)).collect();
        let question = Question::parse(&spec)?;
        let platforms = question.platforms(named?.into_iter().flatten().collect())?;
        if let Some(wrong) = spec.repos.iter().find(|name| !is_repository(name)) {
            return Err(OrderError::Repository(wrong.clone()));
        }
        if let Some(wrong) = spec.project_keys.iter().find(|key| !is_project_key(key)) {
            return Err(OrderError::ProjectKey(wrong.clone()));
        }
        Ok(Self {
            platforms,
            repos: spec.repos,
            project_keys: spec.project_keys,
            ado_org: some(spec.ado_org),
            ado_projects: spec.ado_projects,
            since: Since::parse(&spec.since)?,
            open_only: spec.open_only,
            labels: spec.labels,
            titles: Patterns::parse(spec.r#match)?,
            question: Box::new(question),
        })
    }

    fn spec(&self) -> v1::ImportSpec {
        v1::ImportSpec {
            trackers: self.platforms.iter().map(|platform| tracker(*platform) as i32).collect(),
            repos: self.repos.clone(),
            project_keys: self.project_keys.clone(),
            ado_org: self.ado_org.clone().unwrap_or_default(),
            ado_projects: self.ado_projects.clone(),
            since: self.since.text(),
            open_only: self.open_only,
            labels: self.labels.clone(),
            r#match: self.titles.texts().to_vec(),
            search: self.question.search.clone().unwrap_or_default(),
            jql: self.question.jql.clone().unwrap_or_default(),
            wiql: self.question.wiql.clone().unwrap_or_default(),
            assignee: self.question.assignee.clone().unwrap_or_default(),
            milestone: self.question.milestone.clone().unwrap_or_default(),
        }
    }
}

impl Direction {
    /// The documented word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
            Self::Both => "bidirectional",
        }
    }
}

impl OnConflict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::File => "file",
        }
    }
}

impl SyncOrder {
    fn parse(spec: v1::SyncSpec) -> Result<Self, OrderError> {
        let direction = match v1::Direction::try_from(spec.direction).map_err(|_| OrderError::Unknown)? {
            v1::Direction::Unspecified => None,
            v1::Direction::Import => Some(Direction::Import),
            v1::Direction::Export => Some(Direction::Export),
            v1::Direction::Bidirectional => Some(Direction::Both),
        };
        let on_conflict = match v1::OnConflict::try_from(spec.on_conflict).map_err(|_| OrderError::Unknown)? {
            v1::OnConflict::Unspecified | v1::OnConflict::Manual => OnConflict::Manual,
            v1::OnConflict::Local => OnConflict::Local,
            v1::OnConflict::Remote => OnConflict::Remote,
            v1::OnConflict::File => OnConflict::File,
        };
        let settles_one = spec.resolve && spec.only.len() == 1 && on_conflict != OnConflict::Manual;
        if (spec.resolve || on_conflict == OnConflict::File) && !settles_one {
            return Err(OrderError::OneAtATime);
        }
        let fits =
            |name: &&String| !name.is_empty() && !name.contains(['\n', '\r', '\0']) && name.len() < 300;
        if let Some(wrong) = spec.only.iter().find(|name| !fits(name)) {
            return Err(OrderError::Story(specweave_jobs::text::plain(wrong)));
        }
        Ok(Self {
            platform: platform(spec.tracker)?,
            profile: some(spec.profile),
            direction,
            on_conflict,
            only: spec.only,
            force_deletes: spec.force_deletes,
            resolve: spec.resolve,
            container: String::new(),
        })
    }

    fn spec(&self) -> v1::SyncSpec {
        let direction = match self.direction {
            None => v1::Direction::Unspecified,
            Some(Direction::Import) => v1::Direction::Import,
            Some(Direction::Export) => v1::Direction::Export,
            Some(Direction::Both) => v1::Direction::Bidirectional,
        };
        let on_conflict = match self.on_conflict {
            OnConflict::Manual => v1::OnConflict::Manual,
            OnConflict::Local => v1::OnConflict::Local,
            OnConflict::Remote => v1::OnConflict::Remote,
            OnConflict::File => v1::OnConflict::File,
        };
        v1::SyncSpec {
            tracker: self.platform.map_or(v1::Tracker::Unspecified, tracker) as i32,
            profile: self.profile.clone().unwrap_or_default(),
            direction: direction as i32,
            on_conflict: on_conflict as i32,
            only: self.only.clone(),
            force_deletes: self.force_deletes,
            resolve: self.resolve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(work: v1::job_spec::Work) -> Result<(Order, Vec<FoundLogin>), OrderError> {
        Order::parse(Some(v1::JobSpec { work: Some(work), ..v1::JobSpec::default() }))
    }

    #[test]
    fn what_is_journalled_asks_for_the_same_again_and_holds_no_login() {
        let spec = v1::CloneSpec {
            sources: vec![
                "acme/api".into(),
                "https://me:secret@git.example/a/b.git".into(),
                "acme/w*".into(),
            ],
            ado_org: "acme".into(),
            ado_project: "Nova CAD".into(),
            r#match: vec!["api-*".into()],
            depth: 1,
            ..Default::default()
        };
        let (order, logins) = parsed(v1::job_spec::Work::Clone(spec)).unwrap();
        let login = ("https://git.example/a/b.git".to_owned(), "me".to_owned(), "secret".to_owned());
        assert_eq!(logins, [login]);
        let again = Order::parse(Some(order.spec())).unwrap();
        assert_eq!(again, (order.clone(), Vec::new()));
        let text = serde_json::to_string(&order).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }

    #[test]
    fn a_beginning_is_written_as_it_was_asked_for() {
        for since in ["", "all", "10d", "2w", "3m", "2026-01-31", "2026-01-31T08:30:00.000Z"] {
            assert_eq!(Since::parse(since).unwrap().text(), since);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_the_door() {
        let clone = |spec| parsed(v1::job_spec::Work::Clone(spec)).unwrap_err();
        assert_eq!(clone(v1::CloneSpec::default()), OrderError::NoSource);
        let half = v1::CloneSpec { ado_org: "acme".into(), ..Default::default() };
        assert_eq!(clone(half), OrderError::HalfAdo);
        let import = |spec| parsed(v1::job_spec::Work::Import(spec)).unwrap_err();
        assert_eq!(import(v1::ImportSpec { trackers: vec![9], ..Default::default() }), OrderError::Unknown);
        let bad = v1::ImportSpec { repos: vec!["../x".into()], ..Default::default() };
        assert_eq!(import(bad), OrderError::Repository("../x".into()));
        for since in ["soon", "0m", "0d", "9999999w", "2x", "2026-13-01"] {
            let spec = v1::ImportSpec { since: since.into(), ..Default::default() };
            assert_eq!(import(spec), OrderError::Since(since.into()));
        }
        let sync = |spec| parsed(v1::job_spec::Work::Sync(spec)).unwrap_err();
        let two = v1::SyncSpec {
            resolve: true,
            only: vec!["US-001".into(), "US-002".into()],
            on_conflict: v1::OnConflict::Local as i32,
            ..Default::default()
        };
        assert_eq!(sync(two), OrderError::OneAtATime);
        let file = v1::SyncSpec { on_conflict: v1::OnConflict::File as i32, ..Default::default() };
        assert_eq!(sync(file), OrderError::OneAtATime);
        assert_eq!(Order::parse(None).unwrap_err(), OrderError::NoWork);
    }
}
