//! Tests run side by side, each in a world of its own. Those that measure wait until no other world is there, and keep
//! others from beginning.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};

struct Worlds {
    open: usize,
    /// Tests that wait to be alone. Nothing else begins before them, or they would wait for a chance to the end.
    wait_alone: usize,
    closed_to_others: bool,
}

static WORLDS: Mutex<Worlds> = Mutex::new(Worlds { open: 0, wait_alone: 0, closed_to_others: false });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
    /// Worlds that this thread has opened: who has one already may have another, or neither test would ever end.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

fn worlds() -> MutexGuard<'static, Worlds> {
    WORLDS.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// Waits as long as it `is_in_the_way`.
fn wait_while(is_in_the_way: impl Fn(&Worlds) -> bool) -> MutexGuard<'static, Worlds> {
    CHANGED.wait_while(worlds(), |worlds| is_in_the_way(worlds)).unwrap_or_else(|broken| broken.into_inner())
}

/// One world's place among the others.
pub struct Place(());

impl Place {
    pub fn take() -> Self {
        let begins = !IS_ALONE.get() && OWN.get() == 0;
        let mut worlds = wait_while(|worlds| begins && (worlds.closed_to_others || worlds.wait_alone > 0));
        worlds.open += 1;
        OWN.set(OWN.get() + 1);
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        worlds().open -= 1;
        OWN.set(OWN.get().saturating_sub(1));
        CHANGED.notify_all();
    }
}

/// How many worlds this thread has opened, for [`belongs_to`].
pub fn own() -> usize {
    OWN.get()
}

/// This thread belongs to a test whose own thread has opened so many worlds: where it has one, this may have more, as that test
/// keeps its world until this is done.
pub fn belongs_to(own: usize) {
    OWN.set(OWN.get() + own);
}

/// While it lives, only this thread has worlds.
pub struct Alone(());

impl Alone {
    pub fn wait() -> Self {
        worlds().wait_alone += 1;
        let mut worlds = wait_while(|worlds| worlds.open > 0 || worlds.closed_to_others);
        worlds.wait_alone -= 1;
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
