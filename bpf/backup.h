/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A hook has two programs. */
#ifndef __BACKUP_H__
#define __BACKUP_H__

#include "maps.h"

static __always_inline __u32 slot_of(enum slot slot, enum program program)
{
	return program == PROGRAM_SPARE ? slot + SLOT_SPARES : slot;
}

/* To be called by whoever tells an event that the other program of its hook has not told. */
static __always_inline void note_covered(enum slot slot, enum program program)
{
	if (program == PROGRAM_SPARE)
		__sync_fetch_and_add(&covered[slot], 1);
}

/*
 * Whether the other program of the hook has told this opening: its mark is taken away. What the main program finds is
 * left of an earlier connect, which it was skipped for. Now it was not: the spare will tell this one, too, and count it.
 */
static __always_inline bool take_mark(struct connection *connection, enum slot slot, enum program program)
{
	if (program == PROGRAM_ONLY || !connection->reported_by || connection->reported_by == program)
		return false;
	connection->reported_by = 0;
	if (program == PROGRAM_MAIN)
		__sync_fetch_and_sub(&covered[slot], 1);
	return true;
}

#endif
