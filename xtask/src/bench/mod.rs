//! `cargo xtask bench`: what Ruleward takes, beside what the stock tools take for the same, in one run.
//!
//! Everything happens in private namespaces; an ordinary user gets them through a user namespace, where the kernel takes
//! only small nft transactions. Ours and theirs alternate, each value is the median of several. No time is too
//! long to succeed: the table says what was measured, and whether it is within the goal.

mod build;
mod change;
mod commit;
mod cpu;
mod daemon;
mod dev;
mod entries;
mod events;
mod fight;
mod flush;
mod guarded;
mod http;
mod languages;
mod namespace;
mod netlink;
mod nftables;
mod node;
mod policies;
mod quiet;
mod refresh;
mod reload;
mod rules;
mod sample;
mod stock;
mod table;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::progress::step;
use crate::{demo, setup};
use build::Build;
use namespace::Namespace;
use rules::Rules;
use stock::Backend;
use table::Row;

/// Tried in a user namespace, from the largest: the socket's buffer can't be enlarged there as far as root can.
const TRIED_IN_USER_NAMESPACE: [usize; 5] = [800, 400, 200, 100, 50];

const PARTS: [(&str, Measure); 16] = [
    ("commit", commit::measure),
    ("refresh", refresh::measure),
    ("change", change::measure),
    ("reload", reload::measure),
    ("dev", dev::measure),
    ("events", events::measure_nft),
    ("events-legacy", events::measure_legacy),
    ("flush", flush::measure),
    ("quiet", quiet::measure_refresh),
    ("idle", quiet::measure_idle),
    ("fight", fight::measure),
    ("http", http::measure),
    ("memory", daemon::measure_memory),
    ("start", daemon::measure_start),
    ("policies", policies::measure),
    ("languages", languages::measure),
];

type Measure = fn(&Plan) -> Result<Vec<Row>>;

/// What is measured.
pub struct Plan {
    sizes: Vec<usize>,
    parts: Vec<String>,
    json: Option<PathBuf>,
    build: Build,
    /// Most rules of one nft transaction, if there is such a limit here.
    nft_limit: Option<usize>,
}

impl Plan {
    /// Numbers of rules.
    fn sizes(&self, backend: Backend) -> Vec<usize> {
        let limit = self.nft_limit.filter(|_| backend == Backend::Nft).unwrap_or(usize::MAX);
        let mut sizes: Vec<usize> = self.sizes.iter().map(|size| (*size).min(limit)).collect();
        sizes.dedup();
        sizes
    }

    /// How often a case with that many rules is repeated.
    fn repetitions(&self, rules: usize) -> usize {
        match rules {
            0..=2_000 => 15,
            2_001..=20_000 => 9,
            _ => 5,
        }
    }

    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut plan = Self {
            sizes: vec![1_000, 10_000, 50_000],
            parts: PARTS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            json: None,
            build: Build::Dev,
            nft_limit: None,
        };
        let (options, named) = split(arguments);
        if !named.is_empty() {
            plan.parts = named;
        }
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().with_context(|| format!("`{option}` needs a value"))?;
            match *option {
                "--json" => plan.json = Some(std::path::absolute(value)?),
                "--rules" => {
                    let sizes = value.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
                    plan.sizes = sizes.with_context(|| format!("--rules {value}: numbers with commas are expected"))?;
                    plan.sizes.sort_unstable();
                }
                "--build" => plan.build = Build::named(value)?,
                "--only" => plan.parts = value.split(',').map(str::to_owned).collect(),
                _ => bail!(
                    "unknown option `{option}`; there are --json FILE, --rules 1000,10000, --build dev|release, --only PARTS"
                ),
            }
        }
        let known = PARTS.map(|(name, _)| name);
        if let Some(part) = plan.parts.iter().find(|part| !known.contains(&part.as_str())) {
            bail!("{part} can't be measured; there are {}", known.join(", "));
        }
        if plan.sizes.contains(&0) {
            bail!("--rules: 0 rules can't be compared");
        }
        Ok(plan)
    }
}

/// Options with their values, and the names of parts between them.
fn split<'a>(arguments: &[&'a str]) -> (Vec<&'a str>, Vec<String>) {
    let (mut options, mut parts, mut rest) = (Vec::new(), Vec::new(), arguments.iter());
    while let Some(word) = rest.next() {
        if word.starts_with('-') {
            options.push(*word);
            options.extend(rest.next());
        } else {
            parts.push((*word).to_owned());
        }
    }
    (options, parts)
}

/// Builds what is needed, then measures in fresh namespaces.
pub fn run(arguments: &[&str]) -> Result<()> {
    let plan = Plan::parse(arguments)?;
    setup::run()?;
    crate::policies::build_all()?;
    let measured = |part: &str| plan.parts.iter().any(|name| name == part);
    if measured("languages") {
        crate::languages::build(&[])?;
    }
    let inside = [("policies", policies::EXAMPLE), ("languages", languages::EXAMPLE)];
    let examples: Vec<&str> =
        inside.into_iter().filter(|(part, _)| measured(part)).map(|(_, example)| example).collect();
    let program = plan.build.make(&examples, measured("dev"))?;
    demo::inside_namespaces()?
        .env("RULEWARD_BIN", program)
        .args(["bench", "--inside"])
        .args(arguments)
        .show()
        .context("not all was measured")
}

/// The second half, already inside the namespaces.
pub fn run_inside(arguments: &[&str]) -> Result<()> {
    let mut plan = Plan::parse(arguments)?;
    let mounted = Run::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "ruleward-bench", "/run"]).text();
    mounted.context("cannot mount a private /run: is this inside `unshare --mount`?")?;
    if in_user_namespace()? {
        let limit = nft_limit()?;
        eprintln!("==> in a user namespace one nft transaction takes few rules: nft is measured with at most {limit}");
        plan.nft_limit = Some(limit);
    }
    let before = machine()?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (name, measure) in PARTS.iter().filter(|(name, _)| plan.parts.iter().any(|part| part == name)) {
        match step(&format!("measuring: {name}"), || measure(&plan)) {
            Ok(measured) => rows.extend(measured),
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    let machine = json!({ "before": before, "after": machine()? });
    println!("\nload {} before, {} after\n", machine["before"]["load"], machine["after"]["load"]);
    print!("{}", table::text(&rows));
    if let Some(file) = &plan.json {
        let text = format!("{:#}\n", table::json(&rows, &machine));
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// The most rules that the stock tool can commit at once here.
fn nft_limit() -> Result<usize> {
    for count in TRIED_IN_USER_NAMESPACE {
        let script = stock::script(Path::new("/run"), "trial", &Rules::ours(count).script())?;
        if Namespace::create()?.run(|| Backend::Nft.restore(&script)).is_ok() {
            return Ok(count);
        }
    }
    bail!("iptables-nft-restore can't commit even {} rules", TRIED_IN_USER_NAMESPACE.iter().min().unwrap_or(&0))
}

/// The first namespace of users maps all of them to themselves.
fn in_user_namespace() -> Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map").context("cannot read /proc/self/uid_map")?;
    Ok(map.split_whitespace().ne(["0", "0", "4294967295"]))
}

/// What the numbers depend on.
fn machine() -> Result<Value> {
    let read = |path: &str| fs::read_to_string(Path::new(path)).with_context(|| format!("cannot read {path}"));
    Ok(json!({
        "kernel": read("/proc/sys/kernel/osrelease")?.trim(),
        "processors": std::thread::available_parallelism()?.get(),
        "iptables": Run::new("iptables").args(["-V"]).text()?.trim(),
        "load": read("/proc/loadavg")?.split_whitespace().next().and_then(|load| load.parse::<f64>().ok()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let plan = Plan::parse(&["--rules", "2000,100", "--only", "start,memory", "--json", "/tmp/x"]).unwrap();
        assert_eq!((plan.sizes, plan.parts), (vec![100, 2000], vec!["start".to_owned(), "memory".to_owned()]));
        for wrong in [["--rules", "x"], ["--only", "x"], ["--x", "x"], ["--rules", "0"]] {
            assert!(Plan::parse(&wrong).is_err(), "{wrong:?}");
        }
        assert!(Plan::parse(&["--json"]).is_err());
        let plan = Plan::parse(&["events", "--rules", "100", "flush"]).unwrap();
        assert_eq!((plan.sizes, plan.parts), (vec![100], vec!["events".to_owned(), "flush".to_owned()]));
        assert!(Plan::parse(&["event"]).is_err());
    }

    #[test]
    fn a_limit_of_nft_leaves_legacy_alone() {
        let plan = Plan { nft_limit: Some(400), ..Plan::parse(&[]).unwrap() };
        assert_eq!(plan.sizes(Backend::Nft), [400]);
        assert_eq!(plan.sizes(Backend::Legacy), [1_000, 10_000, 50_000]);
    }
}
