//! The cache of compiled code, attacked: whatever is put in place of an entry or of its folder is compiled again and never
//! mapped, and a warning says what it was.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use wasmtime::{Config, Engine};

use crate::artefact::{self, Trusted};
use crate::cache::Cache;
use crate::engine;
use crate::testkit::{Guest, Kit, compiler};
use ruleward_files::private_dir::{self, PrivateError};

/// Does something to the only entry; it must be compiled again, with a warning that holds `expected`.
#[track_caller]
fn attacked(expected: &str, attack: impl Fn(&Path)) {
    let kit = Kit::new();
    let component = Guest::default().component();
    kit.load(&component).unwrap();
    attack(&kit.entry());
    let again = kit.load(&component).unwrap();
    assert!(again.was_compiled(), "it was mapped");
    assert!(again.warnings().iter().any(|warning| warning.contains(expected)), "{:?}", again.warnings());
    let third = kit.load(&component).unwrap();
    assert!(!third.was_compiled() && third.warnings().is_empty(), "{:?}", third.warnings());
}

/// Whether this process may give files away.
fn may_chown() -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    let may = chown(file.path(), Some(1234), None).is_ok();
    if !may {
        eprintln!("an ordinary user can't make files of another owner: what is refused then is not tried here");
    }
    may
}

/// Puts `content` in place of the entry, under the name that an engine with this fingerprint gives it.
fn put_in_place(entry: &Path, fingerprint: &str, content: &[u8]) {
    let key = entry.file_name().unwrap().to_str().unwrap().split('.').next().unwrap();
    fs::remove_file(entry).unwrap();
    let seal = ruleward_files::digest::hex_of(&[fingerprint.as_bytes(), content].concat());
    let path = entry.with_file_name(format!("{key}.{seal}.cwasm"));
    fs::write(&path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn another_owner() {
    if may_chown() {
        attacked("belongs to user 1234, not to 0", |entry| chown(entry, Some(1234), None).unwrap());
    }
}

#[test]
fn a_hard_link() {
    attacked("has 2 names (hard links), and should have one", |entry| {
        fs::hard_link(entry, entry.parent().unwrap().parent().unwrap().join("other")).unwrap();
    });
}

#[test]
fn a_pipe() {
    attacked("is not a regular file", |entry| {
        fs::remove_file(entry).unwrap();
        assert!(Command::new("mkfifo").arg(entry).status().unwrap().success());
    });
}

#[test]
fn a_link_to_a_device_and_to_itself() {
    for target in ["/dev/zero", "/dev/full"] {
        attacked("is a symbolic link", |entry| {
            fs::remove_file(entry).unwrap();
            symlink(target, entry).unwrap();
        });
    }
}

#[test]
fn rights_of_group_and_others() {
    for mode in [0o620, 0o602, 0o666] {
        attacked(&format!("can be written by others (mode {mode:04o})"), |entry| {
            fs::set_permissions(entry, Permissions::from_mode(mode)).unwrap();
        });
    }
}

#[test]
fn bits_flipped_at_many_places() {
    let kit = Kit::new();
    let component = Guest::default().component();
    kit.load(&component).unwrap();
    let whole = fs::read(kit.entry()).unwrap();
    for step in 0..64 {
        let entry = kit.entry();
        let mut bytes = whole.clone();
        let place = (bytes.len() - 1) * step / 63;
        bytes[place] ^= 1 << (step % 8);
        fs::write(&entry, bytes).unwrap();
        let again = kit.load(&component).unwrap();
        assert!(again.was_compiled(), "a flipped bit in byte {place} was mapped");
        assert!(again.warnings()[0].contains("is damaged or of another engine: its digest is not the one in its name"));
    }
}

#[test]
fn cut_at_many_places() {
    for length in [0, 1, 100, 4096, 8000] {
        attacked("is damaged", |entry| File::options().write(true).open(entry).unwrap().set_len(length).unwrap());
    }
}

#[test]
fn code_of_other_engines_under_a_right_name() {
    let component = Guest::default().component();
    let settings: [fn(&mut Config); 4] = [
        // Would run without end.
        |config| _ = config.consume_fuel(false),
        |config| _ = config.epoch_interruption(false),
        // Would differ from machine to machine.
        |config| _ = config.cranelift_nan_canonicalization(false),
        |config| _ = config.relaxed_simd_deterministic(false),
    ];
    for change in settings {
        attacked("is damaged or of another engine", |entry| {
            let mut config = engine::config();
            change(&mut config);
            let other = Engine::new(&config).unwrap();
            let code = other.precompile_component(&component).unwrap();
            put_in_place(entry, &engine::fingerprint(&other), &code);
        });
    }
    // With this engine's seal: a forgery by somebody who may write there. wasmtime looks too.
    let ours = engine::fingerprint(&engine::engine().unwrap());
    for change in &settings[..2] {
        attacked("can't be mapped", |entry| {
            let mut config = engine::config();
            change(&mut config);
            put_in_place(entry, &ours, &Engine::new(&config).unwrap().precompile_component(&component).unwrap());
        });
    }
    attacked("can't be mapped", |entry| put_in_place(entry, &ours, b"\x7fELF something else"));
    attacked("can't be mapped", |entry| put_in_place(entry, &ours, b""));
}

#[test]
fn the_key_holds_component_and_engine() {
    let mut fingerprints = vec![engine::fingerprint(&engine::engine().unwrap())];
    let changes: [fn(&mut Config); 4] = [
        |config| _ = config.cranelift_nan_canonicalization(false),
        |config| _ = config.consume_fuel(false),
        |config| _ = config.wasm_memory64(true),
        |config| _ = config.module_version(wasmtime::ModuleVersionStrategy::Custom("other".to_owned())).unwrap(),
    ];
    for change in changes {
        let mut config = engine::config();
        change(&mut config);
        fingerprints.push(engine::fingerprint(&Engine::new(&config).unwrap()));
    }
    assert_eq!(fingerprints[0], engine::fingerprint(&engine::engine().unwrap()));
    fingerprints.sort();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 5);
}

#[test]
fn what_is_mapped_is_what_was_judged() {
    let kit = Kit::new();
    kit.load(&Guest::default().component()).unwrap();
    let entry = kit.entry();
    let judged = File::open(&entry).unwrap();
    // Between the judgement and the mapping somebody puts another file in its place.
    let mut other = tempfile::NamedTempFile::new_in(kit.cache()).unwrap();
    other.write_all(b"\x7fELF something else").unwrap();
    other.persist(&entry).unwrap();
    artefact::map(&engine::engine().unwrap(), Trusted::promise(judged)).unwrap();
}

#[test]
fn a_folder_of_another_owner_or_with_rights_for_others() {
    let refused = |expected: &str, prepare: &dyn Fn(&Path)| {
        let kit = Kit::new();
        fs::create_dir_all(kit.cache()).unwrap();
        prepare(&kit.cache());
        let policy = kit.load(&Guest::default().component()).unwrap();
        assert!(policy.was_compiled());
        assert!(policy.warnings()[0].contains(expected), "{:?}", policy.warnings());
        assert_eq!(fs::read_dir(kit.cache()).unwrap().count(), 0, "something was written there");
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    refused("cache can be written by others (mode 0775)", &|cache| mode(cache, 0o775));
    refused("cache can be written by others (mode 1777)", &|cache| mode(cache, 0o1777));
    refused("state can be written by others (mode 0775), so another user could replace what is in it", &|cache| {
        mode(cache.parent().unwrap(), 0o775);
    });
    if may_chown() {
        refused("cache belongs to user 1234", &|cache| chown(cache, Some(1234), None).unwrap());
        refused("state belongs to user 1234", &|cache| chown(cache.parent().unwrap(), Some(1234), None).unwrap());
    }
}

#[test]
fn a_link_on_the_way_is_judged_by_both_its_ends() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    fs::create_dir_all(real.join("state")).unwrap();
    let link = folder.path().join("link");
    symlink(&real, &link).unwrap();
    private_dir::guarded(&link.join("state")).unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o777)).unwrap();
    let error = private_dir::guarded(&link.join("state")).unwrap_err();
    assert!(matches!(error, PrivateError::Exposed { .. }), "{error}");
}

#[test]
fn it_is_kept_small_by_what_was_used_longest_ago() {
    let kit = Kit::new();
    let guests = ["i32.const 128", "unreachable", "(i32.const 128) (nop)"]
        .map(|evaluate| Guest { evaluate, ..Guest::default() }.component());
    let sandbox = engine::sandbox().unwrap();
    let cache = Cache::new(kit.cache(), compiler());
    let load = |cache: &Cache, index: usize| cache.load(&sandbox, &guests[index], &format!("sha256:{index}")).unwrap();
    load(&cache, 0);
    let size = fs::metadata(kit.entry()).unwrap().len();
    load(&cache, 1);
    let age = |seconds| {
        for entry in fs::read_dir(kit.cache()).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        }
    };
    age(3600);
    assert!(!load(&cache, 0).compiled, "it is there, and is used now");
    let small = Cache::new(kit.cache(), compiler()).with_most(size * 5 / 2);
    assert!(load(&small, 2).compiled);
    assert_eq!(fs::read_dir(kit.cache()).unwrap().count(), 2);
    assert!(!load(&small, 0).compiled, "used later than the one that went");
    // What is larger than the whole cache is kept nevertheless: it is in use.
    let tiny = Cache::new(kit.cache(), compiler()).with_most(1);
    assert!(load(&tiny, 1).compiled);
    assert_eq!(fs::read_dir(kit.cache()).unwrap().count(), 1);
}
