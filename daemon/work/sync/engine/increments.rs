//! What both sides agreed on reaches the increments from which SpecWeave generates a story: otherwise it would generate what
//! was before.

use super::{Ended, Engine};
use crate::docs::authored::Authored;
use crate::model::record::Record;
use crate::model::story_key::StoryKey;
use crate::work::sync::plan::Story;
use crate::work::sync::regenerated::{generated, told};

impl Engine<'_> {
    /// Writes what was agreed on into a story's increments, and gives what SpecWeave will generate the story as; nothing for a
    /// story that belongs to no increment. `parsed` is the file before this sync wrote it.
    pub(super) fn tell_increments(
        &mut self,
        story: &Story,
        parsed: &Authored,
        agreed: &Record,
    ) -> Result<Option<Record>, Ended> {
        let increments = parsed.increments();
        let Some(key) = StoryKey::parse(&story.key).filter(|_| !increments.is_empty()) else {
            return Ok(None);
        };
        let known = self.store.link(&story.key).and_then(|link| link.generated.clone());
        let file = (story.is_generated || known.is_none()).then_some(&story.record);
        let mut from = generated(known.as_ref(), file, None);
        for increment in increments {
            let sources = self.docs.sources(&increment)?;
            let Some(said) = sources.say(key.story) else { continue };
            let Some(before) = generated(known.as_ref(), file, Some(&said)) else { continue };
            let new = sources.with(key.story, &before, agreed);
            if new != sources {
                self.docs.write_sources(&increment, &sources, &new)?;
            }
            // What was just written is what SpecWeave finds there from now on.
            from = new.say(key.story).map(|said| told(&before, agreed, &said)).or(Some(before));
        }
        Ok(from)
    }
}
