//! The repository on disk: made from a pack, or by libgit2 from a local one; and the check of what already
//! stands at a destination. Everything here blocks.

use crate::git::bounds;
use crate::git::checkout::{self, Built, uses_lfs};
use crate::git::processors::Processors;
use crate::git::skeleton::Skeleton;
use crate::git::standing::{self, Standing};
use crate::git::wire::{RemoteRef, RemoteRefs};
use crate::git::{CloneError, pack, traffic::Traffic};
use crate::net::git_settings::GitSettings;
use bytes::Bytes;
use git2::build::{CheckoutBuilder, CloneLocal, RepoBuilder};
use git2::{Oid, Repository};
use specweave_jobs::disk;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a finished clone is made of, besides its pack.
pub struct Plan {
    pub refs: RemoteRefs,
    /// The commits at which a shallow history ends.
    pub shallow: Vec<Oid>,
    pub traffic: Arc<Traffic>,
    /// Whether its submodules are wanted, which git then remembers.
    pub submodules: bool,
    /// The address to remember; never one with credentials.
    pub origin: String,
    /// Only the default branch was asked for.
    pub single_branch: bool,
    pub settings: Arc<GitSettings>,
}

/// Makes a repository with its work tree in `at`, an empty or absent folder.
/// What takes the processor, after the last byte has come, waits for its `turn`.
pub fn build<T>(
    at: &Path,
    plan: &Plan,
    pack: impl Iterator<Item = Result<Bytes, CloneError>>,
    turn: impl FnOnce() -> T,
    (skeleton, processors): (&Skeleton, &Processors),
    cancel: &CancellationToken,
) -> Result<Built, CloneError> {
    let branch = head_branch(plan);
    let first = || format!("refs/heads/{}", plan.settings.default_branch().unwrap_or("master"));
    let head = branch.clone().unwrap_or_else(first);
    let repository = skeleton.lay(at, &head, &config(plan, branch.as_deref()))?;
    let _turn = if plan.refs.refs.is_empty() && plan.refs.head.is_none() {
        turn()
    } else {
        let folder = repository.path().join("objects/pack");
        pack::index(&folder, pack, (&plan.shallow, &plan.traffic), turn, processors, cancel)?
    };
    let objects = repository.odb()?;
    let is_whole = plan.shallow.is_empty() && !plan.single_branch;
    let is_missing = |one: &&RemoteRef| is_whole && is_taken(&one.name) && !objects.exists(one.oid);
    if let Some(one) = plan.refs.refs.iter().find(is_missing) {
        return Err(CloneError::Remote(format!(
            "the remote did not send all objects: {} is not there",
            one.name
        )));
    }
    if !plan.shallow.is_empty() {
        let text: String = plan.shallow.iter().map(|oid| format!("{oid}\n")).collect();
        write(&repository.path().join("shallow"), text.as_bytes())?;
    }
    write_refs(&repository, plan, branch.as_deref())?;
    checkout::check_out(&repository, plan.refs.head, &plan.settings, processors, cancel)
}

/// The branch to check out: the one that HEAD names, or, for servers that do not say, a well-known one that
/// points at the same commit.
fn head_branch(plan: &Plan) -> Option<String> {
    let usable = |name: &&str| name.starts_with("refs/heads/") && git2::Reference::is_valid_name(name);
    if let Some(name) = plan.refs.head_branch.as_deref().filter(usable) {
        return Some(name.to_owned());
    }
    let head = plan.refs.head?;
    let configured = plan.settings.default_branch().unwrap_or("main");
    let here = |name: &str| {
        let full = format!("refs/heads/{name}");
        plan.refs.refs.iter().any(|r| r.name == full && r.oid == head).then_some(full)
    };
    here(configured).or_else(|| here("main")).or_else(|| here("master")).or_else(|| {
        let any = plan.refs.refs.iter().find(|r| r.oid == head && usable(&r.name.as_str()));
        any.map(|r| r.name.clone())
    })
}

/// All refs in one file, as git itself writes them after a clone; a file and a log a ref would cost more than
/// the rest of a small clone. HEAD names the branch already, since the repository was made for it.
fn write_refs(repository: &Repository, plan: &Plan, branch: Option<&str>) -> Result<(), CloneError> {
    let mut packed: Vec<(String, Oid, Option<Oid>)> = Vec::new();
    let objects = repository.odb()?;
    for remote in &plan.refs.refs {
        let name = match remote.name.strip_prefix("refs/heads/") {
            Some(_) if plan.single_branch && Some(remote.name.as_str()) != branch => continue,
            Some(name) => format!("refs/remotes/origin/{name}"),
            None if remote.name.starts_with("refs/tags/") => remote.name.clone(),
            None => continue,
        };
        // A tag whose commits a shallow pack does not have would be a dangling ref.
        if git2::Reference::is_valid_name(&name) && objects.exists(remote.oid) {
            // What a server says that a tag is of is not believed.
            let peeled = if name.starts_with("refs/tags/") { peeled(repository, remote.oid) } else { None };
            packed.push((name, remote.oid, peeled));
        }
    }
    if let (Some(branch), Some(head)) = (branch, plan.refs.head) {
        packed.push((branch.to_owned(), head, None));
    }
    packed.sort();
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for (name, oid, peeled) in packed {
        text.push_str(&format!("{oid} {name}\n"));
        if let Some(peeled) = peeled {
            text.push_str(&format!("^{peeled}\n"));
        }
    }
    let git = repository.path();
    write(&git.join("packed-refs"), text.as_bytes())?;
    match (branch, plan.refs.head) {
        (Some(branch), Some(_)) => {
            let short = short(branch);
            let remotes = git.join("refs/remotes");
            let folder = remotes.join("origin");
            fs::create_dir(&remotes)
                .and_then(|()| fs::create_dir(&folder))
                .map_err(|source| CloneError::Local { what: "write the repository", source })?;
            write(&folder.join("HEAD"), format!("ref: refs/remotes/origin/{short}\n").as_bytes())
        }
        (None, Some(head)) => Ok(repository.set_head_detached(head)?),
        (_, None) => Ok(()),
    }
}

/// What an annotated tag is of; nothing for any other object.
fn peeled(repository: &Repository, oid: Oid) -> Option<Oid> {
    let tag = repository.find_tag(oid).ok()?;
    Some(tag.as_object().peel(git2::ObjectType::Any).ok()?.id()).filter(|of| *of != oid)
}

/// Whether a ref of the remote becomes one here.
fn is_taken(name: &str) -> bool {
    name.starts_with("refs/heads/") || name.starts_with("refs/tags/")
}

/// A branch as people name it.
fn short(branch: &str) -> &str {
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}

/// The remote and its branch, as they stand in a configuration.
fn config(plan: &Plan, branch: Option<&str>) -> String {
    let short = branch.map(short);
    let refspec = match short.filter(|_| plan.single_branch) {
        Some(name) => format!("+refs/heads/{name}:refs/remotes/origin/{name}"),
        None => "+refs/heads/*:refs/remotes/origin/*".to_owned(),
    };
    let origin = escaped(&plan.origin);
    let active = if plan.submodules { "[submodule]\n\tactive = .\n" } else { "" };
    let mut text =
        format!("{active}[remote \"origin\"]\n\turl = \"{origin}\"\n\tfetch = \"{}\"\n", escaped(&refspec));
    if let (Some(name), Some(branch)) = (short, branch) {
        let (name, branch) = (escaped(name), escaped(branch));
        text.push_str(&format!("[branch \"{name}\"]\n\tremote = origin\n\tmerge = \"{branch}\"\n"));
    }
    text
}

/// A value or a section's name inside the quotes of a git configuration.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Clones a repository that libgit2 reads itself: a path, `file://` or `git://`.
pub fn build_with_libgit2(
    address: &str,
    at: &Path,
    settings: &GitSettings,
    processors: &Processors,
    cancel: &CancellationToken,
) -> Result<Built, CloneError> {
    let mut callbacks = git2::RemoteCallbacks::new();
    callbacks.transfer_progress(|_| !cancel.is_cancelled());
    let mut fetch = git2::FetchOptions::new();
    fetch.remote_callbacks(callbacks).download_tags(git2::AutotagOption::All);
    // Checked out afterwards, once it is known what that would come to.
    let mut nothing = CheckoutBuilder::new();
    nothing.dry_run();
    let mut builder = RepoBuilder::new();
    builder.clone_local(CloneLocal::Auto).fetch_options(fetch).with_checkout(nothing);
    let repository = match builder.clone(address, at) {
        Ok(repository) => repository,
        Err(_) if cancel.is_cancelled() => return Err(CloneError::Cancelled),
        Err(error) => return Err(error.into()),
    };
    checkout::remove_probes(&repository)?;
    let head = repository.head().ok().and_then(|head| head.target());
    checkout::check_out(&repository, head, settings, processors, cancel)
}

/// What stands at a destination.
#[derive(Debug, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    /// A whole clone of the wanted repository.
    Whole,
    /// A clone of it without a commit: whole if the remote is empty too.
    Unborn,
    /// A clone of it that git began and never ended; nothing but git's own files is in it.
    HalfMade,
    /// Something else, which is left alone.
    Other(String),
    /// A repository that libgit2 cannot read, and why; git itself may.
    Unreadable(String),
}

/// What is said of a repository that is none any more.
pub fn broken(why: &str) -> Existing {
    Existing::Other(format!("a broken repository stands at the target ({why}); move it away to clone again"))
}

/// Looks at a destination without changing it.
pub fn existing(at: &Path, same_origin: impl Fn(&str) -> bool) -> Existing {
    look(at, same_origin).0
}

/// As [`existing`], with the repository that stands there, where libgit2 reads it.
pub fn look(at: &Path, same_origin: impl Fn(&str) -> bool) -> (Existing, Option<Standing>) {
    match fs::symlink_metadata(at) {
        Err(_) => return (Existing::Nothing, None),
        Ok(facts) if !facts.is_dir() => {
            return (Existing::Other("a file or link stands at the target".into()), None);
        }
        Ok(_) if fs::read_dir(at).is_ok_and(|mut entries| entries.next().is_none()) => {
            return (Existing::Nothing, None);
        }
        Ok(_) => {}
    }
    let Some(git) = standing::git_folder(at) else {
        return (Existing::Other("a folder that is no git repository stands at the target".into()), None);
    };
    match Standing::open(at) {
        Err(error) => (Existing::Unreadable(error.message().to_owned()), None),
        Ok(standing) => (existing_repository(at, &git, &standing, same_origin), Some(standing)),
    }
}

fn existing_repository(
    at: &Path,
    git: &Path,
    standing: &Standing,
    same_origin: impl Fn(&str) -> bool,
) -> Existing {
    // Whatever its owner calls its remote by now.
    if !standing.addresses().any(same_origin) {
        return another(standing.addresses().next());
    }
    if is_begun_by_git(at) {
        return match unchanged_for(git) {
            Some(age) if age >= GIT_IS_GONE => Existing::HalfMade,
            _ => Existing::Other("a git is cloning into the target, or was until a moment ago".into()),
        };
    }
    let repository = &standing.repository;
    match repository.head() {
        // Its remote has branches, but not the one that it calls its default.
        Err(error) if error.code() == git2::ErrorCode::UnbornBranch && has_remote_branches(repository) => {
            Existing::Whole
        }
        Err(error) if error.code() == git2::ErrorCode::UnbornBranch => Existing::Unborn,
        Err(error) => broken(error.message()),
        Ok(head) => match head.peel_to_commit().and_then(|commit| commit.tree()) {
            Err(error) => broken(error.message()),
            Ok(tree) if tree.is_empty() || repository.is_bare() => Existing::Whole,
            // A lock beside it is that of a git at work.
            Ok(_) if !repository.path().join("index").exists() => broken("nothing was checked out"),
            Ok(_) => Existing::Whole,
        },
    }
}

/// After so long without a change, a clone that git has begun is not under way any more. Nothing changes while a server counts what
/// it will send.
const GIT_IS_GONE: Duration = Duration::from_secs(10 * 60);

/// Whether git has begun a clone here and not ended it: HEAD leads to the branch that git names until then, and there is
/// nothing but `.git`.
fn is_begun_by_git(at: &Path) -> bool {
    let head = fs::read_to_string(at.join(".git/HEAD")).unwrap_or_default();
    let is_alone = || fs::read_dir(at).is_ok_and(|entries| entries.count() == 1);
    head.trim() == "ref: refs/heads/.invalid" && is_alone()
}

/// How long nothing below a folder of git's has changed, as far as a clone under way changes something there.
fn unchanged_for(git: &Path) -> Option<Duration> {
    let packs = git.join("objects/pack");
    let files = fs::read_dir(&packs).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = files.chain([packs.clone(), git.to_path_buf(), git.join("config")]);
    let newest = all.filter_map(|path| fs::symlink_metadata(path).ok()?.modified().ok()).max()?;
    newest.elapsed().ok()
}

pub fn another(address: Option<&str>) -> Existing {
    let from = address.unwrap_or("no remote");
    Existing::Other(format!("another repository stands at the target (its origin is {from})"))
}

fn has_remote_branches(repository: &Repository) -> bool {
    let all = if repository.is_bare() { "refs/heads/*" } else { "refs/remotes/*" };
    repository.references_glob(all).is_ok_and(|mut refs| refs.next().is_some())
}

/// Sees that the work tree of a repository which git has made stays within bounds; whether it uses git-lfs, or nothing where
/// libgit2 cannot read it at all, or where not all is there.
pub fn measured(at: &Path, has_all: bool, cancel: &CancellationToken) -> Result<Option<bool>, CloneError> {
    let head = Repository::open(at).and_then(|repository| {
        let tree = repository.head()?.peel_to_tree()?.id();
        Ok((repository, tree))
    });
    let Ok((repository, tree)) = head else { return Ok(None) };
    let mut attributes = Vec::new();
    match bounds::extent(&repository, tree, &mut attributes, cancel) {
        Err(CloneError::Git(error)) if !has_all && error.code() == git2::ErrorCode::NotFound => Ok(None),
        measured => measured.map(|_| Some(uses_lfs(&repository, &attributes))),
    }
}

/// Whether large files of a clone that uses git-lfs stand there as pointers, once git has checked it out; where nothing is
/// certain, they do not.
pub fn has_pointers(at: &Path) -> bool {
    let found = || -> Result<bool, git2::Error> {
        let repository = Repository::open(at)?;
        let tree = repository.head()?.peel_to_tree()?;
        let objects = repository.odb()?;
        let mut found = false;
        tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
            let is_small = || objects.read_header(entry.id()).is_ok_and(|(size, _)| size < POINTER_LIMIT);
            if entry.kind() == Some(git2::ObjectType::Blob) && is_small() {
                let path =
                    at.join(OsStr::from_bytes(folder.as_bytes())).join(OsStr::from_bytes(entry.name_bytes()));
                found = disk::read_regular(&path, POINTER_LIMIT as u64)
                    .is_ok_and(|text| text.starts_with(POINTER));
            }
            if found { git2::TreeWalkResult::Abort } else { git2::TreeWalkResult::Ok }
        })
        .or_else(|error| if found { Ok(()) } else { Err(error) })?;
        Ok(found)
    };
    found().unwrap_or(false)
}

/// What stands in the place of a large file, and the most bytes that it has.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const POINTER_LIMIT: usize = 1024;

fn write(path: &Path, bytes: &[u8]) -> Result<(), CloneError> {
    fs::write(path, bytes).map_err(|source| CloneError::Local { what: "write the repository", source })
}
