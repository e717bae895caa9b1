//! The keys of a JWKS file (RFC 7517) that RS256 is verified with.
//!
//! Guarantee: a key that cannot be used takes nothing from the others. One that is not for this
//! purpose (of another type or algorithm, for encryption) is passed over; one that is meant for it
//! and cannot be used is named, with the reason.
//!
//! On failure: a file without any key that can be used is refused, with what is wrong with each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

/// RFC 7518, 3.3.
const BITS_MIN: usize = 2048;
/// What ring verifies.
const BITS_MAX: usize = 8192;

/// What of a file can be used.
pub(super) struct KeySet {
    /// By their ids; a key without one is tried for every token.
    pub(super) keys: Vec<(Option<String>, DecodingKey)>,
    /// What is wrong with those that cannot be.
    pub(super) left_out: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Value>,
}

/// What is looked at of a key, where it has the right types.
#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let file: File =
            serde_json::from_slice(text).map_err(|error| format!("is no JWKS: {error}"))?;
        let mut set = KeySet {
            keys: Vec::new(),
            left_out: Vec::new(),
        };
        for (number, key) in (1..).zip(file.keys) {
            let name = match key["kid"].as_str() {
                Some(kid) => format!("key \"{kid}\""),
                None => format!("key {number}"),
            };
            match read(key) {
                Ok(Some(key)) => set.keys.push(key),
                Ok(None) => {}
                Err(why) => set.left_out.push(format!("{name} {why}")),
            }
        }
        match set.keys.is_empty() {
            false => Ok(set),
            true if set.left_out.is_empty() => {
                Err("has no RSA key for RS256; export the issuer's keys again".to_owned())
            }
            true => Err(format!(
                "has no key that RS256 can be verified with: {}",
                set.left_out.join("; ")
            )),
        }
    }
}

/// `None` for a key that is for something else.
fn read(key: Value) -> Result<Option<(Option<String>, DecodingKey)>, String> {
    if key["kty"].as_str().is_some_and(|kty| kty != "RSA") {
        return Ok(None);
    }
    let key: Key =
        serde_json::from_value(key).map_err(|error| format!("cannot be read: {error}"))?;
    let is_other = key.kty != "RSA"
        || key.alg.is_some_and(|alg| alg != "RS256")
        || key.purpose.is_some_and(|purpose| purpose != "sig")
        || (key.key_ops).is_some_and(|operations| !operations.iter().any(|op| op == "verify"));
    if is_other {
        return Ok(None);
    }
    let (Some(modulus), Some(exponent)) = (key.n, key.e) else {
        return Err("lacks \"n\" or \"e\"".to_owned());
    };
    let bits = bits(&modulus).ok_or("has an \"n\" that is no base64url")?;
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        return Err(format!(
            "has {bits} bits, and RS256 takes from {BITS_MIN} to {BITS_MAX}; have the issuer make \
             another one"
        ));
    }
    let read = DecodingKey::from_rsa_components(&modulus, &exponent);
    let read = read.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(Some((key.kid, read)))
}

fn bits(modulus: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let zeros = bytes[first].leading_zeros() as usize;
    Some((bytes.len() - first) * 8 - zeros)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(bytes: usize, over: Value) -> Value {
        let mut key = json!({
            "kty": "RSA", "kid": "k", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(vec![0xc5; bytes]),
        });
        let entries = key.as_object_mut().expect("an object");
        for (name, value) in over.as_object().expect("an object") {
            entries.insert(name.clone(), value.clone());
        }
        key
    }

    fn read(keys: Vec<Value>) -> Result<KeySet, String> {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_and_the_others_are_used() {
        let good = || rsa(256, json!({ "kid": "good" }));
        let cases = [
            (
                "too short",
                rsa(128, json!({})),
                Some("key \"k\" has 1024 bits"),
            ),
            (
                "too long",
                rsa(2048, json!({})),
                Some("key \"k\" has 16384 bits"),
            ),
            (
                "damaged",
                rsa(256, json!({ "n": "!" })),
                Some("key \"k\" has an \"n\""),
            ),
            (
                "damaged too",
                rsa(256, json!({ "e": "!" })),
                Some("key \"k\" cannot be read"),
            ),
            (
                "half",
                rsa(256, json!({ "n": null })),
                Some("key \"k\" lacks \"n\""),
            ),
            (
                "of a wrong type",
                rsa(256, json!({ "n": 5 })),
                Some("key \"k\" cannot be read"),
            ),
            ("no object", json!("key"), Some("key 1 cannot be read")),
            (
                "without a type",
                json!({ "kid": "k" }),
                Some("key \"k\" cannot be read"),
            ),
            ("of another type", json!({ "kty": "EC", "kid": 7 }), None),
            (
                "of another algorithm",
                rsa(256, json!({ "alg": "PS256" })),
                None,
            ),
            (
                "of an unknown algorithm",
                rsa(256, json!({ "alg": "XX" })),
                None,
            ),
            ("for encryption", rsa(256, json!({ "use": "enc" })), None),
            (
                "for wrapping",
                rsa(256, json!({ "key_ops": ["wrapKey"] })),
                None,
            ),
        ];
        for (name, key, why) in cases {
            let set = read(vec![key.clone(), good()]).expect(name);
            let ids: Vec<_> = set.keys.iter().map(|(id, _)| id.as_deref()).collect();
            assert_eq!(ids, [Some("good")], "{name}");
            let left_out = set.left_out.join("; ");
            match why {
                Some(why) => assert!(left_out.starts_with(why), "{name}: {left_out}"),
                None => assert_eq!(left_out, "", "{name}"),
            }

            let alone = read(vec![key]).err().expect(name);
            let expected = why.unwrap_or("has no RSA key for RS256");
            assert!(alone.contains(expected), "{name}: {alone}");
        }
    }

    #[test]
    fn what_says_that_it_is_for_signatures_is_used() {
        let over = json!({ "use": "sig", "alg": "RS256", "key_ops": ["verify", "sign"] });
        let set = read(vec![rsa(256, over), rsa(512, json!({ "kid": null }))]).expect("keys");
        let ids: Vec<_> = set.keys.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [Some("k".to_owned()), None]);
        assert!(set.left_out.is_empty());
    }
}
