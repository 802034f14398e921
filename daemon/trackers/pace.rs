//! How often a server is asked: one gate for each server and token, shared by all jobs of the daemon. It knows until
//! when the server wants to be left alone, and how much it still gives.

use crate::net::deadline::Deadline;
use crate::net::secrets::Login;
use http::HeaderMap;
use specweave_jobs::clock::{self, Millis};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use url::Url;

/// The gate of one server and token.
#[derive(Default)]
pub struct Gate(Mutex<Known>);

#[derive(Default)]
struct Known {
    closed_until: Option<Deadline>,
    /// Requests that the server still gives before `reset`, when it says so.
    left: Option<u64>,
    /// How many it gives then; 0 where it does not say so.
    limit: u64,
    reset: Millis,
}

/// What a server has said of its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub host: String,
    pub remaining: u64,
    pub limit: u64,
    pub reset: Millis,
}

/// By server and the hash of the token.
type Gates = Mutex<HashMap<(String, u64), Arc<Gate>>>;
static GATES: LazyLock<Gates> = LazyLock::new(Mutex::default);

/// What all servers have said that were asked, the tightest of each.
pub fn budgets() -> Vec<Budget> {
    let gates = GATES.lock().expect("no holder panics");
    let told = gates.iter().filter_map(|((origin, _), gate)| {
        let known = gate.0.lock().expect("no holder panics");
        let host = Url::parse(origin).ok()?.host_str()?.to_owned();
        Some(Budget { host, remaining: known.left?, limit: known.limit, reset: known.reset })
    });
    let mut all: Vec<Budget> = told.collect();
    all.sort_by(|one, other| (&one.host, one.remaining).cmp(&(&other.host, other.remaining)));
    all.dedup_by(|one, other| one.host == other.host);
    all
}

impl Gate {
    /// The gate to `base` for this login.
    pub fn of(base: &Url, login: Option<&Login>) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        login.map(|login| (&login.user, login.secret.reveal())).hash(&mut hasher);
        let key = (base.origin().ascii_serialization(), hasher.finish());
        GATES.lock().expect("no holder panics").entry(key).or_default().clone()
    }

    /// How long nobody may ask. `None` when the gate is open.
    pub fn closed(&self) -> Option<Duration> {
        let until = self.0.lock().expect("no holder panics").closed_until;
        until
            .map(|until| until.left())
            .filter(|left| *left > 0)
            .map(|left| Duration::from_millis(left as u64))
    }

    /// Somebody wants to know whether it is open already.
    pub fn open(&self) {
        self.0.lock().expect("no holder panics").closed_until = None;
    }

    pub fn close(&self, wait: Duration) {
        let until = Deadline::after(wait);
        let mut known = self.0.lock().expect("no holder panics");
        let is_later = known.closed_until.is_none_or(|known| known.left() < until.left());
        if is_later {
            known.closed_until = Some(until);
        }
    }

    /// Notes what a reply says of the quota; the one that spends the last point closes the gate.
    pub fn learn(&self, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        let (Some(left), Some(reset)) = (number("x-ratelimit-remaining"), number("x-ratelimit-reset")) else {
            return;
        };
        let limit = number("x-ratelimit-limit").and_then(|limit| u64::try_from(limit).ok());
        let reset = reset.saturating_mul(1000).saturating_add(1000);
        let spent = {
            let mut known = self.0.lock().expect("no holder panics");
            (known.left, known.reset) = (u64::try_from(left).ok(), reset);
            known.limit = limit.unwrap_or_default();
            left <= 0
        };
        if spent && let Some(wait) = crate::net::asked_to_wait(headers) {
            self.close(wait);
        }
    }

    /// The milliseconds of waiting that `requests` more will surely meet.
    pub fn ahead(&self, requests: u64) -> Millis {
        let known = self.0.lock().expect("no holder panics");
        match known.left {
            Some(left) if left < requests => (known.reset - clock::now()).max(0),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_shared_by_server_and_token_and_closes_for_both() {
        let one = Url::parse("https://one.example/api/v3").unwrap();
        let other = Url::parse("https://other.example").unwrap();
        let login = |token| Login::new("u".into(), token);
        let gate = Gate::of(&one, login("a").as_ref());
        gate.close(Duration::from_secs(60));
        assert!(
            Gate::of(&one, login("a").as_ref()).closed().is_some_and(|left| left > Duration::from_secs(50))
        );
        for open in
            [Gate::of(&one, login("b").as_ref()), Gate::of(&one, None), Gate::of(&other, login("a").as_ref())]
        {
            assert_eq!(open.closed(), None);
        }
        gate.open();
        assert_eq!(gate.closed(), None);
    }

    #[test]
    fn the_last_point_closes_the_gate_and_a_small_rest_tells_of_a_wait() {
        let gate = Gate::default();
        let reply = |left: &str, reset: i64| {
            let pairs =
                [("x-ratelimit-remaining", left.to_owned()), ("x-ratelimit-reset", reset.to_string())];
            pairs
                .into_iter()
                .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        let reset = clock::now() / 1000 + 600;
        gate.learn(&reply("5", reset));
        assert_eq!((gate.closed(), gate.ahead(5)), (None, 0));
        assert!((590_000..=602_000).contains(&gate.ahead(6)));
        gate.learn(&reply("0", reset));
        assert!(gate.closed().is_some_and(|left| left > Duration::from_secs(590)));
    }
}
