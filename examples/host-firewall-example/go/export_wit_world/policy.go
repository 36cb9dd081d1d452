// Package export_wit_world is a host firewall: it admits some TCP ports from the addresses in a set, logs and drops the
// rest, for IPv4 and IPv6. The bindings call Describe and Evaluate in a package of this name.
package export_wit_world

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	wt "go.bytecodealliance.org/pkg/wit/types"
	t "wit_component/ruleward_policy_types"
)

const chainName = "hfe-input"

//go:embed settings.schema.json
var schema string

type settings struct {
	Admit     []string `json:"admit"`
	Ports     []uint16 `json:"ports"`
	LogPrefix string   `json:"log-prefix"`
}

// Describe says what this policy is.
func Describe() t.Description {
	return t.Description{
		Name:           "host-firewall-example",
		Version:        "1.0.0",
		Summary:        "Admits some TCP ports from some addresses; logs and drops the rest.",
		SettingsSchema: schema,
		Wants: t.Ownership{
			Tables:   []t.Table{t.Table_Filter},
			Chains:   []string{"hfe-*"},
			Sets:     []string{"hfe-*"},
			Comments: []string{"hfe:"},
		},
	}
}

// Evaluate computes what the node should have.
func Evaluate(facts t.Facts, text string) wt.Result[t.Contribution, t.Failure] {
	set := settings{LogPrefix: "host-firewall: "}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return refuse("", err.Error())
	}
	networks := make([]netip.Prefix, len(set.Admit))
	for i, text := range set.Admit {
		network, err := parseNetwork(text)
		if err != nil {
			return refuse(fmt.Sprintf("/admit/%d", i), err.Error())
		}
		networks[i] = network
	}
	for i, network := range networks {
		if network.Bits() == 0 {
			return refuse(fmt.Sprintf("/admit/%d", i), "is every address, which a set can't hold; write its two halves")
		}
	}

	var answer t.Contribution
	for _, family := range []struct {
		family   t.Family
		families t.Families
		set      string
		icmp     uint8
	}{
		{t.Family_Ipv4, t.Families_Ipv4, "hfe-admitted4", 1},
		{t.Family_Ipv6, t.Families_Ipv6, "hfe-admitted6", 58},
	} {
		if facts.System.Families&family.families == 0 {
			continue
		}
		var members []t.SetMember
		for _, network := range networks {
			if network.Addr().Is4() == (family.family == t.Family_Ipv4) {
				members = append(members, t.MakeSetMemberNetwork(witNetwork(network)))
			}
		}
		answer.Sets = append(answer.Sets, t.AddressSet{
			Name: family.set, Family: family.family, Kind: t.MakeSetTypeHashNet(), Members: members,
		})
		answer.Chains = append(answer.Chains, t.Chain{
			Table: t.Table_Filter, Families: family.families, Name: chainName,
			Rules: rules(family.set, family.icmp, set),
		})
	}
	answer.Attachments = []t.Attachment{{
		Table: t.Table_Filter, Hook: t.Hook_Input, Families: facts.System.Families, Placement: t.Placement_First,
		Rule: t.Rule{Target: wt.Some(t.MakeTargetJump(chainName)), Comment: wt.Some("hfe:input")},
	}}
	return wt.Ok[t.Contribution, t.Failure](answer)
}

func rules(set string, icmp uint8, settings settings) []t.Rule {
	known := t.ConntrackStates_Established | t.ConntrackStates_Related
	rules := []t.Rule{
		rule(t.MakeTargetAccept(), t.MakeMatchInInterface(t.InterfaceMatch{Name: "lo"})),
		rule(t.MakeTargetAccept(), t.MakeMatchConntrackState(t.ConntrackStateMatch{States: known})),
		rule(t.MakeTargetAccept(), protocol(icmp)),
	}
	for _, port := range settings.Ports {
		rules = append(rules, rule(t.MakeTargetAccept(), protocol(6),
			t.MakeMatchDestinationPorts(t.PortMatch{Ranges: []t.PortRange{{First: port, Last: port}}}),
			t.MakeMatchSet(t.SetMatch{Name: set, Directions: []t.Direction{t.Direction_Source}})))
	}
	log := t.MakeTargetLog(t.LogPacket{Prefix: settings.LogPrefix, Level: t.LogLevel_Warning})
	return append(rules,
		rule(log, t.MakeMatchLimit(t.LimitMatch{Rate: 10, Unit: t.RateUnit_Minute})),
		rule(t.MakeTargetDrop()))
}

func rule(target t.Target, matches ...t.Match) t.Rule {
	return t.Rule{Matches: matches, Target: wt.Some(target)}
}

func protocol(number uint8) t.Match {
	return t.MakeMatchProtocol(t.ProtocolMatch{Number: number})
}

func parseNetwork(text string) (netip.Prefix, error) {
	if network, err := netip.ParsePrefix(text); err == nil {
		return network, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address or network; write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32", text)
	}
	return netip.PrefixFrom(address, address.BitLen()), nil
}

func witNetwork(network netip.Prefix) t.IpNetwork {
	length := uint8(network.Bits())
	if network.Addr().Is4() {
		octets := network.Addr().As4()
		address := t.Ipv4Address{F0: octets[0], F1: octets[1], F2: octets[2], F3: octets[3]}
		return t.IpNetwork{Address: t.MakeIpAddressIpv4(address), PrefixLength: length}
	}
	bytes := network.Addr().As16()
	group := func(i int) uint16 { return binary.BigEndian.Uint16(bytes[2*i:]) }
	address := t.Ipv6Address{
		F0: group(0), F1: group(1), F2: group(2), F3: group(3), F4: group(4), F5: group(5), F6: group(6), F7: group(7),
	}
	return t.IpNetwork{Address: t.MakeIpAddressIpv6(address), PrefixLength: length}
}

func refuse(where, message string) wt.Result[t.Contribution, t.Failure] {
	problem := t.Problem{Where: where, Message: message}
	return wt.Err[t.Contribution, t.Failure](t.MakeFailureSettings(problem))
}
