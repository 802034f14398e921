//! One daemon per project, reachable, and gone when it should be.

use crate::world::git_server::Fault;
use crate::world::{World, eventually, lives, read, signal, suspend, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn fifty_clients_at_once_start_one_daemon() {
    let world = World::new();
    let mut clients: Vec<_> = (0..50)
        .map(|_| {
            let mut command = world.command(["endpoint", "--start"]);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut pids: Vec<String> = clients
        .iter_mut()
        .map(|client| {
            assert!(wait(client, Duration::from_secs(30)).unwrap().success());
            let mut text = String::new();
            client.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["pid"].to_string()
        })
        .collect();
    pids.dedup();
    assert_eq!(pids, [world.daemon_pid().unwrap().to_string()]);
    assert_eq!(world.daemon_log().matches("started").count(), 1);
}

#[test]
fn reading_starts_no_daemon() {
    let world = World::new();
    world.run::<&str>([]).ok().says("No active jobs");
    world.run(["--all"]).ok();
    world.run(["--id", "ae362dfe"]).with_status(3);
    world.run(["--resume", "ae362dfe"]).with_status(3);
    world.run(["endpoint"]).with_status(4).complains("hint: specweave-jobs daemon start");
    assert_eq!(world.daemon_pid(), None);
    assert!(!world.state().join("jobs-daemon/daemon.lock").exists());
}

#[test]
fn a_socket_left_by_a_killed_daemon_is_no_obstacle() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let stale = world.socket();
    world.kill_daemon();
    assert!(stale.exists(), "a killed daemon leaves its socket");
    world.run::<&str>([]).ok();
    world.run(["daemon", "start"]).ok();
    world.run(["daemon", "status"]).ok();
}

#[test]
fn a_deleted_socket_is_bound_again_without_a_second_daemon() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid();
    fs::remove_file(world.socket()).unwrap();
    world.run(["daemon", "start"]).ok();
    assert_eq!(world.daemon_pid(), pid);
    world.run(["daemon", "status"]).ok();
}

#[test]
fn a_daemon_notices_by_itself_that_its_socket_is_gone() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_CHECK_SECONDS", "0.1");
    world.run(["daemon", "start"]).ok();
    fs::remove_file(world.socket()).unwrap();
    eventually("the socket is back", || world.socket().exists());
    world.run(["daemon", "status"]).ok();
}

#[test]
fn a_garbage_endpoint_file_is_written_anew() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let path = world.state().join("jobs-daemon/endpoint.json");
    for garbage in ["", "{", "[]", "{\"endpoint\":\"tcp:1\",\"pid\":1,\"protocol\":1}", "\u{0}\u{1}"] {
        fs::write(&path, garbage).unwrap();
        world.run::<&str>([]).ok();
        world.run(["endpoint", "--start"]).ok();
        world.run(["daemon", "status"]).ok();
    }
    assert_eq!(world.daemon_log().matches("started").count(), 1);
}

#[test]
fn a_linked_or_open_socket_folder_is_refused_with_its_remedy() {
    let mut world = World::new();
    let (real, link) = (world.dir.join("real"), world.dir.join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    world.set("SPECWEAVE_JOBS_SOCKET_DIR", link.display().to_string());
    let said = world.run(["daemon", "start"]).with_status(4);
    said.complains("symbolic link").complains("SPECWEAVE_JOBS_SOCKET_DIR");

    fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
    world.set("SPECWEAVE_JOBS_SOCKET_DIR", real.display().to_string());
    world.run(["daemon", "start"]).with_status(4).complains("others may enter");
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn a_socket_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can make another user's folder");
    }
    let mut world = World::new();
    let theirs = world.dir.join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
    world.set("SPECWEAVE_JOBS_SOCKET_DIR", theirs.display().to_string());
    world.run(["daemon", "start"]).with_status(4).complains("belongs to another user");
}

#[test]
fn a_too_long_socket_folder_is_named_with_its_limit() {
    let mut world = World::new();
    let long = world.dir.join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    world.set("SPECWEAVE_JOBS_SOCKET_DIR", long.display().to_string());
    world.run(["daemon", "start"]).with_status(4).complains("103 are possible");
}

#[test]
fn the_socket_and_its_folder_are_private() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let socket = world.socket();
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    assert_eq!(read(&world.state().join("jobs-daemon/.gitignore")), "*\n");
}

#[test]
fn a_project_path_of_two_hundred_bytes_works() {
    let mut world = World::bare();
    let mut deep = world.dir.clone();
    while deep.as_os_str().len() < 200 {
        deep.push("a-rather-long-folder");
    }
    fs::create_dir_all(&deep).unwrap();
    world.project = deep;
    world.run(["init"]).ok();
    world.run(["daemon", "start"]).ok();
    world.run(["daemon", "status"]).ok();
    assert!(world.socket().as_os_str().len() <= 103);
}

#[test]
fn a_shell_does_not_wait_for_descriptors_that_the_daemon_inherited() {
    let world = World::new();
    let client = env!("CARGO_BIN_EXE_specweave-jobs");
    let script = format!("x=$(exec 3>&1; '{client}' daemon start); echo \"got: $x\"");
    let said = world.finish_within(world.program("sh", ["-c", &script]), Duration::from_secs(20)).ok();
    assert!(said.took < Duration::from_secs(15), "{:?}", said.took);
    said.says("got: The daemon runs");
    let open: Vec<String> = fs::read_dir(format!("/proc/{}/fd", world.daemon_pid().unwrap()))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| target.starts_with("pipe:"))
        .collect();
    assert!(open.is_empty(), "the daemon holds pipes of its starter: {open:?}");
}

#[test]
fn the_daemon_holds_no_folder_and_has_its_own_session() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid().unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), PathBuf::from("/"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "it leads its own session");
}

#[test]
fn a_stop_is_not_held_up_by_an_open_stream_or_a_silent_connection() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let mut watching = world.command(["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    watching.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let _silent = UnixStream::connect(world.socket()).unwrap();
    let pid = world.daemon_pid().unwrap();
    let began = Instant::now();
    world.run(["daemon", "stop"]).ok();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.daemon_pid(), None);
    eventually("the process is gone", || !lives(pid));
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(!world.state().join("jobs-daemon/endpoint.json").exists());
}

#[test]
fn who_watches_is_told_what_the_files_say_where_no_daemon_runs() {
    let (world, server, names) = World::with_remotes(1);
    server.fault(&names[0], Fault::Silent);
    let out = world.dir.join("watched");
    let file = fs::File::create(&out).unwrap();
    let mut watching = world.command(["watch", "--json"]).stdout(file).spawn().unwrap();
    let last = || {
        let text = read(&out);
        serde_json::from_str::<Value>(text.lines().last().unwrap_or_default()).unwrap_or_default()
    };
    eventually("an empty list", || last()["event"]["snapshot"]["jobs"] == json!([]));
    assert_eq!(world.daemon_pid(), None, "watching starts none");
    let id = world.start_clone([server.repository(&names[0])]);
    eventually("the daemon's own word", || read(&out).contains("\"epoch\":\"") && read(&out).contains(&id));
    let pid = world.daemon_pid().unwrap();
    signal(pid, Signal::KILL);
    eventually("the process is gone", || !lives(pid));
    eventually("what the files say", || {
        let last = last();
        last["epoch"] == "" && last["event"]["snapshot"]["jobs"][0]["id"] == *id
    });
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_daemon_without_work_leaves_but_not_while_somebody_watches() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_CHECK_SECONDS", "0.05").set("SPECWEAVE_JOBS_IDLE_SECONDS", "0.3");
    world.run(["daemon", "start"]).ok();
    let mut watching = world.command(["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    watching.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    // Three idle periods, during which it must stay: there is no event for what does not happen.
    std::thread::sleep(Duration::from_millis(900));
    assert!(world.daemon_pid().is_some());
    watching.kill().unwrap();
    watching.wait().unwrap();
    eventually("it has left", || world.daemon_pid().is_none());
    assert!(world.daemon_log().contains("nothing to do"));
}

#[test]
fn a_daemon_whose_project_is_gone_leaves_and_recreates_nothing() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_CHECK_SECONDS", "0.05");
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid().unwrap();
    // What the daemon writes at that moment may stand in a folder's way once.
    let folder = world.project.join(".specweave");
    eventually("the folder is removed", || fs::remove_dir_all(&folder).is_ok() || !folder.exists());
    eventually("the process is gone", || !lives(pid));
    assert!(!world.project.join(".specweave").exists());
}

#[test]
fn a_daemon_that_does_not_answer_does_not_hang_a_listing() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let pid = world.daemon_pid().unwrap();
    suspend(pid);
    let said = world.finish_within(world.command::<&str>([]), Duration::from_secs(20)).ok();
    said.complains("showing what it wrote last");
    signal(pid, Signal::CONT);
    world.run(["daemon", "status"]).ok();
}

#[test]
fn a_caller_of_another_protocol_is_told_so() {
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use specweave_jobs::v1::jobs_service_client::JobsServiceClient;
        let channel = tonic::transport::Endpoint::from_shared(format!("unix:{}", world.socket().display()))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = JobsServiceClient::new(channel);
        let mut request = tonic::Request::new(specweave_jobs::v1::ListJobsRequest::default());
        request.metadata_mut().insert(specweave_jobs::PROTOCOL_HEADER, "999".parse().unwrap());
        let status = client.list_jobs(request).await.unwrap_err();
        use tonic_types::StatusExt;
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            specweave_jobs::reason::PROTOCOL_MISMATCH
        );
    });
}

#[test]
fn an_idle_daemon_of_another_version_is_replaced_and_a_busy_one_is_used() {
    let world = World::new();
    let pretend = || {
        let path = world.state().join("jobs-daemon/endpoint.json");
        let mut endpoint = world.endpoint();
        endpoint["version"] = "0.0.1".into();
        fs::write(&path, endpoint.to_string()).unwrap();
    };
    world.run(["daemon", "start"]).ok();
    let first = world.daemon_pid();
    pretend();
    world.run(["daemon", "start"]).ok();
    let second = world.daemon_pid();
    assert!(second.is_some() && first != second);

    let root = world.dir.join("remotes");
    crate::world::repositories::make_many(&root, 1);
    let server = crate::world::git_server::GitServer::http(&root);
    server.fault("repo-000", Fault::Silent);
    let id = world.start_clone([server.repository("repo-000")]);
    pretend();
    world.run(["daemon", "start"]).ok().complains("it is busy and stays");
    assert_eq!(world.daemon_pid(), second);
    world.run(["--kill", &id]).ok();
}

#[test]
fn another_user_cannot_connect() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let world = World::new();
    world.run(["daemon", "start"]).ok();
    let socket = world.socket();
    // Even with the modes opened by mistake, the daemon answers its own user alone.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&world.dir, fs::Permissions::from_mode(0o755)).unwrap();
    use std::os::unix::process::CommandExt;
    let script = format!(
        "import socket\ns=socket.socket(socket.AF_UNIX)\ns.connect({:?})\ns.settimeout(5)\nprint('bytes', len(s.recv(100)))",
        socket.display().to_string()
    );
    let mut command = world.program("python3", ["-c", &script]);
    command.uid(65534).gid(65534).current_dir("/");
    let said = world.finish(command);
    assert!(!said.stdout.contains("bytes 9"), "no HTTP/2 settings for strangers: {said:?}");
    assert!(said.stdout.contains("bytes 0") || said.stderr.contains("Error"), "{said:?}");
}

#[test]
fn without_a_daemon_the_job_ends_with_the_command() {
    let mut world = World::new();
    world.set("SPECWEAVE_JOBS_NO_DAEMON", "1");
    let remotes = world.dir.join("remotes");
    crate::world::repositories::make_many(&remotes, 2);
    let source = |name: &str| remotes.join(format!("acme/{name}.git")).display().to_string();
    world.run(["clone", &source("repo-000"), &source("repo-001")]).ok().says("Job completed: 2 repositories");
    assert_eq!(world.daemon_pid(), None);
    assert!(world.project.join("repositories/acme/repo-001/README.md").exists());
}
