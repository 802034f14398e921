//! A state folder that takes no more: jobs pause with that reason, the daemon answers, nothing is truncated, and all
//! goes on by itself when there is room again.

use crate::cloning::has_git;
use crate::exactness::configure;
use crate::world::git_server::Fault;
use crate::world::{World, eventually, read};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, unmounted with the test.
struct SmallDisk {
    at: PathBuf,
    /// The world's folder, which cannot be removed before the disk is unmounted.
    dir: PathBuf,
}

impl SmallDisk {
    /// `None`, loudly, where this user may not mount one.
    fn mount(world: &World, at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = mount(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        if !mounted {
            eprintln!("SKIPPED: only root can mount the small disk that this test fills");
        }
        mounted.then(|| Self { at: at.to_owned(), dir: world.dir.clone() })
    }

    /// As a kernel does that has seen an error: whoever has a file open may still write to it.
    fn close(&self) {
        let at = self.at.to_str().unwrap();
        assert!(mount(["--bind", at, at]) && mount(["-o", "remount,bind,ro", at]));
    }

    fn open(&self) {
        assert!(Command::new("umount").arg(&self.at).status().unwrap().success());
    }

    /// Leaves no byte free; gives the file to remove.
    fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.at.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

fn mount<const N: usize>(arguments: [&str; N]) -> bool {
    Command::new("mount").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        while Command::new("umount").arg("-l").arg(&self.at).output().is_ok_and(|said| said.status.success())
        {
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Every journal line is whole, and the list is JSON.
fn assert_nothing_is_truncated(world: &World, id: &str) {
    let journal = read(&world.state().join(format!("jobs/{id}/journal.jsonl")));
    assert!(journal.ends_with('\n'));
    for line in journal.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    world.mirror();
    let config = read(&world.state().join(format!("jobs/{id}/config.json")));
    serde_json::from_str::<Value>(&config).unwrap();
}

/// A job that pauses when `close` has made the disk refuse, and ends after `open`.
fn a_job_outlives<T>(close: impl Fn(&SmallDisk) -> T, open: impl Fn(&SmallDisk, T)) {
    let (world, server, names) = World::with_remotes(40);
    let Some(disk) = SmallDisk::mount(&world, &world.state(), "300k") else { return };
    // It is to go before its disk does: the lock that proves its daemon is on that.
    let world = world;
    names.iter().for_each(|name| server.fault(name, Fault::Slow));
    let sources = names.iter().map(|name| server.repository(name));
    let id = world.start_clone(["--concurrency".to_owned(), "2".into()].into_iter().chain(sources));
    world.until(&id, "some progress", |job| job["progress"]["current"].as_u64() > Some(3));
    let daemon = world.daemon_pid();
    let closed = close(&disk);
    names.iter().for_each(|name| server.heal(name));
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "storage", "{job}");
    assert!(job["pause"]["message"].as_str().unwrap().contains("cannot "), "{job}");
    world.run(["--all"]).ok().says("Paused (1):").says("     Reason: ");
    // What changes something says what is wrong, and what to look at.
    let other = server.repository("repo-000").replace("repo-000", "repo-999");
    world.run(["clone", &other]).with_status(1).complains("cannot be written").complains("df -h .specweave");
    assert_nothing_is_truncated(&world, &id);
    assert_eq!(world.daemon_pid(), daemon, "the daemon stays");

    open(&disk, closed);
    let job = world.wait_through_pauses(&id);
    assert_eq!((&job["state"], &job["progress"]["succeeded"]), (&"completed".into(), &40.into()), "{job}");
    assert_eq!(world.daemon_pid(), daemon);
    eventually("the list tells of it", || world.mirror()["jobs"][0]["status"] == "completed");
    // The journal tells the same to the next daemon.
    world.kill_daemon();
    world.run(["daemon", "start"]).ok();
    assert_eq!(world.job(&id)["state"], "completed");
    let asked = |name: &String| server.requests(&format!("POST /acme/{name}.git"));
    eprintln!("{} fetches for 40 repositories", names.iter().map(asked).sum::<usize>());
}

#[test]
fn a_full_disk_pauses_jobs_and_room_lets_them_go_on() {
    a_job_outlives(SmallDisk::fill, |_, filler| std::fs::remove_file(filler).unwrap());
}

#[test]
fn a_read_only_state_folder_pauses_jobs_and_a_writable_one_lets_them_go_on() {
    a_job_outlives(SmallDisk::close, |disk, ()| disk.open());
}

#[test]
fn a_full_disk_pauses_a_job_also_while_git_itself_clones() {
    if !has_git() {
        return;
    }
    let (mut world, server, names) = World::with_remotes(2);
    configure(&mut world, "[core]\n\tautocrlf = input\n");
    let Some(disk) = SmallDisk::mount(&world, &world.project.join("repositories"), "2m") else { return };
    let world = world;
    let filler = disk.fill();
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    let job = world.until(&id, "the pause", |job| job["state"] == "paused");
    assert_eq!(job["pause"]["reason"], "storage", "{job}");
    std::fs::remove_file(filler).unwrap();
    world.run(["--resume", &id]).ok();
    let job = world.wait_through_pauses(&id);
    assert_eq!(job["state"], "completed", "{}", world.run(["--logs", &id]).stdout);
    world.run(["--logs", &id]).ok().says("by git itself: ").says("No space left on device");
}
