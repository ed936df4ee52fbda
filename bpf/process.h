/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which process an event belongs to. identify_current() returns the current process's id, and sends the process's
 * description before the id is used for the first time.
 *
 * The description last sent is remembered in struct process, in two places:
 *   processes		task storage of the thread group's leader: one per process, slow to look up
 *   recent_processes	copies per CPU, for the threads that it ran last: fast
 *
 * An identification goes through these steps, and ends at the first that gives a result:
 *   1. recent_id()		the copy in recent_processes is this thread's, and still holds
 *   2. identify()		the process's own struct process still holds; it is copied to recent_processes
 *   3. describe()		neither: the process is evaluated by the process filter and remembered under a new id;
 *				unless the filter rejects it, its description is sent first
 *
 * A process that has exec'd nothing since an earlier description has the same image, and one that was not moved is in
 * the same cgroup: see recall(). The new description refers to the record that had them. So a process that changes its
 * credentials at each connection takes little time, and what it shows at first stays: its path, its arguments and
 * whether the filter's lists of executables have it.
 *
 * The filter is applied at openings alone (IDENTIFY_FILTERED). A close of a reported connection is reported, and so is
 * a parent: their processes are described even if the filter rejects them. So what is remembered is both the verdict
 * (passes) and whether a description was sent (described: enum described in maps.h).
 *
 * "Still holds" means that nothing that a description says has changed: see process_difference(). So an exec, setuid()
 * or a move to another cgroup leads to a new description at the process's next connection, without a hook for each.
 * A reload of the filters leads to one, too, since the process must be evaluated again.
 *
 * Struct process is written without a lock. A writer first sets id to LOST by compare-and-swap, so there is one writer
 * at a time, then writes the other fields, then the id. A reader reads the id, the other fields, and the id again: when
 * both are the same and not LOST, the fields belong to that id, since no id is used twice.
 */
#ifndef __PROCESS_H__
#define __PROCESS_H__

#include "exec.h"
#include "filter.h"
#include "follow.h"
#include "process_record.h"
#include "rules.h"

/* What the functions below return instead of an id. Ids begin at 1. */
#define UNKNOWN 0ULL /* known_id() and recent_id(): the process must be described (again) */
/* LOST and OVER_BUDGET, of maps.h: count the event as lost. */
#define PARENT_FIRST (~2ULL) /* describe(): identify the parent, then call again with IDENTIFY_PARENT_KNOWN */
#define REJECTED (~3ULL) /* by the process filter: report nothing */

enum identify_flag {
	IDENTIFY_FILTERED = 1, /* apply the process filter; without it, the process is described whatever it says */
	IDENTIFY_PARENT_KNOWN = 2, /* the parent's id is in the scratch slot's record */
};

/* Which task is identified. */
enum task_role {
	TASK_CURRENT,
	TASK_WALKED, /* found by the walk through all open files */
	TASK_PARENT, /* described without its own parent */
};

/*
 * Adds the bits in which two values differ. The empty assembler statement has clang compare one after the other: it
 * would rather load all values first, and spill half of them to the stack.
 */
static __always_inline void compare(__u64 *difference, __u64 known, __u64 now)
{
	*difference |= known ^ now;
	asm volatile("" : "+r"(*difference));
}

/* Compares the id of a login, which is the task's. Two calls, of which the verifier leaves out one. */
static __always_inline void compare_auid(__u64 *difference, __u32 known, struct task_struct *task)
{
	if (bpf_core_field_exists(task->loginuid))
		compare(difference, known, task->loginuid.val);
	else
		compare(difference, known, NO_AUID);
}

/* By value, not by the address of the struct cred: a new one may be at the address of one that was freed. */
static __always_inline void compare_credentials(__u64 *difference, const struct credentials *known,
						const struct cred *cred)
{
	compare(difference, known->uid, cred->uid.val);
	compare(difference, known->euid, cred->euid.val);
	compare(difference, known->gid, cred->gid.val);
	compare(difference, known->egid, cred->egid.val);
	compare(difference, known->cap_inheritable, CAPABILITIES(cred->cap_inheritable));
	compare(difference, known->cap_permitted, CAPABILITIES(cred->cap_permitted));
	compare(difference, known->cap_effective, CAPABILITIES(cred->cap_effective));
}

/* Returns when the task's process was started. Unlike its pid, this is not used again. */
static __always_inline __u64 start_of(struct task_struct *task)
{
	return task->group_leader->start_boottime;
}

static __always_inline __u64 cgroup_id_of(struct task_struct *task, enum task_role role)
{
	return role == TASK_CURRENT ? task->cgroups->dfl_cgrp->kn->id : BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

/*
 * Returns 0 when nothing has changed since the process was described; otherwise bits without a meaning of their own.
 * They are not a bool because known_id() orders its reads by them. The credentials compared are those of this thread:
 * the kernel keeps them per thread, but glibc keeps those of all threads alike.
 */
static __always_inline __u64 process_difference(const struct process *process, struct task_struct *task,
						enum task_role role, __u64 generation)
{
	__u64 difference = 0;

	compare(&difference, process->cgroup_id, cgroup_id_of(task, role)); /* first: a call, which clobbers registers */
	compare(&difference, process->ppid, (__u32)task->real_parent->tgid);
	compare(&difference, process->exec_id, task->self_exec_id);
	compare(&difference, process->generation, generation);
	compare_auid(&difference, process->credentials.auid, task);
	compare_credentials(&difference, &process->credentials, task->cred);
	return difference;
}

/*
 * Returns the pointer, which cannot be followed before the value is known. BPF has no read barriers, but a CPU (arm64)
 * does not reorder two loads when the address of the second depends on the value of the first.
 */
#define AFTER(value, pointer)                                                                                          \
	({                                                                                                             \
		__u64 zero = (value);                                                                                  \
		asm volatile("%0 &= 0" : "+r"(zero));                                                                  \
		(typeof(pointer))((void *)(pointer) + zero);                                                           \
	})

/*
 * Returns the id under which a process was described, if that description still holds; REJECTED, if the process filter
 * is applied and rejects it; else UNKNOWN.
 */
static __always_inline __u64 known_id(const struct process *process, struct task_struct *task, enum task_role role,
				      __u64 generation, __u32 flags)
{
	__u64 differs, id = *(volatile __u64 *)&process->id;
	__u8 passes, described;

	if (!id || id == LOST || id < control.oldest_process_id)
		return UNKNOWN;
	process = AFTER(id, process);
	differs = process_difference(process, task, role, generation);
	passes = process->passes;
	described = process->described;
	process = AFTER(differs | passes | described, process);
	if (differs || *(volatile __u64 *)&process->id != id)
		return UNKNOWN;
	if (flags & IDENTIFY_FILTERED && !passes)
		return REJECTED;
	return described >= (role == TASK_PARENT ? DESCRIBED_ALONE : DESCRIBED) ? id : UNKNOWN;
}

/*
 * As known_id(), for the current process. Global, so that the verifier checks it once: at each pointer that is followed
 * it searches all types of the kernel.
 */
__noinline __u64 known_current(const struct process *process, __u64 generation, __u32 flags)
{
	return process ? known_id(process, bpf_get_current_task_btf(), TASK_CURRENT, generation, flags) : UNKNOWN;
}

/*
 * Evaluates the process whose record is in the slot: fills in its predicates and alternatives. Returns whether the process
 * filter accepts it and a rule may want it, or NEEDS_IMAGE. That is a function of these and the settings, all of which
 * stay the same for as long as the generation does and the process is known: so it is computed here, once, and not at
 * each connection. Global: see the overview in netmon.bpf.c.
 */
__noinline int passes_process_filter(__u32 slot, __u32 set)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct process_filter *filter;

	if (!scratch)
		return 1;
	set &= FILTER_SETS - 1;
	filter = &settings[set].process_filter;
	if (!load_config.filters)
		return 1;
	if (filter->mode != FILTER_OFF) {
		if (!evaluate_predicates(scratch, slot, set, described_task(scratch)))
			return NEEDS_IMAGE;
		if (matches_condition(filter, scratch->predicates.matched) != (filter->mode == FILTER_ALLOW))
			return 0;
	}
	return limits_processes(set) ? meets_by_process(slot, set) : 1;
}

/* Returns a source that the record may refer to: user space still has it. Else 0. */
static __always_inline __u64 source_if_kept(__u64 id)
{
	return id >= control.oldest_process_id && !is_lost(id) ? id : 0;
}

/*
 * Takes over from a process's last description what still holds of its image and its cgroup: the records that have
 * them, and the predicates that depend on them alone. A source is a record that was sent, since nothing is remembered
 * of a process whose record was lost or refused. Global: see the overview in netmon.bpf.c.
 */
__noinline int recall(__u32 slot, const struct process *process, __u64 generation)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	__u16 evaluated = 0, matched;
	__u64 id, image = 0, cgroup = 0, met;
	bool lacks_args;

	if (!scratch || !process)
		return 0;
	id = *(volatile __u64 *)&process->id;
	if (!id || id == LOST)
		return 0;
	process = AFTER(id, process);
	if (process->exec_id == scratch->exec_id) {
		image = process->image_id;
		evaluated |= PREDICATES_OF_IMAGE;
	}
	if (process->cgroup_id == scratch->cgroup_id) {
		cgroup = process->cgroup_source;
		evaluated |= PREDICATES_OF_CGROUP;
	}
	if (process->generation != generation)
		evaluated = 0;
	evaluated &= process->predicates.evaluated;
	matched = evaluated & process->predicates.matched;
	met = process->alternatives.met_by_image;
	lacks_args = !process->has_args;
	process = AFTER(image | cgroup | matched | met | lacks_args, process);
	if (*(volatile __u64 *)&process->id != id)
		return 0; /* another thread has described the process meanwhile */
	scratch->record.image_source = source_if_kept(image);
	scratch->record.cgroup_source = source_if_kept(cgroup);
	scratch->predicates.evaluated = evaluated;
	scratch->predicates.matched = matched;
	scratch->alternatives.met_by_image = met;
	scratch->lacks_args = lacks_args;
	return 0;
}

/* Whether other processes are described before a process: its parent, or further ancestors. */
static __always_inline bool needs_parents(void)
{
	return report_options.parent || report_options.ancestors;
}

/*
 * Evaluates a process by the filter, sends its description if that accepts it or is not applied, and remembers both.
 * Returns its new id, REJECTED, LOST, OVER_BUDGET or PARENT_FIRST. process: where to remember; NULL when there is no
 * memory. previous_id: what process->id was when the caller decided to describe. inherited: see identify_task().
 */
static __always_inline __u64 describe(__u32 slot, struct process *process, __u64 previous_id, struct task_struct *task,
				      enum task_role role, __u64 generation, __u32 flags, __u64 inherited)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	bool wanted;
	__u64 sent;
	int passes;

	if (!scratch)
		return LOST;
	if (report_options.other_tasks)
		scratch->other = role == TASK_CURRENT ? NULL : task;
	start_record(scratch, task);
	scratch->exec_id = task->self_exec_id;
	scratch->cgroup_id = cgroup_id_of(task, role);
#ifndef MINIMAL
	if (report_options.names)
		note_origin(slot);
#endif
	if (process)
		recall(slot, process, generation);
	if (load_config.follows)
		scratch->is_followed = is_followed(task);
	passes = HAS_FILTERS ? passes_process_filter(slot, set_of(generation)) : 1;
	if (HAS_FILTERS && passes == NEEDS_IMAGE) {
		read_image(slot);
		passes = passes_process_filter(slot, set_of(generation));
	}
	wanted = passes | ((flags & IDENTIFY_FILTERED) ^ IDENTIFY_FILTERED); /* no branch: the verifier would fork */
	if (needs_parents()) {
		/* Keeps clang from testing the flags before the calls: the verifier would go through those twice. */
		asm volatile("" : "+r"(flags));
		if (role == TASK_PARENT)
			scratch->record.parent_id = 0;
		else if (wanted && !(flags & IDENTIFY_PARENT_KNOWN))
			return PARENT_FIRST;
	}
	if (wanted) {
#ifndef MINIMAL
		if (report_options.ancestors && role != TASK_PARENT) {
			sent = send_ancestors(slot);
			if (is_lost(sent))
				return sent;
		}
		if (report_options.exec) {
			note_foreign(slot);
			sent = scratch->record.image_source ? 0 : send_exec(task, slot);
			if (is_lost(sent))
				return sent;
		}
#endif
		sent = send_record(slot, inherited);
		if (is_lost(sent))
			return sent;
	}
	/* Several threads may have described the process at once: one of them writes. */
	if (process && previous_id != LOST &&
	    __sync_val_compare_and_swap(&process->id, previous_id, LOST) == previous_id) {
		process->generation = generation;
		process->payer = role == TASK_CURRENT ? payer_of_current() : payer_of(task);
		/* If the task has exec'd, or was moved, since these were read, it is described again next time. */
		process->exec_id = scratch->exec_id;
		process->ppid = scratch->record.ppid;
		process->cgroup_id = scratch->cgroup_id;
		process->image_id = scratch->record.image_source;
		process->cgroup_source = scratch->record.cgroup_source;
		process->has_args = !scratch->lacks_args;
		process->credentials = scratch->record.credentials;
		process->predicates = scratch->predicates;
		process->alternatives = scratch->alternatives;
		process->passes = passes;
		process->described = wanted * (role == TASK_PARENT ? DESCRIBED_ALONE : DESCRIBED);
		__sync_lock_test_and_set(&process->id, scratch->record.process_id);
	}
	return wanted ? scratch->record.process_id : REJECTED;
}

/* Returns the only entry of this CPU's recent processes that may hold the thread's. Never NULL: there is such an index. */
static __always_inline struct recent *recent_entry(struct task_struct *task)
{
	__u32 index = (__u32)task->pid % RECENT_PROCESSES;

	return bpf_map_lookup_elem(&recent_processes, &index);
}

/*
 * As known_id(), by this CPU's copy. Whether the entry is this thread's is checked last: if it is now, it was before,
 * since only this thread writes that it is, and it is running here.
 */
static __always_inline __u64 recent_id(const struct recent *recent, struct task_struct *task, __u64 generation,
				       __u32 flags)
{
	__u64 known = known_current(&recent->process, generation, flags);

	if (*(volatile __u32 *)&recent->tid != (__u32)task->pid ||
	    *(volatile __u64 *)&recent->start_time_ns != task->start_boottime)
		return UNKNOWN;
	return known;
}

/* Copies what is known of the thread's process under that id to this CPU's entry, in place of another thread's. */
static __always_inline void store_recent(struct recent *recent, struct task_struct *task, struct process *process,
					 __u64 id)
{
	__u64 previous = recent->process.id;

	/* Another program may have preempted this one on the same CPU: one of them writes. */
	if (previous == LOST || __sync_val_compare_and_swap(&recent->process.id, previous, LOST) != previous)
		return;
	__builtin_memcpy(&recent->process.exec_id, &process->exec_id,
			 sizeof(*process) - offsetof(struct process, exec_id));
	recent->start_time_ns = task->start_boottime;
	recent->tid = task->pid;
	/* Empty, if another thread has described the process again meanwhile. */
	__sync_lock_test_and_set(&recent->process.id, __sync_fetch_and_add(&process->id, 0) == id ? id : 0);
}

/*
 * Returns a process's id, once its record was sent; REJECTED, if the process filter is applied and rejects it; LOST,
 * or OVER_BUDGET, when its record was not sent; or PARENT_FIRST. recent: where to copy what is known of it, or NULL.
 *
 * inherited: the record whose image the process has if it has none of its own, since it is exiting, and if nothing is
 * known of it: see inherited_image(). 0: none.
 */
static __always_inline __u64 identify_task(struct task_struct *task, enum task_role role, struct recent *recent,
					   __u32 slot, __u64 generation, __u32 flags, __u64 inherited)
{
	struct process *process;
	__u64 known, id = 0;

	/* NULL when memory is short, or on 6.1 when storage is busy: the process is described each time then. */
	process = bpf_task_storage_get(&processes, task->group_leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (process) {
		id = *(volatile __u64 *)&process->id;
		known = role == TASK_CURRENT ? known_current(process, generation, flags) :
					       known_id(process, task, role, generation, flags);
		if (known != UNKNOWN) {
			if (recent)
				store_recent(recent, task, process, id);
			return known;
		}
	}
	return describe(slot, process, id, task, role, generation, flags, inherited);
}

/* As identify_task(), for the current process. Global: the verifier checks it once a program. */
__noinline __u64 identify(__u32 slot, __u64 generation, __u32 flags, __u64 inherited)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return identify_task(task, TASK_CURRENT, recent_entry(task), slot, generation, flags, inherited);
}

#ifndef MINIMAL

/* Where the walk through a process's ancestors is. */
struct lineage {
	struct task_struct *task; /* the next ancestor */
	__u32 slot;
};

/* A step of bpf_loop(): identifies an ancestor, and notes it in the slot. Returns 1 to stop, at the first process. */
static long identify_ancestor(__u32 index, struct lineage *lineage)
{
	__u32 slot = lineage->slot;
	struct task_struct *task = lineage->task;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct ancestor *ancestor;
	__u64 id;

	if (!scratch || !task->tgid) /* the parent of the first process is the idle task, 0 */
		return 1;
	id = identify_task(task, TASK_PARENT, NULL, slot, scratch->generation, 0, 0);
	if (!index)
		scratch->parent_id = id;
	ancestor = &scratch->ancestors.ancestors[index & (MAX_ANCESTORS - 1)];
	ancestor->process_id = is_lost(id) ? 0 : id;
	ancestor->start_time_ns = start_of(task);
	ancestor->pid = task->tgid;
	scratch->ancestors.head.ancestor_count = index + 1;
	lineage->task = task->real_parent;
	return 0;
}

/*
 * As identify_parent(), for all ancestors that are reported: those that were not described are now, each without its own.
 * So all that is known of them is sent before the process's own record.
 */
static __always_inline __u64 identify_ancestors(struct task_struct *task, __u32 slot, __u64 generation)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct lineage lineage = { .task = task->real_parent, .slot = slot };

	if (!scratch)
		return LOST;
	scratch->ancestors.head.ancestor_count = 0;
	scratch->generation = generation;
	scratch->parent_id = 0;
	bpf_loop(report_options.ancestors, identify_ancestor, &lineage, 0);
	scratch->record.parent_id = report_options.parent ? scratch->parent_id : 0;
	return scratch->record.parent_id;
}

#endif

/*
 * Identifies a task's parent and writes its id to the record in the slot, for the description of the task that follows.
 * Returns the parent's id, which may be lost; 0 if there is none. Not part of identify(), since both need much of the
 * stack, and not global, since it is given a task.
 */
static __noinline __u64 identify_parent(struct task_struct *task, __u32 slot, __u64 generation)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *parent = task->real_parent;
	__u64 id = 0;

	if (!scratch)
		return LOST;
	if (parent->tgid) /* the parent of the first process is the idle task, 0 */
		id = identify_task(parent, TASK_PARENT, NULL, slot, generation, 0, 0);
	scratch->record.parent_id = id;
	return id;
}

/* Identifies the ancestors that are reported, the parent at least. Returns what identify_parent() does. */
static __always_inline __u64 identify_parents(struct task_struct *task, __u32 slot, __u64 generation)
{
#ifndef MINIMAL
	if (report_options.ancestors)
		return identify_ancestors(task, slot, generation);
#endif
	return identify_parent(task, slot, generation);
}

/*
 * Returns the id of the current task's process, REJECTED, LOST or OVER_BUDGET: see the top of this file. With the option
 * parent, the parent is described first. recent: the task's entry. inherited: see identify_task().
 */
static __always_inline __u64 identify_recent(struct task_struct *task, struct recent *recent, __u32 slot,
					     __u64 generation, __u32 flags, __u64 inherited)
{
	__u64 id = recent_id(recent, task, generation, flags);

	if (id == UNKNOWN)
		id = identify(slot, generation, flags, inherited);
	if (id != PARENT_FIRST || !needs_parents())
		return id;
	id = identify_parents(task, slot, generation);
	if (is_lost(id))
		return id;
	return identify(slot, generation, flags | IDENTIFY_PARENT_KNOWN, inherited);
}

/* As identify_recent(). */
static __always_inline __u64 identify_current(__u32 slot, __u64 generation, __u32 flags, __u64 inherited)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct recent *recent = recent_entry(task);

	return recent ? identify_recent(task, recent, slot, generation, flags, inherited) : LOST;
}

/*
 * Returns the address of the current task's credentials if the socket's file has the same ones, else 0. The file holds
 * what it has until the socket has been closed. So until then no other credentials are at that address, and these do
 * not change: the kernel changes a copy and replaces the task's (commit_creds()).
 */
static __always_inline __u64 held_credentials(struct socket *socket, struct task_struct *task)
{
	const struct cred *cred = task->cred;

	return socket->file->f_cred == cred ? (__u64)cred : 0; /* NULL is followed to NULL */
}

/*
 * Notes in a connection that the current process opens it, what that is described as under the id, and whom its records
 * are charged to. This thread's entry is not written while this program runs but to be another thread's, with another
 * id: so the id is read last. task: the current one; recent: its entry; socket: the connection's, NULL if it is not
 * known.
 */
static __always_inline void note_opener(struct connection *connection, struct task_struct *task, struct recent *recent,
					__u64 process_id, struct socket *socket)
{
	const struct process *known = &recent->process;

	connection->event.head.tid = task->pid;
	connection->opener_exec_id = task->self_exec_id;
	connection->opener_start_ns = start_of(task);
	connection->opener_cred = 0;
	connection->opener_cgroup_id = known->cgroup_id;
	connection->opener_ppid = known->ppid;
	connection->opener_auid = known->credentials.auid;
	connection->payer = known->payer;
	if (*(volatile __u64 *)&known->id != process_id || is_lost(process_id))
		connection->payer = payer_of_current();
	else if (socket)
		connection->opener_cred = held_credentials(socket, task);
}

/*
 * Whether the current process is a connection's opener, and all that its description says is as it was then. So a close
 * by the opener, as most are, takes no look at the credentials, which is dear: the kernel checks each address. No two
 * processes have the same credentials, only threads of one: a fork copies them.
 */
static __always_inline bool is_as_opened(const struct connection *connection, struct task_struct *task)
{
	__u64 difference = 0;

	if (connection->opener_cred != (__u64)task->cred ||
	    connection->event.head.process_id < control.oldest_process_id)
		return false;
	compare(&difference, connection->opener_cgroup_id, cgroup_id_of(task, TASK_CURRENT));
	compare(&difference, connection->opener_start_ns, start_of(task));
	compare(&difference, connection->opener_exec_id, task->self_exec_id);
	compare(&difference, connection->opener_ppid, (__u32)task->real_parent->tgid);
	compare_auid(&difference, connection->opener_auid, task);
	return !difference;
}

/*
 * Returns the id under which the current process was identified; REJECTED, if no rule wants the connection of which
 * may_be_wanted() has noted in the slot what it meets. What the process meets is known from its description, or as
 * payer_of_identified() finds its payer; else it may meet anything. Global: see the overview in netmon.bpf.c.
 */
__noinline __u64 id_if_wanted(__u32 slot, __u64 id)
{
	struct recent *recent = recent_entry(bpf_get_current_task_btf());
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	__u64 met;

	if (!scratch || id >= REJECTED)
		return id;
	met = scratch->compared.met;
	if (recent) {
		__u64 met_by_process = *(volatile __u64 *)&recent->process.alternatives.met;

		if (*(volatile __u64 *)&recent->process.id == id)
			return met & met_by_process ? id : REJECTED;
	}
	return scratch->record.process_id != id || met & scratch->alternatives.met ? id : REJECTED;
}

/*
 * Returns the record whose image the current process must have inherited from the opener of a connection, if it was
 * never described itself: the opener is its parent, which had exec'd as often, after the connection was opened, and it
 * has exec'd nothing since. Else 0. No name decides: a process gives itself any (prctl). Once the opener has ended, the
 * process has another parent, and nobody can tell any more.
 */
static __always_inline __u64 inherited_image(struct task_struct *task, const struct event_head *opening,
					     __u64 opener_exec_id)
{
	struct process *parent;

	if (task->self_exec_id != opener_exec_id || task->parent_exec_id != (__u32)opener_exec_id ||
	    (opening->type != RECORD_EXISTING && start_of(task) < opening->timestamp_ns))
		return 0;
	parent = bpf_task_storage_get(&processes, task->real_parent->group_leader, NULL, 0);
	if (!parent || *(volatile __u64 *)&parent->id != opening->process_id)
		return 0;
	return source_if_kept(opening->process_id);
}

#endif
