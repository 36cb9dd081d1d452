//! From a compiled core module to a policy: encodes the component and proves that it imports nothing but the policy
//! contract and exports what the host calls. Pure: bytes in, bytes out, the same for the same.

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldItem;

/// The only package that a policy may import from.
const CONTRACT: &str = "ruleward:policy/";
/// What the host calls.
const EXPORTS: [&str; 2] = ["describe", "evaluate"];

/// Encodes a core module that carries its world, as wit-bindgen embeds it.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(module)
        .context("not a module with an embedded world: does the crate generate its bindings with wit-bindgen 0.63?")?;
    let component = encoder.validate(true).encode().context("the module does not fit the world that it names")?;
    verify(&component)?;
    Ok(component)
}

fn verify(component: &[u8]) -> Result<()> {
    let decoded = wit_component::decode(component).context("the encoded component can't be read back")?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        bail!("encoding gave a WIT package in place of a component");
    };
    // Types that the world itself names are aliases into the contract's interfaces: nothing can be called by them.
    let world = &resolve.worlds[*world];
    let imports = world.imports.iter().filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
    let names = imports.map(|(key, _)| resolve.name_world_key(key));
    let forbidden: Vec<String> = names.filter(|name| !name.starts_with(CONTRACT)).collect();
    if !forbidden.is_empty() {
        bail!("it imports {}; a policy may import only `{CONTRACT}*`", forbidden.join(", "));
    }
    for function in EXPORTS {
        if !world.exports.keys().any(|key| resolve.name_world_key(key) == function) {
            bail!("it does not export `{function}`; a policy exports {}", EXPORTS.join(" and "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_world_is_refused() {
        let empty = b"\0asm\x01\0\0\0";
        let reason = format!("{:#}", encode(empty).unwrap_err());
        assert!(reason.contains("does not export `describe`"), "{reason}");
    }

    #[test]
    fn garbage_is_refused() {
        assert!(encode(b"not WebAssembly").is_err());
    }
}
