/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who does it: the current process's id, its record sent before the id is first used. */
#ifndef __PROCESS_H__
#define __PROCESS_H__

#include "filter.h"
#include "process_record.h"

/* What identify() returns besides ids, which begin at 1. */
#define LOST (~0ULL)
#define PARENT_FIRST (~1ULL) /* not described yet: its parent is to be identified before */
#define REJECTED (~2ULL)
#define UNKNOWN 0ULL /* known_id() alone: to be described (again) */

/* What identify() is to do besides. */
enum demand {
	JUDGED = 1,	 /* by the process filter */
	PARENT_READ = 2, /* the parent's id is in the scratch slot's record */
};

/* Whose task it is that is identified. */
enum whose {
	OWN, /* the current task */
	WALKED,
	PARENT,
};

#define CAPABILITIES(set) (*(const __u64 *)&(set))

/* One after the other: clang would rather load them all first, and have the half of them on the stack. */
static __always_inline void compare(__u64 *difference, __u64 known, __u64 now)
{
	*difference |= known ^ now;
	asm volatile("" : "+r"(*difference));
}

/* By value: the address of a freed cred may come back with other credentials in it. */
static __always_inline void compare_credentials(__u64 *difference, const struct credentials *known,
						const struct cred *cred, __u32 auid)
{
	compare(difference, known->uid, cred->uid.val);
	compare(difference, known->euid, cred->euid.val);
	compare(difference, known->gid, cred->gid.val);
	compare(difference, known->egid, cred->egid.val);
	compare(difference, known->auid, auid);
	compare(difference, known->cap_inheritable, CAPABILITIES(cred->cap_inheritable));
	compare(difference, known->cap_permitted, CAPABILITIES(cred->cap_permitted));
	compare(difference, known->cap_effective, CAPABILITIES(cred->cap_effective));
}

static __always_inline __u64 start_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

static __always_inline __u64 cgroup_id_of(struct task_struct *task, enum whose whose)
{
	return whose == OWN ? bpf_get_current_cgroup_id() : BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

/*
 * 0 when the process is still the one that was described. Not a bool: see known_id(). What all threads of a process
 * have alike is the current thread's; so are the credentials, which glibc keeps alike, but the kernel does not.
 */
static __always_inline __u64 difference_of(const struct process *process, struct task_struct *task, enum whose whose,
					   __u64 generation)
{
	__u64 difference = 0;

	compare(&difference, process->cgroup_id, cgroup_id_of(task, whose)); /* a call: before there is much to keep */
	compare(&difference, process->ppid, (__u32)task->real_parent->tgid);
	compare(&difference, process->exec_id, task->self_exec_id);
	compare(&difference, process->generation, generation);
	compare_credentials(&difference, &process->credentials, task->cred, auid_of(task));
	return difference;
}

/*
 * The pointer, not to be used before the value is known: BPF has no barriers, but a CPU (arm64) keeps the order of loads
 * of which one's address depends on the other's value.
 */
#define AFTER(value, pointer)                                                                      \
	({                                                                                         \
		__u64 zero = (value);                                                              \
		asm volatile("%0 &= 0" : "+r"(zero));                                              \
		(typeof(pointer))((void *)(pointer) + zero);                                       \
	})

/*
 * The id under which a process is known, REJECTED, or UNKNOWN. What is read between two readings of the same id belongs
 * to it: a thread that describes writes LOST there before anything.
 */
static __always_inline __u64 known_id(const struct process *process, struct task_struct *task, enum whose whose,
				      __u64 generation, __u32 demand)
{
	__u64 differs, id = *(volatile __u64 *)&process->id;
	__u8 passes, described;

	if (!id || id == LOST || id < control.oldest_process_id)
		return UNKNOWN;
	process = AFTER(id, process);
	differs = difference_of(process, task, whose, generation);
	passes = process->passes;
	described = process->described;
	process = AFTER(differs | passes | described, process);
	if (differs || *(volatile __u64 *)&process->id != id)
		return UNKNOWN;
	if (demand & JUDGED && !passes)
		return REJECTED;
	return described >= (whose == PARENT ? DESCRIBED_ALONE : DESCRIBED) ? id : UNKNOWN;
}

/*
 * Of the current process. Global: the verifier, which searches all of the kernel's types at each pointer that is followed,
 * goes through it once, not once for each place where a process may be found.
 */
__noinline __u64 known_current(const struct process *process, __u64 generation, __u32 demand)
{
	return process ? known_id(process, bpf_get_current_task_btf(), OWN, generation, demand) : UNKNOWN;
}

__noinline int passes_process_filter(__u32 slot, __u32 set, bool has_image)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	__u8 mode;
	bool match;

	if (!basics.filters)
		return 1;
	set &= FILTER_SETS - 1;
	mode = settings[set].process_filter.mode;
	if (!scratch || mode == FILTER_OFF)
		return 1;
	match = matches_ids(set, &scratch->record.credentials) &&
		matches_cgroup(set, scratch, slot, described_task(scratch)) &&
		(!filters_binary(set) || (has_image && matches_binary(set, scratch)));
	return match == (mode == FILTER_ALLOW);
}

/* Describes a process to user space, if it passes. Returns its new id, REJECTED, LOST or PARENT_FIRST. */
static __always_inline __u64 describe(__u32 slot, struct process *process, __u64 former_id, struct task_struct *task,
				      enum whose whose, __u64 generation, __u32 demand, __u64 image_of)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	bool has_image, passes, wanted;

	if (!scratch)
		return LOST;
	if (options.others)
		scratch->other = whose == OWN ? NULL : task;
	start_record(&scratch->record, task);
	has_image = read_image(slot);
	if (!has_image) {
		scratch->record.flags |= PROCESS_NO_IMAGE;
		scratch->record.image_of = image_of;
	}
	passes = passes_process_filter(slot, set_of(generation), has_image);
	wanted = passes | ((demand & JUDGED) ^ JUDGED); /* without branches, each of which the verifier follows */
	if (options.parent) {
		/* Or clang would ask for the parent's id first, and the verifier follow both ways for nothing. */
		asm volatile("" : "+r"(demand));
		if (whose == PARENT)
			scratch->record.parent_id = 0;
		else if (wanted && !(demand & PARENT_READ))
			return PARENT_FIRST;
	}
	if (wanted && !send_record(slot, has_image))
		return LOST;
	/* Threads may come here at once: one of them writes. */
	if (process && former_id != LOST && __sync_val_compare_and_swap(&process->id, former_id, LOST) == former_id) {
		process->generation = generation;
		process->exec_id = task->self_exec_id;
		process->ppid = scratch->record.ppid;
		process->cgroup_id = cgroup_id_of(task, whose);
		process->credentials = scratch->record.credentials;
		process->passes = passes;
		process->described = wanted * (whose == PARENT ? DESCRIBED_ALONE : DESCRIBED);
		__sync_lock_test_and_set(&process->id, scratch->record.process_id);
	}
	return wanted ? scratch->record.process_id : REJECTED;
}

/* Where this CPU has the thread's process at hand, if it has met it just now. */
static __always_inline struct recent *recent_place(struct task_struct *task)
{
	__u32 index = (__u32)task->pid % RECENT_PROCESSES;

	return bpf_map_lookup_elem(&recent_processes, &index);
}

/*
 * As known_id(). The thread is looked at last: when it is this one now, it was so before, for nobody else writes that
 * it is, here or on another CPU.
 */
static __always_inline __u64 known_recently(const struct recent *recent, struct task_struct *task, __u64 generation,
					    __u32 demand)
{
	__u64 known = known_current(&recent->process, generation, demand);

	if (*(volatile __u32 *)&recent->tid != (__u32)task->pid ||
	    *(volatile __u64 *)&recent->start_time_ns != task->start_boottime)
		return UNKNOWN;
	return known;
}

/* What was known of the process under that id, in place of what was recent there. */
static __always_inline void keep_recent(struct recent *recent, struct task_struct *task, struct process *process,
					__u64 id)
{
	__u64 former = recent->process.id;

	/* Programs may be preempted by others on this CPU: one of them writes. */
	if (former == LOST || __sync_val_compare_and_swap(&recent->process.id, former, LOST) != former)
		return;
	__builtin_memcpy(&recent->process.exec_id, &process->exec_id,
			 sizeof(*process) - offsetof(struct process, exec_id));
	recent->start_time_ns = task->start_boottime;
	recent->tid = task->pid;
	/* A thread may have described it anew meanwhile. */
	__sync_lock_test_and_set(&recent->process.id, __sync_fetch_and_add(&process->id, 0) == id ? id : 0);
}

/*
 * A process's id, its record sent. REJECTED by the process filter, when judged by it. LOST when there was
 * no room for its record. lender: the process that may have been forked into this one, and its self_exec_id.
 */
static __always_inline __u64 identify_task(struct task_struct *task, enum whose whose, struct recent *recent,
					   __u32 slot, __u64 generation, __u32 demand, __u64 lender,
					   __u64 lender_exec_id)
{
	struct process *process;
	__u64 known, id = 0;

	/* NULL when memory is short (or, on 6.1, storage is busy on this CPU): described again each time. */
	process = bpf_task_storage_get(&processes, task->group_leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (process) {
		id = *(volatile __u64 *)&process->id;
		known = whose == OWN ? known_current(process, generation, demand) :
				       known_id(process, task, whose, generation, demand);
		if (known != UNKNOWN) {
			if (recent)
				keep_recent(recent, task, process, id);
			return known;
		}
		if (id && id != LOST) {
			lender = id;
			lender_exec_id = process->exec_id;
		}
	}
	if (lender_exec_id != task->self_exec_id)
		lender = 0;
	return describe(slot, process, id, task, whose, generation, demand, lender);
}

/* The current process's. Global: the verifier goes through it once a program, not once for each state of its caller. */
__noinline __u64 identify(__u32 slot, __u64 generation, __u32 demand, __u64 lender, __u64 lender_exec_id)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return identify_task(task, OWN, recent_place(task), slot, generation, demand, lender, lender_exec_id);
}

/*
 * Identifies a task's parent, for the record that is to follow in the slot. False when that is lost. Beside identify(),
 * not inside of it: both have much on the stack. Not global, since it is given a task.
 */
static __noinline bool identify_parent(struct task_struct *task, __u32 slot, __u64 generation)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *parent = task->real_parent;
	__u64 id = 0;

	if (!scratch)
		return false;
	if (parent->tgid) /* the first process has none */
		id = identify_task(parent, PARENT, NULL, slot, generation, 0, 0, 0);
	scratch->record.parent_id = id;
	return id != LOST;
}

/* As identify(), the parent before it if that is asked for. */
static __always_inline __u64 identify_current(__u32 slot, __u64 generation, __u32 demand, __u64 lender,
					      __u64 lender_exec_id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct recent *recent = recent_place(task);
	__u64 id = recent ? known_recently(recent, task, generation, demand) : UNKNOWN;

	/* What is kept with a task takes a long way to find. */
	if (id == UNKNOWN)
		id = identify(slot, generation, demand, lender, lender_exec_id);
	if (id != PARENT_FIRST || !options.parent)
		return id;
	if (!identify_parent(task, slot, generation))
		return LOST;
	return identify(slot, generation, demand | PARENT_READ, lender, lender_exec_id);
}

#endif
