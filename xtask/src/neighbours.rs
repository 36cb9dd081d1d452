//! `cargo xtask neighbours`: real firewall programs beside Ruleward, in namespaces of their own. Each must end as it does
//! alone, and leave the same rules; tests/neighbours/run.py says how.

use anyhow::{Context, Result, bail};

use crate::command::{Run, find};
use crate::{policies, setup, workspace};

/// Programs that must be there, and the Debian package of each.
const TOOLS: [(&str, &str); 7] = [
    ("firewalld", "firewalld"),
    ("ufw", "ufw"),
    ("shorewall", "shorewall"),
    ("ferm", "ferm"),
    ("dockerd", "docker.io"),
    ("dbus-daemon", "dbus"),
    ("python3", "python3"),
];
/// Rounds of each scene: what the checks of every change have time for.
const FEW: &str = "6";

/// Builds what is needed, and plays the scenes: `[--rounds N] [SCENE ...]`.
pub fn run(words: &[&str]) -> Result<()> {
    let (rounds, scenes) = match words {
        ["--rounds", rounds, scenes @ ..] => (*rounds, scenes),
        scenes => (FEW, scenes),
    };
    if rounds.parse::<u32>().is_err() {
        bail!("--rounds takes a number, not `{rounds}`");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("firewalld, ufw and dockerd need root: run it as root");
    }
    setup::run()?;
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        setup::install(&missing)?;
    }
    policies::build_all()?;
    Run::new("python3")
        .args([workspace::root().join("tests/neighbours/run.py")])
        .args([workspace::program(), workspace::policies_dir()])
        .args([rounds])
        .args(scenes)
        .show()
        .context("a program does not end beside Ruleward as it does alone")
}
