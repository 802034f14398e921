//! Strangers, and a project that a stranger wrote: nothing leaves the project, nothing hangs, nothing is told.

use crate::world::git_server::Fault;
use crate::world::recorded::lay_out;
use crate::world::{World, read};
use serde_json::json;
use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
use specweave_jobs::v1::{CloneSpec, GetInfoRequest, JobSpec, StartJobRequest, job_spec};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

#[test]
fn a_stranger_who_listens_at_the_published_socket_is_told_nothing() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can become another user");
    }
    let mut world = World::new();
    world.set("GITHUB_TOKEN", "ghp_0123456789abcdefghij");
    world.run(["daemon", "start"]).ok();
    let published = world.endpoint();
    world.run(["daemon", "stop"]).ok();
    let theirs = world.dir.join("theirs");
    fs::create_dir(&theirs).unwrap();
    let open = |path: &PathBuf| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    };
    open(&theirs);
    open(&world.dir);
    let (socket, heard) = (theirs.join("s.sock"), theirs.join("heard"));
    // It has its name once it listens.
    let unready = theirs.join("unready.sock");
    let script = format!(
        "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.bind({unready:?})\ns.listen()\n\
         os.chmod({unready:?}, 0o777)\nos.rename({unready:?}, {socket:?})\ns.settimeout(20)\nc, _ = s.accept()\n\
         open({heard:?}, 'wb').write(b'[' + c.recv(100) + b']')",
    );
    use std::os::unix::process::CommandExt;
    let mut command = world.program("python3", ["-c", &script]);
    let mut stranger = command.uid(65534).gid(65534).current_dir("/").spawn().unwrap();
    crate::world::eventually("they listen", || socket.exists());
    let mut endpoint = published.clone();
    endpoint["endpoint"] = json!(format!("unix:{}", socket.display()));
    fs::write(world.state().join("jobs-daemon/endpoint.json"), endpoint.to_string()).unwrap();
    world.run(["--all"]).ok().says("No background jobs");
    crate::world::eventually("they were connected to", || heard.exists());
    let _ = stranger.wait();
    assert_eq!(read(&heard), "[]", "not a byte for strangers");
}

#[test]
fn state_folders_that_lead_out_of_the_project_are_refused() {
    for folder in [".specweave/state/jobs", ".specweave/state/jobs-daemon", ".specweave/state", ".specweave"]
    {
        let world = World::new();
        let outside = world.dir.join("outside");
        let real = world.project.join(folder);
        fs::create_dir_all(&real).unwrap();
        fs::rename(&real, &outside).unwrap();
        symlink(&outside, &real).unwrap();
        let before = fs::read_dir(&outside).unwrap().count();
        world.run(["clone", "/nowhere/a/b"]).with_status(4).complains("leads out of the project");
        world.run(["daemon", "start"]).with_status(4).complains(folder);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), before, "{folder}");
        assert_eq!(world.daemon_pid(), None);
    }
}

#[test]
fn links_planted_in_the_state_folder_are_not_written_through() {
    let (world, server, _) = World::with_remotes(1);
    let victim = world.dir.join("victim");
    let source = server.repository("repo-000");
    let daemon = world.state().join("jobs-daemon");
    fs::create_dir_all(&daemon).unwrap();
    for name in ["daemon.lock", "start.lock", "daemon.log"] {
        fs::write(&victim, "precious").unwrap();
        let _ = fs::remove_file(daemon.join(name));
        symlink(&victim, daemon.join(name)).unwrap();
        world.run(["clone", &source]).complains("links are not followed");
        assert_eq!(read(&victim), "precious", "{name}");
        fs::remove_file(daemon.join(name)).unwrap();
    }
    // Those that are replaced take the link's place.
    for name in ["jobs-daemon/endpoint.json", "background-jobs.json"] {
        let path = world.state().join(name);
        let _ = fs::remove_file(&path);
        symlink(&victim, &path).unwrap();
    }
    let id = world.start_clone([&source]);
    world.wait(&id);
    assert_eq!(read(&victim), "precious");
    world.run(["daemon", "stop"]).ok();

    // A job's folder, and the files in it.
    let folder = world.state().join("jobs").join(&id);
    let kept = read(&folder.join("journal.jsonl"));
    for name in ["worker.log", "config.json", "result.json", "journal.jsonl"] {
        fs::write(&victim, &kept).unwrap();
        let _ = fs::rename(folder.join(name), world.dir.join("aside"));
        symlink(&victim, folder.join(name)).unwrap();
        world.run(["--resume", &id]);
        world.run(["--all"]).ok();
        world.run(["--logs", &id]);
        world.run(["daemon", "stop"]).ok();
        assert_eq!(read(&victim), kept, "{name}");
        let _ = fs::remove_file(folder.join(name));
        let _ = fs::rename(world.dir.join("aside"), folder.join(name));
    }
    let elsewhere = world.dir.join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let before = fs::read_dir(&elsewhere).unwrap().count();
    world.run(["--resume", &id]);
    world.run(["prune", "--yes"]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), before);
}

#[test]
fn pipes_and_endless_files_in_the_state_folder_hold_nobody_up() {
    let world = World::new();
    lay_out(&world, "clone-killed", &[]);
    let job = world.state().join("jobs/c3dc81e3");
    let pipe = |path: PathBuf| {
        let _ = fs::remove_file(&path);
        let said = world.finish(world.program("mkfifo", [&path])).ok();
        drop(said);
    };
    for endless in [false, true] {
        for name in
            ["worker.pid", "worker.log", "config.json", "result.json", "progress.json", "journal.jsonl"]
        {
            if endless {
                let _ = fs::remove_file(job.join(name));
                symlink("/dev/zero", job.join(name)).unwrap();
            } else {
                pipe(job.join(name))
            }
        }
        pipe(world.state().join("background-jobs.lock"));
        for arguments in [
            vec!["--all"],
            vec!["--id", "c3dc"],
            vec!["--logs", "c3dc"],
            vec!["--resume", "c3dc"],
            vec!["doctor"],
        ] {
            let said = world.run(arguments.clone());
            assert!(said.took < std::time::Duration::from_secs(12), "{arguments:?} took {:?}", said.took);
        }
        world.run(["daemon", "stop"]).ok();
        let _ = fs::remove_file(world.state().join("background-jobs.lock"));
    }
}

#[test]
fn a_planted_job_cannot_place_a_clone_elsewhere() {
    let (world, server, _) = World::with_remotes(1);
    let repository = |path: &str| json!({"owner": "acme", "name": "x", "path": path, "cloneUrl": server.repository("repo-000")});
    let places = [
        "../escaped",
        "/tmp/escaped",
        "repositories/../../escaped",
        ".git/hooks",
        ".specweave/state",
        "repositories/a/good",
    ];
    let repositories: Vec<_> = places.iter().map(|path| repository(path)).collect();
    let job = world.state().join("jobs/0badc0de");
    fs::create_dir_all(&job).unwrap();
    fs::write(
        job.join("config.json"),
        json!({"jobId": "0badc0de", "repositories": repositories}).to_string(),
    )
    .unwrap();
    let entry =
        json!({"id": "0badc0de", "type": "clone-repos", "status": "paused", "progress": {}, "config": {}});
    fs::write(world.state().join("background-jobs.json"), json!({"jobs": [entry]}).to_string()).unwrap();
    world.run(["--resume", "0badc0de"]).ok();
    let job = world.wait("0badc0de");
    assert_eq!((&job["progress"]["succeeded"], &job["progress"]["failed"]), (&1.into(), &5.into()), "{job}");
    assert!(world.project.join("repositories/a/good/.git").exists());
    for escaped in [world.dir.join("escaped"), PathBuf::from("/tmp/escaped"), world.project.join("escaped")] {
        assert!(!escaped.exists(), "{}", escaped.display());
    }
    world.run(["--id", "0badc0de"]).ok().says("is not below repositories/");
}

#[test]
fn a_journal_that_came_with_the_project_starts_nothing() {
    let (world, server, _) = World::with_remotes(1);
    let ran = world.dir.join("ran");
    let line = |event: serde_json::Value| {
        let body = json!({"at": 1_790_000_000_000_i64, "event": event}).to_string();
        format!("{{\"crc\":\"{:08x}\",{}\n", crc32fast::hash(&body.as_bytes()[1..]), &body[1..])
    };
    let spec = CloneSpec { sources: vec!["git@host.invalid:a/b".into()], ..Default::default() };
    let settings = json!({"GIT_SSH_COMMAND": format!("touch {}", ran.display())});
    let created =
        json!({"created": {"order": {"clone": spec}, "request_id": "planted", "settings": settings}});
    let planted = line(created) + &line(json!("started"));
    let folder = world.state().join("jobs/0badc0de");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("journal.jsonl"), &planted).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    world.run(["--all"]).ok().complains("was not written by this user's daemon").complains("start it afresh");
    world.run(["--resume", "0badc0de"]).with_status(3);
    assert_eq!(read(&folder.join("journal.jsonl")), planted, "it is left as it was");
    assert!(!ran.exists() && !folder.join("worker.log").exists(), "nothing of it ran");
}

#[test]
fn a_journal_of_another_user_or_another_job_is_not_believed() {
    let (mut world, server, _) = World::with_remotes(1);
    server.fault("repo-000", Fault::Silent);
    let id = world.start_clone([server.repository("repo-000")]);
    world.run(["--kill", &id]).ok();
    world.run(["daemon", "stop"]).ok();
    let jobs = world.state().join("jobs");
    fs::create_dir(jobs.join("0badc0de")).unwrap();
    fs::copy(jobs.join(&id).join("journal.jsonl"), jobs.join("0badc0de/journal.jsonl")).unwrap();
    let known = |world: &World| -> Vec<String> {
        let all = world.run(["--all", "--json"]).ok().json();
        all["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    world.run(["daemon", "start"]).ok();
    assert_eq!(known(&world), [id.as_str()], "its own, and no copy under another name");
    world.run(["daemon", "stop"]).ok();
    let home = world.dir.join("another-home");
    fs::create_dir(&home).unwrap();
    world.set("HOME", home.to_str().unwrap());
    world.run(["daemon", "start"]).ok();
    assert!(known(&world).is_empty());
    world.run(["doctor"]).says("was not written by this user's daemon");
}

#[test]
fn what_is_too_large_is_refused_and_the_daemon_goes_on() {
    let world = World::new();
    let endpoint = world.run(["endpoint", "--start"]).ok().json()["endpoint"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
        let mut client = JobsServiceClient::new(channel).max_encoding_message_size(1 << 30);
        for (sources, why) in [
            (vec!["/x".repeat(20 * 1024 * 1024 / 2)], "larger than"),
            (vec!["/x".to_owned(); 100_001], "more than 100000 sources"),
        ] {
            let spec = CloneSpec { sources, ..Default::default() };
            let request = StartJobRequest {
                spec: Some(JobSpec { work: Some(job_spec::Work::Clone(spec)), ..JobSpec::default() }),
                ..Default::default()
            };
            let refused = client.start_job(request).await.unwrap_err();
            assert!(refused.message().contains(why) || refused.message().contains("length"), "{refused:?}");
        }
        assert_eq!(client.get_info(GetInfoRequest {}).await.unwrap().into_inner().active_jobs, 0);
    });
    // A log is full at 20 MB, and its last line says so.
    let (world, server, _) = World::with_remotes(1);
    server.fault("repo-000", Fault::Status(404));
    let id = world.start_clone([server.repository("repo-000")]);
    world.wait(&id);
    let log = world.state().join(format!("jobs/{id}/worker.log"));
    fs::File::options().append(true).open(&log).unwrap().set_len(20 * 1024 * 1024 - 30).unwrap();
    world.run(["--resume", &id]).ok();
    world.wait(&id);
    assert!(log.metadata().unwrap().len() < 20 * 1024 * 1024 + 200);
    assert!(read(&log).ends_with("The log is full; later entries are left out.\n"));
}
