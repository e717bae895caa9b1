//! What is wrong with a URI, without anything of it that may be a secret.
//!
//! Guarantee: user name, password and the values of options that are not known to be harmless
//! never reach the driver here, so nothing that the driver says can quote them. This is redaction
//! by place: whatever the letters of a password are, no message is changed.

use mongodb::options::ClientOptions;

use super::{REQUEST_TIMEOUT, within};

/// Stands for a user name or a password.
const PLACEHOLDER: &str = "redacted";

/// Options whose values say nothing that nobody may know, in lower-case letters.
const OPEN_OPTIONS: [&str; 35] = [
    "appname",
    "authmechanism",
    "authsource",
    "compressors",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "loadbalanced",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "srvmaxhosts",
    "srvservicename",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlsallowinvalidhostnames",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlsinsecure",
    "w",
    "wtimeoutms",
    "zlibcompressionlevel",
];

/// What the driver says of a URI that it does not take, once everything secret is taken out.
pub(super) async fn complaint(uri: &str) -> String {
    let Some(open) = without_secrets(uri) else {
        return "it has no scheme; write it as mongodb://SERVER or mongodb+srv://NAME".to_owned();
    };
    match within(REQUEST_TIMEOUT, ClientOptions::parse(&open)).await {
        Err(failure) => failure.to_string(),
        // What was taken out was wrong.
        Ok(_) => "its user name, its password or the value of one of its options is not written \
                  as a URI has it; write @ as %40, : as %3A, / as %2F, ? as %3F and % as %25 there"
            .to_owned(),
    }
}

/// The same URI with placeholders where secrets may be; `None` where it has no scheme.
fn without_secrets(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    // A password with reserved characters in it may be cut anywhere else.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{PLACEHOLDER}:{PLACEHOLDER}@"), rest),
        None => (String::new(), rest),
    };
    let (servers, options) = match rest.split_once('?') {
        Some((servers, options)) => (servers, Some(options)),
        None => (rest, None),
    };
    let options = options.map(|options| {
        let options = options.split('&').map(open_option).collect::<Vec<_>>();
        format!("?{}", options.join("&"))
    });
    Some(format!(
        "{scheme}://{user}{servers}{}",
        options.unwrap_or_default()
    ))
}

fn open_option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, _)) if !OPEN_OPTIONS.contains(&name.to_lowercase().as_str()) => {
            format!("{name}={PLACEHOLDER}")
        }
        Some(_) | None => option.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_taken_out_by_its_place() {
        let cases = [
            ("mongodb://a,b:1/db?w=1", "mongodb://a,b:1/db?w=1"),
            ("mongodb://u:p@a/", "mongodb://redacted:redacted@a/"),
            (
                "mongodb://u:p@s?s@a/?w=1",
                "mongodb://redacted:redacted@a/?w=1",
            ),
            (
                "mongodb+srv://a/?proxyPassword=x&TLS=true",
                "mongodb+srv://a/?proxyPassword=redacted&TLS=true",
            ),
        ];
        for (uri, expected) in cases {
            assert_eq!(without_secrets(uri).as_deref(), Some(expected), "{uri}");
        }
        assert_eq!(without_secrets("s3cret"), None);
    }
}
