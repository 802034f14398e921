//! Git repositories made on the spot, with libgit2: no git program is needed.

use git2::{Repository, Signature, Time};
use std::path::{Path, PathBuf};

/// What a made repository holds.
#[derive(Clone, Copy)]
pub struct Size {
    pub files: usize,
    pub commits: usize,
    /// Bytes of each file.
    pub bytes: usize,
}

pub const SMALL: Size = Size { files: 10, commits: 10, bytes: 600 };

/// A bare repository `<folder>/<name>.git` with a branch `main`, a branch `side` and an annotated tag `v1`.
pub fn make(folder: &Path, name: &str, size: Size) -> PathBuf {
    let path = folder.join(format!("{name}.git"));
    let repository = Repository::init_bare(&path).unwrap();
    let mut seed = name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut parent: Option<git2::Oid> = None;
    let mut blobs: Vec<git2::Oid> =
        (0..size.files).map(|_| repository.blob(&text(&mut seed, size.bytes)).unwrap()).collect();
    for number in 0..size.commits {
        // Each commit changes one file.
        if let Some(blob) = blobs.get_mut(number % size.files.max(1)) {
            *blob = repository.blob(&text(&mut seed, size.bytes)).unwrap();
        }
        let mut sub = repository.treebuilder(None).unwrap();
        for (place, blob) in blobs.iter().enumerate().skip(1) {
            sub.insert(format!("file-{place}.txt"), *blob, 0o100644).unwrap();
        }
        let mut root = repository.treebuilder(None).unwrap();
        if let Some(blob) = blobs.first() {
            root.insert("README.md", *blob, 0o100644).unwrap();
        }
        root.insert("src", sub.write().unwrap(), 0o040000).unwrap();
        let oid = commit(&repository, root.write().unwrap(), number, parent);
        if number == 0 {
            repository.reference("refs/heads/side", oid, true, "side").unwrap();
            let object = repository.find_object(oid, None).unwrap();
            repository.tag("v1", &object, &signature(number), "first", false).unwrap();
        }
        parent = Some(oid);
    }
    repository.set_head("refs/heads/main").unwrap();
    path
}

/// The commit of `main` number `number`.
fn commit(repository: &Repository, tree: git2::Oid, number: usize, parent: Option<git2::Oid>) -> git2::Oid {
    let tree = repository.find_tree(tree).unwrap();
    let who = signature(number);
    let parent = parent.map(|oid| repository.find_commit(oid).unwrap());
    let parents: Vec<&git2::Commit> = parent.iter().collect();
    let message = format!("change {number}");
    repository.commit(Some("refs/heads/main"), &who, &who, &message, &tree, &parents).unwrap()
}

fn signature(number: usize) -> Signature<'static> {
    Signature::new("Ada", "ada@example.org", &Time::new(1_700_000_000 + number as i64, 0)).unwrap()
}

/// Text that compresses about as source code does.
fn text(seed: &mut u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "fn ", "let ", "mut ", "self.", "return ", "match ", "=> ", "{\n", "}\n", "value", "index", "error",
        "(", ")", ";\n", "    ",
    ];
    let mut out = Vec::with_capacity(bytes + 16);
    while out.len() < bytes {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(WORDS[(*seed >> 60) as usize].as_bytes());
        if *seed & 0x700 == 0 {
            out.extend_from_slice(format!("{:x}", *seed >> 32).as_bytes());
        }
    }
    out
}

/// `count` small repositories `repo-000..` of the owner `acme`.
pub fn make_many(root: &Path, count: usize) -> Vec<String> {
    let folder = root.join("acme");
    std::fs::create_dir_all(&folder).unwrap();
    let names: Vec<String> = (0..count).map(|number| format!("repo-{number:03}")).collect();
    for name in &names {
        make(&folder, name, SMALL);
    }
    names
}

/// Checks that a clone is whole: opens, its HEAD is the remote's, every object is there, and the work tree is
/// clean.
pub fn assert_whole(clone: &Path, remote: &Path) {
    let repository = Repository::open(clone).unwrap_or_else(|error| panic!("{}: {error}", clone.display()));
    let head = repository.head().unwrap().peel_to_commit().unwrap().id();
    let wanted = Repository::open(remote).unwrap().head().unwrap().peel_to_commit().unwrap().id();
    assert_eq!(head, wanted, "{}", clone.display());
    let mut walk = repository.revwalk().unwrap();
    walk.push_head().unwrap();
    for commit in walk {
        let tree = repository.find_commit(commit.unwrap()).unwrap().tree().unwrap();
        tree.walk(git2::TreeWalkMode::PreOrder, |_, entry| {
            entry.to_object(&repository).unwrap();
            git2::TreeWalkResult::Ok
        })
        .unwrap();
    }
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true);
    let changed = repository.statuses(Some(&mut options)).unwrap();
    assert!(changed.is_empty(), "{} has changes", clone.display());
}

/// A bare repository of so many commits, of which 1,200 make a pack of more than 50 MB: files that change a little many times, as source code
/// does, and files that hardly compress, as assets do.
pub fn make_large(folder: &Path, name: &str, commits: usize) -> PathBuf {
    let path = folder.join(format!("{name}.git"));
    let repository = Repository::init_bare(&path).unwrap();
    let mut seed = 42;
    let mut sources: Vec<Vec<u8>> = (0..1_500).map(|_| text(&mut seed, 12_000)).collect();
    let mut blobs: Vec<git2::Oid> = sources.iter().map(|bytes| repository.blob(bytes).unwrap()).collect();
    let mut assets = Vec::new();
    let mut parent: Option<git2::Oid> = None;
    for number in 0..commits {
        for step in 0..4 {
            let place = (number * 31 + step * 97) % sources.len();
            let at = (number * 611) % sources[place].len();
            sources[place].splice(at..at, format!("// change {number}\n").into_bytes());
            blobs[place] = repository.blob(&sources[place]).unwrap();
        }
        if number % 2 == 0 {
            let mut bytes = vec![0; 90_000];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (seed >> 56) as u8;
            }
            assets.push(repository.blob(&bytes).unwrap());
        }
        let mut root = repository.treebuilder(None).unwrap();
        for (folder, part) in blobs.chunks(50).enumerate() {
            let mut sub = repository.treebuilder(None).unwrap();
            for (place, blob) in part.iter().enumerate() {
                sub.insert(format!("file-{place}.rs"), *blob, 0o100644).unwrap();
            }
            root.insert(format!("part-{folder}"), sub.write().unwrap(), 0o040000).unwrap();
        }
        let mut sub = repository.treebuilder(None).unwrap();
        for (place, blob) in assets.iter().enumerate() {
            sub.insert(format!("asset-{place}.bin"), *blob, 0o100644).unwrap();
        }
        root.insert("assets", sub.write().unwrap(), 0o040000).unwrap();
        let oid = commit(&repository, root.write().unwrap(), number, parent);
        parent = Some(oid);
    }
    repository.set_head("refs/heads/main").unwrap();
    path
}
