//! `cargo xtask bench`: builds what is measured, and starts `ruleward-benches`, which measures.
//!
//! What is measured is the build that the tests use, which every checkout has, or the one that users run. A release is
//! built for a quarter of an hour and more, and reads policies' answers in four fifths of the time.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

use crate::command::Run;
use crate::progress::step;
use crate::{languages, policies, setup, workspace};

/// The program that measures, and those that it measures, which it finds beside itself.
const PROGRAMS: [&str; 3] = ["ruleward-benches", "ruleward", "ruleward-policy"];
/// Options whose value is the next word.
const WITH_VALUE: [&str; 3] = ["--json", "--rules", "--only"];

/// Builds and measures: `[PART ...] [--build dev|release]` and the options of `ruleward-benches`.
pub fn run(arguments: &[&str]) -> Result<()> {
    let (release, arguments) = split(arguments)?;
    setup::run()?;
    policies::build_all()?;
    // A smoke takes the components that are there already.
    if !arguments.contains(&"--smoke") && asks_for(&arguments, "languages") {
        languages::build(&[])?;
    }
    let programs = if release { build_release()? } else { workspace::target_dir().join("debug") };
    let measured = Run::new(programs.join(PROGRAMS[0])).args(&arguments);
    let measured =
        measured.env("RULEWARD_BIN", programs.join(PROGRAMS[1])).env("RULEWARD_POLICIES", workspace::policies_dir());
    measured.show().context("not all was measured")
}

/// With the features that the packages have.
fn build_release() -> Result<PathBuf> {
    step("programs: target/release (compiles wasmtime: many minutes)", || {
        let packages = PROGRAMS.iter().flat_map(|name| ["--package", *name]);
        Run::new(workspace::cargo())
            .args(["build", "--locked", "--release", "--bins", "--features", "ruleward/otlp"])
            .args(packages)
            .within(workspace::root())
            .show()
    })?;
    Ok(workspace::target_dir().join("release"))
}

/// Whether the release is measured, and the other words.
fn split<'a>(arguments: &[&'a str]) -> Result<(bool, Vec<&'a str>)> {
    let (mut release, mut others, mut words) = (false, Vec::new(), arguments.iter());
    while let Some(word) = words.next() {
        match (*word, words.clone().next()) {
            ("--build", Some(&"dev")) => release = false,
            ("--build", Some(&"release")) => release = true,
            ("--build", _) => bail!("--build: there are dev and release"),
            _ => {
                others.push(*word);
                continue;
            }
        }
        words.next();
    }
    Ok((release, others))
}

/// Whether this part is named, or none, which are all.
fn asks_for(arguments: &[&str], part: &str) -> bool {
    let (mut named, mut words) = (Vec::new(), arguments.iter());
    while let Some(word) = words.next() {
        match *word {
            "--only" => named.extend(words.next().into_iter().flat_map(|parts| parts.split(','))),
            option if WITH_VALUE.contains(&option) => _ = words.next(),
            option if option.starts_with('-') => {}
            name => named.push(name),
        }
    }
    named.is_empty() || named.contains(&part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_for_us_and_the_rest_is_not() {
        let words = ["events", "--build", "release", "--rules", "100"];
        assert_eq!(split(&words).unwrap(), (true, vec!["events", "--rules", "100"]));
        assert_eq!(split(&["--smoke"]).unwrap(), (false, vec!["--smoke"]));
        assert!(split(&["--build"]).is_err() && split(&["--build", "x"]).is_err());
    }

    #[test]
    fn parts_are_found_among_options() {
        assert!(asks_for(&["--rules", "100"], "languages") && asks_for(&["--only", "dev,languages"], "languages"));
        assert!(!asks_for(&["dev", "--json", "languages"], "languages"));
    }
}
