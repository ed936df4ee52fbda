/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * MPTCP. The socket that a program has sends no segments itself: the kernel creates TCP sockets, the subflows, which
 * carry its data. netmon reports the program's socket as one connection, and never the subflows.
 */
#ifndef __MPTCP_H__
#define __MPTCP_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

/* Whether this is a program's MPTCP socket. */
static __always_inline bool is_mptcp(struct sock *sk)
{
	return load_config.mptcp && sk->sk_protocol == IPPROTO_MPTCP;
}

/* Whether this is a socket of MPTCP or of TCP, subflows included. */
static __always_inline bool is_tcp_or_mptcp(struct sock *sk)
{
	return bpf_skc_to_tcp_sock(sk) || is_mptcp(sk);
}

static __always_inline bool is_subflow(struct sock *sk)
{
	struct tcp_sock *tcp = load_config.mptcp ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tcp && tcp->is_mptcp;
}

/* Whether this is a socket of MPTCP or of TCP, but no subflow: is_tcp_or_mptcp() and not is_subflow(), in one look. */
static __always_inline bool is_of_program(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp ? !(load_config.mptcp && tcp->is_mptcp) : is_mptcp(sk);
}

/*
 * Returns the subflow that opened an MPTCP connection, NULL when it was closed before the others. The verifier does not
 * know its type: read it by BPF_CORE_READ only.
 */
static __always_inline struct tcp_sock *first_subflow(struct sock *sk)
{
	return load_config.mptcp ? BPF_CORE_READ((struct mptcp_sock *)sk, first) : NULL;
}

/*
 * Returns the MPTCP socket of a subflow that is opening its connection: both have the same struct socket. NULL if there
 * is none. The subflow's own pointer to its connection would not do: it has no type, so no helper would take it.
 */
static __always_inline struct sock *mptcp_socket_of(struct sock *subflow)
{
	struct socket *socket = subflow->sk_socket;
	struct sock *sk = socket ? socket->sk : NULL;

	return sk && is_mptcp(sk) ? sk : NULL;
}

/*
 * Saves why a subflow failed. When the first subflow fails, so does the connection; but the connection's own socket
 * does not know the error yet when it changes its state.
 */
static __always_inline void save_subflow_error(struct sock *subflow)
{
	__u64 key = (__u64)subflow;
	__u32 error = subflow->sk_err;

	if (!error)
		return;
	has_subflow_errors = true;
	bpf_map_update_elem(&subflow_errors, &key, &error, 0);
}

/* Call when a subflow connects: the entry, if any, is that of an earlier socket at the same address. */
static __always_inline void delete_subflow_error(struct sock *subflow)
{
	__u64 key = (__u64)subflow;

	bpf_map_delete_elem(&subflow_errors, &key);
}

/* Returns why an MPTCP connection's first subflow failed, 0 if it did not, and deletes the entry. */
static __always_inline __u32 take_subflow_error(struct sock *sk)
{
	__u64 key = (__u64)first_subflow(sk);
	__u32 *found = bpf_map_lookup_elem(&subflow_errors, &key), error = found ? *found : 0;

	bpf_map_delete_elem(&subflow_errors, &key);
	return error;
}

#endif
