// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * netmon: each TCP connection's opening and close, with the process behind it.
 * Loads unchanged on Linux 6.2 (6.1 works) and newer, on x86_64 and arm64.
 */
#include "close.h"
#include "compat.h"
#include "existing.h"
#include "maps.h"
#include "open.h"
#include "outcome.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * Where a task can be preempted inside a program, the kernel skips that program for whoever else comes along on that
 * CPU meanwhile (it takes it for recursion). So each hook has a spare program, which user space loads on such kernels:
 * whichever of the two runs first reports and leaves a mark, which the other finds and takes away.
 */
SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_exit, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v4_connect(sk, address, length, ret, PROGRAM_MAIN);
}

SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_spare, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v4_connect(sk, address, length, ret, PROGRAM_SPARE);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_exit, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v6_connect(sk, address, length, ret, PROGRAM_MAIN);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_spare, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v6_connect(sk, address, length, ret, PROGRAM_SPARE);
}

SEC("fexit/inet_csk_accept")
int inet_csk_accept_exit(__u64 *ctx)
{
	return report_tcp_accept(accepted_socket(ctx), PROGRAM_MAIN);
}

SEC("fexit/inet_csk_accept")
int inet_csk_accept_spare(__u64 *ctx)
{
	return report_tcp_accept(accepted_socket(ctx), PROGRAM_SPARE);
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_entry, struct sock *sk)
{
	return report_close(sk, SLOT_TCP_CLOSE, PROGRAM_MAIN);
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_spare, struct sock *sk)
{
	return report_close(sk, SLOT_TCP_CLOSE, PROGRAM_SPARE);
}

/* Of MPTCP: loaded where the kernel has it. */
SEC("fexit/mptcp_connect")
int BPF_PROG(mptcp_connect_exit, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_mptcp_connect(sk, address, length, ret);
}

SEC("fexit/mptcp_stream_accept")
int BPF_PROG(mptcp_stream_accept_exit, struct socket *listening, struct socket *accepted)
{
	return report_mptcp_accept(accepted);
}

SEC("fentry/mptcp_close")
int BPF_PROG(mptcp_close_entry, struct sock *sk)
{
	return report_close(sk, SLOT_MPTCP_CLOSE, PROGRAM_ONLY);
}

#ifndef PLAIN

/*
 * Loaded for all that is told on request. A change of state may come by an interrupt of another's program: the spare is
 * always loaded.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_enter, struct sock *sk, int old_state, int state)
{
	return note_state(sk, old_state, state);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_spare, struct sock *sk, int old_state, int state)
{
	return note_state(sk, old_state, state);
}

SEC("fentry/security_sock_graft")
int BPF_PROG(security_sock_graft_entry, struct sock *sk)
{
	return report_graft(sk, PROGRAM_MAIN);
}

SEC("fentry/security_sock_graft")
int BPF_PROG(security_sock_graft_spare, struct sock *sk)
{
	return report_graft(sk, PROGRAM_SPARE);
}

SEC("iter/task_file")
int task_file_walk(struct bpf_iter__task_file *context)
{
	return visit_file(context->task, context->file);
}

#endif
