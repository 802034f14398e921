//! Tests run side by side, each in a world of its own. Those that measure wait until no other world is there, and keep
//! others from beginning.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};

struct Worlds {
    open: usize,
    closed_to_others: bool,
}

static WORLDS: Mutex<Worlds> = Mutex::new(Worlds { open: 0, closed_to_others: false });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

fn worlds() -> MutexGuard<'static, Worlds> {
    WORLDS.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// One world's place among the others.
pub struct Place(());

impl Place {
    pub fn take() -> Self {
        let closed = |worlds: &mut Worlds| worlds.closed_to_others && !IS_ALONE.get();
        let mut worlds = CHANGED.wait_while(worlds(), closed).unwrap_or_else(|broken| broken.into_inner());
        worlds.open += 1;
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        worlds().open -= 1;
        CHANGED.notify_all();
    }
}

/// While it lives, only this thread has worlds.
pub struct Alone(());

impl Alone {
    pub fn wait() -> Self {
        let busy = |worlds: &mut Worlds| worlds.open > 0 || worlds.closed_to_others;
        let mut worlds = CHANGED.wait_while(worlds(), busy).unwrap_or_else(|broken| broken.into_inner());
        worlds.closed_to_others = true;
        IS_ALONE.set(true);
        Self(())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        worlds().closed_to_others = false;
        IS_ALONE.set(false);
        CHANGED.notify_all();
    }
}
