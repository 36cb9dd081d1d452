//! Sends a transaction: one netlink batch, tied to the generation that was compared. All of it takes effect at once, for
//! every packet, in all tables and both families, or nothing does.

use ruleward_core::encoded_rule::EncodedRule;
use ruleward_core::transaction::{Change, Step, Transaction};
use ruleward_netlink::{push_attribute, push_text};

use super::super::nfnetlink::{Batch, BatchError};
use super::super::port::TransactError;
use super::super::set_index::SetIndexes;
use super::{Nft, state, wire};

const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;

impl Nft {
    /// Carries out a transaction.
    ///
    /// # Errors
    /// [`TransactError`]; nothing was changed then.
    pub fn transact(&mut self, transaction: &Transaction) -> Result<(), TransactError> {
        let mut batch = self.netlink.batch(transaction.generation);
        for (number, step) in transaction.steps.iter().enumerate() {
            push(&mut batch, self.sets.as_ref(), step)
                .map_err(|reason| TransactError::Refused { steps: vec![number], reason })?;
        }
        self.netlink.commit(batch).map_err(|error| match error {
            BatchError::Stale => TransactError::Stale,
            BatchError::NotSent(error) => TransactError::Impossible(format!("the batch could not be sent: {error}")),
            BatchError::Refused(error, failed) => {
                let steps = failed.iter().map(|(number, _)| *number).collect();
                TransactError::Refused { steps, reason: error.to_string() }
            }
        })
    }
}

/// One step is one message.
fn push(batch: &mut Batch, sets: Option<&SetIndexes>, step: &Step) -> Result<(), String> {
    let family = wire::protocol(step.family);
    let table = step.table.as_str();
    match &step.change {
        Change::AddTable => {
            batch.push(wire::NEW_TABLE, family, NLM_F_CREATE, |bytes| push_text(bytes, wire::TABLE_NAME, table));
        }
        Change::AddHook { hook, definition, policy } => {
            batch.push(wire::NEW_CHAIN, family, NLM_F_CREATE | NLM_F_EXCL, |bytes| {
                push_text(bytes, wire::CHAIN_TABLE, table);
                push_text(bytes, wire::CHAIN_NAME, hook.as_str());
                bytes.extend_from_slice(definition);
                if let Some(policy) = policy {
                    push_attribute(bytes, wire::CHAIN_POLICY, &state::verdict(*policy));
                }
            });
        }
        Change::SetPolicy { hook, policy } => batch.push(wire::NEW_CHAIN, family, NLM_F_CREATE, |bytes| {
            push_text(bytes, wire::CHAIN_TABLE, table);
            push_text(bytes, wire::CHAIN_NAME, hook.as_str());
            push_attribute(bytes, wire::CHAIN_POLICY, &state::verdict(*policy));
        }),
        Change::Wake { flags } => batch.push(wire::NEW_TABLE, family, NLM_F_CREATE, |bytes| {
            push_text(bytes, wire::TABLE_NAME, table);
            push_attribute(bytes, wire::TABLE_FLAGS, &flags.to_be_bytes());
        }),
        Change::AddChain(name) => {
            batch.push(wire::NEW_CHAIN, family, NLM_F_CREATE | NLM_F_EXCL, |bytes| {
                push_text(bytes, wire::CHAIN_TABLE, table);
                push_text(bytes, wire::CHAIN_NAME, name);
            });
        }
        Change::Flush(chain) => batch.push(wire::DELETE_RULE, family, 0, |bytes| {
            push_text(bytes, wire::RULE_TABLE, table);
            push_text(bytes, wire::RULE_CHAIN, chain);
        }),
        Change::DeleteRule { chain, handle } => batch.push(wire::DELETE_RULE, family, 0, |bytes| {
            push_text(bytes, wire::RULE_TABLE, table);
            push_text(bytes, wire::RULE_CHAIN, chain);
            push_attribute(bytes, wire::RULE_HANDLE, &handle.to_be_bytes());
        }),
        Change::AddRule { chain, before, form, .. } => {
            let rule = with_indexes(form, sets)?;
            let flags = if before.is_some() { NLM_F_CREATE } else { NLM_F_CREATE | NLM_F_APPEND };
            batch.push(wire::NEW_RULE, family, flags, |bytes| {
                push_text(bytes, wire::RULE_TABLE, table);
                push_text(bytes, wire::RULE_CHAIN, chain);
                if let Some(handle) = before {
                    push_attribute(bytes, wire::RULE_POSITION, &handle.to_be_bytes());
                }
                bytes.extend_from_slice(&rule);
            });
        }
        Change::DeleteChain(name) => batch.push(wire::DELETE_CHAIN, family, 0, |bytes| {
            push_text(bytes, wire::CHAIN_TABLE, table);
            push_text(bytes, wire::CHAIN_NAME, name);
        }),
    }
    Ok(())
}

/// The rule with the indexes that its sets have here and now.
fn with_indexes(form: &EncodedRule, sets: Option<&SetIndexes>) -> Result<Vec<u8>, String> {
    let mut bytes = form.bytes.to_vec();
    for used in &form.sets {
        let sets = sets.ok_or("the kernel does not tell the indexes of sets")?;
        let index = sets.index(&used.name).map_err(|error| error.to_string())?;
        let index = index.ok_or_else(|| format!("the set {} does not exist", used.name))?;
        let at = used.offset as usize;
        let place = bytes.get_mut(at..at + 2).ok_or("the place of a set's index lies outside of the rule")?;
        place.copy_from_slice(&index.to_ne_bytes());
    }
    Ok(bytes)
}
