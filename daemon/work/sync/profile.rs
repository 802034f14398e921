//! What is synced with what, and who may change what: the request and `sync` of the project's configuration.

use super::status::StatusMap;
use crate::job::order::{Direction, OnConflict, SyncOrder};
use crate::model::item::Platform;
use crate::model::merge::{Holds, Policy, Rules};
use crate::model::record::Field;
use crate::net::secrets::Secrets;
use crate::trackers::edits::WritePace;
use crate::work::import::marks;
use crate::work::sources::{self, SourceError, SourceId};
use crate::work::sync::dialect::Origin;
use serde_json::Value;
use specweave_jobs::project::Project;
use std::collections::BTreeMap;

/// What the project's preset and settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub read: bool,
    pub status: bool,
    /// Make and change the items of stories that were written here.
    pub upsert: bool,
    /// Change more than status and boxes of items that came from the tracker.
    pub external: bool,
    /// Close an item whose story is gone.
    pub delete: bool,
}

impl Permissions {
    fn of_preset(preset: &str) -> Result<Self, ProfileError> {
        let none = Self { read: false, status: false, upsert: false, external: false, delete: false };
        Ok(match preset {
            "read-only" => Self { read: true, ..none },
            "push-only" => Self { status: true, upsert: true, ..none },
            "bidirectional" | "" => Self { read: true, status: true, upsert: true, ..none },
            "full-control" => Self { read: true, status: true, upsert: true, external: true, delete: true },
            other => return Err(ProfileError::Preset(other.to_owned())),
        })
    }

    /// What the preset allows; without one, the settings may allow more or less.
    fn configured(preset: &str, settings: &Value) -> Result<Self, ProfileError> {
        let mut permissions = Self::of_preset(preset)?;
        if preset.is_empty() {
            let set = |name: &str, or: bool| settings[name].as_bool().unwrap_or(or);
            permissions.upsert = set("canUpsertInternalItems", permissions.upsert);
            permissions.status = set("canUpdateStatus", permissions.status);
            permissions.external = set("canUpdateExternalItems", permissions.external);
        }
        Ok(permissions)
    }

    /// The way that edits go: what is asked for, where that is allowed, else what is configured.
    fn direction(
        &self,
        preset: &str,
        configured: &str,
        wanted: Option<Direction>,
    ) -> Result<Direction, ProfileError> {
        let allowed = match (self.read, self.upsert || self.status) {
            (true, false) => Direction::Import,
            (false, _) => Direction::Export,
            (true, true) => Direction::Both,
        };
        match wanted {
            Some(wanted) if allowed != Direction::Both && wanted != allowed => {
                let preset = if preset.is_empty() { "settings" } else { preset };
                Err(ProfileError::Forbidden { preset: preset.to_owned(), direction: wanted.word() })
            }
            Some(wanted) => Ok(wanted),
            None if allowed != Direction::Both => Ok(allowed),
            None => Ok(direction(configured)?.unwrap_or(Direction::Both)),
        }
    }
}

/// One profile, with what a request makes of it.
#[derive(Clone, Debug)]
pub struct Profile {
    pub id: String,
    pub source: SourceId,
    pub direction: Direction,
    pub on_conflict: OnConflict,
    pub permissions: Permissions,
    pub map: StatusMap,
    /// What the project sets of the writing's pace; the tracker's own where it sets nothing.
    gap: Option<i64>,
    a_minute: Option<u32>,
    an_hour: Option<u32>,
    lag: Option<i64>,
    /// Repositories of other stories, by the project that stories name.
    routes: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("there is no profile {name:?} in sync.profiles of config.json{}", listed(.known))]
    NoProfile { name: String, known: Vec<String> },
    #[error("profile {name:?} is of {provider}, not of {wanted}")]
    OtherTracker { name: String, provider: String, wanted: String },
    #[error("{}", unnamed(.0))]
    NoTracker(Vec<String>),
    #[error("config.json does not say with what: {}", wanted(.0))]
    NoProject(Platform),
    #[error("{0:?} in config.json is no direction: import, export or bidirectional")]
    Direction(String),
    #[error("{0:?} is no preset: read-only, push-only, bidirectional or full-control")]
    Preset(String),
    #[error("the preset {preset} of config.json does not allow --direction {direction}")]
    Forbidden { preset: String, direction: &'static str },
    #[error("rateLimits.{0} in config.json is no number from 0 on")]
    Limit(&'static str),
    #[error("config.json cannot be used: {0}")]
    Config(String),
    #[error(transparent)]
    Source(#[from] SourceError),
}

fn unnamed(profiles: &[String]) -> String {
    match profiles {
        [] => "no tracker is named, and config.json has none: github, jira or ado".to_owned(),
        several => format!("config.json has several profiles, name one: --profile {}", several.join(", ")),
    }
}

fn wanted(platform: &Platform) -> &'static str {
    match platform {
        Platform::GitHub => {
            r#""sync": {"github": {"owner": "acme", "repo": "web"}}, a profile under sync.profiles, or a git remote there"#
        }
        Platform::Jira => {
            r#""sync": {"jira": {"domain": "acme.atlassian.net", "projectKey": "PAY"}}; a server of your own by JIRA_DOMAIN"#
        }
        Platform::Ado => r#""sync": {"ado": {"organization": "acme", "project": "Nova CAD"}}"#,
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) }
}

fn platform(word: &str) -> Result<Platform, ProfileError> {
    let found = Platform::ALL.into_iter().find(|platform| platform.word() == word);
    found.ok_or_else(|| SourceError::NoPlatform(word.to_owned()).into())
}

fn direction(word: &str) -> Result<Option<Direction>, ProfileError> {
    Ok(match word {
        "" => None,
        "import" => Some(Direction::Import),
        "export" => Some(Direction::Export),
        "bidirectional" | "two-way" | "both" => Some(Direction::Both),
        other => return Err(ProfileError::Direction(other.to_owned())),
    })
}

/// Which profile is meant, before it is read.
struct Chosen<'a> {
    id: String,
    platform: Platform,
    /// `None` where only the tracker's own section says something.
    profile: Option<&'a Value>,
}

/// Which tracker a profile is of; the older name of the key is read, too.
fn provider(profile: &Value) -> &str {
    profile["provider"].as_str().or(profile["platform"].as_str()).unwrap_or("")
}

impl<'a> Chosen<'a> {
    /// The one that is named, the default one, the only one that fits, or the tracker's section, in this order.
    fn of(sync: &'a Value, order: &SyncOrder) -> Result<Self, ProfileError> {
        let wanted = order.platform.map(Platform::word);
        let profiles: Vec<(&str, &Value)> = sync["profiles"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, profile)| (name.as_str(), profile))
            .collect();
        let is_wanted = |profile: &Value| wanted.is_none_or(|wanted| provider(profile) == wanted);
        let named =
            |name: &str| profiles.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile);
        let known = |name: &str| {
            named(name).map(drop).ok_or_else(|| ProfileError::NoProfile {
                name: name.to_owned(),
                known: profiles.iter().map(|(name, _)| (*name).to_owned()).collect(),
            })
        };
        let defaults: Vec<&str> = match order.profile {
            Some(_) => Vec::new(),
            None => [&sync["defaultProfile"], &sync["activeProfile"]]
                .into_iter()
                .filter_map(Value::as_str)
                .collect(),
        };
        defaults.iter().copied().chain(order.profile.as_deref()).try_for_each(known)?;
        let fitting: Vec<&str> =
            profiles.iter().filter(|(_, profile)| is_wanted(profile)).map(|(name, _)| *name).collect();
        let default = || defaults.into_iter().find(|name| named(name).is_some_and(is_wanted));
        // The only one there is need not be named.
        let only = || if let [only] = fitting[..] { Some(only) } else { None };
        match order.profile.as_deref().or_else(default).or_else(only) {
            Some(name) => Self::of_profile(name, named(name).unwrap_or(&Value::Null), wanted),
            None => Self::of_section(sync, wanted, &fitting),
        }
    }

    fn of_profile(name: &str, profile: &'a Value, wanted: Option<&str>) -> Result<Self, ProfileError> {
        let word = provider(profile);
        if let Some(wanted) = wanted.filter(|wanted| word != *wanted) {
            let [name, provider, wanted] = [name, word, wanted].map(str::to_owned);
            return Err(ProfileError::OtherTracker { name, provider, wanted });
        }
        Ok(Self { id: name.to_owned(), platform: platform(word)?, profile: Some(profile) })
    }

    fn of_section(sync: &Value, wanted: Option<&str>, fitting: &[&str]) -> Result<Self, ProfileError> {
        let is_on = |word: &&str| sync[*word].is_object() && sync[*word]["enabled"] != false;
        let sections: Vec<&str> = Platform::ALL.map(Platform::word).into_iter().filter(is_on).collect();
        let word = match (wanted, sync["provider"].as_str(), &sections[..]) {
            (Some(word), ..) | (None, Some(word), _) => word,
            (None, None, [word]) => word,
            (None, None, _) => "",
        };
        if word.is_empty() || fitting.len() > 1 {
            return Err(ProfileError::NoTracker(fitting.iter().map(|name| (*name).to_owned()).collect()));
        }
        Ok(Self { id: format!("{word}-default"), platform: platform(word)?, profile: None })
    }
}

/// Which project of the tracker each repository of a workspace syncs with.
fn routes(config: &Value, platform: Platform) -> BTreeMap<String, String> {
    let repositories = config["workspace"]["repos"].as_array();
    let routes = repositories.into_iter().flatten().filter_map(|repository| {
        let section = &repository["sync"][platform.word()];
        let target = match platform {
            Platform::GitHub => format!("{}/{}", section["owner"].as_str()?, section["repo"].as_str()?),
            Platform::Jira => section["projectKey"].as_str()?.to_owned(),
            Platform::Ado => section["project"].as_str()?.to_owned(),
        };
        Some((repository["id"].as_str()?.to_lowercase(), target.to_lowercase()))
    });
    routes.collect()
}

/// The one imported story over which a person has decided, by its id in the tracker. What an import was told of where it
/// comes from need not stand in the configuration.
fn imported_story(order: &SyncOrder) -> Option<&str> {
    match &order.only[..] {
        [only] if order.resolve => Some(only),
        _ => None,
    }
}

fn imported_platform(order: &SyncOrder) -> Option<Platform> {
    Platform::ALL
        .into_iter()
        .find(|platform| imported_story(order).is_some_and(|story| story.starts_with(platform.id_prefix())))
}

/// Whether that story came from a source.
fn is_of(order: &SyncOrder, source: &SourceId) -> bool {
    let prefix = source.platform.id_prefix();
    let Some(rest) = imported_story(order).and_then(|story| story.strip_prefix(prefix)) else { return false };
    match source.platform {
        Platform::GitHub => {
            rest.rsplit_once('#').is_some_and(|(name, _)| name.eq_ignore_ascii_case(&source.name))
        }
        Platform::Jira => {
            rest.rsplit_once('-').is_some_and(|(key, _)| key.eq_ignore_ascii_case(&source.name))
        }
        Platform::Ado => true,
    }
}

impl Profile {
    /// The profile that a request means.
    pub fn find(project: &Project, order: &SyncOrder, secrets: &Secrets) -> Result<Self, ProfileError> {
        let config = sources::read_config(project).map_err(ProfileError::Config)?;
        let sync = &config["sync"];
        let chosen = Chosen::of(sync, order).or_else(|error| match (error, imported_platform(order)) {
            (ProfileError::NoTracker(fitting), Some(platform)) if fitting.is_empty() => {
                Ok(Chosen { id: format!("{}-default", platform.word()), platform, profile: None })
            }
            (error, _) => Err(error),
        })?;
        let platform = chosen.platform;
        // What a profile may say, the section of a tracker may.
        let (settings, section) = match &chosen.profile {
            Some(profile) => (*profile, Some(&profile["config"])),
            None => (&sync[platform.word()], None),
        };
        let source =
            sources::of_section(project, platform, section, secrets).or_else(|error| match error {
                SourceError::Nothing(_) => {
                    let imported = sources::vetted(marks::imported(project, platform), platform, secrets);
                    let found = imported.into_iter().find(|source| is_of(order, source));
                    found.ok_or(ProfileError::NoProject(platform))
                }
                other => Err(other.into()),
            })?;
        let preset = settings["preset"].as_str().or(sync["preset"].as_str()).unwrap_or("");
        let permissions = Permissions::configured(preset, &sync["settings"])?;
        let configured = settings["direction"].as_str().or(sync["direction"].as_str()).unwrap_or("");
        let direction = permissions.direction(preset, configured, order.direction)?;
        let limits = &settings["rateLimits"];
        for name in ["writeGapMs", "writesPerMinute", "writesPerHour", "indexLagSeconds"] {
            if !limits[name].is_null() && limits[name].as_u64().is_none() {
                return Err(ProfileError::Limit(name));
            }
        }
        let number =
            |name: &str| limits[name].as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let most = |name: &str, most: u32| number(name).map(|number| i64::from(number.min(most)));
        Ok(Self {
            map: StatusMap::read(sync, settings, platform),
            id: chosen.id,
            source,
            direction,
            on_conflict: order.on_conflict,
            permissions,
            gap: most("writeGapMs", 600_000),
            a_minute: number("writesPerMinute"),
            an_hour: number("writesPerHour"),
            lag: most("indexLagSeconds", 600).map(|seconds| seconds * 1_000),
            routes: routes(&config, platform),
        })
    }

    /// A profile of a GitHub repository without a pace, for trials.
    #[cfg(test)]
    pub fn of_trial(direction: Direction, on_conflict: OnConflict, delete: bool) -> Self {
        let preset = if delete { "full-control" } else { "bidirectional" };
        Self {
            id: "trial".into(),
            source: SourceId { platform: Platform::GitHub, name: "acme/web".into(), server: String::new() },
            direction,
            on_conflict,
            permissions: Permissions::of_preset(preset).expect("it is one"),
            map: StatusMap::default(),
            gap: None,
            a_minute: None,
            an_hour: None,
            lag: None,
            routes: BTreeMap::new(),
        }
    }

    /// The fields that may go each way for a story of this origin.
    pub fn rules(&self, origin: Origin) -> Rules {
        let may = &self.permissions;
        let exports = self.direction != Direction::Import;
        let imports = self.direction != Direction::Export && may.read;
        let push = Field::ALL.into_iter().filter(|field| {
            exports
                && match (origin, field) {
                    (_, Field::Status) => may.status,
                    (Origin::Authored, _) => may.upsert,
                    (Origin::Imported, Field::Boxes) => may.status || may.external,
                    (Origin::Imported, Field::Title | Field::Priority) => may.external,
                    (Origin::Imported, _) => false,
                }
        });
        let policy = match self.on_conflict {
            OnConflict::Manual | OnConflict::File => Policy::Manual,
            OnConflict::Local => Policy::Local,
            OnConflict::Remote => Policy::Remote,
        };
        let pull = if imports { Field::ALL.into() } else { Default::default() };
        Rules { push: push.collect(), pull, policy, conflict_holds: Holds::Pair }
    }

    pub fn may_create(&self) -> bool {
        self.direction != Direction::Import && self.permissions.upsert
    }

    pub fn may_import(&self) -> bool {
        self.direction != Direction::Export && self.permissions.read
    }

    pub fn pace(&self, own: WritePace) -> WritePace {
        WritePace {
            gap: self.gap.unwrap_or(own.gap),
            creates_a_minute: self.a_minute.unwrap_or(own.creates_a_minute),
            creates_an_hour: self.an_hour.unwrap_or(own.creates_an_hour),
            lag: self.lag.unwrap_or(own.lag),
        }
    }

    /// Whether a story that names this project, and perhaps a tracker, is this profile's.
    pub fn takes(&self, project: &str, provider: &str) -> bool {
        let routed = self.routes.get(&project.to_lowercase());
        (provider.is_empty() || provider == self.source.platform.word())
            && routed.is_none_or(|target| *target == self.source.name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use specweave_jobs::disk;

    fn find(config: &Value, order: SyncOrder) -> Result<Profile, String> {
        let root = std::env::temp_dir().join(format!("profiles-{:x}", disk::random()));
        std::fs::create_dir_all(root.join(".specweave")).unwrap();
        std::fs::write(root.join(".specweave/config.json"), config.to_string()).unwrap();
        let project = Project::find(&root).unwrap();
        let secrets = Secrets::new(&project, Default::default(), &Default::default());
        let found = Profile::find(&project, &order, &secrets);
        std::fs::remove_dir_all(root).unwrap();
        found.map_err(|error| error.to_string())
    }

    fn order(provider: &str, profile: &str, direction: &str) -> SyncOrder {
        SyncOrder {
            platform: (!provider.is_empty()).then(|| platform(provider).unwrap()),
            profile: (!profile.is_empty()).then(|| profile.to_owned()),
            direction: self::direction(direction).unwrap(),
            ..SyncOrder::default()
        }
    }

    #[test]
    fn a_profile_is_found_by_name_by_default_or_because_there_is_one() {
        let github = |repo: &str| json!({"provider": "github", "config": {"owner": "acme", "repo": repo}});
        let config =
            json!({"sync": {"defaultProfile": "b", "profiles": {"a": github("one"), "b": github("two")}}});
        let name = |order| find(&config, order).map(|profile| profile.source.name);
        assert_eq!(name(order("", "", "")).unwrap(), "acme/two");
        assert_eq!(name(order("github", "a", "")).unwrap(), "acme/one");
        assert!(name(order("jira", "a", "")).unwrap_err().contains("is of github"));
        assert!(name(order("", "c", "")).unwrap_err().contains("it has a, b"));
        let several = json!({"sync": {"profiles": {"a": github("one"), "b": github("two")}}});
        assert!(find(&several, order("github", "", "")).unwrap_err().contains("name one: --profile a, b"));
        let section = json!({"sync": {"github": {"owner": "acme", "repo": "web"}}});
        let found = find(&section, order("github", "", "")).unwrap();
        assert_eq!((found.id.as_str(), found.source.name.as_str()), ("github-default", "acme/web"));
    }

    #[test]
    fn a_preset_is_never_exceeded() {
        let config = |preset: &str| json!({"sync": {"preset": preset, "github": {"owner": "acme", "repo": "web"}, "direction": "bidirectional"}});
        let read_only = find(&config("read-only"), order("github", "", "")).unwrap();
        assert_eq!(read_only.direction, Direction::Import);
        assert!(read_only.rules(Origin::Authored).push.is_empty() && !read_only.may_create());
        assert!(find(&config("read-only"), order("github", "", "export")).unwrap_err().contains("read-only"));
        let push_only = find(&config("push-only"), order("github", "", "")).unwrap();
        assert!(push_only.rules(Origin::Authored).pull.is_empty() && !push_only.may_import());
        let both = find(&config("bidirectional"), order("github", "", "")).unwrap();
        assert_eq!(both.rules(Origin::Imported).push, [Field::Status, Field::Boxes].into());
        assert!(find(&config("all"), order("github", "", "")).is_err());
    }

    #[test]
    fn stories_go_where_their_repository_is_routed() {
        let route =
            |id: &str, repo: &str| json!({"id": id, "sync": {"github": {"owner": "acme", "repo": repo}}});
        let config = json!({
            "sync": {"github": {"owner": "acme", "repo": "web"}},
            "workspace": {"repos": [route("api", "api"), route("web", "web")]},
        });
        let root = find(&config, order("github", "", ""));
        // Sections of repositories are sources of their own.
        let profile = root.or_else(|_| find(&json!({
            "sync": {"profiles": {"w": {"provider": "github", "config": {"owner": "acme", "repo": "web"}}}},
            "workspace": config["workspace"],
        }), order("github", "w", ""))).unwrap();
        assert!(profile.takes("web", "") && profile.takes("other", "github"));
        assert!(!profile.takes("API", "") && !profile.takes("web", "jira"));
    }
}
