/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Openings: what connect() and accept() return with, and connect attempts that fail at once. */
#ifndef __OPEN_H__
#define __OPEN_H__

#include "backup.h"
#include "close.h"
#include "connection.h"
#include "event.h"
#include "filter.h"
#include "flow.h"
#include "mptcp.h"
#include "outcome.h"
#include "process.h"
#include "smc.h"
#include <bpf/bpf_endian.h>

/*
 * Reports an opening that cannot be kept, and so has no close and no outcome: those are counted as lost. Of connect()'s
 * programs the last one does, since the first could not leave it a mark. Not inlined: its callers have no stack left.
 */
static __noinline int report_unkept(struct sock *sk, __u64 process_id, enum record_type type, enum family family,
				    enum program program)
{
	bool needs_keeping = report_options.aggregate || (report_options.outcome && type == RECORD_ESTABLISH);
	union event event = {};

	if (is_main_to_come(family, program)) {
		__sync_fetch_and_add(&coverage.unkept_by_backup, 1);
		return 0;
	}
	count_loss(&losses.no_storage, is_sent(RECORD_CLOSE));
	if (is_lost(process_id) || needs_keeping)
		count_loss(&losses.no_storage, is_sent(type) || (report_options.outcome && is_sent(RECORD_FAIL)));
	if (is_lost(process_id) || needs_keeping || !is_sent(type))
		return 0;
	event.head.type = type;
	event.head.tid = bpf_get_current_task_btf()->pid;
	event.head.cookie = bpf_get_socket_cookie(sk);
	read_endpoints(&event, sk, family);
	stamp(&event, process_id);
	send_opening(&event, payer_of_current(), sk, family);
	return 0;
}

/* Fills in what is kept of a connection, but for its process. ends: the socket that has the connection's ends. */
static __always_inline void fill_connection(struct connection *connection, struct sock *sk, struct sock *ends,
					    enum direction direction, enum record_type type, enum family family)
{
	connection->event.head.type = type;
	read_endpoints(&connection->event, ends, family);
	connection->direction = direction;
	connection->phase = 0; /* the walk may have found it while it was connecting */
	if (report_options.statistics)
		connection->ended_by = ending_so_far(sk);
}

/* Notes that the current process, which was identified as process_id, opens the connection. As note_opener(). */
static __always_inline void fill_opener(struct connection *connection, struct task_struct *task, struct recent *recent,
					__u64 process_id, struct socket *socket, bool by_address)
{
	note_opener(connection, task, recent, process_id, socket, by_address);
	if (report_options.opener)
		connection->passed_on = false;
}

/*
 * Sends an opening, or adds it to a flow. When it is lost, which is counted, the close is reported all the same.
 * by_address: nothing but the socket's address is known.
 */
static __always_inline void report_opening(struct connection *connection, __u64 process_id, struct sock *sk,
					   enum family family, bool by_address)
{
	if (is_lost(process_id))
		count_lost(process_id);
	else if (report_options.aggregate)
		add_opening(connection, process_id);
	else if (by_address && report_options.context)
		send_opening_at(&connection->event, connection->payer, sk);
	else
		send_opening(&connection->event, connection->payer, sk, family);
}

/*
 * Reports an establish or an accept, if the filters accept it, and keeps the connection for its close. With the option
 * outcome an establish is only kept here: report_outcome() reports it. ends: the socket that has the connection's ends;
 * task: the current one.
 */
static __always_inline int report_open(struct sock *sk, struct sock *ends, struct task_struct *task,
				       enum direction direction, enum record_type type, enum family family,
				       enum slot slot, enum program program)
{
	struct connection *connection = find_connection(sk);
	__u64 process_id = REJECTED, cookie, generation = control.generation;
	struct recent *recent;
	bool passes;

	if (connection && take_mark(connection, program)) {
		report_routed(connection, sk);
		return 0;
	}
	passes = passes_connection_filters(set_of(generation), direction, family, ends) &&
		 may_be_wanted(slot, set_of(generation), direction, family, ends);
	if (!passes && !connection)
		return 0;
	recent = recent_entry(task);
	if (!recent)
		return 0;
	if (passes)
		process_id = identify_recent(task, recent, slot, generation, IDENTIFY_FILTERED, 0);
	if (limits_processes(set_of(generation)))
		process_id = id_if_wanted(slot, process_id);
	if (connection)
		end_previous(connection, process_id);
	if (process_id == REJECTED) {
		if (connection)
			drop_connection(connection);
		return 0;
	}
	cookie = bpf_get_socket_cookie(sk);
	if (!connection)
		connection = keep_connection(cookie);
	if (!connection)
		return report_unkept(sk, process_id, type, family, program);
	hide_from_walk(connection);
	leave_mark(connection, program);
	connection->event.head.cookie = cookie;
	fill_connection(connection, sk, ends, direction, type, family);
	fill_opener(connection, task, recent, process_id, sk->sk_socket, false);
	if (report_options.outcome && direction == DIRECTION_EGRESS) {
		begin_attempt(connection, sk, process_id);
		show_to_walk(connection, sk);
		/* Established without a handshake: a socket that is being restored (TCP_REPAIR). */
		if (sk->__sk_common.skc_state == TCP_ESTABLISHED)
			report_opened(connection, sk);
		return 0;
	}
	/* When the opening is lost, which is counted, the close is reported all the same. */
	stamp(&connection->event, process_id);
	if (is_sent(type)) {
		if (report_options.context && program == PROGRAM_BACKUP && family == FAMILY_IPV4)
			connection->phase = PHASE_ROUTELESS;
		else
			report_opening(connection, process_id, sk, family, false);
	}
	show_to_walk(connection, sk); /* last: an event of the walk comes after the opening */
	return 0;
}

/*
 * With the option outcome: reports a connect attempt that failed at once. event: what connect() was called with, since
 * the socket may have no endpoints. has_begun: whether the backup program has kept this attempt.
 */
static __always_inline int report_failure_at_once(struct sock *sk, union event *event, int error, enum slot slot,
						  struct connection *connection, bool has_begun, __u64 generation)
{
	__u64 process_id;

	if (has_begun && connection->phase & PHASE_PENDING) {
		report_failure(connection, sk, error, false);
		return 0;
	}
	process_id = identify_current(slot, generation, IDENTIFY_FILTERED, 0);
	if (limits_processes(set_of(generation)) && !has_begun)
		process_id = id_if_wanted(slot, process_id);
	if (process_id == REJECTED)
		return 0;
	if (connection) {
		end_previous(connection, process_id);
		drop_connection(connection);
	}
	event->head.type = RECORD_FAIL;
	event->head.sport = local_port(sk);
	event->head.tid = bpf_get_current_task_btf()->pid;
	event->head.cookie = bpf_get_socket_cookie(sk);
	event->head.process_id = process_id;
	send_failure(event, payer_of_current(), sk, error, false);
	return 0;
}

/*
 * Whether the hook of IPv6 alone sees a connect() to an IPv4-mapped address: MPTCP has one hook for both families, and
 * tcp_v6_connect() refuses such an address on a socket for IPv6 only before it calls tcp_v4_connect().
 */
static __always_inline bool is_mapped_seen_once(struct sock *sk)
{
	return is_mptcp(sk) || BPF_CORE_READ_BITFIELD(sk, __sk_common.skc_ipv6only);
}

/*
 * Fills in the endpoints that connect() was called with. Returns false when its address is not one of this family: the
 * kernel refused it for that, or it is an IPv4-mapped one, which the IPv4 hook sees, too. Not inlined: its callers have
 * no stack left for it.
 */
static __noinline bool read_requested_endpoints(union event *endpoints, struct sock *sk, struct sockaddr *address,
						int length, enum family family)
{
	bool is_ipv4 = family == FAMILY_IPV4;
	struct { /* what struct sockaddr_in and sockaddr_in6 have in common */
		unsigned short family;
		__be16 port;
	} requested;

	if (length < (int)(is_ipv4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) ||
	    bpf_probe_read_kernel(&requested, sizeof(requested), address) ||
	    requested.family != (is_ipv4 ? AF_INET : AF_INET6))
		return false;
	endpoints->head.family = family;
	endpoints->head.dport = bpf_ntohs(requested.port);
	if (is_ipv4) {
		copy_ipv4(endpoints->ipv4.saddr, sk->__sk_common.skc_rcv_saddr);
		return !bpf_probe_read_kernel(endpoints->ipv4.daddr, sizeof(endpoints->ipv4.daddr),
					      &((struct sockaddr_in *)address)->sin_addr);
	}
	copy_ipv6(endpoints->ipv6.saddr, &sk->__sk_common.skc_v6_rcv_saddr);
	if (bpf_probe_read_kernel(endpoints->ipv6.daddr, sizeof(endpoints->ipv6.daddr),
				  &((struct sockaddr_in6 *)address)->sin6_addr))
		return false;
	if (!is_ipv4_mapped((const void *)endpoints->ipv6.daddr))
		return true;
	if (!is_mapped_seen_once(sk))
		return false;
	endpoints->head.family = FAMILY_IPV4;
	copy_ipv4(endpoints->ipv4.saddr, sk->__sk_common.skc_rcv_saddr);
	return !bpf_probe_read_kernel(endpoints->ipv4.daddr, sizeof(endpoints->ipv4.daddr),
				      &((struct sockaddr_in6 *)address)->sin6_addr.in6_u.u6_addr32[3]);
}

/*
 * Reports, or adds to a flow, a connect attempt that failed at once, if the filters accept it. error: its errno. If it
 * failed after the backup program had seen it, it is that one's, as if the peer had refused it.
 */
static __always_inline int report_failed_connect(struct sock *sk, struct sockaddr *address, int length, int error,
						 enum family family, enum slot slot)
{
	__u64 generation = control.generation;
	struct connection *connection = find_connection(sk);
	bool has_begun = connection && take_mark(connection, PROGRAM_MAIN);
	union event endpoints = {};
	__u64 process_id;

	if (!wants_failures() || (has_begun && !report_options.outcome) ||
	    !read_requested_endpoints(&endpoints, sk, address, length, family) ||
	    !passes_socket_filters(set_of(generation), DIRECTION_EGRESS, sk, endpoints.head.dport) ||
	    !passes_ip_filter_of(set_of(generation), DIRECTION_EGRESS, &endpoints) ||
	    (!has_begun && !may_failure_be_wanted(slot, set_of(generation), &endpoints, sk)))
		return 0;
	if (report_options.outcome)
		return report_failure_at_once(sk, &endpoints, error, slot, connection, has_begun, generation);
	process_id = identify_current(slot, generation, IDENTIFY_FILTERED, 0);
	if (limits_processes(set_of(generation)))
		process_id = id_if_wanted(slot, process_id);
	add_failure(&endpoints, DIRECTION_EGRESS, process_id);
	return 0;
}

/* On return from tcp_v4_connect(), which tcp_v6_connect() calls, too, for an IPv4-mapped address. */
static __always_inline int report_v4_connect(struct sock *sk, struct sockaddr *address, int length, int ret)
{
	if (is_subflow(sk))
		return 0;
	if (ret)
		return report_failed_connect(sk, address, length, -ret, FAMILY_IPV4, SLOT_TCP_V4_CONNECT);
	return report_open(sk, sk, bpf_get_current_task_btf(), DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV4,
			   SLOT_TCP_V4_CONNECT, PROGRAM_MAIN);
}

/* On return from tcp_v6_connect(). An IPv4-mapped connection was reported by report_v4_connect(). */
static __always_inline int report_v6_connect(struct sock *sk, struct sockaddr *address, int length, int ret)
{
	if (is_subflow(sk))
		return 0;
	if (ret)
		return report_failed_connect(sk, address, length, -ret, FAMILY_IPV6, SLOT_TCP_V6_CONNECT);
	if (is_ipv4_mapped(&sk->__sk_common.skc_v6_daddr))
		return 0;
	return report_open(sk, sk, bpf_get_current_task_btf(), DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6,
			   SLOT_TCP_V6_CONNECT, PROGRAM_MAIN);
}

/*
 * The backup of both, and of mptcp_connect(): when a connecting socket is added to the kernel's table of connections
 * (ehash). From there on connect() hardly ever fails; where it does, its attempt is reported as one that was refused is.
 * Sockets in other states are added, too, and one that has sent its SYN, when its address has changed. The subflow that
 * opens a connection of MPTCP is added in its place: it knows the ends before the MPTCP socket does.
 */
static __always_inline int report_connecting(struct sock *sk, enum slot slot)
{
	struct sock *connecting = sk;
	struct tcp_sock *tcp;

	if (sk->__sk_common.skc_state != TCP_SYN_SENT)
		return 0;
	tcp = bpf_skc_to_tcp_sock(sk); /* DCCP has the same table, and numbers its states alike */
	if (!tcp || tcp->packets_out)
		return 0;
	if (is_subflow(sk)) {
		connecting = mptcp_socket_of(sk);
		if (!connecting || connecting->__sk_common.skc_state != TCP_SYN_SENT)
			return 0;
	}
	return report_open(connecting, sk, bpf_get_current_task_btf(), DIRECTION_EGRESS, RECORD_ESTABLISH,
			   family_of(sk), slot, PROGRAM_BACKUP);
}

/*
 * On return from __inet_check_established() and __inet6_check_established(), which check whether a port can be used
 * that others use, and then add the socket. Since 6.15 they may be asked to check only, and run with softirqs enabled.
 */
static __always_inline int report_checked(struct sock *sk, int ret, enum slot slot)
{
	return !ret && sk->__sk_common.skc_node.pprev ? report_connecting(sk, slot) : 0;
}

/* sk: the accepted socket, not the listening one, which has no peer. */
static __always_inline int report_accept(struct sock *sk, struct task_struct *task, enum slot slot)
{
	return report_open(sk, sk, task, DIRECTION_INGRESS, RECORD_ACCEPT, family_of(sk), slot, PROGRAM_ONLY);
}

/* Keeps a connection that the kernel has accepted for SMC, without a process, for report_taken(). */
static __always_inline int keep_for_smc(struct sock *sk)
{
	enum family family = family_of(sk);
	struct connection *connection;

	if (!passes_connection_filters(set_of(control.generation), DIRECTION_INGRESS, family, sk) ||
	    !may_be_wanted(SLOT_ACCEPT, set_of(control.generation), DIRECTION_INGRESS, family, sk))
		return 0;
	connection = keep_connection(bpf_get_socket_cookie(sk));
	if (!connection) {
		count_loss(&losses.no_storage, is_sent(RECORD_ACCEPT) + is_sent(RECORD_CLOSE));
		return 0;
	}
	hide_from_walk(connection);
	connection->event.head.cookie = bpf_get_socket_cookie(sk);
	connection->event.head.process_id = 0;
	connection->reported_by = 0;
	fill_connection(connection, sk, sk, DIRECTION_INGRESS, RECORD_ACCEPT, family);
	return 0;
}

/* A process takes a socket of SMC: reports the accept of the connection behind it, if the process filter accepts it. */
static __always_inline int report_taken(struct sock *smc)
{
	struct connection *connection = NULL;
	struct sock *sk = tcp_socket_behind(smc, &connection);
	struct task_struct *task = bpf_get_current_task_btf();
	struct recent *recent = recent_entry(task);
	__u64 process_id;

	if (!recent || !connection || connection->event.head.process_id)
		return 0;
	process_id = identify_recent(task, recent, SLOT_ACCEPT, control.generation, IDENTIFY_FILTERED, 0);
	if (process_id == REJECTED) {
		/* The TCP socket is not locked here: where others may look at the connection, its end frees it. */
		if (is_state_followed())
			connection->event.head.type = RECORD_CLOSE;
		else
			free_connection(connection);
		return 0;
	}
	fill_opener(connection, task, recent, process_id, NULL, true);
	stamp(&connection->event, process_id);
	if (is_sent(RECORD_ACCEPT))
		report_opening(connection, process_id, sk, connection->event.head.family, true);
	show_to_walk(connection, sk);
	return 0;
}

/*
 * On entry to security_sock_graft(), which hands an accepted socket to its struct socket. Unlike inet_csk_accept(), in
 * which threads wait, it is seen by a thread that has waited since before the programs were attached, leaves nothing
 * on the stack of waiting threads, and is called with softirqs disabled: no task is preempted in the program.
 */
static __always_inline int report_grafted(struct sock *sk)
{
	struct task_struct *task;

	if (sk->__sk_common.skc_family == AF_SMC)
		return report_taken(sk);
	if (!is_of_program(sk))
		return 0;
	task = bpf_get_current_task_btf();
	return is_accepting_for_smc(task) ? keep_for_smc(sk) : report_accept(sk, task, SLOT_ACCEPT);
}

/* On return from inet_csk_accept(), in kernels without security_sock_graft(). sk: NULL when it failed. */
static __always_inline int report_tcp_accept(struct sock *sk)
{
	return sk && !is_subflow(sk) ? report_accept(sk, bpf_get_current_task_btf(), SLOT_ACCEPT) : 0;
}

/* On return from mptcp_connect(). */
static __always_inline int report_mptcp_connect(struct sock *sk, struct sockaddr *address, int length, int ret)
{
	/* The bit in which AF_INET6 differs from AF_INET: a branch would have the verifier go on twice. */
	enum family family = sk->__sk_common.skc_family >> 3 & 1;

	if (ret)
		return report_failed_connect(sk, address, length, -ret, family, SLOT_MPTCP_CONNECT);
	return report_open(sk, sk, bpf_get_current_task_btf(), DIRECTION_EGRESS, RECORD_ESTABLISH, family_of(sk),
			   SLOT_MPTCP_CONNECT, PROGRAM_MAIN);
}

/*
 * On return from mptcp_stream_accept(), in kernels without security_sock_graft(). Where the peer does not speak MPTCP,
 * the accepted socket is one of TCP, which report_tcp_accept() has reported.
 */
static __always_inline int report_mptcp_accept(struct socket *accepted)
{
	struct sock *sk = accepted->sk;

	return sk && is_mptcp(sk) ? report_accept(sk, bpf_get_current_task_btf(), SLOT_MPTCP_ACCEPT) : 0;
}

#endif
