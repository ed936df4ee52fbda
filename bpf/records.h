/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the kernel half and user space share: the records in the ring buffer, settings, counters, sizes and numbers.
 * This file is the only place where they are typed. src/netmon/layout.py is generated from it.
 *
 * Fields have a fixed width, padding is explicit (a name with "reserved" stays out of layout.py), and the byte order is
 * the CPU's unless a comment says otherwise.
 */
#ifndef __RECORDS_H__
#define __RECORDS_H__

#include "vmlinux.h"

enum limit {
	COMM_SIZE = 16,
	NAME_SIZE = 256, /* NAME_MAX and a NUL: what most file systems, and names in filters, are bound to */
	PATH_SIZE = 4096, /* PATH_MAX */
	ARGS_SIZE = 8192,
	CGROUP_SIZE = 1024,
	BINARY_PATH_SIZE = 512, /* the longest key that a hash map takes (MAX_BPF_STACK) */
	PREFIX_SIZE = 256, /* the longest key that an LPM trie takes (LPM_DATA_SIZE_MAX) */
	CONTAINER_ID_SIZE = 64, /* hexadecimal digits */
	SHORT_CONTAINER_ID_SIZE = 12, /* the digits that docker ps shows */
	CIDR_LIST_BITS = 32, /* the number of the list, which the LPM keys of addresses begin with */
	PORT_COUNT = 65536,
	TEXTS_BITS = 8, /* of a process's id, the lowest ones: how long its path, arguments and exec are, in units */
	TEXTS_UNIT = 64, /* bytes */
	MAX_ANCESTORS = 16,
	PAYER_LEVEL = 3, /* the depth of a pod's cgroup, of a session's, and of that of a user's service manager */
	PAYER_USER_BIT = 63, /* of a payer's id: the rest is a user id */
	RULE_ALTERNATIVES = 64, /* bits of a set of alternatives: see rules.h */
	RULE_PORT_CLASSES = 256,
	ANSWER_SIZE = 4096, /* bytes of a name server's answer that are read: what servers send by UDP at most */
	HELLO_SIZE = 8192, /* bytes of a TLS client's hello that are read */
};

/* How many entries maps have, and arrays. */
enum table_size {
	FILTER_SETS = 2, /* settings and filter maps: one set filters while user space fills the other */
	CONNECTION_TABLE_SIZE = 1 << 14,
	COOKIE_BATCH = 1 << 12, /* each CPU assigns so many cookies in a row */
	BATCH_DISTANCE = 10125, /* of two batches in the table: its size by the golden ratio, which spreads them evenly */
	CONNECTION_OVERFLOW_SIZE = 1 << 18,
	RECENT_PROCESSES = 16, /* on each CPU */
	SUBFLOW_ERRORS = 1024,
	PAYER_TABLE_SIZE = 512,
};

/*
 * Numbers of the scratch slots. Each program has its own, since a program may be preempted by another one on the same
 * CPU, but never by itself.
 */
enum slot {
	SLOT_TCP_V4_CONNECT,
	SLOT_TCP_V6_CONNECT,
	SLOT_ACCEPT, /* of security_sock_graft(), or of inet_csk_accept(), which is used instead */
	SLOT_TCP_CLOSE,
	SLOT_MPTCP_CONNECT,
	SLOT_MPTCP_ACCEPT,
	SLOT_MPTCP_CLOSE,
	/* Of the backup programs of tcp_v4_connect() and tcp_v6_connect(). */
	SLOT_EHASH,
	SLOT_V4_CHECK,
	SLOT_V6_CHECK,
	SLOT_TCP_CLOSE_LOCKED,
	SLOT_MPTCP_CLOSE_LOCKED,
	SLOT_WALK,
	SLOT_EXEC,
	SLOT_UDP_RECEIVE,
	SLOT_UDP6_RECEIVE,
	SLOT_TCP_SEND,
	SLOT_MPTCP_SEND,
	SLOT_COUNT,
};

/* The first byte of each record. */
enum record_type {
	RECORD_PROCESS = 1,
	RECORD_ESTABLISH = 2,
	RECORD_ACCEPT = 3,
	RECORD_CLOSE = 4,
	RECORD_FAIL = 5,
	RECORD_EXISTING = 6,
	RECORD_PROGRESS = 7,
	RECORD_EXEC = 8,
	RECORD_ANSWER = 9,
	RECORD_ANCESTORS = 10,
	RECORD_NAME = 11,
};

enum family {
	FAMILY_IPV4 = 0,
	FAMILY_IPV6 = 1,
};

enum direction {
	DIRECTION_INGRESS = 0,
	DIRECTION_EGRESS = 1,
};

/* The source is always this host's end of the connection, the destination the peer's. */
enum endpoint {
	ENDPOINT_SRC = 0,
	ENDPOINT_DST = 1,
};

/* Each connection event begins with this. Ports are in host order, addresses in network order. */
struct event_head {
	__u8 type; /* enum record_type */
	__u8 family; /* enum family */
	__u16 sport;
	__u16 dport;
	__u16 reserved;
	__u32 tid;
	__u32 reserved_too;
	__u64 timestamp_ns; /* CLOCK_BOOTTIME */
	__u64 process_id; /* of the process record that was sent before: see TEXTS_BITS */
	__u64 cookie; /* SO_COOKIE */
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
	ENDING_NONE = 0, /* it is open */
	ENDING_LOCAL = 1, /* this host closed it first */
	ENDING_PEER = 2,
	ENDING_RESET = 3,
	ENDING_TIMEOUT = 4,
};

/* Of a close; of an existing connection, what it has carried so far. */
struct statistics {
	__u64 duration_ns; /* since the opening; 0: not known */
	__u64 bytes_sent; /* data still in the send buffer included: the kernel sends it after the close */
	__u64 bytes_received;
	__u32 segments_retransmitted;
	__u32 rtt_us; /* smoothed round-trip time */
	__u8 closed_by; /* close: enum ending */
	__u8 state; /* existing connection: enum tcp_state; 0: it has no statistics */
	__u8 is_idle_known; /* existing connection */
	__u8 reserved_statistics;
	__u32 idle_ms; /* existing connection: since it sent or received data last */
};

/* The result of a connect attempt, or the direction of an existing connection. */
struct outcome {
	__u64 handshake_ns; /* establish: from the first SYN */
	__u32 error; /* failure: errno; 0 when the process gave up before the kernel knew an error */
	__u8 killed; /* failure: the process gave up because a signal killed it */
	__u8 direction; /* existing connection: enum direction */
	__u8 reserved_outcome[2];
};

/*
 * A connection event with details: an establish or a failure with its outcome, a close with its statistics. An IPv4
 * address takes the first four bytes of its field.
 */
struct detailed_event {
	struct event_head head;
	__u8 saddr[16];
	__u8 daddr[16];
	struct outcome outcome;
	struct statistics statistics;
};

/*
 * What a connection that is open has carried so far: in place of an outcome and statistics. Bytes are those that are
 * certain without the socket's lock: what the peer has acknowledged, and what was received in order.
 */
struct progress {
	__u64 duration_ns; /* since the opening */
	__u64 interval_ns; /* since the progress before this one, or the opening */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 interval_bytes_sent; /* of the interval */
	__u64 interval_bytes_received;
	__u32 segments_retransmitted;
	__u32 rtt_us; /* smoothed round-trip time */
};

/* A detailed event of an open connection. */
struct progress_event {
	struct event_head head;
	__u8 saddr[16];
	__u8 daddr[16];
	struct progress progress;
};

/* Follows a detailed event where the options opener or context are set: who opened the connection, where it lives. */
struct event_context {
	__u64 opener_id; /* close: the process that opened the connection, if another one closes it; else 0 */
	__u32 opener_tid;
	__u32 netns; /* inode number of the socket's network namespace; 0 without the option context */
	__u32 ifindex; /* of the interface that the socket sends by; 0: none at the moment */
	__u32 mark; /* SO_MARK */
	__u8 has_details; /* whether the event before it has an outcome or statistics */
	__u8 reserved_context[7];
};

enum secureexec {
	SECUREEXEC_SETUID = 1,
	SECUREEXEC_SETGID = 2,
	SECUREEXEC_FILE_CAPS = 4,
	SECUREEXEC_FILELESS_EXEC = 8,
};

enum process_flag {
	PROCESS_NO_IMAGE = 1, /* it has no mm: it is exiting, or a kernel thread */
	PROCESS_UNLINKED = 2, /* the executable's path was removed */
	PROCESS_PATH_INCOMPLETE = 4, /* only the last part of the path fits */
	PROCESS_ARGS_INCOMPLETE = 8, /* longer than ARGS_SIZE, or paged out */
	PROCESS_ARGS_UNREAD = 16, /* not the current task's memory, which alone can be read */
	PROCESS_KERNEL_THREAD = 32,
	PROCESS_CGROUP_INCOMPLETE = 64, /* not all names of the cgroup's path fit, or not all of one */
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

/* With the option names: where a process comes from, and where it is. */
struct origin {
	__u64 parent_start_ns; /* when its parent was started (CLOCK_BOOTTIME): with the pid, it says which process that is */
	__u64 cgroup_id;
	__u32 netns; /* inode number of a network namespace: of the process, or of an answer's socket */
	__u32 reserved_origin;
};

/*
 * The description of a process: sent once per image (exec), credentials, parent and cgroup, before the first event that
 * names its id. Four strings follow it without a gap: the cgroup's names from the leaf up, each followed by '/'; the
 * container's id; the executable's path; argv, each argument followed by a NUL.
 *
 * An image is sent once, and so is a cgroup: a process that is described again refers to the record that had them.
 */
struct process_record {
	__u8 type; /* RECORD_PROCESS */
	__u8 container_length; /* 0 on the host */
	__u16 cgroup_length;
	__u16 path_length;
	__u16 args_length;
	__u64 process_id;
	/*
	 * The record whose image this process has, or 0: the image is in this record, or unknown. It was sent before. The
	 * arguments may be in this record all the same, if that one does not have them (PROCESS_ARGS_UNREAD).
	 */
	__u64 image_source;
	__u64 cgroup_source; /* the record whose cgroup this process has, or 0: it is in this record */
	__u64 start_time_ns; /* CLOCK_BOOTTIME */
	struct credentials credentials;
	__u32 pid;
	__u32 ppid;
	__u32 secureexec; /* enum secureexec */
	__u16 flags; /* enum process_flag */
	__u16 name_length; /* of the executable's own name, at the end of its path */
	__u8 comm[COMM_SIZE];
	__u64 parent_id; /* of the parent's record, which was sent before; 0: no parent, or not the option parent */
	__u64 exec_id; /* of the exec record that was sent before; 0: none, or not the option exec */
	__u16 foreign; /* enum foreign, with the option exec */
	__u16 reserved[3];
	struct origin origin; /* with the option names */
};

/* What of a process is not the host's. */
enum foreign {
	FOREIGN_MOUNT = 1, /* its mount namespace: its path, and that at its exec, are other files on the host */
	FOREIGN_ROOT = 2, /* its root directory (chroot) */
	FOREIGN_USER = 4, /* its user namespace: its capabilities are valid in there alone */
};

enum exec_flag {
	EXEC_UNLINKED = 1, /* the file had no link */
	EXEC_PATH_INCOMPLETE = 2,
	EXEC_ARGS_INCOMPLETE = 4,
};

/*
 * With the option exec: what a process exec'd, as it was then. Sent right before the process record that refers to it.
 * Two strings follow it without a gap: the executable's path, and argv.
 */
struct exec_record {
	__u8 type; /* RECORD_EXEC */
	__u8 flags; /* enum exec_flag */
	__u16 name_length; /* of the executable's own name, at the end of its path */
	__u16 path_length;
	__u16 args_length;
	__u64 exec_id;
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u64 inode;
	__u32 device; /* the kernel's dev_t: the minor number in the low 20 bits */
	__u32 reserved;
	__u64 reserved_too; /* no record is shorter than a plain event, as which the decoder looks at it first */
};

/*
 * With the option names: an answer that a process has received from a name server by UDP. The answer follows it, or its
 * first ANSWER_SIZE bytes.
 */
struct answer_record {
	__u8 type; /* RECORD_ANSWER */
	__u8 reserved;
	__u16 length; /* of the bytes that follow */
	__u32 pid; /* of the receiver, as in a process record; so are the next two */
	__u64 start_time_ns;
	struct origin origin;
	__u32 ppid;
	__u32 reserved_too;
	__u64 time_ns; /* CLOCK_BOOTTIME */
};

/*
 * With the option sni: a piece of the hello that a TLS client has sent on a connection. It follows the record. An IPv4
 * address takes the first four bytes of its field.
 */
struct hello_record {
	struct event_head head; /* RECORD_NAME */
	__u8 saddr[16];
	__u8 daddr[16];
	__u16 length; /* of the bytes that follow */
	__u16 left; /* how many bytes of the hello are still to come, of HELLO_SIZE at most */
	__u8 is_first;
	__u8 is_early; /* the connection's opening has not been sent: of the head, only the cookie is certain */
	__u8 reserved[2];
};

/* A process that another one descends from. */
struct ancestor {
	__u64 process_id; /* of its record, which was sent before; 0: there was no room for that */
	__u64 start_time_ns; /* CLOCK_BOOTTIME */
	__u32 pid;
	__u32 reserved;
};

/*
 * With the option ancestors: who a process descends from, the parent first. Sent right before the process record that
 * it belongs to, with one ancestor at least, and without those beyond the last.
 */
struct ancestors_head {
	__u8 type; /* RECORD_ANCESTORS */
	__u8 ancestor_count;
	__u16 reserved[3];
	__u64 process_number; /* the process's id without its TEXTS_BITS */
	__u64 reserved_too; /* no record is shorter than a plain event: see exec_record */
};

struct ancestors_record {
	struct ancestors_head head;
	struct ancestor ancestors[MAX_ANCESTORS];
};

enum filter_mode {
	FILTER_OFF = 0,
	FILTER_ALLOW = 1,
	FILTER_DENY = 2,
};

/*
 * A filter of both endpoints: of their addresses, or of their ports. One endpoint in its list is a match. That both must
 * be in theirs is said the other way round: it is no match if one is outside, so `negated`, with the opposite mode.
 */
struct endpoints_filter {
	__u8 mode; /* enum filter_mode */
	__u8 src; /* whether this endpoint has a list */
	__u8 dst;
	__u8 negated; /* an endpoint outside its list counts, not one in it */
};

/* The filters of one direction's connections. */
struct connection_filter {
	__u8 any; /* whether any of them is set, that of network namespaces included */
	__u8 reserved[3];
	struct endpoints_filter ports;
	struct endpoints_filter addresses[2]; /* [enum family] */
};

/*
 * What can be required of a process, a bit each: that the value is in the configuration's list of that name. Without a
 * list it is not.
 */
enum predicate {
	PREDICATE_UID = 1 << 0,
	PREDICATE_EUID = 1 << 1,
	PREDICATE_AUID = 1 << 2,
	PREDICATE_NAME = 1 << 3, /* the executable's; so are prefix and path */
	PREDICATE_PREFIX = 1 << 4,
	PREDICATE_PATH = 1 << 5,
	PREDICATE_CGROUP = 1 << 6,
	PREDICATE_CONTAINER_ID = 1 << 7,
	PREDICATE_FOLLOWED = 1 << 8, /* it has a mark: the lists pid and descendants */
	PREDICATE_GID = 1 << 9,
	PREDICATE_COMM = 1 << 10, /* the process's name, which it can change: task->comm of its leader */
};

/* Why a process is followed: bits. */
enum mark {
	MARK_ALONE = 1, /* it is in the list pid */
	MARK_TREE = 2, /* it is in the list descendants, or descends from one that is */
};

/*
 * A condition on processes: a function of the bits of their predicates. A process matches when all of the first are
 * true, and any of the second, if there are any.
 */
struct process_filter {
	__u8 mode; /* enum filter_mode */
	__u8 reserved;
	__u16 all; /* enum predicate */
	__u16 any; /* enum predicate */
	__u8 reserved_too[2];
};

/* A controller whose cgroups are a hierarchy of version 1: containers may be known by these alone. */
enum legacy_cgroups {
	LEGACY_NONE = 0,
	LEGACY_PIDS = 1,
	LEGACY_MEMORY = 2,
};

/* Facts about this kernel and this run. Set before load and then frozen: the verifier removes branches not taken. */
struct load_config {
	__u8 backups; /* the backup programs of connect() are loaded */
	__u8 ipv6_is_module; /* connect() over IPv6 has backup programs alone */
	__u8 accept_arguments; /* how many inet_csk_accept() has: see compat.h */
	__u8 mptcp; /* the kernel has MPTCP */
	__u8 filters; /* there are filters, or a reload may bring some */
	__u8 follows; /* the process filter follows processes */
	__u8 legacy_cgroups; /* enum legacy_cgroups */
	__u8 rules; /* there are rules: what none of them wants is left out */
	__u32 ring_size; /* of the ring buffer, in bytes */
	__u32 tick_ns; /* how long a tick of the kernel's jiffies is */
};

/*
 * What is reported beyond the plain events, frozen like load_config. The minimal object is compiled without options.
 * A new option takes one line here, among those of the configuration.
 */
struct report_options {
	/* The configuration's, by their names there. */
	__u8 aggregate; /* add connections up in flows instead of sending events */
	__u8 statistics; /* closes have statistics */
	__u8 outcome; /* a connect attempt is reported when it has succeeded or failed */
	__u8 existing; /* connections that are open at the start are reported */
	__u8 opener; /* closes name the process that opened the connection */
	__u8 parent; /* processes name their parent */
	__u8 context; /* events say where the connection lives */
	__u8 exec; /* processes have what they exec'd, as it was then */
	__u8 names; /* answers of name servers are sent, as processes receive them */
	__u8 sni; /* the hellos of TLS clients are sent, as processes send them */
	__u8 workload; /* processes have their workload, which user space finds out */
	__u8 id; /* processes have an id that no other has, which user space makes */

	/* What user space derives from those. */
	__u8 ancestors; /* so many of each process are reported, MAX_ANCESTORS at most */
	__u8 progress; /* what open connections have carried is reported now and then */
	__u8 existing_ingress; /* existing: accepted connections */
	__u8 existing_egress; /* existing: connections that were connected */
	__u16 unsent; /* events: those that are not sent, a bit each, 1 << enum record_type; 0: all are */
	__u8 with_context; /* opener or context: detailed events are followed by struct event_context */
	__u8 other_tasks; /* existing, parent or ancestors: tasks other than the current one are described */
	__u8 snapshot; /* existing: the walk is the only program, and reports each process that holds a connection */
};

/* What rules compare, a list each: see rules.h. Those of a process come last. */
enum rule_list {
	RULE_IPV4_SRC,
	RULE_IPV4_DST,
	RULE_IPV6_SRC,
	RULE_IPV6_DST,
	RULE_PORT_SRC,
	RULE_PORT_DST,
	RULE_NETNS,
	RULE_UID,
	RULE_EUID,
	RULE_GID,
	RULE_EGID,
	RULE_AUID,
	RULE_NAME, /* the executable's; so are path and prefix */
	RULE_PATH,
	RULE_PREFIX,
};

enum { RULE_LISTS = RULE_PREFIX + 1 };

/* What the rules want, as far as the kernel half knows it: sets of alternatives, a bit each. See rules.h. */
struct wanted {
	__u64 possible[2][2]; /* [enum direction][enum family]: what such connections can meet */
	__u64 compared[RULE_LISTS]; /* by enum rule_list: the alternatives that compare the value with the list */
	__u64 otherwise[RULE_LISTS]; /* what a value meets that has no key in the list's map */
};

/* Which filters are set. Their values are in the filter maps of the same set. */
struct settings {
	struct connection_filter connection_filters[2]; /* [enum direction] */
	struct process_filter process_filter;
	__u8 netns_mode; /* enum filter_mode */
	__u8 limited; /* what no rule wants is left out */
	__u8 limited_by_process; /* the rules compare processes, too */
	__u8 reserved[5];
	struct wanted wanted;
};

/* Memory that user space writes while the programs run. Each field is written by itself, in one store. */
struct control {
	/* Processes described under an older id are described again: user space has evicted them. */
	__u64 oldest_process_id;
	/* Counts changes of the filters; its parity says which set filters. */
	__u64 generation;
	/* Wake user space when this many flows have been created since the start. */
	__u64 flows_notice;
	/* The task whose read() walks through all open files, as the kernel numbers it; 0 outside the walk. */
	__u64 walker;
	/* How many open connections the walk through them may still look at before it pauses: see progress.h. */
	__u64 walk_budget;
	/* The walk through all open files has ended: see connection.h. */
	__u64 has_walked;
};

/*
 * What one of two programs that see the same events reported alone, the other having been skipped: see backup.h. User
 * space works out from it how many events may have been missed.
 */
struct coverage {
	__u64 connects_by_main; /* where the backup programs are loaded */
	__u64 closes_by_backup;
	__u64 unkept_by_backup; /* openings that the backup left to the main program, since there was no room */
	/* With the options outcome and aggregate: how often the backup left a mark, and the main program took one. */
	__u64 marks_left;
	__u64 marks_taken;
	/* Where bytes are counted: closes that were read without the socket's lock, since the next one was not set. */
	__u64 tcp_unlocked_closes;
	__u64 tcp_close_is_locked; /* 1 once the kernel has run the program in __tcp_close(): see close.h */
	__u64 mptcp_unlocked_closes; /* likewise */
	__u64 mptcp_close_is_locked; /* __mptcp_close() */
};

/* What was lost, by reason. */
struct losses {
	__u64 ring_full; /* events that found no room in the ring buffer */
	__u64 over_budget; /* events of cgroups that had used their share of a ring buffer that is filling up */
	__u64 no_storage; /* events of connections that found no memory to be kept in */
	__u64 flows_full; /* events that found no room in flows */
	__u64 path_incomplete; /* processes with only part of their path */
	__u64 args_incomplete; /* processes with only part of their arguments */
	__u64 answers_lost; /* answers of name servers: no room in the ring buffer, or not in one piece of memory */
	__u64 hellos_lost; /* hellos of TLS clients: no room in the ring buffer, or not readable */
};

/* Whom the use of the ring buffer is charged to: see fairness.h. */
struct payer {
	__u64 id; /* of a cgroup, or of a user; 0: the entry is free */
	__u64 position; /* the reader's, when the payer's use was estimated last */
	__u64 used; /* bytes of the ring buffer, about */
	__u64 refused; /* records, since the payer has the entry */
	__u8 names[PAYER_LEVEL * NAME_SIZE]; /* of the cgroups from below the root down, NAME_SIZE bytes each */
};

/*
 * A flow: one process's connections in one direction with one peer and port. The port is that of the listening side:
 * the peer's for egress, this host's for ingress.
 */
struct flow_key {
	__u64 process_id;
	__u8 peer[16]; /* an IPv4 address takes the first four bytes */
	__u16 port;
	__u8 family; /* enum family */
	__u8 direction; /* enum direction */
	__u32 reserved;
};

/* Totals of a flow. */
struct flow {
	__u64 opened;
	__u64 closed;
	__u64 failed; /* connect attempts: failed at once, or closed before they were established */
	__u64 bytes_sent; /* in this period, also of connections that are open */
	__u64 bytes_received;
	__u64 duration_ns; /* of the closed connections */
};

enum id_kind {
	ID_UID = 0,
	ID_EUID = 1,
	ID_AUID = 2,
	ID_NETNS = 3, /* inode number */
	ID_GID = 4,
};

struct id_key {
	__u32 kind; /* enum id_kind */
	__u32 id;
};

/* Numbers of the lists of addresses, and of the sets of ports: one per direction and endpoint. */
enum endpoint_list {
	ENDPOINT_INGRESS_SRC,
	ENDPOINT_INGRESS_DST,
	ENDPOINT_EGRESS_SRC,
	ENDPOINT_EGRESS_DST,
};

enum { ENDPOINT_LISTS = ENDPOINT_EGRESS_DST + 1 };

/* LPM keys of addresses: the prefix length in bits, then the number of the list in big endian, then the address. */
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

/* LPM key of a text. */
struct prefix_key {
	__u32 prefixlen;
	__u8 prefix[PREFIX_SIZE];
};

/* Sets of ports, a bit for each port, in the order of enum endpoint_list: [enum direction][enum endpoint]. */
struct port_sets {
	__u8 bits[2][2][PORT_COUNT / 8];
};

/* The alternatives that ports meet. Ports that meet the same are of one class. */
struct rule_ports {
	__u64 met[2][RULE_PORT_CLASSES]; /* [enum endpoint][class] */
	__u8 classes[2][PORT_COUNT]; /* [enum endpoint][port] */
};

/* Offsets and lengths are masked by these sizes minus one, so that the verifier knows their bounds. */
#define IS_POWER_OF_TWO(number) ((number) > 0 && ((number) & ((number) - 1)) == 0)

_Static_assert(IS_POWER_OF_TWO(NAME_SIZE), "a mask");
_Static_assert(IS_POWER_OF_TWO(PATH_SIZE), "a mask");
_Static_assert(IS_POWER_OF_TWO(CGROUP_SIZE), "a mask");
_Static_assert(IS_POWER_OF_TWO(BINARY_PATH_SIZE), "a mask");
_Static_assert(IS_POWER_OF_TWO(FILTER_SETS), "a mask");
_Static_assert((PATH_SIZE + ARGS_SIZE) / TEXTS_UNIT < 1 << TEXTS_BITS, "fits");

_Static_assert(sizeof(struct event_head) == 40, "padding");
_Static_assert(sizeof(struct ipv4_event) == 48, "padding");
_Static_assert(sizeof(struct ipv6_event) == 72, "padding");
_Static_assert(sizeof(struct detailed_event) == 128, "padding");
_Static_assert(sizeof(struct progress_event) == sizeof(struct detailed_event), "takes its place");
_Static_assert(sizeof(struct event_context) == 32, "padding");
_Static_assert(sizeof(struct process_record) == 168, "padding");
_Static_assert(sizeof(struct answer_record) == 56, "padding");
_Static_assert(sizeof(struct hello_record) == 80, "padding");
_Static_assert(sizeof(struct exec_record) == sizeof(struct ipv4_event), "padding");
_Static_assert(sizeof(struct ancestors_head) + sizeof(struct ancestor) == sizeof(struct ipv4_event), "padding");
_Static_assert(IS_POWER_OF_TWO(MAX_ANCESTORS), "a mask");
_Static_assert(sizeof(struct flow_key) == 32, "padding");
_Static_assert(sizeof(struct port_sets) == ENDPOINT_LISTS * PORT_COUNT / 8, "a set per list");
_Static_assert(RULE_ALTERNATIVES == 8 * sizeof(__u64), "bits");
_Static_assert(8 * sizeof(((struct ipv4_cidr_key *)0)->list) == CIDR_LIST_BITS, "number of the list");
_Static_assert(8 * sizeof(((struct ipv6_cidr_key *)0)->list) == CIDR_LIST_BITS, "number of the list");

#endif
