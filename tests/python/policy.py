"""An answer that holds every type of the contract, and each way to fail. What Ruleward reads of it is in `tests`."""

import json

from componentize_py_types import Err
from ruleward import Policy
from wit_world.imports import types as t


class WitWorld(Policy):
    def describe(self):
        return description()

    def evaluate(self, facts, settings):
        given = json.loads(settings)
        if "fail" in given:
            raise Err(failure(given["fail"]))
        return t.Contribution(chains(), attachments(), sets(facts), policies())


def description():
    return t.Description(
        name="every-type",
        version="1.0.0",
        summary="Ünïcode 字 and \"quotes\".",
        settings_schema='{"type": "object"}',
        reads_resources=["IPPool", "Node"],
        reads_interfaces=True,
        reads_nft_tables=True,
        wants=t.Ownership(
            tables=list(t.Table),
            chains=["every-*"],
            sets=["every-*"],
            comments=["every:"],
            policies=["filter/FORWARD"],
            uses_sets=["another-*"],
            uses_chains=["KUBE-FORWARD"],
            exclusive_jumps=True,
        ),
    )


def failure(kind):
    failures = {
        "settings": t.Failure_Settings(t.Problem("/fail", "can't be")),
        "resource": t.Failure_Resource(t.Problem("IPPool/pool4 spec.cidr", "is wrong")),
        "waiting": t.Failure_Waiting("a Node for this node"),
        "other": t.Failure_Other("☃"),
    }
    return failures[kind]


def ipv4(*octets):
    return t.IpAddress_Ipv4(octets)


def ipv6(*groups):
    return t.IpAddress_Ipv6(groups)


def protocol(number, negated=False):
    return t.Match_Protocol(t.ProtocolMatch(number, negated))


def networks(case, address, length):
    return [case(t.NetworkMatch(t.IpNetwork(address, length), negated)) for negated in (False, True)]


def matches():
    """Lists of matches for both families."""
    tcp, udp = protocol(6), protocol(17)
    ranges = [t.PortRange(0, 0), t.PortRange(1024, 65535)]
    flags = t.TcpFlags
    tests = [t.AddressTypeTest(kind, kind is t.AddressType.LOCAL) for kind in t.AddressType]
    yield []
    yield [protocol(255, True)]
    yield [t.Match_InInterface(t.InterfaceMatch("eth+", True)), t.Match_OutInterface(t.InterfaceMatch("wg0", False))]
    yield [tcp, t.Match_SourcePorts(t.PortMatch(ranges, True))]
    yield [udp, t.Match_DestinationPorts(t.PortMatch(ranges[:1], False))]
    yield [tcp, t.Match_TcpFlags(t.TcpFlagsMatch(flags.SYN | flags.RST | flags.ACK | flags.FIN, flags.SYN, True))]
    states = t.ConntrackStates
    yield [t.Match_ConntrackState(t.ConntrackStateMatch(states.NEW | states.DNAT, True))]
    yield [t.Match_Mark(t.MarkMatch(0xDEADBEEF, 0xFFFFFFFF, False)), t.Match_Connmark(t.MarkMatch(0x8000, 0xC000, True))]
    for test in tests:
        yield [t.Match_AddressType(t.AddressTypeMatch(test, None, t.AddressTypeLimit.ANY_INTERFACE))]
    yield [t.Match_AddressType(t.AddressTypeMatch(None, tests[2], t.AddressTypeLimit.ANY_INTERFACE))]
    yield [t.Match_Limit(t.LimitMatch(1, unit, burst)) for unit, burst in zip(t.RateUnit, [None, 1, 10, 10000])]
    yield [t.Match_Extension(t.Extension("recent", ["--name", "every one", "!", "--rcheck", "--seconds", "60"]))]


def chains():
    both = t.Families.IPV4 | t.Families.IPV6
    drop = t.Target_Drop()
    every = [t.Rule(list(one), drop, f"every: {number}") for number, one in enumerate(matches())]
    every.append(t.Rule([], None, None))
    # A whole rule holds its target itself.
    words = ["-p", "tcp", "!", "--dport", "22", "-m", "string", "--string", "-j x", "--algo", "bm", "-j", "DROP"]
    every.append(t.Rule([t.Match_Verbatim(words)], None, "every: words"))
    plain = [t.Target_Accept(), t.Target_Return(), t.Target_Jump("every-filter"), t.Target_Goto("every-filter")]
    plain += [t.Target_Log(t.LogPacket(f"{level.name} ", level)) for level in t.LogLevel]
    plain += [t.Target_Nflog(t.Nflog(65535, "every", None)), t.Target_Nflog(t.Nflog(0, "", 1))]
    plain += [t.Target_Extension(t.Extension("CLASSIFY", ["--set-class", "1:ffff"]))]
    tcp = protocol(6)
    rejects = [t.Rule([tcp], t.Target_Reject(kind), None) for kind in t.RejectKind]
    icmp = [t.Rule([protocol(1), t.Match_Icmp(t.IcmpMatch(3, code, False))], drop, None) for code in (None, 0, 13)]
    icmp += [t.Rule(networks(t.Match_Source, ipv4(192, 0, 2, 1), 32)[:1], drop, None)]
    icmp += [t.Rule(networks(t.Match_Destination, ipv4(255, 0, 128, 0), 9)[1:], drop, None)]
    members = t.Match_Set(t.SetMatch("every-net4", [t.Direction.SOURCE], True))
    pairs = t.Match_Set(t.SetMatch("every-port4", [t.Direction.SOURCE, t.Direction.DESTINATION], False))
    icmp += [t.Rule([members, tcp, pairs], drop, None)]
    address = ipv6(0x2001, 0xDB8, 0, 0xFFFF, 1, 2, 3, 4)
    icmp6 = [t.Rule([protocol(58), t.Match_Icmpv6(t.IcmpMatch(255, None, True))], drop, None)]
    icmp6 += [t.Rule(networks(t.Match_Source, address, 128)[:1], drop, None)]
    icmp6 += [t.Rule(networks(t.Match_Destination, address, 0)[:1], drop, None)]
    ranges = t.AddressRange(ipv4(10, 0, 0, 1), ipv4(10, 0, 0, 255))
    ports = t.PortRange(1024, 2047)
    nat = [
        t.Target_Masquerade(t.Masquerade(ports, True, False)),
        t.Target_Masquerade(t.Masquerade(None, False, True)),
        t.Target_SourceNat(t.Nat(ranges, ports, True, False, True)),
        t.Target_SourceNat(t.Nat(ranges, None, False, True, False)),
    ]
    to = [
        t.Target_DestinationNat(t.Nat(ranges, ports, True, False, True)),
        t.Target_DestinationNat(t.Nat(None, ports, False, False, False)),
        t.Target_Redirect(ports),
        t.Target_Redirect(None),
    ]
    mark = t.MarkSet(0x80000000, 0xFF000000)
    mangle = [
        t.Target_Mark(mark),
        t.Target_Connmark(t.ConnmarkAction_Set(mark)),
        t.Target_Connmark(t.ConnmarkAction_Save(0xFFFFFFFF)),
        t.Target_Connmark(t.ConnmarkAction_Restore(0)),
        t.Target_Tproxy(t.Tproxy(1, ipv4(127, 0, 0, 1), mark)),
        t.Target_Tproxy(t.Tproxy(65535, None, t.MarkSet(0, 0))),
    ]
    syn = t.Match_TcpFlags(t.TcpFlagsMatch(t.TcpFlags.SYN | t.TcpFlags.RST, t.TcpFlags.SYN, False))
    sizes = [t.Rule([tcp, syn], t.Target_TcpMss(size), None) for size in (t.TcpMss_ClampToPathMtu(), t.TcpMss_Set(1460))]
    return [
        t.Chain(t.Table.FILTER, both, "every-filter", every),
        t.Chain(t.Table.FILTER, t.Families.IPV4, "every-reject", rejects),
        t.Chain(t.Table.FILTER, t.Families.IPV4, "every-icmp", icmp),
        t.Chain(t.Table.FILTER, t.Families.IPV6, "every-icmp", icmp6),
        t.Chain(t.Table.MANGLE, both, "every-filter", []),
        t.Chain(t.Table.MANGLE, t.Families.IPV4, "every-target", [t.Rule([], one, None) for one in plain]),
        t.Chain(t.Table.MANGLE, t.Families.IPV4, "every-mark", [t.Rule([tcp], one, None) for one in mangle]),
        t.Chain(t.Table.MANGLE, both, "every-size", sizes),
        t.Chain(t.Table.NAT, t.Families.IPV4, "every-snat", [t.Rule([tcp], one, None) for one in nat]),
        t.Chain(t.Table.NAT, t.Families.IPV4, "every-dnat", [t.Rule([tcp], one, None) for one in to]),
        t.Chain(t.Table.RAW, both, "every-raw", [t.Rule([], t.Target_NoTrack(), None)]),
        t.Chain(t.Table.SECURITY, both, "every-security", []),
    ]


def attachments():
    both = t.Families.IPV4 | t.Families.IPV6
    jump = t.Rule([], t.Target_Jump("every-filter"), "every: jump")
    away = t.Rule([], t.Target_Jump("KUBE-FORWARD"), "every: away")
    first, last = t.Placement.FIRST, t.Placement.LAST
    return [
        t.Attachment(t.Table.FILTER, t.Hook.INPUT, both, first, -2147483648, jump),
        t.Attachment(t.Table.FILTER, t.Hook.FORWARD, t.Families.IPV4, last, 2147483647, away),
        t.Attachment(t.Table.MANGLE, t.Hook.PREROUTING, both, last, 2147483647, t.Rule([], None, "every: last")),
        t.Attachment(t.Table.MANGLE, t.Hook.PREROUTING, both, last, -2147483648, jump),
        t.Attachment(t.Table.MANGLE, t.Hook.OUTPUT, t.Families.IPV6, first, 0, jump),
        t.Attachment(t.Table.MANGLE, t.Hook.POSTROUTING, both, first, 65536, jump),
    ]


def policies():
    both = t.Families.IPV4 | t.Families.IPV6
    return [
        t.ChainPolicy(t.Table.FILTER, t.Hook.FORWARD, both, t.Verdict.DROP),
    ]


def sets(facts):
    net4 = t.IpNetwork(ipv4(192, 0, 2, 0), 24)
    net6 = t.IpNetwork(ipv6(0xFE80, 0, 0, 0, 0, 0, 0, 1), 64)
    members = [t.SetMember_Network(net4)]
    seen = [one for interface in facts.interfaces for one in interface.addresses]
    members += [t.SetMember_Nomatch(t.IpNetwork(ipv4(192, 0, 2, 128), 25))]
    members += [t.SetMember_Network(one) for one in seen if len(one.address.value) == 4]
    port = t.SetMember_NetworkPort(t.NetworkPort(t.IpNetwork(ipv4(1, 2, 3, 4), 32), 17, 65535))
    v4, v6 = t.Family.IPV4, t.Family.IPV6
    return [
        t.AddressSet("every-net4", v4, t.SetType_HashNet(), members, None, False, None, []),
        t.AddressSet("every-net6", v6, t.SetType_HashNet(), [t.SetMember_Network(net6)], 1 << 20, False, None, []),
        t.AddressSet("every-ip4", v4, t.SetType_HashIp(), [], None, True, 2147483, []),
        t.AddressSet("every-port4", v4, t.SetType_HashIpPort(), [port], 1, False, None, []),
        t.AddressSet("every-netport4", v4, t.SetType_HashNetPort(), [port], None, False, None, ["counters"]),
        t.AddressSet(
            "every-iface4", v4, t.SetType_Extension("hash:net,iface"), [t.SetMember_Extension("192.0.2.0/24,eth0")], None, False, None, []
        ),
    ]
