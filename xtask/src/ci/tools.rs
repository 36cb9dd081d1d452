//! Tools from crates.io in pinned versions. They are compiled without optimisation: they run for seconds, and compiling
//! them well takes many minutes on two cores.

use anyhow::{Context, Result};
use std::fs;
use std::time::Instant;

use super::{Ci, cargo};
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

impl Tool {
    /// Installs it unless this version is there.
    pub fn install(&self, ci: &mut Ci) -> Result<()> {
        let Self { name, version, options } = self;
        if self.is_there() {
            println!("{name} {version} is there");
            return Ok(());
        }
        let start = Instant::now();
        let folder = workspace::target_dir().join(name);
        cargo(&["install", "--locked", "--quiet", "--version", version])
            .args(*options)
            .args([name])
            .env("CARGO_TARGET_DIR", &folder)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .show()?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        ci.installed.push((format!("{name} {version}"), start.elapsed().as_secs_f64()));
        Ok(())
    }

    fn is_there(&self) -> bool {
        let said = find(self.name).and_then(|program| Run::new(program).args(["--version"]).text().ok());
        said.is_some_and(|said| is_version(self.name, self.version, &said))
    }
}

/// Whether `--version` names this one.
fn is_version(name: &str, version: &str, said: &str) -> bool {
    let said = said.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    said.is_some_and(|said| said.strip_prefix('v').unwrap_or(said) == version)
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
}
