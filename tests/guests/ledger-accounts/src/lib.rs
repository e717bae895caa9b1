//! The ledger's accounts: a transfer changes two documents, the payer's and the payee's.
//!
//! Transfers of one account come from several partitions, whose order is not determined. Balance
//! and count do not depend on it; each document has a hash chain for each partition, in which the
//! order of that partition's transfers is fixed.
//!
//! What a ledger run expects is computed by other code (`tests/src/ledger/fold.rs`): the two share
//! this description only. A link of a chain is FNV-1a (64 bits) over the chain before (8 bytes,
//! little endian, 0 at first), the transfer's id, and the change of the balance in cents (8 bytes,
//! little endian). It is stored as 16 hexadecimal digits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use projectionist_sdk::{Event, Ids, NoConfig, Ownership, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Accounts;

#[derive(Deserialize)]
pub struct Transfer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    cents: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    /// Cents.
    balance: i64,
    count: u64,
    /// By partition.
    chains: BTreeMap<u32, Chain>,
}

#[derive(Default, Serialize, Deserialize)]
struct Chain {
    count: u64,
    chain: String,
}

impl Projection for Accounts {
    const NAME: &str = "ledger-accounts";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const VIEW: &str = "accounts";
    const OWNERSHIP: Ownership = Ownership::Shared;
    type Config = NoConfig;
    type Event<'a> = Transfer<'a>;
    type Document = Account;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Accounts)
    }

    fn ids<'a>(&self, event: &Event<'a, Transfer<'a>>, ids: &mut Ids) -> Result<(), Reject> {
        let Some(transfer) = &event.value else {
            return Err(Reject::because("a transfer has a value"));
        };
        if transfer.cents < 1 {
            return Err(Reject::because("a transfer moves at least one cent"));
        }
        ids.add(&transfer.from);
        ids.add(&transfer.to);
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Transfer>,
        id: &str,
        account: &mut Option<Account>,
    ) -> Result<(), Reject> {
        let Some(transfer) = &event.value else {
            return Err(Reject::because("a transfer has a value"));
        };
        let change = if id == transfer.from {
            -transfer.cents
        } else {
            transfer.cents
        };
        let account = account.get_or_insert_default();
        account.balance += change;
        account.count += 1;
        let chain = account.chains.entry(event.partition()).or_default();
        chain.count += 1;
        chain.chain = link(&chain.chain, &transfer.id, change)?;
        Ok(())
    }
}

export!(Accounts);

fn link(chain: &str, id: &str, change: i64) -> Result<String, Reject> {
    let before = match chain {
        "" => 0,
        chain => u64::from_str_radix(chain, 16)?,
    };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = before.to_le_bytes().into_iter().chain(id.bytes());
    for byte in bytes.chain(change.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    Ok(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::{Harness, Record};
    use serde_json::json;

    use super::*;

    fn transfer(id: &str, from: &str, to: &str, cents: i64) -> Record {
        Record::json(
            from,
            &json!({"id": id, "from": from, "to": to, "cents": cents}),
        )
    }

    #[test]
    fn a_transfer_changes_two_accounts() {
        let mut accounts = Harness::<Accounts>::new("{}").expect("no configuration");
        accounts
            .project([transfer("t1", "a", "b", 5), transfer("t2", "b", "a", 2)])
            .expect("both are transfers");
        let a = accounts.document("a").expect("it was written");
        let b = accounts.document("b").expect("it was written");
        assert_eq!((a.balance, a.count, a.chains[&0].count), (-3, 2, 2));
        assert_eq!((b.balance, b.count, b.chains[&0].count), (3, 2, 2));
    }

    #[test]
    fn a_chain_tells_the_order_of_its_transfers() {
        let chain = |order: [usize; 2]| {
            let transfers = [transfer("t1", "a", "b", 5), transfer("t2", "a", "b", 5)];
            let mut accounts = Harness::<Accounts>::new("{}").expect("no configuration");
            accounts
                .project(order.map(|index| transfers[index].clone()))
                .expect("both are transfers");
            let account = accounts.document("a").expect("it was written");
            account.chains[&0].chain.clone()
        };
        assert_ne!(chain([0, 1]), chain([1, 0]));
    }

    #[test]
    fn a_transfer_of_nothing_is_rejected() {
        let mut accounts = Harness::<Accounts>::new("{}").expect("no configuration");
        let rejected = accounts.project([transfer("t1", "a", "b", 0)]);
        let rejected = rejected.expect_err("it moves nothing");
        assert_eq!(rejected.reason, "a transfer moves at least one cent");
        assert!(accounts.documents().is_empty());
    }
}
