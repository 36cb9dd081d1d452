//! Which of its dataplanes Felix runs. With nftables it keeps its rules in a table of its own, `calico`, and removes
//! those in iptables' tables: then there is nothing here to keep or to take over.

use ruleward_sdk::{Facts, Failure, NftTable};

use crate::parameters::Found;

/// What `nftablesMode` says. Absent is `Auto`, the default since v3.32: Felix decides by what it finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NftablesMode {
    /// Always.
    Enabled,
    /// Never.
    Disabled,
    /// As its table in the kernel tells.
    #[default]
    Auto,
}

impl NftablesMode {
    /// Reads the parameter.
    ///
    /// # Errors
    /// When it is none of Felix's words.
    pub fn read(parameter: Option<Found<'_>>) -> Result<Self, Failure> {
        let Some(found) = parameter else { return Ok(Self::default()) };
        let words = [("Enabled", Self::Enabled), ("Disabled", Self::Disabled), ("Auto", Self::Auto)];
        let text = found.text()?;
        let mode = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, mode)| *mode);
        mode.ok_or_else(|| found.refuse(format!("is {text:?}; write Enabled, Disabled or Auto")))
    }
}

/// Ends the evaluation where Felix has no iptables rules on this node. Beside Felix the policy waits: what it asked for
/// last stays as it is. In Felix's place its rules would translate packets a second time, so it is refused.
///
/// # Errors
/// [`Failure::Waiting`] beside Felix, [`Failure::Other`] in its place.
pub fn need_iptables(mode: NftablesMode, facts: &Facts, beside_felix: bool) -> Result<(), Failure> {
    let own = |table: &&NftTable| table.name == "calico" && matches!(&*table.family, "ip" | "ip6");
    let reason = match mode {
        NftablesMode::Enabled => "nftablesMode is Enabled".to_owned(),
        NftablesMode::Disabled => return Ok(()),
        NftablesMode::Auto => match facts.system.nft_tables.iter().find(own) {
            Some(table) => format!("the kernel has its table {} calico", table.family),
            None => return Ok(()),
        },
    };
    Err(if beside_felix {
        Failure::Waiting(format!("Felix uses nftables ({reason}), so there is no jump of Felix's to keep"))
    } else {
        Failure::Other(format!(
            "Felix uses nftables ({reason}): rules of this policy would translate packets a second time. Remove the \
             policy, or set nftablesMode: Disabled in the FelixConfiguration"
        ))
    })
}
