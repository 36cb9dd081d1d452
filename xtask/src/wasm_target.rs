//! Which compiler makes WebAssembly here: the one of PATH when it has the target or rustup can add it, else Debian's,
//! which builds the target's standard library from source.
//!
//! `RULEWARD_WASM_TOOLCHAIN=rustup|debian` asks for one of the two and accepts no other.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::command::{Run, find};
use crate::progress::step;
use crate::{setup, workspace};

/// The target that policies are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

const CHOICE: &str = "RULEWARD_WASM_TOOLCHAIN";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
const DEBIAN_SOURCE: &str = "library/std/Cargo.toml";

/// A compiler that can make WebAssembly.
pub enum Toolchain {
    /// The cargo that runs us has the target.
    Own,
    /// Debian's compiler in /usr/bin, with the standard library built from source and this linker.
    Debian { linker: PathBuf },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "the own toolchain's {TARGET}"),
            Self::Debian { .. } => write!(f, "Debian's rustc and a standard library built from source"),
        }
    }
}

impl Toolchain {
    /// Finds one, installing what it takes.
    pub fn obtain() -> Result<Self> {
        match std::env::var(CHOICE).as_deref() {
            Ok("rustup") => own(),
            Ok("debian") => debian(),
            Ok(other) => bail!("{CHOICE} is `{other}`; it can be `rustup` or `debian`, or unset"),
            Err(_) => own().or_else(|first| {
                eprintln!("    {first:#}\n    so Debian's compiler it is");
                debian().with_context(|| format!("no compiler for {TARGET}: {first:#}; and Debian's is not to be had"))
            }),
        }
    }

    /// `cargo build` for policies with this compiler, in the checkout.
    pub fn cargo_build(&self) -> Run {
        let arguments = ["build", "--target", TARGET, "--profile", "policy"];
        match self {
            Self::Own => Run::new(workspace::cargo()).args(arguments),
            Self::Debian { linker } => Run::new("/usr/bin/cargo")
                .args(arguments)
                .args(["-Zbuild-std=std,panic_abort"])
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .without("RUSTUP_TOOLCHAIN")
                .without("CARGO")
                // Two compilers in one folder would undo each other's work at every turn.
                .env("CARGO_TARGET_DIR", self.target_dir()),
        }
        .within(workspace::root())
    }

    /// The target directory that `cargo_build` writes to.
    pub fn target_dir(&self) -> PathBuf {
        match self {
            Self::Own => workspace::target_dir(),
            Self::Debian { .. } => workspace::target_dir().join("debian"),
        }
    }
}

fn own() -> Result<Toolchain> {
    if has_target()? {
        return Ok(Toolchain::Own);
    }
    if find("rustup").is_none() {
        bail!("the Rust toolchain lacks {TARGET}, and there is no rustup to add it");
    }
    // rustup adds it to the toolchain that is active here, which is the one that runs us.
    step(&format!("rustup target add {TARGET}"), || {
        Run::new("rustup").args(["target", "add", TARGET]).within(workspace::root()).show()
    })?;
    if !has_target()? {
        bail!("rustup added {TARGET}, but not to the toolchain that is in use");
    }
    Ok(Toolchain::Own)
}

fn has_target() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let library = Run::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .within(workspace::root())
        .text()
        .context("cannot ask the compiler for its targets")?;
    Ok(Path::new(library.trim()).is_dir())
}

fn debian() -> Result<Toolchain> {
    if let Ok(toolchain) = installed_debian() {
        return Ok(toolchain);
    }
    setup::install(&DEBIAN_PACKAGES)?;
    installed_debian()
}

fn installed_debian() -> Result<Toolchain> {
    for program in ["/usr/bin/rustc", "/usr/bin/cargo"] {
        if !Path::new(program).is_file() {
            bail!("{program} is not there");
        }
    }
    let sysroot = Run::new("/usr/bin/rustc").args(["--print", "sysroot"]).without("RUSTUP_TOOLCHAIN").text()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust").join(DEBIAN_SOURCE);
    if !source.is_file() {
        bail!("{} is not there: the standard library's source is missing", source.display());
    }
    Ok(Toolchain::Debian { linker: linker()? })
}

/// Debian's own linker (newer packages have it in PATH), else that of the toolchain that runs us.
fn linker() -> Result<PathBuf> {
    if let Some(linker) = find("rust-lld").or_else(|| find("wasm-ld")) {
        return Ok(linker);
    }
    let sysroot = Run::new("rustc").args(["--print", "sysroot"]).within(workspace::root()).text()?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    let hosts = std::fs::read_dir(&rustlib).with_context(|| format!("cannot read {}", rustlib.display()))?;
    hosts
        .flatten()
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|linker| linker.is_file())
        .context("no WebAssembly linker: neither rust-lld nor wasm-ld is there; apt-get install rust-web-llvm")
}
