//! Names the version of a document: its provenance, which no two versions in one copy share, and
//! the copy. Copies cut batches where they like, so what has the same provenance in two of them may
//! differ.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::store::envelope::Stamp;

/// How much of the plugin's hash stands in a tag.
const HASH_LEN: usize = 12;

/// `revision-topic-partition-offset-plugin`, without quotes, and a further copy's name behind it.
pub(super) fn tag(stamp: &Stamp<'_>, copy: &str) -> String {
    let Stamp {
        revision,
        topic,
        partition,
        offset,
        plugin,
        ..
    } = stamp;
    let plugin = plugin.get(..HASH_LEN).unwrap_or(plugin);
    let mut tag = String::with_capacity(64);
    write!(tag, "{revision}-{topic}-{partition}-{offset}-{plugin}")
        .expect("a string takes all that is written to it");
    if !copy.is_empty() {
        tag.push('-');
        tag.push_str(copy);
    }
    tag
}

/// The header; `None` where a foreign hand wrote what no header may hold.
pub(super) fn header(tag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{tag}\"")).ok()
}

/// True where the reader has this version already (RFC 9110, 13.1.2: the weak comparison).
pub(super) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    known.any(|candidate| {
        let candidate = candidate.trim_ascii();
        let candidate = candidate.strip_prefix(b"W/").unwrap_or(candidate);
        candidate == b"*" || candidate == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Offset;

    #[test]
    fn a_tag_is_known_in_any_form_that_names_it() {
        let stamp = Stamp {
            id: "N1",
            revision: 3,
            topic: "flights",
            partition: 2,
            offset: Offset(77),
            plugin: "0123456789abcdef",
        };
        let etag = header(&tag(&stamp, "")).expect("a header");
        assert_eq!(etag, "\"3-flights-2-77-0123456789ab\"");
        let cases = [
            ("\"3-flights-2-77-0123456789ab\"", true),
            ("W/\"3-flights-2-77-0123456789ab\"", true),
            ("\"x\", \"3-flights-2-77-0123456789ab\"", true),
            ("*", true),
            ("\"x\"", false),
            ("3-flights-2-77-0123456789ab", false),
            ("", false),
        ];
        for (value, known) in cases {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(value).expect("a header");
            headers.insert(header::IF_NONE_MATCH, value.clone());
            assert_eq!(is_known(&headers, &etag), known, "{value:?}");
        }
        assert!(!is_known(&HeaderMap::new(), &etag));
    }
}
