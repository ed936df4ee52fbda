/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Connections that are open when the probes are attached: found in the tables of files of all processes, told once,
 * whoever else holds them. What opens meanwhile was told by the probes, or is by this.
 */
#ifndef __EXISTING_H__
#define __EXISTING_H__

#include "event.h"
#include "filter.h"
#include "mptcp.h"
#include "outcome.h"
#include "process.h"

/*
 * An accepted socket remembers the interface by which its SYN came in, for replies to multicasts, which no TCP socket
 * sends: nothing else sets it.
 */
static __always_inline bool was_accepted(struct sock *sk)
{
	struct inet_sock *inet = is_mptcp(sk) ? (void *)first_path(sk) : (void *)sk;

	return is_ipv6(sk) ? BPF_CORE_READ(inet, pinet6, mcast_oif) : BPF_CORE_READ(inet, mc_index);
}

static __always_inline bool is_open(__u8 state)
{
	return state != TCP_CLOSE && state != TCP_LISTEN && state != TCP_SYN_RECV && state != TCP_SYN_SENT;
}

static __noinline __u64 identify_walked(struct task_struct *task, __u64 generation, __u32 demand)
{
	return identify_task(task, WALKED, NULL, SLOT_WALK, generation, demand, 0, 0);
}

/* As identify_current(). */
static __always_inline __u64 identify_found(struct task_struct *task, __u64 generation)
{
	__u64 id = identify_walked(task, generation, JUDGED);

	if (id != PARENT_FIRST || !options.parent)
		return id;
	if (!identify_parent(task, SLOT_WALK, generation))
		return LOST;
	return identify_walked(task, generation, JUDGED | PARENT_READ);
}

/* Fills what is to be kept of a connection. False when it is not watched. */
static __always_inline bool describe_found(struct connection *found, struct task_struct *task, struct sock *sk)
{
	enum direction direction = was_accepted(sk) ? DIRECTION_INGRESS : DIRECTION_EGRESS;
	enum family family = is_ipv6(sk) ? FAMILY_IPV6 : FAMILY_IPV4;
	__u64 generation = control.generation;
	union event *event = &found->event;

	if (!(direction == DIRECTION_INGRESS ? options.ingress : options.egress) ||
	    !passes_connection_filters(set_of(generation), direction, family, sk))
		return false;
	event->head.process_id = identify_found(task, generation);
	if (event->head.process_id == REJECTED)
		return false;
	event->head.type = RECORD_EXISTING;
	event->head.tid = task->tgid;
	event->head.cookie = bpf_get_socket_cookie(sk);
	event->head.timestamp_ns = bpf_ktime_get_boot_ns();
	read_ends(event, sk, family);
	found->opener_exec_id = task->self_exec_id;
	if (options.opener)
		found->opener_start_ns = start_of(task);
	found->direction = direction;
	return true;
}

/* The other half is for what happens meanwhile. */
static __always_inline bool has_room_to_walk(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2;
}

static __always_inline void report_existing(struct task_struct *task, struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;
	struct connection found = {}, *connection;

	if ((!is_open(state) && state != TCP_SYN_SENT) || bpf_sk_storage_get(&connections, sk, NULL, 0) ||
	    !describe_found(&found, task, sk))
		return;
	/* What is still being asked for is told when it is open: its connect() may have begun before the probes did. */
	found.phase = state == TCP_SYN_SENT ? PHASE_PENDING : PHASE_FOUND;
	connection = bpf_sk_storage_get(&connections, sk, &found, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!connection) {
		__sync_fetch_and_add(&losses.no_storage, 2);
		return;
	}
	/* connect() may have been faster, and told it. If it opened since our look, nobody has. */
	if (connection->phase & PHASE_FOUND || (connection->phase & PHASE_PENDING && is_open(sk->__sk_common.skc_state)))
		report_opened(connection, sk);
}

/* Where half of the ring buffer is full, who reads gets EAGAIN: the walk goes on from there at the next time. */
static __always_inline int visit_file(struct task_struct *task, struct file *file)
{
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	control.walker = bpf_get_current_task_btf()->pid;
	socket = bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	if (!sk || !is_either(sk))
		return 0;
	if (!has_room_to_walk())
		return 1;
	report_existing(task, sk);
	return 0;
}

#endif
