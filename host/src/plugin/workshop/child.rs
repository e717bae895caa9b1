//! What a compiler process does: limits itself, takes a plugin file, leaves its code, answers.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read as _};
use std::path::Path;

use rlimit::Resource;

use super::artefact::Artefact;
use super::process::{Answer, THREADS_MAX};
use crate::plugin::admission;
use crate::plugin::engine::Engine;
use crate::plugin::error::Error;
use crate::plugin::module::MODULE_BYTES_MAX;

/// What a failed `mmap` or `mprotect` says on its way through the engine (ENOMEM).
const NO_MEMORY: &str = "os error 12";

/// The work of a compiler process: a plugin's file on standard input, its code into `artefact`,
/// an answer on standard output. `seconds` is what the parent waits; it is a limit here only for a
/// child whose parent was killed.
pub fn compile_child(artefact: &Path, memory_bytes_max: u64, seconds: u64) -> io::Result<()> {
    limit(memory_bytes_max, seconds)?;
    let mut bytes = Vec::new();
    let read = io::stdin()
        .take(MODULE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    let answer = match read.map(|_| work(&bytes, artefact)) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Answer::OutOfMemory,
        Err(error) => return Err(error),
        Ok(worked) => answer(worked),
    };
    Ok(serde_json::to_writer(io::stdout(), &answer)?)
}

fn answer(worked: Result<(), Error>) -> Answer {
    match worked {
        Ok(()) => Answer::Taken,
        Err(Error::Refused { problem, .. }) => {
            let text = problem.to_string();
            match text.contains(NO_MEMORY) {
                true => Answer::OutOfMemory,
                false => Answer::Refused(text),
            }
        }
        Err(Error::Engine(error)) => Answer::Failed(error.to_string()),
        Err(error @ Error::Configuration { .. }) => Answer::Failed(error.to_string()),
    }
}

fn work(bytes: &[u8], artefact: &Path) -> Result<(), Error> {
    let engine = Engine::for_one_file()?;
    // The parent knows the plugin's name, and puts it before what is said here.
    let admitted = admission::admit_here(&engine, "plugin", bytes)?;
    let code = admitted.component.serialize().map_err(Error::engine)?;
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(artefact)
        .map_err(|error| Error::Engine(error.into()))?;
    Artefact::write(&admitted.about, &code, BufWriter::new(file))
        .map_err(|error| Error::Engine(error.into()))
}

/// Never to be raised again, not even by this process.
fn limit(memory_bytes_max: u64, seconds: u64) -> io::Result<()> {
    // What is written to, not what is reserved: the engine reserves 4 GiB of addresses for each
    // memory of a guest, and of these only what the guest grows into counts here.
    lower(Resource::DATA, memory_bytes_max)?;
    // The code was in memory before it is in the file.
    lower(Resource::FSIZE, memory_bytes_max)?;
    lower(Resource::CORE, 0)?;
    lower(Resource::CPU, seconds.saturating_mul(THREADS_MAX as u64))
}

/// Where the system has a lower limit already, that one stays.
fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let value = value.min(resource.get_hard()?);
    resource.set(value, value)
}
