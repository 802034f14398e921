//! Folders of worlds that have ended. On a disk they are removed when all tests have: for half a minute after many files were
//! removed, ext4 takes a millisecond to make a new one beside them, and every other test would seem slow. In memory they are
//! removed at once.

use std::path::{Path, PathBuf};
use std::sync::Once;

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("sw-ended-{}", std::process::id()))
}

fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|system| system.f_type as u64 == TMPFS)
}

/// Puts a world's folder where it is nobody's any more.
pub fn bury(world: &Path) {
    if is_in_memory(world) {
        let _ = std::fs::remove_dir_all(world);
        return;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = std::fs::create_dir_all(folder());
        // SAFETY: the function may be called when the process ends, and takes no part in unwinding.
        unsafe { libc::atexit(clear) };
    });
    let name = world.file_name().expect("a world has a name");
    // A disk that is mounted in it is to be found where it was.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has_mounts = mounts.contains(&format!("{}/", world.display()));
    if has_mounts || std::fs::rename(world, folder().join(name)).is_err() {
        let _ = std::fs::remove_dir_all(world);
    }
}

extern "C" fn clear() {
    let _ = std::fs::remove_dir_all(folder());
}
