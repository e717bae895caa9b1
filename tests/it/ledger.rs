//! Three short runs of the ledger; `make ledger` has the long ones.

use std::time::Duration;

use projectionist_tests::ledger::events::Hazards;
use projectionist_tests::ledger::schedule::Severity;
use projectionist_tests::ledger::{Options, Services, run};

#[tokio::test(flavor = "multi_thread")]
async fn three_seeds_lose_duplicate_and_reorder_nothing() {
    let options = Options {
        events: 4_000,
        production: Duration::from_secs(12),
        hosts: 2,
        severity: Severity::Brief,
        hazards: Hazards {
            duplicates: false,
            poison: false,
        },
        keep: None,
    };
    let mut services = Services::start().await;
    for seed in 1..=3 {
        let report = run(seed, &options, &mut services).await;
        let report = report.expect("the run comes to a result");
        println!("{report}");
        assert!(report.is_clean(), "{report}\n{:#?}", report.problems());
        assert!(report.faults.len() >= 4, "{report}");
    }
}
