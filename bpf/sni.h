/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option sni: the hello that a TLS client begins a connection with, in which it names the server.
 *
 * It is read where the process sends it, out of the process's memory, before it is encrypted or goes anywhere. A hello may
 * come in several writes, so the connection remembers how much of it is still to come. Only its first bytes are looked at
 * here, to tell it from what is no TLS: user space parses the rest.
 *
 * tcp_sendmsg() is where all data passes. So connections that have sent more than a hello are left first, by the
 * socket's own count, and then those of which nothing more is to be seen.
 */
#ifndef __SNI_H__
#define __SNI_H__

#include "compat.h"
#include "connection.h"
#include "fairness.h"
#include "maps.h"
#include <bpf/bpf_core_read.h>

/* The first bytes of what a TLS client sends (RFC 8446): the header of a record, then that of a message. */
enum tls_header {
	TLS_TYPE = 0, /* of the record: 22 is a handshake */
	TLS_MAJOR = 1, /* of the version: 3, up to now */
	TLS_LENGTH = 3, /* of the record, in two bytes */
	TLS_HEADER_SIZE = 5,
	TLS_MESSAGE = 5, /* its type: 1 is the client's hello */
	TLS_MESSAGE_LENGTH = 6, /* in three bytes */
	TLS_MESSAGE_BEGIN = 9,
};

enum {
	TLS_HANDSHAKE = 22,
	TLS_CLIENT_HELLO = 1,
	HELLO_BUFFERS = 4, /* of one write, those that are read */
	HELLO_NONE = -1, /* send_piece(): it is no hello, or was lost */
};

/*
 * Returns how many bytes the hello has that begins with these, with what is before it; 0 if it is no hello. One that is
 * spread over several records has their headers in it, too; as if they all were as long as the first one.
 */
static __always_inline __u32 hello_size(const __u8 *bytes, __u64 length)
{
	__u32 record = bytes[TLS_LENGTH] << 8 | bytes[TLS_LENGTH + 1], message;

	if (bytes[TLS_TYPE] != TLS_HANDSHAKE || bytes[TLS_MAJOR] != 3 || !record ||
	    (length > TLS_MESSAGE && bytes[TLS_MESSAGE] != TLS_CLIENT_HELLO))
		return 0;
	message = bytes[TLS_MESSAGE_LENGTH] << 16 | bytes[TLS_MESSAGE_LENGTH + 1] << 8 | bytes[TLS_MESSAGE_LENGTH + 2];
	message += TLS_MESSAGE_BEGIN - TLS_HEADER_SIZE;
	if (length < TLS_MESSAGE_BEGIN || message <= record)
		return TLS_HEADER_SIZE + record;
	return TLS_HEADER_SIZE + message + message / record * TLS_HEADER_SIZE;
}

/*
 * Sends so many bytes of the process's memory, behind the record that is in the slot. Returns how many bytes of the hello
 * are still to come, or HELLO_NONE. Global: see the overview in netmon.bpf.c.
 */
__noinline int send_piece(__u32 slot, __u64 begin, __u64 length)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct hello_record *record;
	__u32 expected;
	__u8 *bytes;

	if (!scratch || !length)
		return HELLO_NONE;
	record = (void *)scratch->strings;
	bytes = &scratch->strings[sizeof(*record)];
	expected = record->is_first ? HELLO_SIZE : record->left;
	if (length > expected)
		length = expected;
	asm volatile("" : "+r"(length)); /* keeps the check below, which the verifier needs */
	if (length > HELLO_SIZE)
		return HELLO_NONE;
	if (bpf_probe_read_user(bytes, length, (void *)begin)) {
		/* They are not in memory at the moment; whether they are a hello nobody knows. */
		count_loss(&losses.hellos_lost, 1);
		return HELLO_NONE;
	}
	if (record->is_first) {
		if (length < TLS_HEADER_SIZE) { /* nobody sends less than a header at first, except to hide */
			count_loss(&losses.hellos_lost, bytes[TLS_TYPE] == TLS_HANDSHAKE);
			return HELLO_NONE;
		}
		expected = hello_size(bytes, length);
		if (!expected)
			return HELLO_NONE;
		if (expected > HELLO_SIZE)
			expected = HELLO_SIZE;
	}
	record->length = length;
	record->left = expected > length ? expected - length : 0;
	length += sizeof(*record);
	if (!may_write(payer_of_current(), length, false, 0) || bpf_ringbuf_output(&events, record, length, 0)) {
		count_loss(&losses.hellos_lost, 1);
		return HELLO_NONE;
	}
	record->is_first = false;
	return record->left;
}

/*
 * Sends what is being sent, as far as it belongs to the hello that the record in the slot is about. Returns as
 * send_piece(). What is in no process's memory is no hello: files (sendfile), and what the kernel sends itself.
 */
static __always_inline int send_pieces(struct msghdr *message, __u64 size, __u32 slot)
{
	__u8 type = BPF_CORE_READ(message, msg_iter.iter_type);
	__u64 skipped = BPF_CORE_READ(message, msg_iter.iov_offset);
	const struct iovec *next;
	struct iovec buffer;
	int i, left = HELLO_NONE;

	if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF))
		return send_piece(slot, (__u64)BPF_CORE_READ(message, msg_iter.ubuf) + skipped, size);
	if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		return HELLO_NONE;
	next = next_buffer(message);
	for (i = 0; i < HELLO_BUFFERS && size; i++) {
		if (bpf_probe_read_kernel(&buffer, sizeof(buffer), next + i) || buffer.iov_len < skipped)
			return HELLO_NONE;
		buffer.iov_len -= skipped;
		if (buffer.iov_len > size)
			buffer.iov_len = size;
		if (buffer.iov_len) {
			left = send_piece(slot, (__u64)buffer.iov_base + skipped, buffer.iov_len);
			if (left <= 0)
				return left;
		}
		size -= buffer.iov_len;
		skipped = 0;
	}
	return size ? HELLO_NONE : left; /* of too many buffers the rest is lost */
}

/* Fills in the record in the slot: what is sent again of a connection's opening. */
static __always_inline void fill_hello(struct hello_record *record, const struct connection *connection)
{
	const union event *event = &connection->event;

	__builtin_memset(record, 0, sizeof(*record));
	record->head = event->head;
	if (event->head.family == FAMILY_IPV4) {
		__builtin_memcpy(record->saddr, event->ipv4.saddr, sizeof(event->ipv4.saddr));
		__builtin_memcpy(record->daddr, event->ipv4.daddr, sizeof(event->ipv4.daddr));
	} else {
		__builtin_memcpy(record->saddr, event->ipv6.saddr, sizeof(event->ipv6.saddr));
		__builtin_memcpy(record->daddr, event->ipv6.daddr, sizeof(event->ipv6.daddr));
	}
	record->is_early = connection->phase & PHASE_PENDING;
	record->is_first = !(connection->phase & PHASE_HELLO);
	record->left = connection->hello_left;
}

/* A process sends its first bytes by what opens the connection, too: there is none yet. User space awaits it. */
static __always_inline int note_fast_opening(struct sock *sk, struct msghdr *message, __u64 size, __u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct hello_record *record;

	if (!scratch)
		return 0;
	record = (void *)scratch->strings;
	__builtin_memset(record, 0, sizeof(*record));
	record->head.cookie = bpf_get_socket_cookie(sk);
	record->head.type = RECORD_NAME;
	record->head.timestamp_ns = bpf_ktime_get_boot_ns();
	record->is_early = true;
	record->is_first = true;
	send_pieces(message, size, slot);
	return 0;
}

/*
 * Called when a process sends something on a socket.
 *
 * has_sent: whether anything was sent on it before, as far as the socket says.
 */
static __always_inline int note_sending(struct sock *sk, struct msghdr *message, __u64 size, bool has_sent, __u32 slot)
{
	struct connection *connection = find_connection(sk);
	struct hello_record *record;
	struct scratch *scratch;
	int left;

	if (!has_sent && message->msg_flags & MSG_FASTOPEN && sk->__sk_common.skc_state == TCP_CLOSE)
		return note_fast_opening(sk, message, size, slot);
	if (!connection || connection->phase & PHASE_HELLO_OVER || !size)
		return 0;
	if (connection->direction != DIRECTION_EGRESS || (has_sent && !(connection->phase & PHASE_HELLO)) ||
	    is_lost(connection->event.head.process_id)) {
		__sync_fetch_and_or(&connection->phase, PHASE_HELLO_OVER);
		return 0;
	}
	scratch = bpf_map_lookup_elem(&scratches, &slot);
	if (!scratch)
		return 0;
	record = (void *)scratch->strings;
	fill_hello(record, connection);
	record->head.type = RECORD_NAME;
	record->head.timestamp_ns = bpf_ktime_get_boot_ns();
	left = send_pieces(message, size, slot);
	if (left > 0)
		connection->hello_left = left;
	__sync_fetch_and_or(&connection->phase, left > 0 ? PHASE_HELLO_BEGUN : PHASE_HELLO_OVER);
	return 0;
}

/* Called on entry to tcp_sendmsg(), also for what has no connection that is reported. */
static __always_inline int note_tcp_sending(struct sock *sk, struct msghdr *message, __u64 size)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp || tcp->bytes_sent >= HELLO_SIZE)
		return 0;
	return note_sending(sk, message, size, tcp->bytes_sent, SLOT_TCP_SEND);
}

#endif
