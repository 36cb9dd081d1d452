//! The cache of compiled code and the last good answers: damage, foreign files, missing rights.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use ruleward_core::contribution::{Chain, Contribution, Families};
use ruleward_core::grants::Grants;
use ruleward_core::names::{ChainName, PolicyName, Table};

use crate::compile::Compiler;
use crate::components::{self, KeptError};
use crate::last_good::{self, LastGood, LastGoodError};
use crate::testkit::{Guest, Kit, encode, facts};
use crate::{CompileError, ComponentBytes, Limits, LoadProblem};
use ruleward_files::private_dir::power::lost_at_each_step;

#[test]
fn a_component_is_compiled_once() {
    let kit = Kit::new();
    let component = Guest::default().component();
    let first = kit.load(&component).unwrap();
    assert!(first.was_compiled() && first.warnings().is_empty(), "{:?}", first.warnings());
    assert_eq!(fs::metadata(kit.cache()).unwrap().permissions().mode() & 0o777, 0o700);
    let second = kit.load(&component).unwrap();
    assert!(!second.was_compiled() && second.warnings().is_empty(), "{:?}", second.warnings());
    assert_eq!(first.digest(), second.digest());
}

/// Does something to the only entry; it must be compiled again, with a warning that holds `expected`.
fn tampered(expected: &str, tamper: impl Fn(&std::path::Path)) {
    let kit = Kit::new();
    let component = Guest::default().component();
    kit.load(&component).unwrap();
    tamper(&kit.entry());
    let again = kit.load(&component).unwrap();
    assert!(again.was_compiled());
    assert!(again.warnings().iter().any(|warning| warning.contains(expected)), "{:?}", again.warnings());
    let third = kit.load(&component).unwrap();
    assert!(!third.was_compiled() && third.warnings().is_empty(), "{:?}", third.warnings());
}

#[test]
fn policies_with_the_same_component_share_it() {
    let kit = Kit::new();
    let component = Guest::default().component();
    let first = kit.load(&component).unwrap();
    // While it is used, nobody looks at the file.
    fs::remove_file(kit.entry()).unwrap();
    let second = kit.load(&component).unwrap();
    assert!(!second.was_compiled() && second.warnings().is_empty(), "{:?}", second.warnings());
    drop((first, second));
    assert!(kit.load(&component).unwrap().was_compiled(), "nothing is kept that nobody uses");
}

#[test]
fn flipped_bits_in_the_cache_are_noticed() {
    for part in 0..8 {
        tampered("is damaged or of another engine: its digest is not the one in its name", |entry| {
            let mut bytes = fs::read(entry).unwrap();
            let place = (bytes.len() - 1) * part / 7;
            bytes[place] ^= 1;
            fs::write(entry, bytes).unwrap();
        });
    }
}

#[test]
fn a_cut_entry_is_noticed() {
    tampered("is damaged", |entry| File::options().write(true).open(entry).unwrap().set_len(100).unwrap());
}

#[test]
fn a_symbolic_link_is_not_followed() {
    tampered("is a symbolic link", |entry| {
        let elsewhere = entry.parent().unwrap().parent().unwrap().join("elsewhere");
        fs::rename(entry, &elsewhere).unwrap();
        symlink(&elsewhere, entry).unwrap();
    });
}

#[test]
fn an_entry_that_others_can_write_to_is_not_trusted() {
    tampered("can be written by others (mode 0666)", |entry| {
        fs::set_permissions(entry, Permissions::from_mode(0o666)).unwrap();
    });
}

#[test]
fn an_entry_that_is_no_file_is_not_trusted() {
    tampered("is not a regular file", |entry| {
        fs::remove_file(entry).unwrap();
        fs::create_dir(entry).unwrap();
    });
}

#[test]
fn code_of_another_engine_is_not_mapped() {
    tampered("is damaged or of another engine", |entry| {
        // Whole by its name, and not from our compiler.
        let content = b"\x7fELF something else";
        let digest = ruleward_files::digest::hex_of(content);
        let name = entry.file_name().unwrap().to_str().unwrap();
        let key = name.split('.').next().unwrap();
        fs::remove_file(entry).unwrap();
        fs::write(entry.with_file_name(format!("{key}.{digest}.cwasm")), content).unwrap();
    });
}

#[test]
fn a_folder_that_others_can_write_to_is_not_used() {
    let kit = Kit::new();
    fs::create_dir_all(kit.cache()).unwrap();
    fs::set_permissions(kit.cache(), Permissions::from_mode(0o777)).unwrap();
    let policy = kit.load(&Guest::default().component()).unwrap();
    assert!(policy.warnings()[0].contains("can be written by others (mode 0777)"), "{:?}", policy.warnings());
    assert_eq!(fs::read_dir(kit.cache()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_a_link_is_not_used() {
    let kit = Kit::new();
    let elsewhere = kit.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir(kit.folder.path().join("state")).unwrap();
    symlink(&elsewhere, kit.cache()).unwrap();
    let policy = kit.load(&Guest::default().component()).unwrap();
    assert!(policy.warnings()[0].contains("can't be saved"), "{:?}", policy.warnings());
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0);
}

#[test]
fn a_cache_that_can_not_be_made_is_a_warning() {
    let kit = Kit::new();
    fs::write(kit.folder.path().join("state"), "a file").unwrap();
    let policy = kit.load(&Guest::default().component()).unwrap();
    assert!(policy.was_compiled());
    assert!(
        policy.warnings()[0].contains("can't be saved, so each start compiles them again"),
        "{:?}",
        policy.warnings()
    );
}

#[test]
fn pruning_keeps_what_is_in_use() {
    let kit = Kit::new();
    let kept = kit.load(&Guest::default().component()).unwrap();
    kit.load(&Guest { evaluate: "unreachable", ..Guest::default() }.component()).unwrap();
    assert_eq!(kit.engine.prune_cache(&[kept.digest()]).unwrap(), 1);
    assert!(!kit.load(&Guest::default().component()).unwrap().was_compiled());
}

/// A compiler that is the shell.
fn shell(script: &str, timeout: Duration) -> Compiler {
    let arguments = ["-c", script, "sh"].map(Into::into).to_vec();
    Compiler { program: "/bin/sh".into(), arguments, timeout, ..Compiler::default() }
}

#[test]
fn a_compiler_that_hangs_is_killed() {
    let kit = Kit::with_compiler(shell("while :; do :; done", Duration::from_millis(50)));
    let error = kit.load(&Guest::default().component()).unwrap_err();
    assert!(matches!(error.problem, LoadProblem::Compile(CompileError::TimedOut(_))), "{error}");
    assert_eq!(fs::read_dir(kit.cache()).unwrap().count(), 0, "its folder is gone");
}

#[test]
fn what_ends_the_compiler_is_told_apart() {
    let message = |script: &str| {
        let kit = Kit::with_compiler(shell(script, Duration::from_secs(60)));
        kit.load(&Guest::default().component()).unwrap_err().problem.to_string()
    };
    assert!(message("echo bad section >&2; exit 65").ends_with("is not a valid component: bad section"));
    assert!(message("kill -XCPU $$").contains("within 60 s of processor time"));
    assert!(message("echo memory allocation of 9 bytes failed >&2; kill -ABRT $$").contains("within 2 GiB of memory"));
    assert!(message("echo what now >&2; exit 3").ends_with("exit status: 3: what now"));
    assert!(message("exit 0").contains("No such file"), "no output");
    let none = Kit::with_compiler(Compiler { program: "/nowhere".into(), ..Compiler::default() });
    let error = none.load(&Guest::default().component()).unwrap_err();
    assert!(error.to_string().contains("can't start /nowhere"), "{error}");
}

#[test]
fn a_component_that_needs_too_much_to_compile_is_refused() {
    // Nested blocks without end are cheap to write and dear to compile; whether refused or compiled, this returns.
    let body = "(block ".repeat(5000) + &")".repeat(5000) + " i32.const 128";
    let module = Guest { evaluate: &body, ..Guest::default() }.module();
    let _ = Kit::new().load(&encode(&module, &[crate::testkit::WIT]));
}

fn last_good() -> LastGood {
    let chain =
        Chain { table: Table::Nat, families: Families::BOTH, name: ChainName::new("web").unwrap(), rules: Vec::new() };
    LastGood {
        policy: PolicyName::new("test").unwrap(),
        digest: "sha256:00".to_owned(),
        version: "1.0".to_owned(),
        settings: "{}".to_owned(),
        grants: Grants { tables: vec![Table::Nat], ..Grants::default() },
        limits: Limits::default(),
        facts: last_good::facts_digest(&facts()),
        contribution: Contribution { chains: vec![chain], ..Contribution::default() },
        warnings: vec!["a setting has no effect".to_owned()],
    }
}

#[test]
fn the_last_good_answer_comes_back() {
    let state = tempfile::tempdir().unwrap();
    let answer = last_good();
    assert!(last_good::load(state.path(), &answer.policy).unwrap().is_none());
    last_good::store(state.path(), &answer).unwrap();
    last_good::store(state.path(), &answer).unwrap();
    assert_eq!(last_good::load(state.path(), &answer.policy).unwrap(), Some(answer));
    let names: Vec<_> = fs::read_dir(state.path().join("last-good")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["test.json"]);
}

#[test]
fn every_flipped_bit_in_a_last_good_answer_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let answer = last_good();
    last_good::store(state.path(), &answer).unwrap();
    let path = state.path().join("last-good/test.json");
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 7);
        fs::write(&path, &bytes).unwrap();
        let error = last_good::load(state.path(), &answer.policy).unwrap_err();
        assert!(
            matches!(error, LastGoodError::Damaged { .. } | LastGoodError::OtherVersion { .. }),
            "{place}: {error}"
        );
    }
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let error = last_good::load(state.path(), &answer.policy).unwrap_err();
        assert!(error.to_string().contains("test.json is damaged"), "{error}");
    }
}

#[test]
fn a_last_good_answer_of_another_policy_or_owner_is_not_believed() {
    let state = tempfile::tempdir().unwrap();
    last_good::store(state.path(), &last_good()).unwrap();
    let folder = state.path().join("last-good");
    fs::copy(folder.join("test.json"), folder.join("other.json")).unwrap();
    let error = last_good::load(state.path(), &PolicyName::new("other").unwrap()).unwrap_err();
    assert!(error.to_string().contains("belongs to the policy test"), "{error}");
    fs::set_permissions(folder.join("test.json"), Permissions::from_mode(0o622)).unwrap();
    let error = last_good::load(state.path(), &PolicyName::new("test").unwrap()).unwrap_err();
    assert!(error.to_string().contains("can be written by others"), "{error}");
}

/// Between any two calls: what is there is the old or the new, and the next start goes on from it.
#[test]
fn a_power_loss_at_any_step_leaves_the_old_or_the_new() {
    let (old, mut new) = (last_good(), last_good());
    new.contribution.chains.clear();
    let steps = lost_at_each_step(
        |state| last_good::store(state, &old).unwrap(),
        |state, ()| last_good::store(state, &new).unwrap(),
        |state, (), ended| {
            let found = last_good::load(state, &old.policy).unwrap().unwrap();
            assert!(found == new || (found == old && !ended), "{found:?}");
            last_good::store(state, &new).unwrap();
            assert_eq!(last_good::load(state, &old.policy).unwrap().unwrap(), new);
        },
    );
    // What is renamed is on the disk before, and the name after.
    assert_eq!(steps, ["create", "write", "sync", "rename", "sync the folder"]);
}

#[test]
fn a_component_is_kept_whole_or_not_at_all() {
    let component = ComponentBytes::from(Guest::default().component());
    lost_at_each_step(
        |_| (),
        |state, ()| components::keep(state, &component).unwrap(),
        |state, (), ended| {
            match components::load(state, &component.digest) {
                Ok(found) => assert_eq!(found.bytes, component.bytes),
                Err(KeptError::Missing(_)) => assert!(!ended),
                Err(error) => panic!("{error}"),
            }
            components::keep(state, &component).unwrap();
            assert_eq!(components::load(state, &component.digest).unwrap().bytes, component.bytes);
        },
    );
}

#[test]
fn a_damaged_component_is_not_believed() {
    let state = tempfile::tempdir().unwrap();
    let component = ComponentBytes::from(Guest::default().component());
    components::keep(state.path(), &component).unwrap();
    let digits = component.digest.strip_prefix("sha256:").unwrap();
    let path = state.path().join("components").join(format!("{digits}.wasm"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(components::load(state.path(), &component.digest), Err(KeptError::Damaged(_))));
    components::keep(state.path(), &component).unwrap();
    assert!(components::load(state.path(), &component.digest).is_ok());
    assert_eq!(components::prune(state.path(), &[]).unwrap(), 1);
    assert!(matches!(components::load(state.path(), &component.digest), Err(KeptError::Missing(_))));
}
