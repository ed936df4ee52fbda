/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the kernel knows of a connection that is open: since when it is, since when it carries nothing, what it has
 * carried so far. The socket's lock is not held, so the values may be of different moments.
 *
 * The kernel does not keep when a connection was established. But it keeps when data was sent last (lsndtime) and when
 * it was received last (lrcvtime), and sets both at the establishment: in tcp_finish_connect(), and for an accepted
 * connection in tcp_create_openreq_child() and tcp_rcv_state_process(). So a connection that has never sent data, or
 * never received any, has the time of its establishment in one of them. Of all others it is not known.
 *
 * Both are counted in ticks, the low 32 bits of jiffies: 49 days with 1000 a second, 497 days with 100. What is longer
 * ago looks as if it were so much later.
 */
#ifndef __SO_FAR_H__
#define __SO_FAR_H__

#include "maps.h"
#include "transfer.h"
#include <bpf/bpf_core_read.h>

enum {
	NSEC_PER_MSEC = 1000000,
	TICKS_AHEAD = 16, /* ticks by which another CPU may be ahead */
};

/* Returns how many nanoseconds ago a time in ticks was. */
static __always_inline __u64 since(__u32 ticks)
{
	__u32 elapsed = (__u32)bpf_jiffies64() - ticks;

	return elapsed >= (__u32)-TICKS_AHEAD ? 0 : (__u64)elapsed * load_config.tick_ns;
}

static __always_inline __u32 received_last(struct tcp_sock *tcp)
{
	return BPF_CORE_READ((struct inet_connection_sock *)tcp, icsk_ack.lrcvtime);
}

/*
 * Returns the socket if it keeps the times of a connection; else NULL. An MPTCP connection has them in each of its
 * subflows, which come and go. While the connection is being established they are not set.
 */
static __always_inline struct tcp_sock *with_times(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && sk->__sk_common.skc_state != TCP_SYN_SENT && tcp->lsndtime ? tcp : NULL;
}

/* Returns for how many nanoseconds a connection is open: at least 1, or 0 where the kernel does not know it. */
static __noinline __u64 age_of(struct sock *sk)
{
	struct tcp_sock *tcp = with_times(sk);

	if (!tcp)
		return 0;
	if (!tcp->bytes_sent)
		return since(tcp->lsndtime) ?: 1;
	/* bytes_received counts the peer's FIN. */
	if (tcp->bytes_received == (sk->__sk_common.skc_flags >> SOCK_DONE & 1))
		return since(received_last(tcp)) ?: 1;
	return 0;
}

/* Fills in the statistics of an existing connection but its age. state: 0: the socket's. */
static __noinline void read_so_far(struct statistics *statistics, struct sock *sk, enum direction direction,
				   enum tcp_state state)
{
	struct tcp_sock *tcp = with_times(sk);

	read_counts(statistics, sk, direction);
	statistics->state = state ?: sk->__sk_common.skc_state;
	if (tcp) {
		__u64 sent = since(tcp->lsndtime), received = since(received_last(tcp));
		__u64 idle_ms = (sent < received ? sent : received) / NSEC_PER_MSEC;

		statistics->is_idle_known = true;
		statistics->idle_ms = idle_ms < ~0U ? idle_ms : ~0U;
	}
}

#endif
