//! `cargo xtask bindings`: proves that the bindings in host/author/generated are what the generator makes of the contract.
//! With `--update` they are written anew, which only a new version of the contract needs.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::command::Run;
use crate::progress::step;
use crate::workspace;

/// Makes them, and compares or replaces.
pub fn run(update: bool) -> Result<()> {
    let author = workspace::root().join("host/author");
    let kept = author.join("generated");
    let made = if update { kept.clone() } else { workspace::target_dir().join("bindings") };
    // What an earlier contract had is not what this one has.
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot clear {}", made.display()))?;
    }
    let contract = workspace::root().join("wit/policy.wit");
    step("making the bindings", || {
        Run::new(workspace::cargo())
            .args(["run", "--quiet", "--locked", "--manifest-path"])
            .args([author.join("generator/Cargo.toml")])
            .args([OsString::from("--"), contract.into_os_string(), made.clone().into_os_string()])
            .env("CARGO_TARGET_DIR", workspace::target_dir().join("bindings-generator"))
            .within(workspace::root())
            .show()
    })?;
    let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
    read(&kept, &kept, &mut left)?;
    read(&made, &made, &mut right)?;
    let differs = |name: &&String| left.get(*name) != right.get(*name);
    let differing: Vec<&String> = left.keys().chain(right.keys()).filter(differs).collect();
    ensure!(
        differing.is_empty(),
        "host/author/generated is not what the generator makes of wit/policy.wit: {differing:?}; `cargo xtask bindings --update`"
    );
    Ok(())
}

/// Every file below `folder`, by its path below `root`.
fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.insert(name, fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(())
}
