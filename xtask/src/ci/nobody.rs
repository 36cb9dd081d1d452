//! A program of the target directory, run as an unprivileged user of this machine.
//!
//! Where a folder above the checkout or the target directory is closed to others (/root is), the
//! program sees it as a folder that holds these two only. All mounts are in a namespace of their
//! own, so nothing changes for others.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program;
use crate::command::Run;
use crate::{demo, workspace};

const NOBODY: &str = "65534";
const FUSE: &str = "/dev/fuse";

/// Runs one trial in three of `suite` as nobody. Needs root.
pub fn run(suite: &Path) -> Result<()> {
    let suite = suite.canonicalize().with_context(|| suite.display().to_string())?;
    let stage = std::env::temp_dir().join(format!("ruleward-nobody-{}", std::process::id()));
    fs::create_dir(&stage).with_context(|| format!("cannot create {}", stage.display()))?;
    let result = program("unshare")
        .args(["--mount", "--"])
        .args([demo::own_program()?])
        .args(["ci", "--as-nobody"])
        .args([&stage])
        .args([&suite])
        .show();
    remove(&stage).with_context(|| format!("cannot remove {}", stage.display()))?;
    result.with_context(|| format!("{} as uid {NOBODY}", suite.display()))
}

/// Removes the folder with the one node and the empty folders in it, and fails where there is more:
/// the checkout was mounted there.
fn remove(stage: &Path) -> Result<()> {
    for entry in fs::read_dir(stage)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(fs::remove_dir(stage)?)
}

/// The second half, in a mount namespace of its own: never returns when all is well.
pub fn run_inside(words: &[&str]) -> Result<()> {
    let [stage, suite] = words else { bail!("usage: ci --as-nobody STAGE PROGRAM") };
    let target = workspace::target_dir();
    let paths =
        [workspace::root(), &target].map(|path| path.canonicalize().with_context(|| path.display().to_string()));
    let [root, target] = paths;
    let (root, target) = (root?, target?);
    show_alone(Path::new(stage), &[&root, &target])?;
    open_fuse(&Path::new(stage).join("fuse"))?;
    let error = unprivileged(suite).env_clear().envs(environment(&target)).current_dir(&root).exec();
    Err(error).context("cannot start setpriv")
}

/// Makes these folders reachable for nobody.
fn show_alone(stage: &Path, folders: &[&Path]) -> Result<()> {
    let mut staged = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        let copy = stage.join(number.to_string());
        fs::create_dir(&copy).with_context(|| format!("cannot create {}", copy.display()))?;
        bind(folder, &copy)?;
        staged.push((*folder, copy));
    }
    for (folder, copy) in staged {
        if let Some(closed) = closed_above(folder)? {
            Run::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).args([closed]).show()?;
        }
        if !folder.is_dir() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            bind(&copy, folder)?;
        }
    }
    Ok(())
}

/// The outermost folder above this one that nobody can't pass through.
fn closed_above(folder: &Path) -> Result<Option<PathBuf>> {
    let mut above: Vec<&Path> = folder.ancestors().skip(1).filter(|path| path.parent().is_some()).collect();
    above.reverse();
    for path in above {
        if !may("-x", path)? {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

/// Without udev the device may be for root alone.
fn open_fuse(node: &Path) -> Result<()> {
    let is_device = fs::metadata(FUSE).is_ok_and(|data| data.file_type().is_char_device());
    if !is_device || may("-w", Path::new(FUSE))? {
        return Ok(());
    }
    let made = Run::new("mknod").args(["-m", "666"]).args([node]).args(["c", "10", "229"]).show();
    if made.and_then(|()| bind(node, Path::new(FUSE))).is_err() {
        println!("{FUSE} is for root alone: the trials with a file system that hangs will fail");
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    Run::new("mount").args(["--bind"]).args([from, to]).show()
}

/// What `test` says to nobody.
fn may(what: &str, path: &Path) -> Result<bool> {
    let status = unprivileged("test").arg(what).arg(path).status().context("cannot start setpriv")?;
    ensure!(matches!(status.code(), Some(0 | 1)), "`test {what} {}` as uid {NOBODY}: {status}", path.display());
    Ok(status.success())
}

fn unprivileged(program: &str) -> Command {
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    Run::new("setpriv").args(user).args(["--clear-groups", "--", program]).into_command()
}

/// Nothing of ours but what the suites ask for.
fn environment(target: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("PATH", crate::command::search_path()),
        ("HOME", "/nonexistent".into()),
        ("TMPDIR", "/tmp".into()),
        ("CI", std::env::var_os("CI").unwrap_or_else(|| "true".into())),
        ("RUST_BACKTRACE", "1".into()),
        ("RULEWARD_BIN", target.join("debug/ruleward").into()),
        ("RULEWARD_POLICIES", target.join("policies").into()),
        ("RULEWARD_ONE_IN", "3".into()),
    ]
}
