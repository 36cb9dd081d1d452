//! The contract in the words of a language. A released contract never changes, so its bindings are files of this program:
//! `generator/` makes them with wit-bindgen, and `cargo xtask bindings` proves that they are what it makes.

use crate::contract::WIT;

/// A file: its name below the author's folder, and its content.
pub type BindingsFile = (&'static str, &'static [u8]);

/// What the bindings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A header, a source file, and an object file that names the world.
    C,
    /// A module's packages, and the runtime that they import.
    Go,
    /// The contract, which componentize-qjs reads, and the same as types for an editor and for `tsc`.
    Javascript,
    /// The contract, which componentize-py reads, and the package that a policy inherits from.
    Python,
    /// The contract itself, for tools that read WIT: wit-bindgen for Rust.
    Wit,
}

macro_rules! generated {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../generated/", $folder, "/", $name)).as_slice())),+]
    };
}

macro_rules! go_runtime {
    ($($name:literal: $file:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../go/", $file)).as_slice())),+]
    };
}

const C: [BindingsFile; 3] = generated!["c": "policy.c", "policy.h", "policy_component_type.o"];

const GO: [BindingsFile; 7] = generated![
    "go":
    "ruleward_policy_log/empty.s",
    "ruleward_policy_log/wit_bindings.go",
    "ruleward_policy_types/empty.s",
    "ruleward_policy_types/wit_bindings.go",
    "wit_exports.go",
    "wit_world/empty.s",
    "wit_world/wit_bindings.go",
];

const JAVASCRIPT: [BindingsFile; 1] = generated!["javascript": "policy.d.ts"];

const PYTHON: [BindingsFile; 1] = [("ruleward/__init__.py", include_bytes!("../python/__init__.py"))];

/// The packages that the bindings for Go import: what no module proxy serves.
const GO_RUNTIME: [BindingsFile; 4] = go_runtime![
    "go.mod": "go.mod.text",
    "witpkg/go.mod": "witpkg.mod.text",
    "witpkg/wit/runtime/runtime.go": "runtime.go",
    "witpkg/wit/types/types.go": "types.go",
];

const CONTRACT: [BindingsFile; 1] = [("policy.wit", WIT.as_bytes())];

/// The files of a language.
pub fn bindings(language: Language) -> Vec<BindingsFile> {
    match language {
        Language::C => C.to_vec(),
        Language::Go => [GO.as_slice(), &GO_RUNTIME].concat(),
        Language::Javascript => [JAVASCRIPT.as_slice(), &CONTRACT].concat(),
        Language::Python => [PYTHON.as_slice(), &CONTRACT].concat(),
        Language::Wit => CONTRACT.to_vec(),
    }
}
