//! Who may do what.

use projectionist_tests::host::Answer;
use serde_json::Value;

use crate::site::{BOARD, CI, Site, TOKENS};

/// Method, path and role of each route that needs a token.
pub(crate) const ROUTES: [(&str, &str, &str); 14] = [
    ("GET", "/projections", "read"),
    ("GET", "/projections/{name}/logs", "read"),
    ("GET", "/projections/{name}/revisions", "read"),
    ("POST", "/projections/{name}/activate", "deploy"),
    ("POST", "/projections/{name}/shadow", "deploy"),
    ("POST", "/projections/{name}/rollback", "deploy"),
    ("GET", "/plugins", "read"),
    ("GET", "/plugins/{hash}", "read"),
    ("PUT", "/plugins", "deploy"),
    ("GET", "/changes", "read"),
    ("GET", "/parked", "read"),
    (
        "GET",
        "/parked/{projection}/{topic}/{partition}/{offset}",
        "read",
    ),
    (
        "POST",
        "/parked/{projection}/{topic}/{partition}/{offset}/drain",
        "operate",
    ),
    (
        "POST",
        "/parked/{projection}/{topic}/{partition}/{offset}/skip",
        "operate",
    ),
];

/// The others.
pub(crate) const OPEN: [&str; 4] = ["/metrics", "/health/live", "/health/ready", "/openapi.json"];

/// A path of a route.
fn example(path: &str) -> String {
    let examples = [
        ("{name}", "tally"),
        ("{hash}", "0123"),
        ("{projection}", "tally"),
        ("{topic}", "t"),
        ("{partition}", "0"),
        ("{offset}", "1"),
    ];
    examples
        .iter()
        .fold(path.to_owned(), |path, (name, example)| {
            path.replace(name, example)
        })
}

/// What every refusal looks like.
pub(crate) fn assert_problem(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let is_problem = answer
        .head
        .contains("content-type: application/problem+json");
    assert!(is_problem, "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string(), "{problem}");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains(words), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_needs_a_token_with_a_role_that_is_large_enough() {
    let site = Site::start("access", TOKENS).await;
    for (method, path, role) in ROUTES {
        let path = example(path);
        let send = |token| site.send(method, &path, token, b"");
        let nobody = send(None);
        assert_problem(&nobody, 401, "needs a token");
        assert!(
            nobody.head.contains("www-authenticate: bearer"),
            "{nobody:?}"
        );
        let guess = send(Some("0123456789-guess"));
        assert_problem(&guess, 401, "not one of the host's");
        assert!(guess.head.contains("www-authenticate: bearer"), "{guess:?}");

        let too_small: &[_] = match role {
            "read" => &[],
            "deploy" => &[BOARD],
            _ => &[BOARD, CI],
        };
        for token in too_small {
            let words = format!("needs a token of role \"{role}\"");
            assert_problem(&send(*token), 403, &words);
        }
    }
    // The smallest role that is named above is large enough.
    assert_eq!(site.get("/plugins", BOARD).0, 200);
    assert_problem(
        &site.send("PUT", "/plugins", CI, b""),
        422,
        "is an empty file",
    );
    for page in OPEN {
        assert_eq!(site.host.get(page).expect("an answer").0, 200, "{page}");
    }
    assert!(
        !site.host.log().contains("0123456789"),
        "a token is in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_without_tokens_whoever_comes_may_everything() {
    let site = Site::start("loopback", "").await;
    assert_eq!(site.get("/plugins", None).0, 200);
    assert_problem(
        &site.send("PUT", "/plugins", None, b""),
        422,
        "is an empty file",
    );
    let path = "/parked/tally/t/0/1/drain";
    assert_problem(
        &site.send("POST", path, None, b""),
        404,
        "nothing is parked as",
    );
}
