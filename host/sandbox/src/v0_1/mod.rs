//! Version 0.1.0 of the contract: everything that knows its types. Facts go in and answers come out as what the host knows.

mod bindings;
mod lift;
mod lift_addresses;
mod lift_rules;
mod lift_sets;
mod lift_targets;
mod lower;
mod measure;

#[cfg(test)]
mod tests;

use ruleward_core::limit::{Limit, Usage};
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use self::bindings::ruleward::policy::{log, types as wit};
use self::bindings::{Policy, PolicyPre};
use super::contract::{Lift, Linked, Question, Version};
use super::description::{Description, DescriptionError, Words};
use super::evaluate::{Cause, Fault};
use super::guest::{Guest, LogLevel};
use super::refusal::Refusal;

/// The version.
pub const VERSION: Version = Version { number: "0.1.0", interfaces: &["log", "types"], serve, link };

fn serve(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    Policy::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

fn link(pre: InstancePre<Guest>) -> wasmtime::Result<Box<dyn Linked>> {
    Ok(Box::new(PolicyPre::new(pre)?))
}

impl log::Host for Guest {
    fn emit(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log(level, &message);
    }
}

impl wit::Host for Guest {}

impl Linked for PolicyPre<Guest> {
    fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        self.instantiate(store).map(drop)
    }

    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<Result<Description, DescriptionError>> {
        let description = self.instantiate(&mut *store)?.call_describe(store)?;
        let wants = description.wants;
        let words = Words {
            name: description.name,
            version: description.version,
            summary: description.summary,
            settings_schema: description.settings_schema,
            reads_resources: description.reads_resources,
            reads_interfaces: description.reads_interfaces,
            reads_nft_tables: description.reads_nft_tables,
            tables: wants.tables.into_iter().map(lift::table).collect(),
            chains: wants.chains,
            sets: wants.sets,
            comments: wants.comments,
            policies: wants.policies,
            uses_sets: wants.uses_sets,
            uses_chains: wants.uses_chains,
            exclusive_jumps: wants.exclusive_jumps,
        };
        Ok(words.checked())
    }

    fn evaluate(&self, store: &mut Store<Guest>, question: &Question<'_>, usage: &mut Usage) -> wasmtime::Result<Lift> {
        let failed = |cause| -> Lift { Box::new(|| Err(cause)) };
        let Question { facts, grants, settings, description, limits } = *question;
        let exceeded = |over| Cause::Fault(Fault::Exceeded(over));
        let answer = lower::lowered(facts, grants, description, |facts| {
            usage[Limit::Input] = measure::input(&facts, settings);
            match usage.within(limits, &[Limit::Input]) {
                Err(over) => Ok(Err(exceeded(over))),
                Ok(()) => self.instantiate(&mut *store)?.call_evaluate(&mut *store, facts, settings).map(Ok),
            }
        })?;
        let answer = match answer {
            Err(cause) => return Ok(failed(cause)),
            Ok(Err(failure)) => return Ok(failed(Cause::Refused(refusal(failure)))),
            Ok(Ok(answer)) => answer,
        };
        measure::output(&answer, usage);
        let counts = [Limit::Chains, Limit::Rules, Limit::Sets, Limit::Members];
        Ok(match usage.within(limits, &counts) {
            Err(over) => failed(exceeded(over)),
            Ok(()) => Box::new(|| lift::contribution(answer).map_err(Cause::Malformed)),
        })
    }
}

fn refusal(failure: wit::Failure) -> Refusal {
    match failure {
        wit::Failure::Settings(problem) => Refusal::of_setting(&problem.where_, &problem.message),
        wit::Failure::Resource(problem) => Refusal::of_resource(&problem.where_, &problem.message),
        wit::Failure::Waiting(text) => Refusal::waiting(&text),
        wit::Failure::Other(text) => Refusal::other(&text),
    }
}
