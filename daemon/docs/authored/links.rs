//! The links of a story to items of trackers, as people and SpecWeave write them.

use super::{Authored, scalar};

/// A link to an item as people write it: `5`, `"#5"`, `acme/web#5`, `PAY-1`, or its whole address.
struct Link {
    reference: String,
    /// Where it is, as far as the link says.
    address: Option<String>,
}

impl Link {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with("https://") || text.starts_with("http://") {
            let path = text.split(['?', '#']).next().unwrap_or(text);
            let reference = path.trim_end_matches('/').rsplit('/').next()?.to_owned();
            return Some(Self { reference, address: Some(text.to_owned()) });
        }
        match text.split_once('#') {
            Some(("", number)) => Some(Self { reference: number.to_owned(), address: None }),
            Some((repository, number)) if repository.contains('/') => Some(Self {
                reference: number.to_owned(),
                address: Some(format!("https://github.com/{repository}/issues/{number}")),
            }),
            _ => Some(Self { reference: text.to_owned(), address: None }),
        }
    }
}

impl Authored {
    /// The item of a tracker that the front matter names: a number or a key, however people write it.
    pub fn link(&self, provider: &str) -> Option<String> {
        let named = self.linked_as(provider, &["issue", "key", "id", "number", "workItem", "work_item_id"]);
        let address = || self.linked_as(provider, &["url", "html_url"]);
        Link::parse(&named.or_else(address)?).map(|link| link.reference)
    }

    /// The address of that item, where the front matter has it, or says at least which repository it is in.
    pub fn link_address(&self, provider: &str) -> Option<String> {
        let named =
            self.linked_as(provider, &["issue", "key", "id", "number"]).and_then(|text| Link::parse(&text));
        self.linked_as(provider, &["url", "html_url"]).or_else(|| named?.address)
    }

    /// What the front matter says of a tracker under the first of these names, wherever links stand.
    fn linked_as(&self, provider: &str, names: &[&str]) -> Option<String> {
        let places = [self.meta.get("external"), self.meta.get("external_tools")];
        places.into_iter().flatten().find_map(|place| {
            let own = place.get(provider)?;
            names.iter().map(|name| scalar(own.get(name))).find(|found| !found.is_empty())
        })
    }
}
