use super::*;

const BUDGET: usize = 100 << 20;
const MIB: usize = 1 << 20;

/// An instance that does nothing, with what it has.
#[derive(Debug)]
struct Seat(Instant, Mutex<Option<Charge>>);

impl Idle for Seat {
    fn since(&self) -> Option<Instant> {
        self.1
            .lock()
            .expect("one thread")
            .is_some()
            .then_some(self.0)
    }

    fn give_up(&self) -> Option<Box<dyn Send>> {
        let charge = self.1.lock().expect("one thread").take()?;
        Some(Box::new(charge))
    }
}

fn charge(account: &Arc<Account>, bytes: usize) -> Result<Charge, Short> {
    let mut charge = account.charge();
    charge.grow(bytes)?;
    Ok(charge)
}

#[test]
fn no_more_is_granted_than_there_is_and_what_is_dropped_is_there_again() {
    let account = Account::new(BUDGET);
    let one = charge(&account, 60 * MIB).expect("room");
    let short = charge(&account, 41 * MIB).expect_err("no room");
    assert_eq!(short.wanted, 41 * MIB);
    let mut other = charge(&account, 40 * MIB).expect("room");
    let short = other.grow(1).expect_err("all is taken");
    assert_eq!(short.wanted, 40 * MIB + 1);
    drop(one);
    other.grow(60 * MIB).expect("room again");
    other.shrink_to(10 * MIB);
    let part = other.split(4 * MIB);
    drop(other);
    assert_eq!(account.lock().used, 4 * MIB);
    drop(part);
    let state = account.lock();
    assert_eq!((state.used, state.lumps), (0, 0));
}

#[test]
fn what_is_idle_for_the_longest_time_makes_room() {
    let account = Account::new(BUDGET);
    let start = Instant::now();
    let seats: Vec<Arc<Seat>> = [3, 1, 2]
        .map(|age| {
            let charge = charge(&account, 30 * MIB).expect("room");
            let since = start + Duration::from_secs(10 - age);
            Arc::new(Seat(since, Mutex::new(Some(charge))))
        })
        .into();
    for seat in &seats {
        let weak: Weak<Seat> = Arc::downgrade(seat);
        account.register(weak);
    }
    let _room = charge(&account, 40 * MIB).expect("one is ended");
    let there: Vec<bool> = seats.iter().map(|seat| seat.since().is_some()).collect();
    assert_eq!(there, [false, true, true]);
}

#[test]
fn those_that_wait_are_served_in_their_order_and_nobody_else_takes_their_room() {
    let account = Account::new(BUDGET);
    let held = charge(&account, 80 * MIB).expect("room");
    let short = charge(&account, 40 * MIB).expect_err("no room");
    let mut first = account.queue_up(short, 80 * MIB);
    let mut second = account.queue_up(short, 30 * MIB);
    assert!(first.wait(Duration::ZERO).is_none());
    assert!(second.wait(Duration::ZERO).is_none());
    drop(held);
    assert!(charge(&account, 30 * MIB).is_err(), "the first's room");
    let other = charge(&account, 20 * MIB).expect("what the first leaves");
    assert!(
        second.wait(Duration::ZERO).is_none(),
        "the first comes first"
    );
    let had = first.wait(Duration::ZERO).expect("its turn");
    assert_eq!(had.bytes(), 80 * MIB);
    drop((had, other));
    let had = second.wait(Duration::ZERO).expect("its turn");
    assert_eq!(had.bytes(), 30 * MIB);
}

#[test]
fn whoever_had_too_little_comes_first_again_with_more_up_to_its_most() {
    let account = Account::new(BUDGET);
    let short = |wanted| Short {
        wanted,
        budget: BUDGET,
    };
    let mut first = account.queue_up(short(MIB), 70 * MIB);
    let mut second = account.queue_up(short(MIB), 70 * MIB);
    let had = first.wait(Duration::ZERO).expect("room");
    assert_eq!(had.bytes(), 8 * MIB);
    drop(had);
    assert!(first.queue_up(short(9 * MIB), 70 * MIB));
    assert_eq!(account.lock().queue[0].wanted, 18 * MIB);
    let had = first.wait(Duration::ZERO).expect("it is first again");
    drop(had);
    assert!(first.queue_up(short(40 * MIB), 70 * MIB));
    assert_eq!(first.wait(Duration::ZERO).expect("room").bytes(), 70 * MIB);
    assert!(
        !first.queue_up(short(71 * MIB), 70 * MIB),
        "it had its most"
    );
    drop(first);
    assert!(second.wait(Duration::ZERO).is_some());
    assert!(account.lock().queue.is_empty());
}

#[test]
fn while_somebody_waits_the_modest_go_on_in_their_part_of_the_budget() {
    let account = Account::new(BUDGET);
    let held = charge(&account, 90 * MIB).expect("room");
    let short = charge(&account, 70 * MIB).expect_err("no room");
    let mut first = account.queue_up(short, BUDGET);
    assert!(
        charge(&account, MIB).is_err(),
        "the ordinary have more than that"
    );
    drop(held);
    let had = first.wait(Duration::ZERO).expect("its turn");
    assert_eq!(had.bytes(), account.call_max());
    let mut second = account.queue_up(short, BUDGET);
    let modest = charge(&account, 12 * MIB).expect("within an eighth");
    assert!(charge(&account, MIB).is_err(), "an eighth is taken");
    assert!(second.wait(Duration::ZERO).is_none());
    drop(had);
    assert!(
        second.wait(Duration::ZERO).is_some(),
        "the modest leave it room"
    );
    drop(modest);
}

#[test]
fn a_place_that_nobody_waits_in_is_lost_and_taken_again_by_its_number() {
    let account = Account::new(BUDGET);
    let short = Short {
        wanted: 80 * MIB,
        budget: BUDGET,
    };
    let mut first = account.queue_up(short, BUDGET);
    assert!(
        charge(&account, 50 * MIB).is_err(),
        "it is kept for the first"
    );
    account.lock().queue[0].until = Instant::now();
    let other = charge(&account, 50 * MIB).expect("nobody waits any more");
    let second = account.queue_up(short, BUDGET);
    assert!(first.wait(Duration::ZERO).is_none());
    let numbers: Vec<u64> = account.lock().queue.iter().map(|w| w.number).collect();
    assert_eq!(numbers, [first.number, second.number]);
    drop(other);
    assert!(first.wait(Duration::ZERO).is_some());
}

#[test]
fn one_that_waits_is_woken_by_what_is_given_back() {
    let account = Account::new(BUDGET);
    let held = charge(&account, BUDGET).expect("room");
    let short = charge(&account, MIB).expect_err("no room");
    let mut turn = account.queue_up(short, BUDGET);
    let waiting = std::thread::spawn(move || turn.wait(Duration::from_secs(60)).is_some());
    drop(held);
    assert!(waiting.join().expect("it ends"));
}
