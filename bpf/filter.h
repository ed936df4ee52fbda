/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The verdicts: on a connection's addresses, and on a process. */
#ifndef __FILTER_H__
#define __FILTER_H__

#include "address.h"
#include "maps.h"

static __always_inline bool is_ipv4_listed(__u8 list, __be32 address)
{
	struct ipv4_cidr_key key = {.prefixlen = 64, .list = {0, 0, 0, list}};

	copy_ipv4(key.address, address);
	return bpf_map_lookup_elem(&ipv4_cidrs, &key);
}

static __always_inline bool is_ipv6_listed(__u8 list, const struct in6_addr *address)
{
	struct ipv6_cidr_key key = {.prefixlen = 160, .list = {0, 0, 0, list}};

	copy_ipv6(key.address, address);
	return bpf_map_lookup_elem(&ipv6_cidrs, &key);
}

/* Constant indexes: the verifier reads the settings and drops what is off. */
static __always_inline bool passes_ip_filter(enum direction direction, enum family family, struct sock *sk)
{
	const volatile struct ip_filter *filter;
	const __u8 src = direction * 2 + END_SRC, dst = direction * 2 + END_DST;
	struct sock_common *common = &sk->__sk_common;
	bool match;

	if (family == FAMILY_IPV4) {
		filter = &settings.ip_filters[direction][FAMILY_IPV4];
		if (filter->mode == FILTER_OFF)
			return true;
		match = (filter->src && is_ipv4_listed(src, common->skc_rcv_saddr)) ||
			(filter->dst && is_ipv4_listed(dst, common->skc_daddr));
	} else {
		filter = &settings.ip_filters[direction][FAMILY_IPV6];
		if (filter->mode == FILTER_OFF)
			return true;
		match = (filter->src && is_ipv6_listed(src, &common->skc_v6_rcv_saddr)) ||
			(filter->dst && is_ipv6_listed(dst, &common->skc_v6_daddr));
	}
	return match == (filter->mode == FILTER_ALLOW);
}

static __always_inline bool has_id(enum id_kind kind, __u32 id)
{
	struct id_key key = {.kind = kind, .id = id};

	return bpf_map_lookup_elem(&process_ids, &key);
}

static __always_inline bool matches_ids(const struct credentials *credentials)
{
	const volatile struct process_filter *filter = &settings.process_filter;

	return (!filter->uid || has_id(ID_UID, credentials->uid)) &&
	       (!filter->euid || has_id(ID_EUID, credentials->euid)) &&
	       (!filter->auid || has_id(ID_AUID, credentials->auid));
}

/* The executable's name: the last component of the path in scratch->walk. */
static __always_inline bool matches_name(struct scratch *scratch)
{
	__u32 length = scratch->walk.name_length;

	if (!length || length >= NAME_SIZE)
		return false;
	__builtin_memset(scratch->name, 0, sizeof(scratch->name));
	bpf_probe_read_kernel(scratch->name, length & (NAME_SIZE - 1),
			      &scratch->walk.path[(PATH_SIZE - length) & (PATH_SIZE - 1)]);
	return bpf_map_lookup_elem(&binary_names, scratch->name);
}

static __always_inline bool matches_path(struct scratch *scratch)
{
	__u32 length = PATH_SIZE - scratch->walk.start;

	if (!length || length >= BINARY_PATH_SIZE || !scratch->walk.complete)
		return false;
	__builtin_memset(scratch->binary_path, 0, sizeof(scratch->binary_path));
	bpf_probe_read_kernel(scratch->binary_path, length & (BINARY_PATH_SIZE - 1),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return bpf_map_lookup_elem(&binary_paths, scratch->binary_path);
}

static __always_inline bool matches_prefix(struct scratch *scratch)
{
	struct binary_prefix_key *key = &scratch->binary_prefix;

	if (scratch->walk.start >= PATH_SIZE || !scratch->walk.complete)
		return false;
	key->prefixlen = BINARY_PREFIX_SIZE * 8;
	/* Behind the path's end, at PATH_SIZE, the walk's buffer is never written: NULs, which no prefix holds. */
	bpf_probe_read_kernel(key->prefix, sizeof(key->prefix),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return bpf_map_lookup_elem(&binary_prefixes, key);
}

static __always_inline bool filters_binary(void)
{
	const volatile struct process_filter *filter = &settings.process_filter;

	return filter->name || filter->prefix || filter->path;
}

static __always_inline bool matches_binary(struct scratch *scratch)
{
	const volatile struct process_filter *filter = &settings.process_filter;

	return (filter->name && matches_name(scratch)) || (filter->prefix && matches_prefix(scratch)) ||
	       (filter->path && matches_path(scratch));
}

#endif
