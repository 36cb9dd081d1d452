//! Whether address sets changed, found without starting a tool: a hash over what the kernel lists of the sets in question,
//! without the numbers that change by themselves (references, memory, hash sizes). Without the members it takes
//! microseconds. Equal hashes mean equal sets; unequal ones
//! mean that somebody has to look, for a set that was only resized lists its members in another order.
//!
//! Layout: `linux/netfilter/ipset/ip_set.h`.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;

use ruleward_netlink::{Attributes, number, push_attribute, push_text, text};
use rustix::io::Errno;

use super::nfnetlink::{Nfnetlink, Request, Subsystem};
use super::port::{Depth, SetsDigest};

const LIST: u8 = 7;
const PROTOCOL: u16 = 1;
const SET_NAME: u16 = 2;
const FLAGS: u16 = 6;
const DATA: u16 = 7;
/// Linux 4.20 and later.
const PROTOCOL_VERSION: u8 = 7;
const ONLY_NAMES: u32 = 1 << 1;
const ONLY_HEADER: u32 = 1 << 2;
/// `IPSET_ATTR_ELEMENTS`, `IPSET_ATTR_REFERENCES`
const ELEMENTS: u16 = 24;
const REFERENCES: u16 = 25;
/// `IPSET_ATTR_INITVAL`, `HASHSIZE`, `BUCKETSIZE`, `RESIZE`, `SIZE`, `ELEMENTS`, `REFERENCES`, `MEMSIZE`
const CHANGES_BY_ITSELF: [u16; 8] = [17, 18, 21, 22, 23, 24, 25, 26];

/// Keyed anew in each process: a digest says nothing in another, and nobody can make two sets alike.
static KEY: OnceLock<RandomState> = OnceLock::new();

fn hasher() -> DefaultHasher {
    KEY.get_or_init(RandomState::new).build_hasher()
}

/// Hashes the sets that `depth` claims, each as closely as it says, in the network namespace of `netlink`.
pub(super) fn digest(netlink: &mut Nfnetlink, depth: &dyn Fn(&str) -> Option<Depth>) -> Result<SetsDigest, Errno> {
    let (mut hasher, mut members) = (hasher(), 0);
    for name in names(netlink)? {
        let Some(depth) = depth(&name) else { continue };
        (&name, depth).hash(&mut hasher);
        let mut attributes = version();
        push_text(&mut attributes, SET_NAME, &name);
        if depth != Depth::Members {
            push_attribute(&mut attributes, FLAGS, &ONLY_HEADER.to_be_bytes());
        }
        let counts = |kind: u16| depth == Depth::Count && kind == ELEMENTS;
        let take = |(hash, members): &mut (DefaultHasher, u64), attributes: &[u8]| {
            for (kind, content) in Attributes(attributes) {
                if kind == DATA {
                    let count = Attributes(content).find(|(kind, _)| *kind == ELEMENTS);
                    *members = count.and_then(|(_, count)| number(count)).map_or(*members, u64::from);
                    let kept = |kind: &u16| !CHANGES_BY_ITSELF.contains(kind) || counts(*kind);
                    for (kind, content) in Attributes(content).filter(|(kind, _)| kept(kind)) {
                        (kind, content).hash(hash);
                    }
                } else {
                    (kind, content).hash(hash);
                }
            }
        };
        match netlink.ask(request(&attributes), || (self::hasher(), 0), take) {
            Ok((set, count)) => {
                set.finish().hash(&mut hasher);
                members += count;
            }
            Err(Errno::NOENT) => {} // destroyed meanwhile: its name is in the hash, and not next time
            Err(error) => return Err(error),
        }
    }
    Ok(SetsDigest { hash: hasher.finish(), members })
}

/// How many rules and sets use a set; `None` if there is no such set.
pub(super) fn references(netlink: &mut Nfnetlink, set: &str) -> Result<Option<u32>, Errno> {
    let mut attributes = version();
    push_text(&mut attributes, SET_NAME, set);
    push_attribute(&mut attributes, FLAGS, &ONLY_HEADER.to_be_bytes());
    let take = |found: &mut Option<u32>, attributes: &[u8]| {
        let data = Attributes(attributes).find(|(kind, _)| *kind == DATA).map_or(&[][..], |(_, data)| data);
        let references = Attributes(data).find(|(kind, _)| *kind == REFERENCES);
        *found = found.or(references.and_then(|(_, value)| number(value)));
    };
    match netlink.ask(request(&attributes), || None, take) {
        Err(Errno::NOENT) => Ok(None),
        other => other,
    }
}

/// The names of all sets.
pub(super) fn names(netlink: &mut Nfnetlink) -> Result<BTreeSet<String>, Errno> {
    let mut attributes = version();
    push_attribute(&mut attributes, FLAGS, &ONLY_NAMES.to_be_bytes());
    let take = |names: &mut BTreeSet<String>, attributes: &[u8]| {
        names.extend(Attributes(attributes).find(|(kind, _)| *kind == SET_NAME).map(|(_, name)| text(name)));
    };
    netlink.ask(request(&attributes), BTreeSet::new, take)
}

fn version() -> Vec<u8> {
    let mut attributes = Vec::with_capacity(64);
    push_attribute(&mut attributes, PROTOCOL, &[PROTOCOL_VERSION]);
    attributes
}

fn request(attributes: &[u8]) -> Request<'_> {
    Request { message: LIST, family: 2, dump: true, attributes, subsystem: Subsystem::Ipset, ..Request::default() }
}
