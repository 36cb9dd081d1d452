//! `cargo xtask languages`: the example policy in each language, built, tested on the same cases, and left in
//! target/examples for the test that compares their answers.
//!
//! Compilers that come from package registries are fetched in the versions and with the digests that the examples' lock
//! files name, once for each content of these files. A language whose tools are not on the machine is named, with what is
//! missing; it is an error where it was asked for by name.

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::{policies, workspace};

/// The languages, in the order in which they are built.
const ALL: [&str; 5] = ["rust", "c", "go", "javascript", "python"];
/// The oldest versions that the examples are written for.
const GO: (u32, u32) = (1, 26);
const NODE: (u32, u32) = (18, 0);
const EXAMPLE: &str = "host-firewall-example";

/// Builds and tests the example in the named languages; without names, in all for which the machine has the tools.
pub fn run(names: &[&str]) -> Result<()> {
    policies::build_all()?;
    build(names)?;
    step("the same inputs give the same answers in every language", || {
        Run::new(workspace::cargo())
            .args(["test", "--workspace", "--test", "languages"])
            .within(workspace::root())
            .show()
    })
}

/// The same, after the program and the policies were built, and without the comparison.
pub fn build(names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(ALL.contains(name), "there is no example in `{name}`; there are {}", ALL.join(", "));
    }
    let folder = workspace::target_dir().join("examples");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let wanted: Vec<&str> = if names.is_empty() { ALL.to_vec() } else { names.to_vec() };
    for name in wanted {
        let placed = folder.join(format!("{name}.wasm"));
        match tools(name) {
            Ok(path) => {
                step(&format!("example in {name}"), || {
                    let component = if name == "rust" { rust() } else { other(name, &path) }?;
                    fs::copy(&component, &placed).with_context(|| format!("{} was not built", component.display()))?;
                    Ok(())
                })?;
            }
            Err(reason) if names.is_empty() => {
                let _ = fs::remove_file(&placed); // an old one must not be compared
                eprintln!("!!! the example in {name} is NOT built or tested: {reason:#}");
            }
            Err(reason) => return Err(reason.context(format!("the example in {name} can't be built"))),
        }
    }
    Ok(())
}

fn example() -> PathBuf {
    workspace::root().join("examples").join(EXAMPLE)
}

/// Built with the policies.
fn rust() -> Result<PathBuf> {
    let component = workspace::policies_dir().join(format!("{EXAMPLE}.wasm"));
    test(&[component.as_os_str().to_owned()], None)?;
    Ok(component)
}

fn other(name: &str, path: &Path) -> Result<PathBuf> {
    let folder = example().join(name);
    test(&[folder.as_os_str().to_owned()], Some(path))?;
    Ok(folder.join(format!("{EXAMPLE}.wasm")))
}

/// `ruleward policy test`, which builds a folder first, on the cases that all languages share.
fn test(arguments: &[OsString], path: Option<&Path>) -> Result<()> {
    let mut test = Run::new(workspace::program()).args(["policy", "test", "--cases"]).args([example().join("cases")]);
    test = test.args(arguments);
    if let Some(first) = path {
        let mut paths = vec![first.to_owned()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        test = test.env("PATH", std::env::join_paths(paths)?);
    }
    test.show()
}

/// A folder of programs to put before PATH.
fn tools(name: &str) -> Result<PathBuf> {
    match name {
        "c" | "python" => python(&example().join(name).join("requirements.txt")),
        "go" => at_least("go", "version", GO),
        "javascript" => javascript(&example().join(name)),
        _ => Ok(PathBuf::from("/")),
    }
}

fn found(program: &str) -> Result<PathBuf> {
    let Some(path) = find(program) else { bail!("there is no `{program}` in PATH") };
    Ok(path.parent().unwrap_or(&path).to_owned())
}

/// A program of this version or a later one.
fn at_least(program: &str, question: &str, needed: (u32, u32)) -> Result<PathBuf> {
    let folder = found(program)?;
    let answer = Run::new(program).args([question]).text()?;
    ensure!(
        version(&answer).is_some_and(|version| version >= needed),
        "{program} {}.{} or later is needed, and `{program} {question}` says {}",
        needed.0,
        needed.1,
        answer.trim()
    );
    Ok(folder)
}

/// The first version in a text such as `go version go1.26.8 linux/amd64` or `v20.20.2`.
fn version(text: &str) -> Option<(u32, u32)> {
    let numbers = |word: &str| {
        let mut parts = word.trim_start_matches(char::is_alphabetic).split('.').map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    text.split_whitespace().find_map(numbers)
}

/// A virtual environment with exactly what a requirements file names, digests included.
fn python(requirements: &Path) -> Result<PathBuf> {
    let folder = fetched(requirements, "python", |folder| {
        found("python3")?;
        Run::new("python3").args(["-m", "venv", "--clear"]).args([folder]).show()?;
        Run::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"])
            .args([OsString::from("-r"), requirements.as_os_str().to_owned()])
            .show()
    })?;
    Ok(folder.join("bin"))
}

/// The packages that package-lock.json names, digests included, and the types of the example checked with them.
fn javascript(folder: &Path) -> Result<PathBuf> {
    at_least("node", "--version", NODE)?;
    let lock = folder.join("package-lock.json");
    let packages = fetched(&lock, "javascript", |packages| {
        found("npm")?;
        fs::create_dir_all(packages).with_context(|| format!("cannot create {}", packages.display()))?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(name), packages.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
        let quiet = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
        Run::new("npm").args(quiet).within(packages).show()
    })?;
    let programs = packages.join("node_modules/.bin");
    Run::new(workspace::program())
        .args(["policy", "bindings", "--lang", "javascript"])
        .args([folder.join("bindings")])
        .show()?;
    Run::new(programs.join("tsc")).within(folder).show()?;
    Ok(programs)
}

/// The folder of a compiler that `make` fetches as `lock` says, once for each content of that file.
fn fetched(lock: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let text = fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let digest: String = Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = workspace::target_dir().join("toolchains").join(format!("{name}-{digest}"));
    let complete = folder.join("complete");
    if !complete.exists() {
        step(&format!("fetching what {} names", lock.display()), || {
            make(&folder)?;
            fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))
        })?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(version("command not found"), None);
    }
}
