/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A process's cgroup: the names of its path, and the container that it belongs to.
 *
 * One walk from the leaf up to the root finds both, for events and for the filter of containers: so these agree. A
 * container's cgroup is recognised by how its runtime names it, not by the look of an id. The names of the runtimes:
 *
 *	RUNTIME-ID.scope	a scope that the runtime asked systemd for: docker, cri-containerd, crio, libpod, ...
 *	RUNTIME-ID		a directory: podman and CRI-O without systemd
 *	SLICE:RUNTIME:ID	a name meant for systemd, but made as a directory
 *	ID			a directory in docker/, podUID/, kubepods.../, ...: see holds_containers()
 *
 * A pod's cgroup has an id, too, and so has that of conmon, which watches a container from outside: they are the host's.
 * podman without systemd: libpod_parent/POD/libpod-ID and libpod_parent/POD/conmon. With it: libpod-ID.scope/container
 * and libpod-conmon-ID.scope.
 */
#ifndef __CGROUP_H__
#define __CGROUP_H__

#include "compat.h"
#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	/* More than anybody nests, and a process that nests them is described once for each of its cgroups. */
	MAX_CGROUP_LEVELS = 2048,
	NAMES_ROOM = 2 * CGROUP_SIZE, /* of strings: the names, and one more to look at */
	/* Of names with their '/', so that their length fits under a mask. A name of that length is taken for a cut one. */
	MAX_NAMES = CGROUP_SIZE - 1,
};

#define SCOPE ".scope"

static __always_inline __u8 *name_at(struct scratch *scratch, __u32 offset)
{
	return &scratch->strings[offset & (NAMES_ROOM - 1)];
}

/* Whether the text from begin to end is a word, or begins with it. word: a literal. */
#define IS_WORD(scratch, begin, end, word) ((end) - (begin) == sizeof(word) - 1 && BEGINS_WITH(scratch, begin, end, word))
#define BEGINS_WITH(scratch, begin, end, word)                                                                         \
	((end) - (begin) >= sizeof(word) - 1 &&                                                                        \
	 !bpf_strncmp((char *)name_at(scratch, begin), sizeof(word) - 1, word))

static __always_inline bool is_digit(__u8 character)
{
	return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
}

/* A step of bpf_loop(): sets are_digits for one character. Returns 1 to stop, at the first that is no digit. */
static long check_digit(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct names_walk *names;

	if (!scratch)
		return 1;
	names = &scratch->names;
	names->are_digits = is_digit(*name_at(scratch, names->digits + index));
	return !names->are_digits;
}

/* Whether the text from begin to end is what a runtime puts before the ids of its containers. */
static __always_inline bool is_runtime(struct scratch *scratch, __u32 begin, __u32 end)
{
	return IS_WORD(scratch, begin, end, "docker") || IS_WORD(scratch, begin, end, "cri-containerd") ||
	       IS_WORD(scratch, begin, end, "crio") || IS_WORD(scratch, begin, end, "libpod") ||
	       IS_WORD(scratch, begin, end, "libpod-payload") || IS_WORD(scratch, begin, end, "nerdctl");
}

/* As is_runtime(), for a name made for systemd: the runtime follows the last ':' before the end. */
static __always_inline bool ends_with_runtime(struct scratch *scratch, __u32 begin, __u32 end)
{
#define FOLLOWS_COLON(runtime)                                                                                         \
	(end - begin >= sizeof(":" runtime) - 1 && BEGINS_WITH(scratch, end - (sizeof(":" runtime) - 1), end, ":" runtime))

	return FOLLOWS_COLON("cri-containerd") || FOLLOWS_COLON("crio") || FOLLOWS_COLON("docker") ||
	       FOLLOWS_COLON("libpod") || FOLLOWS_COLON("nerdctl");
#undef FOLLOWS_COLON
}

/*
 * Whether runtimes make cgroups named by nothing but an id in a cgroup of this name: Docker, Kubernetes, containerd in
 * its namespaces, Garden, GitHub's runners. levels: how far above the id it is. Amazon's ECS has a task between.
 */
static __always_inline bool holds_containers(struct scratch *scratch, __u32 begin, __u32 end, __u8 levels)
{
	if (levels == 2)
		return IS_WORD(scratch, begin, end, "ecs");
	return IS_WORD(scratch, begin, end, "docker") || BEGINS_WITH(scratch, begin, end, "pod") ||
	       BEGINS_WITH(scratch, begin, end, "kubepods") || IS_WORD(scratch, begin, end, "k8s.io") ||
	       IS_WORD(scratch, begin, end, "moby") || IS_WORD(scratch, begin, end, "default") ||
	       IS_WORD(scratch, begin, end, "garden") || IS_WORD(scratch, begin, end, "actions_job");
}

/*
 * Looks at the name of one cgroup, from begin to end in strings: sets the length of the container's id once the walk has
 * found it. Global: see the overview in netmon.bpf.c.
 */
__noinline int find_container(__u32 slot, __u32 begin, __u32 end)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct names_walk *names;
	bool is_scope;
	__u8 before;

	if (!scratch)
		return 0;
	begin &= NAMES_ROOM - 1;
	end &= NAMES_ROOM - 1;
	if (end <= begin)
		return 0;
	names = &scratch->names;
	if (names->bare_id) {
		if (holds_containers(scratch, begin, end, names->bare_id)) {
			names->container.prefixlen = CONTAINER_ID_SIZE * 8;
			return 0;
		}
		names->bare_id = names->bare_id == 1 ? 2 : 0;
	}
	is_scope = end - begin > sizeof(SCOPE) - 1 &&
		   BEGINS_WITH(scratch, end - (sizeof(SCOPE) - 1), end, SCOPE);
	if (is_scope)
		end -= sizeof(SCOPE) - 1;
	if (end - begin < CONTAINER_ID_SIZE)
		return 0;
	names->digits = end - CONTAINER_ID_SIZE;
	names->are_digits = false;
	bpf_loop(CONTAINER_ID_SIZE, check_digit, &slot, 0);
	if (!names->are_digits)
		return 0;
	end -= CONTAINER_ID_SIZE;
	if (end == begin) {
		if (is_scope)
			return 0;
		names->bare_id = 1;
	} else {
		before = *name_at(scratch, end - 1);
		end -= 1;
		if (!(before == '-' && is_runtime(scratch, begin, end)) &&
		    !(before == ':' && ends_with_runtime(scratch, begin, end)))
			return 0;
		names->container.prefixlen = CONTAINER_ID_SIZE * 8;
	}
	bpf_probe_read_kernel(names->container.prefix, CONTAINER_ID_SIZE, name_at(scratch, names->digits));
	return 0;
}

/* Begins to walk up from a cgroup. */
static __always_inline void begin_walk(struct names_walk *names, struct kernfs_node *node)
{
	names->node = node;
	names->length = 0;
	names->is_full = false;
	names->bare_id = 0;
	names->container.prefixlen = 0;
}

/*
 * At the root, on a host with hierarchies of version 1: begins to walk in one of these, if the cgroup of version 2
 * belongs to no container. If the other one does not either, and version 2 has more than the root, its names are read
 * again. Returns 1 when all is done. Global: the caller has no stack left.
 */
__noinline int walk_again(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct cgroup_subsys_state *state = NULL;
	struct names_walk *names;
	struct task_struct *task;
	struct css_set *set;
	__u32 index;

	if (!scratch)
		return 1;
	names = &scratch->names;
	if (names->container.prefixlen || !names->walks_left)
		return 1;
	task = names->task;
	set = BPF_CORE_READ(task, cgroups);
	names->walks_left--;
	if (!names->walks_left) {
		if (!names->was_named)
			return 1;
		scratch->record.flags &= ~PROCESS_CGROUP_INCOMPLETE;
		begin_walk(names, BPF_CORE_READ(set, dfl_cgrp, kn));
		return 0;
	}
	names->was_named = names->length;
	index = load_config.legacy_cgroups == LEGACY_PIDS ?
			bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id) :
			bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)set + bpf_core_field_offset(struct css_set, subsys) + index * sizeof(state));
	scratch->record.flags &= ~PROCESS_CGROUP_INCOMPLETE;
	begin_walk(names, BPF_CORE_READ(state, cgroup, kn));
	return 0;
}

/* A step of bpf_loop(): looks at one cgroup and appends its name to strings. Returns 1 to stop. */
static long walk_cgroup_step(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct kernfs_node *node, *parent;
	struct names_walk *names;
	__u32 begin;
	long size;

	if (!scratch)
		return 1;
	names = &scratch->names;
	node = names->node;
	parent = parent_of(node);
	if (!parent) /* the root, which has no name */
		return load_config.legacy_cgroups ? walk_again(*slot) != 0 : 1;
	begin = names->length;
	if (begin > MAX_NAMES)
		return 1;
	asm volatile("" : "+r"(begin)); /* keeps the mask of name_at(): see walk_cgroup_level() */
	size = bpf_probe_read_kernel_str(name_at(scratch, begin), MAX_NAMES, BPF_CORE_READ(node, name));
	if (size <= 0 || size > MAX_NAMES)
		return 1;
	if (!names->container.prefixlen && size < MAX_NAMES) /* no runtime makes names of that length */
		find_container(*slot, begin, begin + size - 1);
	if (begin + size > MAX_NAMES || (size == MAX_NAMES && begin))
		names->is_full = true;
	if (!names->is_full) {
		*name_at(scratch, begin + size - 1) = '/'; /* in place of the NUL */
		names->length = begin + size;
		names->is_full = size == MAX_NAMES;
	}
	if (names->is_full) {
		scratch->record.flags |= PROCESS_CGROUP_INCOMPLETE;
		if (names->container.prefixlen)
			return 1;
	}
	names->node = parent;
	return 0;
}

/*
 * Writes the names of the cgroup's path to the start of strings, the leaf first, and finds the container, once a
 * description. Where the path is too long, the names next to the root are left out.
 */
static __always_inline void read_cgroup(struct scratch *scratch, __u32 slot, struct task_struct *task)
{
	struct names_walk *names = &scratch->names;

	if (names->is_read)
		return;
	names->is_read = true;
	if (load_config.legacy_cgroups) {
		names->task = task;
		names->walks_left = 2;
	}
	begin_walk(names, BPF_CORE_READ(task, cgroups, dfl_cgrp, kn));
	bpf_loop(MAX_CGROUP_LEVELS, walk_cgroup_step, &slot, 0);
}

/*
 * As read_cgroup(), and appends the container's id to the names. Returns the length of the names, and that of the id,
 * which is 0 on the host.
 */
static __always_inline __u32 copy_cgroup(struct scratch *scratch, __u32 slot, struct task_struct *task,
					 __u32 *container)
{
	__u32 length;

	read_cgroup(scratch, slot, task);
	length = scratch->names.length & (CGROUP_SIZE - 1);
	if (scratch->names.container.prefixlen) {
		bpf_probe_read_kernel(&scratch->strings[length], CONTAINER_ID_SIZE, scratch->names.container.prefix);
		*container = CONTAINER_ID_SIZE;
	}
	return length;
}

#endif
