//! Carries a plan out: reads both sides, decides anew over each story just before it is written, and announces what is
//! made before it is sent. It talks to the tracker, the files, its memory and its job through traits, so that whole
//! histories of failures can be tried on it.

mod endings;
mod imports;
mod increments;
mod making;
mod pairs;
mod reading;

use crate::docs::authored::Authored;
use crate::docs::increment::Sources;
use crate::docs::writer::{Kept, Wins};
use crate::job::PlannedItem;
use crate::model::conflict_file;
use crate::model::failure::{Failure, Reason};
use crate::model::item::{Item, number_or_text};
use crate::model::merge::{Base, Policy, Rules};
use crate::trackers::TrackerError;
use crate::trackers::edits::{Editor, Group, WriteError};
use crate::work::Stop;
use crate::work::sync::dialect::{Dialect, Origin};
use crate::work::sync::pace::{Paced, Write};
use crate::work::sync::plan::{self, Action, Foreseen, Guard, Plan, Story, Terms, Verb, View};
use crate::work::sync::profile::Profile;
use crate::work::sync::store::{Link, Store};
use specweave_jobs::clock::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The living docs as a sync sees them. Everything here blocks.
pub trait Docs: Send + Sync {
    /// Files of stories with front matter, and those that cannot be read.
    fn authored(&mut self) -> io::Result<Vec<StoryFile>>;
    fn read(&mut self, path: &str) -> io::Result<Option<String>>;
    /// Writes a file unless it is another by now; whether it was written.
    fn write(&mut self, path: &str, expected: Option<&str>, text: &str) -> io::Result<bool>;
    fn remove(&mut self, path: &str) -> io::Result<()>;
    /// Writes what an increment is to know of its story's item.
    fn note(&mut self, increment: &str, note: &Note) -> io::Result<()>;
    /// The files of an increment from which SpecWeave generates its stories; empty where they cannot be read.
    fn sources(&mut self, increment: &str) -> io::Result<Sources>;
    /// Writes those files, each unless it is another by now.
    fn write_sources(&mut self, increment: &str, expected: &Sources, new: &Sources) -> io::Result<()>;
    /// The file of an item that was imported.
    fn imported(&mut self, item: &Item) -> io::Result<Option<Kept>>;
    /// Notes that an item and its file say the same now, where they do.
    fn note_met(&mut self, item: &Item) -> io::Result<()>;
    /// What an import would make of these items.
    fn foresee(&mut self, items: &[&Item]) -> io::Result<BTreeMap<String, Foreseen>>;
    /// Imports items; gives what failed, by item.
    fn import(
        &mut self,
        items: &[Item],
        all: &BTreeMap<String, Item>,
        wins: Option<Wins>,
    ) -> io::Result<BTreeMap<String, Failure>>;
}

/// The path of a file, and its text or why there is none.
pub type StoryFile = (String, Result<String, String>);

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
    async fn done(&self, names: &[String]) -> Result<(), Stop>;
    async fn failed(&self, name: &str, failure: Failure) -> Result<(), Stop>;
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
    Failed(Failure),
    /// Whether it came about is not known yet.
    Unknown,
}

impl Went {
    fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(reason, message))
    }
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
    imported: BTreeMap<String, Kept>,
    foreseen: BTreeMap<String, Foreseen>,
    gone: BTreeSet<String>,
    dead: BTreeSet<String>,
    moved: BTreeMap<String, String>,
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
            moved: BTreeMap::new(),
            groups: BTreeMap::new(),
            left: (0, 0),
        }
    }

    fn dialect(&self) -> Dialect<'a> {
        Dialect { platform: self.profile.source.platform, map: &self.profile.map, tracker: self.editor }
    }

    /// Both sides as they were read, with the features whose group is linked and the stories that
    /// could not be read.
    fn view<'v>(&'v self, groups: &'v BTreeSet<String>, unread: &'v BTreeSet<String>) -> View<'v> {
        View {
            stories: &self.stories,
            broken: &self.broken,
            items: &self.items,
            gone: &self.gone,
            dead: &self.dead,
            moved: &self.moved,
            imported: &self.imported,
            foreseen: &self.foreseen,
            store: self.store,
            groups,
            unread,
        }
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
        let view = self.view(&groups, &unread);
        let profile = self.profile;
        // What a person has decided over is looked at as what it is.
        let rules = |origin| {
            if self.resolve {
                Rules { policy: Policy::Manual, ..profile.rules(origin) }
            } else {
                profile.rules(origin)
            }
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

    /// Carries out what is to be done of a plan: `names` are the items that a job has still to deal with.
    pub async fn carry_out(&mut self, plan: Plan, names: &[String]) -> Result<(), Ended> {
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        self.settle(&plan)?;
        let mut actions: Vec<Action> =
            plan.actions.into_iter().filter(|action| wanted.contains(action.name().as_str())).collect();
        self.left = counted(actions.iter());
        self.tell_ahead();
        // What there is nothing to do about any more was done before.
        let busy: BTreeSet<String> = actions.iter().map(Action::name).collect();
        let idle: Vec<String> = names.iter().filter(|name| !busy.contains(*name)).cloned().collect();
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
            let (Some(item), Some(story)) = (self.items.get(item).cloned(), self.stories.get(key).cloned())
            else {
                continue;
            };
            let path = story.path.clone();
            let text = self.docs.read(&path)?.unwrap_or_default();
            let mut generated = None;
            if let Ok(parsed) = Authored::parse(&text) {
                self.note(key, &item, &parsed, &base.remote.status)?;
                generated = self.tell_increments(&story, &parsed, &base.local)?;
            }
            self.drop_conflict(&conflict_file::beside(&path, 1))?;
            links.push((key.clone(), Link { generated, ..link_to(&item, &path, Some(base.clone())) }));
        }
        Ok(self.store.set_all(links)?)
    }

    async fn tell(&mut self, action: &Action, went: Went) -> Result<(), Ended> {
        match went {
            Went::Done => {
                self.run.log(&format!("[{}] {} {}", action.verb.word(), action.story, action.reason));
                Ok(self.run.done(&[action.name()]).await?)
            }
            Went::Failed(failure) => {
                self.run.log(&format!("FAILED: {} - {failure}", action.name()));
                Ok(self.run.failed(&action.name(), self.located(failure, action)).await?)
            }
            Went::Unknown => {
                let told = "the tracker did not answer, and what became of it is not known yet";
                let failure = self.located(Failure::new(Reason::Network, told), action);
                Ok(self.run.failed(&action.name(), failure).await?)
            }
        }
    }

    /// Says where a person can look, as far as the failure does not say it itself.
    fn located(&self, mut failure: Failure, action: &Action) -> Failure {
        let item = action.item.as_ref().and_then(|key| self.items.get(key));
        if let (true, Some(item)) = (failure.url.is_empty(), item) {
            failure.url.clone_from(&item.url);
        }
        if failure.path.is_empty() {
            failure.path = action.file();
        }
        failure
    }

    /// An action as an item of its job.
    pub fn planned(&self, action: &Action) -> PlannedItem {
        let item = action.item.as_ref().and_then(|key| self.items.get(key));
        PlannedItem {
            name: action.name(),
            action: action.verb.in_contract(),
            target: action.file(),
            url: item.map(|item| item.url.clone()).unwrap_or_default(),
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
            Verb::Broken => Ok(Went::failed(Reason::InvalidInput, &action.reason)),
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

    /// Carries out a write that [`Self::pace`] has let go. The next one counts its gap from the answer: what is looked up
    /// between the two, and the way there, take now more time and now less.
    async fn written<T>(&mut self, writing: impl Future<Output = T>) -> T {
        let answer = writing.await;
        self.paced.answered(self.run.now());
        answer
    }

    /// What the failure of a write means, when it is not the story's own.
    fn refused(&self, error: WriteError) -> Result<Went, Ended> {
        match error {
            WriteError::Unknown(error) => Err(error.into()),
            WriteError::Changed => {
                Ok(Went::failed(Reason::Remote, "it was changed there at the same time, again and again"))
            }
            WriteError::Refused(
                error @ (TrackerError::Auth(_)
                | TrackerError::Limited(_)
                | TrackerError::Cancelled
                | TrackerError::Network(_)
                | TrackerError::Transient { .. }),
            ) => Err(error.into()),
            WriteError::Refused(error) => Ok(Went::Failed(error.failure())),
        }
    }
}

/// Writes that are ahead: new items and changes.
fn counted<'b>(actions: impl Iterator<Item = &'b Action>) -> (u64, u64) {
    let (mut creates, mut changes) = (0, 0);
    for action in actions.filter(|action| action.verb.writes_there()) {
        *if action.verb.creates() { &mut creates } else { &mut changes } += 1;
    }
    (creates, changes)
}

fn link_to(item: &Item, path: &str, base: Option<Base>) -> Link {
    Link {
        reference: item.reference().to_owned(),
        url: item.url.clone(),
        base,
        path: path.to_owned(),
        ..Link::to(&item.key)
    }
}

/// What a front matter says of an item.
fn item_link(item: &Item) -> serde_json::Value {
    let name = item.platform.link_name();
    serde_json::json!({name: number_or_text(item.reference()), "url": item.url})
}
