//! The values of events whose documents are what came last.

use std::io::Write as _;

use super::Event;

/// Long enough for any value's end to start anywhere in its first half.
const NOISE_BYTES: usize = 8_192;

/// When an event is said to have been produced where nobody measures it.
pub fn at_us(n: u64) -> u64 {
    const START_US: u64 = 1_700_000_000_000_000;
    START_US + n
}

/// `{"_id":…,"n":…,"at_us":…,"pad":…}`, padded to so many bytes. The key is in it for Kafka
/// Connect's sink, which takes a document's id from there.
pub(super) fn value_into(event: &Event, at_us: u64, bytes: usize, value: &mut Vec<u8>) {
    let Event { key, n, .. } = event;
    write!(value, r#"{{"_id":"{key}","n":{n},"at_us":{at_us},"pad":""#)
        .expect("a vector takes all that is written to it");
    value.extend_from_slice(pad(*n, bytes.saturating_sub(value.len() + 2)).as_bytes());
    value.extend_from_slice(b"\"}");
}

/// Text that does not compress to nothing, another one for each event.
pub(crate) fn pad(n: u64, bytes: usize) -> &'static str {
    static NOISE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |n| char::from(LETTERS[(bench_latest::work(n, 1) & 63) as usize]);
        (0..NOISE_BYTES as u64).map(letter).collect()
    });
    let bytes = bytes.min(NOISE_BYTES / 2);
    let start = n as usize % (NOISE_BYTES - bytes);
    &NOISE[start..start + bytes]
}
