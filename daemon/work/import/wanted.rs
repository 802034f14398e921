//! Which items a request wants: what is asked of the trackers, and what is new and wanted.

use crate::job::order::{ImportOrder, Question};
use crate::model::item::{Item, Platform, Status};
use crate::model::patterns::Filter;

/// Which items may be new. Those that have a file are kept up to date in any case.
pub struct Wanted {
    open_only: bool,
    labels: Vec<String>,
    titles: Filter,
    /// Says the same in a word, for the mark that belongs to it.
    pub text: String,
}

impl Wanted {
    pub fn new(order: &ImportOrder) -> Self {
        let mut labels: Vec<String> = order.labels.iter().map(|label| label.to_lowercase()).collect();
        labels.sort();
        let mut parts = Vec::new();
        if order.open_only {
            parts.push("state=open".to_owned());
        }
        parts.extend(labels.iter().map(|label| format!("label={label}")));
        parts.extend(order.titles.texts().iter().map(|pattern| format!("match={pattern}")));
        let Question { search, jql, wiql, assignee, milestone } = &*order.question;
        let questions = [
            ("search", search),
            ("jql", jql),
            ("wiql", wiql),
            ("assignee", assignee),
            ("milestone", milestone),
        ];
        parts
            .extend(questions.iter().filter_map(|(name, asked)| Some(format!("{name}={}", asked.as_ref()?))));
        let titles = Filter::new(&order.titles, &Default::default());
        Self { open_only: order.open_only, labels, titles, text: parts.join(" ") }
    }

    pub fn takes(&self, item: &Item) -> bool {
        let has = |label: &String| item.labels.iter().any(|own| own.to_lowercase() == *label);
        !(self.open_only && matches!(item.status, Status::Completed | Status::Cancelled | Status::Removed))
            && self.labels.iter().all(has)
            && self.titles.takes(&item.title)
    }
}

/// What one tracker is asked for besides, in its own language.
pub fn condition(question: &Question, platform: Platform, source: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let single = |text: &str| format!("'{}'", text.replace('\'', "''"));
    if let Some(own) = question.own(platform) {
        parts.push(if platform == Platform::GitHub { own.to_owned() } else { format!("({own})") });
    }
    if let Some(who) = &question.assignee {
        parts.push(match (platform, who.as_str()) {
            (Platform::GitHub, who) => format!("assignee:{who}"),
            (Platform::Jira, "@me") => "assignee = currentUser()".to_owned(),
            (Platform::Jira, who) => format!("assignee = {}", quoted(who)),
            (Platform::Ado, "@me") => "[System.AssignedTo] = @Me".to_owned(),
            (Platform::Ado, who) => format!("[System.AssignedTo] = {}", single(who)),
        });
    }
    if let Some(milestone) = &question.milestone {
        parts.push(match platform {
            Platform::GitHub => format!("milestone:\"{}\"", milestone.replace('"', "")),
            Platform::Jira => format!("fixVersion = {}", quoted(milestone)),
            Platform::Ado => {
                format!("[System.IterationPath] UNDER {}", single(&format!("{source}\\{milestone}")))
            }
        });
    }
    parts.join(if platform == Platform::GitHub { " " } else { " AND " })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tracker_is_asked_in_its_own_language() {
        let question = Question {
            search: Some("involves:@me".into()),
            jql: Some("a = 1 OR b = 2".into()),
            wiql: Some("[A] = 1 OR [B] = 2".into()),
            assignee: Some("@me".into()),
            milestone: Some("it's \"2\"".into()),
        };
        let asked = |platform| condition(&question, platform, "Nova CAD");
        assert_eq!(asked(Platform::GitHub), "involves:@me assignee:@me milestone:\"it's 2\"");
        assert_eq!(
            asked(Platform::Jira),
            "(a = 1 OR b = 2) AND assignee = currentUser() AND fixVersion = \"it's \\\"2\\\"\""
        );
        assert_eq!(
            asked(Platform::Ado),
            "([A] = 1 OR [B] = 2) AND [System.AssignedTo] = @Me AND [System.IterationPath] UNDER 'Nova CAD\\it''s \"2\"'"
        );
        assert_eq!(condition(&Question::default(), Platform::Jira, ""), "");
    }
}
