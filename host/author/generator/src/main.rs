//! Writes the bindings of the contract: for C and Go as wit-bindgen makes them, for JavaScript its types. Arguments: the
//! contract's file, and the folder that is written.

mod typescript;

use std::error::Error;
use std::path::Path;

use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};

/// Prefixes in C: `rw_rule_t` in place of `ruleward_policy_types_rule_t`.
const SHORT_NAMES: [(&str, &str); 2] =
    [("ruleward:policy/types@0.1.0", "rw"), ("ruleward:policy/log@0.1.0", "policy_log")];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [contract, folder] = arguments.as_slice() else {
        return Err("usage: bindings-generator CONTRACT.wit FOLDER".into());
    };
    let (wit, folder) = (std::fs::read_to_string(contract)?, Path::new(folder));
    let rename = SHORT_NAMES.map(|(interface, name)| (interface.to_owned(), name.to_owned())).into();
    let c = wit_bindgen_c::Opts { rename, ..Default::default() }.build();
    generate(&wit, c, &folder.join("c"))?;
    // gofmt would be another program.
    let go = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, quiet: true, ..Default::default() }.build();
    generate(&wit, go, &folder.join("go"))?;
    let (resolve, world) = resolve(&wit)?;
    let types = typescript::declarations(&resolve, &resolve.worlds[world]);
    write(&folder.join("javascript/policy.d.ts"), types.as_bytes())
}

fn resolve(wit: &str) -> Result<(Resolve, WorldId), Box<dyn Error>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", wit)?;
    let world = resolve.select_world(&[package], Some("policy"))?;
    Ok((resolve, world))
}

fn generate(wit: &str, mut generator: Box<dyn WorldGenerator>, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (mut resolve, world) = resolve(wit)?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    // The module is ours: it says where its runtime is (../go).
    let mut files = files.iter().filter(|(name, _)| *name != "go.mod");
    files.try_for_each(|(name, content)| write(&folder.join(name), content))
}

fn write(file: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    Ok(std::fs::write(file, content)?)
}
