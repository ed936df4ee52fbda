/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Closes with statistics, and with who opened the connection. */
#ifndef __STATISTICS_H__
#define __STATISTICS_H__

#include "event.h"
#include "flow.h"

/* state: the connection's last one before it ended, or its present one. */
static __always_inline enum ending ending_of(__u8 state, int error)
{
	switch (error) {
	case 0:
		return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK ? ENDING_PEER : ENDING_LOCAL;
	case EPIPE:
	case ECONNABORTED: /* by this host: ss --kill */
	case ECONNRESET:
	case ECONNREFUSED:
		return ENDING_RESET;
	default: /* ETIMEDOUT, or why nothing came through */
		return ENDING_TIMEOUT;
	}
}

/*
 * What ended the connection, noted as long as its socket knows: a program that reads its error clears it, and of the
 * connection's last state nothing is left.
 */
static __always_inline void note_ending(struct connection *connection, struct sock *sk, int last_state)
{
	if (!connection->ended_by)
		connection->ended_by = ending_of(last_state, sk->sk_err);
}

/* Of a connection that was reset before it was accepted, say. */
static __always_inline enum ending ending_so_far(struct sock *sk)
{
	return sk->__sk_common.skc_state == TCP_CLOSE ? ending_of(TCP_CLOSE, sk->sk_err) : ENDING_NONE;
}

static __always_inline void read_statistics(struct statistics *statistics, struct sock *sk,
					    const struct connection *connection)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct transfer transfer;

	read_transfer(&transfer, sk, connection->direction);
	statistics->bytes_sent = transfer.sent;
	statistics->bytes_received = transfer.received;
	if (tcp) {
		statistics->segments_retransmitted = tcp->total_retrans;
		statistics->rtt_us = tcp->srtt_us >> 3;
	} else { /* MPTCP's first path */
		tcp = first_path(sk);
		statistics->segments_retransmitted = BPF_CORE_READ(tcp, total_retrans);
		statistics->rtt_us = BPF_CORE_READ(tcp, srtt_us) >> 3;
	}
	statistics->closed_by = connection->ended_by ?: ending_so_far(sk) ?: ending_of(sk->__sk_common.skc_state, 0);
}

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

#endif
