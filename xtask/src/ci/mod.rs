//! `cargo xtask ci [STEP ...]`: everything that must hold before a change is merged, in the order
//! that finds faults soonest. `.ci/run` starts it on a bare Debian.
//!
//! It stops at the first failure, says how long each step took, and can be run again. As root it
//! installs what is missing and runs the real-kernel suites a second time as an ordinary user; as
//! an ordinary user the first run is that already. What can't be checked on a machine is said in
//! the summary, never left out in silence.

mod nobody;
mod steps;
mod times;

use anyhow::{Context, Result, bail, ensure};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::command::Run;
use crate::tools::Tool;
use crate::workspace;
use steps::{STEPS, Step};
use times::{Entry, Times};

pub use nobody::run_inside as run_as_nobody;

/// What the steps of one run know of each other.
#[derive(Default)]
struct Ci {
    /// What the present step could not check.
    notices: Vec<String>,
    /// The seconds that the present step spent on installing tools, and which.
    installed: Vec<(String, f64)>,
    /// The step `package` has made the packages of this checkout.
    packaged: bool,
}

impl Ci {
    fn install(&mut self, tool: &Tool) -> Result<()> {
        self.installed.extend(tool.install()?);
        Ok(())
    }

    /// For the summary: what could not be checked here.
    fn notice(&mut self, text: impl Into<String>) {
        self.notices.push(text.into());
    }
}

struct Options {
    keep_going: bool,
    /// The seconds that `.ci/run` took before it started this.
    prerequisites: Option<f64>,
    steps: Vec<&'static Step>,
}

/// Runs the steps, all or those that are named: `[--list] [--keep-going] [--since SECONDS] [STEP
/// ...]`.
pub fn run(words: &[&str]) -> Result<()> {
    if words == ["--list"] {
        for step in &STEPS {
            println!("{:<14} {}", step.name, step.title);
        }
        return Ok(());
    }
    let options = parse(words)?;
    let start = Instant::now();
    let mut times = Times::default();
    if let Some(seconds) = options.prerequisites {
        times.add(Entry::passed("prerequisites", "prerequisites", seconds))?;
    }
    let mut failed = Vec::new();
    let mut ci = Ci::default();
    for step in options.steps {
        println!("\n=== {}", step.title);
        let start = Instant::now();
        let result = (step.run)(&mut ci);
        let mut entry = Entry::passed(step.name, step.title, start.elapsed().as_secs_f64());
        entry.notices = std::mem::take(&mut ci.notices);
        entry.installed = std::mem::take(&mut ci.installed);
        entry.passed = result.is_ok();
        times.add(entry)?;
        if let Err(error) = result {
            eprintln!("\n{}: {error:#}", step.title);
            failed.push(step.title);
            if !options.keep_going {
                break;
            }
        }
    }
    println!("\n{times}");
    if !failed.is_empty() {
        println!("FAILED at: {}", failed.join(", "));
        bail!("`cargo xtask ci STEP` runs one step again; `cargo xtask ci --list` names them");
    }
    let seconds = options.prerequisites.unwrap_or_default() + start.elapsed().as_secs_f64();
    println!("all passed, {seconds:.0} s in all");
    Ok(())
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { keep_going: false, prerequisites: None, steps: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--keep-going" => options.keep_going = true,
            "--since" => {
                let began = words.next().and_then(|seconds| seconds.parse().ok());
                let began = began.and_then(|seconds| seconds_since(Duration::from_secs(seconds)));
                options.prerequisites = Some(began.context("--since takes seconds since 1970")?);
            }
            name => {
                let step = STEPS.iter().find(|step| step.name == name);
                options.steps.push(step.with_context(|| format!("no step is called `{name}`; try --list"))?);
            }
        }
    }
    if options.steps.is_empty() {
        options.steps.extend(&STEPS);
    }
    Ok(options)
}

/// How long ago that was; nothing where it is yet to come.
fn seconds_since(began: Duration) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.checked_sub(began)?.as_secs_f64())
}

/// A program in the checkout, as continuous integration starts it.
fn program(name: impl AsRef<std::ffi::OsStr>) -> Run {
    let ci = std::env::var_os("CI").unwrap_or_else(|| "true".into());
    let run = Run::new(name).env("CI", ci).env("DEBIAN_FRONTEND", "noninteractive");
    run.env("CARGO_TERM_PROGRESS_WHEN", "never").within(workspace::root())
}

fn cargo(arguments: &[&str]) -> Run {
    program(workspace::cargo()).args(arguments)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs these Debian packages unless all of the programs are there. Only for root.
fn need(programs: &[&str], packages: &[&str]) -> Result<()> {
    ensure!(is_root(), "missing: one of {}; as root: apt-get install {}", programs.join(", "), packages.join(" "));
    if programs.iter().all(|program| crate::command::find(program).is_some()) {
        return Ok(());
    }
    crate::setup::install(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names(words: &[&str]) -> Vec<&'static str> {
        parse(words).unwrap().steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(names(&[]).len(), STEPS.len());
        assert_eq!(names(&[])[0], "test");
        assert_eq!(names(&["--keep-going", "deny", "fmt"]), ["deny", "fmt"]);
        assert!(parse(&["--keep-going"]).unwrap().keep_going);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&["nothing"]).err().unwrap().to_string().contains("`nothing`"));
        assert!(parse(&["--since", "soon"]).is_err());
    }

    #[test]
    fn each_step_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
