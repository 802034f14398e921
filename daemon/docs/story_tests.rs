use super::*;
use crate::model::item::{Kind, Parent, Platform, Status};
use proptest::prelude::*;

fn item(body: &str) -> Item {
    Item {
        key: "github:1".into(),
        external_id: "github#acme/web#101".into(),
        platform: Platform::GitHub,
        shown: "#101".into(),
        title: "Login redirect loops".into(),
        body: body.into(),
        criteria: None,
        kind: Kind::Story,
        type_name: String::new(),
        state: String::new(),
        revision: String::new(),
        is_html: false,
        by_outsider: false,
        status: Status::Open,
        priority: Some(1),
        labels: vec!["bug".into(), "P1".into()],
        created: 1_768_035_600_000,
        updated: 1_769_940_000_000,
        url: "https://github.com/acme/web/issues/101".into(),
        parent: None,
        project: "acme/web".into(),
        area: None,
    }
}

fn written(item: &Item) -> String {
    let mut document = Document::new(1, item, &said(item));
    document.set_metadata(&metadata(item, "2026-11-23T00:32:05.677Z", "FS-001E"));
    document.set_front(item, 1, "FS-001E", &said(item));
    document.text()
}

fn base_of(item: &Item) -> Base {
    let local = Prints::of(&Document::parse(&written(item)).record());
    Base::of(local, &said(item))
}

#[test]
fn a_story_is_written_as_specweave_lays_it_out() {
    let body = "Steps:\n1. open /login\n\n## Acceptance Criteria\n- [ ] redirect happens once\n- [x] works on Safari\n";
    let wanted = "\
---
id: US-001E
feature: FS-001E
title: \"Login redirect loops\"
status: not_started
priority: P1
origin: external
external_source: github
external_id: \"github#acme/web#101\"
external_url: https://github.com/acme/web/issues/101
external:
  github:
    issue: 101
    url: https://github.com/acme/web/issues/101
---

# US-001E: Login redirect loops

**Origin**: 🔗 [GitHub #101](https://github.com/acme/web/issues/101)
**Project**: acme/web

**Status**: Open
**Priority**: P1

## Description

Steps:
1. open /login

## Acceptance Criteria

- [ ] **AC-US-001-01**: redirect happens once
- [x] **AC-US-001-02**: works on Safari

## Tasks

> **Note**: This User Story was imported from an external tool.
> Create an increment to implement this user story, then tasks will sync here.

---

## External Metadata

- **External ID**: github#acme/web#101
- **External URL**: https://github.com/acme/web/issues/101
- **Platform**: github
- **Imported At**: 2026-11-23T00:32:05.677Z
- **Created At**: 2026-01-10T09:00:00.000Z
- **Updated At**: 2026-02-01T10:00:00.000Z
- **Labels**: bug, P1
- **Source Repository**: acme/web
- **Feature ID**: FS-001E";
    assert_eq!(written(&item(body)), wanted);
}

#[test]
fn a_file_without_a_change_keeps_every_byte() {
    let text = written(&item("a\n\n## Acceptance Criteria\n- [ ] x"));
    assert_eq!(Document::parse(&text).text(), text);
    let odd = "# US-009: x\r\n\r\n## Tasks   \r\n* mine\n\n## Description\nout of order\n## Other\nkept";
    let mut document = Document::parse(odd);
    assert_eq!(document.text(), odd);
    let fields = document.record();
    document.set(&fields, 9);
    assert_eq!(document.text(), odd);
}

#[test]
fn one_sides_change_is_taken_and_both_sides_are_told() {
    let old = item("Old body.");
    let base = base_of(&old);
    let mut local = Document::parse(&written(&old)).record();
    let mut new = old.clone();
    new.title = "New title".into();
    local.description = "My body.".into();
    let (merged, conflicts) = merge(&local, std::slice::from_ref(&base), &said(&new), None);
    assert_eq!((merged.title.as_str(), merged.description.as_str()), ("New title", "My body."));
    assert!(conflicts.is_empty());
    new.body = "Their body.".into();
    let (merged, conflicts) = merge(&local, std::slice::from_ref(&base), &said(&new), None);
    assert_eq!(merged.description, "My body.");
    assert_eq!(conflicts, [Field::Description]);
    local.description = "Their body.".into();
    assert!(
        merge(&local, std::slice::from_ref(&base), &said(&new), None).1.is_empty(),
        "the same change is no conflict"
    );
}

#[test]
fn a_box_that_is_checked_on_either_side_is_checked() {
    let old = item("- [ ] one\n- [ ] two\n\n## Acceptance Criteria\n- [ ] a\n- [ ] b");
    let base = base_of(&old);
    let mut local = Document::parse(&written(&old)).record();
    for one in &mut local.boxes {
        one.checked = ["one", "a"].contains(&one.text.as_str());
    }
    let mut new = old.clone();
    new.body =
        "- [ ] one\n- [x] two\n- [ ] three\n\n## Acceptance Criteria\n- [ ] a\n- [x] b\n- [ ] c".into();
    let (merged, conflicts) = merge(&local, std::slice::from_ref(&base), &said(&new), None);
    assert!(conflicts.is_empty());
    let told = for_people(&merged);
    assert_eq!(told.description, "- [x] one\n- [x] two\n- [ ] three");
    assert_eq!(told.criteria, ["[x] a", "[x] b", "[ ] c"]);
    let mut document = Document::parse(&written(&old));
    document.set(&merged, 1);
    assert!(document.text().contains("- [ ] **AC-US-001-03**: c"), "{}", document.text());
}

#[test]
fn a_box_that_was_checked_on_both_sides_is_cleared_when_either_clears_it() {
    let old = item("- [x] one\n- [x] two\n- [x] three");
    let base = base_of(&old);
    let mut local = Document::parse(&written(&old)).record();
    for one in &mut local.boxes {
        one.checked = one.text != "one";
    }
    let mut new = old.clone();
    new.body = "- [x] one\n- [ ] two\n- [x] three".into();
    let (merged, conflicts) = merge(&local, std::slice::from_ref(&base), &said(&new), None);
    assert!(conflicts.is_empty());
    assert_eq!(for_people(&merged).description, "- [ ] one\n- [ ] two\n- [x] three");
}

#[test]
fn a_criterion_that_a_person_has_reworded_is_cleared_by_either_side_as_well() {
    let old = item("Intro.\n\n## Acceptance Criteria\n- [x] one\n- [x] two");
    let base = base_of(&old);
    let text = written(&old).replace(": one", ": one and only").replace(": two", ": two of them");
    let here = Document::parse(&text.replace("- [x] **AC-US-001-02**", "- [ ] **AC-US-001-02**")).record();
    let mut new = old.clone();
    new.body = "News.\n\n## Acceptance Criteria\n- [ ] one\n- [x] two".into();
    let (merged, conflicts) = merge(&here, std::slice::from_ref(&base), &said(&new), None);
    assert!(conflicts.is_empty());
    assert_eq!(for_people(&merged).criteria, ["[ ] one and only", "[ ] two of them"]);
}

#[test]
fn a_persons_words_that_were_written_into_the_front_matter_do_not_outlast_them() {
    let item = item("Words.");
    let met = base_of(&item);
    let edited = written(&item).replace("# US-001E: Login redirect loops", "# US-001E: Log in");
    let mut document = Document::parse(&edited);
    let local = document.record_since(std::slice::from_ref(&met));
    assert_eq!(local.title, "Log in");
    // An import of something else writes both, and knows the tracker's title still.
    document.set_front(&item, 1, "FS-001E", &local);
    let base = Base { written: Prints::of(&document.record()), ..met };
    let back = document.text().replace("# US-001E: Log in\n", "# US-001E: Login redirect loops\n");
    assert!(back.contains("title: \"Log in\"\n"), "{back}");
    assert_eq!(Document::parse(&back).record_since(&[base]).title, "Login redirect loops");
}

#[test]
fn what_is_no_criterion_stays_in_the_description() {
    let body = "Intro\n\n### Acceptance criteria:\nBoth must hold:\n- one\n  with more\n  - and a detail\n- two\n\n### Notes\n- not one\n";
    let fields = said(&item(body));
    assert_eq!(fields.criteria, ["one with more - and a detail", "two"]);
    for kept in ["Intro", "Both must hold:", "### Notes", "- not one"] {
        assert!(fields.description.contains(kept), "{kept}: {}", fields.description);
    }
    assert!(said(&item("```\n## Acceptance Criteria\n- code\n```")).criteria.is_empty());
}

#[test]
fn tasks_are_lines_that_keep_their_numbers() {
    let text = written(&item("x"));
    let mut document = Document::parse(&text);
    document.set_task(1, "Render", true);
    document.set_task(2, "Wire", false);
    let text = document.text();
    assert!(
        text.contains(
            "## Tasks\n\n- [x] **T-001**: Render\n- [ ] **T-002**: Wire\n\n---\n\n## External Metadata"
        ),
        "{text}"
    );
    document.set_task(2, "Wire it", false);
    document.set_task(1, "Render", false);
    assert!(
        document.text().contains("- [x] **T-001**: Render\n- [ ] **T-002**: Wire it"),
        "{}",
        document.text()
    );
    assert_eq!((document.task(2), document.last_task()), (Some("Wire it"), 2));
    document.remove_task(1);
    assert!(!document.text().contains("T-001"));
}

#[test]
fn what_a_person_adds_anywhere_is_kept_to_the_letter() {
    let old = item("x\n\n## Acceptance Criteria\n- [ ] one\n- [ ] two");
    let text = written(&old).replace("two\n", "two\n  because:\n  - of this\n\n### Mine\n\nA paragraph.\n")
        + "\n\n## Notes\n\n- **Type**: mine\n\n```\ncode\n\n\nmore\n```\n";
    let mut document = Document::parse(&text);
    let mut new = old.clone();
    new.body = new.body.replace("- [ ] one", "- [x] one");
    let local = document.record();
    let (merged, conflicts) = merge(&local, &[base_of(&old)], &said(&new), None);
    assert!(conflicts.is_empty());
    document.set(&merged, 1);
    document.set_metadata(&metadata(&new, "2026-11-23T00:32:05.677Z", "FS-002E"));
    let wanted = text
        .replace("- [ ] **AC-US-001-01**", "- [x] **AC-US-001-01**")
        .replace("**Feature ID**: FS-001E", "**Feature ID**: FS-002E");
    assert_eq!(document.text(), wanted);
}

#[test]
fn a_parent_and_an_orphan_are_told() {
    let mut item = item("x");
    item.platform = Platform::Jira;
    item.parent = Some(Parent { key: String::new(), external_id: "JIRA-PAY-1".into() });
    let bullets = metadata(&item, "now", "_orphans");
    assert!(bullets.contains(&("Orphan", "true (no parent in external tool)".into())));
    assert!(bullets.contains(&("Parent ID", "JIRA-PAY-1".into())));
}

#[test]
fn empty_lines_before_a_text_are_nobodys() {
    for body in ["---", "\n---", " \n\n---"] {
        assert_eq!(said(&item(body)).description, "---", "{body:?}");
    }
}

/// Texts of lines that mean something to the reader.
fn any_body() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("## Tasks".to_owned()),
        Just("## Acceptance Criteria".to_owned()),
        Just("- [x] AC-1: yes".to_owned()),
        Just("- a bullet".to_owned()),
        Just("  more".to_owned()),
        Just("```".to_owned()),
        Just("---".to_owned()),
        Just("- **External ID**: ADO-1".to_owned()),
        Just(String::new()),
        "[a-z<>#*`|: ]{0,20}",
        ".{0,12}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

#[test]
fn a_value_that_is_changed_in_the_front_matter_alone_is_an_edit_and_its_comments_stay() {
    let item = item("Words.");
    let base = base_of(&item);
    let edited = written(&item)
        .replace("title: \"Login redirect loops\"", "title: 'Log in <b>'   # mine")
        .replace("status: not_started", "status: done")
        .replace("priority: P1\n", "priority: P0\nowner: ann\n");
    let mut document = Document::parse(&edited);
    let local = document.record_since(std::slice::from_ref(&base));
    assert_eq!((local.title.as_str(), local.status.as_str()), ("Log in <b>", "Completed"));
    assert_eq!(local.priority, Some(0));
    document.set(&local, 1);
    document.set_front(&item, 1, "FS-002E", &local);
    let text = document.text();
    for part in [
        "title: 'Log in <b>'   # mine\nstatus: done\n",
        "owner: ann",
        "# US-001E: Log in \\<b>",
        "**Status**: Completed",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.contains("feature: FS-002E"), "{text}");
    // What the body says counts where somebody has changed it there.
    let body = written(&item).replace("**Status**: Open", "**Status**: In Progress");
    assert_eq!(Document::parse(&body).record_since(&[base]).status, "In Progress");
    // One that is not YAML any more is nobody's to write.
    let broken = written(&item).replace("status: not_started", "status: [");
    let mut document = Document::parse(&broken);
    document.set_front(&item, 1, "FS-001E", &local);
    assert_eq!(document.text(), broken);
}

#[test]
fn a_text_that_is_indented_or_begins_with_a_rule_is_the_same_text_on_both_sides() {
    let base = base_of(&item(""));
    let local = said(&item("---"));
    let (merged, conflicts) =
        merge(&local, std::slice::from_ref(&base), &said(&item("- [x] AC-1: yes\n---")), None);
    assert_eq!((merged.description.as_str(), conflicts.as_slice()), ("---", [].as_slice()));
    // Blanks at the beginning make it code: whoever adds them has edited it.
    let edited = Record { description: "    ls".into(), ..said(&item("ls")) };
    assert!(changes(&[base_of(&item("ls"))], &edited, &said(&item("ls"))).here.contains(&Field::Description));
}

#[test]
fn an_imported_story_stands_in_its_file_like_this() {
    let body = "As a user I want to log in.\n\n## Acceptance Criteria\n\n- [ ] a wrong password is refused\n- [x] it is fast\n";
    insta::assert_snapshot!(written(&item(body)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back_the_same(body in any_body(), title in ".{0,30}") {
        let mut item = item(&body);
        item.title = title;
        let fields = said(&item);
        let text = written(&item);
        let document = Document::parse(&text);
        let read = document.record();
        let as_shown = |record: &Record| Record { boxes: shown(record), ..record.clone() };
        prop_assert_eq!(as_shown(&read), as_shown(&fields), "{}", text);
        prop_assert_eq!(document.metadata("External ID"), Some("github#acme/web#101"));
        prop_assert_eq!(document.record_since(&[base_of(&item)]), read.clone());
        let front = crate::docs::authored::Authored::parse(&text).unwrap();
        prop_assert_eq!(front.meta["title"].as_str(), Some(&*text::title(&item.title)), "{}", text);
        prop_assert_eq!(text.matches("**External ID**").count(), 1);
        let (merged, conflicts) = merge(&read, &[base_of(&item)], &fields, None);
        prop_assert!(conflicts.is_empty());
        prop_assert_eq!(merged, as_shown(&fields));
    }

    #[test]
    fn no_edit_of_either_side_disappears(
        before in any_body(), ours in any_body(), theirs in any_body(),
    ) {
        let old = item(&before);
        let base = base_of(&old);
        let mut local = Document::parse(&written(&old)).record();
        local.description = text::body(&ours);
        let remote = said(&item(&theirs));
        let (merged, conflicts) = merge(&local, std::slice::from_ref(&base), &remote, None);
        let place = 3;
        let changed_here = Prints::of(&local).0[place] != base.local.0[place];
        let changed_there = Prints::of(&remote).0[place] != base.remote.0[place];
        let differs = Prints::of(&local).0[place] != Prints::of(&remote).0[place];
        prop_assert_eq!(conflicts.contains(&Field::Description), changed_here && changed_there && differs);
        if changed_here {
            prop_assert_eq!(Prints::of(&merged).0[place], Prints::of(&local).0[place]);
        }
    }
}
