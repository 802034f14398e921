//! A command of ours as somebody would type it.

use specweave_jobs::text::shell_word;

/// Words of a command line, each written as a shell needs it.
pub struct CommandLine(Vec<String>);

impl CommandLine {
    /// `specweave-jobs VERB`.
    pub fn of(verb: &str) -> Self {
        Self(vec!["specweave-jobs".to_owned(), verb.to_owned()])
    }

    pub fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(shell_word(word));
        self
    }

    /// An option for each value.
    pub fn option<V: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = V>) -> &mut Self {
        for value in values {
            self.0.extend([name.to_owned(), shell_word(value.as_ref())]);
        }
        self
    }

    pub fn flag(&mut self, name: &str, wanted: bool) -> &mut Self {
        if wanted {
            self.0.push(name.to_owned());
        }
        self
    }

    pub fn text(&self) -> String {
        self.0.join(" ")
    }
}
