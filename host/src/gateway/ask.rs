//! What stands in the path of a request, and behind its question mark.
//!
//! Names and values are percent-decoded; a `+` is a blank, as forms have it.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::fields::Fields;
use super::token::Token;
use crate::http::problem::Problem;

/// What every read may ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// Only what includes this position will do.
    pub(super) after: Option<Token>,
    /// How long to wait for it; without, one look is all.
    pub(super) wait: Option<Duration>,
    /// `None` means all.
    pub(super) fields: Option<Fields>,
}

/// Names and values in their order.
pub(super) type Parameters<'u> = Vec<(Cow<'u, str>, Cow<'u, str>)>;

/// Splits a request's query.
pub(super) fn parameters(uri: &Uri) -> Result<Parameters<'_>, Problem> {
    let given = uri.query().unwrap_or("").split('&');
    let given = given.filter(|parameter| !parameter.is_empty());
    given
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let not_utf8 = |_| {
        bad(format!(
            "\"{text}\" is not UTF-8 when its escapes are undone"
        ))
    };
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().map_err(not_utf8);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    Ok(Cow::Owned(decoded.map_err(not_utf8)?.into_owned()))
}

/// What stands in the path.
pub(super) fn in_path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let Path(parts) = path.map_err(|_| bad("the path is not UTF-8 when its escapes are undone"))?;
    Ok(parts)
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// The value of a parameter that may be given once.
pub(super) fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    if place.replace(value).is_some() {
        return Err(bad(format!(
            "the parameter \"{name}\" is given twice; give it once"
        )));
    }
    Ok(())
}

impl Ask {
    /// Takes a parameter that every read may have; `false` where it is none of them.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: &str,
        wait_max: Duration,
    ) -> Result<bool, Problem> {
        match name {
            "after" => {
                let token = value
                    .parse()
                    .map_err(|error| bad(format!("after: {error}")))?;
                once(&mut self.after, name, token)?;
            }
            "wait" => {
                let wait = humantime::parse_duration(value).map_err(|_| {
                    bad(format!(
                        "wait={value} is no duration; write one with its unit, as in wait=2s or \
                         wait=500ms"
                    ))
                })?;
                if wait > wait_max {
                    return Err(bad(format!(
                        "wait={value} is too long; this gateway waits {} at most \
                         (gateway.wait-max)",
                        humantime::format_duration(wait_max)
                    )));
                }
                once(&mut self.wait, name, wait)?;
            }
            "fields" => once(&mut self.fields, name, Fields::read(value).map_err(bad)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks what belongs together.
    pub(super) fn checked(self) -> Result<Self, Problem> {
        if self.wait.is_some() && self.after.is_none() {
            return Err(bad(
                "wait needs the position to wait for; give it as after=TOKEN",
            ));
        }
        Ok(self)
    }

    /// Reads a request that takes no other parameters.
    pub(super) fn read(uri: &Uri, wait_max: Duration) -> Result<Self, Problem> {
        let mut ask = Ask::default();
        for (name, value) in parameters(uri)? {
            if !ask.take(&name, &value, wait_max)? {
                return Err(bad(format!(
                    "there is no parameter \"{name}\" here; there is after, wait and fields"
                )));
            }
        }
        ask.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Ask, Problem> {
        let uri: Uri = format!("/views/aircraft/N1?{query}")
            .parse()
            .expect("a path");
        Ask::read(&uri, Duration::from_secs(30))
    }

    #[test]
    fn parameters_are_decoded() {
        let uri: Uri = "/v?a=%22x%20y%22&b+c=d+e&f&&g=1=2".parse().expect("a path");
        let found = parameters(&uri).expect("they are right");
        let expected = [("a", "\"x y\""), ("b c", "d e"), ("f", ""), ("g", "1=2")];
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_read_is_asked_for_or_refused_by_name() {
        let ask = read("after=flights:0%4041&wait=2s&fields=a,b").expect("it is right");
        assert_eq!(ask.after.expect("a token").to_string(), "flights:0@41");
        assert_eq!(ask.wait, Some(Duration::from_secs(2)));
        let refused = [
            ("tail=1", "no parameter \"tail\" here; there is after"),
            (
                "after=x",
                "\"x\" is no position; write TOPIC:PARTITION@OFFSET",
            ),
            ("after=t:0@1&after=t:0@2", "\"after\" is given twice"),
            ("after=t:0@1&wait=2", "wait=2 is no duration"),
            ("after=t:0@1&wait=31s", "waits 30s at most"),
            ("wait=2s", "give it as after=TOKEN"),
            ("fields=", "which is no field"),
            ("after=%ff", "not UTF-8"),
        ];
        for (query, words) in refused {
            let problem = read(query).expect_err(query);
            assert!(problem.detail().contains(words), "{query}: {problem:?}");
        }
    }
}
