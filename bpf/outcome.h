/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The options outcome and existing: openings that are reported after their time. A connect attempt is reported when it
 * has succeeded or failed, a connection that was found open when the walk gets to it. Any task may be running then, or
 * an interrupt: the event is attributed to the process that was saved with the connection.
 */
#ifndef __OUTCOME_H__
#define __OUTCOME_H__

#include "close.h"
#include "connection.h"
#include "event.h"
#include "mptcp.h"
#include "so_far.h"
#include "transfer.h"

enum {
	NSEC_PER_USEC = 1000,
	SIGNAL_MASK = 0x7f, /* of an exit code: the signal that killed */
};

/*
 * Returns when the connect attempt began, by CLOCK_MONOTONIC: when the first SYN was sent. That is now, when the SYN
 * still waits for data to go with it (TCP_FASTOPEN_CONNECT).
 */
static __always_inline __u64 attempt_start_ns(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && tcp->packets_out ? tcp->tcp_mstamp * NSEC_PER_USEC : bpf_ktime_get_ns();
}

/* Leaves a connect attempt to report_outcome(). Until then its event has no time: for inherited_image() it is later. */
static __always_inline void begin_attempt(struct connection *connection, struct sock *sk, __u64 process_id)
{
	connection->event.head.timestamp_ns = ~0ULL;
	connection->attempt_ns = attempt_start_ns(sk);
	connection->event.head.process_id = process_id;
	connection->phase = PHASE_PENDING;
}

/*
 * Stamps an event with the time now, and reserves it; the caller fills it in and submits it. NULL when events of this
 * type are not sent, and when it is lost, which is counted.
 */
static __always_inline struct detailed_event *reserve_outcome(union event *event, __u64 payer, struct sock *sk,
							      enum record_type type)
{
	event->head.timestamp_ns = bpf_ktime_get_boot_ns();
	if (!is_sent(type))
		return NULL;
	if (is_lost(event->head.process_id)) {
		count_lost(event->head.process_id);
		return NULL;
	}
	return reserve_detailed(event, payer, sk, true);
}

/* Sends an establish, with the duration of the handshake. */
static __always_inline void send_success(struct connection *connection, struct sock *sk)
{
	union event *event = &connection->event;
	struct detailed_event *detailed;

	detailed = reserve_outcome(event, connection->payer, sk, RECORD_ESTABLISH);
	if (detailed) {
		detailed->outcome.handshake_ns = bpf_ktime_get_ns() - connection->attempt_ns;
		bpf_ringbuf_submit(detailed, 0);
	}
}

/*
 * Sends that a connection was found open. With the option statistics, the stored event gets the time of the
 * establishment for its close, 0 where the kernel does not know it.
 */
static __always_inline void send_existing(struct connection *connection, struct sock *sk)
{
	/* A connection that was found connecting is established just now; its socket does not say so yet. */
	bool is_new = connection->phase & PHASE_PENDING;
	__u64 age_ns = !report_options.statistics ? 0 : is_new ? 1 : age_of(sk);
	struct detailed_event *detailed = reserve_outcome(&connection->event, connection->payer, sk, RECORD_EXISTING);

	if (detailed) {
		detailed->outcome.direction = connection->direction;
		if (report_options.statistics)
			read_so_far(&detailed->statistics, sk, connection->direction, is_new ? TCP_ESTABLISHED : 0);
		detailed->statistics.duration_ns = age_ns;
		bpf_ringbuf_submit(detailed, 0);
	}
	connection->event.head.timestamp_ns = age_ns ? connection->event.head.timestamp_ns - age_ns : 0;
}

/*
 * Reports an unreported opening of a connection that is open. Reports its close, too, if that came meanwhile: see
 * is_close_due(). Twice does no harm: the first caller sets PHASE_REPORTING.
 */
static __always_inline void report_opened(struct connection *connection, struct sock *sk)
{
	union event *event = &connection->event;

	if (report_options.existing && __sync_fetch_and_or(&connection->phase, PHASE_REPORTING) & PHASE_REPORTING)
		return;
	if (report_options.existing && event->head.type == RECORD_EXISTING)
		send_existing(connection, sk);
	else
		send_success(connection, sk);
	/* After the opening was sent: from here on, a close is reported by report_close(). */
	if (!(__sync_fetch_and_and(&connection->phase, ~PHASE_UNREPORTED) & PHASE_CLOSING))
		return;
	event->head.type = RECORD_CLOSE;
	if (!is_sent(RECORD_CLOSE))
		return;
	if (is_lost(connection->closer_id))
		count_lost(connection->closer_id);
	else
		send_close(connection, sk, connection->closer_id, connection->closer_tid);
}

/* Sends that a connect attempt failed. error: errno, or 0; killed: the process gave up because it is being killed. */
static __always_inline void send_failure(union event *event, __u64 payer, struct sock *sk, __u32 error, bool killed)
{
	struct detailed_event *detailed = reserve_outcome(event, payer, sk, RECORD_FAIL);

	if (detailed) {
		detailed->outcome.error = error;
		detailed->outcome.killed = killed;
		bpf_ringbuf_submit(detailed, 0);
	}
}

/* Reports that a connect attempt failed that was pending. As send_failure(). */
static __always_inline void report_failure(struct connection *connection, struct sock *sk, __u32 error, bool killed)
{
	connection->event.head.type = RECORD_FAIL;
	connection->reported_by = 0;
	send_failure(&connection->event, connection->payer, sk, error, killed);
	__sync_fetch_and_and(&connection->phase, ~PHASE_PENDING);
}

static __always_inline bool is_being_killed(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return task->flags & PF_EXITING && task->signal->group_exit_code & SIGNAL_MASK;
}

/*
 * Reports what became of a connect attempt. The caller holds the socket's lock, which each change of state takes, and
 * connect() itself. A socket that leaves a state beyond the handshake was open, though its opening was missed.
 */
static __always_inline void report_outcome(struct connection *connection, struct sock *sk, int old_state, int state)
{
	int error = sk->sk_err;

	if (report_options.outcome && state == TCP_CLOSE && is_mptcp(sk))
		error = take_subflow_error(sk) ?: error;
	/* connect() fails after the backup program: the main program, which comes next, knows the error. */
	if (state == TCP_CLOSE && !error && connection->reported_by == PROGRAM_BACKUP &&
	    !(connection->phase & PHASE_CLOSING))
		return;
	if (state == TCP_ESTABLISHED || (old_state != TCP_SYN_SENT && old_state != TCP_SYN_RECV))
		report_opened(connection, sk);
	else if (!report_options.outcome)
		connection->event.head.type = RECORD_CLOSE; /* found while it was connecting: reported neither way */
	else
		report_failure(connection, sk, error,
			       !error && connection->phase & PHASE_CLOSING && is_being_killed());
}

/* At each change of a socket's TCP state: saves what ends a connection, and reports what became of an attempt. */
static __always_inline int follow_state(struct sock *sk, int old_state, int state)
{
	bool begins = report_options.outcome && load_config.mptcp && state == TCP_SYN_SENT;
	bool succeeds = (report_options.outcome || report_options.existing) && state == TCP_ESTABLISHED;
	struct connection *connection;

	if (state != TCP_CLOSE && !begins && !succeeds)
		return 0; /* first: most changes are others */
	if (begins) {
		if (has_subflow_errors && is_subflow(sk))
			delete_subflow_error(sk);
		return 0;
	}
	if (report_options.outcome && !succeeds && old_state == TCP_SYN_SENT && is_subflow(sk))
		save_subflow_error(sk);
	connection = find_connection(sk);
	if (!connection || connection->event.head.type == RECORD_CLOSE)
		return 0;
	if (report_options.statistics && state == TCP_CLOSE)
		save_ending(connection, sk, old_state);
	if ((report_options.outcome || report_options.existing) && connection->phase & PHASE_PENDING)
		report_outcome(connection, sk, old_state, state);
	return 0;
}

/*
 * The next two are the backup of follow_state() for TCP: see backup.h. On return from tcp_finish_connect(): a connection
 * that this host began is established.
 */
static __always_inline int follow_success(struct sock *sk)
{
	struct connection *connection = find_connection(sk);

	if (connection && connection->phase & PHASE_PENDING && sk->__sk_common.skc_state == TCP_ESTABLISHED)
		report_outcome(connection, sk, TCP_SYN_SENT, TCP_ESTABLISHED);
	return 0;
}

/* On entry to tcp_done(), which changes the state to TCP_CLOSE next: the socket has its last state, and its error. */
static __always_inline int follow_end(struct sock *sk)
{
	return follow_state(sk, sk->__sk_common.skc_state, TCP_CLOSE);
}

/*
 * On entry to inet_csk_destroy_sock() and mptcp_destroy(), the end of each socket of TCP and MPTCP: reports what the
 * programs were skipped for that should have done it, and frees the connection. Who closed the socket is not known any
 * more, so the close is the opener's, as if the kernel had closed it on its behalf.
 */
static __always_inline int report_destroyed(struct sock *sk)
{
	struct connection *connection = find_connection(sk);
	union event *event;

	if (!connection)
		return 0;
	event = &connection->event;
	if ((report_options.outcome || report_options.existing) && connection->phase & PHASE_PENDING) {
		connection->reported_by = 0; /* no main program comes any more */
		report_outcome(connection, sk, was_established(sk) ? TCP_ESTABLISHED : TCP_SYN_SENT, TCP_CLOSE);
	}
	if (event->head.process_id && event->head.type != RECORD_CLOSE && event->head.type != RECORD_FAIL &&
	    !(connection->phase & PHASE_UNREPORTED)) {
		__sync_fetch_and_add(&coverage.closes_by_backup, 1);
		if (report_options.opener)
			connection->passed_on = false;
		report_closing(connection, sk, event->head.process_id, event->head.tid);
	}
	free_connection(connection);
	return 0;
}

#endif
