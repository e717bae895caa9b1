//! The faults of a run, as a pure function of its seed.
//!
//! Three tracks run beside one another: one breaks hosts, one the MongoDB replica set, one the
//! Kafka broker. Within a track a fault is over before the next one starts; the tracks know
//! nothing of one another, so faults of different tracks meet.

use std::fmt;
use std::time::Duration;

use super::random::Random;

/// What goes wrong, and for how long. What was broken is mended at the fault's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Host(HostFault),
    Broker(BrokerFault),
    Store(StoreFault),
}

/// What happens to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// SIGKILL, and a start `down` later.
    Kill { host: usize, down: Duration },
    /// SIGSTOP for longer than the session time-out, then SIGCONT: a zombie that wakes.
    Stop { host: usize, pause: Duration },
    /// SIGTERM and a new start, one host after the other.
    Roll,
}

/// What happens to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerFault {
    /// SIGKILL, and a start on the same data.
    Kill { down: Duration },
}

/// What happens to the replica set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The primary is asked to become a secondary.
    StepDown,
    /// SIGKILL of the primary, and a start on the same data.
    KillPrimary { down: Duration },
    /// SIGSTOP of the primary until another one is elected, then SIGCONT.
    StopPrimary { pause: Duration },
}

/// A kind of fault, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    HostKilled,
    HostStopped,
    HostsRolled,
    BrokerKilled,
    PrimarySteppedDown,
    PrimaryKilled,
    PrimaryStopped,
}

/// What a fault breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    Hosts,
    Broker,
    Store,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// How many events have been handed to the producer.
    pub at: usize,
    pub fault: Fault,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Every kind at least once, eleven faults.
    Full,
    /// A killed host, a zombie, and one fault each of broker and store, for a short run.
    Brief,
}

impl Fault {
    /// How it is counted.
    pub fn kind(self) -> Kind {
        match self {
            Fault::Host(HostFault::Kill { .. }) => Kind::HostKilled,
            Fault::Host(HostFault::Stop { .. }) => Kind::HostStopped,
            Fault::Host(HostFault::Roll) => Kind::HostsRolled,
            Fault::Broker(BrokerFault::Kill { .. }) => Kind::BrokerKilled,
            Fault::Store(StoreFault::StepDown) => Kind::PrimarySteppedDown,
            Fault::Store(StoreFault::KillPrimary { .. }) => Kind::PrimaryKilled,
            Fault::Store(StoreFault::StopPrimary { .. }) => Kind::PrimaryStopped,
        }
    }
}

impl Kind {
    /// What it breaks.
    pub fn track(self) -> Track {
        match self {
            Kind::HostKilled | Kind::HostStopped | Kind::HostsRolled => Track::Hosts,
            Kind::BrokerKilled => Track::Broker,
            Kind::PrimarySteppedDown | Kind::PrimaryKilled | Kind::PrimaryStopped => Track::Store,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::HostKilled => "host_killed",
            Kind::HostStopped => "host_stopped",
            Kind::HostsRolled => "hosts_rolled",
            Kind::BrokerKilled => "broker_killed",
            Kind::PrimarySteppedDown => "primary_stepped_down",
            Kind::PrimaryKilled => "primary_killed",
            Kind::PrimaryStopped => "primary_stopped",
        })
    }
}

/// The faults of a seed while `events` are produced and `hosts` run, in the order of their times.
pub fn schedule(seed: u64, events: usize, hosts: usize, severity: Severity) -> Vec<Planned> {
    let mut random = Random::new(seed, "faults");
    let mut planned = Vec::new();
    let kinds = kinds(&mut random, severity);
    for track in [Track::Hosts, Track::Broker, Track::Store] {
        let mut kinds: Vec<Kind> = kinds.clone();
        kinds.retain(|kind| kind.track() == track);
        random.shuffle(&mut kinds);
        // Each has a part of the first nine tenths to itself, so that the last ones, too, meet
        // events under way.
        let part = events * 9 / 10 / kinds.len().max(1);
        for (index, kind) in kinds.into_iter().enumerate() {
            planned.push(Planned {
                at: index * part + random.below(part.max(1)),
                fault: fault(kind, hosts, &mut random),
            });
        }
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn kinds(random: &mut Random, severity: Severity) -> Vec<Kind> {
    let store = [
        Kind::PrimarySteppedDown,
        Kind::PrimaryKilled,
        Kind::PrimaryStopped,
    ];
    match severity {
        Severity::Full => {
            let mut kinds = vec![Kind::HostKilled; 3];
            kinds.extend([Kind::HostStopped; 2]);
            kinds.extend([Kind::HostsRolled, Kind::BrokerKilled]);
            kinds.extend(store);
            let extra = [
                Kind::HostKilled,
                Kind::BrokerKilled,
                Kind::PrimarySteppedDown,
            ];
            kinds.push(extra[random.below(extra.len())]);
            kinds
        }
        Severity::Brief => vec![
            Kind::HostKilled,
            Kind::HostStopped,
            Kind::BrokerKilled,
            store[random.below(store.len())],
        ],
    }
}

fn fault(kind: Kind, hosts: usize, random: &mut Random) -> Fault {
    let mut millis = |low, high| Duration::from_millis(random.between(low, high));
    match kind {
        Kind::HostKilled => Fault::Host(HostFault::Kill {
            down: millis(100, 2_000),
            host: random.below(hosts),
        }),
        // The group's session time-out is 6 s, and the broker notices a little later.
        Kind::HostStopped => Fault::Host(HostFault::Stop {
            pause: millis(7_000, 8_500),
            host: random.below(hosts),
        }),
        Kind::HostsRolled => Fault::Host(HostFault::Roll),
        Kind::BrokerKilled => Fault::Broker(BrokerFault::Kill {
            down: millis(100, 1_500),
        }),
        Kind::PrimarySteppedDown => Fault::Store(StoreFault::StepDown),
        Kind::PrimaryKilled => Fault::Store(StoreFault::KillPrimary {
            down: millis(500, 3_000),
        }),
        // The members elect another one after 3 s.
        Kind::PrimaryStopped => Fault::Store(StoreFault::StopPrimary {
            pause: millis(4_000, 7_000),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EVENTS: usize = 10_000;
    const HOSTS: usize = 3;

    #[test]
    fn a_seed_always_gives_the_same_faults_and_another_seed_others() {
        for severity in [Severity::Full, Severity::Brief] {
            let of = |seed| schedule(seed, EVENTS, HOSTS, severity);
            assert_eq!(of(3), of(3));
            assert_ne!(of(3), of(4));
        }
    }

    #[test]
    fn a_full_schedule_has_all_kinds_and_at_least_ten_faults() {
        for seed in 1..=20 {
            let planned = schedule(seed, EVENTS, HOSTS, Severity::Full);
            let kinds: BTreeSet<Kind> = planned.iter().map(|each| each.fault.kind()).collect();
            assert_eq!(kinds.len(), 7, "seed {seed}");
            assert!(planned.len() >= 10, "seed {seed}");
        }
    }

    #[test]
    fn a_brief_schedule_breaks_hosts_broker_and_store() {
        for seed in 1..=20 {
            let planned = schedule(seed, EVENTS, HOSTS, Severity::Brief);
            let tracks: BTreeSet<Track> = planned
                .iter()
                .map(|each| each.fault.kind().track())
                .collect();
            assert_eq!(tracks.len(), 3, "seed {seed}");
        }
    }

    #[test]
    fn faults_come_in_order_while_events_are_produced_and_hit_hosts_that_exist() {
        for seed in 1..=20 {
            let planned = schedule(seed, EVENTS, HOSTS, Severity::Full);
            assert!(planned.is_sorted_by_key(|each| each.at), "seed {seed}");
            for Planned { at, fault } in planned {
                assert!(at < EVENTS, "seed {seed}");
                if let Fault::Host(HostFault::Kill { host, .. } | HostFault::Stop { host, .. }) =
                    fault
                {
                    assert!(host < HOSTS, "seed {seed}");
                }
            }
        }
    }
}
