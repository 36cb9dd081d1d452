"""A host firewall: admits some TCP ports from the addresses in a set, logs and drops the rest, for IPv4 and IPv6."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from struct import unpack
from typing import NoReturn

from componentize_py_types import Err
from ruleward import Policy
from wit_world.imports import types as t

CHAIN = "hfe-input"

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["admit", "ports"],
    "properties": {
        "admit": {
            "description": "Addresses and networks that may reach the ports.",
            "type": "array",
            "items": {"type": "string", "pattern": "^[0-9a-fA-F.:]+(/(0|[1-9][0-9]{0,2}))?$"},
        },
        "ports": {
            "description": "TCP ports that are open to them.",
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 65535},
        },
        "log-prefix": {
            "description": "Beginning of the log lines about dropped packets.",
            "type": "string",
            "maxLength": 29,
            "pattern": "^[ -~]*$",
            "default": "host-firewall: ",
        },
    },
}


class WitWorld(Policy):
    def describe(self) -> t.Description:
        return t.Description(
            name="host-firewall-example",
            version="1.0.0",
            summary="Admits some TCP ports from some addresses; logs and drops the rest.",
            settings_schema=json.dumps(SCHEMA),
            reads_resources=[],
            reads_interfaces=False,
            reads_nft_tables=False,
            wants=t.Ownership(
                tables=[t.Table.FILTER],
                chains=["hfe-*"],
                sets=["hfe-*"],
                comments=["hfe:"],
                policies=[],
                uses_sets=[],
                uses_chains=[],
                exclusive_jumps=False,
            ),
        )

    def evaluate(self, facts: t.Facts, settings: str) -> t.Contribution:
        given = json.loads(settings)
        networks = [parse_network(index, text) for index, text in enumerate(given["admit"])]
        for index, network in enumerate(networks):
            if network.prefixlen == 0:
                refuse(index, "is every address, which a set can't hold; write its two halves")
        chains, sets = [], []
        for family, flag, version, name, icmp in [
            (t.Family.IPV4, t.Families.IPV4, 4, "hfe-admitted4", 1),
            (t.Family.IPV6, t.Families.IPV6, 6, "hfe-admitted6", 58),
        ]:
            if not facts.system.families & flag:
                continue
            of_family = [wit_network(one) for one in networks if one.version == version]
            members: list[t.SetMember] = [t.SetMember_Network(one) for one in of_family]
            sets.append(t.AddressSet(name, family, t.SetType_HashNet(), members, None, False, None, []))
            rules = chain_rules(name, icmp, given["ports"], given.get("log-prefix", "host-firewall: "))
            chains.append(t.Chain(t.Table.FILTER, flag, CHAIN, rules))
        jump = t.Attachment(
            table=t.Table.FILTER,
            hook=t.Hook.INPUT,
            families=facts.system.families,
            placement=t.Placement.FIRST,
            order=0,
            rule=t.Rule([], t.Target_Jump(CHAIN), "hfe:input"),
        )
        return t.Contribution(chains=chains, attachments=[jump], sets=sets, policies=[])


def chain_rules(set_name: str, icmp: int, ports: list[int], log_prefix: str) -> list[t.Rule]:
    known = t.ConntrackStates.ESTABLISHED | t.ConntrackStates.RELATED
    rules = [
        t.Rule([t.Match_InInterface(t.InterfaceMatch("lo", False))], t.Target_Accept(), None),
        t.Rule([t.Match_ConntrackState(t.ConntrackStateMatch(known, False))], t.Target_Accept(), None),
        t.Rule([protocol(icmp)], t.Target_Accept(), None),
    ]
    tcp, accept = protocol(6), t.Target_Accept()
    admitted = t.Match_Set(t.SetMatch(set_name, [t.Direction.SOURCE], False))
    for port in ports:
        to_port = t.Match_DestinationPorts(t.PortMatch([t.PortRange(port, port)], False))
        rules.append(t.Rule([tcp, to_port, admitted], accept, None))
    limit = t.Match_Limit(t.LimitMatch(10, t.RateUnit.MINUTE, None))
    log = t.Target_Log(t.LogPacket(log_prefix, t.LogLevel.WARNING))
    return [*rules, t.Rule([limit], log, None), t.Rule([], t.Target_Drop(), None)]


def protocol(number: int) -> t.Match:
    return t.Match_Protocol(t.ProtocolMatch(number, False))


def parse_network(index: int, text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        refuse(index, "is no address or network; write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")


def wit_network(network: IPv4Network | IPv6Network) -> t.IpNetwork:
    if network.version == 4:
        return t.IpNetwork(t.IpAddress_Ipv4(unpack("!4B", network.network_address.packed)), network.prefixlen)
    return t.IpNetwork(t.IpAddress_Ipv6(unpack("!8H", network.network_address.packed)), network.prefixlen)


def refuse(index: int, message: str) -> NoReturn:
    raise Err(t.Failure_Settings(t.Problem(where=f"/admit/{index}", message=message)))
