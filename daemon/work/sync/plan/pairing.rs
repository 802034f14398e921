//! Which item each story is, and what a name means. Pure.

use super::View;
use crate::model::item::Item;
use crate::model::story_key::StoryKey;
use crate::work::sync::dialect;
use crate::work::sync::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    let parts = |key: &'a str| StoryKey::parse(key).map(|key| (key.feature, key.story));
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
