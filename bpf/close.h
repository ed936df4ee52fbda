/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Closes: of a socket, and of the connection that a socket had before it connects again. A connection whose opening was
 * not reported has no close either.
 */
#ifndef __CLOSE_H__
#define __CLOSE_H__

#include "backup.h"
#include "connection.h"
#include "event.h"
#include "flow.h"
#include "process.h"
#include "transfer.h"

/* Whether this close needs a detailed event: for statistics, context, or the opener. */
static __always_inline bool needs_details(const struct connection *connection)
{
	return report_options.statistics ||
	       (report_options.with_context && (report_options.context || connection->passed_on));
}

/*
 * Sends a close as a detailed event. The event must still have the opening's process, thread and time. sk: NULL when
 * the socket is not the connection's any more and what it carried is unknown.
 */
static __always_inline void send_detailed_close(const struct connection *connection, struct sock *sk,
						__u64 process_id, __u32 tid)
{
	const struct event_head *opening = &connection->event.head;
	__u64 now = bpf_ktime_get_boot_ns();
	struct detailed_event *detailed =
		reserve_detailed(&connection->event, connection->payer, sk, report_options.statistics);
	struct event_context *context = &((struct event_with_context *)detailed)->context;

	if (!detailed)
		return;
	if (report_options.statistics) {
		if (sk)
			read_statistics(&detailed->statistics, sk, connection);
		else
			detailed->statistics.closed_by = connection->ended_by ?: ENDING_LOCAL;
		if (opening->timestamp_ns) /* else it was open before netmon, and the kernel does not know since when */
			detailed->statistics.duration_ns = now - opening->timestamp_ns;
	}
	if (report_options.with_context && connection->passed_on) {
		context->opener_id = opening->process_id;
		context->opener_tid = opening->tid;
	}
	detailed->head.timestamp_ns = now;
	detailed->head.process_id = process_id;
	detailed->head.tid = tid;
	bpf_ringbuf_submit(detailed, 0);
}

/* Sends a close, detailed or plain. As send_detailed_close(). */
static __always_inline void send_close(struct connection *connection, struct sock *sk, __u64 process_id, __u32 tid)
{
	union event *event = &connection->event;

	if (needs_details(connection)) {
		send_detailed_close(connection, sk, process_id, tid);
	} else {
		stamp(event, process_id);
		event->head.tid = tid;
		send_event(event, connection->payer, event->head.family);
	}
}

/*
 * With the option context: reports an opening that the backup program left for later, since the socket had no route and
 * so no interface yet. The main program calls it, or if that was skipped, the first one that sees the connection again.
 */
static __always_inline void report_routed(struct connection *connection, struct sock *sk)
{
	if (!report_options.context || !(connection->phase & PHASE_ROUTELESS))
		return;
	connection->phase = 0;
	if (is_lost(connection->event.head.process_id))
		count_lost(connection->event.head.process_id);
	else
		send_opening(&connection->event, connection->payer, sk, connection->event.head.family);
}

/*
 * A socket connects that has a connection already: reports the close of that one from the stored event, since the
 * socket itself has forgotten it. The socket was disconnected (connect() to AF_UNSPEC) or its connection refused.
 * process_id: of the process that connects it; REJECTED, when that is not reported: the close is the opener's then.
 * Returns 0. Global, so it cannot be given the socket: see the overview in netmon.bpf.c.
 */
__noinline int end_previous(struct connection *connection, __u64 process_id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	union event *event;
	__u32 tid = task->pid;

	if (!connection)
		return 0;
	event = &connection->event;
	if (!event->head.process_id || event->head.type == RECORD_CLOSE || event->head.type == RECORD_FAIL ||
	    connection->phase & PHASE_UNREPORTED)
		return 0;
	report_routed(connection, NULL);
	if (!is_sent(RECORD_CLOSE))
		return 0;
	if (report_options.opener)
		connection->passed_on = process_id != REJECTED && start_of(task) != connection->opener_start_ns;
	if (process_id == REJECTED) {
		process_id = event->head.process_id;
		tid = event->head.tid;
	}
	event->head.type = RECORD_CLOSE;
	if (is_lost(process_id))
		count_lost(process_id);
	else if (report_options.aggregate)
		add_previous_closing(connection, process_id);
	else
		send_close(connection, NULL, process_id, tid);
	return 0;
}

/*
 * Whether the close is attributed to the opener instead of the current process. A kernel thread closes sockets on a
 * process's behalf (delayed fput, garbage collection), and so does the walk through all files, if it held the last
 * reference. Not if user space has evicted the opener, or its record was lost.
 */
static __always_inline bool is_deferred_close(struct task_struct *task, const union event *event)
{
	bool deferred = task->flags & PF_KTHREAD || (report_options.existing && (__u32)task->pid == control.walker);

	return deferred && event->head.process_id >= control.oldest_process_id && !is_lost(event->head.process_id);
}

/*
 * Returns the current process's id for a close, or one that is_lost(): closes follow their opening's verdict, no filter
 * applies. No process is described for a close that is not sent.
 */
static __always_inline __u64 identify_closer(struct connection *connection, struct task_struct *task, enum slot slot)
{
	if (!is_sent(RECORD_CLOSE))
		return connection->event.head.process_id;
	if (report_options.opener)
		connection->passed_on = start_of(task) != connection->opener_start_ns;
	if (is_as_opened(connection, task))
		return connection->event.head.process_id;
	return identify_current(slot, control.generation, 0,
				inherited_image(task, &connection->event.head, connection->opener_exec_id));
}

/*
 * Whether the close is to be reported now. Not while the opening is unreported: tcp_close() changes the socket's state
 * next, and report_outcome() then reports that the attempt failed, or both the success and this close. Who closes it is
 * saved for that.
 */
static __always_inline bool is_close_due(struct connection *connection, struct task_struct *task, enum slot slot)
{
	union event *event = &connection->event;

	if (connection->phase & PHASE_UNREPORTED) {
		connection->closer_id = event->head.process_id;
		connection->closer_tid = event->head.tid;
		if (!is_deferred_close(task, event)) {
			connection->closer_id = identify_closer(connection, task, slot);
			connection->closer_tid = task->pid;
		}
		if (__sync_fetch_and_or(&connection->phase, PHASE_CLOSING) & PHASE_UNREPORTED)
			return false;
	}
	return event->head.type != RECORD_FAIL && event->head.type != RECORD_CLOSE;
}

/* Reports the close of a connection whose socket still has what it carried. As send_detailed_close(). */
static __always_inline void report_closing(struct connection *connection, struct sock *sk, __u64 process_id, __u32 tid)
{
	report_routed(connection, sk);
	connection->event.head.type = RECORD_CLOSE;
	if (!is_sent(RECORD_CLOSE))
		return;
	if (is_lost(process_id))
		count_lost(process_id);
	else if (report_options.aggregate)
		add_closing(connection, sk, process_id);
	else
		send_close(connection, sk, process_id, tid);
}

/* Reports the close of a kept connection, if its opening was reported. */
static __always_inline void close_connection(struct connection *connection, struct sock *sk, enum slot slot)
{
	struct task_struct *task = bpf_get_current_task_btf();
	union event *event = &connection->event;
	__u64 process_id = event->head.process_id;
	__u32 tid = event->head.tid;

	if (!process_id || event->head.type == RECORD_CLOSE)
		return;
	if ((report_options.outcome || report_options.existing) && !is_close_due(connection, task, slot))
		return;
	if (!is_deferred_close(task, event)) {
		process_id = identify_closer(connection, task, slot);
		tid = task->pid;
	}
	report_closing(connection, sk, process_id, tid);
}

/*
 * When a socket is closed, and still has its ports: reports the close, if the opening was reported. Returns 0, as all
 * functions that a hook's program calls: the kernel ignores it.
 */
static __always_inline int report_close(struct sock *sk, enum slot slot)
{
	struct connection *connection = find_connection(sk);

	if (!connection)
		return 0;
	close_connection(connection, sk, slot);
	if (!is_state_followed())
		free_connection(connection);
	return 0;
}

/*
 * On entry to tcp_close() and mptcp_close(), where the socket is not locked yet. If bytes are counted, the programs below
 * report closes instead, from when they first run. is_locked: whether they have. unlocked: counts those that came before.
 */
static __always_inline int report_unlocked_close(struct sock *sk, enum slot slot, volatile __u64 *is_locked,
						 __u64 *unlocked)
{
	if (report_options.statistics || report_options.aggregate) {
		if (*is_locked || !find_connection(sk))
			return 0;
		__sync_fetch_and_add(unlocked, 1);
	}
	return report_close(sk, slot);
}

/*
 * On entry to __tcp_close() and __mptcp_close(), which tcp_close() and mptcp_close() call with the socket's lock held:
 * nothing is sent or received meanwhile, so the bytes are exact. A compiler may have put the functions into their
 * callers; then these programs do not run. is_locked: to be set.
 */
static __always_inline int report_locked_close(struct sock *sk, enum slot slot, volatile __u64 *is_locked)
{
	/* The subflows of MPTCP get here by another way. */
	if (!*is_locked && !is_subflow(sk))
		*is_locked = 1;
	return report_close(sk, slot);
}

#endif
