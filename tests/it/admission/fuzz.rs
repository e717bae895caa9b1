//! Random and mutated files on the way in: each is taken or refused with a reason, and none takes
//! the host down or holds it up.
//!
//! `PROJECTIONIST_FUZZ_INPUTS` says how many, `PROJECTIONIST_FUZZ_SEED` which; an input is found
//! again by its seed and its number.

use std::time::{Duration, Instant};

use projectionist::plugin::{Error, examine};
use projectionist_tests::guests::guest;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::engine;
use super::hostile::policy;

const INPUTS: u64 = 2_000;
const SEED: u64 = 20_261_121;

/// Guests of real size take a good part of a second to compile: one input in so many is one.
const LARGE_ONE_IN: u64 = 100;

/// A bound on hanging, not on being slow: a plugin may run for 3 s at its start, and as long again
/// in `describe`.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What inputs are made of.
struct Seeds {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn whatever_the_bytes_a_file_is_taken_or_refused_and_the_host_goes_on() {
    let seed = option("PROJECTIONIST_FUZZ_SEED", SEED);
    let inputs = option("PROJECTIONIST_FUZZ_INPUTS", INPUTS);
    let wat = |text: &str| wat::parse_str(text).expect("valid text");
    let seeds = Seeds {
        small: vec![
            policy("i32.const 16", ""),
            policy("unreachable", "(drop (memory.grow (i32.const 1)))"),
            wat(
                r#"(component (instance $i) (export "projectionist:plugin/projection@0.1.0" (instance $i)))"#,
            ),
            wat(
                r#"(component (core module (func (export "f") (param i32) (result i32) local.get 0)))"#,
            ),
        ],
        large: ["misbehaving", "placement_first", "routing_first"]
            .map(guest)
            .into(),
    };
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for number in 0..inputs {
        // Not the sum: two runs with seeds side by side would share all inputs but one.
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1 << 32) ^ number);
        let pool = if number % LARGE_ONE_IN == 0 {
            &seeds.large
        } else {
            &seeds.small
        };
        let bytes = input(pool, &mut random);
        let start = Instant::now();
        match examine(engine(), "fuzz.wasm", &bytes) {
            Ok(_) => taken += 1,
            Err(error @ Error::Refused { .. }) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("plugin \"fuzz.wasm\" "),
                    "{seed}/{number}: {text}"
                );
                refused += 1;
            }
            Err(other) => panic!("{seed}/{number}: {other}"),
        }
        let took = start.elapsed();
        assert!(took < TIME_MAX, "{seed}/{number} took {took:?}");
    }
    println!("{inputs} inputs of seed {seed}: {taken} taken, {refused} refused");
    // A generator that makes nothing but one of them would not look behind the first check.
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

fn input(pool: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = pick(pool, random).clone();
    match random.random_range(0..10) {
        0 => noise(random),
        1 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            bytes
        }
        2 => {
            splice(&mut bytes, pick(pool, random), random);
            bytes
        }
        3 => {
            let (start, end) = range(bytes.len(), random);
            bytes.drain(start..end);
            bytes
        }
        _ => {
            for _ in 0..random.random_range(1..=4) {
                mutate(&mut bytes, random);
            }
            bytes
        }
    }
}

fn pick<'a>(pool: &'a [Vec<u8>], random: &mut StdRng) -> &'a Vec<u8> {
    &pool[random.random_range(0..pool.len())]
}

/// Half of it behind the eight bytes that every module or component starts with.
fn noise(random: &mut StdRng) -> Vec<u8> {
    let heads: [&[u8]; 4] = [b"", b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"];
    let mut bytes = heads[random.random_range(0..heads.len())].to_vec();
    let length = random.random_range(0..512);
    bytes.extend((0..length).map(|_| random.random::<u8>()));
    bytes
}

/// At most 64 bytes, anywhere.
fn range(length: usize, random: &mut StdRng) -> (usize, usize) {
    let start = random.random_range(0..length);
    let end = start + random.random_range(1..=64);
    (start, end.min(length))
}

fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let (from, to) = range(other.len(), random);
    let (start, end) = range(bytes.len(), random);
    bytes.splice(start..end, other[from..to].iter().copied());
}

/// One byte or bit; the extremes more often, for sizes and indices are bytes like others.
fn mutate(bytes: &mut [u8], random: &mut StdRng) {
    let at = random.random_range(0..bytes.len());
    bytes[at] = match random.random_range(0..4) {
        0 => bytes[at] ^ (1 << random.random_range(0..8)),
        1 => [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
        2 => bytes[at].wrapping_add(1),
        _ => random.random(),
    };
}
