"""What a policy answers with, and what it sees. Made from the contract by Ruleward; not to be edited.

A function makes each object of an answer: `Rule([...], Target_Accept(), None)`. The object is a tuple that nobody but
`ruleward` reads, which a component passes many times faster than an object with fields. For an editor the same names are
the classes of `wit_world.imports.types`. Those may be in an answer too (an address of the facts), where they take longer.
"""

from typing import TYPE_CHECKING

from wit_world.imports.types import *

if not TYPE_CHECKING:

    def Ownership(tables, chains, sets, comments, policies, uses_sets, uses_chains, exclusive_jumps):
        """What the operator allows this policy to own. A name pattern is a name or a prefix followed by `*`."""
        return (2, [one._value_ for one in tables], chains, sets, comments, policies, uses_sets, uses_chains, exclusive_jumps)

    def Description(name, version, summary, settings_schema, reads_resources, reads_interfaces, reads_nft_tables, wants):
        """What a policy is, before it sees anything."""
        return (3, name, version, summary, settings_schema, reads_resources, reads_interfaces, reads_nft_tables, wants)

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
        """Membership in an address set: one of this policy's, or one of another program's that the operator lets it
        use. In the second case the rule is in force only while that set exists. One direction for each dimension of
        the set: 1 to 6."""
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

    def Match_Verbatim(value):
        """A whole rule in the words of iptables, its target included: `["-p", "tcp", "-j", "LOG", "--log-prefix",
        "-j: "]`. One word an item, without quotes and without `-A CHAIN`; a `!` is an item of its own. It must be
        the rule's only match, and the rule must have no target; it may have a comment. The host quotes every
        word. What the rule means is what the installed iptables makes of it."""
        return (38, value)

    def Masquerade(ports, random, random_fully):
        return (39, ports, random, random_fully)

    def AddressRange(first, last):
        """Addresses from `first` to `last`, both included, of one family."""
        return (40, first, last)

    def Nat(addresses, ports, random, random_fully, persistent):
        """Source or destination address translation. At least one of `addresses` and `ports` must be given;
        `ports` needs a `protocol` match that has ports."""
        return (41, addresses, ports, random, random_fully, persistent)

    def MarkSet(value, mask):
        """Sets the bits under `mask` to those of `value` (iptables' --set-xmark with the bits of `value` kept
        within `mask`)."""
        return (42, value, mask)

    def ConnmarkAction_Set(value):
        """Sets the connection's mark."""
        return (43, value)

    def ConnmarkAction_Save(value):
        """Copies the packet's mark to the connection, under this mask."""
        return (44, value)

    def ConnmarkAction_Restore(value):
        """Copies the connection's mark to the packet, under this mask."""
        return (45, value)

    def LogPacket(prefix, level):
        return (46, prefix, level._value_)

    def Nflog(group, prefix, threshold):
        return (47, group, prefix, threshold)

    def Tproxy(port, address, mark):
        return (48, port, address, mark)

    def TcpMss_ClampToPathMtu():
        return (49,)

    def TcpMss_Set(value):
        """Bytes."""
        return (50, value)

    def Target_Accept():
        return (51,)

    def Target_Drop():
        return (52,)

    def Target_Return():
        return (53,)

    def Target_Reject(value):
        return (54, value._value_)

    def Target_Jump(value):
        """To one of this policy's chains in the same table and family, or to one of another program's that the
        operator lets it use: then the rule is in force only while that chain exists."""
        return (55, value)

    def Target_Goto(value):
        """The same without coming back to this chain."""
        return (56, value)

    def Target_Masquerade(value):
        return (57, value)

    def Target_SourceNat(value):
        return (58, value)

    def Target_DestinationNat(value):
        return (59, value)

    def Target_Redirect(value):
        """To this machine, to these ports if given."""
        return (60, value)

    def Target_Mark(value):
        return (61, value)

    def Target_Connmark(value):
        return (62, value)

    def Target_Log(value):
        return (63, value)

    def Target_Nflog(value):
        return (64, value)

    def Target_NoTrack():
        return (65,)

    def Target_Tproxy(value):
        return (66, value)

    def Target_TcpMss(value):
        return (67, value)

    def Target_Extension(value):
        return (68, value)

    def Rule(matches, target, comment):
        """A rule. Without a target it only counts packets."""
        return (69, matches, target, comment)

    def Chain(table, families, name, rules):
        """A chain that should exist with exactly these rules. The same name may stand in several tables, and with
        different rules for each family."""
        return (70, table._value_, families._value_, name, rules)

    def Attachment(table, hook, families, placement, order, rule):
        """A rule in a built-in chain.

        The host recognises it later by its comment, so that it can be told from foreign rules: if the comment does
        not begin with a prefix that the operator granted, the host puts one of its own in front."""
        return (71, table._value_, hook._value_, families._value_, placement._value_, order, rule)

    def SetType_HashIp():
        return (72,)

    def SetType_HashNet():
        return (73,)

    def SetType_HashIpPort():
        return (74,)

    def SetType_HashNetPort():
        return (75,)

    def SetType_Extension(value):
        """Another type that the installed ipset knows: `hash:net,iface`."""
        return (76, value)

    def NetworkPort(network, protocol, port):
        return (77, network, protocol, port)

    def SetMember_Network(value):
        """For hash-ip and hash-net."""
        return (78, value)

    def SetMember_NetworkPort(value):
        """For hash-ip-port and hash-net-port."""
        return (79, value)

    def SetMember_Nomatch(value):
        """For hash-net: an exception (ipset's `nomatch`). An address in it is not in the set, although a wider
        network of the set holds it."""
        return (80, value)

    def SetMember_Extension(value):
        """For any type, in ipset's own syntax, with what may follow a member: `192.0.2.0/24,eth0`,
        `192.0.2.7 comment "printer"`. It must not name hosts or services, and must not have a timeout."""
        return (81, value)

    def AddressSet(name, family, kind, members, max_elements, dynamic, timeout, options):
        """An address set (an ipset). Sets are created before the rules that use them and changed by swap: no packet
        sees one half filled."""
        return (82, name, family._value_, kind, members, max_elements, dynamic, timeout, options)

    def ChainPolicy(table, hook, families, policy):
        """The policy of a built-in chain, as `iptables -P` sets it. It is kept like a rule."""
        return (83, table._value_, hook._value_, families._value_, policy._value_)

    def Contribution(chains, attachments, sets, policies):
        """All that a policy asks for."""
        return (84, chains, attachments, sets, policies)

    def Problem(where, message):
        return (85, where, message)

    def Failure_Settings(value):
        """A setting that the schema allows but the policy can't use."""
        return (86, value)

    def Failure_Resource(value):
        """A resource that the policy can't use."""
        return (87, value)

    def Failure_Waiting(value):
        """Something must exist first (for example a Node resource for this node)."""
        return (88, value)

    def Failure_Other(value):
        return (89, value)
