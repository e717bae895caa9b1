//! The ledger's statements: what an account has paid, in the order in which it paid.
//!
//! A transfer's key is its payer, and its document has that id, so the view is `by-key`.
//!
//! What a ledger run expects is computed by other code (`tests/src/ledger/fold.rs`): the two share
//! this description only. A link of the chain is FNV-1a (64 bits) over the chain before (8 bytes,
//! little endian, 0 at first), the transfer's id, and its cents (8 bytes, little endian). It is
//! stored as 16 hexadecimal digits.

use std::borrow::Cow;

use projectionist_sdk::{Event, NoConfig, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Statements;

#[derive(Deserialize)]
pub struct Transfer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    cents: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Statement {
    /// Cents.
    paid: i64,
    count: u64,
    chain: String,
    /// The id of the newest transfer.
    last: String,
}

impl Projection for Statements {
    const NAME: &str = "ledger-statements";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const VIEW: &str = "statements";
    type Config = NoConfig;
    type Event<'a> = Transfer<'a>;
    type Document = Statement;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Statements)
    }

    fn fold(
        &self,
        event: &Event<Transfer>,
        _id: &str,
        statement: &mut Option<Statement>,
    ) -> Result<(), Reject> {
        let Some(transfer) = event.value.as_ref().filter(|transfer| transfer.cents > 0) else {
            return Err(Reject::because("a transfer moves at least one cent"));
        };
        let statement = statement.get_or_insert_default();
        statement.paid += transfer.cents;
        statement.count += 1;
        statement.chain = link(&statement.chain, &transfer.id, transfer.cents)?;
        statement.last = transfer.id.to_string();
        Ok(())
    }
}

export!(Statements);

fn link(chain: &str, id: &str, cents: i64) -> Result<String, Reject> {
    let before = match chain {
        "" => 0,
        chain => u64::from_str_radix(chain, 16)?,
    };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = before.to_le_bytes().into_iter().chain(id.bytes());
    for byte in bytes.chain(cents.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    Ok(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::{Harness, Record};
    use serde_json::json;

    use super::*;

    fn payment(id: &str, cents: i64) -> Record {
        Record::json(
            "a",
            &json!({"id": id, "from": "a", "to": "b", "cents": cents}),
        )
    }

    #[test]
    fn a_statement_tells_what_was_paid_and_in_which_order() {
        let statement = |payments: [Record; 2]| {
            let mut statements = Harness::<Statements>::new("{}").expect("no configuration");
            statements.project(payments).expect("both are transfers");
            statements.document("a").expect("it was written")
        };
        let one = statement([payment("t1", 5), payment("t2", 2)]);
        let other = statement([payment("t2", 2), payment("t1", 5)]);
        assert_eq!((one.paid, one.count, one.last.as_str()), (7, 2, "t2"));
        assert_eq!((other.paid, other.count), (7, 2));
        assert_ne!(one.chain, other.chain);
    }

    #[test]
    fn a_transfer_of_nothing_is_rejected() {
        let mut statements = Harness::<Statements>::new("{}").expect("no configuration");
        let rejected = statements.project([payment("t1", 0)]);
        let rejected = rejected.expect_err("it moves nothing");
        assert_eq!(rejected.reason, "a transfer moves at least one cent");
        assert!(statements.documents().is_empty());
    }
}
