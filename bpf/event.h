/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Events: filled from sockets, stamped with time and process, sent through the ring buffer. */
#ifndef __EVENT_H__
#define __EVENT_H__

#include "fairness.h"
#include "maps.h"
#include "mptcp.h"
#include "socket.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

/* Whether the configuration asks for events of this type: see report.events. */
static __always_inline bool is_sent(enum record_type type)
{
	return !(report_options.unsent >> type & 1);
}

/*
 * Fills in both endpoints of a connected socket, and the family. By pairs: the kernel checks the address of each read.
 * Both halves of a pair are as in memory, the first one lowest: x86_64 and arm64 are little-endian.
 */
static __always_inline void read_endpoints(union event *event, struct sock *sk, enum family family)
{
	__u32 ports = sk->__sk_common.skc_portpair;

	event->head.family = family;
	event->head.dport = bpf_ntohs((__u16)ports);
	event->head.sport = port_or_kept(sk, ports >> 16);
	if (family == FAMILY_IPV4) {
		__u64 addresses = sk->__sk_common.skc_addrpair;

		copy_ipv4(event->ipv4.saddr, addresses >> 32);
		copy_ipv4(event->ipv4.daddr, addresses);
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

/* A detailed event as it is sent with the option opener or context. */
struct event_with_context {
	struct detailed_event detailed;
	struct event_context context;
};

/*
 * Fills in where the connection lives, if the option context is set, and leaves the opener empty. sk: NULL when the
 * socket is not the connection's any more. Not inlined: its callers have no stack left for it.
 */
static __noinline void read_context(struct event_context *context, struct sock *sk, bool has_details)
{
	__builtin_memset(context, 0, sizeof(*context));
	context->has_details = has_details;
	if (!report_options.context || !sk)
		return;
	context->netns = netns_of(sk);
	context->mark = sk->sk_mark;
	if (is_mptcp(sk)) /* subflows have routes, the MPTCP socket has none */
		context->ifindex = BPF_CORE_READ((struct sock *)first_subflow(sk), sk_dst_cache, dev, ifindex);
	else
		context->ifindex = sk->sk_dst_cache->dev->ifindex;
}

/*
 * As read_context(), of a socket of which nothing but the address is known: the verifier does not know its type. Reading by
 * the address takes some 80 instructions a pointer.
 */
static __noinline void read_context_at(struct event_context *context, struct sock *sk)
{
	struct sock *routed = sk;

	if (load_config.mptcp && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP)
		routed = (void *)first_subflow(sk);
	if (bpf_core_field_exists(sk->__sk_common.skc_net.net))
		context->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	context->ifindex = BPF_CORE_READ(routed, sk_dst_cache, dev, ifindex);
	context->mark = BPF_CORE_READ(sk, sk_mark);
}

#ifdef MINIMAL
#define ONCE_A_PROGRAM static __always_inline
#else
#define ONCE_A_PROGRAM __noinline
#endif

/*
 * Whether an event may take so many bytes of the ring buffer; if not, counts it as lost. payer: see fairness.h. With
 * options there are many callers: it is global then, see the overview in netmon.bpf.c.
 */
ONCE_A_PROGRAM int may_send(const union event *event, __u64 payer, __u64 size)
{
	const struct event_head *head = &event->head;

	if (!event)
		return false;
	/* Whoever chooses a socket by its cookie does not choose the nanosecond. */
	if (needs_no_look(head->timestamp_ns ^ head->cookie) ||
	    may_write(payer, size + price_of_texts(head->process_id), head->type == RECORD_CLOSE))
		return true;
	count_loss(&losses.over_budget, 1);
	return false;
}

/*
 * Reserves room in the ring buffer for a detailed event and copies the event into it. Returns NULL when there is none,
 * which it counts; else the caller fills in the details and submits. has_details: whether it will do so.
 */
static __always_inline struct detailed_event *reserve_detailed(const union event *event, __u64 payer, struct sock *sk,
							       bool has_details)
{
	const __u64 size =
		report_options.with_context ? sizeof(struct event_with_context) : sizeof(struct detailed_event);
	struct detailed_event *detailed;

	if (!may_send(event, payer, size))
		return NULL;
	detailed = bpf_ringbuf_reserve(&events, size, 0);
	if (!detailed) {
		count_loss(&losses.ring_full, 1);
		return NULL;
	}
	if (report_options.with_context)
		read_context(&((struct event_with_context *)detailed)->context, sk, has_details);
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

/* Sends a plain event, or counts it as lost. */
static __always_inline void send_event(union event *event, __u64 payer, enum family family)
{
	__u64 size = family == FAMILY_IPV4 ? sizeof(event->ipv4) : sizeof(event->ipv6);

	if (may_send(event, payer, size) && bpf_ringbuf_output(&events, event, size, 0))
		count_loss(&losses.ring_full, 1);
}

/* Sends an establish or an accept: plain, or with its context. */
static __always_inline void send_opening(union event *event, __u64 payer, struct sock *sk, enum family family)
{
	struct detailed_event *detailed;

	if (!report_options.context) {
		send_event(event, payer, family);
		return;
	}
	detailed = reserve_detailed(event, payer, sk, false);
	if (detailed)
		bpf_ringbuf_submit(detailed, 0);
}

/* As send_opening(), with the option context, of a socket of which nothing but the address is known. */
static __always_inline void send_opening_at(union event *event, __u64 payer, struct sock *sk)
{
	struct detailed_event *detailed = reserve_detailed(event, payer, NULL, false);

	if (!detailed)
		return;
	read_context_at(&((struct event_with_context *)detailed)->context, sk);
	bpf_ringbuf_submit(detailed, 0);
}

#endif
