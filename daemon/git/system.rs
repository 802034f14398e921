//! The user's own git, for what the fast path does not do exactly as git does: run as a child in a process group of its own,
//! with the caller's environment, no way to ask a person, and its secret where only it can read it.

use crate::git::{CloneError, Wish, address, starter};
use crate::net::secrets::{Login, Secrets};
use crate::net::silence;
use specweave_jobs::{environment, system};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Says the login that stands in its environment, once git asks.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$SPECWEAVE_JOBS_GIT_USER\" \"$SPECWEAVE_JOBS_GIT_SECRET\"; }; f";

/// Of what git says, so much is kept: its end.
const MOST_SAID: usize = 64 * 1024;

/// A process that nothing ends is waited for so long by who cancels it.
const ENDS_SOON: Duration = Duration::from_millis(500);

/// A process that was asked to end gets so long.
const GRACE: Duration = Duration::from_millis(300);

/// What a person has hung on to git is for what a person does.
const NO_HOOKS: [&str; 2] = ["-c", "core.hooksPath=/dev/null"];

/// One repository that git is to clone.
pub struct Order<'a> {
    pub address: &'a str,
    /// The same as git rewrites it, which is where the login belongs.
    pub rewritten: &'a str,
    pub at: &'a Path,
    pub wish: &'a Wish,
    pub login: Option<Login>,
}

/// A git that was started, and how it is watched.
pub struct Git<'a> {
    pub secrets: &'a Secrets,
    /// A silence of this length is a remote that hangs.
    pub stall: Duration,
}

/// A login that is known, and the address that it is for.
pub type Known<'a> = (Option<Login>, &'a str);

/// A question about what stands here is answered within this time, on a slow disk too.
const ANSWERED: Duration = Duration::from_secs(5 * 60);

impl Git<'_> {
    /// Clones into a folder that does not exist yet, and leaves the work tree empty.
    pub async fn clone(&self, order: Order<'_>, cancel: &CancellationToken) -> Result<(), CloneError> {
        let Order { address, rewritten, at, wish, login } = order;
        let mut command = self.command(Life::Ours, login, rewritten);
        command.args(["clone", "--progress", if wish.mirror { "--mirror" } else { "--no-checkout" }]);
        command.arg("--no-recurse-submodules");
        if wish.depth > 0 {
            command.args(["--depth", &wish.depth.to_string()]);
        }
        if wish.single_branch {
            command.arg("--single-branch");
        }
        if wish.submodules {
            command.args(["--config", "submodule.active=."]);
        }
        if let Some(filter) = &wish.filter {
            command.arg(format!("--filter={filter}"));
        }
        // A path alone would be copied whole.
        let is_path = (wish.depth > 0 || wish.filter.is_some()) && address.starts_with('/');
        let address = if is_path { format!("file://{address}") } else { address.to_owned() };
        command.arg("--").arg(address).arg(at);
        // What is copied from here says nothing meanwhile, however long it takes.
        let patience = if address::local_path(rewritten).is_some() { None } else { self.patience() };
        self.run(command, Life::Ours, patience, cancel).await
    }

    /// Checks out what HEAD names, if it names anything yet, in a repository without a work tree.
    /// The login is for what was left out of the clone, or is kept elsewhere.
    pub async fn check_out(
        &self,
        at: &Path,
        (login, address): Known<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), CloneError> {
        if self.ask(at, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?.is_none() {
            return Ok(());
        }
        let mut command = self.command(Life::Ours, login, address);
        command.arg("-C").arg(at).args(["checkout", "--force", "--progress", "HEAD", "--"]);
        // A filter says nothing meanwhile.
        self.run(command, Life::Ours, None, cancel).await
    }

    /// Clones the submodules of a repository, and theirs, with the logins that git itself finds: they may be anybody's.
    pub async fn add_submodules(&self, at: &Path, cancel: &CancellationToken) -> Result<(), CloneError> {
        let mut command = self.command(Life::Ours, None, "");
        command.arg("-C").arg(at).args(["submodule", "update", "--init", "--recursive", "--progress"]);
        self.run(command, Life::Ours, self.patience(), cancel).await
    }

    /// Fetches what a remote of a repository has, without its hooks.
    pub async fn fetch(
        &self,
        at: &Path,
        remote: &str,
        (login, address): Known<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), CloneError> {
        let mut command = self.command(Life::Ours, login, address);
        command.args(NO_HOOKS).arg("-C").arg(at);
        command.args(["fetch", "--progress", "--no-recurse-submodules", "--", remote]);
        self.run(command, Life::Ours, self.patience(), cancel).await
    }

    /// Forwards the branch of a work tree to its upstream, without hooks, if that is all there is to do.
    ///
    /// Nothing ends it half-way, also not the daemon's own end, as its files would then be of two commits: who cancels it waits no
    /// longer.
    pub async fn forward(
        &self,
        at: &Path,
        (login, address): Known<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), CloneError> {
        let mut command = self.command(Life::ItsOwn, login, address);
        command.args(NO_HOOKS).arg("-C").arg(at);
        // A file that git ignores is a person's, too. It says nothing while all goes well: nobody may be there to hear it.
        command.args(["merge", "--ff-only", "--quiet", "--no-stat", "--no-autostash"]);
        command.args(["--no-overwrite-ignore", "@{upstream}"]);
        self.run(command, Life::ItsOwn, None, cancel).await
    }

    /// A server that counts what it will send says nothing for a while.
    fn patience(&self) -> Option<Duration> {
        Some(self.stall * 2)
    }

    /// One that may talk to a server, with the login that it gets for it, and that gives up one which hangs.
    fn command(&self, life: Life, login: Option<Login>, address: &str) -> Command {
        let mut command = self.bare_command(life);
        let server = Url::parse(address).ok().map(|url| url.origin().ascii_serialization());
        if let (Some(Login { user, secret }), Some(server)) = (&login, server) {
            // An empty one first: what the user has set knows another login, or none. Ours is told to its own server alone, wherever
            // the repository's settings or a redirect lead.
            command.args(["-c", "credential.helper=", "-c", &format!("credential.{server}.helper={HELPER}")]);
            let user = if user.is_empty() { "git" } else { user };
            command.env("SPECWEAVE_JOBS_GIT_USER", user).env("SPECWEAVE_JOBS_GIT_SECRET", secret.reveal());
        }
        let stall = self.stall.as_secs().max(1).to_string();
        command.args(["-c", "http.lowSpeedLimit=1", "-c", &format!("http.lowSpeedTime={stall}")]);
        command
    }

    /// What git says about a repository; nothing where it says no without a word.
    pub async fn ask(&self, at: &Path, question: &[&str]) -> Result<Option<String>, CloneError> {
        let mut git = self.secrets.helper("git");
        git.arg("-C").arg(at).args(question).stdin(Stdio::null());
        let output = silence::broken_within(ANSWERED, git.output()).await?.map_err(not_started)?;
        match (output.status.success(), output.stderr.is_empty()) {
            (true, _) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            (false, true) => Ok(None),
            (false, false) => Err(failure(&String::from_utf8_lossy(&output.stderr), output.status)),
        }
    }

    /// Whether the tree of HEAD has more than so many files and folders.
    pub async fn has_more_paths(&self, at: &Path, most: u64) -> bool {
        let mut git = self.secrets.helper("git");
        git.arg("-C").arg(at).args(["ls-tree", "-r", "-t", "-z", "--name-only", "HEAD"]).stdin(Stdio::null());
        git.stderr(Stdio::null());
        let Ok(mut child) = git.spawn() else { return false };
        let mut stdout = child.stdout.take().expect("it is piped");
        let (mut count, mut piece) = (0, vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = stdout.read(&mut piece).await {
            count += piece[..read].iter().filter(|byte| **byte == 0).count() as u64;
            if count > most {
                return true;
            }
        }
        false
    }

    fn bare_command(&self, life: Life) -> Command {
        let mut command = self.secrets.program("git");
        // Nobody is there to answer; what the caller has set to answer for him is asked.
        for (name, answer) in
            [("GIT_TERMINAL_PROMPT", "0"), ("GCM_INTERACTIVE", "never"), ("SSH_ASKPASS_REQUIRE", "never")]
        {
            command.env(name, answer);
        }
        command.args(["-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(life == Life::Ours);
        let umask = self
            .secrets
            .setting(environment::UMASK)
            .and_then(|umask| rustix::fs::RawMode::from_str_radix(umask, 8).ok());
        let in_child = move || {
            // Whatever kills the daemon ends what it has started.
            if life == Life::Ours {
                system::end_with_parent();
            }
            if let Some(umask) = umask {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask & 0o777));
            }
            Ok(())
        };
        // SAFETY: both are plain system calls, which may stand between fork and exec.
        unsafe { command.pre_exec(in_child) };
        command
    }

    /// Runs it to its end, or to the end of anybody's patience with its silence.
    async fn run(
        &self,
        command: Command,
        life: Life,
        patience: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<(), CloneError> {
        let mut child = starter::start(command).await.map_err(not_started)?;
        let group = child.id();
        let ended = tokio::select! {
            () = cancel.cancelled() => Err(CloneError::Cancelled),
            ended = watched(&mut child, patience) => ended,
        };
        let (status, said) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                match life {
                    Life::Ours => end_group(&mut child, group).await,
                    // Most often it has ended soon, and whoever comes next finds it done.
                    Life::ItsOwn => drop(tokio::time::timeout(ENDS_SOON, child.wait()).await),
                }
                return Err(error);
            }
        };
        if status.success() { Ok(()) } else { Err(failure(&said, status)) }
    }
}

fn not_started(error: io::Error) -> CloneError {
    match error.kind() {
        io::ErrorKind::NotFound => CloneError::NoGit,
        _ => CloneError::Local { what: "start git", source: error },
    }
}

/// How long a process may live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// No longer than this daemon.
    Ours,
    ItsOwn,
}

/// Its end and the last of what it said. Progress counts as life.
async fn watched(child: &mut Child, patience: Option<Duration>) -> Result<(ExitStatus, String), CloneError> {
    let mut stderr = child.stderr.take().expect("it is piped");
    let (mut said, mut piece) = (Vec::new(), [0; 8 * 1024]);
    loop {
        let reading = stderr.read(&mut piece);
        let read = match patience {
            Some(patience) => silence::broken_within(patience, reading).await?,
            None => reading.await,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
        }
        if said.len() > 2 * MOST_SAID {
            said.drain(..said.len() - MOST_SAID);
        }
    }
    let status = child.wait().await.map_err(|source| CloneError::Local { what: "wait for git", source })?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Ends a process and all that it has started.
async fn end_group(child: &mut Child, group: Option<u32>) {
    let group = group.and_then(|id| rustix::process::Pid::from_raw(id as i32));
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
        // What it has started may outlive it: the second signal is for those.
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
    }
}

/// What git says of a disk that takes nothing more.
const NO_ROOM: [(&str, io::ErrorKind); 4] = [
    ("out of diskspace", io::ErrorKind::StorageFull),
    ("no space left", io::ErrorKind::StorageFull),
    ("read-only file system", io::ErrorKind::ReadOnlyFilesystem),
    ("quota exceeded", io::ErrorKind::QuotaExceeded),
];

/// What its words mean.
fn failure(said: &str, status: ExitStatus) -> CloneError {
    let text = reason(said).unwrap_or_else(|| format!("git ended with {status}"));
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // A remote may have no room either, and says so behind its mark.
    let mut here = lower.split(['\n', '\r']).filter(|line| !line.starts_with("remote:"));
    let kind = here.find_map(|line| NO_ROOM.iter().find(|(words, _)| line.contains(words)));
    if let Some((_, kind)) = kind {
        return CloneError::Local { what: "clone", source: io::Error::new(*kind, text) };
    }
    if has(&["returned error: 429", "too many requests"]) {
        return CloneError::Limited(Duration::from_secs(60));
    }
    let auth = [
        "could not read username",
        "could not read password",
        "authentication failed",
        "permission denied",
        "host key",
    ];
    if has(&auth) {
        return CloneError::Auth(text);
    }
    if has(&["returned error: 403"]) {
        return CloneError::Forbidden(text);
    }
    if has(&["not found", "does not exist", "does not appear to be"]) {
        return CloneError::NotFound(text);
    }
    let network = [
        "could not resolve",
        "connection refused",
        "timed out",
        "connection reset",
        "failed to connect",
        "couldn't connect",
    ];
    if has(&network) {
        CloneError::Network(text)
    } else if has(&["returned error: 5"]) {
        CloneError::Troubled(text)
    } else {
        CloneError::Remote(text)
    }
}

/// Lines that tell how far it is, or what to do, and not why.
const NOISE: [&str; 18] = [
    "Cloning into",
    "warning:",
    "Warning:",
    "hint:",
    "Please make sure",
    "and the repository exists",
    "Receiving ",
    "Resolving ",
    "Updating ",
    "Enumerating ",
    "Counting ",
    "Compressing ",
    "Total ",
    "Filtering ",
    "Submodule ",
    "done.",
    "You can inspect",
    "and retry with",
];

/// That something ended early, or could not be read: what came of the reason.
const CONSEQUENCES: [&str; 8] = [
    "Could not read from remote",
    "the remote end hung up",
    "early EOF",
    "fetch-pack: ",
    "expected flush",
    "unexpected disconnect",
    "unable to read sideband",
    "protocol error",
];

/// The line that says why: the remote's own words, else the last of what went wrong.
pub fn reason(said: &str) -> Option<String> {
    let begins = |line: &str, starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    let (mut remote, mut other, mut cause, mut consequence) = (Vec::new(), None, None, None);
    for line in said.split(['\n', '\r']).map(str::trim) {
        let words = line.strip_prefix("remote:").map(str::trim);
        if words.unwrap_or(line).is_empty() || begins(words.unwrap_or(line), &NOISE) {
            continue;
        }
        match (words, line.strip_prefix("fatal: ").or(line.strip_prefix("error: "))) {
            (Some(words), _) => remote.push(words),
            (None, Some(words)) if begins(words, &CONSEQUENCES) => consequence = Some(words),
            (None, Some(words)) => cause = Some(words),
            // What ssh or another helper says, the last of it.
            (None, None) => other = Some(line),
        }
    }
    let remote = Some(remote.join(" ")).filter(|words| !words.is_empty());
    match (remote, cause) {
        (Some(words), Some(cause)) => Some(format!("{words} ({cause})")),
        (Some(words), None) => Some(words),
        (None, cause) => cause.or(other).or(consequence).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_line_that_says_why_is_found_among_the_others() {
        for (said, wanted) in [
            (
                "Cloning into 'x'...\ngit@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n",
                "git@h: Permission denied (publickey).",
            ),
            (
                "Cloning into 'x'...\nremote: The project you were looking for could not be found.\nfatal: Could not read from remote repository.\n",
                "The project you were looking for could not be found.",
            ),
            (
                "Cloning into 'x'...\nfatal: unable to access 'https://h/x/': SSL certificate problem\n",
                "unable to access 'https://h/x/': SSL certificate problem",
            ),
            (
                "remote: Enumerating objects: 5, done.\rReceiving objects: 1%\rerror: RPC failed; curl 56\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n",
                "RPC failed; curl 56",
            ),
            ("fatal: early EOF\n", "early EOF"),
        ] {
            assert_eq!(reason(said).as_deref(), Some(wanted), "{said}");
        }
        assert_eq!(reason("Cloning into 'x'...\n"), None);
    }
}
