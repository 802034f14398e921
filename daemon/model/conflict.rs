//! The file beside a story that shows a contradiction: what each side says and what both said before, for a person to
//! decide over, or to write what is to stand. Imports and syncs write the same. Pure.

use crate::model::issue_text;
use crate::model::merge::Base;
use crate::model::record::{self, Field, Record};
use crate::model::text::{self, hash};

/// What is said to somebody who has to decide.
pub const DECIDE: &str = "specweave-jobs conflicts";

/// Says in the file what it was made from, so that nobody decides over something else.
const STAMP: &str = "<!-- specweave-jobs conflict ";
/// The same of a file that holds all that is left of what stood in a story.
const KEPT: &str = "<!-- specweave-jobs kept ";
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
        let rest = text.lines().find_map(|line| line.strip_prefix(STAMP).or(line.strip_prefix(KEPT)))?;
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

/// What stands in the story while its conflict waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What stood there: neither side is touched before somebody has decided.
    Untouched,
    /// What a person wrote, beside everything else that was imported.
    Here,
    /// What the tracker says. Another tool wrote the story, so nobody knows who changed what; what stood there is in the
    /// conflict's file alone.
    Tracker,
}

/// A contradiction as its file shows it.
pub struct Shown<'a> {
    /// The story's name, which `resolve` takes.
    pub story: &'a str,
    /// The item as its tracker shows it.
    pub item: &'a str,
    pub standing: Standing,
    pub fields: &'a [Field],
    pub base: Option<&'a Base>,
    pub local: &'a Record,
    pub remote: &'a Record,
}

impl Shown<'_> {
    fn advice(&self) -> String {
        let word = specweave_jobs::text::shell_word(self.story);
        let local_or_remote = format!(
            "    specweave-jobs resolve {word} --use local     keeps what stands here\n    \
             specweave-jobs resolve {word} --use remote    takes what stands in the tracker\n"
        );
        match self.standing {
            Standing::Untouched => format!(
                "Both sides changed what stands below, and neither was touched. Decide with\n\n{local_or_remote}    \
                 specweave-jobs resolve {word} --use file      takes what you leave between the lines below\n"
            ),
            Standing::Here => format!(
                "Both sides changed what stands below. The story keeps what stands here. Decide with\n\n{local_or_remote}\n\
                 or write into the story what is to stand, and remove this file.\n"
            ),
            Standing::Tracker => "The story says what stands in the tracker; what stood here before is only in this file. Take over \
                                  what you want of\nit, then remove this file.\n"
                .to_owned(),
        }
    }
}

/// The text of a conflict's file.
pub fn text(shown: &Shown) -> String {
    let Shown { story, item, standing, fields, base, local, remote } = *shown;
    let stamp = Stamp::of(fields, local, remote);
    let mark = if standing == Standing::Tracker { KEPT } else { STAMP };
    let mut out = format!(
        "# Conflict: {story} and {item}\n\n{}\n{mark}{:016x} {:016x} -->\n",
        shown.advice(),
        stamp.local,
        stamp.remote
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

/// Whether a file holds all that is left of what stood in a story: it waits until a person removes it.
pub fn is_all_that_is_left(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(KEPT))
}

/// The fields that a conflict's file shows.
pub fn fields(text: &str) -> Vec<Field> {
    let Some(stamp) = Stamp::read(text) else { return Vec::new() };
    let is_shown = |field: &Field| {
        let (open, _) = stamp.marks(field.name());
        text.lines().any(|line| line.trim() == open)
    };
    Field::ALL.into_iter().filter(is_shown).collect()
}

/// The story and the item that a conflict's file names.
pub fn names(text: &str) -> Option<(&str, &str)> {
    text.lines().next()?.strip_prefix("# Conflict: ")?.rsplit_once(" and ")
}

/// What each side says of a field in a conflict's file that shows it as a whole.
pub fn sides(text: &str, field: Field) -> Option<(String, String)> {
    let lines = between(text, field)?;
    let at = |mark: &str| lines.iter().position(|line| *line == mark);
    let (mine, middle, theirs) = (at(MINE)?, at(MIDDLE)?, at(THEIRS)?);
    let end_of_mine = at(BEFORE).unwrap_or(middle);
    let joined = |lines: Option<&[&str]>| lines.map(|lines| lines.join("\n"));
    Some((joined(lines.get(mine + 1..end_of_mine))?, joined(lines.get(middle + 1..theirs))?))
}

/// What stands for a field in a conflict's file, without blanks at the ends of lines.
fn between(text: &str, field: Field) -> Option<Vec<&str>> {
    let (open, close) = Stamp::read(text)?.marks(field.name());
    let is = |line: &&str, mark: &str| line.trim() == mark;
    let once = |mark: &str| text.lines().filter(|line| is(line, mark)).count() == 1;
    if !once(&open) || !once(&close) {
        return None;
    }
    let lines = text.lines().skip_while(|line| !is(line, &open)).skip(1);
    Some(lines.take_while(|line| !is(line, &close)).map(str::trim_end).collect())
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
        let lines = between(text, *field).ok_or(ConflictError::Missing(name))?;
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
            Field::Criteria => {
                let lines = left.lines().filter_map(|line| text::after_list_marker(line.trim()));
                record.criteria = lines.map(|line| line.trim().to_owned()).collect();
            }
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
        insta::assert_snapshot!(shown("my team/FS-001/US-001", Standing::Untouched, &met, &mine, &theirs));
    }

    fn shown(story: &str, standing: Standing, met: &Base, local: &Record, remote: &Record) -> String {
        let base = (standing == Standing::Untouched).then_some(met);
        text(&Shown { story, item: "#12", standing, fields: &FIELDS, base, local, remote })
    }

    #[test]
    fn what_an_import_leaves_beside_a_story_is_read_again() {
        let (mine, theirs) = (record("Log in", "here\n- a", true), record("Sign in", "", false));
        for standing in [Standing::Here, Standing::Tracker] {
            let text = shown("github#acme/web#12", standing, &Base::default(), &mine, &theirs);
            assert_eq!(is_all_that_is_left(&text), standing == Standing::Tracker);
            assert_eq!(fields(&text), FIELDS);
            assert_eq!(names(&text), Some(("github#acme/web#12", "#12")));
            let both = |mine: &str, theirs: &str| Some((mine.to_owned(), theirs.to_owned()));
            assert_eq!(sides(&text, Field::Title), both("Log in", "Sign in"));
            assert_eq!(sides(&text, Field::Description), both("here\n- a", ""));
            assert_eq!(sides(&text, Field::Labels), None);
        }
    }

    #[test]
    fn a_person_can_write_what_is_to_stand() {
        let base = record("a", "one\ntwo\nthree", false);
        let (mine, theirs) = (record("b", "one\nTWO\nthree", true), record("c", "one\nzwei\nthree", false));
        let met = Base { local: base.clone(), remote: base };
        let text = shown("web/FS-001/US-001", Standing::Untouched, &met, &mine, &theirs);
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
