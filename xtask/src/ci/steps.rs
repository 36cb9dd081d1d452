//! The steps, in their order. What others need, like the program or the packages, a step makes
//! itself when it runs alone.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Ci, cargo, is_root, need, nobody, program};
use crate::command::{Run, find};
use crate::tools::{CARGO_DEB, CARGO_DENY, MDBOOK};
use crate::workspace;

/// One thing that must hold.
pub struct Step {
    /// What `cargo xtask ci NAME` runs.
    pub name: &'static str,
    /// What the summary calls it.
    pub title: &'static str,
    pub(super) run: fn(&mut Ci) -> Result<()>,
}

pub const STEPS: [Step; 16] = [
    Step { name: "test", title: "cargo xtask test", run: |_| cargo(&["xtask", "test"]).show() },
    Step { name: "demo", title: "cargo xtask demo", run: |_| cargo(&["xtask", "demo"]).show() },
    Step { name: "bench", title: "cargo xtask bench --smoke", run: |_| cargo(&["xtask", "bench", "--smoke"]).show() },
    Step { name: "ordinary-user", title: "real-kernel suites as an ordinary user", run: ordinary_user },
    Step { name: "fuzz", title: "cargo xtask fuzz", run: |_| cargo(&["xtask", "fuzz"]).show() },
    Step { name: "alerts", title: "metrics and alert rules", run: alerts },
    Step { name: "browser", title: "status page in a browser", run: browser },
    Step { name: "neighbours", title: "firewall programs beside Ruleward", run: neighbours },
    Step { name: "package", title: "package", run: package },
    Step { name: "image", title: "container image", run: image },
    Step { name: "fmt", title: "cargo fmt", run: |_| cargo(&["fmt", "--check"]).show() },
    Step { name: "clippy", title: "cargo clippy", run: clippy },
    Step { name: "tidy", title: "cargo xtask tidy", run: tidy },
    Step { name: "doc", title: "cargo doc", run: documentation },
    Step { name: "book", title: "mdbook build", run: book },
    Step { name: "deny", title: "cargo deny check", run: dependencies },
];

/// The suites that unshare, started the way an ordinary user starts them. Root has just run every
/// trial; who runs them matters to what they all stand on, so a third of each suite is run again.
fn ordinary_user(_: &mut Ci) -> Result<()> {
    if !is_root() {
        println!("not root: the suites have just run as an ordinary user");
        return Ok(());
    }
    cargo(&["xtask", "build"]).show()?;
    for suite in suites()? {
        println!("--- as an ordinary user: {}", suite.display());
        nobody::run(&suite)?;
    }
    Ok(())
}

/// The files of all integration tests, built.
fn suites() -> Result<Vec<PathBuf>> {
    let build = cargo(&["test", "--workspace", "--no-run", "--test", "*", "--message-format=json-render-diagnostics"]);
    let output = build.into_command().stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the suites can't be built: {}", output.status);
    let mut suites: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout).lines().filter_map(suite).collect();
    suites.sort();
    ensure!(!suites.is_empty(), "cargo names no suite");
    Ok(suites)
}

/// The test that this message of cargo's names, if any.
fn suite(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"] == true;
    message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
}

/// What Prometheus itself says of the metrics of a running daemon, and of the alerts. Its package
/// is only for this.
fn alerts(ci: &mut Ci) -> Result<()> {
    if find("promtool").is_none() {
        if !is_root() {
            println!("promtool is missing: metrics and alerts are NOT checked; as root: apt-get install prometheus");
            ci.notice("metrics and alerts were NOT checked: promtool is missing");
            return Ok(());
        }
        need(&["promtool"], &["prometheus"])?;
    }
    let promtool = |arguments: &[&str]| program("promtool").args(arguments);
    promtool(&["check", "rules", "packaging/prometheus/ruleward.rules.yml"]).show()?;
    promtool(&["test", "rules", "packaging/prometheus/ruleward.rules.test.yml"]).show()?;
    let metrics = workspace::target_dir().join("metrics.txt");
    cargo(&["xtask", "build"]).show()?;
    let suite = cargo(&["test", "--workspace", "--test", "kernel", "shown::metrics"]);
    suite.env("RULEWARD_METRICS_FILE", &metrics).show()?;
    let metrics = File::open(&metrics).with_context(|| format!("cannot read {}", metrics.display()))?;
    let status =
        promtool(&["check", "metrics"]).into_command().stdin(metrics).status().context("cannot start promtool")?;
    ensure!(status.success(), "`promtool check metrics` ended with {status}");
    Ok(())
}

/// The status page in Chromium, which is only for this; what drives it comes from the npm registry.
fn browser(ci: &mut Ci) -> Result<()> {
    let missing: Vec<&str> = ["chromium", "node", "npm"].into_iter().filter(|tool| find(tool).is_none()).collect();
    if !missing.is_empty() && !is_root() {
        let missing = missing.join(" ");
        println!("missing: {missing}; the status page is NOT checked; as root: apt-get install chromium nodejs npm");
        ci.notice(format!("the status page was NOT checked in a browser: {missing} missing"));
        return Ok(());
    }
    cargo(&["xtask", "browser"]).show()
}

/// Real firewall programs beside Ruleward; as root, for they are installed for it and need all of a
/// machine's rights.
fn neighbours(ci: &mut Ci) -> Result<()> {
    if !is_root() {
        println!("not root: firewalld, ufw, dockerd, shorewall and ferm are NOT run beside Ruleward");
        ci.notice("firewall programs were NOT run beside Ruleward: that takes root");
        return Ok(());
    }
    program("timeout").args(["900"]).args([workspace::cargo()]).args(["xtask", "neighbours"]).show()
}

/// The packages in a clean root file system, and the unit under a real systemd where one can be
/// booted in a container. The program in it is the one that the tests have used: a release build of
/// wasmtime takes longer than everything else here.
fn package(ci: &mut Ci) -> Result<()> {
    if !is_root() {
        println!("not root: the package is NOT tested");
        ci.notice("the package was NOT tested: that takes root");
        return Ok(());
    }
    need(&["mmdebstrap", "systemd-nspawn"], &["mmdebstrap", "systemd-container"])?;
    ci.install(&CARGO_DEB)?;
    for version in ["0.0.1", "0.0.2"] {
        make_package(version)?;
    }
    ci.packaged = true;
    let base = folder().join("base.tar");
    let [old, new, authors] = [("ruleward", "0.0.1"), ("ruleward", "0.0.2"), ("ruleward-dev", "0.0.2")]
        .map(|(name, version)| made(name, version));
    let (old, new, authors) = (old?, new?, authors?);
    script("packaging/test/base").args([&base]).show()?;
    script("packaging/test/install").args([&base, &old, &new, &authors]).show()?;
    if !ended_well("packaging/test/service", &[&base, &new])? {
        ci.notice("the unit was NOT tested: systemd can't be booted here");
    }
    Ok(())
}

/// The same package as an image, built and run by a container engine where one can run here.
fn image(ci: &mut Ci) -> Result<()> {
    if !is_root() {
        println!("not root: the container image is NOT tested");
        ci.notice("the container image was NOT tested: that takes root");
        return Ok(());
    }
    need(&["podman", "runc"], &["podman", "runc"])?;
    if !ci.packaged {
        make_package("0.0.2")?;
    }
    if !ended_well("packaging/test/container", &[&made("ruleward", "0.0.2")?, &workspace::target_dir().join("image")])?
    {
        ci.notice("the container image was NOT tested: no engine can run a container here");
    }
    Ok(())
}

fn make_package(version: &str) -> Result<()> {
    cargo(&["xtask", "package", "--dev", "--version", version]).show()
}

fn folder() -> PathBuf {
    workspace::target_dir().join("package")
}

/// The one package of this name and version.
fn made(name: &str, version: &str) -> Result<PathBuf> {
    let beginning = format!("{name}_{version}_");
    let entries = fs::read_dir(folder()).with_context(|| format!("cannot read {}", folder().display()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&beginning) && name.ends_with(".deb")
    };
    files.find(is_it).with_context(|| format!("no {beginning}*.deb in {}", folder().display()))
}

fn script(path: &str) -> Run {
    program(workspace::root().join(path))
}

/// Runs a test that ends with 75 where the machine does not permit it; gives whether it was run.
fn ended_well(test: &str, arguments: &[&Path]) -> Result<bool> {
    let mut command = script(test).args(arguments).into_command();
    let status = command.status().with_context(|| format!("cannot start {test}"))?;
    ensure!(matches!(status.code(), Some(0 | 75)), "`{test}` ended with {status}");
    Ok(status.success())
}

fn clippy(_: &mut Ci) -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]).show()
}

/// The example configurations are checked with the program.
fn tidy(_: &mut Ci) -> Result<()> {
    if !workspace::program().is_file() {
        cargo(&["xtask", "build"]).show()?;
    }
    cargo(&["xtask", "tidy"]).show()
}

/// For contributors: private items are documented too, so links to them are good.
fn documentation(_: &mut Ci) -> Result<()> {
    cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")
        .show()
}

fn book(ci: &mut Ci) -> Result<()> {
    ci.install(&MDBOOK)?;
    program("mdbook").args(["build", "--dest-dir"]).args([workspace::target_dir().join("book")]).show()
}

fn dependencies(ci: &mut Ci) -> Result<()> {
    ci.install(&CARGO_DENY)?;
    let fetch = program("timeout").args(["120"]).args([workspace::cargo()]).args(["deny", "fetch", "db"]);
    if fetch.show().is_ok() {
        return cargo(&["deny", "--offline", "check"]).show();
    }
    cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]).show()?;
    println!("{}", NO_ADVISORIES.trim());
    ci.notice("advisories were NOT checked: no access to their database");
    Ok(())
}

const NO_ADVISORIES: &str = "
!!!
!!! Known vulnerabilities (RUSTSEC advisories) were NOT checked: the advisory database cannot be fetched from
!!! github.com on this machine. Licences, sources and duplicate versions were. Run `cargo deny check` elsewhere.
!!!
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_the_tests_that_cargo_names() {
        let of = |test: bool| format!(r#"{{"executable":"/t/kernel-1","profile":{{"test":{test}}}}}"#);
        assert_eq!(suite(&of(true)), Some(PathBuf::from("/t/kernel-1")));
        assert_eq!(suite(&of(false)), None);
        assert_eq!(suite(r#"{"executable":null,"profile":{"test":true}}"#), None);
        assert_eq!(suite("test result: ok"), None);
    }
}
