// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * netmon: each TCP connection's opening and close, with the process behind it.
 * Loads unchanged on Linux 6.2 (6.1 works) and newer, on x86_64 and arm64.
 */
#include "details.h"
#include "flow.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * skc_num is 0 once a socket is unhashed, which a peer's reset does to an accepted socket before accept returns;
 * inet_sport stays.
 */
static __always_inline __u16 local_port(struct sock *sk)
{
	__u16 port = sk->__sk_common.skc_num;

	if (!port)
		port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	return port;
}

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

static __always_inline void send_event(union event *event, enum family family)
{
	__u64 size = family == FAMILY_IPV4 ? sizeof(event->ipv4) : sizeof(event->ipv6);

	if (bpf_ringbuf_output(&events, event, size, 0))
		__sync_fetch_and_add(&losses.ring_full, 1);
}

static __always_inline __u32 slot_of(enum slot slot, enum program program)
{
	return program == PROGRAM_SPARE ? slot + SLOT_SPARES : slot;
}

static __always_inline int report_open(struct sock *sk, enum direction direction, enum record_type type,
				       enum family family, enum slot slot, enum program program)
{
	struct connection *connection = NULL;
	__u64 process_id, generation = control.generation;
	struct task_struct *task;
	union event *event;

	/* There may be one from before: connected, disconnected (AF_UNSPEC) and now connected elsewhere. */
	if (sk->sk_bpf_storage)
		connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (connection && connection->reported_by && connection->reported_by != program) {
		connection->reported_by = 0; /* the other program was here */
		return 0;
	}
	process_id = REJECTED;
	if (passes_ip_filter(set_of(generation), direction, family, sk))
		process_id = identify(slot_of(slot, program), generation, true, 0, 0);
	if (process_id == REJECTED) {
		if (connection)
			bpf_sk_storage_delete(&connections, sk);
		return 0;
	}
	if (!connection)
		connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!connection) {
		/* Its opening, or the spare would repeat it, and its close. The spare tries once more, as the last. */
		if (program == PROGRAM_SPARE || !options.spares)
			__sync_fetch_and_add(&losses.no_storage, 2);
		return 0;
	}
	task = bpf_get_current_task_btf();
	event = &connection->event;
	event->head.type = type;
	event->head.tid = task->pid;
	event->head.cookie = bpf_get_socket_cookie(sk);
	read_ends(event, sk, family);
	connection->opener_exec_id = task->self_exec_id;
	connection->reported_by = program;
	connection->direction = direction;
	if (options.statistics)
		connection->ended_by = ending_so_far(sk);
	/* An opening that is lost is counted; the close is reported all the same. */
	stamp(event, process_id);
	if (process_id == LOST)
		__sync_fetch_and_add(&losses.ring_full, 1);
	else if (options.aggregate)
		add_opening(connection, process_id);
	else
		send_event(event, family);
	return 0;
}

/*
 * Only sums count connects that fail at once, for which no event exists. The socket may have no peer: the address is what
 * was asked for.
 */
static __always_inline int report_v4_failure(struct sock *sk, struct sockaddr *address, enum program program)
{
	__u64 generation = control.generation;
	struct flow_key key = {};
	struct sockaddr_in *asked = (void *)address;
	struct in_addr *daddr = (void *)key.peer;
	__be16 port;

	/* With no connection to mark, the spare would count it again. */
	if (!options.aggregate || program == PROGRAM_SPARE)
		return 0;
	bpf_probe_read_kernel(daddr, sizeof(*daddr), &asked->sin_addr);
	if (!passes_ipv4_filter(set_of(generation), DIRECTION_EGRESS, sk->__sk_common.skc_rcv_saddr, daddr->s_addr))
		return 0;
	key.family = FAMILY_IPV4;
	key.direction = DIRECTION_EGRESS;
	bpf_probe_read_kernel(&port, sizeof(port), &asked->sin_port);
	key.port = bpf_ntohs(port);
	add_failure(&key, identify(SLOT_TCP_V4_CONNECT, generation, true, 0, 0));
	return 0;
}

static __always_inline int report_v6_failure(struct sock *sk, struct sockaddr *address, enum program program)
{
	__u64 generation = control.generation;
	struct flow_key key = {};
	struct sockaddr_in6 *asked = (void *)address;
	struct in6_addr *daddr = (void *)key.peer;
	__be16 port;

	if (!options.aggregate || program == PROGRAM_SPARE)
		return 0;
	bpf_probe_read_kernel(daddr, sizeof(*daddr), &asked->sin6_addr);
	if (is_mapped(daddr) ||
	    !passes_ipv6_filter(set_of(generation), DIRECTION_EGRESS, &sk->__sk_common.skc_v6_rcv_saddr, daddr))
		return 0;
	key.family = FAMILY_IPV6;
	key.direction = DIRECTION_EGRESS;
	bpf_probe_read_kernel(&port, sizeof(port), &asked->sin6_port);
	key.port = bpf_ntohs(port);
	add_failure(&key, identify(SLOT_TCP_V6_CONNECT, generation, true, 0, 0));
	return 0;
}

static __always_inline int report_v4_connect(struct sock *sk, struct sockaddr *address, int ret, enum program program)
{
	/* Runs for IPv4-mapped IPv6 sockets, too, inside tcp_v6_connect. */
	if (ret)
		return report_v4_failure(sk, address, program);
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV4, SLOT_TCP_V4_CONNECT, program);
}

static __always_inline int report_v6_connect(struct sock *sk, struct sockaddr *address, int ret, enum program program)
{
	if (ret)
		return report_v6_failure(sk, address, program);
	if (is_mapped(&sk->__sk_common.skc_v6_daddr))
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6, SLOT_TCP_V6_CONNECT, program);
}

/* In assembler, or clang would make one load of two with an address that depends, which the verifier refuses. */
#define WORD_OF(ctx, index)                                                                        \
	({                                                                                         \
		void *word;                                                                        \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(word) : "r"(ctx), "i"((index) * 8));  \
		word;                                                                              \
	})

/* What inet_csk_accept returned stands behind its arguments. The verifier passes over what the options rule out. */
static __always_inline struct sock *accepted_socket(__u64 *ctx)
{
	if (options.accept_arguments == 2)
		return WORD_OF(ctx, 2);
	return WORD_OF(ctx, 4);
}

static __always_inline int report_accept(struct sock *sk, enum program program)
{
	enum family family = FAMILY_IPV4;

	if (!sk)
		return 0;
	if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr) && sk->__sk_common.skc_family == AF_INET6 &&
	    !is_mapped(&sk->__sk_common.skc_v6_daddr))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_INGRESS, RECORD_ACCEPT, family, SLOT_INET_CSK_ACCEPT, program);
}

/*
 * A kernel thread that closes a process's socket does so on its behalf (delayed fput, garbage collection): the close
 * stays with the process that opened it, while user space knows that one.
 */
static __always_inline bool is_deferred_close(struct task_struct *task, const union event *event)
{
	return task->flags & PF_KTHREAD && event->head.process_id >= control.oldest_process_id &&
	       event->head.process_id != LOST;
}

static __always_inline int report_close(struct sock *sk, enum program program)
{
	struct connection *connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	struct task_struct *task;
	union event *event;
	__u64 process_id;

	if (!connection)
		return 0;
	event = &connection->event;
	if (!event->head.process_id || event->head.type == RECORD_CLOSE)
		return 0;
	process_id = event->head.process_id;
	event->head.type = RECORD_CLOSE;
	task = bpf_get_current_task_btf();
	if (!is_deferred_close(task, event)) {
		process_id = identify(slot_of(SLOT_TCP_CLOSE, program), control.generation, false, process_id,
				      connection->opener_exec_id);
		event->head.tid = task->pid;
	}
	if (process_id == LOST) {
		__sync_fetch_and_add(&losses.ring_full, 1);
	} else if (options.aggregate) {
		add_closing(connection, sk, process_id);
	} else if (options.statistics) {
		send_close_with_statistics(connection, sk, process_id);
	} else {
		stamp(event, process_id);
		send_event(event, event->head.family);
	}
	return 0;
}

/*
 * Where a task can be preempted inside a program, the kernel skips that program for whoever else comes along on that
 * CPU meanwhile (it takes it for recursion). So each hook has a spare program, which user space loads on such kernels:
 * whichever of the two runs first reports and leaves a mark, which the other finds and takes away.
 */
SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_exit, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	return report_v4_connect(sk, address, ret, PROGRAM_MAIN);
}

SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_spare, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	return report_v4_connect(sk, address, ret, PROGRAM_SPARE);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_exit, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	return report_v6_connect(sk, address, ret, PROGRAM_MAIN);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_spare, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	return report_v6_connect(sk, address, ret, PROGRAM_SPARE);
}

SEC("fexit/inet_csk_accept")
int inet_csk_accept_exit(__u64 *ctx)
{
	return report_accept(accepted_socket(ctx), PROGRAM_MAIN);
}

SEC("fexit/inet_csk_accept")
int inet_csk_accept_spare(__u64 *ctx)
{
	return report_accept(accepted_socket(ctx), PROGRAM_SPARE);
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_entry, struct sock *sk)
{
	return report_close(sk, PROGRAM_MAIN);
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_spare, struct sock *sk)
{
	return report_close(sk, PROGRAM_SPARE);
}

/*
 * For statistics alone. Interrupts bring connections' ends, too, in the midst of another's: the spare is always loaded.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_enter, struct sock *sk, int old_state, int new_state)
{
	return note_ending(sk, old_state, new_state);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state_spare, struct sock *sk, int old_state, int new_state)
{
	return note_ending(sk, old_state, new_state);
}
