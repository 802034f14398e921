//! Made-up histories of stories that came from the tracker: edits of a person in their files and of others in the tracker,
//! with imports and syncs between them, on the real living docs.

use super::dialect::Origin;
use super::engine::{Docs, Engine};
use super::local::LivingDocs;
use super::model_tests::{Settings, Sim, now};
use super::plan::Verb;
use super::profile::Profile;
use super::store::Store;
use crate::docs::writer::Access;
use crate::job::order::{Direction, OnConflict};
use crate::model::conflict_file;
use crate::model::item::{Item, Platform};
use crate::store::mac::PlaceKey;
use proptest::prelude::*;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ISSUES: u64 = 2;

/// What is edited; words are such as nobody has used before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Title,
    Intro,
    Criterion,
    Mark(usize, bool),
    Close(bool),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Here(u64, What),
    There(u64, What),
    Import,
    Sync,
    /// A person has read what waits beside a story, and removes it.
    Settle(u64),
}

/// The boxes of an issue, by what begins their words.
const BOXES: [&str; 4] = ["plain box", "second box", "first criterion", "last criterion"];

fn body() -> String {
    "Intro word0.\n\n- [ ] plain box\n  - [ ] second box\n\n## Acceptance Criteria\n\n- [ ] first criterion word1\n- [ ] last criterion\n"
        .to_owned()
}

struct Trial {
    sim: Sim,
    project: Project,
    folder: PathBuf,
    profile: Profile,
    words: u32,
    /// Words that a person wrote into a file, and that nobody has knowingly replaced since.
    owed: BTreeMap<String, u64>,
    /// Boxes that a person has checked in a file, and that nobody has cleared since.
    checked: BTreeSet<(u64, usize)>,
    /// Whether a box was checked in the tracker when it last met its file, where that is known: not after a sync that failed.
    met: BTreeMap<(u64, usize), bool>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The line that a step is about, in a file or an issue.
fn is_line(line: &str, what: What) -> bool {
    match what {
        What::Title => line.starts_with("# US-"),
        What::Intro => line.starts_with("Intro "),
        What::Criterion => line.contains("first criterion "),
        What::Mark(place, _) => line.contains(BOXES[place]),
        What::Close(_) => line.starts_with("**Status**: "),
    }
}

/// A text with one line changed, and the word that stood there.
fn edited(text: &str, what: What, word: &str) -> (String, Option<String>) {
    let mut before = None;
    let lines = text.split_inclusive('\n').map(|line| {
        if !is_line(line, what) {
            return line.to_owned();
        }
        let known = line.split(|c: char| !c.is_alphanumeric()).find(|part| part.starts_with("word"));
        before = known.map(str::to_owned);
        match (what, known) {
            (What::Mark(_, checked), _) => {
                let (from, to) = if checked { ("[ ]", "[x]") } else { ("[x]", "[ ]") };
                line.replacen(from, to, 1)
            }
            (What::Close(done), _) => {
                format!("**Status**: {}\n", if done { "Completed" } else { "In Progress" })
            }
            (_, Some(known)) => line.replacen(known, word, 1),
            (_, None) => line.to_owned(),
        }
    });
    (lines.collect(), before)
}

fn is_checked(text: &str, place: usize) -> bool {
    text.lines().any(|line| line.contains(BOXES[place]) && line.contains("[x]"))
}

impl Trial {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("imported-{:x}", disk::random()));
        fs::create_dir_all(folder.join(".specweave")).unwrap();
        let project = Project::find(&folder).unwrap();
        fs::create_dir_all(project.state()).unwrap();
        let sim = Sim::new(Settings { lossy: false, lag: 0, skew: 0, delete: false });
        for number in 1..=ISSUES {
            sim.report(number, &format!("Issue {number} word2"), &body());
        }
        let profile = Profile::of_trial(Direction::Both, OnConflict::Manual, false);
        let (words, owed, checked, met) = (10, BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { sim, project, folder, profile, words, owed, checked, met }
    }

    fn docs(&self) -> LivingDocs {
        let key = PlaceKey::of_test();
        LivingDocs::open(&self.project, &key, Access::Write, Platform::GitHub, "acme/web").unwrap()
    }

    fn items(&self) -> Vec<Item> {
        (1..=ISSUES).map(|number| self.sim.reported(number)).collect()
    }

    fn file(&self, number: u64) -> Option<PathBuf> {
        let here = self.docs().imported(&self.sim.reported(number)).unwrap()?;
        Some(self.project.root().join(crate::docs::writer::SPECS).join(here.path))
    }

    fn beside(&self, file: &Path) -> Vec<PathBuf> {
        let story = file.to_str().unwrap();
        let all = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| conflict_file::is_beside(path.to_str().unwrap(), story)).collect()
    }

    fn go(&mut self, step: Step) {
        self.words += 1;
        let word = format!("word{}", self.words);
        match step {
            Step::Here(number, what) => {
                let Some(file) = self.file(number) else { return };
                let known = fs::read_to_string(&file).unwrap();
                let (text, before) = edited(&known, what, &word);
                fs::write(&file, text).unwrap();
                self.forget_words(number, what);
                match what {
                    What::Mark(place, true) => _ = self.checked.insert((number, place)),
                    What::Mark(place, false) => _ = self.checked.remove(&(number, place)),
                    _ => {}
                }
                if let Some(before) = before.filter(|_| !matches!(what, What::Mark(..))) {
                    self.owed.remove(&before);
                    self.owed.insert(word, number);
                }
            }
            Step::There(number, What::Close(done)) => self.sim.close_reported(number, done),
            Step::There(number, what) => {
                let item = self.sim.reported(number);
                let (title, body, before) = if what == What::Title {
                    let (title, before) = edited(&format!("# US-1: {}", item.title), what, &word);
                    (title["# US-1: ".len()..].to_owned(), item.body, before)
                } else {
                    let (body, before) = edited(&item.body, what, &word);
                    (item.title, body, before)
                };
                // Who writes there has read what stood there: also what a person wrote here and a sync has sent.
                if let Some(before) = before.filter(|_| !matches!(what, What::Mark(..))) {
                    self.owed.remove(&before);
                }
                self.forget_words(number, what);
                self.sim.report(number, &title, &body);
            }
            Step::Import => {
                let items = self.items();
                let all = items.iter().map(|item| (item.key.clone(), item.clone())).collect();
                let before = self.texts();
                let failed = self.docs().import(&items, &all, None).unwrap();
                self.check_import(&before, &items);
                for number in 1..=ISSUES {
                    if failed.contains_key(&self.sim.reported(number).key) {
                        let file = self.file(number).unwrap();
                        assert!(!self.beside(&file).is_empty(), "a conflict is shown");
                    }
                }
            }
            Step::Sync => self.sync(),
            Step::Settle(number) => {
                let Some(file) = self.file(number) else { return };
                for path in self.beside(&file) {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        self.check_words();
    }

    /// A box with other words has met nothing.
    fn forget_words(&mut self, number: u64, what: What) {
        if what == What::Criterion {
            self.met.remove(&(number, 2));
        }
    }

    fn texts(&self) -> BTreeMap<u64, String> {
        let read = |number: u64| Some((number, fs::read_to_string(self.file(number)?).unwrap()));
        (1..=ISSUES).filter_map(read).collect()
    }

    /// A box is as the side has it that has changed it since both last met.
    fn check_import(&mut self, before: &BTreeMap<u64, String>, items: &[Item]) {
        for (number, text) in self.texts() {
            let item = items.iter().find(|item| item.reference() == number.to_string()).unwrap();
            for (place, words) in BOXES.iter().enumerate() {
                let there = is_checked(&item.body, place);
                let was = before.get(&number).map_or(there, |before| is_checked(before, place));
                let is_now = is_checked(&text, place);
                let met = self.met.insert((number, place), there);
                let wanted = if met == Some(was) { there } else { was };
                if met.is_some() || was == there {
                    assert_eq!(is_now, wanted, "{words} of {number}:\n{text}\n{}", item.body);
                }
                if !is_now {
                    self.checked.remove(&(number, place));
                }
            }
        }
    }

    fn sync(&mut self) {
        let mut docs = self.docs();
        let (sim, run) = (self.sim.clone(), self.sim.clone());
        let mut store = Store::open(Box::new(sim.clone())).unwrap();
        let mut engine = Engine::new(&self.profile, &sim, &mut docs, &mut store, &run, &[], false);
        let plan = now(engine.plan()).unwrap();
        let names: Vec<String> = plan.actions.iter().map(super::plan::Action::name).collect();
        self.sim.forget_failures();
        now(engine.carry_out(plan, &names)).unwrap();
        drop(engine);
        let failed = self.sim.failures();
        for (number, text) in self.texts() {
            let item = self.sim.reported(number);
            if failed.contains_key(&item.external_id) {
                let file = self.file(number).unwrap();
                assert!(!self.beside(&file).is_empty(), "{failed:?}");
                // What is shown of the contradiction comes with an import.
                for place in 0..BOXES.len() {
                    let is_cleared =
                        self.met.get(&(number, place)) == Some(&true) && !is_checked(&item.body, place);
                    if is_cleared && !is_checked(&text, place) {
                        self.checked.remove(&(number, place));
                    }
                }
                self.met.retain(|(known, place), mark| {
                    *known != number || *mark == is_checked(&item.body, *place)
                });
                continue;
            }
            for (place, words) in BOXES.iter().enumerate() {
                let there = is_checked(&item.body, place);
                assert_eq!(is_checked(&text, place), there, "{words} of {number}:\n{text}\n{}", item.body);
                self.met.insert((number, place), there);
                if !there {
                    self.checked.remove(&(number, place));
                }
            }
            let is_done = text.contains("**Status**: Completed");
            assert_eq!(is_done, self.sim.is_closed(number), "{number}:\n{text}");
        }
        let mut engine = Engine::new(&self.profile, &sim, &mut docs, &mut store, &run, &[], false);
        let again = now(engine.plan()).unwrap().actions;
        let open: Vec<_> = again.iter().filter(|action| action.verb != Verb::Conflict).collect();
        assert!(open.is_empty() && again.iter().all(|action| action.origin == Origin::Imported), "{again:?}");
    }

    /// What a person wrote stands in the file, or beside it, or in the tracker.
    fn check_words(&self) {
        for (word, number) in &self.owed {
            let Some(file) = self.file(*number) else { continue };
            let mut places = vec![file.clone()];
            places.extend(self.beside(&file));
            let item = self.sim.reported(*number);
            let has = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
            let is_there = places.iter().any(|path| has(&fs::read_to_string(path).unwrap()));
            assert!(
                is_there || has(&item.title) || has(&item.body),
                "{word} of {number} is gone:\n{}",
                fs::read_to_string(&file).unwrap()
            );
        }
        for (number, place) in &self.checked {
            let text = fs::read_to_string(self.file(*number).unwrap()).unwrap();
            assert!(is_checked(&text, *place), "{} of {number} was cleared:\n{text}", BOXES[*place]);
        }
    }
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        Just(What::Title),
        Just(What::Intro),
        Just(What::Criterion),
        (0..BOXES.len(), any::<bool>()).prop_map(|(place, checked)| What::Mark(place, checked)),
        any::<bool>().prop_map(What::Close),
    ]
}

/// One box whose mark changes on both sides, again and again.
fn marking() -> impl Strategy<Value = Vec<Step>> {
    (0..BOXES.len()).prop_flat_map(|place| {
        let step = prop_oneof![
            3 => any::<bool>().prop_map(move |checked| Step::Here(1, What::Mark(place, checked))),
            3 => any::<bool>().prop_map(move |checked| Step::There(1, What::Mark(place, checked))),
            2 => Just(Step::Import),
            1 => Just(Step::Sync),
        ];
        prop::collection::vec(step, 1..12)
    })
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![3 => prop::collection::vec(step(), 1..16), 1 => marking()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..=ISSUES, what()).prop_map(|(number, what)| Step::Here(number, what)),
        4 => (1..=ISSUES, what()).prop_map(|(number, what)| Step::There(number, what)),
        2 => Just(Step::Import),
        2 => Just(Step::Sync),
        1 => (1..=ISSUES).prop_map(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each writes files and waits for the disk.
        cases: ProptestConfig::default().cases.min(64),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_history_of_imports_and_syncs_loses_what_a_person_wrote(steps in history()) {
        let mut trial = Trial::new();
        trial.go(Step::Import);
        for step in steps {
            trial.go(step);
        }
    }
}
