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
	__u64 sent; /* once it is closed: data that waits in the send buffer is included, if it will be sent */
	__u64 received;
	bool established; /* the handshake was completed */
};

/* Returns a difference of two counts; 0 if it is negative: without the socket's lock, one may be older than the other. */
static __always_inline __u64 not_negative(__s64 difference)
{
	return difference > 0 ? difference : 0;
}

/* Whether the state has our FIN: it is sent, or the last in the send queue. */
static __always_inline bool has_fin(__u8 state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

static __always_inline bool lingers_not_at_all(struct sock *sk)
{
	return sk->__sk_common.skc_flags >> SOCK_LINGER & 1 && !sk->sk_lingertime;
}

/*
 * Whether the close will drop what waits in the send buffer, since it resets the connection: the program has not read
 * all, or asked for it (SO_LINGER). The kernel decides by the same values, under the same lock.
 */
static __always_inline bool will_reset(struct sock *sk, struct tcp_sock *tcp)
{
	__u32 unread = tcp->rcv_nxt - tcp->copied_seq;

	/* Of these one may be the peer's FIN. */
	return unread > (sk->__sk_common.skc_flags >> SOCK_DONE & 1) || lingers_not_at_all(sk);
}

/* As will_reset(), for MPTCP. */
static __always_inline bool will_reset_mptcp(struct sock *sk, struct mptcp_sock *mptcp)
{
	if (BPF_CORE_READ(sk, sk_receive_queue.qlen))
		return true;
	return bpf_core_field_exists(mptcp->receive_queue) && BPF_CORE_READ(mptcp, receive_queue.qlen);
}

/* As read_transfer(), for an MPTCP connection. Where the connection itself does not count, its first subflow does. */
static __always_inline void read_mptcp_transfer(struct transfer *transfer, struct sock *sk)
{
	struct mptcp_sock *mptcp = (void *)sk;
	struct tcp_sock *tcp = first_subflow(sk);
	__u8 state = sk->__sk_common.skc_state;
	bool counts = counts_bytes(mptcp);
	__u64 waiting;

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
		/* Not exact, and the peer's FIN is among them: the subflow has a lock of its own. */
		transfer->sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
		transfer->received = BPF_CORE_READ(tcp, bytes_received);
	}
	if (state == TCP_CLOSE || will_reset_mptcp(sk, mptcp))
		return;
	waiting = not_negative(BPF_CORE_READ(mptcp, write_seq) - BPF_CORE_READ(mptcp, snd_nxt));
	/* The last in the queue is our FIN: unlike data, it counts as sent only once all of that is. */
	transfer->sent += waiting - (waiting && has_fin(state));
}

/*
 * Fills in the payload that a connection has carried, without SYN and FIN, each byte once. Exact while the socket's lock
 * is held: the kernel changes these counts under it.
 *
 * A connection that is reset, by whichever end, has carried what was sent. Any other one will carry what waits in the
 * send buffer, too. So its bytes are those that the peer has acknowledged, and all that follow up to the end of the
 * queue: that is exact even where the kernel sends bytes in vain, as when a queue on this host is full. Then bytes_sent
 * counts them again, and bytes_retrans does not.
 */
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
	if (state == TCP_CLOSE || will_reset(sk, tcp))
		transfer->sent = tcp->bytes_sent - tcp->bytes_retrans;
	else
		transfer->sent = not_negative(tcp->bytes_acked + (__u32)(tcp->write_seq - tcp->snd_una) -
					      (direction == DIRECTION_EGRESS) - has_fin(state));
	/* bytes_received counts the peer's FIN. */
	transfer->received = tcp->bytes_received - (sk->__sk_common.skc_flags >> SOCK_DONE & 1);
}

/*
 * Whether the peer has acknowledged our FIN, if there was one. A connection that was reset ends in TCP_CLOSE, too: there
 * the walk counts a byte less than there was, which the close adds.
 */
static __always_inline bool is_fin_acknowledged(__u8 state)
{
	return state == TCP_FIN_WAIT2 || state == TCP_CLOSE;
}

/* What a socket has carried, as a walk reads it without its lock. */
struct sample {
	__u64 sent; /* acknowledged by the peer */
	__u64 received;
	struct tcp_sock *tcp; /* it, or the first subflow; read it by BPF_CORE_READ only */
};

/*
 * Reads a socket, which may be gone: see progress.h. Each count is read before the state that says whether it has a FIN,
 * so it is too small by one at most. Returns false when the socket is not the one with this cookie.
 */
static __always_inline bool take_sample(struct sample *sample, struct sock *sk, __u64 cookie, enum direction direction)
{
	bool is_msk = load_config.mptcp && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP;
	struct mptcp_sock *mptcp = (void *)sk;
	struct tcp_sock *tcp = is_msk ? first_subflow(sk) : (void *)sk;
	__u64 fin_sent = 0, fin_received = 0;

	sample->tcp = tcp;
	if (is_msk && counts_bytes(mptcp)) {
		sample->sent = BPF_CORE_READ(mptcp, bytes_acked);
		fin_sent = is_fin_acknowledged(BPF_CORE_READ(sk, __sk_common.skc_state));
		sample->received = BPF_CORE_READ(mptcp, bytes_received);
	} else {
		struct sock *subflow = (void *)tcp;

		sample->sent = BPF_CORE_READ(tcp, bytes_acked);
		fin_sent = is_fin_acknowledged(BPF_CORE_READ(subflow, __sk_common.skc_state));
		sample->received = BPF_CORE_READ(tcp, bytes_received);
		fin_received = BPF_CORE_READ(subflow, __sk_common.skc_flags) >> SOCK_DONE & 1;
		fin_sent += direction == DIRECTION_EGRESS; /* our SYN */
	}
	sample->sent -= sample->sent > fin_sent ? fin_sent : sample->sent;
	sample->received -= sample->received > fin_received ? fin_received : sample->received;
	return (__u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == cookie;
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
