//! The lines of a project's profile, in a file.

use crate::store::lines::Lines;
use crate::store::mac::{FileKey, PlaceKey};
use specweave_jobs::project::Project;
use specweave_jobs::{crash, disk};
use std::io;
use std::path::PathBuf;

pub struct FileLog {
    path: PathBuf,
    key: FileKey,
    lines: Option<Lines>,
}

impl FileLog {
    /// What the syncs of `profile` know.
    pub fn new(project: &Project, key: &PlaceKey, profile: &str) -> Self {
        Self { path: project.sync(profile), key: key.file(&format!("sync/{profile}")), lines: None }
    }

    fn open(&mut self) -> io::Result<&mut Lines> {
        self.lines.as_mut().ok_or_else(|| io::Error::other("it was not read yet"))
    }
}

/// The profiles that were synced once, as their files are named.
pub fn profiles(project: &Project) -> io::Result<Vec<String>> {
    let folder = project.sync("any");
    let folder = folder.parent().expect("it is a file in a folder");
    match disk::read_folder(folder) {
        Ok(names) => {
            let profile = |(name, _): (String, _)| name.strip_suffix(".jsonl").map(str::to_owned);
            Ok(names.into_iter().filter_map(profile).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl super::Log for FileLog {
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        let found = Lines::open_or_create(&self.path, self.key.clone(), take)?;
        self.lines = Some(found.lines);
        Ok(found.count)
    }

    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        Lines::look(&self.path, &self.key, take)
    }

    fn append(&mut self, contents: &[Vec<u8>]) -> io::Result<()> {
        let lines = self.open()?;
        contents.iter().try_for_each(|content| lines.append(content))?;
        lines.sync()?;
        crash::point("sync-noted");
        Ok(())
    }

    fn replace(&mut self, contents: &[Vec<u8>]) -> io::Result<()> {
        self.open()?.replace(contents.iter().cloned())
    }
}
