/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Fairness: who fills the ring buffer loses events, and others do not.
 *
 * While the ring buffer is less than a quarter full, nothing is counted, and not every event looks: see needs_no_look().
 * Above that, each record is charged to a payer, and a payer is refused while it uses more than is free; for closes,
 * twice as much. So one payer leaves a quarter of the ring buffer to the others, and even many of them never take all
 * that is free. Closes of reported openings come through where openings are refused already.
 *
 * How much a payer uses is estimated: what it has written, less the part of it that the reader has read since. The
 * reader takes the same part of everybody's records. An event of a process with long texts is charged a part of those,
 * too, since the reader writes them again with each event.
 *
 * The payer is a cgroup, or the ancestor of it at PAYER_LEVEL: users and containers to whom a cgroup was delegated make
 * further ones only below that. User ids do not matter, since who is root in a container has as many as it likes. Only
 * in the root cgroup, where all processes of a host without cgroups v2 are, the payer is a user.
 *
 * A connection's events are charged to who opened it, whoever closes it, and whatever task an interrupt has hit.
 */
#ifndef __FAIRNESS_H__
#define __FAIRNESS_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	ROOT_CGROUP_ID = 1,
	LOOK_EVERY = 8, /* events, on average: see needs_no_look() */
};

/* Whether the ring buffer was more than a quarter full when a program looked last. */
bool was_filling SEC(".data.filling") = false;

static __always_inline __u64 payer_of_user(__u32 uid)
{
	return 1ULL << PAYER_USER_BIT | uid;
}

static __always_inline __u64 payer_of_current(void)
{
	__u64 id = bpf_get_current_ancestor_cgroup_id(PAYER_LEVEL);

	if (!id) /* it is not as deep as that */
		id = bpf_get_current_cgroup_id();
	return id > ROOT_CGROUP_ID ? id : payer_of_user(bpf_get_current_uid_gid());
}

/* Returns the cgroup above the task's own at a level, or its own if that is not as deep. */
static __always_inline struct cgroup *cgroup_at(struct task_struct *task, int level)
{
	struct cgroup **ancestors, *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);

	if (BPF_CORE_READ(cgroup, level) <= level)
		return cgroup;
	ancestors = (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors);
	bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &ancestors[level]);
	return cgroup;
}

/* As payer_of_current(), for another task. */
static __always_inline __u64 payer_of(struct task_struct *task)
{
	__u64 id = BPF_CORE_READ(cgroup_at(task, PAYER_LEVEL), kn, id);

	return id > ROOT_CGROUP_ID ? id : payer_of_user(BPF_CORE_READ(task, cred, uid.val));
}

/* Writes the names of the payer's cgroup and of those above it, for user space to say who it is. */
static __always_inline void name_payer(struct payer *payer)
{
	struct task_struct *task = bpf_get_current_task_btf();
	int level, depth = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);

	for (level = 1; level <= PAYER_LEVEL; level++) {
		__u8 *name = &payer->names[(level - 1) * NAME_SIZE];

		name[0] = 0;
		if (level <= depth)
			bpf_probe_read_kernel_str(name, NAME_SIZE, BPF_CORE_READ(cgroup_at(task, level), kn, name));
	}
}

/*
 * Takes off what the reader has read of the payer's bytes since the last time. Of several CPUs that do so at once, the
 * one that moves the position takes them off. Another one may move it on before they are taken off, and take off a part
 * of the same bytes: then the payer uses nothing, and not less than that.
 */
static __always_inline void note_read(struct payer *payer, __u64 waiting)
{
	__u64 last = *(volatile __u64 *)&payer->position, used = *(volatile __u64 *)&payer->used;
	__u64 position = bpf_ringbuf_query(&events, BPF_RB_CONS_POS), read = position - last, taken;

	if (read >= waiting)
		taken = used;
	else
		taken = used * read / waiting;
	if (!taken && used)
		return; /* less than a byte: the next time it is more */
	if (__sync_val_compare_and_swap(&payer->position, last, position) != last)
		return;
	used = __sync_fetch_and_sub(&payer->used, taken);
	if (used < taken)
		__sync_fetch_and_add(&payer->used, taken - used);
}

/*
 * Charges bytes to a payer; returns 0 when they are refused. An entry is another payer's once its own uses nothing;
 * until then both are charged together. Written without a lock: a race lets some more bytes pass, or less. Global: see
 * the overview in netmon.bpf.c.
 */
__noinline int charge(__u64 id, __u64 size, bool closing)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	__u32 index = id % PAYER_TABLE_SIZE;
	struct payer *payer = bpf_map_lookup_elem(&payers, &index);

	if (!payer || !waiting || waiting >= load_config.ring_size)
		return 1; /* there is room by now, or none for anybody */
	note_read(payer, waiting);
	if (payer->id != id && !payer->used) {
		payer->refused = 0;
		payer->id = id;
	}
	if (payer->used < (load_config.ring_size - waiting) << closing) {
		__sync_fetch_and_add(&payer->used, size);
		return 1;
	}
	if (payer->id == id) {
		if (!payer->refused && id == payer_of_current())
			name_payer(payer);
		__sync_fetch_and_add(&payer->refused, 1);
	}
	return 0;
}

/* How many bytes an event is charged for the texts of its process, which the low bits of the id tell. */
static __always_inline __u64 price_of_texts(__u64 process_id)
{
	return (process_id & ((1 << TEXTS_BITS) - 1)) * (TEXTS_UNIT / 16);
}

/*
 * Whether the ring buffer is more than a quarter full. To ask the kernel takes longer than the rest of what an event pays
 * for fairness. Global: see the overview in netmon.bpf.c.
 */
__noinline int is_filling(void)
{
	bool filling = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= load_config.ring_size / 4;

	if (filling != was_filling) /* without a need, CPUs do not take the variable from each other */
		was_filling = filling;
	return filling;
}

/*
 * Whether a record may be written without a look at the ring buffer. While it was less than a quarter full at the last
 * look, only some events look: those that are drawn. draw: a number that nobody can choose; 0 looks in any case.
 */
static __always_inline bool needs_no_look(__u64 draw)
{
	return draw % LOOK_EVERY && !*(volatile bool *)&was_filling;
}

/* Whether the payer may write a record of that size now. closing: the record is a close. */
static __always_inline bool may_write(__u64 payer, __u64 size, bool closing)
{
	return !is_filling() || charge(payer, size, closing);
}

#endif
