/*
 * Makes one connection to itself with io_uring alone: no connect(), no accept().
 *
 * Prints both ends' cookies, the client's first.
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ACCEPT, CONNECT, OPERATIONS };

static char *map_ring(int ring, size_t size, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

static unsigned *at(char *memory, unsigned offset)
{
	return (void *)(memory + offset);
}

/* Submits the operations and fills in their results, by user_data. */
static void run(struct io_uring_sqe *operations, int *results)
{
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, OPERATIONS, &params);
	unsigned i;

	if (ring < 0)
		err(1, "io_uring_setup");
	char *submissions = map_ring(ring, params.sq_off.array + params.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	char *completions = map_ring(ring, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
				     IORING_OFF_CQ_RING);
	struct io_uring_sqe *entries = (void *)map_ring(ring, params.sq_entries * sizeof(*entries), IORING_OFF_SQES);

	for (i = 0; i < OPERATIONS; i++) {
		entries[i] = operations[i];
		at(submissions, params.sq_off.array)[i] = i;
	}
	__atomic_store_n(at(submissions, params.sq_off.tail), OPERATIONS, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, OPERATIONS, OPERATIONS, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		err(1, "io_uring_enter");
	struct io_uring_cqe *done = (void *)(completions + params.cq_off.cqes);
	for (i = 0; i < OPERATIONS; i++)
		results[done[i].user_data] = done[i].res;
	close(ring);
}

static void print_cookie(int fd)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size))
		err(1, "SO_COOKIE");
	printf("%llu\n", (unsigned long long)cookie);
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	int results[OPERATIONS];

	if (bind(listener, (void *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (void *)&address, &size))
		err(1, "listen");
	struct io_uring_sqe operations[OPERATIONS] = {
		[ACCEPT] = {.opcode = IORING_OP_ACCEPT, .fd = listener, .user_data = ACCEPT},
		[CONNECT] = {.opcode = IORING_OP_CONNECT,
			     .fd = client,
			     .addr = (uintptr_t)&address,
			     .off = size,
			     .user_data = CONNECT},
	};
	run(operations, results);
	if (results[ACCEPT] < 0 || results[CONNECT])
		errx(1, "accept %d, connect %d", results[ACCEPT], results[CONNECT]);
	print_cookie(client);
	print_cookie(results[ACCEPT]);
	close(client);
	close(results[ACCEPT]);
	return 0;
}
