//! `cargo xtask setup`: what the other commands need is there afterwards, or the exact command is named that gets it.
//!
//! As root missing Debian packages are installed; as an ordinary user nothing is installed that needs root.

use anyhow::{Result, bail};

use crate::command::{Run, find};
use crate::progress::step;
use crate::wasm_target::Toolchain;

/// Programs that must be there, and the Debian package of each. `nft` is what the tests' stranger
/// tampers with; `strace` tells the tests what the tools ask the kernel for.
const TOOLS: [(&str, &str); 12] = [
    ("iptables-restore", "iptables"),
    ("iptables-save", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("ip6tables-save", "iptables"),
    ("ipset", "ipset"),
    ("nfacct", "nfacct"),
    ("nfct", "nfct"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("strace", "strace"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Installs what is missing.
pub fn run() -> Result<()> {
    tools()?;
    let toolchain = Toolchain::obtain()?;
    eprintln!("==> ready: kernel tools present, policies are built with {toolchain}");
    Ok(())
}

/// Programs that the demonstration, the tests and the benchmark start.
fn tools() -> Result<()> {
    let mut packages: Vec<&str> = missing().map(|(_, package)| package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)?;
    let still: Vec<&str> = missing().map(|(tool, _)| tool).collect();
    if !still.is_empty() {
        bail!("{} installed, but {} cannot be found in PATH or /usr/sbin", packages.join(", "), still.join(", "));
    }
    Ok(())
}

fn missing() -> impl Iterator<Item = (&'static str, &'static str)> {
    TOOLS.into_iter().filter(|(tool, _)| find(tool).is_none())
}

/// Installs Debian packages as root; as anyone else, says how.
pub fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!(
            "missing: {}. This system has no apt-get: install them with its own package manager",
            packages.join(", ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing: {}. Installing needs root; run: sudo {by_hand}", packages.join(", "));
    }
    step(&format!("installing {}", packages.join(", ")), || {
        // A fresh machine has no package lists; stale ones name packages that are gone. So: try, update, try again.
        if apt(packages).is_ok() {
            return Ok(());
        }
        eprintln!("    not with the package lists at hand: updating them");
        Run::new("apt-get").args(["update", "-q"]).show()?;
        apt(packages)
    })
}

fn apt(packages: &[&str]) -> Result<()> {
    Run::new("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .show()
}
