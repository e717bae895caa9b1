//! Uploaded plugins: whole or not there at all, unchanged, and found by every host.

use std::sync::Arc;

use projectionist::plugin::{About, AboutProjection, AboutView, Kind};
use projectionist::projection::{Encoding, Ownership};
use projectionist::registry::{Error, Registry};
use projectionist::store::{Entry, Table};
use serde_json::json;

use crate::site::Site;

/// A plugin of this name. Registries take the checks' word for its hash and its size.
fn about(name: &str, hash: &str) -> About {
    let view = |name: &str, ownership| AboutView {
        name: name.to_owned(),
        ownership,
    };
    let limits = json!({ "type": "object" });
    let schema = json!({ "$ref": "#/$defs/limits", "$defs": { "limits": limits } });
    About {
        sha256: hash.to_owned(),
        size_bytes: 17 << 20,
        kind: Kind::Projection,
        name: name.to_owned(),
        version: "1.2.0".to_owned(),
        description: "Orders,\nby customer".to_owned(),
        language: Some("Rust".to_owned()),
        config_schema: Some(schema),
        projection: Some(AboutProjection {
            encoding: Encoding::Bson,
            views: vec![
                view("orders", Ownership::ByKey),
                view("customers", Ownership::Shared),
            ],
            headers: vec!["ce_id".to_owned()],
        }),
    }
}

/// A policy has no schema, and nothing that only projections have.
fn policy(hash: &str) -> About {
    About {
        kind: Kind::Routing,
        language: None,
        config_schema: None,
        projection: None,
        ..about("policy", hash)
    }
}

/// Bytes of more than two pieces, and their SHA-256 as `sha256sum` prints it.
fn large() -> (Vec<u8>, &'static str) {
    let bytes = (0..17_u32 << 20).map(|i| (i % 251) as u8).collect();
    (
        bytes,
        "36947701c0eb24ad34bfdab1ff7e98f584e48318d9ac439154e0c378d9726033",
    )
}

const SMALL: (&[u8], &str) = (
    b"a small plugin",
    "34d2ac9442c129649b9bd6bc938b7acebde20a8b38e4901b597cf0d13fda800a",
);

async fn registry(site: &Site) -> Registry {
    Registry::new(site.host().await)
}

pub(crate) async fn a_plugin_comes_back_on_every_host_as_it_was(site: Arc<Site>) {
    let ((bytes, hash), (small, small_hash)) = (large(), SMALL);
    let (orders, policy) = (about("orders", hash), policy(small_hash));
    let host = registry(&site).await;
    let mut plugins = Vec::new();
    for (about, bytes) in [(&policy, small), (&orders, &bytes[..])] {
        let saved = host.save(about, bytes, "ci").await;
        let saved = saved.expect("the store takes it");
        assert!(saved.is_new);
        assert_eq!(
            (&saved.plugin.about, &*saved.plugin.uploaded_by),
            (about, "ci")
        );
        plugins.push(saved.plugin);
    }

    let other = registry(&site).await;
    assert_eq!(other.list().await.expect("a list"), plugins);
    let read = other.bytes(hash).await.expect("it is there");
    assert!(read == bytes, "{} bytes, not {}", read.len(), bytes.len());
}

pub(crate) async fn a_plugin_that_is_saved_again_stays_as_it_is(site: Arc<Site>) {
    let (bytes, hash) = SMALL;
    let first = registry(&site).await;
    let saved = first.save(&about("small", hash), bytes, "ci").await;
    let saved = saved.expect("the store takes it");
    let again = registry(&site).await;
    let kept = again.save(&about("small", hash), bytes, "me").await;
    let kept = kept.expect("it is there already");

    assert!(saved.is_new && !kept.is_new);
    assert_eq!(kept.plugin, saved.plugin);
    assert_eq!(again.list().await.expect("a list"), [saved.plugin]);
}

pub(crate) async fn an_upload_that_ended_half_way_is_not_seen(site: Arc<Site>) {
    let (bytes, hash) = SMALL;
    let store = site.host().await;
    let piece = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: b"a small".to_vec(),
    };
    let piece = Entry {
        table: Table::Plugins,
        id: format!("bytes/{hash}/0000").into(),
        body: bson::rawdoc! { "bytes": piece },
    };
    store.put_entry(&piece).await.expect("the store takes it");
    let registry = registry(&site).await;
    assert_eq!(registry.list().await.expect("a list"), []);
    let error = registry.bytes(hash).await.expect_err("it is not whole");
    assert!(matches!(error, Error::NotFound(_)), "{error}");

    let saved = registry.save(&about("small", hash), bytes, "ci").await;
    assert!(saved.expect("the store takes it").is_new);
    assert_eq!(registry.bytes(hash).await.expect("it is whole"), bytes);
}

pub(crate) async fn a_plugin_is_found_by_the_start_of_its_hash(site: Arc<Site>) {
    let registry = registry(&site).await;
    assert_eq!(registry.list().await.expect("a list"), []);
    let hash = |start: &str| format!("{start}{}", "0".repeat(64 - start.len()));
    let [a, b, c] = ["abcd1", "abcd2", "abce"].map(hash);
    for hash in [&c, &a, &b] {
        let saved = registry.save(&about("x", hash), b"x", "ci").await;
        saved.expect("the store takes it");
    }
    let listed = registry.list().await.expect("a list");
    let hashes: Vec<&str> = listed.iter().map(|plugin| &*plugin.about.sha256).collect();
    assert_eq!(hashes, [&a, &b, &c]);

    for (given, found) in [("abcd1", &a), (&*b, &b), ("abce", &c)] {
        let plugin = registry.find(given).await.expect(given);
        assert_eq!(plugin.about.sha256, *found, "{given}");
    }
    let whole_and_more = format!("{a}0");
    let cases = [
        ("abcd", format!("several plugins' hashes, {a} and {b}")),
        ("abcf", "there is no plugin abcf".to_owned()),
        ("abc", "\"abc\" is no plugin's hash".to_owned()),
        ("ABCE", "\"ABCE\" is no plugin's hash".to_owned()),
        ("", "\"\" is no plugin's hash".to_owned()),
        (&whole_and_more, "is no plugin's hash".to_owned()),
    ];
    for (given, words) in cases {
        let error = registry.find(given).await.expect_err(given).to_string();
        assert!(error.contains(&words), "{given}: {error}");
    }
}

pub(crate) async fn a_damaged_plugin_is_not_handed_out(site: Arc<Site>) {
    let registry = registry(&site).await;
    let hash = SMALL.1;
    let saved = registry.save(&about("small", hash), b"other", "ci").await;
    saved.expect("the store takes it");

    let error = registry.bytes(hash).await.expect_err("it is not the same");
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    assert!(error.to_string().contains(hash), "{error}");
}
