//! What all trackers, stories and sources have in common, as plain data: items, records of stories with their boxes and how
//! two of them become one, the text of an item, names and patterns. Everything here is pure: no file, no clock, no network, and no use of a room above.

pub mod conflict;
pub mod conflict_file;
pub mod failure;
pub mod issue_text;
pub mod item;
pub mod merge;
pub mod patterns;
pub mod record;
pub mod repository;
pub mod story_key;
pub mod text;
