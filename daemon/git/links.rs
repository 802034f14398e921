//! What the objects of a pack name, collected while several threads look at them, and the check that all of it is there. Git
//! calls it connectivity: a remote that leaves objects out is found here, and not when somebody needs them.

use crate::git::CloneError;
use git2::Oid;
use gix_hash::{Kind, ObjectId};
use gix_object::{CommitRefIter, TagRefIter, TreeRefIter};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sets among which names are spread by their first byte, so that threads seldom wait for each other.
const SHARDS: usize = 64;

fn shard(id: &ObjectId) -> usize {
    usize::from(id.as_slice()[0]) % SHARDS
}

pub struct Links {
    shards: Vec<Mutex<HashSet<ObjectId>>>,
    count: AtomicUsize,
    /// Objects of the pack: when more are named, some are missing.
    objects: usize,
    shallow: HashSet<ObjectId>,
}

impl Links {
    /// For a pack of so many objects, in which the parents of `shallow` commits are not to be.
    pub fn new(shallow: &[Oid], objects: usize) -> Self {
        let shallow = shallow.iter().filter_map(|oid| ObjectId::try_from(oid.as_bytes()).ok());
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            objects,
            shallow: shallow.collect(),
        }
    }

    /// Takes down what the object `id` names.
    pub fn add(&self, kind: gix_object::Kind, id: &ObjectId, content: &[u8]) -> gix_error::Result<()> {
        match kind {
            gix_object::Kind::Blob => {}
            gix_object::Kind::Tree => {
                for entry in TreeRefIter::from_bytes(content, Kind::Sha1) {
                    let entry = entry?;
                    // A submodule's commit is another repository's.
                    if !entry.mode.is_commit() {
                        self.insert(entry.oid.to_owned())?;
                    }
                }
            }
            gix_object::Kind::Commit => {
                let mut commit = CommitRefIter::from_bytes(content, Kind::Sha1);
                self.insert(commit.tree_id()?)?;
                if !self.shallow.contains(id) {
                    for parent in commit.parent_ids() {
                        self.insert(parent)?;
                    }
                }
            }
            gix_object::Kind::Tag => {
                self.insert(TagRefIter::from_bytes(content, Kind::Sha1).target_id()?)?;
            }
        }
        Ok(())
    }

    fn insert(&self, id: ObjectId) -> gix_error::Result<()> {
        let is_new = self.shards[shard(&id)].lock().expect("no holder panics").insert(id);
        if is_new && self.count.fetch_add(1, Ordering::Relaxed) >= self.objects {
            gix_error::bail!(gix_error::message("its objects name more than it has"));
        }
        Ok(())
    }

    /// Sees that the pack has all that its objects name.
    pub fn see_that_all_lead_to<'a>(
        self,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) -> Result<(), CloneError> {
        let mut shards: Vec<HashSet<ObjectId>> =
            self.shards.into_iter().map(|shard| shard.into_inner().expect("no holder panics")).collect();
        for id in objects {
            shards[shard(id)].remove(id);
        }
        match shards.iter().flatten().next() {
            Some(missing) => Err(CloneError::Pack(format!("{missing} is named in it, and is not there"))),
            None => Ok(()),
        }
    }
}
