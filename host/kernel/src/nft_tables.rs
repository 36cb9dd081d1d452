//! Which tables nf_tables has in the calling thread's network namespace, whoever made them and whatever backend is in use.

use ruleward_core::facts::NftTable;
use rustix::io::Errno;

use super::nfnetlink::{Attributes, Nfnetlink, Request, text};

const NFT_MSG_GETTABLE: u8 = 1;
const NFTA_TABLE_NAME: u16 = 1;
/// Families of nf_tables by number (`NFPROTO_*`).
const FAMILIES: [(u8, &str); 6] = [(3, "arp"), (7, "bridge"), (1, "inet"), (2, "ip"), (10, "ip6"), (5, "netdev")];

/// Reads them, sorted by family and name. A kernel without nf_tables has none.
///
/// # Errors
/// When the kernel does not answer.
pub fn nft_tables() -> Result<Vec<NftTable>, std::io::Error> {
    match read() {
        Ok(mut tables) => {
            tables.sort();
            Ok(tables)
        }
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn read() -> Result<Vec<NftTable>, Errno> {
    let mut netlink = Nfnetlink::open()?;
    let mut tables = Vec::new();
    for (number, family) in FAMILIES {
        let request = Request { message: NFT_MSG_GETTABLE, family: number, dump: true, ..Request::default() };
        let names = netlink.ask(request, Vec::new, |names: &mut Vec<String>, attributes| {
            names.extend(Attributes(attributes).find(|(kind, _)| *kind == NFTA_TABLE_NAME).map(|(_, name)| text(name)));
        })?;
        tables.extend(names.into_iter().map(|name| NftTable { family: family.to_owned(), name }));
    }
    Ok(tables)
}
