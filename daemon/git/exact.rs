//! What the fast path takes: the one table of everything that it does exactly as git does. A repository of which something
//! else stands in its way is cloned by the user's own git; each function gives the reason. Growing the table is
//! optimisation. Pure, but for the look into files of attributes.

use crate::git::CloneError;
use crate::git::bounds::Attributes;
use crate::git::wire::RemoteRefs;
use crate::net::git_settings::GitSettings;
use git2::Repository;
use specweave_jobs::{environment, system};
use std::collections::{BTreeMap, HashSet};

/// Variables of git's that change nothing about a clone, or that the fast path obeys; names and beginnings of names.
const VARIABLES: [&str; 18] = [
    // Read with the configuration.
    "GIT_CONFIG_",
    // Obeyed.
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    // Asked where the fast path has no login: git is then asked as a whole.
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    // About commits, editors and prompts.
    "GIT_AUTHOR_",
    "GIT_COMMITTER_",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_PAGER",
    "GIT_PS1_",
    "GIT_MERGE_",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_OPTIONAL_LOCKS",
    "GIT_FLUSH",
    "GIT_EXEC_PATH",
    "GIT_ADVICE",
];

/// Sections of a configuration of which nothing is about a clone.
const SECTIONS: [&str; 52] = [
    "user",
    "author",
    "committer",
    "alias",
    "color",
    "column",
    "pager",
    "push",
    "pull",
    "merge",
    "mergetool",
    "diff",
    "difftool",
    "commit",
    "rebase",
    "log",
    "status",
    "gpg",
    "tag",
    "rerere",
    "grep",
    "help",
    "gui",
    "gitk",
    "credential",
    "advice",
    "apply",
    "blame",
    "format",
    "sendemail",
    "stash",
    "sequence",
    "web",
    "browser",
    "instaweb",
    "man",
    "maintenance",
    "gc",
    "notes",
    "receive",
    "trailer",
    "versionsort",
    "interactive",
    "am",
    "bisect",
    "include",
    "pack",
    "repack",
    "trace2",
    "uploadpack",
    "safe",
    // A filter counts where a tree names it.
    "filter",
];

/// Keys that change nothing about a clone, or that the fast path obeys.
const KEYS: [&str; 43] = [
    "core.editor",
    "core.pager",
    "core.excludesfile",
    "core.quotepath",
    "core.commentchar",
    "core.commentstring",
    "core.whitespace",
    "core.abbrev",
    "core.safecrlf",
    "core.precomposeunicode",
    "core.preloadindex",
    "core.fscache",
    "core.longpaths",
    "core.compression",
    "core.loosecompression",
    "core.packedgitlimit",
    "core.packedgitwindowsize",
    "core.deltabasecachelimit",
    "core.bigfilethreshold",
    "core.askpass",
    "core.checkstat",
    "core.trustctime",
    "core.multipackindex",
    "core.commitgraph",
    "core.untrackedcache",
    // Obeyed.
    "init.defaultbranch",
    "http.proxy",
    "http.sslcainfo",
    "http.extraheader",
    // About requests that are not made differently for it.
    "http.postbuffer",
    "http.version",
    "http.maxrequests",
    "http.minsessions",
    "http.lowspeedlimit",
    "http.lowspeedtime",
    "fetch.prune",
    "fetch.prunetags",
    "fetch.parallel",
    "fetch.output",
    "fetch.showforcedupdates",
    "remote.pushdefault",
    "checkout.workers",
    "checkout.defaultremote",
];

/// Keys with the values that are git's own.
const USUAL: [(&str, &[&str]); 16] = [
    ("core.autocrlf", &["false"]),
    ("core.eol", &["lf", "native"]),
    ("core.filemode", &["true"]),
    ("core.symlinks", &["true"]),
    ("core.ignorecase", &["false"]),
    ("core.bare", &["false"]),
    ("core.logallrefupdates", &["true"]),
    ("core.protecthfs", &["false"]),
    ("core.protectntfs", &["true"]),
    ("core.fsmonitor", &["false"]),
    ("core.sharedrepository", &["umask", "false", "0"]),
    ("protocol.version", &["2"]),
    ("http.sslverify", &["true"]),
    ("http.followredirects", &["initial"]),
    ("transfer.fsckobjects", &["false"]),
    ("fetch.fsckobjects", &["false"]),
];

/// What of the caller's variables the fast path does not know.
pub fn variables(variables: &BTreeMap<String, String>) -> Option<String> {
    let is_known = |name: &str| VARIABLES.iter().any(|known| name.starts_with(known));
    let unknown = variables.keys().find(|name| name.starts_with("GIT_") && !is_known(name));
    if let Some(name) = unknown {
        return Some(format!("{name} is set"));
    }
    let umask = variables.get(environment::UMASK).filter(|umask| system::umask().as_ref() != Some(umask));
    if umask.is_some() {
        return Some("the command's umask is not the daemon's".to_owned());
    }
    let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];
    if proxies.iter().filter_map(|name| variables.get(*name)).any(|address| !is_plain_proxy(address)) {
        return Some("its proxy is not a plain one".to_owned());
    }
    variables
        .get("NO_PROXY")
        .is_some_and(|list| list.contains(['/', ' ', '*']))
        .then(|| "NO_PROXY has ranges".to_owned())
}

/// What of a configuration the fast path does not know.
pub fn settings(settings: &GitSettings) -> Option<String> {
    if settings.broken.is_some() {
        return Some("git's configuration cannot be read".to_owned());
    }
    let is_usual = |key: &str, value: &str| {
        USUAL.iter().any(|(usual, values)| *usual == key && values.contains(&value.to_lowercase().as_str()))
    };
    let is_known = |key: &str, value: &str| {
        let section = key.split('.').next().unwrap_or(key);
        let is_rewrite = section == "url" && (key.ends_with(".insteadof") || key.ends_with(".pushinsteadof"));
        let is_header = section == "http" && key.ends_with(".extraheader") && !value.is_empty();
        SECTIONS.contains(&section) || KEYS.contains(&key) || is_rewrite || is_header || is_usual(key, value)
    };
    if let Some((key, _)) = settings.entries().find(|(key, value)| !is_known(key, value)) {
        return Some(format!("{key} is set"));
    }
    if settings.entries().filter(|(key, _)| key.ends_with("extraheader")).count() > 1 {
        return Some("http.extraHeader is set several times".to_owned());
    }
    let proxy = settings.proxy().filter(|proxy| !proxy.is_empty());
    proxy.filter(|proxy| !is_plain_proxy(proxy)).map(|_| "http.proxy is not a plain one".to_owned())
}

fn is_plain_proxy(address: &str) -> bool {
    address.starts_with("http://") && !address.contains('@')
}

/// What of an address, as git rewrites it, the fast path does not read exactly as git does.
pub fn address(address: &str) -> Option<&'static str> {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let bare = ["https://", "http://", "ssh://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._/:@".contains(c) || (is_web && c == '%');
    let (place, path) = match bare {
        Some(bare) => bare.split_once('/').unwrap_or((bare, "")),
        None if address.starts_with('/') || address.contains("://") => {
            return Some("git reads repositories of this machine, of git:// and of other schemes itself");
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    if is_web && place.contains('@') {
        return Some("its address names a user");
    }
    let is_odd =
        !address.chars().all(usual) || place.starts_with('[') || path.contains("//") || path.ends_with('/');
    let is_port_of_scp =
        bare.is_none() && path.split('/').next().is_some_and(|part| part.parse::<u16>().is_ok());
    (is_odd || path.is_empty() || path.starts_with(['~', '-']) || is_port_of_scp)
        .then_some("its address is not a plain one")
}

/// What of a remote's refs the fast path does not write exactly as git does.
pub fn refs(refs: &RemoteRefs, single_branch: bool) -> Option<&'static str> {
    if single_branch && refs.refs.is_empty() {
        return Some("it is empty, and one branch of it is asked for");
    }
    let mut seen = HashSet::new();
    for one in &refs.refs {
        let name = one.name.as_str();
        if !seen.insert(name) {
            return Some("it names a ref twice");
        }
        let is_ours = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        if is_ours && (!git2::Reference::is_valid_name(name) || name.contains('\u{fffd}')) {
            return Some("it has a ref of an odd name");
        }
        if name == "refs/heads/HEAD" || name.starts_with("refs/heads/HEAD/") {
            return Some("it has a branch called HEAD");
        }
    }
    let is_within = |name: &str| name.match_indices('/').any(|(at, _)| seen.contains(&name[..at]));
    if seen.iter().any(|name| is_within(name)) {
        return Some("a ref of it lies within another");
    }
    let head = refs.head_branch.as_deref();
    if head.is_some_and(|head| !head.starts_with("refs/heads/")) {
        return Some("its HEAD is no branch");
    }
    let names_nothing = |head: &str| !refs.refs.iter().any(|one| one.name == head);
    match (head, refs.head) {
        (Some(head), _) if !refs.refs.is_empty() && names_nothing(head) => {
            Some("its HEAD names a branch that it does not have")
        }
        (None, _) if !refs.refs.is_empty() => Some("it does not say which branch its HEAD is"),
        (None, _) => Some("it is empty, and does not say what its first branch is to be called"),
        _ => None,
    }
}

/// Attributes that change nothing about what is checked out.
const ATTRIBUTES: [&str; 9] = [
    "diff",
    "merge",
    "export-ignore",
    "export-subst",
    "whitespace",
    "delta",
    "conflict-marker-size",
    // They say what is written into objects; out of them comes what is in them.
    "text",
    "crlf",
];

/// What of a tree's attributes makes git write files in another way than they are.
pub fn attributes(
    repository: &Repository,
    found: &[Attributes],
    settings: &GitSettings,
) -> Result<Option<String>, CloneError> {
    if let Some(attribute) = settings.attributes.lines().find_map(|line| converting(line, settings)) {
        return Ok(Some(format!("your attributes say how files are to be checked out: {attribute}")));
    }
    for one in found {
        let content = one.content(repository)?;
        let Some(text) = content.as_deref().and_then(|content| std::str::from_utf8(content).ok()) else {
            return Ok(Some("its attributes are none that can be read".to_owned()));
        };
        if let Some(attribute) = text.lines().find_map(|line| converting(line, settings)) {
            return Ok(Some(format!("its attributes say how files are to be checked out: {attribute}")));
        }
    }
    Ok(None)
}

/// The attribute of a line that may change what is written into a file.
fn converting<'l>(line: &'l str, settings: &GitSettings) -> Option<&'l str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if line.starts_with(['"', '[']) {
        return Some(line);
    }
    let is_harmless = |attribute: &&str| {
        let (name, value) =
            attribute.trim_start_matches(['-', '!']).split_once('=').unwrap_or((attribute, ""));
        let name = name.trim_start_matches(['-', '!']);
        // A filter that nobody has set does nothing.
        let is_set = || settings.entries().any(|(key, _)| key.starts_with(&format!("filter.{value}.")));
        ATTRIBUTES.contains(&name)
            || name.starts_with("linguist-")
            || matches!(
                *attribute,
                "binary" | "eol=lf" | "-filter" | "!filter" | "!eol" | "-ident" | "!ident"
            )
            || (name == "filter" && !is_set())
    };
    let (_, attributes) = line.split_once([' ', '\t'])?;
    attributes.split_whitespace().find(|attribute| !is_harmless(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fast_clone_reads_as_git_does_is_told_from_what_it_does_not() {
        for plain in [
            "https://github.com/acme/web.git",
            "http://127.0.0.1:8080/acme/web",
            "https://dev.azure.com/acme/Nova%20CAD/_git/web",
            "git@github.com:acme/web.git",
            "ssh://git@host:2222/acme/web.git",
        ] {
            assert_eq!(address(plain), None, "{plain}");
        }
        for odd in [
            "/srv/web.git",
            "file:///srv/web.git",
            "git://host/web",
            "git+ssh://git@host/web",
            "https://acme@dev.azure.com/acme/_git/web",
            "https://host/web.git/",
            "https://host/web?x=1",
            "https://[::1]/web",
            "ssh://git@host/~ann/web",
            "git@host:2222/acme/web",
            "git@host:a b/web",
            "[::1]:web",
        ] {
            assert!(address(odd).is_some(), "{odd}");
        }
    }

    #[test]
    fn attributes_count_where_they_change_a_file() {
        let settings = GitSettings::default();
        for harmless in [
            "# *.x ident",
            "* text=auto",
            "*.sh text eol=lf",
            "*.png binary",
            "docs/* linguist-generated=true -diff",
            "*.bin filter=lfs diff=lfs merge=lfs -text",
        ] {
            assert_eq!(converting(harmless, &settings), None, "{harmless}");
        }
        for converts in [
            "*.bat eol=crlf",
            "*.c ident",
            "*.txt working-tree-encoding=UTF-16",
            "[attr]mine ident",
            "\"a b\" ident",
        ] {
            assert!(converting(converts, &settings).is_some(), "{converts}");
        }
    }
}
