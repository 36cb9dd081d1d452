// The contract, as componentize-qjs passes its values. Made from policy.wit.
// Of a number it takes 31 bits and a sign: masks are written as signed, `0xffffffff | 0`.

/** The only thing that a policy can call. */
declare module "ruleward:policy/log@0.1.0" {
  export type Level = "debug" | "info" | "warn" | "error";
  /** One line for the operator's log. Limited in number and length; what is over the limit is dropped and counted. */
  export function emit(level: Level, message: string): void;
  const all: { emit: typeof emit };
  export default all;
}

/** Everything that a policy reads and answers with. */
declare module "ruleward:policy/types@0.1.0" {
  /** Which address families something applies to. At least one must be set. */
  export type Families = {
    ipv4: boolean;
    ipv6: boolean;
  };
  /** One address family. */
  export type Family = "ipv4" | "ipv6";
  /** A netfilter table, as iptables names it. */
  export type Table = "raw" | "mangle" | "nat" | "filter" | "security";
  /**
   * A built-in chain. Not every table has every hook: raw has prerouting and output; mangle has all five;
   * nat has all but forward; filter and security have input, forward and output.
   */
  export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";
  /** Where in a built-in chain an attachment stands, relative to rules that are not Ruleward's. */
  export type Placement =
    /** Before every other rule. */
    | "first"
    /** After every other rule. */
    | "last";
  /** An IPv4 address as its four octets: 192.0.2.1 is (192, 0, 2, 1). */
  export type Ipv4Address = [number, number, number, number];
  /** An IPv6 address as its eight groups: 2001:db8::1 is (0x2001, 0xdb8, 0, 0, 0, 0, 0, 1). */
  export type Ipv6Address = [number, number, number, number, number, number, number, number];
  /** One address of either family. */
  export type IpAddress =
    | { tag: "ipv4"; val: Ipv4Address }
    | { tag: "ipv6"; val: Ipv6Address };
  /**
   * A network: an address and how many of its leading bits count (0 to 32, or 0 to 128). The other bits are
   * ignored. One host is /32 or /128.
   */
  export type IpNetwork = {
    address: IpAddress;
    prefixLength: number;
  };
  /** Ports from `first` to `last`, both included. One port: the same number twice. */
  export type PortRange = {
    first: number;
    last: number;
  };
  /** Transport protocol by number: 6 is TCP, 17 is UDP, 1 is ICMP, 58 is ICMPv6. */
  export type ProtocolMatch = {
    number: number;
    negated: boolean;
  };
  export type NetworkMatch = {
    network: IpNetwork;
    negated: boolean;
  };
  /** An interface by name, at most 15 bytes. A trailing `+` stands for any ending: `eth+`. */
  export type InterfaceMatch = {
    name: string;
    negated: boolean;
  };
  /**
   * 1 to 15 ports, where a range of more than one port counts as two. The rule needs a `protocol` match too,
   * of a protocol that has ports: TCP (6), UDP (17), DCCP (33), SCTP (132) or UDP-Lite (136).
   */
  export type PortMatch = {
    ranges: PortRange[];
    negated: boolean;
  };
  export type TcpFlags = {
    fin: boolean;
    syn: boolean;
    rst: boolean;
    psh: boolean;
    ack: boolean;
    urg: boolean;
  };
  /** Of the flags in `mask`, exactly those in `set` are on. The rule needs `protocol` TCP. */
  export type TcpFlagsMatch = {
    mask: TcpFlags;
    set: TcpFlags;
    negated: boolean;
  };
  /** An ICMP or ICMPv6 message type. The rule needs the `protocol` match 1 or 58. */
  export type IcmpMatch = {
    kind: number;
    code: number | null;
    negated: boolean;
  };
  /** Conntrack states; a packet matches if it is in one of those that are set. */
  export type ConntrackStates = {
    new: boolean;
    established: boolean;
    related: boolean;
    invalid: boolean;
    untracked: boolean;
    snat: boolean;
    dnat: boolean;
  };
  export type ConntrackStateMatch = {
    states: ConntrackStates;
    negated: boolean;
  };
  /** The bits of the mark under `mask` equal `value`. */
  export type MarkMatch = {
    value: number;
    mask: number;
    negated: boolean;
  };
  export type AddressType = "unspec" | "unicast" | "local" | "broadcast" | "anycast" | "multicast" | "blackhole" | "unreachable" | "prohibit";
  export type AddressTypeTest = {
    kind: AddressType;
    negated: boolean;
  };
  /** Restricts an address-type test to the packet's own interface. */
  export type AddressTypeLimit = "any-interface" | "in-interface" | "out-interface";
  /** What the routing table says about the packet's addresses. At least one of the two tests must be given. */
  export type AddressTypeMatch = {
    source: AddressTypeTest | null;
    destination: AddressTypeTest | null;
    limit: AddressTypeLimit;
  };
  export type Direction = "source" | "destination";
  /**
   * Membership in an address set: one of this policy's, or one of another program's that the operator lets it
   * use. In the second case the rule is in force only while that set exists. One direction for each dimension of
   * the set: 1 to 6.
   */
  export type SetMatch = {
    name: string;
    directions: Direction[];
    negated: boolean;
  };
  export type RateUnit = "second" | "minute" | "hour" | "day";
  /** At most `rate` packets per unit on average, after a first burst. */
  export type LimitMatch = {
    rate: number;
    unit: RateUnit;
    /** Packets; 5 when not given. */
    burst: number | null;
  };
  /**
   * Any match or target that the installed iptables knows and this contract has no case for.
   *
   * `name` is what follows `-m` (or `-j`), `arguments` is what follows that, one word an item: name `recent`,
   * arguments `["--update", "--seconds", "60"]`. A `!` is an item of its own. The host quotes every item; it
   * refuses options of iptables itself (`-A`, `--jump`, `--table`, ...), control characters and line breaks.
   */
  export type Extension = {
    name: string;
    arguments: string[];
  };
  /** One condition. A rule applies to a packet that satisfies all of its matches. */
  export type Match =
    | { tag: "protocol"; val: ProtocolMatch }
    | { tag: "source"; val: NetworkMatch }
    | { tag: "destination"; val: NetworkMatch }
    | { tag: "in-interface"; val: InterfaceMatch }
    | { tag: "out-interface"; val: InterfaceMatch }
    | { tag: "source-ports"; val: PortMatch }
    | { tag: "destination-ports"; val: PortMatch }
    | { tag: "tcp-flags"; val: TcpFlagsMatch }
    | { tag: "icmp"; val: IcmpMatch }
    | { tag: "icmpv6"; val: IcmpMatch }
    | { tag: "conntrack-state"; val: ConntrackStateMatch }
    | { tag: "mark"; val: MarkMatch }
    | { tag: "connmark"; val: MarkMatch }
    | { tag: "address-type"; val: AddressTypeMatch }
    | { tag: "set"; val: SetMatch }
    | { tag: "limit"; val: LimitMatch }
    | { tag: "extension"; val: Extension }
    /**
     * A whole rule in the words of iptables, its target included: `["-p", "tcp", "-j", "LOG", "--log-prefix",
     * "-j: "]`. One word an item, without quotes and without `-A CHAIN`; a `!` is an item of its own. It must be
     * the rule's only match, and the rule must have no target; it may have a comment. The host quotes every
     * word. What the rule means is what the installed iptables makes of it.
     */
    | { tag: "verbatim"; val: string[] };
  /** What a rejected sender is told. Each case exists in both families unless noted. */
  export type RejectKind =
    | "port-unreachable"
    | "host-unreachable"
    | "net-unreachable"
    | "admin-prohibited"
    /** IPv4 only. */
    | "protocol-unreachable"
    /** Needs the `protocol` match TCP. */
    | "tcp-reset";
  export type Masquerade = {
    /** Source ports to use; needs a `protocol` match that has ports. */
    ports: PortRange | null;
    random: boolean;
    randomFully: boolean;
  };
  /** Addresses from `first` to `last`, both included, of one family. */
  export type AddressRange = {
    first: IpAddress;
    last: IpAddress;
  };
  /**
   * Source or destination address translation. At least one of `addresses` and `ports` must be given;
   * `ports` needs a `protocol` match that has ports.
   */
  export type Nat = {
    addresses: AddressRange | null;
    ports: PortRange | null;
    random: boolean;
    /** Source translation only. */
    randomFully: boolean;
    persistent: boolean;
  };
  /**
   * Sets the bits under `mask` to those of `value` (iptables' --set-xmark with the bits of `value` kept
   * within `mask`).
   */
  export type MarkSet = {
    value: number;
    mask: number;
  };
  export type ConnmarkAction =
    /** Sets the connection's mark. */
    | { tag: "set"; val: MarkSet }
    /** Copies the packet's mark to the connection, under this mask. */
    | { tag: "save"; val: number }
    /** Copies the connection's mark to the packet, under this mask. */
    | { tag: "restore"; val: number };
  export type LogLevel = "emergency" | "alert" | "critical" | "error" | "warning" | "notice" | "info" | "debug";
  export type LogPacket = {
    /** At most 29 bytes. */
    prefix: string;
    level: LogLevel;
  };
  export type Nflog = {
    group: number;
    /** At most 63 bytes. */
    prefix: string;
    /** Packets collected before they are passed on; 1 when not given. */
    threshold: number | null;
  };
  export type Tproxy = {
    port: number;
    address: IpAddress | null;
    mark: MarkSet;
  };
  export type TcpMss =
    | { tag: "clamp-to-path-mtu" }
    /** Bytes. */
    | { tag: "set"; val: number };
  /** What happens to a packet that a rule applies to. */
  export type Target =
    | { tag: "accept" }
    | { tag: "drop" }
    | { tag: "return" }
    | { tag: "reject"; val: RejectKind }
    /**
     * To one of this policy's chains in the same table and family, or to one of another program's that the
     * operator lets it use: then the rule is in force only while that chain exists.
     */
    | { tag: "jump"; val: string }
    /** The same without coming back to this chain. */
    | { tag: "goto"; val: string }
    | { tag: "masquerade"; val: Masquerade }
    | { tag: "source-nat"; val: Nat }
    | { tag: "destination-nat"; val: Nat }
    /** To this machine, to these ports if given. */
    | { tag: "redirect"; val: PortRange | null }
    | { tag: "mark"; val: MarkSet }
    | { tag: "connmark"; val: ConnmarkAction }
    | { tag: "log"; val: LogPacket }
    | { tag: "nflog"; val: Nflog }
    | { tag: "no-track" }
    | { tag: "tproxy"; val: Tproxy }
    | { tag: "tcp-mss"; val: TcpMss }
    | { tag: "extension"; val: Extension };
  /** A rule. Without a target it only counts packets. */
  export type Rule = {
    matches: Match[];
    target: Target | null;
    /** At most 255 bytes, no control characters; the first thing that iptables shows of the rule. */
    comment: string | null;
  };
  /**
   * A chain that should exist with exactly these rules. The same name may stand in several tables, and with
   * different rules for each family.
   */
  export type Chain = {
    table: Table;
    families: Families;
    /** 1 to 28 bytes; must match a name pattern that the operator granted. */
    name: string;
    rules: Rule[];
  };
  /**
   * A rule in a built-in chain.
   *
   * The host recognises it later by its comment, so that it can be told from foreign rules: if the comment does
   * not begin with a prefix that the operator granted, the host puts one of its own in front.
   */
  export type Attachment = {
    table: Table;
    hook: Hook;
    families: Families;
    placement: Placement;
    /**
     * Among the attachments of all policies at the same place, the lower number comes first; equal numbers
     * are ordered by policy name, then as the policy lists them.
     */
    order: number;
    rule: Rule;
  };
  /** What happens to a packet that no rule of a built-in chain decided. */
  export type Verdict = "accept" | "drop";
  /** The policy of a built-in chain, as `iptables -P` sets it. It is kept like a rule. */
  export type ChainPolicy = {
    table: Table;
    hook: Hook;
    families: Families;
    policy: Verdict;
  };
  /** A set's type, as ipset names it. */
  export type SetType =
    | { tag: "hash-ip" }
    | { tag: "hash-net" }
    | { tag: "hash-ip-port" }
    | { tag: "hash-net-port" }
    /** Another type that the installed ipset knows: `hash:net,iface`. */
    | { tag: "extension"; val: string };
  export type NetworkPort = {
    network: IpNetwork;
    protocol: number;
    port: number;
  };
  export type SetMember =
    /** For hash-ip and hash-net. */
    | { tag: "network"; val: IpNetwork }
    /** For hash-ip-port and hash-net-port. */
    | { tag: "network-port"; val: NetworkPort }
    /**
     * For hash-net: an exception (ipset's `nomatch`). An address in it is not in the set, although a wider
     * network of the set holds it.
     */
    | { tag: "nomatch"; val: IpNetwork }
    /**
     * For any type, in ipset's own syntax, with what may follow a member: `192.0.2.0/24,eth0`,
     * `192.0.2.7 comment "printer"`. It must not name hosts or services, and must not have a timeout.
     */
    | { tag: "extension"; val: string };
  /**
   * An address set (an ipset). Sets are created before the rules that use them and changed by swap: no packet
   * sees one half filled.
   */
  export type AddressSet = {
    /** 1 to 31 bytes; must match a name pattern that the operator granted. */
    name: string;
    family: Family;
    kind: SetType;
    members: SetMember[];
    /** The most members that it can hold; 65536 when not given. */
    maxElements: number | null;
    /** The host creates the set and leaves its members alone (rules fill it: `SET --add-set`); `members` must be empty. */
    dynamic: boolean;
    /** Seconds after which a member vanishes; for dynamic sets. */
    timeout: number | null;
    /**
     * Further words of `ipset create`, one an item: `["range", "0-1023"]`, `["netmask", "24", "counters"]`. Known
     * are `bitmask`, `bucketsize`, `comment`, `counters`, `forceadd`, `hashsize`, `markmask`, `netmask`, `range`,
     * `size` and `skbinfo`.
     */
    options: string[];
  };
  /** All that a policy asks for. */
  export type Contribution = {
    chains: Chain[];
    attachments: Attachment[];
    sets: AddressSet[];
    policies: ChainPolicy[];
  };
  export type Problem = {
    /**
     * What: a JSON pointer into the settings (`/natPortRange`), or kind, name and field of a resource
     * (`IPPool/pool4 spec.cidr`).
     */
    where: string;
    message: string;
  };
  /** Why there is no contribution. The last good one then stays in force, and the reason is shown to the operator. */
  export type Failure =
    /** A setting that the schema allows but the policy can't use. */
    | { tag: "settings"; val: Problem }
    /** A resource that the policy can't use. */
    | { tag: "resource"; val: Problem }
    /** Something must exist first (for example a Node resource for this node). */
    | { tag: "waiting"; val: string }
    | { tag: "other"; val: string };
  export type NetworkInterface = {
    name: string;
    index: number;
    up: boolean;
    /** Addresses with the prefix length of their subnet. */
    addresses: IpNetwork[];
  };
  export type Backend = "nft" | "legacy";
  export type Version = {
    major: number;
    minor: number;
    patch: number;
  };
  /** A table of nf_tables, made by nft or by any other program. */
  export type NftTable = {
    /** As nft names it: `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`. */
    family: string;
    name: string;
  };
  /** The kernel and the installed tools. */
  export type System = {
    kernel: Version;
    iptables: Version;
    backend: Backend;
    /** MASQUERADE and SNAT know --random-fully (kernel 3.14, iptables 1.6.2). */
    randomFully: boolean;
    /** Families that this node can filter. */
    families: Families;
    /** Tables of nf_tables, those of iptables-nft included. Empty unless the policy's description asks for them. */
    nftTables: NftTable[];
  };
  /** A Kubernetes-shaped resource, as `kubectl get -o json` prints it. */
  export type Resource = {
    apiVersion: string;
    kind: string;
    namespace: string | null;
    name: string;
    /** The whole resource as JSON text. */
    json: string;
  };
  /** What the operator allows this policy to own. A name pattern is a name or a prefix followed by `*`. */
  export type Ownership = {
    tables: Table[];
    chains: string[];
    sets: string[];
    /** Prefixes of comments. */
    comments: string[];
    /** Built-in chains whose policy it may set: `filter/INPUT`. */
    policies: string[];
    /** Sets of other programs that its rules may name. */
    usesSets: string[];
    /** Chains of other programs that its rules may jump to. */
    usesChains: string[];
    /**
     * Every jump from a built-in chain to one of its chains is its own, with whatever comment: others are
     * removed.
     */
    exclusiveJumps: boolean;
  };
  /**
   * One immutable snapshot. Lists are sorted: interfaces by name, resources by kind, namespace and name, tables of
   * nf_tables by family and name.
   */
  export type Facts = {
    nodeName: string;
    system: System;
    /** Empty unless the policy's description asks for them. */
    interfaces: NetworkInterface[];
    /** Only of the kinds that the description names and the operator granted. */
    resources: Resource[];
    /** What this policy was granted. */
    granted: Ownership;
  };
  /** What a policy is, before it sees anything. */
  export type Description = {
    /** Lower-case letters, digits and hyphens. */
    name: string;
    version: string;
    /** One line for the operator. */
    summary: string;
    /** JSON Schema (2020-12) of the settings. The host refuses settings that don't fit, naming the path. */
    settingsSchema: string;
    /** Kinds of resources that it reads: `IPPool`, `Node`. */
    readsResources: string[];
    readsInterfaces: boolean;
    /** Whether it reads which tables nf_tables has. */
    readsNftTables: boolean;
    /** What it would like to be granted; shown to the operator, never taken for granted. */
    wants: Ownership;
  };
}
