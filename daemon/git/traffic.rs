//! What has come of one clone, counted where it arrives and looked at from elsewhere.

use crate::job::snapshot::UnderWay;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How far a clone is, for people.
#[derive(Debug, Default)]
pub struct Traffic {
    began: Mutex<Option<Instant>>,
    received: AtomicU64,
    objects: AtomicU64,
    total_objects: AtomicU64,
}

impl Traffic {
    /// How far it is; `None` before the clone has its turn.
    pub fn shown(&self, item: u32, name: &Arc<str>) -> Option<UnderWay> {
        let took = self.began.lock().expect("no holder panics").as_ref()?.elapsed();
        let received = self.received.load(Ordering::Relaxed);
        Some(UnderWay {
            item,
            name: name.clone(),
            received,
            per_second: (received as f64 / took.as_secs_f64().max(0.1)) as u64,
            objects: self.objects.load(Ordering::Relaxed),
            total_objects: self.total_objects.load(Ordering::Relaxed),
        })
    }

    pub(super) fn begin(&self) {
        *self.began.lock().expect("no holder panics") = Some(Instant::now());
        for count in [&self.received, &self.objects, &self.total_objects] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn add(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn expect_objects(&self, count: usize) {
        self.total_objects.store(count as u64, Ordering::Relaxed);
    }

    pub(super) fn add_object(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }
}
