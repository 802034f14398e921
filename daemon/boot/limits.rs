//! What the daemon asks of the system for its own process.

use specweave_jobs::system;

/// Many clones at a time hold many files.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|most| most.min(16_384)).or(Some(16_384));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Tokens are in this process's memory: no core dump holds it, and no other process of the user's reads it.
pub fn keep_memory_to_itself() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    if let Err(error) = limited.map_err(Into::into).and_then(|()| system::keep_memory_private()) {
        tracing::warn!(%error, "a core dump could hold tokens");
    }
}
