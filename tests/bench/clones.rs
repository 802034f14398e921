//! Cloning beside git itself. Contenders run in turns, each with a fresh folder on a disk that has nothing left to write.

use crate::daemon::memory;
use crate::report::{OURS, Race};
use crate::world::git_server::GitServer;
use crate::world::repositories::{self, Size, assert_whole, make_large, make_many};
use crate::world::{World, files_below, read, relay};
use git2::Repository;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MANY: usize = 245;
const ROUNDS: usize = 5;
/// Of contenders that take long.
const SLOW_ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(600);

/// A project with no daemon and no clones.
fn fresh(authority: Option<&Path>) -> World {
    let mut world = World::new();
    if let Some(authority) = authority {
        let path = authority.display().to_string();
        world.set("GIT_SSL_CAINFO", &path).set("SSL_CERT_FILE", &path);
    }
    world
}

/// What is to be cloned, and from where.
pub struct Course {
    /// Holds the remotes.
    _world: World,
    pub server: GitServer,
    root: PathBuf,
    pub names: Vec<String>,
    pub addresses: Vec<String>,
}

impl Course {
    pub fn new(make: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let world = World::new();
        let root = world.dir.join("remotes");
        fs::create_dir_all(root.join("acme")).unwrap();
        let names = make(&root);
        let server = GitServer::https(&root, &world.dir);
        server.warm(&names);
        let addresses = names.iter().map(|name| server.repository(name)).collect();
        Self { _world: world, server, root, names, addresses }
    }

    fn authority(&self) -> Option<&Path> {
        self.server.authority.as_deref()
    }

    /// Ours, the daemon's start included; gives the world that it cloned into, too.
    pub fn ours(&self) -> (Duration, World) {
        let world = fresh(self.authority());
        let list = world.dir.join("list");
        fs::write(&list, self.addresses.join("\n")).unwrap();
        let command = world.command(["clone", "--follow", "--from", list.to_str().unwrap()]);
        settle_disk();
        let said = world.finish_within(command, LIMIT).ok();
        for log in files_below(&world.state()).iter().filter(|path| path.ends_with("worker.log")) {
            for line in read(log).lines().filter(|line| line.contains("trying again")) {
                println!("  note: {line}");
            }
        }
        (said.took, world)
    }

    /// Sends everything over a relay that takes so long for a round trip.
    pub fn far_away(&mut self, round_trip: Duration) {
        let far = relay::start(self.server.address, round_trip);
        self.addresses = self.names.iter().map(|name| format!("https://{far}/acme/{name}.git")).collect();
    }

    /// A shell's command that clones what a file lists into a project of its own.
    fn by_script(&self, script: impl FnOnce(&str) -> String) -> (Duration, World) {
        let world = fresh(self.authority());
        let list = world.dir.join("list");
        fs::write(&list, self.addresses.join("\n") + "\n").unwrap();
        let script = script(list.to_str().unwrap());
        settle_disk();
        let began = Instant::now();
        world.finish_within(world.program("sh", ["-c", &script]), LIMIT).ok();
        (began.elapsed(), world)
    }

    /// git with `at_a_time` processes, through xargs.
    fn gits(&self, at_a_time: usize) -> Duration {
        self.by_script(|list| format!("xargs -P{at_a_time} -n1 git clone -q < '{list}'")).0
    }

    /// A program that clones with a library as it comes, where it was built; eight at a time.
    fn library(&self, library: &str) -> Option<Duration> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/contenders/release/contender");
        if !program.exists() {
            println!(
                "  note: no {library}; cargo build --release --manifest-path tests/contenders/Cargo.toml --target-dir target/contenders"
            );
            return None;
        }
        let (took, world) = self.by_script(|list| format!("'{}' {library} . < '{list}'", program.display()));
        let commit = |at: &Path| Repository::open(at).unwrap().head().unwrap().target().unwrap();
        for name in &self.names {
            let remote = self.root.join(format!("acme/{name}.git"));
            assert_eq!(commit(&world.project.join(name)), commit(&remote), "{library}: {name}");
        }
        Some(took)
    }

    /// One run of each library, too.
    fn libraries(&self, race: &mut Race) {
        for (library, who) in LIBRARIES {
            if let Some(took) = self.library(library) {
                race.ran(who, took);
            }
        }
    }

    fn assert_whole(&self, world: &World) {
        for name in &self.names {
            let clone = world.project.join("repositories/acme").join(name);
            assert_whole(&clone, &self.root.join(format!("acme/{name}.git")));
        }
    }
}

/// Nobody is to pay for what an earlier contender has not written back yet: ours syncs what it cloned.
fn settle_disk() {
    rustix::fs::sync();
}

const EIGHT: &str = "xargs -P8 git clone";
const ONE: &str = "git clone, one by one";

/// Libraries as `tests/contenders` uses them, and how they are called in tables.
const LIBRARIES: [(&str, &str); 2] =
    [("git2", "libgit2 (git2), 8 at a time"), ("gix", "gitoxide (gix), 8 at a time")];

pub fn loopback() {
    let course = Course::new(|root| make_many(root, MANY));
    let mut race = Race::new(format!("{MANY} small repositories, loopback HTTPS"));
    for round in 0..ROUNDS {
        let (took, world) = course.ours();
        course.assert_whole(&world);
        race.ran(OURS, took);
        race.ran(EIGHT, course.gits(8));
        if round < SLOW_ROUNDS {
            race.ran(ONE, course.gits(1));
            course.libraries(&mut race);
        }
    }
    race.end();
}

/// The same while another program writes to the disk.
pub fn busy_disk() {
    let course = Course::new(|root| make_many(root, MANY));
    let mut race = Race::new(format!("{MANY} small repositories, another program writes 100 MB/s"));
    let writer = Writer::start(&course.root);
    for round in 0..ROUNDS {
        race.ran(OURS, course.ours().0);
        race.ran(EIGHT, course.gits(8));
        if round < SLOW_ROUNDS {
            course.libraries(&mut race);
        }
    }
    drop(writer);
    race.end();
}

/// Writes 100 MB/s until it is dropped, over and over into the same gigabyte.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, path) = (stop.clone(), folder.join("noise"));
        let thread = std::thread::spawn(move || {
            let block: Vec<u8> =
                (0..1_000_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let began = Instant::now();
            let mut file = fs::File::create(&path).unwrap();
            for number in 1.. {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                if number % 1_000 == 0 {
                    file = fs::File::create(&path).unwrap();
                }
                file.write_all(&block).unwrap();
                std::thread::sleep(Duration::from_millis(10 * number).saturating_sub(began.elapsed()));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

pub fn wan() {
    let round_trip = Duration::from_millis(50);
    let mut course = Course::new(|root| make_many(root, MANY));
    course.far_away(round_trip);
    let mut race = Race::new(format!("{MANY} small repositories, a round trip of {round_trip:?}"));
    for _ in 0..SLOW_ROUNDS {
        race.ran(OURS, course.ours().0);
        race.ran(EIGHT, course.gits(8));
        course.libraries(&mut race);
    }
    race.end();
}

pub fn medium() {
    let course = Course::new(|root| {
        let size = Size { files: 2_000, commits: 300, bytes: 4_000 };
        let names: Vec<String> = (0..10).map(|number| format!("medium-{number}")).collect();
        for name in &names {
            repositories::make(&root.join("acme"), name, size);
        }
        names
    });
    let mut race = Race::new("ten medium repositories (2,000 files, 300 commits)");
    for round in 0..ROUNDS {
        race.ran(OURS, course.ours().0);
        race.ran(EIGHT, course.gits(8));
        if round < SLOW_ROUNDS {
            course.libraries(&mut race);
        }
    }
    race.end();
}

pub fn large() {
    for (changes, rounds) in [(1_200, ROUNDS), (3_500, SLOW_ROUNDS)] {
        let course = Course::new(|root| {
            make_large(&root.join("acme"), "large", changes);
            vec!["large".to_owned()]
        });
        let mut size = 0;
        let mut race = Race::new("");
        for round in 0..rounds {
            let (took, world) = course.ours();
            let packs = world.project.join("repositories/acme/large/.git/objects/pack");
            let entries = fs::read_dir(packs).unwrap().flatten();
            size = entries.map(|entry| entry.metadata().unwrap().len()).max().unwrap();
            race.ran(OURS, took);
            race.ran("git clone", course.gits(1));
            if round < SLOW_ROUNDS {
                course.libraries(&mut race);
            }
        }
        race.what = format!("one large repository, a pack of {:.0} MB", size as f64 / 1e6);
        race.end();
    }
}

/// The most memory that a daemon ever has with a large repository among many small ones.
pub fn memory_of_large() {
    let course = Course::new(|root| {
        let mut names = make_many(root, MANY - 1);
        make_large(&root.join("acme"), "large", 4_000);
        names.insert(100, "large".to_owned());
        names
    });
    let (took, world) = course.ours();
    let pid = world.daemon_pid().expect("a daemon runs");
    println!(
        "a large repository among {MANY}, cloned in {took:.1?}: {:.0} MB resident at most, {:.0} MB after it",
        memory(pid, "VmHWM:"),
        memory(pid, "VmRSS:")
    );
}

/// A thousand clones that are current, looked at by ours and by git.
pub fn update() {
    let course = Course::new(|root| make_many(root, 1_000));
    let (_, world) = course.ours();
    let mut race = Race::new("1,000 clones without news, loopback HTTPS");
    let fetch = "ls -d repositories/acme/* | xargs -P8 -I{} git -C {} fetch -q";
    for _ in 0..3 {
        settle_disk();
        let command = world.command(["clone", "--update", "--follow"]);
        let said = world.finish_within(command, LIMIT).ok();
        assert!(said.stdout.contains("1,000 current") || said.stdout.contains("1000 current"), "{said:?}");
        race.ran("specweave-jobs clone --update", said.took);
        let began = Instant::now();
        world.finish_within(world.program("sh", ["-c", fetch]), LIMIT).ok();
        race.ran("xargs -P8 git fetch", began.elapsed());
    }
    race.end();
}
