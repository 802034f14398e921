//! Any bytes as `endpoint.json` and as `worker.pid`: an absolute socket or nothing, a process that lives or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use specweave_jobs::process;
use specweave_jobs::project::Endpoint;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("fuzz-endpoint-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    if let Ok(endpoint) = Endpoint::read(&path) {
        assert!(endpoint.socket().unwrap().is_absolute());
    }
    if let Some((pid, is_alive)) = process::read_pid(&path) {
        assert!(pid > 1 || !is_alive);
        process::is_daemon(pid);
    }
});
