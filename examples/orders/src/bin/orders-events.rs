//! Prints the records of a day as Kafka's console producer reads them, with the header that names
//! each for good: `event-id:ID<TAB>key<TAB>json`.

use std::io::{BufWriter, Write};

use anyhow::Context;
use order_saga::scenario::{self, Record};
use serde::Serialize;

const USAGE: &str = "usage: orders-events deliveries|orders COUNT";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, count] = arguments.as_slice() else {
        anyhow::bail!("{USAGE}");
    };
    let count = count.parse().context(USAGE)?;
    match what.as_str() {
        "deliveries" => print(&scenario::deliveries(count)),
        "orders" => print(&scenario::orders(count)),
        _ => anyhow::bail!("{USAGE}"),
    }
}

fn print(records: &[Record<impl Serialize>]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for record in records {
        let value = serde_json::to_string(&record.value)?;
        writeln!(out, "event-id:{}\t{}\t{value}", record.id, record.key)
            .context("cannot write the records")?;
    }
    out.flush().context("cannot write the records")
}
