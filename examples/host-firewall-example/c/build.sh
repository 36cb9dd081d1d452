#!/bin/sh
# Compiles the policy with zig (PyPI: ziglang), or with Debian's clang-19, lld-19, wasi-libc, libclang-rt-19-dev-wasm32.
set -e
if command -v zig >/dev/null; then
    cc="zig cc --target=wasm32-wasi"
elif python3 -c 'import ziglang' 2>/dev/null; then
    cc="python3 -m ziglang cc --target=wasm32-wasi"
elif command -v clang-19 >/dev/null; then
    cc="clang-19 --target=wasm32-wasi --sysroot=/usr"
else
    echo "no C compiler for WebAssembly: python3 -m pip install --require-hashes -r requirements.txt" >&2
    exit 1
fi
mkdir -p build
# A reactor has no main; zig's default stack of 16 MiB is more than a policy needs.
exec $cc -mexec-model=reactor -O2 -s -Wall -Wl,-z,stack-size=65536 \
    *.c bindings/policy.c bindings/policy_component_type.o -o build/module.wasm
