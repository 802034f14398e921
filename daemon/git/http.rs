//! Git over HTTP(S): two or three requests over the job's shared pool of connections.

use crate::git::wire::{self, Dialect, PacketReader, RemoteRefs};
use crate::git::{CloneError, Engine, PackStream, Reader};
use crate::net;
use crate::net::secrets::Login;
use crate::net::silence;
use futures_util::TryStreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use std::io;
use std::time::Duration;
use tokio_util::io::StreamReader;
use url::Url;

/// An open conversation about one repository.
pub struct Transport<'a> {
    engine: &'a Engine,
    /// The repository's address after redirects, without a trailing slash.
    base: Url,
    login: Option<Login>,
    dialect: Dialect,
}

/// Sent with every request; a server that does not know it answers in the old way.
const VERSION_HEADER: (&str, &str) = ("git-protocol", "version=2");

impl<'a> Transport<'a> {
    /// Asks what the repository at `url` has.
    pub async fn open(
        engine: &'a Engine,
        url: &Url,
        given: Option<&Login>,
    ) -> Result<(Self, RemoteRefs), CloneError> {
        // The first one finds out how a server speaks, and the others wait for it rather than asking the same.
        let _pioneer = match engine.known_v2(url) {
            None => engine.pioneer(url).await,
            Some(_) => None,
        };
        match Self::open_known(engine, url, given).await {
            Some(Ok(opened)) => return Ok(opened),
            // Asked once more, it would say so once more.
            Some(Err(error @ (CloneError::Stalled(_) | CloneError::Limited(_)))) => return Err(error),
            _ => {}
        }
        let mut base = url.clone();
        let mut redirects = 0;
        let (response, login) = loop {
            // A repository that was renamed keeps its login, on its own server only.
            let has_moved_away = base.origin() != url.origin();
            let mut login = match given.filter(|_| !has_moved_away) {
                Some(given) => Some(given.clone()),
                None => engine.secrets.first_login(if has_moved_away { &base } else { url }).await,
            };
            let mut response = Self::ask(engine, &base, login.as_ref()).await?;
            if response.status() == StatusCode::UNAUTHORIZED
                && let Some(second) = engine.secrets.second_login(&base).await
            {
                login = Some(second);
                response = Self::ask(engine, &base, login.as_ref()).await?;
            }
            match net::redirected(&response) {
                // A moved repository answers with the new place of what was asked for.
                Some(mut to) if redirects < net::MOST_REDIRECTS && to.path().ends_with("/info/refs") => {
                    to.set_query(None);
                    let path = to.path().trim_end_matches("/info/refs").to_owned();
                    to.set_path(&path);
                    (base, redirects) = (to, redirects + 1);
                }
                _ => break (response, login),
            }
        };
        let response = check(response, login.is_some()).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-git-upload-pack-advertisement" => {}
            // Azure DevOps answers a bad token with its sign-in page.
            "text/html" if response.status() != StatusCode::OK => {
                return Err(CloneError::Auth("the server answered with a sign-in page".into()));
            }
            "text/html" => {
                return Err(CloneError::Page(format!(
                    "the server answered {kind:?}, which is no git repository"
                )));
            }
            _ => {
                return Err(CloneError::Inexact(format!(
                    "the server answered {kind:?}, as one does that only gives files"
                )));
            }
        }
        let mut reader = PacketReader::new(body(response), engine.stall);
        let (dialect, refs) = wire::read_advertisement(&mut reader).await?;
        let session = Self { engine, base, login, dialect };
        match &session.dialect {
            Dialect::V0 { .. } => Ok((session, refs)),
            Dialect::V2 { capabilities } => {
                let refs = session.list_refs(capabilities).await?;
                // A repository that moved says nothing about the others of its old address.
                if redirects == 0 {
                    engine.remember_v2(url, capabilities);
                }
                Ok((session, refs))
            }
        }
    }

    /// Skips the advertisement of a server that has already shown how it speaks: one round trip less. Whatever
    /// goes wrong here is found out, and named, by asking in full.
    async fn open_known(
        engine: &'a Engine,
        url: &Url,
        given: Option<&Login>,
    ) -> Option<Result<(Self, RemoteRefs), CloneError>> {
        let capabilities = engine.known_v2(url)?;
        let login = match given {
            Some(given) => Some(given.clone()),
            None => engine.secrets.first_login(url).await,
        };
        let dialect = Dialect::V2 { capabilities: capabilities.to_vec() };
        let session = Self { engine, base: url.clone(), login, dialect };
        Some(session.list_refs(&capabilities).await.map(|refs| (session, refs)))
    }

    async fn list_refs(&self, capabilities: &[String]) -> Result<RemoteRefs, CloneError> {
        let request = wire::ls_refs_request(capabilities);
        let mut reader = PacketReader::new(self.post(request).await?, self.engine.stall);
        wire::read_ls_refs(&mut reader).await
    }

    /// Asks for a pack with everything that `wants` reach.
    pub async fn fetch(self, wants: &[git2::Oid], depth: u32) -> Result<PackStream, CloneError> {
        let request = wire::fetch_request(&self.dialect, wants, depth);
        let reader = PacketReader::new(self.post(request).await?, self.engine.stall);
        PackStream::begin(reader, &self.dialect, depth).await
    }

    async fn ask(engine: &Engine, url: &Url, login: Option<&Login>) -> Result<Response, CloneError> {
        let mut address = url.clone();
        address.set_path(&format!("{}/info/refs", url.path().trim_end_matches('/')));
        address.set_query(Some("service=git-upload-pack"));
        let request = engine.http.get(address).header(VERSION_HEADER.0, VERSION_HEADER.1);
        let request = net::authorized(request, url, login, &engine.settings);
        engine.sent(request).await
    }

    async fn post(&self, body_bytes: Vec<u8>) -> Result<Reader, CloneError> {
        let mut address = self.base.clone();
        address.set_path(&format!("{}/git-upload-pack", self.base.path().trim_end_matches('/')));
        let mut request = self
            .engine
            .http
            .post(address)
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(body_bytes);
        if matches!(self.dialect, Dialect::V2 { .. }) {
            request = request.header(VERSION_HEADER.0, VERSION_HEADER.1);
        }
        let request = net::authorized(request, &self.base, self.login.as_ref(), &self.engine.settings);
        let response = self.engine.sent(request).await?;
        Ok(body(check(response, self.login.is_some()).await?))
    }
}

fn body(response: Response) -> Reader {
    let chunks = response
        .bytes_stream()
        .map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, net::cause(&error)));
    Box::new(StreamReader::new(chunks))
}

/// One reading of every status, with what the server says in plain words.
async fn check(response: Response, with_login: bool) -> Result<Response, CloneError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let said = words(response).await;
    let mut error = refused(status, &headers, with_login);
    if let CloneError::Auth(text)
    | CloneError::Forbidden(text)
    | CloneError::NotFound(text)
    | CloneError::Remote(text) = &mut error
        && !said.is_empty()
    {
        text.push_str(&format!(": {said}"));
    }
    Err(error)
}

/// The text of a refusal, where it is one for terminals.
async fn words(mut response: Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.starts_with("text/plain") {
        return String::new();
    }
    let mut text = Vec::new();
    while let Ok(Ok(Some(chunk))) = silence::broken_within(net::stall_deadline(), response.chunk()).await {
        text.extend_from_slice(&chunk);
        if text.len() > MOST_WORDS {
            break;
        }
    }
    text.truncate(MOST_WORDS);
    let text = String::from_utf8_lossy(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Of what a server says, so many bytes are kept.
const MOST_WORDS: usize = 1_000;

/// What a status that is no success means.
fn refused(status: StatusCode, headers: &HeaderMap, with_login: bool) -> CloneError {
    let wait = net::asked_to_wait(headers);
    match status {
        StatusCode::UNAUTHORIZED if with_login => {
            CloneError::Auth("Authentication failed - the token was refused".into())
        }
        StatusCode::UNAUTHORIZED => {
            let wants = headers.get(WWW_AUTHENTICATE).is_some();
            CloneError::Auth(if wants {
                "Authentication failed - no credentials were found for this server".into()
            } else {
                "Authentication failed".into()
            })
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::FORBIDDEN
            if wait.is_some() || status == StatusCode::TOO_MANY_REQUESTS =>
        {
            CloneError::Limited(wait.unwrap_or(Duration::from_secs(60)))
        }
        StatusCode::FORBIDDEN => CloneError::Forbidden("Permission denied".into()),
        StatusCode::NOT_FOUND | StatusCode::GONE => CloneError::NotFound(if with_login {
            "repository not found, or the token may not see it".into()
        } else {
            "repository not found, or it is private and no credentials were found".into()
        }),
        // Azure DevOps answers a bad token by leading to its sign-in page.
        status if status.is_redirection() => CloneError::Auth(format!(
            "Authentication failed - the server answered {status} instead of the repository"
        )),
        status if status.is_server_error() => CloneError::Troubled(format!("the server answered {status}")),
        status => CloneError::Remote(format!("the server answered {status}")),
    }
}
