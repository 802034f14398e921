//! Carries a plan out: reads both sides, decides anew over each story just before it is written, and announces what is
//! made before it is sent. It talks to the tracker, the files, its memory and its job through traits, so that whole
//! histories of failures can be tried on it.

use super::conflict::{self, Stamp};
use super::dialect::{self, Dialect, Origin};
use super::merge::{Outcome, Policy, Rules};
use super::pace::{Paced, Write};
use super::plan::{self, Action, Foreseen, Guard, Imported, Plan, Story, Terms, Verb, View};
use super::profile::{OnConflict, Profile};
use super::store::{Link, Store};
use crate::specs::authored::{self, Authored};
use crate::specs::record::{Field, Record};
use crate::specs::shelf::Wins;
use crate::specs::story;
use crate::work::Stop;
use crate::work::trackers::edits::{Category, Change, Editor, Group, State, WriteError};
use crate::work::trackers::item::{Item, Kind};
use crate::work::trackers::{Position, TrackerError, Window};
use specweave_jobs::clock::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The living docs as a sync sees them. Everything here blocks.
pub trait Docs: Send + Sync {
    /// Files of stories with front matter, and those that cannot be read.
    fn authored(&mut self) -> io::Result<Vec<Found>>;
    fn read(&mut self, path: &str) -> io::Result<Option<String>>;
    /// Writes a file unless it is another by now; whether it was written.
    fn write(&mut self, path: &str, expected: Option<&str>, text: &str) -> io::Result<bool>;
    fn remove(&mut self, path: &str) -> io::Result<()>;
    /// Writes what an increment is to know of its story's item.
    fn note(&mut self, increment: &str, note: &Note) -> io::Result<()>;
    /// The file of an item that was imported.
    fn imported(&mut self, item: &Item) -> io::Result<Option<Imported>>;
    /// What an import would make of these items.
    fn foresee(&mut self, items: &[&Item]) -> io::Result<BTreeMap<String, Foreseen>>;
    /// Imports items; gives what failed, by item.
    fn import(
        &mut self,
        items: &[Item],
        all: &BTreeMap<String, Item>,
        wins: Option<Wins>,
    ) -> io::Result<BTreeMap<String, String>>;
}

/// The path of a file, and its text or why there is none.
pub type Found = (String, Result<String, String>);

/// What an increment's `metadata.json` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub story: String,
    pub reference: String,
    pub url: String,
    pub status: String,
    pub group: Option<Group>,
}

/// The job.
#[tonic::async_trait]
pub trait Run: Send + Sync {
    fn now(&self) -> Millis;
    async fn sleep_until(&self, at: Millis) -> Result<(), Stop>;
    fn log(&self, text: &str);
    fn progress(&self, story: &str);
    fn phase(&self, phase: &'static str);
    /// Tells how many milliseconds the rest will surely take.
    fn ahead(&self, waiting: Millis);
    /// An item of the job is done; returns once that is durable.
    async fn done(&self, stories: &[String]) -> Result<(), Stop>;
    async fn failed(&self, story: &str, error: &str) -> Result<(), Stop>;
}

/// Why a sync does not go on.
#[derive(Debug)]
pub enum Ended {
    Stop(Stop),
    Tracker(TrackerError),
    Storage(io::Error),
    Guard(Guard),
    /// The profile's project is another one by now.
    OtherProject {
        was: String,
        is: String,
    },
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
impl From<TrackerError> for Ended {
    fn from(error: TrackerError) -> Self {
        Self::Tracker(error)
    }
}
impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

/// How one action went.
enum Went {
    Done,
    Failed(String),
    /// Whether it came about is not known yet.
    Unknown,
}

/// Imports that are written together.
const BATCH: usize = 100;

/// So often a story is decided over anew because somebody was faster.
const MOST_TRIES: usize = 4;

/// A wait longer than this pauses the job.
const LONG: Millis = 30_000;

pub struct Engine<'a> {
    pub profile: &'a Profile,
    pub editor: &'a dyn Editor,
    pub docs: &'a mut dyn Docs,
    pub store: &'a mut Store,
    pub run: &'a dyn Run,
    pub only: &'a [String],
    pub force_deletes: bool,
    /// The one story that is named is in conflict, and a person has decided.
    pub resolve: bool,
    paced: Paced,
    items: BTreeMap<String, Item>,
    stories: BTreeMap<String, Story>,
    broken: BTreeMap<String, String>,
    imported: BTreeMap<String, Imported>,
    foreseen: BTreeMap<String, Foreseen>,
    gone: BTreeSet<String>,
    dead: BTreeSet<String>,
    groups: BTreeMap<String, Option<Group>>,
    /// Creates and changes that are still ahead.
    left: (u64, u64),
}

impl<'a> Engine<'a> {
    pub fn new(
        profile: &'a Profile,
        editor: &'a dyn Editor,
        docs: &'a mut dyn Docs,
        store: &'a mut Store,
        run: &'a dyn Run,
        only: &'a [String],
        force_deletes: bool,
    ) -> Self {
        let paced = Paced::new(profile.pace(editor.pace()), &store.created);
        Self {
            profile,
            editor,
            docs,
            store,
            run,
            only,
            force_deletes,
            resolve: false,
            paced,
            items: BTreeMap::new(),
            stories: BTreeMap::new(),
            broken: BTreeMap::new(),
            imported: BTreeMap::new(),
            foreseen: BTreeMap::new(),
            gone: BTreeSet::new(),
            dead: BTreeSet::new(),
            groups: BTreeMap::new(),
            left: (0, 0),
        }
    }

    fn dialect(&self) -> Dialect<'a> {
        Dialect { platform: self.profile.source.platform, map: &self.profile.map, tracker: self.editor }
    }

    /// Reads both sides, and decides.
    pub async fn plan(&mut self) -> Result<Plan, Ended> {
        self.run.phase("reading the tracker");
        self.check_project().await?;
        self.read_items().await?;
        self.run.phase("reading the stories");
        self.read_stories()?;
        self.look_for_missing().await?;
        self.foresee()?;
        self.run.phase("");
        let dialect = self.dialect();
        let (groups, unread) = (self.known_groups(), self.unread()?);
        let view = View {
            stories: &self.stories,
            broken: &self.broken,
            items: &self.items,
            gone: &self.gone,
            dead: &self.dead,
            imported: &self.imported,
            foreseen: &self.foreseen,
            store: self.store,
            groups: &groups,
            unread: &unread,
        };
        let profile = self.profile;
        // What a person has decided over is looked at as what it is.
        let rules = |origin| match self.resolve {
            true => Rules { policy: Policy::Manual, ..profile.rules(origin) },
            false => profile.rules(origin),
        };
        let terms = Terms {
            dialect: &dialect,
            authored: rules(Origin::Authored),
            imported: rules(Origin::Imported),
            may_create: profile.may_create(),
            may_import: profile.may_import(),
            may_delete: profile.permissions.delete && profile.may_create(),
            only: self.only,
            force_deletes: self.force_deletes,
            resolve: self.resolve,
        };
        plan::plan(&view, &terms).map_err(Ended::Guard)
    }

    /// An item as its tracker shows it.
    pub fn shown(&self, key: &str) -> Option<String> {
        self.items.get(key).map(|item| item.shown.clone())
    }

    /// How long the writes of these actions take, by the tracker's documented limits.
    pub fn duration(&self, actions: &[Action]) -> Millis {
        let (creates, changes) = counted(actions.iter());
        self.paced.ahead(creates, changes, self.run.now())
    }

    async fn check_project(&mut self) -> Result<(), Ended> {
        let is = self.editor.identity().await?;
        match &self.store.project {
            Some(was) if *was != is => Err(Ended::OtherProject { was: was.clone(), is }),
            Some(_) => Ok(()),
            None => Ok(self.store.set_project(&is)?),
        }
    }

    async fn read_items(&mut self) -> Result<(), Ended> {
        let mut at = self.editor.first(&Window::default());
        loop {
            let page = self.editor.page(&at).await?;
            for note in &page.notes {
                self.run.log(note);
            }
            for read in page.items {
                match read {
                    // What was made from a story and is deleted is gone; of what was imported, its file is told.
                    Ok(item)
                        if item.is_deleted() && (item.marker().is_some() || self.is_authored(&item.key)) => {}
                    // Of an item that is seen twice, the last is what it is now.
                    Ok(item) => drop(self.items.insert(item.key.clone(), item)),
                    Err((name, error)) => self.run.log(&format!("{name}: {error}")),
                }
            }
            match page.next {
                Position::At(next) => at = next,
                Position::End(_) => return Ok(()),
            }
        }
    }

    /// Whether an item is that of a story which was written here.
    fn is_authored(&self, key: &str) -> bool {
        self.store.story(key).and_then(|story| self.store.link(story)).is_some_and(|link| !link.imported)
    }

    fn read_stories(&mut self) -> Result<(), Ended> {
        let files = self.docs.authored()?;
        for (path, text) in files {
            match text.and_then(|text| self.read_story(&path, &text)) {
                Ok(Some(story)) => {
                    if let Some(other) = self.stories.get(&story.key) {
                        let error = format!("{} and {path} have the same id", other.path);
                        self.broken.insert(path, error);
                        continue;
                    }
                    self.stories.insert(story.key.clone(), story);
                }
                Ok(None) => {}
                Err(error) => drop(self.broken.insert(path, error)),
            }
        }
        Ok(())
    }

    /// The story of a file, if it is this profile's.
    fn read_story(&self, path: &str, text: &str) -> Result<Option<Story>, String> {
        let parsed = Authored::parse(text).map_err(|error| error.to_string())?;
        let id = parsed.id().map_err(|error| error.to_string())?;
        let feature = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let project = match parsed.meta.get("project").and_then(serde_json::Value::as_str) {
            Some(project) => project.to_owned(),
            None => feature.split('/').next().unwrap_or("").to_owned(),
        };
        let provider = parsed.meta.get("external_provider").and_then(serde_json::Value::as_str).unwrap_or("");
        if !self.profile.takes(&project, provider) {
            return Ok(None);
        }
        let mut record = parsed.record().clone();
        if record.title.is_empty() {
            return Err("it has no title".into());
        }
        record.status = self.profile.map.of_local(&record.status);
        let word = self.profile.source.platform.word();
        let (key, reference) = (format!("{feature}/{id}"), parsed.link(word));
        // An item of another project is another profile's, unless this one has linked it when the project had another name.
        let elsewhere = parsed.link_address(word).and_then(|address| url::Url::parse(&address).ok());
        let is_ours = |link: &Link| Some(&link.reference) == reference.as_ref();
        if elsewhere.is_some_and(|address| !self.editor.owns(&address))
            && !self.store.link(&key).is_some_and(is_ours)
        {
            return Ok(None);
        }
        Ok(Some(Story {
            key,
            path: path.to_owned(),
            reference,
            record,
            feature,
            print: crate::specs::text::hash(text),
        }))
    }

    /// What the listing did not have is asked for by itself: an index may be behind, and gone is gone for sure.
    /// An item as it is now, if it still is one of this project under that name.
    async fn look(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        let found = self.editor.current(reference).await?;
        Ok(found.filter(|item| {
            let is_here = url::Url::parse(&item.url).is_ok_and(|address| self.editor.owns(&address));
            is_here && item.reference() == reference
        }))
    }

    async fn look_for_missing(&mut self) -> Result<(), Ended> {
        let known: BTreeSet<&str> = self.items.values().map(Item::reference).collect();
        let named = self.stories.values().filter_map(|story| story.reference.clone());
        let linked =
            self.store.links().filter(|(_, link)| !link.orphaned && !self.items.contains_key(&link.remote));
        let mut missing: BTreeSet<String> =
            named.filter(|reference| !known.contains(reference.as_str())).collect();
        missing.extend(linked.map(|(_, link)| link.reference.clone()));
        if !self.force_deletes && self.items.is_empty() && missing.len() > 1 {
            // Nobody asks for each item of a project that has none.
            return Err(Ended::Guard(Guard::NothingThere(missing.len())));
        }
        for reference in missing {
            match self.look(&reference).await {
                Ok(Some(item)) => drop(self.items.insert(item.key.clone(), item)),
                Ok(None) => {
                    let links = self.store.links().filter(|(_, link)| link.reference == reference);
                    self.gone.extend(links.map(|(_, link)| link.remote.clone()));
                    self.dead.insert(reference);
                }
                // It is there, and what it says is not understood.
                Err(TrackerError::Malformed { what, cause }) => self.run.log(&format!("{what}: {cause}")),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn foresee(&mut self) -> Result<(), Ended> {
        let (groups, unread) = (BTreeSet::new(), BTreeSet::new());
        let view = View {
            stories: &self.stories,
            broken: &self.broken,
            items: &self.items,
            gone: &self.gone,
            dead: &self.dead,
            imported: &self.imported,
            foreseen: &self.foreseen,
            store: self.store,
            groups: &groups,
            unread: &unread,
        };
        let taken: BTreeSet<String> = plan::pair(&view).taken.into_iter().map(str::to_owned).collect();
        let theirs: Vec<&Item> =
            self.items.iter().filter(|(key, _)| !taken.contains(*key)).map(|(_, item)| item).collect();
        for item in theirs.iter().filter(|item| item.kind != Kind::Step) {
            if let Some(here) = self.docs.imported(item)? {
                self.imported.insert(item.key.clone(), here);
            }
        }
        if self.profile.may_import() {
            self.foreseen = self.docs.foresee(&theirs)?;
        }
        Ok(())
    }

    /// Linked stories that are not among those that were read, and whose files are there.
    fn unread(&mut self) -> Result<BTreeSet<String>, Ended> {
        let lost =
            self.store.links().filter(|(key, link)| !link.imported && !self.stories.contains_key(*key));
        let lost: Vec<(String, String)> =
            lost.map(|(key, link)| (key.to_owned(), link.path.clone())).collect();
        // One that cannot be read is there, too.
        let there =
            |docs: &mut dyn Docs, path: &str| !path.is_empty() && !matches!(docs.read(path), Ok(None));
        Ok(lost.into_iter().filter(|(_, path)| there(self.docs, path)).map(|(key, _)| key).collect())
    }

    /// Features whose group is linked already.
    fn known_groups(&self) -> BTreeSet<String> {
        let features: BTreeSet<&String> = self.stories.values().map(|story| &story.feature).collect();
        features
            .into_iter()
            .filter(|feature| self.store.link(&group_key(feature)).is_some())
            .cloned()
            .collect()
    }

    /// Carries out what is to be done of a plan: `names` are the stories that a job has still to deal with.
    pub async fn carry_out(&mut self, plan: Plan, names: &[String]) -> Result<(), Ended> {
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        self.settle(&plan)?;
        let mut actions: Vec<Action> =
            plan.actions.into_iter().filter(|action| wanted.contains(action.story.as_str())).collect();
        self.left = counted(actions.iter());
        self.tell_ahead();
        // What there is nothing to do about any more was done before.
        let busy: BTreeSet<&str> = actions.iter().map(|action| action.story.as_str()).collect();
        let idle: Vec<String> = names.iter().filter(|name| !busy.contains(name.as_str())).cloned().collect();
        self.run.done(&idle).await?;
        let mut unknown: Vec<Action> = Vec::new();
        let mut batch: Vec<Action> = Vec::new();
        for action in actions.drain(..) {
            if action.verb == Verb::Recheck {
                unknown.push(action);
                continue;
            }
            if self.is_plain_import(&action) {
                batch.push(action);
                if batch.len() == BATCH {
                    self.import(std::mem::take(&mut batch)).await?;
                }
                continue;
            }
            self.run.progress(&action.story);
            let went = self.act(&action).await?;
            self.took(&action);
            match went {
                Went::Unknown => unknown.push(action),
                went => self.tell(&action, went).await?,
            }
        }
        if !batch.is_empty() {
            self.import(batch).await?;
        }
        for action in unknown {
            self.run.progress(&action.story);
            let went = self.recheck(&action).await?;
            self.took(&action);
            self.tell(&action, went).await?;
        }
        Ok(())
    }

    /// Notes pairs that have become the same without a write.
    fn settle(&mut self, plan: &Plan) -> Result<(), Ended> {
        let mut links = Vec::new();
        for (key, item, base) in &plan.settled {
            let (Some(item), Some(story)) = (self.items.get(item).cloned(), self.stories.get(key)) else {
                continue;
            };
            let path = story.path.clone();
            let text = self.docs.read(&path)?.unwrap_or_default();
            if let Ok(parsed) = Authored::parse(&text) {
                self.note(key, &item, &parsed, &base.remote.status)?;
            }
            self.drop_conflict(&beside(&path))?;
            links.push((key.clone(), link_to(&item, &path, base.clone())));
        }
        Ok(self.store.set_all(links)?)
    }

    async fn tell(&mut self, action: &Action, went: Went) -> Result<(), Ended> {
        match went {
            Went::Done => {
                self.run.log(&format!("[{}] {} {}", action.verb.word(), action.story, action.reason));
                Ok(self.run.done(std::slice::from_ref(&action.story)).await?)
            }
            Went::Failed(error) => {
                self.run.log(&format!("FAILED: {} - {error}", action.story));
                Ok(self.run.failed(&action.story, &error).await?)
            }
            Went::Unknown => {
                let error = "the tracker did not answer, and what became of it is not known yet";
                Ok(self.run.failed(&action.story, error).await?)
            }
        }
    }

    fn took(&mut self, action: &Action) {
        let left = if action.verb.creates() { &mut self.left.0 } else { &mut self.left.1 };
        if action.verb.writes_there() {
            *left = left.saturating_sub(1);
        }
        self.tell_ahead();
    }

    fn tell_ahead(&self) {
        self.run.ahead(self.paced.ahead(self.left.0, self.left.1, self.run.now()));
    }

    async fn act(&mut self, action: &Action) -> Result<Went, Ended> {
        match action.verb {
            Verb::Broken => Ok(Went::Failed(action.reason.clone())),
            Verb::Group => self.group_of(&action.story).await.map(|group| match group {
                Ok(_) => Went::Done,
                Err(went) => went,
            }),
            Verb::Create => self.create(&action.story).await,
            Verb::Recheck => self.recheck(action).await,
            Verb::Orphan => self.orphan(action),
            Verb::Unlink => {
                self.store.forget(&action.story)?;
                Ok(Went::Done)
            }
            Verb::Close => self.close(action).await,
            Verb::Heal => self.heal(action).await,
            Verb::Restore => self.restore(action),
            Verb::Link
            | Verb::Push
            | Verb::Pull
            | Verb::Merge
            | Verb::Conflict
            | Verb::Settle
            | Verb::Import => match action.origin {
                Origin::Authored => self.sync_authored(action).await,
                Origin::Imported => self.sync_imported(action).await,
            },
        }
    }

    /// Waits for the moment at which the next write may be sent; a long wait pauses the job.
    async fn pace(&mut self, write: Write) -> Result<(), Ended> {
        let now = self.run.now();
        let at = self.paced.next(write, now);
        if at - now > LONG {
            let left = self.left.0 + self.left.1;
            let hours = (self.paced.ahead(self.left.0, self.left.1, now) + 3_599_999) / 3_600_000;
            let message = format!(
                "Rate limited: {} takes no more new items for now; {left} writes are left, about {hours} h",
                self.profile.source.platform.name()
            );
            let reason = crate::job::PauseReason::RateLimited;
            return Err(Stop::Pause { reason, message, resume_at: Some(at) }.into());
        }
        self.run.sleep_until(at).await?;
        self.paced.sent(write, self.run.now());
        Ok(())
    }

    /// What the failure of a write means, when it is not the story's own.
    fn refused(&self, error: WriteError) -> Result<Went, Ended> {
        match error {
            WriteError::Unknown(error) => Err(error.into()),
            WriteError::Changed => {
                Ok(Went::Failed("it was changed there at the same time, again and again".into()))
            }
            WriteError::Refused(
                error @ (TrackerError::Auth(_)
                | TrackerError::Limited(_)
                | TrackerError::Cancelled
                | TrackerError::Network(_)
                | TrackerError::Transient { .. }),
            ) => Err(error.into()),
            WriteError::Refused(error) => Ok(Went::Failed(error.to_string())),
        }
    }

    /// The group of a feature, found or made.
    async fn group_of(&mut self, feature: &str) -> Result<Result<Option<Group>, Went>, Ended> {
        if let Some(known) = self.groups.get(feature) {
            return Ok(Ok(known.clone()));
        }
        let key = group_key(feature);
        let id = feature.rsplit('/').next().unwrap_or(feature).to_owned();
        let group = match self.known_group(feature) {
            Some(group) => Some(group),
            None => match self.make_group(feature, &key, &id).await? {
                Ok(group) => group,
                Err(went) => return Ok(Err(went)),
            },
        };
        if let Some(group) = &group {
            self.link_feature(feature, group)?;
        }
        self.groups.insert(feature.to_owned(), group.clone());
        Ok(Ok(group))
    }

    async fn make_group(
        &mut self,
        feature: &str,
        key: &str,
        id: &str,
    ) -> Result<Result<Option<Group>, Went>, Ended> {
        let title = self.feature_title(feature)?;
        self.pace(Write::Create).await?;
        match self.editor.group(id, &title).await {
            Ok(Some(group)) => {
                // It is found by its name; there is nothing to compare.
                let link =
                    Link { reference: group.reference.clone(), url: group.url.clone(), ..nameless(key) };
                self.store.set(key, link)?;
                return Ok(Ok(Some(group)));
            }
            Ok(None) => {}
            Err(error) => return self.refused(error).map(Err),
        }
        let marker = dialect::marker(feature);
        let mut known = self.items.values().find(|item| item.marker() == Some(marker.as_str())).cloned();
        if known.is_none()
            && let Some(intent) = self.store.intent(key).cloned()
        {
            self.wait_for_index(intent.at).await?;
            known = self.editor.marked(&marker, intent.at).await?.into_iter().next();
        }
        let item = match known {
            Some(item) => item,
            None => {
                let draft = self.dialect().group_draft(feature, id, &title);
                self.store.intend(key, self.run.now(), &Record { title, ..Record::default() })?;
                let reference = match self.editor.create(&draft).await {
                    Ok(reference) => reference,
                    Err(WriteError::Unknown(TrackerError::Cancelled)) => {
                        return Err(TrackerError::Cancelled.into());
                    }
                    Err(WriteError::Unknown(_)) => return Ok(Err(Went::Unknown)),
                    Err(error) => {
                        self.store.refuse(key)?;
                        return self.refused(error).map(Err);
                    }
                };
                match self.look(&reference).await? {
                    Some(item) => item,
                    None => return Ok(Err(Went::Unknown)),
                }
            }
        };
        let group = Group { reference: item.reference().to_owned(), url: item.url.clone() };
        let link = Link { reference: group.reference.clone(), url: group.url.clone(), ..nameless(&item.key) };
        self.store.set(key, link)?;
        self.items.insert(item.key.clone(), item);
        Ok(Ok(Some(group)))
    }

    fn feature_title(&mut self, feature: &str) -> Result<String, Ended> {
        let text = self.docs.read(&format!("{feature}/FEATURE.md"))?.unwrap_or_default();
        let title = Authored::parse(&text).map(|parsed| parsed.record().title.clone()).unwrap_or_default();
        let id = feature.rsplit('/').next().unwrap_or(feature);
        Ok(if title.is_empty() { id.to_owned() } else { title })
    }

    /// Writes the link to its group into a feature's file.
    fn link_feature(&mut self, feature: &str, group: &Group) -> Result<(), Ended> {
        let path = format!("{feature}/FEATURE.md");
        let Some(text) = self.docs.read(&path)? else { return Ok(()) };
        let provider = self.profile.source.platform.word();
        let link = serde_json::json!({
            "type": if provider == "github" { "milestone" } else if provider == "jira" { "epic" } else { "feature" },
            "id": number_or_text(&group.reference),
            "url": group.url,
        });
        let linked = Authored::parse(&text).and_then(|parsed| {
            parsed.linked(&["external_tools"], provider, link.as_object().expect("it was made as one"))
        });
        match linked {
            Ok(linked) if linked != text => drop(self.docs.write(&path, Some(&text), &linked)?),
            Ok(_) => {}
            Err(error) => self.run.log(&format!("{path} is not linked: {error}")),
        }
        Ok(())
    }

    /// Makes the item of a story: announced, sent once, linked.
    async fn create(&mut self, key: &str) -> Result<Went, Ended> {
        let Some(story) = self.fresh(key)? else { return Ok(Went::Done) };
        let group = match self.group_of(&story.feature).await? {
            Ok(group) => group,
            Err(Went::Unknown) => {
                return Ok(Went::Failed(
                    "its feature may have been made or not; the next sync finds out".into(),
                ));
            }
            // Its stories do without, and say so.
            Err(Went::Failed(error)) => {
                self.run.log(&format!("{} has no group there: {error}", story.feature));
                self.groups.insert(story.feature.clone(), None);
                None
            }
            Err(went) => return Ok(went),
        };
        let draft = self.dialect().draft(key, &story.record, group);
        self.pace(Write::Create).await?;
        self.store.intend(key, self.run.now(), &story.record)?;
        match self.editor.create(&draft).await {
            Ok(reference) => self.born(key, &reference).await,
            // Who kills a job does not wait; the next run finds out.
            Err(WriteError::Unknown(TrackerError::Cancelled)) => Err(TrackerError::Cancelled.into()),
            Err(WriteError::Unknown(error)) => {
                self.run.log(&format!("{key}: {error}; looking for it later"));
                Ok(Went::Unknown)
            }
            Err(error) => {
                self.store.refuse(key)?;
                self.refused(error)
            }
        }
    }

    /// An item has been made: what it is made from is known, and what it says is read.
    async fn born(&mut self, key: &str, reference: &str) -> Result<Went, Ended> {
        let Some(item) = self.look(reference).await? else { return Ok(Went::Unknown) };
        self.adopt(key, item).await
    }

    /// Takes an item that was made for a story as the story's.
    async fn adopt(&mut self, key: &str, item: Item) -> Result<Went, Ended> {
        let born = self.store.intent(key).map(|intent| intent.record.clone());
        let path = self.stories.get(key).map(|story| story.path.clone()).unwrap_or_default();
        let (remote, reference, url) = (item.key.clone(), item.reference().to_owned(), item.url.clone());
        let link = Link { remote, reference, url, base: None, born, orphaned: false, imported: false, path };
        self.store.set(key, link)?;
        let item_key = item.key.clone();
        self.items.insert(item_key.clone(), item);
        self.sync_pair(key, &item_key, Verb::Create).await
    }

    /// Looks for what may have been made, and makes it if it was not.
    async fn recheck(&mut self, action: &Action) -> Result<Went, Ended> {
        let key = &action.story;
        let (intent_key, marked_by) = match action.verb {
            Verb::Group => (group_key(key), key.clone()),
            _ => (key.clone(), key.clone()),
        };
        let Some(intent) = self.store.intent(&intent_key).cloned() else {
            return self.act_again(action).await;
        };
        self.wait_for_index(intent.at).await?;
        let marker = dialect::marker(&marked_by);
        let mut found = self.editor.marked(&marker, intent.at).await?;
        found.sort_by_key(|item| (item.created, item.reference().to_owned()));
        match found.into_iter().find(|item| !self.store.is_dropped(&item.key)) {
            Some(item) if action.verb != Verb::Group => self.adopt(key, item).await,
            Some(item) => {
                self.items.insert(item.key.clone(), item);
                self.act_again(action).await
            }
            None => {
                self.store.refuse(&intent_key)?;
                self.act_again(action).await
            }
        }
    }

    async fn act_again(&mut self, action: &Action) -> Result<Went, Ended> {
        match action.verb {
            Verb::Group => Ok(self.group_of(&action.story).await?.map_or_else(|went| went, |_| Went::Done)),
            _ => self.create(&action.story).await,
        }
    }

    /// Until what was made is found by its marker.
    async fn wait_for_index(&self, made: Millis) -> Result<(), Ended> {
        let lag = self.profile.pace(self.editor.pace()).lag;
        let now = self.run.now();
        // A clock that was ahead makes nobody wait for it.
        Ok(self.run.sleep_until((made + lag).min(now + lag)).await?)
    }

    /// A story as its file stands at this moment.
    fn fresh(&mut self, key: &str) -> Result<Option<Story>, Ended> {
        let Some(path) = self.stories.get(key).map(|story| story.path.clone()) else { return Ok(None) };
        let Some(text) = self.docs.read(&path)? else { return Ok(None) };
        match self.read_story(&path, &text) {
            Ok(Some(story)) if story.key == *key => {
                self.stories.insert(key.to_owned(), story.clone());
                Ok(Some(story))
            }
            _ => Ok(None),
        }
    }

    async fn sync_authored(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.clone() else { return Ok(Went::Done) };
        self.sync_pair(&action.story, &item, action.verb).await
    }

    /// Decides over a pair with what both sides say now, and writes it.
    async fn sync_pair(&mut self, key: &str, item_key: &str, verb: Verb) -> Result<Went, Ended> {
        let mut is_fresh = verb == Verb::Create;
        for _ in 0..MOST_TRIES {
            let Some(story) = self.fresh(key)? else {
                return Ok(Went::Failed("its file has gone or cannot be read any more".into()));
            };
            let Some(item) = self.items.get(item_key).cloned() else { return Ok(Went::Done) };
            let decision = self.decide(&story, &item)?;
            let (writes, pushes) = match &decision {
                Decision::Write(out) => {
                    (!out.pulled.is_empty() || !out.pushed.is_empty(), !out.pushed.is_empty())
                }
                Decision::Conflict(_) | Decision::Refused(_) => (true, false),
            };
            // Waited for before the last look, so that little time is left for somebody else between it and the write.
            if pushes {
                self.pace(Write::Change).await?;
            }
            if writes && !is_fresh {
                // A listing may be behind, and minutes old.
                let Some(now) = self.look(item.reference()).await? else {
                    return Ok(Went::Failed(format!("{} is gone in the tracker", item.shown)));
                };
                is_fresh = true;
                let dialect = self.dialect();
                let changed =
                    dialect.record(&now, Origin::Authored) != dialect.record(&item, Origin::Authored);
                self.items.insert(item_key.to_owned(), now);
                if changed {
                    continue;
                }
            }
            let item = self.items.get(item_key).cloned().unwrap_or(item);
            let out = match decision {
                Decision::Write(out) => *out,
                Decision::Refused(error) => return Ok(Went::Failed(error)),
                Decision::Conflict(contradiction) => return self.show(&story, &item, &contradiction),
            };
            match self.write_pair(&story, &item, out).await? {
                Written::Done => {
                    self.drop_conflict(&beside(&story.path))?;
                    return Ok(Went::Done);
                }
                Written::Again => is_fresh = false,
                Written::Failed(went) => return Ok(went),
            }
        }
        Ok(Went::Failed("it was changed at the same time, again and again".into()))
    }

    /// What is to become of a pair.
    fn decide(&mut self, story: &Story, item: &Item) -> Result<Decision, Ended> {
        let dialect = self.dialect();
        let remote = dialect.record(item, Origin::Authored);
        let base = plan::base_of(self.store, &dialect, story, item, &remote);
        let rules = self.profile.rules(Origin::Authored);
        let decide = |local: &Record, rules: &Rules| {
            let mut out = plan::decide_authored(&dialect, base.as_ref(), local, &remote, rules);
            plan::retitle(self.store, &story.key, item, rules, &mut out);
            out
        };
        let fields = decide(&story.record, &Rules { policy: Policy::Manual, ..rules.clone() }).conflicts;
        let contradiction = |fields: Vec<Field>, why| {
            let (base, remote) = (base.clone(), remote.clone());
            Decision::Conflict(Box::new(Contradiction { fields, base, remote, why }))
        };
        if fields.is_empty() || !self.resolve {
            let out = decide(&story.record, &rules);
            return Ok(match out.conflicts.is_empty() {
                true => Decision::Write(Box::new(out)),
                false => contradiction(out.conflicts, ""),
            });
        }
        // A decision is one over what was shown.
        let kept = self.docs.read(&beside(&story.path))?.unwrap_or_default();
        let Some(seen) = Stamp::read(&kept) else {
            return Ok(contradiction(fields, "it was not shown yet, "));
        };
        let now = Stamp::of(&fields, &story.record, &remote);
        let on_conflict = self.profile.on_conflict;
        let is_seen = match on_conflict {
            OnConflict::Local => seen.remote == now.remote,
            OnConflict::Remote => seen.local == now.local,
            OnConflict::File | OnConflict::Manual => seen == now,
        };
        if !is_seen {
            return Ok(contradiction(fields, "it was changed again since it was shown, "));
        }
        let may = |allowed: &BTreeSet<Field>| fields.iter().all(|field| allowed.contains(field));
        if on_conflict != OnConflict::Remote && !may(&rules.push) {
            return Ok(Decision::Refused(
                "config.json or --direction does not let stories be written to the tracker".into(),
            ));
        }
        if on_conflict != OnConflict::Local && !may(&rules.pull) {
            return Ok(Decision::Refused(
                "config.json or --direction does not let the tracker change stories".into(),
            ));
        }
        if on_conflict != OnConflict::File {
            return Ok(Decision::Write(Box::new(decide(&story.record, &rules))));
        }
        let mut local = story.record.clone();
        if let Err(error) = conflict::decided(&kept, &fields, &mut local) {
            return Ok(Decision::Refused(error.to_string()));
        }
        local.status = self.profile.map.of_local(&local.status);
        let mut out = decide(&local, &Rules { policy: Policy::Local, ..rules });
        out.pulled.extend(fields.iter().filter(|field| !local.same(&story.record, **field)));
        Ok(Decision::Write(Box::new(out)))
    }

    /// Shows a contradiction beside its story. What a person has written there already stays.
    fn show(&mut self, story: &Story, item: &Item, contradiction: &Contradiction) -> Result<Went, Ended> {
        let Contradiction { fields, base, remote, why } = contradiction;
        let place = beside(&story.path);
        let kept = self.docs.read(&place)?;
        let now = Stamp::of(fields, &story.record, remote);
        if kept.as_deref().and_then(Stamp::read) != Some(now) {
            if let Some(kept) = kept.as_deref().filter(|kept| !conflict::is_untouched(kept)) {
                let stem = story.path.strip_suffix(".md").unwrap_or(&story.path);
                for number in 2..MOST_KEPT {
                    let aside = format!("{stem}-{number}.conflict.md");
                    if self.docs.read(&aside)?.is_none() {
                        self.docs.write(&aside, None, kept)?;
                        break;
                    }
                }
            }
            let text = conflict::text(&story.key, &item.shown, fields, base.as_ref(), &story.record, remote);
            self.docs.write(&place, kept.as_deref(), &text)?;
        }
        let what = plan::names(fields);
        Ok(Went::Failed(format!("conflict: {why}{what} changed here and in {}; see {place}", item.shown)))
    }

    async fn write_pair(&mut self, story: &Story, item: &Item, mut out: Outcome) -> Result<Written, Ended> {
        let key = story.key.as_str();
        let Some(text) = self.docs.read(&story.path)? else { return Ok(Written::Again) };
        if crate::specs::text::hash(&text) != story.print {
            // Somebody saved it since it was decided over.
            return Ok(Written::Again);
        }
        let failed = |error: authored::AuthoredError| Ok(Written::Failed(Went::Failed(error.to_string())));
        let parsed = match Authored::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => return failed(error),
        };
        let word = self.profile.map.local_word(&out.local.status, &parsed.status);
        let new = match parsed.with(&out.local, &out.pulled, &word) {
            Ok(new) => new,
            Err(error) => return failed(error),
        };
        let platform = self.profile.source.platform;
        let link = item_link(item);
        // SpecWeave looks for JIRA's and Azure DevOps' in another place.
        let places: &[&str] = match platform {
            crate::work::trackers::item::Platform::GitHub => &["external"],
            _ => &["external", "external_tools"],
        };
        let new = match Authored::parse(&new).and_then(|parsed| {
            parsed.linked(places, platform.word(), link.as_object().expect("it was made as one"))
        }) {
            Ok(new) => new,
            Err(error) => return failed(error),
        };
        if new != text && !self.docs.write(&story.path, Some(&text), &new)? {
            return Ok(Written::Again);
        }
        // What was written may say a little else than what was pulled: a line that would be a heading of the file.
        if let Ok(written) = Authored::parse(&new) {
            let mut record = written.record().clone();
            record.status = self.profile.map.of_local(&record.status);
            for field in out
                .pulled
                .iter()
                .filter(|field| out.base.local.same(&out.local, **field))
                .copied()
                .collect::<Vec<_>>()
            {
                out.base.local.take(field, &record);
            }
        }
        if !out.pushed.is_empty() {
            let change = self.dialect().change(key, item, &out.remote, &out.pushed, Origin::Authored);
            match self.editor.update(item, &change).await {
                Ok(state) => self.took_state(&mut out, state),
                Err(WriteError::Changed) => {
                    self.reread(item).await?;
                    return Ok(Written::Again);
                }
                // A change that got no answer is looked at, and made again where it was not made.
                Err(WriteError::Unknown(
                    error @ (TrackerError::Network(_) | TrackerError::Transient { .. }),
                )) => {
                    self.run.log(&format!("{key}: {error}; looking again"));
                    self.reread(item).await?;
                    return Ok(Written::Again);
                }
                Err(error) => return self.refused(error).map(Written::Failed),
            }
        }
        // Told before it counts as done: a daemon that dies in between comes by here or through `settle`.
        self.note(key, item, &parsed, &out.base.remote.status)?;
        self.store.set(key, link_to(item, &story.path, out.base.clone()))?;
        Ok(Written::Done)
    }

    /// Tells the increments of a story about its item.
    fn note(&mut self, key: &str, item: &Item, parsed: &Authored, status: &str) -> Result<(), Ended> {
        let is_closed = matches!(status, "completed" | "cancelled");
        let feature = key.rsplit_once('/').map_or("", |(feature, _)| feature);
        let note = Note {
            story: key.rsplit('/').next().unwrap_or(key).to_owned(),
            reference: item.reference().to_owned(),
            url: item.url.clone(),
            status: if is_closed { "closed" } else { "open" }.to_owned(),
            group: self.known_group(feature),
        };
        for increment in parsed.increments() {
            self.docs.note(&increment, &note)?;
        }
        Ok(())
    }

    fn known_group(&self, feature: &str) -> Option<Group> {
        let link = self.store.link(&group_key(feature))?;
        Some(Group { reference: link.reference.clone(), url: link.url.clone() })
    }

    /// The state that an item went to may have another meaning than the one that was asked for.
    fn took_state(&self, out: &mut Outcome, state: Option<(Category, String)>) {
        if let Some((category, state)) = state {
            out.base.remote.status =
                self.profile.map.of_remote(super::status::Told { category, state: &state });
        }
    }

    async fn reread(&mut self, item: &Item) -> Result<(), Ended> {
        if let Some(now) = self.look(item.reference()).await? {
            self.items.insert(item.key.clone(), now);
        }
        Ok(())
    }

    fn drop_conflict(&mut self, beside: &str) -> Result<(), Ended> {
        match self.docs.read(beside)? {
            // One that an import wrote, or that a person wrote in, is not ours to remove.
            Some(text) if Stamp::read(&text).is_some() && (self.resolve || conflict::is_untouched(&text)) => {
                Ok(self.docs.remove(beside)?)
            }
            _ => Ok(()),
        }
    }

    fn orphan(&mut self, action: &Action) -> Result<Went, Ended> {
        let story = self.stories.get(&action.story);
        let reference = story.and_then(|story| story.reference.clone());
        let known = self.store.link(&action.story).cloned();
        let remote = reference.clone().unwrap_or_default();
        let mut link = known.unwrap_or_else(|| nameless(&format!("gone:{remote}")));
        link.orphaned = true;
        link.reference = reference.unwrap_or(link.reference);
        self.store.set(&action.story, link)?;
        Ok(Went::Failed(format!(
            "{}; take the link out of its front matter to have a new item made",
            action.reason
        )))
    }

    async fn close(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        self.pace(Write::Change).await?;
        let Some(now) = self.look(item.reference()).await? else {
            self.store.forget(&action.story)?;
            return Ok(Went::Done);
        };
        let dialect = self.dialect();
        // Edit beats delete, also in the last moment.
        if dialect.record(&now, Origin::Authored) != dialect.record(&item, Origin::Authored) {
            return Ok(Went::Failed(format!("{} was changed there at the same time", item.shown)));
        }
        if dialect::told(&now).category as u8 <= Category::InProgress as u8 {
            let state = Some(State { category: Category::Cancelled, name: None });
            if let Err(error) = self.editor.update(&now, &Change { state, ..Change::default() }).await {
                return self.refused(error);
            }
        }
        self.store.forget(&action.story)?;
        Ok(Went::Done)
    }

    /// Closes an item that was made twice; it says which one counts.
    async fn heal(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(twin) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        let story = action.story.split(' ').next().unwrap_or_default();
        let kept = self.store.link(story).map(|link| link.reference.clone()).unwrap_or_default();
        let kept = if kept.parse::<u64>().is_ok() { format!("#{kept}") } else { kept };
        self.pace(Write::Change).await?;
        let Some(now) = self.look(twin.reference()).await? else { return Ok(Went::Done) };
        let change = Change {
            body: (!now.body.starts_with("Duplicate of "))
                .then(|| format!("Duplicate of {kept}.\n\n{}", now.body)),
            state: Some(State { category: Category::Cancelled, name: None }),
            ..Change::default()
        };
        match self.editor.update(&now, &change).await {
            Ok(_) => Ok(Went::Done),
            Err(error) => self.refused(error),
        }
    }

    /// Writes a story's file again whose item has changed since it went.
    fn restore(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(item) = action.item.as_ref().and_then(|key| self.items.get(key)).cloned() else {
            return Ok(Went::Done);
        };
        let (folder, id) = action.story.rsplit_once('/').unwrap_or(("", &action.story));
        let feature = folder.rsplit('/').next().unwrap_or(folder);
        let record = self.dialect().record(&item, Origin::Authored);
        let word = self.profile.map.local_word(&record.status, "");
        let path = match action.path.as_str() {
            "" => {
                format!("{folder}/{}-{}.md", id.to_lowercase(), crate::specs::text::slug(&record.title, 50))
            }
            path => path.to_owned(),
        };
        let text = authored::restored(id, feature, &record, &word);
        let linked = Authored::parse(&text).and_then(|parsed| {
            let link = item_link(&item);
            parsed.linked(
                &["external"],
                self.profile.source.platform.word(),
                link.as_object().expect("it was made as one"),
            )
        });
        let text = linked.unwrap_or(text);
        if self.docs.read(&path)?.is_some() || !self.docs.write(&path, None, &text)? {
            return Ok(Went::Failed(format!("{path} is another file by now")));
        }
        let base = match self.read_story(&path, &text) {
            Ok(Some(story)) => super::merge::Base { local: story.record, remote: record },
            _ => return Ok(Went::Failed(format!("{path} cannot be read again"))),
        };
        self.store.set(&action.story, link_to(&item, &path, base))?;
        Ok(Went::Done)
    }

    /// Whether an action only brings what the tracker says into its file.
    fn is_plain_import(&self, action: &Action) -> bool {
        action.origin == Origin::Imported
            && matches!(action.verb, Verb::Import | Verb::Pull)
            && !action.fields.contains(&Field::Boxes)
            && self.store.link(&action.story).is_none()
    }

    async fn import(&mut self, actions: Vec<Action>) -> Result<(), Ended> {
        let items: Vec<Item> =
            actions.iter().filter_map(|action| self.items.get(action.item.as_ref()?)).cloned().collect();
        let failed = self.docs.import(&items, &self.items, None)?;
        let (mut done, mut wrong) = (Vec::new(), Vec::new());
        for action in &actions {
            match action.item.as_ref().and_then(|key| failed.get(key)) {
                None => done.push(action.story.clone()),
                Some(error) => wrong.push((action, error.clone())),
            }
        }
        self.run.log(&format!("[import] {} items", done.len()));
        self.run.done(&done).await?;
        for (action, error) in wrong {
            self.tell(action, Went::Failed(error)).await?;
        }
        Ok(())
    }

    /// A story that came from the tracker: what may be changed from here is pushed first, then it is imported as it is.
    async fn sync_imported(&mut self, action: &Action) -> Result<Went, Ended> {
        let Some(key) = action.item.clone() else { return Ok(Went::Done) };
        let rules = self.profile.rules(Origin::Imported);
        let dialect = self.dialect();
        let mut is_fresh = false;
        for _ in 0..MOST_TRIES {
            let Some(item) = self.items.get(&key).cloned() else { return Ok(Went::Done) };
            let Some(here) = self.docs.imported(&item)? else {
                return self.import_one(&item, None).map(|failed| failed.map_or(Went::Done, Went::Failed));
            };
            let link = self.store.link(&action.story).cloned();
            let (mut out, mut base) = plan::decide_imported(&dialect, link.as_ref(), &here, &item, &rules);
            let conflicts = self.contradictions_of_imported(&dialect, link.as_ref(), &here, &item);
            let policy = self.profile.on_conflict;
            if policy == OnConflict::File {
                let error = "an imported story has nothing to take from the conflict's file: edit the story, then --use local";
                return Ok(Went::Failed(error.into()));
            }
            if !conflicts.is_empty() && policy == OnConflict::Manual {
                // The base stays what it was, so that it is one until somebody decides.
                self.store.set(&action.story, Link { imported: true, ..link_to(&item, &here.path, base) })?;
                let what = plan::names(&conflicts);
                let told = self.import_one(&item, None)?;
                return Ok(Went::Failed(told.unwrap_or_else(|| {
                    format!(
                        "conflict: {what} changed here and in {}: specweave-jobs resolve {} --use local|remote",
                        item.shown, action.story
                    )
                })));
            }
            let mut wins = None;
            if policy != OnConflict::Manual && (!conflicts.is_empty() || here.waits.is_some()) {
                let (local, remote) = (out.local.clone(), dialect.record(&item, Origin::Imported));
                let fields = if conflicts.is_empty() { local.differing(&remote) } else { conflicts };
                let from_tracker = policy == OnConflict::Remote;
                for field in &fields {
                    // As if only the side that is right had changed.
                    let here = dialect::imported_here(dialect.map, &here.fields, &remote, &here.text);
                    let other = plan::nothing();
                    base.local.take(*field, if from_tracker { &here } else { &other });
                    base.remote.take(*field, if from_tracker { &other } else { &remote });
                }
                let decided_over = Link { imported: true, ..link_to(&item, &here.path, base.clone()) };
                out = plan::decide_imported(&dialect, Some(&decided_over), &here, &item, &rules).0;
                wins = Some(Wins(if from_tracker { in_the_file(&fields) } else { Vec::new() }));
            }
            if !out.pushed.is_empty() {
                if wins.is_none()
                    && let Some(waits) = &here.waits
                {
                    return Ok(Went::Failed(format!(
                        "settle {waits} first: take over what you want of it, then remove it"
                    )));
                }
                self.pace(Write::Change).await?;
                if !is_fresh {
                    let Some(now) = self.look(item.reference()).await? else {
                        return Ok(Went::Failed(format!("{} is gone in the tracker", item.shown)));
                    };
                    is_fresh = true;
                    let changed =
                        dialect.record(&now, Origin::Imported) != dialect.record(&item, Origin::Imported);
                    self.items.insert(key.clone(), now);
                    if changed {
                        continue;
                    }
                }
                let item = self.items.get(&key).cloned().unwrap_or(item.clone());
                let change = dialect.change(&action.story, &item, &out.remote, &out.pushed, Origin::Imported);
                match self.editor.update(&item, &change).await {
                    Ok(state) => self.took_state(&mut out, state),
                    Err(WriteError::Changed) => {
                        is_fresh = false;
                        self.reread(&item).await?;
                        continue;
                    }
                    Err(error) => return self.refused(error),
                }
                self.reread(&item).await?;
            }
            if out.pulled.contains(&Field::Boxes) {
                let (text, _) = super::body::marked(&here.text, &out.local.boxes);
                if text != here.text && !self.docs.write(&here.path, Some(&here.text), &text)? {
                    continue;
                }
            }
            let item = self.items.get(&key).cloned().unwrap_or(item);
            if self.profile.may_import()
                && let Some(error) = self.import_one(&item, wins.clone())?
            {
                return Ok(Went::Failed(error));
            }
            // What was imported is what both sides say now.
            if let Some(after) = self.docs.imported(&item)? {
                let local = dialect::imported_here(dialect.map, &after.fields, &out.remote, &after.text);
                for field in out
                    .pulled
                    .iter()
                    .filter(|field| out.base.local.same(&out.local, **field))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    out.base.local.take(field, &local);
                }
            }
            self.store.set(&action.story, Link { imported: true, ..link_to(&item, &here.path, out.base) })?;
            return Ok(Went::Done);
        }
        Ok(Went::Failed("it was changed at the same time, again and again".into()))
    }

    fn contradictions_of_imported(
        &self,
        dialect: &Dialect,
        link: Option<&Link>,
        here: &Imported,
        item: &Item,
    ) -> Vec<Field> {
        let rules = Rules { policy: Policy::Manual, ..self.profile.rules(Origin::Imported) };
        plan::decide_imported(dialect, link, here, item, &rules).0.conflicts
    }

    fn import_one(&mut self, item: &Item, wins: Option<Wins>) -> Result<Option<String>, Ended> {
        let failed = self.docs.import(std::slice::from_ref(item), &self.items, wins)?;
        Ok(failed.into_values().next())
    }
}

/// The fields as the file of an imported story has them.
fn in_the_file(fields: &[Field]) -> Vec<story::Field> {
    let in_file = |field: &Field| match field {
        Field::Title => vec![story::Field::Title],
        Field::Status => vec![story::Field::Status],
        Field::Priority => vec![story::Field::Priority],
        Field::Description => vec![story::Field::Description, story::Field::Criteria],
        Field::Labels | Field::Boxes => Vec::new(),
    };
    fields.iter().flat_map(in_file).collect()
}

/// What is to become of a pair.
enum Decision {
    Write(Box<Outcome>),
    Conflict(Box<Contradiction>),
    /// It may not be done.
    Refused(String),
}

/// What a person has to decide over.
struct Contradiction {
    fields: Vec<Field>,
    base: Option<super::merge::Base>,
    remote: Record,
    why: &'static str,
}

/// So many files that a person wrote in may wait beside a story.
const MOST_KEPT: u32 = 100;

/// How the writing of a pair went.
enum Written {
    Done,
    /// Somebody changed a side in the meantime.
    Again,
    Failed(Went),
}

/// Writes that are ahead: new items and changes.
fn counted<'b>(actions: impl Iterator<Item = &'b Action>) -> (u64, u64) {
    let (mut creates, mut changes) = (0, 0);
    for action in actions.filter(|action| action.verb.writes_there()) {
        *if action.verb.creates() { &mut creates } else { &mut changes } += 1;
    }
    (creates, changes)
}

/// What a feature's group is remembered by: no story is called so.
fn group_key(feature: &str) -> String {
    format!("{feature}/*")
}

fn nameless(remote: &str) -> Link {
    Link {
        remote: remote.to_owned(),
        reference: String::new(),
        url: String::new(),
        base: None,
        born: None,
        orphaned: false,
        imported: false,
        path: String::new(),
    }
}

fn link_to(item: &Item, path: &str, base: super::merge::Base) -> Link {
    Link {
        reference: item.reference().to_owned(),
        url: item.url.clone(),
        base: Some(base),
        path: path.to_owned(),
        ..nameless(&item.key)
    }
}

/// What a front matter says of an item.
fn item_link(item: &Item) -> serde_json::Value {
    use crate::work::trackers::item::Platform;
    let name = match item.platform {
        Platform::GitHub => "issue",
        Platform::Jira => "key",
        Platform::Ado => "id",
    };
    serde_json::json!({name: number_or_text(item.reference()), "url": item.url})
}

fn number_or_text(reference: &str) -> serde_json::Value {
    reference.parse::<u64>().map_or_else(|_| reference.into(), Into::into)
}

/// Where the conflict of a story is shown.
pub fn beside(path: &str) -> String {
    format!("{}.conflict.md", path.strip_suffix(".md").unwrap_or(path))
}
