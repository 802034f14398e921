//! One tracker's server as one job sees it: asks it at the pace that it wants, tries again what may pass, and follows
//! it no further than a token may go.

use crate::net;
use crate::net::deadline::Deadline;
use crate::net::secrets::Login;
use crate::net::silence;
use crate::trackers::edits::WriteError;
use crate::trackers::pace::Gate;
use crate::trackers::{TrackerError, classify};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use specweave_jobs::clock::{self, Millis};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Pauses before another attempt after a failure that may pass.
const RETRY_PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(6)];

/// A reply larger than this is not read: a hundred items of the longest texts are smaller.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// How a server is told who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Basic,
    Bearer,
}

/// How one run asks trackers.
#[derive(Clone)]
pub struct Session {
    pub http: reqwest::Client,
    pub cancel: CancellationToken,
    /// Told what is waited for.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// Somebody wants a limit to be asked about once more, before its moment.
    pub insists: bool,
}

impl Session {
    /// A session that tells nobody and ends with the future that asks.
    pub fn quiet(http: reqwest::Client) -> Self {
        Self { http, cancel: CancellationToken::new(), notice: Arc::new(|_| ()), insists: false }
    }
}

pub struct Server {
    session: Session,
    pub base: Url,
    login: Option<Login>,
    scheme: Scheme,
    headers: HeaderMap,
    pub gate: Arc<Gate>,
    /// By how many milliseconds the server's clock is ahead of ours, once it has said so.
    ahead: Mutex<Option<Millis>>,
    /// The newest version of its interface that the server has, once it has refused a newer one.
    version: OnceLock<String>,
}

/// The parameter by which Azure DevOps is told which version of its interface is meant.
const VERSION: &str = "api-version";

/// The version that an older server names when it refuses a newer one.
fn supported_version(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("out of range for this server")?;
    let (_, rest) = rest.split_once("supports is ")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_end_matches('.');
    (!version.is_empty()).then(|| version.to_owned())
}

/// What is asked.
pub struct Ask<'a> {
    /// What a person would call it.
    pub what: &'a str,
    pub method: Method,
    pub address: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    pub fn get(what: &'a str, address: Url) -> Self {
        Self { what, method: Method::GET, address, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub fn post(what: &'a str, address: Url, body: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(body).expect("plain data serialises").into();
        Self { what, method: Method::POST, address, headers, body }
    }

    /// The same with another method.
    pub fn by(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the server led elsewhere on itself.
    pub moved: bool,
}

impl Server {
    pub fn new(
        session: &Session,
        base: Url,
        login: Option<Login>,
        scheme: Scheme,
        headers: HeaderMap,
    ) -> Self {
        let gate = Gate::of(&base, login.as_ref());
        if session.insists {
            gate.open();
        }
        Self {
            session: session.clone(),
            base,
            login,
            scheme,
            headers,
            gate,
            ahead: Mutex::new(None),
            version: OnceLock::new(),
        }
    }

    /// The server's present moment, as far as it is known; whether it is.
    pub fn now(&self) -> (Millis, bool) {
        let ahead = *self.ahead.lock().expect("no holder panics");
        (clock::now() + ahead.unwrap_or(0), ahead.is_some())
    }

    fn read_clock(&self, headers: &HeaderMap) {
        let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
        if let Some(date) = date {
            *self.ahead.lock().expect("no holder panics") = Some(date.timestamp_millis() - clock::now());
        }
    }

    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// The address of `path`, which begins without a slash, below the base.
    pub fn address(&self, path: &str) -> Result<Url, TrackerError> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}"))
            .map_err(|error| TrackerError::Malformed { what: base.to_owned(), cause: error.to_string() })
    }

    /// Asks with `send`, which makes one attempt; waits, tries again and reads the reply as [`classify`] does.
    pub async fn ask_by<F>(&self, what: &str, mut send: impl FnMut() -> F) -> Result<Reply, TrackerError>
    where
        F: Future<Output = Result<Reply, TrackerError>>,
    {
        let mut retries = RETRY_PAUSES.iter();
        let mut waits = 0;
        loop {
            self.pass_gate(&mut waits).await?;
            match self.attempt(what, send()).await {
                Err(TrackerError::Limited(_)) => {}
                Err(error @ (TrackerError::Network(_) | TrackerError::Transient { .. })) => {
                    let Some(pause) = retries.next() else { return Err(error) };
                    (self.session.notice)(&format!("{error}; trying again in {} s", pause.as_secs_f64()));
                    self.sleep(*pause).await?;
                }
                ended => return ended,
            }
        }
    }

    /// Sends what writes: once, whatever becomes of it.
    pub async fn send_once_by<F>(&self, what: &str, send: impl FnOnce() -> F) -> Result<Reply, WriteError>
    where
        F: Future<Output = Result<Reply, TrackerError>>,
    {
        self.pass_gate(&mut 0).await.map_err(WriteError::Refused)?;
        let failed = std::sync::atomic::AtomicBool::new(false);
        let sent = async {
            let sent = send().await;
            let is_theirs = |reply: &Reply| reply.status.is_server_error();
            failed.store(sent.as_ref().is_ok_and(is_theirs), std::sync::atomic::Ordering::Relaxed);
            sent
        };
        let judged = self.attempt(what, sent).await;
        judged.map_err(|error| {
            if failed.into_inner() { WriteError::Unknown(error) } else { WriteError::of_sent(error) }
        })
    }

    pub async fn send_once(&self, ask: Ask<'_>) -> Result<Reply, WriteError> {
        let Ask { what, method, address, headers, body } = ask;
        self.send_once_by(what, || self.exchange(method, address, headers, body)).await
    }

    /// Waits while the server wants to be left alone, unless that takes long.
    async fn pass_gate(&self, waits: &mut u32) -> Result<(), TrackerError> {
        while let Some(wait) = self.gate.closed() {
            if wait >= net::SHORT_WAIT || *waits == net::MOST_SHORT_WAITS {
                return Err(TrackerError::Limited(wait));
            }
            *waits += 1;
            (self.session.notice)(&format!("Rate limited; going on in {} s", wait.as_secs_f64().ceil()));
            self.sleep(wait).await?;
        }
        Ok(())
    }

    /// One exchange and what its reply means, also for the gate.
    async fn attempt(
        &self,
        what: &str,
        send: impl Future<Output = Result<Reply, TrackerError>>,
    ) -> Result<Reply, TrackerError> {
        let sent = tokio::select! {
            () = self.session.cancel.cancelled() => return Err(TrackerError::Cancelled),
            sent = send => sent,
        };
        let judged = sent.and_then(|reply| {
            self.gate.learn(&reply.headers);
            self.read_clock(&reply.headers);
            let head = &reply.body[..reply.body.len().min(64 * 1024)];
            classify::check(what, reply.status, &reply.headers, head)?;
            classify::is_whole(&reply.headers, &reply.body)
                .then_some(reply)
                .ok_or_else(|| TrackerError::Network(format!("{what}: the reply was cut off")))
        });
        match &judged {
            // Azure DevOps delays rather than refuses, and asks to be left alone for a while.
            Ok(reply) if reply.headers.contains_key("retry-after") => {
                if let Some(wait) = net::asked_to_wait(&reply.headers) {
                    self.gate.close(wait);
                }
            }
            Err(TrackerError::Limited(wait)) => self.gate.close(*wait),
            _ => {}
        }
        judged
    }

    pub async fn ask(&self, ask: Ask<'_>) -> Result<Reply, TrackerError> {
        self.ask_by(ask.what, || {
            self.exchange(ask.method.clone(), ask.address.clone(), ask.headers.clone(), ask.body.clone())
        })
        .await
    }

    /// The address with a version of the interface that the server has.
    fn versioned(&self, mut address: Url) -> Url {
        if let Some(version) = self.version.get() {
            let pairs: Vec<(String, String)> = address
                .query_pairs()
                .map(|(name, value)| {
                    let value = if name == VERSION { version.clone() } else { value.into_owned() };
                    (name.into_owned(), value)
                })
                .collect();
            if !pairs.is_empty() {
                address.query_pairs_mut().clear().extend_pairs(pairs);
            }
        }
        address
    }

    /// One exchange, and where the server leads on itself. Nothing is judged, and nothing tried again but with the version
    /// of the interface that the server has: one that it refuses has done nothing.
    pub async fn exchange(
        &self,
        method: Method,
        address: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, TrackerError> {
        let first = self.versioned(address.clone());
        let reply = self.exchange_once(method.clone(), first, headers.clone(), body.clone()).await?;
        let older = (reply.status == StatusCode::BAD_REQUEST && self.version.get().is_none())
            .then(|| supported_version(&reply.body))
            .flatten();
        let Some(older) = older else { return Ok(reply) };
        (self.session.notice)(&format!("The server is older: version {older} of its interface is used"));
        let _ = self.version.set(older);
        self.exchange_once(method, self.versioned(address), headers, body).await
    }

    async fn exchange_once(
        &self,
        method: Method,
        mut address: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, TrackerError> {
        let mut redirects = 0;
        let mut answer = loop {
            let request = self.session.http.request(method.clone(), address.clone());
            let request = request.headers(self.headers.clone()).headers(headers.clone()).body(body.clone());
            let answer = heard(self.authorized(request, &address).send()).await?;
            // A token goes nowhere else: what leads to another server is read as it is.
            let to = net::redirected(&answer).filter(|to| to.origin() == address.origin());
            match to {
                Some(to) if redirects < net::MOST_REDIRECTS && method == Method::GET => {
                    (address, redirects) = (to, redirects + 1);
                }
                _ => break answer,
            }
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = heard(answer.chunk()).await? {
            if body.len() + chunk.len() > MOST_BYTES {
                let cause = format!("it is larger than {MOST_BYTES} bytes");
                return Err(TrackerError::Malformed { what: address.path().to_owned(), cause });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body: body.into(), moved: redirects > 0 })
    }

    fn authorized(&self, request: reqwest::RequestBuilder, address: &Url) -> reqwest::RequestBuilder {
        let Some(login) = self.login.as_ref().filter(|_| address.origin() == self.base.origin()) else {
            return request;
        };
        let value = match self.scheme {
            Scheme::Basic => net::authorization(login),
            Scheme::Bearer => net::bearer(login),
        };
        match value {
            Some(value) => request.header(http::header::AUTHORIZATION, value),
            None => request,
        }
    }

    async fn sleep(&self, wait: Duration) -> Result<(), TrackerError> {
        tokio::select! {
            () = self.session.cancel.cancelled() => Err(TrackerError::Cancelled),
            () = Deadline::after(wait).reached() => Ok(()),
        }
    }
}

/// What the server says, unless it is silent.
async fn heard<T>(saying: impl Future<Output = reqwest::Result<T>>) -> Result<T, TrackerError> {
    let said = silence::broken_within(net::stall_deadline(), saying).await;
    let said = said.map_err(|silence| TrackerError::Network(silence.to_string()))?;
    said.map_err(|error| TrackerError::Network(net::cause(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_servers_version_is_read_from_its_refusal() {
        let said = br#"{"message": "The requested REST API version of 7.1 is out of range for this server. The latest REST API version this server supports is 5.1."}"#;
        assert_eq!(supported_version(said).as_deref(), Some("5.1"));
        assert_eq!(supported_version(br#"{"message": "TF401320: Rule Error"}"#), None);
    }
}
