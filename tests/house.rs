//! The house as the README names it: rooms on floors, of which each uses what lies below it and nothing above,
//! and no circle between files. Read from the `use` lines and paths of the sources themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The daemon's rooms from the top floor down.
const FLOORS: [&str; 15] = [
    "main", "boot", "rpc", "mirror", "view", "keeper", "work", "git", "trackers", "docs", "markup", "net",
    "store", "job", "model",
];

/// Each file of a crate, by its module's path, with the modules that it uses. What a room uses of its own head is no arrow.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The sources below a folder by module; tests are no part of the house.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = BTreeMap::new();
    for path in crate::world::files_below(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").map(|name| name.replace('/', "::")) else { continue };
        if module.ends_with("tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // Tests of a file stand at its end.
        let ends = ["#[cfg(test)]\nmod tests", "#[cfg(test)]\n#[path"];
        let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
        let code =
            text[..end].lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
        sources.insert(module, code);
    }
    sources
}

/// The single paths of a `use` line's tree.
fn leaves(tree: &str, prefix: &str, into: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        return into.push(format!("{prefix}{}", tree.trim()));
    };
    let body = &rest[..rest.rfind('}').unwrap()];
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0, 0);
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = body[start..at].trim();
                if !part.is_empty() {
                    leaves(part, &prefix, into);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path that a file's code names.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut lines = code.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(begun) = ["use ", "pub use "].iter().find_map(|word| line.strip_prefix(word)) else {
            continue;
        };
        let mut tree = begun.to_owned();
        while !tree.ends_with(';') {
            tree.push_str(lines.next().expect("a use line has an end"));
        }
        leaves(tree.trim_end_matches(';'), "", &mut paths);
    }
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    paths.extend(code.split(|c| !word(c)).filter(|path| path.contains("::")).map(str::to_owned));
    paths
}

/// The module that a path of a file leads to.
fn target(module: &str, path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let path = path.split(" as ").next().unwrap();
    let mut here: Vec<&str> =
        if matches!(module, "main" | "lib") { Vec::new() } else { module.split("::").collect() };
    let mut parts = path.split("::").peekable();
    match parts.peek() {
        Some(&"crate") => {
            here.clear();
            parts.next();
        }
        Some(&"super") => {
            while parts.next_if_eq(&"super").is_some() {
                here.pop();
            }
        }
        Some(&"self") => drop(parts.next()),
        _ => {}
    }
    here.extend(parts);
    (1..=here.len()).rev().map(|length| here[..length].join("::")).find(|name| modules.contains_key(name))
}

fn arrows(folder: &str) -> Arrows {
    let modules = sources(folder);
    let mut arrows = Arrows::new();
    for (module, code) in &modules {
        let used = paths(code).into_iter().filter_map(|path| target(module, &path, &modules));
        let others = used.filter(|other| other != module && !module.starts_with(&format!("{other}::")));
        arrows.insert(module.clone(), others.collect());
    }
    arrows
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

#[test]
fn no_room_of_the_daemon_uses_one_on_a_floor_above_it() {
    let floor = |module: &str| {
        let floor = FLOORS.iter().position(|name| *name == room(module));
        floor.unwrap_or_else(|| panic!("{module} is in no room of the house"))
    };
    let arrows = arrows("daemon");
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 200, "the arrows are read");
    let mut up = Vec::new();
    for (module, used) in &arrows {
        up.extend(
            used.iter()
                .filter(|other| floor(other) < floor(module))
                .map(|other| format!("{module} -> {other}")),
        );
    }
    assert_eq!(up, Vec::<String>::new());
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    for folder in ["daemon", "client", "proto"] {
        let mut arrows = arrows(folder);
        // Whoever uses nothing that is left is taken away, again and again; what remains stands in a circle or above one.
        loop {
            let free: Vec<String> =
                arrows.iter().filter(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()).collect();
            if free.is_empty() {
                break;
            }
            arrows.retain(|module, _| !free.contains(module));
            for used in arrows.values_mut() {
                used.retain(|other| !free.contains(other));
            }
        }
        assert!(arrows.is_empty(), "in or above a circle of {folder}: {arrows:?}");
    }
}
