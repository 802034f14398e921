//! Stories that SpecWeave has generated anew from their increment since they were synced: which of their values somebody
//! has changed, and which only stand there again. Pure.

use crate::docs::increment::{Said, generated_title};
use crate::model::merge::{self, Base, Holds, Policy, Rules};
use crate::model::record::{Checkbox, Field, List, Record, by_key, keys};
use std::collections::BTreeSet;

/// What is compared for a story that was generated anew: what both sides were when they last met, and what the file would
/// say had SpecWeave known of it. `from` is what SpecWeave generated before. A value that was changed in the increment while
/// the tracker's was changed, too, is an edit on both sides.
pub fn seen(from: &Record, base: &Base, file: &Record) -> (Base, Record) {
    let (mut base, met) = (base.clone(), base.local.clone());
    let mut local = file.clone();
    let before = Base { local: from.clone(), remote: from.clone() };
    for field in Field::ALL {
        if field == Field::Status {
            local.status = status(&from.status, &file.status, &met.status);
            continue;
        }
        let rules = Rules {
            push: BTreeSet::new(),
            pull: BTreeSet::from([field]),
            policy: Policy::Manual,
            conflict_holds: Holds::Pair,
        };
        let out = merge::decide(Some(&before), file, file, &met, &rules);
        if out.conflicts.is_empty() {
            local.take(field, &out.local);
        } else {
            base.local.take(field, from);
            base.remote.take(field, from);
        }
    }
    (base, local)
}

/// The status that SpecWeave generates is counted from the criteria that are checked: one more of them does not open what
/// has been closed, and one less is somebody's word that it is not done.
fn status(from: &str, file: &str, met: &str) -> String {
    let rank = |word: &str| COUNTED.iter().position(|counted| *counted == word);
    let is_step_up = rank(from).zip(rank(file)).is_some_and(|(from, file)| file > from);
    let is_behind = rank(met).is_none_or(|met| rank(file).is_some_and(|file| file <= met));
    if file == from || (is_step_up && is_behind) { met.to_owned() } else { file.to_owned() }
}

/// The words, as both sides share them, of a status that is counted.
const COUNTED: [&str; 3] = ["open", "in_progress", "completed"];

/// What SpecWeave generates a story as. `known` is what it generated before, `file` is the story as it stands if it was
/// generated since, and `said` what its increment says of it now.
pub fn generated(known: Option<&Record>, file: Option<&Record>, said: Option<&Said>) -> Option<Record> {
    let mut from = known.or(file)?.clone();
    let Some(said) = said else { return Some(from) };
    from.labels.clear();
    if let Some(file) = file {
        from.priority = file.priority;
        if file.description.lines().all(|line| said.section.contains(line.trim())) {
            from.description.clone_from(&file.description);
        }
    }
    Some(told(&from, file.unwrap_or(&from), said))
}

/// `from` with what the increment says of the story now. A value that it has otherwise than `from` and `other` is not known:
/// it is an edit of whoever wrote it there, and is seen once SpecWeave has generated the story from it.
pub fn told(from: &Record, other: &Record, said: &Said) -> Record {
    let is_known = [from, other].iter().any(|known| said.title == generated_title(&known.title));
    let title = if is_known { said.title.as_str() } else { NOT_KNOWN };
    let (before, after) = (by_key(&from.boxes), by_key(&other.boxes));
    let boxes = said.boxes.iter().zip(keys(&said.boxes)).filter(|(one, key)| {
        [&before, &after].into_iter().any(|boxes| boxes.get(key).copied() == Some(*one))
    });
    let boxes: Vec<Checkbox> = boxes.map(|(one, _)| one.clone()).collect();
    let criteria = boxes.iter().filter(|one| one.list == List::Criteria);
    let status = match criteria.clone().filter(|one| one.checked).count() {
        0 => COUNTED[0],
        checked if checked == criteria.count() => COUNTED[2],
        _ => COUNTED[1],
    };
    Record { title: title.to_owned(), status: status.to_owned(), boxes, ..from.clone() }
}

/// A story always has a title.
const NOT_KNOWN: &str = "";

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str, checked: bool) -> Checkbox {
        Checkbox { list: List::Criteria, id: id.into(), text: "words".into(), checked }
    }

    fn record(title: &str, status: &str, boxes: &[Checkbox]) -> Record {
        Record { title: title.into(), status: status.into(), boxes: boxes.to_vec(), ..Record::default() }
    }

    #[test]
    fn what_stands_there_again_is_no_edit_and_what_is_new_is_one() {
        let from = record("Old", "open", &[one("AC-1", false), one("AC-2", false)]);
        let met = record("Pulled", "completed", &[one("AC-1", true), one("AC-2", false)]);
        let base = Base { local: met.clone(), remote: met.clone() };
        assert_eq!(seen(&from, &base, &from), (base.clone(), met.clone()));
        let file = record("Old", "open", &[one("AC-1", false), one("AC-2", true)]);
        let wanted = record("Pulled", "completed", &[one("AC-1", true), one("AC-2", true)]);
        assert_eq!(seen(&from, &base, &file), (base.clone(), wanted));
        // Both changed the title: what both said before is what is compared with.
        let (compared, local) = seen(&from, &base, &record("Mine", "open", &from.boxes));
        assert_eq!((compared.local.title.as_str(), local.title.as_str()), ("Old", "Mine"));
    }

    #[test]
    fn a_status_that_is_counted_never_opens_what_is_closed_unless_a_box_was_emptied() {
        let words = [
            ("open", "in_progress", "completed", "completed"),
            ("open", "in_progress", "cancelled", "cancelled"),
            ("open", "in_progress", "open", "in_progress"),
            ("in_progress", "completed", "open", "completed"),
            ("completed", "in_progress", "completed", "in_progress"),
            ("open", "open", "in_qa", "in_qa"),
        ];
        for (from, file, met, wanted) in words {
            assert_eq!(status(from, file, met), wanted, "{from} {file} {met}");
        }
    }

    #[test]
    fn what_the_increment_has_otherwise_is_not_known() {
        let file = record("Edited in the file", "open", &[one("AC-1", true), one("AC-2", false)]);
        let said = Said {
            title: "As planned".into(),
            boxes: vec![one("AC-1", false), one("AC-2", false)],
            section: String::new(),
        };
        let from = generated(None, Some(&file), Some(&said)).unwrap();
        assert_eq!((from.title.as_str(), from.boxes.as_slice()), (NOT_KNOWN, &[one("AC-2", false)][..]));
        let after = told(&from, &record("As planned", "open", &said.boxes), &said);
        assert_eq!((after.title.as_str(), after.boxes.len()), ("As planned", 2));
    }
}
