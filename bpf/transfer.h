/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a connection has carried, and what ended it. */
#ifndef __TRANSFER_H__
#define __TRANSFER_H__

#include "compat.h"
#include "maps.h"
#include "mptcp.h"
#include <bpf/bpf_core_read.h>

/* Whether the handshake of a connection that this host began was completed: bytes_acked counts our SYN. */
static __always_inline bool was_established(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && tcp->bytes_acked;
}

/* Payload of a connection that is about to be closed, in bytes. */
struct transfer {
	__u64 sent; /* data still in the send buffer included: the kernel sends it after the close */
	__u64 received;
	bool established; /* the handshake was completed */
};

/* Returns a difference of two counts; 0 if it is negative: without the socket's lock, one may be older than the other. */
static __always_inline __u64 not_negative(__s64 difference)
{
	return difference > 0 ? difference : 0;
}

/* As read_transfer(), for an MPTCP connection. Where the connection itself does not count, its first subflow does. */
static __always_inline void read_mptcp_transfer(struct transfer *transfer, struct sock *sk)
{
	struct mptcp_sock *mptcp = (void *)sk;
	struct tcp_sock *tcp = first_subflow(sk);
	bool counts = counts_bytes(mptcp);

	if (counts) {
		transfer->sent = BPF_CORE_READ(mptcp, bytes_sent);
		transfer->received = BPF_CORE_READ(mptcp, bytes_received);
	}
	/* A reset clears the subflow's bytes_acked: bytes of the connection show that it was established. */
	transfer->established = transfer->established || !tcp || BPF_CORE_READ(tcp, bytes_acked) || transfer->sent ||
				transfer->received;
	if (!transfer->established)
		return;
	if (!counts && tcp) {
		transfer->sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
		transfer->received = BPF_CORE_READ(tcp, bytes_received);
	}
	if (sk->__sk_common.skc_state != TCP_CLOSE)
		transfer->sent += not_negative(BPF_CORE_READ(mptcp, write_seq) - BPF_CORE_READ(mptcp, snd_nxt));
}

/* Fills in the payload that the socket has carried: the kernel's counts without retransmissions, SYN and FIN. */
static __always_inline void read_transfer(struct transfer *transfer, struct sock *sk, enum direction direction)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u8 state = sk->__sk_common.skc_state;

	transfer->sent = transfer->received = 0;
	transfer->established = direction == DIRECTION_INGRESS;
	if (!tcp) {
		if (load_config.mptcp)
			read_mptcp_transfer(transfer, sk);
		return;
	}
	/* bytes_acked counts our SYN. */
	transfer->established = transfer->established || tcp->bytes_acked;
	if (!transfer->established)
		return;
	transfer->sent = tcp->bytes_sent - tcp->bytes_retrans;
	if (state != TCP_CLOSE) {
		__u32 waiting = not_negative((__s32)(tcp->write_seq - tcp->snd_nxt));

		/* After a shutdown, the last in the queue is our FIN. */
		if (waiting && (state == TCP_FIN_WAIT1 || state == TCP_CLOSING || state == TCP_LAST_ACK))
			waiting--;
		transfer->sent += waiting;
	}
	/* bytes_received counts the peer's FIN. */
	transfer->received = tcp->bytes_received - (sk->__sk_common.skc_flags >> SOCK_DONE & 1);
}

/* Returns what ends a connection. state: its last one before it ended, or its present one. error: the socket's. */
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
	default: /* ETIMEDOUT, or the ICMP error that explains the timeout */
		return ENDING_TIMEOUT;
	}
}

/*
 * Saves what ended the connection, when its socket changes to TCP_CLOSE. Later it would be too late: a program that
 * reads the socket's error clears it, and the last state is gone.
 */
static __always_inline void save_ending(struct connection *connection, struct sock *sk, int last_state)
{
	if (!connection->ended_by)
		connection->ended_by = ending_of(last_state, sk->sk_err);
}

/* Returns what has ended a connection already when it is first seen: it was reset before it was accepted, say. */
static __always_inline enum ending ending_so_far(struct sock *sk)
{
	return sk->__sk_common.skc_state == TCP_CLOSE ? ending_of(TCP_CLOSE, sk->sk_err) : ENDING_NONE;
}

/* Fills in what a connection has carried so far. */
static __always_inline void read_counts(struct statistics *statistics, struct sock *sk, enum direction direction)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct transfer transfer;

	read_transfer(&transfer, sk, direction);
	statistics->bytes_sent = transfer.sent;
	statistics->bytes_received = transfer.received;
	if (tcp) {
		statistics->segments_retransmitted = tcp->total_retrans;
		statistics->rtt_us = tcp->srtt_us >> 3;
	} else { /* MPTCP */
		tcp = first_subflow(sk);
		statistics->segments_retransmitted = BPF_CORE_READ(tcp, total_retrans);
		statistics->rtt_us = BPF_CORE_READ(tcp, srtt_us) >> 3;
	}
}

/* Fills in all statistics of a close but the duration. */
static __always_inline void read_statistics(struct statistics *statistics, struct sock *sk,
					    const struct connection *connection)
{
	read_counts(statistics, sk, connection->direction);
	statistics->closed_by = connection->ended_by ?: ending_so_far(sk) ?: ending_of(sk->__sk_common.skc_state, 0);
}

#endif
