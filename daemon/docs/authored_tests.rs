use super::*;
use crate::model::record::Field;
use serde_json::json;

const STORY: &str = "---
id: US-001
feature: FS-001
title: \"Password login\" # asked for by sales
status: in-progress
priority: P1
created: 2026-01-02
tldr: \"a: 'b'\"
owners:
  - ann   # lead
  - bob
---

# US-001: Password login

**Feature**: [FS-001](./FEATURE.md)

As a **user** I want to log in.

```md
## Tasks
- [ ] not a task
```

---

## Acceptance Criteria

- [x] **AC-US1-01**: works
- [ ] **AC-US1-02**: is fast
      in every browser

A note between.

---

## Implementation

**Increment**: [0001-login](../../../../../increments/0001-login/spec.md)

- [ ] **T-001**: build it
";

fn parsed(text: &str) -> Authored {
    Authored::parse(text).unwrap()
}

#[test]
fn a_story_is_read_as_it_is_written() {
    let story = parsed(STORY);
    let record = story.record();
    assert_eq!(
        (record.title.as_str(), story.status.as_str(), record.priority),
        ("Password login", "in-progress", Some(1))
    );
    assert!(record.description.starts_with("As a **user**") && record.description.ends_with("```"));
    let names: Vec<&str> = record.boxes.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["AC-US1-01", "AC-US1-02", "T-001"]);
    assert!(record.boxes[0].checked && record.boxes[1].text.ends_with("in every browser"));
    assert_eq!((story.id().unwrap().as_str(), story.increments()), ("US-001", vec!["0001-login".to_owned()]));
    assert_eq!(
        story.with(record, &Field::ALL, "in-progress").unwrap(),
        STORY,
        "the same is the same to the byte"
    );
}

#[test]
fn only_what_changes_is_touched() {
    let story = parsed(STORY);
    let mut wanted = story.record().clone();
    wanted.boxes[0].checked = false;
    wanted.title = "Sign in: \"fast\"".into();
    wanted.labels = ["a b".to_owned(), "c".to_owned()].into();
    let text = story
        .with(&wanted, &[Field::Title, Field::Labels, Field::Boxes, Field::Status], "completed")
        .unwrap();
    let expected = STORY
        .replace("title: \"Password login\" #", "title: \"Sign in: \\\"fast\\\"\" #")
        .replace("# US-001: Password login", "# US-001: Sign in: \"fast\"")
        .replace("status: in-progress", "status: completed")
        .replace("  - bob\n---", "  - bob\nlabels: [\"a b\", c]\n---")
        .replace("- [x] **AC-US1-01**", "- [ ] **AC-US1-01**");
    assert_eq!(text, expected);
    assert_eq!(parsed(&text).record().labels, wanted.labels);
}

#[test]
fn boxes_come_and_go_where_they_belong() {
    let story = parsed(STORY);
    let mut wanted = story.record().clone();
    wanted.boxes.remove(1);
    wanted.boxes.insert(1, Checkbox::parse(List::Criteria, "- [x] **AC-US1-03**: new").unwrap());
    wanted.boxes.push(Checkbox::parse(List::Tasks, "- [ ] **T-002**: more").unwrap());
    let text = story.with(&wanted, &[Field::Boxes], "").unwrap();
    assert_eq!(parsed(&text).record().boxes, wanted.boxes, "{text}");
    assert!(text.contains("A note between.") && !text.contains("in every browser"));
    let mut swapped = wanted.clone();
    swapped.boxes.swap(0, 1);
    let text = parsed(&text).with(&swapped, &[Field::Boxes], "").unwrap();
    assert_eq!(parsed(&text).record().boxes, swapped.boxes, "{text}");
}

#[test]
fn a_story_without_lists_gets_them() {
    let bare = "---\nid: US-002\ntitle: x\n---\n\n# US-002: x\n\nSome text.\n";
    let wanted = Record {
        boxes: vec![
            Checkbox::parse(List::Criteria, "- [ ] **AC-US2-01**: a").unwrap(),
            Checkbox::parse(List::Tasks, "- [x] **T-001**: b").unwrap(),
        ],
        description: "Other text.\n\nAnd more.".into(),
        ..parsed(bare).record().clone()
    };
    let text = parsed(bare).with(&wanted, &[Field::Boxes, Field::Description], "").unwrap();
    assert_eq!(parsed(&text).record(), &wanted, "{text}");
    let none = "---\nid: US-002\ntitle: x\n---\n\n# US-002: x\n\n---\n\n## Acceptance Criteria\n\nNo acceptance criteria defined.\n\n---\n";
    let text = parsed(none).with(&wanted, &[Field::Boxes, Field::Description], "").unwrap();
    assert_eq!(parsed(&text).record(), &wanted, "{text}");
    assert!(!text.contains("No acceptance criteria"));
}

#[test]
fn links_go_where_specweave_looks_and_touch_nothing_else() {
    let link = json!({"issue": 12, "url": "https://github.com/acme/web/issues/12"});
    let link = link.as_object().unwrap();
    let text = parsed(STORY).linked(&["external"], "github", link).unwrap();
    let block = "external:\n  github:\n    issue: 12\n    \
        url: https://github.com/acme/web/issues/12 # synced by specweave-jobs\n---\n\n# US-001";
    assert_eq!(text, STORY.replace("---\n\n# US-001", block));
    assert_eq!(parsed(&text).link("github").as_deref(), Some("12"));
    let again =
        parsed(&text).linked(&["external"], "jira", json!({"key": "PAY-1"}).as_object().unwrap()).unwrap();
    assert_eq!(parsed(&again).link("github").as_deref(), Some("12"));
    assert_eq!(parsed(&again).link("jira").as_deref(), Some("PAY-1"));
    let flow = STORY.replace("tldr:", "external: {other: {id: 7}}\ntldr:");
    let text = parsed(&flow).linked(&["external"], "github", link).unwrap();
    assert_eq!(parsed(&text).meta["external"]["other"]["id"], 7);
}

#[test]
fn line_endings_and_missing_ends_stay() {
    let windows = STORY.replace('\n', "\r\n");
    let story = parsed(&windows);
    assert_eq!(story.record(), parsed(STORY).record());
    let mut wanted = story.record().clone();
    wanted.boxes[1].checked = true;
    wanted.description = "One.\nTwo.".into();
    let text = story.with(&wanted, &[Field::Boxes, Field::Description], "").unwrap();
    assert!(
        text.lines().all(|line| text.contains(&format!("{line}\r\n"))) && text.contains("One.\r\nTwo.\r\n")
    );
    let endless = "---\nid: US-1\ntitle: x\n---\n## Tasks\n- [ ] a";
    let mut wanted = parsed(endless).record().clone();
    wanted.boxes.push(Checkbox::parse(List::Tasks, "- [ ] b").unwrap());
    let text = parsed(endless).with(&wanted, &[Field::Boxes], "").unwrap();
    assert_eq!(text, "---\nid: US-1\ntitle: x\n---\n## Tasks\n- [ ] a\n- [ ] b\n");
}

#[test]
fn what_cannot_be_written_safely_is_refused() {
    assert!(matches!(Authored::parse("---\na: [\n---\n"), Err(AuthoredError::Yaml(_))));
    assert_eq!(parsed("---\nid: FS-1\n---\n").id(), Err(AuthoredError::NoId));
    assert_eq!(parsed("---\nid: US-../x\n---\n").id(), Err(AuthoredError::NoId));
    let anchored = "---\nid: US-1\ntitle: &t x\nother: *t\n---\n";
    let wanted = Record { title: "y".into(), ..parsed(anchored).record().clone() };
    assert!(parsed(anchored).with(&wanted, &[Field::Title], "").is_err());
    let section = Record { description: "a\n## Tasks\n- [ ] b".into(), ..parsed(STORY).record().clone() };
    let text = parsed(STORY).with(&section, &[Field::Description], "").unwrap();
    assert_eq!(parsed(&text).record().boxes, parsed(STORY).record().boxes, "no text passes for a section");
    let endless = Record { description: "```\ncode".into(), ..parsed(STORY).record().clone() };
    let text = parsed(STORY).with(&endless, &[Field::Description], "").unwrap();
    assert_eq!(
        parsed(&text).record().boxes,
        parsed(STORY).record().boxes,
        "code without an end ends all the same"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::default() })]

    #[test]
    fn any_record_that_is_written_is_read_back(
        title in "[ -~äß日]{1,30}",
        labels in proptest::collection::btree_set("[a-z:\"'# \\-]{1,8}", 0..3),
        description in "[ -~\n]{0,60}",
        checked in proptest::collection::vec(proptest::bool::ANY, 0..4),
    ) {
        let mut wanted = parsed(STORY).record().clone();
        if !title.trim().is_empty() {
            wanted.title = title.trim().to_owned();
        }
        wanted.labels = labels.into_iter().map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
        wanted.boxes = checked.iter().enumerate().map(|(place, checked)| Checkbox {
            list: if place % 2 == 0 { List::Criteria } else { List::Tasks },
            id: format!("AC-{place}"),
            text: "x".into(),
            checked: *checked,
        }).collect();
        wanted.boxes.sort_by_key(|one| one.list);
        wanted.description = description;
        let text = parsed(STORY).with(&wanted, &Field::ALL, "in-progress").unwrap();
        let again = parsed(&text);
        let mut read = again.record().clone();
        read.description.clone_from(&wanted.description);
        proptest::prop_assert_eq!(&read, &wanted);
        proptest::prop_assert!(again.meta["owners"].is_array() && text.contains("- ann   # lead"));
        // What was read once is stable.
        proptest::prop_assert_eq!(again.with(again.record(), &Field::ALL, "in-progress").unwrap(), text);
    }
}

#[test]
fn a_link_is_read_in_every_way_that_people_write_it() {
    let link = |line: &str| {
        let text = STORY.replace("tldr:", &format!("external:\n  github:\n    {line}\ntldr:"));
        let story = parsed(&text);
        (story.link("github").unwrap(), story.link_address("github").unwrap_or_default())
    };
    let web = "https://github.com/acme/web/issues/5";
    for (line, address) in [
        ("issue: 5", ""),
        ("issue: \"#5\"", ""),
        ("issue: acme/web#5", web),
        ("url: https://github.com/acme/web/issues/5", web),
        (
            "issue: https://github.com/acme/web/issues/5#issuecomment-1",
            "https://github.com/acme/web/issues/5#issuecomment-1",
        ),
    ] {
        assert_eq!(link(line), ("5".to_owned(), address.to_owned()), "{line}");
    }
}

#[test]
fn ids_with_the_short_name_of_a_project_are_stories_and_others_are_not() {
    let id = |id: &str| parsed(&STORY.replace("id: US-001", &format!("id: {id}"))).id().ok();
    for good in ["US-001", "US-001E", "US-FE-001", "US-SPE-002"] {
        assert_eq!(id(good).as_deref(), Some(good));
    }
    for bad in ["US-FE", "US-X-001", "US-TOOLONGX-001", "FS-001", "US-"] {
        assert_eq!(id(bad), None, "{bad}");
    }
}

#[test]
fn each_line_keeps_the_end_that_it_had_and_a_rule_between_paragraphs_stays() {
    let mixed = STORY
        .replace("status: in-progress\n", "status: in-progress\r\n")
        .replace("As a **user**", "Before.\n\n---\n\nAs a **user**");
    let mixed = mixed.trim_end().replace("- [x] **AC-US1-01**", "1. [x] **AC-US1-01**");
    let story = parsed(&mixed);
    let mut wanted = story.record().clone();
    wanted.boxes[0].checked = false;
    wanted.boxes[0].text.push_str(" more");
    wanted.boxes[2].checked = true;
    wanted.description.push_str("\nMore.");
    let text = story.with(&wanted, &[Field::Status, Field::Boxes, Field::Description], "completed").unwrap();
    assert!(text.contains("status: completed\r\n") && text.matches("\r\n").count() == 1, "{text:?}");
    assert!(text.contains("Before.\n\n---\n\nAs a **user**") && text.contains("\n1. [ ] **AC-US1-01**"));
    assert!(text.ends_with("- [x] **T-001**: build it"), "a last line without an end gets none: {text:?}");
    assert_eq!(parsed(&text).record().boxes, wanted.boxes);
}
