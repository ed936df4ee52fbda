/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A socket's addresses, in network order. */
#ifndef __ADDRESS_H__
#define __ADDRESS_H__

#include "vmlinux.h"
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

#endif
