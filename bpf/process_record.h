/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The description of a process, struct process_record: built in the program's scratch slot and sent, in three parts
 * (start_record, read_image, send_record) between which process.h decides whether to go on.
 *
 * The parts are global functions of scalars, which find the record by the number of the slot: see the overview in
 * netmon.bpf.c.
 */
#ifndef __PROCESS_RECORD_H__
#define __PROCESS_RECORD_H__

#include "compat.h"
#include "executable.h"
#include "fairness.h"
#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	MAX_CGROUP_STEPS = 64,
	NO_AUID = 0xffffffff, /* the kernel's value for a process that never logged in; also without CONFIG_AUDIT */
};

static __always_inline __u32 auid_of(struct task_struct *task)
{
	return bpf_core_field_exists(task->loginuid) ? task->loginuid.val : NO_AUID;
}

static __always_inline void copy_credentials(struct credentials *to, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	to->uid = BPF_CORE_READ(cred, uid.val);
	to->euid = BPF_CORE_READ(cred, euid.val);
	to->gid = BPF_CORE_READ(cred, gid.val);
	to->egid = BPF_CORE_READ(cred, egid.val);
	to->auid = auid_of(task);
	to->reserved_credentials = 0;
	bpf_core_read(&to->cap_inheritable, sizeof(to->cap_inheritable), &cred->cap_inheritable);
	bpf_core_read(&to->cap_permitted, sizeof(to->cap_permitted), &cred->cap_permitted);
	bpf_core_read(&to->cap_effective, sizeof(to->cap_effective), &cred->cap_effective);
}

/* A step of bpf_loop(): appends a cgroup's name to strings and goes one up. Returns 1 to stop. */
static long walk_cgroup_step(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct kernfs_node *node, *parent;
	__u32 length;
	long n;

	if (!scratch)
		return 1;
	node = scratch->kernfs_node;
	parent = parent_of(node);
	if (!parent) /* the root, which has no name */
		return 1;
	length = scratch->cgroup_length;
	if (length >= CGROUP_SIZE - NAME_SIZE)
		return 1;
	n = bpf_probe_read_kernel_str(&scratch->strings[length], NAME_SIZE, BPF_CORE_READ(node, name));
	if (n <= 0 || n > NAME_SIZE)
		return 1;
	length += n;
	scratch->strings[(length - 1) & (CGROUP_SIZE - 1)] = '/'; /* in place of the NUL */
	scratch->cgroup_length = length;
	scratch->kernfs_node = parent;
	return 0;
}

/*
 * Writes the names of the cgroup's path to the start of strings, the leaf first: where the path is too long, the names
 * next to the root are left out. Returns the length.
 */
static __always_inline __u32 read_cgroup(struct scratch *scratch, __u32 slot, struct task_struct *task)
{
	scratch->kernfs_node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
	scratch->cgroup_length = 0;
	bpf_loop(MAX_CGROUP_STEPS, walk_cgroup_step, &slot, 0);
	return scratch->cgroup_length & (CGROUP_SIZE - 1);
}

/*
 * Returns the task to describe if it is not the current one, else NULL. It was stored in a map as a mere address: read
 * it by BPF_CORE_READ only.
 */
static __always_inline struct task_struct *other_task(const struct scratch *scratch)
{
	return report_options.other_tasks ? scratch->other : NULL;
}

/* Returns the task to describe. */
static __always_inline struct task_struct *described_task(const struct scratch *scratch)
{
	struct task_struct *other = other_task(scratch);

	if (other)
		return other;
	return bpf_get_current_task_btf();
}

/* Begins the record: all fields but the strings, image_source and parent_id. The process gets a new id. */
static __always_inline void start_record(struct process_record *record, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	record->type = RECORD_PROCESS;
	record->flags = 0;
	record->process_id = __sync_fetch_and_add(&next_process_id, 1) << TEXTS_BITS;
	record->image_source = 0;
	record->start_time_ns = BPF_CORE_READ(leader, start_boottime); /* start_of() would take more of the stack */
	copy_credentials(&record->credentials, task);
	record->pid = task->tgid;
	record->ppid = BPF_CORE_READ(task, real_parent, tgid);
	record->secureexec = 0;
	record->reserved = 0;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), leader->comm);
}

/* Reads the executable's path and whether its exec was secure. Returns 0 when the process has no image any more. */
__noinline int read_image(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *task;
	struct mm_struct *mm;
	struct file *exe;

	if (!scratch)
		return 0;
	task = described_task(scratch);
	mm = BPF_CORE_READ(task, mm);
	exe = BPF_CORE_READ(mm, exe_file);
	if (!exe)
		return 0;
	read_path(scratch, slot, task, exe);
	read_secureexec(scratch, slot, task, mm, exe);
	return 1;
}

/* Appends the strings and sends the record. Returns the process's id, or LOST or OVER_BUDGET: the caller's event is. */
__noinline __u64 send_record(__u32 slot, bool has_image)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct process_record *record;
	__u32 cgroup, path = 0, args = 0;
	struct task_struct *task;
	struct mm_struct *mm;
	__u64 size;

	if (!scratch)
		return LOST;
	task = described_task(scratch);
	mm = BPF_CORE_READ(task, mm);
	record = &scratch->record;
	cgroup = read_cgroup(scratch, slot, task);
	if (has_image && mm) {
		path = (PATH_SIZE - scratch->walk.start) & (PATH_SIZE - 1);
		bpf_probe_read_kernel(&scratch->strings[cgroup], path,
				      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
		if (other_task(scratch))
			record->flags |= PROCESS_ARGS_UNREAD; /* user space reads /proc, and counts failures */
		else
			args = read_args(scratch, cgroup + path, mm);
	}
	record->cgroup_length = cgroup;
	record->path_length = path;
	record->args_length = args;
	record->process_id |= (path + args) / TEXTS_UNIT;
	size = sizeof(*record) + cgroup + path + args;
	if (size > sizeof(*record) + sizeof(scratch->strings))
		return LOST;
	if (!may_write(payer_of_current(), size, false))
		return OVER_BUDGET;
	if (bpf_ringbuf_output(&events, record, size, 0))
		return LOST;
	if (record->flags & PROCESS_PATH_INCOMPLETE)
		count_loss(&losses.path_incomplete, 1);
	if (record->flags & PROCESS_ARGS_INCOMPLETE)
		count_loss(&losses.args_incomplete, 1);
	return record->process_id;
}

#endif
