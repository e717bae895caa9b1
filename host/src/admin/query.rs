//! What stands behind the question mark of a request: names and values without escapes.

use axum::http::{StatusCode, Uri};

use super::problem::Problem;

/// Parameters that are known, each given once.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    pub(super) fn read(uri: &'a Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        let given = uri.query().unwrap_or("").split('&');
        for parameter in given.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !known.contains(&name) {
                let known = known.join(" and ");
                let detail = format!("there is no parameter \"{name}\" here; there is {known}");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                let detail = format!("the parameter \"{name}\" is given twice; give it once");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            parameters.push((name, value));
        }
        Ok(Query(parameters))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| *value)
    }

    /// From 1 to `max`; `default` where it is not given.
    pub(super) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(count) if (1..=max).contains(&count) => Ok(count),
            Ok(_) | Err(_) => {
                let detail = format!("{name}={text} is no number from 1 to {max}");
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }

    /// A number; 0 where it is not given.
    pub(super) fn position(&self, name: &str) -> Result<u64, Problem> {
        let text = self.text(name).unwrap_or("0");
        text.parse().map_err(|_| {
            let detail = format!("{name}={text} is no number");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["limit", "older-than"];

    fn count(query: &str) -> Result<usize, Problem> {
        let uri: Uri = format!("/changes{query}").parse().expect("a path");
        Query::read(&uri, &KNOWN)?.count("limit", 100, 1_000)
    }

    #[test]
    fn parameters_are_read_or_refused_by_name() {
        let read = [
            ("", 100),
            ("?", 100),
            ("?older-than=00ff-1", 100),
            ("?limit=1", 1),
            ("?older-than=00ff-1&limit=1000", 1_000),
        ];
        for (query, expected) in read {
            assert_eq!(count(query).expect(query), expected, "{query}");
        }
        let refused = [
            ("?limit=0", "limit=0 is no number from 1 to 1000"),
            ("?limit=1001", "limit=1001 is no number"),
            ("?limit=-1", "limit=-1 is no number"),
            ("?limit", "limit= is no number"),
            ("?limit=1&limit=2", "\"limit\" is given twice"),
            (
                "?tail=1",
                "no parameter \"tail\" here; there is limit and older-than",
            ),
        ];
        for (query, words) in refused {
            let problem = count(query).expect_err(query);
            assert!(problem.detail().contains(words), "{query}: {problem:?}");
        }
        let uri = Uri::from_static("/changes?older-than=00ff-1");
        let query = Query::read(&uri, &KNOWN).expect("it is known");
        assert_eq!(query.text("older-than"), Some("00ff-1"));
        assert_eq!(query.text("limit"), None);
    }
}
