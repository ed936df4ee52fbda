// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What test_libbpf.py loads: socket filters, which any kernel runs on request (BPF_PROG_TEST_RUN). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

const volatile __u64 first SEC(".rodata.settings");
__u64 count SEC(".data.state");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 12);
	__uint(value_size, 1);
} cidrs SEC(".maps");

/* A device map (14) has no batch operations. */
struct {
	__uint(type, 14);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} devices SEC(".maps");

/* Sends a record of 64 bytes that begins with first + count; counts those that were sent. */
SEC("socket")
int send_record(void *context)
{
	__u64 *record = bpf_ringbuf_reserve(&records, 64, 0);

	if (!record)
		return 0;
	*record = first + count;
	bpf_ringbuf_submit(record, 0);
	count++;
	return 1;
}

/* Gives back the record that it had reserved: the room stays taken until it is read over. */
SEC("socket")
int discard_record(void *context)
{
	__u64 *record = bpf_ringbuf_reserve(&records, 32, 0);

	if (record)
		bpf_ringbuf_discard(record, 0);
	return 0;
}

/* Rejected by the verifier: the key may be missing. */
SEC("?socket")
int trust_the_map(void *context)
{
	__u32 key[3] = {};
	__u8 *value = bpf_map_lookup_elem(&cidrs, key);

	return *value;
}

char _license[] SEC("license") = "GPL";
