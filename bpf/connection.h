/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a connection that was reported is kept until its socket is closed. That is the kernel's storage of the socket; but
 * to make that takes longer than all else that is done for a connection. So the plain object has places for many, which
 * it takes first: at the socket's cookie modulo their number, since the kernel gives cookies out in rows. A place whose
 * close was missed stays taken, and another one that would have it goes into its socket's storage. Nobody but who opens
 * or closes the socket looks at a place: with options others may.
 */
#ifndef __CONNECTION_H__
#define __CONNECTION_H__

#include "maps.h"

#ifdef PLAIN

/* Free, when it has no cookie. */
static __always_inline struct connection *place_of(__u64 cookie)
{
	__u32 index = cookie % PLACES;

	return bpf_map_lookup_elem(&places, &index);
}

#endif

static __always_inline struct connection *find_connection(struct sock *sk)
{
#ifdef PLAIN
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct connection *place;

	if (!cookie) /* nobody has asked for it */
		return NULL;
	place = place_of(cookie);
	if (place && *(volatile __u64 *)&place->event.head.cookie == cookie)
		return place;
#endif
	return sk->sk_bpf_storage ? bpf_sk_storage_get(&connections, sk, NULL, 0) : NULL;
}

/* For a connection that is not kept yet; what else is in there may be a former one's. NULL when memory is short. */
static __always_inline struct connection *keep_connection(struct sock *sk, __u64 cookie)
{
#ifdef PLAIN
	struct connection *place = place_of(cookie);

	if (place && !__sync_val_compare_and_swap(&place->event.head.cookie, 0, cookie))
		return place;
#endif
	return bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/*
 * Its place is for another one from now on. What is in the socket's storage goes with the socket, its cookie or without.
 */
static __always_inline void leave_place(struct connection *connection)
{
#ifdef PLAIN
	/* A full barrier: nothing of the place is read or written after it. */
	__sync_lock_test_and_set(&connection->event.head.cookie, 0);
#endif
}

static __always_inline void forget_connection(struct connection *connection, struct sock *sk)
{
	leave_place(connection);
	bpf_sk_storage_delete(&connections, sk);
}

#endif
