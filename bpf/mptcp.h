/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * MPTCP: no segment reaches the socket that a program has; TCP sockets of the kernel's carry what goes through it, a path
 * each. It is one connection, the program's: of its paths nothing is told.
 */
#ifndef __MPTCP_H__
#define __MPTCP_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

static __always_inline bool is_mptcp(struct sock *sk)
{
	return basics.mptcp && sk->sk_protocol == IPPROTO_MPTCP;
}

/* Of TCP, a path or not, or of MPTCP. */
static __always_inline bool is_either(struct sock *sk)
{
	return bpf_skc_to_tcp_sock(sk) || is_mptcp(sk);
}

static __always_inline bool is_path(struct sock *sk)
{
	struct tcp_sock *tcp = basics.mptcp ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tcp && tcp->is_mptcp;
}

/* Only to be read by BPF_CORE_READ. NULL when it was closed before others. */
static __always_inline struct tcp_sock *first_path(struct sock *sk)
{
	return basics.mptcp ? BPF_CORE_READ((struct mptcp_sock *)sk, first) : NULL;
}

/* The error of a first path that fails is kept here until the connection, which then fails, is told why. */
static __always_inline void note_path_error(struct sock *path)
{
	__u64 key = (__u64)path;
	__u32 error = path->sk_err;

	if (error)
		bpf_map_update_elem(&path_errors, &key, &error, 0);
}

/* What had this address before it. */
static __always_inline void forget_path_error(struct sock *path)
{
	__u64 key = (__u64)path;

	bpf_map_delete_elem(&path_errors, &key);
}

static __always_inline __u32 take_path_error(struct sock *sk)
{
	__u64 key = (__u64)first_path(sk);
	__u32 *found = bpf_map_lookup_elem(&path_errors, &key), error = found ? *found : 0;

	bpf_map_delete_elem(&path_errors, &key);
	return error;
}

#endif
