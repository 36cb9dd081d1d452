// A host firewall: admits some TCP ports from the addresses in a set, logs and drops the rest, for IPv4 and IPv6.
//
// What is returned is freed by the bindings, so every string and list is a copy on the heap.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/policy.h"
#include "settings.h"

#define CHAIN "hfe-input"

static const char SCHEMA[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\"additionalProperties\":false,"
    "\"required\":[\"admit\",\"ports\"],\"properties\":{"
    "\"admit\":{\"description\":\"Addresses and networks that may reach the ports.\",\"type\":\"array\","
    "\"items\":{\"type\":\"string\",\"pattern\":\"^[0-9a-fA-F.:]+(/(0|[1-9][0-9]{0,2}))?$\"}},"
    "\"ports\":{\"description\":\"TCP ports that are open to them.\",\"type\":\"array\","
    "\"items\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":65535}},"
    "\"log-prefix\":{\"description\":\"Beginning of the log lines about dropped packets.\",\"type\":\"string\","
    "\"maxLength\":29,\"pattern\":\"^[ -~]*$\",\"default\":\"host-firewall: \"}}}";

static policy_string_t string(const char *text) {
    policy_string_t copy;
    policy_string_dup(&copy, text);
    return copy;
}

// A list of one element on the heap.
#define ONE(list, element) (list) = (typeof(list)){memcpy(malloc(sizeof *(list).ptr), &(element), sizeof *(list).ptr), 1}

static rw_rule_t rule(uint8_t target, const rw_match_t *matches, size_t count) {
    rw_rule_t rule = {.matches = {malloc((count + 1) * sizeof *matches), count}};
    for (size_t i = 0; i < count; i++) {
        rule.matches.ptr[i] = matches[i];
    }
    rule.target.is_some = true;
    rule.target.val.tag = target;
    return rule;
}

// A rule with these matches.
#define RULE(target, ...) \
    rule(target, (rw_match_t[]){__VA_ARGS__}, sizeof((rw_match_t[]){__VA_ARGS__}) / sizeof(rw_match_t))

static rw_match_t protocol(uint8_t number) {
    return (rw_match_t){.tag = RW_MATCH_PROTOCOL, .val.protocol = {.number = number}};
}

static bool fail(policy_failure_t *failure, size_t index, const char *message) {
    char where[32];
    snprintf(where, sizeof where, "/admit/%zu", index);
    failure->tag = RW_FAILURE_SETTINGS;
    failure->val.settings = (rw_problem_t){string(where), string(message)};
    return false;
}

// A group of an IPv6 address.
static uint16_t group(const uint8_t *bytes, int index) {
    return (uint16_t)(bytes[2 * index] << 8 | bytes[2 * index + 1]);
}

// Reads `192.0.2.0/24` or `2001:db8::1`.
static bool read_network(const char *text, rw_ip_network_t *network) {
    char address[64];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    if (length >= sizeof address) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = 0;
    uint8_t bytes[16];
    long longest;
    memset(network, 0, sizeof *network);
    if (inet_pton(AF_INET, address, bytes) == 1) {
        longest = 32;
        network->address.tag = RW_IP_ADDRESS_IPV4;
        network->address.val.ipv4 = (rw_ipv4_address_t){bytes[0], bytes[1], bytes[2], bytes[3]};
    } else if (inet_pton(AF_INET6, address, bytes) == 1) {
        longest = 128;
        network->address.tag = RW_IP_ADDRESS_IPV6;
        network->address.val.ipv6 = (rw_ipv6_address_t){group(bytes, 0), group(bytes, 1), group(bytes, 2), group(bytes, 3),
                                                        group(bytes, 4), group(bytes, 5), group(bytes, 6), group(bytes, 7)};
    } else {
        return false;
    }
    long prefix = slash ? strtol(slash + 1, NULL, 10) : longest;
    network->prefix_length = (uint8_t)prefix;
    return prefix <= longest;
}

static rw_match_t to_port(uint16_t port) {
    rw_port_range_t range = {port, port};
    rw_match_t match = {.tag = RW_MATCH_DESTINATION_PORTS};
    ONE(match.val.destination_ports.ranges, range);
    return match;
}

static rw_match_t in_set(const char *name) {
    rw_direction_t source = RW_DIRECTION_SOURCE;
    rw_match_t match = {.tag = RW_MATCH_SET, .val.set = {.name = string(name)}};
    ONE(match.val.set.directions, source);
    return match;
}

static rw_chain_t chain_of(bool ipv4, const char *set, const struct settings *settings) {
    rw_match_t loopback = {.tag = RW_MATCH_IN_INTERFACE, .val.in_interface = {.name = string("lo")}};
    uint8_t states = RW_CONNTRACK_STATES_ESTABLISHED | RW_CONNTRACK_STATES_RELATED;
    rw_match_t known = {.tag = RW_MATCH_CONNTRACK_STATE, .val.conntrack_state = {.states = states}};
    rw_match_t sometimes = {.tag = RW_MATCH_LIMIT, .val.limit = {.rate = 10, .unit = RW_RATE_UNIT_MINUTE}};

    rw_rule_t *rules = malloc((settings->port_count + 5) * sizeof *rules);
    size_t count = 0;
    rules[count++] = RULE(RW_TARGET_ACCEPT, loopback);
    rules[count++] = RULE(RW_TARGET_ACCEPT, known);
    rules[count++] = RULE(RW_TARGET_ACCEPT, protocol(ipv4 ? 1 : 58));
    for (size_t i = 0; i < settings->port_count; i++) {
        rules[count++] = RULE(RW_TARGET_ACCEPT, protocol(6), to_port(settings->ports[i]), in_set(set));
    }
    rules[count] = RULE(RW_TARGET_LOG, sometimes);
    rules[count++].target.val.val.log = (rw_log_packet_t){string(settings->log_prefix), RW_LOG_LEVEL_WARNING};
    rules[count++] = rule(RW_TARGET_DROP, NULL, 0);
    return (rw_chain_t){
        .table = RW_TABLE_FILTER,
        .families = ipv4 ? RW_FAMILIES_IPV4 : RW_FAMILIES_IPV6,
        .name = string(CHAIN),
        .rules = {rules, count},
    };
}

void exports_policy_describe(policy_description_t *description) {
    *description = (policy_description_t){
        .name = string("host-firewall-example"),
        .version = string("1.0.0"),
        .summary = string("Admits some TCP ports from some addresses; logs and drops the rest."),
        .settings_schema = string(SCHEMA),
    };
    rw_table_t filter = RW_TABLE_FILTER;
    policy_string_t chains = string("hfe-*"), sets = string("hfe-*"), comments = string("hfe:");
    ONE(description->wants.tables, filter);
    ONE(description->wants.chains, chains);
    ONE(description->wants.sets, sets);
    ONE(description->wants.comments, comments);
}

bool exports_policy_evaluate(policy_facts_t *facts, policy_string_t *json, policy_contribution_t *answer,
                             policy_failure_t *failure) {
    struct settings settings = settings_read((const char *)json->ptr, json->len);
    rw_ip_network_t *networks = calloc(settings.admit_count + 1, sizeof *networks);
    for (size_t i = 0; i < settings.admit_count; i++) {
        if (!read_network(settings.admit[i], &networks[i])) {
            return fail(failure, i, "is no address or network; write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32");
        }
    }
    for (size_t i = 0; i < settings.admit_count; i++) {
        if (networks[i].prefix_length == 0) {
            return fail(failure, i, "is every address, which a set can't hold; write its two halves");
        }
    }
    memset(answer, 0, sizeof *answer);
    answer->chains.ptr = calloc(2, sizeof *answer->chains.ptr);
    answer->sets.ptr = calloc(2, sizeof *answer->sets.ptr);
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        if (!(facts->system.families & (ipv6 ? RW_FAMILIES_IPV6 : RW_FAMILIES_IPV4))) {
            continue;
        }
        const char *name = ipv6 ? "hfe-admitted6" : "hfe-admitted4";
        rw_address_set_t set = {
            .name = string(name),
            .family = ipv6 ? RW_FAMILY_IPV6 : RW_FAMILY_IPV4,
            .kind.tag = RW_SET_TYPE_HASH_NET,
            .members.ptr = calloc(settings.admit_count + 1, sizeof(rw_set_member_t)),
        };
        for (size_t i = 0; i < settings.admit_count; i++) {
            if (networks[i].address.tag == (ipv6 ? RW_IP_ADDRESS_IPV6 : RW_IP_ADDRESS_IPV4)) {
                set.members.ptr[set.members.len++] =
                    (rw_set_member_t){.tag = RW_SET_MEMBER_NETWORK, .val.network = networks[i]};
            }
        }
        answer->sets.ptr[answer->sets.len++] = set;
        answer->chains.ptr[answer->chains.len++] = chain_of(!ipv6, name, &settings);
    }
    rw_attachment_t jump = {
        .table = RW_TABLE_FILTER,
        .hook = RW_HOOK_INPUT,
        .families = facts->system.families,
        .placement = RW_PLACEMENT_FIRST,
        .rule.target = {.is_some = true, .val = {.tag = RW_TARGET_JUMP, .val.jump = string(CHAIN)}},
        .rule.comment = {.is_some = true, .val = string("hfe:input")},
    };
    ONE(answer->attachments, jump);
    return true;
}
