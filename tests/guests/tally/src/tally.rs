//! The fold that several guests have in common.
//!
//! Tests compute what they expect by other code: `chain` is `chain * 31 + n`, wrapping, from 0 on.

use projectionist_sdk::{Encoding, Event, Ids, NoConfig, Projection, Reject};
use serde::{Deserialize, Serialize};

pub(crate) struct Tally<const NEGATIVE: bool, const BSON: bool>;

#[derive(Deserialize)]
pub(crate) struct Number {
    n: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Document {
    count: u64,
    sum: i64,
    chain: i64,
}

impl<const NEGATIVE: bool, const BSON: bool> Projection for Tally<NEGATIVE, BSON> {
    const NAME: &str = "tally";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const VIEW: &str = "tally";
    const ENCODING: Encoding = match BSON {
        true => Encoding::Bson,
        false => Encoding::Json,
    };
    type Config = NoConfig;
    type Event<'a> = Number;
    type Document = Document;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Tally)
    }

    fn ids<'a>(&self, event: &Event<'a, Number>, ids: &mut Ids) -> Result<(), Reject> {
        let Some(key) = event.key_str()? else {
            return Err(Reject::because("a number belongs to a key"));
        };
        ids.add(key);
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Number>,
        _key: &str,
        document: &mut Option<Document>,
    ) -> Result<(), Reject> {
        let Some(Number { n }) = event.value else {
            *document = None;
            return Ok(());
        };
        if n < 0 && !NEGATIVE {
            return Err(Reject::because(format_args!("{n} is negative")));
        }
        let document = document.get_or_insert_default();
        document.count += 1;
        document.sum += n;
        document.chain = document.chain.wrapping_mul(31).wrapping_add(n);
        Ok(())
    }
}
