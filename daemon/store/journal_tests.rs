use super::*;
use crate::job::order::Order;
use crate::job::paged_sources::{Counts, End, PageDone};
use crate::job::{Done, Outcome, PauseReason, PlannedItem, State};
use crate::model::failure::{FailedItem, Failure, Reason};
use crate::store::lines;
use crate::store::mac::FileKey;
use proptest::prelude::*;
use specweave_jobs::v1::Action;
use std::collections::BTreeMap;

fn events() -> Vec<Event> {
    vec![
        Event::Created {
            order: Order::Clone(Box::default()),
            request_id: "r-1".into(),
            settings: BTreeMap::from([("GITHUB_API_URL".into(), "http://127.0.0.1:1".into())]),
            terms: Default::default(),
        },
        Event::Started,
        Event::Planned {
            items: vec![
                PlannedItem { name: "a".into(), ..PlannedItem::default() },
                PlannedItem {
                    name: "b\n\"é".into(),
                    action: Action::Clone,
                    target: "repositories/b".into(),
                    url: "https://example.org/b".into(),
                },
            ],
        },
        Event::ItemDone { item: 0, how: Done::Now },
        Event::ItemFailed {
            item: 1,
            failure: Failure {
                host: "example.org".into(),
                variables: vec!["GITHUB_TOKEN".into()],
                url: "https://example.org/b".into(),
                path: "repositories/b".into(),
                ..Failure::new(Reason::NotFound, "no such repository")
            },
        },
        Event::Ended(Outcome::CompletedWithWarnings { summary: "1 of 2".into() }),
    ]
}

fn id() -> JobId {
    JobId::parse("ae362dfe").unwrap()
}

fn key() -> PlaceKey {
    PlaceKey::of_test()
}

/// A journal with these events, whoever's it is.
fn of<'a>(key: &FileKey, events: impl Iterator<Item = (i64, &'a Event)>) -> Vec<u8> {
    lines::written(key, events.map(|(at, event)| content(at, event)))
}

fn written() -> Vec<u8> {
    of(&key().job(&id(), FILE), events().iter().enumerate().map(|(at, event)| (at as i64, event)))
}

/// The job after the longest valid prefix, and that prefix's length.
fn replay_bytes(bytes: &[u8], id: JobId) -> (Option<Job>, usize) {
    let mut job = None;
    let valid = lines::valid(bytes, &key().job(&id, FILE), |content| take(&mut job, &id, content));
    (job, valid)
}

/// The job after the first `count` events.
fn after(count: usize) -> Option<Job> {
    let mut events = events().into_iter().enumerate().take(count);
    let (at, first) = events.next()?;
    let mut job = Job::create(id(), at as i64, first).unwrap();
    for (at, event) in events {
        job.apply(at as i64, event).unwrap();
    }
    Some(job)
}

#[test]
fn a_journal_truncated_at_any_byte_yields_the_events_before_it() {
    let bytes = written();
    for cut in 0..=bytes.len() {
        let whole_lines = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        let (job, valid) = replay_bytes(&bytes[..cut], id());
        assert_eq!(job, after(whole_lines), "cut at {cut}");
        assert!(valid <= cut);
    }
}

#[test]
fn a_byte_flipped_anywhere_yields_a_prefix() {
    let bytes = written();
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut torn = bytes.clone();
            torn[at] ^= bit;
            let lines_before = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            let (job, _) = replay_bytes(&torn, id());
            // Upper and lower case of a checksum's digit are the same number.
            assert!(job == after(lines_before) || job == after(events().len()), "flipped at {at}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_set_aside_and_the_journal_goes_on_after_the_prefix() {
    let folder = std::env::temp_dir().join(format!("journal-{:x}", disk::random()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("journal.jsonl");
    let mut bytes = written();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, &bytes).unwrap();

    let mut replay = Journal::replay(&path, id(), &key()).unwrap();
    let torn = std::fs::read(replay.set_aside.unwrap()).unwrap();
    assert!(torn.starts_with(b"{\"crc\":\"") && bytes.ends_with(&torn));
    replay.journal.append(9, events().last().unwrap()).unwrap();
    replay.journal.sync().unwrap();
    let again = Journal::replay(&path, id(), &key()).unwrap();
    assert!(again.set_aside.is_none() && again.job.has_ended());

    let first = || [(0, &events()[0])].map(|(at, event): (i64, &Event)| (at, event.clone()));
    let planted = |key: &FileKey| of(key, first().iter().map(|(at, event)| (*at, event)));
    let other_job = key().job(&JobId::parse("other").unwrap(), FILE);
    for planted in [planted(&other_job), planted(&key().job(&id(), "another file"))] {
        std::fs::write(&path, &planted).unwrap();
        let read = Journal::replay(&path, id(), &key());
        assert!(matches!(read, Err(JournalError::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), planted, "what is not ours stays as it is");
    }

    std::fs::write(&path, b"not a journal\n").unwrap();
    let Err(JournalError::NoJob { aside, .. }) = Journal::replay(&path, id(), &key()) else { panic!() };
    assert_eq!(std::fs::read(aside).unwrap(), b"not a journal\n");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Any event, fitting or not.
fn failure() -> impl Strategy<Value = Failure> {
    ".*".prop_map(|message| Failure::new(Reason::Remote, message))
}

fn planned() -> impl Strategy<Value = PlannedItem> {
    (".{0,8}", ".{0,4}", ".{0,4}").prop_map(|(name, target, url)| PlannedItem {
        name,
        target,
        url,
        action: Action::Push,
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let reason = prop_oneof![
        Just(PauseReason::Killed),
        Just(PauseReason::RateLimited),
        Just(PauseReason::Crashes),
        Just(PauseReason::Storage)
    ];
    let how = prop_oneof![Just(Done::Now), Just(Done::Before)];
    let outcome = prop_oneof![
        Just(Outcome::Completed),
        ".*".prop_map(|summary| Outcome::CompletedWithWarnings { summary }),
        failure().prop_map(|failure| Outcome::Failed { failure })
    ];
    prop_oneof![
        1 => Just(events().remove(0)),
        4 => Just(Event::Started),
        2 => prop::collection::vec(planned(), 0..6).prop_map(|items| Event::Planned { items }),
        8 => (0..7_u32, how).prop_map(|(item, how)| Event::ItemDone { item, how }),
        4 => (0..7_u32, failure()).prop_map(|(item, failure)| Event::ItemFailed { item, failure }),
        2 => (reason, ".*", prop::option::of(any::<i64>()))
            .prop_map(|(reason, message, resume_at)| Event::Paused { reason, message, resume_at }),
        2 => prop::collection::vec(0..7_u32, 0..3).prop_map(|only| Event::Retried { only }),
        2 => prop::collection::vec(0..7_u32, 0..3).prop_map(|items| Event::Lost { items }),
        1 => prop::collection::vec(".{0,8}", 0..3).prop_map(|sources| Event::SourcesPlanned { sources }),
        4 => (0..3_u32, any::<u32>(), prop::option::of(any::<u32>()), 0..3_usize).prop_map(page),
        2 => (0..3_u32, prop_oneof![Just(End::Read), failure().prop_map(|failure| End::Failed(failure.into()))])
            .prop_map(|(source, end)| Event::SourceEnded { source, end }),
        3 => outcome.prop_map(Event::Ended),
    ]
}

fn page((source, done, total, failed): (u32, u32, Option<u32>, usize)) -> Event {
    let counts = Counts { created: done.into(), ..Counts::default() };
    let failed = vec![FailedItem { name: "x".into(), failure: Failure::new(Reason::Remote, "y") }; failed];
    let cursor = done.to_string().into();
    Event::PageDone(PageDone { source, cursor, total: total.map(u64::from), counts, failed })
}

/// A job's life as the keeper would write it: what does not fit is refused and not written.
fn live(attempts: &[(i64, Event)]) -> (Job, Vec<u8>) {
    let created = events().remove(0);
    let mut job = Job::create(id(), 0, created.clone()).unwrap();
    let mut taken = vec![(0, created)];
    for (at, event) in attempts {
        let before = job.clone();
        match job.apply(*at, event.clone()) {
            Ok(()) => taken.push((*at, event.clone())),
            Err(_) => assert_eq!(job, before, "a refused event changes nothing"),
        }
        let complete = |job: &Job| matches!(job.state, State::Ended { outcome: Outcome::Completed, .. });
        assert!(!complete(&before) || job == before, "what is complete stays so");
        if let Some(items) = job.items() {
            let marked = items.succeeded().count() + items.failed_count() + items.waiting();
            assert_eq!(marked, items.len(), "every item is in one state");
            assert!(items.current() <= items.len() && items.before() <= items.succeeded().count());
            assert_eq!(items.failed().count(), items.failed_count());
            assert!(job.run_base <= items.len() as u64);
            if complete(&job) {
                assert_eq!(items.waiting(), 0, "nothing waits in a job that has ended well");
            }
        }
        if let Some(plan) = &job.plan {
            assert!(plan.current() <= plan.total() && plan.before() <= plan.current());
        }
        if let Some(sources) = job.sources().filter(|_| complete(&job)) {
            assert!(sources.has_ended(), "nothing is read any more in a job that has ended well");
        }
        assert!(job.plan.is_some() || before.plan.is_none(), "items do not disappear");
    }
    let bytes = of(&key().job(&id(), FILE), taken.iter().map(|(at, event)| (*at, event)));
    (job, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replaying_a_journal_gives_the_job_that_wrote_it(
        attempts in prop::collection::vec((any::<i64>(), any_event()), 0..60),
    ) {
        let (job, bytes) = live(&attempts);
        prop_assert_eq!(replay_bytes(&bytes, id()), (Some(job), bytes.len()));
    }

    #[test]
    fn a_damaged_journal_yields_a_prefix_of_what_was_written(
        attempts in prop::collection::vec((any::<i64>(), any_event()), 0..20),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_, bytes) = live(&attempts);
        let mut damaged = bytes.clone();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        let (_, valid) = replay_bytes(&damaged, id());
        let (whole, length) = replay_bytes(&bytes[..valid.min(bytes.len())], id());
        prop_assert_eq!(length, valid);
        // Upper and lower case of a checksum's digit are the same number.
        let same = damaged[..valid].eq_ignore_ascii_case(&bytes[..valid]);
        prop_assert!(same && whole == replay_bytes(&damaged[..valid], id()).0);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(replay_bytes(&bytes, id()), (None, 0));
    }
}
