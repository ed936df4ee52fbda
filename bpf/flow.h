/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option aggregate: connections are added up in flows, and no event is sent. A flow is one process's connections in
 * one direction with one peer and port.
 */
#ifndef __FLOW_H__
#define __FLOW_H__

#include "maps.h"
#include "process.h"
#include "transfer.h"

/*
 * Counts a new flow. Wakes user space once a period, before the map is full: the record that it is woken by is
 * discarded, so it reads none.
 */
static __always_inline void count_new_flow(void)
{
	void *record;

	if (__sync_fetch_and_add(&flows_made, 1) != control.flows_notice)
		return;
	record = bpf_ringbuf_reserve(&events, sizeof(__u64), 0);
	if (record)
		bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
}

/* Returns the flow of this period, which it creates if there is none. NULL when the map is full, which it counts. */
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
			count_new_flow();
		flow = bpf_map_lookup_elem(map, key); /* another CPU may have created it first */
	}
	if (!flow)
		count_loss(&losses.flows_full, 1);
	return flow;
}

/* As find_flow(), for an event's endpoints. Not inlined: its callers have no stack left for the key. */
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

#ifdef MINIMAL
#define count_rest(counted, total) (total)
#else
/*
 * Returns the bytes of a connection that no walk has counted, and counts them. The walk counts only if that was not done
 * meanwhile, so each byte counts once.
 */
static __always_inline __u64 count_rest(__u64 *counted, __u64 total)
{
	__u64 before = __sync_lock_test_and_set(counted, total);

	return total > before ? total - before : 0;
}
#endif

/* Adds a close, with what the connection has carried. The event must still have the opening's time. */
static __always_inline void add_closing(struct connection *connection, struct sock *sk, __u64 process_id)
{
	__u64 duration = bpf_ktime_get_boot_ns() - connection->event.head.timestamp_ns;
	struct flow *flow = flow_of_connection(connection, process_id);
	struct transfer transfer;

	if (!flow)
		return;
	read_transfer(&transfer, sk, connection->direction);
	__sync_fetch_and_add(&flow->closed, 1);
	__sync_fetch_and_add(&flow->failed, !transfer.established);
	__sync_fetch_and_add(&flow->bytes_sent, count_rest(&connection->counted_sent, transfer.sent));
	__sync_fetch_and_add(&flow->bytes_received, count_rest(&connection->counted_received, transfer.received));
	__sync_fetch_and_add(&flow->duration_ns, duration);
}

/* As add_closing(), for the previous connection of a socket that connects again: its byte counts are gone. */
static __always_inline void add_previous_closing(const struct connection *connection, __u64 process_id)
{
	__u64 duration = bpf_ktime_get_boot_ns() - connection->event.head.timestamp_ns;
	struct flow *flow = flow_of_connection(connection, process_id);

	if (!flow)
		return;
	__sync_fetch_and_add(&flow->closed, 1);
	__sync_fetch_and_add(&flow->duration_ns, duration);
}

/* Adds a connect attempt that failed at once. process_id: may be REJECTED, LOST or OVER_BUDGET. */
static __always_inline void add_failure(const union event *endpoints, enum direction direction, __u64 process_id)
{
	struct flow *flow;

	if (process_id == REJECTED)
		return;
	if (is_lost(process_id)) {
		count_lost(process_id);
		return;
	}
	flow = flow_of(endpoints, direction, process_id);
	if (flow)
		__sync_fetch_and_add(&flow->failed, 1);
}

#endif
