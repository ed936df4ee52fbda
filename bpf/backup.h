/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Programs that see the same events as others, where the kernel can preempt a task inside a program. It skips that
 * program for every other task that gets there on the same CPU meanwhile, since it takes the second run for recursion.
 * Whoever makes netmon describe processes without end, at a low priority, is inside of its programs most of the time.
 *
 * So connect() and close() have backup programs, at places where no task stays inside of them for long:
 *
 * - Of connect(): where a connecting socket is added to the kernel's table of connections, with its ports known and
 *   softirqs disabled, so that nothing preempts the task. The backup runs before the main program, and both do the
 *   same work: whichever runs first reports the opening and leaves a mark in struct connection (reported_by), which the
 *   other finds, removes, and does nothing more. Attempts that fail before that are seen by the main program alone.
 * - Of close(): where the kernel destroys the socket. It reports a close that was not reported, without a description
 *   of a process, which is what takes long.
 *
 * Those of connect() see MPTCP, too: by the subflow that opens the connection. Where the kernel has
 * security_sock_graft(), an accepted socket is reported there, with softirqs disabled, and needs no backup.
 *
 * Changes of a connection's state (outcome.h) need a backup on any kernel: an interrupt may change one while a task is
 * inside of the program. Where the kernel can preempt programs, that is a second program at the same tracepoint. Elsewhere
 * it is those at tcp_finish_connect() and tcp_done(), by which all connections of TCP are established and end that
 * interrupts handle, but for two that connect to each other at once: three runs a connection in place of ten. What they
 * do not see, two such and MPTCP, is reported late then, if the interrupt comes within the program's microsecond: by the
 * close, as a success that took until then.
 *
 * With PREEMPT_RT a task can be preempted although it has softirqs disabled. Up to 6.17 another task on that CPU waits
 * then before it disables them itself, so it is not skipped either. Since 6.18 (commit 3253cb49cbad) it goes on, and may
 * be. What may have been missed is counted on any kernel (kernel/missed.py).
 */
#ifndef __BACKUP_H__
#define __BACKUP_H__

#include "maps.h"

/* Whether openings that only the main program sees are reported: attempts that fail at once. */
static __always_inline bool wants_failures(void)
{
	return report_options.outcome || report_options.aggregate;
}

/* Whether the main program will see this opening, too. */
static __always_inline bool is_main_to_come(enum family family, enum program program)
{
	return program == PROGRAM_BACKUP && !(load_config.ipv6_is_module && family == FAMILY_IPV6);
}

/* Leaves a mark for the other program, when reporting an opening that has none of it. */
static __always_inline void leave_mark(struct connection *connection, enum program program)
{
	connection->reported_by = program;
	if (program == PROGRAM_MAIN && load_config.backups)
		__sync_fetch_and_add(&coverage.connects_by_main, 1);
	if (program == PROGRAM_BACKUP && wants_failures())
		__sync_fetch_and_add(&coverage.marks_left, 1);
}

/*
 * Removes the other program's mark. Returns true when there was one: the other program has reported this opening. If
 * it was left at an earlier connect, since the one that should have removed it was skipped, this opening is left to the
 * other program.
 */
static __always_inline bool take_mark(struct connection *connection, enum program program)
{
	if (!(program == PROGRAM_MAIN && connection->reported_by == PROGRAM_BACKUP) &&
	    !(program == PROGRAM_BACKUP && connection->reported_by == PROGRAM_MAIN))
		return false;
	connection->reported_by = 0;
	if (program == PROGRAM_MAIN && wants_failures())
		__sync_fetch_and_add(&coverage.marks_taken, 1);
	return true;
}

#endif
