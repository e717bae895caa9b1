//! From a file's bytes to a component.
//!
//! A core module that carries its WIT metadata (what `cargo build`, clang and Go make) is turned
//! into a component here, so that users need no tool for it; one that imports WASI gets that of
//! `wasi`. What is already machine code is refused: the sandbox is the compiler's.

use std::borrow::Cow;

use wasmparser::{Parser, Payload, Validator};
use wit_component::ComponentEncoder;

use super::error::Problem;
use super::{contract, wasi};

/// The largest plugin file. Python's runtime takes 18 MB.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// Starts of files that a Wasm engine could load without compiling: ELF is wasmtime's own form.
const MACHINE_CODE: [(&[u8], &str); 4] = [
    (b"\x7fELF", "an ELF file (machine code)"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file (machine code)"),
    (b"MZ", "a Windows executable (machine code)"),
    (b"!<arch>\n", "an archive of machine code"),
];

/// Checks the bytes as far as that is possible without compiling them.
pub(super) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    check_kind(bytes)?;
    Validator::new()
        .validate_all(bytes)
        .map_err(|error| Problem::Invalid(error.to_string()))?;
    if Parser::is_component(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let imports_wasi = check_module(bytes)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|encoder| match imports_wasi {
            true => encoder.adapter(wasi::MODULE, wasi::ADAPTER),
            false => Ok(encoder),
        })
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Problem::Componentize(format!("{error:#}")))?;
    Ok(Cow::Owned(component))
}

fn check_kind(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(Problem::TooLarge(bytes.len() as u64));
    }
    if let Some((_, what)) = MACHINE_CODE.iter().find(|(m, _)| bytes.starts_with(m)) {
        return Err(Problem::Precompiled(what));
    }
    if !Parser::is_component(bytes) && !Parser::is_core_wasm(bytes) {
        let start = &bytes[..bytes.len().min(16)];
        return Err(Problem::NotWasm(format!("\"{}\"", start.escape_ascii())));
    }
    Ok(())
}

/// Looks at what the encoder would only complain about in its own words. True where the module
/// imports WASI.
fn check_module(bytes: &[u8]) -> Result<bool, Problem> {
    let invalid = |error: wasmparser::BinaryReaderError| Problem::Invalid(error.to_string());
    let (mut has_metadata, mut imports_wasi) = (false, false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::CustomSection(section) => {
                has_metadata |= section.name().starts_with("component-type");
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    check_module_import(import.module, import.name)?;
                    imports_wasi |= import.module == wasi::MODULE;
                }
            }
            _ => {}
        }
    }
    if has_metadata {
        Ok(imports_wasi)
    } else {
        Err(Problem::NoMetadata)
    }
}

fn check_module_import(module: &str, name: &str) -> Result<(), Problem> {
    if module == "wasi_unstable" {
        return Err(Problem::Wasi(format!("{module}.{name}")));
    }
    if module == "env" {
        return Err(Problem::Unresolved(format!("{module}.{name}")));
    }
    // The component model's own functions have names without a package ("$root",
    // "[export]…", "cm32p2|…"); the encoder knows which of them exist.
    let is_interface = module.contains(':') && !module.contains(['[', '|', '$']);
    if is_interface {
        contract::check_import(module)
    } else {
        Ok(())
    }
}
