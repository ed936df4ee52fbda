/*
 * Runs programs, one after the other, as the users that a test names: a fork of this small process costs a part of what
 * a fork of the tests' Python does.
 *
 *   run_each ARGUMENT
 *
 * Reads lines "UID PATH" from standard input. Runs each PATH with this argument, with nothing to read and its output
 * thrown away; when it has ended, prints its process id. Ends with standard input.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(uid_t user, const char *path, const char *argument)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (setuid(user))
		err(1, "setuid");
	execl(path, path, argument, NULL);
	err(1, "%s", path);
}

int main(int argc, char **argv)
{
	char line[8192];

	if (argc != 2)
		errx(2, "usage: run_each ARGUMENT");
	while (fgets(line, sizeof(line), stdin)) {
		char *path;
		uid_t user = strtoul(line, &path, 10);
		pid_t child;
		int status;

		path[strcspn(path, "\n")] = 0;
		child = fork();
		if (child < 0)
			err(1, "fork");
		if (child == 0)
			become(user, path + 1, argv[1]);
		if (waitpid(child, &status, 0) < 0 || status)
			errx(1, "%s failed", path + 1);
		printf("%d\n", child);
	}
	return 0;
}
