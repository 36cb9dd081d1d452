//! Files that are no components, or not whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::{Case, Content, Fate, good};

pub fn cases() -> Vec<Case> {
    let refused = Fate::NotLoaded;
    let made = |name, make: fn(&Path) -> io::Result<()>, words| Case {
        name,
        content: Content::Made(make),
        fate: Fate::NotLoaded(words),
    };
    let whole = good();
    let cut = |numerator: usize, denominator: usize| whole[..whole.len() * numerator / denominator].to_vec();
    let truncated: &[&str] = &["is truncated: a section that begins at byte", "copy it again"];
    vec![
        Case::bytes("empty", Vec::new(), refused(&["is empty"])),
        Case::bytes("script", b"#!/bin/sh\necho hello\n".to_vec(), refused(&["is not WebAssembly: it begins with"])),
        Case::bytes("wat_text", b"(component)".to_vec(), refused(&["is WebAssembly text", "wasm-tools parse"])),
        Case::bytes(
            "core_module",
            wat::parse_str("(module)").unwrap(),
            refused(&["is a core WebAssembly module, not a component", "ruleward policy build MODULE.wasm"]),
        ),
        Case::bytes(
            "unknown_version",
            b"\0asm\x0e\0\x01\0".to_vec(),
            refused(&["unknown binary version [0e, 00, 01, 00]"]),
        ),
        Case::bytes(
            "header_alone",
            b"\0asm\x0d\0\x01\0".to_vec(),
            refused(&["does not export the function `describe`"]),
        ),
        Case::bytes(
            "truncated_header",
            cut(0, 1).into_iter().chain(*b"\0asm\x0d").collect(),
            refused(&["is truncated"]),
        ),
        Case::bytes("truncated_at_a_tenth", cut(1, 10), refused(truncated)),
        Case::bytes("truncated_in_the_middle", cut(1, 2), refused(truncated)),
        Case::bytes("truncated_near_the_end", cut(9, 10), refused(truncated)),
        Case::bytes("one_byte_short", whole[..whole.len() - 1].to_vec(), refused(truncated)),
        Case::bytes("overwritten_in_the_middle", overwritten(&whole), refused(&["is not a valid component"])),
        // What the second header is taken for depends on the length of the first component.
        Case::bytes("doubled", [whole.clone(), whole.clone()].concat(), refused(&[])),
        Case::bytes(
            "section_of_four_gigabytes",
            b"\0asm\x0d\0\x01\0\x00\xff\xff\xff\xff\x0f".to_vec(),
            refused(&["is truncated"]),
        ),
        made("sparse_file_of_500_megabytes", sparse, &["is larger than 64 MiB, the most that is loaded"]),
        made("directory", |path| fs::create_dir(path), &["is not a regular file"]),
        made("pipe", pipe, &["is not a regular file"]),
        made("socket", |path| UnixListener::bind(path).map(drop), &["is not a regular file"]),
        made("link_to_a_device", |path| symlink("/dev/zero", path), &["is not a regular file"]),
        made("link_to_nowhere", |path| symlink("nowhere", path), &["can't be read"]),
        made("link_to_itself", |path| symlink(path.file_name().unwrap_or_default(), path), &["can't be read"]),
    ]
}

fn overwritten(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let code = bytes.windows(8).position(|window| window == b"\0asm\x01\0\0\0").unwrap();
    bytes[code + 8..code + 72].fill(0xff);
    bytes
}

fn sparse(path: &Path) -> io::Result<()> {
    use std::io::Write;
    let mut file = File::create(path)?;
    file.write_all(b"\0asm\x0d\0\x01\0")?;
    file.set_len(500 << 20)
}

fn pipe(path: &Path) -> io::Result<()> {
    let status = Command::new("mkfifo").arg(path).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("mkfifo failed")) }
}

/// The same bytes with `flips` bits flipped, by a generator that gives the same for the same seed.
pub fn flipped(bytes: &[u8], seed: u64, flips: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for _ in 0..flips {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let place = usize::try_from(mixed >> 3).unwrap_or_default() % damaged.len();
        damaged[place] ^= 1 << (mixed & 7);
    }
    damaged
}
