//! Who may have a connection, where there are more clients than places.
//!
//! - Each network has a share of the places, so that one client alone cannot take them all.
//! - Where all places are taken, a newcomer gets that of the longest idle connection of whoever
//!   has most, as long as that client still has more than the newcomer then. So who comes with a
//!   few connections is served, however many others hold.
//! - Who is turned away has a moment in the [`Lobby`], where health is still answered.
//!
//! Pure: it counts and chooses; `server` takes connections and ends them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::peer::Network;

/// What one connection does, as told by the connection itself.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests under way.
    requests: AtomicUsize,
    /// Whether some of an answer is not yet with the system.
    is_writing: AtomicBool,
    /// Counts on whenever a request ends.
    idle_since: AtomicU64,
    /// Ends the connection.
    pub(super) leave: CancellationToken,
}

/// Orders the moments at which connections became idle.
#[derive(Debug, Default)]
pub(super) struct Moments(AtomicU64);

/// Says that a request is under way, as long as it lives.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    moments: Arc<Moments>,
}

/// The places of one port.
pub(super) struct Places {
    all: usize,
    /// Of one network.
    share: usize,
    taken: HashMap<Network, BTreeMap<u64, Arc<Activity>>>,
    count: usize,
    moments: Arc<Moments>,
    next: u64,
}

/// A place that is taken; to be given back with [`Places::leave`].
#[derive(Debug)]
pub(super) struct Place {
    network: Network,
    number: u64,
    pub(super) activity: Arc<Activity>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    All,
    /// The network has its share.
    Share,
}

/// Those who were turned away and have not gone yet, in the order in which they came.
pub(super) struct Lobby {
    room: usize,
    present: VecDeque<CancellationToken>,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>, moments: &Arc<Moments>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy {
            activity: Arc::clone(self),
            moments: Arc::clone(moments),
        }
    }

    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    /// Since which moment nothing is asked and nothing is answered; `None` where something is.
    fn idle_since(&self) -> Option<u64> {
        let is_busy = self.requests.load(Ordering::Relaxed) > 0;
        let is_gone = self.leave.is_cancelled();
        if is_busy || is_gone || self.is_writing.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.idle_since.load(Ordering::Relaxed))
    }
}

impl Moments {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.moments.now();
        self.activity.idle_since.store(now, Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    pub(super) fn new(all: usize, share: usize) -> Self {
        Places {
            all: all.max(1),
            share: share.clamp(1, all.max(1)),
            taken: HashMap::new(),
            count: 0,
            moments: Arc::default(),
            next: 0,
        }
    }

    pub(super) fn moments(&self) -> Arc<Moments> {
        Arc::clone(&self.moments)
    }

    /// Finds a place for a newcomer. Where somebody has to leave for it, they have been told, and
    /// their place counts as free already.
    pub(super) fn take(&mut self, network: Network) -> Result<Place, Full> {
        let own = self.taken.get(&network).map_or(0, BTreeMap::len);
        if own >= self.share {
            return Err(Full::Share);
        }
        if self.count >= self.all && !self.displace(own) {
            return Err(Full::All);
        }
        let number = self.next;
        self.next += 1;
        let activity = Arc::new(Activity {
            idle_since: self.moments.now().into(),
            ..Activity::default()
        });
        let of_network = self.taken.entry(network).or_default();
        of_network.insert(number, Arc::clone(&activity));
        self.count += 1;
        Ok(Place {
            network,
            number,
            activity,
        })
    }

    /// To be called when the connection has ended, also where it had to leave.
    pub(super) fn leave(&mut self, place: &Place) {
        self.remove(place.network, place.number);
    }

    /// Ends the longest idle connection of whoever has most, and more than one above `own`.
    fn displace(&mut self, own: usize) -> bool {
        let greedy = self.taken.iter().filter(|(_, seats)| seats.len() > own + 1);
        let with_idle = greedy.filter_map(|(network, seats)| {
            let idle = seats
                .iter()
                .filter_map(|(number, activity)| Some((activity.idle_since()?, *number)));
            let (_, number) = idle.min()?;
            Some((seats.len(), *network, number))
        });
        let Some((_, network, number)) = with_idle.max() else {
            return false;
        };
        if let Some(activity) = self.remove(network, number) {
            activity.leave.cancel();
        }
        true
    }

    fn remove(&mut self, network: Network, number: u64) -> Option<Arc<Activity>> {
        let seats = self.taken.get_mut(&network)?;
        let activity = seats.remove(&number)?;
        if seats.is_empty() {
            self.taken.remove(&network);
        }
        self.count -= 1;
        Some(activity)
    }
}

impl Lobby {
    pub(super) fn new(room: usize) -> Self {
        Lobby {
            room: room.max(1),
            present: VecDeque::new(),
        }
    }

    /// Lets somebody in, who is to leave when the token says so: when too many have come later.
    pub(super) fn enter(&mut self) -> CancellationToken {
        let token = CancellationToken::new();
        self.present.push_back(token.clone());
        if self.present.len() > self.room
            && let Some(first) = self.present.pop_front()
        {
            first.cancel();
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const GREEDY: Network = Network::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: Network = Network::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_network_has_its_share_and_no_more() {
        let mut places = Places::new(10, 7);
        let greedy: Vec<Place> = (0..7)
            .map(|_| places.take(GREEDY).expect("its share"))
            .collect();
        assert_eq!(places.take(GREEDY).expect_err("no more"), Full::Share);
        let other = [(); 3].map(|()| places.take(OTHER).expect("another's share"));
        assert!(
            greedy
                .iter()
                .all(|place| !place.activity.leave.is_cancelled())
        );
        places.leave(&greedy[3]);
        places.take(GREEDY).expect("what it has given back");
        drop(other);
    }

    #[test]
    fn a_newcomer_displaces_the_longest_idle_connection_of_whoever_has_most() {
        let mut places = Places::new(4, 4);
        let greedy: Vec<Place> = (0..4)
            .map(|_| places.take(GREEDY).expect("a place"))
            .collect();
        let moments = places.moments();
        let gone = |number: usize| greedy[number].activity.leave.is_cancelled();
        // The first answers a request now, the second has done so, the third is as it came.
        let busy = greedy[0].activity.begin(&moments);
        drop(greedy[1].activity.begin(&moments));
        greedy[3].activity.set_writing(true);
        assert_eq!(places.take(GREEDY).expect_err("its share"), Full::Share);
        let _first = places.take(OTHER).expect("the place of the third");
        assert_eq!([0, 1, 2, 3].map(gone), [false, false, true, false]);
        // Two have two each then: to displace one more would only turn the tables.
        places.leave(&greedy[2]);
        let second = places.take(OTHER).expect("the place of the second");
        assert_eq!([0, 1, 2, 3].map(gone), [false, true, true, false]);
        let third = Network::V4(Ipv4Addr::new(192, 0, 2, 3));
        assert_eq!(second.network, OTHER);
        drop(busy);
        places.take(third).expect("one of those who have two");
        assert_eq!(places.count, 4);
        assert_eq!(places.take(OTHER).expect_err("nobody has more"), Full::All);
    }

    #[test]
    fn nobody_is_displaced_who_is_busy() {
        let mut places = Places::new(2, 2);
        let held = [(); 2].map(|()| places.take(GREEDY).expect("a place"));
        let moments = places.moments();
        let busy = [0, 1].map(|number: usize| held[number].activity.begin(&moments));
        assert_eq!(places.take(OTHER).expect_err("all are busy"), Full::All);
        drop(busy);
        places.take(OTHER).expect("now one is idle");
    }

    #[test]
    fn of_those_who_are_turned_away_the_first_leaves_for_the_last() {
        let mut lobby = Lobby::new(2);
        let tokens = [(); 4].map(|()| lobby.enter());
        let gone = tokens.each_ref().map(CancellationToken::is_cancelled);
        assert_eq!(gone, [true, true, false, false]);
    }
}
