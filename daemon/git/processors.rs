//! The processors, shared by all repositories that are being built: what can use several takes the more, the fewer others are at
//! work.

use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Processors {
    count: usize,
    at_work: AtomicUsize,
}

/// Some of them, until it is dropped.
pub struct Share<'a> {
    of: &'a Processors,
    pub threads: usize,
}

impl Processors {
    pub fn new(count: usize) -> Self {
        Self { count, at_work: AtomicUsize::new(0) }
    }

    /// A share for one repository, beside those that others have by now.
    pub fn share(&self) -> Share<'_> {
        let others = self.at_work.fetch_add(1, Ordering::Relaxed);
        Share { of: self, threads: (self.count / (others + 1)).max(1) }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}
