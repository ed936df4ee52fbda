/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the filters of cgroups and containers compare: the path of the process's cgroup, and the id of the container
 * that it is in. One walk from the root cgroup down collects both.
 */
#ifndef __CGROUP_FILTER_H__
#define __CGROUP_FILTER_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	/* More than anybody nests. The walk starts at the root, so nesting further hides no process from a filter. */
	MAX_CGROUP_LEVELS = 2048,
};

/* Of cgroup names: systemd's scopes, and that of conmon, which supervises a container but runs on the host. */
#define SCOPE_SUFFIX ".scope"
#define SUPERVISOR "conmon"

static __always_inline __u8 *text_at(struct cgroup_walk *walk, __u32 offset)
{
	return &walk->text[offset & (sizeof(walk->text) - 1)];
}

static __always_inline bool is_digit(__u8 character)
{
	return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
}

/* A step of bpf_loop(): sets are_digits for one character. Returns 1 to stop, at the first that is no digit. */
static long check_digit(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct cgroup_walk *walk;

	if (!scratch)
		return 1;
	walk = &scratch->cgroup_walk;
	walk->are_digits = is_digit(*text_at(walk, walk->digits + index));
	return !walk->are_digits;
}

/*
 * Whether the cgroup name from begin to end is that of a container. If so, walk->digits is where its id begins. User
 * space finds the id of an event by the same rule, container_id_of(), and a test compares the two.
 */
static __always_inline bool names_container(struct cgroup_walk *walk, __u32 slot, __u32 begin, __u32 end)
{
	const __u32 suffix = sizeof(SCOPE_SUFFIX) - 1, supervisor = sizeof(SUPERVISOR) - 1;
	__u32 digits;
	__u8 before;

	if (end - begin > suffix && !bpf_strncmp((char *)text_at(walk, end - suffix), suffix, SCOPE_SUFFIX))
		end -= suffix;
	if (end - begin < CONTAINER_ID_SIZE)
		return false;
	digits = end - CONTAINER_ID_SIZE;
	if (digits > begin) {
		before = *text_at(walk, digits - 1);
		if (before != '-' && before != ':')
			return false;
		if (digits - begin > supervisor &&
		    !bpf_strncmp((char *)text_at(walk, digits - 1 - supervisor), supervisor, SUPERVISOR))
			return false;
	}
	walk->digits = digits;
	walk->are_digits = false;
	bpf_loop(CONTAINER_ID_SIZE, check_digit, &slot, 0);
	return walk->are_digits;
}

/*
 * A step of bpf_loop(): appends the name of one cgroup to the path, and notes whether it is a container's. Returns 1 to
 * stop. Names beyond the path's end are read behind it, since a container's id may still come.
 */
static long walk_cgroup_level(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct cgroup **ancestors, *cgroup = NULL;
	__u32 level = index + 1, begin, end;
	struct cgroup_walk *walk;
	long size;

	if (!scratch)
		return 1;
	walk = &scratch->cgroup_walk;
	if (level > walk->depth)
		return 1;
	ancestors = (void *)walk->cgroup + bpf_core_field_offset(struct cgroup, ancestors);
	bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &ancestors[level]);
	begin = walk->length;
	if (begin > PREFIX_SIZE)
		begin = PREFIX_SIZE;
	size = bpf_probe_read_kernel_str(text_at(walk, begin), NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));
	if (size <= 0 || size > NAME_SIZE)
		return 1;
	end = begin + size - 1;
	if (names_container(walk, *slot, begin, end)) {
		walk->container.prefixlen = CONTAINER_ID_SIZE * 8;
		bpf_probe_read_kernel(walk->container.prefix, CONTAINER_ID_SIZE, text_at(walk, walk->digits));
	}
	*text_at(walk, end) = '/'; /* in place of the NUL */
	walk->length = end + 1;
	return 0;
}

/* Fills scratch->cgroup_walk with the keys to look the task's cgroup path and container id up by. */
static __always_inline void walk_cgroups(struct scratch *scratch, __u32 slot, struct task_struct *task)
{
	struct cgroup_walk *walk = &scratch->cgroup_walk;
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);

	walk->cgroup = cgroup;
	walk->depth = BPF_CORE_READ(cgroup, level);
	walk->prefixlen = PREFIX_SIZE * 8;
	__builtin_memset(walk->text, 0, PREFIX_SIZE);
	walk->text[0] = '/';
	walk->length = 1;
	walk->container.prefixlen = 0;
	bpf_loop(MAX_CGROUP_LEVELS, walk_cgroup_level, &slot, 0);
}

#endif
