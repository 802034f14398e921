//! Pages that were read and are not written yet, so that a daemon that dies asks for none of them again. Everything here
//! blocks.

use crate::docs::writer::{Outcome, WriterError};
use crate::store::mac::{FileKey, PlaceKey, TAG_DIGITS, Tag};
use crate::trackers::{Page, Read};
use serde::{Deserialize, Serialize};
use specweave_jobs::disk;
use specweave_jobs::project::{JobId, Project};
use std::io;
use std::path::{Path, PathBuf};

/// A page that was read is no larger.
const MOST_PAGE: u64 = 512 * 1024 * 1024;

/// A page that was read: kept until its items are written, so that a daemon that dies asks for none again.
#[derive(Serialize, Deserialize)]
struct Spooled {
    index: u32,
    at: String,
    next: crate::trackers::Position,
    items: Vec<Read>,
    notes: Vec<String>,
}

/// The pages of one job.
pub struct Spool {
    folder: PathBuf,
    key: FileKey,
}

impl Spool {
    pub fn of(project: &Project, key: &PlaceKey, id: &JobId) -> Self {
        Self { folder: project.job(id).folder.join("pages"), key: key.job(id, "pages") }
    }

    /// What a file of the spool holds, if it is whole and this user's daemon wrote it there.
    fn read<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let bytes = disk::read_regular(path, MOST_PAGE).ok()?;
        let (mac, body) = (bytes.get(..TAG_DIGITS)?, bytes.get(TAG_DIGITS + 1..)?);
        self.tag(path, body).is(mac).then(|| serde_json::from_slice(body).ok())?
    }

    fn write(&self, path: &Path, what: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(what).expect("plain data serialises");
        let mut bytes = self.tag(path, &body).hex().into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        disk::make_folders(&self.folder, 0o700)?;
        disk::replace_unsynced(path, &bytes, 0o600)
    }

    /// One file's content is not another's.
    fn tag(&self, path: &Path, body: &[u8]) -> Tag {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        self.key.tag(self.key.tag(Tag::default(), name), body)
    }

    /// Notes what became of a page whose stories are on the disk.
    pub fn keep_outcome(&self, index: u32, at: &str, outcome: &Outcome) -> Result<(), WriterError> {
        let path = self.path(index, at).with_extension("done");
        self.write(&path, outcome).map_err(|source| WriterError::Io { path, source })
    }

    /// What became of a page, if its stories are on the disk.
    pub fn outcome(&self, index: u32, at: &str) -> Option<Outcome> {
        self.read(&self.path(index, at).with_extension("done"))
    }

    fn path(&self, index: u32, at: &str) -> PathBuf {
        self.folder.join(format!("{index}-{:08x}.json", crc32fast::hash(at.as_bytes())))
    }

    pub fn keep(&self, index: u32, at: &str, page: &Page) -> io::Result<()> {
        let spooled = Spooled {
            index,
            at: at.to_owned(),
            next: page.next.clone(),
            items: page.items.clone(),
            notes: page.notes.clone(),
        };
        self.write(&self.path(index, at), &spooled)
    }

    /// The page at a position, if it was kept whole.
    pub fn kept(&self, index: u32, at: &str) -> Option<Page> {
        let spooled: Spooled = self.read(&self.path(index, at))?;
        (spooled.index == index && spooled.at == at).then_some(Page {
            items: spooled.items,
            next: spooled.next,
            notes: spooled.notes,
        })
    }

    pub fn drop_page(&self, index: u32, at: &str) {
        let path = self.path(index, at);
        let _ = disk::remove_file(&path.with_extension("done"));
        let _ = disk::remove_file(&path);
    }

    pub fn clear(&self) {
        let _ = disk::remove_folder(&self.folder);
    }
}
