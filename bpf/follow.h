/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Processes that the process filter follows: single ones, and trees, which are a process and all that descend from it.
 *
 * User space marks the processes of the configuration before any connection is reported. In a tree each new task gets
 * its parent's mark here: fork() runs this program before the child can run, so the child does nothing unmarked. A mark
 * belongs to the task: it ends with it, stays through exec(), and whoever gets the same pid later has none. A descendant
 * keeps its mark when its parent ends, or when it makes a session of its own.
 *
 * Threads are marked, too: when one of them calls exec(), it becomes the process.
 */
#ifndef __FOLLOW_H__
#define __FOLLOW_H__

#include "maps.h"

/* At the start of each task: parent is the task that called fork(), clone() or vfork(). */
static __always_inline int follow_fork(struct task_struct *parent, struct task_struct *child)
{
	__u32 *mark;

	if (!load_config.follows)
		return 0;
	mark = bpf_task_storage_get(&marks, parent->group_leader, NULL, 0);

	if (!mark || !(*mark & MARK_TREE))
		return 0;
	if (!bpf_task_storage_get(&marks, child, mark, BPF_LOCAL_STORAGE_GET_F_CREATE))
		count_loss(&losses.no_storage, 1); /* no event of the child will be reported: one at least */
	return 0;
}

/* Whether the task's process is followed. */
static __always_inline bool is_followed(struct task_struct *task)
{
	return bpf_task_storage_get(&marks, task->group_leader, NULL, 0);
}

#endif
