/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A process's cgroup as filters ask for it: the path that leads to it, and the container that it is in. */
#ifndef __CGROUP_FILTER_H__
#define __CGROUP_FILTER_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	/* Enough: the walk comes from above, so that no process hides by nesting cgroups in its own. */
	MAX_CGROUP_LEVELS = 2048,
};

#define SCOPE ".scope"
#define KEEPER "conmon" /* of a container: in a scope of its own, on the host */

static __always_inline __u8 *text_at(struct cgroup_walk *walk, __u32 offset)
{
	return &walk->text[offset & (sizeof(walk->text) - 1)];
}

static __always_inline bool is_digit(__u8 character)
{
	return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
}

/* Returns 1 to stop. */
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

/* Whether the text from begin to end names a container, its id from walk->digits on: as container_id_of() in texts.py. */
static __always_inline bool names_container(struct cgroup_walk *walk, __u32 slot, __u32 begin, __u32 end)
{
	const __u32 scope = sizeof(SCOPE) - 1, keeper = sizeof(KEEPER) - 1;
	__u32 digits;
	__u8 before;

	if (end - begin > scope && !bpf_strncmp((char *)text_at(walk, end - scope), scope, SCOPE))
		end -= scope;
	if (end - begin < CONTAINER_ID_SIZE)
		return false;
	digits = end - CONTAINER_ID_SIZE;
	if (digits > begin) {
		before = *text_at(walk, digits - 1);
		if (before != '-' && before != ':')
			return false;
		if (digits - begin > keeper &&
		    !bpf_strncmp((char *)text_at(walk, digits - 1 - keeper), keeper, KEEPER))
			return false;
	}
	walk->digits = digits;
	walk->are_digits = false;
	bpf_loop(CONTAINER_ID_SIZE, check_digit, &slot, 0);
	return walk->are_digits;
}

/* Appends a name to the path. Returns 1 to stop. */
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
		begin = PREFIX_SIZE; /* behind the path, of which this is no part any more */
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

/* Fills scratch->cgroup_walk. */
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
