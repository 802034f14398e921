//! Which item each story is, and what a name means. Pure.

use super::View;
use crate::model::item::Item;
use crate::model::story_key::{StoryKey, marker};
use crate::work::sync::dialect;
use crate::work::sync::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Which item each story is.
#[derive(Default)]
pub struct Pairs<'a> {
    pub items: BTreeMap<&'a str, &'a Item>,
    /// Items that were made for a story that has another.
    pub twins: Vec<(&'a str, &'a Item)>,
    /// Items that have the title of a story that has another: SpecWeave has made several for one story.
    pub duplicates: Vec<(&'a str, &'a Item)>,
    /// Items that are some story's, also of one that is not here.
    pub taken: BTreeSet<&'a str>,
}

/// Finds the item of each story: by the link in its file, by what is remembered, by the marker, by the title.
pub fn pair<'a>(view: &View<'a>) -> Pairs<'a> {
    let mut pairs = Pairs::default();
    pairs.by_reference(view);
    pairs.by_link(view);
    pairs.by_mark(view, &Marks::of(view));
    for (key, item) in view.items {
        if item.marker().is_some()
            || view.store.story(key).is_some_and(|story| !is_imported(view.store, story))
        {
            pairs.taken.insert(key);
        }
    }
    pairs
}

/// The feature and the story of a key, as they stand in an item's title.
fn names(key: &str) -> Option<(&str, &str)> {
    StoryKey::parse(key).map(|key| (key.feature, key.story))
}

/// By what an item tells whose it is.
struct Marks<'a> {
    by_marker: HashMap<&'a str, Vec<&'a Item>>,
    by_title: HashMap<(&'a str, &'a str), Vec<&'a Item>>,
    /// How many stories have these names.
    named: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Marks<'a> {
    fn of(view: &View<'a>) -> Self {
        let (mut by_marker, mut by_title) = (HashMap::new(), HashMap::new());
        for item in view.items.values() {
            // Whoever may open an issue may write any title and any marker.
            if item.by_outsider && item.marker().is_none_or(|_| view.store.story(&item.key).is_none()) {
                continue;
            }
            if let Some(marker) = item.marker() {
                by_marker.entry(marker).or_insert_with(Vec::new).push(item);
            } else if let (Some(names), _) = dialect::split_title(&item.title) {
                by_title.entry(names).or_insert_with(Vec::new).push(item);
            }
        }
        let mut named = HashMap::new();
        for key in view.stories.keys() {
            *named.entry(names(key).unwrap_or_default()).or_default() += 1;
        }
        Self { by_marker, by_title, named }
    }

    /// The items that have a story's marker, the oldest first.
    fn marked(&self, key: &str) -> Vec<&'a Item> {
        let mut marked = self.by_marker.get(marker(key).as_str()).cloned().unwrap_or_default();
        marked.sort_by_key(|item| (item.created, item.reference().len(), item.reference().to_owned()));
        marked
    }

    /// The items whose titles name a story that is the only one of this name: open ones first, then the oldest.
    fn titled(&self, key: &'a str) -> Vec<&'a Item> {
        let names = names(key).filter(|names| self.named.get(names) == Some(&1));
        let mut titled = names.and_then(|names| self.by_title.get(&names)).cloned().unwrap_or_default();
        titled.sort_by_key(|item| {
            (!dialect::is_open(item), item.created, item.reference().len(), item.reference())
        });
        titled
    }
}

impl<'a> Pairs<'a> {
    /// The keys of the items that are some story's here.
    pub fn paired(&self) -> BTreeSet<&'a str> {
        self.items.values().map(|item| item.key.as_str()).collect()
    }

    fn take(&mut self, key: &'a str, item: &'a Item) {
        if self.taken.insert(item.key.as_str()) {
            self.items.insert(key, item);
        }
    }

    /// Of several that name one item, as copies do, the one that was linked to it is its story.
    fn by_reference(&mut self, view: &View<'a>) {
        let by_reference: HashMap<&str, &Item> =
            view.items.values().map(|item| (item.reference(), item)).collect();
        let named = view.stories.iter();
        let named = named
            .filter_map(|(key, story)| Some((key.as_str(), *by_reference.get(story.reference.as_deref()?)?)));
        let (known, others): (Vec<_>, Vec<_>) =
            named.partition(|(key, item)| view.store.story(&item.key) == Some(*key));
        for (key, item) in known.into_iter().chain(others) {
            self.take(key, item);
        }
    }

    fn by_link(&mut self, view: &View<'a>) {
        for (key, story) in view.stories {
            if self.items.contains_key(key.as_str()) || story.reference.is_some() {
                continue;
            }
            if let Some(item) = view.store.link(key).and_then(|link| view.items.get(&link.remote)) {
                self.take(key, item);
            }
        }
    }

    /// By the marker, else by the title. What else has the marker of a story with an item was made twice.
    fn by_mark(&mut self, view: &View<'a>, marks: &Marks<'a>) {
        for (key, story) in view.stories {
            let marked = marks.marked(key);
            let has_none = !self.items.contains_key(key.as_str());
            if has_none && story.reference.is_none() && view.store.link(key).is_none() {
                let free = |item: &&Item| {
                    !self.taken.contains(item.key.as_str())
                        && view.store.story(&item.key).is_none()
                        && !view.store.is_dropped(&item.key)
                };
                let found =
                    marked.iter().copied().find(free).or_else(|| marks.titled(key).into_iter().find(free));
                if let Some(item) = found {
                    self.take(key, item);
                }
            }
            let Some(own) = self.items.get(key.as_str()).map(|item| item.key.as_str()) else { continue };
            for other in marks.titled(key) {
                let is_free = view.store.story(&other.key).is_none() && !view.store.is_dropped(&other.key);
                if is_free && other.key != own && self.taken.insert(other.key.as_str()) {
                    self.duplicates.push((key, other));
                }
            }
            for twin in marked {
                let is_copy = dialect::split_title(&twin.title).0 == names(key);
                let is_free = twin.key != own && !view.store.is_dropped(&twin.key);
                if is_copy && is_free && self.taken.insert(twin.key.as_str()) {
                    self.twins.push((key, twin));
                }
            }
        }
    }
}

fn is_imported(store: &Store, story: &str) -> bool {
    store.link(story).is_some_and(|link| link.imported)
}

/// Whether a name means a story: its key or the end of it, its feature, its file, or its item.
pub(super) fn means(name: &str, story: &str, path: &str, item: Option<&Item>) -> bool {
    let (name, story) = (name.to_lowercase(), story.to_lowercase());
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
pub(super) fn nameable<'a>(view: &View<'a>, pairs: &Pairs<'a>) -> Vec<(&'a str, &'a str, Option<&'a Item>)> {
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
