use super::snapshot::{Entry, UnderWay};
use super::*;
use specweave_jobs::v1::Action;

fn created() -> Event {
    Event::Created {
        order: Order::Clone(Box::default()),
        request_id: "r".into(),
        settings: BTreeMap::new(),
        terms: Terms::default(),
    }
}

fn planned(name: &str) -> PlannedItem {
    PlannedItem { name: name.to_owned(), ..PlannedItem::default() }
}

fn gone() -> Failure {
    Failure::new(Reason::NotFound, "gone")
}

fn running(items: &[&str]) -> Job {
    let mut job = Job::create(JobId::parse("ae362dfe").unwrap(), 1, created()).unwrap();
    job.apply(2, Event::Started).unwrap();
    job.apply(3, Event::Planned { items: items.iter().map(|name| planned(name)).collect() }).unwrap();
    job
}

fn done(item: u32) -> Event {
    Event::ItemDone { item, how: Done::Now }
}

#[test]
fn a_job_counts_what_has_ended() {
    let mut job = running(&["a", "bb", "ccc"]);
    job.apply(4, done(2)).unwrap();
    job.apply(5, Event::ItemDone { item: 0, how: Done::Before }).unwrap();
    job.apply(6, Event::ItemFailed { item: 1, failure: gone() }).unwrap();
    let items = job.items().unwrap();
    assert_eq!((items.current(), items.len(), items.before()), (3, 3, 1));
    assert_eq!(items.succeeded().map(|item| items.name(item)).collect::<Vec<_>>(), ["ccc", "a"]);
    assert_eq!(items.failed().collect::<Vec<_>>(), [(1, &gone())]);
}

#[test]
fn what_has_ended_is_not_under_way_too() {
    let of = |item| UnderWay { item, ..UnderWay::default() };
    let mut entry = Entry::new(running(&["a", "bb", "ccc"]));
    entry.news.active = vec![of(0), of(2)];
    let shown = |entry: &Entry| entry.under_way().map(|one| one.item).collect::<Vec<_>>();
    assert_eq!(shown(&entry), [0, 2]);
    // The work looks anew only some times a second.
    entry.job.apply(4, done(0)).unwrap();
    assert_eq!(shown(&entry), [2]);
    entry.job.apply(5, Event::ItemFailed { item: 2, failure: gone() }).unwrap();
    assert_eq!(shown(&entry), [0; 0]);
}

#[test]
fn an_item_ends_once() {
    let mut job = running(&["a"]);
    job.apply(4, done(0)).unwrap();
    let before = job.clone();
    assert_eq!(job.apply(5, done(0)), Err(Refused::ItemHasEnded(0)));
    assert_eq!(job.apply(5, done(7)), Err(Refused::NoSuchItem(7)));
    assert_eq!(job, before, "a refused event changes nothing");
}

#[test]
fn a_complete_job_never_changes_again() {
    let mut job = running(&["a"]);
    assert_eq!(job.apply(4, Event::Ended(Outcome::Completed)), Err(Refused::ItemsWait));
    job.apply(4, done(0)).unwrap();
    job.apply(5, Event::Ended(Outcome::Completed)).unwrap();
    for event in
        [Event::Started, Event::Retried { only: Vec::new() }, done(0), Event::Ended(Outcome::Completed)]
    {
        assert_eq!(job.apply(6, event), Err(Refused::Complete));
    }
}

#[test]
fn a_retry_makes_failed_items_wait_and_leaves_the_others() {
    let mut job = running(&["a", "b"]);
    job.apply(4, done(0)).unwrap();
    job.apply(5, Event::ItemFailed { item: 1, failure: gone() }).unwrap();
    job.apply(6, Event::Ended(Outcome::CompletedWithWarnings { summary: "w".into() })).unwrap();
    job.apply(7, Event::Retried { only: Vec::new() }).unwrap();
    job.apply(8, Event::Started).unwrap();
    let items = job.items().unwrap();
    assert_eq!((items.current(), items.waiting(), items.item_state(1)), (1, 1, Some(ItemState::Waiting)));
    job.apply(9, done(1)).unwrap();
}

#[test]
fn runs_that_the_daemon_did_not_survive_are_counted_until_there_is_progress() {
    let mut job = running(&["a"]);
    job.apply(4, Event::Started).unwrap();
    job.apply(5, Event::Started).unwrap();
    assert_eq!(job.fruitless_runs, 2);
    job.apply(6, done(0)).unwrap();
    assert_eq!(job.fruitless_runs, 0);
}

#[test]
fn a_paused_job_takes_no_results() {
    let mut job = running(&["a"]);
    let pause = Event::Paused { reason: PauseReason::Killed, message: "killed".into(), resume_at: None };
    job.apply(4, pause).unwrap();
    assert_eq!(job.apply(5, done(0)), Err(Refused::NotRunning));
}

#[test]
fn what_was_planned_of_each_item_is_known_again_whether_items_are_alike_or_not() {
    let item = |name: &str, action, target: &str, url: &str| PlannedItem {
        name: name.into(),
        action,
        target: target.into(),
        url: url.into(),
    };
    let alike = vec![item("a", Action::Clone, "", ""), item("", Action::Clone, "", "")];
    let other = vec![item("a", Action::Push, "", "u"), item("b", Action::Pull, "t", "")];
    for planned in [alike, other, vec![item("one", Action::Pull, "t", "u")], Vec::new()] {
        let items = Items::new(&planned);
        let read = |at: u32| item(items.name(at), items.action(at), items.target(at), items.url(at));
        assert_eq!((0..planned.len() as u32).map(read).collect::<Vec<_>>(), planned);
    }
}

#[test]
fn a_job_that_is_done_again_waits_with_what_the_last_time_came_to_and_begins_with_a_journal_of_its_own() {
    let terms = Terms { every: std::num::NonZeroU64::new(60), ..Terms::default() };
    let Event::Created { order, request_id, settings, .. } = created() else { unreachable!() };
    let mut job =
        Job::create(JobId::random(), 0, Event::Created { order, request_id, settings, terms }).unwrap();
    let again = Event::Scheduled { outcome: Outcome::Completed, next: 60_000 };
    job.apply(1, Event::Started).unwrap();
    job.apply(2, Event::Planned { items: vec![planned("a")] }).unwrap();
    assert_eq!(job.check(&again), Err(Refused::ItemsWait));
    job.apply(3, Event::ItemDone { item: 0, how: Done::Now }).unwrap();
    job.apply(4, again).unwrap();
    assert_eq!((job.goes_on_at(), job.is_active(), job.has_ended()), (Some(60_000), true, false));
    assert_eq!(job.check(&Event::Started), Err(Refused::Waits));
    assert_eq!(job.check(&Event::Retried { only: vec![] }), Err(Refused::Waits));
    job.apply(5, Event::Scheduled { outcome: Outcome::Completed, next: 70_000 }).unwrap();
    assert_eq!(job.state, State::Scheduled { outcome: Outcome::Completed, at: 4, next: 70_000 });
    job.apply(6, Event::Ended(Outcome::Completed)).unwrap();
    assert!(job.has_ended() && !job.is_active());

    let once = running(&[]);
    let again = Event::Scheduled { outcome: Outcome::Completed, next: 9 };
    assert_eq!(once.check(&again), Err(Refused::Once));
}
