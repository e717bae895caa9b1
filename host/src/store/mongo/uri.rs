//! What is wrong with a URI, without anything of it that may be a secret.
//!
//! Guarantee: user name, password and the values of options that are not known to be harmless
//! never reach the driver here, so nothing that the driver says can quote them. This is redaction
//! by place: whatever the letters of a password are, no message is changed.

use mongodb::options::ConnectionString;

use super::error::Failure;
use super::operation;

/// Stands for a user name or a password.
const PLACEHOLDER: &str = "redacted";

/// Options of the driver's that take a feature which this host is built without.
const NOT_BUILT_IN: [&str; 2] = ["compressors", "zlibCompressionLevel"];

const NO_SCHEME: &str = "it has no scheme; write it as mongodb://SERVER or mongodb+srv://NAME";

const WRITTEN_WRONG: &str = "its user name, its password or the value of one of its options is not \
                             written as a URI has it; write @ as %40, : as %3A, / as %2F, ? as %3F \
                             and % as %25 there";

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

/// Whether the driver takes a URI, as far as that shows without the network.
///
/// # Errors
/// Why not, and the way out.
pub fn check(uri: &str) -> Result<(), String> {
    if let Some(option) = not_built_in(uri) {
        return Err(format!(
            "the URI sets {option}, and this host is built without compression; leave it out"
        ));
    }
    if ConnectionString::parse(uri).is_ok() {
        return Ok(());
    }
    let Some(open) = without_secrets(uri) else {
        return Err(format!("the URI is not valid: {NO_SCHEME}"));
    };
    let complaint = match ConnectionString::parse(&open) {
        Err(error) => Failure::Driver(error).to_string(),
        Ok(_) => WRITTEN_WRONG.to_owned(),
    };
    Err(format!("the URI is not valid: {complaint}"))
}

/// An option that the driver knows, and calls unknown where it is built without it.
fn not_built_in(uri: &str) -> Option<&'static str> {
    let (_, rest) = uri.split_once("://")?;
    let behind_user = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let (_, options) = behind_user.split_once('?')?;
    let names = options
        .split('&')
        .filter_map(|option| option.split('=').next());
    let names: Vec<String> = names.map(str::to_lowercase).collect();
    let mut known = NOT_BUILT_IN.into_iter();
    known.find(|option| names.contains(&option.to_lowercase()))
}

/// What the driver says of a URI that it does not take, once everything secret is taken out.
pub(super) async fn complaint(uri: &str) -> String {
    let Some(open) = without_secrets(uri) else {
        return NO_SCHEME.to_owned();
    };
    match operation::parse(&open).await {
        Err(failure) => failure.to_string(),
        // What was taken out was wrong.
        Ok(_) => WRITTEN_WRONG.to_owned(),
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

    #[test]
    fn options_that_are_not_built_in_are_named() {
        for (uri, option) in [
            ("mongodb://h/?replicaSet=r&compressors=zlib", "compressors"),
            (
                "mongodb://h/db?zlibCompressionLevel=3",
                "zlibCompressionLevel",
            ),
        ] {
            let problem = check(uri).expect_err(uri);
            assert!(
                problem.contains(&format!("sets {option}")) && problem.contains("leave it out"),
                "{problem}"
            );
        }
        assert_eq!(check("mongodb://u:p@h:1,i/?replicaSet=r&tls=true"), Ok(()));
        assert!(check("mongodb://h:99999/").is_err());
    }
}
