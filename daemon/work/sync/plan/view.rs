//! What is known of both sides when a sync decides, and the terms on which it does.

use crate::docs::writer::Kept;
use crate::model::item::Item;
use crate::model::merge::Rules;
use crate::model::record::Record;
use crate::work::sync::dialect::Dialect;
use crate::work::sync::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// A story that was written here.
#[derive(Clone, Debug)]
pub struct Story {
    /// `web/FS-001/US-001`.
    pub key: String,
    /// From the folder of specs.
    pub path: String,
    /// The item that its front matter names.
    pub reference: Option<String>,
    /// With the status in the shared words.
    pub record: Record,
    /// Folder of its feature, from the folder of specs.
    pub feature: String,
    /// Of the file's text, when it was read.
    pub print: u64,
    /// Whether SpecWeave generates it, and has since a sync last wrote it.
    pub is_generated: bool,
}

/// What an import would make of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Nothing: it is as it is to be, or no story of its own.
    Nothing,
    New,
    Changed,
    /// Both sides have changed, in the words of the import.
    Conflict(String),
}

/// Everything that is known of both sides.
pub struct View<'a> {
    pub stories: &'a BTreeMap<String, Story>,
    /// Files that are no stories that can be synced, and why.
    pub broken: &'a BTreeMap<String, String>,
    pub items: &'a BTreeMap<String, Item>,
    /// Items of the tracker that are gone for sure.
    pub gone: &'a BTreeSet<String>,
    /// References that lead nowhere, for sure.
    pub dead: &'a BTreeSet<String>,
    /// Where items went that are no longer in this project, by their reference.
    pub moved: &'a BTreeMap<String, String>,
    pub imported: &'a BTreeMap<String, Kept>,
    pub foreseen: &'a BTreeMap<String, Foreseen>,
    pub store: &'a Store,
    /// Features whose group in the tracker is known.
    pub groups: &'a BTreeSet<String>,
    /// Linked stories whose files are there, although nobody can read them now, or they are another profile's.
    pub unread: &'a BTreeSet<String>,
}

/// The terms on which is synced.
pub struct Terms<'a> {
    pub dialect: &'a Dialect<'a>,
    pub authored: Rules,
    pub imported: Rules,
    pub may_create: bool,
    pub may_import: bool,
    pub may_delete: bool,
    /// Only these stories; empty for all.
    pub only: &'a [String],
    pub force_deletes: bool,
    /// The one story that is named is in conflict, and a person has decided.
    pub resolve: bool,
}
