//! `cargo xtask languages`: the example policy in each language, from its README's commands to a live rule in a network
//! namespace, and the same for a policy that `ruleward policy new` makes. What the example's commands have built is left in
//! target/examples for the tests that compare the languages' answers and put them in force.
//!
//! A language whose tools are not on the machine is named, with what is missing; it is an error where it was asked for by
//! name. One whose files and program for authors are those that it passed with is not gone through
//! again, unless it is asked for by name.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::readme::{self, Done};
use crate::{policies, workspace};

/// The languages, in the order in which they are built.
const ALL: [&str; 5] = ["rust", "c", "go", "javascript", "python"];
/// The oldest versions that the examples are written for.
const GO: (u32, u32) = (1, 26);
const NODE: (u32, u32) = (18, 0);
const EXAMPLE: &str = "host-firewall-example";
/// The policy that is made with `ruleward policy new`, and what the names of its chains begin with.
const NEW: &str = "my-policy";
/// What builds leave in an example's folder.
const MADE: [&str; 7] = [".state", ".venv", "__pycache__", "bindings", "build", "node_modules", "target"];

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
    let mut table = String::new();
    for name in wanted {
        let (placed, passed) = (folder.join(format!("{name}.wasm")), folder.join(format!("{name}.passed")));
        match tools(name) {
            Ok(()) => {
                let inputs = inputs(name)?;
                if names.is_empty() && placed.exists() && fs::read_to_string(&passed).is_ok_and(|old| old == inputs) {
                    eprintln!("==> {name}: nothing of it is another since its commands led to a live rule");
                    continue;
                }
                let _ = fs::remove_file(&passed);
                step(&format!("{name}: the commands of its README, and a new policy"), || {
                    language(name, &placed, &mut table)
                })?;
                fs::write(&passed, inputs).with_context(|| format!("cannot write {}", passed.display()))?;
            }
            Err(reason) if names.is_empty() => {
                let _ = fs::remove_file(&placed); // an old one must not be compared
                eprintln!("!!! the example in {name} is NOT built or tested: {reason:#}");
            }
            Err(reason) => return Err(reason.context(format!("the example in {name} can't be built"))),
        }
    }
    eprint!("{table}");
    Ok(())
}

fn example() -> PathBuf {
    workspace::root().join("examples").join(EXAMPLE)
}

/// Goes both ways from an empty folder to a live rule.
fn language(name: &str, placed: &Path, table: &mut String) -> Result<()> {
    let (example, scratch) = (example().join(name), Scratch::new(name)?);
    let folder = scratch.0.join(EXAMPLE);
    // `ruleward policy new` names chains after the policy, with at most 12 bytes of it.
    let prefix = if name == "rust" { "host-firewal" } else { "hfe" };
    let component = if name == "rust" {
        // Here it is a crate of this repository, built by the profile of the policies that ship. Its commands begin in an empty folder.
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        workspace::policies_dir().join(format!("{EXAMPLE}.wasm"))
    } else {
        copy(&example, &folder)?;
        folder.join(format!("{EXAMPLE}.wasm"))
    };
    let done = to_live_rule(&example.join("README.md"), &folder, prefix, &scratch.0)?;
    note(table, name, "README", &done);

    Run::new(workspace::program()).args(["policy", "new", "--lang", name, NEW]).within(&scratch.0).show()?;
    let new = scratch.0.join(NEW);
    let done = to_live_rule(&new.join("README.md"), &new, NEW, &scratch.0)?;
    note(table, name, "policy new", &done);
    if name == "python" {
        every_type(&folder, &scratch.0.join("every-type"))?;
    }
    fs::copy(&component, placed).with_context(|| format!("{} was not built", component.display()))?;
    Ok(())
}

/// Builds the policy whose answer holds every type of the contract, with the compiler that the README's commands have
/// installed.
fn every_type(installed: &Path, folder: &Path) -> Result<()> {
    copy(&answers(), folder)?;
    let made = workspace::target_dir().join("python");
    fs::create_dir_all(&made).with_context(|| format!("cannot create {}", made.display()))?;
    let path = std::env::join_paths(
        [installed.join(".venv/bin")]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    Run::new(workspace::program()).args(["policy", "build"]).within(folder).env("PATH", path).show()?;
    let component = "every-type.wasm";
    fs::copy(folder.join(component), made.join(component)).with_context(|| format!("{component} was not built"))?;
    Ok(())
}

/// Where that policy is.
fn answers() -> PathBuf {
    workspace::root().join("tests/python")
}

/// Follows a README. Its last command prints what `iptables-save` says, and there is the policy's jump and a rule with its set.
fn to_live_rule(page: &Path, folder: &Path, prefix: &str, scratch: &Path) -> Result<Vec<Done>> {
    let (done, saved) = readme::follow(page, folder, scratch)?;
    for rule in [
        format!("-A INPUT -m comment --comment \"{prefix}:input\" -j {prefix}-input\n"),
        format!("-A {prefix}-input -p tcp -m tcp --dport 22 -m set --match-set {prefix}-admitted4 src -j ACCEPT\n"),
    ] {
        ensure!(saved.contains(&rule), "{} does not end with the live rule\n{rule}but with\n{saved}", page.display());
    }
    Ok(done)
}

fn note(table: &mut String, language: &str, from: &str, done: &[Done]) {
    for Done { command, seconds } in done {
        let first = command.lines().next().unwrap_or_default().split(" #").next().unwrap_or_default().trim();
        *table += &format!("    {language:<10}  {from:<10}  {seconds:>6.1} s  {first}\n");
    }
    let all: f64 = done.iter().map(|done| done.seconds).sum();
    *table += &format!("    {language:<10}  {from:<10}  {all:>6.1} s  in all\n");
}

/// A folder outside the repository, which goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let made = Run::new("mktemp").args(["--directory", "--tmpdir", &format!("ruleward-{name}.XXXXXX")]).text()?;
        Ok(Self(PathBuf::from(made.trim())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files of a folder with their paths in it, links followed, without what builds leave.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut names = vec![PathBuf::new()];
    while let Some(name) = names.pop() {
        let path = folder.join(&name);
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let all = entries.flatten().map(|entry| entry.file_name());
            names.extend(all.filter(|own| !MADE.iter().any(|made| own == made)).map(|own| name.join(own)));
        } else {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for name in files(from)? {
        let target = to.join(&name);
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(from.join(&name), &target).with_context(|| format!("cannot copy {}", from.join(&name).display()))?;
    }
    Ok(())
}

/// Names all that decides how it goes: the example's files, and the programs, one of them with the
/// templates in it.
fn inputs(language: &str) -> Result<String> {
    let folder = example().join(language);
    let mut digest = Sha256::new();
    let mut paths = vec![workspace::program(), workspace::authors_program()];
    for folder in [folder, answers()] {
        paths.extend(files(&folder)?.iter().map(|name| folder.join(name)));
    }
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        digest.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
        digest.update(Sha256::digest(&bytes));
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the machine has what the README begins with.
fn tools(name: &str) -> Result<()> {
    match name {
        "c" | "python" => found("python3"),
        "go" => at_least("go", "version", GO),
        "javascript" => found("npm").and_then(|()| at_least("node", "--version", NODE)),
        _ => Ok(()),
    }
}

fn found(program: &str) -> Result<()> {
    ensure!(find(program).is_some(), "there is no `{program}` in PATH");
    Ok(())
}

/// A program of this version or a later one.
fn at_least(program: &str, question: &str, needed: (u32, u32)) -> Result<()> {
    found(program)?;
    let answer = Run::new(program).args([question]).text()?;
    ensure!(
        version(&answer).is_some_and(|version| version >= needed),
        "{program} {}.{} or later is needed, and `{program} {question}` says {}",
        needed.0,
        needed.1,
        answer.trim()
    );
    Ok(())
}

/// The first version in a text such as `go version go1.26.8 linux/amd64` or `v20.20.2`.
fn version(text: &str) -> Option<(u32, u32)> {
    let numbers = |word: &str| {
        let mut parts = word.trim_start_matches(char::is_alphabetic).split('.').map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    text.split_whitespace().find_map(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(version("command not found"), None);
    }

    #[test]
    fn a_fresh_copy_has_the_cases_and_nothing_that_was_built() {
        let scratch = Scratch::new("test").unwrap();
        let (from, to) = (example().join("c"), scratch.0.join("copy"));
        copy(&from, &to).unwrap();
        assert!(to.join("tests/two-ports/expected.rules").is_file() && to.join("ruleward.toml").is_file());
        assert!(!to.join("ruleward.toml").is_symlink() && !to.join("bindings").exists());
    }
}
