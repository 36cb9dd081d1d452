#!/bin/sh
# Compiles the policy with the toolchain in PATH if it has the target, else with Debian's rustc-web, cargo-web, rust-web-src and
# rust-web-llvm, which build the target's standard library from source.
set -e
target=wasm32-unknown-unknown
if [ -d "$(rustc --print target-libdir --target $target)" ]; then
    exec cargo build --release --quiet --target $target
fi
if [ ! -x /usr/bin/cargo ] || [ ! -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]; then
    echo "no Rust compiler for WebAssembly: rustup target add $target, or as root:" \
        "apt-get install rustc-web cargo-web rust-web-src rust-web-llvm" >&2
    exit 1
fi
linker=$(command -v rust-lld || command -v wasm-ld || ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld)
unset RUSTUP_TOOLCHAIN CARGO
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
exec /usr/bin/cargo build --release --quiet --target $target -Zbuild-std=std,panic_abort
