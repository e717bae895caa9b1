//! Plugin files on a disk.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{self, Problem};
use super::module::MODULE_BYTES_MAX;

/// Why a plugin file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("cannot read plugin {}: {source}; build the plugin, or correct the path", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is larger than any plugin may be.
    #[error(transparent)]
    Refused(error::Error),
}

/// Reads a plugin file, and no more of it than a plugin may have.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Unread> {
    let failed = |source| Unread::Io {
        path: path.to_owned(),
        source,
    };
    let too_large = |problem: Problem| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Unread::Refused(problem.of(&name.to_string_lossy()))
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > MODULE_BYTES_MAX as u64 {
        return Err(too_large(Problem::TooLarge(size)));
    }
    // What is no ordinary file does not know its size.
    let mut bytes = Vec::new();
    file.take(MODULE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(too_large(Problem::Endless));
    }
    Ok(bytes)
}
