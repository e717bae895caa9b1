//! Compiled plugins in a directory that only this host writes to.
//!
//! Guarantees:
//! - The directory belongs to the user that the host runs as, and to nobody else: no link leads to
//!   it, and nobody else can read or write there. Any other one is refused before anything in it
//!   is looked at.
//! - A file is there as a whole or not at all: it is written under another name and renamed. Hosts
//!   may share a directory.
//! - A file that is damaged, or of another owner, is taken for absent, and replaced.
//! - It stays below [`FILES_MAX`] and [`BYTES_MAX`]: what was used longest ago goes first.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use tracing::warn;

use super::Failure;
use super::artefact::Artefact;

pub(super) const FILES_MAX: usize = 64;
pub(super) const BYTES_MAX: u64 = 2 << 30;

const SUFFIX: &str = ".compiled";
const DRAFT_PREFIX: &str = ".draft-";

/// No compiler takes so long: what is older was left by a host that was killed.
const DRAFT_AGE_MAX: Duration = Duration::from_hours(24);

/// The permissions of group and others.
const OTHERS: u32 = 0o077;

pub(super) struct Cache {
    directory: PathBuf,
    /// The user that the host runs as.
    user: u32,
}

impl Cache {
    /// Makes the directory where it does not exist.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let unusable = |source| Failure::Cache {
            directory: directory.to_owned(),
            source,
        };
        let exposed = |what: &str| {
            Err(Failure::Exposed {
                directory: directory.to_owned(),
                what: what.to_owned(),
            })
        };
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(unusable)?;
        let found = fs::symlink_metadata(directory).map_err(unusable)?;
        // Who owns a new file is the user that this process acts as.
        let user = tempfile::tempfile()
            .and_then(|file| file.metadata())
            .map_err(unusable)?
            .uid();
        if !found.is_dir() {
            return exposed("is a link to a directory, which may come to lead elsewhere");
        }
        if found.uid() != user {
            return exposed("belongs to another user");
        }
        if found.mode() & OTHERS != 0 {
            return exposed("can be used by other users");
        }
        Ok(Cache {
            directory: directory.to_owned(),
            user,
        })
    }

    /// What is kept under a name.
    pub(super) fn get(&self, name: &str) -> Result<Option<Artefact>, Failure> {
        let path = self.path(name);
        let read = match File::open(&path) {
            Ok(file) => self.read(&path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let artefact = read.map_err(|source| self.unusable(source))?;
        if artefact.is_none() {
            warn!(file = %path.display(), "a compiled plugin is damaged; it is compiled again");
        }
        Ok(artefact)
    }

    fn read(&self, path: &Path, mut file: File) -> io::Result<Option<Artefact>> {
        let found = file.metadata()?;
        if !self.is_own(&found, &fs::symlink_metadata(path)?) || found.len() > BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
        file.by_ref().take(found.len()).read_to_end(&mut bytes)?;
        let artefact = Artefact::read(bytes);
        if artefact.is_some() {
            // Who was used last goes last.
            file.set_modified(SystemTime::now())?;
        }
        Ok(artefact)
    }

    /// True for a file of ours that the name itself stands for, and not a link.
    fn is_own(&self, opened: &Metadata, named: &Metadata) -> bool {
        opened.is_file()
            && opened.uid() == self.user
            && opened.mode() & OTHERS == 0
            && (opened.dev(), opened.ino()) == (named.dev(), named.ino())
    }

    /// A file to write to, which goes when it is dropped.
    pub(super) fn draft(&self) -> Result<NamedTempFile, Failure> {
        tempfile::Builder::new()
            .prefix(DRAFT_PREFIX)
            .tempfile_in(&self.directory)
            .map_err(|source| self.unusable(source))
    }

    /// Keeps a file under a name, in the place of what was there.
    pub(super) fn keep(&self, draft: NamedTempFile, name: &str) -> Result<(), Failure> {
        draft
            .persist(self.path(name))
            .map_err(|failed| self.unusable(failed.error))?;
        self.tidy().map_err(|source| self.unusable(source))
    }

    /// Removes what is too much. Another host may do the same at the same time.
    fn tidy(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let used = found.modified()?;
            let age = used.elapsed().unwrap_or_default();
            if name.starts_with(DRAFT_PREFIX) && age > DRAFT_AGE_MAX {
                remove(&entry.path())?;
            } else if name.ends_with(SUFFIX) {
                kept.push((used, found.len(), entry.path()));
            }
        }
        kept.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut bytes = 0;
        for (position, (_, length, path)) in kept.iter().enumerate() {
            bytes += length;
            // The newest stays whatever its size: it is the one that was just made.
            if position > 0 && (position >= FILES_MAX || bytes > BYTES_MAX) {
                remove(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{SUFFIX}"))
    }

    fn unusable(&self, source: io::Error) -> Failure {
        Failure::Cache {
            directory: self.directory.clone(),
            source,
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
