//! Where things are: the checkout, the target directory, the program and the policies. All paths are absolute.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::Run;

/// The checkout that this xtask was built from.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Cargo's target directory: `CARGO_TARGET_DIR` if set, else `target` in the checkout.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => root().join("target"),
    }
}

/// The built program.
pub fn program() -> PathBuf {
    std::env::var_os("RULEWARD_BIN").map_or_else(|| target_dir().join("debug/ruleward"), PathBuf::from)
}

/// The program for authors, which `ruleward` starts: it stands beside it.
pub fn authors_program() -> PathBuf {
    program().with_file_name("ruleward-policy")
}

/// The folder of the built policies.
pub fn policies_dir() -> PathBuf {
    std::env::var_os("RULEWARD_POLICIES").map_or_else(|| target_dir().join("policies"), PathBuf::from)
}

/// The cargo that started us.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where cargo keeps what it fetches and installs.
pub fn cargo_home() -> Option<PathBuf> {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    given.or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// The packages of the workspace, as `cargo metadata` has them.
pub fn packages() -> Result<Vec<Value>> {
    let text = Run::new(cargo())
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .within(root())
        .text()?;
    let mut metadata: Value = serde_json::from_str(&text).context("`cargo metadata` did not answer with JSON")?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("`cargo metadata` named no packages"),
    }
}

/// Names of the packages under `plugins/`, `examples/` and `tests/contract/` that are policies: those that build a `cdylib`, which is what
/// a Wasm module is to cargo. The SDK is a plain library, so it is not one.
pub fn policy_packages() -> Result<Vec<String>> {
    let folders = ["plugins", "examples", "tests/contract"].map(|folder| root().join(folder));
    let mut names = Vec::new();
    for package in packages()? {
        let path = package["manifest_path"].as_str().map(Path::new);
        let below = path.is_some_and(|path| folders.iter().any(|folder| path.starts_with(folder)));
        let targets = package["targets"].as_array().into_iter().flatten();
        let mut kinds = targets.flat_map(|target| target["crate_types"].as_array().into_iter().flatten());
        if below && kinds.any(|kind| kind == "cdylib") {
            names.extend(package["name"].as_str().map(str::to_owned));
        }
    }
    if names.is_empty() {
        bail!("no package under plugins/, examples/ or tests/contract/ builds a `cdylib`: there is no policy to build");
    }
    names.sort();
    Ok(names)
}
