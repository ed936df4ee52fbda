/*
 * Closes TCP connections over loopback amid sending and receiving, and prints what each end has carried.
 *
 *   close_amid [-n CONNECTIONS] [-p PAIRS] [-m]
 *
 * Each of PAIRS pairs of threads (client, server) makes CONNECTIONS connections, one after the other; with -m they speak
 * MPTCP. Both ends send at once, random amounts that each tells the other, and each closes as soon as it has written
 * and read its part: the client at a random moment while the kernel still sends what it has written, on the server's CPU,
 * where acknowledgements come in; the server as the client's FIN arrives. Prints a line for each end: "COOKIE SENT RECEIVED".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

enum { PIECE = 1 << 16, MOST = 1 << 19 };

static int connections = 1000;
static int pairs = 1;
static int protocol;

/* What both ends send: the client's first bytes. */
struct plan {
	uint64_t up, down; /* up: with these bytes */
};

struct pair {
	int listener, number;
	in_port_t port;
};

static uint64_t amount(unsigned int *seed)
{
	int kind = rand_r(seed) % 4;

	return kind < 2 ? 0 : rand_r(seed) % (kind == 2 ? 100 : MOST);
}

/* Runs the thread on one CPU, and its peer on another one. */
static void stay_on(int number)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(number % sysconf(_SC_NPROCESSORS_ONLN), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_setaffinity");
}

/* Sends and receives so many bytes, in pieces, as the kernel takes and has them. */
static void exchange(int fd, uint64_t to_send, uint64_t to_receive)
{
	static __thread char piece[PIECE];

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (to_send || to_receive) {
		struct pollfd ready = {.fd = fd, .events = (to_send ? POLLOUT : 0) | (to_receive ? POLLIN : 0)};
		ssize_t count;

		if (poll(&ready, 1, -1) < 0)
			err(1, "poll");
		if (to_receive) {
			count = recv(fd, piece, to_receive < PIECE ? to_receive : PIECE, 0);
			if (!count)
				errx(1, "the other end has closed too early");
			to_receive -= count > 0 ? count : 0;
		}
		if (to_send) {
			count = send(fd, piece, to_send < PIECE ? to_send : PIECE, MSG_NOSIGNAL);
			to_send -= count > 0 ? count : 0;
		}
	}
}

/* Waits until no more than a random part of what the kernel has still to send is left: then it is about to send more. */
static void wait_amid_sending(int fd, unsigned int *seed)
{
	int waiting, enough;

	if (ioctl(fd, SIOCOUTQ, &waiting))
		err(1, "SIOCOUTQ");
	enough = rand_r(seed) % (waiting + 1);
	while (waiting > enough)
		if (ioctl(fd, SIOCOUTQ, &waiting))
			err(1, "SIOCOUTQ");
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie;
	socklen_t length = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length))
		err(1, "SO_COOKIE");
	return cookie;
}

/* Closes, and prints what was carried. */
static void end(int fd, uint64_t cookie, uint64_t sent, uint64_t received)
{
	close(fd);
	printf("%llu %llu %llu\n", (unsigned long long)cookie, (unsigned long long)sent, (unsigned long long)received);
}

static void *serve(void *argument)
{
	struct pair *pair = argument;

	stay_on(pair->number);
	for (int i = 0; i < connections; i++) {
		int fd = accept(pair->listener, NULL, NULL);
		struct plan plan;
		uint64_t cookie;

		if (fd < 0)
			err(1, "accept");
		if (recv(fd, &plan, sizeof(plan), MSG_WAITALL) != sizeof(plan))
			err(1, "recv");
		cookie = cookie_of(fd);
		exchange(fd, plan.down, plan.up - sizeof(plan));
		end(fd, cookie, plan.down, plan.up);
	}
	return NULL;
}

static void *connect_all(void *argument)
{
	struct pair *pair = argument;
	unsigned int seed = pair->number + 1;

	stay_on(pair->number + 1);
	for (int i = 0; i < connections; i++) {
		struct sockaddr_in address = {
			.sin_family = AF_INET,
			.sin_port = pair->port,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		};
		struct plan plan = {.up = sizeof(plan) + rand_r(&seed) % MOST, .down = amount(&seed)};
		int fd = socket(AF_INET, SOCK_STREAM, protocol);
		uint64_t cookie;

		if (fd < 0)
			err(1, "socket");
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			err(1, "connect");
		if (send(fd, &plan, sizeof(plan), 0) != sizeof(plan))
			err(1, "send");
		cookie = cookie_of(fd);
		exchange(fd, plan.up - sizeof(plan), plan.down);
		wait_amid_sending(fd, &seed);
		end(fd, cookie, plan.up, plan.down);
	}
	return NULL;
}

static void start_listening(struct pair *pair, int number)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);

	pair->number = number;
	pair->listener = socket(AF_INET, SOCK_STREAM, protocol);
	if (pair->listener < 0 || bind(pair->listener, (struct sockaddr *)&address, length) ||
	    listen(pair->listener, 16) || getsockname(pair->listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	pair->port = address.sin_port;
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:p:m")) != -1) {
		if (option == 'n')
			connections = atoi(optarg);
		else if (option == 'p')
			pairs = atoi(optarg);
		else if (option == 'm')
			protocol = IPPROTO_MPTCP;
		else
			exit(2);
	}

	pthread_t threads[2 * pairs];
	struct pair sockets[pairs];
	for (int i = 0; i < pairs; i++)
		start_listening(&sockets[i], i);
	for (int i = 0; i < pairs; i++) {
		pthread_create(&threads[2 * i], NULL, serve, &sockets[i]);
		pthread_create(&threads[2 * i + 1], NULL, connect_all, &sockets[i]);
	}
	for (int i = 0; i < 2 * pairs; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
