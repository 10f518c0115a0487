/*
 * A load generator: one thread, N connections, one request at a time on each.
 *
 *	load ADDRESS:PORT http|resp|pipeline CONNECTIONS FILE COUNT SECONDS [RATE]
 *
 * FILE holds the requests as they go over the wire, each after its length (u32, little-endian); they are sent in turn,
 * from the front again after the last. It ends after COUNT answers or SECONDS, whichever comes first, and prints one
 * line of JSON. Without RATE each connection sends the next request when the last was answered. With RATE, requests a
 * second, a request's time counts from when it was due, so that a peer which stands still is not spared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/client.h"

#define CONNECTIONS_MAX 1024
#define EVENTS_MAX      64

struct request {
	const unsigned char *data;
	uint32_t len;
};

struct load {
	struct request *requests;
	size_t request_count, next;
	struct client clients[CONNECTIONS_MAX];
	uint64_t began_ns[CONNECTIONS_MAX]; /* of the request under way on it */
	int idle[CONNECTIONS_MAX];          /* connections without one, a stack */
	size_t idle_count, connections;
	uint64_t *took_ns;
	size_t count, sent, answered, failed;
	uint64_t start_ns, end_ns; /* end: the time limit */
	double rate;
	int epoll;
};

static void
read_requests(struct load *l, const char *path)
{
	const unsigned char *at, *end;
	struct stat st;
	size_t room = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		die(errno, path);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED)
		die(errno, path);
	close(fd);
	for (end = at + st.st_size; at + 4 <= end;) {
		struct request r;

		memcpy(&r.len, at, 4);
		r.data = at + 4;
		at += 4 + r.len;
		if (at > end)
			die(0, "the last request is cut short");
		if (l->request_count == room) {
			room = room == 0 ? 1024 : room * 2;
			l->requests = reallocarray(l->requests, room, sizeof(r));
			if (l->requests == NULL)
				die(ENOMEM, path);
		}
		l->requests[l->request_count++] = r;
	}
	if (l->request_count == 0)
		die(0, "no requests");
}

static void
connect_all(struct load *l, const char *address, enum protocol protocol)
{
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < l->connections; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u64 = i };

		client_open(&l->clients[i], address, protocol);
		fcntl(l->clients[i].fd, F_SETFL, O_NONBLOCK);
		if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->clients[i].fd, &e) < 0)
			die(errno, "epoll");
		l->idle[l->idle_count++] = (int)i;
	}
}

/* When request number n is due. */
static uint64_t
due_ns(const struct load *l, size_t n)
{
	return l->start_ns + (uint64_t)((double)n * 1e9 / l->rate);
}

/* Send on idle connections whatever is due. */
static void
send_due(struct load *l, uint64_t now)
{
	while (l->idle_count > 0 && l->sent < l->count && now < l->end_ns) {
		uint64_t began = l->rate > 0 ? due_ns(l, l->sent) : now;
		const struct request *r = &l->requests[l->next];
		int i;

		if (began > now)
			return;
		i = l->idle[--l->idle_count];
		l->next = l->next + 1 == l->request_count ? 0 : l->next + 1;
		l->began_ns[i] = l->rate > 0 ? began : now_ns();
		l->sent++;
		client_send(&l->clients[i], r->data, r->len);
	}
}

static void
take_answer(struct load *l, size_t i)
{
	int rc = client_receive(&l->clients[i]);

	if (rc == 0)
		return;
	l->took_ns[l->answered++] = now_ns() - l->began_ns[i];
	l->failed += rc == 2;
	l->idle[l->idle_count++] = (int)i;
}

/* How long to wait for answers: until the next request is due, or the end. */
static struct timespec
patience(const struct load *l)
{
	uint64_t now = now_ns(), until = now + 1000000000u;

	if (l->rate > 0 && l->idle_count > 0 && l->sent < l->count && due_ns(l, l->sent) < until)
		until = due_ns(l, l->sent);
	until = until > now ? until - now : 0;
	return (struct timespec){ .tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u) };
}

static void
run(struct load *l, double seconds)
{
	struct epoll_event events[EVENTS_MAX];

	l->start_ns = now_ns();
	l->end_ns = l->start_ns + (uint64_t)(seconds * 1e9);
	send_due(l, l->start_ns);
	while (l->answered < l->sent || (l->sent < l->count && now_ns() < l->end_ns)) {
		struct timespec wait = patience(l);
		int n = epoll_pwait2(l->epoll, events, EVENTS_MAX, &wait, NULL);

		for (int i = 0; i < n; i++)
			take_answer(l, (size_t)events[i].data.u64);
		send_due(l, now_ns());
		if (now_ns() > l->end_ns + 10000000000u)
			die(0, "answers are missing 10 s after the end");
	}
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double
quantile_us(const struct load *l, double q)
{
	size_t at = (size_t)(q * (double)l->answered);

	if (l->answered == 0)
		return 0;
	return (double)l->took_ns[at < l->answered ? at : l->answered - 1] / 1000;
}

static void
report(struct load *l, double seconds)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	qsort(l->took_ns, l->answered, sizeof(l->took_ns[0]), compare);
	printf("{\"count\":%zu,\"failed\":%zu,\"seconds\":%.6f,\"rate\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,"
	       "\"p99_us\":%.1f,\"max_us\":%.1f,\"cpu_seconds\":%.3f}\n",
	    l->answered, l->failed, seconds, (double)l->answered / seconds, quantile_us(l, 0.5), quantile_us(l, 0.9),
	    quantile_us(l, 0.99), quantile_us(l, 1),
	    (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

int
main(int argc, char **argv)
{
	static struct load l;
	double seconds;

	if (argc < 7)
		die(0, "load ADDRESS:PORT http|resp|pipeline CONNECTIONS FILE COUNT SECONDS [RATE]");
	l.connections = strtoul(argv[3], NULL, 10);
	l.count = strtoul(argv[5], NULL, 10);
	seconds = strtod(argv[6], NULL);
	l.rate = argc > 7 ? strtod(argv[7], NULL) : 0;
	if (l.connections == 0 || l.connections > CONNECTIONS_MAX || l.count == 0 || seconds <= 0)
		die(0, "1 to 1024 connections, a count and a time limit");
	l.took_ns = calloc(l.count, sizeof(l.took_ns[0]));
	if (l.took_ns == NULL)
		die(ENOMEM, "latencies");
	read_requests(&l, argv[4]);
	connect_all(&l, argv[1], protocol_of(argv[2]));
	run(&l, seconds);
	report(&l, (double)(now_ns() - l.start_ns) / 1e9);
	for (size_t i = 0; i < l.connections; i++)
		client_close(&l.clients[i]);
	free(l.took_ns);
	return 0;
}
