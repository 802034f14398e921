//! The daemon's manners: answers, starts, streams, idleness, writes.

use crate::clones::Course;
use crate::spread;
use crate::world::repositories::make_many;
use crate::world::{World, eventually};
use specweave_jobs::clock;
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::{FollowJobRequest, follow_job_response};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A job of ten thousand items that fail at once, as their paths do not exist: all journal and no network.
fn many_items(world: &World, count: usize) -> std::path::PathBuf {
    let list = world.dir.join("list");
    let lines: Vec<String> = (0..count).map(|number| format!("/nowhere/acme/item-{number:05}")).collect();
    fs::write(&list, lines.join("\n")).unwrap();
    list
}

fn quiet(mut command: Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap();
    let took = began.elapsed();
    assert!(status.success());
    took
}

pub fn list() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let measure = |what: &str| {
        let (mut own, mut nothing) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            own.push(quiet(world.command(["--all"])));
            nothing.push(quiet(world.program("/bin/true", [""])));
        }
        println!("specweave-jobs --all, {what}: {}", spread(&own));
        println!("  /bin/true in the same run: {}", spread(&nothing));
    };
    measure("no job");
    let id = world.start_clone(["--from", many_items(&world, 10_000).to_str().unwrap()]);
    world.wait(&id);
    measure("a job of 10,000 items");
    let sizes = ["specweave-jobs", "specweave-jobsd"].map(|name| {
        let path = std::path::Path::new(env!("CARGO_BIN_EXE_specweave-jobs")).with_file_name(name);
        format!("{name} {:.2} MB", fs::metadata(path).unwrap().len() as f64 / 1e6)
    });
    println!("binaries: {}", sizes.join(", "));
}

pub fn cold() {
    let mut times = Vec::new();
    let mut clones = Vec::new();
    for _ in 0..40 {
        let world = World::new();
        times.push(quiet(world.command(["daemon", "start"])));
        let world = World::new();
        clones.push(quiet(world.command(["clone", "/nowhere/acme/x"])));
    }
    println!("daemon start, from nothing to its answer: {}", spread(&times));
    println!("first clone command, daemon started for it: {}", spread(&clones));
}

/// A job that changes about fifty times a second for twenty seconds: a thousand clones without news, one after the other over
/// a round trip of twenty milliseconds.
pub fn follow() {
    const FOLLOWERS: usize = 50;
    const FOR: Duration = Duration::from_secs(18);
    let mut course = Course::new(|root| make_many(root, 1_000));
    course.far_away(Duration::from_millis(20));
    let (_, world) = course.ours();
    let endpoint = world.endpoint()["endpoint"].as_str().unwrap().to_owned();
    let pid = world.daemon_pid().unwrap();
    let said = world.run(["clone", "--update", "--concurrency", "1", "--json"]).ok();
    let id = said.json()["id"].as_str().unwrap().to_owned();
    let gap = 50;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ages: Arc<Mutex<Vec<i64>>> = Arc::default();
    let stale: Arc<Mutex<Vec<i64>>> = Arc::default();
    let before = resident(pid);
    runtime.block_on(async {
        let mut followers = tokio::task::JoinSet::new();
        for number in 0..FOLLOWERS + 2 {
            let channel = tonic::transport::Endpoint::from_shared(endpoint.clone()).unwrap();
            let mut client = JobsServiceClient::new(channel.connect().await.unwrap());
            let request = FollowJobRequest { id: id.clone(), gap_ms: gap, ..Default::default() };
            let mut stream = client.follow_job(request).await.unwrap().into_inner();
            let (ages, stale) = (ages.clone(), stale.clone());
            let until = Instant::now() + FOR;
            followers.spawn(async move {
                if number == FOLLOWERS {
                    // One that never reads: it must not grow the daemon.
                    return tokio::time::sleep(FOR).await;
                }
                // One looks once a second at the newest that it has; the others look at each as it comes.
                let (mut latest, mut looks) = (clock::now(), tokio::time::interval(Duration::from_secs(1)));
                while Instant::now() < until {
                    let message = tokio::select! {
                        message = stream.message() => message,
                        _ = looks.tick() => {
                            if number > FOLLOWERS {
                                stale.lock().unwrap().push(clock::now() - latest);
                            }
                            continue;
                        }
                    };
                    let Ok(Some(message)) = message else { return };
                    let Some(at) = updated(&message.event) else { continue };
                    latest = at;
                    if number < FOLLOWERS {
                        ages.lock().unwrap().push(clock::now() - at);
                    }
                }
            });
        }
        while followers.join_next().await.is_some() {}
    });
    let after = resident(pid);
    let job = world.job(&id);
    assert_eq!(job["state"], "running", "it was followed to its end, and no longer measured: {job}");
    let mut ages = ages.lock().unwrap().clone();
    ages.sort();
    let at = |part: f64| ages[((ages.len() - 1) as f64 * part) as usize];
    println!(
        "{FOLLOWERS} followers, gap {gap} ms, {} messages of {} changes in {FOR:?}",
        ages.len(),
        job["progress"]["current"]
    );
    println!(
        "  age of an update when it was received: p50 {} ms, p99 {} ms, most {} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "  a reader that looks once a second is stale by at most {} ms",
        stale.lock().unwrap().iter().max().unwrap()
    );
    println!("  daemon: {before:.1} MB before, {after:.1} MB after, with one reader that never read");
    world.run(["--kill", &id]);
}

/// When a job was changed of which a message tells.
fn updated(event: &Option<follow_job_response::Event>) -> Option<i64> {
    match event {
        Some(follow_job_response::Event::Changed(job)) => job.updated_at.as_ref().map(clock::millis),
        _ => None,
    }
}

pub fn idle() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid().unwrap();
    for _ in 0..20 {
        world.run(["--all"]).ok();
    }
    let before = ticks(pid);
    std::thread::sleep(Duration::from_secs(10));
    println!("idle daemon: {:.1} MB resident, {} ticks of 10 ms in 10 s", resident(pid), ticks(pid) - before);
}

pub fn writes() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid().unwrap();
    let list = many_items(&world, 10_000);
    let began = Instant::now();
    let id = world.start_clone(["--from", list.to_str().unwrap()]);
    world.wait(&id);
    let took = began.elapsed();
    eventually("the list tells of the end", || {
        world.mirror()["jobs"][0]["status"] == "completed_with_warnings"
    });
    println!(
        "10,000 updates of a job of 10,000 items: {:.1} MB written in {:.1} s",
        written(pid),
        took.as_secs_f64()
    );
    println!("  after it: {:.1} MB resident", resident(pid));
}

/// Megabytes that the process handed to write calls.
fn written(pid: u32) -> f64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.trim().parse::<f64>().unwrap() / 1e6
}

fn resident(pid: u32) -> f64 {
    memory(pid, "VmRSS:")
}

/// Megabytes, as the kernel counts them under `name`.
pub fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// The key that a user's daemon authenticates a job's file of this project with.
fn file_key(world: &World, job: &str, file: &str) -> ring::hmac::Key {
    let derived = |key: &ring::hmac::Key, purpose: &[&str]| {
        let tag = ring::hmac::sign(key, purpose.join("\0").as_bytes());
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, tag.as_ref())
    };
    let user = fs::read(world.dir.join("home/.local/state/specweave-jobs/journal.key")).unwrap();
    let user = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &user);
    let place = fs::read(world.state().join("jobs-daemon/place.json")).unwrap();
    let place: serde_json::Value = serde_json::from_slice(&place).unwrap();
    let name = place["place"]["name"].as_str().unwrap();
    derived(&derived(&user, &["place", name]), &["job", job, file])
}

/// Events as lines of a journal, each with the MAC over all before it.
fn journal(key: &ring::hmac::Key, events: &[String]) -> String {
    let mut last = [0_u8; 16];
    let mut text = String::new();
    for event in events {
        let mut context = ring::hmac::Context::with_key(key);
        context.update(&last);
        context.update(event.as_bytes());
        last.copy_from_slice(&context.sign().as_ref()[..16]);
        let tag: String = last.iter().map(|byte| format!("{byte:02x}")).collect();
        let covered = format!("\"mac\":\"{tag}\",{}", &event[1..]);
        text.push_str(&format!("{{\"crc\":\"{:08x}\",{covered}\n", crc32fast::hash(covered.as_bytes())));
    }
    text
}

/// The history of a job of so many items, of which the last one still waits.
fn history(items: usize) -> Vec<String> {
    let at = clock::now() - 3_600_000;
    let event = |event: serde_json::Value| serde_json::json!({"at": at, "event": event}).to_string();
    let planned: Vec<serde_json::Value> = (0..items)
        .map(|item| {
            serde_json::json!({
                "name": format!("service-{item:05}"),
                "action": "clone",
            })
        })
        .collect();
    let order = serde_json::json!({"clone": {"github_org": "acme"}});
    let created = serde_json::json!({"order": order, "request_id": "r", "settings": {}});
    let pause = serde_json::json!({"reason": "killed", "message": "killed", "resume_at": null});
    let before = [
        serde_json::json!({"created": created}),
        serde_json::json!("started"),
        serde_json::json!({"planned": {"items": planned}}),
    ];
    let done = (0..items - 1).map(|item| serde_json::json!({"item_done": {"item": item, "how": "now"}}));
    before.into_iter().chain(done).chain([serde_json::json!({"paused": pause})]).map(event).collect()
}

/// A hundred jobs of ten thousand items each, as a dead daemon left them.
pub fn recovery() {
    const JOBS: usize = 100;
    const ITEMS: usize = 10_000;
    let world = World::new();
    // The daemon makes this user's key and says which place this is; the journals that follow are as it would write them.
    world.run(["daemon", "start"]).ok();
    world.run(["daemon", "stop"]).ok();
    let events = history(ITEMS);
    for job in 0..JOBS {
        let id = format!("{job:08x}");
        let folder = world.state().join("jobs").join(&id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("journal.jsonl"), journal(&file_key(&world, &id, "journal"), &events)).unwrap();
    }
    for start in ["first start, the list is not written yet", "second start", "third start"] {
        let ready = quiet(world.command(["daemon", "start"]));
        let began = Instant::now();
        let jobs = world.run(["--all", "--json"]).ok().json()["jobs"].as_array().unwrap().len();
        let known = began.elapsed();
        assert_eq!(jobs, JOBS);
        let pid = world.daemon_pid().unwrap();
        let settled = Instant::now();
        let mut last = ticks(pid);
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = ticks(pid);
            if now == last || settled.elapsed() > Duration::from_secs(60) {
                break;
            }
            last = now;
        }
        println!(
            "{start}: ready after {:.1} ms, all {JOBS} jobs known {:.2} s later, {:.0} MB resident ({:.0} MB at most), \
             {:.1} s of processor, list {:.1} MB",
            ready.as_secs_f64() * 1e3,
            known.as_secs_f64(),
            memory(pid, "VmRSS:"),
            memory(pid, "VmHWM:"),
            last as f64 / 100.0,
            fs::metadata(world.state().join("background-jobs.json")).map_or(0, |facts| facts.len()) as f64
                / 1e6,
        );
        world.run(["daemon", "stop"]).ok();
    }
}
