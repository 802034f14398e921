//! Words for where a story stands: the files', the trackers', and the few that both sides share. Pure.

use crate::model::item::{Platform, Status};
use crate::trackers::edits::{Category, State};
use serde_json::Value;
use std::collections::BTreeMap;

/// The shared word of each meaning, and what is written into a file that had another.
const WORDS: [(Category, &str, &str); 4] = [
    (Category::Open, "open", "not_started"),
    (Category::InProgress, "in_progress", "active"),
    (Category::Completed, "completed", "completed"),
    (Category::Cancelled, "cancelled", "cancelled"),
];

fn shared(category: Category) -> &'static str {
    WORDS.into_iter().find(|(known, ..)| *known == category).map_or("open", |(_, word, _)| word)
}

/// SpecWeave's words, and those of people.
fn category_of(word: &str) -> Category {
    match Status::of_word(word) {
        Status::Open => Category::Open,
        Status::InProgress => Category::InProgress,
        Status::Completed => Category::Completed,
        Status::Cancelled | Status::Removed => Category::Cancelled,
    }
}

/// Where an item stands, as its tracker says.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub category: Category,
    pub state: &'a str,
}

/// The words of one project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusMap {
    /// The tracker's word for a word of the files; words as [`normal`] makes them.
    set: BTreeMap<String, String>,
}

/// Spelling apart: `In Progress`, `in-progress` and `in_progress` are one.
fn normal(word: &str) -> String {
    word.trim().to_lowercase().replace([' ', '-'], "_")
}

impl StatusMap {
    /// What `config.json` says: `statusSync.mappings.<tracker>` of the section `sync`, and `statusMap` of a profile.
    pub fn read(sync: &Value, profile: &Value, platform: Platform) -> Self {
        let sections = [&sync["statusSync"]["mappings"][platform.word()], &profile["statusMap"]];
        let pairs =
            sections.into_iter().filter_map(Value::as_object).flatten().filter_map(|(word, state)| {
                let state = state.as_str().or(state["state"].as_str())?.trim();
                (!state.is_empty()).then(|| (normal(word), state.to_owned()))
            });
        Self { set: pairs.collect() }
    }

    /// The shared word for what a file says.
    pub fn of_local(&self, word: &str) -> String {
        let word = normal(word);
        if self.set.contains_key(&word)
            && WORDS.iter().all(|(_, shared, local)| *local != word && *shared != word)
        {
            word
        } else {
            shared(category_of(&word)).to_owned()
        }
    }

    /// The shared word for what a tracker says.
    pub fn of_remote(&self, told: Told) -> String {
        let state = normal(told.state);
        let set = self.set.iter().filter(|(_, named)| normal(named) == state);
        let words: Vec<String> = set.map(|(word, _)| self.of_local(word)).collect();
        // Of several words for one state, the one that means the same as the state does.
        let plain = shared(told.category);
        match words.first() {
            Some(first) if !words.iter().any(|word| word == plain) => first.clone(),
            _ => plain.to_owned(),
        }
    }

    /// Whether the project has set this word for one of its own.
    pub fn names(&self, state: &str) -> bool {
        let state = normal(state);
        self.set.values().any(|named| normal(named) == state)
    }

    /// What a tracker is told for a shared word.
    pub fn target(&self, word: &str) -> State {
        let category =
            WORDS.into_iter().find(|(_, shared, _)| *shared == word).map(|(category, ..)| category);
        let category = category.unwrap_or_else(|| category_of(word));
        let named = self.set.get(word).or_else(|| {
            let mut set = self.set.iter();
            set.find(|(local, _)| self.of_local(local) == word).map(|(_, state)| state)
        });
        State { category, name: named.cloned() }
    }

    /// What a file says for a shared word. One that means the same already stays.
    pub fn local_word(&self, word: &str, there: &str) -> String {
        if self.of_local(there) == word && !there.is_empty() {
            return there.to_owned();
        }
        let known = WORDS.into_iter().find(|(_, shared, _)| *shared == word);
        known.map_or(word, |(_, _, local)| local).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_that_mean_the_same_do_not_flip() {
        let map = StatusMap::default();
        for word in ["complete", "Done", "completed"] {
            assert_eq!(map.of_local(word), "completed");
            assert_eq!(map.local_word("completed", word), word);
        }
        assert_eq!(map.local_word("completed", "active"), "completed");
        let review = Told { category: Category::InProgress, state: "In Review" };
        assert_eq!(map.of_remote(review), map.of_local("active"));
    }

    #[test]
    fn a_project_may_have_states_of_its_own() {
        let sync = json!({"statusSync": {"mappings": {"jira": {"completed": "Released"}}}});
        let profile = json!({"statusMap": {"blocked": {"state": "On Hold"}, "in-qa": "QA"}});
        let map = StatusMap::read(&sync, &profile, Platform::Jira);
        assert_eq!(map.target("completed").name.as_deref(), Some("Released"));
        assert_eq!(map.target(&map.of_local("done")).name.as_deref(), Some("Released"));
        assert_eq!(map.target(&map.of_local("blocked")).name.as_deref(), Some("On Hold"));
        let told = |state, category| map.of_remote(Told { category, state });
        assert_eq!(told("On hold", Category::Open), "blocked");
        assert_eq!(told("Released", Category::Completed), "completed");
        assert_eq!(told("Done", Category::Completed), "completed");
        assert_eq!(map.local_word("in_qa", "active"), "in_qa");
    }
}
