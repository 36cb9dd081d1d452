//! Policies that pack their answers. componentize-py's runtime passes an answer value by value, which takes several times
//! as long as all that a policy does; so `ruleward`, the package that a policy in Python inherits from, passes it in one
//! piece, in Python's own marshal format. Here its component gets another beside it, which reads that piece and answers as
//! the contract says.

use wasm_encoder::reencode::{ReencodeComponent, RoundtripReencoder};
use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentSectionId, RawSection,
};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentImport, ComponentOuterAliasKind, ComponentTypeRef, Parser, Payload,
};

use crate::contract;
use crate::encode::{CONTRACT, EXPORTS, EncodeError, Interface, component_of, interface, unreadable, verify};

/// The world of a component that packs its answers.
pub const WIT: &str = include_str!("packed.wit");
/// The world of what stands beside it.
const UNPACKED: &str = "
    world unpacked {
        use types.{facts, description, contribution, failure};
        import log;
        import describe-packed: func() -> list<u8>;
        import evaluate-packed: func(facts: facts, settings: string) -> list<u8>;
        export describe: func() -> description;
        export evaluate: func(facts: facts, settings: string) -> result<contribution, failure>;
    }";
/// What reads the piece: `../generator/src/unpacking.rs` makes it of the contract.
const UNPACKING: &str = include_str!("../generated/unpacked.wat");
/// Functions whose answer is packed.
const PACKED: [&str; 2] = ["describe-packed", "evaluate-packed"];

/// The policy that a component is which packs its answers. Nothing for any other, for what can't be read, and for what
/// imports something that no policy may: who loads it says so, and what to do.
///
/// # Errors
/// [`EncodeError`] when its types are not the contract's.
pub fn unpacked(component: &[u8]) -> Result<Option<Vec<u8>>, EncodeError> {
    let Some(Interface { imports, exports }) = interface(component).ok() else { return Ok(None) };
    let packs = PACKED.iter().all(|name| exports.iter().any(|export| export == name));
    if !packs || !imports.iter().all(|name| name.starts_with(CONTRACT)) {
        return Ok(None);
    }
    let module = wat::parse_str(UNPACKING).map_err(|error| EncodeError::NotAModule(error.to_string()))?;
    let unpacking = component_of(module, Some(contract::resolve(UNPACKED, "unpacked")?), false)?;
    let policy = joined(component, &unpacking)?;
    verify(&policy)?;
    Ok(Some(policy))
}

/// What a component can import: a name, what it is, and its number.
type There<'a> = Vec<(&'a str, ComponentExportKind, u32)>;

/// The component that packs, and the one that answers with what it has packed, side by side: neither may be within the
/// other, since a component never calls the one that it stands in.
fn joined(packing: &[u8], unpacking: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut made = Component::new();
    let (mut there, instances) = imported(unpacking, &mut made)?;
    let (mut exports, mut functions) = (ComponentExportSection::new(), 0..);
    for (number, (component, names)) in (0..).zip([(packing, PACKED), (unpacking, EXPORTS)]) {
        made.section(&RawSection { id: ComponentSectionId::Component.into(), data: component });
        let mut instantiated = ComponentInstanceSection::new();
        instantiated.instantiate(number, there.iter().copied());
        made.section(&instantiated);
        // What it offers: to the next one, and at last to the host.
        let mut aliases = ComponentAliasSection::new();
        exports = ComponentExportSection::new();
        for (name, function) in names.into_iter().zip(&mut functions) {
            let kind = ComponentExportKind::Func;
            aliases.alias(Alias::InstanceExport { instance: instances + number, kind, name });
            exports.export(name, kind, function, None);
            there.push((name, kind, function));
        }
        made.section(&aliases);
    }
    made.section(&exports);
    Ok(made.finish())
}

/// Copies what a component imports, up to what packs. How many instances are among it comes second.
fn imported<'a>(component: &'a [u8], made: &mut Component) -> Result<(There<'a>, u32), EncodeError> {
    let (mut there, mut instances, mut count) = (There::new(), 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(unreadable)?;
        if let Payload::ComponentImportSection(imports) = payload {
            for import in imports {
                let ComponentImport { name, ty } = import.map_err(unreadable)?;
                let (kind, number) = match ty {
                    ComponentTypeRef::Instance(_) => (ComponentExportKind::Instance, &mut instances),
                    ComponentTypeRef::Type(_) => (ComponentExportKind::Type, &mut count),
                    _ => return Ok((there, instances)),
                };
                there.push((name.name, kind, *number));
                *number += 1;
                let mut import = ComponentImportSection::new();
                let ty = RoundtripReencoder.component_type_ref(ty);
                import.import(name.name, ty.map_err(|error| EncodeError::World(error.to_string()))?);
                made.section(&import);
            }
        } else {
            count += types(&payload)?;
            if let Some((id, range)) = payload.as_section() {
                made.section(&RawSection { id, data: component.get(range).unwrap_or_default() });
            }
        }
    }
    Ok((there, instances))
}

/// How many types of a component a section adds, imports aside.
fn types(section: &Payload<'_>) -> Result<u32, EncodeError> {
    match section {
        Payload::ComponentTypeSection(types) => Ok(types.count()),
        Payload::ComponentAliasSection(aliases) => {
            let is_type = |alias: wasmparser::Result<ComponentAlias<'_>>| {
                let alias = alias.map_err(unreadable)?;
                let of_instance =
                    matches!(alias, ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. });
                let outer = matches!(alias, ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. });
                Ok(u32::from(of_instance || outer))
            };
            aliases.clone().into_iter().map(is_type).sum()
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that packs its answers, and imports this too.
    fn packing(import: &str, module_import: &str) -> Vec<u8> {
        let world =
            WIT.replace("package ruleward:policy@0.1.0;", "").replace("import log;", &format!("import log; {import}"));
        let module = format!(
            r#"(module
                {module_import}
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "describe-packed") (result i32) unreachable)
                (func (export "evaluate-packed") (param i32) (result i32) unreachable))"#
        );
        let world = contract::resolve(&world, "packed").unwrap();
        component_of(wat::parse_str(module).unwrap(), Some(world), false).unwrap()
    }

    #[test]
    fn what_packs_its_answers_becomes_a_policy_once() {
        let policy = unpacked(&packing("", "")).unwrap().unwrap();
        let Interface { imports, exports } = interface(&policy).unwrap();
        assert_eq!(exports, EXPORTS);
        assert!(imports.iter().all(|name| name.starts_with("ruleward:policy/")), "{imports:?}");
        assert_eq!(unpacked(&policy).unwrap(), None);
    }

    #[test]
    fn what_can_be_no_policy_is_left_to_who_loads_it() {
        let clock = packing("import clock: func();", r#"(import "$root" "clock" (func))"#);
        assert_eq!(unpacked(&clock).unwrap(), None);
        assert_eq!(unpacked(b"no component").unwrap(), None);
    }
}
