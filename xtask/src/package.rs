//! `cargo xtask package`: the Debian package, from what this checkout builds and nothing else. `dpkg-deb` makes it, so that
//! no further tool is needed on a Debian; the scripts and the description are in packaging/debian.
//!
//! The release build is for nodes. `--dev` packages the program that the tests use: it takes no further build, and is what
//! continuous integration installs, upgrades and removes.

use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::{policies, workspace};

/// Policies that ship; others below plugins/ and examples/ are for authors.
const SHIPPED: [&str; 5] = ["calico-postrouting", "host-firewall", "ip-masquerade", "port-forward", "static-rules"];
/// Where each file of packaging/ goes.
const FILES: [(&str, &str); 6] = [
    ("packaging/systemd/ruleward.service", "lib/systemd/system/ruleward.service"),
    ("packaging/systemd/ruleward.tmpfiles", "usr/lib/tmpfiles.d/ruleward.conf"),
    ("packaging/systemd/ruleward.sysusers", "usr/lib/sysusers.d/ruleward.conf"),
    ("packaging/debian/ruleward.toml", "etc/ruleward/ruleward.toml"),
    ("packaging/debian/copyright", "usr/share/doc/ruleward/copyright"),
    ("CHANGELOG.md", "usr/share/doc/ruleward/CHANGELOG.md"),
];
/// Whole folders.
const FOLDERS: [(&str, &str); 4] = [
    ("examples/configs", "usr/share/doc/ruleward/examples"),
    ("docs", "usr/share/doc/ruleward/docs"),
    ("packaging/prometheus", "usr/share/ruleward/prometheus"),
    ("packaging/grafana", "usr/share/ruleward/grafana"),
];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Which build is packaged, and under what version.
struct Wanted {
    dev: bool,
    version: String,
}

/// Makes `target/package/ruleward_VERSION_ARCHITECTURE.deb`.
pub fn run(rest: &[&str]) -> Result<()> {
    let mut wanted = Wanted { dev: false, version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match (*word, words.as_slice()) {
            ("--dev", _) => wanted.dev = true,
            ("--version", [version, ..]) => {
                wanted.version = (*version).to_owned();
                words.next();
            }
            _ => bail!("usage: cargo xtask package [--dev] [--version VERSION]"),
        }
    }
    if find("dpkg-deb").is_none() {
        bail!("dpkg-deb is missing; the package is made on a Debian or one of its relatives");
    }
    let program = build(wanted.dev)?;
    let folder = workspace::target_dir().join("package");
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot clear {}", root.display()))?;
    }
    step("files of the package", || lay_out(&root, &program))?;
    let file = step("package", || pack(&folder, &root, &wanted.version))?;
    eprintln!("    {}", file.display());
    Ok(())
}

fn build(dev: bool) -> Result<PathBuf> {
    if dev {
        policies::build_all()?;
        return Ok(workspace::target_dir().join("debug/ruleward"));
    }
    policies::run()?;
    step("program: target/release/ruleward (compiles wasmtime: many minutes)", || {
        let build = ["build", "--release", "--locked", "--package", "ruleward", "--bin", "ruleward"];
        Run::new(workspace::cargo()).args(build).within(workspace::root()).show()
    })?;
    Ok(workspace::target_dir().join("release/ruleward"))
}

fn lay_out(root: &Path, program: &Path) -> Result<()> {
    let bin = root.join("usr/bin/ruleward");
    place(program, &bin, 0o755)?;
    Run::new("strip").args([&bin]).show().context("binutils' strip makes the program small")?;
    for name in SHIPPED {
        let component = format!("{name}.wasm");
        place(
            &workspace::policies_dir().join(&component),
            &root.join("usr/lib/ruleward/policies").join(component),
            0o644,
        )?;
    }
    for (from, to) in FILES {
        place(&workspace::root().join(from), &root.join(to), 0o644)?;
    }
    for (from, to) in FOLDERS {
        place_all(&workspace::root().join(from), &root.join(to))?;
    }
    for empty in ["etc/ruleward/conf.d", "etc/ruleward/documents"] {
        fs::create_dir_all(root.join(empty))?;
    }
    let man = root.join("usr/share/man/man1");
    Run::new(&bin).args(["man"]).args([&man]).show()?;
    for page in entries(&man)? {
        Run::new("gzip").args(["-9", "-n"]).args([&page]).show()?;
    }
    for (shell, file) in [
        ("bash", "usr/share/bash-completion/completions/ruleward"),
        ("zsh", "usr/share/zsh/vendor-completions/_ruleward"),
        ("fish", "usr/share/fish/vendor_completions.d/ruleward.fish"),
    ] {
        write(&root.join(file), &Run::new(&bin).args(["completions", shell]).text()?)?;
    }
    Ok(())
}

fn pack(folder: &Path, root: &Path, version: &str) -> Result<PathBuf> {
    let sources = workspace::root().join("packaging/debian");
    let control = root.join("DEBIAN");
    let architecture = Run::new("dpkg").args(["--print-architecture"]).text()?.trim().to_owned();
    let text = fs::read_to_string(sources.join("control")).context("packaging/debian/control")?;
    let text = text
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@SIZE@", &(size(root)? / 1024 + 1).to_string())
        .replace("@LIBC@", &libc_version()?);
    write(&control.join("control"), &text)?;
    write(&control.join("conffiles"), "/etc/ruleward/ruleward.toml\n")?;
    for script in SCRIPTS {
        place(&sources.join(script), &control.join(script), 0o755)?;
    }
    let file = folder.join(format!("ruleward_{version}_{architecture}.deb"));
    Run::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "-z1", "--build"]).args([root, &file]).show()?;
    Ok(file)
}

/// The C library that the program was linked with is the oldest that is known to serve.
fn libc_version() -> Result<String> {
    let text = Run::new("ldd").args(["--version"]).text()?;
    let version = text.lines().next().and_then(|line| line.split_whitespace().last());
    Ok(version.context("`ldd --version` names no version")?.to_owned())
}

fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn place_all(from: &Path, to: &Path) -> Result<()> {
    for entry in entries(from)? {
        let to = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() { place_all(&entry, &to)? } else { place(&entry, &to, 0o644)? }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    entries(folder)?.iter().map(|entry| if entry.is_dir() { size(entry) } else { Ok(fs::metadata(entry)?.len()) }).sum()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
