/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What differs from kernel to kernel. */
#ifndef __COMPAT_H__
#define __COMPAT_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

/* The parent became RCU-protected and was renamed in 6.15 (commit 633488947ef6). */
struct kernfs_node___v6_15 {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (bpf_core_field_exists(struct kernfs_node___v6_15, __parent))
		return BPF_CORE_READ((struct kernfs_node___v6_15 *)node, __parent);
	return BPF_CORE_READ(node, parent);
}

/* Whether an MPTCP connection counts its bytes: since 6.5 (commit 38967f424b5b). */
static __always_inline bool counts_bytes(struct mptcp_sock *mptcp)
{
	return bpf_core_field_exists(mptcp->bytes_sent);
}

/* In assembler, or clang would make one load of two with an address that depends, which the verifier refuses. */
#define WORD_OF(ctx, index)                                                                        \
	({                                                                                         \
		void *word;                                                                        \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(word) : "r"(ctx), "i"((index) * 8));  \
		word;                                                                              \
	})

/* What inet_csk_accept returned stands behind its arguments. The verifier passes over what the options rule out. */
static __always_inline struct sock *accepted_socket(__u64 *ctx)
{
	if (basics.accept_arguments == 2)
		return WORD_OF(ctx, 2);
	return WORD_OF(ctx, 4);
}

#endif
