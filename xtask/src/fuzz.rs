//! `cargo xtask fuzz`: looks for bytes that make a reader crash or contradict itself. The targets are in `fuzz/`; what
//! is kept there is where the search begins. What is found on the way stays in the target directory, so that the next
//! search goes on from there; `--keep` puts what takes new ways into `fuzz/corpus`, to be committed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{Run, find};
use crate::progress::step;
use crate::{policies, setup, workspace};

/// Each target is searched so long, in seconds.
const SECONDS: &str = "60";
/// One input may take so long, in seconds.
const SLOWEST: u32 = 10;
/// One search may take so much memory, in MiB.
const MEMORY: u32 = 2048;
/// Lines of a search that are shown when it found something.
const SHOWN: usize = 40;

/// A target that is being searched.
struct Search<'a> {
    name: &'a str,
    child: Child,
    log: PathBuf,
}

/// `words`: options, and the names of targets; all without any.
pub fn run(words: &[&str]) -> Result<()> {
    let (mut seconds, mut keep, mut names) = (SECONDS, false, Vec::new());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--seconds" => seconds = rest.next().context("--seconds needs a number")?,
            "--keep" => keep = true,
            option if option.starts_with('-') => bail!("unknown option {option}; there are --seconds N and --keep"),
            name => names.push(name),
        }
    }
    seconds.parse::<u32>().with_context(|| format!("--seconds needs a number, not {seconds:?}"))?;
    let corpus = workspace::root().join("fuzz/corpus");
    let all = folders(&corpus)?;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|known| known == *name)) {
        bail!("{unknown} is no target; there are {}", all.join(", "));
    }
    if names.is_empty() {
        names = all.iter().map(String::as_str).collect();
    }
    if find("c++").is_none() {
        setup::install(&["g++"])?;
    }
    // The program compiles the guest that answers.
    policies::build_all()?;
    let engine = step("building the targets, with what counts their branches", build)?;
    step(&format!("searching {} targets, {seconds} s each", names.len()), || {
        let at_once = std::thread::available_parallelism()?.get();
        for group in names.chunks(at_once) {
            let searches = group.iter().map(|name| search(&engine, name, seconds)).collect::<Result<Vec<_>>>()?;
            // All of them end before what one has found is told.
            let found: Vec<Result<()>> = searches.into_iter().map(Search::end).collect();
            found.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    })?;
    if keep {
        step("keeping what takes new ways", || names.iter().try_for_each(|name| merge(&engine, name)))?;
    }
    Ok(())
}

/// Crates from elsewhere are compiled as for the tests, and so not once more.
fn build() -> Result<PathBuf> {
    let messages = Run::new(workspace::cargo())
        .args(["test", "--workspace", "--no-run", "--example", "engine", "--features", "ruleward-fuzz/engine"])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTC_WORKSPACE_WRAPPER", workspace::root().join("fuzz/with-coverage"))
        .within(workspace::root())
        .text()?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    messages.lines().find_map(executable).context("cargo has built no executable")
}

/// The names of the folders in `corpus`, sorted.
fn folders(corpus: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(corpus).with_context(|| corpus.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn engine_for(engine: &Path, name: &str) -> Command {
    Run::new(engine).env("RULEWARD_FUZZ_TARGET", name).env("RULEWARD_BIN", workspace::program()).into_command()
}

/// Where inputs that were found are.
fn found(name: &str) -> PathBuf {
    workspace::target_dir().join("fuzz").join(name)
}

fn search<'a>(engine: &Path, name: &'a str, seconds: &str) -> Result<Search<'a>> {
    let folder = found(name);
    fs::create_dir_all(&folder)?;
    let log = folder.with_extension("log");
    let output = File::create(&log)?;
    let child = engine_for(engine, name)
        .arg(&folder)
        .arg(workspace::root().join("fuzz/corpus").join(name))
        .args([format!("-max_total_time={seconds}"), format!("-timeout={SLOWEST}"), format!("-rss_limit_mb={MEMORY}")])
        .arg(format!("-artifact_prefix={}-", folder.display()))
        .args(["-print_final_stats=1", "-max_len=4096"])
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", engine.display()))?;
    Ok(Search { name, child, log })
}

impl Search<'_> {
    fn end(mut self) -> Result<()> {
        let status = self.child.wait()?;
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let number =
            |what: &str| said.lines().find_map(|line| line.strip_prefix(what)).unwrap_or("?").trim().to_owned();
        if status.success() {
            let runs = number("stat::number_of_executed_units:");
            eprintln!("    {}: {runs} inputs, {} new", self.name, number("stat::new_units_added:"));
            return Ok(());
        }
        let lines: Vec<&str> = said.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        bail!(
            "{} fails; the last lines above name the file with the input. Once it is understood, keep it in \
             fuzz/corpus/{}; the whole output is in {}",
            self.name,
            self.name,
            self.log.display()
        )
    }
}

fn merge(engine: &Path, name: &str) -> Result<()> {
    let log = File::create(found(name).with_extension("merge.log"))?;
    let status = engine_for(engine, name)
        .arg("-merge=1")
        .arg(workspace::root().join("fuzz/corpus").join(name))
        .arg(found(name))
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()?;
    if !status.success() {
        bail!("{name}: merging ended with {status}");
    }
    Ok(())
}
