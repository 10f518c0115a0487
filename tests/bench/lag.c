/*
 * How long after the leader's answer a follower shows a write.
 *
 *	lag LEADER:PORT FOLLOWER:PORT http|resp COUNT SECONDS
 *
 * Writes a numbered value under one key at the leader, waits for the answer, then reads the key at the follower every
 * 50 microseconds until the number is there. What it prints, in JSON, therefore includes one read's time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "tests/bench/client.h"

#define VALUE_BYTES 100
#define PAUSE_NS    50000
#define BETWEEN_NS  5000000 /* from one probe to the next: at most 200 a second beside the load */

struct probe {
	struct client leader, follower;
	enum protocol protocol;
	uint64_t last; /* the newest number that the follower has shown */
};

static void
nap(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* Ask and wait for the answer: 1 good, 2 refused. */
static int
ask(struct client *c, const char *text, size_t len)
{
	int rc;

	client_send(c, text, len);
	while ((rc = client_receive(c)) == 0)
		continue;
	return rc;
}

static void
write_probe(struct probe *p, uint64_t number)
{
	char text[512];
	int len;

	if (p->protocol == PROTOCOL_HTTP)
		len = snprintf(text, sizeof(text),
		    "PUT /v1/kv/probe HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%0*llu", VALUE_BYTES,
		    VALUE_BYTES, (unsigned long long)number);
	else
		len = snprintf(text, sizeof(text), "*3\r\n$3\r\nSET\r\n$5\r\nprobe\r\n$%d\r\n%0*llu\r\n", VALUE_BYTES,
		    VALUE_BYTES, (unsigned long long)number);
	if (ask(&p->leader, text, (size_t)len) != 1)
		die(0, "the leader refuses to write");
}

static bool
shown(struct probe *p, uint64_t number)
{
	static const char http[] = "GET /v1/kv/probe HTTP/1.1\r\nHost: b\r\n\r\n";
	static const char resp[] = "*2\r\n$3\r\nGET\r\n$5\r\nprobe\r\n";
	bool is_http = p->protocol == PROTOCOL_HTTP;

	if (ask(&p->follower, is_http ? http : resp, is_http ? sizeof(http) - 1 : sizeof(resp) - 1) != 1)
		return false; /* not a single one has come yet */
	return strtoull(p->follower.in + p->follower.body_at, NULL, 10) >= number;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
	struct probe p = { 0 };
	uint64_t end, base;
	size_t count, n;
	double *ms;

	if (argc != 6)
		die(0, "lag LEADER:PORT FOLLOWER:PORT http|resp COUNT SECONDS");
	p.protocol = protocol_of(argv[3]);
	/* Else a pause is twice as long as it says. */
	prctl(PR_SET_TIMERSLACK, 1000);
	count = strtoul(argv[4], NULL, 10);
	ms = calloc(count, sizeof(*ms));
	if (count == 0 || ms == NULL)
		die(ENOMEM, "lag");
	client_open(&p.leader, argv[1], p.protocol);
	client_open(&p.follower, argv[2], p.protocol);
	end = now_ns() + (uint64_t)(strtod(argv[5], NULL) * 1e9);
	base = now_ns(); /* larger than whatever an earlier run has left */
	for (n = 0; n < count && now_ns() < end; n++) {
		uint64_t answered;

		write_probe(&p, base + n);
		answered = now_ns();
		while (!shown(&p, base + n)) {
			if (now_ns() > end + 30000000000u)
				die(0, "the follower does not show the write");
			nap(PAUSE_NS);
		}
		ms[n] = (double)(now_ns() - answered) / 1e6;
		nap(BETWEEN_NS);
	}
	qsort(ms, n, sizeof(*ms), compare);
	printf("{\"count\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n", n, ms[n / 2], ms[n * 99 / 100],
	    ms[n - 1]);
	client_close(&p.leader);
	client_close(&p.follower);
	free(ms);
	return 0;
}
