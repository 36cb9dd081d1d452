//! `cargo xtask browser`: drives a browser over the status page of a daemon, in a network namespace of its own.
//!
//! What drives it comes from the npm registry, in the versions and with the digests of tests/browser/package-lock.json, into
//! the target directory. Pictures lie there as well; `--update` puts them into docs/.

use anyhow::{Context, Result, bail};
use std::fs;

use crate::command::{Run, find};
use crate::progress::step;
use crate::{demo, policies, setup, workspace};

/// Programs that must be there, and the Debian package of each.
const TOOLS: [(&str, &str); 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
const OPTIONS: [&str; 2] = ["--no-audit", "--no-fund"];

/// Builds what is needed, and runs tests/browser. `update`: the pictures in docs/ are taken anew.
pub fn run(update: bool) -> Result<()> {
    setup::run()?;
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        setup::install(&missing)?;
    }
    policies::build_all()?;
    let folder = workspace::target_dir().join("browser");
    step("what drives the browser, from the npm registry", || {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for name in ["package.json", "package-lock.json", "run.mjs", "node.mjs"] {
            let source = workspace::root().join("tests/browser").join(name);
            fs::copy(&source, folder.join(name)).with_context(|| format!("cannot copy {}", source.display()))?;
        }
        Run::new("npm").args(["ci", "--silent"]).args(OPTIONS).within(&folder).show()
    })?;
    let pictures = folder.join("pictures");
    let browser = find("chromium").context("chromium is missing")?;
    // In a namespace of control groups, which hides those of this machine from the pictures.
    demo::unshared(&["--cgroup"], "node")?
        .args([folder.join("run.mjs"), workspace::program(), workspace::policies_dir(), browser, pictures.clone()])
        .within(&folder)
        .show()
        .context("the status page is not as it should be in a browser")?;
    if !update {
        return Ok(());
    }
    for entry in fs::read_dir(&pictures)? {
        let file = entry?.path();
        let Some(name) = file.file_name() else { bail!("a picture without a name") };
        fs::copy(&file, workspace::root().join("docs").join(name))?;
    }
    Ok(())
}
