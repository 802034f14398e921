//! The items that are known here as those of stories and features which were written here: an import leaves them to those.

use crate::docs::authored;
use crate::model::item::{Item, Platform};
use crate::model::story_key::marker;
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct Authored {
    /// What a sync writes into their items.
    markers: HashSet<String>,
    /// The addresses of items that their files name, in lower case; of some, only what the tracker calls the item.
    links: HashMap<(Platform, String), Option<String>>,
}

impl Authored {
    /// Reads a story's file; `path` is from the folder of specs.
    pub fn note(&mut self, path: &str, text: &str) {
        let Ok(parsed) = authored::Authored::parse(text) else { return };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if let Ok(id) = parsed.id() {
            self.markers.insert(marker(&format!("{folder}/{id}")));
            self.note_links(&parsed);
        }
    }

    /// Reads a feature's file; what an import has made of an epic names its origin, and no item.
    pub fn note_feature(&mut self, folder: &str, text: &str) {
        if let Ok(parsed) = authored::Authored::parse(text) {
            self.markers.insert(marker(folder));
            self.note_links(&parsed);
        }
    }

    fn note_links(&mut self, parsed: &authored::Authored) {
        for platform in [Platform::GitHub, Platform::Jira, Platform::Ado] {
            if let Some(reference) = parsed.link(platform.word()) {
                let address = parsed.link_address(platform.word());
                let address = address.map(|address| address.trim_end_matches('/').to_lowercase());
                self.links.insert((platform, reference.to_lowercase()), address);
            }
        }
    }

    /// Whether an item is that of a story or feature here.
    pub fn has(&self, item: &Item) -> bool {
        let is_marked = item.marker().is_some_and(|marker| self.markers.contains(marker));
        let link = self.links.get(&(item.platform, item.reference().to_lowercase()));
        let is_same = |address: &Option<String>| {
            address.as_ref().is_none_or(|address| *address == item.url.trim_end_matches('/').to_lowercase())
        };
        is_marked || link.is_some_and(is_same)
    }
}
