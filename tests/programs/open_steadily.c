/*
 * Opens connections over loopback, one a millisecond, and keeps them open while another program starts.
 *
 *   open_steadily FIRST LEAST
 *
 * One thread connects, another one accepts. Prints "open" when FIRST connections are open. Goes on until a line comes
 * on standard input, and until LEAST are open. Then prints the cookies of all clients in one line and those of all
 * servers in the next one, and ends, which closes both ends of each.
 */
#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 100000 };

static uint64_t client_cookies[ROOM], server_cookies[ROOM];
static atomic_int accepted;

static uint64_t cookie_of(int fd)
{
	uint64_t cookie;
	socklen_t length = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length))
		err(1, "SO_COOKIE");
	return cookie;
}

static void *accept_all(void *argument)
{
	for (;;) {
		int fd = accept(*(int *)argument, NULL, NULL);

		if (fd < 0)
			err(1, "accept");
		server_cookies[accepted] = cookie_of(fd);
		accepted++;
	}
}

static void open_one(const struct sockaddr_in *address, int i)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (i == ROOM)
		errx(1, "more than %d connections", ROOM);
	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)))
		err(1, "connect");
	client_cookies[i] = cookie_of(fd);
}

static void print_all(const uint64_t *cookies, int count)
{
	for (int i = 0; i < count; i++)
		printf("%" PRIu64 "%c", cookies[i], i < count - 1 ? ' ' : '\n');
}

int main(int argc, char **argv)
{
	struct rlimit files = {1 << 20, 1 << 20};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), count = 0;
	pthread_t thread;

	if (argc != 3)
		errx(2, "usage: open_steadily FIRST LEAST");
	setrlimit(RLIMIT_NOFILE, &files);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 128) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	pthread_create(&thread, NULL, accept_all, &listener);
	while (count < atoi(argv[1]))
		open_one(&address, count++);
	puts("open");
	fflush(stdout);
	/* poll() waits for the millisecond, too. */
	while (count < atoi(argv[2]) || poll(&input, 1, 1) == 0)
		open_one(&address, count++);
	while (accepted < count)
		poll(NULL, 0, 1);
	print_all(client_cookies, count);
	print_all(server_cookies, count);
	return 0;
}
