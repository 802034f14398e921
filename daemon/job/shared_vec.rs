//! A vector whose copies share what has not changed, so that a snapshot of ten thousand items costs a few
//! hundred bytes, and an update one chunk.

use std::sync::Arc;

const CHUNK: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedVec<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for SharedVec<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Clone> SharedVec<T> {
    /// `len` times the same value, in one shared chunk until something is set.
    pub fn filled(value: T, len: usize) -> Self {
        let shared = Arc::new(vec![value; CHUNK.min(len)]);
        Self { chunks: vec![shared; len.div_ceil(CHUNK)], len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        (at < self.len).then(|| &self.chunks[at / CHUNK][at % CHUNK])
    }

    /// Panics when there is no such place.
    pub fn set(&mut self, at: usize, value: T) {
        assert!(at < self.len);
        Arc::make_mut(&mut self.chunks[at / CHUNK])[at % CHUNK] = value;
    }

    pub fn push(&mut self, value: T) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(last) = self.chunks.last_mut() {
            Arc::make_mut(last).push(value);
        }
        self.len += 1;
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut marks = SharedVec::filled(0_u8, 1_000);
        let before = marks.clone();
        marks.set(999, 7);
        marks.set(3, 5);
        assert_eq!((marks.get(999), marks.get(3), marks.get(1_000)), (Some(&7), Some(&5), None));
        assert!(before.iter().all(|mark| *mark == 0) && before.iter().count() == 1_000);

        let mut order = SharedVec::default();
        (0..600_u32).for_each(|number| order.push(number));
        assert!(order.iter().copied().eq(0..600));
        assert_eq!(order.len(), 600);
    }
}
