//! Cloning beside git itself.

use crate::world::git_server::GitServer;
use crate::world::repositories::{assert_whole, make_large, make_many};
use crate::world::{World, files_below, read, relay};
use crate::{median, ratio, spread};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const MANY: usize = 245;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(600);

/// A project with no daemon and no clones, and the list of what to clone.
fn fresh(authority: Option<&Path>) -> World {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_STALL_SECONDS", "60");
    if let Some(authority) = authority {
        let path = authority.display().to_string();
        world.set("GIT_SSL_CAINFO", &path).set("SSL_CERT_FILE", &path);
    }
    world
}

fn ours(addresses: &[String], authority: Option<&Path>, mut check: impl FnMut(&World)) -> Duration {
    let world = fresh(authority);
    let list = world.dir.join("list");
    fs::write(&list, addresses.join("\n")).unwrap();
    let command = world.command(["clone", "--follow", "--from", list.to_str().unwrap()]);
    settle_disk();
    let said = world.finish_within(command, LIMIT).ok();
    check(&world);
    for log in files_below(&world.state()).iter().filter(|path| path.ends_with("worker.log")) {
        for line in read(log).lines().filter(|line| line.contains("trying again")) {
            println!("  note: {line}");
        }
    }
    said.took
}

/// Nobody is to pay for what an earlier contender has not written back yet: ours syncs what it cloned.
fn settle_disk() {
    rustix::fs::sync();
}

/// git with `at_a_time` processes, through xargs.
fn gits(addresses: &[String], authority: Option<&Path>, at_a_time: usize) -> Duration {
    let world = fresh(authority);
    let list = world.dir.join("list");
    fs::write(&list, addresses.join("\n") + "\n").unwrap();
    let script = format!("xargs -P{at_a_time} -n1 git clone -q < '{}'", list.display());
    settle_disk();
    let began = Instant::now();
    world.finish_within(world.program("sh", ["-c", &script]), LIMIT).ok();
    began.elapsed()
}

pub fn loopback() {
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, MANY);
    let server = GitServer::https(&root, &world.dir);
    server.warm(&names);
    let addresses: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let authority = server.authority.as_deref();
    let whole = |world: &World| {
        for name in &names {
            let clone = world.project.join("repositories/acme").join(name);
            assert_whole(&clone, &root.join(format!("acme/{name}.git")));
        }
    };
    let (mut own, mut parallel, mut sequential) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        own.push(ours(&addresses, authority, &whole));
        parallel.push(gits(&addresses, authority, 8));
        if round < 3 {
            sequential.push(gits(&addresses, authority, 1));
        }
    }
    println!("{MANY} small repositories over loopback HTTPS, cold, daemon started by the command:");
    println!("  specweave-jobs clone --follow  {}", spread(&own));
    println!("  xargs -P8 git clone            {}  = {:.1} times", spread(&parallel), ratio(&parallel, &own));
    println!(
        "  git clone, one by one          {}  = {:.1} times",
        spread(&sequential),
        ratio(&sequential, &own)
    );
}

pub fn wan() {
    let round_trip = Duration::from_millis(50);
    let world = World::new();
    let root = world.dir.join("remotes");
    let names = make_many(&root, MANY);
    let server = GitServer::https(&root, &world.dir);
    server.warm(&names);
    let far = relay::start(server.address, round_trip);
    let addresses: Vec<String> = names.iter().map(|name| format!("https://{far}/acme/{name}.git")).collect();
    let authority = server.authority.as_deref();
    let (mut own, mut parallel) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        own.push(ours(&addresses, authority, |_| ()));
        parallel.push(gits(&addresses, authority, 8));
    }
    let specweave = 0.53 * MANY as f64;
    println!("the same with a round trip of {round_trip:?} added:");
    println!("  specweave-jobs clone --follow  {}", spread(&own));
    println!("  xargs -P8 git clone            {}  = {:.1} times", spread(&parallel), ratio(&parallel, &own));
    println!(
        "  SpecWeave's worker would take  {specweave:.0} s (0.53 s each)  = {:.0} times",
        specweave / median(&own).as_secs_f64()
    );
}

pub fn large() {
    let world = World::new();
    let root = world.dir.join("remotes");
    fs::create_dir_all(root.join("acme")).unwrap();
    make_large(&root.join("acme"), "large");
    let server = GitServer::https(&root, &world.dir);
    server.warm(&["large".to_owned()]);
    let addresses = [server.repository("large")];
    let authority = server.authority.as_deref();
    let mut size = 0;
    let (mut own, mut git) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(ours(&addresses, authority, |world| {
            let packs = world.project.join("repositories/acme/large/.git/objects/pack");
            let entries = fs::read_dir(packs).unwrap().flatten();
            size = entries.map(|entry| entry.metadata().unwrap().len()).max().unwrap();
        }));
        git.push(gits(&addresses, authority, 1));
    }
    println!("one large repository, a pack of {:.0} MB, over loopback HTTPS:", size as f64 / 1e6);
    println!("  specweave-jobs clone --follow  {}  = {:.2} of git's time", spread(&own), ratio(&own, &git));
    println!("  git clone                      {}", spread(&git));
}
