//! Who may read which views, how often, and from which pages.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projectionist::gateway::Setup;
use projectionist::gateway::access::{Access, Token, Views};
use projectionist::gateway::cors::Origins;
use projectionist::gateway::jwt::{Jwt, Terms};
use projectionist::gateway::rate::RateLimit;
use ring::{hmac, rand, signature};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::site::{Kind, Site, limits};

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";
const ISSUER: &str = "https://issuer.example.org";

pub(crate) fn roles() -> BTreeMap<String, Views> {
    let aircraft = Views::These(["aircraft".to_owned()].into());
    BTreeMap::from([
        ("some".to_owned(), aircraft),
        ("all".to_owned(), Views::All),
    ])
}

pub(crate) fn terms() -> Terms {
    Terms {
        issuer: Some(ISSUER.to_owned()),
        audience: Some("views".to_owned()),
        role_claim: "roles".to_owned(),
    }
}

async fn site(tokens: Vec<Token>, jwt: Option<Jwt>) -> Site {
    let setup = Setup {
        access: Access::new(tokens, jwt, roles()),
        ..Setup::default()
    };
    Site::with(Kind::Embedded, limits(), setup).await
}

async fn get(site: &Site, path: &str, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    site.get_with(path, &[("authorization", &authorization)])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reads_the_views_of_its_role() {
    let tokens = vec![
        Token::new("board", "b-secret", "some"),
        Token::new("duty", "d-secret", "all"),
    ];
    let site = site(tokens, None).await;
    site.writer(0).await.aircraft("N1", 1).await;

    let nobody = site.get("/views/aircraft/N1").await;
    nobody.assert_problem(401, "this needs a token");
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));
    let guess = get(&site, "/views/aircraft/N1", "b-secre").await;
    guess.assert_problem(401, "not one of the gateway's");

    assert_eq!(
        get(&site, "/views/aircraft/N1", "b-secret").await.status,
        200
    );
    for path in [
        "/views/airports/JFK",
        "/views/airports",
        "/views/nowhere",
        "/views/airports/JFK/events",
    ] {
        let answer = get(&site, path, "b-secret").await;
        answer.assert_problem(403, "\"board\" may not read a view");
    }
    let airport = get(&site, "/views/airports/JFK", "d-secret").await;
    airport.assert_problem(404, "has no document");

    // The document of the API shows what a reader may read.
    let paths = async |token| {
        let document = get(&site, "/openapi.json", token).await.json();
        document["paths"].as_object().expect("an object").len()
    };
    assert_eq!((paths("b-secret").await, paths("d-secret").await), (3, 6));
    site.get("/openapi.json")
        .await
        .assert_problem(401, "this needs a token");
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is right").as_secs()
}

/// Claims that are right, with these over them.
pub(crate) fn claims(over: Value) -> Value {
    let mut claims = json!({
        "sub": "ann", "iss": ISSUER, "aud": "views", "exp": now() + 600, "roles": ["some", "none"],
    });
    let over = over.as_object().expect("an object").clone();
    let claims_map = claims.as_object_mut().expect("an object");
    for (name, value) in over {
        match value {
            Value::Null => drop(claims_map.remove(&name)),
            value => drop(claims_map.insert(name, value)),
        }
    }
    claims
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

pub(crate) fn hs256(secret: &str, claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        encode(&json!({ "alg": "HS256", "typ": "JWT" })),
        encode(claims)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_is_taken_if_everything_about_it_is_right() {
    let site = site(Vec::new(), Some(Jwt::with_secret(SECRET, terms()))).await;
    site.writer(0).await.aircraft("N1", 1).await;
    let path = "/views/aircraft/N1";
    for over in [
        json!({}),
        json!({ "roles": "some" }),
        json!({ "aud": ["others", "views"] }),
        json!({ "nbf": now() - 5 }),
        // The clocks may differ a little.
        json!({ "exp": now() - 5 }),
    ] {
        let answer = get(&site, path, &hs256(SECRET, &claims(over.clone()))).await;
        assert_eq!(answer.status, 200, "{over}: {answer:?}");
    }
    let refused = [
        json!({ "exp": now() - 600 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "nbf": now() + 600 }),
        json!({ "iss": "https://other.example.org" }),
        json!({ "iss": null }),
        json!({ "aud": "others" }),
        json!({ "aud": null }),
    ];
    for over in refused {
        let answer = get(&site, path, &hs256(SECRET, &claims(over.clone()))).await;
        assert_eq!(answer.status, 401, "{over}");
        answer.assert_problem(401, "nor a JWT that it takes");
    }
    let expired = hs256(SECRET, &claims(json!({ "exp": 1 })));
    get(&site, path, &expired)
        .await
        .assert_problem(401, "Expired");

    let right = hs256(SECRET, &claims(json!({})));
    let (signed, _) = right.rsplit_once('.').expect("three parts");
    let none = encode(&json!({ "alg": "none" }));
    let forged = [
        hs256(
            "another secret of at least thirty-two bytes",
            &claims(json!({})),
        ),
        format!("{signed}."),
        signed.to_owned(),
        format!("{none}.{}.", encode(&claims(json!({})))),
        format!("{right}x"),
        "a.b.c".to_owned(),
        String::new(),
    ];
    for token in forged {
        let answer = get(&site, path, &token).await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
    // A right token of a role that may read something else.
    for over in [json!({ "roles": ["none"] }), json!({ "roles": null })] {
        let answer = get(&site, path, &hs256(SECRET, &claims(over))).await;
        answer.assert_problem(403, "\"ann\" may not read a view");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_is_taken_that_is_signed_with_a_key_of_the_file() {
    const KEY: &[u8] = include_bytes!("fixtures/jwt-key.der");
    const OTHER: &[u8] = include_bytes!("fixtures/jwt-other-key.der");
    let keys =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it/gateway/fixtures/jwks.json");
    let jwt = Jwt::with_keys(&keys, terms()).expect("a file of keys");
    let site = site(Vec::new(), Some(jwt)).await;
    site.writer(0).await.aircraft("N1", 1).await;
    let sign = |key: &[u8], header: Value| {
        let key = signature::RsaKeyPair::from_der(key).expect("a key");
        let signed = format!("{}.{}", encode(&header), encode(&claims(json!({}))));
        let mut bytes = vec![0; key.public().modulus_len()];
        let random = rand::SystemRandom::new();
        let done = key.sign(
            &signature::RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut bytes,
        );
        done.expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let header = json!({ "alg": "RS256", "kid": "2026-11" });
    let path = "/views/aircraft/N1";
    let unnamed = json!({ "alg": "RS256" });
    for header in [&header, &unnamed] {
        let answer = get(&site, path, &sign(KEY, header.clone())).await;
        assert_eq!(answer.status, 200, "{header}: {answer:?}");
    }
    let refused = [
        sign(OTHER, header),
        sign(OTHER, unnamed),
        sign(KEY, json!({ "alg": "RS256", "kid": "2025-01" })),
        sign(
            KEY,
            json!({ "alg": "RS256", "kid": "2026-11", "crit": ["exp"] }),
        ),
        sign(KEY, json!({ "alg": "RS256", "kid": "2026-11", "crit": [] })),
        sign(KEY, json!({ "alg": "PS256", "kid": "2026-11" })),
        // The public key is no secret.
        hs256(
            &std::fs::read_to_string(&keys).expect("a file"),
            &claims(json!({})),
        ),
    ];
    for token in refused {
        let answer = get(&site, path, &token).await;
        answer.assert_problem(401, "nor a JWT that it takes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_send_so_many_requests() {
    let setup = Setup {
        access: Access::new(
            vec![
                Token::new("one", "1-secret", "all"),
                Token::new("two", "2-secret", "all"),
            ],
            None,
            roles(),
        ),
        rate_limit: Some(RateLimit {
            // So few that a slow machine comes to the limit, too.
            per_second: 1,
            burst: 50,
        }),
        ..Setup::default()
    };
    let site = Site::with(Kind::Embedded, limits(), setup).await;
    let mut connection = site.connect();
    let mut ask = |token: &str| {
        let authorization = format!("Bearer {token}");
        connection.get("/views/aircraft/N1", &[("authorization", &authorization)])
    };
    let first = ask("1-secret");
    assert_eq!(first.header("ratelimit-limit"), Some("50"));
    assert_eq!(first.header("ratelimit-remaining"), Some("49"));
    let mut asked = 1;
    let refused = loop {
        let answer = ask("1-secret");
        asked += 1;
        if answer.status == 429 {
            break answer;
        }
        assert!(asked < 1_000, "there is no limit");
    };
    assert!(asked > 50, "{asked}");
    refused.assert_problem(429, "more than 1 requests a second, 50 at once");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    // Others are not concerned, and whoever guesses tokens has a bucket, too.
    assert_eq!(ask("2-secret").status, 404);
    let guessed = (0..1_000)
        .map(|_| ask("guess").status)
        .find(|status| *status == 429);
    assert_eq!(guessed, Some(429));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_sites_may_read() {
    const SITE: &str = "https://app.example.org";
    let setup = Setup {
        origins: Origins::These([SITE.to_owned()].into()),
        ..Setup::default()
    };
    let site = Site::with(Kind::Embedded, limits(), setup).await;
    site.writer(0).await.aircraft("N1", 1).await;
    let path = "/views/aircraft/N1";
    let allowed = site.get_with(path, &[("origin", SITE)]).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(SITE));
    assert_eq!(allowed.header("vary"), Some("origin"));
    let exposed = allowed
        .header("access-control-expose-headers")
        .expect("some");
    assert!(exposed.contains("projectionist-position"), "{exposed}");

    let other = site
        .get_with(path, &[("origin", "https://evil.example.org")])
        .await;
    other.assert_problem(403, "not to other sites' pages");
    assert_eq!(other.header("access-control-allow-origin"), None);

    let preflight = |origin| {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        site.connect().ask("OPTIONS", path, &headers)
    };
    let answer = preflight(SITE);
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, HEAD, POST")
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some(SITE));
    let answer = preflight("https://evil.example.org");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_api_names_every_view_with_its_indexes() {
    let site = site(Vec::new(), None).await;
    let answer = site.get("/openapi.json").await;
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let list = &document["paths"]["/views/aircraft"]["get"];
    let parameters = list["parameters"].as_array().expect("a list").iter();
    let names: Vec<&str> = parameters.filter_map(|p| p["name"].as_str()).collect();
    let expected = [
        "carrier", "legs", "last.on", "active", "_id", "sort", "limit", "cursor", "after", "wait",
        "fields",
    ];
    assert_eq!(names, expected);
    // What is answered is as it says.
    site.writer(0).await.aircraft("N1", 1).await;
    for (path, schema) in [
        ("/views/aircraft/N1", "Document"),
        ("/views/aircraft", "Page"),
        ("/views/aircraft?limit=x", "Problem"),
        ("/views/aircraft/N1?after=flights:0@9", "Problem"),
    ] {
        let root = json!({
            "$ref": format!("#/components/schemas/{schema}"),
            "components": document["components"],
        });
        let validator = jsonschema::validator_for(&root).expect("a schema");
        let answer = site.get(path).await.json();
        assert!(validator.is_valid(&answer), "{path}: {answer}");
    }
    // Whatever is no value of a parameter is refused, as its pattern says.
    let patterns = [
        ("after", "flights:0@9,1@3;orders:1@0", "flights"),
        ("wait", "1m 30s", "2"),
        ("cursor", "WwAAAAVvZgAI-_", "a b"),
        ("fields", "legs,last.airport", ""),
        ("_id", "gte:\"N1\"", "N1"),
    ];
    for (name, right, wrong) in patterns {
        let parameters = list["parameters"].as_array().expect("a list");
        let of_name = parameters.iter().find(|p| p["name"] == name);
        let schema = &of_name.expect("it is there")["schema"];
        let validator = jsonschema::validator_for(schema).expect("a schema");
        assert!(validator.is_valid(&json!(right)), "{name}: {schema}");
        assert!(!validator.is_valid(&json!(wrong)), "{name}: {schema}");
    }
    let ticket = &document["paths"]["/views/aircraft/{id}/events"]["post"];
    assert_eq!(ticket["operationId"], "ticket-aircraft");
}
