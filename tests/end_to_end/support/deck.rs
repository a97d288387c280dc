//! Choices in random order, each once before any comes again.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What may be chosen, and what is left of this round.
pub(crate) struct Deck<T: 'static> {
    cards: &'static [T],
    rest: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub(crate) fn new(cards: &'static [T]) -> Self {
        Self { cards, rest: Vec::new() }
    }

    pub(crate) fn deal(&mut self, random: &mut ChaCha8Rng) -> T {
        if self.rest.is_empty() {
            self.rest = self.cards.to_vec();
            self.rest.shuffle(random);
        }
        self.rest.pop().expect("just filled")
    }
}
