//! A file of lines that is only ever added to: what lies beneath the journals, the ledger of imports and the stores of
//! syncs. Each line carries a checksum, which tells damage, and a MAC that covers all lines before it as well, which tells
//! who wrote it. Reading takes the longest valid beginning; what follows is set aside under another name.
//!
//! A line is `{"crc":"xxxxxxxx","mac":"<32 digits>",` and the fields of its content. The checksum covers all after its own
//! comma.
//!
//! A disk that fails is never believed afterwards: once a write could not be taken back or a sync has failed, the whole
//! file is written anew before anything else in it counts as durable, since the system forgets what a failed sync lost.

use crate::store::mac::{FileKey, TAG_DIGITS, Tag};
use specweave_jobs::{crash, disk};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const CRC_FIELD: &[u8] = b"{\"crc\":\"";
const MAC_FIELD: &[u8] = b"\"mac\":\"";
const FIELD_END: &[u8] = b"\",";

/// A file takes no more than this: a job of the most items, all of which fail several times with the longest reasons.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// An open file of lines. Dropping it syncs nothing.
pub struct Lines {
    path: PathBuf,
    key: FileKey,
    file: File,
    /// The MAC of the last line.
    last: Tag,
    /// Bytes that are on the disk for sure.
    durable: u64,
    /// The lines after them.
    since: Vec<u8>,
    /// Whether the file may hold something else than these.
    damaged: bool,
}

/// What was found in a file.
pub struct Opened {
    pub lines: Lines,
    /// How many lines were read.
    pub count: usize,
    /// Where the end was put that could not be read, if there was one.
    pub set_aside: Option<PathBuf>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its first line is whole, and not by this user's daemon for this place and file.
    #[error("it was not written by this user's daemon in this place")]
    Foreign,
    /// It has no first line.
    #[error("its beginning cannot be read")]
    Unreadable,
}

impl Lines {
    /// Makes an empty file; its name is durable after a sync of its folder.
    pub fn create(path: &Path, key: FileKey) -> io::Result<Self> {
        let file = disk::create_new(path, 0o600)?;
        Ok(Self::at(path, key, file))
    }

    fn at(path: &Path, key: FileKey, file: File) -> Self {
        let (last, since) = (Tag::default(), Vec::new());
        Self { path: path.to_path_buf(), key, file, last, durable: 0, since, damaged: false }
    }

    /// Says where the file is since its folder was renamed.
    pub fn lies_at(&mut self, path: &Path) {
        self.path = path.to_path_buf();
    }

    /// Reads a file and opens it for more; `take` is given each line's content, and says whether it makes sense. `None`
    /// when there is no file, or an empty one.
    pub fn open(
        path: &Path,
        key: FileKey,
        take: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Opened>, LinesError> {
        let bytes = match disk::read_regular(path, MOST_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let read = read(&bytes, &key, take);
        if read.count == 0 {
            return match (bytes.is_empty(), read.is_foreign) {
                (true, _) => Ok(None),
                (false, true) => Err(LinesError::Foreign),
                (false, false) => Err(LinesError::Unreadable),
            };
        }
        let mut set_aside = None;
        if read.len < bytes.len() {
            let aside = disk::keep_aside(path, &bytes[read.len..])?;
            tracing::warn!(file = %path.display(), aside = %aside.display(), "its end could not be read");
            set_aside = Some(aside);
        }
        let file = disk::open_append(path)?;
        if set_aside.is_some() {
            file.set_len(read.len as u64)?;
            file.sync_data()?;
        }
        let mut lines = Self::at(path, key, file);
        (lines.last, lines.durable) = (read.last, read.len as u64);
        Ok(Some(Opened { lines, count: read.count, set_aside }))
    }

    /// Reads a file and changes nothing. How many lines were read.
    pub fn look(path: &Path, key: &FileKey, take: impl FnMut(&[u8]) -> bool) -> io::Result<usize> {
        match disk::read_regular(path, MOST_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            bytes => Ok(read(&bytes?, key, take).count),
        }
    }

    /// As [`Self::open`], for a file that is made when it is missing; what somebody else wrote is set aside whole.
    pub fn open_or_create(path: &Path, key: FileKey, take: impl FnMut(&[u8]) -> bool) -> io::Result<Opened> {
        let set_aside = match Self::open(path, key.clone(), take) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(LinesError::Io(error)) => return Err(error),
            Err(error @ (LinesError::Foreign | LinesError::Unreadable)) => {
                let aside = disk::set_aside(path)?;
                tracing::warn!(file = %path.display(), aside = %aside.display(), "{error}; it was set aside");
                Some(aside)
            }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        disk::make_folders(folder, 0o700)?;
        let lines = Self::at(path, key, disk::open_log(path)?);
        disk::sync_folder(folder)?;
        Ok(Opened { lines, count: 0, set_aside })
    }

    /// Adds a line; durable after [`Self::sync`]. A line that did not fit is taken back. `content` is a JSON object that has
    /// at least one field.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        if self.damaged {
            self.write_anew()?;
        }
        let (line, tag) = line(&self.key, self.last, content);
        let before = self.durable + self.since.len() as u64;
        if before + line.len() as u64 > MOST_BYTES {
            return Err(io::Error::other("it is full; start the work afresh as a new job"));
        }
        if let Err(error) = self.file.write_all(&line) {
            // Half a line would hide those behind it.
            self.damaged = self.file.set_len(before).is_err();
            return Err(error);
        }
        self.since.extend_from_slice(&line);
        self.last = tag;
        Ok(())
    }

    /// Makes durable what was added. After an error it is not, and is written anew by the next call.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.since.is_empty() && !self.damaged {
            return Ok(());
        }
        let synced = || crash::fault(&self.path, "sync").and_then(|()| self.file.sync_data());
        if !self.damaged && synced().is_ok() {
            self.durable += self.since.len() as u64;
            self.since.clear();
            return Ok(());
        }
        self.damaged = true;
        self.write_anew()
    }

    /// Puts these lines in the place of all that there are.
    pub fn replace(&mut self, contents: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let (mut last, mut len) = (Tag::default(), 0);
        let key = self.key.clone();
        let fill = |out: &mut dyn Write| {
            for content in contents {
                let (line, tag) = line(&key, last, &content);
                last = tag;
                len += line.len() as u64;
                out.write_all(&line)?;
            }
            Ok(())
        };
        disk::replace_if(&self.path, 0o600, fill, |_| Ok(true), || true)?;
        // Whatever happens now, the old file is not written to again.
        self.damaged = true;
        (self.last, self.durable) = (last, len);
        self.since.clear();
        self.file = disk::open_append(&self.path)?;
        self.damaged = false;
        Ok(())
    }

    /// Replaces the file by one with the same lines.
    fn write_anew(&mut self) -> io::Result<()> {
        let durable = disk::open_regular(&self.path)?;
        let fill = |out: &mut dyn Write| {
            let copied = io::copy(&mut durable.take(self.durable), out)?;
            if copied < self.durable {
                return Err(io::Error::other("lines that were on the disk are gone"));
            }
            out.write_all(&self.since)
        };
        disk::replace_if(&self.path, 0o600, fill, |_| Ok(true), || true)?;
        self.file = disk::open_append(&self.path)?;
        self.durable += self.since.len() as u64;
        self.since.clear();
        self.damaged = false;
        crash::point("lines-written-anew");
        Ok(())
    }
}

/// The valid beginning of a file.
struct Prefix {
    len: usize,
    count: usize,
    last: Tag,
    /// Whether what follows is a whole line that somebody else wrote.
    is_foreign: bool,
}

/// Reads as far as lines are whole, ours and make sense. Pure.
fn read(bytes: &[u8], key: &FileKey, mut take: impl FnMut(&[u8]) -> bool) -> Prefix {
    let mut prefix = Prefix { len: 0, count: 0, last: Tag::default(), is_foreign: false };
    let mut content = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some((mac, fields)) = checked(line) else { break };
        content.clear();
        content.push(b'{');
        content.extend_from_slice(fields);
        let tag = key.tag(prefix.last, &content);
        if !tag.is(mac) {
            prefix.is_foreign = true;
            break;
        }
        if !take(&content) {
            break;
        }
        prefix.len += line.len();
        prefix.count += 1;
        prefix.last = tag;
    }
    prefix
}

/// A whole line, with the MAC for its place after `before`.
fn line(key: &FileKey, before: Tag, content: &[u8]) -> (Vec<u8>, Tag) {
    let tag = key.tag(before, content);
    let covered = [MAC_FIELD, tag.hex().as_bytes(), FIELD_END, &content[1..]].concat();
    let mut line = format!("{{\"crc\":\"{:08x}\",", crc32fast::hash(&covered)).into_bytes();
    line.extend_from_slice(&covered);
    line.push(b'\n');
    (line, tag)
}

/// The MAC and the fields of a line whose checksum holds.
fn checked(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\n")?.strip_prefix(CRC_FIELD)?;
    let digits = line.get(..8).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    let crc = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    let covered = line.get(8..)?.strip_prefix(FIELD_END)?;
    if crc32fast::hash(covered) != crc {
        return None;
    }
    // A line without a MAC is nobody's of ours.
    let with_mac = || {
        let rest = covered.strip_prefix(MAC_FIELD)?;
        Some((rest.get(..TAG_DIGITS)?, rest.get(TAG_DIGITS..)?.strip_prefix(FIELD_END)?))
    };
    Some(with_mac().unwrap_or((b"", covered)))
}

/// What a file with these contents holds.
#[cfg(test)]
pub fn written(key: &FileKey, contents: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut last = Tag::default();
    let lines = contents.map(|content| {
        let (line, tag) = line(key, last, &content);
        last = tag;
        line
    });
    lines.flatten().collect()
}

/// How many bytes of a file are valid.
#[cfg(test)]
pub fn valid(bytes: &[u8], key: &FileKey, take: impl FnMut(&[u8]) -> bool) -> usize {
    read(bytes, key, take).len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mac::PlaceKey;
    use proptest::prelude::*;

    fn key() -> FileKey {
        PlaceKey::of_test().file("lines")
    }

    fn contents(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("{{\"n\":{number}}}").into_bytes()).collect()
    }

    fn file() -> PathBuf {
        std::env::temp_dir().join(format!("lines-{:x}.jsonl", disk::random()))
    }

    fn taken(path: &Path) -> (Vec<Vec<u8>>, Option<PathBuf>) {
        let mut taken = Vec::new();
        let found = Lines::open_or_create(path, key(), |content| {
            taken.push(content.to_vec());
            true
        });
        (taken, found.unwrap().set_aside)
    }

    #[test]
    fn whatever_is_torn_off_the_lines_before_it_are_there_and_more_can_be_added() {
        let path = file();
        let whole = written(&key(), contents(4).into_iter());
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let count = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            let found = Lines::open_or_create(&path, key(), |_| true).unwrap();
            let torn = end > 0 && whole[end - 1] != b'\n';
            assert_eq!((found.count, found.set_aside.is_some()), (count, torn), "torn at {end}");
            let mut lines = found.lines;
            lines.append(b"{\"more\":1}").and_then(|()| lines.sync()).unwrap();
            let (read, aside) = taken(&path);
            assert_eq!((read.len(), aside), (count + 1, None));
            assert_eq!(read[..count], contents(4)[..count]);
            if let Some(aside) = found.set_aside {
                std::fs::remove_file(aside).unwrap();
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn lines_of_another_file_in_another_order_or_left_out_are_not_believed() {
        let ours: Vec<Vec<u8>> = {
            let whole = written(&key(), contents(3).into_iter());
            whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        let theirs = written(&PlaceKey::of_test().file("other"), contents(3).into_iter());
        let bare = {
            let covered = b"\"n\":0}";
            format!("{{\"crc\":\"{:08x}\",\"n\":0}}\n", crc32fast::hash(covered)).into_bytes()
        };
        let cases = [
            (theirs, 0),
            (bare, 0),
            (ours[1].clone(), 0),
            ([&ours[0][..], &ours[2]].concat(), 1),
            ([&ours[1][..], &ours[0]].concat(), 0),
            ([&ours[0][..], &ours[0]].concat(), 1),
        ];
        for (bytes, count) in cases {
            let path = file();
            std::fs::write(&path, &bytes).unwrap();
            let (read, aside) = taken(&path);
            let aside = std::fs::read(aside.expect("the rest is kept")).unwrap();
            assert_eq!((read.len(), &aside[..]), (count, &bytes[ours[0].len() * count..]));
        }
    }

    #[test]
    fn after_a_write_that_could_not_be_taken_back_the_file_is_written_anew() {
        let path = file();
        let mut lines = Lines::create(&path, key()).unwrap();
        lines.append(&contents(1)[0]).and_then(|()| lines.sync()).unwrap();
        lines.append(b"{\"n\":1}").unwrap();
        // What a disk leaves that failed in the middle of a line and in taking it back.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"crc\":\"0").unwrap();
        lines.damaged = true;
        lines.append(b"{\"n\":2}").and_then(|()| lines.sync()).unwrap();
        assert_eq!(taken(&path), (contents(3), None));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn replaced_lines_are_all_that_there_are_and_more_can_follow() {
        let path = file();
        let mut lines = Lines::create(&path, key()).unwrap();
        contents(9).iter().for_each(|content| lines.append(content).unwrap());
        lines.replace(contents(2).into_iter()).unwrap();
        lines.append(b"{\"n\":2}").and_then(|()| lines.sync()).unwrap();
        assert_eq!(taken(&path), (contents(3), None));
        std::fs::remove_file(&path).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_without_harm_and_none_are_believed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(valid(&bytes, &key(), |_| true), 0);
            let line = [CRC_FIELD, b"00000000\",", &bytes, b"\n"].concat();
            prop_assert_eq!(valid(&line, &key(), |_| true), 0);
        }
    }
}
