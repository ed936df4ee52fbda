/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The filters: of a connection's ports, network namespace and addresses, and of a process.
 *
 * Those of a connection are evaluated when it opens, the cheapest first. src and dst of a filter are alternatives: one
 * in its list is a match.
 *
 * That of processes is evaluated when a process is described. First its predicates are: a bit for each list, which says
 * that the process is in it. The bits are kept with the process. The verdict is a function of the bits and the settings
 * alone, so other functions of the same bits can be added.
 */
#ifndef __FILTER_H__
#define __FILTER_H__

#include "cgroup_filter.h"
#include "maps.h"
#include "process_record.h"
#include "socket.h"

/* Looks a key up in a filter set's map. An absent map is an empty one. */
static __always_inline bool is_in(void *maps, __u32 set, const void *key)
{
	void *map = bpf_map_lookup_elem(maps, &set);

	return map && bpf_map_lookup_elem(map, key);
}

static __always_inline bool is_id_listed(__u32 set, enum id_kind kind, __u32 id)
{
	struct id_key key = {.kind = kind, .id = id};

	return is_in(&ids, set, &key);
}

static __always_inline bool is_ipv4_listed(__u32 set, __u8 list, __be32 address)
{
	struct ipv4_cidr_key key = {
		.prefixlen = CIDR_LIST_BITS + 8 * sizeof(key.address),
		.list = {0, 0, 0, list},
	};

	copy_ipv4(key.address, address);
	return is_in(&ipv4_cidrs, set, &key);
}

static __always_inline bool is_ipv6_listed(__u32 set, __u8 list, const struct in6_addr *address)
{
	struct ipv6_cidr_key key = {
		.prefixlen = CIDR_LIST_BITS + 8 * sizeof(key.address),
		.list = {0, 0, 0, list},
	};

	copy_ipv6(key.address, address);
	return is_in(&ipv6_cidrs, set, &key);
}

/* Returns the filter set that a generation uses. */
static __always_inline __u32 set_of(__u64 generation)
{
	return generation % FILTER_SETS;
}

/* Returns the number of a direction's list for one endpoint. */
static __always_inline enum endpoint_list list_of(enum direction direction, enum endpoint endpoint)
{
	_Static_assert(ENDPOINT_INGRESS_DST == 2 * DIRECTION_INGRESS + ENDPOINT_DST &&
		       ENDPOINT_EGRESS_SRC == 2 * DIRECTION_EGRESS + ENDPOINT_SRC &&
		       ENDPOINT_EGRESS_DST == 2 * DIRECTION_EGRESS + ENDPOINT_DST, "as computed here");
	return 2 * direction + endpoint;
}

static __always_inline bool passes_ipv4_filter(__u32 set, enum direction direction, __be32 saddr, __be32 daddr)
{
	const struct endpoints_filter *filter = &settings[set].connection_filters[direction].addresses[FAMILY_IPV4];

	if (!HAS_FILTERS || filter->mode == FILTER_OFF)
		return true;
	return ((filter->src && is_ipv4_listed(set, list_of(direction, ENDPOINT_SRC), saddr) != filter->negated) ||
		(filter->dst && is_ipv4_listed(set, list_of(direction, ENDPOINT_DST), daddr) != filter->negated)) ==
	       (filter->mode == FILTER_ALLOW);
}

static __always_inline bool passes_ipv6_filter(__u32 set, enum direction direction, const struct in6_addr *saddr,
					       const struct in6_addr *daddr)
{
	const struct endpoints_filter *filter = &settings[set].connection_filters[direction].addresses[FAMILY_IPV6];

	if (!HAS_FILTERS || filter->mode == FILTER_OFF)
		return true;
	return ((filter->src && is_ipv6_listed(set, list_of(direction, ENDPOINT_SRC), saddr) != filter->negated) ||
		(filter->dst && is_ipv6_listed(set, list_of(direction, ENDPOINT_DST), daddr) != filter->negated)) ==
	       (filter->mode == FILTER_ALLOW);
}

static __always_inline bool passes_ip_filter(__u32 set, enum direction direction, enum family family, struct sock *sk)
{
	if (family == FAMILY_IPV4)
		return passes_ipv4_filter(set, direction, sk->__sk_common.skc_rcv_saddr, sk->__sk_common.skc_daddr);
	return passes_ipv6_filter(set, direction, &sk->__sk_common.skc_v6_rcv_saddr, &sk->__sk_common.skc_v6_daddr);
}

/* As passes_ip_filter(), for a connect attempt that failed at once: its socket may have no endpoints. */
static __always_inline bool passes_ip_filter_of(__u32 set, enum direction direction, const union event *endpoints)
{
	__be32 saddr, daddr;

	if (endpoints->head.family == FAMILY_IPV6)
		return passes_ipv6_filter(set, direction, (const void *)endpoints->ipv6.saddr,
					  (const void *)endpoints->ipv6.daddr);
	__builtin_memcpy(&saddr, endpoints->ipv4.saddr, sizeof(saddr));
	__builtin_memcpy(&daddr, endpoints->ipv4.daddr, sizeof(daddr));
	return passes_ipv4_filter(set, direction, saddr, daddr);
}

static __always_inline bool is_port_listed(const struct port_sets *sets, __u32 direction, enum endpoint endpoint,
					   __u16 port)
{
	return sets->bits[direction][endpoint][port / 8] >> port % 8 & 1;
}

/* Whether a direction's port filter, which is set, accepts these ports. Global: see the overview in netmon.bpf.c. */
__noinline int passes_port_filter(__u32 set, __u32 direction, __u32 sport, __u32 dport)
{
	const __u32 only = 0;
	const struct endpoints_filter *filter;
	const struct port_sets *sets;
	void *map;

	if (!HAS_FILTERS)
		return 1;
	set &= FILTER_SETS - 1;
	direction &= 1;
	filter = &settings[set].connection_filters[direction].ports;
	map = bpf_map_lookup_elem(&ports, &set);
	sets = map ? bpf_map_lookup_elem(map, &only) : NULL;
	return (sets && ((filter->src && is_port_listed(sets, direction, ENDPOINT_SRC, sport) != filter->negated) ||
			 (filter->dst && is_port_listed(sets, direction, ENDPOINT_DST, dport) != filter->negated))) ==
	       (filter->mode == FILTER_ALLOW);
}

/* The filters of ports and network namespaces. dport: the socket of a failed connect attempt may not have it. */
static __always_inline bool passes_socket_filters(__u32 set, enum direction direction, struct sock *sk, __u16 dport)
{
	__u8 netns_mode = settings[set].netns_mode;

	if (!HAS_FILTERS)
		return true;
	if (settings[set].connection_filters[direction].ports.mode != FILTER_OFF &&
	    !passes_port_filter(set, direction, local_port(sk), dport))
		return false;
	return netns_mode == FILTER_OFF || is_id_listed(set, ID_NETNS, netns_of(sk)) == (netns_mode == FILTER_ALLOW);
}

/* All filters but that of processes. */
static __always_inline bool passes_connection_filters(__u32 set, enum direction direction, enum family family,
						      struct sock *sk)
{
	if (!HAS_FILTERS || !settings[set].connection_filters[direction].any)
		return true;
	return passes_socket_filters(set, direction, sk, bpf_ntohs(sk->__sk_common.skc_dport)) &&
	       passes_ip_filter(set, direction, family, sk);
}

/* Whether a process matches, by the predicates of it that are true: the function that today's filters compile to. */
static __always_inline bool matches_condition(const struct process_filter *filter, __u16 matched)
{
	return (matched & filter->all) == filter->all && (!filter->any || matched & filter->any);
}

enum {
	PREDICATES_OF_IMAGE = PREDICATE_NAME | PREDICATE_PREFIX | PREDICATE_PATH | MET_BY_IMAGE,
	PREDICATES_OF_CGROUP = PREDICATE_CGROUP | PREDICATE_CONTAINER_ID,
};

/*
 * Notes the value of a predicate. Returns true when that decides the verdict: it must be true and is not. When it is
 * true, its alternatives are not needed any more.
 */
static __always_inline bool set_predicate(struct predicates *known, const struct process_filter *filter, __u32 *needed,
					  enum predicate predicate, bool is_true)
{
	known->evaluated |= predicate;
	if (!is_true)
		return filter->all & predicate;
	known->matched |= predicate;
	if (filter->any & predicate)
		*needed &= ~filter->any;
	return false;
}

/* The executable's name: the last component of the path in scratch->walk. */
static __always_inline bool is_name_listed(__u32 set, struct scratch *scratch)
{
	__u32 length = scratch->walk.name_length;

	if (!length || length >= NAME_SIZE)
		return false;
	__builtin_memset(scratch->name, 0, sizeof(scratch->name));
	bpf_probe_read_kernel(scratch->name, length & (NAME_SIZE - 1),
			      &scratch->walk.path[(PATH_SIZE - length) & (PATH_SIZE - 1)]);
	return is_in(&binary_names, set, scratch->name);
}

/*
 * The process's name, as the kernel keeps it: what the program was called by at exec, a link's or a script's name too,
 * unless the process has changed it. In the map of executables' names it follows a '/', which none of those has.
 */
static __always_inline bool is_comm_listed(__u32 set, struct scratch *scratch)
{
	__builtin_memset(scratch->name, 0, sizeof(scratch->name));
	scratch->name[0] = '/';
	bpf_probe_read_kernel_str(&scratch->name[1], COMM_SIZE, scratch->record.comm);
	return is_in(&binary_names, set, scratch->name);
}

/* The executable's path. One that is incomplete, or longer than a key, is in no list. */
static __always_inline bool is_path_listed(__u32 set, struct scratch *scratch)
{
	__u32 length = PATH_SIZE - scratch->walk.start;

	if (!length || length >= BINARY_PATH_SIZE || !scratch->walk.complete)
		return false;
	__builtin_memset(scratch->binary_path, 0, sizeof(scratch->binary_path));
	bpf_probe_read_kernel(scratch->binary_path, length & (BINARY_PATH_SIZE - 1),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return is_in(&binary_paths, set, scratch->binary_path);
}

/* The beginning of the executable's path. */
static __always_inline bool is_prefix_listed(__u32 set, struct scratch *scratch)
{
	struct prefix_key *key = &scratch->binary_prefix;

	if (scratch->walk.start >= PATH_SIZE || !scratch->walk.complete)
		return false;
	key->prefixlen = PREFIX_SIZE * 8;
	/* The buffer is never written behind the path's end, at PATH_SIZE: NULs follow, which no prefix holds. */
	bpf_probe_read_kernel(key->prefix, sizeof(key->prefix),
			      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return is_in(&binary_prefixes, set, key);
}

/*
 * Evaluates the predicates of the process whose record is in the slot, the cheapest first: ids, cgroup and container,
 * name and executable. Those of the cgroup and the executable may be known from an earlier description (recall() in
 * process.h). The last ones cost most, so those that the verdict no longer depends on are skipped. They are not marked
 * as evaluated: their bits are unknown, not false. A function that needs other bits comes with a new generation, in
 * which the process is evaluated again.
 *
 * Returns false when the image is needed, which takes long to read, and was not read yet: call read_image() and then
 * this function again. It does not call it itself, since their callers' stacks would not be large enough together.
 *
 * The bits are in map memory, where the verifier does not track them: it would go through each combination of them.
 */
#define RECALLED_OR(predicate, value)                                                                                  \
	(known->evaluated & (predicate) ? !!(known->matched & (predicate)) : (value))

static __always_inline bool evaluate_predicates(struct scratch *scratch, __u32 slot, __u32 set,
						struct task_struct *task)
{
	const struct process_filter *filter = &settings[set].process_filter;
	const struct credentials *credentials = &scratch->record.credentials;
	struct predicates *known = &scratch->predicates;
	struct cgroup_walk *walk = &scratch->cgroup_walk;
	__u32 needed = filter->all | filter->any, of_image;

	if (needed & PREDICATE_FOLLOWED && set_predicate(known, filter, &needed, PREDICATE_FOLLOWED, scratch->is_followed))
		return true;
	if (needed & PREDICATE_UID &&
	    set_predicate(known, filter, &needed, PREDICATE_UID, is_id_listed(set, ID_UID, credentials->uid)))
		return true;
	if (needed & PREDICATE_EUID &&
	    set_predicate(known, filter, &needed, PREDICATE_EUID, is_id_listed(set, ID_EUID, credentials->euid)))
		return true;
	if (needed & PREDICATE_AUID &&
	    set_predicate(known, filter, &needed, PREDICATE_AUID, is_id_listed(set, ID_AUID, credentials->auid)))
		return true;
	if (needed & PREDICATE_GID &&
	    set_predicate(known, filter, &needed, PREDICATE_GID, is_id_listed(set, ID_GID, credentials->gid)))
		return true;
	if (needed & PREDICATE_CGROUP & ~known->evaluated)
		walk_cgroups(scratch, slot, task);
	if (needed & PREDICATE_CGROUP &&
	    set_predicate(known, filter, &needed, PREDICATE_CGROUP,
			  RECALLED_OR(PREDICATE_CGROUP, is_in(&cgroups, set, &walk->prefixlen))))
		return true;
	if (needed & PREDICATE_CONTAINER_ID & ~known->evaluated)
		read_cgroup(scratch, slot, task);
	if (needed & PREDICATE_CONTAINER_ID &&
	    set_predicate(known, filter, &needed, PREDICATE_CONTAINER_ID,
			  RECALLED_OR(PREDICATE_CONTAINER_ID, is_in(&container_ids, set, &scratch->names.container))))
		return true;
	if (needed & PREDICATE_COMM &&
	    set_predicate(known, filter, &needed, PREDICATE_COMM, is_comm_listed(set, scratch)))
		return true;
	of_image = needed & PREDICATES_OF_IMAGE & ~known->evaluated;
	if (filter->any & known->matched) /* recalled: one of the alternatives is true */
		of_image &= ~filter->any;
	if (of_image && scratch->image_state == IMAGE_UNREAD)
		return false;
	if (needed & PREDICATE_NAME &&
	    set_predicate(known, filter, &needed, PREDICATE_NAME,
			  RECALLED_OR(PREDICATE_NAME, scratch->image_state == IMAGE_READ && is_name_listed(set, scratch))))
		return true;
	if (needed & PREDICATE_PREFIX &&
	    set_predicate(known, filter, &needed, PREDICATE_PREFIX,
			  RECALLED_OR(PREDICATE_PREFIX, scratch->image_state == IMAGE_READ && is_prefix_listed(set, scratch))))
		return true;
	if (needed & PREDICATE_PATH)
		set_predicate(known, filter, &needed, PREDICATE_PATH,
			      RECALLED_OR(PREDICATE_PATH, scratch->image_state == IMAGE_READ && is_path_listed(set, scratch)));
	return true;
}

#undef RECALLED_OR

#endif
