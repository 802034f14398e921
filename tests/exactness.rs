//! A clone is what `git clone` makes of the same repository under the same configuration, whichever way made it; and the way
//! through git itself is as safe as the other.

use crate::cloning::has_git;
use crate::world::alone::Alone;
use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::{self, assert_whole, make_many};
use crate::world::{World, eventually, files_below, is_thorough, signal};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A generator of numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

fn git(world: &World, at: &Path, arguments: &[&str]) -> String {
    let mut command = world.program("git", ["-C", at.to_str().unwrap()]);
    command.args(arguments);
    world.finish(command).ok().stdout
}

/// What git says of a clone: refs, HEAD, index, remote and branches, whether it is clean and whole.
fn told(world: &World, at: &Path) -> String {
    let mut out = String::new();
    let questions: [&[&str]; 5] = [
        &["for-each-ref", "--format=%(objectname) %(objecttype) %(*objectname) %(refname) %(symref)"],
        &["ls-files", "-s", "-z"],
        &["status", "--porcelain", "--branch"],
        &["config", "--local", "--list"],
        &["show-ref", "-d", "--head"],
    ];
    for question in questions {
        let mut command = world.program("git", ["-C", at.to_str().unwrap()]);
        let said = world.finish({
            command.args(question);
            command
        });
        // What git's own version notes besides is no part of a clone.
        let own = |line: &&str| !line.starts_with("core.") && !line.starts_with("extensions.");
        let lines: Vec<&str> = said.stdout.lines().filter(own).collect();
        writeln!(out, "{question:?}: {:?}\n{}", said.status, lines.join("\n")).unwrap();
    }
    let mut fsck = world.program("git", ["-C", at.to_str().unwrap(), "fsck", "--strict"]);
    fsck.env("LC_ALL", "C");
    writeln!(out, "fsck: {:?}", world.finish(fsck).status).unwrap();
    let head = fs::read_to_string(at.join(".git/HEAD")).unwrap();
    writeln!(out, "HEAD: {head}").unwrap();
    out
}

/// Every file of a work tree, with its rights and bytes.
fn tree(at: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut all = Vec::new();
    let mut folders = vec![at.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(at).unwrap().display().to_string();
            if name == ".git" {
                continue;
            }
            if kind.is_symlink() {
                all.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                continue;
            }
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
            if kind.is_dir() {
                all.push(format!("{name}/ {mode:o}"));
                folders.push(path);
            } else {
                all.push(format!("{name} {mode:o} {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap())));
            }
        }
    }
    all.sort();
    all
}

/// A bare repository with whatever repositories have.
fn make(world: &World, random: &mut Random, folder: &Path, name: &str) {
    let at = folder.join(format!("{name}.work"));
    fs::create_dir_all(&at).unwrap();
    let first = *random.one(&["main", "master", "trunk", "release/1.0"]);
    git(world, &at, &["init", "--quiet", "--initial-branch", first]);
    let attributes = [
        "* text=auto\n",
        "*.txt eol=crlf\n",
        "*.txt ident\n",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        "*.txt working-tree-encoding=ISO-8859-1\n",
        "*.md linguist-documentation\n",
    ];
    for number in 0..random.below(5) {
        for _ in 0..=random.below(4) {
            let parts = ["a", "b c", "ü", "d/e", "d/f/g", ".hidden", "x#y", "Makefile"];
            let end = *random.one(&["", ".txt", ".bin", ".md", ".sh"]);
            let path = at.join(format!("{}{end}", random.one(&parts)));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if path.is_dir() {
                continue;
            }
            let _ = fs::remove_file(&path);
            match random.below(8) {
                0 => std::os::unix::fs::symlink(random.one(&["a", "../elsewhere", "d"]), &path).unwrap(),
                1 => {
                    use std::os::unix::fs::PermissionsExt;
                    fs::write(&path, "#!/bin/sh\n").unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                }
                _ => fs::write(&path, format!("line {number} é\n$Id$\nlast\n")).unwrap(),
            }
        }
        if random.below(3) == 0 {
            let place = *random.one(&["", "d"]);
            fs::create_dir_all(at.join(place)).unwrap();
            fs::write(at.join(place).join(".gitattributes"), random.one(&attributes)).unwrap();
        }
        git(world, &at, &["add", "--all"]);
        git(world, &at, &["commit", "--quiet", "--allow-empty", "--message", &format!("commit {number}")]);
        match random.below(8) {
            0 => drop(git(world, &at, &["tag", "--force", &format!("light-{number}")])),
            1 => drop(git(world, &at, &["tag", "--force", "-a", &format!("v{number}"), "-m", "annotated"])),
            2 => {
                git(world, &at, &["tag", "--force", "-a", "inner", "-m", "x"]);
                git(world, &at, &["tag", "--force", "-a", "outer", "-m", "of a tag", "inner"]);
            }
            3 => drop(git(world, &at, &["tag", "--force", "tree", "HEAD^{tree}"])),
            4 => {
                let branch = *random.one(&["side", "deep/er", "ünïcode"]);
                git(world, &at, &["branch", "--force", branch]);
            }
            _ => {}
        }
    }
    let bare = folder.join(format!("{name}.git"));
    git(world, folder, &["clone", "--quiet", "--bare", at.to_str().unwrap(), bare.to_str().unwrap()]);
    git(world, &bare, &["remote", "remove", "origin"]);
    match random.below(6) {
        0 => drop(git(world, &bare, &["symbolic-ref", "HEAD", "refs/heads/nowhere"])),
        1 => {
            let head = world.finish(
                world.program("git", ["-C", bare.to_str().unwrap(), "rev-parse", "--verify", "-q", "HEAD"]),
            );
            if head.status == Some(0) {
                fs::write(bare.join("HEAD"), head.stdout).unwrap();
            }
        }
        _ => {}
    }
}

/// Identity and, beside it, what a user has set.
pub fn configure(world: &mut World, more: &str) {
    let path = world.dir.join("home/.gitconfig");
    fs::write(path, format!("[user]\n\tname = Ann\n\temail = ann@example.invalid\n{more}")).unwrap();
}

/// Clones with both and compares.
fn compare(world: &World, server: &GitServer, names: &[String], seed: u64) {
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let job = world.wait(&id);
    let log = world.run(["--logs", &id]).stdout;
    assert_eq!(job["progress"]["failed"], 0, "seed {seed}: {log}");
    let by_git = log.matches("by git itself").count();
    assert!(by_git > 0 && by_git < names.len(), "seed {seed}: both ways are compared: {log}");
    for name in names {
        let theirs = world.dir.join("theirs").join(name);
        let mut command = world.program("git", ["clone", "--quiet", &server.repository(name)]);
        command.arg(&theirs);
        world.finish(command).ok();
        let ours = world.project.join("repositories/acme").join(name);
        let way: Vec<&str> = log.lines().filter(|line| line.contains(&format!("{name} ("))).collect();
        assert_eq!(told(world, &ours), told(world, &theirs), "seed {seed}, {name}: {way:?}");
        assert_eq!(tree(&ours), tree(&theirs), "seed {seed}, {name}: {way:?}");
    }
}

#[test]
fn a_clone_of_any_repository_is_what_git_makes_of_it() {
    if !has_git() {
        return;
    }
    // Its many processes would keep the tests beside it that measure from the processor.
    let _alone = Alone::wait();
    let rounds = if is_thorough() { 3 } else { 1 };
    for round in 0..rounds {
        let seed = if is_thorough() { specweave_jobs::disk::random() | 1 } else { 0x5eed_0001 + round };
        let mut world = World::new();
        configure(&mut world, "");
        let root = world.dir.join("remotes");
        let folder = root.join("acme");
        fs::create_dir_all(&folder).unwrap();
        let mut random = Random(seed);
        let names: Vec<String> = (0..24).map(|number| format!("repo-{number:03}")).collect();
        names.iter().for_each(|name| make(&world, &mut random, &folder, name));
        let server = GitServer::http(&root);
        server.state.real_git.store(true, Ordering::Relaxed);
        compare(&world, &server, &names, seed);
    }
}

#[test]
fn what_is_left_out_and_what_comes_along_is_what_git_makes_of_the_same_words() {
    if !has_git() {
        return;
    }
    let _alone = Alone::wait();
    let mut world = World::new();
    configure(&mut world, "");
    let root = world.dir.join("remotes");
    let folder = root.join("acme");
    fs::create_dir_all(&folder).unwrap();
    let mut random = Random(4_711);
    let names: Vec<String> = (0..6).map(|number| format!("repo-{number:03}")).collect();
    names.iter().for_each(|name| make(&world, &mut random, &folder, name));
    let server = GitServer::http(&root);
    server.state.real_git.store(true, Ordering::Relaxed);
    // One with a submodule, which has one.
    let work = world.dir.join("work");
    repositories::make(&folder, "innermost", repositories::SMALL);
    for (outer, inner) in [("middle", "innermost"), ("outer", "middle")] {
        let _ = fs::remove_dir_all(&work);
        fs::create_dir(&work).unwrap();
        git(&world, &work, &["init", "-q", "-b", "main"]);
        git(&world, &work, &["submodule", "add", "-q", &server.repository(inner), "inside"]);
        git(&world, &work, &["commit", "-q", "-m", "one inside"]);
        let bare = folder.join(format!("{outer}.git"));
        git(&world, &work, &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        git(&world, &bare, &["config", "uploadpack.allowFilter", "true"]);
    }
    for name in names.iter().map(String::as_str).chain(["innermost"]) {
        let bare = folder.join(format!("{name}.git"));
        git(&world, &bare, &["config", "uploadpack.allowFilter", "true"]);
    }
    let names: Vec<String> = names.into_iter().chain(["outer".to_owned()]).collect();
    for words in [
        &["--single-branch"][..],
        &["--depth", "2"],
        &["--filter", "blob:none"],
        &["--recurse-submodules"],
        &["--single-branch", "--recurse-submodules"],
    ] {
        let mut own = World::new();
        configure(&mut own, "");
        let addresses = names.iter().map(|name| server.repository(name));
        let id = own.start_clone(words.iter().map(|word| (*word).to_owned()).chain(addresses));
        let job = own.wait(&id);
        let log = own.run(["--logs", &id]).stdout;
        assert_eq!(job["progress"]["failed"], 0, "{words:?}: {log}");
        for name in &names {
            let theirs = own.dir.join("theirs").join(name);
            let mut command = own.program("git", [&["clone", "--quiet"], words].concat());
            command.arg(server.repository(name)).arg(&theirs);
            own.finish(command).ok();
            let ours = own.project.join("repositories/acme").join(name);
            assert_eq!(told(&own, &ours), told(&own, &theirs), "{words:?}, {name}: {log}");
            assert_eq!(tree(&ours), tree(&theirs), "{words:?}, {name}: {log}");
        }
    }
    let refused = world.run(["clone", "acme/web", "--filter", "none"]).with_status(2);
    assert!(refused.stderr.contains("git knows blob:none"), "{}", refused.stderr);
}

#[test]
fn what_a_user_has_set_is_obeyed_and_the_log_says_which_way_was_taken() {
    if !has_git() {
        return;
    }
    // Its many processes would keep the tests beside it that measure from the processor.
    let _alone = Alone::wait();
    let template = |world: &World| {
        let folder = world.dir.join("template/info");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("from-the-template"), "x").unwrap();
        format!("[init]\n\ttemplateDir = {}\n", world.dir.join("template").display())
    };
    type Setting = (&'static str, fn(&World) -> String);
    let settings: [Setting; 6] = [
        ("core.autocrlf", |_| "[core]\n\tautocrlf = true\n".into()),
        ("core.symlinks", |_| "[core]\n\tsymlinks = false\n".into()),
        ("clone.defaultremotename", |_| "[clone]\n\tdefaultRemoteName = upstream\n".into()),
        ("transfer.fsckobjects", |_| "[transfer]\n\tfsckObjects = true\n".into()),
        ("branch.autosetuprebase", |_| "[branch]\n\tautoSetupRebase = always\n".into()),
        ("includeif", |world| {
            let more = world.dir.join("home/more");
            fs::write(&more, "[branch]\n\tautoSetupRebase = always\n").unwrap();
            format!("[includeIf \"gitdir:{}/\"]\n\tpath = more\n", world.project.display())
        }),
    ];
    let all = settings.iter().map(|(key, text)| (*key, text as &dyn Fn(&World) -> String));
    for (key, text) in all.chain([("init.templatedir", &template as &dyn Fn(&World) -> String)]) {
        let mut world = World::new();
        let root = world.dir.join("remotes");
        let folder = root.join("acme");
        fs::create_dir_all(&folder).unwrap();
        configure(&mut world, "");
        let mut random = Random(77);
        make(&world, &mut random, &folder, "one");
        let text = text(&world);
        configure(&mut world, &text);
        let server = GitServer::http(&root);
        server.state.real_git.store(true, Ordering::Relaxed);
        let id = world.start_clone([server.repository("one")]);
        world.wait(&id);
        let log = world.run(["--logs", &id]).ok().stdout;
        assert!(log.contains("by git itself: ") && log.to_lowercase().contains(key), "{key}: {log}");
        let ours = world.project.join("repositories/acme/one");
        // Beside it, as what is set may depend on the place.
        let theirs = world.project.join("repositories/acme/theirs");
        let mut command = world.program("git", ["clone", "--quiet", &server.repository("one")]);
        command.arg(&theirs);
        world.finish(command).ok();
        assert_eq!(told(&world, &ours), told(&world, &theirs), "{key}");
        assert_eq!(tree(&ours), tree(&theirs), "{key}");
        if key == "init.templatedir" {
            assert!(ours.join(".git/info/from-the-template").exists());
        }
    }
}

#[test]
fn attributes_that_hold_for_every_repository_of_a_user_are_obeyed() {
    if !has_git() {
        return;
    }
    for (attributes, way) in [("*.pdf diff=pdf\n", "Cloned: "), ("* text eol=crlf\n", "your attributes say")]
    {
        let (world, server, names) = World::with_remotes(1);
        server.state.real_git.store(true, Ordering::Relaxed);
        let folder = world.dir.join("home/.config/git");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("attributes"), attributes).unwrap();
        compare_one(&world, &server, &names[0]);
        let jobs = world.run(["--all", "--json"]).ok().json()["jobs"].clone();
        let log = world.run(["--logs", jobs[0]["id"].as_str().unwrap()]).ok().stdout;
        assert!(log.contains(way) && log.contains("by git itself") == way.starts_with("your"), "{log}");
    }
}

#[test]
fn what_the_umask_leaves_to_others_is_what_git_leaves_to_them() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !has_git() {
        return;
    }
    for umask in ["002", "022", "077"] {
        let (world, server) = serving(|world, work| {
            fs::create_dir(work.join("folder")).unwrap();
            fs::write(work.join("folder/text"), "text\n").unwrap();
            fs::write(work.join("run"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(work.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
            git(world, work, &["add", "."]);
            git(world, work, &["commit", "-q", "-m", "one"]);
        });
        let under = |program: &str, words: &[&str]| {
            let script = format!("umask {umask}; exec '{program}' \"$@\"");
            world.finish(world.program("sh", [&["-c", &script, "sh"], words].concat())).ok();
        };
        under(env!("CARGO_BIN_EXE_specweave-jobs"), &["clone", "--follow", &server.repository("one")]);
        let theirs = world.dir.join("theirs");
        under("git", &["clone", "--quiet", &server.repository("one"), theirs.to_str().unwrap()]);
        let ours = world.project.join("repositories/acme/one");
        assert_eq!(tree(&ours), tree(&theirs), "{umask}");
        let rights = |at: &Path, name: &str| {
            let mode = fs::metadata(at.join(".git").join(name)).unwrap().permissions().mode();
            format!("{name} {:o}", mode & 0o777)
        };
        // The index knows when each file was changed last.
        let debug = git(&world, &ours, &["ls-files", "--debug", "run"]);
        let facts = fs::metadata(ours.join("run")).unwrap();
        let changed = format!("ctime: {}:{}", facts.ctime(), facts.ctime_nsec());
        assert!(debug.contains(&changed), "{umask}: {changed} in {debug}");
        let packs = |at: &Path| {
            let files = files_below(&at.join(".git/objects/pack"));
            let end = |path: &PathBuf| path.extension().unwrap().to_str().unwrap().to_owned();
            let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let mut all: Vec<_> = files.iter().map(|path| (end(path), mode(path))).collect();
            all.retain(|(end, _)| end != "rev");
            all.sort();
            all
        };
        for name in ["", "HEAD", "config", "index", "packed-refs", "objects", "refs", "refs/remotes/origin"] {
            assert_eq!(rights(&ours, name), rights(&theirs, name), "{umask}");
        }
        assert_eq!(packs(&ours), packs(&theirs), "{umask}");
    }
}

#[test]
fn a_server_that_lies_about_tags_is_not_believed() {
    if !has_git() {
        return;
    }
    let (world, server) = serving(|world, work| {
        for tag in ["v1", "v2", "v3"] {
            git(world, work, &["commit", "-q", "--allow-empty", "-m", tag]);
            git(world, work, &["tag", "-a", tag, "-m", tag]);
        }
    });
    server.fault("one", Fault::LiesAboutTags);
    world.run(["clone", "--follow", &server.repository("one")]).ok();
    let tags = |at: &Path| git(&world, at, &["show-ref", "-d", "--tags"]);
    assert_eq!(tags(&world.project.join("repositories/acme/one")), tags(&world.dir.join("work")));
}

#[test]
fn a_submodule_below_a_name_like_a_pattern_stands_in_the_index() {
    if !has_git() {
        return;
    }
    let (world, server) = serving(|world, work| {
        for number in 0..700 {
            let at = work.join(format!("app[{}]", number % 7));
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join(number.to_string()), "text\n").unwrap();
        }
        git(world, work, &["add", "."]);
        let link = format!("160000,{},app[1]/inside", "1".repeat(40));
        git(world, work, &["update-index", "--add", "--cacheinfo", &link]);
        git(world, work, &["commit", "-q", "-m", "one"]);
    });
    server.state.real_git.store(true, Ordering::Relaxed);
    compare_one(&world, &server, "one");
}

/// A world, and a server of one repository, `one`, with whatever is made in its folder.
fn serving(make: impl FnOnce(&World, &Path)) -> (World, GitServer) {
    let mut world = World::new();
    configure(&mut world, "");
    let (root, work) = (world.dir.join("remotes"), world.dir.join("work"));
    fs::create_dir_all(root.join("acme")).unwrap();
    fs::create_dir(&work).unwrap();
    git(&world, &work, &["init", "-q", "-b", "main"]);
    make(&world, &work);
    git(&world, &work, &["clone", "-q", "--bare", ".", root.join("acme/one.git").to_str().unwrap()]);
    let server = GitServer::http(&root);
    (world, server)
}

/// Clones one with both and compares.
fn compare_one(world: &World, server: &GitServer, name: &str) {
    world.run(["clone", "--follow", &server.repository(name)]).ok();
    let theirs = world.dir.join("theirs").join(name);
    let words = ["clone", "--quiet", &server.repository(name), theirs.to_str().unwrap()];
    world.finish(world.program("git", words)).ok();
    let ours = world.project.join("repositories/acme").join(name);
    assert_eq!(told(world, &ours), told(world, &theirs));
    assert_eq!(tree(&ours), tree(&theirs));
}

#[test]
fn what_is_left_out_of_a_private_repository_is_fetched_with_the_same_login() {
    if !has_git() {
        return;
    }
    let (mut world, server, names) = World::with_remotes(1);
    server.state.real_git.store(true, Ordering::Relaxed);
    let bare = world.dir.join(format!("remotes/acme/{}.git", names[0]));
    git(&world, &bare, &["config", "uploadpack.allowFilter", "true"]);
    git(&world, &bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    server.require_token("t0ken-of-a-forge");
    world.set("GITEA_SERVER_URL", server.url()).set("GITEA_TOKEN", "t0ken-of-a-forge");
    for filter in ["blob:none", "tree:1"] {
        let own = format!("repositories/acme/{}", names[0]);
        let id = world.start_clone(["--filter", filter, &server.repository(&names[0])]);
        let job = world.wait(&id);
        assert_eq!(job["state"], "completed", "{filter}: {}", world.run(["--id", &id]).stdout);
        let at = world.project.join(own);
        assert_eq!(git(&world, &at, &["status", "--porcelain"]), "", "{filter}");
        fs::remove_dir_all(at).unwrap();
    }
}

#[test]
fn without_git_a_clone_that_needs_it_says_so_and_the_others_are_made() {
    let (mut world, server, names) = World::with_remotes(2);
    let folder = world.dir.join("empty");
    fs::create_dir(&folder).unwrap();
    world.set("PATH", folder.display().to_string());
    let odd = format!("{}/", server.repository(&names[1]));
    let id = world.start_clone([server.repository(&names[0]), odd]);
    let job = world.wait(&id);
    assert_eq!((&job["progress"]["succeeded"], &job["progress"]["failed"]), (&1.into(), &1.into()), "{job}");
    world.run(["--id", &id]).ok().says("git is needed, as its address is not a plain one");
    // One that git is to check out is not taken for empty.
    let work = world.dir.join("work");
    fs::create_dir_all(&work).unwrap();
    world.set("PATH", std::env::var("PATH").unwrap());
    configure(&mut world, "");
    if has_git() {
        git(&world, &work, &["init", "-q", "-b", "main"]);
        fs::write(work.join(".gitattributes"), "* text eol=crlf\n").unwrap();
        git(&world, &work, &["add", "."]);
        git(&world, &work, &["commit", "-q", "-m", "one"]);
        let bare = world.dir.join("remotes/acme/crlf.git");
        git(&world, &work, &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        world.set("PATH", folder.display().to_string());
        let id = world.start_clone([server.repository("crlf")]);
        assert_eq!(world.wait(&id)["state"], "failed");
        world.run(["--id", &id]).with_status(0).says("git is needed, as its attributes say");
    }
    world.set("PATH", folder.display().to_string());
    // A repository of this machine needs none.
    let local = world.dir.join("remotes/acme").join(format!("{}.git", names[1]));
    let id = world.start_clone([local.display().to_string()]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
}

/// A world whose clones all go through git, from a server that takes its time, and a job in which git is at work.
fn slow_by_git() -> (World, GitServer, PathBuf, String) {
    let mut world = World::new();
    configure(&mut world, "[core]\n\tautocrlf = input\n");
    let root = world.dir.join("remotes");
    let names = make_many(&root, 1);
    let server = GitServer::http(&root);
    server.fault(&names[0], Fault::Slow);
    let id = world.start_clone([server.repository(&names[0])]);
    eventually("git works", || gits(&world).len() >= 2);
    (world, server, root, id)
}

/// Programs of git that work in this world.
fn gits(world: &World) -> Vec<u32> {
    let mark = world.dir.display().to_string();
    let found = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_git = line.split(' ').next().is_some_and(|program| program.contains("git"));
        let environment = fs::read(entry.path().join("environ")).ok()?;
        (is_git && String::from_utf8_lossy(&environment).contains(&mark)).then_some(pid)
    });
    found.collect()
}

/// The one clone of a world is whole, and nothing stands beside it.
fn assert_cloned(world: &World, root: &Path) {
    assert_whole(&world.project.join("repositories/acme/repo-000"), &root.join("acme/repo-000.git"));
    let partials = files_below(&world.project.join("repositories"));
    let partials: Vec<PathBuf> =
        partials.into_iter().filter(|path| path.to_string_lossy().contains(".partial-")).collect();
    assert!(partials.is_empty(), "{partials:?}");
}

#[test]
fn a_kill_ends_git_and_all_that_it_started_within_a_second() {
    if !has_git() {
        return;
    }
    let (world, server, root, id) = slow_by_git();
    let began = Instant::now();
    world.run(["--kill", &id]).ok();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    eventually("git has ended", || gits(&world).is_empty());
    eventually("the place is clean", || {
        !world.project.join("repositories/acme").exists()
            || fs::read_dir(world.project.join("repositories/acme")).unwrap().next().is_none()
    });
    server.heal("repo-000");
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["state"], "completed");
    assert_cloned(&world, &root);
}

#[test]
fn a_daemon_that_is_killed_leaves_no_git_behind_and_the_next_one_clones_whole() {
    if !has_git() {
        return;
    }
    let (world, server, root, id) = slow_by_git();
    signal(world.daemon_pid().unwrap(), Signal::KILL);
    eventually("git has ended", || gits(&world).is_empty());
    server.heal("repo-000");
    world.run(["daemon", "start"]).ok();
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    assert_cloned(&world, &root);
}
