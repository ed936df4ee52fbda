/*
 * Asks a name server, then connects to an address, whatever the answer was.
 *
 *   ask HOW SERVER PORT NAME ADDRESS
 *
 * HOW says how the answer is received. SERVER is an IPv4 or IPv6 address, or - to ask nobody. Connects to port 9 of
 * ADDRESS, where nobody listens; with HOW fork, a child does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TYPE_A = 1, TYPE_AAAA = 28, DISCARD = 9, PIECE = 16 };

static socklen_t parse(const char *text, int port, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		errx(2, "%s is no address", text);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

/* Writes a query; returns its length. */
static size_t make_query(const char *name, int type, unsigned char *query)
{
	unsigned char *at = query + 12;

	memset(query, 0, 12);
	query[2] = 1; /* recursion desired */
	query[5] = 1; /* one question */
	while (*name) {
		size_t length = strcspn(name, ".");

		*at++ = length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	*at++ = 0;
	*at++ = 0;
	*at++ = type;
	*at++ = 0;
	*at++ = 1; /* IN */
	return at - query;
}

static void receive(int fd, const char *how)
{
	static unsigned char buffer[4096];
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	struct iovec pieces[256];
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 1};
	struct mmsghdr messages[2] = {};
	ssize_t size = 1;
	size_t i;

	for (i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
		pieces[i] = (struct iovec){buffer + i * PIECE, PIECE};
	if (!strcmp(how, "recvfrom") || !strcmp(how, "fork")) {
		size = recvfrom(fd, buffer, sizeof(buffer), 0, (void *)&from, &length);
	} else if (!strcmp(how, "recv") || !strcmp(how, "nobody")) {
		size = recv(fd, buffer, sizeof(buffer), 0);
	} else if (!strcmp(how, "full")) { /* two buffers, the first of which the answer fills */
		size = recv(fd, buffer, sizeof(buffer), MSG_PEEK);
		pieces[0].iov_len = size;
		message.msg_iovlen = 2;
		size = recvmsg(fd, &message, 0);
	} else if (!strcmp(how, "two")) { /* two buffers, the first of which is large enough */
		pieces[0].iov_len = 1024;
		message.msg_iovlen = 2;
		size = recvmsg(fd, &message, 0);
	} else if (!strcmp(how, "pieces")) {
		message.msg_iovlen = sizeof(pieces) / sizeof(*pieces);
		size = recvmsg(fd, &message, 0);
	} else if (!strcmp(how, "short")) {
		pieces[0].iov_len = 20;
		size = recvmsg(fd, &message, MSG_TRUNC);
	} else if (!strcmp(how, "peek")) {
		size = recv(fd, buffer, sizeof(buffer), MSG_PEEK);
	} else if (!strcmp(how, "recvmmsg")) {
		for (i = 0; i < 2; i++) {
			pieces[i] = (struct iovec){buffer + i * 2048, 2048};
			messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
		}
		size = recvmmsg(fd, messages, 2, MSG_WAITFORONE, NULL);
	} else {
		errx(2, "%s is no way to receive", how);
	}
	if (size <= 0)
		err(1, "receive");
}

static void ask(const char *how, const char *server, int port, const char *name, int type)
{
	struct timeval patience = {.tv_sec = 30};
	struct sockaddr_storage address;
	unsigned char query[512];
	socklen_t length = parse(server, port, &address);
	size_t size = make_query(name, type, query);
	int fd = socket(address.ss_family, SOCK_DGRAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!strcmp(how, "recvfrom") || !strcmp(how, "nobody")) {
		if (sendto(fd, query, size, 0, (void *)&address, length) < 0)
			err(1, "sendto");
	} else if (connect(fd, (void *)&address, length) || send(fd, query, size, 0) < 0) {
		err(1, "send");
	}
	receive(fd, how);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage address;
	socklen_t length;
	int fd;

	if (argc != 6)
		errx(2, "usage: ask HOW SERVER PORT NAME ADDRESS");
	length = parse(argv[5], DISCARD, &address);
	if (strcmp(argv[2], "-"))
		ask(argv[1], argv[2], atoi(argv[3]), argv[4], address.ss_family == AF_INET ? TYPE_A : TYPE_AAAA);
	if (!strcmp(argv[1], "fork") && fork()) {
		wait(NULL);
		return 0;
	}
	fd = socket(address.ss_family, SOCK_STREAM, 0);
	connect(fd, (void *)&address, length); /* is refused */
	return 0;
}
