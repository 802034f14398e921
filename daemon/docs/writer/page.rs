//! A page of items as it is placed: each item's file is found, merged and given its text. Nothing is written before the
//! whole page is.

use crate::docs::ledger::{Entry, Placed};
use crate::docs::story::{self, Base, Document, Prints};
use crate::docs::writer::{SPECS, Wins, Writer, number_of};
use crate::model::conflict::{self, Shown, Standing};
use crate::model::conflict_file;
use crate::model::failure::{Failure, Reason};
use crate::model::item::{Item, Kind, Parent, Platform, Status};
use crate::model::record::Record;
use crate::model::text;
use specweave_jobs::{clock, disk};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is written for a page, before any of it is.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) files: BTreeMap<String, String>,
    /// Files that have moved away.
    pub(super) gone: Vec<String>,
}

/// Why one item cannot be placed; the others of its page can.
pub(super) struct Misfit(pub(super) String);

/// What stands there for an item.
pub(super) enum Current {
    There {
        path: String,
        text: String,
    },
    /// Nothing, perhaps where something was or was about to be.
    Missing {
        planned: Option<String>,
    },
}

/// So many may wait beside one story.
const MOST_CONFLICTS: u32 = 100;

/// A page that is being placed.
pub(super) struct Page<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) writes: Writes,
    /// The page's items by external id, in lower case.
    pub(super) here: HashMap<String, &'a Item>,
    /// The same by their keys.
    pub(super) by_key: HashMap<&'a str, &'a Item>,
    /// The name under which the source was asked for.
    pub(super) source: &'a str,
    /// Features whose file was seen.
    pub(super) features: HashSet<String>,
    /// Who is right where both sides have changed; nobody has decided without.
    pub(super) wins: Option<Wins>,
}

/// Where a story belongs.
pub(super) struct Place {
    pub(super) base: String,
    /// `FS-001E` or `_orphans`.
    pub(super) folder: String,
}

/// What became of an item, and its conflict if a person's edit stands in the way.
type PlacedItem<'a> = (&'a Item, Result<(Placed, Option<Failure>), Misfit>);

impl<'a> Page<'a> {
    pub(super) fn new(
        writer: &'a mut Writer,
        items: &[&'a Item],
        source: &'a str,
        wins: Option<Wins>,
    ) -> Self {
        let here = items.iter().map(|item| (item.external_id.to_lowercase(), *item)).collect();
        let by_key = items.iter().map(|item| (item.key.as_str(), *item)).collect();
        Self { writer, writes: Writes::default(), here, by_key, source, features: HashSet::new(), wins }
    }

    /// Places items, each once: what others stand below comes first, and of one that is there twice, the last is what
    /// it is now.
    pub(super) fn place_all(&mut self, mut all: Vec<&'a Item>) -> Vec<PlacedItem<'a>> {
        all.sort_by_key(|item| match item.kind {
            Kind::Feature => 0,
            Kind::Story => 1,
            Kind::Step => 2,
        });
        let newest: HashMap<&str, &Item> = all.iter().map(|item| (item.key.as_str(), *item)).collect();
        let mut done: HashSet<&str> = HashSet::new();
        let once: Vec<&'a Item> = all.into_iter().filter(|item| done.insert(&item.key)).collect();
        once.into_iter().map(|item| newest[item.key.as_str()]).map(|item| (item, self.place(item))).collect()
    }
}

impl Page<'_> {
    /// The file as it will be after this page.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, Misfit> {
        if let Some(text) = self.writes.files.get(path) {
            return Ok(Some(text.clone()));
        }
        self.writer.read(path).map_err(|error| Misfit(format!("{path} cannot be read: {error}")))
    }

    pub(super) fn write(&mut self, path: &str, text: String) {
        self.writes.gone.retain(|gone| gone != path);
        self.writes.files.insert(path.to_owned(), text);
    }

    /// Gives an item its place and text. A conflict, if a person's edit stands in the way.
    pub(super) fn place(&mut self, item: &Item) -> Result<(Placed, Option<Failure>), Misfit> {
        let ledger = &self.writer.ledger;
        let entry = ledger.get(&item.key).cloned();
        // A daemon died while it wrote this very page: what it had begun counts as if it had not.
        let begun = entry.as_ref().filter(|_| !ledger.is_closed(&item.key)).map(|entry| entry.placed);
        let current = self.current(&item.key)?;
        let is_known = entry.is_some() || matches!(current, Current::There { .. });
        // What was made from a story of this project is that story's.
        if !is_known && (item.status == Status::Removed || self.writer.authored.has(item)) {
            return Ok((Placed::LeftOut, None));
        }
        if item.kind == Kind::Step && self.story_of(item).is_some() {
            return self.place_step(item, begun).map(|placed| (placed, None));
        }
        self.leave_stories(item, None)?;
        let remote = story::said(item);
        let place = match (&current, item.platform) {
            // A repository's stories stay where they are: it has no parts to move between.
            (Current::There { path, .. }, Platform::GitHub) => place_in(path),
            // What a person has put away stays there.
            (Current::There { path, .. }, _) if path.contains("/_archive/") => place_in(path),
            _ => self.place_of(item)?,
        };
        match current {
            Current::There { path, text } => self.update(item, &place, &remote, path, &text, begun),
            Current::Missing { planned } => self.create(item, &place, &remote, planned),
        }
    }

    /// Brings what the tracker says into a file that is there.
    fn update(
        &mut self,
        item: &Item,
        place: &Place,
        remote: &Record,
        path: String,
        text: &str,
        begun: Option<Placed>,
    ) -> Result<(Placed, Option<Failure>), Misfit> {
        let moves = !in_folder(&path, place);
        let waits = self.writer.conflicts.iter().any(|beside| conflict_file::is_beside(beside, &path));
        if self.is_as_it_was(item, remote) && !moves && !waits && self.wins.is_none() {
            return Ok((Placed::Unchanged, None));
        }
        let mut document = Document::parse(text);
        let bases = self.writer.ledger.bases(&item.key);
        let local = document.record_since(&bases);
        if bases.is_empty()
            && !moves
            && document.metadata("Updated At") == Some(clock::iso(item.updated).as_str())
        {
            // Another tool wrote it, or another daemon, when the item was as it is now. Where it says something else,
            // somebody else wrote that: it is nobody's to replace.
            let kept = Prints::of(&local).agreed(Prints::of(remote));
            let base = Base { written: document.written(), ..Base::of(kept, remote) };
            self.intend(item, &path, base, 0, Placed::Unchanged);
            return Ok((Placed::Unchanged, None));
        }
        let mut number = document.number().unwrap_or(0);
        let mut target = path.clone();
        if moves {
            (target, number) = self.moved_path(&path, place, number, item);
            document.renumber(number);
        }
        let is_settled = waits && self.remove_settled(&path, &local, remote)?;
        let (merged, conflict) = self.merge(item, &target, &local, &bases, remote)?;
        document.set(&merged, number);
        let imported_at =
            document.metadata("Imported At").map_or_else(|| clock::iso(clock::now()), str::to_owned);
        document.set_metadata(&story::metadata(item, &imported_at, &place.folder));
        document.set_front(item, number, &place.folder, &merged);
        let new = document.text();
        // A person's own text is not what the next import may replace.
        let written = Document::parse(&new);
        let kept = story::base_after(Prints::of(&written.record()), &bases, &local, remote);
        let base = Base { written: written.written(), ..Base::of(kept, remote) };
        let changed = new != text || moves;
        let placed = begun.unwrap_or(if changed || is_settled { Placed::Updated } else { Placed::Unchanged });
        self.intend(item, &target, base, 0, placed);
        if changed {
            self.write(&target, new);
            if moves {
                self.writes.files.remove(&path);
                self.writes.gone.push(path);
            }
        }
        self.finish_move(&item.key, &target)?;
        if item.kind == Kind::Feature {
            self.update_features(item)?;
        }
        Ok((placed, conflict))
    }

    /// Whether an item says what it said when its file was written last.
    fn is_as_it_was(&self, item: &Item, remote: &Record) -> bool {
        let ledger = &self.writer.ledger;
        let is_same = |entry: &Entry| entry.updated == item.updated && entry.remote == Prints::of(remote);
        ledger.is_closed(&item.key) && ledger.get(&item.key).is_some_and(is_same)
    }

    /// What a file is to say, and the conflict if a person's edit stands in the way: what is not in the file then stands
    /// beside it.
    fn merge(
        &mut self,
        item: &Item,
        target: &str,
        local: &Record,
        bases: &[Base],
        remote: &Record,
    ) -> Result<(Record, Option<Failure>), Misfit> {
        let decided = self.wins.as_ref().map(|Wins(fields)| fields.as_slice());
        // Without a base another tool wrote it, and who has changed what since cannot be told.
        let (merged, conflicts, standing) = match (bases.is_empty(), decided) {
            (true, Some(_)) => (story::with_marks(remote, local), Vec::new(), Standing::Tracker),
            (true, None) => {
                (story::with_marks(remote, local), story::differing(local, remote), Standing::Tracker)
            }
            (false, decided) => {
                let (merged, conflicts) = story::merge(local, bases, remote, decided);
                (merged, conflicts, Standing::Here)
            }
        };
        let told = match standing {
            Standing::Tracker => "the tracker's stands in the file, what stood there",
            Standing::Here | Standing::Untouched => "the file keeps yours, the tracker's",
        };
        let shown = Shown {
            story: &item.external_id,
            item: &item.shown,
            standing,
            fields: &conflicts,
            base: None,
            local: &story::for_people(local),
            remote: &story::for_people(remote),
        };
        let beside = self.keep_beside(target, &shown)?;
        let conflict = beside.map(|beside| {
            let names: Vec<&str> = conflicts.iter().map(|field| field.name()).collect();
            let message = format!(
                "conflict: {} changed here and in the tracker: {told} is in {SPECS}/{beside}",
                names.join(", ")
            );
            Failure::new(Reason::Conflict, message).with_path(format!("{SPECS}/{target}"))
        });
        Ok((merged, conflict))
    }

    /// Removes the files beside a story over which a person has decided, and tells whether there were any. What somebody has written in stays, and so does what
    /// is all that is left of a text.
    fn remove_settled(&mut self, path: &str, local: &Record, remote: &Record) -> Result<bool, Misfit> {
        let mut is_settled = false;
        let beside: Vec<String> = self.writer.conflicts.iter().cloned().collect();
        for file in beside.into_iter().filter(|file| conflict_file::is_beside(file, path)) {
            let Some(text) = self.read(&file)? else { continue };
            let fields = conflict::fields(&text);
            let agrees =
                conflict::is_untouched(&text) && fields.iter().all(|field| local.same(remote, *field));
            let is_decided = self.wins.is_some() || (agrees && !fields.is_empty());
            if is_decided && !conflict::is_all_that_is_left(&text) {
                is_settled = true;
                self.writer.conflicts.remove(&file);
                self.writes.gone.push(file);
            }
        }
        Ok(is_settled)
    }

    /// As [`Writer::note_met`].
    pub(super) fn note_met(&mut self, item: &Item) -> Result<(), Misfit> {
        let Current::There { path, text } = self.current(&item.key)? else { return Ok(()) };
        let bases = self.writer.ledger.bases(&item.key);
        let remote = story::said(item);
        let document = Document::parse(&text);
        let local = document.record_since(&bases);
        let met = Prints::of(&local).agreed(Prints::of(&remote));
        let unknown = || Base { written: document.written(), ..Base::of(met, &remote) };
        let mut base = bases.first().cloned().unwrap_or_else(unknown);
        base.note(met, &local, &remote);
        self.intend(item, &path, base, 0, Placed::Unchanged);
        Ok(())
    }

    /// The text of an item's file and where it stands, wherever a person or another tool has put it.
    pub(super) fn current(&self, key: &str) -> Result<Current, Misfit> {
        let here = self.by_key.get(key).map(|item| item.external_id.to_lowercase());
        let entry = self.writer.ledger.get(key);
        let mut ids: Vec<String> = entry.map(|entry| entry.external_id.to_lowercase()).into_iter().collect();
        ids.extend(here);
        ids.extend(self.writer.ledger.before(key).map(|before| before.external_id.to_lowercase()));
        let own = entry.filter(|entry| entry.task == 0).map(|entry| entry.path.to_string());
        let earlier = self.writer.ledger.earlier_path(key).map(str::to_owned);
        let adoptable =
            ids.iter().find_map(|id| self.writer.adoptable.get(id.as_str())).map(|path| path.to_string());
        for path in [own.clone(), earlier, adoptable].into_iter().flatten() {
            if self.writes.gone.contains(&path) {
                continue;
            }
            let Some(text) = self.read(&path)? else { continue };
            // A file of that name that names another item, or none, is somebody else's.
            if story::named(&text).is_some_and(|name| ids.contains(&name)) {
                return Ok(Current::There { path, text });
            }
        }
        Ok(Current::Missing { planned: own })
    }

    /// A daemon may have died between a story's arrival in its new place and its departure from the old one.
    pub(super) fn finish_move(&mut self, key: &str, target: &str) -> Result<(), Misfit> {
        let Some(earlier) = self.writer.ledger.earlier_path(key).filter(|earlier| *earlier != target) else {
            return Ok(());
        };
        let earlier = earlier.to_owned();
        let ledger = &self.writer.ledger;
        let ids = [ledger.get(key), ledger.before(key)]
            .map(|entry| entry.map(|entry| entry.external_id.to_lowercase()));
        let text = self.read(&earlier)?.unwrap_or_default();
        let names = story::named(&text);
        if names.is_some() && ids.contains(&names) && !self.writes.gone.contains(&earlier) {
            self.writes.gone.push(earlier);
        }
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        item: &Item,
        place: &Place,
        remote: &Record,
        planned: Option<String>,
    ) -> Result<(Placed, Option<Failure>), Misfit> {
        // An intent that never came about, or a file that a person removed: its path is its own, unless taken.
        let planned = planned.filter(|path| in_folder(path, place) && self.is_free(path));
        let (number, path) = match planned.and_then(|path| Some((number_of(&path)?, path))) {
            Some(planned) => planned,
            None => self.new_path(place, item),
        };
        let mut document = Document::new(number, item, remote);
        document.set_metadata(&story::metadata(item, &clock::iso(clock::now()), &place.folder));
        document.set_front(item, number, &place.folder, remote);
        let text = document.text();
        // What is read back from the file is what the next import compares with.
        let local = Prints::of(&Document::parse(&text).record());
        self.intend(item, &path, Base::of(local, remote), 0, Placed::Created);
        self.write(&path, text);
        if item.kind == Kind::Feature {
            self.update_features(item)?;
        }
        Ok((Placed::Created, None))
    }

    pub(super) fn is_free(&self, path: &str) -> bool {
        !self.writes.files.contains_key(path) && !disk::exists(&self.writer.root().join(path))
    }

    pub(super) fn new_path(&mut self, place: &Place, item: &Item) -> (u32, String) {
        loop {
            let base = self.writer.base(&place.base);
            base.last_story += 1;
            let number = base.last_story;
            let path = format!("{}/{}/{}", place.base, place.folder, file_name(number, item));
            // Somebody may have made one since the folder was looked at.
            if self.is_free(&path) {
                return (number, path);
            }
        }
    }

    /// A story that moves keeps its number and name among the same numbers, and gets new ones elsewhere.
    pub(super) fn moved_path(
        &mut self,
        path: &str,
        place: &Place,
        number: u32,
        item: &Item,
    ) -> (String, u32) {
        let stays = path.rsplit_once('/').and_then(|(folder, name)| {
            let (base, _) = folder.rsplit_once('/')?;
            (base == place.base && number > 0).then(|| format!("{base}/{}/{name}", place.folder))
        });
        match stays.filter(|path| self.is_free(path)) {
            Some(path) => (path, number),
            None => {
                let (number, path) = self.new_path(place, item);
                (path, number)
            }
        }
    }

    pub(super) fn intend(&mut self, item: &Item, path: &str, base: Base, task: u32, placed: Placed) {
        let Base { local, written, remote, marks } = base;
        let parent = item.parent.as_ref().map_or("", Parent::reference);
        let entry = Entry {
            external_id: item.external_id.as_str().into(),
            path: path.into(),
            parent: parent.into(),
            is_feature: item.kind == Kind::Feature,
            task,
            placed,
            updated: item.updated,
            local,
            remote,
            written: (written != local).then(|| Box::new(written)),
            marks,
        };
        self.writer.ledger.intend(&item.key, entry);
    }

    /// Shows a contradiction beside the file, where nobody takes it for a story.
    /// Gives the name of the file that it did that with.
    pub(super) fn keep_beside(&mut self, path: &str, shown: &Shown) -> Result<Option<String>, Misfit> {
        if shown.fields.is_empty() {
            return Ok(None);
        }
        let out = conflict::text(shown);
        let beside = self.free_beside(path, &out)?;
        self.write(&beside, out);
        self.writer.conflicts.insert(beside.clone());
        Ok(Some(beside))
    }

    /// A name beside a story that holds nothing else: what was kept before is nobody's to replace.
    pub(super) fn free_beside(&self, path: &str, text: &str) -> Result<String, Misfit> {
        for number in 1..MOST_CONFLICTS {
            let name = conflict_file::beside(path, number);
            if self.read(&name)?.is_none_or(|there| there == text) {
                return Ok(name);
            }
        }
        Err(Misfit(format!("{MOST_CONFLICTS} conflicts wait beside {path}: settle them first")))
    }

    /// Sees that no folder on the way to a file is a link. They are made when the page is written, not before.
    pub(super) fn vet(&self, path: &str) -> Result<(), Misfit> {
        let mut at = self.writer.project.root().to_path_buf();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for part in SPECS.split('/').chain(folder.split('/')) {
            at.push(part);
            match disk::facts(&at) {
                Ok(facts) if facts.kind == disk::Kind::Folder => {}
                Ok(_) => {
                    return Err(Misfit(format!("{} is not a folder; links are not followed", at.display())));
                }
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// The place of a file that stands there.
pub(super) fn place_in(path: &str) -> Place {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (base, folder) = folder.rsplit_once('/').unwrap_or(("", folder));
    Place { base: base.to_owned(), folder: folder.to_owned() }
}

pub(super) fn in_folder(path: &str, place: &Place) -> bool {
    path.rsplit_once('/').is_some_and(|(folder, _)| folder == format!("{}/{}", place.base, place.folder))
}

fn file_name(number: u32, item: &Item) -> String {
    match text::slug(&item.title, 50) {
        slug if slug.is_empty() => format!("us-{number:03}e-{}.md", text::slug(&item.external_id, 50)),
        slug => format!("us-{number:03}e-{slug}.md"),
    }
}
