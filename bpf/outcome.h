/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What became of a request for a connection, whoever is running when the answer comes: the process that asked is kept
 * with the socket.
 */
#ifndef __OUTCOME_H__
#define __OUTCOME_H__

#include "close.h"
#include "connection.h"
#include "event.h"
#include "mptcp.h"
#include "transfer.h"

enum {
	NSEC_PER_USEC = 1000,
	SIGNAL_MASK = 0x7f, /* of an exit code: the signal that killed */
};

/* When the first SYN went out; now when it waits for data to go with it (TCP_FASTOPEN_CONNECT). */
static __always_inline __u64 requested_ns(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 now = bpf_ktime_get_boot_ns();

	return tcp && tcp->packets_out ? now - (bpf_ktime_get_ns() - tcp->tcp_mstamp * NSEC_PER_USEC) : now;
}

static __always_inline void begin_request(struct connection *connection, struct sock *sk, __u64 process_id)
{
	connection->event.head.timestamp_ns = requested_ns(sk);
	connection->event.head.process_id = process_id;
	connection->phase = PHASE_PENDING;
}

/* Of now; to be submitted. NULL when the event is lost. */
static __always_inline struct detailed_event *begin_outcome(struct connection *connection, struct sock *sk)
{
	connection->event.head.timestamp_ns = bpf_ktime_get_boot_ns();
	if (connection->event.head.process_id == LOST) {
		__sync_fetch_and_add(&losses.ring_full, 1);
		return NULL;
	}
	return begin_detailed(&connection->event, sk, true);
}

static __always_inline void send_success(struct connection *connection, struct sock *sk)
{
	union event *event = &connection->event;
	__u64 requested = event->head.timestamp_ns;
	struct detailed_event *detailed;

	detailed = begin_outcome(connection, sk);
	if (detailed) {
		detailed->outcome.handshake_ns = event->head.timestamp_ns - requested;
		bpf_ringbuf_submit(detailed, 0);
	}
}

static __always_inline void send_existing(struct connection *connection, struct sock *sk)
{
	struct detailed_event *detailed = begin_outcome(connection, sk);

	if (detailed) {
		detailed->outcome.direction = connection->direction;
		bpf_ringbuf_submit(detailed, 0);
	}
}

/* Of what was not told yet: it is open. */
static __always_inline void report_opened(struct connection *connection, struct sock *sk)
{
	union event *event = &connection->event;

	if (options.existing && __sync_fetch_and_or(&connection->phase, PHASE_TELLING) & PHASE_TELLING)
		return;
	if (options.existing && event->head.type == RECORD_EXISTING)
		send_existing(connection, sk);
	else
		send_success(connection, sk);
	/* Sent before that: whoever closes it from now on reports so. */
	if (!(__sync_fetch_and_and(&connection->phase, ~PHASE_UNTOLD) & PHASE_CLOSING))
		return;
	event->head.type = RECORD_CLOSE;
	if (connection->closer_id == LOST)
		__sync_fetch_and_add(&losses.ring_full, 1);
	else
		send_close(connection, sk, connection->closer_id, connection->closer_tid);
}

static __always_inline void report_failure(struct connection *connection, struct sock *sk, __u32 error, bool killed)
{
	struct detailed_event *detailed;

	connection->event.head.type = RECORD_FAIL;
	detailed = begin_outcome(connection, sk);
	if (detailed) {
		detailed->outcome.error = error;
		detailed->outcome.killed = killed;
		bpf_ringbuf_submit(detailed, 0);
	}
	__sync_fetch_and_and(&connection->phase, ~PHASE_PENDING);
}

static __always_inline bool is_being_killed(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return task->flags & PF_EXITING && task->signal->group_exit_code & SIGNAL_MASK;
}

/*
 * With the socket's lock held, which each change of state takes, and the request itself. What ends otherwise than by its
 * handshake was open, though its opening was missed.
 */
static __always_inline void report_outcome(struct connection *connection, struct sock *sk, int old_state, int state)
{
	int error = sk->sk_err;

	if (options.outcome && state == TCP_CLOSE && is_mptcp(sk))
		error = take_path_error(sk) ?: error;
	if (state == TCP_ESTABLISHED || (old_state != TCP_SYN_SENT && old_state != TCP_SYN_RECV))
		report_opened(connection, sk);
	else if (!options.outcome)
		connection->event.head.type = RECORD_CLOSE; /* a request found at the start: nothing was told of it */
	else
		report_failure(connection, sk, error,
			       !error && connection->phase & PHASE_CLOSING && is_being_killed());
}

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

#endif
