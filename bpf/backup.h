/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The protocol between the two programs of a hook. Both do the same work; whichever runs first reports the event and
 * leaves a mark in struct connection (reported_by), which the other finds, removes, and does nothing more.
 *
 * Why there are two: where the kernel can preempt a task inside a program, it skips that program for every other task
 * that reaches the hook on the same CPU meanwhile, since it takes the second run for recursion. The guard is per
 * program, so the backup runs for those tasks. User space loads the backups on kernels that can preempt.
 */
#ifndef __BACKUP_H__
#define __BACKUP_H__

#include "maps.h"

/* Returns the number of the scratch slot that a hook's program uses. */
static __always_inline __u32 scratch_slot(enum slot slot, enum program program)
{
	return program == PROGRAM_BACKUP ? slot + SLOT_BACKUPS : slot;
}

/*
 * Call when reporting an event that the hook's other program did not report. The backup runs after the main program, so
 * the main one was skipped: user space subtracts these from the skipped runs that it counts as missed.
 */
static __always_inline void count_backup_only(enum slot slot, enum program program)
{
	if (program == PROGRAM_BACKUP)
		__sync_fetch_and_add(&backup_only[slot], 1);
}

/*
 * Removes the other program's mark. Returns true when there was one: the other program has reported this opening.
 *
 * A mark that the main program finds was left by the backup at an earlier connect, for which the main program was
 * skipped. The main program leaves this opening to the backup then, which will count it although nothing was skipped:
 * so one is taken off the count here.
 */
static __always_inline bool take_mark(struct connection *connection, enum slot slot, enum program program)
{
	if (program == PROGRAM_ONLY || !connection->reported_by || connection->reported_by == program)
		return false;
	connection->reported_by = 0;
	if (program == PROGRAM_MAIN)
		__sync_fetch_and_sub(&backup_only[slot], 1);
	return true;
}

#endif
