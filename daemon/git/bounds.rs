//! What one repository may cost, whatever its remote sends: a pack of a kilobyte can unfold to thousands of millions of
//! files. These are the limits of the fast path, and the walk that finds a tree beyond them before anything of it is
//! written. Everything here blocks.

use crate::git::CloneError;
use git2::{ObjectType, Oid, Repository};
use specweave_jobs::disk;
use std::collections::{HashMap, HashSet};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// An object of more bytes, unpacked, is not taken: it has to fit into memory, several at a time.
pub const MOST_OBJECT: usize = 512 * 1024 * 1024;

/// What is said of one.
pub fn large_object() -> String {
    let most = MOST_OBJECT / (1024 * 1024);
    format!("it holds an object of more than {most} MB, which is not unpacked here; clone it with git itself")
}

/// Objects of one pack.
pub const MOST_OBJECTS: usize = 50_000_000;

/// Files and folders of one work tree.
pub const MOST_PATHS: u64 = 5_000_000;

/// Folders inside each other; a path of more cannot be opened.
pub const MOST_DEPTH: u32 = 2_048;

/// Bytes of a path; no system opens a longer one.
pub const LONGEST_PATH: u64 = 4_096;

/// Gives libgit2 the limits that it has no setting of its own for. Once a process, before anything else uses it.
pub fn bound_libgit2() {
    static ALLOCATOR: Allocator = Allocator { allocate, reallocate, release };
    // SAFETY: nothing else uses libgit2 yet. The allocator lives for ever, and its functions are those of the C library
    // but for their limit, so that memory from before can be released by it.
    let result = unsafe {
        libgit2_sys::git_libgit2_opts(
            libgit2_sys::GIT_OPT_SET_ALLOCATOR as c_int,
            std::ptr::from_ref(&ALLOCATOR).cast_mut(),
        )
    };
    if result != 0 {
        tracing::warn!("objects of any size are unpacked");
    }
    // SAFETY: as above; the option takes one `size_t`.
    unsafe {
        libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECTS as c_int, MOST_OBJECTS)
    };
}

/// libgit2's `git_allocator`.
#[repr(C)]
struct Allocator {
    allocate: extern "C" fn(usize, *const c_char, c_int) -> *mut c_void,
    reallocate: extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void,
    release: extern "C" fn(*mut c_void),
}

/// What libgit2 puts around an object.
const SURPLUS: usize = 4096;

extern "C" fn allocate(bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    if bytes > MOST_OBJECT + SURPLUS {
        return std::ptr::null_mut();
    }
    // SAFETY: any size may be asked for.
    unsafe { libc::malloc(bytes) }
}

extern "C" fn reallocate(old: *mut c_void, bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    if bytes > MOST_OBJECT + SURPLUS {
        return std::ptr::null_mut();
    }
    // SAFETY: libgit2 hands over what `allocate` gave, or null.
    unsafe { libc::realloc(old, bytes) }
}

extern "C" fn release(old: *mut c_void) {
    // SAFETY: as for `reallocate`.
    unsafe { libc::free(old) }
}

/// What a tree will become on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub paths: u64,
    pub depth: u32,
    /// Bytes of its longest path.
    pub longest: u64,
    /// Whether a file has rights that git itself would not give it.
    pub has_odd_modes: bool,
    /// Whether a folder has two entries of the same name, as no git makes them.
    pub has_twins: bool,
}

/// A tree and all that is below it, measured.
pub struct Measured {
    root: Oid,
    folders: HashMap<Oid, Extent>,
}

impl Measured {
    /// The whole tree's.
    pub fn whole(&self) -> Extent {
        self.folders[&self.root]
    }

    /// Files and folders below one of its folders.
    pub fn paths_below(&self, folder: Oid) -> u64 {
        self.folders.get(&folder).map_or(0, |extent| extent.paths)
    }
}

/// A file that says how others are to be checked out.
pub struct Attributes {
    pub oid: Oid,
    pub is_file: bool,
}

const ATTRIBUTES: &[u8] = b".gitattributes";

/// Larger attributes are not looked through.
const MOST_ATTRIBUTES: usize = 1024 * 1024;

impl Attributes {
    /// What stands in the commit, as in the work tree it might be a link to anything; nothing of a link, or of what is too
    /// large.
    pub fn content(&self, repository: &Repository) -> Result<Option<Vec<u8>>, git2::Error> {
        let (size, _) = repository.odb()?.read_header(self.oid)?;
        if !self.is_file || size > MOST_ATTRIBUTES {
            return Ok(None);
        }
        Ok(Some(repository.find_blob(self.oid)?.content().to_vec()))
    }
}

/// A folder that is being looked at.
struct Open {
    oid: Oid,
    extent: Extent,
    /// Folders in it that are still to be added to it, with the bytes of their names.
    below: Vec<(Oid, u64)>,
}

/// Measures the tree of a commit. Each folder is looked at once, however often it stands in the tree.
/// The files with attributes in it are added to `attributes`.
pub fn extent(
    repository: &Repository,
    root: Oid,
    attributes: &mut Vec<Attributes>,
    cancel: &CancellationToken,
) -> Result<Measured, CloneError> {
    let mut known: HashMap<Oid, Extent> = HashMap::new();
    // From the root down to the folder that is looked at.
    let mut way = vec![look_into(repository, root, attributes)?];
    loop {
        if cancel.is_cancelled() {
            return Err(CloneError::Cancelled);
        }
        let Some(here) = way.last_mut() else { return Ok(Measured { root, folders: known }) };
        let Some((next, name)) = here.below.last() else {
            known.insert(here.oid, here.extent);
            way.pop();
            continue;
        };
        match known.get(next) {
            None => {
                let next = *next;
                way.push(look_into(repository, next, attributes)?);
            }
            Some(below) => {
                here.extent.paths = here.extent.paths.saturating_add(below.paths);
                here.extent.depth = here.extent.depth.max(below.depth + 1);
                here.extent.longest = here.extent.longest.max(name + 1 + below.longest);
                here.extent.has_odd_modes |= below.has_odd_modes;
                here.extent.has_twins |= below.has_twins;
                here.below.pop();
            }
        }
        let deepest = way.last().map_or(0, |here| way.len() + here.extent.depth as usize - 1);
        if deepest > MOST_DEPTH as usize {
            return Err(CloneError::Refused(format!("its folders are more than {MOST_DEPTH} deep")));
        }
        if way.last().is_some_and(|here| here.extent.longest > LONGEST_PATH) {
            return Err(CloneError::Refused(format!("it has a path of more than {LONGEST_PATH} bytes")));
        }
        if way.last().is_some_and(|here| here.extent.paths > MOST_PATHS) {
            return Err(CloneError::Refused(many_paths()));
        }
    }
}

/// What is said of a tree that is too large.
pub fn many_paths() -> String {
    format!("its tree has more than {MOST_PATHS} files and folders")
}

fn look_into(
    repository: &Repository,
    oid: Oid,
    attributes: &mut Vec<Attributes>,
) -> Result<Open, CloneError> {
    let tree = repository.find_tree(oid)?;
    let mut extent =
        Extent { paths: tree.len() as u64, depth: 1, longest: 0, has_odd_modes: false, has_twins: false };
    let mut below = Vec::new();
    let mut names = HashSet::with_capacity(tree.len());
    for entry in &tree {
        let usual = [0o040000, 0o100644, 0o100755, 0o120000, 0o160000];
        extent.longest = extent.longest.max(entry.name_bytes().len() as u64);
        extent.has_twins |= !names.insert(entry.name_bytes().to_vec());
        extent.has_odd_modes |= !usual.contains(&entry.filemode_raw());
        if entry.kind() == Some(ObjectType::Tree) {
            below.push((entry.id(), entry.name_bytes().len() as u64));
        }
        if entry.name_bytes() == ATTRIBUTES {
            attributes.push(Attributes {
                oid: entry.id(),
                is_file: matches!(entry.filemode(), 0o100644 | 0o100755),
            });
        }
    }
    Ok(Open { oid, extent, below })
}

/// Gives the files that were checked out the rights that git gives them, whatever the tree named or libgit2 left out: all that the umask
/// leaves of reading and writing, and of running a program.
pub fn usual_modes(work_tree: &Path, umask: u32) -> std::io::Result<()> {
    let mut folders = vec![work_tree.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for (name, kind) in disk::read_folder(&folder)? {
            let path = folder.join(&name);
            match kind {
                disk::Kind::Folder if name == ".git" && folder == work_tree => {}
                disk::Kind::Folder => folders.push(path),
                disk::Kind::File => {
                    disk::change_mode(&path, |mode| {
                        (if mode & 0o100 == 0 { 0o666 } else { 0o777 }) & !umask
                    })?;
                }
                disk::Kind::Link | disk::Kind::Other => {}
            }
        }
    }
    Ok(())
}
