/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Connections summed up: a flow is what one process does in one direction with one peer and port. */
#ifndef __FLOW_H__
#define __FLOW_H__

#include "maps.h"
#include "process.h"
#include "transfer.h"

/* Wakes user space, once a period, before the flows have no more room. What it finds is a record that was discarded. */
static __always_inline void notice_new_flow(void)
{
	void *record;

	if (__sync_fetch_and_add(&flows_made, 1) != control.flows_notice)
		return;
	record = bpf_ringbuf_reserve(&events, sizeof(__u64), 0);
	if (record)
		bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
}

static __always_inline struct flow *find_flow(const struct flow_key *key)
{
	const struct flow none = {};
	const __u32 current = 0;
	struct flow *flow = NULL;
	void *map = bpf_map_lookup_elem(&flows, &current);

	if (map)
		flow = bpf_map_lookup_elem(map, key);
	if (map && !flow) {
		if (!bpf_map_update_elem(map, key, &none, BPF_NOEXIST))
			notice_new_flow();
		flow = bpf_map_lookup_elem(map, key); /* where another CPU was first, its */
	}
	if (!flow)
		__sync_fetch_and_add(&losses.flows_full, 1);
	return flow;
}

/* With a frame of its own: it takes much of the stack. */
static __noinline struct flow *flow_of(const union event *event, enum direction direction, __u64 process_id)
{
	struct flow_key key = {
		.process_id = process_id,
		.port = direction == DIRECTION_EGRESS ? event->head.dport : event->head.sport,
		.family = event->head.family,
		.direction = direction,
	};

	if (event->head.family == FAMILY_IPV4)
		__builtin_memcpy(key.peer, event->ipv4.daddr, sizeof(event->ipv4.daddr));
	else
		__builtin_memcpy(key.peer, event->ipv6.daddr, sizeof(event->ipv6.daddr));
	return find_flow(&key);
}

static __always_inline struct flow *flow_of_connection(const struct connection *connection, __u64 process_id)
{
	return flow_of(&connection->event, connection->direction, process_id);
}

static __always_inline void add_opening(const struct connection *connection, __u64 process_id)
{
	struct flow *flow = flow_of_connection(connection, process_id);

	if (flow)
		__sync_fetch_and_add(&flow->opened, 1);
}

/* To be called with the opening's time still in the event. */
static __always_inline void add_closing(const struct connection *connection, struct sock *sk, __u64 process_id)
{
	__u64 duration = bpf_ktime_get_boot_ns() - connection->event.head.timestamp_ns;
	struct flow *flow = flow_of_connection(connection, process_id);
	struct transfer transfer;

	if (!flow)
		return;
	read_transfer(&transfer, sk, connection->direction);
	__sync_fetch_and_add(&flow->closed, 1);
	__sync_fetch_and_add(&flow->failed, !transfer.established);
	__sync_fetch_and_add(&flow->bytes_sent, transfer.sent);
	__sync_fetch_and_add(&flow->bytes_received, transfer.received);
	__sync_fetch_and_add(&flow->duration_ns, duration);
}

/* Of what it carried the socket knows no more. */
static __always_inline void add_former(const struct connection *connection, __u64 process_id)
{
	__u64 duration = bpf_ktime_get_boot_ns() - connection->event.head.timestamp_ns;
	struct flow *flow = flow_of_connection(connection, process_id);

	if (!flow)
		return;
	__sync_fetch_and_add(&flow->closed, 1);
	__sync_fetch_and_add(&flow->duration_ns, duration);
}

static __always_inline void add_failure(const union event *ends, enum direction direction, __u64 process_id)
{
	struct flow *flow;

	if (process_id == REJECTED)
		return;
	if (process_id == LOST) {
		__sync_fetch_and_add(&losses.ring_full, 1);
		return;
	}
	flow = flow_of(ends, direction, process_id);
	if (flow)
		__sync_fetch_and_add(&flow->failed, 1);
}

#endif
