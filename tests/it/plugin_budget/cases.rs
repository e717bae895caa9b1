//! What is asked for, and what comes of it.

use super::guest::{again, count, error, fill, get_many, list, log, series, store};
use super::{BIG, Bodies, FaultKind, LANES, List, policy};

use FaultKind::{Failed, InvalidOutput, Memory, Timeout, Trap};

/// Nearly all that an instance may have.
const MUCH: usize = 120 << 20;

/// So many items of four bytes.
const ITEMS: usize = MUCH / 4;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bodies: Bodies,
    pub(crate) big: usize,
    pub(crate) lanes: usize,
    kind: FaultKind,
    text: &'static str,
}

impl Case {
    pub(crate) fn check(&self, folded: Result<usize, (FaultKind, String)>) {
        let (name, expected) = (self.name, self.kind);
        let (kind, text) = folded.expect_err(name);
        assert_eq!(kind, expected, "{name}: {text}");
        assert!(text.contains(self.text), "{name}: {text}");
        assert!(
            text.len() <= 16 << 10,
            "{name}: {} bytes of text",
            text.len()
        );
    }

    /// By all lanes that a host with four partitions may have.
    fn everywhere(mut self) -> Self {
        self.lanes = LANES;
        self
    }
}

fn case(name: &'static str, call: String, kind: FaultKind, text: &'static str) -> Case {
    Case {
        name,
        bodies: Bodies {
            call,
            ..Bodies::default()
        },
        big: MUCH,
        lanes: 2,
        kind,
        text,
    }
}

pub(crate) fn projections() -> Vec<Case> {
    let mut cases = reads();
    cases.extend(words());
    cases.extend(answers());
    cases.extend(messages());
    cases.extend(spaces());
    cases
}

fn reads() -> Vec<Case> {
    let nothing = (BIG, 0);
    // Over what the host has passed before.
    let anew = "(global.set $free (global.get $heap))";
    let ids = 100;
    let one_id = |times: usize| {
        fill(BIG, 'a', times)
            + &series(BIG + 4096, times, 4, 1, 1)
            + &get_many([(BIG, times), (BIG + 4096, times), nothing])
    };
    vec![
        case(
            "31 million empty ids",
            get_many([nothing, (BIG, ITEMS), nothing]),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "10 million empty ids",
            get_many([nothing, (BIG, 10 << 20), nothing]),
            InvalidOutput,
            "it wants 10485760 documents for this batch, and may have 100",
        )
        .everywhere(),
        Case {
            // What is read is of 10 MiB each time, for which it has to have room.
            big: 1 << 20,
            ..case(
                "few ids again and again",
                again(
                    20,
                    &(anew.to_owned() + &get_many([nothing, (BIG, 10), nothing])),
                ),
                InvalidOutput,
                "it wants 110 documents for this batch, and may have 100",
            )
        },
        case(
            "bytes of no id",
            get_many([(16, 1), (BIG, 10), nothing]),
            InvalidOutput,
            "malformed",
        ),
        case(
            "a large document a hundred times",
            one_id(ids),
            Memory,
            "of documents, and may have",
        )
        .everywhere(),
        case(
            "31 million missing ids",
            get_many([nothing, (BIG, 10), (BIG, ITEMS)]),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "10 million missing ids",
            get_many([nothing, (BIG, 10), (BIG, 10 << 20)]),
            InvalidOutput,
            "an id is missing",
        ),
        case(
            "an id of 100 MiB",
            store(BIG, MUCH - 4096) + &get_many([(BIG + 4096, MUCH - 4096), (BIG, 1), nothing]),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "ends that fall",
            series(BIG, 10, 4, 10, 0)
                + &store(BIG + 4, 3)
                + &get_many([(BIG + 64, 10), (BIG, 10), nothing]),
            InvalidOutput,
            "before it starts",
        ),
        case(
            "ends beyond the bytes",
            series(BIG, 10, 4, 1 << 30, 0) + &get_many([nothing, (BIG, 10), nothing]),
            InvalidOutput,
            "malformed",
        ),
        case(
            "a list beyond the memory",
            get_many([(BIG, 1 << 31), (BIG, 1), nothing]),
            Trap,
            "out of bounds",
        ),
        case(
            "reads without end",
            format!(
                "(loop $ever {anew} {} (br $ever))",
                get_many([nothing, nothing, nothing])
            ),
            Timeout,
            "it ran for more than",
        ),
    ]
}

fn words() -> Vec<Case> {
    let ever = |call: &str| format!("(loop $ever {call} (br $ever))");
    vec![
        case(
            "a line of 100 MiB",
            log(2, 100 << 20),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "lines of 60 MiB",
            ever(&log(2, 60 << 20)),
            Timeout,
            "it ran for more than",
        ),
        case(
            "errors of 60 MiB",
            ever(&log(4, 60 << 20)),
            Timeout,
            "it ran for more than",
        ),
        case(
            "a counter of 100 MiB",
            count(100 << 20),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "counters of 60 MiB",
            ever(&count(60 << 20)),
            Timeout,
            "it ran for more than",
        ),
        case(
            "an error of 100 MiB",
            error(BIG, 100 << 20),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case("an error of 60 MiB", error(BIG, 60 << 20), Failed, "\0\0\0"),
        case(
            "rejects, 10 million",
            list(List::Rejects, BIG, MUCH / 12),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "rejects, a million with one reason",
            series(BIG, 1 << 20, 12, 0, 0)
                + &series(BIG + 4, 1 << 20, 12, BIG, 0)
                + &series(BIG + 8, 1 << 20, 12, 60 << 20, 0)
                + &list(List::Rejects, BIG, 1 << 20),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "rejects, a million",
            list(List::Rejects, BIG, 1 << 20),
            FaultKind::Rejected,
            "",
        ),
    ]
}

fn answers() -> Vec<Case> {
    let all_of = |items: usize| {
        [List::Events, List::Views, List::IdEnds, List::DocumentEnds]
            .map(|which| list(which, BIG, items))
            .concat()
    };
    // `  {"n":[0,0,…,0]} `, four bytes at a time.
    let numbers = |bytes: usize| {
        let start = BIG + 4096;
        let items = start + 8;
        let last = items + bytes;
        [
            store(start, 0x227b_2020),
            store(start + 4, 0x5b3a_226e),
            series(items, bytes / 4, 4, 0x2c30_2c30, 0),
            store(last, 0x207d_5d30),
            store(BIG + 64, 1),
            store(BIG + 128, 12 + bytes),
            fill(BIG + 192, 'd', 1),
            list(List::Events, BIG, 1),
            list(List::Views, BIG, 1),
            list(List::IdBytes, BIG + 192, 1),
            list(List::IdEnds, BIG + 64, 1),
            list(List::DocumentBytes, start, 12 + bytes),
            list(List::DocumentEnds, BIG + 128, 1),
        ]
        .concat()
    };
    vec![
        case(
            "31 million writes",
            all_of(ITEMS),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "4 million writes",
            all_of(4 << 20),
            InvalidOutput,
            "4194304 writes",
        )
        .everywhere(),
        case(
            "4 million ids",
            list(List::IdEnds, BIG, 4 << 20),
            InvalidOutput,
            "differ in length",
        ),
        case(
            "10 million missing ids in an answer",
            list(List::IdMissing, BIG, 10 << 20),
            InvalidOutput,
            "missing ones",
        ),
        case(
            "10 million missing documents",
            list(List::DocumentMissing, BIG, 10 << 20),
            InvalidOutput,
            "missing ones",
        ),
        case(
            "60 MiB of no document",
            list(List::DocumentBytes, BIG, 60 << 20),
            InvalidOutput,
            "items end at byte 0",
        ),
        case(
            "an id of 60 MiB",
            all_of(1)
                + &list(List::IdBytes, BIG, 60 << 20)
                + &store(MUCH, 60 << 20)
                + &list(List::IdEnds, MUCH, 1),
            InvalidOutput,
            "bytes, and may have 1024",
        ),
        case(
            "a document of 50 MiB of numbers",
            numbers(50 << 20),
            InvalidOutput,
            "at most 16777216",
        )
        .everywhere(),
    ]
}

fn messages() -> Vec<Case> {
    let one = |field: usize, start: usize, length: usize| {
        // The record begins at 4096; its topic is that of nobody.
        let at = BIG + 4096;
        store(at + field, 1)
            + &store(at + field + 4, start)
            + &store(at + field + 8, length)
            + &list(List::Messages, at, 1)
    };
    let shared = |pointer: usize| {
        series(BIG + pointer, 100_000, 44, BIG, 0)
            + &series(BIG + pointer + 4, 100_000, 44, 1 << 20, 0)
            + &list(List::Messages, BIG, 100_000)
    };
    vec![
        case(
            "2.8 million messages",
            list(List::Messages, BIG, MUCH / 44),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "400,000 messages",
            list(List::Messages, BIG, 400_000),
            InvalidOutput,
            "400000 messages",
        ),
        case(
            "100,000 messages with one topic",
            shared(4),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "a key of 60 MiB",
            one(12, BIG, 60 << 20),
            InvalidOutput,
            "topic",
        ),
        case(
            "a value of 60 MiB",
            one(24, BIG, 60 << 20),
            InvalidOutput,
            "topic",
        ),
        case(
            // The record is a part of it, so all its bytes have to be text.
            "a topic of 52 MiB",
            one(0, BIG, 52 << 20) + &store(BIG + 4096, 0),
            InvalidOutput,
            "topic",
        ),
        case(
            "7 million headers",
            store(BIG + 4096 + 36, BIG + 8192)
                + &store(BIG + 4096 + 40, 7 << 20)
                + &list(List::Messages, BIG + 4096, 1),
            Memory,
            "more than 64.0 MiB at once",
        ),
        case(
            "a million headers",
            store(BIG + 4096 + 36, BIG + 8192)
                + &store(BIG + 4096 + 40, 1 << 20)
                + &list(List::Messages, BIG + 4096, 1),
            InvalidOutput,
            "topic",
        ),
    ]
}

fn spaces() -> Vec<Case> {
    vec![
        case(
            "all memory that there is",
            "(drop (memory.grow (i32.const 2000)))".to_owned(),
            Memory,
            "of memory, and may have 128.0 MiB",
        ),
        case(
            "nearly all memory, written to",
            format!(
                "(drop (memory.grow (i32.const 60))) {} unreachable",
                fill(BIG, 'x', MUCH)
            ),
            Trap,
            "unreachable",
        )
        .everywhere(),
        case(
            "all tables that there are",
            "(drop (table.grow $table (ref.null func) (i32.const 200000)))".to_owned(),
            Memory,
            "table elements",
        ),
        case(
            "all the stack that there is",
            "(drop (call $recurse (i32.const 0)))".to_owned(),
            Trap,
            "stack",
        ),
    ]
}

/// At the start: nobody takes these.
pub(crate) fn starts() -> Vec<(&'static str, Bodies, usize)> {
    let describe = |text: String| Bodies {
        describe: text,
        ..Bodies::default()
    };
    let pair = |at: usize, length: usize| store(at, BIG) + &store(at + 4, length);
    vec![
        ("a name of 100 MiB", describe(pair(128, 100 << 20)), MUCH),
        (
            "a description of a megabyte",
            describe(pair(144, 1_000_000)),
            MUCH,
        ),
        ("10 million views", describe(pair(156, 10 << 20)), MUCH),
        ("20,000 views", describe(pair(156, 20_000)), MUCH),
        ("15 million headers", describe(pair(164, 15 << 20)), MUCH),
        ("a schema of 100 MiB", describe(pair(172, 100 << 20)), MUCH),
        (
            "a refusal of 100 MiB",
            Bodies {
                configure: error(BIG, 100 << 20),
                ..Bodies::default()
            },
            MUCH,
        ),
        (
            "a refusal of a megabyte",
            Bodies {
                configure: error(BIG, 1_000_000),
                ..Bodies::default()
            },
            MUCH,
        ),
    ]
}

/// Asked to place or to pick, with what comes of placing.
pub(crate) fn policies() -> Vec<(&'static str, Bodies, usize, policy::FaultKind)> {
    use policy::FaultKind::{Memory, Refused, Trap};
    let call = |text: String| Bodies {
        call: text,
        ..Bodies::default()
    };
    let ever = |call: String| format!("(loop $ever {call} (br $ever))");
    let owners = store(1024, 0) + &store(1028, BIG) + &store(1032, ITEMS);
    vec![
        ("30 million owners", call(owners), MUCH, Memory),
        (
            "a refusal of 100 MiB",
            call(error(BIG, 100 << 20)),
            MUCH,
            Memory,
        ),
        (
            "a refusal of a megabyte",
            call(error(BIG, 1_000_000)),
            MUCH,
            Refused,
        ),
        ("a line of 100 MiB", call(log(4, 100 << 20)), MUCH, Memory),
        (
            "counters of a megabyte",
            call(ever(count(1_000_000))),
            MUCH,
            policy::FaultKind::Timeout,
        ),
        (
            "all memory",
            call("(drop (memory.grow (i32.const 2000)))".to_owned()),
            MUCH,
            Memory,
        ),
        ("a trap", call("unreachable".to_owned()), 0, Trap),
    ]
}
