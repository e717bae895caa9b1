//! The source's side of `pipeline::intake`: a consumer group's member whose group is the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use projectionist::pipeline::intake::{Command, Notice, SourceHandle, Start};
use projectionist::pipeline::queue::{Item, Sender, Sent, Waker};
use projectionist::record::{Event, NextOffset};
use tokio::sync::{Notify, mpsc};

use crate::journal::{Entry, Journal};
use crate::topic::{Read, Topic, partition_id};

/// What the group says to this member.
#[derive(Clone)]
pub(crate) struct Group {
    notices: mpsc::WeakSender<Notice>,
    /// The queues of assignments that are over, oldest first.
    retired: Arc<Mutex<Vec<Sender>>>,
}

/// A member on a task of its own.
pub(crate) struct Started {
    pub(crate) group: Group,
    pub(crate) handle: SourceHandle,
    pub(crate) notices: mpsc::Receiver<Notice>,
}

struct Member {
    topic: Arc<Topic>,
    journal: Journal,
    commands: mpsc::Receiver<Command>,
    /// Dropped when the member has left: that is how the pipeline learns of it.
    notices: mpsc::Sender<Notice>,
    woken: Arc<Notify>,
    fetched: BTreeMap<i32, Fetched>,
    retired: Arc<Mutex<Vec<Sender>>>,
}

struct Fetched {
    queue: Sender,
    position: i64,
    /// What the queue refused.
    held: Option<Item>,
    paused: bool,
}

pub(crate) fn start(topic: Arc<Topic>, journal: Journal) -> Started {
    let (commands_sender, commands) = mpsc::channel(64);
    let (notices, notices_receiver) = mpsc::channel(64);
    let woken = Arc::new(Notify::new());
    let waker = Arc::clone(&woken);
    let retired: Arc<Mutex<Vec<Sender>>> = Arc::default();
    let group = Group {
        notices: notices.downgrade(),
        retired: Arc::clone(&retired),
    };
    let member = Member {
        topic,
        journal,
        commands,
        notices,
        woken,
        fetched: BTreeMap::new(),
        retired,
    };
    tokio::spawn(member.run());
    Started {
        group,
        handle: SourceHandle {
            commands: commands_sender,
            waker: Waker::new(move || waker.notify_one()),
        },
        notices: notices_receiver,
    }
}

impl Group {
    pub(crate) async fn assign(&self, partitions: &[i32]) {
        let partitions = partitions.iter().copied().map(partition_id).collect();
        self.send(Notice::Assigned(partitions)).await;
    }

    pub(crate) async fn revoke(&self, partitions: &[i32]) {
        let partitions = partitions.iter().copied().map(partition_id).collect();
        let lost = false;
        self.send(Notice::Revoked { partitions, lost }).await;
    }

    /// The partitions are others' already.
    pub(crate) async fn lose(&self, partitions: &[i32]) {
        let partitions = partitions.iter().copied().map(partition_id).collect();
        let lost = true;
        self.send(Notice::Revoked { partitions, lost }).await;
    }

    /// Sends an event of a partition to its earlier assignments, as a consumer may that had it
    /// fetched; answers what became of it, the oldest assignment first.
    pub(crate) fn send_late(&self, event: &Arc<Event>, partition: i32) -> Vec<Sent> {
        let mut retired = self.retired.lock().expect("nobody panics here");
        let of_it = retired
            .iter_mut()
            .filter(|queue| queue.partition().partition == partition);
        of_it
            .map(|queue| queue.send(Item::Event(Arc::clone(event))))
            .collect()
    }

    pub(crate) async fn send(&self, notice: Notice) {
        let notices = self.notices.upgrade().expect("the member has not left");
        notices.send(notice).await.expect("the runner is there");
    }
}

impl Member {
    async fn run(mut self) {
        let mut changed = self.topic.watch();
        loop {
            self.deliver();
            // Cancel-safe: each branch takes one whole message, or nothing.
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Leave) => {
                        self.journal.note(Entry::Left);
                        return drop(self.notices);
                    }
                    Some(command) => self.command(command),
                    None => return,
                },
                () = self.woken.notified() => {}
                _ = changed.changed() => {}
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Acknowledge => self.journal.note(Entry::Acknowledged),
            Command::Fetch(starts) => starts.into_iter().for_each(|start| self.fetch(start)),
            // It reports no position that it cannot fetch.
            Command::FetchAgain(_) => {}
            Command::Release(partitions) => {
                let partitions: Vec<i32> = partitions.iter().map(|id| id.partition).collect();
                for partition in &partitions {
                    if let Some(fetched) = self.fetched.remove(partition) {
                        self.retire(fetched);
                    }
                }
                self.journal.note(Entry::Released(partitions));
            }
            Command::Leave => unreachable!("the loop has taken it"),
        }
    }

    fn fetch(&mut self, Start { next, queue, .. }: Start) {
        let partition = queue.partition().partition;
        let fetched = Fetched {
            queue,
            position: next.0,
            held: None,
            paused: false,
        };
        let entry = match self.fetched.insert(partition, fetched) {
            None => Entry::Fetched(partition, next.0),
            Some(before) => {
                self.retire(before);
                Entry::Restarted(partition, next.0)
            }
        };
        self.journal.note(entry);
    }

    fn retire(&self, fetched: Fetched) {
        let mut retired = self.retired.lock().expect("nobody panics here");
        retired.push(fetched.queue);
    }

    /// Sends whatever there is room for.
    fn deliver(&mut self) {
        for (&partition, fetched) in &mut self.fetched {
            if fetched.paused {
                if !fetched.queue.has_room_again() {
                    continue;
                }
                fetched.paused = false;
                self.journal.note(Entry::Resumed(partition));
            }
            while !fetched.paused && fetched.send_next(&self.topic, &self.journal) {}
        }
    }
}

impl Fetched {
    /// False where there is nothing to send.
    fn send_next(&mut self, topic: &Topic, journal: &Journal) -> bool {
        let partition = self.queue.partition().partition;
        let item = self
            .held
            .take()
            .or_else(|| match topic.read(partition, self.position) {
                Read::Event(event) => Some(Item::Event(event)),
                Read::Gap(to) => Some(Item::Position(NextOffset(to))),
                Read::End => None,
            });
        let Some(item) = item else {
            return false;
        };
        let (position, sent) = match &item {
            Item::Event(event) => (event.offset.next().0, Some(event.offset.0)),
            Item::Position(position) => (position.0, None),
            Item::Epoch(_) => unreachable!("it reads events and gaps alone"),
        };
        match self.queue.send(item) {
            Sent::Open => {}
            Sent::Full => {
                self.paused = true;
                journal.note(Entry::Full(partition));
            }
            Sent::Closed => {
                self.paused = true;
                return true;
            }
            Sent::Refused(item) => {
                self.paused = true;
                self.held = Some(item);
                return true;
            }
        }
        self.position = position;
        if let Some(offset) = sent {
            journal.note(Entry::Sent(partition, offset));
        }
        true
    }
}
