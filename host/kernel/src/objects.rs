//! Objects of a network namespace that rules name and that no rule makes: accounting objects (`-m nfacct`) and timeouts of
//! connections (`-j CT --timeout`). Where rules are rehearsed there must be the same ones, else a rule is refused for which
//! the node has all that it needs.
//!
//! Layouts: `linux/netfilter/nfnetlink_acct.h`, `linux/netfilter/nfnetlink_cttimeout.h`.

use ruleward_netlink::{Attributes, push_attribute, push_nested};
use rustix::io::Errno;

use super::nfnetlink::{Nfnetlink, Request, Subsystem};

const NEW: u8 = 0;
const GET: u8 = 1;
/// `NFACCT_NAME`, `NFACCT_FLAGS`, `NFACCT_QUOTA`
const OF_ACCOUNTING: [u16; 3] = [1, 5, 6];
/// `CTA_TIMEOUT_NAME`, `CTA_TIMEOUT_L3PROTO`, `CTA_TIMEOUT_L4PROTO`, `CTA_TIMEOUT_DATA`
const OF_TIMEOUT: [u16; 4] = [1, 2, 3, 4];
/// `CTA_TIMEOUT_DATA` holds attributes.
const TIMEOUT_DATA: u16 = 4;

/// The objects of one namespace: for each how it is made.
#[derive(Debug, Default)]
pub(super) struct Objects(Vec<(Subsystem, Vec<u8>)>);

impl Objects {
    /// Those of the namespace of `netlink`. A kernel without such objects has none.
    pub fn read(netlink: &mut Nfnetlink) -> Self {
        let mut all = Self::default();
        for (subsystem, kept) in [(Subsystem::Accounting, &OF_ACCOUNTING[..]), (Subsystem::Timeout, &OF_TIMEOUT[..])] {
            let request = Request { message: GET, dump: true, subsystem, ..Request::default() };
            let take = |found: &mut Vec<Vec<u8>>, attributes: &[u8]| {
                let mut own = Vec::with_capacity(attributes.len());
                for (kind, content) in Attributes(attributes).filter(|(kind, _)| kept.contains(kind)) {
                    let nested = subsystem == Subsystem::Timeout && kind == TIMEOUT_DATA;
                    if nested { push_nested(&mut own, kind, content) } else { push_attribute(&mut own, kind, content) }
                }
                found.push(own);
            };
            if let Ok(found) = netlink.ask(request, Vec::new, take) {
                all.0.extend(found.into_iter().map(|attributes| (subsystem, attributes)));
            }
        }
        all
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes them in the namespace of `netlink`, which has none of them.
    ///
    /// # Errors
    /// The first refusal; the others are made all the same.
    pub fn make(&self, netlink: &mut Nfnetlink) -> Result<(), Errno> {
        let mut outcome = Ok(());
        for (subsystem, attributes) in &self.0 {
            let request =
                Request { message: NEW, changes: true, subsystem: *subsystem, attributes, ..Request::default() };
            outcome = outcome.and(netlink.ask(request, || (), |(), _| ()));
        }
        outcome
    }
}
