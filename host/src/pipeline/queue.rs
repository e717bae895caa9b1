//! The queue of one partition, between the source that reads it and the domain that folds it.
//!
//! Guarantee: it is bounded by count and by bytes, its own and those that all queues of the
//! projection share. Room is given back when an event's effects are
//! stored, not when the event is taken out, so that whatever waits anywhere in the pipeline counts.
//! Sending never waits: when the queue is full the source is told so, stops reading the partition,
//! and is woken when a quarter of the room is free again: not for every event, and before the
//! domain has nothing to fold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::budget::Share;
use crate::record::{Event, Generation, LeaderEpoch, NextOffset, TopicPartition};

/// How much of one partition may be in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub events_max: usize,
    pub bytes_max: usize,
}

/// What a source puts into a queue.
#[derive(Debug)]
pub enum Item {
    Event(Arc<Event>),
    /// There is no event before this position that was not sent: control records, aborted
    /// transactions and compaction leave gaps, also at the end of a partition.
    Position(NextOffset),
    /// The events from here on were written under this leader epoch, where it is known.
    Epoch(Option<LeaderEpoch>),
}

/// What the source should do after sending.
#[derive(Debug)]
pub enum Sent {
    /// Go on.
    Open,
    /// The item was taken, but the queue is full now: stop reading the partition.
    Full,
    /// Nobody will take this partition's events any more: stop reading it, and drop what arrives.
    Closed,
    /// There was no room at all, although the source was told to stop: keep the item and send it
    /// again before any other.
    Refused(Item),
}

/// The source's end.
#[derive(Debug)]
pub struct Sender {
    partition: TopicPartition,
    generation: Generation,
    items: mpsc::Sender<Item>,
    gate: Arc<Gate>,
    consumer: Arc<Notify>,
}

/// The domain's end. Dropping it closes the queue.
#[derive(Debug)]
pub struct Receiver {
    items: mpsc::Receiver<Item>,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Wakes the source's thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

/// What both ends share.
#[derive(Debug)]
struct Gate {
    limits: Limits,
    share: Share,
    events: AtomicUsize,
    bytes: AtomicUsize,
    /// The source has stopped reading, and wants to be woken.
    stopped: AtomicBool,
    /// The partition's checkpoint as stored; the source reports it to Kafka.
    stored: AtomicI64,
}

/// Items beyond the limit that the channel takes, for position markers and for what arrives
/// before the source stops.
const SLACK: usize = 64;

/// Makes a queue. `consumer` is notified of every item.
pub fn channel(
    partition: TopicPartition,
    generation: Generation,
    next: NextOffset,
    limits: Limits,
    share: Share,
    consumer: Arc<Notify>,
    waker: Waker,
) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(limits.events_max + SLACK);
    let gate = Arc::new(Gate {
        limits,
        share,
        events: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
        stored: AtomicI64::new(next.0),
    });
    (
        Sender {
            partition,
            generation,
            items: sender,
            gate: Arc::clone(&gate),
            consumer,
        },
        Receiver {
            items: receiver,
            gate,
            waker,
        },
    )
}

impl Waker {
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Waker(Arc::new(wake))
    }

    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

impl Sender {
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Sends one item, and never waits.
    pub fn send(&self, item: Item) -> Sent {
        let (events, bytes) = match &item {
            Item::Event(event) => (1, event.size_bytes()),
            Item::Position(_) | Item::Epoch(_) => (0, 0),
        };
        self.gate.events.fetch_add(events, Ordering::SeqCst);
        self.gate.bytes.fetch_add(bytes, Ordering::SeqCst);
        match self.items.try_send(item) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Sent::Closed,
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.gate.events.fetch_sub(events, Ordering::SeqCst);
                self.gate.bytes.fetch_sub(bytes, Ordering::SeqCst);
                return Sent::Refused(item);
            }
        }
        self.consumer.notify_one();
        if self.gate.is_full() {
            self.gate.stopped.store(true, Ordering::SeqCst);
            // Room may have been given back between the two lines above.
            if self.gate.is_full() {
                return Sent::Full;
            }
            self.gate.stopped.store(false, Ordering::SeqCst);
        }
        Sent::Open
    }

    /// True once a queue that was full has room again; the source then reads on.
    pub fn has_room_again(&self) -> bool {
        if self.items.is_closed() || !self.gate.has_room() {
            return false;
        }
        self.gate.stopped.store(false, Ordering::SeqCst);
        true
    }

    /// True once the domain has given the partition up.
    pub fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// The checkpoint as stored.
    pub fn stored(&self) -> NextOffset {
        NextOffset(self.gate.stored.load(Ordering::Acquire))
    }
}

impl Receiver {
    /// Takes an item if there is one.
    pub fn try_recv(&mut self) -> Option<Item> {
        self.items.try_recv().ok()
    }

    /// Gives room back: the effects of `events` events with `bytes` bytes are stored.
    pub fn release(&self, events: usize, bytes: usize) {
        self.gate.events.fetch_sub(events, Ordering::SeqCst);
        self.gate.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.gate.stopped.load(Ordering::SeqCst) && self.gate.has_room() {
            self.waker.wake();
        }
    }

    /// True while no more is to come before room is given back.
    pub fn is_full(&self) -> bool {
        self.gate.is_full()
    }

    /// Publishes the stored checkpoint to the source.
    pub fn set_stored(&self, next: NextOffset) {
        self.gate.stored.store(next.0, Ordering::Release);
    }
}

impl Drop for Receiver {
    /// The source must notice a closed queue even if no event arrives.
    fn drop(&mut self) {
        self.items.close();
        self.waker.wake();
    }
}

impl Gate {
    fn is_full(&self) -> bool {
        self.events.load(Ordering::SeqCst) >= self.limits.events_max
            || self.bytes.load(Ordering::SeqCst) >= self.bytes_max()
    }

    fn bytes_max(&self) -> usize {
        self.limits.bytes_max.min(self.share.bytes_max())
    }

    fn has_room(&self) -> bool {
        let three_quarters = |max: usize| max - max / 4;
        self.events.load(Ordering::SeqCst) <= three_quarters(self.limits.events_max)
            && self.bytes.load(Ordering::SeqCst) <= three_quarters(self.bytes_max())
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use crate::record::Offset;

    fn queue(limits: Limits) -> (Sender, Receiver, Arc<AtomicUsize>) {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        let (sender, receiver) = channel(
            TopicPartition::new("flights", 0),
            Generation(1),
            NextOffset(7),
            limits,
            Budget::new(usize::MAX).share(),
            Arc::new(Notify::new()),
            Waker::new(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            }),
        );
        (sender, receiver, woken)
    }

    fn event(offset: i64, bytes: usize) -> Item {
        let value = vec![b'x'; bytes];
        let event = Event::new(Offset(offset), 0, None, Some(&value), Vec::new());
        Item::Event(Arc::new(event))
    }

    #[test]
    fn a_full_queue_says_so_and_wakes_the_source_at_three_quarters() {
        let limits = Limits {
            events_max: 8,
            bytes_max: usize::MAX,
        };
        let (sender, mut receiver, woken) = queue(limits);

        for offset in 0..7 {
            assert!(matches!(sender.send(event(offset, 1)), Sent::Open));
        }
        assert!(matches!(sender.send(event(7, 1)), Sent::Full));
        assert!(!sender.has_room_again());

        while receiver.try_recv().is_some() {}
        assert!(!sender.has_room_again(), "taken out is not stored");
        assert!(receiver.is_full());

        receiver.release(1, 0);
        assert!(!receiver.is_full());
        assert_eq!(woken.load(Ordering::SeqCst), 0);
        receiver.release(1, 0);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(sender.has_room_again());
        assert!(matches!(sender.send(event(8, 1)), Sent::Open));
    }

    #[test]
    fn a_source_that_does_not_stop_gets_its_events_back_in_the_end() {
        let limits = Limits {
            events_max: 2,
            bytes_max: usize::MAX,
        };
        let (sender, mut receiver, _woken) = queue(limits);
        let mut taken = 0;
        let refused = loop {
            match sender.send(event(taken, 1)) {
                Sent::Open | Sent::Full => taken += 1,
                Sent::Refused(Item::Event(event)) => break event.offset,
                other => panic!("unexpected: {other:?}"),
            }
        };
        assert_eq!(
            refused,
            Offset(taken),
            "no event is lost, and none is swallowed"
        );
        assert!(receiver.try_recv().is_some());
        assert!(matches!(sender.send(event(taken, 1)), Sent::Full));
    }

    #[test]
    fn bytes_bound_a_queue_too() {
        let limits = Limits {
            events_max: 1000,
            bytes_max: 4096,
        };
        let (sender, _receiver, _woken) = queue(limits);
        assert!(matches!(sender.send(event(0, 100)), Sent::Open));
        assert!(matches!(sender.send(event(1, 10_000)), Sent::Full));
    }

    #[test]
    fn queues_that_share_a_budget_are_full_together() {
        let budget = Budget::new(8192);
        let queue = |partition| {
            channel(
                TopicPartition::new("flights", partition),
                Generation(1),
                NextOffset(0),
                Limits {
                    events_max: 1000,
                    bytes_max: 8192,
                },
                budget.share(),
                Arc::new(Notify::new()),
                Waker::new(|| {}),
            )
        };
        let (first, _first_receiver) = queue(0);
        assert!(matches!(first.send(event(0, 4096)), Sent::Open));
        let second = queue(1);
        assert!(matches!(first.send(event(1, 1)), Sent::Full));
        assert!(matches!(second.0.send(event(0, 100)), Sent::Open));
        drop(second);
        assert!(matches!(first.send(event(2, 1)), Sent::Open));
    }

    #[test]
    fn a_dropped_receiver_closes_the_queue_and_wakes_the_source() {
        let limits = Limits {
            events_max: 4,
            bytes_max: usize::MAX,
        };
        let (sender, receiver, woken) = queue(limits);
        drop(receiver);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(sender.is_closed());
        assert!(matches!(sender.send(event(0, 1)), Sent::Closed));
        assert!(!sender.has_room_again());
    }

    #[test]
    fn the_stored_checkpoint_is_seen_by_the_source() {
        let limits = Limits {
            events_max: 4,
            bytes_max: usize::MAX,
        };
        let (sender, receiver, _woken) = queue(limits);
        assert_eq!(sender.stored(), NextOffset(7));
        receiver.set_stored(NextOffset(9));
        assert_eq!(sender.stored(), NextOffset(9));
    }
}
