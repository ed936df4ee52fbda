/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option names: answers of name servers, read where a process receives them.
 *
 * When udp_recvmsg() returns, the answer is in the buffer that the process has given, whatever resolver the process has,
 * and before it can connect to what the answer says. Only the header is looked at here: user space parses the rest.
 */
#ifndef __NAMES_H__
#define __NAMES_H__

#include "compat.h"
#include "fairness.h"
#include "maps.h"
#include "process_record.h"
#include "socket.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

enum { DNS_PORT = 53 };

/* The header of a message of DNS (RFC 1035). */
enum dns_header {
	DNS_FLAGS = 2,
	DNS_ERROR = 3,
	DNS_ANSWERS = 6, /* their number, in two bytes */
	DNS_HEADER_SIZE = 12,
};

enum dns_flag {
	DNS_IS_ANSWER = 0x80,
	DNS_OPERATION = 0x78, /* 0: a query */
	DNS_IS_TRUNCATED = 0x02,
	DNS_ERROR_CODE = 0x0f,
};

/* Whether a message came from the port of name servers: the peer's if the socket is connected, else the sender's. */
static __always_inline bool is_from_name_server(struct sock *sk, struct msghdr *message)
{
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	struct sockaddr_in sender = {};
	void *name;

	if (!port) {
		name = BPF_CORE_READ(message, msg_name);
		/* The port has the same place in an address of IPv6. */
		if (!name || bpf_probe_read_kernel(&sender, offsetof(struct sockaddr_in, sin_addr), name))
			return false;
		port = sender.sin_port;
	}
	return port == bpf_htons(DNS_PORT);
}

/*
 * Returns where in the process's memory the bytes begin that were just copied there. NULL if they are not in one piece,
 * or not in a process's memory. The iterator is at their end; of several buffers it leaves one as soon as it is full.
 */
static __always_inline void *begin_of_received(struct msghdr *message, __u64 size)
{
	__u8 type = BPF_CORE_READ(message, msg_iter.iter_type);
	__u64 end = BPF_CORE_READ(message, msg_iter.iov_offset);
	const struct iovec *next;
	struct iovec buffer;

	if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF))
		return BPF_CORE_READ(message, msg_iter.ubuf) + end - size;
	if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		return NULL;
	next = next_buffer(message);
	if (!end)
		next--;
	if (bpf_probe_read_kernel(&buffer, sizeof(buffer), next))
		return NULL;
	if (!end)
		end = buffer.iov_len;
	return end < size ? NULL : buffer.iov_base + end - size;
}

/* Whether a message is an answer that has something to say: the records of a name, or that they did not fit. */
static __always_inline bool says_something(const __u8 *message)
{
	__u8 flags = message[DNS_FLAGS];

	return flags & DNS_IS_ANSWER && !(flags & DNS_OPERATION) && !(message[DNS_ERROR] & DNS_ERROR_CODE) &&
	       (message[DNS_ANSWERS] || message[DNS_ANSWERS + 1] || flags & DNS_IS_TRUNCATED);
}

/* Sends the answer that is in the slot, behind the place of its record. Global: see the overview in netmon.bpf.c. */
__noinline int send_answer(__u32 slot, __u32 length, __u32 netns)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct answer_record *record;
	__u64 size = sizeof(*record) + length;

	if (!scratch || length > ANSWER_SIZE)
		return 0;
	record = (void *)scratch->strings;
	note_origin(slot);
	record->type = RECORD_ANSWER;
	record->length = length;
	record->pid = task->tgid;
	record->ppid = BPF_CORE_READ(task, real_parent, tgid);
	record->start_time_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	record->origin = scratch->record.origin;
	record->origin.netns = netns;
	record->time_ns = bpf_ktime_get_boot_ns();
	if (!may_write(payer_of_current(), size, false) || bpf_ringbuf_output(&events, record, size, 0))
		count_loss(&losses.answers_lost, 1);
	return 0;
}

/*
 * Called when a process has received a message by UDP.
 *
 * room: how many bytes it has room for. flags: MSG_PEEK: it will receive the message again; MSG_ERRQUEUE: it is one that
 * the process has sent itself. size: of the message, or an error.
 */
static __always_inline int note_received(struct sock *sk, struct msghdr *message, __u64 room, __u64 flags, int size,
					 __u32 slot)
{
	struct scratch *scratch;
	__u64 length = size;
	void *begin;

	if (size < DNS_HEADER_SIZE || flags & (MSG_PEEK | MSG_ERRQUEUE) || !is_from_name_server(sk, message))
		return 0;
	if (length > room) /* with MSG_TRUNC, the size is that of a message that did not fit */
		length = room;
	begin = begin_of_received(message, length);
	scratch = bpf_map_lookup_elem(&scratches, &slot);
	if (!scratch || length < DNS_HEADER_SIZE)
		return 0;
	if (length > ANSWER_SIZE)
		length = ANSWER_SIZE;
	asm volatile("" : "+r"(length)); /* keeps the check below, which the verifier needs */
	if (length > ANSWER_SIZE)
		return 0;
	if (!begin || bpf_probe_read_user(&scratch->strings[sizeof(struct answer_record)], length, begin)) {
		count_loss(&losses.answers_lost, 1);
		return 0;
	}
	if (says_something(&scratch->strings[sizeof(struct answer_record)]))
		send_answer(slot, length, netns_of(sk));
	return 0;
}

#endif
