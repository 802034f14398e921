//! A tracker of our own with three faces: GitHub's, JIRA's (Cloud and Data Center) and Azure DevOps' wire formats over
//! one world of items that tests seed and change while it is read. It misbehaves on request, and notes every request.

mod ado;
mod github;
mod jira;

use super::http::{Request, head, read_request};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

pub const TOKEN: &str = "tracker-token-0123456789";

/// Who comes with this one sees the world as it is later.
pub const LATER_TOKEN: &str = "later-tracker-token-0123456789";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Epic,
    Feature,
    Story,
    Bug,
    /// JIRA's sub-task, Azure DevOps' task.
    Task,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Open,
    Active,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Issue {
    pub number: u64,
    pub title: String,
    /// GitHub: as it is. JIRA Cloud: a document of paragraphs, one a line. Azure DevOps: HTML as it is.
    pub body: String,
    /// Azure DevOps' field of its own.
    pub criteria: String,
    pub phase: Phase,
    pub kind: Kind,
    pub labels: Vec<String>,
    /// Seconds since 1970.
    pub created: u64,
    pub updated: u64,
    /// Azure DevOps: its last revision among those of all items.
    pub revision: u64,
    pub parent: Option<u64>,
    pub is_pull_request: bool,
    pub nobody: bool,
    /// The row has no title.
    pub malformed: bool,
    pub deleted: bool,
    /// Azure DevOps' area path below the project.
    pub area: String,
    /// JIRA's document, instead of paragraphs made of the body.
    pub document: Option<Value>,
    /// The tracker's own state, instead of one that the phase makes.
    pub state: Option<String>,
    /// 0 is the most urgent; otherwise the number makes one.
    pub priority: Option<u8>,
    /// GitHub's milestone.
    pub milestone: Option<u64>,
    /// Azure DevOps: the body is Markdown.
    pub is_markdown: bool,
    /// GitHub: somebody made it who has no part in the project.
    pub by_outsider: bool,
    /// JIRA's properties.
    pub properties: Value,
    pub assignee: &'static str,
    /// When a client made it; searches may be behind.
    pub made: Option<SystemTime>,
}

impl Issue {
    pub fn new(number: u64, title: &str) -> Self {
        Self {
            number,
            title: title.to_owned(),
            body: format!("Body of {number}."),
            criteria: String::new(),
            phase: Phase::Open,
            kind: Kind::Story,
            labels: Vec::new(),
            created: now() - 3_600,
            updated: now() - 3_600,
            revision: next_revision(),
            parent: None,
            is_pull_request: false,
            nobody: false,
            malformed: false,
            deleted: false,
            area: "Core".to_owned(),
            document: None,
            state: None,
            priority: None,
            milestone: None,
            is_markdown: false,
            by_outsider: false,
            properties: Value::Null,
            assignee: "",
            made: None,
        }
    }

    /// It has changed, now.
    pub fn touch(&mut self) {
        self.updated = now();
        self.revision = next_revision();
    }
}

fn next_revision() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::SeqCst) + 1
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What the next writes meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WriteFault {
    /// The connection breaks before anything is done.
    LosesRequest,
    /// It is done, and the connection breaks.
    LosesReply,
    /// It is done, and a gateway answers so.
    DoneAnd(u16),
    /// Nothing is done; refused until so many seconds from then.
    Limit(u64),
    Refused(u16),
}

/// What the next requests for a page meet.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refused until so many seconds from then: status, and whether `Retry-After` or only a reset says so.
    Limit {
        status: u16,
        seconds: u64,
        told_by: ToldBy,
    },
    /// Answered, and asked to wait so many seconds.
    SlowDown(u64),
    /// The connection breaks in the middle of the body.
    Breaks,
    /// A proxy has lost the rest of the body, and says that it is whole.
    Cut,
    Status(u16),
    /// A page for people.
    SignIn(u16),
    /// From now on no token is good until another is set.
    TokenExpires,
    /// A reply that asks for more than it gives: half a page, as JIRA does.
    Short,
    /// The place that was asked for is no longer known.
    CursorExpired,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToldBy {
    RetryAfter,
    Reset,
    /// Only the text says that it is a limit.
    Text,
}

/// A hook that runs before a page is answered: it may change the world.
type Hook = Box<dyn Fn(u64, &mut BTreeMap<u64, Issue>) + Send>;

#[derive(Default)]
pub struct State {
    pub issues: Mutex<BTreeMap<u64, Issue>>,
    /// The items as they are later, for who comes with [`LATER_TOKEN`].
    pub later: Mutex<BTreeMap<u64, Issue>>,
    /// By the number of the request for a page, from 1.
    pub faults: Mutex<HashMap<u64, Fault>>,
    hook: Mutex<Option<Hook>>,
    /// `METHOD path?query` and the moment of every request.
    pub requests: Mutex<Vec<(String, SystemTime)>>,
    pub pages: AtomicU64,
    token: Mutex<String>,
    latency: Mutex<Duration>,
    pub limited_until: Mutex<Option<(SystemTime, Fault)>>,
    /// Requests that came while none should.
    pub while_limited: AtomicU64,
    /// GitHub: pages have numbers, as they had, and end at ten thousand.
    pub numbered_pages: AtomicBool,
    /// GitHub: requests that are left, when that is told.
    pub quota: Mutex<Option<(u64, u64)>>,
    /// GitHub: a name under which the repository was known, and its name today.
    pub moved: Mutex<Option<(String, String)>>,
    /// GitHub: another repository was made under the old one's name.
    pub replaced: AtomicBool,
    /// GitHub: issues are switched off.
    pub gone: AtomicBool,
    /// GitHub: labels of whoever asks are dropped without a word, as of one who may not triage.
    pub drops_labels: AtomicBool,
    pub data_center: AtomicBool,
    /// Azure DevOps: the feed of revisions may not be read.
    pub no_feed: AtomicBool,
    /// Azure DevOps: an older server, which knows HTML alone.
    pub html_only: AtomicBool,
    /// GitHub's milestones by their numbers.
    pub milestones: Mutex<BTreeMap<u64, String>>,
    /// Requests that write: `METHOD path`, and when they came.
    pub writes: Mutex<Vec<(String, SystemTime)>>,
    /// What was written: `METHOD path` and the body.
    pub bodies: Mutex<Vec<(String, Value)>>,
    /// By the number of the write, from 1.
    pub write_faults: Mutex<HashMap<u64, WriteFault>>,
    /// What was made is not found by a search before so long.
    pub index_lag: Mutex<Duration>,
    /// Runs before each write, with its number: somebody else is faster.
    write_hook: Mutex<Option<Hook>>,
}

pub struct Trackers {
    pub address: SocketAddr,
    pub state: Arc<State>,
    stop: Arc<AtomicBool>,
}

impl Trackers {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        TOKEN.clone_into(&mut state.token.lock().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (state.clone(), stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let state = shared.clone();
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let _ = converse(&state, stream);
                });
            }
        });
        Self { address, state, stop }
    }

    /// A tracker with so many items: epics that hold the stories after them, steps of stories, some closed, some
    /// nobody's, several of one moment.
    pub fn seeded(count: u64) -> Self {
        let trackers = Self::start();
        seed(&mut trackers.issues(), count);
        trackers
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables that lead a client here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GITHUB_API_URL", format!("{}/api/v3", self.url())),
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("JIRA_DOMAIN", self.url()),
            ("JIRA_EMAIL", "dev@example.org".to_owned()),
            ("JIRA_API_TOKEN", TOKEN.to_owned()),
            ("AZURE_DEVOPS_ORG_URL", format!("{}/acme", self.url())),
            ("AZURE_DEVOPS_PAT", TOKEN.to_owned()),
        ]
    }

    pub fn issues(&self) -> MutexGuard<'_, BTreeMap<u64, Issue>> {
        self.state.issues.lock().unwrap()
    }

    pub fn add(&self, issue: Issue) {
        self.issues().insert(issue.number, issue);
    }

    /// Changes an item, now.
    pub fn edit(&self, number: u64, change: impl FnOnce(&mut Issue)) {
        let mut issues = self.issues();
        let issue = issues.get_mut(&number).expect("there is such an item");
        change(issue);
        issue.touch();
    }

    /// Lets the request number `page` for a page, counted from now, meet a fault.
    pub fn fault(&self, page: u64, fault: Fault) {
        let page = self.state.pages.load(Ordering::SeqCst) + page;
        self.state.faults.lock().unwrap().insert(page, fault);
    }

    /// Runs before each page, with its number.
    pub fn before_page(&self, hook: impl Fn(u64, &mut BTreeMap<u64, Issue>) + Send + 'static) {
        *self.state.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Lets the write number `write`, counted from now, meet a fault.
    pub fn write_fault(&self, write: u64, fault: WriteFault) {
        let write = self.state.writes.lock().unwrap().len() as u64 + write;
        self.state.write_faults.lock().unwrap().insert(write, fault);
    }

    pub fn before_write(&self, hook: impl Fn(u64, &mut BTreeMap<u64, Issue>) + Send + 'static) {
        *self.state.write_hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// The writes so far, as `METHOD path`.
    pub fn writes(&self) -> Vec<String> {
        self.state.writes.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    pub fn forget_writes(&self) {
        self.state.writes.lock().unwrap().clear();
    }

    pub fn issue(&self, number: u64) -> Issue {
        self.issues()[&number].clone()
    }

    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.state.token.lock().unwrap());
    }

    pub fn set_latency(&self, latency: Duration) {
        *self.state.latency.lock().unwrap() = latency;
    }

    pub fn pages(&self) -> u64 {
        self.state.pages.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    pub fn forget_requests(&self) {
        self.state.requests.lock().unwrap().clear();
    }

    /// The moment at which the limit opens.
    pub fn limited_until(&self) -> Option<SystemTime> {
        self.state.limited_until.lock().unwrap().as_ref().map(|(until, _)| *until)
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

pub fn seed(issues: &mut BTreeMap<u64, Issue>, count: u64) {
    let start = now() - count * 60 - 3_600;
    let mut epic = None;
    let mut story = None;
    for number in 1..=count {
        let mut issue = Issue::new(number, &format!("Item number {number}"));
        issue.created = start + number * 60;
        // Several share a moment, as after an import of their own.
        issue.updated = start + number / 7 * 7 * 60;
        issue.phase = match number % 5 {
            0 => Phase::Closed,
            1 => Phase::Active,
            _ => Phase::Open,
        };
        issue.nobody = number % 13 == 0;
        issue.labels = match number % 4 {
            0 => vec!["bug".to_owned(), "P1".to_owned()],
            1 => vec!["billing".to_owned()],
            _ => Vec::new(),
        };
        if number % 50 == 1 {
            issue.kind = Kind::Epic;
            epic = Some(number);
        } else if number % 10 == 0 {
            issue.kind = Kind::Task;
            issue.parent = story;
        } else {
            issue.kind = if number % 6 == 0 { Kind::Bug } else { Kind::Story };
            // Some have no parent.
            issue.parent = epic.filter(|_| number % 8 != 0);
            story = Some(number);
        }
        issue.body = format!(
            "As a user I want number {number}.\n\n{}\n\n## Acceptance Criteria\n\n- [ ] it works\n- [x] it is number {number}",
            "It should behave as its description says, in every case that is named here. ".repeat(8)
        );
        issue.criteria = format!("<ul><li>it works</li><li>it is number {number}</li></ul>");
        issues.insert(number, issue);
    }
}

/// A reply before it is sent.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(value: &Value) -> Self {
        Self::status(200, value)
    }

    pub fn status(status: u16, value: &Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: value.to_string().into_bytes() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Reply {
    /// The connection breaks without a word.
    fn nothing() -> Self {
        Self { status: 0, headers: Vec::new(), body: Vec::new() }
    }
}

impl State {
    /// Whether a search does not know an item yet.
    fn is_hidden(&self, issue: &Issue) -> bool {
        let lag = *self.index_lag.lock().unwrap();
        issue.made.is_some_and(|made| made.elapsed().unwrap_or_default() < lag)
    }

    /// The items that a request sees.
    fn world(&self, request: &Request) -> MutexGuard<'_, BTreeMap<u64, Issue>> {
        match given_token(request).as_deref() {
            Some(LATER_TOKEN) => self.later.lock().unwrap(),
            _ => self.issues.lock().unwrap(),
        }
    }
}

/// The secret that a request brings, whatever the scheme.
fn given_token(request: &Request) -> Option<String> {
    use base64::Engine;
    let given = request.headers.get("authorization")?;
    match given.split_once(' ')? {
        ("Basic", encoded) => {
            let pair = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
            Some(String::from_utf8(pair).ok()?.split_once(':')?.1.to_owned())
        }
        (_, token) => Some(token.to_owned()),
    }
}

fn converse(state: &State, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        let line = format!("{} {}?{}", request.method, request.path, request.query);
        state.requests.lock().unwrap().push((line, SystemTime::now()));
        let latency = *state.latency.lock().unwrap();
        thread::sleep(latency);
        let (reply, breaks) = answer(state, &request);
        if reply.status == 0 {
            return Ok(());
        }
        let more: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let kind = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let kind = kind.map_or("text/plain", |(_, kind)| kind.as_str());
        let others = more.lines().filter(|line| !line.to_lowercase().starts_with("content-type:"));
        let others: String = others.map(|line| format!("{line}\r\n")).collect();
        let out = stream.get_mut();
        out.write_all(head(reply.status, kind, reply.body.len(), &others).as_bytes())?;
        if breaks {
            out.write_all(&reply.body[..reply.body.len() / 2])?;
            return out.flush();
        }
        if request.method != "HEAD" {
            out.write_all(&reply.body)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Which face a path is looked at by.
#[derive(Clone, Copy, PartialEq)]
pub enum Face {
    GitHub,
    Jira,
    Ado,
}

fn face(path: &str) -> Face {
    match path {
        _ if path.starts_with("/rest/api/") => Face::Jira,
        _ if path.contains("/_apis/") || path.starts_with("/acme") => Face::Ado,
        _ => Face::GitHub,
    }
}

/// The reply, and whether the connection breaks in its middle.
fn answer(state: &State, request: &Request) -> (Reply, bool) {
    let face = face(&request.path);
    if request.method == "OPTIONS" {
        return (ado::answer(state, request), false);
    }
    if let Some(refusal) = while_limited(state, face) {
        return (refusal, false);
    }
    if !is_authorized(state, request, face) {
        return (unauthorized(face), false);
    }
    if is_write(request) {
        return write(state, request, face);
    }
    let mut fault = None;
    if is_page(request, face) {
        let page = state.pages.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(hook) = &*state.hook.lock().unwrap() {
            hook(page, &mut state.issues.lock().unwrap());
        }
        fault = state.faults.lock().unwrap().remove(&page);
    }
    match &fault {
        Some(limit @ Fault::Limit { seconds, .. }) => {
            let until = SystemTime::now() + Duration::from_secs(*seconds);
            *state.limited_until.lock().unwrap() = Some((until, limit.clone()));
            return (refusal(limit, until, face), false);
        }
        Some(Fault::Status(status)) => {
            return (Reply::status(*status, &json!({"message": "as was asked"})), false);
        }
        Some(Fault::SignIn(status)) => {
            let page = b"<html><title>Sign In</title></html>".to_vec();
            let headers = vec![("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())];
            return (Reply { status: *status, headers, body: page }, false);
        }
        Some(Fault::TokenExpires) => {
            "another-token".clone_into(&mut state.token.lock().unwrap());
            return (unauthorized(face), false);
        }
        Some(Fault::CursorExpired) => {
            let text = "the place is no longer known; use cursor based pagination";
            return (
                Reply::status(if face == Face::GitHub { 422 } else { 400 }, &json!({"message": text})),
                false,
            );
        }
        _ => {}
    }
    let short = matches!(fault, Some(Fault::Short));
    let reply = match face {
        Face::GitHub => github::answer(state, request),
        Face::Jira => jira::answer(state, request, short),
        Face::Ado => ado::answer(state, request),
    };
    match fault {
        Some(Fault::SlowDown(seconds)) => (reply.with("Retry-After", seconds.to_string()), false),
        Some(Fault::Breaks) => (reply, true),
        Some(Fault::Cut) => {
            let body = reply.body[..reply.body.len() / 2].to_vec();
            (Reply { body, ..reply }, false)
        }
        _ => (reply, false),
    }
}

fn is_write(request: &Request) -> bool {
    let path = request.path.to_lowercase();
    let asks = ["/search/jql", "/approximate-count", "/wiql", "/workitemsbatch", "/search"];
    request.method != "GET" && request.method != "HEAD" && !asks.iter().any(|end| path.ends_with(end))
}

fn write(state: &State, request: &Request, face: Face) -> (Reply, bool) {
    let number = {
        let mut writes = state.writes.lock().unwrap();
        writes.push((format!("{} {}", request.method, request.path), SystemTime::now()));
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        state.bodies.lock().unwrap().push((format!("{} {}", request.method, request.path), body));
        writes.len() as u64
    };
    if let Some(hook) = &*state.write_hook.lock().unwrap() {
        hook(number, &mut state.issues.lock().unwrap());
    }
    let answer = || match face {
        Face::GitHub => github::answer(state, request),
        Face::Jira => jira::answer(state, request, false),
        Face::Ado => ado::answer(state, request),
    };
    let fault = state.write_faults.lock().unwrap().remove(&number);
    let reply = match fault {
        None => answer(),
        Some(WriteFault::LosesRequest) => Reply::nothing(),
        Some(WriteFault::LosesReply) => {
            answer();
            Reply::nothing()
        }
        Some(WriteFault::DoneAnd(status)) => {
            answer();
            Reply::status(status, &json!({"message": "as was asked"}))
        }
        Some(WriteFault::Limit(seconds)) => {
            let until = SystemTime::now() + Duration::from_secs(seconds);
            let limit = Fault::Limit { status: 403, seconds, told_by: ToldBy::RetryAfter };
            *state.limited_until.lock().unwrap() = Some((until, limit.clone()));
            refusal(&limit, until, face)
        }
        Some(WriteFault::Refused(403)) => {
            Reply::status(403, &json!({"message": "you may not change this one"}))
        }
        Some(WriteFault::Refused(status)) => Reply::status(status, &json!({"message": "Validation Failed"})),
    };
    (reply, false)
}

/// A number for a new item.
fn next_number(issues: &BTreeMap<u64, Issue>) -> u64 {
    issues.keys().next_back().copied().unwrap_or(0) + 1
}

fn is_page(request: &Request, face: Face) -> bool {
    match face {
        Face::GitHub => {
            request.path.ends_with("/issues")
                && !request.path.ends_with("/search/issues")
                && request.method == "GET"
        }
        Face::Jira => {
            request.path.ends_with("/search/jql")
                || (request.path.ends_with("/2/search") && !request.query.contains("maxResults=0"))
        }
        Face::Ado => {
            request.path.ends_with("/workitemrevisions") || request.path.ends_with("/workitemsbatch")
        }
    }
}

fn while_limited(state: &State, face: Face) -> Option<Reply> {
    let mut limited = state.limited_until.lock().unwrap();
    let (until, limit) = limited.clone()?;
    if SystemTime::now() >= until {
        *limited = None;
        return None;
    }
    state.while_limited.fetch_add(1, Ordering::SeqCst);
    Some(refusal(&limit, until, face))
}

fn refusal(limit: &Fault, until: SystemTime, face: Face) -> Reply {
    let Fault::Limit { status, told_by, .. } = limit else { unreachable!() };
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    let reset = until.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let message = match told_by {
        ToldBy::Text => {
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        }
        _ => "API rate limit exceeded for user ID 1.",
    };
    let reply = Reply::status(*status, &json!({"message": message, "documentation_url": "https://docs"}));
    match (told_by, face) {
        (ToldBy::RetryAfter, _) => reply.with("Retry-After", left.as_secs_f64().ceil().to_string()),
        (ToldBy::Reset, Face::Jira) => reply
            .with("X-RateLimit-Remaining", "0")
            .with("X-RateLimit-Reset", specweave_jobs::clock::iso(reset as i64 * 1000)),
        (ToldBy::Reset, _) => {
            reply.with("X-RateLimit-Remaining", "0").with("X-RateLimit-Reset", reset.to_string())
        }
        (ToldBy::Text, _) => reply,
    }
}

fn is_authorized(state: &State, request: &Request, face: Face) -> bool {
    use base64::Engine;
    let token = match given_token(request) {
        Some(later) if later == LATER_TOKEN => later,
        _ => state.token.lock().unwrap().clone(),
    };
    let Some(given) = request.headers.get("authorization") else { return false };
    let basic = |user: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{token}"));
        *given == format!("Basic {encoded}")
    };
    let bearer = *given == format!("Bearer {token}") || *given == format!("token {token}");
    match face {
        Face::GitHub => bearer,
        Face::Jira => basic("dev@example.org") || (bearer && state.data_center.load(Ordering::Relaxed)),
        Face::Ado => basic("") || basic("PAT"),
    }
}

fn unauthorized(face: Face) -> Reply {
    match face {
        Face::GitHub => Reply::status(401, &json!({"message": "Bad credentials"})),
        Face::Jira => Reply::status(
            401,
            &json!({"errorMessages": ["Client must be authenticated to access this resource."]}),
        ),
        Face::Ado => {
            let headers = vec![("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())];
            Reply { status: 203, headers, body: b"<html>Azure DevOps Services | Sign In</html>".to_vec() }
        }
    }
}

/// The parameters of a query, decoded.
pub fn parameters(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

pub fn iso(seconds: u64) -> String {
    let text = specweave_jobs::clock::iso(seconds as i64 * 1000);
    format!("{}Z", &text[..19])
}
