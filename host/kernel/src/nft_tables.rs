//! Which tables nf_tables has in the calling thread's network namespace, whoever made them and
//! whatever backend is in use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ruleward_core::facts::NftTable;
use ruleward_netlink::{Attributes, Messages, text};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::nfnetlink::{Nfnetlink, Request};
use super::nft::events;
use super::nft::wire::{DELETE_TABLE, NEW_TABLE};

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

/// Hears that tables come and go, for a watch that hears nothing else of nf_tables.
#[derive(Debug)]
pub struct TableEvents {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl TableEvents {
    /// Listens in the calling thread's network namespace.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN in the namespace.
    pub fn open() -> Result<Self, Errno> {
        Ok(Self { socket: events::socket()?, buffer: vec![0; 64 << 10].into() })
    }

    /// Readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what has come. Whether any of it is about a table, or may be.
    pub fn take(&mut self) -> bool {
        let mut any = false;
        // A program that never pauses is listened to again at the next sign.
        for _ in 0..events::AT_ONCE {
            match rustix::net::recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    any |= self.buffer.get(..length).is_none_or(|datagram| {
                        Messages::new(datagram).any(|message| {
                            let [subsystem, kind] = message.kind.to_be_bytes();
                            u16::from(subsystem) == events::SUBSYSTEM && matches!(kind, NEW_TABLE..=DELETE_TABLE)
                        })
                    });
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => any = true, // ENOBUFS: what else came is not known
            }
        }
        any
    }
}
