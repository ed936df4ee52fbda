/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the filter of cgroups compares: the beginning of the path of the process's cgroup. */
#ifndef __CGROUP_FILTER_H__
#define __CGROUP_FILTER_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	MAX_COMPARED_LEVELS = PREFIX_SIZE / 2, /* the shortest name is "x/" */
};

static __always_inline __u8 *text_at(struct cgroup_walk *walk, __u32 offset)
{
	return &walk->text[offset & (sizeof(walk->text) - 1)];
}

/*
 * A step of bpf_loop(): appends the name of one cgroup to the path. Returns 1 to stop, when the key is full. A name that
 * does not fit into NAME_SIZE fills the key.
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
	begin = walk->length;
	if (level > walk->depth || begin >= PREFIX_SIZE)
		return 1;
	/* Keeps clang from leaving out text_at()'s mask: the verifier of 6.1 does not know the bound of a spilled value. */
	asm volatile("" : "+r"(begin));
	ancestors = (void *)walk->cgroup + bpf_core_field_offset(struct cgroup, ancestors);
	bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &ancestors[level]);
	size = bpf_probe_read_kernel_str(text_at(walk, begin), NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));
	if (size <= 0 || size > NAME_SIZE)
		return 1;
	end = begin + size - 1;
	*text_at(walk, end) = '/'; /* in place of the NUL */
	walk->length = end + 1;
	return 0;
}

/* Fills scratch->cgroup_walk with the key to look the path of the task's cgroup up by. */
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
	bpf_loop(MAX_COMPARED_LEVELS, walk_cgroup_level, &slot, 0);
}

#endif
