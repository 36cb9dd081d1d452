//! `cargo xtask package`: the packages, from what this checkout builds and nothing else: `ruleward`
//! for nodes and `ruleward-dev` for authors of policies. What is in them is said in the
//! `Cargo.toml` of each program; here is made what is no file of the repository: programs,
//! policies, manual pages and completions.
//!
//! The release build is for nodes: each program tells which crates it was built from
//! (cargo-auditable), and each has an RPM and a bill of materials beside the Debian package.
//! `--dev` packages the programs that the tests use: it takes no further build, and is what
//! continuous integration installs, upgrades and removes.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::tools::{AUDITABLE2CDX, CARGO_AUDITABLE, CARGO_DEB, CARGO_GENERATE_RPM};
use crate::{policies, setup, workspace};

/// The crate of a program, whose `Cargo.toml` describes the package.
struct Package {
    name: &'static str,
    folder: &'static str,
    /// Also the name of the crate.
    program: &'static str,
}

const PACKAGES: [Package; 2] = [
    Package { name: "ruleward", folder: "host/daemon", program: "ruleward" },
    Package { name: "ruleward-dev", folder: "host/devtools", program: "ruleward-policy" },
];

/// Programs that must be there, and the Debian package of each.
const TOOLS: [(&str, &str); 3] = [("strip", "binutils"), ("dpkg-shlibdeps", "dpkg-dev"), ("xz", "xz-utils")];
/// The folder below target/ with what is no file of the repository. The tools that pack take it for
/// that of a profile, and so read `target/release` in a `Cargo.toml` as it.
const STAGE: &str = "packaging";

/// Which build is packaged, how, and under what version.
struct Wanted {
    dev: bool,
    rpm: bool,
    version: String,
}

impl Wanted {
    /// The program as cargo has built it.
    fn program(&self, package: &Package) -> PathBuf {
        workspace::target_dir().join(if self.dev { "debug" } else { "release" }).join(package.program)
    }
}

/// Makes `target/package/NAME_VERSION_ARCHITECTURE.deb` of each package, and what else is asked
/// for.
pub fn run(rest: &[&str]) -> Result<()> {
    let mut wanted = Wanted { dev: false, rpm: false, version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match (*word, words.as_slice()) {
            ("--dev", _) => wanted.dev = true,
            ("--rpm", _) => wanted.rpm = true,
            ("--version", [version, ..]) => {
                wanted.version = (*version).to_owned();
                words.next();
            }
            _ => bail!("usage: cargo xtask package [--dev] [--rpm] [--version VERSION]"),
        }
    }
    wanted.rpm |= !wanted.dev;
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        setup::install(&missing)?;
    }
    CARGO_DEB.install()?;
    build(wanted.dev)?;
    let folder = workspace::target_dir().join("package");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stage = workspace::target_dir().join(STAGE);
    fresh(&stage)?;
    stage_policies(&stage.join("policies"))?;
    for package in &PACKAGES {
        step(&format!("{}: program, manual pages, completions", package.name), || {
            stage_program(package, &wanted.program(package), &stage)
        })?;
        step(&format!("{}: Debian package", package.name), || deb(package, &wanted, &folder))?;
        if wanted.rpm {
            CARGO_GENERATE_RPM.install()?;
            step(&format!("{}: RPM", package.name), || rpm(package, &wanted, &folder))?;
        }
        if !wanted.dev {
            AUDITABLE2CDX.install()?;
            step(&format!("{}: bill of materials", package.name), || materials(package, &wanted, &folder))?;
        }
    }
    Ok(())
}

/// Builds the programs and the policies.
fn build(dev: bool) -> Result<()> {
    if dev {
        return policies::build_all();
    }
    policies::run()?;
    CARGO_AUDITABLE.install()?;
    let names = PACKAGES.map(|package| package.program);
    step(&format!("programs: target/release/{{{}}} (compiles wasmtime: many minutes)", names.join(",")), || {
        let selection = names.iter().flat_map(|name| ["--package", name, "--bin", name]);
        let build = Run::new(workspace::cargo()).args([
            "auditable",
            "build",
            "--release",
            "--locked",
            "--features",
            "ruleward/otlp",
        ]);
        build.args(selection).within(workspace::root()).show()
    })
}

fn stage_policies(folder: &Path) -> Result<()> {
    fresh(folder)?;
    for entry in fs::read_dir(workspace::policies_dir()).context("there are no policies")? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.extension().is_some_and(|end| end == "wasm")) {
            fs::copy(&file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
    }
    Ok(())
}

fn stage_program(package: &Package, built: &Path, stage: &Path) -> Result<()> {
    let Package { name, program, .. } = package;
    let bin = stage.join(program);
    Run::new("strip").args(["-o"]).args([&bin, built]).show().context("binutils' strip makes the program small")?;
    let man = stage.join("man").join(name);
    fresh(&man)?;
    Run::new(&bin).args(["man"]).args([&man]).show()?;
    for page in fs::read_dir(&man)? {
        Run::new("gzip").args(["-9", "-n"]).args([page?.path()]).show()?;
    }
    let completions = stage.join("completions");
    fs::create_dir_all(&completions)?;
    let files = [("bash", (*program).to_owned()), ("zsh", format!("_{program}")), ("fish", format!("{program}.fish"))];
    for (shell, file) in files {
        let file = completions.join(file);
        let text = Run::new(&bin).args(["completions", shell]).text()?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn deb(package: &Package, wanted: &Wanted, folder: &Path) -> Result<()> {
    Run::new(workspace::cargo())
        .args(["deb", "--no-build", "--no-strip", "--fast", "--locked", "--profile", STAGE])
        .args(["--package", package.program, "--deb-version", &wanted.version, "--output"])
        .args([folder])
        .within(workspace::root())
        .show()
}

fn rpm(package: &Package, wanted: &Wanted, folder: &Path) -> Result<()> {
    Run::new(workspace::cargo())
        .args(["generate-rpm", "--profile", STAGE, "--package", package.folder, "--target-dir"])
        .args([workspace::target_dir()])
        .args(["--set-metadata", &format!("version = \"{}\"", wanted.version), "--output"])
        .args([folder])
        .within(workspace::root())
        .show()
}

/// Every crate in the program, in CycloneDX, from what cargo-auditable wrote into it.
fn materials(package: &Package, wanted: &Wanted, folder: &Path) -> Result<()> {
    let text = Run::new("auditable2cdx").args([wanted.program(package)]).text()?;
    let file = folder.join(format!("{}_{}.cdx.json", package.name, wanted.version));
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The folder, with nothing in it.
fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_for_authors_want_the_daemon_of_their_version() {
        let manifest = fs::read_to_string(workspace::root().join("host/devtools/Cargo.toml")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(manifest.contains(&format!("recommends = \"ruleward (= {version})")), "the Debian package");
        assert!(manifest.contains(&format!("\nruleward = \"= {version}\"\n")), "the RPM");
    }
}
