//! What a policy answers, as bytes in its memory. The guest here answers with whatever its settings say.
#![allow(clippy::panic, reason = "a target fails by panicking")]

use std::sync::LazyLock;

use ruleward_core::grants::Grants;
use ruleward_corpus::{Guest, settings_offset};
use ruleward_sandbox::testkit::{self, Kit, facts};
use ruleward_sandbox::{Cause, Compiler, Fault, LoadedPolicy};

/// The program that compiles the guest; without it, a test executable does.
const COMPILER_VARIABLE: &str = "RULEWARD_BIN";
/// Where the guest puts the answer, and how many bytes of it there may be.
const ROOM: std::ops::Range<usize> = 32_768..65_536;

/// Loaded once; each input has an instance of its own.
static POLICY: LazyLock<(Kit, LoadedPolicy)> = LazyLock::new(|| {
    let compiler = std::env::var_os(COMPILER_VARIABLE)
        .map_or_else(testkit::compiler, |program| Compiler { program: program.into(), ..Compiler::default() });
    let kit = Kit::with_compiler(compiler);
    let evaluate = echo();
    let policy = kit.load(&Guest { evaluate: &evaluate, ..Guest::default() }.component());
    let policy = policy.unwrap_or_else(|error| panic!("the guest can't be loaded: {error}"));
    (kit, policy)
});

/// Body of an `evaluate` that reads its settings as pairs of hexadecimal digits, and answers with these bytes.
fn echo() -> String {
    let pointer = settings_offset();
    let digit = |at: &str| {
        format!(
            "(i32.add (i32.and (i32.load8_u {at}) (i32.const 15))
                      (i32.mul (i32.const 9) (i32.shr_u (i32.load8_u {at}) (i32.const 6))))"
        )
    };
    let (high, low) = (digit("(local.get $from)"), digit("offset=1 (local.get $from)"));
    format!(
        "(local $from i32) (local $end i32) (local $to i32)
        (local.set $from (i32.load offset={pointer} (local.get 0)))
        (local.set $end (i32.add (local.get $from) (i32.load offset={} (local.get 0))))
        (local.set $to (i32.const {}))
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
            (i32.store8 (local.get $to) (i32.or (i32.shl {high} (i32.const 4)) {low}))
            (local.set $from (i32.add (local.get $from) (i32.const 2)))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))
            (br $next)))
        i32.const {}",
        pointer + 4,
        ROOM.start,
        ROOM.start,
    )
}

/// An answer, or what is wrong with it: the same each time, and never a fault of the host.
pub fn answer(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(ROOM.len())];
    let settings: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (_, policy) = &*POLICY;
    let ask = || policy.evaluate(&facts(), &Grants::default(), &settings);
    match (ask(), ask()) {
        (Ok(one), Ok(other)) => assert!(one.contribution == other.contribution, "read twice, it is two answers"),
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            // The guest itself does nothing that could fail.
            let failed = matches!(one.cause, Cause::Fault(Fault::Panicked(_)));
            assert!(!failed, "the guest has failed: {one}");
        }
        _ => panic!("read twice, it is an answer once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleward_corpus::chain_named;

    #[test]
    fn what_the_bytes_say_is_the_answer() {
        let settings: String = chain_named("bad-ok").iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = POLICY.1.evaluate(&facts(), &Grants::default(), &settings).unwrap();
        let names: Vec<_> = answer.contribution.chains.iter().map(|chain| chain.name.as_str()).collect();
        assert_eq!(names, ["bad-ok"]);
    }
}
