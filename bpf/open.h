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
#include <bpf/bpf_endian.h>

/*
 * Reports an establish or an accept, if the filters accept it, and keeps the connection for its close. With the option
 * outcome an establish is only kept here: report_outcome() reports it.
 */
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
		process_id = identify_current(scratch_slot(slot, program), generation, IDENTIFY_FILTERED, 0, 0);
	if (connection)
		end_previous(connection, process_id);
	if (process_id == REJECTED) {
		if (connection)
			delete_connection(connection, sk);
		return 0;
	}
	cookie = bpf_get_socket_cookie(sk);
	if (!connection)
		connection = keep_connection(sk, cookie);
	if (!connection) {
		/*
		 * Two events are lost: the opening, which must not be reported without a mark, or the backup would
		 * report it again, and the close. Where there is a backup, it tries again and counts.
		 */
		if (program != PROGRAM_MAIN || !load_config.backups)
			count_loss(&losses.no_storage, 2);
		return 0;
	}
	count_backup_only(slot, program);
	task = bpf_get_current_task_btf();
	event = &connection->event;
	event->head.type = type;
	event->head.tid = task->pid;
	event->head.cookie = cookie;
	read_endpoints(event, sk, family);
	connection->opener_exec_id = task->self_exec_id;
	connection->payer = payer_of_current();
	if (report_options.opener) {
		connection->opener_start_ns = start_of(task);
		connection->passed_on = false;
	}
	connection->reported_by = program;
	connection->direction = direction;
	if (report_options.statistics)
		connection->ended_by = ending_so_far(sk);
	if (report_options.outcome && direction == DIRECTION_EGRESS) {
		begin_attempt(connection, sk, process_id);
		/* Established without a handshake: a socket that is being restored (TCP_REPAIR). */
		if (sk->__sk_common.skc_state == TCP_ESTABLISHED)
			report_opened(connection, sk);
		return 0;
	}
	if (report_options.existing)
		connection->phase = 0; /* the walk may have found it while it was connecting */
	/* When the opening is lost, which is counted, the close is reported all the same. */
	stamp(event, process_id);
	if (is_lost(process_id))
		count_lost(process_id);
	else if (report_options.aggregate)
		add_opening(connection, process_id);
	else
		send_opening(connection, sk, family);
	return 0;
}

/*
 * With the option outcome: reports a connect attempt that failed at once. The connection is kept for the mark alone.
 * endpoints: what connect() was called with, since the socket may have none.
 */
static __always_inline int report_failure_at_once(struct sock *sk, const union event *endpoints, int error,
						  enum slot slot, enum program program)
{
	__u64 process_id =
		identify_current(scratch_slot(slot, program), control.generation, IDENTIFY_FILTERED, 0, 0);
	struct connection *connection;

	if (process_id == REJECTED)
		return 0;
	connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!connection) {
		if (program != PROGRAM_MAIN || !load_config.backups)
			count_loss(&losses.no_storage, 1);
		return 0;
	}
	if (take_mark(connection, slot, program))
		return 0;
	count_backup_only(slot, program);
	end_previous(connection, process_id);
	connection->event = *endpoints;
	connection->event.head.sport = local_port(sk);
	connection->event.head.tid = bpf_get_current_task_btf()->pid;
	connection->event.head.cookie = bpf_get_socket_cookie(sk);
	connection->event.head.process_id = process_id;
	connection->payer = payer_of_current();
	connection->reported_by = program;
	report_failure(connection, sk, error, false);
	return 0;
}

/*
 * Whether connect attempts that fail at once are of interest. To aggregate them, no connection is kept that could have
 * a mark: so the backup, which would add them again, does not.
 */
static __always_inline bool wants_failures(enum program program)
{
	return report_options.outcome || (report_options.aggregate && program != PROGRAM_BACKUP);
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
	return !bpf_probe_read_kernel(endpoints->ipv6.daddr, sizeof(endpoints->ipv6.daddr),
				      &((struct sockaddr_in6 *)address)->sin6_addr) &&
	       !is_ipv4_mapped((const void *)endpoints->ipv6.daddr);
}

/* Reports, or adds to a flow, a connect attempt that failed at once, if the filters accept it. error: its errno. */
static __always_inline int report_failed_connect(struct sock *sk, struct sockaddr *address, int length, int error,
						 enum family family, enum slot slot, enum program program)
{
	__u64 generation = control.generation;
	union event endpoints = {};

	if (!wants_failures(program) || !read_requested_endpoints(&endpoints, sk, address, length, family) ||
	    !passes_socket_filters(set_of(generation), DIRECTION_EGRESS, sk, endpoints.head.dport) ||
	    !passes_ip_filter_of(set_of(generation), DIRECTION_EGRESS, &endpoints))
		return 0;
	if (report_options.outcome)
		return report_failure_at_once(sk, &endpoints, error, slot, program);
	add_failure(&endpoints, DIRECTION_EGRESS, identify_current(slot, generation, IDENTIFY_FILTERED, 0, 0));
	return 0;
}

/* On return from tcp_v4_connect(), which tcp_v6_connect() calls, too, for an IPv4-mapped address. */
static __always_inline int report_v4_connect(struct sock *sk, struct sockaddr *address, int length, int ret,
					     enum program program)
{
	if (is_subflow(sk))
		return 0;
	if (ret)
		return report_failed_connect(sk, address, length, -ret, FAMILY_IPV4, SLOT_TCP_V4_CONNECT, program);
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV4, SLOT_TCP_V4_CONNECT, program);
}

/* On return from tcp_v6_connect(). An IPv4-mapped connection was reported by report_v4_connect(). */
static __always_inline int report_v6_connect(struct sock *sk, struct sockaddr *address, int length, int ret,
					     enum program program)
{
	if (is_subflow(sk))
		return 0;
	if (ret)
		return report_failed_connect(sk, address, length, -ret, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
	if (is_ipv4_mapped(&sk->__sk_common.skc_v6_daddr))
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
}

/*
 * On return from tcp_connect(), which sends the first SYN, in IPv4 and IPv6. Used where tcp_v6_connect() is in a module:
 * that may be loaded later, and only who has CAP_SYS_ADMIN could attach to it. What fails before is not seen, and an
 * attempt without an own SYN (TCP_FASTOPEN_CONNECT) when data is sent.
 */
static __always_inline int report_sent_syn(struct sock *sk, int ret, enum program program)
{
	if (ret || !is_ipv6(sk) || is_subflow(sk))
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
}

/* sk: the accepted socket, not the listening one, which has no peer. */
static __always_inline int report_accept(struct sock *sk, enum slot slot, enum program program)
{
	enum family family = FAMILY_IPV4;

	if (is_ipv6(sk))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_INGRESS, RECORD_ACCEPT, family, slot, program);
}

/* On return from inet_csk_accept(). sk: what it returned; NULL when it failed. */
static __always_inline int report_tcp_accept(struct sock *sk, enum program program)
{
	return sk && !is_subflow(sk) ? report_accept(sk, SLOT_TCP_ACCEPT, program) : 0;
}

/*
 * On entry to security_sock_graft(), which hands an accepted socket to its struct socket, of TCP or another protocol.
 * Better than the return of inet_csk_accept(): threads that wait in there have no program on their stack, which would
 * hold up live patches, and those that have waited since before the programs were attached are seen, too.
 */
static __always_inline int report_grafted(struct sock *sk, enum program program)
{
	return is_tcp_or_mptcp(sk) ? report_accept(sk, SLOT_TCP_ACCEPT, program) : 0;
}

/* On return from mptcp_connect(). */
static __always_inline int report_mptcp_connect(struct sock *sk, struct sockaddr *address, int length, int ret)
{
	enum family family = FAMILY_IPV4;

	if (ret) {
		/* The bit in which AF_INET6 differs from AF_INET: a branch would have the verifier go on twice. */
		family = sk->__sk_common.skc_family >> 3 & 1;
		return report_failed_connect(sk, address, length, -ret, family, SLOT_MPTCP_CONNECT, PROGRAM_ONLY);
	}
	if (is_ipv6(sk))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, family, SLOT_MPTCP_CONNECT, PROGRAM_ONLY);
}

/*
 * On return from mptcp_stream_accept(). Where the peer does not speak MPTCP, the accepted socket is one of TCP, which
 * report_tcp_accept() has reported.
 */
static __always_inline int report_mptcp_accept(struct socket *accepted)
{
	struct sock *sk = accepted->sk;

	return sk && is_mptcp(sk) ? report_accept(sk, SLOT_MPTCP_ACCEPT, PROGRAM_ONLY) : 0;
}

#endif
