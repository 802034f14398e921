//! How many repositories a host is asked for at a time, over all jobs of this daemon: it begins moderate, and what the host takes is
//! learnt from how it answers. [`Learnt`] decides and is pure; [`Host`] makes others wait.

use crate::git::CloneError;
use crate::git::address::host_of;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// At the beginning.
const FIRST: usize = 16;

/// However well a host answers; GitHub asks for at most 100.
const MOST: usize = 64;

/// However badly: what is left of a job must come to its end, also if that is a failure of each.
const LEAST: usize = 4;

/// A host answers slowly if it takes so many times as long as it has shown that it can, and so much longer.
const SLOW_TIMES: u32 = 4;
const SLOW_FROM: Duration = Duration::from_millis(250);

/// What became of a turn, in respect of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outcome {
    Well,
    /// It asked to wait, or broke off.
    TooMuch,
    /// It says nothing about how much the host takes.
    #[default]
    Neither,
}

impl Outcome {
    fn of<T>(result: &Result<T, CloneError>) -> Self {
        match result {
            Ok(_) => Self::Well,
            Err(CloneError::Limited(_) | CloneError::Network(_) | CloneError::Troubled(_)) => Self::TooMuch,
            Err(_) => Self::Neither,
        }
    }
}

/// What a host takes, as far as it has shown.
#[derive(Debug)]
struct Learnt {
    at_a_time: usize,
    /// How often less was asked for since. What began before the last time says nothing about less.
    cuts: u64,
    /// Turns that went well, or slowly, since the number was changed.
    well: usize,
    slow: usize,
    /// The shortest time to an answer, and what it takes at the moment.
    shortest: Option<Duration>,
    usual: Duration,
}

impl Learnt {
    fn new() -> Self {
        Self { at_a_time: FIRST, cuts: 0, well: 0, slow: 0, shortest: None, usual: Duration::ZERO }
    }

    fn answered(&mut self, after: Duration) {
        let is_first = self.shortest.is_none();
        self.shortest = Some(self.shortest.map_or(after, |known| known.min(after)));
        self.usual = if is_first { after } else { (self.usual * 7 + after) / 8 };
    }

    fn is_slow(&self) -> bool {
        self.shortest.is_some_and(|shortest| self.usual > shortest * SLOW_TIMES + SLOW_FROM)
    }

    /// Takes a turn into account that began after `cuts` cuts.
    fn ended(&mut self, outcome: Outcome, cuts: u64) {
        match outcome {
            Outcome::TooMuch if cuts == self.cuts => self.cut(self.at_a_time / 2),
            Outcome::Well if self.is_slow() => {
                self.slow += 1;
                if self.slow >= self.at_a_time && cuts == self.cuts {
                    self.cut(self.at_a_time * 3 / 4);
                }
            }
            Outcome::Well => {
                self.well += 1;
                // Each that goes well makes room for one more, which doubles the number in a round, until the host has once shown
                // that it was too much; from then on it is one more a round.
                if self.cuts == 0 || self.well >= self.at_a_time {
                    self.well = 0;
                    self.at_a_time = (self.at_a_time + 1).min(MOST);
                }
            }
            Outcome::TooMuch | Outcome::Neither => {}
        }
    }

    fn cut(&mut self, to: usize) {
        self.at_a_time = to.max(LEAST);
        (self.well, self.slow) = (0, 0);
        self.cuts += 1;
    }
}

/// When any host was last heard of.
static LAST_HEARD: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether any host was heard of since then.
pub fn is_anybody_heard_since(moment: Instant) -> bool {
    LAST_HEARD.lock().expect("no holder panics").is_some_and(|heard| heard >= moment)
}

/// A host, and those who wait for it.
pub struct Host {
    turns: Semaphore,
    state: Mutex<State>,
}

struct State {
    learnt: Learnt,
    /// Turns that are given out, and those that are free.
    turns: usize,
    /// Whether it was ever heard of, whatever it said.
    heard: bool,
}

impl Host {
    /// The host of an address, one for all jobs of this daemon.
    pub fn of(address: &str) -> Arc<Self> {
        static HOSTS: LazyLock<Mutex<HashMap<String, Arc<Host>>>> = LazyLock::new(Mutex::default);
        let mut hosts = HOSTS.lock().expect("no holder panics");
        hosts.entry(host_of(address)).or_insert_with(|| Arc::new(Self::new())).clone()
    }

    fn new() -> Self {
        let state = State { learnt: Learnt::new(), turns: FIRST, heard: false };
        Self { turns: Semaphore::new(FIRST), state: Mutex::new(state) }
    }

    pub(super) async fn turn(&self) -> Turn<'_> {
        let permit = self.turns.acquire().await.expect("the semaphore is never closed");
        let cuts = self.state.lock().expect("no holder panics").learnt.cuts;
        Turn { host: self, permit: Some(permit), cuts, outcome: Outcome::default() }
    }

    /// Notes how long the host took to say what a repository has.
    pub(super) fn answered(&self, after: Duration) {
        self.state.lock().expect("no holder panics").learnt.answered(after);
    }

    /// Notes that it was heard of.
    pub(super) fn heard(&self) {
        self.state.lock().expect("no holder panics").heard = true;
        *LAST_HEARD.lock().expect("no holder panics") = Some(Instant::now());
    }

    /// Whether any job of this daemon has heard of it.
    pub fn was_heard(&self) -> bool {
        self.state.lock().expect("no holder panics").heard
    }
}

/// Leave to ask a host, until it is dropped.
pub(super) struct Turn<'a> {
    host: &'a Host,
    permit: Option<SemaphorePermit<'a>>,
    cuts: u64,
    outcome: Outcome,
}

impl Turn<'_> {
    pub(super) fn ended<T>(mut self, result: &Result<T, CloneError>) {
        self.outcome = Outcome::of(result);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.host.state.lock().expect("no holder panics");
        state.learnt.ended(self.outcome, self.cuts);
        let wanted = state.learnt.at_a_time;
        if state.turns > wanted {
            state.turns -= 1;
            permit.forget();
        } else if state.turns < wanted {
            self.host.turns.add_permits(wanted - state.turns);
            state.turns = wanted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(50);

    fn answering(learnt: &mut Learnt, times: usize, after: Duration) {
        for _ in 0..times {
            learnt.answered(after);
            learnt.ended(Outcome::Well, learnt.cuts);
        }
    }

    #[test]
    fn a_host_that_answers_well_is_asked_for_twice_as_much_each_round_up_to_a_limit() {
        let mut learnt = Learnt::new();
        answering(&mut learnt, FIRST, FAST);
        assert_eq!(learnt.at_a_time, 2 * FIRST);
        answering(&mut learnt, 10 * MOST, FAST);
        assert_eq!(learnt.at_a_time, MOST);
    }

    #[test]
    fn a_host_that_breaks_off_is_asked_for_half_once_a_round_and_then_for_one_more_a_round() {
        let mut learnt = Learnt::new();
        answering(&mut learnt, 2 * MOST, FAST);
        // All that were under way break together.
        for _ in 0..MOST {
            learnt.ended(Outcome::TooMuch, 0);
        }
        assert_eq!(learnt.at_a_time, MOST / 2);
        answering(&mut learnt, MOST / 2, FAST);
        assert_eq!(learnt.at_a_time, MOST / 2 + 1);
        for _ in 0..10 {
            learnt.ended(Outcome::TooMuch, learnt.cuts);
        }
        assert_eq!(learnt.at_a_time, LEAST);
    }

    #[test]
    fn a_host_that_answers_ever_more_slowly_is_asked_for_less() {
        let mut learnt = Learnt::new();
        answering(&mut learnt, FIRST, FAST);
        let before = learnt.at_a_time;
        answering(&mut learnt, 3 * before, Duration::from_secs(2));
        assert!(learnt.at_a_time < before, "{learnt:?}");
        // A repository that is not there says nothing.
        let stays = learnt.at_a_time;
        (0..100).for_each(|_| learnt.ended(Outcome::Neither, learnt.cuts));
        assert_eq!(learnt.at_a_time, stays);
    }

    #[tokio::test]
    async fn turns_become_more_and_fewer_as_the_host_answers() {
        let host = Host::new();
        let well = Ok::<(), CloneError>(());
        for _ in 0..2 * MOST {
            host.turn().await.ended(&well);
        }
        assert_eq!(host.turns.available_permits(), MOST);
        host.turn().await.ended(&Err::<(), _>(CloneError::Limited(FAST)));
        // What is free already goes as it is given back.
        for _ in 0..MOST {
            drop(host.turn().await);
        }
        assert_eq!(host.turns.available_permits(), MOST / 2);
    }
}
