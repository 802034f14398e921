//! A token works, and is nowhere to be found afterwards.

use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::make_many;
use crate::world::{World, files_below};
use base64::Engine;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const TOKEN: &str = "ghp_0123456789abcdefSECRETsecret";

fn world_with_token() -> (World, GitServer) {
    let mut world = World::new();
    let root = world.dir.join("remotes");
    make_many(&root, 3);
    let server = GitServer::http(&root);
    server.require_token(TOKEN);
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url()));
    (world, server)
}

/// Fails if any file of the world, or any process's arguments or environment, holds the token.
fn assert_nowhere(world: &World) {
    let forms = [
        TOKEN.to_owned(),
        base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}")),
        base64::engine::general_purpose::STANDARD.encode(format!(":{TOKEN}")),
    ];
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for path in files_below(&world.dir) {
        let name = path.display().to_string();
        if !name.contains("/remotes/") && !name.contains("/planted/") {
            places.push((name, fs::read(&path).unwrap_or_default()));
        }
    }
    if let Some(pid) = world.daemon_pid() {
        for part in ["cmdline", "environ"] {
            let path = format!("/proc/{pid}/{part}");
            places.push((path.clone(), fs::read(path).unwrap_or_default()));
        }
    }
    assert!(places.len() > 10);
    for (name, bytes) in places {
        let text = String::from_utf8_lossy(&bytes);
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{name} holds the token");
        }
    }
}

#[test]
fn a_token_from_the_callers_environment_works_and_is_written_nowhere() {
    let (mut world, server) = world_with_token();
    let sources = ["repo-000", "repo-001"].map(|name| server.repository(name));
    let id = world.start_clone(&sources);
    assert_eq!(world.wait(&id)["progress"]["failed"], 2, "without a token");
    world.run(["--id", &id]).ok().says("no credentials were found");

    world.set("GITHUB_TOKEN", TOKEN);
    server.fault("repo-001", Fault::Status(500));
    world.run(["--resume", &id]).ok();
    assert_eq!(world.wait(&id)["progress"]["succeeded"], 1);
    let said = world.run(["--logs", &id]).ok();
    assert!(!said.stdout.contains(TOKEN));
    assert_nowhere(&world);
}

#[test]
fn a_token_in_an_address_is_used_once_and_written_nowhere() {
    let (world, server) = world_with_token();
    let with_token = server.repository("repo-000").replace("http://", &format!("http://x:{TOKEN}@"));
    let id = world.start_clone([&with_token]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_nowhere(&world);
    let repository = git2::Repository::open(world.project.join("repositories/acme/repo-000")).unwrap();
    assert_eq!(repository.find_remote("origin").unwrap().url().unwrap(), server.repository("repo-000"));
}

#[test]
fn a_login_in_an_address_is_used_for_its_repository_only() {
    let (mut world, server) = world_with_token();
    let with =
        |name: &str, login: &str| server.repository(name).replace("http://", &format!("http://{login}@"));
    let right = with("repo-000", &format!("ada:{TOKEN}"));
    let wrong = with("repo-001", "bob:no-longer-valid");
    let id = world.start_clone([&wrong, &right, &server.repository("repo-002")]);
    assert_eq!(world.wait(&id)["progress"]["succeeded"], 1, "{}", world.run(["--id", &id]).stdout);
    let logins_of = |name: &str| -> Vec<String> {
        let requests = server.state.requests.lock().unwrap();
        let theirs = requests.iter().filter(|(line, _)| line.contains(name));
        let mut logins: Vec<_> = theirs.filter_map(|(_, login)| login.clone()).collect();
        logins.dedup();
        logins
    };
    let basic = |login: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login));
    assert_eq!(logins_of("repo-000"), [basic(&format!("ada:{TOKEN}"))]);
    assert_eq!(logins_of("repo-001"), [basic("bob:no-longer-valid")]);
    assert!(logins_of("repo-002").is_empty(), "a login of another repository's address was sent");

    world.set("GITHUB_TOKEN", TOKEN);
    let id = world.start_clone([&wrong, &server.repository("repo-002")]);
    assert_eq!(world.wait(&id)["progress"]["succeeded"], 1, "{}", world.run(["--id", &id]).stdout);
    assert!(world.project.join("repositories/acme/repo-002").is_dir());
}

#[test]
fn a_token_from_the_projects_dotenv_works() {
    let (world, server) = world_with_token();
    let planted = world.project.join(".env");
    fs::write(&planted, format!("# mine\nGITHUB_TOKEN=\"{TOKEN}\"\n")).unwrap();
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed");
    fs::remove_file(planted).unwrap();
    assert_nowhere(&world);
}

/// A program of the caller's PATH that answers with the token, and notes whether anybody prompted.
fn plant(world: &mut World, name: &str, script: &str) {
    let folder = world.dir.join("planted");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    world.set("PATH", paths);
}

#[test]
fn the_gh_program_is_asked_when_no_variable_is_set() {
    let (mut world, server) = world_with_token();
    plant(&mut world, "gh", &format!("[ \"$1 $2\" = 'auth token' ] && echo {TOKEN}"));
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_nowhere(&world);
}

#[test]
fn gits_credential_helpers_are_asked_after_a_refusal_and_never_prompt() {
    let (mut world, server) = world_with_token();
    plant(&mut world, "gh", "exit 1");
    let script = format!(
        "[ \"$1 $2\" = 'credential fill' ] || PATH=\"${{PATH#*:}}\" exec git \"$@\"\n[ \"$GIT_TERMINAL_PROMPT\" = 0 ] || exit 1\ncat > /dev/null\necho username=ada\necho password={TOKEN}"
    );
    plant(&mut world, "git", &script);
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert_nowhere(&world);
}

#[test]
fn a_token_goes_to_no_other_host() {
    let (mut world, server) = world_with_token();
    world.set("GITHUB_TOKEN", TOKEN);
    let other = GitServer::http(&world.dir.join("remotes"));
    let id = world.start_clone([other.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed");
    let sent = other.state.requests.lock().unwrap().iter().filter(|(_, login)| login.is_some()).count();
    assert_eq!(sent, 0);
    drop(server);
}

#[test]
fn a_moved_repository_is_followed_and_the_token_stays_behind() {
    let (mut world, server) = world_with_token();
    world.set("GITHUB_TOKEN", TOKEN);
    let other = GitServer::http(&world.dir.join("remotes"));
    let elsewhere = format!("{}/acme", other.url());
    server.state.moved.lock().unwrap().insert("repo-000".into(), elsewhere);
    let id = world.start_clone([server.repository("repo-000")]);
    assert_eq!(world.wait(&id)["state"], "completed", "{}", world.run(["--id", &id]).stdout);
    assert!(other.requests("repo-000") > 0);
    let sent = other.state.requests.lock().unwrap().iter().filter(|(_, login)| login.is_some()).count();
    assert_eq!(sent, 0, "the token went to another server");
    assert_nowhere(&world);
}

#[test]
fn tokens_in_a_remotes_words_do_not_reach_the_log() {
    let (mut world, _server) = world_with_token();
    world.set("GITHUB_TOKEN", TOKEN);
    // A remote that repeats what it was sent.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let line = format!("ERR denied for {TOKEN}\n");
            let packet = format!("{:04x}{line}", line.len() + 4);
            let kind = "application/x-git-upload-pack-advertisement";
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                packet.len()
            );
            let _ = stream.write_all((head + &packet).as_bytes());
        }
    });
    let id = world.start_clone([format!("http://{address}/acme/x.git")]);
    assert_eq!(world.wait(&id)["progress"]["failed"], 1);
    world.run(["--id", &id]).ok().says("denied for ***");
    assert_nowhere(&world);
}
