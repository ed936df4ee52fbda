/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Closes. */
#ifndef __CLOSE_H__
#define __CLOSE_H__

#include "backup.h"
#include "connection.h"
#include "event.h"
#include "flow.h"
#include "process.h"
#include "transfer.h"

/* Of a close: than a plain event. */
static __always_inline bool tells_more(const struct connection *connection)
{
	return options.statistics || (options.origins && (options.context || connection->passed_on));
}

/*
 * To be called with the opening's process, thread and time still in the event. sk: NULL when the socket has another
 * connection by now, and knows no more of what this one carried.
 */
static __always_inline void send_detailed_close(const struct connection *connection, struct sock *sk,
						__u64 process_id, __u32 tid)
{
	const struct event_head *opening = &connection->event.head;
	__u64 now = bpf_ktime_get_boot_ns();
	struct detailed_event *detailed = begin_detailed(&connection->event, sk, options.statistics);
	struct origin *origin = &((struct full_event *)detailed)->origin;

	if (!detailed)
		return;
	if (options.statistics) {
		if (sk)
			read_statistics(&detailed->statistics, sk, connection);
		else
			detailed->statistics.closed_by = connection->ended_by ?: ENDING_LOCAL;
		detailed->statistics.duration_ns = now - opening->timestamp_ns;
	}
	if (options.origins && connection->passed_on) {
		origin->opener_id = opening->process_id;
		origin->opener_tid = opening->tid;
	}
	detailed->head.timestamp_ns = now;
	detailed->head.process_id = process_id;
	detailed->head.tid = tid;
	bpf_ringbuf_submit(detailed, 0);
}

static __always_inline void send_close(struct connection *connection, struct sock *sk, __u64 process_id, __u32 tid)
{
	union event *event = &connection->event;

	if (tells_more(connection)) {
		send_detailed_close(connection, sk, process_id, tid);
	} else {
		stamp(event, process_id);
		event->head.tid = tid;
		send_event(event, event->head.family);
	}
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

#endif
