/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What events tell beyond the plain ones, on request. */
#ifndef __DETAILS_H__
#define __DETAILS_H__

#include "address.h"
#include "flow.h"
#include "maps.h"

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
 * What ended the connection, as long as the socket knows: a program that reads its error clears it, and of the
 * connection's last state nothing is left.
 */
static __always_inline int note_ending(struct sock *sk, int old_state, int new_state)
{
	struct connection *connection = NULL;

	if (new_state == TCP_CLOSE && sk->sk_bpf_storage)
		connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (connection && !connection->ended_by)
		connection->ended_by = ending_of(old_state, sk->sk_err);
	return 0;
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
	statistics->segments_retransmitted = tcp ? tcp->total_retrans : 0;
	statistics->rtt_us = tcp ? tcp->srtt_us >> 3 : 0;
	statistics->closed_by = connection->ended_by ?: ending_so_far(sk) ?: ending_of(sk->__sk_common.skc_state, 0);
}

/* Copies the event, and its addresses into the room that IPv6 takes. */
static __always_inline void widen(struct detailed_event *detailed, const union event *event)
{
	__builtin_memset(detailed, 0, sizeof(*detailed));
	detailed->head = event->head;
	if (event->head.family == FAMILY_IPV4) {
		__builtin_memcpy(detailed->saddr, event->ipv4.saddr, sizeof(event->ipv4.saddr));
		__builtin_memcpy(detailed->daddr, event->ipv4.daddr, sizeof(event->ipv4.daddr));
	} else {
		__builtin_memcpy(detailed->saddr, event->ipv6.saddr, sizeof(event->ipv6.saddr));
		__builtin_memcpy(detailed->daddr, event->ipv6.daddr, sizeof(event->ipv6.daddr));
	}
}

/* To be called with the opening's time still in the event. */
static __always_inline void send_close_with_statistics(const struct connection *connection, struct sock *sk,
						       __u64 process_id)
{
	struct detailed_event *detailed = bpf_ringbuf_reserve(&events, sizeof(*detailed), 0);
	__u64 now = bpf_ktime_get_boot_ns();

	if (!detailed) {
		__sync_fetch_and_add(&losses.ring_full, 1);
		return;
	}
	widen(detailed, &connection->event);
	read_statistics(&detailed->statistics, sk, connection);
	detailed->statistics.duration_ns = now - connection->event.head.timestamp_ns;
	detailed->head.timestamp_ns = now;
	detailed->head.process_id = process_id;
	bpf_ringbuf_submit(detailed, 0);
}

#endif
