//! A work item as all trackers have it: what is left of their differences are texts.

use serde::{Deserialize, Serialize};
use specweave_jobs::clock::Millis;

/// Which tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    GitHub,
    Jira,
    Ado,
}

impl Platform {
    pub const ALL: [Self; 3] = [Self::GitHub, Self::Jira, Self::Ado];

    /// As the command line and the documented files name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Jira => "jira",
            Self::Ado => "ado",
        }
    }

    /// How its items' ids begin in stories and files: `github#acme/web#7`, `JIRA-PAY-7`, `ADO-7`.
    pub fn id_prefix(self) -> &'static str {
        match self {
            Self::GitHub => "github#",
            Self::Jira => "JIRA-",
            Self::Ado => "ADO-",
        }
    }

    /// What a front matter calls the number or key of an item.
    pub fn link_name(self) -> &'static str {
        match self {
            Self::GitHub => "issue",
            Self::Jira => "key",
            Self::Ado => "id",
        }
    }

    /// The variables in which a token is looked for, those that are needed together.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::GitHub => &["GITHUB_TOKEN"],
            Self::Jira => &["JIRA_EMAIL", "JIRA_API_TOKEN"],
            Self::Ado => &["AZURE_DEVOPS_PAT"],
        }
    }

    /// As people name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub",
            Self::Jira => "JIRA",
            Self::Ado => "Azure DevOps",
        }
    }
}

/// What an item is, for its place in the living docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An epic or a feature: it holds others.
    Feature,
    Story,
    /// A step of its parent; Azure DevOps alone.
    Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Open,
    InProgress,
    Completed,
    /// Closed without being done: a duplicate, something that nobody will do.
    Cancelled,
    /// Deleted in the tracker.
    Removed,
}

impl Status {
    /// What a word of SpecWeave's or of people means; one that nobody knows is open.
    pub fn of_word(word: &str) -> Self {
        match word.trim().to_lowercase().replace([' ', '-'], "_").as_str() {
            "active" | "in_progress" | "implementing" | "implemented" | "in_qa" | "in_review" | "review"
            | "blocked" | "paused" | "ready_for_review" | "started" => Self::InProgress,
            "complete" | "completed" | "done" | "closed" | "shipped" => Self::Completed,
            "cancelled" | "canceled" | "abandoned" | "wont_do" | "wont_fix" => Self::Cancelled,
            "removed" => Self::Removed,
            _ => Self::Open,
        }
    }

    /// As SpecWeave's files write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::InProgress => "In Progress",
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
            Self::Removed => "Removed",
        }
    }
}

/// A link to an item that may not be known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub key: String,
    pub external_id: String,
}

impl Parent {
    /// What it is known by: its key, where the tracker tells one.
    pub fn reference(&self) -> &str {
        if self.key.is_empty() { &self.external_id } else { &self.key }
    }
}

/// How a label begins that says whose story an item is.
pub const MARKER: &str = "sw-";

/// A reference as files have it: a number where it is one.
pub fn number_or_text(reference: &str) -> serde_json::Value {
    reference.parse::<u64>().map_or_else(|_| reference.into(), Into::into)
}

impl Item {
    /// What its tracker names it by: a number, a key.
    pub fn reference(&self) -> &str {
        self.shown.trim_start_matches('#')
    }

    /// Whether it was deleted, and not only put into a state of that name.
    pub fn is_deleted(&self) -> bool {
        self.status == Status::Removed && !self.state.eq_ignore_ascii_case("removed")
    }

    /// The marker of the story that it was made from.
    pub fn marker(&self) -> Option<&str> {
        let is_marker = |text: &&str| {
            let rest = text.strip_prefix(MARKER).unwrap_or("");
            rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match self.platform {
            Platform::GitHub => {
                crate::model::issue_text::marker(&self.body).map(|(marker, _)| marker).filter(is_marker)
            }
            _ => self.labels.iter().map(String::as_str).find(is_marker),
        }
    }
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Names it for ever: it outlives renames of its project, moves and new titles.
    pub key: String,
    /// As SpecWeave's files name it: `github#acme/web#12`, `JIRA-PAY-1`, `ADO-511`.
    pub external_id: String,
    pub platform: Platform,
    /// `#12`, `PAY-1`.
    pub shown: String,
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Markdown of a field of its own; GitHub and JIRA have theirs in the body.
    pub criteria: Option<String>,
    pub kind: Kind,
    /// The tracker's own word, such as `Bug`.
    pub type_name: String,
    pub status: Status,
    /// The tracker's own word for it: `closed/not_planned`, `In Review`.
    #[serde(default)]
    pub state: String,
    /// Whether its text is HTML in the tracker; who changes it keeps that.
    #[serde(default)]
    pub is_html: bool,
    /// Whether somebody made it who has no part in the project: whatever it says of itself, it is nobody's story.
    #[serde(default)]
    pub by_outsider: bool,
    /// Of this very version: another one has another.
    #[serde(default)]
    pub revision: String,
    /// 0 is the most urgent.
    pub priority: Option<u8>,
    pub labels: Vec<String>,
    pub created: Millis,
    pub updated: Millis,
    pub url: String,
    pub parent: Option<Parent>,
    /// `acme/web`, `PAY`, `Nova CAD`.
    pub project: String,
    /// Azure DevOps' area path.
    pub area: Option<String>,
}
