//! Calls a policy: each time in a fresh instance, within its limits. What comes back is a value, or an error that
//! tells which limit was met or what the policy did wrong; in both cases with what was used and what it logged.

use std::time::{Duration, Instant};

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use thiserror::Error;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::contract_v0_1::{Policy, PolicyPre};
use super::description::Description;
use super::engine::Sandbox;
use super::guest::{Denied, Guest, Log, one_line};
use super::lift::{self, LiftError};
use super::limits::Limits;
use super::lower;
use super::refusal::{self, Refusal};

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall time of the call, conversions included.
    pub time: Duration,
    /// Of [`Limits::fuel`].
    pub fuel: u64,
    /// Most linear memory at a time, bytes.
    pub memory: u64,
    /// Lines logged, those over the limit included.
    pub log_lines: u64,
    /// Chains in the answer.
    pub chains: u64,
    /// Rules in the answer, attachments included.
    pub rules: u64,
}

/// A policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What it asks for.
    pub contribution: Contribution,
    /// What that took.
    pub usage: Usage,
    /// What it logged.
    pub log: Log,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{cause}")]
pub struct EvaluateError {
    /// What went wrong.
    pub cause: Cause,
    /// What was used until then.
    pub usage: Usage,
    /// What it logged until then: often the best hint.
    pub log: Log,
}

/// What went wrong in a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Cause {
    /// A limit of the sandbox, or a crash.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The answer is malformed.
    #[error("its answer is wrong in {0}")]
    Malformed(#[from] LiftError),
    /// It said itself why it has no answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// How a call ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// [`Limits::fuel`].
    #[error("ran out of fuel after {0} units; raise the limit `fuel` if it is not an endless loop")]
    OutOfFuel(u64),
    /// [`Limits::time`].
    #[error("ran out of time after {} ms; raise the limit `time` if it is not an endless loop", .0.as_millis())]
    OutOfTime(Duration),
    /// [`Limits::memory`].
    #[error("ran out of memory: it wanted {wanted} bytes and the limit `memory` is {limit}")]
    OutOfMemory {
        /// What would have been in use.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::table_elements`].
    #[error("ran out of table elements: it wanted {wanted} and the limit is {limit}")]
    OutOfTableElements {
        /// What would have been in use.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// Endless recursion, most often.
    #[error("overflowed its stack of {} KiB: it calls itself too deeply", super::engine::GUEST_STACK >> 10)]
    StackOverflow,
    /// [`Limits::output`].
    #[error("answers with too much data: the host would need more than the {0} bytes of the limit `output`")]
    TooMuchOutput(u64),
    /// It gave up.
    #[error("panicked (it executed `unreachable`); the reason, if it gave one, is in its log lines")]
    Panicked,
    /// Another trap.
    #[error("crashed: {0}")]
    Crashed(String),
    /// Not even a value of the right type: text that is not UTF-8, a list outside its memory.
    #[error("broke the calling convention: {0}")]
    BrokenConvention(String),
}

/// Asks a policy what it is.
///
/// # Errors
/// [`Fault`].
pub fn describe(
    sandbox: &Sandbox,
    pre: &PolicyPre<Guest>,
    limits: &Limits,
) -> (Result<super::contract_v0_1::Description, Fault>, Usage, Log) {
    call(sandbox, pre, limits, |policy, store| policy.call_describe(store))
}

/// Asks a policy what it wants.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    sandbox: &Sandbox,
    pre: &PolicyPre<Guest>,
    description: &Description,
    limits: &Limits,
    (facts, grants, settings): (&Facts, &Grants, &str),
) -> Result<Evaluation, Box<EvaluateError>> {
    let start = Instant::now();
    let (answer, mut usage, log) = lower::lowered(facts, grants, description, |facts| {
        call(sandbox, pre, limits, |policy, store| policy.call_evaluate(store, facts, settings))
    });
    let contribution = match answer {
        Err(fault) => Err(Cause::Fault(fault)),
        Ok(Err(failure)) => Err(Cause::Refused(refusal::lift(failure))),
        Ok(Ok(answer)) => {
            usage.chains = answer.chains.len() as u64;
            usage.rules = lift::rules(&answer);
            lift::contribution(answer, limits).map_err(Cause::Malformed)
        }
    };
    usage.time = start.elapsed();
    match contribution {
        Ok(contribution) => Ok(Evaluation { contribution, usage, log }),
        Err(cause) => Err(Box::new(EvaluateError { cause, usage, log })),
    }
}

/// Runs `with` on a fresh instance.
fn call<T>(
    sandbox: &Sandbox,
    pre: &PolicyPre<Guest>,
    limits: &Limits,
    with: impl FnOnce(&Policy, &mut Store<Guest>) -> wasmtime::Result<T>,
) -> (Result<T, Fault>, Usage, Log) {
    let start = Instant::now();
    let deadline = start + limits.time;
    let mut store = Store::new(&sandbox.engine, Guest::new(limits.clone()));
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(usize::try_from(limits.output).unwrap_or(usize::MAX));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let over = Instant::now() >= deadline;
        Ok(if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
    });
    let result = {
        let _watched = sandbox.watchdog.watch(deadline);
        store
            .set_fuel(limits.fuel)
            .and_then(|()| pre.instantiate(&mut store))
            .and_then(|policy| with(&policy, &mut store))
    };
    let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
    let guest = store.into_data();
    let usage = Usage {
        time: start.elapsed(),
        fuel,
        memory: guest.peak_memory,
        log_lines: guest.log.lines.len() as u64 + guest.log.dropped,
        ..Usage::default()
    };
    let result = result.map_err(|error| fault(&error, &guest, limits));
    (result, usage, guest.log)
}

/// Tells what ended a call.
fn fault(error: &wasmtime::Error, guest: &Guest, limits: &Limits) -> Fault {
    let trap = error.downcast_ref::<Trap>().copied();
    match (trap, guest.denied) {
        (Some(Trap::OutOfFuel), _) => Fault::OutOfFuel(limits.fuel),
        (Some(Trap::Interrupt), _) => Fault::OutOfTime(limits.time),
        (Some(Trap::StackOverflow), _) => Fault::StackOverflow,
        // Most languages abort when memory is refused; then that is the reason, not the abort.
        (_, Some(Denied::Memory(wanted))) => Fault::OutOfMemory { wanted, limit: limits.memory },
        (_, Some(Denied::TableElements(wanted))) => Fault::OutOfTableElements { wanted, limit: limits.table_elements },
        (Some(Trap::UnreachableCodeReached), None) => Fault::Panicked,
        (Some(trap), None) => Fault::Crashed(trap.to_string()),
        (None, None) => {
            let text = format!("{:#}", error.root_cause());
            // wasmtime has no public type for this error; a test watches over the text.
            if text.contains("fuel allocated for hostcalls has been exhausted") {
                Fault::TooMuchOutput(limits.output)
            } else {
                Fault::BrokenConvention(one_line(&text, 400))
            }
        }
    }
}
