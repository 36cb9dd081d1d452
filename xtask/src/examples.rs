//! Proves that every configuration in examples/configs is one that `ruleward check` accepts, with its own resources.
//!
//! Each is copied, so that the policies built here and a scratch state directory can be set beside it in `conf.d`, as an
//! operator would do it; the example itself stays as it would be installed.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command::Run;
use crate::workspace;

/// The refusals, as lines for the person; empty when all are accepted.
pub fn check_all() -> Result<Vec<String>> {
    let program = workspace::program();
    if !program.is_file() {
        bail!(
            "{} is not there, and the example configurations are checked with it: cargo xtask build",
            program.display()
        );
    }
    let source = workspace::root().join("examples/configs");
    let scratch = workspace::target_dir().join("examples-checked");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
    }
    let mut refusals = Vec::new();
    let mut count = 0;
    for name in names(&source)? {
        let copy = scratch.join(&name);
        copy_folder(&source.join(&name), &copy)?;
        overlay(&copy)?;
        count += 1;
        let mut check =
            Run::new(&program).args(["--config"]).args([copy.join("ruleward.toml")]).args(["check"]).into_command();
        let output =
            check.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            refusals.push(format!(
                "examples/configs/{name}: `ruleward check` ended with {}: {}",
                output.status,
                said.trim()
            ));
        }
    }
    if count == 0 {
        bail!("{} holds no example", source.display());
    }
    Ok(refusals)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn overlay(folder: &Path) -> Result<()> {
    let directories = [
        ("policy-directory", workspace::policies_dir()),
        ("state-directory", folder.join("state")),
        ("runtime-directory", folder.join("run")),
    ];
    let lines: String =
        directories.iter().map(|(key, path): &(&str, PathBuf)| format!("{key} = '{}'\n", path.display())).collect();
    let file = folder.join("conf.d/zz-checked.toml");
    fs::create_dir_all(folder.join("conf.d"))?;
    fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
