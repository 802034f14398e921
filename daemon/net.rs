//! The HTTP client of one job: one pool of connections and TLS sessions, the system's certificates, the
//! caller's proxies and authorities. Who asks bounds each silence: see [`silence`].

pub mod deadline;
pub mod git_settings;
pub mod secrets;
pub mod silence;

use crate::net::git_settings::GitSettings;
use crate::net::secrets::{Login, Secrets};
use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use specweave_jobs::disk;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};
use url::Url;

/// A remote that does not take a connection for so long is unreachable.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot read the certificates in {path}")]
    Certificates { path: String, source: io::Error },
    #[error("{path} holds no certificates")]
    NoCertificates { path: String, source: reqwest::Error },
    #[error("the proxy address is not valid")]
    Proxy(#[source] reqwest::Error),
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
}

/// A remote's wait shorter than this stays inside the job.
pub const SHORT_WAIT: Duration = Duration::from_secs(30);

/// So many of them, and then the job pauses after all.
pub const MOST_SHORT_WAITS: u32 = 5;

/// How long a remote may be silent in the middle of an answer: 30 seconds, or
/// `SPECWEAVE_JOBS_STALL_SECONDS` of the daemon's environment.
pub fn stall_deadline() -> Duration {
    // It bounds every piece of every answer.
    static DEADLINE: LazyLock<Duration> = LazyLock::new(|| {
        let seconds = std::env::var("SPECWEAVE_JOBS_STALL_SECONDS").ok().and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(30))
    });
    *DEADLINE
}

/// What a client is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Packs are compressed already.
    Git,
    /// A page of issues is six times smaller on its way.
    Trackers,
}

/// Whether this machine has no certificates of authorities, as a bare container.
static NO_AUTHORITIES: AtomicBool = AtomicBool::new(false);

/// The client for everything that one job asks of the network.
pub fn client(secrets: &Secrets, git: &GitSettings, purpose: Use) -> Result<reqwest::Client, NetError> {
    let own = own_authorities(secrets, git)?;
    let with_systems = builder(secrets, git, purpose)?.tls_certs_merge(own.clone()).build();
    with_systems.or_else(|error| {
        // Where the system has no authorities, plain HTTP and those that the caller names still work.
        let without = builder(secrets, git, purpose)?.tls_certs_only(own).build();
        let client = without.map_err(|_| NetError::Client(error))?;
        NO_AUTHORITIES.store(true, Ordering::Relaxed);
        Ok(client)
    })
}

/// The authorities that the caller and git's settings name.
fn own_authorities(secrets: &Secrets, git: &GitSettings) -> Result<Vec<reqwest::Certificate>, NetError> {
    let mut all = secrets.setting("SSL_CERT_DIR").map(certificates_in).unwrap_or_default();
    let files = [secrets.setting("GIT_SSL_CAINFO"), secrets.setting("SSL_CERT_FILE"), git.ca_file()];
    for path in files.into_iter().flatten() {
        let pem =
            fs::read(path).map_err(|source| NetError::Certificates { path: path.to_owned(), source })?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|source| NetError::NoCertificates { path: path.to_owned(), source })?;
        all.extend(certificates);
    }
    Ok(all)
}

fn builder(secrets: &Secrets, git: &GitSettings, purpose: Use) -> Result<reqwest::ClientBuilder, NetError> {
    let mut builder = reqwest::Client::builder()
        .gzip(purpose == Use::Trackers)
        .user_agent(concat!("git/2 (specweave-jobs ", env!("CARGO_PKG_VERSION"), ")"))
        .connect_timeout(CONNECT_DEADLINE)
        // Followed by hand, so that logins and extra headers are chosen anew for each server.
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(64)
        .no_proxy();
    let none = secrets.setting("NO_PROXY").and_then(reqwest::NoProxy::from_string);
    let everything = secrets.setting("ALL_PROXY").or(git.proxy());
    if let Some(address) = secrets.setting("HTTPS_PROXY").or(everything) {
        let proxy = reqwest::Proxy::https(address).map_err(NetError::Proxy)?;
        builder = builder.proxy(proxy.no_proxy(none.clone()));
    }
    if let Some(address) = secrets.setting("HTTP_PROXY").or(everything) {
        let proxy = reqwest::Proxy::http(address).map_err(NetError::Proxy)?;
        builder = builder.proxy(proxy.no_proxy(none));
    }
    Ok(builder)
}

/// The certificates in the files of a folder; what is none is passed over, as every program does that reads such a folder.
fn certificates_in(folder: &str) -> Vec<reqwest::Certificate> {
    let files = disk::read_folder(std::path::Path::new(folder)).unwrap_or_default();
    let paths = files.into_iter().map(|(name, _)| std::path::Path::new(folder).join(name));
    // They are links by the names that OpenSSL looks for.
    let texts = paths.filter(|path| path.is_file()).filter_map(|path| fs::read(path).ok());
    texts.filter_map(|text| reqwest::Certificate::from_pem_bundle(&text).ok()).flatten().collect()
}

/// The basic authorization of a login; marked so that no log shows it.
pub fn authorization(login: &Login) -> Option<HeaderValue> {
    let pair = format!("{}:{}", login.user, login.secret.reveal());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A token as the bearer scheme wants it; marked so that no log shows it.
pub fn bearer(login: &Login) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", login.secret.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Adds the login and the headers that the user's git configuration wants for `url`.
pub fn authorized(
    mut request: reqwest::RequestBuilder,
    url: &Url,
    login: Option<&Login>,
    git: &GitSettings,
) -> reqwest::RequestBuilder {
    let extra = git.extra_headers(url);
    // Two of them, and a strict server answers neither.
    let has_own = extra.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
    if let Some(value) = login.filter(|_| !has_own).and_then(authorization) {
        request = request.header(AUTHORIZATION, value);
    }
    for (name, value) in extra {
        request = request.header(name, value);
    }
    request
}

/// Redirects are followed this far.
pub const MOST_REDIRECTS: usize = 5;

/// Where a reply leads instead, if it is a redirect. Never from an encrypted server to a plain one.
pub fn redirected(reply: &reqwest::Response) -> Option<Url> {
    let to = reply.headers().get(LOCATION).filter(|_| reply.status().is_redirection())?;
    let to = reply.url().join(to.to_str().ok()?).ok()?;
    (to.scheme() == "https" || reply.url().scheme() == to.scheme()).then_some(to)
}

/// When a reply asks to wait, for how long: `Retry-After` in seconds or as a date, or GitHub's reset moment. A
/// remote can neither have itself asked without a pause nor put a job off for ever.
pub fn asked_to_wait(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(2 * 3600);
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let wait = match text("retry-after") {
        Some(after) => match after.parse() {
            // JIRA's Data Center says so with every reply: go on.
            Ok(0) => return None,
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => until(chrono::DateTime::parse_from_rfc2822(after).ok()?.timestamp()),
        },
        None if text("x-ratelimit-remaining").is_none_or(|left| left == "0") => {
            until(reset(text("x-ratelimit-reset")?)?)
        }
        None => return None,
    };
    Some(wait.clamp(LEAST, MOST))
}

/// GitHub and Azure DevOps tell the moment in seconds since 1970, JIRA as a date, at times without seconds.
fn reset(text: &str) -> Option<i64> {
    let date = || chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp());
    let minute = || {
        let at = chrono::NaiveDateTime::parse_from_str(text.strip_suffix('Z')?, "%Y-%m-%dT%H:%M").ok()?;
        Some(at.and_utc().timestamp())
    };
    text.parse().ok().or_else(date).or_else(minute)
}

fn until(epoch_seconds: i64) -> Duration {
    // A second more: the remote's clock and ours need not agree to the second.
    let left = epoch_seconds.saturating_add(1) - specweave_jobs::clock::now() / 1000;
    Duration::from_secs(left.max(1) as u64)
}

/// The last cause of a chain.
pub fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// An error with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The innermost cause of an HTTP failure, in words; addresses may carry secrets and are left out.
pub fn cause(error: &reqwest::Error) -> String {
    let innermost = innermost(error);
    if error.is_timeout() {
        return format!("no connection within {} s", CONNECT_DEADLINE.as_secs());
    }
    if std::ptr::addr_eq(innermost, error as &dyn std::error::Error) {
        return error.to_string().split(" for url").next().unwrap_or_default().to_owned();
    }
    let is_unknown = matches!(
        innermost.downcast_ref(),
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
    );
    if is_unknown && NO_AUTHORITIES.load(Ordering::Relaxed) {
        return "this machine has no certificates of authorities: install ca-certificates, or set SSL_CERT_FILE".into();
    }
    innermost.to_string()
}
