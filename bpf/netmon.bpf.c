// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * netmon: each TCP connection's opening and close, with the process behind it.
 * Loads unchanged on Linux 6.2 (6.1 works) and newer, on x86_64 and arm64.
 */
#include "process.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] &&
	       address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

static __always_inline void copy_ipv6(__u8 *to, const struct in6_addr *from)
{
	__be32 words[4];
	int i;

	for (i = 0; i < 4; i++)
		words[i] = from->in6_u.u6_addr32[i];
	__builtin_memcpy(to, words, sizeof(words));
}

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
	struct sock_common *common = &sk->__sk_common;

	event->head.family = family;
	event->head.sport = local_port(sk);
	event->head.dport = bpf_ntohs(common->skc_dport);
	if (family == FAMILY_IPV4) {
		__be32 saddr = common->skc_rcv_saddr, daddr = common->skc_daddr;

		__builtin_memcpy(event->ipv4.saddr, &saddr, sizeof(saddr));
		__builtin_memcpy(event->ipv4.daddr, &daddr, sizeof(daddr));
	} else {
		copy_ipv6(event->ipv6.saddr, &common->skc_v6_rcv_saddr);
		copy_ipv6(event->ipv6.daddr, &common->skc_v6_daddr);
	}
}

static __always_inline void send_event(union event *event, __u64 process_id)
{
	__u64 size = event->head.family == FAMILY_IPV4 ? sizeof(event->ipv4) : sizeof(event->ipv6);

	event->head.timestamp_ns = bpf_ktime_get_boot_ns();
	event->head.process_id = process_id;
	if (process_id == LOST || bpf_ringbuf_output(&events, event, size, 0))
		__sync_fetch_and_add(&losses.ring_full, 1);
}

/* A socket may have been reported before: connected, disconnected (AF_UNSPEC) and now connected elsewhere. */
static __always_inline int forget(struct sock *sk)
{
	if (sk->sk_bpf_storage)
		bpf_sk_storage_delete(&connections, sk);
	return 0;
}

static __always_inline int report_open(struct sock *sk, enum direction direction, enum record_type type,
				       enum family family, enum slot slot)
{
	union event event = {}, *stored;
	__u64 process_id;

	read_ends(&event, sk, family);
	if (!passes_ip_filter(direction, &event))
		return forget(sk);
	process_id = identify(slot, true, 0);
	if (process_id == REJECTED)
		return forget(sk);
	event.head.type = type;
	event.head.tid = bpf_get_current_pid_tgid();
	event.head.cookie = bpf_get_socket_cookie(sk);
	send_event(&event, process_id);
	/* A lost opening is counted; the close is reported all the same. */
	stored = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (stored)
		*stored = event;
	else
		__sync_fetch_and_add(&losses.no_storage, 1);
	return 0;
}

/* Runs for IPv4-mapped IPv6 sockets, too, inside tcp_v6_connect. */
SEC("fexit/tcp_v4_connect")
int BPF_PROG(tcp_v4_connect_exit, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	if (ret)
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV4, SLOT_TCP_V4_CONNECT);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(tcp_v6_connect_exit, struct sock *sk, struct sockaddr *address, int address_length, int ret)
{
	if (ret || is_mapped(&sk->__sk_common.skc_v6_daddr))
		return 0;
	return report_open(sk, DIRECTION_EGRESS, RECORD_ESTABLISH, FAMILY_IPV6, SLOT_TCP_V6_CONNECT);
}

static __always_inline int report_accept(struct sock *sk)
{
	enum family family = FAMILY_IPV4;

	if (!sk)
		return 0;
	if (sk->__sk_common.skc_family == AF_INET6 && !is_mapped(&sk->__sk_common.skc_v6_daddr))
		family = FAMILY_IPV6;
	return report_open(sk, DIRECTION_INGRESS, RECORD_ACCEPT, family, SLOT_INET_CSK_ACCEPT);
}

/* User space loads the one of the two that fits the kernel. */
SEC("fexit/inet_csk_accept")
int BPF_PROG(inet_csk_accept_exit, struct sock *listener, struct proto_accept_arg *arg, struct sock *sk)
{
	return report_accept(sk);
}

/* Up to 6.9; changed by commit 92ef0fd55ac8. */
SEC("fexit/inet_csk_accept")
int BPF_PROG(inet_csk_accept_exit_v6_9, struct sock *listener, int flags, int *err, bool kern, struct sock *sk)
{
	return report_accept(sk);
}

/*
 * A kernel thread that closes a process's socket does so on its behalf (delayed fput, garbage collection): the close
 * stays with the process that opened it, while user space knows that one.
 */
static __always_inline bool is_deferred_close(const union event *event)
{
	return bpf_get_current_task_btf()->flags & PF_KTHREAD &&
	       event->head.process_id >= control.oldest_process_id && event->head.process_id != LOST;
}

SEC("fentry/tcp_close")
int BPF_PROG(tcp_close_entry, struct sock *sk)
{
	union event *event = bpf_sk_storage_get(&connections, sk, NULL, 0);
	__u64 process_id;

	if (!event || !event->head.process_id)
		return 0;
	process_id = event->head.process_id;
	event->head.type = RECORD_CLOSE;
	if (!is_deferred_close(event)) {
		process_id = identify(SLOT_TCP_CLOSE, false, process_id);
		event->head.tid = bpf_get_current_pid_tgid();
	}
	send_event(event, process_id);
	return 0;
}
