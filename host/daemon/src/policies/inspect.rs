//! Looks at what a compiled component imports and exports, before any of its code runs. It may import the two
//! interfaces of contract 0.1.0 and nothing else; it must export `describe` and `evaluate`; what else it exports does
//! no harm.

use thiserror::Error;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::guest::one_line;

/// The package that policies implement.
const PACKAGE: &str = "ruleward:policy";
/// Its version that is served.
const SERVED: &str = "0.1.0";
/// Its interfaces.
const INTERFACES: [&str; 2] = ["log", "types"];
/// Forbidden imports that are named before the rest are only counted.
const MOST_NAMED: usize = 8;

/// Why a component can't be a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// Built for another version of the contract.
    #[error(
        "is built for version {found} of the contract {PACKAGE}, and this host serves {SERVED}; \
         rebuild the policy, or update the host"
    )]
    WrongVersion {
        /// The version that it imports.
        found: String,
    },
    /// It imports what the host does not serve.
    #[error("imports {}; {}", .imports.join(", "), .advice)]
    ForbiddenImports {
        /// Their names.
        imports: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
    /// It lacks a function.
    #[error("does not export the function `{0}` of the world {PACKAGE}/policy@{SERVED}; it exports {1}")]
    MissingExport(&'static str, String),
    /// A type differs.
    #[error("does not fit the contract {PACKAGE}@{SERVED}: {0}; rebuild it with this version's wit/policy.wit")]
    WrongType(String),
}

/// Checks imports and the presence of exports. Types are compared when the component is linked.
///
/// # Errors
/// [`ShapeError`] names all that is wrong of one kind.
pub fn check(engine: &Engine, component: &Component) -> Result<(), ShapeError> {
    let shape = component.component_type();
    let mut forbidden = Vec::new();
    for (name, item) in shape.imports(engine) {
        match judge(name, &item.ty) {
            Import::Served => {}
            Import::OtherVersion(found) => return Err(ShapeError::WrongVersion { found }),
            Import::Forbidden => forbidden.push(one_line(name, 120)),
        }
    }
    if !forbidden.is_empty() {
        return Err(forbidden_imports(forbidden));
    }
    for function in ["describe", "evaluate"] {
        match shape.get_export(engine, function).map(|item| item.ty) {
            Some(ComponentItem::ComponentFunc(_)) => {}
            Some(_) => return Err(ShapeError::WrongType(format!("its export `{function}` is not a function"))),
            None => {
                let names: Vec<_> =
                    shape.exports(engine).map(|(name, _)| one_line(name, 120)).take(MOST_NAMED).collect();
                let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                return Err(ShapeError::MissingExport(function, exports));
            }
        }
    }
    Ok(())
}

enum Import {
    Served,
    OtherVersion(String),
    Forbidden,
}

fn judge(name: &str, item: &ComponentItem) -> Import {
    // A world's `use` appears as imports of types; nothing can be called by them.
    if matches!(item, ComponentItem::Type(_)) {
        return Import::Served;
    }
    let Some(path) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else {
        return Import::Forbidden;
    };
    let (interface, version) = path.split_once('@').unwrap_or((path, "(none)"));
    if version != SERVED {
        return Import::OtherVersion(one_line(version, 40));
    }
    let instance = matches!(item, ComponentItem::ComponentInstance(_));
    if instance && INTERFACES.contains(&interface) { Import::Served } else { Import::Forbidden }
}

fn forbidden_imports(mut imports: Vec<String>) -> ShapeError {
    let advice = if imports.iter().any(|name| name.starts_with("wasi:")) {
        "the host serves no WASI, so that policies are deterministic: build with a deterministic stub"
    } else {
        "a policy can import nothing but ruleward:policy/types@0.1.0 and ruleward:policy/log@0.1.0"
    };
    if imports.len() > MOST_NAMED {
        let more = imports.len() - MOST_NAMED;
        imports.truncate(MOST_NAMED);
        imports.push(format!("and {more} more"));
    }
    ShapeError::ForbiddenImports { imports, advice }
}
