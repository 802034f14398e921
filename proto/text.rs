//! Text that came from elsewhere: repository names, a remote's error, titles.

/// `text` without what could move a terminal's cursor, forge a log line or reorder what is read: control
/// characters and bidirectional overrides become a visible mark.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// As [`plain`], but line breaks and tabs stay; for log files, where a remote's text may have lines.
pub fn plain_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| if is_harmless(c) || c == '\n' || c == '\t' { c } else { '\u{fffd}' })
        .collect()
}

fn is_harmless(c: char) -> bool {
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    !c.is_control() && !reorders
}

/// `4,500`: a count as the documented outputs write it.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 item`, `1,200 items`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// A word as a shell needs it.
pub fn shell_word(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,%".contains(c);
    if !word.is_empty() && word.chars().all(harmless) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_overrides_do_not_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(plain("naïve ✓"), "naïve ✓");
        assert_eq!(plain_lines("one\r\ntwo\u{7}"), "one\ntwo\u{fffd}");
    }

    #[test]
    fn counts_have_thousands_separators() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(4500), "4,500");
        assert_eq!(thousands(1234567), "1,234,567");
    }
}
