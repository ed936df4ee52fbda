/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Programs that see the same events as others, where the kernel can preempt a task inside a program. It skips that
 * program for every other task that gets there on the same CPU meanwhile, since it takes the second run for recursion.
 * Whoever makes netmon describe processes without end, at a low priority, is inside of its programs most of the time.
 *
 * So connect() and close() have backup programs, at places where no task stays inside of them for long:
 *
 * - Of connect(): where a connecting socket is added to the kernel's table of established connections, with its ports
 *   known and softirqs disabled, so that nothing preempts the task. The backup runs before the main program, and both
 *   do the same work: whichever runs first reports the opening and leaves a mark in struct connection (reported_by),
 *   which the other finds, removes, and does nothing more.
 * - Of close(): where the kernel destroys the socket. It reports a close that was not reported, without a description
 *   of a process, which is what takes long.
 *
 * An accepted socket is reported by a program that runs with softirqs disabled, and needs no backup. With PREEMPT_RT a
 * task can be preempted in all of these places: what may have been missed there is counted (kernel/missed.py).
 */
#ifndef __BACKUP_H__
#define __BACKUP_H__

#include "maps.h"

/* Call when reporting an opening that has no mark of the other program. */
static __always_inline void count_uncovered(enum program program)
{
	if (program == PROGRAM_MAIN && load_config.backups)
		__sync_fetch_and_add(&coverage.connects_by_main, 1);
}

/*
 * Removes the other program's mark. Returns true when there was one: the other program has reported this opening. If
 * it was left at an earlier connect, since the one that should have removed it was skipped, this opening is left to the
 * other program.
 */
static __always_inline bool take_mark(struct connection *connection, enum program program)
{
	if (connection->reported_by + program != PROGRAM_MAIN + PROGRAM_BACKUP)
		return false;
	connection->reported_by = 0;
	return true;
}

#endif
