/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a connection is kept from its opening until its socket is closed: in the kernel's socket storage, which is
 * freed with the socket.
 *
 * Creating socket storage takes longer than everything else that is done for a connection. So the minimal object first
 * tries the connection table, an array. A connection's entry is at its socket's cookie modulo the table's size; the
 * kernel assigns cookies in ascending order, so neighbours do not collide. A connection whose entry is taken goes into
 * socket storage. An entry whose close was missed stays taken.
 *
 * With report options there is no table: other programs than those of opening and close look at connections then, and
 * could find an entry that was freed meanwhile.
 */
#ifndef __CONNECTION_H__
#define __CONNECTION_H__

#include "maps.h"

#ifdef MINIMAL

/* Returns the only entry that may hold the connection with this cookie. An entry without a cookie is free. */
static __always_inline struct connection *table_entry(__u64 cookie)
{
	__u32 index = cookie % CONNECTION_TABLE_SIZE;

	return bpf_map_lookup_elem(&connection_table, &index);
}

#endif

/* Returns the socket's connection, NULL when it has none. */
static __always_inline struct connection *find_connection(struct sock *sk)
{
#ifdef MINIMAL
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct connection *entry;

	if (!cookie) /* the kernel assigns it on first use: no connection of this socket was kept */
		return NULL;
	entry = table_entry(cookie);
	if (entry && *(volatile __u64 *)&entry->event.head.cookie == cookie)
		return entry;
#endif
	return sk->sk_bpf_storage ? bpf_sk_storage_get(&connections, sk, NULL, 0) : NULL;
}

/*
 * Makes room for a connection that is not kept yet. Returns NULL when memory is short. A table entry still holds the
 * fields of the connection that it held before.
 */
static __always_inline struct connection *keep_connection(struct sock *sk, __u64 cookie)
{
#ifdef MINIMAL
	struct connection *entry = table_entry(cookie);

	if (entry && !__sync_val_compare_and_swap(&entry->event.head.cookie, 0, cookie))
		return entry;
#endif
	return bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Frees the table entry. Socket storage is freed with the socket, whatever is written here. */
static __always_inline void free_entry(struct connection *connection)
{
#ifdef MINIMAL
	/* A full barrier: nothing of the entry is read or written after it. */
	__sync_lock_test_and_set(&connection->event.head.cookie, 0);
#endif
}

/* Call when a socket that has a connection opens another one that is not reported. */
static __always_inline void delete_connection(struct connection *connection, struct sock *sk)
{
	free_entry(connection);
	bpf_sk_storage_delete(&connections, sk);
}

#endif
