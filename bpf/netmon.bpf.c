// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * netmon: each TCP connection's opening and close, with the process behind it.
 * Loads unchanged on Linux 6.2 (6.1 works) and newer, on x86_64 and arm64.
 */
#include "connection.h"
#include "event.h"
#include "existing.h"
#include "flow.h"
#include "mptcp.h"
#include "outcome.h"
#include "statistics.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline __u32 slot_of(enum slot slot, enum program program)
{
	return program == PROGRAM_SPARE ? slot + SLOT_SPARES : slot;
}

/* To be called by whoever tells an event that the other program of its hook has not told. */
static __always_inline void note_covered(enum slot slot, enum program program)
{
	if (program == PROGRAM_SPARE)
		__sync_fetch_and_add(&covered[slot], 1);
}

/*
 * Whether the other program of the hook has told this opening: its mark is taken away. What the main program finds is
 * left of an earlier connect, which it was skipped for. Now it was not: the spare will tell this one, too, and count it.
 */
static __always_inline bool take_mark(struct connection *connection, enum slot slot, enum program program)
{
	if (program == PROGRAM_ONLY || !connection->reported_by || connection->reported_by == program)
		return false;
	connection->reported_by = 0;
	if (program == PROGRAM_MAIN)
		__sync_fetch_and_sub(&covered[slot], 1);
	return true;
}

/*
 * A socket that is connected anew was disconnected (AF_UNSPEC), or refused: that closed the connection which it had, of
 * which only what was kept is known. process_id: of who connects it; REJECTED when that is not reported: then the opener
 * stands for it. Global, like what describes a process (process.h): so it cannot be given the socket.
 */
__noinline int end_former(struct connection *connection, __u64 process_id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	union event *event;
	__u32 tid = task->pid;

	if (!connection)
		return 0;
	event = &connection->event;
	if (!event->head.process_id || event->head.type == RECORD_CLOSE || event->head.type == RECORD_FAIL ||
	    connection->phase & PHASE_UNTOLD)
		return 0;
	if (options.opener)
		connection->passed_on = process_id != REJECTED && start_of(task) != connection->opener_start_ns;
	if (process_id == REJECTED) {
		process_id = event->head.process_id;
		tid = event->head.tid;
	}
	event->head.type = RECORD_CLOSE;
	if (process_id == LOST)
		__sync_fetch_and_add(&losses.ring_full, 1);
	else if (options.aggregate)
		add_former(connection, process_id);
	else
		send_close(connection, NULL, process_id, tid);
	return 0;
}

static __always_inline int report_open(struct sock *sk, enum direction direction, enum record_type type,
				       enum family family, enum slot slot, enum program program)
{
	struct connection *connection = find_connection(sk);
	__u64 process_id, cookie, generation = control.generation;
	struct task_struct *task;
	union event *event;

	if (connection && take_mark(connection, slot, program))
		return 0;
	process_id = REJECTED;
	if (passes_connection_filters(set_of(generation), direction, family, sk))
		process_id = identify_current(slot_of(slot, program), generation, JUDGED, 0, 0);
	if (connection)
		end_former(connection, process_id);
	if (process_id == REJECTED) {
		if (connection)
			forget_connection(connection, sk);
		return 0;
	}
	cookie = bpf_get_socket_cookie(sk);
	if (!connection)
		connection = keep_connection(sk, cookie);
	if (!connection) {
		/* Its opening, or the spare would repeat it, and its close. The spare tries once more, as the last. */
		if (program != PROGRAM_MAIN || !basics.spares)
			__sync_fetch_and_add(&losses.no_storage, 2);
		return 0;
	}
	note_covered(slot, program);
	task = bpf_get_current_task_btf();
	event = &connection->event;
	event->head.type = type;
	event->head.tid = task->pid;
	event->head.cookie = cookie;
	read_ends(event, sk, family);
	connection->opener_exec_id = task->self_exec_id;
	if (options.opener) {
		connection->opener_start_ns = start_of(task);
		connection->passed_on = false;
	}
	connection->reported_by = program;
	connection->direction = direction;
	if (options.statistics)
		connection->ended_by = ending_so_far(sk);
	if (options.outcome && direction == DIRECTION_EGRESS) {
		begin_request(connection, sk, process_id);
		/* A socket that is being restored (TCP_REPAIR) shakes no hands. */
		if (sk->__sk_common.skc_state == TCP_ESTABLISHED)
			report_opened(connection, sk);
		return 0;
	}
	if (options.existing)
		connection->phase = 0; /* found before this, as being asked for */
	/* An opening that is lost is counted; the close is reported all the same. */
	stamp(event, process_id);
	if (process_id == LOST)
		__sync_fetch_and_add(&losses.ring_full, 1);
	else if (options.aggregate)
		add_opening(connection, process_id);
	else
		send_opening(event, sk, family);
	return 0;
}

/* The socket may have no peer: ends has what was asked for. */
static __always_inline int report_failure_at_once(struct sock *sk, const union event *ends, int error, enum slot slot,
						  enum program program)
{
	__u64 process_id = identify_current(slot_of(slot, program), control.generation, JUDGED, 0, 0);
	struct connection *connection;

	if (process_id == REJECTED)
		return 0;
	connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!connection) {
		if (program != PROGRAM_MAIN || !basics.spares)
			__sync_fetch_and_add(&losses.no_storage, 1);
		return 0;
	}
	if (take_mark(connection, slot, program))
		return 0;
	note_covered(slot, program);
	end_former(connection, process_id);
	connection->event = *ends;
	connection->event.head.sport = local_port(sk);
	connection->event.head.tid = bpf_get_current_task_btf()->pid;
	connection->event.head.cookie = bpf_get_socket_cookie(sk);
	connection->event.head.process_id = process_id;
	connection->reported_by = program;
	report_failure(connection, sk, error, false);
	return 0;
}

/* Of requests that fail at once. To count them, there is no connection to mark: the spare would do so again. */
static __always_inline bool wants_failures(enum program program)
{
	return options.outcome || (options.aggregate && program != PROGRAM_SPARE);
}

/*
 * Fills in what was asked for: the socket may have no peer. False when that is no address of the family. With a frame of
 * its own: those who call it need theirs.
 */
static __noinline bool read_asked_ends(union event *ends, struct sock *sk, struct sockaddr *address, int length,
				       enum family family)
{
	bool is_ipv4 = family == FAMILY_IPV4;
	struct { /* as either of them begins */
		unsigned short family;
		__be16 port;
	} asked;

	if (length < (int)(is_ipv4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) ||
	    bpf_probe_read_kernel(&asked, sizeof(asked), address) || asked.family != (is_ipv4 ? AF_INET : AF_INET6))
		return false;
	ends->head.family = family;
	ends->head.dport = bpf_ntohs(asked.port);
	if (is_ipv4) {
		copy_ipv4(ends->ipv4.saddr, sk->__sk_common.skc_rcv_saddr);
		return !bpf_probe_read_kernel(ends->ipv4.daddr, sizeof(ends->ipv4.daddr),
					      &((struct sockaddr_in *)address)->sin_addr);
	}
	copy_ipv6(ends->ipv6.saddr, &sk->__sk_common.skc_v6_rcv_saddr);
	return !bpf_probe_read_kernel(ends->ipv6.daddr, sizeof(ends->ipv6.daddr),
				      &((struct sockaddr_in6 *)address)->sin6_addr) &&
	       !is_mapped((const void *)ends->ipv6.daddr);
}

static __always_inline int report_refused_request(struct sock *sk, struct sockaddr *address, int length, int error,
						  enum family family, enum slot slot, enum program program)
{
	__u64 generation = control.generation;
	union event ends = {};

	if (!wants_failures(program) || !read_asked_ends(&ends, sk, address, length, family) ||
	    !passes_socket_filters(set_of(generation), DIRECTION_EGRESS, sk, ends.head.dport) ||
	    !passes_ip_filter_of(set_of(generation), DIRECTION_EGRESS, &ends))
		return 0;
	if (options.outcome)
		return report_failure_at_once(sk, &ends, error, slot, program);
	add_failure(&ends, DIRECTION_EGRESS, identify_current(slot, generation, JUDGED, 0, 0));
	return 0;
}

static __always_inline int report_v4_connect(struct sock *sk, struct sockaddr *address, int length, int ret,
					     enum program program)
{
	/* Runs for IPv4-mapped IPv6 sockets, too, inside tcp_v6_connect. */
	if (is_path(sk))
		return 0;
	if (ret)
		return report_refused_request(sk, address, length, -ret, FAMILY_IPV4, SLOT_TCP_V4_CONNECT, program);
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV4, SLOT_TCP_V4_CONNECT, program);
}

static __always_inline int report_v6_connect(struct sock *sk, struct sockaddr *address, int length, int ret,
					     enum program program)
{
	if (is_path(sk))
		return 0;
	if (ret)
		return report_refused_request(sk, address, length, -ret, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
	if (is_mapped(&sk->__sk_common.skc_v6_daddr))
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
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

static __always_inline int report_accept(struct sock *sk, enum slot slot, enum program program)
{
	enum family family = FAMILY_IPV4;

	if (is_ipv6(sk))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_INGRESS, RECORD_ACCEPT, family, slot, program);
}

static __always_inline int report_tcp_accept(struct sock *sk, enum program program)
{
	return sk && !is_path(sk) ? report_accept(sk, SLOT_INET_CSK_ACCEPT, program) : 0;
}

static __always_inline int report_mptcp_connect(struct sock *sk, struct sockaddr *address, int length, int ret)
{
	enum family family = FAMILY_IPV4;

	if (ret) {
		/* By the bit that sets AF_INET6 off from AF_INET: without a branch, after which the verifier goes on twice. */
		family = sk->__sk_common.skc_family >> 3 & 1;
		return report_refused_request(sk, address, length, -ret, family, SLOT_MPTCP_CONNECT, PROGRAM_ONLY);
	}
	if (is_ipv6(sk))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, family, SLOT_MPTCP_CONNECT, PROGRAM_ONLY);
}

/* Where the peer speaks no MPTCP, it is a TCP socket, which inet_csk_accept returned. */
static __always_inline int report_mptcp_accept(struct socket *accepted)
{
	struct sock *sk = accepted->sk;

	return sk && is_mptcp(sk) ? report_accept(sk, SLOT_MPTCP_ACCEPT, PROGRAM_ONLY) : 0;
}

/*
 * A kernel thread that closes a process's socket does so on its behalf (delayed fput, garbage collection), and so does
 * the walk that has held its file: the close stays with the process that opened it, while user space knows that one.
 */
static __always_inline bool is_deferred_close(struct task_struct *task, const union event *event)
{
	bool deferred = task->flags & PF_KTHREAD || (options.existing && (__u32)task->pid == control.walker);

	return deferred && event->head.process_id >= control.oldest_process_id && event->head.process_id != LOST;
}

static __always_inline __u64 identify_closer(struct connection *connection, struct task_struct *task, enum slot slot,
					     enum program program)
{
	if (options.opener)
		connection->passed_on = start_of(task) != connection->opener_start_ns;
	return identify_current(slot_of(slot, program), control.generation, 0,
				connection->event.head.process_id, connection->opener_exec_id);
}

/*
 * Whether there is a connection to be closed. While its request is pending, what the close finds when it has the socket's
 * lock is reported then: that it failed by this, or both that it succeeded and this.
 */
static __always_inline bool ends_connection(struct connection *connection, struct task_struct *task,
					    enum slot slot, enum program program)
{
	union event *event = &connection->event;

	if (connection->phase & PHASE_CLOSING)
		return false; /* the other program was here */
	if (connection->phase & PHASE_UNTOLD) {
		connection->closer_id = event->head.process_id;
		connection->closer_tid = event->head.tid;
		if (!is_deferred_close(task, event)) {
			connection->closer_id = identify_closer(connection, task, slot, program);
			connection->closer_tid = task->pid;
		}
		if (__sync_fetch_and_or(&connection->phase, PHASE_CLOSING) & PHASE_UNTOLD)
			return false;
	}
	return event->head.type != RECORD_FAIL && event->head.type != RECORD_CLOSE;
}

static __always_inline int report_close(struct sock *sk, enum slot slot, enum program program)
{
	struct connection *connection = find_connection(sk);
	struct task_struct *task;
	union event *event;
	__u64 process_id;
	__u32 tid;

	if (!connection)
		return 0;
	event = &connection->event;
	if (!event->head.process_id || event->head.type == RECORD_CLOSE)
		return 0;
	process_id = event->head.process_id;
	tid = event->head.tid;
	task = bpf_get_current_task_btf();
	if ((options.outcome || options.existing) && !ends_connection(connection, task, slot, program))
		return 0;
	note_covered(slot, program);
	event->head.type = RECORD_CLOSE;
	if (!is_deferred_close(task, event)) {
		process_id = identify_closer(connection, task, slot, program);
		tid = task->pid;
	}
	if (process_id == LOST) {
		__sync_fetch_and_add(&losses.ring_full, 1);
	} else if (options.aggregate) {
		add_closing(connection, sk, process_id);
	} else {
		send_close(connection, sk, process_id, tid);
	}
	leave_place(connection);
	return 0;
}

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

static __always_inline int note_state(struct sock *sk, int old_state, int state)
{
	struct connection *connection = NULL;

	if (options.outcome && is_path(sk)) {
		if (state == TCP_SYN_SENT)
			forget_path_error(sk);
		else if (state == TCP_CLOSE && old_state == TCP_SYN_SENT)
			note_path_error(sk);
	}
	if (state == TCP_CLOSE || ((options.outcome || options.existing) && state == TCP_ESTABLISHED))
		connection = find_connection(sk);
	if (!connection)
		return 0;
	if (options.statistics && state == TCP_CLOSE)
		note_ending(connection, sk, old_state);
	if ((options.outcome || options.existing) && connection->phase & PHASE_PENDING)
		report_outcome(connection, sk, old_state, state);
	return 0;
}

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

/*
 * In place of inet_csk_accept when what exists is reported, too: a thread that was waiting in there before the probes
 * were attached leaves it unseen, with a connection that was not open yet.
 */
static __always_inline int report_graft(struct sock *sk, enum program program)
{
	return is_either(sk) ? report_accept(sk, SLOT_INET_CSK_ACCEPT, program) : 0;
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

/* Where half of the ring buffer is full, who reads gets EAGAIN: the walk goes on from there at the next time. */
SEC("iter/task_file")
int task_file_walk(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	control.walker = bpf_get_current_task_btf()->pid;
	socket = bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	if (!sk || !is_either(sk))
		return 0;
	if (!has_room_to_walk())
		return 1;
	report_existing(task, sk);
	return 0;
}

#endif
