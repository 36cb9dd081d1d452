//! Calls a policy: each time in a fresh instance, within its limits. What comes back is a value, or an error that
//! tells which limit was met or what the policy did wrong; in both cases with what was used and what it logged.

use std::time::{Duration, Instant};

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::limit::{Exceeded, Limit, Limits, Usage};
use thiserror::Error;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::contract::{Linked, Question};
use super::description::{Description, DescriptionError};
use super::engine::Sandbox;
use super::guest::{Guest, Log, NoMemory, one_line};
use super::lift_error::LiftError;
use super::refusal::Refusal;
use super::repeat::Difference;
use super::trace::Trace;

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
    /// Asked again, it had another answer.
    #[error(transparent)]
    Unrepeatable(#[from] Difference),
}

/// How a call ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A limit.
    #[error("{0}")]
    Exceeded(Exceeded),
    /// Within its limits, and the machine has no more.
    #[error("was stopped: {0}")]
    NoMemory(String),
    /// Endless recursion, most often.
    #[error("overflowed its stack of {stack} KiB: it calls itself too deeply{0}", stack = super::engine::GUEST_STACK >> 10)]
    StackOverflow(Trace),
    /// It gave up.
    #[error("panicked (it executed `unreachable`); the reason, if it gave one, is in its log lines{0}")]
    Panicked(Trace),
    /// Another trap.
    #[error("crashed: {0}{1}")]
    Crashed(String, Trace),
    /// Not even a value of the right type: text that is not UTF-8, a list outside its memory.
    #[error("broke the calling convention: {0}")]
    BrokenConvention(String),
}

/// A policy that is linked and can be asked.
pub struct Callee<'a> {
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// It.
    pub policy: &'a dyn Linked,
    /// What each call may use.
    pub limits: &'a Limits,
}

impl Callee<'_> {
    /// Asks a policy what it is.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn describe(&self) -> (Result<Result<Description, DescriptionError>, Fault>, Usage, Log) {
        self.call(|store| self.policy.describe(store))
    }

    /// Asks a policy what it wants.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn evaluate(
        &self,
        description: &Description,
        (facts, grants, settings): (&Facts, &Grants, &str),
    ) -> Result<Evaluation, Box<EvaluateError>> {
        let start = Instant::now();
        let question = Question { facts, grants, settings, description, limits: self.limits };
        let mut sizes = Usage::default();
        let (answer, usage, log) = self.call(|store| self.policy.evaluate(store, &question, &mut sizes));
        let mut usage = usage.or_worse(&sizes);
        let answer = answer.map_err(Cause::Fault).and_then(|lift| lift());
        usage[Limit::Time] = microseconds(start.elapsed());
        match answer {
            Ok(contribution) => Ok(Evaluation { contribution, usage, log }),
            Err(cause) => Err(Box::new(EvaluateError { cause, usage, log })),
        }
    }

    /// Makes an instance and nothing more.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn instantiate(&self) -> Result<(), Fault> {
        self.call(|store| self.policy.instantiate(store)).0
    }

    /// Runs `with`, which makes an instance, within the limits.
    fn call<T>(&self, with: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>) -> (Result<T, Fault>, Usage, Log) {
        let Self { sandbox, limits, .. } = *self;
        let start = Instant::now();
        let deadline = start + limits.time();
        let mut store = Store::new(&sandbox.engine, Guest::new(limits.clone()));
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(limits.size(Limit::Output));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let over = Instant::now() >= deadline;
            Ok(if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        let fuel = limits[Limit::Fuel];
        let result = {
            let _watched = sandbox.watchdog.watch(deadline);
            store.set_fuel(fuel).and_then(|()| with(&mut store))
        };
        let left = store.get_fuel().unwrap_or_default();
        let guest = store.into_data();
        let mut usage = guest.usage.clone();
        usage[Limit::Time] = microseconds(start.elapsed());
        usage[Limit::Fuel] = fuel.saturating_sub(left);
        let result = result.map_err(|error| {
            let fault = fault(&error, &guest, limits, &usage);
            if let Fault::Exceeded(over) = &fault {
                usage[over.limit] = usage[over.limit].max(over.used);
            }
            fault
        });
        (result, usage, guest.log)
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Tells what ended a call.
fn fault(error: &wasmtime::Error, guest: &Guest, limits: &Limits, usage: &Usage) -> Fault {
    let over = |limit, used| Fault::Exceeded(Exceeded { limit, used, most: limits[limit] });
    let trap = error.downcast_ref::<Trap>().copied();
    match (trap, guest.denied) {
        (Some(Trap::OutOfFuel), _) => over(Limit::Fuel, usage[Limit::Fuel]),
        (Some(Trap::Interrupt), _) => over(Limit::Time, usage[Limit::Time]),
        (Some(Trap::StackOverflow), _) => Fault::StackOverflow(Trace::of(error)),
        // Most languages abort when memory is refused; then that is the reason, not the abort.
        (_, Some(denied)) => Fault::Exceeded(denied),
        (Some(Trap::UnreachableCodeReached), None) => Fault::Panicked(Trace::of(error)),
        (Some(trap), None) => Fault::Crashed(trap.to_string(), Trace::of(error)),
        (None, None) => {
            if let Some(none) = error.downcast_ref::<NoMemory>() {
                return Fault::NoMemory(none.to_string());
            }
            let text = format!("{:#}", error.root_cause());
            // wasmtime has no public types for these errors; tests watch over the texts.
            if text.contains("fuel allocated for hostcalls has been exhausted") {
                return over(Limit::Output, limits[Limit::Output].saturating_add(1));
            }
            match too_many(&text) {
                Some((limit, used)) => over(limit, used),
                None => Fault::BrokenConvention(one_line(&text, 400)),
            }
        }
    }
}

/// `resource limit exceeded: table count too high at 65`
fn too_many(text: &str) -> Option<(Limit, u64)> {
    let (what, used) = text.strip_prefix("resource limit exceeded: ")?.split_once(" count too high at ")?;
    let limit = match what {
        "instance" => Limit::Instances,
        "memory" => Limit::Memories,
        "table" => Limit::Tables,
        _ => return None,
    };
    Some((limit, used.parse().ok()?))
}
