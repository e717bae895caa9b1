//! The decisions of one schedule.

/// What is decided is drawn from the list, and after its end nothing goes wrong any more.
#[derive(Debug)]
pub(crate) struct Dice<'a> {
    decisions: std::slice::Iter<'a, u16>,
}

impl<'a> Dice<'a> {
    pub(crate) fn new(decisions: &'a [u16]) -> Self {
        Dice {
            decisions: decisions.iter(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.decisions.len() == 0
    }

    /// One of `0..sides`; 0 after the end.
    pub(crate) fn pick(&mut self, sides: usize) -> usize {
        self.decisions
            .next()
            .map_or(0, |decision| usize::from(*decision) % sides)
    }
}
