//! The log of changes: added to by every host, and read from the newest on.

use std::sync::Arc;

use projectionist::changes::{Change, Changes, Deed, Outcome};

use crate::site::Site;

fn deed(subject: &str) -> Deed {
    Deed {
        by: "ci".to_owned(),
        from: "192.0.2.1".to_owned(),
        action: "upload".to_owned(),
        subject: subject.to_owned(),
        detail: "orders 1.2.0,\n\"quoted\" and ünïcode".to_owned(),
    }
}

fn subjects(changes: &[Change]) -> Vec<&str> {
    let subjects = changes.iter().map(|change| &*change.deed.subject);
    subjects.collect()
}

pub(crate) async fn changes_come_back_on_every_host_from_the_newest_on(site: Arc<Site>) {
    let one = Changes::new(site.host().await, "one");
    assert_eq!(one.list(None, 10).await.expect("a list"), []);
    let refused = Outcome::Refused {
        reason: "it is no plugin".to_owned(),
    };
    let failed = Outcome::Failed {
        reason: "the store does not answer".to_owned(),
    };
    let outcomes = [Outcome::Done, refused, failed];
    for (subject, outcome) in ["a", "b", "c"].into_iter().zip(&outcomes) {
        one.record(deed(subject), outcome.clone()).await;
    }
    let other = Changes::new(site.host().await, "other");
    let changes = other.list(None, 10).await.expect("a list");
    assert_eq!(subjects(&changes), ["c", "b", "a"]);
    for (change, outcome) in changes.iter().rev().zip(&outcomes) {
        assert_eq!(change.deed, deed(&change.deed.subject));
        assert_eq!((&change.outcome, &*change.host), (outcome, "one"));
    }
    assert!(changes.is_sorted_by_key(|change| -change.at_ms));

    other.record(deed("d"), Outcome::Done).await;
    let newest = one.list(None, 1).await.expect("a list");
    assert_eq!((subjects(&newest), &*newest[0].host), (vec!["d"], "other"));
}

pub(crate) async fn changes_are_read_in_pages(site: Arc<Site>) {
    let changes = Changes::new(site.host().await, "host");
    for number in 0..25 {
        changes
            .record(deed(&number.to_string()), Outcome::Done)
            .await;
    }
    let mut read = Vec::new();
    let mut last: Option<String> = None;
    loop {
        let page = changes.list(last.as_deref(), 10).await.expect("a list");
        assert!(page.len() <= 10);
        let Some(oldest) = page.last() else { break };
        last = Some(oldest.id.clone());
        read.extend(page.into_iter().map(|change| change.deed.subject));
    }
    let expected: Vec<String> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(read, expected);
}

pub(crate) async fn a_long_text_of_a_change_is_cut(site: Arc<Site>) {
    let changes = Changes::new(site.host().await, "host");
    let long = Deed {
        detail: "ä".repeat(2_000_000),
        ..deed("a")
    };
    changes.record(long, Outcome::Done).await;
    let kept = changes.list(None, 10).await.expect("a list");
    assert_eq!(kept[0].deed.detail, format!("{}…", "ä".repeat(1_000)));
}
