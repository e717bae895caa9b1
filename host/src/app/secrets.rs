//! Files of tokens and keys, read at the start and again whenever they change.
//!
//! Guarantee: what a file holds counts within seconds, for new requests and for streams that are
//! open. A file that cannot be used changes nothing: what it held before goes on to count, and the
//! log says what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::options;
use crate::admin;
use crate::config::{self, Config, JwtKey, TokenSource, check_token};
use crate::gateway::{access, jwt};

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keys and tokens take less; this is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of tokens or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{} ({key}) {message}", path.display())]
    Tokens {
        path: PathBuf,
        key: String,
        message: String,
    },
    #[error(transparent)]
    Keys(#[from] jwt::BadKeys),
}

/// The tokens of a source: that of the configuration, or one a line of a file.
pub(super) fn read(source: &TokenSource, key: &str) -> Result<Vec<String>, Unusable> {
    let path = match source {
        TokenSource::Text(secret) => return Ok(vec![secret.expose().to_owned()]),
        TokenSource::File(path) => path,
    };
    let bad = |message: String| Unusable::Tokens {
        path: path.clone(),
        key: key.to_owned(),
        message,
    };
    let text = contents(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| bad("is not UTF-8".to_owned()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tokens: Vec<String> = lines.map(str::to_owned).collect();
    if tokens.is_empty() {
        return Err(bad("holds no token; write one a line".to_owned()));
    }
    for (number, token) in (1..).zip(&tokens) {
        let checked = check_token(token);
        checked.map_err(|message| bad(format!("has a token, number {number}, that {message}")))?;
    }
    Ok(tokens)
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    let mut contents = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents)?;
    match contents.len() as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other("it is larger than 1 MiB")),
        false => Ok(contents),
    }
}

/// Whose tokens and keys are replaced.
pub(super) struct Watched {
    config: Config,
    admin: admin::Access,
    readers: Option<access::Access>,
}

impl Watched {
    /// `None` where nothing comes from files.
    pub(super) fn new(
        config: &Config,
        admin: admin::Access,
        readers: Option<access::Access>,
    ) -> Option<Self> {
        let watched = Watched {
            config: config.clone(),
            admin,
            readers,
        };
        (!watched.files().is_empty()).then_some(watched)
    }

    /// Looks at the files again and again.
    pub(super) async fn follow(self) {
        let mut known = None;
        loop {
            let found = Some(self.look().await);
            if found != known {
                // What has changed between the start and the first look counts as well.
                let is_first = known.is_none();
                known = found;
                match self.replace() {
                    Ok(()) if is_first => {}
                    Ok(()) => info!("tokens and keys are read again: a file of them has changed"),
                    Err(error) => warn!(
                        "a file of tokens or keys has changed and cannot be used, so what was \
                         read before goes on to count: {error}"
                    ),
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn replace(&self) -> Result<(), Unusable> {
        let tokens = options::tokens(&self.config.host)?;
        let readers = match &self.readers {
            Some(access) => Some((access, options::reader_tokens(&self.config.gateway)?)),
            None => None,
        };
        self.admin.replace(tokens);
        if let Some((access, (tokens, jwt))) = readers {
            for key in jwt.iter().flat_map(jwt::Jwt::left_out) {
                warn!("gateway.jwt.jwks: {key}; the file's other keys are used");
            }
            access.replace(tokens, jwt);
        }
        Ok(())
    }

    /// What the files hold; `None` for one that cannot be read. By contents, for a mount of
    /// Kubernetes changes files without a trace in their times.
    async fn look(&self) -> Vec<Option<Vec<u8>>> {
        let files = self.files();
        let read = move || files.iter().map(|file| contents(file).ok()).collect();
        let looked = tokio::task::spawn_blocking(read).await;
        looked.expect("reading files does not panic, and is not cancelled")
    }

    fn files(&self) -> Vec<PathBuf> {
        fn file(source: &TokenSource) -> Option<PathBuf> {
            match source {
                TokenSource::Text(_) => None,
                TokenSource::File(path) => Some(path.clone()),
            }
        }
        let config::Config { host, gateway, .. } = &self.config;
        let admin = host.tokens.values().filter_map(|token| file(&token.token));
        let mut files: Vec<PathBuf> = admin.collect();
        if self.readers.is_some() {
            let tokens = gateway.readers.tokens.values();
            files.extend(tokens.filter_map(|token| file(&token.token)));
            let key = gateway.readers.jwt.as_ref().map(|jwt| &jwt.key);
            if let Some(JwtKey::Keys(path)) = key {
                files.push(path.clone());
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_tokens_one_a_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tokens");
        let source = TokenSource::File(path.clone());
        let read = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            super::read(&source, "host.tokens.ci.token-file").map_err(|error| error.to_string())
        };
        let right = read("0123456789abcdef\n\n  fedcba9876543210  \r\n");
        let expected = ["0123456789abcdef", "fedcba9876543210"].map(str::to_owned);
        assert_eq!(right, Ok(expected.to_vec()));
        for (text, words) in [
            ("", "holds no token"),
            ("\n \n", "holds no token"),
            (
                "0123456789abcdef\nshort",
                "number 2, that must be of at least 16",
            ),
            ("two words are no token", "without blanks"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(words), "{refused}");
            assert!(refused.contains("(host.tokens.ci.token-file)"), "{refused}");
            assert!(!refused.contains("short"), "a token is shown: {refused}");
        }
        std::fs::remove_file(&path).expect("it is there");
        let refused = super::read(&source, "key")
            .expect_err("no file")
            .to_string();
        assert!(refused.contains("cannot be read"), "{refused}");
    }
}
