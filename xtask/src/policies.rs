//! `cargo xtask policies` and `build`: the policies of plugins/ as components in target/policies, and
//! the programs.
//!
//! The same sources and compiler give the same bytes: paths of this machine are mapped away. A file is written only
//! when its content changes, whole or not at all, so that a running daemon never sees half a policy.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::command::Run;
use crate::progress::step;
use crate::wasm_target::{TARGET, Toolchain};
use crate::workspace;

/// One small test is built along with the programs. Cargo chooses the features of dependencies by what is selected: so they
/// are those of `cargo test`, and wasmtime is compiled once for the demo and the tests, not once for each.
const SELECTION: [&str; 3] = ["--bins", "--test", "kernel_edge"];

/// Builds every policy.
pub fn run() -> Result<()> {
    let toolchain = Toolchain::obtain()?;
    let names = workspace::policy_packages()?;
    step(&format!("policies: {}", names.join(", ")), || {
        compile(&toolchain, &names)?;
        let modules = toolchain.target_dir().join(TARGET).join("policy");
        let mut refused = Vec::new();
        for name in &names {
            let module = modules.join(format!("{}.wasm", name.replace('-', "_")));
            if let Err(error) = place(&module, name) {
                refused.push(format!("{error:#}"));
            }
        }
        ensure!(refused.is_empty(), "{}", refused.join("; "));
        Ok(())
    })
}

/// Builds the policies, then the programs: `ruleward`, and beside it `ruleward-policy`.
pub fn build_all() -> Result<()> {
    run()?;
    step("programs: target/debug/ruleward, ruleward-policy (the first time compiles wasmtime: minutes)", || {
        Run::new(workspace::cargo()).args(["build", "--workspace"]).args(SELECTION).within(workspace::root()).show()
    })
}

fn compile(toolchain: &Toolchain, names: &[String]) -> Result<()> {
    let packages = names.iter().flat_map(|name| ["--package", name]);
    toolchain.cargo_build().args(packages).env("CARGO_ENCODED_RUSTFLAGS", path_maps()?).show()
}

/// Panic messages hold paths of sources; the component should not depend on where they are.
fn path_maps() -> Result<OsString> {
    let cargo_home = workspace::cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    let mut flags = OsString::new();
    for (from, to) in [(cargo_home.as_path(), "/cargo"), (workspace::root(), "/ruleward")] {
        if !flags.is_empty() {
            // The separator of CARGO_ENCODED_RUSTFLAGS.
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}

fn place(module: &Path, name: &str) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("cargo built no {}", module.display()))?;
    let component = ruleward_author::encode(&bytes).with_context(|| format!("policy `{name}`"))?;
    let folder = workspace::target_dir().join("policies");
    let file = folder.join(format!("{name}.wasm"));
    if fs::read(&file).is_ok_and(|old| old == component) {
        eprintln!("    {} is up to date", file.display());
        return Ok(());
    }
    let fresh = folder.join(format!(".{name}.wasm.new"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(&fresh, &component).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, &file).with_context(|| format!("cannot replace {}", file.display()))?;
    eprintln!("    {} ({} KB)", file.display(), component.len().div_ceil(1000));
    Ok(())
}
