use super::*;
use crate::model::record::List;
use proptest::prelude::*;

fn rules(policy: Policy) -> Rules {
    Rules { push: Field::ALL.into(), pull: Field::ALL.into(), policy, conflict_holds: Holds::Pair }
}

fn record(title: &str, description: &str, labels: &[&str], boxes: &[(&str, bool)]) -> Record {
    Record {
        title: title.into(),
        status: "open".into(),
        description: description.into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        boxes: boxes
            .iter()
            .map(|(id, checked)| Checkbox {
                list: List::Criteria,
                id: (*id).into(),
                text: format!("text of {id}"),
                checked: *checked,
            })
            .collect(),
        ..Record::default()
    }
}

fn met(record: &Record) -> Base {
    Base { local: record.clone(), remote: record.clone() }
}

fn outcome(base: &Record, local: &Record, remote: &Record, policy: Policy) -> Outcome {
    decide(Some(&met(base)), local, local, remote, &rules(policy))
}

#[test]
fn each_field_goes_its_own_way() {
    let base = record("a", "one\n\ntwo\n\nthree", &["x", "y"], &[("1", false), ("2", false)]);
    let mut local = base.clone();
    local.title = "b".into();
    local.description = "ONE\n\ntwo\n\nthree".into();
    local.labels = ["x".into(), "mine".into()].into();
    local.boxes[0].checked = true;
    let mut remote = base.clone();
    remote.status = "completed".into();
    remote.description = "one\n\ntwo\n\nTHREE".into();
    remote.labels = ["x".into(), "y".into(), "theirs".into()].into();
    remote.boxes[1].checked = true;
    let out = outcome(&base, &local, &remote, Policy::Manual);
    assert!(out.conflicts.is_empty());
    assert_eq!(out.local, out.remote);
    assert_eq!(out.local.title, "b");
    assert_eq!(out.local.status, "completed");
    assert_eq!(out.local.description, "ONE\n\ntwo\n\nTHREE");
    assert_eq!(out.local.labels, ["mine".into(), "theirs".into(), "x".into()].into());
    assert!(out.local.boxes.iter().all(|one| one.checked));
    assert_eq!(out.base, met(&out.local));
}

#[test]
fn a_contradiction_changes_nothing_until_somebody_decides() {
    let base = record("a", "text", &["x"], &[]);
    let (mut local, mut remote) = (base.clone(), base.clone());
    (local.title, remote.title) = ("mine".into(), "theirs".into());
    local.labels.insert("more".into());
    let out = outcome(&base, &local, &remote, Policy::Manual);
    assert_eq!((out.conflicts.clone(), out.writes()), (vec![Field::Title], false));
    assert_eq!((&out.local, &out.remote, &out.base), (&local, &remote, &met(&base)));
    let out = outcome(&base, &local, &remote, Policy::Local);
    assert_eq!((out.remote.title.as_str(), out.pushed.clone()), ("mine", vec![Field::Title, Field::Labels]));
    let out = outcome(&base, &local, &remote, Policy::Remote);
    assert_eq!((out.local.title.as_str(), out.pulled.clone()), ("theirs", vec![Field::Title]));
}

#[test]
fn boxes_that_were_taken_away_go_unless_they_were_edited() {
    let base = record("a", "", &[], &[("1", false), ("2", false), ("3", false)]);
    let mut local = base.clone();
    local.boxes[1].checked = true;
    local.boxes.remove(0);
    let mut remote = base.clone();
    remote.boxes.remove(1);
    remote.boxes[1].text = "new words".into();
    let out = outcome(&base, &local, &remote, Policy::Manual);
    let boxes: Vec<(&str, bool)> = out.local.boxes.iter().map(|one| (one.id.as_str(), one.checked)).collect();
    assert_eq!(boxes, [("2", true), ("3", false)]);
    assert_eq!(out.local.boxes[1].text, "new words");
}

#[test]
fn what_may_not_be_pushed_stays_news() {
    let base = record("a", "", &["x"], &[]);
    let (mut local, mut remote) = (base.clone(), base.clone());
    local.title = "mine".into();
    local.labels.insert("mine".into());
    remote.labels.insert("theirs".into());
    let read_only = Rules { push: BTreeSet::new(), ..rules(Policy::Manual) };
    let out = decide(Some(&met(&base)), &local, &local, &remote, &read_only);
    assert_eq!((out.pushed.len(), out.remote.clone()), (0, remote.clone()));
    assert!(out.local.labels.contains("theirs") && out.local.labels.contains("mine"));
    // With another rule later, both edits arrive.
    let later = decide(Some(&out.base), &out.local, &out.local, &remote, &rules(Policy::Manual));
    assert_eq!(later.pushed, [Field::Title, Field::Labels]);
    assert_eq!(later.remote.labels.len(), 3);
}

#[test]
fn a_label_that_one_side_alone_has_is_an_edit_only_of_who_changed_it() {
    let (here, there) = (record("a", "", &["kept here"], &[]), record("a", "", &["kept there"], &[]));
    let base = Base { local: here.clone(), remote: there.clone() };
    let mut remote = there.clone();
    remote.labels.insert("new".into());
    let out = decide(Some(&base), &here, &here, &remote, &rules(Policy::Manual));
    assert_eq!(out.local.labels, ["kept here".into(), "new".into()].into());
    assert_eq!((out.pushed, out.pulled), (vec![], vec![Field::Labels]));
    let again = decide(Some(&out.base), &out.local, &out.local, &remote, &rules(Policy::Manual));
    assert!(!again.writes(), "{again:?}");
}

#[test]
fn labels_that_are_alike_are_not_taken_for_one_another() {
    let with = |labels: &[&str]| record("a", "", labels, &[]);
    let pulled = |before: &[&str], now: &[&str]| {
        let out = outcome(&with(before), &with(before), &with(now), Policy::Manual);
        assert_eq!(out.base, met(&with(now)), "{out:?}");
        out.local.labels == with(now).labels
    };
    assert!(pulled(&["🐛"], &["🐛", "🚀"]));
    assert!(pulled(&["🐛", "🚀"], &["🐛"]));
    assert!(pulled(&["v1.0"], &["v1-0"]));
    assert!(pulled(&["help-wanted"], &["Help wanted"]));
    // As both sides first meet, one that is spelled in two ways is one.
    let out = decide(None, &with(&["bug"]), &with(&["bug"]), &with(&["Bug", "new"]), &rules(Policy::Manual));
    assert_eq!(out.local.labels, with(&["bug", "new"]).labels);
}

#[test]
fn a_tracker_that_says_it_in_other_words_has_not_changed_anything() {
    let local = record("a", "a * b", &[], &[("1", false)]);
    let mut remote = local.clone();
    remote.description = "a \\* b".into();
    let out = decide(None, &local, &remote, &remote, &rules(Policy::Manual));
    assert!(!out.writes() && out.conflicts.is_empty());
    assert_eq!(out.base, Base { local: local.clone(), remote: remote.clone() });
    let mut checked = remote.clone();
    checked.boxes[0].checked = true;
    let out = decide(Some(&out.base), &local, &remote, &checked, &rules(Policy::Manual));
    assert_eq!((out.pulled.clone(), out.local.description.as_str()), (vec![Field::Boxes], "a * b"));
}

fn any_record() -> impl Strategy<Value = Record> {
    let boxes = prop::collection::vec((0u8..5, 0u8..3, any::<bool>()), 0..5);
    let words = prop::collection::vec("[abc]", 0..5);
    let labels = prop::collection::btree_set("[abcd]", 0..4);
    (0u8..3, 0u8..3, labels, words, boxes).prop_map(|(title, status, labels, words, boxes)| {
        let mut seen = BTreeSet::new();
        Record {
            title: format!("t{title}"),
            status: ["open", "in_progress", "completed"][usize::from(status)].into(),
            priority: None,
            labels,
            description: words.join("\n\n"),
            criteria: Vec::new(),
            boxes: boxes
                .into_iter()
                .filter(|(id, ..)| seen.insert(*id))
                .map(|(id, text, checked)| Checkbox {
                    list: List::Criteria,
                    id: format!("AC-{id}"),
                    text: format!("w{text}"),
                    checked,
                })
                .collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_agree_afterwards_and_then_nothing_is_left_to_do(
        base in any_record(), local in any_record(), remote in any_record(), by_local in any::<bool>(),
    ) {
        let policy = if by_local { Policy::Local } else { Policy::Remote };
        let out = outcome(&base, &local, &remote, policy);
        prop_assert!(out.conflicts.is_empty());
        let mut remote_boxes = out.remote.clone();
        // The order of boxes is the file's where only the tracker changed it.
        remote_boxes.boxes.sort_by_key(|one| one.id.clone());
        let mut local_boxes = out.local.clone();
        local_boxes.boxes.sort_by_key(|one| one.id.clone());
        prop_assert_eq!(local_boxes, remote_boxes);
        let again = decide(Some(&out.base), &out.local, &out.local, &out.remote, &rules(Policy::Manual));
        prop_assert!(!again.writes() && again.conflicts.is_empty(), "{again:?}");
    }

    #[test]
    fn no_edit_of_one_side_alone_is_lost(base in any_record(), local in any_record(), remote in any_record()) {
        let out = outcome(&base, &local, &remote, Policy::Manual);
        if !out.conflicts.is_empty() {
            prop_assert_eq!((&out.local, &out.remote), (&local, &remote));
            return Ok(());
        }
        for field in [Field::Title, Field::Status] {
            if !local.same(&base, field) {
                prop_assert!(out.local.same(&local, field) && out.remote.same(&local, field));
            }
            if !remote.same(&base, field) {
                prop_assert!(out.local.same(&remote, field) && out.remote.same(&remote, field));
            }
        }
        for label in local.labels.difference(&base.labels).chain(remote.labels.difference(&base.labels)) {
            prop_assert!(out.local.labels.contains(label) && out.remote.labels.contains(label));
        }
        for (side, other) in [(&local, &remote), (&remote, &local)] {
            for one in &side.boxes {
                let before = base.boxes.iter().find(|known| known.id == one.id);
                let there = other.boxes.iter().find(|known| known.id == one.id);
                if before != Some(one) && there.is_none_or(|there| Some(there) == before) {
                    prop_assert!(out.local.boxes.contains(one), "{one:?} is lost: {out:?}");
                }
            }
        }
        for line in local.description.lines().chain(remote.description.lines()) {
            if !base.description.lines().any(|known| known == line) {
                prop_assert!(out.local.description.lines().any(|known| known == line));
            }
        }
    }
}
