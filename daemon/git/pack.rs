//! A pack becomes one that git reads: it is written while it arrives, each object gets its name from its content, and what
//! objects name is seen to be there. gix-pack finds the entries and resolves the deltas, on several threads; a pack whose deltas name their bases
//! by id, as only old servers send, is left to libgit2. Everything here blocks.

use crate::git::CloneError;
use crate::git::bounds::{self, MOST_OBJECT, MOST_OBJECTS};
use crate::git::links::Links;
use crate::git::processors::Processors;
use crate::git::traffic::Traffic;
use bytes::{Buf, Bytes};
use git2::Oid;
use gix_hash::{Kind, ObjectId};
use gix_pack::cache::delta::{Tree, traverse};
use gix_pack::data::EntryRange;
use gix_pack::data::entry::Header;
use gix_pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use gix_utils::progress::Discard;
use ring::digest;
use specweave_jobs::disk;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// Objects from which on a second thread is worth its start.
const MANY_OBJECTS: usize = 2_000;

/// Deltas upon each other, as git's own packer limits them.
const MOST_CHAINED: usize = 4_095;

/// Bytes that a chain of deltas may come to, if each object is as large as the largest in its place: a base waits in memory for all
/// that is made of it.
const MOST_CHAIN: u64 = 1024 * 1024 * 1024;

/// Bytes of one object on its way, which stay in memory until it has come: what cannot be compressed grows a little.
const MOST_COMPRESSED: usize = MOST_OBJECT + MOST_OBJECT / 64;

/// Where an object stands in the pack, and its name once that is known.
struct Entry {
    offset: u64,
    crc32: u32,
    id: ObjectId,
}

/// A pack that has been read to its end.
struct Read {
    entries: Vec<Entry>,
    /// Whether a delta names its base by id.
    names_bases: bool,
    /// The checksum at its end, which names its files.
    name: ObjectId,
}

/// Writes the pack and its index into `folder`, a repository's `objects/pack`. What takes the processor, after the last byte
/// has come, waits for its `turn`.
pub fn index<T>(
    folder: &Path,
    pack: impl Iterator<Item = Result<Bytes, CloneError>>,
    (shallow, traffic): (&[Oid], &Traffic),
    turn: impl FnOnce() -> T,
    processors: &Processors,
    cancel: &CancellationToken,
) -> Result<T, CloneError> {
    let path = folder.join("tmp_pack");
    let mut arriving = Arriving::new(&path, pack, cancel)?;
    let of_object = Cell::new(0);
    arriving.of_object = Some(&of_object);
    let read = read(&mut arriving, &of_object, traffic);
    let read = arriving.unless_it_failed(read)?;
    arriving.of_object = None;
    arriving.see_its_end()?;
    let sum = arriving.sum.finish();
    let turn = turn();
    let Read { entries, names_bases, name } = read;
    if sum.as_ref() != name.as_slice() {
        return Err(CloneError::Pack("its checksum is another one".into()));
    }
    if names_bases {
        if !shallow.is_empty() {
            // Of a shallow history libgit2 does not see whether all is there.
            return Err(CloneError::Inexact("its history is cut, and an old server sent it".into()));
        }
        drop(entries);
        index_with_libgit2(folder, &path, cancel)?;
        disk::remove_file(&path).map_err(local)?;
        return Ok(turn);
    }
    let links = Links::new(shallow, entries.len());
    let entries = name_objects(&path, entries, &links, processors, cancel)?;
    links.see_that_all_lead_to(entries.iter().map(|entry| &entry.id))?;
    let named = |ending: &str| folder.join(format!("pack-{name}.{ending}"));
    write_index(&named("idx"), &entries, &name).map_err(local)?;
    disk::rename(&path, &named("pack")).map_err(local)?;
    Ok(turn)
}

/// Finds the entries while the pack arrives.
fn read(from: &mut impl BufRead, of_object: &Cell<usize>, traffic: &Traffic) -> Result<Read, CloneError> {
    let found = BytesToEntriesIter::new_from_header(from, Mode::AsIs, EntryDataMode::Crc32, Kind::Sha1);
    let found = found.map_err(broken)?;
    let count = found.size_hint().0;
    if count > MOST_OBJECTS {
        return Err(CloneError::Refused(format!("it has more than {MOST_OBJECTS} objects")));
    }
    traffic.expect_objects(count);
    let (mut entries, mut names_bases, mut name) = (Vec::new(), false, None);
    for entry in found {
        let entry = entry.map_err(broken)?;
        of_object.set(0);
        if entry.decompressed_size > MOST_OBJECT as u64 {
            return Err(CloneError::Refused(bounds::large_object()));
        }
        names_bases |= matches!(entry.header, Header::RefDelta { .. });
        entries.push(Entry {
            offset: entry.pack_offset,
            crc32: entry.crc32.unwrap_or_default(),
            id: Kind::Sha1.null(),
        });
        name = entry.trailer;
        traffic.add_object();
    }
    let name = name.ok_or_else(|| CloneError::Pack("it is empty".into()))?;
    Ok(Read { entries, names_bases, name })
}

/// Gives each object its name, in the order of which they are returned; what they name goes to `links`.
fn name_objects(
    path: &Path,
    entries: Vec<Entry>,
    links: &Links,
    processors: &Processors,
    cancel: &CancellationToken,
) -> Result<Vec<Entry>, CloneError> {
    let never = AtomicBool::new(false);
    let is_small = entries.len() < MANY_OBJECTS;
    let pack = gix_pack::data::File::at(path, Kind::Sha1).map_err(broken)?;
    let tree = Tree::from_offsets_in_pack(
        path,
        entries.into_iter(),
        &|entry: &Entry| entry.offset,
        &|_| Ok(None),
        &mut Discard,
        &never,
        Kind::Sha1,
    );
    let (share, chains) = (processors.share(), Chains::default());
    let look = |entry: &mut Entry, _: &dyn gix_utils::progress::Progress, object: traverse::Context<'_>| {
        if cancel.is_cancelled() {
            gix_error::bail!(gix_error::cancelled("cancelled"));
        }
        if !chains.may_have(usize::from(object.level), object.decompressed.len() as u64) {
            gix_error::bail!(gix_error::message("its chains of deltas are too long for their size"));
        }
        let kind = object.entry.header.as_kind().expect("a resolved object is of a kind");
        entry.id = gix_object::compute_hash(Kind::Sha1, kind, object.decompressed)?;
        links.add(kind, &entry.id, object.decompressed)
    };
    let options = traverse::Options {
        object_progress: Box::new(Discard),
        size_progress: &mut Discard,
        thread_limit: Some(if is_small { 1 } else { share.threads }),
        should_interrupt: &never,
        object_hash: Kind::Sha1,
        alloc_limit_bytes: Some(MOST_OBJECT),
    };
    let resolved = tree
        .and_then(|tree| tree.traverse(bytes_of, &pack, pack.pack_end() as u64, look, options))
        .map_err(|error| if cancel.is_cancelled() { CloneError::Cancelled } else { broken(error) })?;
    let items = resolved.roots.into_iter().chain(resolved.children);
    let mut entries: Vec<Entry> = items.map(|item| item.data).collect();
    entries.sort_unstable_by_key(|entry| entry.id);
    match entries.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(twice) => Err(CloneError::Pack(format!("the object {} is in it twice", twice[0].id))),
        None => Ok(entries),
    }
}

/// The largest object so many deltas from the beginning of its chain, for each number, and the sum of them: no chain is larger.
struct Chains {
    largest: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Default for Chains {
    fn default() -> Self {
        Self { largest: (0..=MOST_CHAINED).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }
}

impl Chains {
    /// Takes an object into account; whether it may be there. An object and one delta upon it are bounded by their own size.
    fn may_have(&self, level: usize, bytes: u64) -> bool {
        let Some(largest) = self.largest.get(level) else { return false };
        if bytes > largest.load(Ordering::Relaxed) {
            let before = largest.fetch_max(bytes, Ordering::Relaxed);
            self.sum.fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
        }
        level <= 1 || self.sum.load(Ordering::Relaxed) <= MOST_CHAIN
    }
}

fn bytes_of(range: EntryRange, pack: &gix_pack::data::File) -> Option<&[u8]> {
    pack.entry_slice(range)
}

/// Lets libgit2 index a pack that stands in a file.
fn index_with_libgit2(folder: &Path, path: &Path, cancel: &CancellationToken) -> Result<(), CloneError> {
    let mut indexer = git2::Indexer::new(None, folder, PACK_MODE, true)?;
    indexer.progress(|_| !cancel.is_cancelled());
    let mut from = disk::open_regular(path).map_err(local)?;
    let copied = io::copy(&mut from, &mut indexer).map_err(from_indexer);
    match copied.and_then(|_| Ok(indexer.commit()?)) {
        Err(_) if cancel.is_cancelled() => Err(CloneError::Cancelled),
        result => result.map(drop),
    }
}

/// libgit2's own error, which says whether the disk is full.
fn from_indexer(error: io::Error) -> CloneError {
    match error.downcast::<git2::Error>() {
        Ok(error) => CloneError::Git(error),
        Err(source) => local(source),
    }
}

/// As git makes them: nobody is to change a pack.
const PACK_MODE: u32 = 0o444;

/// Offsets from here on stand in a table of their own.
const LARGE_OFFSET: u64 = 1 << 31;

/// An index of version 2: how many names begin with at most each byte, the names, the checksums of the entries, their
/// places, and the checksums of both files.
fn write_index(path: &Path, entries: &[Entry], pack: &ObjectId) -> io::Result<()> {
    let file = BufWriter::with_capacity(256 * 1024, disk::create_new(path, PACK_MODE)?);
    let mut out = gix_hash::io::Write::new(file, Kind::Sha1);
    out.write_all(b"\xfftOc\0\0\0\x02")?;
    let mut up_to = 0;
    for first in 0..=u8::MAX {
        up_to += entries[up_to..].iter().take_while(|entry| entry.id.as_slice()[0] == first).count();
        out.write_all(&(up_to as u32).to_be_bytes())?;
    }
    for entry in entries {
        out.write_all(entry.id.as_slice())?;
    }
    for entry in entries {
        out.write_all(&entry.crc32.to_be_bytes())?;
    }
    let mut large = Vec::new();
    for entry in entries {
        let place = if entry.offset < LARGE_OFFSET {
            entry.offset as u32
        } else {
            large.push(entry.offset);
            LARGE_OFFSET as u32 | (large.len() - 1) as u32
        };
        out.write_all(&place.to_be_bytes())?;
    }
    for offset in large {
        out.write_all(&offset.to_be_bytes())?;
    }
    out.write_all(pack.as_slice())?;
    let gix_hash::io::Write { hash, mut inner } = out;
    inner.write_all(hash.try_finalize().map_err(io::Error::other)?.as_slice())?;
    inner.flush()
}

/// The checksum of all that has come but the last bytes, which are to be it. It says whether anything was broken on the way, and nothing about
/// who sent it: unlike an object's name, it may be computed the fast way.
struct Sum {
    context: digest::Context,
    last: Vec<u8>,
}

impl Sum {
    const LEN: usize = 20;

    fn new() -> Self {
        Self { context: digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY), last: Vec::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        let surplus = (self.last.len() + bytes.len()).saturating_sub(Self::LEN);
        let of_last = surplus.min(self.last.len());
        self.context.update(&self.last[..of_last]);
        self.last.drain(..of_last);
        let (now, later) = bytes.split_at(surplus - of_last);
        self.context.update(now);
        self.last.extend_from_slice(later);
    }

    fn finish(self) -> digest::Digest {
        self.context.finish()
    }
}

/// A pack on its way into its file, as something to read from.
struct Arriving<'a, P> {
    pack: P,
    into: File,
    sum: Sum,
    chunk: Bytes,
    /// Bytes that have come of one object, while objects are looked for.
    of_object: Option<&'a Cell<usize>>,
    cancel: &'a CancellationToken,
    /// Why it ended early.
    failure: Option<CloneError>,
}

impl<'a, P: Iterator<Item = Result<Bytes, CloneError>>> Arriving<'a, P> {
    fn new(path: &Path, pack: P, cancel: &'a CancellationToken) -> Result<Self, CloneError> {
        let into = disk::create_new(path, PACK_MODE).map_err(local)?;
        Ok(Self { pack, into, sum: Sum::new(), chunk: Bytes::new(), of_object: None, cancel, failure: None })
    }

    /// Brings the next bytes, unless there are some; none at the end.
    fn bring(&mut self) -> Result<(), CloneError> {
        while self.chunk.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(CloneError::Cancelled);
            }
            let Some(chunk) = self.pack.next().transpose()? else { return Ok(()) };
            if let Some(of_object) = self.of_object {
                of_object.set(of_object.get() + chunk.len());
                if of_object.get() > MOST_COMPRESSED {
                    return Err(CloneError::Refused(bounds::large_object()));
                }
            }
            self.into.write_all(&chunk).map_err(local)?;
            self.sum.add(&chunk);
            self.chunk = chunk;
        }
        Ok(())
    }

    /// The result of reading from here, or why there was no more to read.
    fn unless_it_failed<T>(&mut self, result: Result<T, CloneError>) -> Result<T, CloneError> {
        self.failure.take().map_or(result, Err)
    }

    /// Sees that nothing follows what has been read.
    fn see_its_end(&mut self) -> Result<(), CloneError> {
        self.bring()?;
        if self.chunk.is_empty() { Ok(()) } else { Err(CloneError::Pack("something follows its end".into())) }
    }
}

impl<P: Iterator<Item = Result<Bytes, CloneError>>> io::Read for Arriving<'_, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<P: Iterator<Item = Result<Bytes, CloneError>>> BufRead for Arriving<'_, P> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Err(error) = self.bring() {
            let shown = error.to_string();
            self.failure = Some(error);
            return Err(io::Error::other(shown));
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

fn local(source: io::Error) -> CloneError {
    CloneError::Local { what: "write the pack", source }
}

/// What gix says of a pack that is not one.
fn broken(error: gix_error::Error) -> CloneError {
    if error.is_resource_exhausted() {
        return CloneError::Refused(bounds::large_object());
    }
    CloneError::Pack(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_never_ends_is_given_up_once_it_is_too_large() {
        let folder = std::env::temp_dir().join(format!("pack-{:x}", disk::random()));
        disk::make_folders(&folder, 0o700).unwrap();
        let pack = std::iter::repeat_with(|| Ok(Bytes::from_static(&[0; 1024])));
        let (cancel, of_object) = (CancellationToken::new(), Cell::new(MOST_COMPRESSED - 2 * 1024));
        let mut arriving = Arriving::new(&folder.join("pack"), pack, &cancel).unwrap();
        arriving.of_object = Some(&of_object);
        let mut taken = 0;
        let refused = loop {
            match arriving.bring() {
                Ok(()) => taken += arriving.chunk.len(),
                Err(error) => break error,
            }
            arriving.chunk.clear();
        };
        disk::remove_folder(&folder).unwrap();
        assert!(taken == 2 * 1024 && refused.to_string() == bounds::large_object(), "{taken}: {refused}");
    }

    #[test]
    fn chains_are_bounded_by_what_they_come_to_and_not_by_their_last_object() {
        let chains = Chains::default();
        let is_taken = |level: usize, bytes: u64| chains.may_have(level, bytes);
        assert!((0..50).all(|level| is_taken(level, 20 * 1024 * 1024)), "as in an honest pack");
        let shrinking = Chains::default();
        let taken = (0..MOST_CHAINED)
            .take_while(|level| shrinking.may_have(*level, MOST_CHAIN / (*level as u64 + 2)));
        assert!(taken.count() < 5, "each is smaller than the one before, and all of them wait");
        assert!(!chains.may_have(MOST_CHAINED + 1, 1), "longer than git's own packer makes them");
    }
}
