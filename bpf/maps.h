/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every map and global of the kernel half. User space sizes "events", "scratches" and the maps inside of the maps of
 * maps; it creates the latter at run time, with the types and key sizes that are defined here.
 */
#ifndef __MAPS_H__
#define __MAPS_H__

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "records.h"

const volatile struct load_config load_config SEC(".rodata.load_config");
#ifdef MINIMAL
/* Known to clang, which leaves out the code of all options: the minimal object loads sooner and does less per event. */
static const struct report_options report_options = {};
#else
const volatile struct report_options report_options SEC(".rodata.report_options");
#endif
#ifdef UNFILTERED
/* Likewise: what the verifier would find to be dead code, it takes time to look through and to remove. */
#define HAS_FILTERS false
#else
#define HAS_FILTERS load_config.filters
#endif
struct settings settings[FILTER_SETS] SEC(".data.settings");
struct control control SEC(".data.control");
struct losses losses SEC(".data.losses");
__u64 next_process_id = 1;
__u64 flows_made SEC(".data.flows") = 0; /* since the start */

/* Counts what was lost, under a reason: a field of losses. Nothing is lost without being counted. */
static __always_inline void count_loss(__u64 *reason, __u64 count)
{
	__sync_fetch_and_add(reason, count);
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

/* At index id modulo the size. Mapped by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PAYER_TABLE_SIZE);
	__type(key, __u32);
	__type(value, struct payer);
} payers SEC(".maps");

/* What stands for the id of a process that could not be described: its events are lost, and counted. */
#define LOST (~0ULL) /* there was no room for the process's record */
#define OVER_BUDGET (~1ULL) /* its payer had used its share */

static __always_inline bool is_lost(__u64 process_id)
{
	return process_id >= OVER_BUDGET;
}

/* Counts an event of a process that is_lost(). */
static __always_inline void count_lost(__u64 process_id)
{
	count_loss(process_id == OVER_BUDGET ? &losses.over_budget : &losses.ring_full, 1);
}

union event {
	struct event_head head;
	struct ipv4_event ipv4;
	struct ipv6_event ipv6;
};

/* Which of the programs that report the same opening is running: see backup.h. */
enum program {
	PROGRAM_ONLY = 0, /* there is no other */
	PROGRAM_MAIN = 1,
	PROGRAM_BACKUP = 2,
};

/* Bits: what is still to be reported of a connection. 0: its opening has been. */
enum phase {
	PHASE_PENDING = 1, /* a connect attempt without a result */
	PHASE_CLOSING = 2, /* the socket is being closed */
	PHASE_FOUND = 4, /* found open at the start */
	PHASE_REPORTING = 8, /* a program is reporting the opening */
	PHASE_ROUTELESS = 16, /* the opening waits until the socket has a route */
	/* With the option sni, of the hello with which a TLS client begins: see sni.h. */
	PHASE_HELLO_BEGUN = 32, /* a part of it was sent to user space */
	PHASE_HELLO_OVER = 64, /* all of it was, or there is none */
	PHASE_HELLO = PHASE_HELLO_BEGUN | PHASE_HELLO_OVER,
	PHASE_UNREPORTED = PHASE_PENDING | PHASE_FOUND,
};

/* A connection whose opening was reported, or will be: kept until its socket is closed. */
struct connection {
	/* The opening event. Its endpoints are sent again at the close, when the socket may have lost them: a refused
	 * connect disconnects the socket before it is closed. */
	union event event;
	/* What tells that the opener is as it was described, without a look at its description: see is_as_opened(). */
	__u64 opener_exec_id; /* the opener's self_exec_id */
	__u64 opener_start_ns; /* the opener's start_of() */
	__u64 opener_cred; /* the address of its credentials, which the socket's file holds; 0: it holds others */
	__u64 opener_cgroup_id;
	__u32 opener_ppid;
	__u32 opener_auid;
	__u64 payer; /* whom its events are charged to: see fairness.h */
	__u8 reported_by; /* enum program: waits for the other program, which sets it to 0 */
	__u8 direction; /* enum direction */
	__u8 ended_by; /* enum ending: what ended it before its socket was closed */
	__u8 passed_on; /* another process than the opener closes it */
	__u32 phase; /* enum phase */
	__u32 closer_tid; /* PHASE_CLOSING: the thread and the process that close the socket */
	__u16 is_overflowed; /* it is in the overflow, not in the table */
	__u16 hello_left; /* PHASE_HELLO_BEGUN: how many bytes of it are still to come */
	__u64 closer_id;
	__u64 attempt_ns; /* PHASE_PENDING: when connect() began, by CLOCK_MONOTONIC */
#ifndef MINIMAL
	/* For walks through open connections: see progress.h. */
	__u64 socket; /* its address; 0 while the other fields are being filled in */
	__u64 counted_sent; /* bytes that were reported so far */
	__u64 counted_received;
	__u64 counted_ns; /* when; 0: never */
#endif
};

/* See connection.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CONNECTION_TABLE_SIZE);
	__type(key, __u32);
	__type(value, struct connection);
} connection_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTION_OVERFLOW_SIZE);
	__type(key, __u64); /* the socket's cookie */
	__type(value, struct connection);
} connection_overflow SEC(".maps");

__u64 overflowed SEC(".data.overflowed") = 0; /* how many connections are in the overflow */
static const struct connection overflowed_connection = { .is_overflowed = 1 }; /* what a new one there begins as */

/* Why MPTCP subflows failed, by the address of their socket: see mptcp.h. New entries evict old ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SUBFLOW_ERRORS);
	__type(key, __u64);
	__type(value, __u32);
} subflow_errors SEC(".maps");

bool has_subflow_errors = false; /* whether there was any */

enum described {
	NOT_DESCRIBED, /* its record was not sent: the process filter rejected it */
	DESCRIBED_ALONE, /* sent without a parent, as the parent of another process */
	DESCRIBED,
};

/* What is known of a process's predicates, in this generation of filters: see filter.h. */
struct predicates {
	__u16 evaluated; /* enum predicate: those that are known */
	__u16 matched; /* enum predicate: those that are known and true */
};

/* In predicates.evaluated, beside enum predicate: met_by_image is known. */
enum { MET_BY_IMAGE = 1 << 15 };

/* The alternatives of rules that a process meets, in this generation of filters: see rules.h. */
struct alternatives {
	__u64 met;
	__u64 met_by_image; /* by its executable alone */
};

/* What the process's last description says, to see whether it still holds. */
struct process {
	__u64 id; /* 0 or LOST: the other fields mean nothing yet. Written last, read first and last: see process.h */
	__u64 exec_id;
	__u64 image_id; /* of the record that has its image; 0: none was sent */
	__u64 cgroup_source; /* the record that has its cgroup; 0: none was sent */
	__u64 cgroup_id;
	__u64 generation; /* of the filters that it was evaluated by */
	__u64 payer; /* a function of its cgroup and its uid: see fairness.h */
	struct credentials credentials;
	__u32 ppid;
	struct predicates predicates;
	struct alternatives alternatives;
	__u8 described; /* enum described */
	__u8 passes; /* the process filter's verdict: a function of the predicates, see filter.h */
	__u8 has_args; /* the image was sent with its arguments, as far as they fit */
};

/* Stored with each process's thread group leader. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
} processes SEC(".maps");

#ifndef MINIMAL

/*
 * Bytes of the texts of an exec. With what the kernel adds, both fill an allocation of it; newer kernels (seen with 7.3)
 * give task storage none of more than 8 KiB.
 */
enum { EXEC_TEXTS = 440, LONG_EXEC_TEXTS = 7680 };

/* What a process exec'd: see exec.h. The record is sent with the texts behind it. */
struct exec {
	__u64 self_exec_id; /* of the task then; 0 while it is written */
	__u64 is_long; /* the record is in long_execs */
	struct exec_record record;
	__u8 texts[EXEC_TEXTS];
};

struct long_exec {
	struct exec_record record;
	__u8 texts[LONG_EXEC_TEXTS];
};

/* Stored with each process's thread group leader. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct exec);
} execs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct long_exec);
} long_execs SEC(".maps");

#endif

/* enum mark: the processes that the process filter follows, and their threads: see follow.h. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} marks SEC(".maps");

/* A copy of a thread's struct process. */
struct recent {
	struct process process;
	__u64 start_time_ns; /* of the thread */
	__u32 tid;
};

/* Per CPU, the processes of the threads that it ran last: at index tid modulo the size. Faster than task storage. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RECENT_PROCESSES);
	__type(key, __u32);
	__type(value, struct recent);
} recent_processes SEC(".maps");

/*
 * The kinds of inner map that filters use. They have sizes, not types: clang leaves types that only an inner map names
 * out of BTF.
 */
struct ipv4_cidr_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv4_cidr_key));
	__uint(value_size, sizeof(__u8));
};

struct ipv6_cidr_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv6_cidr_key));
	__uint(value_size, sizeof(__u8));
};

struct port_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct port_sets));
};

struct id_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct id_key));
	__uint(value_size, sizeof(__u8));
};

struct name_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u8[NAME_SIZE]));
	__uint(value_size, sizeof(__u8));
};

struct path_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u8[BINARY_PATH_SIZE]));
	__uint(value_size, sizeof(__u8));
};

struct prefix_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct prefix_key));
	__uint(value_size, sizeof(__u8));
};

/* What rules compare: by a key, the alternatives that the value meets. */
struct rule_number_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv4_cidr_key));
	__uint(value_size, sizeof(__u64));
};

struct rule_ipv6_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv6_cidr_key));
	__uint(value_size, sizeof(__u64));
};

struct rule_text_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u8[BINARY_PATH_SIZE]));
	__uint(value_size, sizeof(__u64));
};

struct rule_prefix_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct prefix_key));
	__uint(value_size, sizeof(__u64));
};

struct rule_port_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct rule_ports));
};

/* A map of maps: an inner map per filter set, absent where the set has no such list. No program reads the last slot. */
#define FILTER_MAPS(name, inner)                                                                                       \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, FILTER_SETS + 1);                                                                  \
		__type(key, __u32);                                                                                    \
		__array(values, struct inner);                                                                         \
	} name SEC(".maps")

FILTER_MAPS(ipv4_cidrs, ipv4_cidr_trie);
FILTER_MAPS(ipv6_cidrs, ipv6_cidr_trie);
FILTER_MAPS(ports, port_array);
FILTER_MAPS(ids, id_hash);
FILTER_MAPS(binary_names, name_hash);
FILTER_MAPS(binary_paths, path_hash);
FILTER_MAPS(binary_prefixes, prefix_trie);
FILTER_MAPS(cgroups, prefix_trie);
FILTER_MAPS(container_ids, prefix_trie);
FILTER_MAPS(rule_numbers, rule_number_trie); /* IPv4 addresses and ids, by enum rule_list */
FILTER_MAPS(rule_ipv6, rule_ipv6_trie);
FILTER_MAPS(rule_texts, rule_text_hash); /* paths, and names, which do not begin with a '/' as paths do */
FILTER_MAPS(rule_prefixes, rule_prefix_trie);
FILTER_MAPS(rule_ports, rule_port_array);

struct flow_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct flow_key));
	__uint(value_size, sizeof(struct flow));
};

/* The flows of the current period. User space replaces the inner map, and reads the old one when no program uses it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flow_hash);
} flows SEC(".maps");

/* The walk from the executable's dentry up to the process's root directory. */
struct path_walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root_dentry;
	struct mount *root_mount;
	__u32 start; /* offset in path of the part written so far */
	__u32 name_length; /* of the executable's own name */
	__u8 complete; /* the walk has reached the root */
	__u8 path[2 * PATH_SIZE]; /* written from PATH_SIZE backwards; the rest is room as the verifier sees it */
};

/* The walk from the root cgroup down to the process's own, for the filter of cgroups. */
struct cgroup_walk {
	struct cgroup *cgroup; /* the process's own */
	__u32 depth; /* of that cgroup; the root's is 0 */
	__u32 length; /* of the text so far */
	/* These two are a struct prefix_key of the path, with '/' after each name. The text has room for one name more. */
	__u32 prefixlen;
	__u8 text[PREFIX_SIZE + NAME_SIZE];
};

/* The walk from the process's cgroup up to the root: see cgroup.h. */
struct names_walk {
	struct kernfs_node *node; /* the cgroup whose name is read next */
	struct task_struct *task; /* whose cgroups these are */
	__u32 length; /* of the names so far, at the start of strings */
	__u32 digits; /* offset in strings of what may be a container's id */
	__u8 are_digits; /* it is hexadecimal */
	__u8 is_read; /* the walk is done */
	__u8 is_full; /* there is no room for further names */
	__u8 walks_left; /* on hosts with version 1: see walk_again() */
	__u8 was_named; /* the cgroup of version 2 is not the root */
	__u8 bare_id; /* how many levels above a cgroup named by nothing but an id the walk is; 0: there is none */
	struct prefix_key container; /* the id of the innermost container; prefixlen is 0 on the host */
};

/* What rules compare of a connection. It is here since its programs have no stack left. */
struct compared {
	__u64 met; /* the alternatives that the connection meets, its process aside */
	__u8 addresses[2][16]; /* [enum endpoint]: an IPv4 address takes the first four bytes */
	__u16 ports[2]; /* [enum endpoint] */
	__u32 netns;
	__u8 family; /* enum family */
	union {
		struct ipv4_cidr_key number;
		struct ipv6_cidr_key ipv6;
	} key;
};

enum { AUXV_SIZE = 32 };

/* Whether read_image() has been called for the process that is described. */
enum image_state {
	IMAGE_UNREAD,
	IMAGE_NONE, /* it has none any more: see PROCESS_NO_IMAGE */
	IMAGE_READ,
};

_Static_assert(IS_POWER_OF_TWO(AUXV_SIZE), "a mask");
_Static_assert(IS_POWER_OF_TWO(sizeof(((struct cgroup_walk *)0)->text)), "a mask");

/*
 * Memory to describe one process in. The stack (512 bytes) is too small for it, and the verifier does not track values
 * in map memory, so loops over it converge.
 */
struct scratch {
	struct process_record record;
	__u8 strings[CGROUP_SIZE + CONTAINER_ID_SIZE + PATH_SIZE + ARGS_SIZE]; /* follows the record, and is sent with it */
	struct path_walk walk;
	struct names_walk names;
	struct predicates predicates; /* of the process that is described */
	struct alternatives alternatives; /* likewise */
	struct compared compared; /* of the connection: see rules.h */
	/* Of the task when its description began: what is read afterwards may be of a later exec, or another cgroup. */
	__u64 exec_id;
	__u64 cgroup_id;
	__u8 image_state; /* enum image_state */
	__u32 other_texts; /* how long the texts are that the exec record has, and those of ancestors, in units */
	bool lacks_args; /* the record that has the process's image was sent without its arguments */
	bool is_followed; /* the process that is described, if the configuration follows any */
	union {
		__u64 auxv[2 * AUXV_SIZE]; /* pairs of type and value */
		__u8 name[NAME_SIZE];
		__u8 binary_path[BINARY_PATH_SIZE];
		struct prefix_key binary_prefix;
		struct cgroup_walk cgroup_walk;
	};
	__u64 aux[AUXV_SIZE]; /* the values of auxv by type */
	struct task_struct *other; /* the task to describe; NULL: the current one */
#ifndef MINIMAL
	struct ancestors_record ancestors; /* of the process that is described */
	/* For identify_ancestors(), which has little stack. */
	__u64 generation;
	__u64 parent_id; /* of the first ancestor; may be lost */
#endif
};

struct coverage coverage SEC(".data.coverage");

/* By enum slot, on each CPU. User space creates it without the slots of programs that it does not load. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOT_COUNT);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

#endif
