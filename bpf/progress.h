/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What connections have carried while they are open: with the option progress each is reported now and then, and with
 * the option aggregate it is added to its flow at the end of each period. User space reads an iterator for that, which
 * visits each entry of the connection table and of the overflow. The kernel's iterator of TCP sockets would not do: it
 * visits those of one network namespace, and not the sockets of MPTCP.
 *
 * The walk holds no lock, so it stops nobody. It has only the address of the socket, which may be gone:
 *
 * - It reads by probing, which may fail but not crash. Last it reads the socket's cookie. Cookies are not used again, so
 *   if it is the connection's, all that was read before was this socket's.
 * - It reads counts that a single read gets whole, and that only grow: the bytes that the peer has acknowledged, and
 *   those that were received. So it never counts more than the close does.
 * - The bytes that were counted so far are kept with the connection, and changed by compare-and-swap. A close that comes
 *   at the same time adds what is left.
 * - A socket may be disconnected and connected again meanwhile, and keeps its cookie. Then its opening has another time,
 *   and what was counted begins at 0.
 */
#ifndef __PROGRESS_H__
#define __PROGRESS_H__

#include "compat.h"
#include "connection.h"
#include "event.h"
#include "existing.h"
#include "flow.h"
#include "mptcp.h"
#include "transfer.h"

/* A connection as the walk has found it, before it looked at its socket. */
struct found {
	__u64 cookie, socket, opened_ns;
	__u64 counted_sent, counted_received;
};

static __always_inline void note_found(struct found *found, const struct connection *connection)
{
	found->cookie = *(volatile __u64 *)&connection->event.head.cookie;
	found->opened_ns = *(volatile __u64 *)&connection->event.head.timestamp_ns;
	found->counted_sent = *(volatile __u64 *)&connection->counted_sent;
	found->counted_received = *(volatile __u64 *)&connection->counted_received;
	/* Last, and with a full barrier: it is 0 while the others change. */
	found->socket = __sync_fetch_and_add((__u64 *)&connection->socket, 0);
}

/* Whether the connection is still the one that the walk has found, and open. */
static __always_inline bool is_unchanged(const struct connection *connection, const struct found *found)
{
	return *(volatile __u64 *)&connection->event.head.cookie == found->cookie &&
	       *(volatile __u64 *)&connection->event.head.timestamp_ns == found->opened_ns &&
	       *(volatile __u64 *)&connection->socket == found->socket &&
	       *(volatile __u8 *)&connection->event.head.type != RECORD_CLOSE;
}

/* Counts bytes up to this sum, unless others were counted since before; returns how many they are. */
static __always_inline __u64 count_up_to(__u64 *counted, __u64 before, __u64 sum)
{
	if (sum <= before || __sync_val_compare_and_swap(counted, before, sum) != before)
		return 0;
	return sum - before;
}

/* Adds what an open connection has carried since the last time to the flow of the process that opened it. */
static __always_inline void add_growth(struct connection *connection, const struct sample *sample,
				       const struct found *found)
{
	union event event = connection->event;
	struct flow *flow = flow_of(&event, connection->direction, event.head.process_id);

	if (!flow || !is_unchanged(connection, found))
		return;
	__sync_fetch_and_add(&flow->bytes_sent,
			     count_up_to(&connection->counted_sent, found->counted_sent, sample->sent));
	__sync_fetch_and_add(&flow->bytes_received,
			     count_up_to(&connection->counted_received, found->counted_received, sample->received));
}

/* Sends what an open connection has carried. */
static __always_inline void send_progress(struct connection *connection, const struct sample *sample,
					  const struct found *found)
{
	__u64 now = bpf_ktime_get_boot_ns(), opened = found->opened_ns;
	struct detailed_event *detailed = reserve_detailed(&connection->event, connection->payer, NULL, true);
	struct tcp_sock *tcp = sample->tcp;
	struct progress *progress;

	if (!detailed)
		return;
	if (report_options.context)
		read_context_at(&((struct event_with_context *)detailed)->context, (struct sock *)found->socket);
	/* After it was reserved: a close that is not seen here is reserved later, and so is read later. */
	if (!is_unchanged(connection, found)) {
		bpf_ringbuf_discard(detailed, 0);
		return;
	}
	progress = &((struct progress_event *)detailed)->progress;
	detailed->head.type = RECORD_PROGRESS;
	detailed->head.timestamp_ns = now;
	progress->duration_ns = opened ? now - opened : 0; /* it was open before, and the kernel does not know since when */
	progress->interval_ns = now - (connection->counted_ns ?: opened);
	progress->bytes_sent = sample->sent;
	progress->bytes_received = sample->received;
	progress->interval_bytes_sent = count_up_to(&connection->counted_sent, found->counted_sent, sample->sent);
	progress->interval_bytes_received =
		count_up_to(&connection->counted_received, found->counted_received, sample->received);
	progress->segments_retransmitted = BPF_CORE_READ(tcp, total_retrans);
	progress->rtt_us = BPF_CORE_READ(tcp, srtt_us) >> 3;
	connection->counted_ns = now;
	bpf_ringbuf_submit(detailed, 0);
}

/*
 * Reports a connection that is open, if it has carried anything since the last time. Not if its opening is still to be
 * reported, nor if its process is not known any more: its bytes come with the close then.
 */
static __always_inline void report_progress(struct connection *connection)
{
	__u64 process_id = connection->event.head.process_id;
	__u8 type = connection->event.head.type;
	struct sample sample;
	struct found found;

	note_found(&found, connection);
	if (!found.socket || !process_id || is_lost(process_id) || process_id < control.oldest_process_id ||
	    type == RECORD_CLOSE || type == RECORD_FAIL || connection->phase & (PHASE_UNREPORTED | PHASE_ROUTELESS))
		return;
	if (!take_sample(&sample, (struct sock *)found.socket, found.cookie, connection->direction) ||
	    (sample.sent <= found.counted_sent && sample.received <= found.counted_received))
		return;
	if (report_options.aggregate)
		add_growth(connection, &sample, &found);
	else
		send_progress(connection, &sample, &found);
}

/*
 * A step of the walk. Returns 1 when it pauses: user space's read() fails with EAGAIN then, and its next read() resumes
 * at this connection. Else 0. connection: an entry of the table or of the overflow; NULL at the end.
 */
static __always_inline int visit_connection(struct connection *connection)
{
	if (!connection || !connection->event.head.cookie)
		return 0;
	if (!control.walk_budget || (report_options.progress && !has_room_to_walk()))
		return 1;
	control.walk_budget--;
	report_progress(connection);
	return 0;
}

#endif
