//! Living docs on disk: stories and features as files that SpecWeave reads and people edit. [`story`] says what a
//! file holds and how two versions of it become one (pure); [`ledger`] remembers what was written from where;
//! [`writer`] finds places, numbers and names, and is the only one that writes below `specs/`.

pub mod authored;
mod feature;
pub mod front_matter;
pub mod increment;
pub mod ledger;
pub mod story;
pub mod writer;
