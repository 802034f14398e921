//! What a terminal shows outside of its lines, by escape sequences that take no room: progress at its icon, and a notification.

use super::*;
use std::io::{self, Write};

/// Progress at the terminal's icon or tab (OSC 9;4), where a terminal knows it.
pub struct Taskbar {
    is_known: bool,
    /// What was told last, as it is told only when it changes.
    told: Option<(u8, u32)>,
}

impl Taskbar {
    /// Some terminals take the sequence for a notification: only those that say who they are get it.
    pub fn of_environment() -> Self {
        let is = |name: &str, values: &[&str]| {
            std::env::var(name).is_ok_and(|value| values.is_empty() || values.contains(&value.as_str()))
        };
        let is_known = is("WT_SESSION", &[])
            || is("ConEmuANSI", &["ON"])
            || is("TERM_PROGRAM", &["ghostty", "WezTerm"])
            || std::env::var("TERM_FEATURES").is_ok_and(|features| features.contains('P'));
        Self { is_known, told: None }
    }

    pub fn show(&mut self, state: JobState, progress: &Progress) -> io::Result<()> {
        let kind = match state {
            JobState::Paused => 4,
            _ if progress.total == 0 => 3,
            _ => 1,
        };
        self.tell(kind, progress.percentage)
    }

    /// Takes it away. A terminal that is gone needs nothing.
    pub fn clear(&mut self) {
        if self.told.is_some() {
            let _ = self.tell(0, 0);
        }
    }

    fn tell(&mut self, kind: u8, percentage: u32) -> io::Result<()> {
        if !self.is_known || self.told == Some((kind, percentage)) {
            return Ok(());
        }
        self.told = Some((kind, percentage));
        let mut out = io::stdout().lock();
        write!(out, "\u{1b}]9;4;{kind};{percentage}\u{1b}\\")?;
        out.flush()
    }
}

/// A notification (OSC 9) with the first line of a text; nothing outside of a terminal.
pub fn notification(text: &str) -> String {
    if !io::stdout().is_terminal() || !is_capable() {
        return String::new();
    }
    format!("\u{1b}]9;specweave-jobs: {}\u{7}", plain(text.lines().next().unwrap_or_default()))
}
