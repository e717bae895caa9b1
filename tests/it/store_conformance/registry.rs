//! Uploaded plugins: whole or not there at all, unchanged, and found by every host.

use std::sync::Arc;

use projectionist::projection::{Descriptor, Encoding, Ownership, View};
use projectionist::registry::{Checked, Error, Kind, Registry};
use projectionist::store::{Entry, Table};
use serde_json::json;

use crate::site::Site;

const SCHEMA: &str = r##"{"$ref":"#/$defs/limits","$defs":{"limits":{"type":"object"}}}"##;

/// A plugin of this name. Registries take the checks' word for its hash.
fn checked(name: &str, hash: &str) -> Checked {
    let view = |name: &str, ownership| View {
        name: name.into(),
        ownership,
    };
    Checked {
        hash: hash.into(),
        descriptor: Arc::new(Descriptor {
            name: name.to_owned(),
            version: "1.2.0".to_owned(),
            description: "Orders,\nby customer".to_owned(),
            encoding: Encoding::Bson,
            views: vec![
                view("orders", Ownership::ByKey),
                view("customers", Ownership::Shared),
            ],
            headers: vec!["ce_id".to_owned()],
            config_schema: SCHEMA.to_owned(),
        }),
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
    let (bytes, hash) = large();
    let saved = registry(&site)
        .await
        .save(&checked("orders", hash), &bytes, "ci")
        .await
        .expect("the store takes it");
    assert!(saved.is_new);
    let about = saved.about;
    assert_eq!((about.hash.as_str(), about.kind), (hash, Kind::Projection));
    assert_eq!((&*about.name, &*about.version), ("orders", "1.2.0"));
    assert_eq!(about.description, "Orders,\nby customer");
    assert_eq!((&*about.encoding, about.bytes), ("bson", 17 << 20));
    let views: Vec<_> = about
        .views
        .iter()
        .map(|view| (&*view.name, &*view.ownership))
        .collect();
    assert_eq!(views, [("orders", "by-key"), ("customers", "shared")]);
    assert_eq!(about.headers, ["ce_id"]);
    let limits = json!({ "type": "object" });
    let schema = json!({ "$ref": "#/$defs/limits", "$defs": { "limits": limits } });
    assert_eq!(about.config_schema, schema);
    assert_eq!(about.uploaded_by, "ci");

    let other = registry(&site).await;
    assert_eq!(other.list().await.expect("a list"), [about]);
    let read = other.bytes(hash).await.expect("it is there");
    assert!(read == bytes, "{} bytes, not {}", read.len(), bytes.len());
}

pub(crate) async fn a_plugin_that_is_saved_again_stays_as_it_is(site: Arc<Site>) {
    let (bytes, hash) = SMALL;
    let first = registry(&site).await;
    let saved = first.save(&checked("small", hash), bytes, "ci").await;
    let saved = saved.expect("the store takes it");
    let again = registry(&site).await;
    let kept = again.save(&checked("small", hash), bytes, "me").await;
    let kept = kept.expect("it is there already");

    assert!(saved.is_new && !kept.is_new);
    assert_eq!(kept.about, saved.about);
    assert_eq!(again.list().await.expect("a list"), [saved.about]);
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

    let saved = registry.save(&checked("small", hash), bytes, "ci").await;
    assert!(saved.expect("the store takes it").is_new);
    assert_eq!(registry.bytes(hash).await.expect("it is whole"), bytes);
}

pub(crate) async fn a_plugin_is_found_by_the_start_of_its_hash(site: Arc<Site>) {
    let registry = registry(&site).await;
    assert_eq!(registry.list().await.expect("a list"), []);
    let hash = |start: &str| format!("{start}{}", "0".repeat(64 - start.len()));
    let [a, b, c] = ["abcd1", "abcd2", "abce"].map(hash);
    for hash in [&c, &a, &b] {
        let saved = registry.save(&checked("x", hash), b"x", "ci").await;
        saved.expect("the store takes it");
    }
    let listed = registry.list().await.expect("a list");
    let hashes: Vec<&str> = listed.iter().map(|about| &*about.hash).collect();
    assert_eq!(hashes, [&a, &b, &c]);

    for (given, found) in [("abcd1", &a), (&*b, &b), ("abce", &c)] {
        let about = registry.find(given).await.expect(given);
        assert_eq!(about.hash, *found, "{given}");
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
    let saved = registry.save(&checked("small", hash), b"other", "ci").await;
    saved.expect("the store takes it");

    let error = registry.bytes(hash).await.expect_err("it is not the same");
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    assert!(error.to_string().contains(hash), "{error}");
}
