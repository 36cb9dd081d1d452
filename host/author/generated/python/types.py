"""What a policy answers with, and what it sees. Made from the contract by Ruleward; not to be edited.

A function makes each object of an answer: `Rule([...], Target_Accept(), None)`. The object is a tuple that nobody but
`ruleward` reads, which a component passes many times faster than an object with fields. For an editor the same names are
the classes of `wit_world.imports.types`. Those may be in an answer too (an address of the facts), where they take longer.
"""

from typing import TYPE_CHECKING

from wit_world.imports.types import *

if not TYPE_CHECKING:

    def Ownership(tables, chains, sets, comments):
        """What the operator allows this policy to own. A name pattern is a name or a prefix followed by `*`."""
        return (2, [one._value_ for one in tables], chains, sets, comments)

    def Description(name, version, summary, settings_schema, reads_documents, reads_interfaces, wants):
        """What a policy is, before it sees anything."""
        return (3, name, version, summary, settings_schema, reads_documents, reads_interfaces, wants)

    def ProtocolMatch(number, negated):
        """Transport protocol by number: 6 is TCP, 17 is UDP, 1 is ICMP, 58 is ICMPv6."""
        return (4, number, negated)

    def IpAddress_Ipv4(value):
        return (5, value)

    def IpAddress_Ipv6(value):
        return (6, value)

    def IpNetwork(address, prefix_length):
        """A network: an address and how many of its leading bits count (0 to 32, or 0 to 128). The other bits are
        ignored. One host is /32 or /128."""
        return (7, address, prefix_length)

    def NetworkMatch(network, negated):
        return (8, network, negated)

    def InterfaceMatch(name, negated):
        """An interface by name, at most 15 bytes. A trailing `+` stands for any ending: `eth+`."""
        return (9, name, negated)

    def PortRange(first, last):
        """Ports from `first` to `last`, both included. One port: the same number twice."""
        return (10, first, last)

    def PortMatch(ranges, negated):
        """1 to 15 ports, where a range of more than one port counts as two. The rule needs a `protocol` match too,
        of a protocol that has ports: TCP (6), UDP (17), DCCP (33), SCTP (132) or UDP-Lite (136)."""
        return (11, ranges, negated)

    def TcpFlagsMatch(mask, set, negated):
        """Of the flags in `mask`, exactly those in `set` are on. The rule needs `protocol` TCP."""
        return (12, mask._value_, set._value_, negated)

    def IcmpMatch(kind, code, negated):
        """An ICMP or ICMPv6 message type. The rule needs the `protocol` match 1 or 58."""
        return (13, kind, code, negated)

    def ConntrackStateMatch(states, negated):
        return (14, states._value_, negated)

    def MarkMatch(value, mask, negated):
        """The bits of the mark under `mask` equal `value`."""
        return (15, value, mask, negated)

    def AddressTypeTest(kind, negated):
        return (16, kind._value_, negated)

    def AddressTypeMatch(source, destination, limit):
        """What the routing table says about the packet's addresses. At least one of the two tests must be given."""
        return (17, source, destination, limit._value_)

    def SetMatch(name, directions, negated):
        """Membership in an address set. One direction for each dimension of the set: 1 to 6."""
        return (18, name, [one._value_ for one in directions], negated)

    def LimitMatch(rate, unit, burst):
        """At most `rate` packets per unit on average, after a first burst."""
        return (19, rate, unit._value_, burst)

    def Extension(name, arguments):
        """Any match or target that the installed iptables knows and this contract has no case for.

        `name` is what follows `-m` (or `-j`), `arguments` is what follows that, one word an item: name `recent`,
        arguments `["--update", "--seconds", "60"]`. A `!` is an item of its own. The host quotes every item; it
        refuses options of iptables itself (`-A`, `--jump`, `--table`, ...), control characters and line breaks."""
        return (20, name, arguments)

    def Match_Protocol(value):
        return (21, value)

    def Match_Source(value):
        return (22, value)

    def Match_Destination(value):
        return (23, value)

    def Match_InInterface(value):
        return (24, value)

    def Match_OutInterface(value):
        return (25, value)

    def Match_SourcePorts(value):
        return (26, value)

    def Match_DestinationPorts(value):
        return (27, value)

    def Match_TcpFlags(value):
        return (28, value)

    def Match_Icmp(value):
        return (29, value)

    def Match_Icmpv6(value):
        return (30, value)

    def Match_ConntrackState(value):
        return (31, value)

    def Match_Mark(value):
        return (32, value)

    def Match_Connmark(value):
        return (33, value)

    def Match_AddressType(value):
        return (34, value)

    def Match_Set(value):
        return (35, value)

    def Match_Limit(value):
        return (36, value)

    def Match_Extension(value):
        return (37, value)

    def Masquerade(ports, random, random_fully):
        return (38, ports, random, random_fully)

    def AddressRange(first, last):
        """Addresses from `first` to `last`, both included, of one family."""
        return (39, first, last)

    def Nat(addresses, ports, random, random_fully, persistent):
        """Source or destination address translation. At least one of `addresses` and `ports` must be given;
        `ports` needs a `protocol` match that has ports."""
        return (40, addresses, ports, random, random_fully, persistent)

    def MarkSet(value, mask):
        """Sets the bits under `mask` to those of `value` (iptables' --set-xmark with the bits of `value` kept
        within `mask`)."""
        return (41, value, mask)

    def ConnmarkAction_Set(value):
        """Sets the connection's mark."""
        return (42, value)

    def ConnmarkAction_Save(value):
        """Copies the packet's mark to the connection, under this mask."""
        return (43, value)

    def ConnmarkAction_Restore(value):
        """Copies the connection's mark to the packet, under this mask."""
        return (44, value)

    def LogPacket(prefix, level):
        return (45, prefix, level._value_)

    def Nflog(group, prefix, threshold):
        return (46, group, prefix, threshold)

    def Tproxy(port, address, mark):
        return (47, port, address, mark)

    def TcpMss_ClampToPathMtu():
        return (48,)

    def TcpMss_Set(value):
        """Bytes."""
        return (49, value)

    def Target_Accept():
        return (50,)

    def Target_Drop():
        return (51,)

    def Target_Return():
        return (52,)

    def Target_Reject(value):
        return (53, value._value_)

    def Target_Jump(value):
        """To one of this policy's chains in the same table and family."""
        return (54, value)

    def Target_Goto(value):
        return (55, value)

    def Target_Masquerade(value):
        return (56, value)

    def Target_SourceNat(value):
        return (57, value)

    def Target_DestinationNat(value):
        return (58, value)

    def Target_Redirect(value):
        """To this machine, to these ports if given."""
        return (59, value)

    def Target_Mark(value):
        return (60, value)

    def Target_Connmark(value):
        return (61, value)

    def Target_Log(value):
        return (62, value)

    def Target_Nflog(value):
        return (63, value)

    def Target_NoTrack():
        return (64,)

    def Target_Tproxy(value):
        return (65, value)

    def Target_TcpMss(value):
        return (66, value)

    def Target_Extension(value):
        return (67, value)

    def Rule(matches, target, comment):
        """A rule. Without a target it only counts packets."""
        return (68, matches, target, comment)

    def Chain(table, families, name, rules):
        """A chain that should exist with exactly these rules. The same name may stand in several tables, and with
        different rules for each family."""
        return (69, table._value_, families._value_, name, rules)

    def Attachment(table, hook, families, placement, order, rule, awaits_target):
        """A rule in a built-in chain.

        The host recognises it later by its comment or by its jump, so that it can be told from strangers' rules: if
        the comment does not begin with a prefix that the operator granted, the host puts one of its own in front."""
        return (70, table._value_, hook._value_, families._value_, placement._value_, order, rule, awaits_target)

    def SetType_HashIp():
        return (71,)

    def SetType_HashNet():
        return (72,)

    def SetType_HashIpPort():
        return (73,)

    def SetType_HashNetPort():
        return (74,)

    def SetType_Extension(value):
        """Another type that the installed ipset knows: `hash:net,iface`."""
        return (75, value)

    def NetworkPort(network, protocol, port):
        return (76, network, protocol, port)

    def SetMember_Network(value):
        """For hash-ip and hash-net."""
        return (77, value)

    def SetMember_NetworkPort(value):
        """For hash-ip-port and hash-net-port."""
        return (78, value)

    def SetMember_Extension(value):
        """For other types, in ipset's own syntax."""
        return (79, value)

    def AddressSet(name, family, kind, members, max_elements, dynamic, timeout):
        """An address set (an ipset). Sets are created before the rules that use them and changed by swap: no packet
        sees one half filled."""
        return (80, name, family._value_, kind, members, max_elements, dynamic, timeout)

    def Contribution(chains, attachments, sets):
        """All that a policy asks for."""
        return (81, chains, attachments, sets)

    def Problem(where, message):
        return (82, where, message)

    def Failure_Settings(value):
        """A setting that the schema allows but the policy can't use."""
        return (83, value)

    def Failure_Document(value):
        """A document that the policy can't use."""
        return (84, value)

    def Failure_Waiting(value):
        """Something must exist first (for example a Node document for this node)."""
        return (85, value)

    def Failure_Other(value):
        return (86, value)
