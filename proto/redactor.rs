//! Keeps secrets out of text that is written or shown.

use std::sync::{Arc, Mutex};

/// Takes secrets out of text: those that the job uses, those whose shape gives them away, and the user
/// part of every URL.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<Mutex<Vec<String>>>,
}

/// How well-known tokens begin.
const TOKEN_PREFIXES: [&str; 9] =
    ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "ATATT", "xoxb-"];

/// Shorter texts are words, not secrets; hiding them would hide the message.
const LEAST_SECRET: usize = 6;

impl Redactor {
    /// Hides `secret` from now on.
    pub fn learn(&self, secret: &str) {
        let secret = secret.trim();
        let mut known = self.known.lock().expect("no holder of the list panics");
        if secret.len() >= LEAST_SECRET && !known.iter().any(|known| known == secret) {
            known.push(secret.to_owned());
        }
    }

    /// `text` with `***` for what must not be seen.
    pub fn clean(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for secret in self.known.lock().expect("no holder of the list panics").iter() {
            out = out.replace(secret, "***");
        }
        for prefix in TOKEN_PREFIXES {
            out = hide_tokens(&out, prefix);
        }
        hide_user_parts(&out)
    }
}

fn hide_tokens(text: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(prefix) {
        let after = &rest[at + prefix.len()..];
        let token =
            after.find(|c: char| !c.is_ascii_alphanumeric() && !"_-=".contains(c)).unwrap_or(after.len());
        out.push_str(&rest[..at]);
        out.push_str(if token >= 8 { "***" } else { &rest[at..at + prefix.len() + token] });
        rest = &after[token..];
    }
    out + rest
}

fn hide_user_parts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let authority = after.find(|c: char| "/?# \t\n'\"".contains(c)).unwrap_or(after.len());
        out.push_str(before);
        match after[..authority].rfind('@') {
            // `ssh://git@host` names an account, not a secret.
            Some(user)
                if after[..user].contains(':')
                    || before.ends_with("http://")
                    || before.ends_with("https://") =>
            {
                out.push_str("***");
                out.push_str(&after[user..authority]);
            }
            _ => out.push_str(&after[..authority]),
        }
        rest = &after[authority..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_text_wherever_they_stand() {
        let redactor = Redactor::default();
        redactor.learn("hunter2-hunter2");
        let clean = redactor.clean(
            "see https://bob:hunter2-hunter2@host/x and https://tok@h:80/y?z, ghp_0123456789abcdef; \
             ssh://git@host/z hunter2-hunter2 ghp_x",
        );
        assert_eq!(clean, "see https://***@host/x and https://***@h:80/y?z, ***; ssh://git@host/z *** ghp_x");
    }
}
