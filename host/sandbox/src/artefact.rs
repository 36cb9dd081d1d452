//! Maps compiled code into the daemon: the only place where bytes become machine code without being compiled here.
#![allow(unsafe_code, reason = "wasmtime can't check that compiled code is what its compiler wrote; see `map`")]

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use wasmtime::component::Component;
use wasmtime::{Engine, Error};

/// Compiled code whose origin is known.
///
/// Making one is a promise of its maker: the file was written by this user's own compiling child (this executable, the
/// same engine settings) or is byte for byte what such a child wrote, and nobody else can write to it.
#[derive(Debug)]
pub struct Trusted(File);

impl Trusted {
    /// Promises what the type says. [`super::cache`] and [`super::compile`] alone call it.
    pub(super) fn promise(file: File) -> Self {
        Self(file)
    }
}

/// Maps the code.
///
/// # Errors
/// When it is of another engine (wasmtime's header says so), or memory is short.
pub fn map(engine: &Engine, Trusted(mut file): Trusted) -> Result<Component, Error> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    if std::fs::metadata(&path).is_ok() {
        // SAFETY: `deserialize_file` needs a file that `precompile_component` of a compatible engine wrote and that
        // nobody changes while it is mapped. The path names the very file that is open here, not what a name might
        // point to by now. `Trusted` promises its origin; wasmtime itself compares version, settings and processor.
        // Only this user (and root) can write to it, and this program never writes to a file once it is trusted: it
        // replaces files by renaming, which leaves mapped ones as they are.
        return unsafe { Component::deserialize_file(engine, path) };
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    // SAFETY: as above; the bytes are copied, so later changes to the file can't reach the code.
    unsafe { Component::deserialize(engine, &bytes) }
}
