//! Git over ssh: the system's `ssh`, with the user's configuration, agent and known hosts, and no way to ask
//! a person.

use crate::git::wire::{self, Dialect, PacketReader, RemoteRefs};
use crate::git::{CloneError, Engine, PackStream, Reader};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// Where an ssh address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `user@host` or `host`.
    pub account: String,
    pub port: Option<u16>,
    pub path: String,
}

impl Address {
    /// Reads `ssh://[user@]host[:port]/path` and `[user@]host:path`. `None` for anything else, and for a part
    /// that ssh would take for an option.
    pub fn parse(text: &str) -> Option<Self> {
        let address = match text.strip_prefix("ssh://") {
            Some(_) => {
                let url = url::Url::parse(text).ok()?;
                let host = url.host_str()?;
                let account = match url.username() {
                    "" => host.to_owned(),
                    user => format!("{user}@{host}"),
                };
                let path = url.path();
                // `/~user/..` is relative to that user's home.
                let path = if path.starts_with("/~") { &path[1..] } else { path };
                Self { account, port: url.port(), path: path.to_owned() }
            }
            None => {
                let (account, path) = text.split_once(':')?;
                let is_path = account.contains('/') || path.starts_with("//") || account.is_empty();
                if is_path {
                    return None;
                }
                Self { account: account.to_owned(), port: None, path: path.to_owned() }
            }
        };
        let host = address.host();
        let option = |part: &str| part.is_empty() || part.starts_with('-');
        (!option(&address.account) && !option(host) && !option(&address.path)).then_some(address)
    }

    /// The machine, without the account's name.
    pub fn host(&self) -> &str {
        self.account.rsplit('@').next().unwrap_or_default()
    }
}

/// An open conversation about one repository.
pub struct Transport {
    child: Child,
    stdin: ChildStdin,
    reader: PacketReader<Reader>,
    dialect: Dialect,
}

impl Transport {
    /// Connects and asks what the repository has.
    pub async fn open(engine: &Engine, address: &Address) -> Result<(Self, RemoteRefs), CloneError> {
        let mut command = command(engine, address);
        let mut child =
            command.spawn().map_err(|error| CloneError::Network(format!("cannot start ssh: {error}")))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("both are piped");
        let mut reader: PacketReader<Reader> = PacketReader::new(Box::new(stdout), engine.stall);
        match wire::read_advertisement(&mut reader).await {
            Ok((dialect, refs)) => {
                drain(&mut child);
                Ok((Self { child, stdin, reader, dialect }, refs))
            }
            Err(error) => Err(told_by_ssh(child).await.unwrap_or(error)),
        }
    }

    /// Asks for a pack with everything that `wants` reach.
    pub async fn fetch(mut self, wants: &[git2::Oid], depth: u32) -> Result<PackStream, CloneError> {
        let request = wire::fetch_request(&self.dialect, wants, depth);
        self.stdin.write_all(&request).await.map_err(CloneError::from_stream)?;
        self.stdin.flush().await.map_err(CloneError::from_stream)?;
        let mut pack = PackStream::begin(self.reader, &self.dialect, depth).await?;
        // The process must live until the last byte; dropping the stream then ends it.
        pack.keep_alive(self.child, self.stdin);
        Ok(pack)
    }
}

fn command(engine: &Engine, address: &Address) -> Command {
    let quoted = address.path.replace('\'', "'\\''");
    let mut arguments: Vec<String> =
        ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"].map(Into::into).into();
    if let Some(port) = address.port {
        arguments.extend(["-p".into(), port.to_string()]);
    }
    arguments.extend(["--".into(), address.account.clone(), format!("git-upload-pack '{quoted}'")]);
    let mut command = match engine.secrets.setting("GIT_SSH_COMMAND") {
        Some(custom) => {
            let mut shell = engine.secrets.helper("sh");
            shell.args(["-c", &format!("{custom} \"$@\""), "ssh"]);
            shell
        }
        None => engine.secrets.helper("ssh"),
    };
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Takes whatever ssh or the server still says beside the pack: a full pipe would stop both.
fn drain(child: &mut Child) {
    if let Some(mut stderr) = child.stderr.take() {
        tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
    }
}

/// What ssh or the server wrote to the error stream: the real reason of a failure.
async fn told_by_ssh(mut child: Child) -> Option<CloneError> {
    let mut text = String::new();
    let mut stderr = child.stderr.take()?.take(4096);
    let reading = stderr.read_to_string(&mut text);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), reading).await;
    let reason = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Warning:"))
        .find(|line| !line.starts_with("Please make sure") && !line.starts_with("and the repository"))?
        .to_owned();
    Some(match reason.to_ascii_lowercase() {
        lower if lower.contains("permission denied") || lower.contains("host key") => {
            CloneError::Auth(reason)
        }
        lower if lower.contains("not found") || lower.contains("does not appear") => {
            CloneError::NotFound(reason)
        }
        lower if lower.contains("connect") || lower.contains("resolve") => CloneError::Network(reason),
        _ => CloneError::Remote(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_an_ssh_address_are_read_and_options_are_refused() {
        let url = Address::parse("ssh://git@host:2222/acme/x.git").unwrap();
        assert_eq!(
            (url.account.as_str(), url.port, url.path.as_str()),
            ("git@host", Some(2222), "/acme/x.git")
        );
        let short = Address::parse("git@github.com:acme/x.git").unwrap();
        assert_eq!(
            (short.account.as_str(), short.port, short.path.as_str()),
            ("git@github.com", None, "acme/x.git")
        );
        for bad in
            ["-oProxyCommand=x:y", "git@-oProxyCommand=x:y", "host:-x", "./a:b", "https://h/x", "host:"]
        {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }
}
