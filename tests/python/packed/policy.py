"""Answers in one piece: what `ruleward` makes, or with the setting `classes` objects of componentize-py's classes."""

import json

import every
from componentize_py_types import Err
from ruleward import Policy, types
from wit_world.imports import types as classes


class WitWorld(Policy):
    def describe(self):
        return every.description(types)

    def evaluate(self, facts, settings):
        given = json.loads(settings)
        t = classes if given.get("classes") else types
        if "fail" in given:
            raise Err(every.failure(t, given["fail"]))
        if "spread" in given:
            raise Err(types.Failure_Other(spread(given["spread"])))
        if "wrong" in given:
            return wrong(t, given["wrong"])
        return every.contribution(t, facts)


def spread(count):
    """How many pages that many new objects of the smallest size lie on."""
    made = [object() for _ in range(count)]
    return f"{len({id(one) >> 12 for one in made})} pages"


def wrong(t, what):
    """What is no answer."""
    rule = t.Rule([], t.Target_Drop(), None)
    ports = t.Match_DestinationPorts(t.PortMatch([t.PortRange(1, 1), t.PortRange(70000, 70000)], False))
    rules = {
        "number": [rule, t.Rule([every.protocol(t, 6), ports], t.Target_Drop(), None)],
        "variant": [rule, rule, t.Rule([t.Target_Drop()], None, None)],
        "record": [3],
        "text": [t.Rule([], t.Target_Jump(7), None)],
        "truth": [t.Rule([t.Match_InInterface(t.InterfaceMatch("lo", "no"))], None, None)],
        "object": [object()],
        "list": None,
    }[what]
    return t.Contribution([t.Chain(t.Table.FILTER, t.Families.IPV4, "every-wrong", rules)], [], [], [])
