//! Named steps at which tests end a process, to prove that nothing is lost there, and a clock that tests move.
//! Compiled in only with debug assertions: a release has none of it.
//!
//! `SPECWEAVE_JOBS_CRASH=journal-synced:abort@3` ends the process the third time it reaches that step;
//! `journal-synced:slow@1` makes the first time take a second, as a busy disk does; `journal.jsonl-sync:fail@2` lets the
//! second sync of that file fail, as a disk does that has lost what it was given;
//! `SPECWEAVE_JOBS_CRASH_TRACE=FILE` writes down every step that is reached; `SPECWEAVE_JOBS_CLOCK=FILE` names a
//! file with the milliseconds by which the clock is off.

use std::path::Path;

/// From now on this process obeys; a client that happens to have the variables does not.
pub fn arm() {
    #[cfg(debug_assertions)]
    armed::arm();
}

/// A durable step has been taken.
#[inline]
pub fn point(_step: &str) {
    #[cfg(debug_assertions)]
    armed::reached(_step);
}

/// As [`point`], named for the file: `result.json-renamed`; all stories share `story.md`.
#[inline]
pub fn file_point(_path: &Path, _step: &str) {
    #[cfg(debug_assertions)]
    armed::reached(&armed::step_of(_path, _step));
}

/// Whether the disk does what is named for the file: it fails where a test wants it to.
#[inline]
pub fn fault(_path: &Path, _step: &str) -> std::io::Result<()> {
    #[cfg(debug_assertions)]
    if armed::fails(&armed::step_of(_path, _step)) {
        return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
    }
    Ok(())
}

/// By how many milliseconds the clock is off.
#[inline]
pub fn clock_offset() -> i64 {
    #[cfg(debug_assertions)]
    return armed::clock_offset();
    #[cfg(not(debug_assertions))]
    0
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::{LazyLock, Mutex, OnceLock};

    #[derive(Clone, Copy)]
    enum Deed {
        Abort,
        Slow,
        Fail,
    }

    struct Orders {
        /// The step, what happens there, and the how-manieth time.
        order: Option<(String, Deed, u32)>,
        trace: Option<Mutex<std::fs::File>>,
        reached: Mutex<HashMap<String, u32>>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();

    pub fn arm() {
        let order = std::env::var("SPECWEAVE_JOBS_CRASH").ok().and_then(|text| {
            let (step, rest) = text.split_once(':')?;
            let (deed, count) = match rest.split_once('@')? {
                ("abort", count) => (Deed::Abort, count),
                ("slow", count) => (Deed::Slow, count),
                ("fail", count) => (Deed::Fail, count),
                _ => return None,
            };
            Some((step.to_owned(), deed, count.parse().ok()?))
        });
        let trace = std::env::var_os("SPECWEAVE_JOBS_CRASH_TRACE")
            .and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
        if order.is_some() || trace.is_some() {
            ORDERS.get_or_init(|| Orders { order, trace: trace.map(Mutex::new), reached: Mutex::default() });
        }
    }

    /// A file's step. There may be thousands of stories, and what happens to one of them is the same step.
    pub fn step_of(path: &std::path::Path, step: &str) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".md") { format!("story.md-{step}") } else { format!("{name}-{step}") }
    }

    /// Whether a step that was reached is to fail.
    pub fn fails(step: &str) -> bool {
        let Some(Orders { order: Some((name, Deed::Fail, nth)), reached, .. }) = ORDERS.get() else {
            return false;
        };
        if name != step {
            return false;
        }
        let mut reached = reached.lock().expect("no holder panics");
        let count = reached.entry(step.to_owned()).or_default();
        *count += 1;
        count == nth
    }

    pub fn reached(step: &str) {
        let Some(orders) = ORDERS.get() else { return };
        if let Some(trace) = &orders.trace {
            let _ = writeln!(trace.lock().expect("no holder panics"), "{step}");
        }
        let mut reached = orders.reached.lock().expect("no holder panics");
        let count = reached.entry(step.to_owned()).or_default();
        *count += 1;
        match &orders.order {
            Some((name, Deed::Abort, nth)) if name == step && nth == count => {
                // As `kill -9` does it: no destructor runs, and nothing else happens either.
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
            Some((name, Deed::Slow, nth)) if name == step && nth == count => {
                drop(reached);
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
            _ => {}
        }
    }

    pub fn clock_offset() -> i64 {
        static FILE: LazyLock<Option<PathBuf>> =
            LazyLock::new(|| std::env::var_os("SPECWEAVE_JOBS_CLOCK").map(PathBuf::from));
        let text = FILE.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}
