//! When the next write may be sent, and how long many of them take: what GitHub documents of its secondary limits. Pure.

use crate::trackers::edits::WritePace;
use specweave_jobs::clock::Millis;
use std::collections::VecDeque;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 3_600_000;

/// The writes of one run, and the items that were made before it.
#[derive(Clone, Debug)]
pub struct Paced {
    pace: WritePace,
    last: Option<Millis>,
    /// When items were made, oldest first.
    created: VecDeque<Millis>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Create,
    Change,
}

impl Paced {
    pub fn new(pace: WritePace, created: &[Millis]) -> Self {
        let mut created: Vec<Millis> = created.to_vec();
        created.sort_unstable();
        Self { pace, last: None, created: created.into() }
    }

    /// The moment from which a write may be sent.
    pub fn next(&self, write: Write, now: Millis) -> Millis {
        let mut at = now.max(self.last.map_or(now, |last| (last + self.pace.gap).min(now + self.pace.gap)));
        if write == Write::Create {
            for (most, span) in [(self.pace.creates_a_minute, MINUTE), (self.pace.creates_an_hour, HOUR)] {
                let most = most as usize;
                // Moments ahead of now are a clock's that was wrong.
                if most > 0 && self.created.len() >= most {
                    let oldest = self.created[self.created.len() - most];
                    at = at.max((oldest + span).min(now + span));
                }
            }
        }
        at
    }

    pub fn sent(&mut self, write: Write, at: Millis) {
        self.last = Some(at);
        if write == Write::Create {
            self.created.push_back(at);
            let most = self.pace.creates_a_minute.max(self.pace.creates_an_hour) as usize;
            while self.created.len() > most.max(1) {
                self.created.pop_front();
            }
        }
    }

    /// The tracker has answered the write that was sent last.
    pub fn answered(&mut self, at: Millis) {
        self.last = Some(at);
    }

    /// How long these writes take from now on, beside what their answers take.
    pub fn ahead(&self, creates: u64, changes: u64, now: Millis) -> Millis {
        let mut plan = self.clone();
        let mut at = now;
        for _ in 0..creates {
            at = plan.next(Write::Create, at);
            plan.sent(Write::Create, at);
        }
        for _ in 0..changes {
            at = plan.next(Write::Change, at);
            plan.sent(Write::Change, at);
        }
        at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: WritePace = WritePace { gap: 1_000, creates_a_minute: 80, creates_an_hour: 500, lag: 0 };

    #[test]
    fn ten_thousand_items_take_a_day() {
        let ahead = Paced::new(GITHUB, &[]).ahead(10_000, 0, 0);
        assert!((19 * HOUR..20 * HOUR).contains(&ahead), "{ahead}");
        assert_eq!(Paced::new(GITHUB, &[]).ahead(0, 51, 0), 50_000);
        let free = WritePace { gap: 0, creates_a_minute: 0, creates_an_hour: 0, lag: 0 };
        assert_eq!(Paced::new(free, &[]).ahead(10_000, 10_000, 5), 0);
    }

    #[test]
    fn no_minute_and_no_hour_has_more_than_its_share() {
        let mut paced = Paced::new(GITHUB, &[]);
        let mut sent: Vec<Millis> = Vec::new();
        let mut now = 0;
        for _ in 0..2_000 {
            now = paced.next(Write::Create, now);
            paced.sent(Write::Create, now);
            sent.push(now);
        }
        assert!(sent.windows(2).all(|two| two[1] - two[0] >= 1_000));
        assert!(sent.windows(501).all(|some| some[500] - some[0] >= HOUR));
    }

    #[test]
    fn the_next_write_waits_from_the_answer() {
        let mut paced = Paced::new(GITHUB, &[]);
        paced.sent(Write::Change, 0);
        paced.answered(700);
        assert_eq!(paced.next(Write::Change, 900), 1_700);
        assert_eq!(paced.next(Write::Change, 5_000), 5_000);
    }

    #[test]
    fn a_restart_and_a_clock_that_jumps_back_change_little() {
        let created: Vec<Millis> = (0..500).map(|n| n * 1_000).collect();
        assert_eq!(Paced::new(GITHUB, &created).next(Write::Create, 600_000), HOUR);
        assert!(Paced::new(GITHUB, &created).next(Write::Create, -10 * HOUR) <= -9 * HOUR);
    }
}
