//! Netlink messages and their attributes, as bytes. Headers are read and written by `netlink-packet-core`; what a
//! message carries stays where it was received, for it may have to be sent back verbatim.
//!
//! Every length that comes from outside is checked: what is cut off ends a walk, and nothing panics. Sockets are the
//! affair of who uses this. Layouts: `linux/netlink.h`, `linux/netfilter/nfnetlink.h`.

mod attribute;

use netlink_packet_core::{Emitable as _, ErrorBuffer, NetlinkBuffer, NetlinkHeader, Parseable as _};
pub use netlink_packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use rustix::io::Errno;

pub use attribute::{Attributes, number, push_attribute, push_nested, push_text, text};

/// Messages begin at multiples of this.
const ALIGNMENT: usize = 4;

/// A received message: its header, and a view of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `NLMSG_*`, or what the family of netlink defines.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// That of the request which it answers.
    pub sequence: u32,
    /// Without padding.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The number in front of an error, of an acknowledgement (which is the error 0) or of a dump's end.
    ///
    /// # Errors
    /// What the kernel says; [`Errno::PROTO`] if it is no number of an error.
    pub fn status(&self) -> Result<(), Errno> {
        match ErrorBuffer::new_checked(self.body).ok().and_then(|error| error.code()) {
            None => Ok(()),
            Some(code) if (-4095..0).contains(&code.get()) => Err(Errno::from_raw_os_error(-code.get())),
            Some(_) => Err(Errno::PROTO),
        }
    }

    /// What follows the header of nfnetlink.
    pub fn attributes(&self) -> &'a [u8] {
        self.body.get(NFGENMSG..).unwrap_or_default()
    }
}

/// The messages of a datagram.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Those of this datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }

    /// Whether nothing is left. Otherwise, after the last message, what is left is cut off or no message.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let buffer = NetlinkBuffer::new_checked(self.0).ok()?;
        let header = NetlinkHeader::parse(&buffer).ok()?;
        let length = header.length as usize;
        let body = buffer.payload();
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(Message { kind: header.message_type, flags: header.flags, sequence: header.sequence_number, body })
    }
}

/// The header of a message that is about to be sent. Its length comes of what is written, and the port is the kernel's
/// affair.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// `NLMSG_*`, or what the family of netlink defines.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// What answers will have.
    pub sequence: u32,
}

/// Appends a message whose body `write` appends. Several can follow each other in one buffer.
pub fn push_message(bytes: &mut Vec<u8>, head: Head, write: impl FnOnce(&mut Vec<u8>)) {
    let mut header = NetlinkHeader::default();
    (header.message_type, header.flags, header.sequence_number) = (head.kind, head.flags, head.sequence);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let start = bytes.len();
    bytes.resize(start + header.buffer_len(), 0);
    write(bytes);
    header.length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(start..start + header.buffer_len()) {
        header.emit(place);
    }
}

/// Adds flags to the message that begins at `start`.
pub fn add_flags(bytes: &mut [u8], start: usize, flags: u16) {
    if let Some(message) = bytes.get_mut(start..)
        && let Ok(mut buffer) = NetlinkBuffer::new_checked(message)
    {
        buffer.set_flags(buffer.flags() | flags);
    }
}

/// `sizeof(struct nfgenmsg)`
const NFGENMSG: usize = 4;

/// Appends the header of nfnetlink, which begins the body: `NFPROTO_*`, and the resource that is meant.
pub fn push_nfgenmsg(bytes: &mut Vec<u8>, family: u8, resource: u16) {
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_message(&mut bytes, Head { kind, flags: 0, sequence: 7 }, |bytes| bytes.extend_from_slice(body));
        bytes
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = Vec::new();
        for sequence in [7, 8] {
            let head = Head { kind: 2568, flags: NLM_F_REQUEST, sequence };
            push_message(&mut bytes, head, |bytes| {
                push_nfgenmsg(bytes, 2, 10);
                push_text(bytes, 1, "filter");
                push_attribute(bytes, 3, &[0, 9]);
            });
        }
        add_flags(&mut bytes, 0, NLM_F_ACK);
        let messages: Vec<Message<'_>> = Messages::new(&bytes).collect();
        assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(messages.iter().map(|message| message.flags).collect::<Vec<_>>(), [5, 1]);
        assert_eq!((messages[1].kind, &messages[1].body[..4]), (2568, &[2, 0, 0, 10][..]));
        let attributes: Vec<(u16, &[u8])> = Attributes(messages[1].attributes()).collect();
        assert_eq!(attributes, [(1, &b"filter\0"[..]), (3, &[0, 9][..])]);
    }

    #[test]
    fn messages_end_where_a_length_is_wrong() {
        let whole = message(5, &[1, 2, 3]);
        assert_eq!(whole.len(), 19, "the last message of a datagram needs no padding");
        let mut two = whole.clone();
        push_message(&mut two, Head { kind: 6, flags: 0, sequence: 8 }, |_| ());
        let mut messages = Messages::new(&two);
        assert_eq!(messages.by_ref().map(|message| message.kind).collect::<Vec<_>>(), [5, 6]);
        assert!(messages.is_at_end());
        for length in [0, 15, 17, u32::MAX] {
            two[20..24].copy_from_slice(&u32::to_ne_bytes(length));
            let mut messages = Messages::new(&two);
            assert_eq!((messages.by_ref().count(), messages.is_at_end()), (1, false), "{length}");
        }
        assert_eq!(Messages::new(&whole[..15]).count(), 0);
    }

    #[test]
    fn a_status_is_an_error_that_there_is() {
        let status = |code: i32| {
            let bytes = message(NLMSG_ERROR, &code.to_ne_bytes());
            Messages::new(&bytes).next().map(|message| message.status())
        };
        assert_eq!(status(0), Some(Ok(())));
        assert_eq!(status(-2), Some(Err(Errno::NOENT)));
        for code in [1, -4096, i32::MIN, i32::MAX] {
            assert_eq!(status(code), Some(Err(Errno::PROTO)), "{code}");
        }
        // The end of a dump may have no number.
        assert_eq!(Messages::new(&message(NLMSG_DONE, &[])).next().map(|message| message.status()), Some(Ok(())));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            for message in Messages::new(&bytes) {
                let _ = message.status();
                for (_, content) in Attributes(message.attributes()) {
                    let _ = (number(content), text(content), Attributes(content).count());
                }
            }
            prop_assert!(Messages::new(&bytes).count() <= bytes.len() / 16);
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / 4);
            add_flags(&mut bytes, cut, NLM_F_ACK);
        }

        // Bytes that are nearly right go further than any others.
        #[test]
        fn no_length_makes_it_panic(bodies in proptest::collection::vec(any::<[u8; 9]>(), 1..4), at in 0..80_usize, byte: u8) {
            let mut bytes = Vec::new();
            for body in bodies {
                push_message(&mut bytes, Head { kind: 2, flags: 0, sequence: 1 }, |bytes| {
                    push_nfgenmsg(bytes, 0, 0);
                    push_nested(bytes, 1, &body);
                });
            }
            let at = at % bytes.len();
            bytes[at] = byte;
            for message in Messages::new(&bytes) {
                let _ = (message.status(), Attributes(message.attributes()).map(|(_, content)| content.len()).sum::<usize>());
            }
        }
    }
}
