//! Memory that the partitions of a projection on this host share equally.
//!
//! Guarantee: however many partitions a host is given, what they hold together stays within the
//! budget. A share shrinks and grows with the number of those who have one, from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes for all who have a share.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    sharers: AtomicUsize,
}

/// One of the equal parts. Dropping it leaves more for the others.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Budget {
            bytes_max,
            sharers: AtomicUsize::new(0),
        })
    }

    pub fn share(self: &Arc<Self>) -> Share {
        self.sharers.fetch_add(1, Ordering::Relaxed);
        Share {
            budget: Arc::clone(self),
        }
    }
}

impl Share {
    /// What it is now.
    pub fn bytes_max(&self) -> usize {
        let sharers = self.budget.sharers.load(Ordering::Relaxed);
        self.budget.bytes_max / sharers.max(1)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_and_never_more_than_the_whole() {
        let budget = Budget::new(100);
        let one = budget.share();
        assert_eq!(one.bytes_max(), 100);
        let others: Vec<Share> = (0..3).map(|_| budget.share()).collect();
        assert_eq!((one.bytes_max(), others[2].bytes_max()), (25, 25));
        drop(others);
        assert_eq!(one.bytes_max(), 100);
    }
}
