/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What crosses between the kernel and user space: ring-buffer records, settings, losses.
 * The one truth for the layout: src/netmon/layout.py is generated from these structs.
 * Fixed-width fields, explicit padding, native byte order unless a field says otherwise.
 */
#ifndef __RECORDS_H__
#define __RECORDS_H__

#include "vmlinux.h"

enum limit {
	COMM_SIZE = 16,
	NAME_SIZE = 256,	/* NAME_MAX and a NUL */
	PATH_SIZE = 4096,	/* PATH_MAX */
	ARGS_SIZE = 8192,
	CGROUP_SIZE = 1024,
	BINARY_PATH_SIZE = 512, /* longest key that a hash map takes (MAX_BPF_STACK) */
	PREFIX_SIZE = 256, /* longest key that an LPM trie takes (LPM_DATA_SIZE_MAX) */
	CONTAINER_ID_SIZE = 64, /* digits */
	SHORT_CONTAINER_ID_SIZE = 12, /* as docker ps shows it */
	PORT_COUNT = 65536,
};

/* The first byte of each record. */
enum record_type {
	RECORD_PROCESS = 1,
	RECORD_ESTABLISH = 2,
	RECORD_ACCEPT = 3,
	RECORD_CLOSE = 4,
	RECORD_FAIL = 5,
	RECORD_EXISTING = 6,
};

enum family {
	FAMILY_IPV4 = 0,
	FAMILY_IPV6 = 1,
};

enum direction {
	DIRECTION_INGRESS = 0,
	DIRECTION_EGRESS = 1,
};

enum end {
	END_SRC = 0,
	END_DST = 1,
};

/* Each connection event begins with this. Ports are in host order, addresses in network order. */
struct event_head {
	__u8 type;
	__u8 family;
	__u16 sport;
	__u16 dport;
	__u16 reserved;
	__u32 tid;
	__u32 reserved_too;
	__u64 timestamp_ns; /* CLOCK_BOOTTIME */
	__u64 process_id;
	__u64 cookie;
};

struct ipv4_event {
	struct event_head head;
	__u8 saddr[4];
	__u8 daddr[4];
};

struct ipv6_event {
	struct event_head head;
	__u8 saddr[16];
	__u8 daddr[16];
};

/* What ended a connection. */
enum ending {
	ENDING_NONE = 0, /* nothing has */
	ENDING_LOCAL = 1, /* this end closed it first */
	ENDING_PEER = 2,
	ENDING_RESET = 3,
	ENDING_TIMEOUT = 4,
};

struct statistics {
	__u64 duration_ns; /* from the opening */
	__u64 bytes_sent; /* what waits to be sent counts: the kernel goes on after the close */
	__u64 bytes_received;
	__u32 segments_retransmitted;
	__u32 rtt_us; /* smoothed */
	__u8 closed_by; /* enum ending */
	__u8 reserved_statistics[7];
};

/* Of a request for a connection, and of one that was there before. */
struct outcome {
	__u64 handshake_ns; /* of an establish */
	__u32 error; /* of a failure: errno, 0 when the process gave up before there was any */
	__u8 killed; /* it gave up by being killed */
	__u8 direction; /* enum direction, of an existing connection */
	__u8 reserved_outcome[2];
};

/*
 * An event that tells more: an establish or a failure its outcome, a close its statistics. IPv4 addresses are the first
 * four bytes.
 */
struct detailed_event {
	struct event_head head;
	__u8 saddr[16];
	__u8 daddr[16];
	struct outcome outcome;
	struct statistics statistics;
};

/* Follows a detailed event, where opener or context are asked for: whose its connection is, and where it lives. */
struct origin {
	__u64 opener_id; /* of a close: the process that opened it, if another one closes it; else 0 */
	__u32 opener_tid;
	__u32 netns; /* inode number of the socket's network namespace; 0: the context is not asked for */
	__u32 ifindex; /* of the interface that it sends by; 0: none at the moment */
	__u32 mark;
	__u8 details; /* is there an outcome, or are there statistics? */
	__u8 reserved_origin[7];
};

enum secureexec {
	SECUREEXEC_SETUID = 1,
	SECUREEXEC_SETGID = 2,
	SECUREEXEC_FILE_CAPS = 4,
	SECUREEXEC_FILELESS_EXEC = 8,
};

enum process_flag {
	PROCESS_NO_IMAGE = 1,	     /* no mm: exiting, or a kernel thread */
	PROCESS_UNLINKED = 2,	     /* the executable's path is gone */
	PROCESS_PATH_INCOMPLETE = 4, /* only the last part of the path fits */
	PROCESS_ARGS_INCOMPLETE = 8, /* longer than ARGS_SIZE, or paged out */
	PROCESS_ARGS_UNREAD = 16, /* in memory that is not the current task's */
};

struct credentials {
	__u32 uid;
	__u32 euid;
	__u32 gid;
	__u32 egid;
	__u32 auid;
	__u32 reserved_credentials;
	__u64 cap_inheritable;
	__u64 cap_permitted;
	__u64 cap_effective;
};

/*
 * A process, once per image (exec) and credentials, before the first event that names its id.
 * After it come, with nothing between them: the cgroup's names from the leaf up, each followed by '/';
 * the executable's path; argv, its strings ended by NUL.
 */
struct process_record {
	__u8 type;
	__u8 flags; /* enum process_flag */
	__u16 cgroup_length;
	__u16 path_length;
	__u16 args_length;
	__u64 process_id;
	__u64 image_of; /* PROCESS_NO_IMAGE: the process whose image this one most likely shares, or 0 */
	__u64 start_time_ns; /* CLOCK_BOOTTIME */
	struct credentials credentials;
	__u32 pid;
	__u32 ppid;
	__u32 secureexec; /* enum secureexec */
	__u32 reserved;
	__u8 comm[COMM_SIZE];
	__u64 parent_id; /* the parent, which was sent before; 0 when there is none, or it is not asked for */
};

enum filter_mode {
	FILTER_OFF = 0,
	FILTER_ALLOW = 1,
	FILTER_DENY = 2,
};

/* A filter of both ends: of their addresses, or of their ports. */
struct ends_filter {
	__u8 mode; /* enum filter_mode */
	__u8 src;  /* is there a list for this end? */
	__u8 dst;
	__u8 reserved;
};

/* Of the connections of one direction. */
struct connection_filter {
	__u8 any; /* is there anything that they are asked? */
	__u8 reserved[3];
	struct ends_filter ports;
	struct ends_filter addresses[2]; /* [enum family] */
};

struct process_filter {
	__u8 mode; /* enum filter_mode */
	__u8 uid;  /* is there a uid list? and so on */
	__u8 euid;
	__u8 auid;
	__u8 name;
	__u8 prefix;
	__u8 path;
	__u8 cgroup;
	__u8 container_id;
	__u8 reserved[7];
};

/* Set between open and load: frozen, so the verifier drops the branches not taken. */
struct basics {
	__u8 spares;	/* each hook has its spare program, too */
	__u8 accept_arguments; /* of inet_csk_accept: 4 up to 6.9, 2 since then (commit 92ef0fd55ac8) */
	__u8 mptcp; /* the kernel has it */
	__u8 filters; /* there are filters, or may be after a reload */
};

/* Likewise: what is asked for beyond the plain events. The plain object is compiled without. */
struct options {
	__u8 aggregate; /* sum up in flows instead of sending events */
	__u8 statistics; /* closes tell them */
	__u8 outcome; /* requests are reported when they have succeeded or failed */
	__u8 existing; /* connections that are found open are reported */
	__u8 ingress;  /* which of them */
	__u8 egress;
	__u8 opener;  /* closes tell who opened the connection */
	__u8 parent;  /* processes tell their parent */
	__u8 context; /* events tell where the connection lives */
	__u8 origins; /* opener or context: detailed events have an origin */
	__u8 others; /* existing or parent: other processes than the current one are described */
};

/* What the filter maps of one set are to be asked. */
struct settings {
	struct connection_filter connection_filters[2]; /* [enum direction] */
	struct process_filter process_filter;
	__u8 netns_mode; /* enum filter_mode */
	__u8 reserved[7];
};

/* Of settings and of filter maps: one is in use, while user space fills the other. */
enum filter_set {
	FILTER_SETS = 2,
};

/* Shared with user space while running. Each field is written by itself, in one store. */
struct control {
	/* Processes described under an older id are described again: user space has let them go. */
	__u64 oldest_process_id;
	/* Of the filters: its parity says which set is in use. Processes judged by another generation are judged again. */
	__u64 generation;
	/* User space is woken when so many flows have been made, ever. */
	__u64 flows_notice;
	/* The process that has the kernel walk through all files, as the kernel numbers it, while it does. */
	__u64 walker;
};

struct losses {
	__u64 ring_full;       /* events that found no room in the ring buffer */
	__u64 no_storage;      /* events of connections that found no socket storage */
	__u64 flows_full;      /* events that found no room in flows */
	__u64 path_incomplete; /* processes with part of their path */
	__u64 args_incomplete; /* processes with part of their arguments */
};

/* What is summed up: a process's connections in one direction to one peer and port (of the end that was connected to). */
struct flow_key {
	__u64 process_id;
	__u8 peer[16]; /* IPv4: the first four */
	__u16 port;
	__u8 family;
	__u8 direction;
	__u32 reserved;
};

struct flow {
	__u64 opened;
	__u64 closed;
	__u64 failed; /* to be connected: at once, or never established when closed */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 duration_ns; /* of those closed */
};

enum id_kind {
	ID_UID = 0,
	ID_EUID = 1,
	ID_AUID = 2,
	ID_NETNS = 3, /* its inode number */
};

struct id_key {
	__u32 kind; /* enum id_kind */
	__u32 id;
};

/* LPM keys: the prefix length in bits, then the list's number (big endian), then the address. */
struct ipv4_cidr_key {
	__u32 prefixlen;
	__u8 list[4];
	__u8 address[4];
};

struct ipv6_cidr_key {
	__u32 prefixlen;
	__u8 list[4];
	__u8 address[16];
};

struct prefix_key {
	__u32 prefixlen;
	__u8 prefix[PREFIX_SIZE];
};

/* Sets of ports, a bit each: [enum direction][enum end]. */
struct port_sets {
	__u8 bits[2][2][PORT_COUNT / 8];
};

_Static_assert(sizeof(struct event_head) == 40, "padding");
_Static_assert(sizeof(struct ipv4_event) == 48, "padding");
_Static_assert(sizeof(struct ipv6_event) == 72, "padding");
_Static_assert(sizeof(struct detailed_event) == 128, "padding");
_Static_assert(sizeof(struct origin) == 32, "padding");
_Static_assert(sizeof(struct process_record) == 120, "padding");
_Static_assert(sizeof(struct flow_key) == 32, "padding");

#endif
