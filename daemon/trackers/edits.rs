//! What is written to a tracker: new items and changes, each sent once. What became of one that got no answer is not
//! known, and is said so.

use crate::model::item::Item;
use crate::model::record::Checkbox;
use crate::trackers::{Read, Source, TrackerError};
use http::StatusCode;
use serde_json::value::RawValue;
use specweave_jobs::clock::Millis;

/// What a state means, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Open,
    InProgress,
    Completed,
    Cancelled,
}

/// The state that an item is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub category: Category,
    /// The tracker's own word, where the project has set one.
    pub name: Option<String>,
}

/// What holds stories together: GitHub's milestone, an epic, a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// As the tracker names it to itself: a number, a key, an id.
    pub reference: String,
    pub url: String,
}

/// An item before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub title: String,
    /// Markdown.
    pub body: String,
    pub priority: Option<u8>,
    /// The marker among them, where that is how it is found again.
    pub labels: Vec<String>,
    pub marker: String,
    pub group: Option<Group>,
    /// Whether it holds others.
    pub is_group: bool,
}

/// What changes of an item; everything else stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub title: Option<String>,
    /// Markdown.
    pub body: Option<String>,
    /// Boxes that are marked so in the body as it is, whose words are the tracker's.
    pub marks: Option<Vec<Checkbox>>,
    pub state: Option<State>,
    pub priority: Option<Option<u8>>,
    pub add_labels: Vec<String>,
    pub remove_labels: Vec<String>,
}

/// Why a write did not come about, or may have.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing was written.
    #[error(transparent)]
    Refused(TrackerError),
    /// It was sent; whether it was done is not known.
    #[error("no answer came back: {0}")]
    Unknown(TrackerError),
    /// Somebody was faster: nothing was written.
    #[error("it was changed there in the meantime")]
    Changed,
}

impl WriteError {
    /// Reads the failure of something that was sent once.
    pub fn of_sent(error: TrackerError) -> Self {
        match error {
            TrackerError::Network(_) | TrackerError::Transient { .. } | TrackerError::Cancelled => {
                Self::Unknown(error)
            }
            // The answer to what was done was not understood.
            TrackerError::Malformed { .. } => Self::Unknown(error),
            TrackerError::Status {
                status: StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED, ..
            } => Self::Changed,
            error => Self::Refused(error),
        }
    }
}

/// Boxes are marked in a text that does not have them all.
pub fn no_such_box(item: &Item) -> WriteError {
    let said = "a box that is to be marked is not in its text any more".to_owned();
    WriteError::Refused(TrackerError::Refused { what: item.shown.clone(), said })
}

/// What is known of an item after a change.
#[derive(Debug, Default)]
pub struct Updated {
    /// The state that it went to, where that may be another than was asked for.
    pub state: Option<(Category, String)>,
    /// The item as the reply shows it: a tracker may take a part of a change and say nothing of the rest.
    pub item: Option<Item>,
}

/// The item as the reply to its change shows it. What cannot be read is read again with the next listing.
pub fn shown_by(reply: &[u8], of: &Item, read: impl FnOnce(&RawValue) -> Option<Read>) -> Option<Item> {
    let raw: Box<RawValue> = serde_json::from_slice(reply).ok()?;
    read(&raw)?.ok().filter(|now| now.key == of.key)
}

/// How often may be written, by what the tracker documents. 0 is as often as one likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePace {
    /// Milliseconds between two writes.
    pub gap: Millis,
    pub creates_a_minute: u32,
    pub creates_an_hour: u32,
    /// After so many milliseconds, what was created is found by its marker.
    pub lag: Millis,
}

/// A source that can be written to.
#[tonic::async_trait]
pub trait Editor: Source {
    /// What the project is, whatever it is called by now.
    async fn identity(&self) -> Result<String, TrackerError>;

    /// An item as it is at this very moment; `None` where it is gone.
    async fn current(&self, reference: &str) -> Result<Option<Item>, TrackerError>;

    /// The items with a marker that were made since a moment, as far as the tracker has them in its index.
    async fn marked(&self, marker: &str, since: Millis) -> Result<Vec<Item>, TrackerError>;

    /// Makes an item, and gives its reference. Sent once.
    async fn create(&self, draft: &Draft) -> Result<String, WriteError>;

    /// Changes an item that was just read. Each part of it is sent once.
    async fn update(&self, item: &Item, change: &Change) -> Result<Updated, WriteError>;

    /// The group of a feature that needs no item of its own, made where there is none; `None` where groups are items.
    async fn group(&self, feature: &str, title: &str) -> Result<Option<Group>, WriteError>;

    /// Whether an item at this address is one of this project, as far as its path tells.
    fn owns(&self, address: &url::Url) -> bool;

    /// A text as the tracker would give it back.
    fn echo(&self, markdown: &str) -> String;

    fn pace(&self) -> WritePace;
}
