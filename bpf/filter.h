/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The verdicts: on a connection's ports, network namespace and addresses, and on a process. */
#ifndef __FILTER_H__
#define __FILTER_H__

#include "cgroup_filter.h"
#include "maps.h"
#include "socket.h"

static __always_inline bool is_in(void *maps, __u32 set, const void *key)
{
	void *map = bpf_map_lookup_elem(maps, &set);

	return map && bpf_map_lookup_elem(map, key);
}

static __always_inline bool has_id(__u32 set, enum id_kind kind, __u32 id)
{
	struct id_key key = {.kind = kind, .id = id};

	return is_in(&ids, set, &key);
}

static __always_inline bool is_ipv4_listed(__u32 set, __u8 list, __be32 address)
{
	struct ipv4_cidr_key key = {.prefixlen = 64, .list = {0, 0, 0, list}};

	copy_ipv4(key.address, address);
	return is_in(&ipv4_cidrs, set, &key);
}

static __always_inline bool is_ipv6_listed(__u32 set, __u8 list, const struct in6_addr *address)
{
	struct ipv6_cidr_key key = {.prefixlen = 160, .list = {0, 0, 0, list}};

	copy_ipv6(key.address, address);
	return is_in(&ipv6_cidrs, set, &key);
}

static __always_inline __u32 set_of(__u64 generation)
{
	return generation % FILTER_SETS;
}

/* A list's number in the LPM keys: of the direction's lists for one end. */
static __always_inline __u8 list_of(enum direction direction, enum end end)
{
	return direction * 2 + end;
}

static __always_inline bool passes_ipv4_filter(__u32 set, enum direction direction, __be32 saddr, __be32 daddr)
{
	const struct ends_filter *filter = &settings[set].connection_filters[direction].addresses[FAMILY_IPV4];

	if (!basics.filters || filter->mode == FILTER_OFF)
		return true;
	return ((filter->src && is_ipv4_listed(set, list_of(direction, END_SRC), saddr)) ||
		(filter->dst && is_ipv4_listed(set, list_of(direction, END_DST), daddr))) ==
	       (filter->mode == FILTER_ALLOW);
}

static __always_inline bool passes_ipv6_filter(__u32 set, enum direction direction, const struct in6_addr *saddr,
					       const struct in6_addr *daddr)
{
	const struct ends_filter *filter = &settings[set].connection_filters[direction].addresses[FAMILY_IPV6];

	if (!basics.filters || filter->mode == FILTER_OFF)
		return true;
	return ((filter->src && is_ipv6_listed(set, list_of(direction, END_SRC), saddr)) ||
		(filter->dst && is_ipv6_listed(set, list_of(direction, END_DST), daddr))) ==
	       (filter->mode == FILTER_ALLOW);
}

static __always_inline bool passes_ip_filter(__u32 set, enum direction direction, enum family family, struct sock *sk)
{
	if (family == FAMILY_IPV4)
		return passes_ipv4_filter(set, direction, sk->__sk_common.skc_rcv_saddr, sk->__sk_common.skc_daddr);
	return passes_ipv6_filter(set, direction, &sk->__sk_common.skc_v6_rcv_saddr, &sk->__sk_common.skc_v6_daddr);
}

/* Of a request that was refused: its socket may have no ends. */
static __always_inline bool passes_ip_filter_of(__u32 set, enum direction direction, const union event *ends)
{
	__be32 saddr, daddr;

	if (ends->head.family == FAMILY_IPV6)
		return passes_ipv6_filter(set, direction, (const void *)ends->ipv6.saddr, (const void *)ends->ipv6.daddr);
	__builtin_memcpy(&saddr, ends->ipv4.saddr, sizeof(saddr));
	__builtin_memcpy(&daddr, ends->ipv4.daddr, sizeof(daddr));
	return passes_ipv4_filter(set, direction, saddr, daddr);
}

static __always_inline bool is_port_listed(const struct port_sets *sets, __u32 direction, enum end end, __u16 port)
{
	return sets->bits[direction][end][port / 8] >> port % 8 & 1;
}

/* Global, like what describes a process (process.h). */
__noinline int passes_port_filter(__u32 set, __u32 direction, __u32 sport, __u32 dport)
{
	const __u32 only = 0;
	const struct ends_filter *filter;
	const struct port_sets *sets;
	void *map;

	if (!basics.filters)
		return 1;
	set &= FILTER_SETS - 1;
	direction &= 1;
	filter = &settings[set].connection_filters[direction].ports;
	map = bpf_map_lookup_elem(&ports, &set);
	sets = map ? bpf_map_lookup_elem(map, &only) : NULL;
	return (sets && ((filter->src && is_port_listed(sets, direction, END_SRC, sport)) ||
			 (filter->dst && is_port_listed(sets, direction, END_DST, dport)))) ==
	       (filter->mode == FILTER_ALLOW);
}

/* Before its addresses: these cost less to judge. */
static __always_inline bool passes_socket_filters(__u32 set, enum direction direction, struct sock *sk, __u16 dport)
{
	__u8 netns_mode = settings[set].netns_mode;

	if (!basics.filters)
		return true;
	if (settings[set].connection_filters[direction].ports.mode != FILTER_OFF &&
	    !passes_port_filter(set, direction, local_port(sk), dport))
		return false;
	return netns_mode == FILTER_OFF || has_id(set, ID_NETNS, netns_of(sk)) == (netns_mode == FILTER_ALLOW);
}

static __always_inline bool passes_connection_filters(__u32 set, enum direction direction, enum family family,
						      struct sock *sk)
{
	if (!basics.filters || !settings[set].connection_filters[direction].any)
		return true;
	return passes_socket_filters(set, direction, sk, bpf_ntohs(sk->__sk_common.skc_dport)) &&
	       passes_ip_filter(set, direction, family, sk);
}

static __always_inline bool matches_ids(__u32 set, const struct credentials *credentials)
{
	const struct process_filter *filter = &settings[set].process_filter;

	return (!filter->uid || has_id(set, ID_UID, credentials->uid)) &&
	       (!filter->euid || has_id(set, ID_EUID, credentials->euid)) &&
	       (!filter->auid || has_id(set, ID_AUID, credentials->auid));
}

/* The executable's name: the last component of the path in scratch->walk. */
static __always_inline bool matches_name(__u32 set, struct scratch *scratch)
{
	__u32 length = scratch->walk.name_length;

	if (!length || length >= NAME_SIZE)
		return false;
	__builtin_memset(scratch->name, 0, sizeof(scratch->name));
	bpf_probe_read_kernel(scratch->name, length & (NAME_SIZE - 1),
			      &scratch->walk.path[(PATH_SIZE - length) & (PATH_SIZE - 1)]);
	return is_in(&binary_names, set, scratch->name);
}

static __always_inline bool matches_path(__u32 set, struct scratch *scratch)
{
	__u32 length = PATH_SIZE - scratch->walk.start;

	if (!length || length >= BINARY_PATH_SIZE || !scratch->walk.complete)
		return false;
	__builtin_memset(scratch->binary_path, 0, sizeof(scratch->binary_path));
	bpf_probe_read_kernel(scratch->binary_path, length & (BINARY_PATH_SIZE - 1),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return is_in(&binary_paths, set, scratch->binary_path);
}

static __always_inline bool matches_prefix(__u32 set, struct scratch *scratch)
{
	struct prefix_key *key = &scratch->binary_prefix;

	if (scratch->walk.start >= PATH_SIZE || !scratch->walk.complete)
		return false;
	key->prefixlen = PREFIX_SIZE * 8;
	/* Behind the path's end, at PATH_SIZE, the walk's buffer is never written: NULs, which no prefix holds. */
	bpf_probe_read_kernel(key->prefix, sizeof(key->prefix),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return is_in(&binary_prefixes, set, key);
}

static __always_inline bool filters_binary(__u32 set)
{
	const struct process_filter *filter = &settings[set].process_filter;

	return filter->name || filter->prefix || filter->path;
}

static __always_inline bool matches_binary(__u32 set, struct scratch *scratch)
{
	const struct process_filter *filter = &settings[set].process_filter;

	return (filter->name && matches_name(set, scratch)) || (filter->prefix && matches_prefix(set, scratch)) ||
	       (filter->path && matches_path(set, scratch));
}

static __always_inline bool matches_cgroup(__u32 set, struct scratch *scratch, __u32 slot, struct task_struct *task)
{
	const struct process_filter *filter = &settings[set].process_filter;
	struct cgroup_walk *walk = &scratch->cgroup_walk;

	if (!filter->cgroup && !filter->container_id)
		return true;
	walk_cgroups(scratch, slot, task);
	return (!filter->cgroup || is_in(&cgroups, set, &walk->prefixlen)) &&
	       (!filter->container_id || is_in(&container_ids, set, &walk->container));
}

#endif
