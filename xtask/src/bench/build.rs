//! Which build is measured: the one that the tests use, which every checkout has, or the one that users run. A release is
//! built for a quarter of an hour and more, and reads policies' answers in four fifths of the time.

use anyhow::{Result, bail, ensure};
use std::path::PathBuf;

use crate::command::Run;
use crate::progress::step;
use crate::workspace;

/// A build.
#[derive(Debug, Clone, Copy)]
pub enum Build {
    /// That of the tests.
    Dev,
    /// That of the package.
    Release,
}

impl Build {
    /// The build of that name.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "dev" => Self::Dev,
            "release" => Self::Release,
            _ => bail!("--build {name}: there are dev and release"),
        })
    }

    /// Makes these examples, which measure inside the process, and gives the program, which there is already of the
    /// tests' build. `for_authors`: with the program for authors beside it.
    pub fn make(self, examples: &[&str], for_authors: bool) -> Result<PathBuf> {
        let selection = examples.iter().flat_map(|name| ["--example", *name]);
        let cargo = Run::new(workspace::cargo()).args(["build", "--locked"]).args(selection).within(workspace::root());
        let program = match self {
            Self::Dev => {
                // With the whole workspace: the same features as for the tests, so that wasmtime is not compiled once more.
                if !examples.is_empty() {
                    cargo.args(["--workspace"]).show()?;
                }
                workspace::program()
            }
            Self::Release => {
                step("program: target/release/ruleward (compiles wasmtime: many minutes)", || {
                    let more = if for_authors {
                        &["--package", "ruleward-policy", "--bin", "ruleward-policy"][..]
                    } else {
                        &[]
                    };
                    let packaged =
                        ["--release", "--package", "ruleward", "--bin", "ruleward", "--features", "ruleward/otlp"];
                    cargo.args(packaged).args(more).show()
                })?;
                workspace::target_dir().join("release/ruleward")
            }
        };
        ensure!(program.is_file(), "{} is not there", program.display());
        Ok(program)
    }

    /// Where such an example is.
    pub fn example(self, name: &str) -> PathBuf {
        let profile = match self {
            Self::Dev => "debug",
            Self::Release => "release",
        };
        workspace::target_dir().join(profile).join("examples").join(name)
    }
}
