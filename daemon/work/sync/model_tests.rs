//! Whole histories of both sides, made up and replayed against the engine itself: edits, new and deleted stories and
//! items, syncs of every direction and policy, deaths at any step, lost requests and replies, limits, an index that is
//! behind, clocks that are apart, a tracker that gives texts back in other words.

use super::dialect::{Dialect, Origin};
use super::engine::{Docs, Ended, Engine, Note, Run, StoryFile};
use super::plan::{Action, Foreseen, Verb};
use super::profile::Profile;
use super::status::StatusMap;
use super::store::{self, Store};
use crate::docs::authored::Authored;
use crate::docs::increment::Sources;
use crate::docs::writer::{Kept, Wins};
use crate::job::order::{Direction, OnConflict};
use crate::model::failure::Failure;
use crate::model::issue_text;
use crate::model::item::{Item, Kind, Platform, Status};
use crate::model::record::{Field, Record};
use crate::model::story_key::marker;
use crate::trackers::edits::{Category, Change, Draft, Editor, Group, Updated, WriteError, WritePace};
use crate::trackers::server::Server;
use crate::trackers::{Page, Position, Source, TrackerError, Window};
use crate::work::Stop;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use specweave_jobs::clock::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a write to the tracker meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    LosesRequest,
    LosesReply,
    Limit,
}

#[derive(Clone, Debug)]
struct Issue {
    number: u64,
    title: String,
    body: String,
    closed: Option<&'static str>,
    labels: Vec<String>,
    created: Millis,
    updated: Millis,
    /// No two versions have the same.
    version: u64,
    deleted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The tracker gives texts back in other words.
    pub lossy: bool,
    /// After so long, what was made is in its index.
    pub lag: Millis,
    /// By so much its clock is ahead.
    pub skew: Millis,
    pub delete: bool,
}

/// Everything outside of the daemon.
struct World {
    settings: Settings,
    now: Millis,
    issues: BTreeMap<u64, Issue>,
    files: BTreeMap<String, String>,
    imported: BTreeMap<String, Millis>,
    log: Vec<Vec<u8>>,
    group: Option<String>,
    /// Steps until the daemon dies.
    dies_in: Option<u32>,
    dead: bool,
    faults: Vec<Fault>,
    /// Requests that wrote.
    writes: u64,
    /// Items that were made, by marker.
    made: BTreeMap<String, u64>,
    closed_by_sync: BTreeSet<u64>,
    done: BTreeSet<String>,
    failed: BTreeMap<String, String>,
    /// After so many steps, this story is edited, here or there, with this word.
    meanwhile: Option<(u32, u8, bool, String)>,
    edited_meanwhile: Vec<(u8, String)>,
    /// Versions of items so far.
    versions: u64,
}

#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

impl Sim {
    pub fn new(settings: Settings) -> Self {
        let world = World {
            settings,
            now: 1_000_000,
            issues: BTreeMap::new(),
            files: BTreeMap::new(),
            imported: BTreeMap::new(),
            log: Vec::new(),
            group: None,
            dies_in: None,
            dead: false,
            faults: Vec::new(),
            writes: 0,
            made: BTreeMap::new(),
            closed_by_sync: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeMap::new(),
            meanwhile: None,
            edited_meanwhile: Vec::new(),
            versions: 0,
        };
        Self(Arc::new(Mutex::new(world)))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Somebody reports something in the tracker, or writes it anew.
    pub fn report(&self, number: u64, title: &str, body: &str) {
        let mut world = self.world();
        world.now += 10;
        world.versions += 1;
        let (at, version) = (world.now, world.versions);
        let new = Issue {
            number,
            title: String::new(),
            body: String::new(),
            closed: None,
            labels: Vec::new(),
            created: at,
            updated: at,
            version,
            deleted: false,
        };
        let issue = world.issues.entry(number).or_insert(new);
        (issue.title, issue.body) = (title.to_owned(), body.to_owned());
        (issue.updated, issue.version) = (at, version);
    }

    pub fn close_reported(&self, number: u64, done: bool) {
        let item = self.reported(number);
        self.world().issues.get_mut(&number).unwrap().closed = done.then_some("completed");
        self.report(number, &item.title, &item.body);
    }

    pub fn reported(&self, number: u64) -> Item {
        let world = self.world();
        world.item(&world.issues[&number])
    }

    pub fn is_closed(&self, number: u64) -> bool {
        self.world().issues[&number].closed.is_some()
    }

    pub fn failures(&self) -> BTreeMap<String, String> {
        self.world().failed.clone()
    }

    pub fn forget_failures(&self) {
        self.world().failed.clear();
    }

    /// A step at which the daemon may die; `None` once it is dead.
    fn step(&self) -> Option<MutexGuard<'_, World>> {
        let mut world = self.world();
        world.now += 10;
        if world.dead {
            return None;
        }
        world.edit_meanwhile();
        match world.dies_in.as_mut() {
            Some(0) => {
                world.dead = true;
                return None;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Some(world)
    }
}

impl World {
    /// A text as the tracker keeps it.
    fn kept(&self, text: &str) -> String {
        if self.settings.lossy { text.replace("\\~", "~").replace("~", "\\~") } else { text.to_owned() }
    }

    fn item(&self, issue: &Issue) -> Item {
        Item {
            key: format!("github:{}", issue.number),
            external_id: format!("github#acme/web#{}", issue.number),
            platform: Platform::GitHub,
            shown: format!("#{}", issue.number),
            title: issue.title.clone(),
            body: issue.body.clone(),
            criteria: None,
            kind: Kind::Story,
            type_name: String::new(),
            status: match issue.closed {
                Some(_) => Status::Completed,
                None if issue.labels.iter().any(|label| label == "status:active") => Status::InProgress,
                None => Status::Open,
            },
            state: issue.closed.map_or("open".into(), |reason| format!("closed/{reason}")),
            revision: issue.version.to_string(),
            is_html: false,
            by_outsider: false,
            priority: None,
            labels: issue.labels.clone(),
            created: issue.created,
            updated: issue.updated,
            url: format!("https://tracker/{}", issue.number),
            parent: None,
            project: "acme/web".into(),
            area: None,
        }
    }

    /// What the index knows.
    fn seen(&self) -> Vec<Item> {
        let known = |issue: &&Issue| {
            !issue.deleted && self.now - (issue.created - self.settings.skew) >= self.settings.lag
        };
        self.issues.values().filter(known).map(|issue| self.item(issue)).collect()
    }

    /// Somebody who does not wait for a sync to end.
    fn edit_meanwhile(&mut self) {
        let Some((steps, story, here, word)) = self.meanwhile.take() else { return };
        if steps > 0 {
            self.meanwhile = Some((steps - 1, story, here, word));
            return;
        }
        let (at, marker) = (self.now + self.settings.skew, marker(&key(story)));
        self.versions += 1;
        let version = self.versions;
        let edited = if here {
            let paths = [path(story, false), path(story, true)];
            let there = paths.iter().find(|path| self.files.contains_key(*path));
            let text = there.and_then(|path| self.files.get_mut(path));
            text.is_some_and(|text| {
                let new = text.replacen("./FEATURE.md)\n\n", &format!("./FEATURE.md)\n\n{word}\n\n"), 1);
                std::mem::replace(text, new.clone()) != new
            })
        } else {
            let mut issues = self.issues.values_mut().filter(|issue| !issue.deleted);
            let own = issues
                .find(|issue| issue_text::marker(&issue.body).is_some_and(|(known, _)| known == marker));
            own.is_some_and(|issue| {
                issue.body = format!("{word}\n\n{}", issue.body);
                (issue.updated, issue.version) = (at, version);
                true
            })
        };
        if edited {
            self.edited_meanwhile.push((story, word));
        }
    }

    fn fault(&mut self) -> Fault {
        self.writes += 1;
        if self.faults.is_empty() { Fault::None } else { self.faults.remove(0) }
    }
}

fn died() -> TrackerError {
    TrackerError::Cancelled
}

fn lost() -> TrackerError {
    TrackerError::Network("the connection broke".into())
}

fn limit() -> TrackerError {
    TrackerError::Limited(std::time::Duration::from_secs(60))
}

#[tonic::async_trait]
impl Source for Sim {
    fn first(&self, _: &Window) -> String {
        String::new()
    }
    async fn count(&self, _: &Window) -> Result<Option<u64>, TrackerError> {
        Ok(None)
    }
    async fn page(&self, _: &str) -> Result<Page, TrackerError> {
        let world = self.step().ok_or_else(died)?;
        let items = world.seen().into_iter().map(Ok).collect();
        Ok(Page { items, next: Position::End(String::new()), notes: Vec::new() })
    }
    async fn items(&self, _: &[String]) -> Result<Vec<Item>, TrackerError> {
        Ok(Vec::new())
    }
    fn requests(&self, _: u64) -> u64 {
        0
    }
    fn server(&self) -> &Server {
        unreachable!("nobody asks a simulation where it is")
    }
}

#[tonic::async_trait]
impl Editor for Sim {
    async fn identity(&self) -> Result<String, TrackerError> {
        self.step().map(|_| "project".to_owned()).ok_or_else(died)
    }

    async fn current(&self, reference: &str) -> Result<Option<Item>, TrackerError> {
        let world = self.step().ok_or_else(died)?;
        let issue = reference.parse().ok().and_then(|number: u64| world.issues.get(&number));
        Ok(issue.filter(|issue| !issue.deleted).map(|issue| world.item(issue)))
    }

    async fn marked(&self, marker: &str, _: Millis) -> Result<Vec<Item>, TrackerError> {
        let world = self.step().ok_or_else(died)?;
        Ok(world.seen().into_iter().filter(|item| item.marker() == Some(marker)).collect())
    }

    async fn create(&self, draft: &Draft) -> Result<String, WriteError> {
        let mut world = self.step().ok_or_else(|| WriteError::Unknown(died()))?;
        let fault = world.fault();
        match fault {
            Fault::LosesRequest => return Err(WriteError::Unknown(lost())),
            Fault::Limit => return Err(WriteError::Refused(limit())),
            Fault::None | Fault::LosesReply => {}
        }
        let number = world.issues.len() as u64 + 1;
        let at = world.now + world.settings.skew;
        let body = world.kept(&draft.body);
        let issue = Issue {
            number,
            title: draft.title.clone(),
            body,
            closed: None,
            labels: draft.labels.clone(),
            created: at,
            updated: at,
            version: 0,
            deleted: false,
        };
        world.issues.insert(number, issue);
        *world.made.entry(draft.marker.clone()).or_default() += 1;
        match fault {
            Fault::LosesReply => Err(WriteError::Unknown(lost())),
            _ => Ok(number.to_string()),
        }
    }

    async fn update(&self, item: &Item, change: &Change) -> Result<Updated, WriteError> {
        let mut world = self.step().ok_or_else(|| WriteError::Unknown(died()))?;
        let fault = world.fault();
        match fault {
            Fault::LosesRequest => return Err(WriteError::Unknown(lost())),
            Fault::Limit => return Err(WriteError::Refused(limit())),
            Fault::None | Fault::LosesReply => {}
        }
        let number: u64 = item.reference().parse().unwrap();
        // As Azure DevOps does it; the others can only be asked just before.
        if world.issues[&number].version.to_string() != item.revision {
            return Err(WriteError::Changed);
        }
        world.versions += 1;
        let version = world.versions;
        let body = change.body.as_ref().map(|body| world.kept(body));
        let at = world.now + world.settings.skew;
        let issue = world.issues.get_mut(&number).unwrap();
        if let Some(title) = &change.title {
            title.clone_into(&mut issue.title);
        }
        if let Some(body) = body {
            issue.body = body;
        }
        if let Some(boxes) = &change.marks {
            issue.body = issue_text::marked(&issue.body, boxes).0;
        }
        issue.labels.retain(|label| !change.remove_labels.contains(label));
        for label in &change.add_labels {
            if !issue.labels.contains(label) {
                issue.labels.push(label.clone());
            }
        }
        let mut closes = false;
        if let Some(state) = &change.state {
            issue.labels.retain(|label| !label.starts_with("status:"));
            let was_open = issue.closed.is_none();
            issue.closed = match state.category {
                Category::Completed => Some("completed"),
                Category::Cancelled => Some("not_planned"),
                Category::InProgress => {
                    issue.labels.push("status:active".into());
                    None
                }
                Category::Open => None,
            };
            closes = was_open && issue.closed == Some("not_planned");
        }
        (issue.updated, issue.version) = (at, version);
        if closes {
            world.closed_by_sync.insert(number);
        }
        match fault {
            Fault::LosesReply => Err(WriteError::Unknown(lost())),
            _ => {
                let item = world.issues.get(&number).map(|issue| world.item(issue));
                Ok(Updated { state: None, item })
            }
        }
    }

    async fn group(&self, feature: &str, _: &str) -> Result<Option<Group>, WriteError> {
        let mut world = self.step().ok_or_else(|| WriteError::Unknown(died()))?;
        if world.group.is_none() {
            world.writes += 1;
            world.group = Some(feature.to_owned());
        }
        Ok(Some(Group { reference: "1".into(), url: String::new() }))
    }

    fn owns(&self, _: &url::Url) -> bool {
        true
    }

    fn echo(&self, markdown: &str) -> String {
        self.world().kept(markdown)
    }

    fn pace(&self) -> WritePace {
        WritePace { gap: 1_000, creates_a_minute: 80, creates_an_hour: 500, lag: 60_000 }
    }
}

fn torn() -> io::Error {
    io::Error::other("the daemon is dead")
}

impl Docs for Sim {
    fn authored(&mut self) -> io::Result<Vec<StoryFile>> {
        let world = self.step().ok_or_else(torn)?;
        let is_story = |path: &&String| path.contains("/us-");
        Ok(world
            .files
            .keys()
            .filter(is_story)
            .map(|path| (path.clone(), Ok(world.files[path].clone())))
            .collect())
    }
    fn read(&mut self, path: &str) -> io::Result<Option<String>> {
        let world = self.world();
        if world.dead { Err(torn()) } else { Ok(world.files.get(path).cloned()) }
    }
    fn write(&mut self, path: &str, expected: Option<&str>, text: &str) -> io::Result<bool> {
        let mut world = self.step().ok_or_else(torn)?;
        if expected.is_some() && world.files.get(path).map(String::as_str) != expected {
            return Ok(false);
        }
        world.files.insert(path.to_owned(), text.to_owned());
        Ok(true)
    }
    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.step().ok_or_else(torn)?.files.remove(path);
        Ok(())
    }
    fn note(&mut self, _: &str, _: &Note) -> io::Result<()> {
        Ok(())
    }
    fn sources(&mut self, _: &str) -> io::Result<Sources> {
        Ok(Sources::default())
    }
    fn write_sources(&mut self, _: &str, _: &Sources, _: &Sources) -> io::Result<()> {
        Ok(())
    }
    fn imported(&mut self, _: &Item) -> io::Result<Option<Kept>> {
        Ok(None)
    }
    fn note_met(&mut self, _: &Item) -> io::Result<()> {
        Ok(())
    }
    fn foresee(&mut self, items: &[&Item]) -> io::Result<BTreeMap<String, Foreseen>> {
        let world = self.world();
        let foreseen = |item: &&Item| match (item.marker(), world.imported.get(&item.key)) {
            (Some(_), _) => Foreseen::Nothing,
            (None, None) => Foreseen::New,
            (None, Some(at)) if *at < item.updated => Foreseen::Changed,
            (None, Some(_)) => Foreseen::Nothing,
        };
        Ok(items.iter().map(|item| (item.key.clone(), foreseen(item))).collect())
    }
    fn import(
        &mut self,
        items: &[Item],
        _: &BTreeMap<String, Item>,
        _: Option<Wins>,
    ) -> io::Result<BTreeMap<String, Failure>> {
        let mut world = self.step().ok_or_else(torn)?;
        for item in items {
            world.imported.insert(item.key.clone(), item.updated);
        }
        Ok(BTreeMap::new())
    }
}

impl store::Log for Sim {
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        self.look(take)
    }
    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        let log = self.world().log.clone();
        assert!(log.iter().all(|line| take(line)), "all that is whole makes sense");
        Ok(log.len())
    }
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        if let Some(mut world) = self.step() {
            world.log.extend_from_slice(lines);
            return Ok(());
        }
        // What a death leaves of a write.
        let mut world = self.world();
        if world.dies_in == Some(0) {
            world.dies_in = None;
            world.log.extend_from_slice(&lines[..lines.len() / 2]);
        }
        Err(torn())
    }
    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        self.step().ok_or_else(torn)?.log = lines.to_vec();
        Ok(())
    }
}

#[tonic::async_trait]
impl Run for Sim {
    fn now(&self) -> Millis {
        self.world().now
    }
    async fn sleep_until(&self, at: Millis) -> Result<(), Stop> {
        let mut world = self.world();
        world.now = world.now.max(at);
        if world.dead { Err(Stop::Cancelled) } else { Ok(()) }
    }
    fn log(&self, _: &str) {}
    fn progress(&self, _: &str) {}
    fn phase(&self, _: &'static str) {}
    fn ahead(&self, _: Millis) {}
    async fn done(&self, stories: &[String]) -> Result<(), Stop> {
        let mut world = self.step().ok_or(Stop::Cancelled)?;
        world.done.extend(stories.iter().cloned());
        Ok(())
    }
    async fn failed(&self, story: &str, failure: Failure) -> Result<(), Stop> {
        let mut world = self.step().ok_or(Stop::Cancelled)?;
        world.failed.insert(story.to_owned(), failure.message);
        Ok(())
    }
}

/// Runs what never waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => unreachable!("a simulation waits for nothing"),
    }
}

/// What a sync came to.
#[derive(Debug, PartialEq)]
enum Came {
    Done(Vec<Action>),
    Guarded,
}

const MOST_RUNS: u32 = 40;

/// Runs a sync as a job does: over deaths and pauses, to its end.
fn synced(sim: &Sim, profile: &Profile) -> Came {
    sim.world().done.clear();
    sim.world().failed.clear();
    let mut planned: Option<Vec<Action>> = None;
    for _ in 0..MOST_RUNS {
        {
            let mut world = sim.world();
            if world.dead {
                (world.dead, world.dies_in) = (false, None);
                world.now += 5_000;
            }
        }
        let (mut docs, run) = (sim.clone(), sim.clone());
        let Ok(mut store) = Store::open(Box::new(sim.clone())) else { continue };
        let force = [];
        let mut engine = Engine::new(profile, sim, &mut docs, &mut store, &run, &force, false);
        let plan = match now(engine.plan()) {
            Ok(plan) => plan,
            Err(Ended::Guard(_)) => return Came::Guarded,
            Err(_) => {
                sim.world().now += 60_000;
                continue;
            }
        };
        // The plan is durable, or it is made again.
        if planned.is_none() {
            if sim.step().is_none() {
                continue;
            }
            planned = Some(plan.actions.clone());
        }
        let names = planned.as_ref().expect("it was just made");
        let waiting: Vec<String> = {
            let world = sim.world();
            let stories = names.iter().map(Action::name);
            stories.filter(|story| !world.done.contains(story) && !world.failed.contains_key(story)).collect()
        };
        match now(engine.carry_out(plan, &waiting)) {
            Ok(()) => return Came::Done(planned.unwrap_or_default()),
            Err(Ended::Guard(_)) => return Came::Guarded,
            Err(ended) => {
                let mut world = sim.world();
                world.now = match ended {
                    Ended::Stop(Stop::Pause { resume_at: Some(at), .. }) => at.max(world.now),
                    _ => world.now + 60_000,
                };
            }
        }
    }
    panic!("a sync comes to no end: {:?}", sim.world().failed);
}

/// What a sync would do; it must not write.
fn planned(sim: &Sim, profile: &Profile) -> Option<Vec<Action>> {
    let (mut docs, run) = (sim.clone(), sim.clone());
    let mut store = Store::open(Box::new(store::Copy::of(sim.clone()))).unwrap();
    let (writes, log, files) = {
        let world = sim.world();
        (world.writes, world.log.clone(), world.files.clone())
    };
    let plan = now(Engine::new(profile, sim, &mut docs, &mut store, &run, &[], false).plan());
    let world = sim.world();
    assert_eq!((world.writes, &world.log, &world.files), (writes, &log, &files), "looking changes nothing");
    plan.ok().map(|plan| plan.actions)
}

const STORIES: u8 = 4;

fn path(story: u8, moved: bool) -> String {
    format!("web/FS-001/us-00{story}-{}.md", if moved { "renamed" } else { "story" })
}

fn key(story: u8) -> String {
    format!("web/FS-001/US-00{story}")
}

fn file(story: u8, words: &str) -> String {
    format!(
        "---\nid: US-00{story}\nfeature: FS-001\ntitle: \"{words}\"\nstatus: not_started\nowner: ann # not ours\n---\n\n\
         # US-00{story}: {words}\n\n**Feature**: [FS-001](./FEATURE.md)\n\nfirst line of {words}\n\nmiddle ~\n\nlast line\n\n---\n\n\
         ## Acceptance Criteria\n\n- [ ] **AC-00**: one ~\n\nA note of mine.\n"
    )
}

/// What is edited; each leaves a word that is to be found again.
#[derive(Clone, Copy, Debug)]
pub enum What {
    Title,
    Status(u8),
    FirstLine,
    LastLine,
    Label,
    Unlabel,
    NewBox,
    Check,
    Words,
}

#[derive(Clone, Debug)]
pub enum Step {
    Make(u8),
    Edit(u8, What),
    Move(u8),
    Remove(u8),
    MakeThere,
    EditThere(u8, What),
    RemoveThere(u8),
    Wait(Millis),
    Sync(Sync),
}

#[derive(Clone, Debug)]
pub struct Sync {
    direction: Direction,
    policy: OnConflict,
    dies_in: Option<u32>,
    faults: Vec<Fault>,
    /// Somebody edits a story or its item in the middle of it: after so many steps.
    meanwhile: Option<(u32, u8, bool)>,
}

/// Only what is needed to make words that nobody has used.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    words: u32,
}

pub struct Histories;

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        Just(What::Title),
        (0u8..3).prop_map(What::Status),
        Just(What::FirstLine),
        Just(What::LastLine),
        Just(What::Label),
        Just(What::Unlabel),
        Just(What::NewBox),
        Just(What::Check),
        Just(What::Words),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::LosesRequest),
        1 => Just(Fault::LosesReply),
        1 => Just(Fault::Limit),
    ]
}

impl ReferenceStateMachine for Histories {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        (
            any::<bool>(),
            prop_oneof![Just(0), Just(30_000)],
            prop_oneof![Just(0), Just(-600_000), Just(600_000)],
            any::<bool>(),
        )
            .prop_map(|(lossy, lag, skew, delete)| Model {
                settings: Settings { lossy, lag, skew, delete },
                words: 0,
            })
            .boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Step> {
        let direction = prop_oneof![
            4 => Just(Direction::Both),
            1 => Just(Direction::Export),
            1 => Just(Direction::Import),
        ];
        let policy = prop_oneof![
            4 => Just(OnConflict::Manual),
            1 => Just(OnConflict::Local),
            1 => Just(OnConflict::Remote),
        ];
        let meanwhile = prop::option::weighted(0.3, (0u32..40, 1..=STORIES, any::<bool>()));
        let faults = prop::collection::vec(fault(), 0..4);
        let sync = (direction, policy, prop::option::weighted(0.5, 0u32..60), faults, meanwhile);
        prop_oneof![
            3 => (1..=STORIES).prop_map(Step::Make),
            6 => (1..=STORIES, what()).prop_map(|(story, what)| Step::Edit(story, what)),
            1 => (1..=STORIES).prop_map(Step::Move),
            1 => (1..=STORIES).prop_map(Step::Remove),
            1 => Just(Step::MakeThere),
            6 => (1..=STORIES, what()).prop_map(|(story, what)| Step::EditThere(story, what)),
            1 => (1..=STORIES).prop_map(Step::RemoveThere),
            1 => prop_oneof![Just(1_000), Just(100_000)].prop_map(Step::Wait),
            6 => sync.prop_map(|(direction, policy, dies_in, faults, meanwhile)| {
                Step::Sync(Sync { direction, policy, dies_in, faults, meanwhile })
            }),
        ]
        .boxed()
    }

    fn apply(mut state: Model, _: &Step) -> Model {
        state.words += 1;
        state
    }
}

/// A word that somebody wrote, and where it belongs.
#[derive(Clone, Debug)]
struct Word {
    story: u8,
    text: String,
}

pub struct Trial {
    sim: Sim,
    words: Vec<Word>,
    /// Items with an edit that no sync has seen, and what they said before it.
    dirty: BTreeMap<u64, Record>,
    /// Stories whose file a person has taken away: one that is there again was restored.
    removed: BTreeSet<u8>,
}

impl Trial {
    fn file_of(&self, story: u8) -> Option<String> {
        let world = self.sim.world();
        [path(story, false), path(story, true)].into_iter().find(|path| world.files.contains_key(path))
    }

    /// The item of a story that counts.
    fn issue_of(&self, story: u8) -> Option<u64> {
        let marker = marker(&key(story));
        let world = self.sim.world();
        let mut own = world.issues.values().filter(|issue| {
            !issue.deleted && issue_text::marker(&issue.body).is_some_and(|(known, _)| known == marker)
        });
        own.next().map(|issue| issue.number)
    }

    fn edit_here(&mut self, story: u8, what: What, word: u32) {
        let Some(path) = self.file_of(story) else { return };
        let mut world = self.sim.world();
        let text = world.files[&path].clone();
        let parsed = Authored::parse(&text).unwrap();
        let mut record = parsed.record().clone();
        let (field, kept) = change(&mut record, what, word, "here");
        let status = record.status.clone();
        let new = parsed.with(&record, &[field], &status).unwrap();
        world.files.insert(path, new);
        drop(world);
        self.words.extend(kept.map(|text| Word { story, text }));
    }

    fn edit_there(&mut self, story: u8, what: What, word: u32) {
        let Some(number) = self.issue_of(story) else { return };
        let map = StatusMap::default();
        let dialect = self.dialect(&map);
        let (item, at) = {
            let world = self.sim.world();
            (world.item(&world.issues[&number]), world.now + world.settings.skew)
        };
        let before = dialect.record(&item, Origin::Authored);
        let mut record = before.clone();
        let (field, kept) = change(&mut record, what, word, "there");
        if record == before {
            return;
        }
        let changed = dialect.change(&key(story), &item, &record, &[field], Origin::Authored);
        let mut world = self.sim.world();
        world.versions += 1;
        let version = world.versions;
        let issue = world.issues.get_mut(&number).unwrap();
        if let Some(title) = changed.title {
            issue.title = title;
        }
        if let Some(body) = changed.body {
            issue.body = body;
        }
        if let Some(boxes) = changed.marks {
            issue.body = issue_text::marked(&issue.body, &boxes).0;
        }
        issue.labels.retain(|label| !changed.remove_labels.contains(label));
        issue.labels.extend(changed.add_labels);
        if let Some(state) = changed.state {
            issue.labels.retain(|label| !label.starts_with("status:"));
            issue.closed = (state.category == Category::Completed).then_some("completed");
            if state.category == Category::InProgress {
                issue.labels.push("status:active".into());
            }
        }
        (issue.updated, issue.version) = (at, version);
        drop(world);
        let met = self.dirty.remove(&number).unwrap_or(before);
        if self.remote(number) != met {
            self.dirty.insert(number, met);
        }
        self.words.extend(kept.map(|text| Word { story, text }));
    }

    /// Both sides of every story, and what is between them.
    fn check(&mut self, agree: bool, policy: OnConflict, actions: &[Action]) {
        let failed = self.sim.world().failed.clone();
        for story in 1..=STORIES {
            let (file, number) = (self.file_of(story), self.issue_of(story));
            let world = self.sim.world();
            let text = file.as_ref().map(|path| world.files[path].clone());
            let issue = number.map(|number| world.issues[&number].clone());
            if let Some(text) = text.as_ref().filter(|_| !self.removed.contains(&story)) {
                assert!(text.contains("owner: ann # not ours"), "{text}");
            }
            let conflict = file
                .as_ref()
                .and_then(|path| world.files.get(&crate::model::conflict_file::beside(path, 1)).cloned());
            let everything = [
                text.clone().unwrap_or_default(),
                conflict.unwrap_or_default(),
                issue
                    .as_ref()
                    .map(|issue| format!("{}\n{}\n{}", issue.title, issue.body, issue.labels.join("\n")))
                    .unwrap_or_default(),
            ]
            .join("\n");
            // No edit is gone, unless somebody said who wins, or took the story away.
            if policy == OnConflict::Manual && text.is_some() && issue.is_some() {
                for word in self.words.iter().filter(|word| word.story == story) {
                    assert!(
                        everything.contains(&word.text),
                        "{} is lost in {story}:\n{everything}\n{failed:?}",
                        word.text
                    );
                }
            } else {
                drop(world);
                self.words.retain(|word| word.story != story || everything.contains(&word.text));
                continue;
            }
            let is_settled = agree && !failed.contains_key(&key(story));
            if let (Some(text), Some(issue), true) = (&text, &issue, is_settled) {
                let item = world.item(issue);
                drop(world);
                let parsed = Authored::parse(text).unwrap();
                if parsed.link("github").as_deref() != Some(item.reference()) {
                    continue;
                }
                let differs = self.differing(&parsed, &item);
                assert!(differs.is_empty(), "{differs:?} of {story} differ:\n{text}\n{item:#?}\n{actions:?}");
            }
        }
        let world = self.sim.world();
        for story in 1..=STORIES {
            let marker = marker(&key(story));
            let open = world.issues.values().filter(|issue| {
                issue.closed.is_none()
                    && !issue.deleted
                    && issue_text::marker(&issue.body).is_some_and(|(known, _)| known == marker)
            });
            let open: Vec<u64> = open.map(|issue| issue.number).collect();
            let twins: Vec<&u64> =
                open.iter().filter(|number| !self.was_unlinked(&world, **number)).collect();
            assert!(twins.len() <= 1, "{story} was made more than once: {open:?}");
        }
        for number in &world.closed_by_sync {
            assert!(
                !self.dirty.contains_key(number),
                "#{number} was closed with an edit that nobody has seen"
            );
        }
    }

    /// The fields in which a story and an item differ, beside what the tracker makes of a text.
    fn differing(&self, story: &Authored, item: &Item) -> Vec<Field> {
        let map = StatusMap::default();
        let dialect = self.dialect(&map);
        let mut local = story.record().clone();
        local.status = map.of_local(&local.status);
        let (echo, remote) = (dialect.echo(&local), dialect.record(item, Origin::Authored));
        let differs = |field: &Field| !echo.same(&remote, *field) && !local.same(&remote, *field);
        Field::ALL.into_iter().filter(differs).collect()
    }

    /// Whether an item and its story say the same.
    fn agrees(&self, number: u64) -> bool {
        let item = self.sim.reported(number);
        (1..=STORIES).filter(|story| self.issue_of(*story) == Some(number)).any(|story| {
            let text = self.file_of(story).map(|path| self.sim.world().files[&path].clone());
            text.is_some_and(|text| self.differing(&Authored::parse(&text).unwrap(), &item).is_empty())
        })
    }

    /// What an item says.
    fn remote(&self, number: u64) -> Record {
        self.dialect(&StatusMap::default()).record(&self.sim.reported(number), Origin::Authored)
    }

    fn dialect<'a>(&'a self, map: &'a StatusMap) -> Dialect<'a> {
        Dialect { platform: Platform::GitHub, map, tracker: &self.sim }
    }

    /// Whether an item was let go because its story went.
    fn was_unlinked(&self, world: &World, number: u64) -> bool {
        let line = format!("\"github:{number}\"]");
        String::from_utf8_lossy(&world.log.join(&b"\n"[..]))
            .lines()
            .any(|text| text.contains("dropped") && text.contains(&line))
    }
}

/// Changes a field so that a new word is in it. The word, where it may not be gone afterwards.
fn change(record: &mut Record, what: What, word: u32, side: &str) -> (Field, Option<String>) {
    use crate::model::record::{Checkbox, Field, List};
    let text = format!("word{word}{side}");
    match what {
        What::Title => {
            record.title = text;
            (Field::Title, None)
        }
        What::Status(place) => {
            record.status = ["open", "in_progress", "completed"][usize::from(place)].into();
            (Field::Status, None)
        }
        What::FirstLine => {
            record.description = format!("{text}\n\n{}", record.description);
            (Field::Description, Some(text))
        }
        What::LastLine => {
            record.description = format!("{}\n\n{text}", record.description).trim().to_owned();
            (Field::Description, Some(text))
        }
        What::Label => {
            record.labels.insert(text.clone());
            (Field::Labels, None)
        }
        What::Unlabel => {
            let first = record.labels.iter().next().cloned();
            if let Some(label) = first {
                record.labels.remove(&label);
            }
            (Field::Labels, None)
        }
        What::NewBox => {
            record.boxes.push(Checkbox {
                list: List::Criteria,
                id: format!("AC-{word}"),
                text: text.clone(),
                checked: false,
            });
            (Field::Boxes, Some(text))
        }
        What::Words => {
            if let Some(one) = record.boxes.first_mut() {
                one.text = format!("{text} ~");
            }
            (Field::Boxes, None)
        }
        What::Check => {
            if let Some(one) = record.boxes.first_mut() {
                one.checked = !one.checked;
            }
            (Field::Boxes, None)
        }
    }
}

impl StateMachineTest for Trial {
    type SystemUnderTest = Self;
    type Reference = Histories;

    fn init_test(model: &Model) -> Self {
        Self {
            sim: Sim::new(model.settings.clone()),
            words: Vec::new(),
            dirty: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    fn apply(mut trial: Self, model: &Model, step: Step) -> Self {
        trial.go(model, step);
        trial
    }
}

impl Trial {
    fn sync(&mut self, model: &Model, sync: Sync) {
        let Sync { direction, policy, dies_in, faults, meanwhile } = sync;
        let profile = Profile::of_trial(direction, policy, model.settings.delete);
        let is_calm =
            dies_in.is_none() && meanwhile.is_none() && faults.iter().all(|fault| *fault == Fault::None);
        let shown = planned(&self.sim, &profile);
        let before = self.sim.world().files.clone();
        {
            let mut world = self.sim.world();
            (world.dies_in, world.faults) = (dies_in, faults);
            let word = format!(
                "word{}{}",
                model.words,
                if meanwhile.is_some_and(|(_, _, here)| here) { "here" } else { "there" }
            );
            world.meanwhile = meanwhile.map(|(steps, story, here)| (steps, story, here, word));
            world.closed_by_sync.clear();
        }
        let came = synced(&self.sim, &profile);
        {
            let mut world = self.sim.world();
            (world.dies_in, world.dead, world.meanwhile) = (None, false, None);
            world.faults.clear();
            let edits = std::mem::take(&mut world.edited_meanwhile);
            self.words.extend(edits.into_iter().map(|(story, text)| Word { story, text }));
        }
        let Came::Done(actions) = came else {
            assert!(shown.is_none() || !is_calm, "a dry run did not warn");
            return;
        };
        if is_calm && model.settings.lag == 0 {
            assert_eq!(shown.as_ref(), Some(&actions), "a dry run says what a run does");
        }
        // What nothing was to be done about is as it was, to the byte.
        let touched: BTreeSet<&str> = actions.iter().map(|action| action.path.as_str()).collect();
        if is_calm {
            for (path, text) in &before {
                let is_touched = touched.contains(path.as_str())
                    || path.contains("/conflict-us-")
                    || path.ends_with("FEATURE.md");
                assert!(is_touched || self.sim.world().files.get(path) == Some(text), "{path} was touched");
            }
        }
        // Who edits in the middle of a sync is heard in the next.
        let (agree, undisturbed) = (direction == Direction::Both, meanwhile.is_none());
        self.check(agree && undisturbed, policy, &actions);
        // Once the index has caught up, the same again finds nothing to write.
        self.sim.world().now += 100_000;
        let quiet = Profile::of_trial(direction, OnConflict::Manual, model.settings.delete);
        if let Came::Done(_) = synced(&self.sim, &quiet) {
            let (writes, files) = {
                let world = self.sim.world();
                (world.writes, world.files.clone())
            };
            self.check(agree, OnConflict::Manual, &[]);
            if let Came::Done(again) = synced(&self.sim, &quiet) {
                let world = self.sim.world();
                assert_eq!(world.writes, writes, "a quiet sync writes nothing there: {again:?}");
                assert_eq!(world.files, files, "a quiet sync writes nothing here: {again:?}");
                let busy =
                    again.iter().filter(|action| !matches!(action.verb, Verb::Conflict | Verb::Broken));
                assert_eq!(busy.count(), 0, "a quiet sync has nothing to do: {again:?}");
            }
        }
        let dirty = std::mem::take(&mut self.dirty);
        if direction == Direction::Export {
            // What both sides say, or somebody has overruled, is known.
            self.dirty = dirty.into_iter().filter(|(number, _)| !self.agrees(*number)).collect();
        }
    }

    fn go(&mut self, model: &Model, step: Step) {
        self.sim.world().now += 1_000;
        match step {
            Step::Make(story) => {
                if self.file_of(story).is_none() {
                    self.words.retain(|word| word.story != story);
                    self.removed.remove(&story);
                    let text = file(story, &format!("story{}", model.words));
                    self.sim.world().files.insert(path(story, false), text);
                }
            }
            Step::Edit(story, what) => self.edit_here(story, what, model.words),
            Step::Move(story) => {
                if let Some(from) = self.file_of(story) {
                    let mut world = self.sim.world();
                    let text = world.files.remove(&from).unwrap();
                    let to = path(story, from == path(story, false));
                    world.files.insert(to, text);
                }
            }
            Step::Remove(story) => {
                if let Some(path) = self.file_of(story) {
                    self.removed.insert(story);
                    self.sim.world().files.remove(&path);
                    self.sim.world().files.remove(&crate::model::conflict_file::beside(&path, 1));
                    self.words.retain(|word| word.story != story || word.text.ends_with("there"));
                }
            }
            Step::MakeThere => {
                let mut world = self.sim.world();
                let number = world.issues.len() as u64 + 1;
                let at = world.now + world.settings.skew;
                let issue = Issue {
                    number,
                    title: format!("Theirs {number}"),
                    body: "text".into(),
                    closed: None,
                    labels: Vec::new(),
                    created: at,
                    updated: at,
                    version: 0,
                    deleted: false,
                };
                world.issues.insert(number, issue);
            }
            Step::EditThere(story, what) => self.edit_there(story, what, model.words),
            Step::RemoveThere(story) => {
                if let Some(number) = self.issue_of(story) {
                    self.sim.world().issues.get_mut(&number).unwrap().deleted = true;
                    self.words.retain(|word| {
                        word.story != story || word.text.ends_with("here") && !word.text.ends_with("there")
                    });
                }
            }
            Step::Wait(time) => self.sim.world().now += time,
            Step::Sync(sync) => self.sync(model, sync),
        }
    }
}

/// Makes so many items, with lost replies and deaths all the way; gives the deaths, the losses and the time that it took.
fn make_all(lot: u64, count: u64) -> (u64, u64, Millis) {
    let (mut deaths, mut lost) = (0, 0);
    let sim = Sim::new(Settings { lossy: false, lag: 30_000, skew: 0, delete: false });
    // A plain generator: the same lots every time.
    let mut seed = lot.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for number in 0..count {
        let text = file(1, &format!("story{number}")).replace("US-001", &format!("US-{number:04}"));
        sim.world().files.insert(format!("web/FS-001/us-{number:04}.md"), text);
    }
    let began = sim.world().now;
    let profile = Profile::of_trial(Direction::Export, OnConflict::Manual, false);
    loop {
        {
            let mut world = sim.world();
            // A death about once in a hundred steps, and one in twenty lost on its way there or back.
            world.dies_in = Some(random(200) as u32);
            let mut fault = || match random(40) {
                0 => Fault::LosesRequest,
                1 => Fault::LosesReply,
                _ => Fault::None,
            };
            world.faults = (0..400).map(|_| fault()).collect();
        }
        let faults = sim.world().faults.clone();
        let (mut docs, run) = (sim.clone(), sim.clone());
        let ended = match Store::open(Box::new(sim.clone())) {
            Ok(mut store) => {
                let mut engine = Engine::new(&profile, &sim, &mut docs, &mut store, &run, &[], false);
                match now(engine.plan()) {
                    Ok(plan) => {
                        let names: Vec<String> =
                            plan.actions.iter().map(|action| action.story.clone()).collect();
                        now(engine.carry_out(plan, &names)).map(|()| names.is_empty())
                    }
                    Err(ended) => Err(ended),
                }
            }
            Err(error) => Err(error.into()),
        };
        let mut world = sim.world();
        let met = faults.len() - world.faults.len();
        lost += faults[..met].iter().filter(|fault| **fault != Fault::None).count() as u64;
        deaths += u64::from(std::mem::take(&mut world.dead));
        match ended {
            Ok(true) => break,
            Err(Ended::Stop(Stop::Pause { resume_at: Some(at), .. })) => world.now = world.now.max(at),
            _ => world.now += 1_000,
        }
    }
    let world = sim.world();
    assert_eq!(world.made.len() as u64, count);
    let twice: Vec<_> = world.made.iter().filter(|(_, made)| **made != 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:?}");
    (deaths, lost, world.now - began)
}

#[test]
fn ten_thousand_items_are_made_once_each_whatever_gets_lost_on_the_way() {
    const EACH: u64 = 200;
    // PROPTEST_CASES asks for more: 2,000 for ten thousand items, less for a quick look.
    let lots = u64::from(ProptestConfig::default().cases / 40).max(2);
    let halves = [0, 1].map(|half| {
        std::thread::spawn(move || {
            let lots = (0..lots).filter(|lot| lot % 2 == half).map(|lot| make_all(lot, EACH));
            lots.fold((0, 0, 0), |sum, lot| (sum.0 + lot.0, sum.1 + lot.1, sum.2 + lot.2))
        })
    });
    let [one, other] = halves.map(|half| half.join().unwrap());
    let (deaths, lost, elapsed) = (one.0 + other.0, one.1 + other.1, one.2 + other.2);
    eprintln!(
        "{} items, {deaths} deaths, {lost} lost, {} h of simulated time",
        lots * EACH,
        elapsed / 3_600_000
    );
    assert!(deaths > 6 * lots && lost > 6 * lots);
}

#[test]
fn what_was_added_there_comes_here_after_a_sync_that_only_sent() {
    let mut model = Model { settings: Settings { lossy: false, lag: 0, skew: 0, delete: false }, words: 0 };
    let mut trial = <Trial as StateMachineTest>::init_test(&model);
    let calm = |direction| {
        let (policy, faults) = (OnConflict::Manual, Vec::new());
        Step::Sync(Sync { direction, policy, dies_in: None, faults, meanwhile: None })
    };
    let history = [
        Step::Make(2),
        calm(Direction::Both),
        Step::EditThere(2, What::Label),
        Step::Edit(2, What::Label),
        calm(Direction::Export),
        calm(Direction::Both),
    ];
    for step in history {
        trial.go(&model, step);
        assert!(trial.sim.failures().is_empty(), "{:?}", trial.sim.failures());
        model.words += 1;
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 3_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_history_loses_an_edit_or_makes_anything_twice(sequential 1..24 => Trial);
}
