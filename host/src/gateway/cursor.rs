//! Where a page of a list has ended, as a text that only the same list takes back.
//!
//! A cursor holds the values by which the last document stood in its place, and a digest of what
//! was asked for. It is signed with a [`Key`] that all hosts of a configuration have, so that each
//! takes the others' cursors, and nobody makes a place that no page has ended at. Stores are not
//! asked for such places: what lies outside of a list's range is an error to some.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::Binary;
use bson::raw::{RawArrayBuf, RawBson, RawDocument};
use bson::spec::BinarySubtype;
use bson::{raw::cstr, rawdoc};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::ask::bad;
use crate::document;
use crate::http::problem::Problem;
use crate::secrets;
use crate::store::ViewId;
use crate::store::list::{Direction, List};

/// How much of the digest is kept: enough that no two lists are taken for one by accident.
const DIGEST_LEN: usize = 8;

/// How many bytes of a cursor are its signature; the rest is what is signed.
const SIGNATURE_LEN: usize = 32;

/// What cursors are signed with.
#[derive(Debug)]
pub struct Key(hmac::Key);

impl Key {
    pub fn new(key: &secrets::Key) -> Self {
        Key(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

/// A key of this process's own.
impl Default for Key {
    fn default() -> Self {
        Key::new(&secrets::random_key())
    }
}

/// The cursor behind this document of a list.
pub(super) fn behind(key: &Key, view: &ViewId, list: &List, last: &RawDocument) -> String {
    let mut place = RawArrayBuf::new();
    for value in list.place(last) {
        place.push(value);
    }
    let digest = Binary {
        subtype: BinarySubtype::Generic,
        bytes: digest(view, list),
    };
    let cursor = rawdoc! { "of": digest, "at": place };
    let signature = hmac::sign(&key.0, cursor.as_bytes());
    URL_SAFE_NO_PAD.encode([signature.as_ref(), cursor.as_bytes()].concat())
}

/// The place that a cursor of this list names.
pub(super) fn read(
    key: &Key,
    view: &ViewId,
    list: &List,
    cursor: &str,
) -> Result<Vec<RawBson>, Problem> {
    let broken = || {
        bad(
            "this is no cursor; give one as it came, in \"next\" of the page before, or none to \
             begin at the start",
        )
    };
    let (of, place) = open(key, cursor).ok_or_else(broken)?;
    if of != digest(view, list) {
        return Err(bad(
            "the cursor is of another list; keep view, filters and sort as they were, or leave \
             the cursor out to begin at the start",
        ));
    }
    let id = place.last();
    if place.len() != list.order().count() || !matches!(id, Some(RawBson::String(_))) {
        return Err(broken());
    }
    Ok(place)
}

fn open(key: &Key, cursor: &str) -> Option<(Vec<u8>, Vec<RawBson>)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (signature, bytes) = bytes.split_at_checked(SIGNATURE_LEN)?;
    hmac::verify(&key.0, bytes, signature).ok()?;
    let cursor = document::from_bson(bytes).ok()?;
    let of = cursor.get_binary("of").ok()?.bytes.to_vec();
    let place = cursor.get_array("at").ok()?.into_iter();
    let place: Option<Vec<RawBson>> = place.map(|value| Some(value.ok()?.into())).collect();
    Some((of, place?))
}

/// Of all that decides which documents a list has, and in which order.
fn digest(view: &ViewId, list: &List) -> Vec<u8> {
    let ends = [&list.range.from, &list.range.to].map(|end| match end {
        None => rawdoc! {},
        Some(end) => rawdoc! { "value": end.value.clone(), "inclusive": end.inclusive },
    });
    let [from, to] = ends;
    let mut equal = RawArrayBuf::new();
    for value in &list.equal {
        equal.push(value.clone());
    }
    let mut asked = rawdoc! {
        "view": view.collection(),
        "index": list.index.to_string(),
        "from": from,
        "to": to,
        "descending": list.direction == Direction::Descending,
    };
    asked.append(cstr!("equal"), equal);
    Sha256::digest(asked.as_bytes())[..DIGEST_LEN].to_vec()
}

#[cfg(test)]
mod tests {
    use bson::raw::RawDocumentBuf;
    use proptest::prelude::*;

    use super::*;
    use crate::store::list::{Bound, Index, Range};

    fn list() -> List {
        List {
            index: Index::new(["a", "b"]).expect("fields"),
            equal: vec![RawBson::Int64(1)],
            range: Range::default(),
            direction: Direction::Ascending,
            after: None,
            limit: 10,
        }
    }

    fn key() -> Key {
        Key::new(&[7; secrets::KEY_LEN])
    }

    fn view() -> ViewId {
        ViewId::new("aircraft", 1)
    }

    fn last() -> RawDocumentBuf {
        rawdoc! { "_id": "x", "a": 1_i64, "b": bson::DateTime::from_millis(5) }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let cursor = behind(&key(), &view(), &list(), &last());
        let other_pages = List { limit: 3, ..list() };
        let place = read(&key(), &view(), &other_pages, &cursor).expect("it is of this list");
        let date = RawBson::DateTime(bson::DateTime::from_millis(5));
        assert_eq!(place, [date, RawBson::String("x".to_owned())]);
    }

    #[test]
    fn a_cursor_that_was_made_by_hand_is_refused() {
        let mine = Key::default();
        let forged = behind(&mine, &view(), &list(), &last());
        read(&mine, &view(), &list(), &forged).expect("its own key opens it");
        let unsigned = URL_SAFE_NO_PAD.decode(&forged).expect("it was just made");
        let unsigned = URL_SAFE_NO_PAD.encode(&unsigned[SIGNATURE_LEN..]);
        for cursor in [forged, unsigned, String::new()] {
            let refused = read(&key(), &view(), &list(), &cursor).expect_err("no key of ours");
            assert!(
                refused.detail().contains("this is no cursor"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = behind(&key(), &view(), &list(), &last());
        let two = RawBson::Int64(2);
        let bound = |value| Bound {
            value,
            inclusive: true,
        };
        let from = |value| Range {
            from: Some(bound(value)),
            to: None,
        };
        let others = [
            (ViewId::new("airports", 1), list()),
            (ViewId::new("aircraft", 2), list()),
            (
                view(),
                List {
                    equal: vec![two.clone()],
                    ..list()
                },
            ),
            (
                view(),
                List {
                    direction: Direction::Descending,
                    ..list()
                },
            ),
            (
                view(),
                List {
                    range: from(two),
                    ..list()
                },
            ),
            (
                view(),
                List {
                    index: Index::new(["a"]).expect("fields"),
                    ..list()
                },
            ),
        ];
        for (view, list) in others {
            let refused = read(&key(), &view, &list, &cursor).expect_err("another list");
            assert!(refused.detail().contains("of another list"), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(
            text in "[A-Za-z0-9_-]{0,80}",
            at in 0usize..120,
            byte in any::<u8>(),
        ) {
            prop_assert!(read(&key(), &view(), &list(), &text).is_err());
            // One byte of a right one is another one.
            let cursor = behind(&key(), &view(), &list(), &last());
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).expect("it was just made");
            let at = at % bytes.len();
            let is_same = std::mem::replace(&mut bytes[at], byte) == byte;
            let altered = URL_SAFE_NO_PAD.encode(&bytes);
            let read = read(&key(), &view(), &list(), &altered);
            prop_assert_eq!(read.is_ok(), is_same);
        }
    }
}
