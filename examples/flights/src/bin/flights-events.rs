//! Prints the example's events as Kafka's console producer reads them: `key<TAB>json`, with
//! `NULL` for the key of an event that has none.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

const USAGE: &str = "usage: flights-events FILE.csv.gz";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("{USAGE}");
    };
    let events = flights::read(&PathBuf::from(path))?;

    let mut out = BufWriter::new(std::io::stdout().lock());
    for event in &events {
        let key = event.key.as_deref().unwrap_or("NULL");
        write_line(&mut out, key, &event.json()).context("cannot write the events")?;
    }
    out.flush().context("cannot write the events")
}

fn write_line(out: &mut impl Write, key: &str, json: &[u8]) -> std::io::Result<()> {
    write!(out, "{key}\t")?;
    out.write_all(json)?;
    out.write_all(b"\n")
}
