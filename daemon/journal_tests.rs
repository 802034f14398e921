use super::*;
use crate::job::{Done, Order, Outcome};
use std::collections::BTreeMap;

fn events() -> Vec<Event> {
    vec![
        Event::Created {
            order: Order::Clone(Default::default()),
            request_id: "r-1".into(),
            settings: BTreeMap::from([("GITHUB_API_URL".into(), "http://127.0.0.1:1".into())]),
        },
        Event::Started,
        Event::Planned { items: vec!["a".into(), "b\n\"é".into()] },
        Event::ItemDone { item: 0, how: Done::Now },
        Event::ItemFailed { item: 1, error: "no such repository".into() },
        Event::Ended(Outcome::CompletedWithWarnings { summary: "1 of 2".into() }),
    ]
}

fn id() -> JobId {
    JobId::parse("ae362dfe").unwrap()
}

fn written() -> Vec<u8> {
    events().iter().enumerate().flat_map(|(at, event)| line(at as i64, event)).collect()
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

    let mut replay = Journal::replay(&path, id()).unwrap();
    let torn = std::fs::read(replay.set_aside.unwrap()).unwrap();
    assert!(torn.starts_with(CRC_FIELD) && bytes.ends_with(&torn));
    replay.journal.append(9, events().last().unwrap()).unwrap();
    replay.journal.sync().unwrap();
    let again = Journal::replay(&path, id()).unwrap();
    assert!(again.set_aside.is_none() && again.job.has_ended());

    std::fs::write(&path, b"not a journal\n").unwrap();
    let Err(JournalError::NoJob { aside, .. }) = Journal::replay(&path, id()) else { panic!() };
    assert_eq!(std::fs::read(aside).unwrap(), b"not a journal\n");
    std::fs::remove_dir_all(&folder).unwrap();
}
