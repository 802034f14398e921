//! One thing that a sync does to one story.

use crate::docs::writer::SPECS;
use crate::model::record::Field;
use crate::work::sync::dialect::Origin;
use specweave_jobs::v1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Something cannot be read.
    Broken,
    Group,
    Create,
    /// What may have been made is looked for.
    Recheck,
    Link,
    Push,
    Pull,
    Merge,
    Import,
    Conflict,
    /// What a person has decided over.
    Settle,
    Restore,
    Unlink,
    Close,
    Orphan,
    /// An item that was made twice is closed.
    Heal,
}

impl Verb {
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Group => "group",
            Self::Create => "create",
            Self::Recheck => "recheck",
            Self::Link => "link",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Merge => "merge",
            Self::Import => "import",
            Self::Conflict => "conflict",
            Self::Settle => "settle",
            Self::Restore => "restore",
            Self::Unlink => "unlink",
            Self::Close => "close",
            Self::Orphan => "orphan",
            Self::Heal => "heal",
        }
    }

    /// As the contract has it.
    pub fn in_contract(self) -> v1::Action {
        match self {
            Self::Broken => v1::Action::Broken,
            Self::Group => v1::Action::Group,
            Self::Create => v1::Action::Create,
            Self::Recheck => v1::Action::Recheck,
            Self::Link => v1::Action::Link,
            Self::Push => v1::Action::Push,
            Self::Pull => v1::Action::Pull,
            Self::Merge => v1::Action::Merge,
            Self::Import => v1::Action::Import,
            Self::Conflict => v1::Action::Conflict,
            Self::Settle => v1::Action::Settle,
            Self::Restore => v1::Action::Restore,
            Self::Unlink => v1::Action::Unlink,
            Self::Close => v1::Action::Close,
            Self::Orphan => v1::Action::Orphan,
            Self::Heal => v1::Action::Heal,
        }
    }

    /// Whether something is written to the tracker.
    pub fn writes_there(self) -> bool {
        matches!(
            self,
            Self::Group
                | Self::Create
                | Self::Recheck
                | Self::Push
                | Self::Merge
                | Self::Settle
                | Self::Close
                | Self::Heal
        )
    }

    pub fn creates(self) -> bool {
        matches!(self, Self::Group | Self::Create | Self::Recheck)
    }
}

/// One thing that is done to one story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub verb: Verb,
    /// The story's key; of what came from the tracker its id there.
    pub story: String,
    pub origin: Origin,
    pub fields: Vec<Field>,
    pub reason: String,
    /// The item's key, where there is one.
    pub item: Option<String>,
    pub path: String,
}

impl Action {
    /// Its file, from the project's root; empty where there is none.
    pub fn file(&self) -> String {
        match self.path.as_str() {
            "" => String::new(),
            path => format!("{SPECS}/{path}"),
        }
    }

    /// As a job names it: the story, whatever is done to it in the end. A twin of its item is an item of its own, as the
    /// story itself may have something to do, too.
    pub fn name(&self) -> String {
        match (self.verb, &self.item) {
            (Verb::Heal, Some(twin)) => format!("{} (twin {twin})", self.story),
            _ => self.story.clone(),
        }
    }
}
