/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What no rule wants is left out here, as far as the kernel half can know it. User space decides exactly.
 *
 * User space writes all rules together as up to 64 alternatives (src/netmon/rules/wanted.py): a connection is wanted if
 * it meets one of them. An alternative demands that some values are in its lists, or are not: addresses, ports, the
 * network namespace, ids, the executable. What rules compare beyond that is not here, and nothing here is narrower than
 * the rules, so no event that a rule matches is left out.
 *
 * A set of alternatives is a word, a bit each. The value of a key in a map is the set of the alternatives that a value
 * with that key meets, those that do not compare it included; of a CIDR it is joined with those of all shorter ones. So
 * one lookup for each value that is compared, and an AND, is all that rules take, however many they are. What is not
 * compared by any alternative that is left takes none, and when none is left, the connection is rejected.
 *
 * The alternatives that a process meets are kept with it, as the verdict of the process filter is.
 */
#ifndef __RULES_H__
#define __RULES_H__

#include "maps.h"
#include "process_record.h"
#include "socket.h"

#define ALL_ALTERNATIVES (~0ULL)

/* Returned by passes_process_filter() and meets_by_process(): call read_image(), and it again. */
enum { NEEDS_IMAGE = 2 };

/* Returns those of the alternatives that a value meets. key: the value's, in a map of the set. */
static __always_inline __u64 meet(__u64 alternatives, void *maps, __u32 set, enum rule_list list, const void *key)
{
	const struct wanted *wanted = &settings[set].wanted;
	const __u64 *met = NULL;
	void *map;

	if (!(alternatives & wanted->compared[list]))
		return alternatives;
	map = bpf_map_lookup_elem(maps, &set);
	if (map)
		met = bpf_map_lookup_elem(map, key);
	return alternatives & (met ? *met : wanted->otherwise[list]);
}

static __always_inline __u64 meet_number(__u64 alternatives, __u32 set, enum rule_list list, __u32 number,
					 struct ipv4_cidr_key *key)
{
	__be32 value = bpf_htonl(number);

	key->prefixlen = CIDR_LIST_BITS + 8 * sizeof(key->address);
	key->list[3] = list;
	__builtin_memcpy(key->address, &value, sizeof(value));
	return meet(alternatives, &rule_numbers, set, list, key);
}

static __always_inline __u64 meet_address(__u64 alternatives, __u32 set, enum endpoint endpoint,
					  struct compared *compared)
{
	if (compared->family == FAMILY_IPV4) {
		struct ipv4_cidr_key *key = &compared->key.number;

		key->prefixlen = CIDR_LIST_BITS + 8 * sizeof(key->address);
		key->list[3] = RULE_IPV4_SRC + endpoint;
		__builtin_memcpy(key->address, compared->addresses[endpoint], sizeof(key->address));
		return meet(alternatives, &rule_numbers, set, RULE_IPV4_SRC + endpoint, key);
	}
	compared->key.ipv6.prefixlen = CIDR_LIST_BITS + 8 * sizeof(compared->key.ipv6.address);
	compared->key.ipv6.list[3] = RULE_IPV6_SRC + endpoint;
	__builtin_memcpy(compared->key.ipv6.address, compared->addresses[endpoint],
			 sizeof(compared->key.ipv6.address));
	return meet(alternatives, &rule_ipv6, set, RULE_IPV6_SRC + endpoint, &compared->key.ipv6);
}

static __always_inline __u64 meet_ports(__u64 alternatives, __u32 set, const struct compared *compared)
{
	const struct wanted *wanted = &settings[set].wanted;
	const __u32 only = 0;
	const struct rule_ports *ports;
	void *map;

	if (!(alternatives & (wanted->compared[RULE_PORT_SRC] | wanted->compared[RULE_PORT_DST])))
		return alternatives;
	map = bpf_map_lookup_elem(&rule_ports, &set);
	ports = map ? bpf_map_lookup_elem(map, &only) : NULL;
	if (!ports)
		return alternatives;
	return alternatives & ports->met[ENDPOINT_SRC][ports->classes[ENDPOINT_SRC][compared->ports[ENDPOINT_SRC]]] &
	       ports->met[ENDPOINT_DST][ports->classes[ENDPOINT_DST][compared->ports[ENDPOINT_DST]]];
}

/*
 * Notes the alternatives that the connection in the slot meets, its process aside. Returns whether there are any. The
 * cheapest come first. Global: see the overview in netmon.bpf.c.
 */
__noinline int meets_by_connection(__u32 slot, __u32 set, __u32 direction)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct compared *compared;
	__u64 met;

	if (!scratch || !load_config.rules)
		return 1;
	set &= FILTER_SETS - 1;
	compared = &scratch->compared;
	__builtin_memset(compared->key.ipv6.list, 0, sizeof(compared->key.ipv6.list));
	met = settings[set].wanted.possible[direction & 1][compared->family & 1];
	if (met)
		met = meet_ports(met, set, compared);
	if (met)
		met = meet_number(met, set, RULE_NETNS, compared->netns, &compared->key.number);
	if (met)
		met = meet_address(met, set, ENDPOINT_DST, compared);
	if (met)
		met = meet_address(met, set, ENDPOINT_SRC, compared);
	compared->met = met;
	return !!met;
}

/* Whether rules limit what is reported. They do not limit what a snapshot lists. */
static __always_inline bool limits(__u32 set)
{
	return HAS_FILTERS && load_config.rules && !report_options.snapshot && settings[set].limited;
}

static __always_inline bool limits_processes(__u32 set)
{
	return HAS_FILTERS && load_config.rules && !report_options.snapshot && settings[set].limited_by_process;
}

/*
 * Compares a connection. Not inlined, since its callers have no stack left, and not global, since it is given a socket.
 */
static __noinline bool is_connection_wanted(__u32 slot, __u32 set, enum direction direction, enum family family,
					    struct sock *sk)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct compared *compared;

	if (!scratch)
		return true;
	set &= FILTER_SETS - 1;
	compared = &scratch->compared;
	compared->family = family;
	compared->ports[ENDPOINT_SRC] = local_port(sk);
	compared->ports[ENDPOINT_DST] = bpf_ntohs(sk->__sk_common.skc_dport);
	if (settings[set].wanted.compared[RULE_NETNS])
		compared->netns = netns_of(sk);
	if (family == FAMILY_IPV4) {
		copy_ipv4(compared->addresses[ENDPOINT_SRC], sk->__sk_common.skc_rcv_saddr);
		copy_ipv4(compared->addresses[ENDPOINT_DST], sk->__sk_common.skc_daddr);
	} else {
		copy_ipv6(compared->addresses[ENDPOINT_SRC], &sk->__sk_common.skc_v6_rcv_saddr);
		copy_ipv6(compared->addresses[ENDPOINT_DST], &sk->__sk_common.skc_v6_daddr);
	}
	return meets_by_connection(slot, set, direction);
}

/* Whether any rule may want a connection, its process aside. For id_if_wanted(), the slot keeps what it meets. */
static __always_inline bool may_be_wanted(__u32 slot, __u32 set, enum direction direction, enum family family,
					  struct sock *sk)
{
	return !limits(set) || is_connection_wanted(slot, set, direction, family, sk);
}

/* As is_connection_wanted(), for a connect attempt that failed at once. */
static __noinline bool is_failure_wanted(__u32 slot, __u32 set, const union event *endpoints, struct sock *sk)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct compared *compared;

	if (!scratch)
		return true;
	set &= FILTER_SETS - 1;
	compared = &scratch->compared;
	compared->family = endpoints->head.family;
	compared->ports[ENDPOINT_SRC] = local_port(sk);
	compared->ports[ENDPOINT_DST] = endpoints->head.dport;
	if (settings[set].wanted.compared[RULE_NETNS])
		compared->netns = netns_of(sk);
	if (endpoints->head.family == FAMILY_IPV4) {
		__builtin_memcpy(compared->addresses[ENDPOINT_SRC], endpoints->ipv4.saddr, sizeof(endpoints->ipv4.saddr));
		__builtin_memcpy(compared->addresses[ENDPOINT_DST], endpoints->ipv4.daddr, sizeof(endpoints->ipv4.daddr));
	} else {
		__builtin_memcpy(compared->addresses[ENDPOINT_SRC], endpoints->ipv6.saddr, sizeof(endpoints->ipv6.saddr));
		__builtin_memcpy(compared->addresses[ENDPOINT_DST], endpoints->ipv6.daddr, sizeof(endpoints->ipv6.daddr));
	}
	return meets_by_connection(slot, set, DIRECTION_EGRESS);
}

/* As may_be_wanted(), for a connect attempt that failed at once: its socket may have no endpoints. */
static __always_inline bool may_failure_be_wanted(__u32 slot, __u32 set, const union event *endpoints, struct sock *sk)
{
	return !limits(set) || is_failure_wanted(slot, set, endpoints, sk);
}

/*
 * The alternatives that the executable whose path is in the slot meets. A path or a name that does not fit into a key, or
 * of which a part is unknown, meets all.
 */
static __always_inline __u64 meet_image(struct scratch *scratch, __u32 set)
{
	__u32 length = scratch->walk.name_length, path_length = PATH_SIZE - scratch->walk.start;
	__u64 met = ALL_ALTERNATIVES;

	if (scratch->image_state != IMAGE_READ || !scratch->walk.complete)
		return met;
	if (settings[set].wanted.compared[RULE_NAME] && length && length < NAME_SIZE) {
		__builtin_memset(scratch->binary_path, 0, sizeof(scratch->binary_path));
		bpf_probe_read_kernel(scratch->binary_path, length & (NAME_SIZE - 1),
				      &scratch->walk.path[(PATH_SIZE - length) & (PATH_SIZE - 1)]);
		met = meet(met, &rule_texts, set, RULE_NAME, scratch->binary_path);
	}
	if (settings[set].wanted.compared[RULE_PATH] && path_length && path_length < BINARY_PATH_SIZE) {
		__builtin_memset(scratch->binary_path, 0, sizeof(scratch->binary_path));
		bpf_probe_read_kernel(scratch->binary_path, path_length & (BINARY_PATH_SIZE - 1),
				      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
		met = meet(met, &rule_texts, set, RULE_PATH, scratch->binary_path);
	}
	if (settings[set].wanted.compared[RULE_PREFIX] && scratch->walk.start < PATH_SIZE) {
		scratch->binary_prefix.prefixlen = PREFIX_SIZE * 8;
		bpf_probe_read_kernel(scratch->binary_prefix.prefix, sizeof(scratch->binary_prefix.prefix),
				      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
		met = meet(met, &rule_prefixes, set, RULE_PREFIX, &scratch->binary_prefix);
	}
	return met;
}

/*
 * Notes the alternatives that the process meets whose record is in the slot. Returns whether there are any, or
 * NEEDS_IMAGE: call read_image(), and it again. What the image meets is noted of all alternatives: it is recalled with
 * the image (recall() in process.h). Global: see the overview in netmon.bpf.c.
 */
__noinline int meets_by_process(__u32 slot, __u32 set)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct credentials *credentials;
	struct ipv4_cidr_key *key;
	const struct wanted *wanted;
	__u64 met = ALL_ALTERNATIVES;

	if (!scratch || !load_config.rules)
		return 1;
	set &= FILTER_SETS - 1;
	wanted = &settings[set].wanted;
	credentials = &scratch->record.credentials;
	key = &scratch->compared.key.number;
	__builtin_memset(key->list, 0, sizeof(key->list));
	met = wanted->possible[DIRECTION_INGRESS][FAMILY_IPV4] | wanted->possible[DIRECTION_INGRESS][FAMILY_IPV6] |
	      wanted->possible[DIRECTION_EGRESS][FAMILY_IPV4] | wanted->possible[DIRECTION_EGRESS][FAMILY_IPV6];
	met = meet_number(met, set, RULE_UID, credentials->uid, key);
	met = meet_number(met, set, RULE_EUID, credentials->euid, key);
	met = meet_number(met, set, RULE_GID, credentials->gid, key);
	met = meet_number(met, set, RULE_EGID, credentials->egid, key);
	met = meet_number(met, set, RULE_AUID, credentials->auid, key);
	if (met & (wanted->compared[RULE_NAME] | wanted->compared[RULE_PATH] | wanted->compared[RULE_PREFIX])) {
		if (!(scratch->predicates.evaluated & MET_BY_IMAGE)) {
			if (scratch->image_state == IMAGE_UNREAD)
				return NEEDS_IMAGE;
			scratch->alternatives.met_by_image = meet_image(scratch, set);
			scratch->predicates.evaluated |= MET_BY_IMAGE;
		}
		met &= scratch->alternatives.met_by_image;
	}
	scratch->alternatives.met = met;
	return !!met;
}

#endif
