/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What differs from kernel version to kernel version, and how it is recognized. Facts that need no code:
 *
 * 6.1	struct cgroup has ancestors[] (commit 7f203bc89eb6): the oldest version that netmon can run on.
 * 6.2	bpf_task_storage_get() no longer fails while storage is busy on this CPU (commit 4279adb094a1). On 6.1 it may
 *	return NULL: see process.h.
 * 6.3	kernel_cap_t is one 64-bit word instead of two 32-bit ones, the low one first (commit f122a08b197d). On
 *	x86_64 and arm64 these are the same bytes, so they are read without naming a field.
 */
#ifndef __COMPAT_H__
#define __COMPAT_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

/* Since 6.3: see above. */
#define CAPABILITIES(set) (*(const __u64 *)&(set))

/* kernfs_node.parent became RCU-protected and was renamed in 6.15 (commit 633488947ef6). */
struct kernfs_node___v6_15 {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

/* Returns the node above, NULL for a root. */
static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (bpf_core_field_exists(struct kernfs_node___v6_15, __parent))
		return BPF_CORE_READ((struct kernfs_node___v6_15 *)node, __parent);
	return BPF_CORE_READ(node, parent);
}

/* iov_iter.iov was renamed in 6.4 (commit de4f5fed3f23). */
struct iov_iter___v6_3 {
	const struct iovec *iov;
} __attribute__((preserve_access_index));

struct msghdr___v6_3 {
	struct iov_iter___v6_3 msg_iter;
} __attribute__((preserve_access_index));

/* Returns the buffer of several that a message is copied to next. */
static __always_inline const struct iovec *next_buffer(struct msghdr *message)
{
	if (bpf_core_field_exists(struct iov_iter___v6_3, iov))
		return BPF_CORE_READ((struct msghdr___v6_3 *)message, msg_iter.iov);
	return BPF_CORE_READ(message, msg_iter.__iov);
}

/* Whether an MPTCP connection counts its bytes: since 6.5 (commit 38967f424b5b). Before, only its subflows do. */
static __always_inline bool counts_bytes(struct mptcp_sock *mptcp)
{
	return bpf_core_field_exists(mptcp->bytes_sent);
}

/*
 * Reads a word of a program's context. In assembler, because clang would merge two alternative reads into one at a
 * variable offset, which the verifier refuses.
 */
#define CONTEXT_WORD(ctx, index)                                                                                       \
	({                                                                                                             \
		void *word;                                                                                            \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(word) : "r"(ctx), "i"((index) * 8));                      \
		word;                                                                                                  \
	})

/*
 * Returns the socket that inet_csk_accept() returned, NULL when it failed. The context holds the return value after the
 * arguments: four up to 6.9, two since 6.10 (commit 92ef0fd55ac8). User space finds out which.
 */
static __always_inline struct sock *accepted_socket(__u64 *ctx)
{
	if (load_config.accept_arguments == 2)
		return CONTEXT_WORD(ctx, 2);
	return CONTEXT_WORD(ctx, 4);
}

/* Returns what the function of a fexit program returned, however many arguments it has. */
static __always_inline int returned(__u64 *ctx)
{
	__u64 value = 0;

	bpf_get_func_ret(ctx, &value);
	return value;
}

#endif
