//! Where a page of a list has ended, as a text that only the same list takes back.
//!
//! A cursor holds the values by which the last document stood in its place, and a digest of what
//! was asked for. It is no secret and gives no right: whoever alters one reads on from elsewhere
//! in a list that they may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::Binary;
use bson::raw::{RawArrayBuf, RawBson, RawDocument};
use bson::spec::BinarySubtype;
use bson::{raw::cstr, rawdoc};
use sha2::{Digest as _, Sha256};

use super::ask::bad;
use crate::document;
use crate::http::problem::Problem;
use crate::store::ViewId;
use crate::store::list::{Direction, List};

/// How much of the digest is kept: enough that no two lists are taken for one by accident.
const DIGEST_LEN: usize = 8;

/// The cursor behind this document of a list.
pub(super) fn behind(view: &ViewId, list: &List, last: &RawDocument) -> String {
    let mut place = RawArrayBuf::new();
    for value in list.place(last) {
        place.push(value);
    }
    let digest = Binary {
        subtype: BinarySubtype::Generic,
        bytes: digest(view, list),
    };
    let cursor = rawdoc! { "of": digest, "at": place };
    URL_SAFE_NO_PAD.encode(cursor.as_bytes())
}

/// The place that a cursor of this list names.
pub(super) fn read(view: &ViewId, list: &List, cursor: &str) -> Result<Vec<RawBson>, Problem> {
    let broken = || {
        bad(
            "this is no cursor; give one as it came, in \"next\" of the page before, or none to \
             begin at the start",
        )
    };
    let (of, place) = open(cursor).ok_or_else(broken)?;
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

fn open(cursor: &str) -> Option<(Vec<u8>, Vec<RawBson>)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    // Valid to the last byte, and not so deep that it could end the stack.
    let cursor = document::from_bson(&bytes).ok()?;
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

    fn view() -> ViewId {
        ViewId::new("aircraft", 1)
    }

    fn last() -> RawDocumentBuf {
        rawdoc! { "_id": "x", "a": 1_i64, "b": bson::DateTime::from_millis(5) }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let cursor = behind(&view(), &list(), &last());
        let other_pages = List { limit: 3, ..list() };
        let place = read(&view(), &other_pages, &cursor).expect("it is of this list");
        let date = RawBson::DateTime(bson::DateTime::from_millis(5));
        assert_eq!(place, [date, RawBson::String("x".to_owned())]);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = behind(&view(), &list(), &last());
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
            let refused = read(&view, &list, &cursor).expect_err("another list");
            assert!(refused.detail().contains("of another list"), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(
            text in "[A-Za-z0-9_-]{0,80}",
            at in 0usize..60,
            byte in any::<u8>(),
        ) {
            prop_assert!(read(&view(), &list(), &text).is_err());
            // One byte of a right one is another one: it may be right by chance, but not broken.
            let cursor = behind(&view(), &list(), &last());
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).expect("it was just made");
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(place) = read(&view(), &list(), &URL_SAFE_NO_PAD.encode(&bytes)) {
                prop_assert_eq!(place.len(), 2);
            }
        }
    }
}
