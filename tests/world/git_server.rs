//! A git server of our own that speaks the real wire format over HTTP or HTTPS, both dialects, and misbehaves on
//! request; beside it, GitHub's and Azure DevOps' listings. A thread a connection, packs made once: it is not
//! what a benchmark measures.

use super::http::{Request, head, read_request};
use git2::{ObjectType, Oid, Repository};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How a repository misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Takes the request and does not answer it until the repository is healed.
    Silent,
    /// Sends half of the pack and no more.
    StallsMidPack,
    /// Sends half of the pack and closes.
    BreaksMidPack,
    /// So many requests fail with 503-like broken connections, then all is well.
    FailsFirst(u32),
    Status(u16),
    /// Answers 429 with `Retry-After` so many seconds, once a repository.
    LimitedOnce(u64),
    /// A page for people.
    Page,
    /// A pack with a flipped byte.
    Corrupt,
    /// Sends the pack a little at a time.
    Slow,
    /// Says of every tag that it is of the commit that HEAD names.
    LiesAboutTags,
}

pub struct GitServer {
    pub address: SocketAddr,
    secure: bool,
    pub state: Arc<State>,
    /// The certificate to trust, when it is HTTPS.
    pub authority: Option<PathBuf>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
pub struct State {
    root: PathBuf,
    pub faults: Mutex<HashMap<String, Fault>>,
    /// Requests without this token are refused.
    pub token: Mutex<Option<String>>,
    /// Whether it speaks version 2 of the protocol.
    pub version_2: AtomicBool,
    /// Whether repositories are served by git's own `http-backend`.
    pub real_git: AtomicBool,
    /// Whether packs are made by git, where there is one.
    packs_of_git: AtomicBool,
    /// Repositories that have moved, and the address of the owner's folder that they moved to.
    pub moved: Mutex<HashMap<String, String>>,
    /// `METHOD path` and the authorization of every request.
    pub requests: Mutex<Vec<(String, Option<String>)>>,
    /// Repositories of `GET /orgs/<org>/repos` and friends, by owner.
    pub listings: Mutex<HashMap<String, Vec<Value>>>,
    served: Mutex<HashMap<PathBuf, Arc<Served>>>,
    /// Those that are open, by the port at their other end.
    streams: Mutex<HashMap<u16, TcpStream>>,
}

/// What a repository gives.
struct Served {
    refs: Vec<(String, Oid)>,
    head: Option<(String, Oid)>,
    pack: Vec<u8>,
    /// The tips alone, and whether they have parents.
    shallow_pack: Vec<u8>,
    shallow: Vec<Oid>,
}

impl GitServer {
    pub fn http(root: &Path) -> Self {
        Self::start(root, None)
    }

    /// With a certificate of its own, written to `folder`.
    pub fn https(root: &Path, folder: &Path) -> Self {
        Self::start(root, Some(folder))
    }

    fn start(root: &Path, certificate_folder: Option<&Path>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { root: root.to_path_buf(), ..State::default() });
        state.version_2.store(true, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let mut authority = None;
        let tls = certificate_folder.map(|folder| {
            let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
            let path = folder.join("authority.pem");
            std::fs::write(&path, made.cert.pem()).unwrap();
            authority = Some(path);
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key.into())
                .unwrap();
            Arc::new(config)
        });
        let (shared, stopping, secure) = (state.clone(), stop.clone(), tls.is_some());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let (state, tls) = (shared.clone(), tls.clone());
                let (Ok(peer), Ok(kept)) = (stream.peer_addr(), stream.try_clone()) else { continue };
                state.streams.lock().unwrap().insert(peer.port(), kept);
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let _ = match tls {
                        None => converse(&state, stream),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            converse(&state, rustls::StreamOwned::new(session, stream))
                        }
                    };
                    if let Some(kept) = state.streams.lock().unwrap().remove(&peer.port()) {
                        let _ = kept.shutdown(std::net::Shutdown::Both);
                    }
                });
            }
        });
        Self { address, secure, state, authority, stop }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// The address of a repository of the owner `acme`.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/acme/{name}.git", self.url())
    }

    /// A repository as GitHub lists it.
    pub fn listed(&self, name: &str) -> Value {
        json!({
            "name": name, "owner": {"login": "acme"}, "clone_url": self.repository(name),
            "archived": false, "fork": false,
        })
    }

    /// What GitHub lists of the owner `acme`.
    pub fn lists(&self, repositories: Vec<Value>) {
        self.state.listings.lock().unwrap().insert("acme".into(), repositories);
    }

    pub fn fault(&self, name: &str, fault: Fault) {
        self.state.faults.lock().unwrap().insert(name.to_owned(), fault);
    }

    pub fn heal(&self, name: &str) {
        self.state.faults.lock().unwrap().remove(name);
    }

    /// No connection is taken any more, and those that are open break.
    pub fn cut(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        for (_, stream) in self.state.streams.lock().unwrap().drain() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    pub fn require_token(&self, token: &str) {
        *self.state.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Requests so far whose line contains `part`.
    pub fn requests(&self, part: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|(line, _)| line.contains(part)).count()
    }

    /// Makes the pack of every repository before a benchmark does: with git's own packer, as other servers do, if there is
    /// one. libgit2's names bases by id, which git's does only for old clients.
    pub fn warm(&self, names: &[String]) {
        self.state.packs_of_git.store(true, Ordering::Relaxed);
        for name in names {
            serve(&self.state, &self.state.root.join(format!("acme/{name}.git"))).unwrap();
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, kept alive.
fn converse<S: Read + Write>(state: &State, stream: S) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        let line = format!("{} {}?{}", request.method, request.path, request.query);
        state.requests.lock().unwrap().push((line, request.headers.get("authorization").cloned()));
        if !answer(state, &request, stream.get_mut())? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the request carries the token, if one is wanted.
fn is_let_in(state: &State, request: &Request) -> bool {
    use base64::Engine;
    let wanted = state.token.lock().unwrap();
    let Some(token) = wanted.as_deref() else { return true };
    let Some(value) = request.headers.get("authorization") else { return false };
    let pair = value.strip_prefix("Basic ").unwrap_or(value);
    let basic = base64::engine::general_purpose::STANDARD
        .decode(pair)
        .is_ok_and(|pair| String::from_utf8_lossy(&pair).ends_with(&format!(":{token}")));
    basic || *value == format!("Bearer {token}")
}

fn plain(out: &mut impl Write, status: u16, more: &str, body: &str) -> io::Result<bool> {
    out.write_all((head(status, "text/plain", body.len(), more) + body).as_bytes())?;
    out.flush().map(|()| true)
}

fn whole(out: &mut impl Write, kind: &str, more: &str, body: &[u8]) -> io::Result<bool> {
    out.write_all(head(200, kind, body.len(), more).as_bytes())?;
    out.write_all(body)?;
    out.flush().map(|()| true)
}

/// Answers one request. False when the connection is not to be kept.
fn answer(state: &State, request: &Request, out: &mut impl Write) -> io::Result<bool> {
    if !is_let_in(state, request) {
        return plain(out, 401, "WWW-Authenticate: Basic realm=\"git\"\r\n", "no");
    }
    if let Some((body, more)) = listing(state, request) {
        return whole(out, "application/json", &more, body.as_bytes());
    }
    let Some((repository, service)) = split_service(&request.path) else {
        return plain(out, 404, "", "nothing here");
    };
    let name = repository.rsplit('/').next().unwrap_or("").trim_end_matches(".git").to_owned();
    if let Some(to) = state.moved.lock().unwrap().get(&name) {
        let location = format!("Location: {to}/{name}.git/{service}?{}\r\n", request.query);
        return plain(out, 301, &location, "moved");
    }
    let fault = state.faults.lock().unwrap().get(&name).copied();
    match fault {
        Some(Fault::Silent) => {
            let until = Instant::now() + Duration::from_secs(120);
            while Instant::now() < until {
                thread::sleep(Duration::from_millis(20));
                if state.faults.lock().unwrap().get(&name) != Some(&Fault::Silent) {
                    return answer(state, request, out);
                }
            }
            return Ok(false);
        }
        Some(Fault::Status(status)) => return plain(out, status, "", "no"),
        Some(Fault::LimitedOnce(seconds)) => {
            state.faults.lock().unwrap().remove(&name);
            return plain(out, 429, &format!("Retry-After: {seconds}\r\n"), "later");
        }
        Some(Fault::Page) => return whole(out, "text/html", "", b"<html>sign in</html>"),
        Some(Fault::FailsFirst(left)) if left > 0 => {
            state.faults.lock().unwrap().insert(name, Fault::FailsFirst(left - 1));
            return Ok(false);
        }
        _ => {}
    }
    let path = state.root.join(repository.trim_start_matches('/'));
    if !path.join("HEAD").exists() {
        return plain(out, 404, "", "no such repository");
    }
    if state.real_git.load(Ordering::Relaxed) {
        return http_backend(state, request, out);
    }
    let served = serve(state, &path).map_err(io::Error::other)?;
    let asks_v2 = request.headers.get("git-protocol").is_some_and(|value| value.contains("version=2"));
    let v2 = asks_v2 && state.version_2.load(Ordering::Relaxed);
    if service == "info/refs" {
        let mut body = packet("# service=git-upload-pack\n");
        body.extend_from_slice(b"0000");
        body.extend(if v2 { capabilities_v2() } else { advertise_v0(&served) });
        return whole(out, "application/x-git-upload-pack-advertisement", "", &body);
    }
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if body.contains("command=ls-refs") {
        return whole(out, RESULT, "", &ls_refs(&served, fault == Some(Fault::LiesAboutTags)));
    }
    send_pack(&served, fault, v2, body.contains("deepen "), out)
}

const RESULT: &str = "application/x-git-upload-pack-result";

/// Sends a pack in chunks, with what goes wrong on its way.
fn send_pack(
    served: &Served,
    fault: Option<Fault>,
    v2: bool,
    deepen: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut before = Vec::new();
    if deepen {
        if v2 {
            before.extend(packet("shallow-info\n"));
        }
        for oid in &served.shallow {
            before.extend(packet(&format!("shallow {oid}\n")));
        }
        before.extend_from_slice(if v2 { b"0001" } else { b"0000" });
    }
    before.extend(packet(if v2 { "packfile\n" } else { "NAK\n" }));
    let mut pack = if deepen { served.shallow_pack.clone() } else { served.pack.clone() };
    if fault == Some(Fault::Corrupt) {
        let middle = pack.len() / 2;
        pack[middle] ^= 0xff;
    }
    out.write_all(
        format!("HTTP/1.1 200 OK\r\nContent-Type: {RESULT}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
    )?;
    chunk(out, &before)?;
    let half = pack.len() / 2;
    let mut sent = 0;
    let piece = if fault == Some(Fault::Slow) { 256 } else { 60_000 };
    for data in pack.chunks(piece) {
        let mut band = format!("{:04x}\u{1}", data.len() + 5).into_bytes();
        band.extend_from_slice(data);
        chunk(out, &band)?;
        sent += data.len();
        match fault {
            Some(Fault::StallsMidPack) if sent >= half => {
                out.flush()?;
                thread::sleep(Duration::from_secs(120));
                return Ok(false);
            }
            Some(Fault::BreaksMidPack) if sent >= half => return out.flush().map(|()| false),
            Some(Fault::Slow) => {
                out.flush()?;
                thread::sleep(Duration::from_millis(30));
            }
            _ => {}
        }
    }
    chunk(out, b"0000")?;
    out.write_all(b"0\r\n\r\n")?;
    out.flush().map(|()| true)
}

fn chunk(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    out.write_all(bytes)?;
    out.write_all(b"\r\n")
}

/// git's own server, as a CGI program.
fn http_backend(state: &State, request: &Request, out: &mut impl Write) -> io::Result<bool> {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &state.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.headers.get("content-type").map_or("", String::as_str))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", request.headers.get("git-protocol").map_or("", String::as_str))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let writing = thread::spawn(move || stdin.write_all(&body));
    let answer = child.wait_with_output()?.stdout;
    let _ = writing.join();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let headers = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status =
        headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let kept: String = headers
        .lines()
        .filter(|line| !line.starts_with("Status:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let body = &answer[(split + 4).min(answer.len())..];
    out.write_all(format!("HTTP/1.1 {status}\r\n{kept}Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
    out.write_all(body)?;
    out.flush().map(|()| true)
}

/// GitHub's and Azure DevOps' listings, two a page.
fn listing(state: &State, request: &Request) -> Option<(String, String)> {
    let path = request.path.strip_prefix("/api/v3").unwrap_or(&request.path);
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let listings = state.listings.lock().unwrap();
    let query = |name: &str| {
        request.query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    let host = request.headers.get("host").cloned().unwrap_or_default();
    match parts[..] {
        ["orgs" | "users", owner, "repos"] => {
            let all = listings.get(owner)?;
            let page: usize = query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
            let here: Vec<&Value> = all.iter().skip((page - 1) * 2).take(2).collect();
            let mut more = String::new();
            if page * 2 < all.len() {
                let next = format!("http://{host}{}?page={}", request.path, page + 1);
                more = format!("Link: <{next}>; rel=\"next\", <{next}>; rel=\"last\"\r\n");
            }
            Some((json!(here).to_string(), more))
        }
        // GitLab says which page is next, Gitea lets its reader find out, and Bitbucket gives the address.
        ["api", "v4", "groups", group, "projects"] => {
            let (page, here, is_last) = page_of(listings.get(group)?, query("page"));
            let next = if is_last { String::new() } else { (page + 1).to_string() };
            Some((json!(here).to_string(), format!("X-Next-Page: {next}\r\n")))
        }
        ["api", "v1", "orgs", owner, "repos"] => {
            let (_, here, _) = page_of(listings.get(owner)?, query("page"));
            Some((json!(here).to_string(), String::new()))
        }
        ["2.0", "repositories", workspace] => {
            let (page, here, is_last) = page_of(listings.get(workspace)?, query("page"));
            let next = format!("http://{host}{}?page={}", request.path, page + 1);
            let next = if is_last { Value::Null } else { next.into() };
            Some((json!({"values": here, "next": next, "pagelen": 2}).to_string(), String::new()))
        }
        ["user"] => Some((json!({"login": "token-owner"}).to_string(), String::new())),
        [_, project, "_apis", "git", "repositories"] => {
            let all = listings.get(project)?;
            let from: usize = query("continuationToken").and_then(|from| from.parse().ok()).unwrap_or(0);
            let here: Vec<&Value> = all.iter().skip(from).take(2).collect();
            let mut more = String::new();
            if from + 2 < all.len() {
                more = format!("x-ms-continuationtoken: {}\r\n", from + 2);
            }
            Some((json!({"count": here.len(), "value": here}).to_string(), more))
        }
        _ => None,
    }
}

/// Two of a listing: which page it is, what is on it, and whether it is the last.
fn page_of(all: &[Value], page: Option<String>) -> (usize, Vec<&Value>, bool) {
    let page: usize = page.and_then(|page| page.parse().ok()).unwrap_or(1);
    (page, all.iter().skip((page - 1) * 2).take(2).collect(), page * 2 >= all.len())
}

fn split_service(path: &str) -> Option<(&str, &str)> {
    ["info/refs", "git-upload-pack"].into_iter().find_map(|service| {
        let repository = path.strip_suffix(service)?.trim_end_matches('/');
        Some((repository, service))
    })
}

fn serve(state: &State, path: &Path) -> Result<Arc<Served>, git2::Error> {
    if let Some(served) = state.served.lock().unwrap().get(path) {
        return Ok(served.clone());
    }
    let repository = Repository::open(path)?;
    let mut refs = Vec::new();
    for reference in repository.references()? {
        let reference = reference?;
        if let (Ok(name), Some(oid)) = (reference.name(), reference.target()) {
            refs.push((name.to_owned(), oid));
        }
    }
    refs.sort();
    let head = repository.head().ok().and_then(|head| Some((head.name().ok()?.to_owned(), head.target()?)));
    let mut pack = git2::Buf::new();
    let mut shallow_pack = git2::Buf::new();
    let mut shallow = Vec::new();
    if !refs.is_empty() {
        let mut builder = repository.packbuilder()?;
        let mut walk = repository.revwalk()?;
        for (_, oid) in &refs {
            let object = repository.find_object(*oid, None)?;
            if object.kind() == Some(ObjectType::Tag) {
                builder.insert_object(*oid, None)?;
            }
            walk.push(object.peel_to_commit()?.id())?;
        }
        builder.insert_walk(&mut walk)?;
        builder.write_buf(&mut pack)?;
    }
    let packed = Some(path).filter(|_| state.packs_of_git.load(Ordering::Relaxed)).and_then(pack_of_git);
    if let Some((_, oid)) = &head {
        let mut builder = repository.packbuilder()?;
        builder.insert_commit(*oid)?;
        builder.write_buf(&mut shallow_pack)?;
        shallow.push(*oid);
    }
    let served = Arc::new(Served {
        refs,
        head,
        pack: packed.unwrap_or(pack.to_vec()),
        shallow_pack: shallow_pack.to_vec(),
        shallow,
    });
    state.served.lock().unwrap().insert(path.to_path_buf(), served.clone());
    Ok(served)
}

fn pack_of_git(repository: &Path) -> Option<Vec<u8>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository);
    git.args(["pack-objects", "--all", "--stdout", "--delta-base-offset", "-q"]).stdin(Stdio::null());
    git.output().ok().filter(|output| output.status.success()).map(|output| output.stdout)
}

fn packet(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

fn capabilities_v2() -> Vec<u8> {
    let mut out = Vec::new();
    for line in ["version 2\n", "agent=test\n", "ls-refs=unborn\n", "fetch=shallow\n", "object-format=sha1\n"]
    {
        out.extend(packet(line));
    }
    out.extend_from_slice(b"0000");
    out
}

fn advertise_v0(served: &Served) -> Vec<u8> {
    let mut capabilities = "multi_ack side-band-64k ofs-delta shallow no-progress include-tag".to_owned();
    let mut lines: Vec<(String, String)> = Vec::new();
    if let Some((name, oid)) = &served.head {
        capabilities.push_str(&format!(" symref=HEAD:{name}"));
        lines.push((oid.to_string(), "HEAD".into()));
    }
    lines.extend(served.refs.iter().map(|(name, oid)| (oid.to_string(), name.clone())));
    if lines.is_empty() {
        lines.push(("0".repeat(40), "capabilities^{}".into()));
    }
    let mut out = Vec::new();
    for (place, (oid, name)) in lines.iter().enumerate() {
        let tail = if place == 0 { format!("\0{capabilities}") } else { String::new() };
        out.extend(packet(&format!("{oid} {name}{tail}\n")));
    }
    out.extend_from_slice(b"0000");
    out
}

fn ls_refs(served: &Served, lies: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match &served.head {
        Some((name, oid)) => out.extend(packet(&format!("{oid} HEAD symref-target:{name}\n"))),
        None => out.extend(packet("unborn HEAD symref-target:refs/heads/main\n")),
    }
    for (name, oid) in &served.refs {
        let lie = served.head.as_ref().filter(|_| lies && name.starts_with("refs/tags/"));
        let peeled = lie.map_or_else(String::new, |(_, head)| format!(" peeled:{head}"));
        out.extend(packet(&format!("{oid} {name}{peeled}\n")));
    }
    out.extend_from_slice(b"0000");
    out
}
