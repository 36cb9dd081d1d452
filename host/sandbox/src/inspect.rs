//! Looks at what a compiled component imports and exports, before any of its code runs. It may import the interfaces of one
//! version of the contract and nothing else; it must export `describe` and `evaluate`; what else it exports does
//! no harm.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::contract::{self, PACKAGE, Version, served};
use super::guest::one_line;

/// Forbidden imports that are named before the rest are only counted.
const MOST_NAMED: usize = 8;

/// Why a component can't be a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// Built for another version of the contract.
    #[error(
        "is built for version {found} of the contract {PACKAGE}, and this host serves {}; \
         rebuild the policy, or update the host",
        served()
    )]
    WrongVersion {
        /// The version that it imports.
        found: String,
    },
    /// It imports what the host does not serve.
    #[error("imports {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and "))]
    ForbiddenImports(Vec<Forbidden>),
    /// It lacks a function of this version of the contract.
    #[error("does not export the function `{1}` of the world {PACKAGE}/policy@{0}; it exports {2}")]
    MissingExport(&'static str, &'static str, String),
    /// A type differs from this version of the contract.
    #[error("does not fit the contract {PACKAGE}@{0}: {1}; rebuild it with this version's wit/policy.wit")]
    WrongType(&'static str, String),
}

/// Imports that are forbidden for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// Why.
    pub reason: Reason,
    /// Their names, the first of them.
    pub imports: Vec<String>,
    /// How many more there are.
    pub unnamed: usize,
}

/// Why an import is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// WASI: clocks, randomness, files, sockets, the environment.
    Wasi,
    /// The contract, of a version that is not served.
    OtherVersion,
    /// The contract's version, this one, has no such interface.
    NotInContract(&'static str),
    /// Anything else.
    Unknown,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.imports.join(", "))?;
        if self.unnamed > 0 {
            write!(f, " and {} more", self.unnamed)?;
        }
        match self.reason {
            Reason::Wasi => f.write_str(
                ": the host serves no WASI, so that policies are deterministic; `ruleward policy build` answers it with a stub \
                 (componentize-py: --stub-wasi, componentize-qjs: stubWasi)",
            ),
            Reason::OtherVersion => {
                write!(f, ": this host serves version {} of the contract; rebuild the policy, or update the host", served())
            }
            Reason::NotInContract(version) => {
                write!(f, ": version {version} of the contract has no such interface; rebuild with its wit/policy.wit")
            }
            Reason::Unknown => write!(
                f,
                ": a policy can import nothing but {PACKAGE}/types@{0} and {PACKAGE}/log@{0}; take out what needs it, or \
                 compose the component with one that provides it",
                contract::newest().number
            ),
        }
    }
}

/// Checks imports and the presence of exports, and finds the version of the contract. Types are compared when the component
/// is linked.
///
/// # Errors
/// [`ShapeError`] names all that is wrong of one kind.
pub fn check(engine: &Engine, component: &Component) -> Result<&'static Version, ShapeError> {
    let shape = component.component_type();
    let of_contract = shape.imports(engine).filter_map(|(name, _)| in_contract(name)?.1);
    let served = of_contract.filter_map(contract::version).next();
    let version = served.unwrap_or_else(contract::newest);
    let mut forbidden: BTreeMap<Reason, Vec<&str>> = BTreeMap::new();
    for (name, item) in shape.imports(engine) {
        if let Some(reason) = judge(version, name, &item.ty) {
            forbidden.entry(reason).or_default().push(name);
        }
    }
    if forbidden.keys().eq(&[Reason::OtherVersion]) {
        let first = forbidden.values().flatten().next().copied().unwrap_or_default();
        let found = first.split_once('@').map_or("(none)", |(_, version)| version);
        return Err(ShapeError::WrongVersion { found: one_line(found, 40) });
    }
    if !forbidden.is_empty() {
        let group = |(reason, names): (Reason, Vec<&str>)| Forbidden {
            reason,
            imports: names.iter().take(MOST_NAMED).map(|name| one_line(name, 120)).collect(),
            unnamed: names.len().saturating_sub(MOST_NAMED),
        };
        return Err(ShapeError::ForbiddenImports(forbidden.into_iter().map(group).collect()));
    }
    for function in ["describe", "evaluate"] {
        match shape.get_export(engine, function).map(|item| item.ty) {
            Some(ComponentItem::ComponentFunc(_)) => {}
            Some(_) => {
                let problem = format!("its export `{function}` is not a function");
                return Err(ShapeError::WrongType(version.number, problem));
            }
            None => {
                let names: Vec<_> =
                    shape.exports(engine).map(|(name, _)| one_line(name, 120)).take(MOST_NAMED).collect();
                let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                return Err(ShapeError::MissingExport(version.number, function, exports));
            }
        }
    }
    Ok(version)
}

/// Interface and version, if it is an import from the contract's package.
fn in_contract(name: &str) -> Option<(&str, Option<&str>)> {
    let path = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(path.split_once('@').map_or((path, None), |(interface, version)| (interface, Some(version))))
}

/// Why an import is forbidden, if it is.
fn judge(served: &Version, name: &str, item: &ComponentItem) -> Option<Reason> {
    // A world's `use` appears as imports of types; nothing can be called by them.
    if matches!(item, ComponentItem::Type(_)) {
        return None;
    }
    if name.starts_with("wasi:") {
        return Some(Reason::Wasi);
    }
    let Some((interface, version)) = in_contract(name) else { return Some(Reason::Unknown) };
    if version != Some(served.number) {
        return Some(Reason::OtherVersion);
    }
    let instance = matches!(item, ComponentItem::ComponentInstance(_));
    (!instance || !served.interfaces.contains(&interface)).then_some(Reason::NotInContract(served.number))
}
