//! The form of a compiled plugin in a file.
//!
//! ```text
//! SHA-256 of all that follows, 32 bytes
//! length of the head, 4 bytes, little-endian
//! head: what the plugin is, as JSON
//! code: the engine's own form
//! ```
//!
//! Guarantee: what is read was written as a whole. That it was this host who wrote it, no sum can
//! tell: that is for whoever knows where the file lay (`cache`).

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::plugin::about::About;

const SUM_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// A compiled plugin, whole.
pub(super) struct Artefact {
    pub(super) about: About,
    /// The whole file.
    bytes: Vec<u8>,
    code_start: usize,
}

impl Artefact {
    /// Writes one.
    pub(super) fn write(about: &About, code: &[u8], mut file: impl Write) -> io::Result<()> {
        let head = serde_json::to_vec(about)?;
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        let length = length.to_le_bytes();
        let mut sum = Sha256::new();
        for part in [&length[..], &head, code] {
            sum.update(part);
        }
        file.write_all(&sum.finalize())?;
        for part in [&length[..], &head, code] {
            file.write_all(part)?;
        }
        file.flush()
    }

    /// Takes a file's bytes. `None` where they are not what was written.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<SUM_BYTES>()?;
        if Sha256::digest(rest)[..] != sum[..] {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let about = serde_json::from_slice(rest.get(..length)?).ok()?;
        Some(Artefact {
            about,
            code_start: SUM_BYTES + LENGTH_BYTES + length,
            bytes,
        })
    }

    /// In the engine's own form.
    pub(super) fn code(&self) -> &[u8] {
        &self.bytes[self.code_start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Kind;

    fn about() -> About {
        About {
            sha256: "0".repeat(64),
            size_bytes: 8,
            kind: Kind::Routing,
            name: "first".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            language: None,
            config_schema: None,
            projection: None,
        }
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        Artefact::write(&about(), b"code", &mut file).expect("a vector takes everything");
        file
    }

    #[test]
    fn what_was_written_is_read_again() {
        let artefact = Artefact::read(file()).expect("whole");
        assert_eq!(artefact.about, about());
        assert_eq!(artefact.code(), b"code");
    }

    #[test]
    fn no_part_can_change_or_go_unnoticed() {
        let whole = file();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Artefact::read(changed).is_none(), "byte {at} changed");
            assert!(Artefact::read(whole[..at].to_vec()).is_none(), "{at} bytes");
        }
        assert!(Artefact::read([whole, vec![0]].concat()).is_none());
    }
}
