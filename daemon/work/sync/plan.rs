//! What a sync does, decided before any of it is done. Pure: a dry run prints this, and a run carries it out.

mod action;
mod outcomes;
mod pairing;
mod view;

pub use action::{Action, Verb};
pub use outcomes::{Meeting, contradictions_of_imported, decide_imported, retitle};
pub use pairing::pair;
pub use view::{Foreseen, Story, Terms, View};

use super::store::Link;
use crate::model::item::{Item, Kind};
use crate::model::merge::{Base, Policy};
use crate::model::record::Field;
use crate::work::sync::dialect::{self, Origin};
use outcomes::newborn;
use pairing::{Pairs, means, nameable};
use std::collections::BTreeSet;

/// All that is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Pairs that are the same on both sides by now: it is noted, and nothing is written.
    pub settled: Vec<(String, String, Base)>,
    /// Stories and items without anything to do.
    pub unchanged: u64,
    /// What a person should know besides.
    pub notes: Vec<String>,
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

/// Decides over everything.
pub fn plan(view: &View, terms: &Terms) -> Result<Plan, Guard> {
    let pairs = pair(view);
    check_names(view, terms, &pairs)?;
    let mut plan = Plan::default();
    for (path, error) in view.broken {
        plan.act(Verb::Broken, path, Origin::Authored, path).reason.clone_from(error);
    }
    for (key, story) in view.stories {
        match pairs.items.get(key.as_str()) {
            Some(item) => plan.together(view, terms, story, item),
            None => plan.alone(view, terms, story),
        }
    }
    let linked = plan.without_story(view, terms, &pairs);
    for (key, twin) in &pairs.twins {
        if terms.may_create && dialect::is_open(twin) {
            let action = plan.act(Verb::Heal, key, Origin::Authored, "");
            action.item = Some(twin.key.clone());
            action.reason = format!("{} was made twice", twin.shown);
        }
    }
    for (key, item) in view.items.iter().filter(|(key, _)| !pairs.taken.contains(key.as_str())) {
        plan.of_tracker(view, terms, key, item);
    }
    for (key, other) in &pairs.duplicates {
        let own = pairs.items.get(key).map_or("", |item| item.shown.as_str());
        let told = format!("{} has the title of {key}, which is {own}: it is left alone", other.shown);
        plan.notes.push(told);
    }
    plan.note_others(view, &pairs);
    plan.restrict(view, terms)?;
    plan.add_groups(view);
    // What others stand below comes first; items of the tracker together.
    plan.actions.sort_by_key(|action| {
        (action.verb != Verb::Group, action.verb == Verb::Recheck, action.origin == Origin::Imported)
    });
    plan.guard_deletions(view, terms, linked)?;
    Ok(plan)
}

/// Whether every name that was asked for means something, and only one thing where one is meant.
fn check_names(view: &View, terms: &Terms, pairs: &Pairs) -> Result<(), Guard> {
    let known = if terms.only.is_empty() { Vec::new() } else { nameable(view, pairs) };
    for name in terms.only {
        let fits = |(story, path, item): &&(&str, &str, Option<&Item>)| means(name, story, path, *item);
        let meant: Vec<String> = known.iter().filter(fits).map(|(story, ..)| (*story).to_owned()).collect();
        match meant.len() {
            0 => return Err(Guard::NoStory(name.clone())),
            2.. if terms.resolve => return Err(Guard::Several { name: name.clone(), meant }),
            _ => {}
        }
    }
    Ok(())
}

impl Plan {
    fn act(&mut self, verb: Verb, story: &str, origin: Origin, path: &str) -> &mut Action {
        let (story, path) = (story.to_owned(), path.to_owned());
        let (fields, reason) = Default::default();
        self.actions.push(Action { verb, story, origin, fields, reason, item: None, path });
        self.actions.last_mut().expect("it was just added")
    }

    /// Links whose story is not here; gives how many links of stories there are.
    fn without_story(&mut self, view: &View, terms: &Terms, pairs: &Pairs) -> usize {
        let paired = pairs.paired();
        let mut linked = 0;
        for (key, link) in view.store.links().filter(|(_, link)| !link.imported) {
            linked += usize::from(!link.orphaned);
            if view.stories.contains_key(key) || paired.contains(link.remote.as_str()) {
                continue;
            }
            if view.unread.contains(key) { self.unchanged += 1 } else { self.lost(view, terms, key, link) }
        }
        linked
    }

    /// Tells of items that were made from stories which are not here.
    fn note_others(&mut self, view: &View, pairs: &Pairs) {
        let paired = pairs.paired();
        let is_others = |item: &&Item| {
            item.marker().is_some()
                && !paired.contains(item.key.as_str())
                && view.store.story(&item.key).is_none()
                && !view.store.is_dropped(&item.key)
        };
        let others: Vec<&str> =
            view.items.values().filter(is_others).map(|item| item.shown.as_str()).collect();
        if let Some(first) = others.first() {
            let them = match others.len() {
                1 => format!("{first} was made from a story that is not here, and is left alone"),
                count => format!(
                    "{first} and {} more were made from stories that are not here, and are left alone",
                    count - 1
                ),
            };
            self.notes.push(format!("{them}; an import takes them"));
        }
    }

    /// Keeps what was asked for.
    fn restrict(&mut self, view: &View, terms: &Terms) -> Result<(), Guard> {
        self.actions.retain(|action| {
            let item = action.item.as_ref().and_then(|key| view.items.get(key));
            let means_it = |name: &String| means(name, &action.story, &action.path, item);
            terms.only.is_empty() || terms.only.iter().any(means_it)
        });
        if terms.resolve {
            self.actions.retain(|action| action.verb == Verb::Conflict);
            self.actions.iter_mut().for_each(|action| action.verb = Verb::Settle);
            if self.actions.is_empty() {
                return Err(Guard::NoConflict(terms.only.join(", ")));
            }
        }
        Ok(())
    }

    /// What new items are to stand below is made, too.
    fn add_groups(&mut self, view: &View) {
        let created = self.actions.iter().filter(|action| action.verb == Verb::Create);
        let features = created.filter_map(|action| Some(&view.stories.get(&action.story)?.feature));
        let missing: BTreeSet<&String> = features.filter(|feature| !view.groups.contains(*feature)).collect();
        for feature in missing {
            self.act(Verb::Group, feature, Origin::Authored, "").reason = "its stories stand below it".into();
        }
    }

    /// Refuses a plan that removes more than a person would.
    fn guard_deletions(&self, view: &View, terms: &Terms, linked: usize) -> Result<(), Guard> {
        let is_deletion = |action: &&Action| matches!(action.verb, Verb::Unlink | Verb::Close | Verb::Orphan);
        let gone = self.actions.iter().filter(is_deletion).count();
        if terms.force_deletes || gone == 0 {
            return Ok(());
        }
        if view.stories.is_empty() {
            return Err(Guard::NothingHere(linked));
        }
        if view.items.is_empty() {
            return Err(Guard::NothingThere(linked));
        }
        if gone > MOST_GONE || (gone > 1 && gone * 5 > linked) {
            return Err(Guard::ManyGone { gone, linked });
        }
        Ok(())
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
                let reference = reference.unwrap_or_default();
                action.reason = match view.moved.get(reference) {
                    Some(place) => format!("{reference} has moved to {place}; the story stays"),
                    None => format!("{reference} is gone in the tracker; the story stays"),
                };
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
        let meeting = Meeting::of(view.store, terms.dialect, story, item, &remote);
        let mut out = meeting.decide(terms.dialect, story, &remote, &terms.authored);
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
                    link.base.as_ref() == Some(&out.base)
                        && link.remote == item.key
                        && !link.orphaned
                        && !view.store.is_in_conflict(&story.key)
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
        let out = decide_imported(terms.dialect, here, item, &terms.imported, None);
        let open = contradictions_of_imported(terms.dialect, here, item, &terms.imported);
        let is_decided = terms.imported.policy != Policy::Manual && here.waits.is_some();
        let (pulls, pushes) = (!out.pulled.is_empty(), !out.pushed.is_empty());
        let mut fields = [out.pulled, out.pushed].concat();
        fields.sort();
        fields.dedup();
        let mut reason = names(&fields);
        let verb = match foreseen {
            _ if is_decided => Verb::Settle,
            _ if !open.is_empty() && terms.imported.policy == Policy::Manual => {
                (reason, fields) = (names(&open), open);
                Verb::Conflict
            }
            _ if pushes && let Some(waits) = &here.waits => {
                reason = format!("{} waits for a decision", waits.file);
                Verb::Conflict
            }
            Foreseen::Conflict(why) if !pulls && !pushes && terms.may_import => {
                reason.clone_from(why);
                Verb::Conflict
            }
            _ if pulls && pushes => Verb::Merge,
            _ if pushes => Verb::Push,
            Foreseen::New if terms.may_import => Verb::Import,
            Foreseen::Changed if terms.may_import => Verb::Pull,
            _ if pulls => Verb::Pull,
            _ if terms.resolve && here.waits.is_some() => Verb::Conflict,
            _ => {
                self.unchanged += 1;
                return;
            }
        };
        let action = self.act(verb, id, Origin::Imported, &here.path);
        action.item = Some(key.to_owned());
        action.fields = fields;
        action.reason = reason;
    }
}

pub fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ")
}
