//! Where the built program and the built policies are.

use std::path::{Path, PathBuf};

/// The `ruleward` under test: `RULEWARD_BIN`, or the one that cargo built beside this program.
pub fn binary() -> PathBuf {
    from_environment("RULEWARD_BIN").unwrap_or_else(|| existing(target_directory().join("debug/ruleward")))
}

/// One of this crate's own programs, which cargo builds into the folder above the one of this program.
pub(crate) fn own(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let folder = program.ancestors().nth(2).expect("TARGET/PROFILE/deps/PROGRAM");
    existing(folder.join(name))
}

/// A built policy by its file's name, from `RULEWARD_POLICIES` or `target/policies`.
pub fn policy_file(name: &str) -> PathBuf {
    existing(policy_directory().join(name))
}

/// The folder with the built policies, whether or not it exists.
pub(crate) fn policy_directory() -> PathBuf {
    from_environment("RULEWARD_POLICIES").unwrap_or_else(|| target_directory().join("policies"))
}

fn from_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(|path| existing(PathBuf::from(path)))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not there; run `cargo xtask build` first", path.display());
    path
}

/// This program is `TARGET/PROFILE/deps/kernel-HASH`.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}
