/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A socket's ends: addresses in network order, ports in the host's; and where it is. */
#ifndef __SOCKET_H__
#define __SOCKET_H__

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] &&
	       address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

static __always_inline void copy_ipv4(__u8 *to, __be32 from)
{
	__builtin_memcpy(to, &from, sizeof(from));
}

static __always_inline void copy_ipv6(__u8 *to, const struct in6_addr *from)
{
	__be32 words[4];
	int i;

	for (i = 0; i < 4; i++)
		words[i] = from->in6_u.u6_addr32[i];
	__builtin_memcpy(to, words, sizeof(words));
}

/*
 * skc_num is 0 once a socket is unhashed, which a peer's reset does to an accepted socket before accept returns;
 * inet_sport stays.
 */
static __always_inline __u16 local_port(struct sock *sk)
{
	__u16 port = sk->__sk_common.skc_num;

	if (!port)
		port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	return port;
}

/* The socket's, not its process's: whose threads may be in several, and sockets stay in that which they were made in. */
static __always_inline __u32 netns_of(struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net.net))
		return 0;
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline bool is_ipv6(struct sock *sk)
{
	return bpf_core_field_exists(sk->__sk_common.skc_v6_daddr) && sk->__sk_common.skc_family == AF_INET6 &&
	       !is_mapped(&sk->__sk_common.skc_v6_daddr);
}

#endif
