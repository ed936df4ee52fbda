/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * SMC. Behind each socket of SMC is a TCP socket, which carries the handshake, and all data where the hosts have no
 * device for SMC. A thread of a workqueue of the kernel accepts it as soon as the peer has connected; the process that
 * listens gets it later, in its own accept(). So a connection that was accepted for SMC is kept, without a process, and
 * reported when a process takes it: as that one's. Until then it has neither an opening nor a close, as a connection of
 * TCP that waits to be accepted.
 *
 * SMC is a module: its functions cannot be hooked, and its types are not in the kernel's BTF. So its thread is
 * recognised by the name of the workqueue. Other threads of the kernel accept for the kernel's own servers (NFS, SMB,
 * iSCSI, NVMe), and are rightly reported.
 */
#ifndef __SMC_H__
#define __SMC_H__

#include "connection.h"
#include <bpf/bpf_core_read.h>

/* Whether a task accepts connections for listening sockets of SMC. */
static __always_inline bool is_accepting_for_smc(struct task_struct *task)
{
	const char workqueue[] = "smc_tcp_ls_wq";
	char name[sizeof(((struct worker *)0)->desc)] = {};
	struct worker *worker;
	__u32 i;

	if (!(task->flags & PF_WQ_WORKER))
		return false;
	worker = BPF_CORE_READ((struct kthread *)task->worker_private, data);
	bpf_core_read(name, sizeof(name), &worker->desc);
#pragma unroll
	for (i = 0; i < sizeof(workqueue); i++) {
		if (name[i] != workqueue[i])
			return false;
	}
	return true;
}

/* Returns the TCP socket behind a socket of SMC, if it is at this offset. Read it by BPF_CORE_READ only. */
static __always_inline struct sock *tcp_socket_at(struct sock *smc, __u32 offset)
{
	struct socket *behind = NULL;

	bpf_probe_read_kernel(&behind, sizeof(behind), (void *)smc + offset);
	return BPF_CORE_READ(behind, sk);
}

/*
 * Returns the TCP socket behind a socket of SMC, to be read by BPF_CORE_READ only, and the connection that was kept for
 * it; NULL when none was. The field that points to it (clcsock) follows what a socket of SMC begins with: a struct sock
 * (6.1), or a struct inet_sock (6.12, whose SMC sockets may be of AF_INET).
 */
static __always_inline struct sock *tcp_socket_behind(struct sock *smc, struct connection **connection)
{
	struct sock *sk = tcp_socket_at(smc, bpf_core_type_size(struct inet_sock));

	*connection = find_connection_of(BPF_CORE_READ(sk, __sk_common.skc_cookie.counter));
	if (*connection)
		return sk;
	sk = tcp_socket_at(smc, bpf_core_type_size(struct sock));
	*connection = find_connection_of(BPF_CORE_READ(sk, __sk_common.skc_cookie.counter));
	return sk;
}

#endif
