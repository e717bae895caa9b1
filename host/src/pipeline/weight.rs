//! What the next documents or events are likely to weigh, as those before them did.
//!
//! It rises at once and sinks slowly: where small ones follow on large ones, batches grow again
//! step by step, and where large ones follow on small ones, one batch is too heavy at most.
//!
//! Pure. Not here: how much a batch may weigh (`domain`).

/// Bytes of one of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(usize);

/// How much less it may become at a time.
const SINKS: usize = 4;

impl Weight {
    pub const fn new(bytes: usize) -> Self {
        Weight(bytes)
    }

    /// Notes what some of them weighed together.
    pub fn note(&mut self, count: usize, bytes: usize) {
        if count > 0 {
            self.0 = bytes.div_ceil(count).max(self.0 / SINKS).max(1);
        }
    }

    /// How many of them are likely to fit.
    pub fn fitting(self, bytes: usize) -> usize {
        bytes / self.0.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_sinks_slowly() {
        let mut weight = Weight::new(1_000);
        assert_eq!(weight.fitting(10_000), 10);
        weight.note(2, 40_000);
        assert_eq!(weight.fitting(10_000), 0);
        assert_eq!(weight.fitting(40_000), 2);
        for expected in [8, 32, 128, 400, 400] {
            weight.note(1_000, 100_000);
            assert_eq!(weight.fitting(40_000), expected);
        }
        weight.note(0, 0);
        assert_eq!(weight.fitting(40_000), 400, "nothing tells nothing");
    }
}
