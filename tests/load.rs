//! A crowd at the socket: followers by the hundred, readers that never read, floods of frames and bytes without meaning.
//! Whoever asks meanwhile is answered at once, and the daemon's memory comes back.

use crate::world::alone::Alone;
use crate::world::git_server::Fault;
use crate::world::{World, descriptors, eventually};
use prost::Message;
use specweave_jobs::disk;
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::{FollowJobRequest, GetInfoRequest, ListJobsRequest, WatchJobsRequest};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// Within this time somebody is answered who asks while others crowd.
const ANSWER: Duration = Duration::from_millis(100);

async fn client(world: &World) -> JobsServiceClient<Channel> {
    let address = format!("unix:{}", world.socket().display());
    JobsServiceClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap())
}

/// Megabytes of memory that a process holds.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Asks as often as said, on a connection of its own, and gives the time within which nine of ten were answered.
async fn asked(world: &World, times: u32) -> Duration {
    let mut client = client(world).await;
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        let both = async {
            client.get_info(GetInfoRequest::default()).await.unwrap();
            client.list_jobs(ListJobsRequest::default()).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(5), both).await.expect("an answer within 5 s");
        took.push(began.elapsed() / 2);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    took[took.len() * 9 / 10]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_followers_of_whom_some_never_read_keep_nobody_waiting() {
    let _alone = Alone::wait();
    let (mut world, server, names) = World::with_remotes(2);
    // The job that is followed is not to end while the others are being opened, on a slow machine either.
    world.set("SPECWEAVE_JOBS_STALL_SECONDS", "600");
    server.fault(&names[0], Fault::Silent);
    let followed = world.start_clone(names.iter().map(|name| server.repository(name)));
    let daemon = world.daemon_pid().unwrap();
    let before = resident(daemon);
    // Its items fail one after the other, which is news for everybody.
    let list = world.dir.join("sources");
    let sources: String =
        (0..8_000).map(|number| format!("file:///nowhere/a{}/r{number}.git\n", number / 500)).collect();
    std::fs::write(&list, sources).unwrap();
    let noisy = world.start_clone(["--from", list.to_str().unwrap()]);
    let mut streams = Vec::new();
    let mut reading = Vec::new();
    for number in 0..200 {
        let mut client = client(&world).await;
        let id = if number % 2 == 0 { &followed } else { &noisy };
        let follow = FollowJobRequest { id: id.clone(), gap_ms: 50, ..Default::default() };
        let one = client.follow_job(follow).await.unwrap().into_inner();
        let watch = WatchJobsRequest { gap_ms: 50 };
        let mut all = client.watch_jobs(watch).await.unwrap().into_inner();
        if number % 4 == 0 {
            streams.push((client, one, all));
        } else {
            reading.push(tokio::spawn(async move { while let Ok(Some(_)) = all.message().await {} }));
        }
    }
    let took = asked(&world, 50).await;
    assert!(took < ANSWER, "nine of ten were answered within {took:?}");
    assert_eq!(world.job(&followed)["state"], "running");
    assert!(resident(daemon) < before + 200, "{} MB, {before} before", resident(daemon));
    drop(streams);
    for reader in reading {
        reader.abort();
    }
    let mut client = client(&world).await;
    let began = Instant::now();
    while client.get_info(GetInfoRequest::default()).await.unwrap().into_inner().streams > 0 {
        assert!(began.elapsed() < crate::world::DEADLINE, "streams stay that nobody reads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.heal(&names[0]);
    assert_eq!(world.daemon_pid(), Some(daemon));
}

/// HTTP/2's frames, as far as a flood needs them.
mod frames {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// The head of a call, its names and values written out.
    pub fn call(stream: u32, path: &str) -> Vec<u8> {
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend(text.bytes());
            }
        }
        frame(1, 4, stream, &block)
    }
}

/// Sends what it is given, again and again and without reading, until it is dropped. It begins anew when the daemon hangs up.
struct Flood {
    over: Arc<AtomicBool>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(socket: PathBuf, mut make: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let writer = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
                stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
                let mut sent = stream.write_all(frames::PREFACE);
                let mut number = 0;
                while sent.is_ok() && !told.load(Ordering::Relaxed) {
                    number += 1;
                    sent = stream.write_all(&make(number));
                }
            }
        });
        Self { over, writer: Some(writer) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_settings_pings_and_streams_keep_nobody_waiting_and_take_no_memory() {
    let _alone = Alone::wait();
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let daemon = world.daemon_pid().unwrap();
    let before = resident(daemon);
    let list = "/specweave.jobs.v1.JobsService/ListJobs";
    type Make = fn(&str, u32) -> Vec<u8>;
    let floods: [(&str, Make); 6] = [
        ("settings", |_, _| frames::frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(500)),
        ("pings", |_, _| frames::frame(6, 0, 0, b"somebody").repeat(500)),
        ("streams that are opened and left", |list, number| frames::call(number * 2 - 1, list)),
        ("streams that are opened and reset", |list, number| {
            let mut both = frames::call(number * 2 - 1, list);
            both.extend(frames::frame(3, 0, number * 2 - 1, &[0, 0, 0, 8]));
            both
        }),
        ("a head without an end", |_, number| match number {
            1 => frames::frame(1, 0, 1, &[0x82]),
            _ => frames::frame(9, 0, 1, &[b"\0\x01a\x7f".as_slice(), &[b'x'; 127]].concat()).repeat(50),
        }),
        ("a message without an end", |list, number| match number {
            1 => frames::call(1, list),
            _ => frames::frame(0, 0, 1, &[0x7f; 16_000]),
        }),
    ];
    for (what, make) in floods {
        let floods = [(); 2].map(|()| Flood::start(world.socket(), move |number| make(list, number)));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let took = asked(&world, 30).await;
        drop(floods);
        assert!(took < ANSWER, "{what}: nine of ten were answered within {took:?}");
        assert!(resident(daemon) < before + 100, "{what}: {} MB, {before} before", resident(daemon));
    }
    assert_eq!(world.daemon_pid(), Some(daemon));
    eventually("the connections are gone", || descriptors(daemon) < 60);
}

/// The methods of every service that the daemon's own contract has, but for the one that ends it.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(specweave_jobs::DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in set.file {
        for service in &file.service {
            for method in service.method.iter().filter(|method| method.name() != "Shutdown") {
                methods.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

/// So many bytes without meaning, the same for a seed.
fn noise(seed: &mut u64) -> Vec<u8> {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    };
    let length = next() % 200;
    (0..length).map(|_| next() as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_without_meaning_for_any_method_are_refused_and_harm_nobody() {
    let _alone = Alone::wait();
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let daemon = world.daemon_pid().unwrap();
    let mut seed = disk::random() | 1;
    let first = seed;
    let methods = methods();
    assert!(methods.len() >= 11, "{methods:?}");
    for method in methods {
        for shape in 0..4 {
            let mut stream = UnixStream::connect(world.socket()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut bytes = frames::PREFACE.to_vec();
            for number in 0..40 {
                let noise = noise(&mut seed);
                let body = match shape {
                    // A whole message; one that says it is packed; one that says it is longer; none at all.
                    0 => [&[0], &(noise.len() as u32).to_be_bytes()[..], &noise].concat(),
                    1 => [&[1], &(noise.len() as u32).to_be_bytes()[..], &noise].concat(),
                    2 => [&[0], &[0xff; 4][..], &noise].concat(),
                    _ => noise,
                };
                bytes.extend(frames::call(number * 2 + 1, &method));
                bytes.extend(frames::frame(0, 1, number * 2 + 1, &body));
            }
            stream.write_all(&bytes).unwrap();
            let mut answer = [0; 4096];
            let read = stream.read(&mut answer).unwrap_or(0);
            assert!(read > 0, "{method} in shape {shape} got no answer; seed {first}");
        }
        let took = asked(&world, 1).await;
        assert!(took < Duration::from_secs(1), "{method} from seed {first}: {took:?}");
    }
    assert_eq!(world.daemon_pid(), Some(daemon), "seed {first}");
    world.run(["--all"]).ok().says("No background jobs");
}
