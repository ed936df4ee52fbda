// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * netmon: each TCP connection's opening and close, with the process behind it.
 * Loads unchanged on Linux 6.2 (6.1 works) and newer, on x86_64 and arm64.
 *
 * This file holds the programs alone; each calls one function. How it all works:
 *
 * 1. The life of a connection (open.h, close.h)
 *
 * connect() returns, or accept() does. The filters are evaluated, the cheapest first: ports, network namespace,
 * addresses, and last the process. If they accept the connection, it is kept (struct connection) and its opening event
 * is sent. When its socket is closed, the kept event is sent again as the close. A connection that the filters reject
 * is not kept, and so has no close: no filter is evaluated twice for one connection.
 *
 * Behind a socket of SMC is one of TCP, which the kernel accepts: it is reported when a process takes it (smc.h).
 *
 * A socket may connect again without having been closed. The close of its previous connection is reported then.
 *
 * With the option outcome, a connect attempt is kept as pending, and reported when the socket's TCP state shows that it
 * has succeeded or failed (outcome.h). With the option existing, a walk through all open files finds the connections
 * that were open before (existing.h). With the option aggregate, nothing is sent: openings and closes are added up in
 * flows, which user space collects once a period (flow.h). With the option progress, and for each period of aggregates,
 * a walk through the connections that are kept finds what they have carried so far (progress.h).
 *
 * 2. Where a connection is kept (connection.h)
 *
 * In an array, the connection table, at the index that the socket's cookie gives; where that entry is taken, in a hash
 * map, the overflow. The close frees the connection; where programs follow changes of state, too, the end of its socket
 * does.
 *
 * 3. The process (process.h, process_record.h, executable.h, cgroup.h, exec.h)
 *
 * An event has only a process's id. The process is described, in a record of its own, once per exec and credentials:
 * before the first event that uses the id. What was described is remembered in task storage, which the kernel frees
 * with the process, and compared with the process at each event: a difference leads to a new description under a new
 * id, which refers to the record that had the image, unless it has exec'd since. So there are no programs for fork,
 * exec, setuid or exit, and processes without connections cost nothing. Only where the process filter follows a process
 * and its descendants, fork has a program, which marks them (follow.h); with the option exec, fork and exec have.
 *
 * User space evicts descriptions that it has not needed for long, by raising control.oldest_process_id: a process with
 * an older id is described again when it is next seen.
 *
 * 4. LOST
 *
 * When the ring buffer is full, an event is lost, and counted in losses. When a process's record is lost, the process
 * is LOST: its events cannot be attributed, so they are counted as lost, too, instead of being sent. Nothing is
 * remembered of the process then, so its next event tries again.
 *
 * The same holds for a record that is refused because its payer has used its share (fairness.h): the process is
 * OVER_BUDGET then.
 *
 * LOST is also the id in a struct process while a thread writes to it. Readers take it as unknown: see process.h.
 *
 * 5. Generations of filters (filter.h, cgroup_filter.h)
 *
 * Settings and filter maps exist twice. A reload fills the set that is not in use and then increments
 * control.generation, whose parity selects the set: the change is atomic. A program reads the generation once and uses
 * it throughout. Connections that are open keep the verdict of their opening.
 *
 * The process filter is evaluated when a process is described: first its predicates, a bit for each list that the
 * process may be in, then the verdict, a function of the bits and the settings. Both are remembered with the process
 * and the generation, so an event of a known process costs no lookup, and a reload has each process evaluated again.
 *
 * 6. Backup programs (backup.h)
 *
 * Where the kernel can preempt a task inside a program, it skips the program for other tasks that come by on that CPU.
 * So connect and close have backup programs at other functions of the kernel, where no task stays in them for long. The
 * backup of connect does the same work as the main program, and a mark in struct connection lets one of the two report.
 * The backup of close reports what the main program did not. Accept is reported where the kernel preempts nothing.
 *
 * 7. Scratch slots (maps.h)
 *
 * The description of a process does not fit on the stack. Each program has a slot of its own on each CPU, since it may
 * be preempted by other programs there, but not by itself.
 *
 * 8. Global functions
 *
 * The verifier checks a static function again for each state that a caller may be in, a global function only once, for
 * any arguments. So what is long is in global functions: they keep the programs within the verifier's limits, and load
 * times short. Their arguments can only be scalars, or pointers to plain memory, whose NULL they must handle: no
 * sockets and no tasks. So they find the record by its slot's number, and the task by themselves.
 *
 * 9. Names (names.h)
 *
 * With the option names, the answers of name servers are sent as processes receive them, so before the connections that
 * they lead to. What they say is read in user space. With the option sni (sni.h), the hello that a TLS client begins a
 * connection with is sent, too.
 *
 * 10. A sign of life (pulse.h)
 *
 * Programs can be attached and yet not run: kernel.ftrace_enabled=0 does that. So user space makes the kernel call a
 * function that has a program of netmon's, each second, and reports it when that program does not run.
 *
 * 11. Four objects
 *
 * This file is compiled four times. The minimal object (-DMINIMAL) has no report options, so clang leaves out most of
 * the code; user space loads it if no option is set, since it loads sooner and does less per event. The full object has
 * all options: those not set cost nothing per event either, once the verifier has removed their branches. Of both there
 * is one without filters (-DUNFILTERED), for a run without any: it loads sooner, and is the same per event.
 */
#include "close.h"
#include "compat.h"
#include "exec.h"
#include "existing.h"
#include "follow.h"
#include "maps.h"
#ifndef MINIMAL
#include "names.h"
#endif
#include "open.h"
#include "outcome.h"
#ifndef MINIMAL
#include "progress.h"
#endif
#include "pulse.h"
#ifndef MINIMAL
#include "sni.h"
#endif
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_exit, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v4_connect(sk, address, length, ret);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_exit, struct sock *sk, struct sockaddr *address, int length, int ret)
{
	return report_v6_connect(sk, address, length, ret);
}

/* The next three are the backup of connect(), of MPTCP, too: loaded where the kernel can preempt programs, or has IPv6 as a module. */
SEC("fentry/inet_ehash_nolisten")
int BPF_PROG(inet_ehash_nolisten_entry, struct sock *sk)
{
	return report_connecting(sk, SLOT_EHASH);
}

SEC("fexit/__inet_check_established")
int inet_check_established_exit(__u64 *ctx)
{
	return report_checked((struct sock *)ctx[1], returned(ctx), SLOT_V4_CHECK);
}

SEC("fexit/__inet6_check_established")
int inet6_check_established_exit(__u64 *ctx)
{
	return report_checked((struct sock *)ctx[1], returned(ctx), SLOT_V6_CHECK);
}

SEC("fentry/security_sock_graft")
int BPF_PROG(security_sock_graft_entry, struct sock *sk)
{
	return report_grafted(sk);
}

/* This and mptcp_stream_accept_exit are loaded where the kernel has no security_sock_graft(). */
SEC("fexit/inet_csk_accept")
int inet_csk_accept_exit(__u64 *ctx)
{
	return report_tcp_accept(accepted_socket(ctx));
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_entry, struct sock *sk)
{
	return report_unlocked_close(sk, SLOT_TCP_CLOSE, &coverage.tcp_close_is_locked, &coverage.tcp_unlocked_closes);
}

/* Loaded where the kernel can preempt programs, and where programs follow changes of state. */
SEC("fentry/inet_csk_destroy_sock")
int BPF_PROG(inet_csk_destroy_sock_entry, struct sock *sk)
{
	return report_destroyed(sk);
}

/* Loaded where the kernel has MPTCP. */
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
	return report_unlocked_close(sk, SLOT_MPTCP_CLOSE, &coverage.mptcp_close_is_locked,
				     &coverage.mptcp_unlocked_closes);
}

/* Loaded with inet_csk_destroy_sock_entry. */
SEC("fentry/mptcp_destroy")
int BPF_PROG(mptcp_destroy_entry, struct sock *sk)
{
	return report_destroyed(sk);
}

/* Loaded where the kernel has the function. */
SEC("fentry/bpf_fentry_test1")
int BPF_PROG(bpf_fentry_test1_entry, int number)
{
	return count_pulse();
}

/* Loaded where the process filter has the list descendants, and for the option exec. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork_enter, struct task_struct *parent, struct task_struct *child)
{
#ifndef MINIMAL
	if (report_options.exec)
		inherit_exec(parent, child);
#endif
	return follow_fork(parent, child);
}

#ifndef MINIMAL

/* These two are loaded where bytes are counted: for the option statistics, and for aggregates. */
SEC("fentry/__tcp_close")
int BPF_PROG(tcp_close_locked_entry, struct sock *sk)
{
	return report_locked_close(sk, SLOT_TCP_CLOSE_LOCKED, &coverage.tcp_close_is_locked);
}

/* Loaded where the kernel has MPTCP, too. */
SEC("fentry/__mptcp_close")
int BPF_PROG(mptcp_close_locked_entry, struct sock *sk)
{
	return report_locked_close(sk, SLOT_MPTCP_CLOSE_LOCKED, &coverage.mptcp_close_is_locked);
}

/*
 * The next four are loaded for the options statistics, outcome and existing. An interrupt can change a socket's state,
 * and interrupt the first program on any kernel: either the second one or the other two are its backup, see backup.h.
 * All do the same work; twice does no harm.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_enter, struct sock *sk, int old_state, int state)
{
	return follow_state(sk, old_state, state);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_backup, struct sock *sk, int old_state, int state)
{
	return follow_state(sk, old_state, state);
}

SEC("fexit/tcp_finish_connect")
int BPF_PROG(tcp_finish_connect_exit, struct sock *sk)
{
	return follow_success(sk);
}

SEC("fentry/tcp_done")
int BPF_PROG(tcp_done_entry, struct sock *sk)
{
	return follow_end(sk);
}

/* Loaded for the option exec. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec_enter, struct task_struct *task)
{
	return note_exec(task);
}

/* These two are loaded for the option names. */
SEC("fexit/udp_recvmsg")
int udp_recvmsg_exit(__u64 *ctx)
{
	return note_received((struct sock *)ctx[0], (struct msghdr *)ctx[1], ctx[2], ctx[3], returned(ctx),
			     SLOT_UDP_RECEIVE);
}

SEC("fexit/udpv6_recvmsg")
int udpv6_recvmsg_exit(__u64 *ctx)
{
	return note_received((struct sock *)ctx[0], (struct msghdr *)ctx[1], ctx[2], ctx[3], returned(ctx),
			     SLOT_UDP6_RECEIVE);
}

/* These two are loaded for the option sni. */
SEC("fentry/tcp_sendmsg")
int BPF_PROG(tcp_sendmsg_entry, struct sock *sk, struct msghdr *message, __u64 size)
{
	return note_tcp_sending(sk, message, size);
}

/* Loaded where the kernel has MPTCP. */
SEC("fentry/mptcp_sendmsg")
int BPF_PROG(mptcp_sendmsg_entry, struct sock *sk, struct msghdr *message, __u64 size)
{
	return note_sending(sk, message, size, false, SLOT_MPTCP_SEND);
}

/* Run by user space's read() of the iterator. */
SEC("iter/task_file")
int task_file_walk(struct bpf_iter__task_file *context)
{
	return visit_file(context->task, context->file);
}

/* Run by user space's read() of an iterator: of the connection table, and of the overflow. */
SEC("iter/bpf_map_elem")
int connection_walk(struct bpf_iter__bpf_map_elem *context)
{
	return visit_connection(context->value);
}

#endif
