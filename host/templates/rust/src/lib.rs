//! One document for each account: how many payments it made, and their sum.

use projectionist_sdk::{Event, NoConfig, Projection, Reject, export};
use serde::{Deserialize, Serialize};

/// An event: the value of a record, whose key is the account.
#[derive(Deserialize)]
struct Payment {
    cents: i64,
}

/// A document. Its id is the account.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    payments: u64,
    cents: i64,
}

struct Accounts;

impl Projection for Accounts {
    const NAME: &str = "{{name}}";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "How many payments each account made, and their sum.";
    const VIEW: &str = "{{name}}";
    type Config = NoConfig;
    type Event<'a> = Payment;
    type Document = Account;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Accounts)
    }

    fn fold(
        &self,
        event: &Event<Payment>,
        _account: &str,
        document: &mut Option<Account>,
    ) -> Result<(), Reject> {
        let Some(payment) = &event.value else {
            *document = None; // A tombstone closes the account.
            return Ok(());
        };
        let account = document.get_or_insert_default();
        account.payments += 1;
        account.cents += payment.cents;
        Ok(())
    }
}

export!(Accounts);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::{Harness, Record};
    use serde_json::json;

    use super::*;

    #[test]
    fn payments_add_up() {
        let mut accounts = Harness::<Accounts>::new("{}").unwrap();
        accounts
            .project([
                Record::json("a-1", &json!({"cents": 250})),
                Record::json("a-1", &json!({"cents": 900})),
            ])
            .unwrap();
        let expected = Account {
            payments: 2,
            cents: 1150,
        };
        assert_eq!(accounts.document("a-1"), Some(expected));
    }
}
