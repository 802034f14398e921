//! What a sync does, decided before any of it is done. Pure: a dry run prints this, and a run carries it out.

use super::dialect::{self, Dialect, Origin};
use super::merge::{self, Base, Outcome, Rules};
use super::store::{Link, Store};
use crate::specs::record::{self, BoxKey, Checkbox, Field, Record};
use crate::specs::story::{self, Fields, Prints};
use crate::work::trackers::item::{Item, Kind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A story that was written here.
#[derive(Clone, Debug)]
pub struct Story {
    /// `web/FS-001/US-001`.
    pub key: String,
    /// From the folder of specs.
    pub path: String,
    /// The item that its front matter names.
    pub reference: Option<String>,
    /// With the status in the shared words.
    pub record: Record,
    /// Folder of its feature, from the folder of specs.
    pub feature: String,
    /// Of the file's text, when it was read.
    pub print: u64,
}

/// What an import would make of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Nothing: it is as it is to be, or no story of its own.
    Nothing,
    New,
    Changed,
    /// Both sides have changed, in the words of the import.
    Conflict(String),
}

/// A story that came from the tracker, as its file stands.
#[derive(Clone, Debug)]
pub struct Imported {
    pub path: String,
    pub text: String,
    pub fields: Fields,
    /// What its import remembers of both sides.
    pub bases: Vec<story::Base>,
    /// The file beside it that waits for a person.
    pub waits: Option<String>,
}

/// Everything that is known of both sides.
pub struct View<'a> {
    pub stories: &'a BTreeMap<String, Story>,
    /// Files that are no stories that can be synced, and why.
    pub broken: &'a BTreeMap<String, String>,
    pub items: &'a BTreeMap<String, Item>,
    /// Items of the tracker that are gone for sure.
    pub gone: &'a BTreeSet<String>,
    /// References that lead nowhere, for sure.
    pub dead: &'a BTreeSet<String>,
    pub imported: &'a BTreeMap<String, Imported>,
    pub foreseen: &'a BTreeMap<String, Foreseen>,
    pub store: &'a Store,
    /// Features whose group in the tracker is known.
    pub groups: &'a BTreeSet<String>,
    /// Linked stories whose files are there, although nobody can read them now, or they are another profile's.
    pub unread: &'a BTreeSet<String>,
}

/// The terms on which is synced.
pub struct Terms<'a> {
    pub dialect: &'a Dialect<'a>,
    pub authored: Rules,
    pub imported: Rules,
    pub may_create: bool,
    pub may_import: bool,
    pub may_delete: bool,
    /// Only these stories; empty for all.
    pub only: &'a [String],
    pub force_deletes: bool,
    /// The one story that is named is in conflict, and a person has decided.
    pub resolve: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Something cannot be read.
    Broken,
    Group,
    Create,
    /// What may have been made is looked for.
    Recheck,
    Link,
    Push,
    Pull,
    Merge,
    Import,
    Conflict,
    /// What a person has decided over.
    Settle,
    Restore,
    Unlink,
    Close,
    Orphan,
    /// An item that was made twice is closed.
    Heal,
}

impl Verb {
    pub const ALL: [Self; 16] = [
        Self::Broken,
        Self::Group,
        Self::Create,
        Self::Recheck,
        Self::Link,
        Self::Push,
        Self::Pull,
        Self::Merge,
        Self::Import,
        Self::Conflict,
        Self::Settle,
        Self::Restore,
        Self::Unlink,
        Self::Close,
        Self::Orphan,
        Self::Heal,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Group => "group",
            Self::Create => "create",
            Self::Recheck => "recheck",
            Self::Link => "link",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Merge => "merge",
            Self::Import => "import",
            Self::Conflict => "conflict",
            Self::Settle => "settle",
            Self::Restore => "restore",
            Self::Unlink => "unlink",
            Self::Close => "close",
            Self::Orphan => "orphan",
            Self::Heal => "heal",
        }
    }

    /// Whether something is written to the tracker.
    pub fn writes_there(self) -> bool {
        matches!(
            self,
            Self::Group
                | Self::Create
                | Self::Recheck
                | Self::Push
                | Self::Merge
                | Self::Settle
                | Self::Close
                | Self::Heal
        )
    }

    pub fn creates(self) -> bool {
        matches!(self, Self::Group | Self::Create | Self::Recheck)
    }
}

/// One thing that is done to one story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub verb: Verb,
    /// The story's key; of what came from the tracker its id there.
    pub story: String,
    pub origin: Origin,
    pub fields: Vec<Field>,
    pub reason: String,
    /// The item's key, where there is one.
    pub item: Option<String>,
    pub path: String,
}

impl Action {
    /// As a job names it.
    pub fn name(&self) -> String {
        format!("{} {}", self.verb.word(), self.story)
    }
}

/// The story that the name of a job's item means.
pub fn story_of(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(_, story)| story)
}

/// All that is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Pairs that are the same on both sides by now: it is noted, and nothing is written.
    pub settled: Vec<(String, String, Base)>,
    /// Stories and items without anything to do.
    pub unchanged: u64,
}

/// What no sync does without being told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Guard {
    #[error("no story is left here of {0} that are linked; nothing was changed (--force-deletes goes on)")]
    NothingHere(usize),
    #[error(
        "no item is left in the tracker of {0} that are linked; nothing was changed (--force-deletes goes on)"
    )]
    NothingThere(usize),
    #[error(
        "{gone} of {linked} linked stories are gone on one side; nothing was changed (--force-deletes goes on)"
    )]
    ManyGone { gone: usize, linked: usize },
    #[error("there is no story or item {0}")]
    NoStory(String),
    #[error("{name} means several: {}", .meant.join(", "))]
    Several { name: String, meant: Vec<String> },
    #[error("{0} is not in conflict; nothing was changed")]
    NoConflict(String),
}

/// More deletions are no person's: this many, or one in five.
const MOST_GONE: usize = 25;

/// What an item was when it was made: what was sent, but for what its tracker decides itself.
pub fn newborn(dialect: &Dialect, sent: &Record, remote: &Record) -> Base {
    let mut base = Base { local: sent.clone(), remote: dialect.echo(sent) };
    base.local.status.clone_from(&remote.status);
    base.remote.status.clone_from(&remote.status);
    base.remote.priority = remote.priority;
    // A label that the tracker left out is not one that somebody took away.
    base.remote.labels.retain(|label| remote.labels.contains(label));
    base
}

/// The outcome for a story and its item.
pub fn decide_authored(
    dialect: &Dialect,
    base: Option<&Base>,
    local: &Record,
    remote: &Record,
    rules: &Rules,
) -> Outcome {
    let mut out = merge::decide(base, local, &dialect.echo(local), remote, rules);
    let marks = only_marks(&out.remote.boxes, &dialect.echo(&out.remote).boxes, &remote.boxes);
    if let Some(boxes) = &marks {
        out.remote.boxes.clone_from(boxes);
    }
    if out.pushed.contains(&Field::Priority) && out.remote.priority.is_none() && !dialect.can_clear_priority()
    {
        // Every item there has one: who takes his away leaves it to the tracker.
        out.pushed.retain(|field| *field != Field::Priority);
        out.remote.priority = remote.priority;
        out.base.remote.priority = remote.priority;
    }
    // What the tracker will say of it is what is compared the next time.
    let echo = dialect.echo(&out.base.remote);
    for field in out.pushed.clone() {
        match only_marks(&out.base.remote.boxes, &echo.boxes, &remote.boxes)
            .filter(|_| marks.is_some() && field == Field::Boxes)
        {
            Some(boxes) => out.base.remote.boxes = boxes,
            None => out.base.remote.take(field, &echo),
        }
    }
    out
}

/// A story that has another name by now has it in the title of its item, too.
pub fn retitle(store: &Store, key: &str, item: &Item, rules: &Rules, out: &mut Outcome) {
    let moved = store.story(&item.key).is_some_and(|known| known != key);
    if moved
        && out.conflicts.is_empty()
        && rules.push.contains(&Field::Title)
        && !out.pushed.contains(&Field::Title)
    {
        out.pushed.insert(0, Field::Title);
    }
}

/// The tracker's own boxes with other marks, where marks are all in which they differ from those that are wanted: whose
/// words are the same as they stand, or as the tracker would give them back.
pub fn only_marks(wanted: &[Checkbox], echo: &[Checkbox], remote: &[Checkbox]) -> Option<Vec<Checkbox>> {
    let (wanted, echo) = (record::by_key(wanted), record::by_key(echo));
    let theirs = record::keys(remote);
    let marked = |(one, key): (&Checkbox, &BoxKey)| {
        let mine = wanted.get(key)?;
        let same_words = mine.text == one.text || echo.get(key).is_some_and(|echo| echo.text == one.text);
        same_words.then(|| Checkbox { checked: mine.checked, ..one.clone() })
    };
    (wanted.len() == theirs.len()).then_some(())?;
    remote.iter().zip(&theirs).map(marked).collect()
}

/// What no side ever says: a side that is compared with it has changed.
pub fn nothing() -> Record {
    let unsaid = || "\u{0}".to_owned();
    Record {
        title: unsaid(),
        status: unsaid(),
        priority: Some(u8::MAX),
        labels: BTreeSet::from([unsaid()]),
        description: unsaid(),
        boxes: Vec::new(),
    }
}

/// The base of a story that an import wrote, as far as its hashes tell: a side that has changed is like no other.
pub fn remembered(
    bases: &[story::Base],
    fields: &Fields,
    item: &Item,
    local: &Record,
    remote: &Record,
) -> Base {
    let (ours, theirs) = (fields.prints(), Fields::of(item).prints());
    let was = |prints: &dyn Fn(&story::Base) -> Prints, now: &Prints, place: usize| {
        bases.iter().any(|base| prints(base).0[place] == now.0[place])
    };
    let places = [(Field::Title, 0), (Field::Status, 1), (Field::Priority, 2), (Field::Description, 3)];
    let other = nothing();
    let mut base = Base { local: local.clone(), remote: remote.clone() };
    for (field, place) in places {
        let criteria = field == Field::Description;
        let local_is_old =
            was(&|base| base.local, &ours, place) && (!criteria || was(&|base| base.local, &ours, 4));
        let remote_is_old = bases.first().is_some_and(|base| {
            base.remote.0[place] == theirs.0[place] && (!criteria || base.remote.0[4] == theirs.0[4])
        });
        if !local_is_old {
            base.local.take(field, &other);
        }
        if !remote_is_old {
            base.remote.take(field, &other);
        }
    }
    if bases.first().is_some_and(|base| base.checks == Fields::of(item).checks()) {
        base.local.boxes.clone_from(&remote.boxes);
        return base;
    }
    // A box that is marked on one side alone was marked there.
    for (mine, theirs) in base.local.boxes.iter_mut().zip(&mut base.remote.boxes) {
        if mine.checked != theirs.checked {
            (mine.checked, theirs.checked) = (false, false);
        }
    }
    base
}

/// Which item each story is.
pub struct Pairs<'a> {
    pub items: BTreeMap<&'a str, &'a Item>,
    /// Items that were made for a story that has another.
    pub twins: Vec<(&'a str, &'a Item)>,
    /// Items that are some story's, also of one that is not here.
    pub taken: BTreeSet<&'a str>,
}

/// Finds the item of each story: by the link in its file, by what is remembered, by the marker, by the title.
pub fn pair<'a>(view: &View<'a>) -> Pairs<'a> {
    let by_reference: HashMap<&str, &Item> =
        view.items.values().map(|item| (item.reference(), item)).collect();
    let mut by_marker: HashMap<&str, Vec<&Item>> = HashMap::new();
    let mut by_title: HashMap<(&str, &str), Vec<&Item>> = HashMap::new();
    for item in view.items.values() {
        // Whoever may open an issue may write any title and any marker.
        if item.by_outsider && item.marker().is_none_or(|_| view.store.story(&item.key).is_none()) {
            continue;
        }
        if let Some(marker) = item.marker() {
            by_marker.entry(marker).or_default().push(item);
        } else if let (Some(names), _) = dialect::split_title(&item.title) {
            by_title.entry(names).or_default().push(item);
        }
    }
    let mut pairs = Pairs { items: BTreeMap::new(), twins: Vec::new(), taken: BTreeSet::new() };
    let mut names: HashMap<(&str, &str), usize> = HashMap::new();
    let parts = |key: &'a str| {
        let (rest, id) = key.rsplit_once('/')?;
        Some((rest.rsplit('/').next().unwrap_or(rest), id))
    };
    for key in view.stories.keys() {
        *names.entry(parts(key).unwrap_or_default()).or_default() += 1;
    }
    let take = |pairs: &mut Pairs<'a>, key: &'a str, item: &'a Item| {
        let is_new = pairs.taken.insert(item.key.as_str());
        if is_new {
            pairs.items.insert(key, item);
        }
        is_new
    };
    // Of several that name one item, as copies do, the one that was linked to it is its story.
    let named: Vec<(&str, &Item)> = view
        .stories
        .iter()
        .filter_map(|(key, story)| Some((key.as_str(), *by_reference.get(story.reference.as_deref()?)?)))
        .collect();
    let is_known = |(key, item): &&(&'a str, &'a Item)| view.store.story(&item.key) == Some(*key);
    for (key, item) in named.iter().filter(is_known).chain(named.iter().filter(|pair| !is_known(pair))) {
        take(&mut pairs, key, item);
    }
    for (key, story) in view.stories {
        if pairs.items.contains_key(key.as_str()) || story.reference.is_some() {
            continue;
        }
        if let Some(item) = view.store.link(key).and_then(|link| view.items.get(&link.remote)) {
            take(&mut pairs, key, item);
        }
    }
    for (key, story) in view.stories {
        let marker = dialect::marker(key);
        let mut marked = by_marker.get(marker.as_str()).cloned().unwrap_or_default();
        marked.sort_by_key(|item| (item.created, item.reference().len(), item.reference().to_owned()));
        if !pairs.items.contains_key(key.as_str())
            && story.reference.is_none()
            && view.store.link(key).is_none()
        {
            let titled = parts(key).filter(|names_of| names.get(names_of) == Some(&1)).and_then(|names_of| {
                match by_title.get(&names_of).map(Vec::as_slice) {
                    Some([one]) => Some(*one),
                    _ => None,
                }
            });
            let free = |item: &&&Item| {
                !pairs.taken.contains(item.key.as_str())
                    && view.store.story(&item.key).is_none()
                    && !view.store.is_dropped(&item.key)
            };
            let found = marked.iter().find(free).or(titled.as_ref().filter(free)).copied();
            if let Some(item) = found {
                take(&mut pairs, key, item);
            }
        }
        let own = pairs.items.get(key.as_str()).map(|item| item.key.as_str());
        if own.is_some() {
            for twin in marked {
                let names = dialect::split_title(&twin.title).0;
                let is_copy = names == parts(key) && !view.store.is_dropped(&twin.key);
                if Some(twin.key.as_str()) != own && is_copy && pairs.taken.insert(twin.key.as_str()) {
                    pairs.twins.push((key, twin));
                }
            }
        }
    }
    for (key, item) in view.items {
        if item.marker().is_some()
            || view.store.story(key).is_some_and(|story| !is_imported(view.store, story))
        {
            pairs.taken.insert(key);
        }
    }
    pairs
}

fn is_imported(store: &Store, story: &str) -> bool {
    store.link(story).is_some_and(|link| link.imported)
}

/// Whether a name means a story: its key or the end of it, its feature, its file, or its item.
fn means(name: &str, story: &str, path: &str, item: Option<&Item>) -> bool {
    let (name, story) = (name.to_lowercase(), story.split(' ').next().unwrap_or(story).to_lowercase());
    let file = path.rsplit('/').next().unwrap_or(path);
    let bare = name.trim_start_matches('#');
    story == name
        || story.ends_with(&format!("/{name}"))
        || story.contains(&format!("/{name}/"))
        || story.starts_with(&format!("{name}/"))
        || story.ends_with(&format!("-{name}"))
        || (name.starts_with("us-") && file.starts_with(&format!("{name}-")))
        || item.is_some_and(|item| {
            item.reference().eq_ignore_ascii_case(bare) || item.external_id.eq_ignore_ascii_case(&name)
        })
}

/// Everything that could be named: a story, its file, its item.
fn nameable<'a>(view: &View<'a>, pairs: &Pairs<'a>) -> Vec<(&'a str, &'a str, Option<&'a Item>)> {
    let stories = view
        .stories
        .iter()
        .map(|(key, story)| (key.as_str(), story.path.as_str(), pairs.items.get(key.as_str()).copied()));
    let broken = view.broken.keys().map(|path| (path.as_str(), path.as_str(), None));
    let theirs =
        view.items.iter().filter(|(key, _)| !pairs.taken.contains(key.as_str())).map(|(key, item)| {
            let path = view.imported.get(key).map_or("", |here| here.path.as_str());
            (item.external_id.as_str(), path, Some(item))
        });
    let lost = view.store.links().filter(|(key, link)| !link.imported && !view.stories.contains_key(*key));
    let lost = lost.map(|(key, link)| (key, link.path.as_str(), view.items.get(&link.remote)));
    stories.chain(broken).chain(theirs).chain(lost).collect()
}

/// Decides over everything.
pub fn plan(view: &View, terms: &Terms) -> Result<Plan, Guard> {
    let pairs = pair(view);
    let known = if terms.only.is_empty() { Vec::new() } else { nameable(view, &pairs) };
    for name in terms.only {
        let fits = |(story, path, item): &&(&str, &str, Option<&Item>)| means(name, story, path, *item);
        let meant: Vec<String> = known.iter().filter(fits).map(|(story, ..)| (*story).to_owned()).collect();
        match meant.len() {
            0 => return Err(Guard::NoStory(name.clone())),
            1 => {}
            _ if terms.resolve => return Err(Guard::Several { name: name.clone(), meant }),
            _ => {}
        }
    }
    let mut plan = Plan::default();
    for (path, error) in view.broken {
        plan.act(Verb::Broken, path, Origin::Authored, path).reason.clone_from(error);
    }
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    for (key, story) in view.stories {
        let Some(item) = pairs.items.get(key.as_str()) else {
            plan.alone(view, terms, story);
            continue;
        };
        plan.together(view, terms, story, item);
    }
    let mut linked = 0;
    for (key, link) in view.store.links() {
        linked += usize::from(!link.imported && !link.orphaned);
        if !link.imported
            && !view.stories.contains_key(key)
            && !pairs.items.values().any(|item| item.key == link.remote)
        {
            match view.unread.contains(key) {
                true => plan.unchanged += 1,
                false => plan.lost(view, terms, key, link),
            }
        }
    }
    for (key, twin) in &pairs.twins {
        let is_open = dialect::told(twin).category as u8 <= 1;
        if terms.may_create && is_open {
            // A name of its own: the story itself may have something to do, too.
            let action = plan.act(Verb::Heal, &format!("{key} {}", twin.shown), Origin::Authored, "");
            action.item = Some(twin.key.clone());
            action.reason = format!("{} was made twice", twin.shown);
        }
    }
    for (key, item) in view.items.iter().filter(|(key, _)| !pairs.taken.contains(key.as_str())) {
        plan.of_tracker(view, terms, key, item);
    }
    plan.actions.retain(|action| {
        let item = action.item.as_ref().and_then(|key| view.items.get(key));
        terms.only.is_empty() || terms.only.iter().any(|name| means(name, &action.story, &action.path, item))
    });
    if terms.resolve {
        plan.actions.retain(|action| action.verb == Verb::Conflict);
        plan.actions.iter_mut().for_each(|action| action.verb = Verb::Settle);
        if plan.actions.is_empty() {
            return Err(Guard::NoConflict(terms.only.join(", ")));
        }
    }
    for action in &plan.actions {
        let feature = view.stories.get(&action.story).map(|story| story.feature.as_str());
        if let Some(feature) =
            feature.filter(|feature| action.verb == Verb::Create && !view.groups.contains(*feature))
        {
            groups.insert(feature);
        }
    }
    for feature in groups {
        plan.act(Verb::Group, feature, Origin::Authored, "").reason = "its stories stand below it".into();
    }
    // What others stand below comes first; items of the tracker together.
    plan.actions.sort_by_key(|action| {
        (action.verb != Verb::Group, action.verb == Verb::Recheck, action.origin == Origin::Imported)
    });
    let is_deletion = |action: &&Action| matches!(action.verb, Verb::Unlink | Verb::Close | Verb::Orphan);
    let gone = plan.actions.iter().filter(is_deletion).count();
    if !terms.force_deletes && gone > 0 {
        if view.stories.is_empty() {
            return Err(Guard::NothingHere(linked));
        }
        if view.items.is_empty() {
            return Err(Guard::NothingThere(linked));
        }
        if gone > MOST_GONE || (gone > 1 && gone * 5 > linked) {
            return Err(Guard::ManyGone { gone, linked });
        }
    }
    Ok(plan)
}

impl Plan {
    fn act(&mut self, verb: Verb, story: &str, origin: Origin, path: &str) -> &mut Action {
        let (story, path) = (story.to_owned(), path.to_owned());
        let (fields, reason) = Default::default();
        self.actions.push(Action { verb, story, origin, fields, reason, item: None, path });
        self.actions.last_mut().expect("it was just added")
    }

    /// A story that no item is found for.
    fn alone(&mut self, view: &View, terms: &Terms, story: &Story) {
        let link = view.store.link(&story.key);
        let is_gone = match (&story.reference, link) {
            (Some(reference), _) => view.dead.contains(reference),
            (None, Some(link)) => !link.orphaned && view.gone.contains(&link.remote),
            (None, None) => false,
        };
        let was_seen = story.reference.is_some() || link.is_some_and(|link| !link.orphaned);
        match (is_gone, was_seen) {
            (true, _) if link.is_some_and(|link| link.orphaned) => self.unchanged += 1,
            (true, _) => {
                let reference = story.reference.as_deref().or(link.map(|link| link.reference.as_str()));
                let action = self.act(Verb::Orphan, &story.key, Origin::Authored, &story.path);
                action.reason =
                    format!("{} is gone in the tracker; the story stays", reference.unwrap_or_default());
            }
            // Nothing is known for sure, and nothing is done.
            (false, true) => {
                let reference = story.reference.as_deref().or(link.map(|link| link.reference.as_str()));
                let action = self.act(Verb::Broken, &story.key, Origin::Authored, &story.path);
                let item = reference.unwrap_or_default();
                action.reason = format!("its item {item} is another story's, or cannot be read");
            }
            (false, false) if terms.may_create && view.store.intent(&story.key).is_some() => {
                let action = self.act(Verb::Recheck, &story.key, Origin::Authored, &story.path);
                action.reason = "it may have been made already".into();
            }
            (false, false) if terms.may_create => {
                let action = self.act(Verb::Create, &story.key, Origin::Authored, &story.path);
                action.reason.clone_from(&story.record.title);
            }
            (false, false) => self.unchanged += 1,
        }
    }

    /// A story and its item.
    fn together(&mut self, view: &View, terms: &Terms, story: &Story, item: &Item) {
        let remote = terms.dialect.record(item, Origin::Authored);
        let base = base_of(view.store, terms.dialect, story, item, &remote);
        let mut out = decide_authored(terms.dialect, base.as_ref(), &story.record, &remote, &terms.authored);
        retitle(view.store, &story.key, item, &terms.authored, &mut out);
        let unlinked = story.reference.as_deref() != Some(item.reference());
        let verb = match (out.conflicts.is_empty(), out.pulled.is_empty(), out.pushed.is_empty()) {
            (false, ..) => Verb::Conflict,
            (true, false, false) => Verb::Merge,
            (true, true, false) => Verb::Push,
            (true, false, true) => Verb::Pull,
            (true, true, true) if unlinked => Verb::Link,
            (true, true, true) => {
                self.unchanged += 1;
                let is_known = view.store.link(&story.key).is_some_and(|link| {
                    link.base.as_ref() == Some(&out.base) && link.remote == item.key && !link.orphaned
                });
                if !is_known {
                    self.settled.push((story.key.clone(), item.key.clone(), out.base));
                }
                return;
            }
        };
        let action = self.act(verb, &story.key, Origin::Authored, &story.path);
        action.item = Some(item.key.clone());
        action.fields = match verb {
            Verb::Conflict => out.conflicts,
            _ => {
                Field::ALL.into_iter().filter(|f| out.pulled.contains(f) || out.pushed.contains(f)).collect()
            }
        };
        action.reason = match verb {
            Verb::Merge => format!("{} here, {} there", names(&out.pulled), names(&out.pushed)),
            _ => names(&action.fields),
        };
    }

    /// An item whose story is gone here.
    fn lost(&mut self, view: &View, terms: &Terms, key: &str, link: &Link) {
        let Some(item) = view.items.get(&link.remote) else {
            if view.gone.contains(&link.remote) || link.orphaned {
                // Both are gone.
                self.act(Verb::Unlink, key, Origin::Authored, &link.path).reason =
                    "gone on both sides".into();
            }
            return;
        };
        let remote = terms.dialect.record(item, Origin::Authored);
        let base = link
            .base
            .clone()
            .or_else(|| link.born.as_ref().map(|sent| newborn(terms.dialect, sent, &remote)));
        let changed = base.as_ref().is_none_or(|base| base.remote != remote);
        let verb = match (changed, terms.may_import, terms.may_delete) {
            (true, true, _) => Verb::Restore,
            (true, false, _) => {
                self.unchanged += 1;
                return;
            }
            (false, _, true) => Verb::Close,
            (false, _, false) => Verb::Unlink,
        };
        let action = self.act(verb, key, Origin::Authored, &link.path);
        action.item = Some(item.key.clone());
        action.reason = match verb {
            Verb::Restore => format!("its file is gone, and {} was changed since", item.shown),
            _ => format!("its file is gone; {}", item.shown),
        };
    }

    /// An item that came into the world in the tracker.
    fn of_tracker(&mut self, view: &View, terms: &Terms, key: &str, item: &Item) {
        let foreseen = view.foreseen.get(key).unwrap_or(&Foreseen::Nothing);
        let id = item.external_id.as_str();
        let Some(here) = view.imported.get(key).filter(|_| item.kind != Kind::Step) else {
            match foreseen {
                Foreseen::New if terms.may_import => self.act(Verb::Import, id, Origin::Imported, ""),
                Foreseen::Changed if terms.may_import => self.act(Verb::Pull, id, Origin::Imported, ""),
                Foreseen::Conflict(why) if terms.may_import => {
                    let action = self.act(Verb::Conflict, id, Origin::Imported, "");
                    action.reason.clone_from(why);
                    action
                }
                _ => {
                    self.unchanged += 1;
                    return;
                }
            }
            .item = Some(key.to_owned());
            if let Some(action) = self.actions.last_mut().filter(|action| action.reason.is_empty()) {
                action.reason.clone_from(&item.title);
            }
            return;
        };
        let (out, _) = decide_imported(terms.dialect, view.store.link(id), here, item, &terms.imported);
        let (pulls, pushes) = (!out.pulled.is_empty(), !out.pushed.is_empty());
        let mut reason = names(
            &Field::ALL
                .into_iter()
                .filter(|f| out.pulled.contains(f) || out.pushed.contains(f))
                .collect::<Vec<_>>(),
        );
        let verb = match (out.conflicts.is_empty(), foreseen) {
            (false, _) => {
                reason = names(&out.conflicts);
                Verb::Conflict
            }
            (true, _) if pushes && here.waits.is_some() => {
                reason = format!("settle {} first", here.waits.as_deref().unwrap_or_default());
                Verb::Conflict
            }
            (true, Foreseen::Conflict(why)) if !pulls && !pushes && terms.may_import => {
                reason.clone_from(why);
                Verb::Conflict
            }
            (true, _) if pulls && pushes => Verb::Merge,
            (true, _) if pushes => Verb::Push,
            (true, Foreseen::New) if terms.may_import => Verb::Import,
            (true, Foreseen::Changed) if terms.may_import => Verb::Pull,
            (true, _) if pulls => Verb::Pull,
            _ if terms.resolve && here.waits.is_some() => Verb::Conflict,
            _ => {
                self.unchanged += 1;
                return;
            }
        };
        let action = self.act(verb, id, Origin::Imported, &here.path);
        action.item = Some(key.to_owned());
        action.fields =
            if verb == Verb::Conflict { out.conflicts } else { [out.pulled, out.pushed].concat() };
        action.fields.sort();
        action.fields.dedup();
        action.reason = reason;
    }
}

/// The outcome for a story that came from the tracker, and the base that it was compared with.
pub fn decide_imported(
    dialect: &Dialect,
    link: Option<&Link>,
    here: &Imported,
    item: &Item,
    rules: &Rules,
) -> (Outcome, Base) {
    let remote = dialect.record(item, Origin::Imported);
    let local = dialect::imported_here(dialect.map, &here.fields, &remote, &here.text);
    let known = link.and_then(|link| link.base.clone());
    let base = known.unwrap_or_else(|| remembered(&here.bases, &here.fields, item, &local, &remote));
    (merge::decide(Some(&base), &local, &local, &remote, rules), base)
}

/// The base of a pair, as far as it is known. A copy that was left when its original went is not what met.
pub fn base_of(
    store: &Store,
    dialect: &Dialect,
    story: &Story,
    item: &Item,
    remote: &Record,
) -> Option<Base> {
    let key = story.key.as_str();
    let id = |key: &str| key.rsplit('/').next().unwrap_or(key).to_owned();
    let known = store.story(&item.key).and_then(|known| Some((known, store.link(known)?)));
    let same =
        known.filter(|(known, link)| id(known) == id(key) || link.path == story.path || link.path.is_empty());
    let link = same.map(|(_, link)| link);
    let sent = link.and_then(|link| link.born.as_ref()).or(store.intent(key).map(|intent| &intent.record));
    link.and_then(|link| link.base.clone()).or_else(|| sent.map(|sent| newborn(dialect, sent, remote)))
}

pub fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ")
}
