//! A clone that stands, looked at without changing it: what it knows of its remote, where its branch stands beside its upstream, and
//! whether anything of a person's is in it. Everything here blocks.

use crate::git::wire::RemoteRefs;
use crate::net::git_settings::value_of;
use git2::{Config, IndexEntry, Oid, Reference, Repository, RepositoryState, StatusOptions, Tag};
use specweave_jobs::disk;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Where git keeps what it knows of a repository: in its `.git`, or in the folder itself where there is no work tree.
pub fn git_folder(at: &Path) -> Option<PathBuf> {
    let inside = at.join(".git");
    if disk::exists(&inside) {
        return Some(inside);
    }
    let is_bare = disk::exists(&at.join("HEAD"))
        && ["objects", "refs"].iter().all(|name| disk::is_folder(&at.join(name)));
    is_bare.then(|| at.to_path_buf())
}

/// What a repository is told of its remotes and branches, and of fetching. It is read once: libgit2 looks at every file of the configuration anew for
/// each question.
struct Told(Vec<(String, String)>);

impl Told {
    fn of(config: &Config) -> Result<Self, git2::Error> {
        let mut told = Vec::new();
        config.entries(Some("^(remote|branch|fetch)\\."))?.for_each(|entry| {
            if let Ok(name) = entry.name() {
                told.push((name.to_owned(), value_of(entry).to_owned()));
            }
        })?;
        Ok(Self(told))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// What was last said of it; nothing where that is neither yes nor no.
    fn flag(&self, name: &str) -> Option<bool> {
        Config::parse_bool(self.all(name).last()?).ok()
    }

    /// The remotes by their names, each with an address.
    fn remotes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, address)| {
            Some((name.strip_prefix("remote.")?.strip_suffix(".url")?, address.as_str()))
        })
    }

    fn origin(&self) -> Option<String> {
        let origin = self.remotes().find(|(name, _)| *name == "origin").or_else(|| self.remotes().min());
        origin.map(|(_, address)| address.to_owned())
    }
}

/// The address of the remote that a clone came from: `origin`, or the first of those that it has.
pub fn origin(at: &Path) -> Option<String> {
    // Most often the file of the clone itself tells, for a fraction of what it takes to open a repository.
    let of_its_own = Config::open(&git_folder(at)?.join("config")).and_then(|config| Told::of(&config));
    of_its_own.ok().and_then(|told| told.origin()).or_else(|| Standing::open(at).ok()?.told.origin())
}

/// A clone that is looked at more than once and opened once, which takes longer than most looks.
pub struct Standing {
    pub repository: Repository,
    told: Told,
}

impl Standing {
    pub fn open(at: &Path) -> Result<Self, git2::Error> {
        let repository = Repository::open(at)?;
        let told = Told::of(&repository.config()?)?;
        Ok(Self { repository, told })
    }

    /// The addresses of all its remotes.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.told.remotes().map(|(_, address)| address)
    }

    /// The name that its owner gave to a remote.
    pub fn remote(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        self.told.remotes().find(|(_, address)| is_it(address)).map(|(name, _)| name.to_owned())
    }

    /// Whether a fetch from a remote that has these refs would bring anything. `None` where only git can say: its owner fetches in a
    /// way of his own.
    pub fn has_news(&self, remote: &str, refs: &RemoteRefs) -> Option<bool> {
        let Self { repository, told } = self;
        let is_set = |key: &str| told.has(&format!("remote.{remote}.{key}"));
        let only_git_knows = ["tagopt", "prunetags", "promisor", "mirror"];
        if only_git_knows.iter().any(|key| is_set(key)) || told.has("fetch.prunetags") {
            return None;
        }
        let only = branches_of(self.refspec(remote)?, remote)?;
        let known = read_refs(repository).ok()?;
        let is_there =
            |branch: &str| refs.refs.iter().any(|one| one.name.strip_prefix("refs/heads/") == Some(branch));
        // Its one branch is gone, which git will say.
        if only.is_some_and(|only| !is_there(only)) {
            return Some(true);
        }
        let prunes = [format!("remote.{remote}.prune"), "fetch.prune".to_owned()]
            .iter()
            .find_map(|key| told.flag(key));
        // Of a fetch that brings one branch, only that one could be pruned.
        if prunes.unwrap_or(false) && only.is_none() {
            let there: HashSet<&str> = refs.refs.iter().map(|one| one.name.as_str()).collect();
            let tracked = format!("refs/remotes/{remote}/");
            let mut branches = known.keys().filter_map(|name| name.strip_prefix(&tracked));
            if branches.any(|branch| branch != "HEAD" && !there.contains(&*format!("refs/heads/{branch}"))) {
                return Some(true);
            }
        }
        Some(refs.refs.iter().any(|one| match one.name.strip_prefix("refs/heads/") {
            Some(branch) if only.is_some_and(|only| only != branch) => false,
            Some(branch) => known.get(&format!("refs/remotes/{remote}/{branch}")) != Some(&one.oid),
            // A tag comes along with what it is of, and one that is there is not moved.
            None if one.name.starts_with("refs/tags/") && !known.contains_key(&one.name) => {
                let tagged = one.peeled.unwrap_or(one.oid);
                repository.odb().is_ok_and(|objects| objects.exists(tagged))
            }
            None => false,
        }))
    }

    /// What is fetched from a remote, where that is one thing.
    fn refspec(&self, remote: &str) -> Option<&str> {
        let name = format!("remote.{remote}.fetch");
        let mut wanted = self.told.all(&name);
        wanted.next().filter(|_| wanted.next().is_none())
    }

    /// Where the branch of its work tree stands beside its upstream.
    pub fn branch(&self) -> Result<Branch, git2::Error> {
        // A branch without a commit has a name as well.
        let head = self.repository.find_reference("HEAD")?;
        let Ok(Some(name)) = head.symbolic_target() else { return Ok(Branch::Level) };
        let upstream = self.upstream(name).and_then(|name| self.repository.refname_to_id(&name).ok());
        let Some(there) = upstream else { return Ok(Branch::Level) };
        let Ok(here) = self.repository.refname_to_id(name) else { return Ok(Branch::Behind) };
        if here == there {
            return Ok(Branch::Level);
        }
        Ok(match self.repository.graph_ahead_behind(here, there)? {
            (_, 0) => Branch::Level,
            (0, _) => Branch::Behind,
            (ahead, behind) => Branch::Diverged(ahead, behind),
        })
    }

    /// The ref here that follows the upstream of a branch.
    fn upstream(&self, name: &str) -> Option<String> {
        let branch = name.strip_prefix("refs/heads/")?;
        let told = |key: &str| self.told.all(&format!("branch.{branch}.{key}")).last().map(str::to_owned);
        let (remote, merge) = (told("remote")?, told("merge")?);
        match (
            self.refspec(&remote).and_then(|refspec| branches_of(refspec, &remote)),
            merge.strip_prefix("refs/heads/"),
        ) {
            (Some(None), Some(there)) => Some(format!("refs/remotes/{remote}/{there}")),
            _ => Some(self.repository.branch_upstream_name(name).ok()?.as_str().ok()?.to_owned()),
        }
    }
}

/// What all refs of a clone name, by their names.
pub type Refs = HashMap<String, Oid>;

pub fn refs(at: &Path) -> Refs {
    Repository::open(at).and_then(|repository| read_refs(&repository)).unwrap_or_default()
}

fn read_refs(repository: &Repository) -> Result<Refs, git2::Error> {
    let named = repository.references()?.flatten();
    Ok(named.filter_map(|one| Some((one.name().ok()?.to_owned(), one.target()?))).collect())
}

/// Which branches a refspec of git's own making brings: one, or all, which is `Some(None)`.
fn branches_of<'a>(refspec: &'a str, remote: &str) -> Option<Option<&'a str>> {
    let (from, to) = refspec.strip_prefix('+')?.split_once(':')?;
    let (branch, tracked) = (from.strip_prefix("refs/heads/")?, to.strip_prefix("refs/remotes/")?);
    let tracked = tracked.strip_prefix(remote)?.strip_prefix('/')?;
    (branch == tracked).then_some((branch != "*").then_some(branch))
}

/// Where the branch of a work tree stands beside its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// It has all that its upstream has, or there is no branch or no upstream to compare.
    Level,
    /// Its upstream has gone on.
    Behind,
    /// Both have gone on: so many commits here, so many there.
    Diverged(usize, usize),
}

/// What keeps a branch from being forwarded, before anybody looks at the files.
pub fn in_the_way(at: &Path) -> Result<Option<&'static str>, git2::Error> {
    let repository = Repository::open(at)?;
    if repository.state() != RepositoryState::Clean {
        return Ok(Some("a merge or the like is under way in it"));
    }
    let has_files = || disk::read_folder(at).is_ok_and(|all| all.iter().any(|(name, _)| name != ".git"));
    Ok(Some("it has files, and no commit yet").filter(|_| repository.head().is_err() && has_files()))
}

/// What of a person's is in a clone and would be lost with it; nothing where it can be had again from its remote.
pub fn own(at: &Path) -> Result<Option<&'static str>, git2::Error> {
    let mut repository = Repository::open(at)?;
    if repository.state() != RepositoryState::Clean {
        return Ok(Some("a merge or the like is under way in it"));
    }
    let index = repository.index()?;
    if disk::exists(&at.join(".gitmodules"))
        || disk::exists(&repository.path().join("modules"))
        || index.iter().any(|entry| entry.mode == SUBMODULE)
    {
        return Ok(Some("it has submodules, which may have commits of their own"));
    }
    if !repository.worktrees()?.is_empty() {
        return Ok(Some("it has other work trees"));
    }
    let hooks = disk::read_folder(&repository.path().join("hooks")).unwrap_or_default();
    if hooks.iter().any(|(name, _)| !name.ends_with(".sample")) {
        return Ok(Some("it has hooks"));
    }
    // What git was told not to look at would seem unchanged.
    let is_unseen = |entry: &IndexEntry| entry.flags & UNCHANGED != 0 || entry.flags_extended & SKIPPED != 0;
    if index.iter().any(|entry| is_unseen(&entry)) {
        return Ok(Some("git is told not to look at some of its files"));
    }
    let mut options = StatusOptions::new();
    options.include_untracked(true).include_ignored(true);
    if !repository.statuses(Some(&mut options))?.is_empty() {
        return Ok(Some("it has changes or files of its own"));
    }
    let mut stashed = false;
    repository.stash_foreach(|_, _, _| {
        stashed = true;
        false
    })?;
    if stashed {
        return Ok(Some("it has a stash"));
    }
    own_commits(&repository)
}

/// The mode of a submodule in an index.
const SUBMODULE: u32 = 0o160000;

/// Flags of an index's entry: `assume-unchanged`, and `skip-worktree` among the extended ones.
const UNCHANGED: u16 = 0x8000;
const SKIPPED: u16 = 0x4000;

/// Whether a tag has a text of whoever is `mine`.
fn is_tag_of(reference: &Reference, mine: &str) -> bool {
    let tagger = |tag: Tag| tag.tagger().is_some_and(|tagger| tagger.email() == Ok(mine));
    reference.peel_to_tag().is_ok_and(tagger)
}

/// Whether a ref, or what one of them has named before, leads to a commit that the remote did not have, or to a tag of a person's.
fn own_commits(repository: &Repository) -> Result<Option<&'static str>, git2::Error> {
    let (mut walk, mut of_remote) = (repository.revwalk()?, 0);
    let mine = repository.config()?.get_string("user.email").ok();
    for reference in repository.references()? {
        let reference = reference?;
        let Ok(name) = reference.name() else { return Ok(Some("it has a ref of an odd name")) };
        if name.starts_with("refs/remotes/") {
            of_remote += 1;
            if let Ok(commit) = reference.peel_to_commit() {
                walk.hide(commit.id())?;
            }
            continue;
        }
        if reference.is_tag() && mine.as_deref().is_some_and(|mine| is_tag_of(&reference, mine)) {
            return Ok(Some("it has a tag of yours"));
        }
        match reference.peel_to_commit() {
            Ok(commit) => walk.push(commit.id())?,
            Err(_) => return Ok(Some("it has a ref that leads to no commit")),
        }
    }
    let logs: Vec<String> =
        repository.references_glob("refs/heads/*")?.names().flatten().map(str::to_owned).collect();
    for log in logs.iter().map(String::as_str).chain(["HEAD"]) {
        for entry in repository.reflog(log)?.iter() {
            if repository.find_commit(entry.id_new()).is_ok() {
                walk.push(entry.id_new())?;
            }
        }
    }
    if repository.head_detached()? {
        walk.push_head()?;
    }
    if of_remote == 0 {
        return Ok(Some("it is not known what its remote had"));
    }
    Ok(walk.next().map(|_| "it has, or had, commits that its remote did not have"))
}
