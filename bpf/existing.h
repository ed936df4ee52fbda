/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option existing: connections that were open before the programs were attached. A walk through the open files of
 * all tasks finds them. Each is reported once, for the first process found with it. A connection that opens during the
 * walk is reported either by the programs of its hook or by the walk: struct connection's phase decides.
 *
 * For a snapshot (netmon ls) the walk is the only program.
 */
#ifndef __EXISTING_H__
#define __EXISTING_H__

#include "event.h"
#include "filter.h"
#include "mptcp.h"
#include "outcome.h"
#include "process.h"

/*
 * Whether the socket was accepted, not connected. In an accepted socket the field for outgoing multicasts has the index
 * of the interface that the SYN came in by. TCP sends no multicasts, so nothing else sets the field.
 */
static __always_inline bool was_accepted(struct sock *sk)
{
	struct inet_sock *inet = is_mptcp(sk) ? (void *)first_subflow(sk) : (void *)sk;

	return is_ipv6(sk) ? BPF_CORE_READ(inet, pinet6, mcast_oif) : BPF_CORE_READ(inet, mc_index);
}

static __always_inline bool is_open(__u8 state)
{
	return state != TCP_CLOSE && state != TCP_LISTEN && state != TCP_SYN_RECV && state != TCP_SYN_SENT;
}

/* Not inlined: identify_found() calls it twice, and has no stack left for it. */
static __noinline __u64 identify_walked(struct task_struct *task, __u64 generation, __u32 flags)
{
	return identify_task(task, TASK_WALKED, NULL, SLOT_WALK, generation, flags, 0);
}

/* As identify_current(), for a task that the walk is at. */
static __always_inline __u64 identify_found(struct task_struct *task, __u64 generation)
{
	__u64 id = identify_walked(task, generation, IDENTIFY_FILTERED);

	if (id != PARENT_FIRST || !needs_parents())
		return id;
	id = identify_parents(task, SLOT_WALK, generation);
	if (is_lost(id))
		return id;
	return identify_walked(task, generation, IDENTIFY_FILTERED | IDENTIFY_PARENT_KNOWN);
}

#ifdef MINIMAL
static __always_inline void begin_progress(struct connection *found, struct sock *sk)
{
}
#else
/* With the option progress: counts what the connection has carried as reported. Not inlined: there is no stack left. */
static __noinline void begin_progress(struct connection *found, struct sock *sk)
{
	struct sample sample = {};

	take_sample(&sample, sk, found->event.head.cookie, found->direction);
	found->counted_sent = sample.sent;
	found->counted_received = sample.received;
	found->counted_ns = found->event.head.timestamp_ns;
	found->socket = (__u64)sk;
}
#endif

/* Fills in what is to be kept of a connection. Returns false when it is not to be reported. */
static __always_inline bool describe_found(struct connection *found, struct task_struct *task, struct sock *sk)
{
	enum direction direction = was_accepted(sk) ? DIRECTION_INGRESS : DIRECTION_EGRESS;
	enum family family = family_of(sk);
	__u64 generation = control.generation;
	union event *event = &found->event;

	if (!(direction == DIRECTION_INGRESS ? report_options.existing_ingress : report_options.existing_egress) ||
	    !passes_connection_filters(set_of(generation), direction, family, sk) ||
	    !may_be_wanted(SLOT_WALK, set_of(generation), direction, family, sk))
		return false;
	event->head.process_id = identify_found(task, generation);
	if (limits_processes(set_of(generation)))
		event->head.process_id = id_if_wanted(SLOT_WALK, event->head.process_id);
	if (event->head.process_id == REJECTED)
		return false;
	event->head.type = RECORD_EXISTING;
	event->head.tid = task->tgid;
	event->head.cookie = bpf_get_socket_cookie(sk);
	event->head.timestamp_ns = bpf_ktime_get_boot_ns();
	read_endpoints(event, sk, family);
	found->opener_exec_id = task->self_exec_id;
	if (report_options.opener)
		found->opener_start_ns = start_of(task);
	found->direction = direction;
	found->is_overflowed = true;
	if (report_options.progress)
		begin_progress(found, sk);
	return true;
}

/*
 * Whether the walk may go on. It uses half of the ring buffer, and leaves the rest to what happens meanwhile. Of a
 * snapshot it uses the quarter that nobody is charged for: see fairness.h.
 */
static __always_inline bool has_room_to_walk(void)
{
	__u64 part = report_options.snapshot ? 4 : 2;

	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / part;
}

/* Reports a connection that is kept, unless it is still connecting. Not inlined: its caller has no stack left. */
static __noinline void report_kept(struct connection *connection, struct task_struct *task, struct sock *sk)
{
	connection->payer = payer_of(task);
	/*
	 * It may have been kept by connect(), which was faster and has reported the connection: its phase says so. If
	 * the connection was established since its state was read, follow_state() did not find it: report it here.
	 */
	if (connection->phase & PHASE_FOUND || (connection->phase & PHASE_PENDING && is_open(sk->__sk_common.skc_state)))
		report_opened(connection, sk);
}

/* What the walk has found. There is one walk at a time, and its stack has no room for this. */
static struct connection found;

/*
 * Reports a connection, unless that was done, or keeps one that is still connecting until it is open.
 *
 * For a snapshot nothing is kept: a connection that several processes hold is reported for each, and for each descriptor
 * of it, and user space makes one of these.
 */
static __always_inline void report_existing(struct task_struct *task, struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;
	struct connection *connection;

	if ((!is_open(state) && state != TCP_SYN_SENT) || (!report_options.snapshot && find_connection(sk)))
		return;
	__builtin_memset(&found, 0, sizeof(found));
	if (!describe_found(&found, task, sk))
		return;
	if (report_options.snapshot) {
		found.payer = payer_of(task);
		send_existing(&found, sk);
		return;
	}
	/* connect() may have been entered before the programs were attached: no program reports its success then. */
	found.phase = state == TCP_SYN_SENT ? PHASE_PENDING : PHASE_FOUND;
	connection = keep_in_overflow(found.event.head.cookie, &found);
	if (!connection) {
		count_loss(&losses.no_storage, is_sent(RECORD_EXISTING) + is_sent(RECORD_CLOSE));
		return;
	}
	report_kept(connection, task, sk);
}

/*
 * A step of the walk: reports the file's connection, if it is a socket with one. Returns 1 when the ring buffer is half
 * full: user space's read() fails with EAGAIN then, and its next read() resumes at this file. Else 0.
 */
static __always_inline int visit_file(struct task_struct *task, struct file *file)
{
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	control.walker = bpf_get_current_task_btf()->pid;
	socket = bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	if (!sk || !is_tcp_or_mptcp(sk))
		return 0;
	if (!has_room_to_walk())
		return 1;
	report_existing(task, sk);
	return 0;
}

#endif
