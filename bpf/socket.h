/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is read from any socket: addresses in network order, ports in host order, the network namespace. */
#ifndef __SOCKET_H__
#define __SOCKET_H__

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Whether an IPv6 address is an IPv4 address in disguise (::ffff:a.b.c.d): the connection is one of IPv4 then. */
static __always_inline bool is_ipv4_mapped(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] &&
	       address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

/* These two write words, not bytes: the address to write to is a multiple of four. */
static __always_inline void copy_ipv4(__u8 *to, __be32 from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, sizeof(from)), &from, sizeof(from));
}

/* By words of the kernel's struct, each of which is relocated (CO-RE): a memcpy() would not be. */
static __always_inline void copy_ipv6(__u8 *to, const struct in6_addr *from)
{
	__be32 words[4];
	int i;

	for (i = 0; i < 4; i++)
		words[i] = from->in6_u.u6_addr32[i];
	__builtin_memcpy(__builtin_assume_aligned(to, sizeof(*words)), words, sizeof(words));
}

/*
 * Returns this host's port. port: skc_num, which is 0 once the socket is unhashed, which a peer's reset does to an
 * accepted socket even before accept() returns; inet_sport stays.
 */
static __always_inline __u16 port_or_kept(struct sock *sk, __u16 port)
{
	if (!port)
		port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	return port;
}

/* As port_or_kept(). */
static __always_inline __u16 local_port(struct sock *sk)
{
	return port_or_kept(sk, sk->__sk_common.skc_num);
}

/*
 * Returns the inode number of the socket's network namespace, 0 in a kernel without them (CONFIG_NET_NS). The process's
 * own would not do: a socket stays in the namespace it was created in, and threads of a process may be in several.
 */
static __always_inline __u32 netns_of(struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net.net))
		return 0;
	return sk->__sk_common.skc_net.net->ns.inum;
}

/* Whether the connection is one of IPv6. Never in a kernel without it (CONFIG_IPV6). */
static __always_inline bool is_ipv6(struct sock *sk)
{
	return bpf_core_field_exists(sk->__sk_common.skc_v6_daddr) && sk->__sk_common.skc_family == AF_INET6 &&
	       !is_ipv4_mapped(&sk->__sk_common.skc_v6_daddr);
}

/* Returns the family of a connection. */
static __always_inline enum family family_of(struct sock *sk)
{
	enum family family = FAMILY_IPV4;

	if (is_ipv6(sk))
		family = FAMILY_IPV6;
	return family;
}

#endif
