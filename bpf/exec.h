/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option exec: what a process was told to run, and where it comes from.
 *
 * What a process shows at its first connection may be another's: it can overwrite its arguments, change what they are
 * and which file it runs (prctl), or its root directory. So at each exec the path, the arguments and the file are kept
 * as they are then, with the process, in task storage; a new process gets them from its parent. They are sent when the
 * process is described.
 *
 * Whether its path, its root or its capabilities are the host's is noted when it is described (enum foreign).
 */
#ifndef __EXEC_H__
#define __EXEC_H__

#ifndef MINIMAL

#include "executable.h"
#include "fairness.h"
#include "maps.h"
#include "process_record.h"
#include <bpf/bpf_core_read.h>

enum { MAX_CLIMB = 1024, FIRST_PROCESS = 1 };

/* The root directory and the mount namespace of the host's first process, once one of its descendants was described. */
struct host {
	__u64 mounts;
	struct dentry *root_dentry;
	struct vfsmount *root_mount;
} host = {};

/* A step of bpf_loop(): goes to the parent. Returns 1 to stop, at the host's first process. */
static long climb(__u32 index, struct task_struct **task)
{
	*task = BPF_CORE_READ(*task, real_parent);
	return BPF_CORE_READ(*task, tgid) <= FIRST_PROCESS;
}

/* Finds the host's first process among the ancestors of a task. A thread of the kernel has it not among them. */
static __always_inline void find_host(struct task_struct *task)
{
	struct task_struct *ancestor = BPF_CORE_READ(task, group_leader);

	if (BPF_CORE_READ(ancestor, tgid) != FIRST_PROCESS)
		bpf_loop(MAX_CLIMB, climb, &ancestor, 0);
	if (BPF_CORE_READ(ancestor, tgid) != FIRST_PROCESS)
		return;
	host.root_dentry = BPF_CORE_READ(ancestor, fs, root.dentry);
	host.root_mount = BPF_CORE_READ(ancestor, fs, root.mnt);
	/* Last, and with a full barrier: it says that the others are known. */
	__sync_lock_test_and_set(&host.mounts, (__u64)BPF_CORE_READ(ancestor, nsproxy, mnt_ns));
}

/*
 * Notes which of the path, root directory and capabilities of the task to describe are not the host's: enum foreign.
 * Global: see the overview in netmon.bpf.c.
 */
__noinline int note_foreign(__u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct task_struct *task;
	struct vfsmount *mount;
	struct dentry *root;
	__u16 foreign = 0;
	__u64 mounts;

	if (!scratch)
		return 0;
	task = described_task(scratch);
	root = BPF_CORE_READ(task, fs, root.dentry);
	mount = BPF_CORE_READ(task, fs, root.mnt);
	mounts = (__u64)BPF_CORE_READ(task, nsproxy, mnt_ns);
	if (BPF_CORE_READ(task, cred, user_ns, level))
		foreign |= FOREIGN_USER;
	if (!host.mounts)
		find_host(task);
	if (host.mounts && mounts) { /* it is not exiting */
		if (mounts != host.mounts)
			foreign |= FOREIGN_MOUNT;
		/* In another mount namespace, the root of a container is the top of a file system. */
		if (mounts != host.mounts ? root != BPF_CORE_READ(mount, mnt_root) :
					    root != host.root_dentry || mount != host.root_mount)
			foreign |= FOREIGN_ROOT;
	}
	scratch->record.foreign = foreign;
	return 0;
}

/*
 * Reads what the current task has executed into the slot: the path and the arguments into strings. Returns their length;
 * that of the path is in walk.start. Global: see the overview in netmon.bpf.c.
 */
__noinline int read_exec(__u32 slot)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct mm_struct *mm;
	struct file *exe;
	__u32 path;

	if (!scratch)
		return 0;
	mm = BPF_CORE_READ(task, mm);
	exe = BPF_CORE_READ(mm, exe_file);
	if (!exe)
		return 0;
	scratch->record.flags = 0;
	read_path(scratch, slot, task, exe);
	path = (PATH_SIZE - scratch->walk.start) & (PATH_SIZE - 1);
	bpf_probe_read_kernel(scratch->strings, path, &scratch->walk.path[scratch->walk.start & (PATH_SIZE - 1)]);
	return path + read_args(scratch, path, mm);
}

/* Fills in all of a record but its texts, which are in the scratch slot. */
static __always_inline void fill_exec_record(struct exec_record *record, struct scratch *scratch,
					     struct task_struct *task, __u32 length)
{
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	__u32 path = PATH_SIZE - scratch->walk.start;

	record->type = RECORD_EXEC;
	record->name_length = scratch->walk.name_length;
	record->path_length = path;
	record->args_length = length - path;
	record->exec_id = __sync_fetch_and_add(&next_process_id, 1);
	record->time_ns = bpf_ktime_get_boot_ns();
	record->inode = BPF_CORE_READ(inode, i_ino);
	record->device = BPF_CORE_READ(inode, i_sb, s_dev);
	record->flags = (BPF_CORE_READ(inode, i_nlink) ? 0 : EXEC_UNLINKED) |
			(scratch->record.flags & PROCESS_PATH_INCOMPLETE ? EXEC_PATH_INCOMPLETE : 0) |
			(scratch->record.flags & PROCESS_ARGS_INCOMPLETE ? EXEC_ARGS_INCOMPLETE : 0);
}

/*
 * At each exec, once it has succeeded: the current task is the only one of its process, and has its new memory.
 * self_exec_id is written last, and is 0 before: whoever describes the process meanwhile, as another one's parent, finds
 * nothing.
 */
static __always_inline int note_exec(struct task_struct *task)
{
	struct scratch *scratch;
	struct long_exec *large;
	struct exec *exec;
	__u32 slot = SLOT_EXEC, length;

	scratch = bpf_map_lookup_elem(&scratches, &slot);
	exec = bpf_task_storage_get(&execs, task->group_leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!scratch || !exec)
		return 0;
	__sync_lock_test_and_set(&exec->self_exec_id, 0);
	length = read_exec(slot);
	if (!length)
		return 0;
	if (length > LONG_EXEC_TEXTS) { /* longer than a path can be: only arguments are cut */
		length = LONG_EXEC_TEXTS;
		scratch->record.flags |= PROCESS_ARGS_INCOMPLETE;
	}
	asm volatile("" : "+r"(length)); /* keeps the checks below, which the verifier of 6.1 needs */
	exec->is_long = length > sizeof(exec->texts);
	if (length <= sizeof(exec->texts)) {
		fill_exec_record(&exec->record, scratch, task, length);
		bpf_probe_read_kernel(exec->texts, length, scratch->strings);
	} else {
		large = bpf_task_storage_get(&long_execs, task->group_leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!large || length > sizeof(large->texts))
			return 0;
		fill_exec_record(&large->record, scratch, task, length);
		bpf_probe_read_kernel(large->texts, length, scratch->strings);
	}
	__sync_lock_test_and_set(&exec->self_exec_id, task->self_exec_id);
	return 0;
}

/* At the start of each task: a new process runs what its parent does. */
static __always_inline void inherit_exec(struct task_struct *parent, struct task_struct *child)
{
	struct exec *exec;
	struct long_exec *large;

	if (child->pid != child->tgid) /* a thread */
		return;
	exec = bpf_task_storage_get(&execs, parent->group_leader, NULL, 0);
	if (!exec || exec->self_exec_id != parent->self_exec_id)
		return;
	if (exec->is_long) {
		large = bpf_task_storage_get(&long_execs, parent->group_leader, NULL, 0);
		if (!large || !bpf_task_storage_get(&long_execs, child, large, BPF_LOCAL_STORAGE_GET_F_CREATE))
			return;
	}
	bpf_task_storage_get(&execs, child, exec, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/*
 * Sends an exec record with its texts, and has the process's record refer to it. Returns 0, LOST or OVER_BUDGET. It sends
 * a copy: of another task, an exec may replace the record meanwhile. kept: says which exec the record is of.
 */
static __always_inline __u64 send_exec_record(__u32 slot, struct exec *kept, const void *original, __u32 room)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct exec_record *record;
	__u64 texts;

	if (!scratch)
		return 0;
	record = (void *)&scratch->strings[NAMES_ROOM];
	bpf_probe_read_kernel(record, sizeof(*record) + room, original);
	if (__sync_fetch_and_add(&kept->self_exec_id, 0) != scratch->exec_id)
		return 0;
	texts = record->path_length + record->args_length;
	asm volatile("" : "+r"(texts)); /* keeps the check below as it is, which the verifier of 6.1 needs */
	if (texts > room)
		return 0;
	if (!may_write(payer_of_current(), sizeof(*record) + texts, false))
		return OVER_BUDGET;
	if (bpf_ringbuf_output(&events, record, sizeof(*record) + texts, 0))
		return LOST;
	scratch->record.exec_id = record->exec_id;
	scratch->other_texts += texts / TEXTS_UNIT;
	return 0;
}

/* These two are global: see the overview in netmon.bpf.c. */
__noinline __u64 send_short_exec(__u32 slot, struct exec *exec)
{
	return exec ? send_exec_record(slot, exec, &exec->record, sizeof(exec->texts)) : 0;
}

__noinline __u64 send_long_exec(__u32 slot, struct exec *kept, struct long_exec *exec)
{
	return kept && exec ? send_exec_record(slot, kept, &exec->record, sizeof(exec->texts)) : 0;
}

/* Sends what was kept at a task's exec, if there is any. Returns 0, LOST or OVER_BUDGET. */
static __always_inline __u64 send_exec(struct task_struct *task, __u32 slot)
{
	struct exec *exec = bpf_task_storage_get(&execs, task->group_leader, NULL, 0);
	struct long_exec *large;

	if (!exec || exec->self_exec_id != task->self_exec_id)
		return 0;
	if (!exec->is_long)
		return send_short_exec(slot, exec);
	large = bpf_task_storage_get(&long_execs, task->group_leader, NULL, 0);
	return large ? send_long_exec(slot, exec, large) : 0;
}

#endif

#endif
