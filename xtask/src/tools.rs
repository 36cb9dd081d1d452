//! Tools from crates.io in pinned versions. They are compiled without optimisation: they run for
//! seconds, and compiling them well takes many minutes on two cores.

use anyhow::{Context, Result};
use std::fs;
use std::time::Instant;

use crate::command::{Run, find};
use crate::workspace;

/// A program from crates.io whose crate has the same name.
pub struct Tool {
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

pub const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.2", options: &["--no-default-features"] };
pub const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", options: &[] };
/// Without liblzma's sources: `xz` is part of every Debian.
pub const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", options: &["--no-default-features"] };
pub const CARGO_AUDITABLE: Tool = Tool { name: "cargo-auditable", version: "0.7.7", options: &[] };
pub const CARGO_GENERATE_RPM: Tool = Tool { name: "cargo-generate-rpm", version: "0.21.1", options: &[] };
pub const AUDITABLE2CDX: Tool = Tool { name: "auditable2cdx", version: "0.1.0", options: &[] };

impl Tool {
    /// Installs it unless this version is there; then gives what was installed, and the seconds
    /// that it took.
    pub fn install(&self) -> Result<Option<(String, f64)>> {
        let Self { name, version, options } = self;
        if self.is_there()? {
            println!("{name} {version} is there");
            return Ok(None);
        }
        let start = Instant::now();
        let folder = workspace::target_dir().join(name);
        Run::new(workspace::cargo())
            .args(["install", "--locked", "--quiet", "--version", version])
            .args(*options)
            .args([name])
            .env("CARGO_TARGET_DIR", &folder)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .within(workspace::root())
            .show()?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(Some((format!("{name} {version}"), start.elapsed().as_secs_f64())))
    }

    /// Not every tool tells its version, but cargo knows what it has installed.
    fn is_there(&self) -> Result<bool> {
        let Some(program) = find(self.name) else { return Ok(false) };
        if Run::new(program).args(["--version"]).text().is_ok_and(|said| is_version(self.name, self.version, &said)) {
            return Ok(true);
        }
        let list = Run::new(workspace::cargo()).args(["install", "--list"]).within(workspace::root()).text()?;
        Ok(is_listed(self.name, self.version, &list))
    }
}

/// Whether `--version` names this one.
fn is_version(name: &str, version: &str, said: &str) -> bool {
    let said = said.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    said.is_some_and(|said| said.strip_prefix('v').unwrap_or(said) == version)
}

/// Whether `cargo install --list` has this one: `NAME vVERSION:`, and its programs below.
fn is_listed(name: &str, version: &str, list: &str) -> bool {
    list.lines().any(|line| line.strip_suffix(':') == Some(&format!("{name} v{version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_as_the_tools_write_them() {
        assert!(is_version("mdbook", "0.5.2", "mdbook v0.5.2\n"));
        assert!(is_version("cargo-deny", "0.20.2", "cargo-deny 0.20.2\n"));
        assert!(!is_version("mdbook", "0.5.2", "mdbook v0.5.21\n"));
        assert!(!is_version("mdbook", "0.5.2", ""));
    }

    #[test]
    fn a_version_is_known_from_the_list() {
        let list = "cargo-deb v3.8.0:\n    cargo-deb\nmdbook v0.5.21:\n    mdbook\n";
        assert!(is_listed("cargo-deb", "3.8.0", list));
        assert!(!is_listed("mdbook", "0.5.2", list));
        assert!(!is_listed("deb", "3.8.0", list));
    }
}
