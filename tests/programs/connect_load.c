/*
 * Makes TCP connections over loopback as fast as it can: connect and accept in one process.
 *
 *   connect_load [-n CONNECTIONS] [-p PAIRS] [-o]
 *
 * Each of PAIRS pairs of threads (client, server) makes CONNECTIONS connections, one after the other. With -o they
 * all stay open until a line comes on standard input. Prints "open" when all are, and "CONNECTIONS SECONDS" at the end.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A closed connection keeps its port for a while: a new destination address before the ports run out. */
enum { PER_ADDRESS = 20000 };

static int connections = 1000;
static int pairs = 1;
static bool keep_open;
static pthread_barrier_t all_open, may_close;

struct pair {
	int listener;
	in_port_t port;
};

static void hold(int *fds)
{
	pthread_barrier_wait(&all_open);
	pthread_barrier_wait(&may_close);
	for (int i = 0; i < connections; i++)
		close(fds[i]);
}

static void *serve(void *argument)
{
	struct pair *pair = argument;
	int *fds = calloc(connections, sizeof(*fds));

	for (int i = 0; i < connections; i++) {
		int fd = accept(pair->listener, NULL, NULL);

		if (fd < 0)
			err(1, "accept");
		if (keep_open)
			fds[i] = fd;
		else
			close(fd);
	}
	if (keep_open)
		hold(fds);
	free(fds);
	return NULL;
}

static void *connect_all(void *argument)
{
	struct pair *pair = argument;
	int *fds = calloc(connections, sizeof(*fds));

	for (int i = 0; i < connections; i++) {
		struct sockaddr_in address = {
			.sin_family = AF_INET,
			.sin_port = pair->port,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / PER_ADDRESS),
		};
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (fd < 0)
			err(1, "socket");
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			err(1, "connect");
		if (keep_open)
			fds[i] = fd;
		else
			close(fd);
	}
	if (keep_open)
		hold(fds);
	free(fds);
	return NULL;
}

static void start_listening(struct pair *pair)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);

	pair->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (pair->listener < 0 || bind(pair->listener, (struct sockaddr *)&address, length) ||
	    listen(pair->listener, 4096) || getsockname(pair->listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	pair->port = address.sin_port;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:p:o")) != -1) {
		if (option == 'n')
			connections = atoi(optarg);
		else if (option == 'p')
			pairs = atoi(optarg);
		else if (option == 'o')
			keep_open = true;
		else
			exit(2);
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = {1 << 20, 1 << 20};

	parse(argc, argv);
	setrlimit(RLIMIT_NOFILE, &files);
	pthread_barrier_init(&all_open, NULL, 2 * pairs + 1);
	pthread_barrier_init(&may_close, NULL, 2 * pairs + 1);

	pthread_t threads[2 * pairs];
	struct pair sockets[pairs];
	for (int i = 0; i < pairs; i++)
		start_listening(&sockets[i]);
	double start = now();
	for (int i = 0; i < pairs; i++) {
		pthread_create(&threads[2 * i], NULL, serve, &sockets[i]);
		pthread_create(&threads[2 * i + 1], NULL, connect_all, &sockets[i]);
	}
	if (keep_open) {
		pthread_barrier_wait(&all_open);
		printf("open\n");
		fflush(stdout);
		getchar();
		pthread_barrier_wait(&may_close);
	}
	for (int i = 0; i < 2 * pairs; i++)
		pthread_join(threads[i], NULL);
	printf("%d %.6f\n", connections * pairs, now() - start);
	return 0;
}
