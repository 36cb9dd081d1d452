//! Where the built program and the built policies are.

use std::path::PathBuf;

/// The `ruleward` under test: `RULEWARD_BIN`, or the one that cargo built beside this program.
pub fn binary() -> PathBuf {
    from_environment("RULEWARD_BIN").unwrap_or_else(|| own("ruleward"))
}

/// A program that cargo builds with this one.
pub(crate) fn own(name: &str) -> PathBuf {
    existing(profile_directory().join(name))
}

/// A built policy by its file's name, from `RULEWARD_POLICIES` or `target/policies`.
pub fn policy_file(name: &str) -> PathBuf {
    existing(policy_directory().join(name))
}

/// The folder with the built policies, whether or not it exists.
pub fn policy_directory() -> PathBuf {
    from_environment("RULEWARD_POLICIES").unwrap_or_else(|| target_directory().join("policies"))
}

fn from_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(|path| existing(PathBuf::from(path)))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not there; run `cargo xtask build` first", path.display());
    path
}

/// Cargo's target directory.
pub fn target_directory() -> PathBuf {
    profile_directory().parent().expect("TARGET/PROFILE").to_owned()
}

/// A test is `TARGET/PROFILE/deps/kernel-HASH`, another program `TARGET/PROFILE/PROGRAM`.
fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let folder = program.parent().expect("a file is in a folder");
    let of_tests = folder.file_name().is_some_and(|name| name == "deps");
    if of_tests { folder.parent().expect("TARGET/PROFILE/deps").to_owned() } else { folder.to_owned() }
}
