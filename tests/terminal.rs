//! What a person at a terminal sees, at every width.

use crate::world::World;
use crate::world::git_server::Fault;
use crate::world::terminal::{Terminal, lines};
use unicode_width::UnicodeWidthStr;

const WIDTHS: [u16; 4] = [20, 40, 80, 200];

/// A world in which a clone of three repositories with long names waits for one of them.
fn waiting() -> (World, crate::world::git_server::GitServer, String) {
    let (world, server, names) = World::with_remotes(3);
    server.fault(&names[1], Fault::Silent);
    let id = world.start_clone(names.iter().map(|name| server.repository(name)));
    world.until(&id, "two clones", |job| job["progress"]["current"] == 2);
    (world, server, id)
}

fn assert_fits(shown: &str, columns: u16) {
    for line in lines(shown) {
        assert!(line.width() <= usize::from(columns), "{columns} columns:\n{line}\nin\n{shown:?}");
    }
}

#[test]
fn a_list_fits_the_terminal_and_a_pipe_gets_all_of_it() {
    let (world, _server, id) = waiting();
    for columns in WIDTHS {
        let (status, shown) = Terminal::run(&world, &["list"], columns, 24).end();
        assert_eq!(status, 0, "{shown}");
        assert!(shown.contains(&id), "{columns}: {shown}");
        let table: String =
            lines(&shown).into_iter().filter(|line| line.contains('|')).map(|line| line + "\n").collect();
        assert_fits(&table, columns);
    }
    world.run(["list"]).ok().says("| Job ID   | Type        | Progress");
}

#[test]
fn a_bar_fits_every_terminal_follows_a_resize_and_ctrl_c_leaves_the_job_alone() {
    let (world, _server, id) = waiting();
    for columns in WIDTHS {
        let mut terminal = Terminal::run(&world, &["follow", &id], columns, 24);
        terminal.until("67%");
        let other = if columns < 40 { columns + 5 } else { columns - 5 };
        terminal.resize(other, 24);
        terminal.types("\u{3}");
        let (status, shown) = terminal.end();
        assert_eq!(status, 130, "{shown}");
        assert!(shown.contains("goes on"), "{shown}");
        let is_drawn = |line: &String| line.contains("67%") && !line.contains("^C");
        let drawn: String = lines(&shown).into_iter().filter(is_drawn).map(|line| line + "\n").collect();
        assert_fits(&drawn, columns.max(other));
    }
    assert_eq!(world.job(&id)["state"], "running");
}

#[test]
fn watch_is_a_table_that_changes_and_gives_the_terminal_back() {
    let (world, server, id) = waiting();
    let mut terminal = Terminal::run(&world, &["watch"], 80, 24);
    terminal.until("1 running, 0 paused");
    terminal.until("2/3 (67%)");
    world.run(["kill", &id]).ok();
    terminal.until("0 running, 1 paused");
    // Also while no daemon runs.
    world.run(["daemon", "stop"]).ok();
    terminal.until("no daemon runs");
    server.heal("repo-001");
    world.run(["resume", &id, "--follow"]).ok();
    terminal.until("completed");
    terminal.types("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(status, 130);
    assert!(shown.starts_with("\u{1b}[?1049h") && shown.trim_end().ends_with("\u{1b}[?1049l"), "{shown:?}");
    assert_fits(&shown, 80);
    world.run(["watch", "--once"]).ok().says("No active jobs");
}

#[test]
fn nothing_is_removed_before_a_person_has_said_yes() {
    let (world, server, names) = World::with_remotes(1);
    let id = world.start_clone([server.repository(&names[0])]);
    world.wait(&id);
    for (answer, status) in [("\n", 1), ("no\n", 1), ("y\n", 0)] {
        let mut terminal = Terminal::run(&world, &["prune"], 80, 24);
        terminal.until("Remove 1 finished job? [y/N]");
        assert!(world.state().join("jobs").join(&id).exists());
        terminal.types(answer);
        let (came, shown) = terminal.end();
        assert_eq!(came, status, "{shown}");
        assert!(
            shown.contains(if status == 0 { "Removed 1 finished job." } else { "Nothing was removed." }),
            "{shown}"
        );
    }
    assert!(!world.state().join("jobs").join(&id).exists());
}

#[test]
fn ctrl_c_without_a_daemon_says_that_the_job_stops_and_what_goes_on_with_it() {
    let (mut world, server, names) = World::with_remotes(3);
    world.set("SPECWEAVE_JOBS_NO_DAEMON", "1");
    server.fault(&names[1], Fault::Silent);
    let sources: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let arguments: Vec<&str> = std::iter::once("clone").chain(sources.iter().map(String::as_str)).collect();
    let mut terminal = Terminal::run(&world, &arguments, 80, 24);
    terminal.until("67%");
    terminal.types("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(status, 130, "{shown}");
    assert!(shown.contains("stops here, and all that was done is kept"), "{shown}");
    assert!(!shown.contains("goes on."), "{shown}");
    assert_eq!(world.daemon_pid(), None);
    let id = world.run(["list", "--json"]).ok().json()["jobs"][0]["id"].as_str().unwrap().to_owned();
    assert!(shown.contains(&format!("specweave-jobs --resume {id}")), "{shown}");
    server.heal(&names[1]);
    world.run(["--resume", &id]).ok().says("Job completed: 3 repositories");
}

#[test]
fn a_terminal_that_knows_it_shows_progress_at_its_icon_and_only_such_a_one() {
    const BEGINS: &str = "\u{1b}]9;4;1;67\u{1b}\\";
    const ENDS: &str = "\u{1b}]9;4;0;0\u{1b}\\";
    let (mut world, server, id) = waiting();
    for knows in [false, true] {
        if knows {
            world.set("TERM_PROGRAM", "WezTerm");
        }
        let mut terminal = Terminal::run(&world, &["follow", &id], 80, 24);
        // A terminal throws away what it has not shown yet when somebody presses Ctrl-C.
        terminal.until(if knows { BEGINS } else { "67%" });
        terminal.types("\u{3}");
        let (_, shown) = terminal.end();
        assert_eq!((shown.contains(BEGINS), shown.contains(ENDS)), (knows, knows), "{shown:?}");
    }
    server.heal("repo-001");
    world.run(["kill", &id]).ok();
    let source = server.repository("repo-001");
    let (_, shown) = Terminal::run(&world, &["clone", &source, "-f", "--notify"], 80, 24).end();
    assert!(shown.contains("\u{1b}]9;specweave-jobs: Job completed: 1 repo\u{7}"), "{shown:?}");
}
