//! Makes records from a seed: keys, values, header names and values, timestamps, compressions,
//! transactions.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::raw::{End, RawRecord};

/// Records that are produced together.
#[derive(Clone, Debug)]
pub struct Burst {
    pub compression: &'static str,
    /// Of a burst that is a transaction, how it ends.
    pub transaction: Option<End>,
    pub records: Vec<RawRecord>,
}

/// What a seed comes to.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub partitions: i32,
    pub bursts: Vec<Burst>,
    /// Whether a host is there before the records are.
    pub host_first: bool,
    /// Where the host is killed and started again: before this burst.
    pub kill_before: usize,
    /// How many bursts there are before those of them are deleted that partition 0 has.
    pub deleted_bursts: usize,
}

const COMPRESSIONS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub fn scenario(seed: u64) -> Scenario {
    let mut random = StdRng::seed_from_u64(seed);
    let partitions = random.random_range(1..4);
    let count = random.random_range(12..20);
    let bursts = (0..count).map(|number| burst(&mut random, partitions, number));
    let bursts: Vec<Burst> = bursts.collect();
    let host_first = random.random_bool(0.5);
    Scenario {
        partitions,
        host_first,
        kill_before: random.random_range(1..bursts.len()),
        // Under a host that is there, nothing is deleted before it is folded.
        deleted_bursts: match host_first {
            true => 0,
            false => random.random_range(0..4),
        },
        bursts,
    }
}

fn burst(random: &mut StdRng, partitions: i32, number: usize) -> Burst {
    let transaction = match random.random_range(0..4) {
        0 => Some(End::Commit),
        1 => Some(End::Abort),
        _ => None,
    };
    let partition = random.random_range(0..partitions);
    let records = (0..random.random_range(1..12)).map(|_| record(random, partition));
    Burst {
        compression: COMPRESSIONS[number % COMPRESSIONS.len()],
        transaction,
        records: records.collect(),
    }
}

fn record(random: &mut StdRng, partition: i32) -> RawRecord {
    RawRecord {
        partition,
        key: key(random, partition),
        value: value(random),
        headers: (0..random.random_range(0..6))
            .map(|_| header(random))
            .collect(),
        timestamp_ms: timestamp_ms(random),
    }
}

/// A key belongs to one partition, as with every producer that chooses partitions by it.
fn key(random: &mut StdRng, partition: i32) -> Option<Vec<u8>> {
    let number = random.random_range(0..12);
    let text = match random.random_range(0..12) {
        0 => return None,
        1 => return Some([b"\xff\xfe\x00".as_slice(), &[partition as u8, number]].concat()),
        2 => format!("k{partition}-{number}-\u{0}\u{1b}[31m\r\n\u{202e}é"),
        3 => format!("$k{partition}.{number}."),
        4 => format!("k{partition}-{}", "long".repeat(200)),
        _ => format!("k{partition}-{number}"),
    };
    Some(text.into_bytes())
}

fn value(random: &mut StdRng) -> Option<Vec<u8>> {
    let number: i32 = random.random_range(-1000..1000);
    let text = match random.random_range(0..40) {
        0 => return Some(b"\xc3\x28\xa0\xa1\x00\xff".to_vec()),
        1 => return Some(Vec::new()),
        2 => "{\"n\":".to_owned(),
        3 => format!("[{number}]"),
        4 => "null".to_owned(),
        5 => "{\"n\":\"\\ud800\"}".to_owned(),
        6..10 => return None,
        10..13 => format!("{{\"n\":{number},\"s\":\"{}\"}}", "x".repeat(20_000)),
        13..16 => format!("{{\"n\":{number},\"s\":\"\\u0000\\u001b]52;c;\\u202e é 😀\"}}"),
        _ => format!("{{\"n\":{number},\"s\":\"plain\"}}"),
    };
    Some(text.into_bytes())
}

fn header(random: &mut StdRng) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = match random.random_range(0..5) {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(b"\x00\xff\xc3\x28".to_vec()),
        3 => Some(vec![b'v'; 5_000]),
        _ => Some(vec![random.random_range(b'a'..=b'z')]),
    };
    let name: &[u8] = match random.random_range(0..9) {
        // As Latin-1 has "café".
        0 => b"caf\xe9",
        1 => b"\xff\xff\xff\xff",
        2 => b"",
        3 => "é".as_bytes(),
        // A zero byte does not end a name. librdkafka does not tell where one of a null value ends.
        4 if value.is_some() => b"h\x00x",
        5 => b"h\r\n\x1b[31m",
        _ => b"h",
    };
    (name.to_vec(), value)
}

fn timestamp_ms(random: &mut StdRng) -> i64 {
    match random.random_range(0..10) {
        0 => -1,
        1 => -62_135_596_800_001,
        2 => i64::MIN,
        3 => i64::MAX,
        4 => 253_402_300_800_000,
        _ => 1_700_000_000_000 + random.random_range(0..1_000_000_000),
    }
}
