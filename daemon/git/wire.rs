//! Git's wire format: pkt-lines, what a server advertises, what a client asks. It reads and writes streams
//! that others opened, and knows neither HTTP nor ssh.

use crate::git::CloneError;
use crate::net::silence;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A branch, tag or HEAD of the remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    pub name: String,
    pub oid: git2::Oid,
    /// What an annotated tag points at.
    pub peeled: Option<git2::Oid>,
}

/// What the remote has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteRefs {
    pub refs: Vec<RemoteRef>,
    /// The branch that HEAD names, also when that branch has no commit yet.
    pub head_branch: Option<String>,
    pub head: Option<git2::Oid>,
}

/// How the server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Refs came with the advertisement.
    V0 { capabilities: Vec<String> },
    /// Refs are asked for by a command.
    V2 { capabilities: Vec<String> },
}

/// A remote that advertises more than this is not believed.
const MOST_REF_BYTES: usize = 128 * 1024 * 1024;

/// What a line costs beside its text.
const LINE_COST: usize = 64;

/// A remote's words in an error are cut here.
const MOST_WORDS: usize = 1_000;

pub enum Packet {
    Data,
    Flush,
    Delimiter,
}

/// Reads pkt-lines; a silence longer than `stall` is an error.
pub struct PacketReader<R> {
    from: R,
    stall: Duration,
    line: Vec<u8>,
    /// The last that the remote said beside the pack.
    said: String,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    pub fn new(from: R, stall: Duration) -> Self {
        Self { from, stall, line: Vec::new(), said: String::new() }
    }

    /// The last [`Packet::Data`] as text, without the line break at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.line.strip_suffix(b"\n").unwrap_or(&self.line)).into_owned()
    }

    /// The next packet.
    pub async fn next(&mut self) -> Result<Packet, CloneError> {
        let mut head = [0; 4];
        self.fill(&mut head).await?;
        let len = std::str::from_utf8(&head).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        match len {
            Some(0) => Ok(Packet::Flush),
            Some(1) => Ok(Packet::Delimiter),
            Some(len @ 4..) => {
                let mut line = std::mem::take(&mut self.line);
                line.resize(len - 4, 0);
                self.fill(&mut line).await?;
                self.line = line;
                if let Some(message) = self.line.strip_prefix(b"ERR ") {
                    return Err(CloneError::Remote(words(message)));
                }
                Ok(Packet::Data)
            }
            _ => Err(CloneError::NotGit("the answer is not in git's wire format".into())),
        }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CloneError> {
        match silence::broken_within(self.stall, self.from.read_exact(buffer)).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(CloneError::from_stream(error)),
        }
    }
}

/// Reads what a server says first: how it speaks and, before version 2, its refs. A smart HTTP server
/// announces its service before that.
pub async fn read_advertisement<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
) -> Result<(Dialect, RemoteRefs), CloneError> {
    let mut lines = read_until_flush(reader).await?;
    if lines.first().is_some_and(|line| line.starts_with("# service=")) {
        lines = read_until_flush(reader).await?;
    }
    if lines.first().is_some_and(|line| line == "version 2") {
        let capabilities = lines.split_off(1);
        refuse_sha256(capabilities.iter())?;
        return Ok((Dialect::V2 { capabilities }, RemoteRefs::default()));
    }
    if lines.first().is_some_and(|line| line == "version 1") {
        lines.remove(0);
    }
    let capabilities: Vec<String> = lines
        .first()
        .and_then(|line| line.split_once('\0'))
        .map(|(_, capabilities)| capabilities.split(' ').map(str::to_owned).collect())
        .unwrap_or_default();
    refuse_sha256(capabilities.iter())?;
    let mut refs = RemoteRefs::default();
    for line in &lines {
        let line = line.split('\0').next().unwrap_or_default();
        let (oid, name) = line.split_once(' ').ok_or_else(malformed_refs)?;
        if name == "capabilities^{}" {
            continue;
        }
        let oid = git2::Oid::from_str(oid).map_err(|_| malformed_refs())?;
        match (name, name.strip_suffix("^{}")) {
            ("HEAD", _) => refs.head = Some(oid),
            (_, Some(tag)) => {
                if let Some(last) = refs.refs.last_mut().filter(|last| last.name == tag) {
                    last.peeled = Some(oid);
                }
            }
            _ => refs.refs.push(RemoteRef { name: name.to_owned(), oid, peeled: None }),
        }
    }
    refs.head_branch =
        capabilities.iter().find_map(|capability| capability.strip_prefix("symref=HEAD:")).map(str::to_owned);
    Ok((Dialect::V0 { capabilities }, refs))
}

/// The request for the refs that a clone takes (version 2).
pub fn ls_refs_request(capabilities: &[String]) -> Vec<u8> {
    let mut request = Vec::new();
    packet(&mut request, "command=ls-refs\n");
    packet(&mut request, &format!("agent={AGENT}\n"));
    if capabilities.iter().any(|capability| capability == "object-format=sha1") {
        packet(&mut request, "object-format=sha1\n");
    }
    request.extend_from_slice(b"0001");
    packet(&mut request, "peel\n");
    packet(&mut request, "symrefs\n");
    if capabilities.iter().any(|c| c.strip_prefix("ls-refs=").is_some_and(|f| f.contains("unborn"))) {
        packet(&mut request, "unborn\n");
    }
    for prefix in ["HEAD", "refs/heads/", "refs/tags/"] {
        packet(&mut request, &format!("ref-prefix {prefix}\n"));
    }
    request.extend_from_slice(b"0000");
    request
}

/// Reads the answer to [`ls_refs_request`].
pub async fn read_ls_refs<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
) -> Result<RemoteRefs, CloneError> {
    let mut refs = RemoteRefs::default();
    for line in read_until_flush(reader).await? {
        let mut words = line.split(' ');
        let (oid, name) = words.next().zip(words.next()).ok_or_else(malformed_refs)?;
        let (mut peeled, mut symref) = (None, None);
        for word in words {
            if let Some(oid) = word.strip_prefix("peeled:") {
                peeled = Some(git2::Oid::from_str(oid).map_err(|_| malformed_refs())?);
            } else if let Some(target) = word.strip_prefix("symref-target:") {
                symref = Some(target.to_owned());
            }
        }
        if name == "HEAD" {
            refs.head_branch = symref;
        }
        if oid == "unborn" {
            continue;
        }
        let oid = git2::Oid::from_str(oid).map_err(|_| malformed_refs())?;
        match name {
            "HEAD" => refs.head = Some(oid),
            _ => refs.refs.push(RemoteRef { name: name.to_owned(), oid, peeled }),
        }
    }
    Ok(refs)
}

/// The request for a pack with everything that `wants` reach, `depth` commits deep (0: all).
pub fn fetch_request(dialect: &Dialect, wants: &[git2::Oid], depth: u32) -> Vec<u8> {
    let mut request = Vec::new();
    match dialect {
        Dialect::V2 { capabilities } => {
            packet(&mut request, "command=fetch\n");
            packet(&mut request, &format!("agent={AGENT}\n"));
            if capabilities.iter().any(|capability| capability == "object-format=sha1") {
                packet(&mut request, "object-format=sha1\n");
            }
            request.extend_from_slice(b"0001");
            packet(&mut request, "no-progress\n");
            packet(&mut request, "include-tag\n");
            packet(&mut request, "ofs-delta\n");
            for want in wants {
                packet(&mut request, &format!("want {want}\n"));
            }
            if depth > 0 {
                packet(&mut request, &format!("deepen {depth}\n"));
            }
            packet(&mut request, "done\n");
            request.extend_from_slice(b"0000");
        }
        Dialect::V0 { capabilities } => {
            // Azure DevOps refuses a client that does not announce multi_ack.
            let wanted = [
                "multi_ack_detailed",
                "multi_ack",
                "side-band-64k",
                "side-band",
                "ofs-delta",
                "include-tag",
                "no-progress",
            ];
            let mut announced: Vec<&str> =
                wanted.into_iter().filter(|name| capabilities.iter().any(|c| c == name)).collect();
            if depth > 0 {
                announced.push("shallow");
            }
            let agent = format!("agent={AGENT}");
            announced.push(&agent);
            for (place, want) in wants.iter().enumerate() {
                let tail = if place == 0 { format!(" {}", announced.join(" ")) } else { String::new() };
                packet(&mut request, &format!("want {want}{tail}\n"));
            }
            if depth > 0 {
                packet(&mut request, &format!("deepen {depth}\n"));
            }
            request.extend_from_slice(b"0000");
            packet(&mut request, "done\n");
        }
    }
    request
}

/// What comes before the pack: the commits at which a shallow history ends. The stream then stands at the
/// first byte of the pack's side band.
pub async fn read_until_pack<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
    dialect: &Dialect,
    depth: u32,
) -> Result<Vec<git2::Oid>, CloneError> {
    let mut shallow = Vec::new();
    let mut expects_shallow = depth > 0 && matches!(dialect, Dialect::V0 { .. });
    loop {
        match reader.next().await? {
            Packet::Delimiter => {}
            Packet::Flush if expects_shallow => expects_shallow = false,
            Packet::Flush => return Err(CloneError::Remote("the remote sent no pack".into())),
            Packet::Data => {
                let line = reader.text();
                if line == "packfile" {
                    return Ok(shallow);
                } else if let Some(oid) = line.strip_prefix("shallow ") {
                    if shallow.len() * LINE_COST > MOST_REF_BYTES {
                        return Err(CloneError::Remote(
                            "the remote's list of shallow commits is too long".into(),
                        ));
                    }
                    shallow.push(git2::Oid::from_str(oid).map_err(|_| malformed_refs())?);
                } else if line == "NAK" && matches!(dialect, Dialect::V0 { .. }) {
                    return Ok(shallow);
                }
            }
        }
    }
}

/// Whether the pack comes in side bands (all servers of this century).
pub fn has_side_band(dialect: &Dialect) -> bool {
    match dialect {
        Dialect::V2 { .. } => true,
        Dialect::V0 { capabilities } => capabilities.iter().any(|c| c.starts_with("side-band")),
    }
}

/// The next bytes of the pack; `None` at its end.
pub async fn read_pack<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
) -> Result<Option<bytes::Bytes>, CloneError> {
    loop {
        let next = reader.next().await.map_err(|error| match error {
            // A server that ends has often said why; it was asked for no progress.
            CloneError::Network(_) if !reader.said.is_empty() => CloneError::Remote(reader.said.clone()),
            error => error,
        });
        match next? {
            Packet::Flush => return Ok(None),
            Packet::Delimiter => {}
            Packet::Data => {
                let line = bytes::Bytes::from(std::mem::take(&mut reader.line));
                match line.first() {
                    // An empty piece only says that the remote still works.
                    Some(1) if line.len() > 1 => return Ok(Some(line.slice(1..))),
                    Some(2) => {
                        let words = words(&line[1..]);
                        if !words.is_empty() {
                            reader.said = words;
                        }
                    }
                    Some(3) => {
                        return Err(CloneError::Remote(words(&line[1..])));
                    }
                    _ => {}
                }
            }
        }
    }
}

const AGENT: &str = concat!("specweave-jobs/", env!("CARGO_PKG_VERSION"));

fn packet(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:04x}{text}", text.len() + 4).as_bytes());
}

async fn read_until_flush<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
) -> Result<Vec<String>, CloneError> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    loop {
        match reader.next().await? {
            Packet::Flush => return Ok(lines),
            Packet::Delimiter => {}
            Packet::Data => {
                let line = reader.text();
                bytes += line.len() + LINE_COST;
                if bytes > MOST_REF_BYTES {
                    return Err(CloneError::Remote("the remote's list of refs is too long".into()));
                }
                lines.push(line);
            }
        }
    }
}

fn words(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(&message[..message.len().min(MOST_WORDS)]);
    text.trim().to_owned()
}

fn refuse_sha256<'a>(mut capabilities: impl Iterator<Item = &'a String>) -> Result<(), CloneError> {
    if capabilities.any(|capability| capability == "object-format=sha256") {
        Err(CloneError::Inexact("it uses SHA-256 object names".into()))
    } else {
        Ok(())
    }
}

fn malformed_refs() -> CloneError {
    CloneError::NotGit("the remote's list of refs is malformed".into())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
