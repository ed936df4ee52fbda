/*
 * Makes processes that connect first from two threads at once.
 *
 *   connect_race PROCESSES
 *
 * Each process forks off, asks twice for a connection to 127.0.0.1:1, which is refused, and ends.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int started;
static int delays[2]; /* in turns of an empty loop: every process meets in another way */

static void *connect_once(void *argument)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(1),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	__sync_fetch_and_add(&started, 1);
	while (started < 2)
		;
	for (volatile int i = 0; i < delays[(long)argument]; i++)
		;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno != ECONNREFUSED)
		err(1, "connect");
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 0;

	for (int i = 0; i < processes; i++) {
		delays[i & 1] = i * 7 % 2000;
		delays[!(i & 1)] = 0;
		if (fork() == 0) {
			pthread_t thread;

			pthread_create(&thread, NULL, connect_once, (void *)1);
			connect_once((void *)0);
			pthread_join(thread, NULL);
			_exit(0);
		}
		wait(NULL);
	}
	return 0;
}
