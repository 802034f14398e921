//! The recording that the README shows, `docs/quickstart.svg`: what it shows is what the programs say. With
//! `SPECWEAVE_JOBS_RECORD=1` it is made anew, by `docs/record.sh`.

use crate::world::git_server::{Fault, GitServer};
use crate::world::repositories::make_many;
use crate::world::terminal::{Terminal, lines};
use crate::world::{World, read};
use std::fmt::Write;
use std::path::Path;

const COLUMNS: u16 = 96;
const COMMANDS: [&[&str]; 3] =
    [&["init"], &["clone", "--github-org", "acme", "-j", "4", "--follow"], &["list", "--all"]];

/// A line of the terminal: what stood in it one after the other.
type Frames = Vec<String>;

#[test]
fn the_recording_in_the_readme_is_what_the_programs_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/quickstart.svg");
    let recorded = session();
    if std::env::var_os("SPECWEAVE_JOBS_RECORD").is_some() {
        std::fs::write(&file, picture(&recorded)).unwrap();
    }
    let picture = read(&file);
    let ends = picture.lines().filter_map(|line| line.strip_prefix("<text class=\"end\"")?.split_once("/>"));
    let shown: Vec<&str> = ends.filter_map(|(_, text)| text.strip_suffix("</text>")).collect();
    let said: Vec<String> =
        recorded.iter().filter_map(|frames| frames.last()).map(|line| escaped(line)).collect();
    assert_eq!(shown, said, "make it anew with docs/record.sh");
}

/// What stands in the terminal after each command of a new user's first minute.
fn session() -> Vec<Frames> {
    let mut world = World::bare();
    let root = world.dir.join("remotes");
    let names = make_many(&root, 12);
    let server = GitServer::http(&root);
    server.lists(names.iter().map(|name| server.listed(name)).collect());
    names.iter().skip(1).for_each(|name| server.fault(name, Fault::Slow));
    world.set("GITHUB_API_URL", format!("{}/api/v3", server.url())).set("LANG", "C.UTF-8");
    let mut all = Vec::new();
    for command in COMMANDS {
        let (status, shown) = Terminal::run(&world, command, COLUMNS, 40).end();
        assert_eq!(status, 0, "{shown}");
        all.push(vec![format!("$ specweave-jobs {}", command.join(" "))]);
        let mut bar: Frames = Vec::new();
        for line in lines(&shown) {
            let line = general(&line, &world.project.display().to_string());
            if line.starts_with(['█', '░', '▏', '▎', '▍', '▌', '▋', '▊', '▉']) {
                bar.push(line);
                continue;
            }
            all.extend((!bar.is_empty()).then(|| last_of(std::mem::take(&mut bar))));
            all.push(vec![line]);
        }
    }
    all
}

/// Of a bar's states, some, and the last one as it always is.
fn last_of(bar: Frames) -> Frames {
    let mut states: Frames = bar.into_iter().filter(|state| !state.contains("100%")).collect();
    states.dedup();
    let some = states.len().div_ceil(6).max(1);
    let mut states: Frames = states.into_iter().step_by(some).collect();
    states.push(format!("{} 12/12 (100%)", "█".repeat(30)));
    states
}

/// Without what is another one each time: an id, a folder, a duration.
fn general(line: &str, project: &str) -> String {
    let is_id =
        |word: &&str| word.len() == 8 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let id = line.split_whitespace().map(bare).find(|word| is_id(&word.as_str()));
    let line = id.map_or(line.to_owned(), |id| line.replace(&id, "ae362dfe"));
    line.replace(project, "~/my-project").trim_end().to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The recording: a command appears, what it says follows, a bar fills. Whoever does not animate it sees the end.
fn picture(recorded: &[Frames]) -> String {
    const LINE: usize = 18;
    let height = recorded.len() * LINE + 32;
    let mut body = String::new();
    let mut now = 0.5;
    for (place, frames) in recorded.iter().enumerate() {
        let y = 26 + place * LINE;
        let is_command = frames[0].starts_with("$ ");
        now += if is_command { 0.9 } else { 0.08 };
        let (end, before) = frames.split_last().expect("a line has a frame");
        for frame in before {
            let _ = writeln!(
                body,
                "<text x=\"16\" y=\"{y}\" visibility=\"hidden\"><set attributeName=\"visibility\" to=\"visible\" \
                 begin=\"{now:.2}s\" end=\"{:.2}s\"/>{}</text>",
                now + 0.35,
                escaped(frame)
            );
            now += 0.35;
        }
        let weight = if is_command { " font-weight=\"bold\" fill=\"#7ee787\"" } else { "" };
        let _ = writeln!(
            body,
            "<text class=\"end\" x=\"16\" y=\"{y}\"{weight}><set attributeName=\"visibility\" to=\"hidden\" begin=\"0s\" \
             end=\"{now:.2}s\"/>{}</text>",
            escaped(end)
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {height}\" font-family=\"ui-monospace, Menlo, Consolas, \
         monospace\" font-size=\"14\" fill=\"#e6edf3\" xml:space=\"preserve\">\n\
         <title>specweave-jobs clones twelve repositories in the background</title>\n\
         <rect width=\"860\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n{body}</svg>\n"
    )
}
