/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The description of a process, struct process_record: built in the program's scratch slot and sent, in three parts
 * (start_record, read_image, send_record) between which process.h decides whether to go on. The image is read when the
 * filter or the record needs it.
 *
 * The parts are global functions of scalars, which find the record by the number of the slot: see the overview in
 * netmon.bpf.c.
 */
#ifndef __PROCESS_RECORD_H__
#define __PROCESS_RECORD_H__

#include "cgroup.h"
#include "compat.h"
#include "executable.h"
#include "fairness.h"
#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	ANCESTOR_TEXTS = 3, /* units that each event repeats of an ancestor, about: see TEXTS_BITS */
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

/* Begins the record: all fields but the strings and parent_id. The process gets a new id, and nothing is known of it. */
static __always_inline void start_record(struct scratch *scratch, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct process_record *record = &scratch->record;

	scratch->image_state = IMAGE_UNREAD;
	scratch->lacks_args = false;
	scratch->other_texts = 0;
	scratch->names.is_read = false;
	scratch->predicates.evaluated = 0;
	scratch->predicates.matched = 0;
	record->type = RECORD_PROCESS;
	record->flags = BPF_CORE_READ(task, flags) & PF_KTHREAD ? PROCESS_KERNEL_THREAD : 0;
	record->process_id = __sync_fetch_and_add(&next_process_id, 1) << TEXTS_BITS;
	record->image_source = 0;
	record->cgroup_source = 0;
	record->name_length = 0;
	record->exec_id = 0;
	record->foreign = 0;
	record->start_time_ns = BPF_CORE_READ(leader, start_boottime); /* start_of() would take more of the stack */
	copy_credentials(&record->credentials, task);
	record->pid = task->tgid;
	record->ppid = BPF_CORE_READ(task, real_parent, tgid);
	record->secureexec = 0;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), leader->comm);
}

#ifndef MINIMAL

/* Notes the origin of the task to describe in the slot's record. Global: see the overview in netmon.bpf.c. */
__noinline int note_origin(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *task;
	struct origin *origin;

	if (!scratch)
		return 0;
	task = described_task(scratch);
	origin = &scratch->record.origin;
	origin->parent_start_ns = BPF_CORE_READ(task, real_parent, group_leader, start_boottime);
	origin->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	origin->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	return 0;
}

#endif

/*
 * Reads the executable's path and whether its exec was secure, once a description. Returns 0 when the process has no
 * image any more.
 */
__noinline int read_image(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *task;
	struct mm_struct *mm;
	struct file *exe;

	if (!scratch)
		return 0;
	if (scratch->image_state != IMAGE_UNREAD)
		return scratch->image_state == IMAGE_READ;
	task = described_task(scratch);
	mm = BPF_CORE_READ(task, mm);
	exe = BPF_CORE_READ(mm, exe_file);
	if (!exe) {
		scratch->image_state = IMAGE_NONE;
		return 0;
	}
	scratch->image_state = IMAGE_READ;
	read_path(scratch, slot, task, exe);
	read_secureexec(scratch, slot, task, mm, exe);
	return 1;
}

/* Returns how long the texts are that a source's id tells of: in units, as in the id of a record that refers to it. */
static __always_inline __u64 texts_of(__u64 process_id)
{
	return process_id & ((1 << TEXTS_BITS) - 1);
}

#ifndef MINIMAL

/*
 * Sends who the process descends from that is in the slot. Returns 0, LOST or OVER_BUDGET. Global: see the overview in
 * netmon.bpf.c.
 */
__noinline __u64 send_ancestors(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct ancestors_record *record;
	__u64 count, size;

	if (!scratch)
		return LOST;
	record = &scratch->ancestors;
	count = record->head.ancestor_count;
	if (!count)
		return 0;
	if (count > MAX_ANCESTORS)
		return LOST;
	record->head.type = RECORD_ANCESTORS;
	record->head.process_number = scratch->record.process_id >> TEXTS_BITS;
	size = offsetof(struct ancestors_record, ancestors) + count * sizeof(struct ancestor);
	if (!may_write(payer_of_current(), size, false))
		return OVER_BUDGET;
	scratch->other_texts += count * ANCESTOR_TEXTS;
	return bpf_ringbuf_output(&events, record, size, 0) ? LOST : 0;
}

#endif

/*
 * Appends the strings that no source has, and sends the record. Returns the process's id, or LOST or OVER_BUDGET: the
 * caller's event is. Once it is sent, image_source and cgroup_source name the records that have the image and the
 * cgroup: this one itself, if no other does. inherited: the image's source if the process has no image.
 */
__noinline __u64 send_record(__u32 slot, __u64 inherited)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	__u32 cgroup = 0, container = 0, path = 0, args = 0;
	struct process_record *record;
	struct task_struct *task;
	struct mm_struct *mm;
	bool reads_args;
	__u64 size, units;

	if (!scratch)
		return LOST;
	task = described_task(scratch);
	mm = BPF_CORE_READ(task, mm);
	record = &scratch->record;
	reads_args = mm && scratch->lacks_args && !other_task(scratch);
	if (!record->cgroup_source)
		cgroup = copy_cgroup(scratch, slot, task, &container);
	if (!record->image_source) {
		reads_args = read_image(slot) && mm;
		if (reads_args) {
			path = (PATH_SIZE - scratch->walk.start) & (PATH_SIZE - 1);
			bpf_probe_read_kernel(&scratch->strings[cgroup + container], path,
					      &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
			record->name_length = scratch->walk.name_length;
		} else {
			record->flags |= PROCESS_NO_IMAGE;
			record->image_source = inherited;
		}
	}
	if (reads_args) {
		scratch->lacks_args = other_task(scratch);
		if (scratch->lacks_args)
			record->flags |= PROCESS_ARGS_UNREAD; /* user space reads /proc, and counts failures */
		else
			args = read_args(scratch, cgroup + container + path, mm);
	}
	record->cgroup_length = cgroup;
	record->container_length = container;
	record->path_length = path;
	record->args_length = args;
	units = texts_of(record->image_source) + (path + args) / TEXTS_UNIT + scratch->other_texts;
	if (units >= 1 << TEXTS_BITS)
		units = (1 << TEXTS_BITS) - 1;
	record->process_id |= units;
	size = sizeof(*record) + cgroup + container + path + args;
	if (size > sizeof(*record) + sizeof(scratch->strings))
		return LOST;
	if (!may_write(payer_of_current(), size, false))
		return OVER_BUDGET;
	if (bpf_ringbuf_output(&events, record, size, 0))
		return LOST;
	if (path && record->flags & PROCESS_PATH_INCOMPLETE)
		count_loss(&losses.path_incomplete, 1);
	if (record->flags & PROCESS_ARGS_INCOMPLETE)
		count_loss(&losses.args_incomplete, 1);
	if (reads_args)
		record->image_source = record->process_id;
	if (!record->cgroup_source)
		record->cgroup_source = record->process_id;
	return record->process_id;
}

#endif
