//! From a compiled core module to a policy: names the world that it implements, answers WASI with the deterministic stub
//! where it is asked for, encodes the component, and proves that it imports nothing but the policy contract and exports
//! what the host calls.

use thiserror::Error;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::contract::{self, ContractError};
use crate::post_return;

/// The only package that a policy may import from.
const CONTRACT: &str = "ruleward:policy/";
/// What the host calls.
const EXPORTS: [&str; 2] = ["describe", "evaluate"];
/// How WASI is imported by a core module.
const WASI: &str = "wasi_snapshot_preview1";
/// Answers every WASI call the same way each time: no files, environment or sockets, a clock that ticks by itself, a
/// seeded generator.
const WASI_STUB: &str = include_str!("wasi_stub.wat");
/// Custom sections of this name tell which world a module implements.
const WORLD_SECTION: &str = "component-type";

/// Why a module does not become a policy. Each says what to do.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// Something else than a module.
    #[error("is no WebAssembly module: {0}")]
    NotAModule(String),
    /// Encoded before.
    #[error(
        "is a component already: give `ruleward policy build` the module that the compiler made, or load this as it is"
    )]
    Component,
    /// The host's functions are not there.
    #[error(
        "does not export {}: a policy exports {}. In C and Go link the generated bindings too; in Rust name the policy \
         with `policy!` in a crate of type cdylib; build a reactor, not a command",
        .0.join(" and "), EXPORTS.join(" and ")
    )]
    MissingExport(Vec<&'static str>),
    /// A `main` in place of functions.
    #[error(
        "is a command (it exports `_start`), but a policy is a reactor: build it with -mexec-model=reactor (C), \
         -buildmode=c-shared (Go) or as a cdylib (Rust)"
    )]
    Command,
    /// Imports that nobody serves.
    #[error("imports {}: a policy may import only `{CONTRACT}*`, and WASI preview 1, which the stub answers", .0.join(", "))]
    Imports(Vec<String>),
    /// Types differ.
    #[error(
        "does not fit the world of the contract: {0}. Make its bindings with this version's `ruleward policy bindings`"
    )]
    World(String),
    /// The contract.
    #[error(transparent)]
    Contract(#[from] ContractError),
}

/// Encodes a core module. Its world may be embedded in it, as wit-bindgen for Rust does; otherwise it is taken to
/// implement the contract of this version.
///
/// # Errors
/// [`EncodeError`].
pub fn encode(module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let shape = Shape::read(module)?;
    shape.check()?;
    let module = post_return::removed(module).map_err(unreadable)?;
    let world = if shape.names_world { None } else { Some(contract::world()?) };
    let component = component_of(module, world, shape.wants_wasi)?;
    verify(&component)?;
    Ok(component)
}

/// The component of a module that implements this world, or else the one that it names; with the stub if it wants WASI.
fn component_of(
    mut module: Vec<u8>,
    world: Option<(Resolve, WorldId)>,
    wants_wasi: bool,
) -> Result<Vec<u8>, EncodeError> {
    if let Some((resolve, world)) = world {
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| EncodeError::World(format!("{error:#}")))?;
    }
    let mut encoder = ComponentEncoder::default();
    if wants_wasi {
        let stub = wat::parse_str(WASI_STUB).map_err(|error| EncodeError::NotAModule(error.to_string()))?;
        encoder = encoder.adapter(WASI, &stub).map_err(|error| EncodeError::World(format!("{error:#}")))?;
    }
    let encoded = encoder.validate(true).module(&module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| EncodeError::World(format!("{error:#}")))
}

fn unreadable(error: wasmparser::BinaryReaderError) -> EncodeError {
    EncodeError::NotAModule(error.to_string())
}

/// What matters of a core module before it is encoded.
#[derive(Default)]
struct Shape {
    names_world: bool,
    wants_wasi: bool,
    exports: Vec<String>,
    foreign: Vec<String>,
}

impl Shape {
    fn read(module: &[u8]) -> Result<Self, EncodeError> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(unreadable)? {
                Payload::Version { encoding: wasmparser::Encoding::Component, .. } => {
                    return Err(EncodeError::Component);
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.map_err(unreadable)?;
                        match import.module {
                            WASI => shape.wants_wasi = true,
                            own if own.starts_with(CONTRACT) => {}
                            other => shape.foreign.push(format!("{other} {}", import.name)),
                        }
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        shape.exports.push(export.map_err(unreadable)?.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION) => {
                    shape.names_world = true;
                }
                _ => {}
            }
        }
        Ok(shape)
    }

    fn check(&self) -> Result<(), EncodeError> {
        let exports = |name: &str| self.exports.iter().any(|export| export == name);
        if exports("_start") {
            return Err(EncodeError::Command);
        }
        let missing: Vec<&str> = EXPORTS.into_iter().filter(|name| !exports(name)).collect();
        if !missing.is_empty() {
            return Err(EncodeError::MissingExport(missing));
        }
        if !self.foreign.is_empty() {
            return Err(EncodeError::Imports(self.foreign.clone()));
        }
        Ok(())
    }
}

/// What a component asks for and offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Interfaces and functions that it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// Reads what a component imports and exports, without running any of it.
///
/// # Errors
/// [`EncodeError::World`] when it is no component.
pub fn interface(component: &[u8]) -> Result<Interface, EncodeError> {
    let wrong = |error: String| EncodeError::World(format!("the component can't be read: {error}"));
    let decoded = wit_component::decode(component).map_err(|error| wrong(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        return Err(wrong("it is a WIT package".into()));
    };
    // Types that the world itself names are aliases into the contract's interfaces: nothing can be called by them.
    let world = &resolve.worlds[*world];
    let imports = world.imports.iter().filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
    Ok(Interface {
        imports: imports.map(|(key, _)| resolve.name_world_key(key)).collect(),
        exports: world.exports.keys().map(|key| resolve.name_world_key(key)).collect(),
    })
}

/// That a component imports nothing but the contract and exports what the host calls.
fn verify(component: &[u8]) -> Result<(), EncodeError> {
    let Interface { imports, exports } = interface(component)?;
    let forbidden: Vec<String> = imports.into_iter().filter(|name| !name.starts_with(CONTRACT)).collect();
    if !forbidden.is_empty() {
        return Err(EncodeError::Imports(forbidden));
    }
    let missing: Vec<&str> = EXPORTS.into_iter().filter(|name| !exports.iter().any(|found| found == name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(EncodeError::MissingExport(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        encode(&wat::parse_str(text).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_lacks_the_functions_is_told_which() {
        let reason = refusal(r#"(module (func (export "evaluate")))"#);
        assert!(reason.starts_with("does not export describe: a policy exports describe and evaluate"), "{reason}");
    }

    #[test]
    fn a_command_is_told_how_to_become_a_reactor() {
        let reason = refusal(r#"(module (func (export "_start")))"#);
        assert!(reason.contains("-mexec-model=reactor"), "{reason}");
    }

    #[test]
    fn a_component_is_not_encoded_twice() {
        let empty = b"\0asm\x0d\0\x01\0";
        assert!(encode(empty).unwrap_err().to_string().contains("is a component already"));
    }

    #[test]
    fn foreign_imports_are_named() {
        let reason =
            refusal(r#"(module (import "env" "socket" (func)) (func (export "describe")) (func (export "evaluate")))"#);
        assert!(reason.starts_with("imports env socket: a policy may import only"), "{reason}");
    }

    #[test]
    fn functions_of_other_types_do_not_fit() {
        let reason = refusal(r#"(module (func (export "describe")) (func (export "evaluate")))"#);
        assert!(reason.contains("does not fit the world") && reason.contains("policy bindings"), "{reason}");
    }

    #[test]
    fn garbage_is_refused() {
        assert!(encode(b"not WebAssembly").unwrap_err().to_string().starts_with("is no WebAssembly module"));
    }

    /// All functions of WASI preview 1, and their parameters: I is 64 bits wide, i is 32. Each but the last gives an i32.
    const PREVIEW_1: &str = "args_get:ii args_sizes_get:ii environ_get:ii environ_sizes_get:ii clock_res_get:ii \
        clock_time_get:iIi fd_advise:iIIi fd_allocate:iII fd_close:i fd_datasync:i fd_fdstat_get:ii \
        fd_fdstat_set_flags:ii fd_fdstat_set_rights:iII fd_filestat_get:ii fd_filestat_set_size:iI \
        fd_filestat_set_times:iIIi fd_pread:iiiIi fd_prestat_get:ii fd_prestat_dir_name:iii fd_pwrite:iiiIi \
        fd_read:iiii fd_readdir:iiiIi fd_renumber:ii fd_seek:iIii fd_sync:i fd_tell:ii fd_write:iiii \
        path_create_directory:iii path_filestat_get:iiiii path_filestat_set_times:iiiiIIi path_link:iiiiiii \
        path_open:iiiiiIIii path_readlink:iiiiii path_remove_directory:iii path_rename:iiiiii path_symlink:iiiii \
        path_unlink_file:iii poll_oneoff:iiii proc_raise:i sched_yield: random_get:ii sock_accept:iii \
        sock_recv:iiiiii sock_send:iiiii sock_shutdown:ii proc_exit:i";

    #[test]
    fn the_stub_answers_all_of_wasi_preview_1() {
        let imports = PREVIEW_1.split_whitespace().map(|function| {
            let (name, letters) = function.split_once(':').unwrap();
            let params = letters.chars().map(|letter| if letter == 'I' { " i64" } else { " i32" });
            let result = if name == "proc_exit" { "" } else { "(result i32)" };
            let params: String = params.collect();
            format!(r#"(import "{WASI}" "{name}" (func (param{params}) {result}))"#)
        });
        let module = format!(
            r#"(module {} (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "describe") (result i32) unreachable)
                (func (export "evaluate") (param i32) (result i32) unreachable))"#,
            imports.collect::<String>()
        );
        let component = encode(&wat::parse_str(module).unwrap()).unwrap();
        let found = interface(&component).unwrap();
        assert!(found.imports.iter().all(|import| import.starts_with(CONTRACT)), "{:?}", found.imports);
        assert_eq!(found.exports, ["describe", "evaluate"]);
    }
}
