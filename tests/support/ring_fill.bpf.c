// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Fills a ring buffer with netmon's own records, as its probes would: a socket filter, which any kernel runs on request
 * (BPF_PROG_TEST_RUN), as often in a row as asked.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "records.h"

enum { TEMPLATE_SIZE = 512 };

/* A record to send. What differs between events is written over it each time. */
struct template {
	__u64 process_id;
	__u32 size;
	__u32 reserved;
	__u8 record[TEMPLATE_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct template);
} templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct fill {
	__u64 next;	       /* the template to send */
	__u64 count;	       /* of templates */
	__u64 again_from;      /* the template that follows the last one */
	__u64 new_processes;   /* in each round: their ids go up by so many */
	__u64 process_id_base; /* of this round */
	__u64 timestamp_ns;
	__u64 interval_ns; /* between events */
	__u64 events;	   /* sent so far: records of connections */
	__u64 lost;
} fill SEC(".data.fill");

SEC("socket")
int send_next(void *context)
{
	__u32 index = fill.next;
	struct template *template = bpf_map_lookup_elem(&templates, &index);

	if (!template)
		return 0;
	if (template->record[0] == RECORD_PROCESS) {
		struct process_record *process = (struct process_record *)template->record;

		process->process_id = template->process_id + fill.process_id_base;
	} else {
		struct event_head *head = (struct event_head *)template->record;

		head->process_id = template->process_id + fill.process_id_base;
		head->timestamp_ns = fill.timestamp_ns += fill.interval_ns;
		head->cookie = fill.events / 2;
		head->sport = 32768 + fill.events / 2 % 28000;
	}
	if (bpf_ringbuf_output(&events, template->record, template->size & (TEMPLATE_SIZE - 1), 0))
		fill.lost++;
	else if (template->record[0] != RECORD_PROCESS)
		fill.events++;
	if (++fill.next >= fill.count) {
		fill.next = fill.again_from;
		fill.process_id_base += fill.new_processes;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
