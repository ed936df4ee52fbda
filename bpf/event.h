/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Events: filled from sockets, stamped, sent. */
#ifndef __EVENT_H__
#define __EVENT_H__

#include "maps.h"
#include "mptcp.h"
#include "socket.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

static __always_inline void read_ends(union event *event, struct sock *sk, enum family family)
{
	event->head.family = family;
	event->head.sport = local_port(sk);
	event->head.dport = bpf_ntohs(sk->__sk_common.skc_dport);
	if (family == FAMILY_IPV4) {
		copy_ipv4(event->ipv4.saddr, sk->__sk_common.skc_rcv_saddr);
		copy_ipv4(event->ipv4.daddr, sk->__sk_common.skc_daddr);
	} else {
		copy_ipv6(event->ipv6.saddr, &sk->__sk_common.skc_v6_rcv_saddr);
		copy_ipv6(event->ipv6.daddr, &sk->__sk_common.skc_v6_daddr);
	}
}

static __always_inline void stamp(union event *event, __u64 process_id)
{
	event->head.timestamp_ns = bpf_ktime_get_boot_ns();
	event->head.process_id = process_id;
}

struct full_event {
	struct detailed_event detailed;
	struct origin origin;
};

static __noinline void begin_origin(struct origin *origin, struct sock *sk, bool details)
{
	struct sock *routed = sk;

	__builtin_memset(origin, 0, sizeof(*origin));
	origin->details = details;
	if (!options.context)
		return;
	origin->netns = netns_of(sk);
	/* As is_mptcp(), but sk may be NULL. */
	if (basics.mptcp && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP)
		routed = (void *)first_path(sk);
	origin->ifindex = BPF_CORE_READ(routed, sk_dst_cache, dev, ifindex);
	origin->mark = BPF_CORE_READ(sk, sk_mark);
}

/*
 * Room in the ring buffer for an event with details: the event in it, its addresses where IPv6 has them. NULL when there
 * is none. details: an outcome or statistics will be in it.
 */
static __always_inline struct detailed_event *begin_detailed(const union event *event, struct sock *sk, bool details)
{
	struct detailed_event *detailed =
		bpf_ringbuf_reserve(&events, options.origins ? sizeof(struct full_event) : sizeof(*detailed), 0);

	if (!detailed) {
		__sync_fetch_and_add(&losses.ring_full, 1);
		return NULL;
	}
	if (options.origins)
		begin_origin(&((struct full_event *)detailed)->origin, sk, details);
	__builtin_memset(detailed, 0, sizeof(*detailed));
	detailed->head = event->head;
	if (event->head.family == FAMILY_IPV4) {
		__builtin_memcpy(detailed->saddr, event->ipv4.saddr, sizeof(event->ipv4.saddr));
		__builtin_memcpy(detailed->daddr, event->ipv4.daddr, sizeof(event->ipv4.daddr));
	} else {
		__builtin_memcpy(detailed->saddr, event->ipv6.saddr, sizeof(event->ipv6.saddr));
		__builtin_memcpy(detailed->daddr, event->ipv6.daddr, sizeof(event->ipv6.daddr));
	}
	return detailed;
}

static __always_inline void send_event(union event *event, enum family family)
{
	__u64 size = family == FAMILY_IPV4 ? sizeof(event->ipv4) : sizeof(event->ipv6);

	if (bpf_ringbuf_output(&events, event, size, 0))
		__sync_fetch_and_add(&losses.ring_full, 1);
}

static __always_inline void send_opening(union event *event, struct sock *sk, enum family family)
{
	struct detailed_event *detailed;

	if (!options.context) {
		send_event(event, family);
		return;
	}
	detailed = begin_detailed(event, sk, false);
	if (detailed)
		bpf_ringbuf_submit(detailed, 0);
}

#endif
