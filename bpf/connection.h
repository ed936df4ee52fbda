/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a connection is kept from its opening until its socket is closed: in memory of netmon's own. The kernel's
 * socket storage would be charged to the socket, so its owner could use up the allowance and not be reported.
 *
 * First in the connection table, an array. A connection's entry follows from its socket's cookie. The kernel assigns
 * cookies in ascending order, a batch for each CPU: neighbours do not collide, and batches are spread over the table. A
 * connection whose entry is taken goes into the overflow, a hash map, which takes longer.
 *
 * A connection is freed by its close. But programs that follow changes of state may look at it at the same time, on
 * another CPU, and would write to an entry that is another connection's by then. They hold the socket's lock. So where
 * they are loaded, the close leaves the connection, and it is freed under that lock: when the kernel destroys the socket
 * (report_destroyed() in outcome.h).
 *
 * The walk through all open files holds no lock. With the option existing, all connections are kept in the overflow until
 * that walk has ended: to insert there is atomic, so either the walk or an opening keeps a connection, complete.
 */
#ifndef __CONNECTION_H__
#define __CONNECTION_H__

#include "maps.h"

/* Whether programs follow changes of the state of connections. */
static __always_inline bool is_state_followed(void)
{
	return report_options.statistics || report_options.outcome || report_options.existing;
}

/* Whether a walk reports what connections have carried while they are open: see progress.h. */
static __always_inline bool is_progress_followed(void)
{
	return report_options.progress || report_options.aggregate;
}

#ifdef MINIMAL
static __always_inline void hide_from_walk(struct connection *connection)
{
}

static __always_inline void show_to_walk(struct connection *connection, struct sock *sk)
{
}
#else
/* Call before the fields of a connection are filled in: the walk may look at it at the same time. */
static __always_inline void hide_from_walk(struct connection *connection)
{
	if (is_progress_followed())
		__sync_lock_test_and_set(&connection->socket, 0);
}

/* Call when the fields are filled in. */
static __always_inline void show_to_walk(struct connection *connection, struct sock *sk)
{
	if (!is_progress_followed())
		return;
	connection->counted_sent = 0;
	connection->counted_received = 0;
	connection->counted_ns = 0;
	__sync_lock_test_and_set(&connection->socket, (__u64)sk);
}
#endif

/* Whether connections are kept in the table, too. Once true, it stays so. */
static __always_inline bool is_table_used(void)
{
	return !report_options.existing || *(volatile __u64 *)&control.has_walked;
}

/* Returns the only entry of the table that may hold the connection with this cookie. Without a cookie it is free. */
static __always_inline struct connection *table_entry(__u64 cookie)
{
	__u32 index = (cookie % COOKIE_BATCH + cookie / COOKIE_BATCH * BATCH_DISTANCE) % CONNECTION_TABLE_SIZE;

	return bpf_map_lookup_elem(&connection_table, &index);
}

/* Returns the connection of the socket with that cookie, NULL when it has none. */
static __always_inline struct connection *find_connection_of(__u64 cookie)
{
	struct connection *entry;

	if (!cookie) /* the kernel assigns it on first use: no connection of this socket was kept */
		return NULL;
	if (is_table_used()) {
		entry = table_entry(cookie);
		if (entry && *(volatile __u64 *)&entry->event.head.cookie == cookie)
			return entry;
	}
	return overflowed ? bpf_map_lookup_elem(&connection_overflow, &cookie) : NULL;
}

/* Returns the socket's connection, NULL when it has none. */
static __always_inline struct connection *find_connection(struct sock *sk)
{
	return find_connection_of(sk->__sk_common.skc_cookie.counter);
}

/*
 * Keeps a connection in the overflow, unless it is there. Returns the one that is there then, NULL when there is no room
 * for it.
 */
static __always_inline struct connection *keep_in_overflow(__u64 cookie, const struct connection *connection)
{
	if (!bpf_map_update_elem(&connection_overflow, &cookie, connection, BPF_NOEXIST))
		__sync_fetch_and_add(&overflowed, 1);
	return bpf_map_lookup_elem(&connection_overflow, &cookie);
}

/*
 * Makes room for a connection that is not kept yet. Returns NULL when there is none. A table entry still holds the
 * fields of the connection that it held before.
 */
static __always_inline struct connection *keep_connection(__u64 cookie)
{
	struct connection *entry;

	if (is_table_used()) {
		entry = table_entry(cookie);
		if (entry && !__sync_val_compare_and_swap(&entry->event.head.cookie, 0, cookie))
			return entry;
	}
	return keep_in_overflow(cookie, &overflowed_connection);
}

/* Frees a connection. The caller is the only program that may look at it: see the top of this file. */
static __always_inline void free_connection(struct connection *connection)
{
	__u64 cookie = connection->event.head.cookie;

	if (connection->is_overflowed) {
		/* Up to 6.12 it may fail with EBUSY in a softirq that interrupts another change of the map: it stays then. */
		if (!bpf_map_delete_elem(&connection_overflow, &cookie))
			__sync_fetch_and_sub(&overflowed, 1);
	} else {
		/* A full barrier: nothing of the entry is read or written after it. */
		__sync_lock_test_and_set(&connection->event.head.cookie, 0);
	}
}

/* Call when a socket that has a connection opens another one that is not reported. The walk may be looking at it. */
static __always_inline void drop_connection(struct connection *connection)
{
	if (report_options.existing)
		connection->event.head.type = RECORD_CLOSE;
	else
		free_connection(connection);
}

#endif
