//! Editors: Neovim's plugin in a real Neovim.

use crate::world::World;
use crate::world::git_server::Fault;
use std::path::Path;
use std::process::Command;

#[test]
fn neovim_shows_a_job_as_it_goes_and_stops_and_resumes_it() {
    if !Command::new("nvim").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return eprintln!("passed over: there is no nvim");
    }
    let (mut world, server, names) = World::with_remotes(3);
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("editors/nvim");
    let programs = Path::new(env!("CARGO_BIN_EXE_specweave-jobs")).parent().unwrap().display().to_string();
    let sources: Vec<String> = names.iter().map(|name| server.repository(name)).collect();
    let (heal, state) = (world.dir.join("heal"), world.dir.join("state"));
    world
        .set("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
        .set("SPECWEAVE_JOBS_TEST_PLUGIN", plugin.display().to_string())
        .set("SPECWEAVE_JOBS_TEST_SOURCES", sources.join(" "))
        .set("SPECWEAVE_JOBS_TEST_HEAL", heal.display().to_string())
        .set("XDG_STATE_HOME", state.display().to_string());
    server.fault(&names[1], Fault::Silent);
    let script = plugin.join("test/run.lua");
    let said = std::thread::scope(|scope| {
        // What the editor does stands in a file, as it cannot reach this server.
        scope.spawn(|| {
            let began = std::time::Instant::now();
            while !heal.exists() && began.elapsed() < crate::world::DEADLINE {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            server.heal(&names[1]);
        });
        let mut command = world.program("nvim", ["--headless", "--clean", "-S"]);
        command.arg(&script);
        let said = world.finish(command);
        let _ = std::fs::write(&heal, "");
        said
    });
    assert!(said.status == Some(0) && said.stdout.contains("PASS"), "{said:?}");
}
