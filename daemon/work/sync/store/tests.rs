use super::*;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

impl Log for Kept {
    fn read(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        self.look(take)
    }
    fn look(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<usize> {
        Ok(self.0.lock().unwrap().iter().take_while(|line| take(line)).count())
    }
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        *self.0.lock().unwrap() = lines.to_vec();
        Ok(())
    }
}

#[test]
fn every_torn_end_leaves_what_was_before_it() {
    let kept = Kept::default();
    let mut store = Store::open(Box::new(kept.clone())).unwrap();
    store.set_project("p").unwrap();
    store.intend("a", 5, &Record::default()).unwrap();
    store.set("a", Link::to("r1")).unwrap();
    store.intend("b", 6, &Record::default()).unwrap();
    let whole = kept.0.lock().unwrap().clone();
    for lines in 0..whole.len() {
        let torn = Kept(Arc::new(Mutex::new(whole[..lines].to_vec())));
        let mut store = Store::open(Box::new(torn.clone())).unwrap();
        assert_eq!((store.project.is_some(), store.link("a").is_some()), (lines >= 1, lines >= 3));
        assert_eq!(store.intent("a").is_some(), lines == 2);
        store.set("z", Link::to("rz")).unwrap();
        let again = Store::open(Box::new(torn)).unwrap();
        assert!(again.link("z").is_some() && again.link("a").is_some() == (lines >= 3));
    }
}

#[test]
fn a_story_has_one_item_and_an_item_one_story() {
    let mut store = Store::open(Box::new(Kept::default())).unwrap();
    store.set("old/US-1", Link::to("r1")).unwrap();
    store.set("new/US-1", Link::to("r1")).unwrap();
    assert_eq!((store.link("old/US-1"), store.story("r1")), (None, Some("new/US-1")));
    store.set("new/US-1", Link::to("r2")).unwrap();
    assert_eq!((store.story("r1"), store.story("r2")), (None, Some("new/US-1")));
    store.forget("new/US-1").unwrap();
    assert!(store.is_dropped("r2") && store.links().next().is_none());
}

#[test]
fn many_old_lines_are_rewritten_and_mean_the_same() {
    let kept = Kept::default();
    let mut store = Store::open(Box::new(kept.clone())).unwrap();
    for number in 0..600 {
        store.set("a", Link::to(&format!("r{number}"))).unwrap();
    }
    let long = kept.0.lock().unwrap().len();
    let store = Store::open(Box::new(kept.clone())).unwrap();
    assert_eq!(store.link("a").unwrap().remote, "r599");
    assert!(kept.0.lock().unwrap().len() * 50 < long);
}
