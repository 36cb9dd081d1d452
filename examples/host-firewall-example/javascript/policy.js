// A host firewall: admits some TCP ports from the addresses in a set, logs and drops the rest, for IPv4 and IPv6.

/** @import { AddressSet, Chain, Contribution, Description, Facts, IpNetwork, Ipv4Address, Ipv6Address, Match, Rule, Target } from "ruleward:policy/types@0.1.0" */

const CHAIN = "hfe-input";

const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  required: ["admit", "ports"],
  properties: {
    admit: {
      description: "Addresses and networks that may reach the ports.",
      type: "array",
      items: { type: "string", pattern: "^[0-9a-fA-F.:]+(/(0|[1-9][0-9]{0,2}))?$" },
    },
    ports: {
      description: "TCP ports that are open to them.",
      type: "array",
      items: { type: "integer", minimum: 0, maximum: 65535 },
    },
    "log-prefix": {
      description: "Beginning of the log lines about dropped packets.",
      type: "string",
      maxLength: 29,
      pattern: "^[ -~]*$",
      default: "host-firewall: ",
    },
  },
};

/** @returns {Description} */
export function describe() {
  return {
    name: "host-firewall-example",
    version: "1.0.0",
    summary: "Admits some TCP ports from some addresses; logs and drops the rest.",
    settingsSchema: JSON.stringify(SCHEMA),
    readsResources: [],
    readsInterfaces: false,
    readsNftTables: false,
    wants: {
      tables: ["filter"],
      chains: ["hfe-*"],
      sets: ["hfe-*"],
      comments: ["hfe:"],
      policies: [],
      usesSets: [],
      usesChains: [],
      exclusiveJumps: false,
    },
  };
}

/**
 * @param {Facts} facts
 * @param {string} json
 * @returns {Contribution}
 */
export function evaluate(facts, json) {
  /** @type {{ admit: string[], ports: number[], "log-prefix"?: string }} */
  const settings = JSON.parse(json);
  const networks = settings.admit.map(parseNetwork);
  networks.forEach((network, index) => {
    if (network.prefixLength === 0) {
      refuse(index, "is every address, which a set can't hold; write its two halves");
    }
  });
  /** @type {Chain[]} */
  const chains = [];
  /** @type {AddressSet[]} */
  const sets = [];
  for (const { family, name, icmp } of /** @type {const} */ ([
    { family: "ipv4", name: "hfe-admitted4", icmp: 1 },
    { family: "ipv6", name: "hfe-admitted6", icmp: 58 },
  ])) {
    if (!facts.system.families[family]) continue;
    const members = networks.filter(({ address }) => address.tag === family);
    sets.push({
      name,
      family,
      kind: { tag: "hash-net" },
      members: members.map((val) => ({ tag: "network", val })),
      maxElements: null,
      dynamic: false,
      timeout: null,
      options: [],
    });
    const families = { ipv4: family === "ipv4", ipv6: family === "ipv6" };
    const rules = chainRules(name, icmp, settings.ports, settings["log-prefix"] ?? "host-firewall: ");
    chains.push({ table: "filter", families, name: CHAIN, rules });
  }
  return {
    chains,
    sets,
    policies: [],
    attachments: [
      {
        table: "filter",
        hook: "input",
        families: facts.system.families,
        placement: "first",
        order: 0,
        rule: { matches: [], target: { tag: "jump", val: CHAIN }, comment: "hfe:input" },
      },
    ],
  };
}

/**
 * @param {string} set
 * @param {number} icmp
 * @param {number[]} ports
 * @param {string} prefix
 * @returns {Rule[]}
 */
function chainRules(set, icmp, ports, prefix) {
  const known = { new: false, established: true, related: true, invalid: false, untracked: false, snat: false, dnat: false };
  const rules = [
    rule({ tag: "accept" }, { tag: "in-interface", val: { name: "lo", negated: false } }),
    rule({ tag: "accept" }, { tag: "conntrack-state", val: { states: known, negated: false } }),
    rule({ tag: "accept" }, protocol(icmp)),
  ];
  const tcp = protocol(6);
  /** @type {Match} */
  const admitted = { tag: "set", val: { name: set, directions: ["source"], negated: false } };
  for (const port of ports) {
    const ranges = [{ first: port, last: port }];
    rules.push(rule({ tag: "accept" }, tcp, { tag: "destination-ports", val: { ranges, negated: false } }, admitted));
  }
  rules.push(
    rule({ tag: "log", val: { prefix, level: "warning" } }, { tag: "limit", val: { rate: 10, unit: "minute", burst: null } }),
    rule({ tag: "drop" }),
  );
  return rules;
}

/**
 * @param {Target} target
 * @param {Match[]} matches
 * @returns {Rule}
 */
function rule(target, ...matches) {
  return { matches, target, comment: null };
}

/**
 * @param {number} number
 * @returns {Match}
 */
function protocol(number) {
  return { tag: "protocol", val: { number, negated: false } };
}

/**
 * Reads `192.0.2.0/24` or `2001:db8::1`.
 * @param {string} text
 * @param {number} index
 * @returns {IpNetwork}
 */
function parseNetwork(text, index) {
  const [host, prefix] = text.split("/");
  const ipv4 = parseIpv4(host);
  const ipv6 = ipv4 === null ? parseIpv6(host) : null;
  const longest = ipv4 === null ? 128 : 32;
  const prefixLength = prefix === undefined ? longest : Number(prefix);
  if (prefixLength <= longest) {
    if (ipv4 !== null) return { address: { tag: "ipv4", val: ipv4 }, prefixLength };
    if (ipv6 !== null) return { address: { tag: "ipv6", val: ipv6 }, prefixLength };
  }
  return refuse(index, "is no address or network; write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32");
}

/**
 * @param {string} text
 * @returns {Ipv4Address | null}
 */
function parseIpv4(text) {
  const parts = text.split(".");
  const good = parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
  return good ? /** @type {Ipv4Address} */ (parts.map(Number)) : null;
}

/**
 * @param {string} text
 * @returns {Ipv6Address | null}
 */
function parseIpv6(text) {
  const halves = text.split("::");
  const [head, tail] = [groups(halves[0], halves.length === 1), groups(halves[1] ?? "", true)];
  if (halves.length > 2 || head === null || tail === null) return null;
  const zeros = 8 - head.length - tail.length;
  if (halves.length === 1 ? zeros !== 0 : zeros < 1) return null;
  return /** @type {Ipv6Address} */ ([...head, ...Array(zeros).fill(0), ...tail]);
}

/**
 * What stands on one side of `::`; `last` allows an IPv4 address at its end.
 * @param {string} text
 * @param {boolean} last
 * @returns {number[] | null}
 */
function groups(text, last) {
  const words = text === "" ? [] : text.split(":");
  const ipv4 = last ? parseIpv4(words.at(-1) ?? "") : null;
  if (ipv4 !== null) {
    const [a, b, c, d] = ipv4;
    words.splice(-1, 1, ((a << 8) | b).toString(16), ((c << 8) | d).toString(16));
  }
  return words.every((word) => /^[0-9a-fA-F]{1,4}$/.test(word)) ? words.map((word) => parseInt(word, 16)) : null;
}

/**
 * @param {number} index
 * @param {string} message
 * @returns {never}
 */
function refuse(index, message) {
  throw { tag: "settings", val: { where: `/admit/${index}`, message } };
}
