/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Openings: connect and accept. */
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
#include <bpf/bpf_endian.h>

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
 * In place of inet_csk_accept when what exists is reported, too: a thread that was waiting in there before the probes
 * were attached leaves it unseen, with a connection that was not open yet.
 */
static __always_inline int report_graft(struct sock *sk, enum program program)
{
	return is_either(sk) ? report_accept(sk, SLOT_INET_CSK_ACCEPT, program) : 0;
}

#endif
