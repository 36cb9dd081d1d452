//! `cargo xtask demo`: Ruleward's main job on the real kernel, told step by step.
//!
//! A pod, a node and the outside world are network namespaces joined by veth, made inside a private namespace, so that
//! the machine's own network is not touched; an ordinary user gets them through a user namespace. Everything that
//! the story claims is measured, and a claim that does not hold ends it with a failure.

mod daemon;
mod network;
mod story;
mod terminal;

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::command::{Run, find};
use crate::{policies, setup, workspace};

/// Builds what is needed, then runs the story in fresh namespaces.
pub fn run() -> Result<()> {
    setup::run()?;
    policies::build_all()?;
    eprintln!();
    let program = workspace::program();
    if !program.is_file() {
        bail!("{} is not there", program.display());
    }
    inside_namespaces()?.args(["demo", "--inside"]).show().context("the demonstration did not go as told")
}

/// The second half, already inside the namespaces.
pub fn run_inside() -> Result<()> {
    let scratch = network::private_run_directory()?;
    story::tell(&scratch)
}

/// This program under `unshare`, which everyone may use where the kernel permits user namespaces.
pub fn inside_namespaces() -> Result<Run> {
    unshared(&[], own_program()?)
}

/// Any program in private namespaces of the network and of mounts, and of these kinds besides.
pub fn unshared(kinds: &[&'static str], program: impl AsRef<OsStr>) -> Result<Run> {
    let mut flags = vec!["--net", "--mount"];
    flags.extend(kinds);
    if !rustix::process::geteuid().is_root() {
        flags.extend(["--user", "--map-root-user"]);
    }
    if find("unshare").is_none() {
        bail!("unshare is missing: run `cargo xtask setup`");
    }
    if let Err(error) = Run::new("unshare").args(&flags).args(["true"]).text() {
        bail!("{error:#}\n{}", permission_hint());
    }
    Ok(Run::new("unshare").args(flags).args(["--"]).args([program]))
}

/// This program's file. The build that comes before may have put a new file in its place, of the same source.
pub fn own_program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find our own program file")?;
    let replaced = own.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    let own = replaced.filter(|_| !own.is_file()).unwrap_or(own);
    ensure!(own.is_file(), "our own program file {} is gone: run the command again", own.display());
    Ok(own)
}

/// What to do where namespaces are refused.
pub fn permission_hint() -> String {
    let mut hint = String::from("Namespaces are not permitted here.");
    for (file, refusing, fix) in [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ] {
        if std::fs::read_to_string(file).is_ok_and(|value| value.trim() == refusing) {
            hint += &format!(" {file} is {refusing}: as root, `{fix}`.");
        }
    }
    hint + " Or run it as root; in a container it needs CAP_SYS_ADMIN and CAP_NET_ADMIN (docker: --privileged)."
}
