//! `cargo xtask package`: the Debian packages, from what this checkout builds and nothing else:
//! `ruleward` for nodes and `ruleward-dev` for authors of policies. `dpkg-deb` makes them, so that
//! no further tool is needed on a Debian; the scripts and the descriptions are in packaging/debian.
//!
//! The release build is for nodes. `--dev` packages the programs that the tests use: it takes no
//! further build, and is what continuous integration installs, upgrades and removes.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::{policies, workspace};

/// What one package holds, beside its program's manual and completions.
struct Package {
    name: &'static str,
    /// In packaging/debian.
    control: &'static str,
    program: &'static str,
    /// Policies; others below plugins/ and examples/ are for authors.
    policies: &'static [&'static str],
    /// Where each file goes.
    files: &'static [(&'static str, &'static str)],
    /// Whole folders.
    folders: &'static [(&'static str, &'static str)],
    /// Folders for what others put there.
    empty: &'static [&'static str],
    /// What the package manager runs, in packaging/debian.
    scripts: &'static [&'static str],
    /// Files that belong to the administrator once they are there.
    configuration: &'static [&'static str],
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "ruleward",
        control: "control",
        program: "ruleward",
        policies: &["calico-postrouting", "host-firewall", "ip-masquerade", "port-forward", "static-rules"],
        files: &[
            ("packaging/systemd/ruleward.service", "lib/systemd/system/ruleward.service"),
            ("packaging/systemd/ruleward.tmpfiles", "usr/lib/tmpfiles.d/ruleward.conf"),
            ("packaging/systemd/ruleward.sysusers", "usr/lib/sysusers.d/ruleward.conf"),
            ("packaging/debian/ruleward.toml", "etc/ruleward/ruleward.toml"),
            ("packaging/debian/copyright", "usr/share/doc/ruleward/copyright"),
            ("CHANGELOG.md", "usr/share/doc/ruleward/CHANGELOG.md"),
        ],
        folders: &[
            ("examples/configs", "usr/share/doc/ruleward/examples"),
            ("docs", "usr/share/doc/ruleward/docs"),
            ("packaging/prometheus", "usr/share/ruleward/prometheus"),
            ("packaging/grafana", "usr/share/ruleward/grafana"),
        ],
        empty: &["etc/ruleward/conf.d", "etc/ruleward/resources"],
        scripts: &["postinst", "prerm", "postrm"],
        configuration: &["/etc/ruleward/ruleward.toml"],
    },
    Package {
        name: "ruleward-dev",
        control: "ruleward-dev.control",
        program: "ruleward-policy",
        policies: &[],
        files: &[
            ("wit/policy.wit", "usr/share/ruleward-dev/policy.wit"),
            ("packaging/debian/copyright", "usr/share/doc/ruleward-dev/copyright"),
            ("CHANGELOG.md", "usr/share/doc/ruleward-dev/CHANGELOG.md"),
        ],
        folders: &[("docs", "usr/share/doc/ruleward-dev/docs")],
        empty: &[],
        scripts: &[],
        configuration: &[],
    },
];

/// Which build is packaged, and under what version.
struct Wanted {
    dev: bool,
    version: String,
}

/// Makes `target/package/NAME_VERSION_ARCHITECTURE.deb` of each package.
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
        bail!("dpkg-deb is missing; the packages are made on a Debian or one of its relatives");
    }
    let programs = build(wanted.dev)?;
    let folder = workspace::target_dir().join("package");
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot clear {}", root.display()))?;
    }
    for package in &PACKAGES {
        step(&format!("files of {}", package.name), || lay_out(package, &root.join(package.name), &programs))?;
    }
    apart(&PACKAGES.map(|package| root.join(package.name)))?;
    for package in &PACKAGES {
        let file = step(package.name, || pack(package, &folder, &root.join(package.name), &wanted.version))?;
        eprintln!("    {}", file.display());
    }
    Ok(())
}

/// Builds the programs; gives their folder.
fn build(dev: bool) -> Result<PathBuf> {
    if dev {
        policies::build_all()?;
        return Ok(workspace::target_dir().join("debug"));
    }
    policies::run()?;
    let names = PACKAGES.map(|package| package.program);
    step(&format!("programs: target/release/{{{}}} (compiles wasmtime: many minutes)", names.join(",")), || {
        let selection = names.iter().flat_map(|name| ["--package", name, "--bin", name]);
        let build = Run::new(workspace::cargo()).args(["build", "--release", "--locked"]).args(selection);
        build.within(workspace::root()).show()
    })?;
    Ok(workspace::target_dir().join("release"))
}

/// Two packages that are installed together hold no file of the same name.
fn apart(roots: &[PathBuf]) -> Result<()> {
    let mut all = BTreeSet::new();
    for root in roots {
        for file in files(root)? {
            let name = file.strip_prefix(root).unwrap_or(&file).to_owned();
            ensure!(!all.contains(&name), "/{} is in two packages", name.display());
            all.insert(name);
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() { found.extend(files(&entry)?) } else { found.push(entry) }
    }
    Ok(found)
}

fn lay_out(package: &Package, root: &Path, programs: &Path) -> Result<()> {
    let name = package.program;
    let bin = root.join("usr/bin").join(name);
    place(&programs.join(name), &bin, 0o755)?;
    Run::new("strip").args([&bin]).show().context("binutils' strip makes the program small")?;
    for policy in package.policies {
        let component = format!("{policy}.wasm");
        place(
            &workspace::policies_dir().join(&component),
            &root.join("usr/lib/ruleward/policies").join(component),
            0o644,
        )?;
    }
    for (from, to) in package.files {
        place(&workspace::root().join(from), &root.join(to), 0o644)?;
    }
    for (from, to) in package.folders {
        place_all(&workspace::root().join(from), &root.join(to))?;
    }
    for empty in package.empty {
        fs::create_dir_all(root.join(empty))?;
    }
    let man = root.join("usr/share/man/man1");
    Run::new(&bin).args(["man"]).args([&man]).show()?;
    for page in entries(&man)? {
        Run::new("gzip").args(["-9", "-n"]).args([&page]).show()?;
    }
    for (shell, file) in [
        ("bash", format!("usr/share/bash-completion/completions/{name}")),
        ("zsh", format!("usr/share/zsh/vendor-completions/_{name}")),
        ("fish", format!("usr/share/fish/vendor_completions.d/{name}.fish")),
    ] {
        write(&root.join(file), &Run::new(&bin).args(["completions", shell]).text()?)?;
    }
    Ok(())
}

fn pack(package: &Package, folder: &Path, root: &Path, version: &str) -> Result<PathBuf> {
    let sources = workspace::root().join("packaging/debian");
    let control = root.join("DEBIAN");
    let architecture = Run::new("dpkg").args(["--print-architecture"]).text()?.trim().to_owned();
    let text = fs::read_to_string(sources.join(package.control)).context(package.control)?;
    let text = text
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@SIZE@", &(size(root)? / 1024 + 1).to_string())
        .replace("@LIBC@", &libc_version()?);
    write(&control.join("control"), &text)?;
    if !package.configuration.is_empty() {
        write(&control.join("conffiles"), &(package.configuration.join("\n") + "\n"))?;
    }
    for script in package.scripts {
        place(&sources.join(script), &control.join(script), 0o755)?;
    }
    let file = folder.join(format!("{}_{version}_{architecture}.deb", package.name));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_two_packages_is_refused() {
        let folder = std::env::temp_dir().join(format!("ruleward-package-{}", std::process::id()));
        let roots = ["a", "b"].map(|name| folder.join(name));
        write(&roots[0].join("usr/bin/one"), "").unwrap();
        write(&roots[1].join("usr/bin/other"), "").unwrap();
        assert!(apart(&roots).is_ok());
        write(&roots[1].join("usr/bin/one"), "").unwrap();
        assert_eq!(apart(&roots).unwrap_err().to_string(), "/usr/bin/one is in two packages");
        fs::remove_dir_all(&folder).unwrap();
    }
}
