//! What is released runs where it is installed: the npm packages here, which `dist/npm.sh` makes.

use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Command;

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The programs as they are released. npm would take a minute of a slow machine to compress what a debugger reads.
fn without_debug_information(world: &World) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_specweave-jobs")).parent().unwrap();
    let stripped = world.dir.join("stripped");
    std::fs::create_dir_all(&stripped).unwrap();
    for program in ["specweave-jobs", "specweave-jobsd", "specweave-jobs-mcp"] {
        let mut strip = world.program("strip", ["-S", "-o"]);
        strip.arg(stripped.join(program)).arg(built.join(program));
        world.finish(strip).ok();
    }
    stripped
}

#[test]
fn the_npm_package_runs_the_programs_of_this_system_with_its_arguments_and_its_exit_status() {
    if !has("npm") {
        assert!(std::env::var_os("SPECWEAVE_JOBS_TEST_CLIENTS").is_none(), "npm is needed here");
        return eprintln!("passed over: there is no npm");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let world = World::bare();
    let (out, place) = (world.dir.join("out"), world.dir.join("place"));
    std::fs::create_dir_all(&out).unwrap();
    std::fs::create_dir_all(&place).unwrap();
    let built = without_debug_information(&world);
    let mut make = world.program(root.join("dist/npm.sh"), ["0.1.0"]);
    make.arg(&built).arg(&out);
    world.finish(make).ok();
    let archives: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(archives.len(), 2, "{archives:?}");

    // The other platforms' packages are optional: where they cannot be had, nothing is missing.
    let mut install = world.program("npm", ["install", "--offline", "--silent", "--no-audit", "--no-fund"]);
    install.args(&archives).current_dir(&place);
    world.finish(install).ok();
    let program = place.join("node_modules/.bin/specweave-jobs");
    let run = |arguments: &[&str]| world.finish(world.program(&program, arguments));
    run(&["--version"]).ok().says("specweave-jobs 0.1.0");
    run(&["init"]).ok();
    run(&["show", "nothing"]).with_status(3).complains("there is no job");
    run(&["nonsense"]).with_status(2);
    // It starts the daemon that lies beside it.
    run(&["endpoint", "--start"]).ok().says("unix:");
    assert!(world.daemon_pid().is_some(), "{}", world.daemon_log());
    run(&["daemon", "stop"]).ok();

    std::fs::remove_dir_all(place.join("node_modules/@specweave-jobs")).unwrap();
    run(&["list"]).with_status(1).complains("npm did not install @specweave-jobs/");
}
