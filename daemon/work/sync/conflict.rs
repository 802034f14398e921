//! The file beside a story that shows a contradiction: what each side says and what both said before, for a person to
//! decide over, or to write what is to stand. Pure.

use super::merge::Base;
use crate::model::issue_text;
use crate::model::record::{self, Field, Record};
use crate::model::text::hash;

/// Says in the file what it was made from, so that nobody decides over something else.
const STAMP: &str = "<!-- specweave-jobs conflict ";
/// Says at the end what stood there before a person wrote in it.
const SEAL: &str = "<!-- specweave-jobs seal ";
const MINE: &str = "<<<<<<< here";
const BEFORE: &str = "||||||| before";
const MIDDLE: &str = "=======";
const THEIRS: &str = ">>>>>>> in the tracker";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflictError {
    #[error("the conflict's file has no part for the {0} any more")]
    Missing(&'static str),
    #[error("the {0} in the conflict's file still has the marks of a conflict")]
    Undecided(&'static str),
    #[error("{1:?} is no {0}")]
    Wrong(&'static str, String),
}

/// What a story and its item said where they contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub local: u64,
    pub remote: u64,
}

impl Stamp {
    pub fn of(fields: &[Field], local: &Record, remote: &Record) -> Self {
        let print = |record: &Record| {
            hash(
                &fields
                    .iter()
                    .map(|field| format!("{}\0{}\0", field.name(), value(record, *field)))
                    .collect::<String>(),
            )
        };
        Self { local: print(local), remote: print(remote) }
    }

    /// The lines around what stands for a field.
    fn marks(&self, field: &str) -> (String, String) {
        let nonce = format!("{:08x}", (self.local ^ self.remote) as u32);
        (format!("<!-- field {field} {nonce} -->"), format!("<!-- end of {field} {nonce} -->"))
    }

    /// The stamp in a conflict's file.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.lines().find_map(|line| line.strip_prefix(STAMP))?;
        let (local, remote) = rest.strip_suffix(" -->")?.split_once(' ')?;
        Some(Self {
            local: u64::from_str_radix(local, 16).ok()?,
            remote: u64::from_str_radix(remote, 16).ok()?,
        })
    }
}

fn value(record: &Record, field: Field) -> String {
    match field {
        Field::Boxes => issue_text::text(&Record { boxes: record.boxes.clone(), ..Record::default() }, None),
        _ => record.shown(field),
    }
}

/// The text of a conflict's file.
pub fn text(
    story: &str,
    shown: &str,
    fields: &[Field],
    base: Option<&Base>,
    local: &Record,
    remote: &Record,
) -> String {
    let stamp = Stamp::of(fields, local, remote);
    let word = specweave_jobs::text::shell_word(story);
    let mut out = format!(
        "# Conflict: {story} and {shown}\n\nBoth sides changed what stands below, and neither was touched. Decide with\n\n    \
         specweave-jobs resolve {word} --use local     keeps what stands here\n    \
         specweave-jobs resolve {word} --use remote    takes what stands in the tracker\n    \
         specweave-jobs resolve {word} --use file      takes what you leave between the lines below\n\n\
         {STAMP}{:016x} {:016x} -->\n",
        stamp.local, stamp.remote
    );
    for field in fields {
        let (mine, theirs) = (value(local, *field), value(remote, *field));
        let before = base.map(|base| value(&base.local, *field)).filter(|before| !before.contains('\0'));
        let both = match (field, &before) {
            (Field::Description, Some(before)) => woven(before, &mine, &theirs),
            _ => None,
        };
        let both = both.unwrap_or_else(|| {
            let before = before.map_or(String::new(), |before| format!("{BEFORE}\n{before}\n"));
            format!("{MINE}\n{mine}\n{before}{MIDDLE}\n{theirs}\n{THEIRS}")
        });
        // A text that says so itself is no such mark: it does not know the stamp.
        let (open, close) = stamp.marks(field.name());
        out.push_str(&format!("\n## {}\n\n{open}\n{both}\n{close}\n", field.name()));
    }
    let seal = hash(&out);
    format!("{out}\n{SEAL}{seal:016x} -->\n")
}

/// Whether nobody has written in a conflict's file since it was made.
pub fn is_untouched(text: &str) -> bool {
    let Some((before, seal)) = text.rsplit_once(&format!("\n{SEAL}")) else { return false };
    seal.trim_end().strip_suffix(" -->") == Some(&format!("{:016x}", hash(before)))
}

/// Both texts as one where they agree, with marks only where they do not.
fn woven(before: &str, mine: &str, theirs: &str) -> Option<String> {
    let line = |text: &str| format!("{text}\n");
    let both = diffy::merge(&line(before), &line(mine), &line(theirs)).err()?;
    let named = both.lines().map(|line| match line {
        "<<<<<<< ours" => MINE,
        "||||||| original" => BEFORE,
        ">>>>>>> theirs" => THEIRS,
        line => line,
    });
    Some(named.collect::<Vec<_>>().join("\n"))
}

/// Puts what a person left in the file into a record.
pub fn decided(text: &str, fields: &[Field], record: &mut Record) -> Result<(), ConflictError> {
    for field in fields {
        let name = field.name();
        let (open, close) = Stamp::read(text).ok_or(ConflictError::Missing(name))?.marks(name);
        let is = |line: &&str, mark: &str| line.trim() == mark;
        let once = |mark: &str| text.lines().filter(|line| is(line, mark)).count() == 1;
        if !once(&open) || !once(&close) {
            return Err(ConflictError::Missing(name));
        }
        let lines = text.lines().skip_while(|line| !is(line, &open)).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| !is(line, &close)).map(str::trim_end).collect();
        if lines.iter().any(|line| [MINE, BEFORE, MIDDLE, THEIRS].contains(line)) {
            return Err(ConflictError::Undecided(name));
        }
        let left = lines.join("\n").trim_matches('\n').to_owned();
        match field {
            Field::Title if left.trim().is_empty() || left.contains('\n') => {
                return Err(ConflictError::Wrong(name, left));
            }
            Field::Title => record.title = left.trim().to_owned(),
            Field::Status => record.status = left.trim().to_owned(),
            Field::Priority => {
                record.priority = record::priority(&left.trim().to_uppercase());
                if record.priority.is_none() && !left.trim().is_empty() {
                    return Err(ConflictError::Wrong(name, left));
                }
            }
            Field::Labels => {
                let labels = left.split(',').map(str::trim).filter(|label| !label.is_empty());
                record.labels = labels.map(str::to_owned).collect();
            }
            Field::Description => record.description = left,
            Field::Boxes => record.boxes = issue_text::parse(&left).1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Checkbox, List};

    fn record(title: &str, description: &str, checked: bool) -> Record {
        let one = Checkbox { list: List::Tasks, id: "T-001".into(), text: "build".into(), checked };
        Record { title: title.into(), description: description.into(), boxes: vec![one], ..Record::default() }
    }

    const FIELDS: [Field; 3] = [Field::Title, Field::Description, Field::Boxes];

    #[test]
    fn a_conflict_is_shown_like_this() {
        let base = record("Password login", "one\ntwo\nthree", false);
        let (mine, theirs) =
            (record("Log in", "one\nTWO\nthree", true), record("Sign in", "one\nzwei\nthree", false));
        let met = Base { local: base.clone(), remote: base };
        insta::assert_snapshot!(text("my team/FS-001/US-001", "#12", &FIELDS, Some(&met), &mine, &theirs));
    }

    #[test]
    fn a_person_can_write_what_is_to_stand() {
        let base = record("a", "one\ntwo\nthree", false);
        let (mine, theirs) = (record("b", "one\nTWO\nthree", true), record("c", "one\nzwei\nthree", false));
        let met = Base { local: base.clone(), remote: base };
        let text = text("web/FS-001/US-001", "#12", &FIELDS, Some(&met), &mine, &theirs);
        assert_eq!(Stamp::read(&text), Some(Stamp::of(&FIELDS, &mine, &theirs)));
        assert!(
            text.contains("resolve web/FS-001/US-001 --use local")
                && text.contains("one\n<<<<<<< here\nTWO\n"),
            "{text}"
        );
        assert!(is_untouched(&text) && !is_untouched(&text.replace("Mine", "mine").replace("TWO", "2")));
        let mut decided_over = mine.clone();
        assert_eq!(decided(&text, &FIELDS, &mut decided_over), Err(ConflictError::Undecided("title")));
        let mut left = String::new();
        let mut skips = false;
        for line in text.lines() {
            match line {
                MINE => skips = false,
                BEFORE | MIDDLE => skips = true,
                THEIRS => skips = false,
                line if !skips => left.push_str(&format!("{line}\n")),
                _ => {}
            }
        }
        decided(&left, &FIELDS, &mut decided_over).unwrap();
        assert_eq!(decided_over, mine);
        let gone = left.replace("<!-- field title", "<!-- title");
        assert_eq!(decided(&gone, &FIELDS, &mut decided_over), Err(ConflictError::Missing("title")));
    }
}
