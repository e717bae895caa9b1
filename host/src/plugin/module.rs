//! From a file's bytes to a component.
//!
//! A core module that carries its WIT metadata (what `cargo build`, clang and Go make) is turned
//! into a component here, so that users need no tool for it; one that imports WASI gets that of
//! `wasi`. What is already machine code is refused: the sandbox is the compiler's.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use wasmparser::{
    ComponentType, ComponentTypeDeclaration, ComponentTypeRef, Parser, Payload, Validator,
};
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

/// As in `projectionist:plugin@0.1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

impl<'a> Package<'a> {
    /// That of `projectionist:plugin/host@0.1.0`. `None` for a name without a package.
    fn of_interface(name: &'a str) -> Option<Self> {
        let (name, rest) = name.split_once('/')?;
        let version = rest.split_once('@').map(|(_, version)| version);
        Some(Package { name, version })
    }
}

impl fmt::Display for Package<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.version
            .map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

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

/// What can be told from size and first bytes.
pub(super) fn check_kind(bytes: &[u8]) -> Result<(), Problem> {
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
    let mut packages = BTreeSet::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                has_metadata = true;
                packages.extend(packages_of(section.data()));
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
    let mut packages = packages.into_iter();
    match (packages.next(), packages.next()) {
        // Where packages refer to one another in a circle, the encoder recurses without end.
        (Some(one), Some(other)) => Err(Problem::Packages(one.to_string(), other.to_string())),
        _ if has_metadata => Ok(imports_wasi),
        _ => Err(Problem::NoMetadata),
    }
}

/// The packages of the interfaces that a section "component-type" names. What cannot be read is
/// for the encoder to complain of.
fn packages_of(section: &[u8]) -> BTreeSet<Package<'_>> {
    let mut packages = BTreeSet::new();
    for payload in Parser::new(0).parse_all(section) {
        match payload {
            Ok(Payload::ComponentTypeSection(types)) => {
                types
                    .into_iter()
                    .flatten()
                    .for_each(|ty| collect_packages(&ty, &mut packages));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    packages
}

fn collect_packages<'a>(ty: &ComponentType<'a>, packages: &mut BTreeSet<Package<'a>>) {
    let ComponentType::Component(declarations) = ty else {
        return;
    };
    for declaration in declarations {
        match declaration {
            ComponentTypeDeclaration::Type(inner) => collect_packages(inner, packages),
            ComponentTypeDeclaration::Import(import) => {
                packages.extend(Package::of_interface(import.name.name));
            }
            // The name of a world: nothing refers to its package.
            ComponentTypeDeclaration::Export {
                ty: ComponentTypeRef::Component(_),
                ..
            } => {}
            ComponentTypeDeclaration::Export { name, .. } => {
                packages.extend(Package::of_interface(name.name));
            }
            ComponentTypeDeclaration::CoreType(_) | ComponentTypeDeclaration::Alias(_) => {}
        }
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
